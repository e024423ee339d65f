//! Reading one file of the log.

use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use jute::Jute;
use jute::txn::Txn;

use super::{FRAME_BYTES, FRAME_HEAD_BYTES, HEADER_BYTES, PAYLOAD_BYTES_MAX, RECORD_END, checksum, tail};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::error::{Error, IoContext, LogFlaw, Result};
use crate::zab::Zxid;

/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// One record of the log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its txn's.
    pub zxid: Zxid,
    /// Header, txn and digest, as they go into a PROPOSAL.
    pub payload: Bytes,
    /// Where in its file it begins.
    pub offset: u64,
}

impl LogRecord {
    /// The txn; an error names `path` as the file it came from.
    ///
    /// # Errors
    /// When the payload, though its checksum is right, is no txn.
    pub fn txn(&self, path: &Path) -> Result<Txn> {
        Txn::from_bytes(&self.payload).map_err(|flaw| Error::CorruptLog {
            path: path.to_owned(),
            offset: self.offset,
            what: LogFlaw::Txn(flaw),
        })
    }
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Behind the last complete record.
    pub offset: u64,
    /// Something stands behind it: what a crash left of records that were never synced.
    pub torn: bool,
}

/// Reads the records of one file, one after the other.
#[derive(Debug)]
pub struct SegmentReader {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) offset: u64,
    window: Bytes,
    window_at: u64,
    end: Option<SegmentEnd>,
}

/// What stands where a record should.
pub(super) enum Framed {
    /// A complete record with the right checksum.
    Record(Bytes),
    /// Length 0, or nothing.
    Nothing,
    /// The record, or the file, ends early.
    Incomplete,
    /// Something else.
    Flawed(LogFlaw),
}

impl SegmentReader {
    /// Opens the file and checks its header. A file too short for one is an empty segment, torn at its beginning.
    ///
    /// # Errors
    /// When it cannot be read, or is no log.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let file = disk.open_read(path).during("open", path)?;
        let size = file.size().during("read", path)?;
        let mut reader = Self {
            file,
            path: path.to_owned(),
            size,
            offset: 0,
            window: Bytes::new(),
            window_at: 0,
            end: None,
        };
        match reader.peek(0, HEADER_BYTES as usize)? {
            Some(bytes) if bytes == super::header() => {
                reader.offset = HEADER_BYTES;
            }
            // Made, but never synced: it holds nothing that was acknowledged.
            None => reader.end = Some(SegmentEnd { offset: 0, torn: size > 0 }),
            Some(bytes) if reader.is_unfinished_header(&bytes)? => {
                reader.end = Some(SegmentEnd { offset: 0, torn: true });
            }
            Some(_) => return Err(reader.corrupt(0, LogFlaw::Header)),
        }
        Ok(reader)
    }

    /// The next record; `None` at the end, of which [`SegmentReader::end`] then tells.
    ///
    /// # Errors
    /// When the file cannot be read, or is wrong before its end.
    pub fn next_record(&mut self) -> Result<Option<LogRecord>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.framed_at(self.offset)? {
            Framed::Record(payload) => self.pass(payload).map(Some),
            other => {
                self.end = Some(tail::judge(self, other)?);
                Ok(None)
            }
        }
    }

    /// The next record of a file that may still be written to; `None` where there is none yet. Not to be asked for
    /// what is being written just now.
    ///
    /// # Errors
    /// When the file cannot be read, or what stands there is neither a record nor room for one.
    pub(super) fn next_written(&mut self) -> Result<Option<LogRecord>> {
        let offset = self.offset;
        match self.framed_at(offset)? {
            Framed::Record(payload) => self.pass(payload).map(Some),
            Framed::Nothing | Framed::Incomplete => Ok(None),
            Framed::Flawed(flaw) => Err(self.corrupt(offset, flaw)),
        }
    }

    /// How the file ends, once [`SegmentReader::next_record`] has said that it does.
    #[must_use]
    pub fn end(&self) -> Option<SegmentEnd> {
        self.end
    }

    /// Behind the record that was read last.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes behind the record that holds `payload`.
    fn pass(&mut self, payload: Bytes) -> Result<LogRecord> {
        let offset = self.offset;
        self.offset += (payload.len() + FRAME_BYTES) as u64;
        let zxid = zxid_of(&payload).ok_or_else(|| self.corrupt(offset, LogFlaw::Length))?;
        Ok(LogRecord { zxid, payload, offset })
    }

    /// Judges the bytes at `offset` as a record.
    pub(super) fn framed_at(&mut self, offset: u64) -> Result<Framed> {
        let Some(head) = self.peek(offset, FRAME_HEAD_BYTES)? else {
            return Ok(Framed::Incomplete);
        };
        let (sum, length) = split_head(&head);
        if length == 0 {
            return Ok(Framed::Nothing);
        }
        if length > PAYLOAD_BYTES_MAX {
            return Ok(Framed::Flawed(LogFlaw::Length));
        }
        let Some(record) = self.peek(offset, FRAME_BYTES + length)? else {
            return Ok(Framed::Incomplete);
        };
        let payload = record.slice(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length);
        let sum_is_right = sum == u64::from(checksum(&payload));
        match record.last() {
            Some(&RECORD_END) if sum_is_right => Ok(Framed::Record(payload)),
            Some(&RECORD_END) => Ok(Framed::Flawed(LogFlaw::Checksum)),
            Some(0) => Ok(Framed::Incomplete),
            _ => Ok(Framed::Flawed(LogFlaw::Length)),
        }
    }

    /// The `len` bytes at `offset`; `None` if the file ends before.
    pub(super) fn peek(&mut self, offset: u64, len: usize) -> Result<Option<Bytes>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let in_window =
            offset >= self.window_at && offset + len as u64 <= self.window_at + self.window.len() as u64;
        if !in_window {
            let wanted = (WINDOW_BYTES.max(len) as u64).min(self.size - offset);
            let wanted = usize::try_from(wanted).expect("a window is at most a record or a mebibyte");
            let mut window = BytesMut::zeroed(wanted);
            let read = self.file.read_at(offset, &mut window).during("read", &self.path)?;
            window.truncate(read);
            (self.window, self.window_at) = (window.freeze(), offset);
            if read < len {
                return Ok(None);
            }
        }
        let at = usize::try_from(offset - self.window_at).expect("checked to lie in the window");
        Ok(Some(self.window.slice(at..at + len)))
    }

    /// Whether a write of the header was torn: a first part of it is there, and nothing else in the file.
    fn is_unfinished_header(&mut self, bytes: &[u8]) -> Result<bool> {
        let written = last_nonzero(bytes).map_or(0, |last| last + 1);
        Ok(super::header().starts_with(&bytes[..written]) && self.last_nonzero_from(HEADER_BYTES)?.is_none())
    }

    /// Where the last byte at or behind `offset` stands that is not zero.
    pub(super) fn last_nonzero_from(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut last = None;
        let mut at = offset;
        while at < self.size {
            let len = (WINDOW_BYTES as u64).min(self.size - at);
            let Some(bytes) = self.peek(at, usize::try_from(len).expect("at most a window"))? else {
                break;
            };
            if let Some(found) = last_nonzero(&bytes) {
                last = Some(at + found as u64);
            }
            at += len;
        }
        Ok(last)
    }

    pub(super) fn corrupt(&self, offset: u64, what: LogFlaw) -> Error {
        Error::CorruptLog { path: self.path.clone(), offset, what }
    }
}

/// Checksum and length of a record. A length whose sign is set is too long, like any other above the limit.
pub(super) fn split_head(mut head: &[u8]) -> (u64, usize) {
    let sum = head.get_u64();
    (sum, head.get_u32() as usize)
}

/// Reads the zxid out of a payload's header: behind the session (8 bytes) and the client's xid (4).
pub(super) fn zxid_of(payload: &[u8]) -> Option<Zxid> {
    let bytes = payload.get(12..20)?;
    Some(Zxid(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// Position of the last byte that is not zero. Zeros are the common case, and long: compare them in blocks.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    for block in bytes.rchunks(ZEROS.len()) {
        if block != &ZEROS[..block.len()] {
            let start = end - block.len();
            return block.iter().rposition(|byte| *byte != 0).map(|at| start + at);
        }
        end -= block.len();
    }
    None
}
