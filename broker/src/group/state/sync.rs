//! Between joins: the assignment, and signs of life.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::written::InFlight;
use super::{Group, GroupState};
use crate::group::input::{Caller, Now, Outputs, SyncRequest, Token};

impl Group {
    /// A member asks for its part. Answered at once in a stable group; else when the leader's assignment is safe on
    /// the log.
    #[doc(alias = "handleSyncGroup")]
    pub fn sync(&mut self, token: Token, sync: SyncRequest, now: Now, out: &mut Outputs) {
        if let Err(error) = self.check_sync(&sync) {
            return out.sync(token, Err(error));
        }
        self.pending_sync.remove(&sync.member_id);
        let leads = self.is_leader(&sync.member_id);
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return out.sync(token, Err(ResponseError::UnknownMemberId));
        };
        if self.state == GroupState::Stable {
            member.touch(now.monotonic);
            let assignment = member.assignment.clone();
            return out.sync(token, Ok(self.synced(assignment)));
        }
        if let Some(superseded) = member.sync.replace(token) {
            out.sync(superseded, Err(ResponseError::RebalanceInProgress));
        }
        if leads {
            self.assign(sync.assignments, out);
        }
    }

    fn check_sync(&self, sync: &SyncRequest) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_member(&sync.member_id, sync.instance_id.as_ref())?;
        if sync.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |said: &Option<Arc<str>>, chosen: &Option<Arc<str>>| said.is_some() && said != chosen;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            GroupState::Empty => Err(ResponseError::UnknownMemberId),
            _ => Ok(()),
        }
    }

    /// Has the assignment written. The first one counts: if the leader sends another meanwhile, the log and the
    /// members must not be told different things.
    fn assign(&mut self, assignments: Vec<(Arc<str>, Bytes)>, out: &mut Outputs) {
        let generation = self.generation;
        let under_way = |in_flight: &InFlight| matches!(in_flight, InFlight::Assignment { generation: g, .. } if *g == generation);
        if self.in_flight.values().any(under_way) {
            return;
        }
        let assignments: BTreeMap<Arc<str>, Bytes> =
            assignments.into_iter().filter(|(id, _)| self.members.contains_key(id)).collect();
        let record = self.record(Some(&assignments));
        self.write(vec![record], InFlight::Assignment { generation, assignments }, out);
    }

    /// A member is alive.
    ///
    /// # Errors
    ///
    /// What the member must know: that a rebalance is under way, or that it is none of this generation.
    #[doc(alias = "handleHeartbeat")]
    pub fn heartbeat(&mut self, caller: &Caller, now: Now) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_caller(caller)?;
        self.touch(&caller.member_id, now);
        match self.state {
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    pub(super) fn check_caller(&self, caller: &Caller) -> Result<(), ResponseError> {
        self.check_member(&caller.member_id, caller.instance_id.as_ref())?;
        if caller.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now.monotonic);
        }
    }
}
