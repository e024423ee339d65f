//! Where a learner's history ends in the log: may it be sent the rest, or is a snapshot the shorter way?

use std::path::Path;

use tracing::warn;

use super::segment::SegmentReader;
use super::{FRAME_BYTES, LogFile, log_files};
use crate::storage::disk::Disk;
use crate::storage::error::Result;
use crate::zab::{Trace, Zxid};

/// Finds `zxid` in the log in `dir`, as far as it has been written up to now: up to `upto`.
///
/// A snapshot would be one as of `stored`, so all after that has to be sent in any case. If what the learner needs
/// before that takes more than `bytes_max` in the log, it is [`Trace::OutOfReach`], and so it is where the log is
/// damaged or has holes.
///
/// # Errors
/// When the disk fails.
#[doc(alias = "getProposalsFromTxnLog")]
pub fn trace(
    disk: &dyn Disk,
    dir: &Path,
    zxid: Zxid,
    upto: Zxid,
    stored: Zxid,
    bytes_max: u64,
) -> Result<Trace> {
    if zxid > upto {
        return Ok(Trace::Missing { previous: upto, next: None });
    }
    let files = log_files(disk, dir)?;
    let first = files.iter().rposition(|file| file.first <= zxid).unwrap_or(0);
    let mut search = Search { zxid, upto, stored, left: bytes_max, last: None, answer: None };
    for LogFile { path, .. } in &files[first.min(files.len())..] {
        match search.read(SegmentReader::open(disk, path)?) {
            Ok(false) => {}
            Ok(true) => break,
            Err(error) => {
                warn!(%error, "a learner cannot be served from the log");
                return Ok(Trace::OutOfReach);
            }
        }
    }
    Ok(search.finish())
}

struct Search {
    zxid: Zxid,
    upto: Zxid,
    stored: Zxid,
    /// Bytes that may still be needed.
    left: u64,
    /// The last record that was seen.
    last: Option<Zxid>,
    answer: Option<Trace>,
}

impl Search {
    /// Reads a file; whether there is nothing more to be found out.
    fn read(&mut self, mut segment: SegmentReader) -> Result<bool> {
        while let Some(record) = segment.next_written()? {
            if record.zxid > self.upto {
                return Ok(true);
            }
            if self.last == Some(record.zxid) {
                continue; // An older server may have logged a proposal twice in a row.
            }
            let bytes = (record.payload.len() + FRAME_BYTES) as u64;
            if self.see(record.zxid, bytes) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next txn; whether that settles it.
    fn see(&mut self, next: Zxid, bytes: u64) -> bool {
        let last = self.last.replace(next);
        if next < self.zxid {
            return false;
        }
        if self.answer.is_none() {
            self.answer = Some(match last {
                _ if next == self.zxid => Trace::Found,
                // Whoever has the one before the first has all that is not in the log.
                None if next == self.zxid.next() => Trace::Found,
                None => Trace::OutOfReach,
                Some(previous) => Trace::Missing { previous, next: Some(next) },
            });
        }
        if next > self.zxid && last.is_some_and(|last| !next.may_follow(last)) {
            self.answer = Some(Trace::OutOfReach);
        }
        if next > self.zxid && next <= self.stored {
            match self.left.checked_sub(bytes) {
                Some(left) => self.left = left,
                None => self.answer = Some(Trace::OutOfReach),
            }
        }
        self.answer == Some(Trace::OutOfReach) || next >= self.stored
    }

    fn finish(self) -> Trace {
        match (self.answer, self.last) {
            (Some(answer), _) => answer,
            (None, Some(previous)) => Trace::Missing { previous, next: None },
            (None, None) => Trace::OutOfReach,
        }
    }
}
