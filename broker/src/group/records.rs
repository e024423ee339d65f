//! The records of `__consumer_offsets`, byte for byte as Kafka writes them.
//!
//! A key begins with a version that says of what it is: 0 and 1 the offset of {group, topic, partition}, 2 the
//! membership of a group. A value begins with a version of its own. We write what Kafka 2.3 to 3.9 writes: keys 1
//! and 2, values 3 (an offset with an expiry of its own: 1, the last that has a field for it), and read them all.
//! A key without value is a tombstone: the compaction of the topic forgets what stood under it.
//!
//! Kafka: `GroupMetadataManager`, schemas `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey`,
//! `GroupMetadataValue`.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::TopicPartition;

pub(super) use decode::Reader;
pub use decode::{DecodeError, RecordKey, decode_group_value, decode_key, decode_offset_value};
pub use encode::{STRING_BYTES_MAX, TooLong};

/// How far a group has got in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read; -1 if not told.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep beside it.
    pub metadata: Arc<str>,
    /// When it was committed, milliseconds since 1970.
    pub commit_ms: i64,
    /// When it may be forgotten whatever becomes of the group: clients before 2.1 could ask for that.
    pub expire_ms: Option<i64>,
}

/// A group's membership as of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// `consumer`, `connect`, ..; `None` for an empty string.
    pub protocol_type: Option<Arc<str>>,
    /// The number of the generation.
    pub generation: i32,
    /// The chosen protocol; `None` in an empty group.
    pub protocol: Option<Arc<str>>,
    /// The member that assigned; `None` in an empty group.
    pub leader: Option<Arc<str>>,
    /// When the group came into the state it was in, milliseconds since 1970; `None` if it was written before 2.1.
    pub state_since_ms: Option<i64>,
    /// All members, with their parts.
    pub members: Vec<MemberValue>,
}

/// A member in a [`GroupValue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// Its id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// Milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Milliseconds.
    pub session_timeout_ms: i32,
    /// What it said about the chosen protocol.
    pub subscription: Bytes,
    /// Its part.
    pub assignment: Bytes,
}

/// One record of `__consumer_offsets`; without a value, a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    /// An offset.
    Offset {
        /// The group that committed it.
        group: Arc<str>,
        /// What was read.
        partition: TopicPartition,
        /// How far.
        value: Option<OffsetValue>,
    },
    /// A membership.
    Group {
        /// Of this group.
        group: Arc<str>,
        /// As of its newest generation.
        value: Option<GroupValue>,
    },
}
