//! Joining: who may, who waits, who is told the current generation at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;

use super::written::{InFlight, Replacement};
use super::{Group, GroupState, NEW_MEMBER_TIMEOUT, PENDING_MEMBERS_MAX};
use crate::group::input::{Join, Now, Outputs, Token};
use crate::group::member::{Member, Protocol};

impl Group {
    /// Somebody wants to be a member. Answered when the next generation begins; at once if nothing has to change
    /// for it, or if it may not join.
    #[doc(alias = "handleJoinGroup")]
    pub fn join(&mut self, token: Token, mut join: Join, now: Now, out: &mut Outputs) {
        let mut seen = BTreeSet::new();
        join.protocols.retain(|protocol| seen.insert(Arc::clone(&protocol.name)));

        if !self.has_room_for(&join.member_id) {
            self.remove_member(&join.member_id, out);
            out.refuse_join(token, ResponseError::GroupMaxSizeReached, &"".into());
        } else if let Err(error) = self.check_join(&join) {
            out.refuse_join(token, error, &join.member_id);
        } else if join.member_id.is_empty() {
            self.join_unknown(token, join, now, out);
        } else if self.pending_members.contains_key(&join.member_id) {
            let id = Arc::clone(&join.member_id);
            self.add_member(id, token, join, now, out);
        } else {
            self.rejoin(token, join, now, out);
        }
        self.advance_rebalance(now, out);
    }

    /// In a rebalance those that have joined are counted, not the members: so of a group that is too large already
    /// the last to come are left out.
    fn has_room_for(&self, member_id: &str) -> bool {
        let max = self.limits.group_size_max;
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                self.members.get(member_id).is_some_and(|member| member.join.is_some())
                    || self.members.values().filter(|member| member.join.is_some()).count() < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max
            }
        }
    }

    fn check_join(&self, join: &Join) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() {
            return Ok(());
        }
        if self.pending_members.contains_key(&join.member_id) {
            // Ids are given out in advance to dynamic members only.
            return if join.instance_id.is_none() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.check_member(&join.member_id, join.instance_id.as_ref())
    }

    /// One of `protocols` is known to all members, of whom the one that asks may be one.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known_to_all = |protocol: &Protocol| {
            self.protocol_counts.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(known_to_all)
    }

    fn join_unknown(&mut self, token: Token, join: Join, now: Now, out: &mut Outputs) {
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let id: Arc<str> = format!("{prefix}-{}", join.id_suffix).into();
        let replaced = join.instance_id.as_ref().and_then(|instance| self.static_members.get(instance));
        if let Some(old_id) = replaced.cloned() {
            self.replace_static_member(&old_id, id, token, join, now, out);
        } else if join.instance_id.is_none() && join.needs_known_id {
            self.add_pending_member(&id, now.monotonic.saturating_add(join.session_timeout));
            out.refuse_join(token, ResponseError::MemberIdRequired, &id);
        } else {
            self.add_member(id, token, join, now, out);
        }
    }

    fn add_pending_member(&mut self, id: &Arc<str>, expires: Duration) {
        if self.pending_members.len() >= PENDING_MEMBERS_MAX {
            let oldest = self.pending_members.iter().min_by_key(|(_, expires)| **expires);
            if let Some(oldest) = oldest.map(|(id, _)| Arc::clone(id)) {
                self.pending_members.remove(&oldest);
            }
        }
        self.pending_members.insert(Arc::clone(id), expires);
    }

    #[doc(alias = "addMemberAndRebalance")]
    fn add_member(&mut self, id: Arc<str>, token: Token, join: Join, now: Now, out: &mut Outputs) {
        if self.state == GroupState::PreparingRebalance && self.generation == 0 {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&join.protocol_type));
        }
        let expires = now.monotonic.saturating_add(NEW_MEMBER_TIMEOUT);
        self.insert_member(Member::new(id, join, token, expires));
        self.prepare_rebalance(now, out);
    }

    /// A member of old joins again.
    ///
    /// With nothing new to say it may just not have got its answer, and gets it again; except a leader of a stable
    /// group, which wants another assignment because the topics have changed.
    #[doc(alias = "doCurrentMemberJoinGroup")]
    fn rejoin(&mut self, token: Token, join: Join, now: Now, out: &mut Outputs) {
        let Some(member) = self.members.get_mut(&join.member_id) else {
            return out.refuse_join(token, ResponseError::UnknownMemberId, &join.member_id);
        };
        let leads = self.leader.as_ref() == Some(&member.id);
        let unchanged = member.protocols == join.protocols;
        let answer_at_once = match self.state {
            GroupState::CompletingRebalance => unchanged,
            GroupState::Stable => unchanged && !leads,
            _ => false,
        };
        if answer_at_once {
            member.touch(now.monotonic);
            let joined = self.joined(&join.member_id, leads && self.state == GroupState::CompletingRebalance);
            return out.join(token, Ok(joined));
        }
        self.update_member(token, join, now, out);
        self.prepare_rebalance(now, out);
    }

    /// Takes over what a member says of itself now, and has it wait for the next generation.
    fn update_member(&mut self, token: Token, join: Join, now: Now, out: &mut Outputs) {
        let id = Arc::clone(&join.member_id);
        let Some(mut member) = self.members.remove(&id) else { return };
        self.uncount_protocols(&member.protocols);
        member.update(join);
        self.count_protocols(&member.protocols);
        let grace = if member.is_new { NEW_MEMBER_TIMEOUT } else { member.session_timeout };
        member.expires = now.monotonic.saturating_add(grace);
        if let Some(superseded) = member.join.replace(token) {
            out.refuse_join(superseded, ResponseError::RebalanceInProgress, &id);
        }
        self.members.insert(id, member);
    }

    /// A static member has restarted: it takes its old place under a new id, and whoever uses the old one is fenced.
    ///
    /// In a stable group nobody else needs to know, if the protocol stays the same; only the log, as whoever
    /// coordinates next must know the new id.
    #[doc(alias = "updateStaticMemberAndRebalance")]
    fn replace_static_member(
        &mut self,
        old_id: &Arc<str>,
        new_id: Arc<str>,
        token: Token,
        mut join: Join,
        now: Now,
        out: &mut Outputs,
    ) {
        let Some(member) = self.members.get_mut(old_id) else { return };
        if let Some(fenced) = member.join.take() {
            out.refuse_join(fenced, ResponseError::FencedInstanceId, old_id);
        }
        if let Some(fenced) = member.sync.take() {
            out.sync(fenced, Err(ResponseError::FencedInstanceId));
        }
        let old = member.clone();
        let old_leader = self.leader.clone();
        let may_skip_assignment = join.may_skip_assignment;
        self.exchange_member(old_id, Member { id: Arc::clone(&new_id), ..old.clone() });
        join.member_id = Arc::clone(&new_id);
        self.update_member(token, join, now, out);

        if self.state == GroupState::Stable && self.protocol == self.select_protocol() {
            self.subscribed = self.subscribed_topics();
            let record = self.record(None);
            let replacement = Replacement {
                generation: self.generation,
                old,
                new_id,
                old_leader,
                token,
                may_skip_assignment,
            };
            self.write(vec![record], InFlight::Replacement(Box::new(replacement)), out);
        } else {
            self.prepare_rebalance(now, out);
        }
    }

    /// Puts `member` in the place of `old_id`, in every list.
    pub(super) fn exchange_member(&mut self, old_id: &Arc<str>, member: Member) {
        let Some(old) = self.members.remove(old_id) else { return };
        self.uncount_protocols(&old.protocols);
        if self.leader.as_ref() == Some(old_id) {
            self.leader = Some(Arc::clone(&member.id));
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(Arc::clone(&member.id));
        }
        self.insert_member(member);
    }
}
