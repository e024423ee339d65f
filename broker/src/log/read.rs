//! What goes out of the log: ranges of its files, which the sender hands to the socket, and offsets.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;

use super::Log;
use super::batch::Batch;
use super::error::Error;
use super::scan::Scan;
use super::segment::{Found, Segment};

/// Whole batches in a file. The file stays readable even if it is removed from the log meanwhile.
#[derive(Debug, Clone)]
#[doc(alias = "FetchDataInfo")]
pub struct Slice {
    /// The segment.
    pub file: Arc<File>,
    /// Where they begin.
    pub position: u64,
    /// How many bytes they are; 0 where there is nothing to read.
    pub len: usize,
    /// The base offset of the first batch, which may be before the offset asked for; that offset if there is
    /// nothing.
    pub first_offset: i64,
}

impl Slice {
    /// The batches in memory, for who cannot hand the file to a socket.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes)
    }
}

/// An answer to ListOffsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Of the record.
    pub timestamp: i64,
    /// Of the record.
    pub offset: i64,
    /// Of the leader that appended it.
    pub leader_epoch: i32,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such offset.
    #[error("offset {offset} is not within {start} and {end}")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// Where the log begins.
        start: i64,
        /// Where it ends.
        end: i64,
    },
    /// The disk refuses, or what is on it is wrong.
    #[error(transparent)]
    Disk(#[from] Error),
}

impl ReadError {
    /// What a client is told.
    pub fn response(&self) -> ResponseError {
        match self {
            Self::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
            Self::Disk(error) => error.response(),
        }
    }
}

impl Log {
    /// Whole batches from the one that holds `from` on, of which none holds an offset of `upto` or more, at most
    /// `max_bytes` of them. With `at_least_one`, the first comes even if it is larger. All are of one segment.
    ///
    /// # Errors
    /// `from` is before the log's start or after its end, or the disk refuses.
    pub fn read(
        &self,
        from: i64,
        upto: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        if from < self.start_offset || from > self.end_offset {
            return Err(ReadError::OutOfRange {
                offset: from,
                start: self.start_offset,
                end: self.end_offset,
            });
        }
        let upto = upto.min(self.end_offset);
        if from < upto {
            for at in self.segment_of(from)..self.segments.len() {
                // A segment may hold nothing from `from` on: compaction took it.
                if let Some(found) = self.segments[at].find(from)? {
                    return Ok(self.slice(at, found, upto, max_bytes, at_least_one)?);
                }
            }
        }
        let active = self.active();
        Ok(Slice { file: active.file().clone(), position: active.size(), len: 0, first_offset: from })
    }

    fn slice(
        &self,
        at: usize,
        found: Found,
        upto: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slice, Error> {
        let segment = &self.segments[at];
        let begin = found.position;
        let end = self.position_of(at, upto)?.max(begin);
        let limit = begin.saturating_add(max_bytes as u64);
        let mut stop = if limit >= end { end } else { segment.whole_batches(begin, limit)? };
        if stop == begin && at_least_one {
            stop = (begin + found.head.size() as u64).min(end);
        }
        let len = usize::try_from(stop - begin).unwrap_or(usize::MAX);
        let first_offset = found.head.base_offset;
        Ok(Slice { file: segment.file().clone(), position: begin, len, first_offset })
    }

    /// Where, in segment `at`, the batches end that are before offset `upto`.
    fn position_of(&self, at: usize, upto: i64) -> Result<u64, Error> {
        let segment = &self.segments[at];
        let next = self.segments.get(at + 1).map_or(self.end_offset, Segment::base_offset);
        if upto >= next {
            return Ok(segment.size());
        }
        Ok(segment.find(upto)?.map_or(segment.size(), |found| found.position))
    }

    /// The first record whose timestamp is `timestamp` or above.
    ///
    /// # Errors
    /// The disk refuses, or a batch on it is not readable.
    #[doc(alias = "fetchOffsetByTimestamp")]
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, Error> {
        for segment in self.segments.iter().skip(self.segment_of(self.start_offset)) {
            let mut from = self.start_offset;
            while let Some(found) = segment.find_by_time(timestamp, from)? {
                let record = record_in(segment, &found, |at, offset| at >= timestamp && offset >= from)?;
                if record.is_some() {
                    return Ok(record);
                }
                from = found.head.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of all.
    ///
    /// # Errors
    /// The disk refuses, or a batch on it is not readable.
    pub fn newest_record(&self) -> Result<Option<TimestampOffset>, Error> {
        let mut newest: Option<i64> = None;
        for (timestamp, _) in self.segments.iter().filter_map(Segment::newest) {
            newest = newest.max(Some(timestamp));
        }
        newest.map_or(Ok(None), |timestamp| self.offset_for_timestamp(timestamp))
    }

    /// The epoch of the leader that appended `offset`, for answers to ListOffsets.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.epoch_at(offset)
    }
}

/// The first record of a batch whose timestamp and offset are `wanted`.
fn record_in(
    segment: &Segment,
    found: &Found,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampOffset>, Error> {
    let mut scan = Scan::batches(segment.file(), found.position, found.position + found.head.size() as u64);
    let Some((position, batch)) = scan.next_batch().map_err(|it| segment.unreadable(it))? else {
        return Ok(None);
    };
    first_record(&batch, wanted).map_err(|source| Error::CorruptBatch {
        path: segment.path(),
        position,
        source,
    })
}

fn first_record(
    batch: &Batch<'_>,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampOffset>, super::batch::Flaw> {
    for record in &batch.records()? {
        let record = record?;
        if wanted(record.timestamp, record.offset) {
            return Ok(Some(TimestampOffset {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch: batch.head.leader_epoch,
            }));
        }
    }
    Ok(None)
}
