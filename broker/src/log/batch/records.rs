//! The records in a batch, read where they stand. Kafka's `DefaultRecord`.

use std::borrow::Cow;

use super::{BatchHead, Flaw, UNPACKED_BYTES_MAX, codec};

/// The records of a batch, unpacked.
#[derive(Debug)]
pub struct Records<'a> {
    head: BatchHead,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    pub(super) fn unpack(head: BatchHead, body: &'a [u8]) -> Result<Self, Flaw> {
        let bytes = codec::unpack(head.attributes.compression()?, body, UNPACKED_BYTES_MAX)?;
        Ok(Self { head, bytes })
    }

    /// One after the other; ends after the first that is wrong.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { head: &self.head, rest: &self.bytes, index: 0 }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, Flaw>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// A record, where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'r> {
    /// In the partition.
    pub offset: i64,
    /// In the batch.
    pub offset_delta: i32,
    /// Milliseconds; of its append where the batch says so.
    pub timestamp: i64,
    /// What compaction goes by.
    pub key: Option<&'r [u8]>,
    /// `None` deletes the key.
    pub value: Option<&'r [u8]>,
    /// Headers, encoded as they stand, without their count.
    pub(super) headers: &'r [u8],
    pub(super) header_count: i32,
}

/// A name and a value that travel with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'r> {
    /// UTF-8, if its producer keeps to the protocol.
    pub key: &'r [u8],
    /// May be absent.
    pub value: Option<&'r [u8]>,
}

impl<'r> Record<'r> {
    /// Its headers; they were checked when the record was read.
    pub fn headers(&self) -> impl Iterator<Item = Header<'r>> + use<'r> {
        let mut rest = Cursor(self.headers);
        (0..self.header_count).map_while(move |_| rest.header())
    }
}

/// See [`Records::iter`].
#[derive(Debug)]
pub struct RecordIter<'r> {
    head: &'r BatchHead,
    rest: &'r [u8],
    index: i32,
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<Record<'r>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.head.count {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(self.flaw("bytes are left after the last record")));
        }
        let mut cursor = Cursor(self.rest);
        match cursor.record(self.head) {
            Ok(record) => {
                self.rest = cursor.0;
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => {
                let flaw = self.flaw(what);
                (self.rest, self.index) = (&[], self.head.count);
                Some(Err(flaw))
            }
        }
    }
}

impl RecordIter<'_> {
    fn flaw(&self, what: &'static str) -> Flaw {
        Flaw::Record { index: self.index, what }
    }
}

/// Reads what is there and can only fail.
struct Cursor<'r>(&'r [u8]);

impl<'r> Cursor<'r> {
    fn record(&mut self, head: &BatchHead) -> Result<Record<'r>, &'static str> {
        let length = self.varint().ok_or("its length is no number")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let mut fields = Cursor(self.take(length).ok_or("it goes on beyond the batch")?);
        fields.byte().ok_or("it has no attributes")?;
        let timestamp_delta = fields.varlong().ok_or("its timestamp is no number")?;
        let offset_delta = fields.varint().ok_or("its offset is no number")?;
        if !(0..=head.last_offset_delta).contains(&offset_delta) {
            return Err("its offset is not one of the batch's");
        }
        let key = fields.bytes().ok_or("its key is not there")?;
        let value = fields.bytes().ok_or("its value is not there")?;
        let header_count = fields.varint().ok_or("its count of headers is no number")?;
        if header_count < 0 {
            return Err("its count of headers is negative");
        }
        let headers = fields.0;
        for _ in 0..header_count {
            fields.header().ok_or("a header is not there")?;
        }
        if !fields.0.is_empty() {
            return Err("bytes are left after its headers");
        }
        Ok(Record {
            offset: head.base_offset + i64::from(offset_delta),
            offset_delta,
            timestamp: match head.attributes.is_log_append_time() {
                true => head.max_timestamp,
                false => head.base_timestamp.wrapping_add(timestamp_delta),
            },
            key,
            value,
            headers,
            header_count,
        })
    }

    fn header(&mut self) -> Option<Header<'r>> {
        let key = self.bytes()??;
        Some(Header { key, value: self.bytes()? })
    }

    /// Bytes with their length before them; `Some(None)` for a length of -1.
    fn bytes(&mut self) -> Option<Option<&'r [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.zigzag(5)?).ok()
    }

    fn varlong(&mut self) -> Option<i64> {
        self.zigzag(10)
    }

    /// A zigzag number of at most `bytes_max` bytes, seven bits in each, the lowest first.
    fn zigzag(&mut self, bytes_max: u32) -> Option<i64> {
        let mut number = 0_u64;
        for at in 0..bytes_max {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        None
    }
}
