//! Rebalancing: waiting until all have joined, then the next generation.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::written::InFlight;
use super::{Group, GroupState, Rebalance};
use crate::group::input::{Now, Outputs};

impl Group {
    /// Has all members join again, unless they are at it already.
    #[doc(alias = "prepareRebalance")]
    pub(super) fn prepare_rebalance(&mut self, now: Now, out: &mut Outputs) {
        let timeout = self.rebalance_timeout();
        let rebalance = match self.state {
            GroupState::Dead | GroupState::PreparingRebalance => return,
            GroupState::Empty => {
                let delay = self.limits.initial_rebalance_delay;
                self.new_member_added = false;
                Rebalance {
                    deadline: now.monotonic.saturating_add(delay),
                    extendable: Some(timeout.saturating_sub(delay)),
                }
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                Rebalance { deadline: now.monotonic.saturating_add(timeout), extendable: None }
            }
        };
        if self.state == GroupState::CompletingRebalance {
            self.forget_assignments(ResponseError::RebalanceInProgress, now, out);
        }
        self.pending_sync.clear();
        self.rebalance = Some(rebalance);
        self.become_state(GroupState::PreparingRebalance, now);
        tracing::info!(group = %self.id, generation = self.generation, "rebalance begins");
        self.advance_rebalance(now, out);
    }

    /// The rebalance is over if all have joined, or if there is no more time for it.
    pub(super) fn advance_rebalance(&mut self, now: Now, out: &mut Outputs) {
        let Some(rebalance) = self.rebalance else { return };
        let all_joined =
            self.pending_members.is_empty() && self.members.values().all(|member| member.join.is_some());
        if rebalance.deadline <= now.monotonic {
            match rebalance.extendable {
                Some(left) if self.new_member_added && !left.is_zero() => self.extend_rebalance(left, now),
                _ => self.complete_join(now, out),
            }
        } else if all_joined && rebalance.extendable.is_none() {
            self.complete_join(now, out);
        }
    }

    /// New members have come while the first of them waited: give further ones the same time.
    #[doc(alias = "InitialDelayedJoin")]
    fn extend_rebalance(&mut self, left: Duration, now: Now) {
        let delay = left.min(self.limits.initial_rebalance_delay);
        self.new_member_added = false;
        self.rebalance = Some(Rebalance {
            deadline: now.monotonic.saturating_add(delay),
            extendable: Some(left.saturating_sub(delay)),
        });
    }

    /// Removes who has not joined, and begins the next generation.
    ///
    /// Static members stay: they may be restarting. If none but such are left, there is nobody to assign, and all
    /// wait on until somebody joins, or their sessions end.
    #[doc(alias = "onCompleteJoin")]
    fn complete_join(&mut self, now: Now, out: &mut Outputs) {
        let late: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance_id.is_none())
            .map(|member| Arc::clone(&member.id))
            .collect();
        for member in late {
            tracing::info!(group = %self.id, %member, "member removed, it has not joined again in time");
            self.remove_member(&member, out);
        }
        if self.members.is_empty() {
            return self.become_empty(now, out);
        }
        if !self.elect_leader() {
            let deadline = now.monotonic.saturating_add(self.rebalance_timeout());
            // At least a moment, or who asked for no time at all would have us turn in circles.
            let deadline = deadline.max(now.monotonic + Duration::from_millis(1));
            self.rebalance = Some(Rebalance { deadline, extendable: None });
            return;
        }
        self.begin_generation(now, out);
    }

    /// The leader must be one that has joined. False if nobody has.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let Some(elected) = self.members.keys().find(|id| joined(id)).cloned() else { return false };
        self.leader = Some(elected);
        true
    }

    fn become_empty(&mut self, now: Now, out: &mut Outputs) {
        self.next_generation();
        self.become_state(GroupState::Empty, now);
        let record = self.record(None);
        self.write(vec![record], InFlight::Emptied, out);
        tracing::info!(group = %self.id, generation = self.generation, "group is empty");
    }

    fn begin_generation(&mut self, now: Now, out: &mut Outputs) {
        self.next_generation();
        self.become_state(GroupState::CompletingRebalance, now);
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline = now.monotonic.saturating_add(self.rebalance_timeout());
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.is_new = false;
            member.touch(now.monotonic);
            waiting.extend(member.join.take().map(|token| (token, Arc::clone(&member.id))));
        }
        for (token, id) in waiting {
            out.join(token, Ok(self.joined(&id, self.is_leader(&id))));
        }
        let members = self.members.len();
        tracing::info!(group = %self.id, generation = self.generation, members, "generation begins");
    }

    fn next_generation(&mut self) {
        self.rebalance = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        self.pending_sync.clear();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
    }

    /// Ends a generation whose assignment never came to be: who waits for it is told `error`.
    pub(super) fn forget_assignments(&mut self, error: ResponseError, now: Now, out: &mut Outputs) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.sync.take() {
                member.touch(now.monotonic);
                out.sync(token, Err(error));
            }
        }
    }

    /// Hands out what the leader has brought.
    pub(super) fn become_stable(
        &mut self,
        mut assignments: BTreeMap<Arc<str>, Bytes>,
        now: Now,
        out: &mut Outputs,
    ) {
        self.become_state(GroupState::Stable, now);
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            if let Some(token) = member.sync.take() {
                member.touch(now.monotonic);
                waiting.push((token, member.assignment.clone()));
            }
        }
        for (token, assignment) in waiting {
            out.sync(token, Ok(self.synced(assignment)));
        }
    }

    /// Members that have not asked for their part in time are gone.
    pub(super) fn end_overdue_syncs(&mut self, now: Now, out: &mut Outputs) {
        if self.pending_sync.is_empty() || self.sync_deadline > now.monotonic {
            return;
        }
        for member in mem::take(&mut self.pending_sync) {
            tracing::info!(group = %self.id, %member, "member removed, it has not synced in time");
            self.remove_member(&member, out);
        }
        self.prepare_rebalance(now, out);
    }
}
