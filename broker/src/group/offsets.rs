//! How far a group has got: what is safe on the log, and what is on its way there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::input::WriteId;
use super::records::OffsetValue;
use crate::TopicPartition;

/// A partition's offset, set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) partition: TopicPartition,
    /// `None` removes it.
    pub(super) value: Option<OffsetValue>,
}

/// From when on an offset's age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention<'a> {
    /// All of them since the group became empty, milliseconds since 1970.
    SinceEmpty(i64),
    /// Each since it was committed, except those of topics that are still being read.
    SinceCommit(Option<&'a BTreeSet<Arc<str>>>),
}

/// A group's offsets.
///
/// A change shows once it is safe on the log: [`begin`](Self::begin) when it sets out, [`finish`](Self::finish) when
/// its fate is known. Fates come in the order of the log, so the newest wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    committed: BTreeMap<TopicPartition, OffsetValue>,
    /// The newest change under way.
    pending: BTreeMap<TopicPartition, WriteId>,
}

impl Offsets {
    pub(super) fn new(committed: BTreeMap<TopicPartition, OffsetValue>) -> Self {
        Self { committed, pending: BTreeMap::new() }
    }

    pub(super) fn begin(&mut self, write: WriteId, changes: &[Change]) {
        for change in changes {
            self.pending.insert(change.partition.clone(), write);
        }
    }

    pub(super) fn finish(&mut self, write: WriteId, changes: Vec<Change>, safe: bool) {
        for Change { partition, value } in changes {
            if self.pending.get(&partition) == Some(&write) {
                self.pending.remove(&partition);
            }
            match value {
                Some(value) if safe => drop(self.committed.insert(partition, value)),
                None if safe => drop(self.committed.remove(&partition)),
                _ => {}
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&OffsetValue> {
        self.committed.get(partition)
    }

    pub(super) fn committed(&self) -> &BTreeMap<TopicPartition, OffsetValue> {
        &self.committed
    }

    pub(super) fn is_pending(&self, partition: &TopicPartition) -> bool {
        self.pending.contains_key(partition)
    }

    pub(super) fn any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// All partitions that have an offset, or will have one if nothing fails.
    pub(super) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.committed.keys().chain(self.pending.keys()).cloned().collect()
    }

    /// The partitions whose offsets are `retention_ms` old at `now_ms`, or past an expiry of their own. Those about
    /// to change are not.
    pub(super) fn expired(
        &self,
        retention: Retention<'_>,
        retention_ms: i64,
        now_ms: i64,
    ) -> Vec<TopicPartition> {
        let is_read = |topic: &Arc<str>| match retention {
            Retention::SinceCommit(Some(subscribed)) => subscribed.contains(topic),
            _ => false,
        };
        let is_old = |value: &OffsetValue| match (value.expire_ms, retention) {
            (Some(expire_ms), _) => now_ms >= expire_ms,
            (None, Retention::SinceEmpty(since_ms)) => now_ms.saturating_sub(since_ms) >= retention_ms,
            (None, Retention::SinceCommit(_)) => now_ms.saturating_sub(value.commit_ms) >= retention_ms,
        };
        self.committed
            .iter()
            .filter(|(partition, value)| {
                !is_read(&partition.topic) && !self.is_pending(partition) && is_old(value)
            })
            .map(|(partition, _)| partition.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600 * 1_000;

    fn orders(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    fn at(commit_ms: i64) -> OffsetValue {
        OffsetValue { offset: 1, leader_epoch: -1, metadata: "".into(), commit_ms, expire_ms: None }
    }

    fn set(partition: i32, offset: i64) -> Vec<Change> {
        vec![Change { partition: orders(partition), value: Some(OffsetValue { offset, ..at(0) }) }]
    }

    fn offset(offsets: &Offsets, partition: i32) -> Option<i64> {
        offsets.get(&orders(partition)).map(|value| value.offset)
    }

    #[test]
    fn an_offset_shows_once_it_is_safe() {
        let mut offsets = Offsets::default();
        offsets.begin(WriteId(1), &set(0, 5));
        assert_eq!((offset(&offsets, 0), offsets.is_pending(&orders(0))), (None, true));

        offsets.finish(WriteId(1), set(0, 5), true);
        assert_eq!((offset(&offsets, 0), offsets.is_pending(&orders(0))), (Some(5), false));
    }

    #[test]
    fn what_failed_leaves_what_was() {
        let mut offsets = Offsets::default();
        offsets.begin(WriteId(1), &set(0, 5));
        offsets.finish(WriteId(1), set(0, 5), true);
        offsets.begin(WriteId(2), &set(0, 6));
        offsets.finish(WriteId(2), set(0, 6), false);
        assert_eq!((offset(&offsets, 0), offsets.any_pending()), (Some(5), false));
    }

    #[test]
    fn an_offset_is_pending_until_the_last_of_its_changes_is_over() {
        let mut offsets = Offsets::default();
        offsets.begin(WriteId(1), &set(0, 5));
        offsets.begin(WriteId(2), &set(0, 6));
        offsets.finish(WriteId(1), set(0, 5), true);
        assert!(offsets.is_pending(&orders(0)));
        offsets.finish(WriteId(2), set(0, 6), true);
        assert_eq!((offset(&offsets, 0), offsets.any_pending()), (Some(6), false));
    }

    #[test]
    fn age_counts_from_when_the_group_became_empty() {
        let offsets = Offsets::new([(orders(0), at(0))].into());
        let since = Retention::SinceEmpty(10 * DAY_MS);
        assert_eq!(offsets.expired(since, 7 * DAY_MS, 17 * DAY_MS - 1), []);
        assert_eq!(offsets.expired(since, 7 * DAY_MS, 17 * DAY_MS), [orders(0)]);
    }

    #[test]
    fn an_expiry_of_its_own_goes_before_any_rule() {
        let value = OffsetValue { expire_ms: Some(3 * DAY_MS), ..at(0) };
        let offsets = Offsets::new([(orders(0), value)].into());
        assert_eq!(offsets.expired(Retention::SinceEmpty(0), DAY_MS, 2 * DAY_MS), []);
        assert_eq!(offsets.expired(Retention::SinceEmpty(0), 90 * DAY_MS, 3 * DAY_MS), [orders(0)]);
    }

    #[test]
    fn what_is_being_read_or_written_does_not_expire() {
        let bills = TopicPartition::new("bills", 0);
        let mut offsets = Offsets::new(
            [(bills.clone(), at(0)), (orders(0), at(0)), (orders(1), at(0)), (orders(2), at(DAY_MS))].into(),
        );
        offsets.begin(WriteId(1), &set(1, 9));
        let read = BTreeSet::from(["bills".into()]);
        assert_eq!(offsets.expired(Retention::SinceCommit(Some(&read)), DAY_MS, DAY_MS), [orders(0)]);
        assert_eq!(offsets.expired(Retention::SinceCommit(None), DAY_MS, DAY_MS), [bills, orders(0)]);
    }
}
