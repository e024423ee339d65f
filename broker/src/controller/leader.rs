//! Who leads a partition. Kafka's `Election`, `PartitionStateMachine` and `ReplicaStateMachine`: there, events are
//! followed by what they change; here, a partition's state by the one it should have.

use crate::registry::image::{Partition, PartitionState};
use crate::registry::payload::StatePayload;
use crate::topic_partition::BrokerId;

use super::view::View;

/// Why a leader that was asked for is not elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotElected {
    /// It leads already; or, where any would do, there is one.
    NotNeeded,
    /// It is not alive or not in sync; or, where any would do, none is alive.
    NotAvailable,
}

impl View<'_> {
    /// The first state of a partition: led by the first of its replicas that is available, all of which are in sync, as
    /// there is nothing to lack. `None` while none is.
    pub(super) fn first_state(&self, partition: &Partition) -> Option<StatePayload> {
        let isr: Vec<_> = partition.replicas.iter().copied().filter(|it| self.is_available(*it)).collect();
        let leader = Some(*isr.first()?);
        Some(StatePayload { leader, leader_epoch: 0, isr, controller_epoch: self.epoch, recovering: false })
    }

    /// The state that `partition` of `topic` should have instead of `state`; `None` if it should stay.
    pub(super) fn next_state(
        &self,
        topic: &str,
        partition: &Partition,
        state: &PartitionState,
    ) -> Option<StatePayload> {
        let next = match state.leader {
            Some(leader) if self.is_sound(leader, partition, state) => self.tidied(partition, state, leader),
            _ => self.relieved(topic, partition, state),
        };
        let is_same = next.leader == state.leader && next.isr == state.isr;
        (!is_same || !self.has_same_lives(state)).then_some(next)
    }

    /// The partition's first replica as its leader.
    pub(super) fn preferred(
        &self,
        partition: &Partition,
        state: &PartitionState,
    ) -> Result<StatePayload, NotElected> {
        let first = partition.replicas.first().copied().ok_or(NotElected::NotAvailable)?;
        if state.leader == Some(first) {
            return Err(NotElected::NotNeeded);
        }
        if !self.is_sound(first, partition, state) {
            return Err(NotElected::NotAvailable);
        }
        Ok(self.successor(state, Some(first), state.isr.clone()))
    }

    /// Any leader for a partition that has none: in sync if possible, and else any that is alive.
    pub(super) fn unclean(
        &self,
        partition: &Partition,
        state: &PartitionState,
    ) -> Result<StatePayload, NotElected> {
        if state.leader.is_some_and(|leader| self.is_available(leader)) {
            return Err(NotElected::NotNeeded);
        }
        self.in_sync(partition, state)
            .or_else(|| self.out_of_sync(partition, state))
            .ok_or(NotElected::NotAvailable)
    }

    /// `leader` may go on.
    fn is_sound(&self, leader: BrokerId, partition: &Partition, state: &PartitionState) -> bool {
        self.is_available(leader)
            && self.is_in_same_life(leader, state)
            && partition.replicas.contains(&leader)
            && state.isr.contains(&leader)
    }

    /// With a leader that goes on: those are out of the ISR who are not there, or were not all the time, or are no
    /// replicas any more. When a reassignment has all its replicas in sync, the others leave, the leader too.
    fn tidied(&self, partition: &Partition, state: &PartitionState, leader: BrokerId) -> StatePayload {
        let stays = |it: &BrokerId| *it == leader || self.is_sound(*it, partition, state);
        let mut isr: Vec<_> = state.isr.iter().copied().filter(stays).collect();
        let mut leader = leader;
        let target = partition.target();
        if partition.is_reassigning()
            && let Some(first) = target.first()
            && target.iter().all(|replica| isr.contains(replica))
        {
            isr.retain(|replica| target.contains(replica));
            leader = if target.contains(&leader) { leader } else { *first };
        }
        self.successor(state, Some(leader), isr)
    }

    /// With a leader that should not go on. It has to where it is about to end, but nobody else is in sync.
    fn relieved(&self, topic: &str, partition: &Partition, state: &PartitionState) -> StatePayload {
        if let Some(elected) = self.in_sync(partition, state) {
            return elected;
        }
        let is_still_there = |leader: &BrokerId| {
            partition.replicas.contains(leader)
                && state.isr.contains(leader)
                && self.is_in_same_life(*leader, state)
        };
        if let Some(leader) = state.leader.filter(is_still_there) {
            return self.tidied(partition, state, leader);
        }
        let unclean = self.is_unclean_allowed(topic).then(|| self.out_of_sync(partition, state)).flatten();
        // All of the ISR have all that was acknowledged: whoever of them comes back first may lead.
        unclean.unwrap_or_else(|| self.successor(state, None, state.isr.clone()))
    }

    /// The first replica in sync. One that has been there all the time goes before all that have not; if there is none,
    /// all who are back are taken for what they were.
    fn in_sync(&self, partition: &Partition, state: &PartitionState) -> Option<StatePayload> {
        let back = |it: &BrokerId| self.is_available(*it) && state.isr.contains(it);
        let sound = |it: &BrokerId| back(it) && self.is_in_same_life(*it, state);
        let replicas = &partition.replicas;
        let is_in = |it: &BrokerId| replicas.contains(it);
        if let Some(leader) = replicas.iter().copied().find(sound) {
            let isr = state.isr.iter().copied().filter(|it| is_in(it) && sound(it)).collect();
            return Some(self.successor(state, Some(leader), isr));
        }
        let leader = replicas.iter().copied().find(back)?;
        let isr = state.isr.iter().copied().filter(|it| is_in(it) && back(it)).collect();
        Some(self.successor(state, Some(leader), isr))
    }

    /// The first replica that is there at all; the others have to follow it, whatever they have.
    fn out_of_sync(&self, partition: &Partition, state: &PartitionState) -> Option<StatePayload> {
        let leader = partition.replicas.iter().copied().find(|it| self.is_available(*it))?;
        Some(StatePayload { recovering: true, ..self.successor(state, Some(leader), vec![leader]) })
    }

    fn successor(
        &self,
        state: &PartitionState,
        leader: Option<BrokerId>,
        isr: Vec<BrokerId>,
    ) -> StatePayload {
        StatePayload {
            leader,
            leader_epoch: state.leader_epoch.saturating_add(1),
            isr,
            controller_epoch: self.epoch,
            recovering: state.recovering,
        }
    }

    /// Where the leader is in another life, the state is written anew even if it stays what it was: the new epoch tells
    /// the leader that it leads.
    fn has_same_lives(&self, state: &PartitionState) -> bool {
        state.leader.is_none_or(|leader| !self.is_available(leader) || self.is_in_same_life(leader, state))
    }
}
