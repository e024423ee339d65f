//! The file `<offset>.snapshot`: a version, a CRC-32C of what follows it, and an entry for each producer. Kafka's
//! `ProducerSnapshot.json`, version 1.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use super::{Appended, Producer};

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 6;
const ENTRY_BYTES: usize = 46;
/// Of a producer in no transaction.
const NO_TRANSACTION: i64 = -1;

pub(super) fn encode(producers: &BTreeMap<i64, Producer>) -> Vec<u8> {
    let mut entries = Vec::with_capacity(4 + producers.len() * ENTRY_BYTES);
    entries.put_i32(producers.len() as i32);
    for (id, producer) in producers {
        let last = producer.batches.last();
        entries.put_i64(*id);
        entries.put_i16(producer.epoch);
        entries.put_i32(last.map_or(-1, |it| it.last_sequence));
        entries.put_i64(last.map_or(-1, |it| it.last_offset));
        entries.put_i32(last.map_or(0, |it| it.offset_delta));
        entries.put_i64(producer.last_timestamp);
        entries.put_i32(producer.coordinator_epoch);
        entries.put_i64(NO_TRANSACTION);
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len());
    bytes.put_i16(VERSION);
    bytes.put_u32(crc32c::crc32c(&entries));
    bytes.extend_from_slice(&entries);
    bytes
}

pub(super) fn decode(mut bytes: &[u8]) -> Result<BTreeMap<i64, Producer>, &'static str> {
    if bytes.len() < HEAD_BYTES + 4 {
        return Err("it is too short");
    }
    if bytes.get_i16() != VERSION {
        return Err("its version is unknown");
    }
    if bytes.get_u32() != crc32c::crc32c(bytes) {
        return Err("its CRC is wrong");
    }
    let count = bytes.get_i32();
    if usize::try_from(count).map(|count| count * ENTRY_BYTES) != Ok(bytes.len()) {
        return Err("its count is wrong");
    }
    Ok((0..count).map(|_| entry(&mut bytes)).collect())
}

/// Of bytes that are there.
fn entry(bytes: &mut &[u8]) -> (i64, Producer) {
    let (id, epoch) = (bytes.get_i64(), bytes.get_i16());
    let (last_sequence, last_offset, offset_delta) = (bytes.get_i32(), bytes.get_i64(), bytes.get_i32());
    let (timestamp, coordinator_epoch, _transaction) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i64());
    let last = Appended { last_sequence, last_offset, offset_delta, timestamp };
    let batches = if last_offset >= 0 { vec![last] } else { Vec::new() };
    (id, Producer { epoch, coordinator_epoch, last_timestamp: timestamp, batches })
}
