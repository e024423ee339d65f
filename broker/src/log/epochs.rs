//! Which leader's records begin where: by it a follower finds out how far its log is the leader's. Kafka's
//! `LeaderEpochFileCache`, and its file `leader-epoch-checkpoint`.

use std::path::{Path, PathBuf};

use super::checkpoint::{read_lines, write_lines};
use super::error::Error;

const FILE_NAME: &str = "leader-epoch-checkpoint";

/// Epochs with their first offsets, both rising.
#[derive(Debug)]
#[doc(alias = "LeaderEpochFileCache")]
pub(super) struct Epochs {
    path: PathBuf,
    entries: Vec<(i32, i64)>,
    /// Whether the file has something else, for lack of room.
    unwritten: bool,
}

impl Epochs {
    /// What the file in `dir` says. One that cannot be read as such is an error: followers trust it.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let mut entries = Vec::new();
        for line in read_lines(&path)? {
            let entry = line.split_once(' ').and_then(|(epoch, offset)| {
                Some((epoch.parse().ok()?, offset.trim().parse().ok()?)) //
            });
            entries.push(entry.ok_or_else(|| Error::corrupt(&path, format!("line '{line}'")))?);
        }
        match entries.is_sorted_by(|a: &(i32, i64), b| a.0 < b.0 && a.1 <= b.1) {
            true => Ok(Self { path, entries, unwritten: false }),
            false => Err(Error::corrupt(&path, "epochs and offsets do not rise")),
        }
    }

    pub(super) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// Says that `epoch`'s records begin at `offset`. What is known of later epochs, or beyond that offset, is
    /// forgotten: it was of another history. Records of the epoch may be appended once this has worked.
    pub(super) fn assign(&mut self, epoch: i32, offset: i64) -> Result<(), Error> {
        if epoch < 0 {
            return Ok(());
        }
        let is_known = self.entries.last().is_some_and(|last| last.0 == epoch && last.1 <= offset);
        if !is_known {
            self.entries.retain(|entry| entry.0 < epoch && entry.1 < offset);
            self.entries.push((epoch, offset));
        }
        if is_known && !self.unwritten { Ok(()) } else { self.write() }
    }

    /// Forgets epochs that begin at `end` or later: the log ends there.
    pub(super) fn truncate_from_end(&mut self, end: i64) -> Result<(), Error> {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.1 < end);
        if self.entries.len() == before { Ok(()) } else { self.write_if_room() }
    }

    /// Forgets epochs that end before `start`: the log begins there, and so does the epoch it is in.
    pub(super) fn truncate_from_start(&mut self, start: i64) -> Result<(), Error> {
        let Some(at) = self.entries.iter().rposition(|entry| entry.1 <= start) else {
            return Ok(());
        };
        if at == 0 && self.entries.first().is_some_and(|first| first.1 == start) {
            return Ok(());
        }
        self.entries.drain(..at);
        if let Some(first) = self.entries.first_mut() {
            first.1 = start;
        }
        self.write_if_room()
    }

    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.truncate_from_end(i64::MIN)
    }

    /// The latest epoch not after `epoch`, and the offset where it ends; `None` where nothing is known of it.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.0 <= epoch);
        let found = after.checked_sub(1).and_then(|at| self.entries.get(at));
        match (found, self.entries.get(after)) {
            (Some(found), None) if found.0 == epoch => Some((epoch, log_end)),
            (_, None) => None,
            // Before all that is known: what the follower has is not in this log.
            (None, Some(next)) => Some((epoch, next.1)),
            (Some(found), Some(next)) => Some((found.0, next.1)),
        }
    }

    /// The epoch in which `offset` was appended.
    pub(super) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.entries.iter().rev().find(|entry| entry.1 <= offset).map(|entry| entry.0)
    }

    pub(super) fn move_to(&mut self, dir: &Path) {
        self.path = dir.join(FILE_NAME);
    }

    /// Entries that should have gone do no harm in the file: the next open cuts them again.
    fn write_if_room(&mut self) -> Result<(), Error> {
        match self.write() {
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.unwritten = true;
        let lines = self.entries.iter().map(|(epoch, offset)| format!("{epoch} {offset}"));
        write_lines(&self.path, lines)?;
        self.unwritten = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> (tempfile::TempDir, Epochs) {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::open(dir.path()).unwrap();
        for &(epoch, offset) in entries {
            epochs.assign(epoch, offset).unwrap();
        }
        (dir, epochs)
    }

    #[test]
    fn the_file_is_this_text_and_is_read_again() {
        let (dir, epochs) = epochs(&[(0, 0), (2, 10)]);
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), "0\n2\n0 0\n2 10\n");
        assert_eq!(Epochs::open(dir.path()).unwrap().entries, epochs.entries);
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let (_dir, epochs) = epochs(&[(1, 5), (3, 10), (4, 20)]);
        assert_eq!(epochs.end_of(4, 25), Some((4, 25)));
        assert_eq!(epochs.end_of(3, 25), Some((3, 20)));
        assert_eq!(epochs.end_of(2, 25), Some((1, 10)));
        assert_eq!(epochs.end_of(0, 25), Some((0, 5)));
        assert_eq!(epochs.end_of(5, 25), None);
        assert_eq!(epochs.end_of(-1, 25), None);
        assert_eq!((epochs.epoch_at(4), epochs.epoch_at(12)), (None, Some(3)));
    }

    #[test]
    fn another_history_takes_the_place_of_what_contradicts_it() {
        let (_dir, mut epochs) = epochs(&[(1, 5), (3, 10), (4, 20)]);
        epochs.assign(4, 22).unwrap();
        assert_eq!(epochs.entries, [(1, 5), (3, 10), (4, 20)]);
        epochs.assign(2, 10).unwrap();
        assert_eq!(epochs.entries, [(1, 5), (2, 10)]);
        epochs.assign(6, 10).unwrap();
        assert_eq!(epochs.entries, [(1, 5), (6, 10)]);
    }

    #[test]
    fn both_ends_of_the_log_cut_the_epochs() {
        let (dir, mut epochs) = epochs(&[(1, 5), (3, 10), (4, 20)]);
        epochs.truncate_from_end(20).unwrap();
        assert_eq!(epochs.entries, [(1, 5), (3, 10)]);
        epochs.truncate_from_start(7).unwrap();
        assert_eq!(epochs.entries, [(1, 7), (3, 10)]);
        epochs.truncate_from_start(30).unwrap();
        assert_eq!(epochs.entries, [(3, 30)]);
        epochs.clear().unwrap();
        assert!(Epochs::open(dir.path()).unwrap().entries.is_empty());
    }
}
