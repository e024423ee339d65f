//! What can go wrong with the disk, and with what is on it.

use std::io;
use std::path::{Path, PathBuf};

use jute::DecodeError;

use crate::zab::Zxid;

/// Why storage cannot go on. All but [`Error::Full`] stop the server: a failed write or sync is never retried,
/// since after it nobody knows what is on the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// Of what.
        path: PathBuf,
        /// Tried to do what.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No room for what would have been written. Nothing was, and nothing that was acknowledged is at risk.
    #[error("no space left for {path}")]
    Full {
        /// What should have grown.
        path: PathBuf,
    },
    /// A log whose bytes are wrong before its end.
    #[error(
        "{path}, offset {offset}: {what}; look with `zkserver dump-log {path}`, repair with \
         `zkserver dump-log --recover {path}` or cut there with `--chop`"
    )]
    CorruptLog {
        /// Which file.
        path: PathBuf,
        /// Where its first wrong record begins.
        offset: u64,
        /// What is wrong there.
        what: LogFlaw,
    },
    /// Txns are missing between two that are there.
    #[error(
        "{path}, offset {offset}: txn {found} follows {last}: those between are missing; bring back the log \
         files that hold them, or start from a newer snapshot"
    )]
    LogGap {
        /// The file of the second.
        path: PathBuf,
        /// And where in it.
        offset: u64,
        /// The first.
        last: Zxid,
        /// The second.
        found: Zxid,
    },
    /// A snapshot that cannot be read.
    #[error("{path}: {what}")]
    CorruptSnapshot {
        /// A file, or RocksDB's directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The database and the log tell different stories.
    #[error("{path}: {what}")]
    Diverged {
        /// The database.
        path: PathBuf,
        /// How they differ, and what to do.
        what: String,
    },
    /// The directory is not one to work in, or not now.
    #[error("{path}: {what}")]
    Refused {
        /// Which one.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// A small file, such as `myid` or `currentEpoch`, that does not hold what it should.
    #[error("{path}: {what}")]
    BadFile {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: String,
    },
    /// A whole snapshot was to take the place of another, and neither is in its place now. The next start settles
    /// that in favour of the new one; nothing may be logged before.
    #[error("{path}: stopped halfway between two snapshots")]
    Halfway {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// RocksDB refused.
    #[error("{path}: the snapshot database failed")]
    Database {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: rocksdb::Error,
    },
}

/// What can be wrong with a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogFlaw {
    /// The first 16 bytes are no log's.
    #[error("this is no transaction log")]
    Header,
    /// The Adler32 of the payload is not the one stored with it.
    #[error("wrong checksum")]
    Checksum,
    /// The length is impossible, or the record's end is not where it says.
    #[error("wrong length")]
    Length,
    /// The payload is no txn.
    #[error("undecodable txn ({0})")]
    Txn(DecodeError),
    /// A txn that is older than the one before it.
    #[error("txn {found} follows {last}")]
    Order {
        /// The one before.
        last: Zxid,
        /// The older one.
        found: Zxid,
    },
}

/// The result of what touches the disk.
pub type Result<T> = std::result::Result<T, Error>;

/// Names path and action of an I/O error, and tells a full disk from the rest.
pub(crate) trait IoContext<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { path: path.to_owned() }
            }
            _ => Error::Io { path: path.to_owned(), action, source },
        })
    }
}

impl Error {
    pub(crate) fn corrupt_snapshot(path: &Path, what: impl Into<String>) -> Self {
        Self::CorruptSnapshot { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn refused(path: &Path, what: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn database(path: &Path) -> impl Fn(rocksdb::Error) -> Self + '_ {
        |source| Self::Database { path: path.to_owned(), source }
    }
}
