//! The fate of what was to be written: what follows when it is safe, or lost.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::{Group, GroupState};
use crate::group::input::{Answer, Joined, Now, OffsetOutcomes, Outputs, Token, WriteId};
use crate::group::member::Member;
use crate::group::offsets::Change;

/// Why something is being written.
#[derive(Debug)]
pub(super) enum InFlight {
    /// The leader has assigned.
    Assignment { generation: i32, assignments: BTreeMap<Arc<str>, Bytes> },
    /// Nobody is left.
    Emptied,
    /// A static member has come back under another id.
    Replacement(Box<Replacement>),
    /// Offsets were committed, deleted, or too old.
    Offsets { token: Option<Token>, changes: Vec<Change>, refused: OffsetOutcomes },
    /// The group is deleted.
    Burial { token: Option<Token> },
}

/// A static member that has come back under another id; with how it was before.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) generation: i32,
    pub(super) old: Member,
    pub(super) new_id: Arc<str>,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) token: Token,
    pub(super) may_skip_assignment: bool,
}

impl Group {
    /// Write `id` is safe on all in-sync replicas, or was not made so for the given reason. To be told in the order of
    /// the writes.
    pub fn written(&mut self, id: WriteId, fate: Result<(), ResponseError>, now: Now, out: &mut Outputs) {
        let Some(in_flight) = self.in_flight.remove(&id) else { return };
        if let Err(error) = fate {
            tracing::warn!(group = %self.id, %error, "record of a group could not be written");
        }
        match in_flight {
            InFlight::Assignment { generation, assignments } => {
                self.assignment_written(generation, assignments, fate, now, out);
            }
            // Whoever loads the generation before will find nobody in it alive.
            InFlight::Emptied => {}
            InFlight::Replacement(replacement) => self.replacement_written(*replacement, fate, now, out),
            InFlight::Offsets { token, changes, refused } => {
                self.offsets_written(id, token, changes, refused, fate, out);
            }
            InFlight::Burial { token } => self.burial_written(token, fate, out),
        }
    }

    /// If the group has gone on meanwhile, the assignment is of no more use.
    fn assignment_written(
        &mut self,
        generation: i32,
        assignments: BTreeMap<Arc<str>, Bytes>,
        fate: Result<(), ResponseError>,
        now: Now,
        out: &mut Outputs,
    ) {
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return;
        }
        match fate {
            Ok(()) => self.become_stable(assignments, now, out),
            Err(error) => {
                self.forget_assignments(membership_error(error), now, out);
                self.prepare_rebalance(now, out);
            }
        }
    }

    fn replacement_written(
        &mut self,
        replacement: Replacement,
        fate: Result<(), ResponseError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let Replacement { generation, mut old, new_id, old_leader, token, may_skip_assignment } = replacement;
        let waits = |member: &Member| member.join == Some(token);
        let is_current = self.state == GroupState::Stable && self.generation == generation;
        if !is_current || !self.members.get(&new_id).is_some_and(waits) {
            return; // Answered by then, or to be answered with the next generation.
        }
        if let Err(error) = fate {
            old.touch(now.monotonic);
            self.exchange_member(&new_id, old);
            self.subscribed = self.subscribed_topics();
            return out.refuse_join(token, membership_error(error), &"".into());
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.join = None;
            member.touch(now.monotonic);
        }
        let leads = self.is_leader(&new_id);
        let joined = if may_skip_assignment {
            Joined { skip_assignment: leads, ..self.joined(&new_id, leads) }
        } else {
            // Told the id that led before, a returning leader does not take itself for it and assigns nothing, which
            // nobody in a stable group would hear of.
            Joined { leader: old_leader.unwrap_or_default(), ..self.joined(&new_id, false) }
        };
        out.join(token, Ok(joined));
    }

    fn offsets_written(
        &mut self,
        id: WriteId,
        token: Option<Token>,
        changes: Vec<Change>,
        mut outcomes: OffsetOutcomes,
        fate: Result<(), ResponseError>,
        out: &mut Outputs,
    ) {
        if let Some(token) = token {
            let outcome = fate.map_err(offset_error);
            outcomes.extend(changes.iter().map(|change| (change.partition.clone(), outcome)));
            out.answers.push((token, Answer::Offsets(Ok(outcomes))));
        }
        self.offsets.finish(id, changes, fate.is_ok());
    }

    fn burial_written(&mut self, token: Option<Token>, fate: Result<(), ResponseError>, out: &mut Outputs) {
        match fate {
            Ok(()) => self.offsets.clear(),
            Err(_) => self.state = GroupState::Empty,
        }
        out.answers.extend(token.map(|token| (token, Answer::Deleted(fate.map_err(offset_error)))));
    }

    /// The group is no longer ours: whoever waits is told to look for its new coordinator.
    #[doc(alias = "onGroupUnloaded")]
    pub fn unload(&mut self, out: &mut Outputs) {
        const ERROR: ResponseError = ResponseError::NotCoordinator;
        for (id, member) in &mut self.members {
            if let Some(token) = member.join.take() {
                out.refuse_join(token, ERROR, id);
            }
            if let Some(token) = member.sync.take() {
                out.sync(token, Err(ERROR));
            }
        }
        for in_flight in mem::take(&mut self.in_flight).into_values() {
            match in_flight {
                InFlight::Offsets { token: Some(token), .. } => {
                    out.answers.push((token, Answer::Offsets(Err(ERROR))));
                }
                InFlight::Burial { token: Some(token) } => {
                    out.answers.push((token, Answer::Deleted(Err(ERROR))));
                }
                _ => {}
            }
        }
        self.rebalance = None;
        self.pending_sync.clear();
        self.pending_members.clear();
        self.state = GroupState::Dead;
    }
}

/// What a failed append is called in the answer to a join or a sync.
fn membership_error(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::RequestTimedOut => ResponseError::RebalanceInProgress,
        ResponseError::MessageTooLarge
        | ResponseError::RecordListTooLarge
        | ResponseError::InvalidFetchSize => ResponseError::UnknownServerError,
        other => coordinator_error(other),
    }
}

/// What a failed append is called in the answer to a commit or a deletion.
#[doc(alias = "maybeConvertOffsetCommitError")]
fn offset_error(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::MessageTooLarge
        | ResponseError::RecordListTooLarge
        | ResponseError::InvalidFetchSize => ResponseError::InvalidCommitOffsetSize,
        other => coordinator_error(other),
    }
}

/// What goes wrong with our partition is to the client a matter of the coordinator.
fn coordinator_error(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::UnknownTopicOrPartition
        | ResponseError::NotEnoughReplicas
        | ResponseError::NotEnoughReplicasAfterAppend => ResponseError::CoordinatorNotAvailable,
        ResponseError::NotLeaderOrFollower | ResponseError::KafkaStorageError => {
            ResponseError::NotCoordinator
        }
        other => other,
    }
}
