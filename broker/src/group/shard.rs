//! All groups of one partition of `__consumer_offsets`: Kafka's `GroupMetadataManager`, a partition of it.

mod load;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::input::{
    Answer, Caller, Commit, Join, JoinRefused, Leaver, Now, Outputs, SyncRequest, Token, WriteId,
};
use super::limits::GroupLimits;
use super::records::OffsetValue;
use super::state::{Group, GroupDescription, GroupState};
use crate::TopicPartition;

pub use load::ShardLoad;
pub use place::partition_of;

/// Bytes of records on their way to the log, for all groups of a partition. Beyond it commits are refused, with a code
/// on which clients try again.
pub(super) const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// A record as it is appended.
pub type KeyValue = (Bytes, Option<Bytes>);

/// Records of one group, to be appended in one batch, in the order in which they come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardWrite {
    /// To tell the shard its fate by.
    pub receipt: Receipt,
    /// In this order.
    pub records: Vec<KeyValue>,
}

/// What a [`ShardWrite`] is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whose it is.
    pub group: Arc<str>,
    /// Which of its writes.
    pub id: WriteId,
    /// Keys and values together.
    pub bytes: usize,
}

/// What a step of a shard asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ShardOutputs {
    /// To whom it may concern.
    pub answers: Vec<(Token, Answer)>,
    /// To be appended.
    pub writes: Vec<ShardWrite>,
}

/// One line of a list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// Its name.
    pub group: Arc<str>,
    /// `consumer`, `connect`, ..; empty if it never had members.
    pub protocol_type: Arc<str>,
    /// What it is about.
    pub state: GroupState,
    /// In how many partitions it has got anywhere.
    pub offsets: usize,
}

/// How far a group has got in a partition, if anywhere; or why that cannot be said now.
pub type FetchedOffset = (TopicPartition, Result<Option<OffsetValue>, ResponseError>);

/// The groups of a partition of `__consumer_offsets`, as long as this broker leads it.
///
/// Like a [`Group`] a machine of values. Groups of which there is nothing to remember are dropped at once.
#[derive(Debug)]
pub struct Shard {
    limits: Arc<GroupLimits>,
    groups: BTreeMap<Arc<str>, Entry>,
    /// Not before this does a group have to be ticked. A heartbeat leaves it as it is, too early by then.
    deadlines: BTreeSet<(Duration, Arc<str>)>,
    next_sweep: Duration,
    in_flight_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    deadline: Option<Duration>,
}

impl Shard {
    fn new(limits: Arc<GroupLimits>, now: Now) -> Self {
        let next_sweep = now.monotonic.saturating_add(limits.offsets_retention_check);
        Self { limits, groups: BTreeMap::new(), deadlines: BTreeSet::new(), next_sweep, in_flight_bytes: 0 }
    }

    /// See [`Group::join`]. Who has no id yet makes the group if there is none.
    pub fn join(&mut self, group: &Arc<str>, token: Token, join: Join, now: Now, out: &mut ShardOutputs) {
        let bounds = self.limits.session_timeout_min..=self.limits.session_timeout_max;
        let error = if !bounds.contains(&join.session_timeout) {
            ResponseError::InvalidSessionTimeout
        } else if join.member_id.is_empty() || self.groups.contains_key(group) {
            return self.in_group_or_new(group, now, out, |group, out| group.join(token, join, now, out));
        } else {
            ResponseError::UnknownMemberId
        };
        out.answers.push((token, Answer::Join(Err(JoinRefused { error, member_id: join.member_id }))));
    }

    /// See [`Group::sync`].
    pub fn sync(
        &mut self,
        group: &Arc<str>,
        token: Token,
        sync: SyncRequest,
        now: Now,
        out: &mut ShardOutputs,
    ) {
        let found = self.in_group(group, now, out, |group, out| group.sync(token, sync, now, out));
        if found.is_none() {
            out.answers.push((token, Answer::Sync(Err(ResponseError::UnknownMemberId))));
        }
    }

    /// See [`Group::heartbeat`].
    ///
    /// # Errors
    /// What the member must know.
    pub fn heartbeat(&mut self, group: &Arc<str>, caller: &Caller, now: Now) -> Result<(), ResponseError> {
        let entry = self.groups.get_mut(group).ok_or(ResponseError::UnknownMemberId)?;
        entry.group.heartbeat(caller, now)
    }

    /// See [`Group::leave`].
    ///
    /// # Errors
    /// The group cannot be changed now.
    pub fn leave(
        &mut self,
        group: &Arc<str>,
        leavers: &[Leaver],
        now: Now,
        out: &mut ShardOutputs,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let found = self.in_group(group, now, out, |group, out| group.leave(leavers, now, out));
        found.unwrap_or_else(|| Ok(vec![Err(ResponseError::UnknownMemberId); leavers.len()]))
    }

    /// See [`Group::commit`]. Who takes no part in generations makes the group if there is none.
    pub fn commit(
        &mut self,
        group: &Arc<str>,
        token: Token,
        commit: Commit,
        now: Now,
        out: &mut ShardOutputs,
    ) {
        let error = if self.in_flight_bytes >= IN_FLIGHT_BYTES_MAX {
            ResponseError::CoordinatorNotAvailable
        } else if commit.caller.generation < 0 || self.groups.contains_key(group) {
            return self.in_group_or_new(group, now, out, |group, out| group.commit(token, commit, now, out));
        } else {
            ResponseError::IllegalGeneration
        };
        out.answers.push((token, Answer::Offsets(Err(error))));
    }

    /// See [`Group::delete_offsets`].
    pub fn delete_offsets(
        &mut self,
        group: &Arc<str>,
        token: Token,
        partitions: Vec<TopicPartition>,
        now: Now,
        out: &mut ShardOutputs,
    ) {
        let found = self.in_group(group, now, out, |group, out| group.delete_offsets(token, partitions, out));
        if found.is_none() {
            out.answers.push((token, Answer::Offsets(Err(ResponseError::GroupIdNotFound))));
        }
    }

    /// See [`Group::delete`].
    pub fn delete(&mut self, group: &Arc<str>, token: Token, now: Now, out: &mut ShardOutputs) {
        let found = self.in_group(group, now, out, |group, out| group.delete(token, out));
        if found.is_none() {
            out.answers.push((token, Answer::Deleted(Err(ResponseError::GroupIdNotFound))));
        }
    }

    /// A topic is no more.
    pub fn forget_topic(&mut self, topic: &str, now: Now, out: &mut ShardOutputs) {
        for group in self.names() {
            self.in_group(&group, now, out, |group, out| group.forget_topic(topic, out));
        }
    }

    /// The fate of a write; to be told in the order in which they came out.
    pub fn written(
        &mut self,
        receipt: &Receipt,
        fate: Result<(), ResponseError>,
        now: Now,
        out: &mut ShardOutputs,
    ) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(receipt.bytes);
        self.in_group(&receipt.group, now, out, |group, out| group.written(receipt.id, fate, now, out));
    }

    /// When to call [`tick`](Self::tick) next, if nothing happens before; on the monotonic clock.
    pub fn deadline(&self) -> Duration {
        self.deadlines.first().map_or(self.next_sweep, |(first, _)| self.next_sweep.min(*first))
    }

    /// Lets time pass for the groups, and now and then sweeps out what they need not remember any more.
    pub fn tick(&mut self, now: Now, out: &mut ShardOutputs) {
        // A group comes up once: what it is due again at, at the same moment, is for the next call.
        let due: Vec<Arc<str>> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now.monotonic)
            .map(|(_, group)| Arc::clone(group))
            .collect();
        for group in due {
            self.in_group(&group, now, out, |group, out| group.tick(now, out));
        }
        if self.next_sweep <= now.monotonic {
            self.next_sweep = now.monotonic.saturating_add(self.limits.offsets_retention_check);
            for group in self.names() {
                self.in_group(&group, now, out, |group, out| group.sweep(now, out));
            }
        }
    }

    /// The partition is no longer ours: all who wait are told so.
    pub fn unload(mut self, out: &mut ShardOutputs) {
        for entry in self.groups.values_mut() {
            let mut outputs = Outputs::default();
            entry.group.unload(&mut outputs);
            out.answers.append(&mut outputs.answers);
        }
    }

    /// Who is in a group and what they do; a dead one if there is none.
    pub fn describe(&self, group: &str) -> GroupDescription {
        self.groups.get(group).map_or_else(GroupDescription::dead, |entry| entry.group.describe())
    }

    /// All groups.
    pub fn list(&self) -> impl Iterator<Item = GroupLine> {
        self.groups.values().map(|Entry { group, .. }| GroupLine {
            group: Arc::clone(group.id()),
            protocol_type: group.protocol_type(),
            state: group.state(),
            offsets: group.committed_count(),
        })
    }

    /// How far a group has got: in `partitions`, or wherever it has got anywhere.
    pub fn offsets(
        &self,
        group: &str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Vec<FetchedOffset> {
        let group = self.groups.get(group).map(|entry| &entry.group);
        let partitions =
            partitions.unwrap_or_else(|| group.map(Group::committed_partitions).unwrap_or_default());
        let fetch = |partition: &TopicPartition| match group {
            Some(group) => group.offset(partition, require_stable).map(|value| value.cloned()),
            None => Ok(None),
        };
        partitions
            .into_iter()
            .map(|partition| {
                let fetched = fetch(&partition);
                (partition, fetched)
            })
            .collect()
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.groups.keys().cloned().collect()
    }

    fn in_group_or_new(
        &mut self,
        id: &Arc<str>,
        now: Now,
        out: &mut ShardOutputs,
        step: impl FnOnce(&mut Group, &mut Outputs),
    ) {
        if !self.groups.contains_key(id) {
            let group = Group::new(Arc::clone(id), Arc::clone(&self.limits), now);
            self.groups.insert(Arc::clone(id), Entry { group, deadline: None });
        }
        self.in_group(id, now, out, step);
    }

    /// Lets a group make a step, and does what follows from it for the shard. `None` if there is no such group.
    fn in_group<T>(
        &mut self,
        id: &Arc<str>,
        now: Now,
        out: &mut ShardOutputs,
        step: impl FnOnce(&mut Group, &mut Outputs) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(id)?;
        let mut outputs = Outputs::default();
        let result = step(&mut entry.group, &mut outputs);
        self.in_flight_bytes += collect(&mut entry.group, outputs, now, out);

        let is_gone = entry.group.is_gone() || entry.group.is_blank();
        let deadline = if is_gone { None } else { entry.group.deadline() };
        if deadline != entry.deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, Arc::clone(id)));
            }
            entry.deadline = deadline;
            self.deadlines.extend(deadline.map(|deadline| (deadline, Arc::clone(id))));
        }
        if is_gone {
            self.groups.remove(id);
        }
        Some(result)
    }
}

/// Passes on what `group` asks for, its writes as bytes; gives how many bytes those are. What cannot be written as
/// it is has failed at once.
fn collect(group: &mut Group, mut outputs: Outputs, now: Now, out: &mut ShardOutputs) -> usize {
    let mut total = 0;
    loop {
        out.answers.append(&mut outputs.answers);
        let mut next = Outputs::default();
        for write in outputs.writes {
            match write.records.iter().map(super::records::GroupRecord::encode).collect::<Result<Vec<_>, _>>()
            {
                Ok(records) => {
                    let bytes = records.iter().map(size).sum();
                    total += bytes;
                    let receipt = Receipt { group: Arc::clone(group.id()), id: write.id, bytes };
                    out.writes.push(ShardWrite { receipt, records });
                }
                Err(error) => {
                    tracing::warn!(group = %group.id(), %error, "record of a group cannot be written");
                    group.written(write.id, Err(ResponseError::InvalidRequest), now, &mut next);
                }
            }
        }
        if next.answers.is_empty() && next.writes.is_empty() {
            return total;
        }
        outputs = next;
    }
}

fn size((key, value): &KeyValue) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len)
}
