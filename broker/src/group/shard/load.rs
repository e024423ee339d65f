//! Reading a partition of `__consumer_offsets`: Kafka's `doLoadGroupsAndOffsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Entry, Shard, ShardOutputs, collect};
use crate::TopicPartition;
use crate::group::input::{Now, Outputs};
use crate::group::limits::GroupLimits;
use crate::group::records::{
    GroupValue, OffsetValue, RecordKey, decode_group_value, decode_key, decode_offset_value,
};
use crate::group::state::Group;

/// What the records read so far amount to.
#[derive(Debug, Default)]
pub struct ShardLoad {
    groups: BTreeMap<Arc<str>, GroupValue>,
    offsets: BTreeMap<Arc<str>, BTreeMap<TopicPartition, OffsetValue>>,
    unread: u64,
}

impl ShardLoad {
    /// The next record. One that cannot be read is passed over: it must not cost the others their groups.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let applied = match key.map(decode_key) {
            Some(Ok(RecordKey::Offset { group, partition })) => self.apply_offset(group, partition, value),
            Some(Ok(RecordKey::Group(group))) => self.apply_group(group, value),
            Some(Ok(RecordKey::Unknown(_))) => true,
            Some(Err(_)) | None => false,
        };
        self.unread += u64::from(!applied);
    }

    fn apply_offset(&mut self, group: Arc<str>, partition: TopicPartition, value: Option<&[u8]>) -> bool {
        match value.map(decode_offset_value) {
            Some(Ok(value)) => drop(self.offsets.entry(group).or_default().insert(partition, value)),
            Some(Err(_)) => return false,
            None => {
                if let Some(offsets) = self.offsets.get_mut(&group) {
                    offsets.remove(&partition);
                }
            }
        }
        true
    }

    fn apply_group(&mut self, group: Arc<str>, value: Option<&[u8]>) -> bool {
        match value.map(decode_group_value) {
            Some(Ok(value)) => drop(self.groups.insert(group, value)),
            Some(Err(_)) => return false,
            None => drop(self.groups.remove(&group)),
        }
        true
    }

    /// How many records could not be read.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// All has been read: the groups come to life.
    pub fn finish(mut self, limits: Arc<GroupLimits>, now: Now, out: &mut ShardOutputs) -> Shard {
        let mut shard = Shard::new(limits, now);
        self.offsets.retain(|_, offsets| !offsets.is_empty());
        let names: BTreeSet<Arc<str>> = self.groups.keys().chain(self.offsets.keys()).cloned().collect();
        for id in names {
            let value = self.groups.remove(&id);
            let offsets = self.offsets.remove(&id).unwrap_or_default();
            let mut outputs = Outputs::default();
            let limits = Arc::clone(&shard.limits);
            let mut group = Group::load(Arc::clone(&id), value, offsets, limits, now, &mut outputs);
            shard.in_flight_bytes += collect(&mut group, outputs, now, out);
            let deadline = group.deadline();
            shard.deadlines.extend(deadline.map(|deadline| (deadline, Arc::clone(&id))));
            shard.groups.insert(id, Entry { group, deadline });
        }
        shard
    }
}
