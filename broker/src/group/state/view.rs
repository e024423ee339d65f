//! A group as others see it.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::{Group, GroupState};
use crate::TopicPartition;
use crate::group::member::Member;
use crate::group::records::OffsetValue;

/// A group for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// What it is about.
    pub state: GroupState,
    /// `consumer`, `connect`, ..; empty if it never had members.
    pub protocol_type: Arc<str>,
    /// The protocol of a stable group; empty otherwise.
    pub protocol: Arc<str>,
    /// All members.
    pub members: Vec<MemberDescription>,
}

/// A member for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// In a stable group, what it said about the protocol; empty otherwise.
    pub metadata: Bytes,
    /// In a stable group, its part; empty otherwise.
    pub assignment: Bytes,
}

impl GroupDescription {
    /// A group that does not exist, of which Kafka says that it is dead.
    pub fn dead() -> Self {
        Self {
            state: GroupState::Dead,
            protocol_type: Arc::default(),
            protocol: Arc::default(),
            members: Vec::new(),
        }
    }
}

impl Group {
    /// The number of its newest generation; 0 if it never had members.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// `consumer`, `connect`, ..; empty if it never had members.
    pub fn protocol_type(&self) -> Arc<str> {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// Who is in it and what they do.
    pub fn describe(&self) -> GroupDescription {
        let protocol = self.protocol.as_ref().filter(|_| self.state == GroupState::Stable);
        let member = |member: &Member| MemberDescription {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
        };
        GroupDescription {
            state: self.state,
            protocol_type: self.protocol_type(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: self.members.values().map(member).collect(),
        }
    }

    /// How far the group has got in `partition`; `None` if it never committed there.
    ///
    /// # Errors
    ///
    /// If that is about to change, and `require_stable`.
    pub fn offset(
        &self,
        partition: &TopicPartition,
        require_stable: bool,
    ) -> Result<Option<&OffsetValue>, ResponseError> {
        if self.state == GroupState::Dead {
            return Ok(None);
        }
        if require_stable && self.offsets.is_pending(partition) {
            return Err(ResponseError::UnstableOffsetCommit);
        }
        Ok(self.offsets.get(partition))
    }

    /// In how many partitions the group has got anywhere.
    pub fn committed_count(&self) -> usize {
        match self.state {
            GroupState::Dead => 0,
            _ => self.offsets.committed().len(),
        }
    }

    /// The partitions in which the group has got anywhere.
    pub fn committed_partitions(&self) -> Vec<TopicPartition> {
        match self.state {
            GroupState::Dead => Vec::new(),
            _ => self.offsets.committed().keys().cloned().collect(),
        }
    }

    /// How many of them there are.
    pub fn offset_count(&self) -> usize {
        self.offsets.committed().len()
    }
}
