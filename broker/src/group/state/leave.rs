//! Leaving, of one's own will or somebody else's.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;

use super::{Group, GroupState};
use crate::group::input::{Leaver, Now, Outputs};

impl Group {
    /// Members go. The answer has one result for each of `leavers`, in their order.
    ///
    /// # Errors
    ///
    /// If the group is dead.
    #[doc(alias = "handleLeaveGroup")]
    pub fn leave(
        &mut self,
        leavers: &[Leaver],
        now: Now,
        out: &mut Outputs,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        Ok(leavers.iter().map(|leaver| self.leave_one(leaver, now, out)).collect())
    }

    fn leave_one(&mut self, leaver: &Leaver, now: Now, out: &mut Outputs) -> Result<(), ResponseError> {
        let instance_id = leaver.instance_id.as_ref();
        let member_id = if leaver.member_id.is_empty() {
            // An administrator removes a static member, whose id only its client knows.
            let current = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
            Arc::clone(current.ok_or(ResponseError::UnknownMemberId)?)
        } else {
            if !self.pending_members.contains_key(&leaver.member_id) {
                self.check_member(&leaver.member_id, instance_id)?;
            }
            Arc::clone(&leaver.member_id)
        };
        tracing::info!(group = %self.id, member = %member_id, "member leaves");
        self.remove_and_rebalance(&member_id, now, out);
        Ok(())
    }

    /// Takes a member out, and has the others share its part.
    #[doc(alias = "removeMemberAndUpdateGroup")]
    pub(super) fn remove_and_rebalance(&mut self, member_id: &str, now: Now, out: &mut Outputs) {
        let was_member = self.members.contains_key(member_id);
        self.remove_member(member_id, out);
        if was_member && matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance) {
            self.prepare_rebalance(now, out);
        }
        self.advance_rebalance(now, out);
    }
}
