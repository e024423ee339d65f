//! What a generation has in common: its protocol, its topics, what it is told and how it is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{CONSUMER, Group};
use crate::group::input::{Joined, JoinedMember, Synced};
use crate::group::member::Member;
use crate::group::records::{DecodeError, GroupRecord, GroupValue, MemberValue, Reader};

impl Group {
    /// The protocol that all members know and most of them like best; `None` without members.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let known_to_all = |name: &Arc<str>| self.protocol_counts.get(name) == Some(&self.members.len());
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|protocol| &protocol.name).find(|name| known_to_all(name));
            *votes.entry(vote.expect("members share a protocol")).or_default() += 1;
        }
        votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| Arc::clone(name))
    }

    /// The topics consumers say they read. `None` if the members are no consumers, or not of a kind we understand.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_deref()?);
            topics.append(&mut subscription_topics(&metadata).ok()?);
        }
        Some(topics)
    }

    /// What member `id` learns of this generation; `with_members` for its leader.
    pub(super) fn joined(&self, id: &Arc<str>, with_members: bool) -> Joined {
        let members = if with_members { self.joined_members() } else { Vec::new() };
        Joined {
            member_id: Arc::clone(id),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let member = |member: &Member| JoinedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }

    pub(super) fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }

    /// This generation for the log: with the leader's new `assignments`, or those the members have.
    pub(super) fn record(&self, assignments: Option<&BTreeMap<Arc<str>, Bytes>>) -> GroupRecord {
        let member = |member: &Member| MemberValue {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: millis(member.rebalance_timeout),
            session_timeout_ms: millis(member.session_timeout),
            subscription: member.metadata(self.protocol.as_deref().unwrap_or("")),
            assignment: match assignments {
                Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        let value = GroupValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self.members.values().map(member).collect(),
        };
        GroupRecord::Group { group: Arc::clone(&self.id), value: Some(value) }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The topics in a consumer's subscription: version 0 of `ConsumerProtocolSubscription`, with which all begin.
fn subscription_topics(metadata: &[u8]) -> Result<BTreeSet<Arc<str>>, DecodeError> {
    let mut reader = Reader(metadata);
    let version = reader.i16("version")?;
    if version < 0 {
        return Err(DecodeError::UnknownVersion(version));
    }
    let count = reader.i32("topics")?;
    if count < 0 {
        return Err(DecodeError::Length { field: "topics", length: count });
    }
    (0..count).map(|_| reader.string("topics")).collect()
}
