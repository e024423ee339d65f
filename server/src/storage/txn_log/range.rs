//! Reading a part of the log while it goes on being written: what learners that were away for longer are sent.

use std::collections::VecDeque;
use std::path::Path;

use super::segment::{LogRecord, SegmentReader};
use super::{FRAME_BYTES, log_files};
use crate::storage::disk::Disk;
use crate::storage::error::{Error, Result};
use crate::zab::Zxid;

/// Txns in a row, all of which were written before it was asked for them. The files stay open, so that none is lost
/// when it is purged meanwhile.
#[derive(Debug)]
pub struct LogRange {
    segments: VecDeque<SegmentReader>,
    /// The one before the next.
    last: Zxid,
    upto: Zxid,
}

impl LogRange {
    /// The txns in `(after, upto]` of the log in `dir`. All of them have been written: to the file, if not yet safely.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(disk: &dyn Disk, dir: &Path, after: Zxid, upto: Zxid) -> Result<Self> {
        let mut files = log_files(disk, dir)?;
        let first = files.iter().rposition(|file| file.first <= after.next()).unwrap_or(0);
        files.retain(|file| file.first <= upto);
        let segments = files.iter().skip(first).map(|file| SegmentReader::open(disk, &file.path));
        Ok(Self { segments: segments.collect::<Result<_>>()?, last: after, upto })
    }

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    /// When the log cannot be read, or lacks a txn.
    pub fn next_record(&mut self) -> Result<Option<LogRecord>> {
        while self.last < self.upto {
            let Some(segment) = self.segments.front_mut() else {
                return Err(self.missing(Path::new("the log"), 0, self.upto));
            };
            let Some(record) = segment.next_written()? else {
                self.segments.pop_front();
                continue;
            };
            if record.zxid <= self.last {
                continue;
            }
            if !record.zxid.may_follow(self.last) || record.zxid > self.upto {
                let path = segment.path().to_owned();
                return Err(self.missing(&path, record.offset, record.zxid));
            }
            self.last = record.zxid;
            return Ok(Some(record));
        }
        Ok(None)
    }

    /// As many more as take `bytes` in the log, one at least; none behind the last.
    ///
    /// # Errors
    /// When the log cannot be read, or lacks a txn.
    pub fn next_chunk(&mut self, bytes: usize) -> Result<Vec<LogRecord>> {
        let mut chunk = Vec::new();
        let mut taken = 0;
        while taken < bytes
            && let Some(record) = self.next_record()?
        {
            taken += record.payload.len() + FRAME_BYTES;
            chunk.push(record);
        }
        Ok(chunk)
    }

    fn missing(&self, path: &Path, offset: u64, found: Zxid) -> Error {
        Error::LogGap { path: path.to_owned(), offset, last: self.last, found }
    }
}
