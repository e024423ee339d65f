//! Small text files that are replaced as a whole: a version, a count, and so many lines. Kafka's
//! `CheckpointFile`, `OffsetCheckpointFile` and `LeaderEpochCheckpointFile`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::TopicPartition;

const VERSION: &str = "0";

/// The files in a log directory that hold an offset for each of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "OffsetCheckpointFile")]
pub enum Checkpoint {
    /// High watermarks.
    HighWatermark,
    /// What has been synced: recovery begins there.
    RecoveryPoint,
    /// Where logs begin, where that is not the start of a segment.
    LogStart,
    /// What has been compacted.
    Cleaner,
}

impl Checkpoint {
    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::HighWatermark => "replication-offset-checkpoint",
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// What stands in `log_dir`'s file; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not such a file.
    pub fn read(self, log_dir: &Path) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let path = log_dir.join(self.file_name());
        let lines = read_lines(&path)?;
        lines
            .iter()
            .map(|line| offset_line(line).ok_or_else(|| Error::corrupt(&path, format!("line '{line}'"))))
            .collect()
    }

    /// Replaces what stands there; after a crash, either the old or the new is there as a whole.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write<'a>(
        self,
        log_dir: &Path,
        offsets: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    ) -> Result<(), Error> {
        let lines = offsets.into_iter().map(|(at, offset)| format!("{} {} {offset}", at.topic, at.partition));
        write_lines(&log_dir.join(self.file_name()), lines)
    }
}

fn offset_line(line: &str) -> Option<(TopicPartition, i64)> {
    let mut words = line.split_ascii_whitespace();
    let (topic, partition, offset) =
        (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
}

/// The lines after the count.
pub(super) fn read_lines(path: &Path) -> Result<Vec<String>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(Error::corrupt(path, "is not text"));
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        Some(other) => return Err(Error::corrupt(path, format!("has version {other}, not {VERSION}"))),
        None => return Err(Error::corrupt(path, "is empty")),
    }
    let count: usize =
        lines.next().and_then(|it| it.parse().ok()).ok_or_else(|| Error::corrupt(path, "has no count"))?;
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    match lines.len() == count {
        true => Ok(lines),
        false => Err(Error::corrupt(path, format!("has {} lines, not {count}", lines.len()))),
    }
}

pub(super) fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> Result<(), Error> {
    let (mut text, mut count) = (String::new(), 0);
    for line in lines {
        let _ = writeln!(text, "{line}");
        count += 1;
    }
    replace(path, format!("{VERSION}\n{count}\n{text}").as_bytes())
}

/// Puts a file in the place of another: after a crash, either is there as a whole. Kafka's
/// `Utils.atomicMoveWithFallback`.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(Error::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// After it, names in the directory are as they are now even if the machine stops.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::sync(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_this_text_and_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = BTreeMap::from([(TopicPartition::new("a", 0), 5), (TopicPartition::new("b.c", 12), 7)]);
        Checkpoint::RecoveryPoint.write(dir.path(), offsets.iter().map(|(at, to)| (at, *to))).unwrap();
        let text = fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
        assert_eq!(text, "0\n2\na 0 5\nb.c 12 7\n");
        assert_eq!(Checkpoint::RecoveryPoint.read(dir.path()).unwrap(), offsets);
        assert!(!dir.path().join("recovery-point-offset-checkpoint.tmp").exists());
    }

    #[test]
    fn a_file_that_is_not_there_holds_nothing_and_a_torn_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Checkpoint::Cleaner.read(dir.path()).unwrap().is_empty());
        for text in ["", "1\n0\n", "0\n", "0\n2\na 0 5\n", "0\n1\na 0\n", "0\n1\na 0 5 6\n", "0\nx\n"] {
            fs::write(dir.path().join("cleaner-offset-checkpoint"), text).unwrap();
            assert!(Checkpoint::Cleaner.read(dir.path()).is_err(), "{text:?}");
        }
    }
}
