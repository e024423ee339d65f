//! What the peer wants done.

use std::sync::Arc;

use bytes::Bytes;
use jute::data::Id;

use super::input::LinkId;
use super::notification::Notification;
use super::packet::Packet;
use super::violation::Violation;
use super::{Epoch, Zxid};
use crate::config::{Membership, ServerId};
use crate::session::SessionId;

/// Something to do, in this order within each of the three kinds.
#[derive(Debug)]
pub enum Output {
    /// For the network.
    Link(LinkWork),
    /// For the disk.
    Disk(DiskWork),
    /// For the node above.
    Told(Told),
}

/// For the network.
#[derive(Debug, Clone)]
pub enum LinkWork {
    /// Send a vote; only the newest to each server matters.
    Notify {
        /// To whom.
        to: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// Dial a leader's quorum port, or who stands before it; [`Input::LinkUp`](super::Input::LinkUp) or
    /// [`Input::LinkDown`](super::Input::LinkDown) tells how it went.
    Dial {
        /// The link that is to come.
        link: LinkId,
        /// Whom.
        server: ServerId,
    },
    /// Send a packet on each of these links.
    Send {
        /// Where.
        to: Recipients,
        /// What.
        packet: Packet,
    },
    /// Send the txns of the log in `(after, upto]`, each as PROPOSAL and COMMIT.
    SendLog {
        /// Where.
        link: LinkId,
        /// The last one that the learner has.
        after: Zxid,
        /// The last one to send; it is persisted.
        upto: Zxid,
    },
    /// Send the snapshot that [`DiskWork::OpenSnapshot`] holds open, behind the SNAP just sent, and let go of it.
    SendSnapshot {
        /// Where.
        link: LinkId,
    },
    /// Close a link once what was sent on it is out; no [`Input::LinkDown`](super::Input::LinkDown) follows.
    Close {
        /// Which one.
        link: LinkId,
        /// Whose fault, if it is anybody's.
        why: Option<Violation>,
    },
}

/// Where a packet goes.
#[derive(Debug, Clone)]
pub enum Recipients {
    /// To one.
    One(LinkId),
    /// To each of several.
    Many(Arc<[LinkId]>),
}

/// For the disk.
#[derive(Debug, Clone)]
pub enum DiskWork {
    /// Append a txn to the log: header, body, digest. In the order of their zxids.
    Append {
        /// The txn's.
        zxid: Zxid,
        /// The record's payload.
        record: Bytes,
    },
    /// Promise an epoch: `acceptedEpoch`.
    SaveAcceptedEpoch(Epoch),
    /// Note who belongs to the ensemble, for certain and, if a reconfiguration is under way, perhaps. It is on disk
    /// before whatever is asked for next is begun, and is not answered.
    SaveMembership {
        /// What is committed.
        current: Arc<Membership>,
        /// What is proposed.
        next: Option<Arc<Membership>>,
    },
    /// Note whose history this is: `currentEpoch`. All appended before is persisted first.
    SaveCurrentEpoch(Epoch),
    /// Cut the log behind this zxid, and have the tree not reach beyond it.
    Truncate(Zxid),
    /// Load the tree from the disk again, and forget all txns that wait: what is in memory came from a leader who
    /// went before it was complete.
    Reload,
    /// Store the tree in memory as a whole, with all that is committed applied, and void the log: from here on it
    /// continues that tree.
    Install,
    /// Find out how a learner's last zxid stands in the log.
    Trace {
        /// The learner's link.
        link: LinkId,
        /// Its last zxid.
        zxid: Zxid,
    },
    /// Hold a snapshot of the store open, to be sent.
    OpenSnapshot {
        /// The learner's link.
        link: LinkId,
    },
}

/// For the node above.
#[derive(Debug, Clone)]
pub enum Told {
    /// Stop serving: nobody leads.
    Look,
    /// Serve as the leader of this epoch; the first zxid to propose is the one after its beginning.
    Lead(Epoch),
    /// Serve as a learner: all told before is committed. Requests go out by [`Peer`](super::Peer)'s methods.
    Follow {
        /// Who leads.
        leader: ServerId,
        /// Since when.
        epoch: Epoch,
    },
    /// A learner's peer logged a txn, or holds it until the tree it belongs to is installed. It awaits its commit.
    Proposed {
        /// The txn's.
        zxid: Zxid,
        /// Header, body, digest.
        record: Bytes,
    },
    /// Forget the txns after this one: nobody will commit them.
    Forget(Zxid),
    /// Forget all txns that wait, and carry on from the tree that came behind a SNAP, as of this zxid; from an empty
    /// tree if none came. The disk stays as it is until [`DiskWork::Install`], or [`DiskWork::Reload`].
    Adopt(Zxid),
    /// Everything up to this zxid is committed.
    Committed(Zxid),
    /// A learner's client asks for a write (leader only).
    Requested {
        /// Whose learner.
        link: LinkId,
        /// Who asks.
        session: SessionId,
        /// The client's number for it.
        cxid: i32,
        /// Code of a [`jute::Op`].
        op: i32,
        /// What stands behind the request's header.
        body: Bytes,
        /// The client's identities.
        identities: Arc<[Id]>,
    },
    /// A learner's client wants to carry on a session (leader only).
    Revalidate {
        /// Whose learner.
        link: LinkId,
        /// Which session.
        session: SessionId,
        /// Its timeout, in milliseconds.
        timeout_ms: i32,
    },
    /// A learner heard from these sessions (leader only): ids and timeouts in milliseconds.
    Touched {
        /// Whose learner.
        link: LinkId,
        /// Who was heard from.
        sessions: Vec<(SessionId, i32)>,
    },
    /// A learner has gone, and holds no session any more (leader only).
    LearnerGone(LinkId),
    /// The leader said whether a session lives (learner only).
    Revalidated {
        /// Which session.
        session: SessionId,
        /// It lives, and is this server's now.
        is_valid: bool,
    },
    /// The leader answered the oldest sync (learner only): all that was committed before it is told.
    Synced,
    /// The leader asks who was heard from; answer with [`Peer::touch`](super::Peer::touch) (learner only).
    Pinged,
}
