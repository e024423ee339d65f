//! A group as the log remembers it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Group, GroupState};
use crate::TopicPartition;
use crate::group::input::{Now, Outputs};
use crate::group::limits::GroupLimits;
use crate::group::member::{Member, Protocol};
use crate::group::offsets::Offsets;
use crate::group::records::{GroupValue, MemberValue, OffsetValue};

impl Group {
    /// The group whose newest records are these; `value` is `None` for one that only has offsets.
    ///
    /// Its members are given a session from now on, to find us. If there are more than are allowed, they join again,
    /// and the last to come are left out.
    pub fn load(
        id: Arc<str>,
        value: Option<GroupValue>,
        offsets: BTreeMap<TopicPartition, OffsetValue>,
        limits: Arc<GroupLimits>,
        now: Now,
        out: &mut Outputs,
    ) -> Self {
        let mut group = Self::new(id, limits, now);
        group.offsets = Offsets::new(offsets);
        if let Some(value) = value {
            group.restore(value, now);
        }
        if group.members.len() > group.limits.group_size_max {
            group.prepare_rebalance(now, out);
        }
        group
    }

    fn restore(&mut self, value: GroupValue, now: Now) {
        self.generation = value.generation.max(0);
        self.protocol_type = value.protocol_type;
        self.state_since_ms = value.state_since_ms;
        self.protocol = value.protocol;
        if let Some(protocol) = self.protocol.clone() {
            for member in value.members {
                self.restore_member(member, &protocol, now);
            }
        } else if !value.members.is_empty() {
            tracing::warn!(group = %self.id, "members without a protocol in the log are not loaded");
        }
        if !self.members.is_empty() {
            self.state = GroupState::Stable;
            let leads = |leader: &Arc<str>| self.members.contains_key(leader);
            self.leader = value.leader.filter(leads).or_else(|| self.members.keys().next().cloned());
        }
        self.subscribed = self.subscribed_topics();
    }

    fn restore_member(&mut self, value: MemberValue, protocol: &Arc<str>, now: Now) {
        let mut member = Member {
            id: value.member_id,
            instance_id: value.instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            session_timeout: millis(value.session_timeout_ms),
            rebalance_timeout: millis(value.rebalance_timeout_ms),
            protocols: vec![Protocol { name: Arc::clone(protocol), metadata: value.subscription }],
            assignment: value.assignment,
            join: None,
            sync: None,
            is_new: false,
            expires: Duration::ZERO,
        };
        member.touch(now.monotonic);
        let instance_id = member.instance_id.as_ref();
        let taken = instance_id.is_some_and(|instance_id| self.static_members.contains_key(instance_id));
        if taken || self.members.contains_key(&member.id) {
            tracing::warn!(group = %self.id, member = %member.id, "member stands twice in the log, loaded once");
            return;
        }
        self.insert_member(member);
    }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
