//! How the files of a partition are called. Kafka's `LogFileUtils`.

use std::path::{Path, PathBuf};

/// What a file in a partition's directory holds; all are named after an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// The batches.
    Log,
    /// Offset → position.
    OffsetIndex,
    /// Timestamp → offset.
    TimeIndex,
    /// Aborted transactions; Kafka may have left one.
    TxnIndex,
    /// What producers had sent before the offset.
    Snapshot,
}

impl FileKind {
    const ALL: [Self; 5] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex, Self::Snapshot];
    /// Those that make up a segment.
    pub(super) const OF_SEGMENT: [Self; 4] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex];

    fn extension(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }
}

/// What a file is called while it is no part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is part of the log.
    Live,
    /// It was, and will be removed.
    Deleted,
    /// Compaction is writing it.
    Cleaned,
    /// Compaction has written it, and what it replaces may still be there.
    Swap,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }
}

/// A file's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) offset: i64,
    pub(super) kind: FileKind,
    pub(super) stage: Stage,
}

impl FileName {
    pub(super) fn live(offset: i64, kind: FileKind) -> Self {
        Self { offset, kind, stage: Stage::Live }
    }

    /// `None` for a name that no file of a log has.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let stages = [Stage::Deleted, Stage::Cleaned, Stage::Swap];
        let staged = stages.into_iter().find_map(|stage| Some((name.strip_suffix(stage.suffix())?, stage)));
        let (name, stage) = staged.unwrap_or((name, Stage::Live));
        let (digits, kind) =
            FileKind::ALL.into_iter().find_map(|kind| Some((name.strip_suffix(kind.extension())?, kind)))?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { offset: digits.parse().ok()?, kind, stage })
    }

    pub(super) fn in_dir(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}{}{}", self.offset, self.kind.extension(), self.stage.suffix()))
    }
}

/// The live file of this kind.
pub(super) fn path_of(dir: &Path, offset: i64, kind: FileKind) -> PathBuf {
    FileName::live(offset, kind).in_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_offset_in_twenty_digits() {
        let path = path_of(Path::new("d"), 170_210, FileKind::TimeIndex);
        assert_eq!(path, Path::new("d/00000000000000170210.timeindex"));
        let name = FileName { offset: 5, kind: FileKind::Log, stage: Stage::Swap };
        assert_eq!(name.in_dir(Path::new("d")), Path::new("d/00000000000000000005.log.swap"));
        assert_eq!(FileName::parse("00000000000000000005.log.swap"), Some(name));
    }

    #[test]
    fn other_names_are_not_taken_for_files_of_the_log() {
        for name in
            ["partition.metadata", ".log", "1.logs", "-5.log", "99999999999999999999.log", "5", "+5.log"]
        {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
