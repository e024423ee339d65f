//! A record batch of format v2, the unit in which records travel and stand on disk: the same bytes in a produce
//! request, in a `.log` file and in a fetch answer. Kafka's `DefaultRecordBatch`.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | base offset | | 23 | last offset delta |
//! | 8 | length of all that follows | | 27 | base timestamp, or the delete horizon |
//! | 12 | partition leader epoch | | 35 | largest timestamp |
//! | 16 | magic, 2 | | 43 | producer id, 51 its epoch, 53 first sequence |
//! | 17 | CRC-32C of all from 21 on | | 57 | count of records |
//! | 21 | attributes | | 61 | the records, compressed together |
//!
//! Base offset and leader epoch are outside the CRC: a leader sets them without touching the rest.

mod build;
mod codec;
mod records;
#[cfg(test)]
mod tests;

use kafka_protocol::records::Compression;

pub use build::BatchBuilder;
pub use codec::UNPACKED_BYTES_MAX;
pub use records::{Header, Record, Records};

/// Bytes before the records.
pub const HEAD_BYTES: usize = 61;
/// Bytes which [`BatchHead::length`] does not count.
const UNCOUNTED_BYTES: usize = 12;
/// Where what the CRC covers begins.
const CRC_FROM: usize = 21;
/// No producer id, no epoch, no sequence, no timestamp: Kafka's -1 for all of them.
pub const NONE: i64 = -1;

/// What is wrong with a batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It goes on beyond what is there.
    #[error("the batch needs {needed} bytes and {found} are there")]
    Truncated {
        /// The head's size, or the size it claims.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// Shorter than a head.
    #[error("the batch claims a length of {0}")]
    Length(i32),
    /// Of a format that is not v2.
    #[error("the batch has magic {0}, not 2")]
    Magic(i8),
    /// Bytes have changed since it was made.
    #[error("the batch has CRC {stored:#010x} and its bytes have {computed:#010x}")]
    Crc {
        /// In the head.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Offsets or a count that cannot be.
    #[error("the batch has base offset {base}, last offset delta {delta} and {count} records")]
    Offsets {
        /// Its base offset.
        base: i64,
        /// Its last offset minus that.
        delta: i32,
        /// How many records it claims.
        count: i32,
    },
    /// A codec nobody knows.
    #[error("the batch has compression {0}")]
    Codec(i16),
    /// The codec refuses the bytes.
    #[error("the records cannot be unpacked")]
    Packed,
    /// Unpacked, the records would be larger than [`UNPACKED_BYTES_MAX`].
    #[error("the records unpack to more than {UNPACKED_BYTES_MAX} bytes")]
    Bomb,
    /// A record's fields contradict each other.
    #[error("record {index} of the batch: {what}")]
    Record {
        /// Its number in the batch.
        index: i32,
        /// What is wrong.
        what: &'static str,
    },
}

/// Codec and flags of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// What the records are compressed with.
    ///
    /// # Errors
    /// A number that stands for no codec.
    pub fn compression(self) -> Result<Compression, Flaw> {
        match self.0 & Self::CODEC {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(Flaw::Codec(other)),
        }
    }

    /// The same flags with another codec.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::CODEC) | compression as i16)
    }

    /// Whether all records have the timestamp of their append.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are marks for brokers, not for consumers.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time at which the tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same, with timestamps of the append.
    #[must_use]
    pub fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    /// The same, with or without a delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self, set: bool) -> Self {
        Self(if set { self.0 | Self::DELETE_HORIZON } else { self.0 & !Self::DELETE_HORIZON })
    }
}

/// All of a batch but its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The first record's offset when the batch was appended; compaction may have removed that record since.
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    /// Of the leader that appended it.
    pub leader_epoch: i32,
    /// CRC-32C of all that follows it.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last record's offset minus the base offset, compacted or not.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to; see [`Attributes::has_delete_horizon`].
    pub base_timestamp: i64,
    /// The largest of the records' timestamps.
    pub max_timestamp: i64,
    /// -1 where the producer is not idempotent.
    pub producer_id: i64,
    /// Of the producer id.
    pub producer_epoch: i16,
    /// The first record's sequence number.
    pub base_sequence: i32,
    /// How many records there are.
    pub count: i32,
}

impl BatchHead {
    /// Reads the head that `bytes` begin with. What it returns is consistent in itself: it has a size, and its
    /// offsets can be added.
    ///
    /// # Errors
    /// Too few bytes for a head, or fields that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let Some(bytes) = bytes.first_chunk::<HEAD_BYTES>() else {
            // The magic decides what the rest means: an old format is told as such however short it is.
            return match bytes.get(16).map(|&magic| magic as i8) {
                Some(magic) if magic != 2 => Err(Flaw::Magic(magic)),
                _ => Err(Flaw::Truncated { needed: HEAD_BYTES, found: bytes.len() }),
            };
        };
        let head = Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            count: i32::from_be_bytes(field(bytes, 57)),
        };
        head.check(bytes[16] as i8)?;
        Ok(head)
    }

    fn check(&self, magic: i8) -> Result<(), Flaw> {
        if magic != 2 {
            return Err(Flaw::Magic(magic));
        }
        if usize::try_from(self.length).is_ok_and(|length| length >= HEAD_BYTES - UNCOUNTED_BYTES) {
            let end = self.base_offset.checked_add(i64::from(self.last_offset_delta) + 1);
            if self.base_offset >= 0 && self.last_offset_delta >= 0 && self.count >= 0 && end.is_some() {
                return Ok(());
            }
            return Err(Flaw::Offsets {
                base: self.base_offset,
                delta: self.last_offset_delta,
                count: self.count,
            });
        }
        Err(Flaw::Length(self.length))
    }

    /// The head as it stands in the file.
    pub fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[16] = 2;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// The CRC that this head has with `records` after it, whatever its CRC field says.
    pub fn crc_with(&self, records: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.to_bytes()[CRC_FROM..]), records)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        // Not negative: checked when it was parsed.
        UNCOUNTED_BYTES + self.length.unsigned_abs() as usize
    }

    /// The last record's offset, compacted or not.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the last record's.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// Whether its producer is idempotent.
    pub fn has_producer(&self) -> bool {
        self.producer_id != NONE
    }

    /// The last record's sequence number; after the largest number comes 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last & i64::from(i32::MAX)) as i32
    }

    /// When the batch's tombstones may go; `None` while no compaction has seen them.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

fn field<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// One whole batch in memory, not copied.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Its head.
    pub head: BatchHead,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch that `bytes` begin with, and what is after it. The CRC has not been checked.
    ///
    /// # Errors
    /// The head is wrong, or the batch is not there as a whole.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Flaw> {
        let head = BatchHead::parse(bytes)?;
        match bytes.split_at_checked(head.size()) {
            Some((bytes, rest)) => Ok((Self { head, bytes }, rest)),
            None => Err(Flaw::Truncated { needed: head.size(), found: bytes.len() }),
        }
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is after the head: the records, compressed or not.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEAD_BYTES..).unwrap_or_default()
    }

    /// Compares the bytes with the CRC.
    ///
    /// # Errors
    /// They differ.
    pub fn check_crc(&self) -> Result<(), Flaw> {
        let computed = crc32c::crc32c(self.bytes.get(CRC_FROM..).unwrap_or_default());
        if computed == self.head.crc { Ok(()) } else { Err(Flaw::Crc { stored: self.head.crc, computed }) }
    }

    /// The records, unpacked where they are compressed.
    ///
    /// # Errors
    /// They cannot be unpacked, or would be too large.
    pub fn records(&self) -> Result<Records<'a>, Flaw> {
        Records::unpack(self.head, self.body())
    }
}

/// Decodes all batches in `bytes` down to their last header and counts the records; for fuzzing. Never panics,
/// whatever the bytes are.
pub fn decode_everything(mut bytes: &[u8]) -> Result<usize, Flaw> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (batch, rest) = Batch::split(bytes)?;
        for record in &batch.records()? {
            count += 1 + record?.headers().count();
        }
        bytes = rest;
    }
    Ok(count)
}
