//! Offsets: committed, deleted, expired; and the group's end, when nothing is left to remember.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;

use super::written::InFlight;
use super::{CONSUMER, Group, GroupState};
use crate::TopicPartition;
use crate::group::input::{Answer, Caller, Commit, Now, OffsetOutcomes, Outputs, Token};
use crate::group::offsets::{Change, Retention};
use crate::group::records::{GroupRecord, OffsetValue, STRING_BYTES_MAX};

impl Group {
    /// Writes down how far the caller has got. Answered when that is safe on the log.
    #[doc(alias = "handleCommitOffsets")]
    pub fn commit(&mut self, token: Token, commit: Commit, now: Now, out: &mut Outputs) {
        if let Err(error) = self.check_commit(&commit.caller) {
            return out.answers.push((token, Answer::Offsets(Err(error))));
        }
        self.touch(&commit.caller.member_id, now);
        let metadata_max = self.limits.offset_metadata_bytes_max.min(STRING_BYTES_MAX);
        let (fits, too_large): (Vec<_>, Vec<_>) =
            commit.offsets.into_iter().partition(|(_, value)| value.metadata.len() <= metadata_max);
        let refused = too_large
            .into_iter()
            .map(|(partition, _)| (partition, Err(ResponseError::OffsetMetadataTooLarge)))
            .collect();
        let changes = fits.into_iter().map(|(partition, value)| Change { partition, value: Some(value) });
        self.change_offsets(Some(token), changes.collect(), refused, out);
    }

    /// Members of the generation may commit; in an empty group, whoever takes no part in generations.
    ///
    /// While members join they go on committing what they have read: heartbeats tell them of the rebalance. While
    /// they wait for the assignment they have nothing to commit.
    #[doc(alias = "validateOffsetCommit")]
    fn check_commit(&self, caller: &Caller) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if self.state == GroupState::Empty && caller.generation < 0 {
            return Ok(());
        }
        if caller.generation < 0 && caller.member_id.is_empty() && caller.instance_id.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.check_caller(caller)?;
        match self.state {
            GroupState::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Forgets offsets. Answered when that is safe on the log. What the members read may not be forgotten.
    #[doc(alias = "handleDeleteOffsets")]
    pub fn delete_offsets(&mut self, token: Token, partitions: Vec<TopicPartition>, out: &mut Outputs) {
        let error = match self.state {
            GroupState::Dead => Some(ResponseError::GroupIdNotFound),
            GroupState::Empty => None,
            _ if self.protocol_type.as_deref() == Some(CONSUMER) => None,
            _ => Some(ResponseError::NonEmptyGroup),
        };
        if let Some(error) = error {
            return out.answers.push((token, Answer::Offsets(Err(error))));
        }
        let (read, unread): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|partition| self.is_read(&partition.topic));
        let refused = read
            .into_iter()
            .map(|partition| (partition, Err(ResponseError::GroupSubscribedToTopic)))
            .collect();
        let changes = unread.into_iter().map(|partition| Change { partition, value: None }).collect();
        self.change_offsets(Some(token), changes, refused, out);
    }

    /// Do members read `topic`? If it is not known what they read, yes.
    fn is_read(&self, topic: &Arc<str>) -> bool {
        let knows = |subscribed: &BTreeSet<Arc<str>>| subscribed.contains(topic);
        self.state != GroupState::Empty && self.subscribed.as_ref().is_none_or(knows)
    }

    /// A topic is no more, and with it how far it was read.
    #[doc(alias = "handleDeletedPartitions")]
    pub fn forget_topic(&mut self, topic: &str, out: &mut Outputs) {
        let of_topic = |partition: &TopicPartition| &*partition.topic == topic;
        let partitions = self.offsets.partitions().into_iter().filter(of_topic).collect();
        self.remove_offsets(partitions, out);
    }

    /// Forgets offsets that are too old, and the group itself if it is empty and has no others.
    #[doc(alias = "cleanupGroupMetadata")]
    pub fn sweep(&mut self, now: Now, out: &mut Outputs) {
        let expired = self.expired_offsets(now);
        let remembers = expired.len() < self.offsets.committed().len() || self.offsets.any_pending();
        let is_idle = self.pending_members.is_empty() && self.in_flight.is_empty();
        if self.state == GroupState::Empty && !remembers && is_idle {
            self.bury(None, out);
        } else {
            self.remove_offsets(expired, out);
        }
    }

    fn expired_offsets(&self, now: Now) -> Vec<TopicPartition> {
        let retention = match (&self.protocol_type, self.state) {
            (None, _) => Retention::SinceCommit(None),
            (Some(_), GroupState::Empty) => match self.state_since_ms {
                Some(since_ms) => Retention::SinceEmpty(since_ms),
                None => Retention::SinceCommit(None),
            },
            (Some(kind), GroupState::Stable) if **kind == *CONSUMER && self.subscribed.is_some() => {
                Retention::SinceCommit(self.subscribed.as_ref())
            }
            _ => return Vec::new(),
        };
        let retention_ms = i64::try_from(self.limits.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        self.offsets.expired(retention, retention_ms, now.wall_ms)
    }

    fn remove_offsets(&mut self, partitions: Vec<TopicPartition>, out: &mut Outputs) {
        if self.state != GroupState::Dead {
            let changes = partitions.into_iter().map(|partition| Change { partition, value: None }).collect();
            self.change_offsets(None, changes, Vec::new(), out);
        }
    }

    fn change_offsets(
        &mut self,
        token: Option<Token>,
        changes: Vec<Change>,
        refused: OffsetOutcomes,
        out: &mut Outputs,
    ) {
        if changes.is_empty() {
            out.answers.extend(token.map(|token| (token, Answer::Offsets(Ok(refused)))));
            return;
        }
        let record = |change: &Change| self.offset_record(&change.partition, change.value.clone());
        let records = changes.iter().map(record).collect();
        let id = self.write(records, InFlight::Offsets { token, changes: changes.clone(), refused }, out);
        self.offsets.begin(id, &changes);
    }

    fn offset_record(&self, partition: &TopicPartition, value: Option<OffsetValue>) -> GroupRecord {
        GroupRecord::Offset { group: Arc::clone(&self.id), partition: partition.clone(), value }
    }

    /// Deletes the group, which must be empty. Answered when that is safe on the log.
    #[doc(alias = "handleDeleteGroups")]
    pub fn delete(&mut self, token: Token, out: &mut Outputs) {
        let error = match self.state {
            GroupState::Empty => return self.bury(Some(token), out),
            GroupState::Dead => ResponseError::GroupIdNotFound,
            _ => ResponseError::NonEmptyGroup,
        };
        out.answers.push((token, Answer::Deleted(Err(error))));
    }

    /// Dead from now on; [gone](Group::is_gone) once its tombstones are safe on the log.
    ///
    /// Commits still under way have a tombstone, too: it comes after them.
    fn bury(&mut self, token: Option<Token>, out: &mut Outputs) {
        self.state = GroupState::Dead;
        self.pending_members.clear();
        let mut records: Vec<_> =
            self.offsets.partitions().iter().map(|partition| self.offset_record(partition, None)).collect();
        if self.generation > 0 {
            records.push(GroupRecord::Group { group: Arc::clone(&self.id), value: None });
        }
        if records.is_empty() {
            out.answers.extend(token.map(|token| (token, Answer::Deleted(Ok(())))));
            return;
        }
        self.write(records, InFlight::Burial { token }, out);
    }
}
