//! What goes into the node and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::data::{Acl, Id, Stat};
use jute::multi::MultiResponse;
use jute::{ErrorCode, EventType, Ustring};

use crate::session::{ConnectionId, SessionId, password_of};
use crate::tree::Cut;
use crate::zab::{DiskWork, Input, LinkId, LinkWork, Zxid};

/// The time, as the rim read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since the process began; never goes back. For timeouts.
    pub monotonic: Duration,
    /// Wall clock, milliseconds since 1970. For ctime and mtime.
    pub wall_ms: i64,
}

/// A client's request, still encoded: a learner forwards a write as it is, `prep` decodes it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks. [`SessionId`] 0 is the service itself.
    pub session: SessionId,
    /// Where the answer goes; `None` for what the service asks of itself.
    pub connection: Option<ConnectionId>,
    /// The client's number for it.
    pub xid: i32,
    /// Code of a [`jute::Op`].
    pub op: i32,
    /// What stands behind the request's header: a slice of the read buffer.
    pub body: Bytes,
    /// The connection's identities when it asked, its address first.
    pub identities: Arc<[Id]>,
}

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A client asks for a write.
    Write(Request),
    /// A client asks for a read, behind something else that it asked the node for.
    Read(Request),
    /// A request that the rim refuses, behind something else that its client asked for: it is answered in its
    /// turn.
    Refused {
        /// Who asked.
        connection: ConnectionId,
        /// The client's number for it.
        xid: i32,
        /// Why.
        error: ErrorCode,
    },
    /// A connection asks for a new session.
    OpenSession {
        /// Who asks.
        connection: ConnectionId,
        /// The timeout it wishes for, in milliseconds.
        timeout_ms: i32,
    },
    /// A connection asks to carry on a session.
    RenewSession {
        /// Who asks.
        connection: ConnectionId,
        /// Which session.
        session: SessionId,
        /// What it says the session's password is.
        password: Bytes,
        /// The timeout it wishes for, in milliseconds.
        timeout_ms: i32,
    },
    /// A connection has gone, and its watches go too.
    Disconnected {
        /// Which one.
        connection: ConnectionId,
    },
    /// These sessions were heard from: requests that do not pass through the node, and pings.
    Touched(Vec<SessionId>),
    /// The log is on disk up to and including this zxid.
    Persisted(Zxid),
    /// The snapshot store has taken over so many cuts: as many more may come.
    SnapshotWritten {
        /// Since the last time.
        cuts: usize,
    },
    /// What the log can take from here on.
    LogRoom(LogRoom),
    /// Somebody else is to lead, if this server does and there is somebody who can: it is about to stop.
    HandOver,
    /// Something that concerns consensus, on a member of an ensemble.
    Peer(Input),
    /// [`Node::deadline`](crate::node::Node) has passed.
    Tick,
}

/// How much room the log has.
///
/// While the disk is short of it, writes that grow (creations, `setData`, `setACL`, multis with any of them) are
/// refused, and a refusal costs no txn, so that clients who try again cannot use up what is left: it is for
/// deletions, and for sessions that end. Nothing is proposed that does not fit.
///
/// In an ensemble, a leader refuses the same writes, but a learner's client hears of it by a txn, since its learner
/// waits for one. What a learner has to log it cannot refuse: when its log is full, it stops, and the others go on
/// without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRoom {
    /// So many bytes of records fit for certain. While the disk is not short, more is set aside in time.
    pub bytes: u64,
    /// The disk has no more to set aside.
    pub is_short: bool,
}

impl LogRoom {
    /// A log without bound.
    pub const AMPLE: Self = Self { bytes: u64::MAX, is_short: false };
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Append a record to the log: header, txn, digest. Records come in the order of their zxids.
    Append {
        /// The txn's.
        zxid: Zxid,
        /// The record's payload.
        record: Bytes,
    },
    /// Give something to a connection, in this order.
    Deliver(Delivery),
    /// Write what changed to the snapshot store.
    Snapshot(Cut),
    /// For the network between servers, in this order.
    Link(LinkWork),
    /// For the disk, in this order and that of [`Action::Append`]. The answer, a [`DiskDone`](crate::zab::DiskDone),
    /// must be stepped before any later event.
    Disk(DiskWork),
    /// Put another tree in place of the one there is, before anything is applied. The disk stays as it is.
    Adopt {
        /// As of which txn.
        zxid: Zxid,
        /// It came behind a SNAP on this link; else it is empty.
        from: Option<LinkId>,
    },
    /// Close all client connections: this server does not serve them any more.
    CloseAll,
}

impl From<DiskWork> for Action {
    fn from(work: DiskWork) -> Self {
        match work {
            DiskWork::Append { zxid, record } => Self::Append { zxid, record },
            other => Self::Disk(other),
        }
    }
}

impl Delivery {
    /// The good end of a handshake: the session's own password goes with it.
    pub(super) fn connected(
        connection: ConnectionId,
        session: SessionId,
        timeout_ms: i32,
        is_read_only: bool,
    ) -> Self {
        Self::Connected { connection, session, timeout_ms, password: password_of(session), is_read_only }
    }
}

/// Something for a client.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The handshake's good end.
    Connected {
        /// Whose handshake.
        connection: ConnectionId,
        /// New or carried on.
        session: SessionId,
        /// The timeout granted.
        timeout_ms: i32,
        /// What to bring next time.
        password: [u8; 16],
        /// There is no leader: reads are all it gets.
        is_read_only: bool,
    },
    /// The handshake's other end: no such session, or a wrong password. The connection closes afterwards.
    Expired {
        /// Whose handshake.
        connection: ConnectionId,
    },
    /// The answer to a write.
    Reply {
        /// Who asked.
        connection: ConnectionId,
        /// The client's number for the request.
        xid: i32,
        /// The newest zxid applied.
        zxid: Zxid,
        /// A refusal's code; the body is then [`ReplyBody::Empty`].
        error: Option<ErrorCode>,
        /// The answer.
        body: ReplyBody,
        /// The connection closes once this is sent: after closeSession, and unknown operations.
        close: bool,
    },
    /// The answer to a read: its frame, behind those of the events that it found due.
    Answer {
        /// Who asked.
        connection: ConnectionId,
        /// The newest zxid applied.
        zxid: Zxid,
        /// Whole frames.
        frames: Bytes,
    },
    /// A watch fired. It was consumed or is persistent; either way the table already says so.
    Notification {
        /// Who watched.
        connections: Vec<ConnectionId>,
        /// Of the txn.
        zxid: Zxid,
        /// What happened.
        event: EventType,
        /// Where.
        path: Ustring,
        /// Only those who may read by this ACL get it; `None` is everyone.
        acl: Option<Arc<[Acl]>>,
    },
    /// Close without a word: the session expired, or lives elsewhere now.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
}

/// The record behind a reply's header.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// No record.
    Empty,
    /// `CreateResponse`, `SyncResponse`.
    Path(Ustring),
    /// `Create2Response`.
    PathStat(Ustring, Stat),
    /// `SetDataResponse`, `SetACLResponse`.
    Stat(Stat),
    /// `GetDataResponse`, for reconfig.
    DataStat(Option<Bytes>, Stat),
    /// `MultiResponse`.
    Multi(Box<MultiResponse>),
}
