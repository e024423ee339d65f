//! Of each key, only the newest value stays. Kafka's `LogCleaner`, `Cleaner` and `LogCleanerManager`.
//!
//! The log up to the cleaner's checkpoint is clean, what follows is dirty. A round goes in four steps:
//!
//! | step | where | under the log's lock |
//! | --- | --- | --- |
//! | is it worth it? | [`plan`], pure | yes |
//! | take what is to be read | [`Log::compaction`] | yes |
//! | the newest offset of each dirty key, then new segments with what stays | [`Job::run`] | no |
//! | put them in place of the old | [`Log::install`] | yes |
//!
//! Offsets never change: what is removed leaves a hole. A tombstone stays `delete.retention.ms` from the first
//! round that saw it, so that readers of the whole log learn of the deletion; the time when it may go stands in
//! its batch (KIP-534). A producer's last batch stays, empty if need be, for its sequence number.
//!
//! The segment that is appended to is never touched, nor is anything above the high watermark. Batches of
//! transactions are left as they are.

mod clean;
mod install;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use clean::{Cleaned, Tally};
pub use keys::KeyMap;

use super::producers::LastBatch;
use super::{Error, Log, SegmentFacts, millis};
use crate::config::topic::TopicConfig;

/// What a round would have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "LogToClean")]
pub struct Plan {
    /// All before it has been compacted.
    pub first_dirty: i64,
    /// Where the first segment begins that may not be compacted yet.
    pub upto: i64,
    /// Bytes of segments that are clean.
    pub clean_bytes: u64,
    /// Bytes of segments that would be read for their keys.
    pub dirty_bytes: u64,
    /// Whether a record has waited for `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Plan {
    /// How much of what can be compacted is dirty, from 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }

    /// Whether a round is worth its while now.
    pub fn is_due(&self, config: &TopicConfig) -> bool {
        self.dirty_bytes > 0 && (self.overdue || self.dirty_ratio() > config.dirty_ratio_min)
    }
}

/// Plans a round for segments given oldest first, the last being the one that is appended to.
///
/// `checkpoint` is where the last round ended; one outside the log does not count. `first_timestamps` are those
/// of the segments' first batches, and may be left out where `max.compaction.lag.ms` sets no bound.
pub fn plan(
    segments: &[SegmentFacts],
    first_timestamps: &[Option<i64>],
    config: &TopicConfig,
    log_start: i64,
    checkpoint: Option<i64>,
    high_watermark: i64,
    now_ms: i64,
) -> Plan {
    let (closed, log_end) = match segments.split_last() {
        Some((active, closed)) => (closed, active.next_offset),
        None => (segments, log_start),
    };
    let first_dirty = checkpoint.filter(|it| (log_start..=log_end).contains(it)).unwrap_or(log_start);
    let young_from = now_ms.saturating_sub(millis(config.compaction_lag_min));
    let may = |it: &&SegmentFacts| {
        let dirty = it.next_offset > first_dirty;
        let young = dirty && !config.compaction_lag_min.is_zero() && it.largest_timestamp > young_from;
        it.next_offset <= high_watermark && !young
    };
    let cleanable = closed.iter().take_while(may).count();
    let (cleanable, _) = closed.split_at(cleanable);
    let is_dirty = |it: &&SegmentFacts| it.next_offset > first_dirty;
    let dirty_bytes: u64 = cleanable.iter().filter(is_dirty).map(|it| it.bytes).sum();
    let all_bytes: u64 = cleanable.iter().map(|it| it.bytes).sum();
    let oldest = cleanable
        .iter()
        .zip(first_timestamps)
        .filter(|(it, _)| it.next_offset > first_dirty)
        .filter_map(|(_, first)| first.filter(|it| *it > 0))
        .min();
    let overdue_before = config.compaction_lag_max.map(|lag| now_ms.saturating_sub(millis(lag)));
    Plan {
        first_dirty,
        upto: cleanable.last().map_or(first_dirty, |last| last.next_offset),
        clean_bytes: all_bytes - dirty_bytes,
        dirty_bytes,
        overdue: oldest.zip(overdue_before).is_some_and(|(oldest, before)| oldest < before),
    }
}

/// All that a round reads, taken from the log: appends go on meanwhile.
#[derive(Debug)]
pub struct Job {
    dir: Arc<Path>,
    config: Arc<TopicConfig>,
    plan: Plan,
    sources: Vec<Source>,
    last_batches: BTreeMap<i64, LastBatch>,
}

/// A segment that will not change any more.
#[derive(Debug, Clone)]
struct Source {
    base_offset: i64,
    next_offset: i64,
    file: Arc<File>,
    bytes: u64,
    index_bytes: u64,
}

impl Log {
    /// What a round would have to do; see [`plan`].
    ///
    /// # Errors
    /// A segment cannot be looked at.
    pub fn plan_compaction(
        &self,
        checkpoint: Option<i64>,
        high_watermark: i64,
        now_ms: i64,
    ) -> Result<Plan, Error> {
        let first_timestamps: Vec<_> = match self.config.compaction_lag_max {
            Some(_) => self.segments.iter().map(|it| it.first_timestamp()).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let (segments, config) = (self.segments()?, &self.config);
        let start = self.start_offset;
        Ok(plan(&segments, &first_timestamps, config, start, checkpoint, high_watermark, now_ms))
    }

    /// Takes out what the round will read.
    pub fn compaction(&self, plan: Plan) -> Job {
        let ends = self.segments.iter().skip(1).map(|it| it.base_offset());
        let sources = self.segments.iter().zip(ends).filter(|(_, end)| *end <= plan.upto);
        let sources = sources.map(|(segment, next_offset)| Source {
            base_offset: segment.base_offset(),
            next_offset,
            file: segment.file().clone(),
            bytes: segment.size(),
            index_bytes: segment.index_bytes(),
        });
        Job {
            dir: self.dir.clone(),
            config: self.config.clone(),
            plan,
            sources: sources.collect(),
            last_batches: self.producers.last_batches(),
        }
    }
}
