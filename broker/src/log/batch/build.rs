//! Making a batch: what compaction leaves of one, and what the coordinator of groups writes.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::records::Compression;

use super::{Attributes, BatchHead, Flaw, HEAD_BYTES, Header, NONE, Record, UNCOUNTED_BYTES, codec};

/// Collects records and becomes a batch. Kafka's `MemoryRecordsBuilder`.
#[derive(Debug)]
pub struct BatchBuilder {
    head: BatchHead,
    records: BytesMut,
}

impl BatchBuilder {
    /// A batch whose first offset is `base_offset`; its records' timestamps are stored relative to
    /// `base_timestamp`.
    pub fn new(base_offset: i64, base_timestamp: i64, compression: Compression) -> Self {
        let head = BatchHead {
            base_offset,
            length: 0,
            leader_epoch: NONE as i32,
            crc: 0,
            attributes: Attributes::default().with_compression(compression),
            last_offset_delta: 0,
            base_timestamp,
            max_timestamp: NONE,
            producer_id: NONE,
            producer_epoch: NONE as i16,
            base_sequence: NONE as i32,
            count: 0,
        };
        Self { head, records: BytesMut::new() }
    }

    /// A batch with everything but the records of `head`: offsets, producer, epoch, codec and flags stay.
    pub fn like(head: &BatchHead) -> Self {
        let max_timestamp = if head.attributes.is_log_append_time() { head.max_timestamp } else { NONE };
        Self { head: BatchHead { max_timestamp, count: 0, ..*head }, records: BytesMut::new() }
    }

    /// Says that the batch is of an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.head.producer_id = id;
        self.head.producer_epoch = epoch;
        self.head.base_sequence = base_sequence;
        self
    }

    /// Says which leader appends it.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.head.leader_epoch = epoch;
        self
    }

    /// Says when the batch's tombstones may go. Only before the first record.
    #[must_use]
    pub fn delete_horizon_ms(mut self, at: i64) -> Self {
        self.head.attributes = self.head.attributes.with_delete_horizon(true);
        self.head.base_timestamp = at;
        self
    }

    /// Changes the codec.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.head.attributes = self.head.attributes.with_compression(compression);
        self
    }

    /// Bytes of the records so far, not yet compressed.
    pub fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// Adds a record at the next offset.
    pub fn push<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        let mut encoded = BytesMut::new();
        let mut header_count = 0;
        for header in headers {
            put_bytes(&mut encoded, Some(header.key));
            put_bytes(&mut encoded, header.value);
            header_count += 1;
        }
        let offset_delta = if self.head.count == 0 { 0 } else { self.head.last_offset_delta + 1 };
        let offset = self.head.base_offset + i64::from(offset_delta);
        self.keep(&Record { offset, offset_delta, timestamp, key, value, headers: &encoded, header_count });
    }

    /// Adds a record that was in a batch, at the offset delta which it has. Deltas must rise.
    pub fn keep(&mut self, record: &Record<'_>) {
        let timestamp_delta = record.timestamp.wrapping_sub(self.head.base_timestamp);
        let length = 1
            + varint_size(timestamp_delta)
            + varint_size(i64::from(record.offset_delta))
            + bytes_size(record.key)
            + bytes_size(record.value)
            + varint_size(i64::from(record.header_count))
            + record.headers.len();
        let out = &mut self.records;
        put_varint(out, length as i64);
        out.put_u8(0); // A record's own attributes are not used.
        put_varint(out, timestamp_delta);
        put_varint(out, i64::from(record.offset_delta));
        put_bytes(out, record.key);
        put_bytes(out, record.value);
        put_varint(out, i64::from(record.header_count));
        out.put_slice(record.headers);
        self.head.count += 1;
        self.head.last_offset_delta = self.head.last_offset_delta.max(record.offset_delta);
        if !self.head.attributes.is_log_append_time() {
            self.head.max_timestamp = self.head.max_timestamp.max(record.timestamp);
        }
    }

    /// The batch's bytes.
    ///
    /// # Errors
    /// The codec fails, or the batch is larger than a batch can be.
    pub fn build(mut self) -> Result<Bytes, Flaw> {
        let mut out = BytesMut::with_capacity(HEAD_BYTES + self.records.len());
        out.put_bytes(0, HEAD_BYTES);
        if self.head.count > 0 {
            codec::pack(self.head.attributes.compression()?, &self.records, &mut out)?;
        } else {
            self.head.attributes = self.head.attributes.with_compression(Compression::None);
        }
        self.head.length = i32::try_from(out.len() - UNCOUNTED_BYTES).map_err(|_| Flaw::Bomb)?;
        self.head.crc = self.head.crc_with(out.get(HEAD_BYTES..).unwrap_or_default());
        if let Some(head) = out.first_chunk_mut::<HEAD_BYTES>() {
            *head = self.head.to_bytes();
        }
        Ok(out.freeze())
    }

    /// The batch without any record, for its last offset and its producer's last sequence number.
    /// `DefaultRecordBatch.writeEmptyHeader`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn empty(head: &BatchHead) -> Result<Bytes, Flaw> {
        let mut builder = Self::like(head);
        builder.head.attributes = builder.head.attributes.with_delete_horizon(false);
        builder.head.base_timestamp = head.max_timestamp;
        builder.head.max_timestamp = head.max_timestamp;
        builder.build()
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint_size(number: i64) -> usize {
    let bits = (64 - zigzag(number).leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

fn put_varint(out: &mut BytesMut, number: i64) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_size(bytes.len() as i64) + bytes.len())
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}
