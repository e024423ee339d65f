//! What idempotent producers have sent to a partition: a batch that comes again is recognised, and one that is
//! missing is missed. Kafka's `ProducerStateManager` and `ProducerAppendInfo`.
//!
//! The state is that of all batches before an offset. It is written down at the start of each segment, so that
//! after a crash only the batches since have to be read.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::BatchHead;
use super::error::{Error, Refusal};
use super::names::{FileKind, FileName, Stage, path_of};
use super::produce::Origin;

/// How many of a producer's batches are known by their offset: as many as a client may have in flight.
const BATCHES_KEPT: usize = 5;

/// A batch that was appended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) timestamp: i64,
}

/// One of the last batches of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Appended {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

impl Appended {
    fn first_sequence(&self) -> i32 {
        // Sequence numbers have 31 bits, and 0 comes after the largest.
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// What a producer id has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "ProducerStateEntry")]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    /// Oldest first, all of this epoch.
    batches: Vec<Appended>,
}

impl Producer {
    fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(-1, |last| last.last_sequence)
    }
}

/// The last batch of a producer that still counts, which compaction must leave in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastBatch {
    pub(super) last_offset: Option<i64>,
    pub(super) epoch: i16,
}

/// See the module.
#[derive(Debug)]
#[doc(alias = "ProducerStateManager")]
pub(super) struct Producers {
    dir: Arc<Path>,
    producers: BTreeMap<i64, Producer>,
    /// All batches before it are accounted for.
    end: i64,
    /// Offsets for which there is a file.
    snapshots: BTreeSet<i64>,
}

impl Producers {
    /// Those of an empty log; files of snapshots are known, not read.
    pub(super) fn open(dir: &Arc<Path>, snapshots: BTreeSet<i64>) -> Self {
        Self { dir: dir.clone(), producers: BTreeMap::new(), end: 0, snapshots }
    }

    /// The offset before which all batches are accounted for.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    pub(super) fn count(&self) -> usize {
        self.producers.len()
    }

    /// Goes back to the newest snapshot that is readable and within the log; batches from [`end`](Self::end) on
    /// have to be accounted for after it. Snapshots beyond the log are removed.
    #[doc(alias = "truncateAndReload")]
    pub(super) fn load(&mut self, log_start: i64, log_end: i64) -> Result<(), Error> {
        self.remove_snapshots(|offset| offset > log_end || offset < log_start)?;
        self.producers.clear();
        while let Some(&offset) = self.snapshots.last() {
            let path = self.snapshot_path(offset);
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            match snapshot::decode(&bytes) {
                Ok(producers) => {
                    (self.producers, self.end) = (producers, offset);
                    return Ok(());
                }
                Err(what) => {
                    tracing::warn!(path = %path.display(), what, "unreadable snapshot of producers is left out");
                    self.remove_snapshots(|it| it == offset)?;
                }
            }
        }
        self.end = log_start;
        Ok(())
    }

    /// Judges a batch that a leader is asked to append: `Some` where it was appended before.
    pub(super) fn check(&self, head: &BatchHead, origin: Origin) -> Result<Option<Duplicate>, Refusal> {
        let Some(known) = self.producers.get(&head.producer_id).filter(|_| head.has_producer()) else {
            return Ok(None); // Its records may have been deleted since, so any sequence number may be next.
        };
        if head.producer_epoch < known.epoch {
            return Err(Refusal::StaleProducerEpoch {
                producer_id: head.producer_id,
                epoch: head.producer_epoch,
                last: known.epoch,
            });
        }
        if origin != Origin::Producer {
            return Ok(None);
        }
        if head.producer_epoch > known.epoch {
            return check_first(head, known);
        }
        if let Some(same) = known.batches.iter().find(|it| is_same(it, head)) {
            return Ok(Some(Duplicate {
                base_offset: same.last_offset - i64::from(same.offset_delta),
                last_offset: same.last_offset,
                timestamp: same.timestamp,
            }));
        }
        check_next(head, known.last_sequence())
    }

    /// Accounts for a batch that is in the log now.
    pub(super) fn update(&mut self, head: &BatchHead) {
        self.end = head.next_offset();
        if !head.has_producer() {
            return;
        }
        let known = self.producers.entry(head.producer_id).or_insert_with(|| Producer {
            epoch: head.producer_epoch,
            coordinator_epoch: -1,
            last_timestamp: head.max_timestamp,
            batches: Vec::new(),
        });
        if known.epoch != head.producer_epoch {
            known.epoch = head.producer_epoch;
            known.batches.clear();
        }
        known.last_timestamp = head.max_timestamp;
        if head.attributes.is_control() {
            return;
        }
        if known.batches.len() == BATCHES_KEPT {
            known.batches.remove(0);
        }
        known.batches.push(Appended {
            last_sequence: head.last_sequence(),
            last_offset: head.last_offset(),
            offset_delta: head.last_offset_delta,
            timestamp: head.max_timestamp,
        });
    }

    /// Says that there are no batches up to `offset` that are not accounted for.
    pub(super) fn advance_end(&mut self, offset: i64) {
        self.end = self.end.max(offset);
    }

    /// Forgets producers that have sent nothing since `before_ms`.
    pub(super) fn expire(&mut self, before_ms: i64) {
        self.producers.retain(|_, known| known.last_timestamp > before_ms);
    }

    /// Forgets everything, and begins again at `offset`.
    pub(super) fn reset(&mut self, offset: i64) -> Result<(), Error> {
        self.producers.clear();
        self.end = offset;
        self.remove_snapshots(|_| true)
    }

    /// The last batches that compaction must keep, by producer id.
    pub(super) fn last_batches(&self) -> BTreeMap<i64, LastBatch> {
        let last = |known: &Producer| LastBatch {
            last_offset: known.batches.last().map(|batch| batch.last_offset),
            epoch: known.epoch,
        };
        self.producers.iter().map(|(id, known)| (*id, last(known))).collect()
    }

    /// Writes the state down, if that has not been done for its offset.
    pub(super) fn take_snapshot(&mut self) -> Result<(), Error> {
        if self.end == 0 || self.snapshots.contains(&self.end) {
            return Ok(());
        }
        let path = self.snapshot_path(self.end);
        std::fs::write(&path, snapshot::encode(&self.producers)).map_err(Error::io("write", &path))?;
        self.snapshots.insert(self.end);
        Ok(())
    }

    /// Renames the snapshot of a segment that is removed, and says what it is called now.
    pub(super) fn mark_deleted(&mut self, offset: i64) -> Result<Option<PathBuf>, Error> {
        if !self.snapshots.remove(&offset) {
            return Ok(None);
        }
        let (old, kind) = (self.snapshot_path(offset), FileKind::Snapshot);
        let new = FileName { offset, kind, stage: Stage::Deleted }.in_dir(&self.dir);
        std::fs::rename(&old, &new).map_err(Error::io("rename", &old))?;
        Ok(Some(new))
    }

    /// Removes snapshots that stand at no segment's start, but for the newest, which a clean stop leaves.
    #[doc(alias = "removeStraySnapshots")]
    pub(super) fn remove_strays(&mut self, segments: &BTreeSet<i64>) -> Result<(), Error> {
        let newest = self.snapshots.last().copied();
        self.remove_snapshots(|offset| !segments.contains(&offset) && Some(offset) != newest)
    }

    fn remove_snapshots(&mut self, which: impl Fn(i64) -> bool) -> Result<(), Error> {
        let removed: Vec<_> = self.snapshots.iter().copied().filter(|&offset| which(offset)).collect();
        for offset in removed {
            let path = self.snapshot_path(offset);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => self.snapshots.remove(&offset),
            };
        }
        Ok(())
    }

    fn snapshot_path(&self, offset: i64) -> PathBuf {
        path_of(&self.dir, offset, FileKind::Snapshot)
    }

    /// The partition's directory has another name.
    pub(super) fn move_to(&mut self, dir: &Arc<Path>) {
        self.dir = dir.clone();
    }
}

fn is_same(known: &Appended, head: &BatchHead) -> bool {
    known.first_sequence() == head.base_sequence && known.last_sequence == head.last_sequence()
}

/// A new epoch begins with sequence number 0.
fn check_first(head: &BatchHead, known: &Producer) -> Result<Option<Duplicate>, Refusal> {
    if head.base_sequence == 0 {
        return Ok(None);
    }
    Err(Refusal::OutOfOrderSequence {
        producer_id: head.producer_id,
        sequence: head.base_sequence,
        last: known.last_sequence(),
    })
}

/// A batch goes on where the last one ended. One that ended before is a duplicate whose offset is forgotten.
fn check_next(head: &BatchHead, last: i32) -> Result<Option<Duplicate>, Refusal> {
    let next = if last == i32::MAX { 0 } else { last + 1 };
    let (producer_id, sequence) = (head.producer_id, head.base_sequence);
    if sequence == next {
        return Ok(None);
    }
    // Half of all numbers are before `last`, half after: they come around.
    let behind = last.wrapping_sub(head.last_sequence()) & i32::MAX;
    if last >= 0 && behind < 1 << 30 {
        return Err(Refusal::DuplicateSequence { producer_id, sequence, last });
    }
    Err(Refusal::OutOfOrderSequence { producer_id, sequence, last })
}
