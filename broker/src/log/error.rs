//! What can go wrong with a log: with the disk, and with what someone wants to append.

use std::io;
use std::path::{Path, PathBuf};

use kafka_protocol::error::ResponseError;

use super::batch::Flaw;

/// Why the disk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// Tried to do what.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No room for what would have been written. Nothing was appended, and the log goes on once there is room.
    #[error("no space left for {path}")]
    Full {
        /// The file that should have grown.
        path: PathBuf,
    },
    /// A file that is not what its name says.
    #[error("{path}: {what}")]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A batch that was whole once is not any more.
    #[error("{path}, byte {position}")]
    CorruptBatch {
        /// The segment.
        path: PathBuf,
        /// Where it begins.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: Flaw,
    },
    /// The directory is not one to work in.
    #[error("{path}: {what}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// A write or a sync has failed before: what is on the disk is not known any more.
    #[error("{path} takes no more appends since a write to it failed")]
    Failed {
        /// The partition's directory.
        path: PathBuf,
    },
}

impl Error {
    /// What a client is told.
    pub fn response(&self) -> ResponseError {
        ResponseError::KafkaStorageError
    }

    /// For `map_err`: `File::open(path).map_err(Error::io("open", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { action, path, source },
        }
    }

    /// For `map_err` of a sync: whatever the reason is, what is on disk is not known after it.
    pub(crate) fn sync(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action: "sync", path, source }
    }

    /// Whether the same may be tried again later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// Why what was asked to be appended was not: the fault is the producer's, the log is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not those that were sent.
    #[error(transparent)]
    Corrupt(#[from] Flaw),
    /// The batch says something that may not be.
    #[error("{what}")]
    InvalidBatch {
        /// What.
        what: &'static str,
    },
    /// A record says something that may not be.
    #[error("record {index}: {what}")]
    InvalidRecord {
        /// Its number in the batch.
        index: i32,
        /// What.
        what: &'static str,
    },
    /// A record is too old, or from too far in the future.
    #[error("record {index} has timestamp {timestamp}, which is not within {from} and {upto}")]
    InvalidTimestamp {
        /// Its number in the batch.
        index: i32,
        /// What it has.
        timestamp: i64,
        /// The earliest it may have.
        from: i64,
        /// The latest.
        upto: i64,
    },
    /// `max.message.bytes`.
    #[error("the batch has {size} bytes, of at most {max}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// `segment.bytes`.
    #[error("the batch has {size} bytes, and a segment at most {max}")]
    BeyondSegment {
        /// Its size.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// A codec nobody knows.
    #[error("compression {0} is unknown")]
    UnknownCodec(i16),
    /// No transaction was begun here.
    #[error("the batch belongs to no transaction that is known")]
    NoTransaction,
    /// It was appended before, too long ago to know where.
    #[error("producer {producer_id} sent sequence {sequence} again, after {last}")]
    DuplicateSequence {
        /// Whose.
        producer_id: i64,
        /// What it sent.
        sequence: i32,
        /// The last that was appended.
        last: i32,
    },
    /// A batch before it is missing.
    #[error("producer {producer_id} sent sequence {sequence} after {last}")]
    OutOfOrderSequence {
        /// Whose.
        producer_id: i64,
        /// What it sent.
        sequence: i32,
        /// The last that was appended.
        last: i32,
    },
    /// Another instance of the producer has taken over.
    #[error("producer {producer_id} sent epoch {epoch} after {last}")]
    StaleProducerEpoch {
        /// Whose.
        producer_id: i64,
        /// What it sent.
        epoch: i16,
        /// The latest.
        last: i16,
    },
    /// What a leader sent does not go on where the log ends.
    #[error("offset {offset} was to be appended where {expected} is next")]
    UnexpectedOffset {
        /// What was sent.
        offset: i64,
        /// The log's end.
        expected: i64,
    },
}

impl Refusal {
    /// What a client is told.
    pub fn response(&self) -> ResponseError {
        match self {
            Self::Corrupt(_) => ResponseError::CorruptMessage,
            Self::InvalidBatch { .. } | Self::InvalidRecord { .. } => ResponseError::InvalidRecord,
            Self::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
            Self::TooLarge { .. } => ResponseError::MessageTooLarge,
            Self::BeyondSegment { .. } => ResponseError::RecordListTooLarge,
            Self::UnknownCodec(_) => ResponseError::UnsupportedCompressionType,
            Self::NoTransaction => ResponseError::InvalidTxnState,
            Self::DuplicateSequence { .. } => ResponseError::DuplicateSequenceNumber,
            Self::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            Self::StaleProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            Self::UnexpectedOffset { .. } => ResponseError::OffsetOutOfRange,
        }
    }

    /// The number of the record that is at fault, for the answer's record errors.
    pub fn record_index(&self) -> Option<i32> {
        match self {
            Self::InvalidRecord { index, .. } | Self::InvalidTimestamp { index, .. } => Some(*index),
            _ => None,
        }
    }
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] Error),
}

impl AppendError {
    /// What a client is told.
    pub fn response(&self) -> ResponseError {
        match self {
            Self::Refused(refusal) => refusal.response(),
            Self::Disk(error) => error.response(),
        }
    }
}
