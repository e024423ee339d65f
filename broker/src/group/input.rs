//! What comes into a [`Group`](super::Group) and what it says.
//!
//! A request that has to wait is known by its [`Token`]; whoever sent it gets exactly one [`Answer`] for it, at
//! once or later. What has to be on the log before it counts leaves as a [`Write`], and its fate comes back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::member::Protocol;
use super::records::{GroupRecord, OffsetValue};
use crate::TopicPartition;

/// The time, as the rim read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since the process began; never goes back. For sessions and rebalances.
    pub monotonic: Duration,
    /// Wall clock, milliseconds since 1970. For what is written down, and for how long offsets are kept.
    pub wall_ms: i64,
}

/// A request that waits for its answer; the rim knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Records on their way to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Somebody wants to be a member in the next generation.
#[derive(Debug, Clone)]
pub struct Join {
    /// Empty for who has no id yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id`, with which the ids of dynamic members begin.
    pub client_id: Arc<str>,
    /// Where the client is, as `/10.0.0.7`; for people to read.
    pub client_host: Arc<str>,
    /// Silence after which a member is removed.
    pub session_timeout: Duration,
    /// How long the others wait for this member in a rebalance.
    pub rebalance_timeout: Duration,
    /// `consumer`, `connect`, ..: what the protocols are about.
    pub protocol_type: Arc<str>,
    /// Most wanted first.
    pub protocols: Vec<Protocol>,
    /// Ends the id of a new member; must not have been used before.
    pub id_suffix: uuid::Uuid,
    /// Version 4 and later: who has no id is told one and joins again, so that a lost answer leaves no ghost.
    pub needs_known_id: bool,
    /// Version 9 and later: a returning static leader may be told to leave the assignment as it is.
    pub may_skip_assignment: bool,
}

/// A member asks for its part; the leader brings everybody's.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Who asks.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// As its join was answered.
    pub generation: i32,
    /// Version 5: what the member thinks was chosen; must be so.
    pub protocol_type: Option<Arc<str>>,
    /// Version 5: what the member thinks was chosen; must be so.
    pub protocol: Option<Arc<str>>,
    /// By member; empty but from the leader.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Who a request claims to come from. Of a [`Heartbeat`](super::Group::heartbeat) and a commit.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Empty for who is no member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Negative for who takes no part in generations.
    pub generation: i32,
}

/// One that leaves, or is made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Empty if the instance id says who.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
}

/// Offsets a consumer has got to.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Who commits.
    pub caller: Caller,
    /// The next offset to read, by partition.
    pub offsets: Vec<(TopicPartition, OffsetValue)>,
}

/// What a member learns of the generation it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id from now on.
    pub member_id: Arc<str>,
    /// The number of the generation.
    pub generation: i32,
    /// The group's type of protocol.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol all members know and most prefer.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// The leader is to leave the assignment as it is.
    pub skip_assignment: bool,
    /// Everybody, for the leader; nobody for the others.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// What it said about the chosen protocol.
    pub metadata: Bytes,
}

/// Why one may not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    /// The code for the client.
    pub error: ResponseError,
    /// The id to join with again; empty for none.
    pub member_id: Arc<str>,
}

/// A member's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The group's type of protocol.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol of this generation.
    pub protocol: Option<Arc<str>>,
    /// As the leader made it out; empty if it forgot this member.
    pub assignment: Bytes,
}

/// What became of each partition's offset.
pub type OffsetOutcomes = Vec<(TopicPartition, Result<(), ResponseError>)>;

/// The answer to a request that came with a [`Token`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of a join.
    Join(Result<Joined, JoinRefused>),
    /// Of a sync.
    Sync(Result<Synced, ResponseError>),
    /// Of a commit, or of a deletion of offsets. An error is about the group, and so about all of them.
    Offsets(Result<OffsetOutcomes, ResponseError>),
    /// Of the deletion of the group.
    Deleted(Result<(), ResponseError>),
}

/// Records to append in one batch, all or none.
///
/// Writes reach the log in the order in which they were asked for, and their fates come back in that order too.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// To tell the group its fate by.
    pub id: WriteId,
    /// In this order.
    pub records: Vec<GroupRecord>,
}

/// What a step of a group asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Outputs {
    /// To whom it may concern.
    pub answers: Vec<(Token, Answer)>,
    /// To be appended to the group's partition of `__consumer_offsets`.
    pub writes: Vec<Write>,
}

impl Outputs {
    pub(super) fn join(&mut self, token: Token, answer: Result<Joined, JoinRefused>) {
        self.answers.push((token, Answer::Join(answer)));
    }

    pub(super) fn refuse_join(&mut self, token: Token, error: ResponseError, member_id: &Arc<str>) {
        self.join(token, Err(JoinRefused { error, member_id: Arc::clone(member_id) }));
    }

    pub(super) fn sync(&mut self, token: Token, answer: Result<Synced, ResponseError>) {
        self.answers.push((token, Answer::Sync(answer)));
    }
}
