//! Consumer groups: who is a member, who consumes what, and how far each group has got.
//!
//! The classic protocol of Kafka: members join, the coordinator chooses a leader among them, the leader shares out the
//! partitions, the coordinator hands out the shares, and heartbeats keep it so. Each group is coordinated by whoever
//! leads its partition of `__consumer_offsets`, which is its log: who leads it next reads it and goes on.
//!
//! | to learn | read |
//! | --- | --- |
//! | when does a rebalance begin, who leads, who is removed? | [`Group`], a machine without clock or sockets |
//! | what is written down? | [`records`], with Kafka's schemas |
//! | when are offsets forgotten? | [`Group::sweep`] |
//! | which groups are ours? | [`Shard`], those of a partition of `__consumer_offsets` |
//! | which tasks exist, who waits for what? | [`GroupCoordinator`] |

mod coordinator;
mod input;
mod limits;
mod member;
mod offsets;
pub mod records;
mod shard;
mod state;

pub use coordinator::{AppendBatch, GroupCoordinator, GroupList, OFFSETS_TOPIC, OffsetsLog, ReadBatches};
pub use input::{
    Answer, Caller, Commit, Join, JoinRefused, Joined, JoinedMember, Leaver, Now, OffsetOutcomes, Outputs,
    SyncRequest, Synced, Token, Write, WriteId,
};
pub use limits::GroupLimits;
pub use member::Protocol;
pub use shard::{
    FetchedOffset, GroupLine, KeyValue, Receipt, Shard, ShardLoad, ShardOutputs, ShardWrite, partition_of,
};
pub use state::{Group, GroupDescription, GroupState, MemberDescription};
