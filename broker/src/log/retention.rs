//! Which old segments go, by age, by size and by the log's start. Only whole segments do, oldest first, and never
//! one with records that not all replicas in sync have. Kafka's `UnifiedLog.deleteOldSegments`.

use super::{Discarded, Error, Log, SegmentFacts, millis};
use crate::config::topic::TopicConfig;

/// What is to be done to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// How many of the oldest segments go.
    pub remove: usize,
    /// Whether the last of them is the one that is appended to: a new one begins first.
    pub roll: bool,
}

/// Plans for segments given oldest first.
///
/// `cleanup.policy` says whether age and size count; what is before `log_start` goes in any case.
pub fn plan(
    segments: &[SegmentFacts],
    config: &TopicConfig,
    log_start: i64,
    high_watermark: i64,
    now_ms: i64,
) -> Plan {
    let acknowledged = segments.iter().take_while(|it| it.next_offset <= high_watermark).count();
    let mut remove = before_start(segments, log_start);
    if config.cleanup_policy.delete {
        remove = remove.max(too_old(segments, config, now_ms)).max(too_large(segments, config));
    }
    remove = remove.min(acknowledged);
    let last_is_empty = segments.last().is_none_or(|last| last.bytes == 0);
    match remove == segments.len() {
        true if last_is_empty => Plan { remove: remove.saturating_sub(1), roll: false },
        roll => Plan { remove, roll: roll && remove > 0 },
    }
}

/// Segments that are followed by one which the log's start is in, or after.
fn before_start(segments: &[SegmentFacts], log_start: i64) -> usize {
    segments.iter().skip(1).take_while(|next| next.base_offset <= log_start).count()
}

fn too_old(segments: &[SegmentFacts], config: &TopicConfig, now_ms: i64) -> usize {
    let Some(age_max) = config.retention.map(millis) else {
        return 0;
    };
    segments.iter().take_while(|it| now_ms.saturating_sub(it.largest_timestamp) > age_max).count()
}

/// As many as can go without the log becoming smaller than it may be.
fn too_large(segments: &[SegmentFacts], config: &TopicConfig) -> usize {
    let Some(max) = config.retention_bytes else {
        return 0;
    };
    let size: u64 = segments.iter().map(|it| it.bytes).sum();
    let mut excess = size.saturating_sub(max);
    let fits = |it: &&SegmentFacts| {
        let rest = excess.checked_sub(it.bytes);
        excess = rest.unwrap_or(0);
        rest.is_some() && size > max
    };
    segments.iter().take_while(fits).count()
}

impl Log {
    /// Does what retention asks for now; the log's start moves with it.
    ///
    /// # Errors
    /// The disk refuses.
    #[doc(alias = "deleteOldSegments")]
    pub fn apply_retention(&mut self, high_watermark: i64, now_ms: i64) -> Result<Discarded, Error> {
        let plan = plan(&self.segments()?, &self.config, self.start_offset, high_watermark, now_ms);
        if plan.roll {
            self.roll(now_ms)?;
        }
        if plan.remove == 0 { Ok(Discarded::default()) } else { self.remove_oldest(plan.remove) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::topic::CleanupPolicy;

    /// Segments of 10 records and 100 bytes each, the newest record of each 10 ms later than the last's.
    fn segments(count: i64) -> Vec<SegmentFacts> {
        (0..count)
            .map(|at| SegmentFacts {
                base_offset: at * 10,
                next_offset: at * 10 + 10,
                bytes: 100,
                largest_timestamp: 1000 + at * 10,
            })
            .collect()
    }

    fn config() -> TopicConfig {
        TopicConfig { retention: None, retention_bytes: None, ..TopicConfig::default() }
    }

    fn aged(age_max: u64) -> TopicConfig {
        TopicConfig { retention: Some(Duration::from_millis(age_max)), ..config() }
    }

    #[test]
    fn without_bounds_nothing_goes() {
        assert_eq!(plan(&segments(5), &config(), 0, 50, i64::MAX), Plan::default());
    }

    #[test]
    fn a_segment_goes_when_its_newest_record_is_too_old() {
        assert_eq!(plan(&segments(5), &aged(100), 0, 50, 1111), Plan { remove: 2, roll: false });
        assert_eq!(plan(&segments(5), &aged(100), 0, 50, 1110), Plan { remove: 1, roll: false });
    }

    #[test]
    fn when_all_are_too_old_a_new_one_begins_first() {
        assert_eq!(plan(&segments(3), &aged(1), 0, 30, 9999), Plan { remove: 3, roll: true });
    }

    #[test]
    fn an_empty_last_segment_stays() {
        let mut segments = segments(3);
        segments[2].bytes = 0;
        segments[2].next_offset = 20;
        assert_eq!(plan(&segments, &aged(1), 0, 20, 9999), Plan { remove: 2, roll: false });
        assert_eq!(plan(&segments[2..], &aged(1), 0, 20, 9999), Plan::default());
    }

    #[test]
    fn records_that_are_not_on_all_replicas_stay() {
        assert_eq!(plan(&segments(5), &aged(1), 0, 29, 9999), Plan { remove: 2, roll: false });
    }

    #[test]
    fn size_removes_no_more_than_is_too_much() {
        let of = |max| TopicConfig { retention_bytes: Some(max), ..config() };
        assert_eq!(plan(&segments(5), &of(300), 0, 50, 0).remove, 2);
        assert_eq!(plan(&segments(5), &of(250), 0, 50, 0).remove, 2);
        assert_eq!(plan(&segments(5), &of(500), 0, 50, 0).remove, 0);
        assert_eq!(plan(&segments(5), &of(0), 0, 50, 0), Plan { remove: 5, roll: true });
    }

    #[test]
    fn what_is_before_the_start_goes_from_a_compacted_log_too() {
        let policy = CleanupPolicy { delete: false, compact: true };
        let config = TopicConfig { cleanup_policy: policy, ..aged(1) };
        assert_eq!(plan(&segments(5), &config, 25, 50, 9999), Plan { remove: 2, roll: false });
        assert_eq!(plan(&segments(5), &config, 50, 50, 9999), Plan { remove: 4, roll: false });
    }
}
