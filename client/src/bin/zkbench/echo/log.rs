//! The file that writes go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Used round and round, so that no sync ever has to allocate blocks.
const LOG_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Log {
    file: File,
    at: u64,
}

impl Log {
    /// Creates the file and fills it with zeros.
    pub(super) fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..LOG_BYTES / zeros.len() {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    /// One write and one `fdatasync`.
    pub(super) fn append_and_sync(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.at + bytes.len() as u64 > LOG_BYTES as u64 {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()
    }
}
