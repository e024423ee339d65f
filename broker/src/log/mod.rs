//! A partition's records on disk, in Kafka's own formats: a directory of segments, each with its batches as they
//! came, and two indexes. Kafka's `UnifiedLog` and `LocalLog`.
//!
//! | to learn | read |
//! | --- | --- |
//! | which bytes is a batch? | [`batch`] |
//! | may a producer's batch be appended? | [`Checked`] |
//! | where does offset 17 stand? | `segment`, `index` |
//! | what happens after a crash? | `open`, `leftovers` |
//! | was this batch appended before? | `producers` |
//! | how far is a follower's log its leader's? | `epochs` |
//! | when do old records go? | [`retention`], [`compaction`] |
//! | what is a log directory? | [`LogDir`], [`Checkpoint`] |
//!
//! Nothing here locks, and nothing reads a clock: who owns a [`Log`] does.

mod append;
pub mod batch;
mod checkpoint;
pub mod compaction;
mod dir;
mod epochs;
mod error;
mod flush;
mod index;
mod leftovers;
mod names;
mod open;
mod produce;
mod producers;
mod read;
pub mod retention;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod truncate;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

pub use append::Appended;
pub use checkpoint::Checkpoint;
pub use dir::{Found, LogDir, remove_dir, topic_id_text};
pub use error::{AppendError, Error, Refusal};
pub use flush::Flush;
pub use open::Recovery;
pub use produce::{Checked, Origin};
pub use read::{ReadError, Slice, TimestampOffset};

use crate::config::topic::TopicConfig;
use epochs::Epochs;
use producers::Producers;
use segment::Segment;

/// The log of one partition on this broker.
///
/// Offsets: `start_offset <= recovery_point <= end_offset`, but for a recovery point that [`open`](Self::open)
/// was given. Records before [`start_offset`](Self::start_offset) may still stand on disk, and are not read.
#[derive(Debug)]
#[doc(alias = "UnifiedLog")]
#[doc(alias = "LocalLog")]
pub struct Log {
    dir: Arc<Path>,
    config: Arc<TopicConfig>,
    topic_id: Option<Uuid>,
    /// By base offset; never empty, and the last is the one that is appended to.
    segments: Vec<Segment>,
    start_offset: i64,
    end_offset: i64,
    recovery_point: i64,
    epochs: Epochs,
    producers: Producers,
    unflushed_records: u64,
    flushed_ms: i64,
    /// How often the end has been cut off.
    cuts: u64,
    failed: bool,
}

/// Files that are no part of a log any more, under names that say so. Whoever gets it removes them, after
/// `file.delete.delay.ms`: readers may still be at them, and an administrator may want them back.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "the files stay on disk until they are removed"]
pub struct Discarded(Vec<PathBuf>);

impl Discarded {
    /// Removes the files. Those that are gone already are no error: their directory may have been removed.
    ///
    /// # Errors
    /// The first that cannot be removed; the others are tried all the same.
    pub fn remove(self) -> Result<(), Error> {
        let mut first = Ok(());
        for path in self.0 {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    first = first.and(Err(Error::io("remove", &path)(error)));
                }
                _ => {}
            }
        }
        first
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what `other` holds.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// What retention and metrics see of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Of its first record, when that was appended.
    pub base_offset: i64,
    /// Where the next segment begins, or the log ends.
    pub next_offset: i64,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Its largest timestamp; the file's own where records have none.
    pub largest_timestamp: i64,
}

impl Log {
    /// Where its files are: `<topic>-<partition>` in a log directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The topic's id, where `partition.metadata` has it.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The topic's configuration, as it is now.
    pub fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }

    /// Takes another configuration, from the next append on.
    pub fn set_config(&mut self, config: Arc<TopicConfig>) {
        self.config = config;
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// All records before it have been synced.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Bytes of all its batches.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// How many segments there are, for metrics.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How many idempotent producers are known.
    pub fn producer_count(&self) -> usize {
        self.producers.count()
    }

    /// The epoch of the leader that appended last, or leads now.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest()
    }

    /// The latest epoch that is not after `epoch`, and the offset where its records end; `None` where this log
    /// knows of no such epoch. What OffsetForLeaderEpoch and a diverging fetch answer.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.end_offset)
    }

    /// Says that this broker leads from now on: its epoch begins at the log's end, records or not.
    ///
    /// # Errors
    /// The disk refuses.
    #[doc(alias = "maybeAssignEpochStartOffset")]
    pub fn become_leader(&mut self, epoch: i32) -> Result<(), Error> {
        match self.epochs.assign(epoch, self.end_offset) {
            // It can be read from us; the first append writes the epoch down, or is refused.
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }

    /// Forgets idempotent producers that have sent nothing for `age_max` (`producer.id.expiration.ms`).
    pub fn expire_producers(&mut self, age_max: Duration, now_ms: i64) {
        self.producers.expire(now_ms.saturating_sub(millis(age_max)));
    }

    /// All segments, oldest first; the last is the one that is appended to.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn segments(&self) -> Result<Vec<SegmentFacts>, Error> {
        let bases = self.segments.iter().skip(1).map(Segment::base_offset);
        self.segments
            .iter()
            .zip(bases.chain([self.end_offset]))
            .map(|(segment, next_offset)| {
                Ok(SegmentFacts {
                    base_offset: segment.base_offset(),
                    next_offset,
                    bytes: segment.size(),
                    largest_timestamp: segment.largest_timestamp()?,
                })
            })
            .collect()
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// The number of the segment that `offset` belongs to; the first for what is before it.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
    }
}

/// Milliseconds, as timestamps count them.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
