//! What the peer is told.

use super::notification::Notification;
use super::packet::Packet;
use super::{Epoch, Zxid};
use crate::config::ServerId;

/// A connection on a quorum port, as long as it lasts. No two have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// This server dialed its leader; the number is the peer's.
    Leader(u32),
    /// A learner dialed this server; the number is the rim's.
    Learner(u32),
}

/// Something that concerns consensus happened.
#[derive(Debug)]
pub enum Input {
    /// A vote arrived on an election link. It may be lost, come twice, or late.
    Notification {
        /// Whose link it was.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// A link stands: a learner dialed, or this server's own dialing succeeded.
    LinkUp(LinkId),
    /// The next packet of a link. Links are FIFO until they are down.
    Packet {
        /// Which one.
        link: LinkId,
        /// What it says.
        packet: Packet,
    },
    /// Behind a SNAP, its tree is there, whole; the driver holds it until it is asked to serve it.
    SnapshotReceived {
        /// The link to the leader.
        link: LinkId,
    },
    /// A link is gone, or dialing failed. Nothing of it comes after this.
    LinkDown(LinkId),
    /// The disk did what was asked of it.
    Disk(DiskDone),
    /// [`Peer::deadline`](super::Peer::deadline) has passed.
    Tick,
}

/// What the disk did; each answers a [`DiskWork`](super::DiskWork).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskDone {
    /// Every record up to this one is safe.
    Persisted(Zxid),
    /// The promise is safe.
    AcceptedEpoch(Epoch),
    /// The reign is noted, safely.
    CurrentEpoch(Epoch),
    /// The log ends here now, and the tree does not reach beyond it.
    Truncated(Zxid),
    /// The log could not be cut there: the snapshot store is beyond. Nothing was changed.
    TruncateRefused,
    /// The tree in memory was the log's again, which ends here.
    Reloaded(Zxid),
    /// The received tree, moved on to this zxid, is safe, and the old log void.
    Installed(Zxid),
    /// What the log says about a learner's last zxid.
    Traced {
        /// The learner's link.
        link: LinkId,
        /// What it says.
        trace: Trace,
    },
    /// A snapshot of the store is held open for a learner.
    SnapshotOpened {
        /// The learner's link.
        link: LinkId,
        /// The last txn in it.
        zxid: Zxid,
    },
}

/// How a learner's last zxid stands in the log on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// The log does not reach back to it, or sending the rest would cost more than a snapshot.
    OutOfReach,
    /// It is in the log.
    Found,
    /// It is not, though the log reaches further back: the learner went another way after `previous`.
    Missing {
        /// The last txn before it.
        previous: Zxid,
        /// The first txn after it, if there is one.
        next: Option<Zxid>,
    },
}
