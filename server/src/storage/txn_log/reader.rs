//! Reading the log across its files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::{LogRecord, SegmentReader};
use super::{LogFile, log_files};
use crate::storage::disk::Disk;
use crate::storage::error::{Error, LogFlaw, Result};
use crate::zab::Zxid;

/// Where the log ends, and so where it can be carried on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogEnd {
    /// The last txn; `None` if there is none.
    pub last: Option<Zxid>,
    /// The last file, and the offset behind its last record. What stands there was never acknowledged.
    pub file: Option<(PathBuf, u64)>,
    /// Something does stand there.
    pub torn: bool,
}

/// Reads txns in the order of their zxids. `FileTxnLog.FileTxnIterator`.
#[derive(Debug)]
#[doc(alias = "FileTxnIterator")]
#[doc(alias = "TxnIterator")]
pub struct TxnLogReader {
    disk: Arc<dyn Disk>,
    from: Zxid,
    files: VecDeque<LogFile>,
    segment: Option<SegmentReader>,
    /// By the name of the file that is being read.
    first: Zxid,
    end: LogEnd,
}

impl TxnLogReader {
    /// Reads the log in `dir` beginning with `from`, or the first txn after it.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, from: Zxid) -> Result<Self> {
        let files = log_files(&*disk, dir)?;
        let start = files.iter().rposition(|file| file.first <= from).unwrap_or(0);
        let files = files.into_iter().skip(start).collect();
        Ok(Self { disk, from, files, segment: None, first: Zxid::ZERO, end: LogEnd::default() })
    }

    /// The next txn; `None` at the end of the log, of which [`TxnLogReader::end`] then tells.
    ///
    /// # Errors
    /// When a file cannot be read, is wrong before its end, or txns are out of order.
    pub fn next_record(&mut self) -> Result<Option<LogRecord>> {
        while let Some(record) = self.next_of_any()? {
            if record.zxid >= self.from {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The file the last record came from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.end.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Where the log ends, as far as it has been read.
    #[must_use]
    pub fn end(&self) -> &LogEnd {
        &self.end
    }

    /// The next record, also of those before `from` that share its file.
    fn next_of_any(&mut self) -> Result<Option<LogRecord>> {
        loop {
            let Some(segment) = &mut self.segment else {
                let Some(file) = self.files.pop_front() else {
                    return Ok(None);
                };
                let segment = SegmentReader::open(&*self.disk, &file.path)?;
                self.first = file.first;
                self.end.file = Some((file.path, segment.offset()));
                self.end.torn = false;
                self.segment = Some(segment);
                continue;
            };
            let record = segment.next_record()?;
            if let Some((_, offset)) = &mut self.end.file {
                *offset = segment.offset();
            }
            let Some(record) = record else {
                self.end.torn = segment.end().is_some_and(|end| end.torn);
                self.segment = None;
                continue;
            };
            // An older server may have logged a proposal twice in a row.
            if self.end.last == Some(record.zxid) {
                continue;
            }
            // A file that begins before its name would be overwritten by the file that deserves it.
            let least = self.end.last.max(Some(self.first));
            check_order(least, &record, segment.path())?;
            self.end.last = Some(record.zxid);
            return Ok(Some(record));
        }
    }
}

fn check_order(last: Option<Zxid>, record: &LogRecord, path: &Path) -> Result<()> {
    match last {
        Some(last) if record.zxid < last => Err(Error::CorruptLog {
            path: path.to_owned(),
            offset: record.offset,
            what: LogFlaw::Order { last, found: record.zxid },
        }),
        _ => Ok(()),
    }
}
