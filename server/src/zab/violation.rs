//! The ways in which a peer can break the protocol.

use super::{Epoch, Zxid};
use crate::config::ServerId;

/// A peer broke the protocol: its link is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are no packet.
    #[error("undecodable packet: {0}")]
    Undecodable(String),
    /// A packet that has no place in this phase.
    #[error("{packet} while {phase}")]
    OutOfPlace {
        /// Its name.
        packet: &'static str,
        /// What was expected.
        phase: &'static str,
    },
    /// The leader proposes an epoch older than one already promised.
    #[error("leader proposes epoch {proposed:?}, but {accepted:?} is promised")]
    OldEpoch {
        /// By the leader.
        proposed: Epoch,
        /// By this server.
        accepted: Epoch,
    },
    /// An epoch that nobody can have reached.
    #[error("epoch {0:?} cannot have been reached")]
    AbsurdEpoch(Epoch),
    /// A learner has a history that cannot be this ensemble's: its epoch is one that no quorum of it has had.
    #[error(
        "server {server} has a history of epoch {theirs:?}, which this ensemble has not reached in epoch {ours:?}: \
             check whose data it has"
    )]
    ForeignHistory {
        /// Who.
        server: ServerId,
        /// Its `currentEpoch`.
        theirs: Epoch,
        /// The leader's.
        ours: Epoch,
    },
    /// A txn does not follow the one before it.
    #[error("txn {found} after {last}")]
    Gap {
        /// The txn before.
        last: Zxid,
        /// The one that came.
        found: Zxid,
    },
    /// A commit is not that of the oldest outstanding proposal.
    #[error("commit of {found}, but {expected:?} is next")]
    CommitOutOfOrder {
        /// The oldest outstanding one.
        expected: Option<Zxid>,
        /// The one that came.
        found: Zxid,
    },
    /// An acknowledgement of something that was never proposed.
    #[error("ack of {found}, but only {proposed} was proposed")]
    AckFromTheFuture {
        /// The last proposed.
        proposed: Zxid,
        /// The one that came.
        found: Zxid,
    },
    /// A learner with a newer membership than ours.
    #[error("learner {learner} has configuration {theirs:#x}, newer than {ours:#x}")]
    NewerConfig {
        /// Who.
        learner: ServerId,
        /// Its version.
        theirs: i64,
        /// Ours.
        ours: i64,
    },
    /// A second link of a learner whose first one works.
    #[error(
        "server {0} is here already, on a link that works: do two servers have this id? check their myid"
    )]
    Duplicate(ServerId),
    /// A learner with the leader's own id.
    #[error("a learner says that it is server {0}, which is this one: check both their myid")]
    OwnId(ServerId),
    /// A learner that does not speak ZAB 1.0.
    #[error("protocol version {0:#x} is not supported")]
    Version(i32),
    /// Silent for too long, or it does not acknowledge.
    #[error("nothing heard for too long")]
    Silent,
    /// More links than there may be.
    #[error("too many learners")]
    TooMany,
}
