//! Where the records of a log file stop: is that its end, is it what a crash left of a write, or damage?
//!
//! A crash tears what was not synced, and that was never acknowledged: the log ends before it. Damage may have
//! hit what was acknowledged: then nobody but an operator can decide. The two look different. Room is zeroed
//! before it is used, and a disk writes whole sectors, so a torn write has *holes*: sectors that are still
//! zero, or bytes that the file never came to have. Damage leaves something else than zeros.

use super::segment::{Framed, SegmentEnd, SegmentReader, split_head, zxid_of};
use super::{FRAME_BYTES, FRAME_HEAD_BYTES, PAYLOAD_BYTES_MAX, RECORD_END, checksum};
use crate::storage::error::{LogFlaw, Result};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// Of a record's head, the checksum, and those of its bytes that Adler32 leaves zero.
const SUM_BYTES: usize = 8;
const SUM_PADDING_BYTES: usize = 4;
/// No unsynced write reaches further than this: the writer's batches are far shorter. A valid record beyond it
/// was synced after the ones before it.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Judges the place where `reader` found `found` instead of a record.
pub(super) fn judge(reader: &mut SegmentReader, found: Framed) -> Result<SegmentEnd> {
    let start = reader.offset;
    let Some(last) = reader.last_nonzero_from(start)? else {
        return Ok(SegmentEnd { offset: start, torn: false });
    };
    let torn = SegmentEnd { offset: start, torn: true };
    let next = find_record(reader, start + 1, last)?;
    let suspect_end = next.unwrap_or(last + 1);
    let was_synced = suspect_end - start > UNSYNCED_BYTES_MAX;
    if !was_synced && (has_hole(reader, start, suspect_end)? || has_lost_its_beginning(reader, start)?) {
        return Ok(torn);
    }
    match (found, next) {
        // The file, or what was written of it, ends inside the record.
        (Framed::Incomplete, None) if !is_whole_but_for_length(reader, start, last)? => Ok(torn),
        (Framed::Nothing | Framed::Incomplete, None) if last - start < FRAME_HEAD_BYTES as u64 => Ok(torn),
        (Framed::Flawed(flaw), _) => Err(reader.corrupt(start, flaw)),
        _ => Err(reader.corrupt(start, LogFlaw::Length)),
    }
}

/// Whether some sector's part of `start..end` was never written. The last sector counts only if it is whole.
fn has_hole(reader: &mut SegmentReader, start: u64, end: u64) -> Result<bool> {
    let mut at = start;
    while at < end {
        let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let part_end = sector_end.min(end);
        let len = usize::try_from(part_end - at).expect("at most a sector");
        // A record's first bytes are zero by nature: a checksum has 8 bytes, of which Adler32 uses 4.
        let long_enough = len > FRAME_HEAD_BYTES;
        if let Some(part) = reader.peek(at, len)?
            && long_enough
            && part.iter().all(|byte| *byte == 0)
        {
            return Ok(true);
        }
        at = part_end;
    }
    Ok(false)
}

/// Whether the record at `start` begins so shortly before the end of a sector that the hole there is only a part
/// of its head: what follows is all there.
fn has_lost_its_beginning(reader: &mut SegmentReader, start: u64) -> Result<bool> {
    let len = usize::try_from(SECTOR_BYTES - start % SECTOR_BYTES).expect("at most a sector");
    // The upper 4 bytes of the checksum are zero anyway: losing them loses nothing.
    if !(SUM_PADDING_BYTES + 1..=FRAME_HEAD_BYTES).contains(&len) {
        return Ok(false);
    }
    let Some(head) = reader.peek(start, FRAME_HEAD_BYTES)? else {
        return Ok(false);
    };
    if head[..len].iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    if len >= SUM_BYTES {
        // No checksum is zero.
        return Ok(true);
    }
    // The checksum's first bytes may be zero by chance. Then the others would not fit either.
    let (sum, length) = split_head(&head);
    let Some(record) = reader.peek(start, FRAME_BYTES.saturating_add(length))? else {
        return Ok(false);
    };
    let computed = u64::from(checksum(&record[FRAME_HEAD_BYTES..record.len() - 1]));
    let kept = (1 << (8 * (SUM_BYTES - len))) - 1;
    Ok(record.last() == Some(&RECORD_END) && sum == computed & kept)
}

/// Where between `from` and `last` a valid record begins.
fn find_record(reader: &mut SegmentReader, from: u64, last: u64) -> Result<Option<u64>> {
    let mut at = from;
    while at + FRAME_BYTES as u64 <= last + 1 {
        if looks_like_record(reader, at)? && matches!(reader.framed_at(at)?, Framed::Record(_)) {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

/// A cheap test, so that checksums are only computed where one may be right.
fn looks_like_record(reader: &mut SegmentReader, at: u64) -> Result<bool> {
    let Some(head) = reader.peek(at, FRAME_HEAD_BYTES)? else {
        return Ok(false);
    };
    let (sum, length) = split_head(&head);
    Ok(sum != 0 && u32::try_from(sum).is_ok() && (20..=PAYLOAD_BYTES_MAX).contains(&length))
}

/// Whether the record that begins at `start` and ends with `last` is complete and only its length is wrong.
fn is_whole_but_for_length(reader: &mut SegmentReader, start: u64, last: u64) -> Result<bool> {
    let Ok(len) = usize::try_from(last + 1 - start) else {
        return Ok(false);
    };
    if len <= FRAME_BYTES {
        return Ok(false);
    }
    let Some(record) = reader.peek(start, len)? else {
        return Ok(false);
    };
    let (sum, _) = split_head(&record);
    let payload = &record[FRAME_HEAD_BYTES..len - 1];
    Ok(record[len - 1] == RECORD_END && sum == u64::from(checksum(payload)) && zxid_of(payload).is_some())
}
