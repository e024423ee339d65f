//! Going through the batches of a segment without an index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::batch::{Batch, BatchHead, Flaw, HEAD_BYTES};
use super::error::Error;

/// Enough for the heads of many small batches, little to read in vain between large ones.
const HEADS_WINDOW_BYTES: usize = 8 << 10;
/// For reading all that there is.
const BATCHES_WINDOW_BYTES: usize = 256 << 10;

/// Why a scan ended early.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The file could not be read.
    Io(io::Error),
    /// What is at this position is no batch.
    Flaw(u64, Flaw),
}

impl ScanError {
    /// For scans of what must be whole.
    pub(super) fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io("read", path)(source),
            Self::Flaw(position, source) => Error::CorruptBatch { path: path.to_owned(), position, source },
        }
    }
}

/// Reads a range of a segment batch by batch, through a window that is as large as a batch at least.
#[derive(Debug)]
pub(super) struct Scan<'f> {
    file: &'f File,
    next: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'f> Scan<'f> {
    /// For [`Self::next_head`], from `position`, where a batch must begin, up to `end`.
    pub(super) fn heads(file: &'f File, position: u64, end: u64) -> Self {
        Self::new(file, position, end, HEADS_WINDOW_BYTES)
    }

    /// For [`Self::next_batch`], from `position`, where a batch must begin, up to `end`.
    pub(super) fn batches(file: &'f File, position: u64, end: u64) -> Self {
        Self::new(file, position, end, BATCHES_WINDOW_BYTES)
    }

    fn new(file: &'f File, next: u64, end: u64, window_bytes: usize) -> Self {
        Self { file, next, end, window: Vec::new(), window_at: next, window_bytes }
    }

    /// The next batch's position and head; `None` at the end.
    pub(super) fn next_head(&mut self) -> Result<Option<(u64, BatchHead)>, ScanError> {
        let at = self.next;
        if at >= self.end {
            return Ok(None);
        }
        let head_bytes = self.left(at).min(HEAD_BYTES);
        let head = BatchHead::parse(self.fill(at, head_bytes).map_err(ScanError::Io)?)
            .map_err(|flaw| ScanError::Flaw(at, flaw))?;
        if head.size() > self.left(at) {
            let flaw = Flaw::Truncated { needed: head.size(), found: self.left(at) };
            return Err(ScanError::Flaw(at, flaw));
        }
        self.next = at + head.size() as u64;
        Ok(Some((at, head)))
    }

    /// The next batch's position and all of it; `None` at the end. Its CRC has not been checked.
    pub(super) fn next_batch(&mut self) -> Result<Option<(u64, Batch<'_>)>, ScanError> {
        let Some((at, head)) = self.next_head()? else {
            return Ok(None);
        };
        self.batch(at, &head).map(|batch| Some((at, batch)))
    }

    /// All of the batch whose head [`Self::next_head`] has just returned.
    pub(super) fn batch(&mut self, at: u64, head: &BatchHead) -> Result<Batch<'_>, ScanError> {
        let bytes = self.fill(at, head.size()).map_err(ScanError::Io)?;
        Batch::split(bytes).map(|(batch, _)| batch).map_err(|flaw| ScanError::Flaw(at, flaw))
    }

    fn left(&self, at: u64) -> usize {
        usize::try_from(self.end - at).unwrap_or(usize::MAX)
    }

    /// `length` bytes from `at` on, all before the end.
    fn fill(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        if from.saturating_add(length) <= self.window.len() {
            return Ok(&self.window[from..from + length]);
        }
        let wanted = length.max(self.window_bytes).min(self.left(at));
        self.window.resize(wanted, 0);
        self.window_at = at;
        if let Err(error) = self.file.read_exact_at(&mut self.window, at) {
            self.window.clear();
            return Err(error);
        }
        Ok(&self.window[..length])
    }
}
