//! What operators may see of a running server, and the little they may change. Four-letter words, the admin
//! server and Prometheus answer from it, and from nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Membership, ServerId};
use crate::metrics::{Gauges, Registry};
use crate::node::Reign;
use crate::session::SessionId;
use crate::zab::{PeerStatus, Zxid};

use super::NotHandedOver;
use super::four_letter::TraceMask;

/// A running server, as its operators see it. Lists come in an order that does not change without a reason.
pub trait ServerView: Send + Sync {
    /// What it was told.
    fn config(&self) -> &Config;
    /// Who belongs to its ensemble now.
    fn membership(&self) -> Arc<Membership>;
    /// What it counts.
    fn registry(&self) -> &Registry;
    /// What is looked up, now.
    fn gauges(&self) -> Gauges;
    /// `false` before the tree is loaded and after the stop began.
    fn is_serving(&self) -> bool;
    /// Its role.
    fn mode(&self) -> Mode;
    /// Its part in the ensemble, if it is a member of one.
    fn peer(&self) -> Option<PeerStatus> {
        None
    }
    /// While it leads.
    fn reign(&self) -> Option<Reign> {
        None
    }
    /// The last txn the tree shows.
    fn last_zxid(&self) -> Zxid;
    /// Since the last reset.
    fn statistics(&self) -> Statistics;
    /// `srst`: statistics and metrics begin anew.
    fn reset_statistics(&self);
    /// Every connection, the one that asks included.
    fn connections(&self) -> Vec<ConnectionInfo>;
    /// `crst`: every connection's statistics begin anew.
    fn reset_connections(&self);
    /// Every session that expires at some time.
    fn sessions(&self) -> Vec<SessionInfo>;
    /// The ephemeral znodes of each session that has some.
    fn ephemerals(&self) -> BTreeMap<SessionId, Vec<String>>;
    /// Every data watch (set by exists and getData), by path and session.
    fn watches(&self) -> Vec<Watch>;
    /// The newest digests of the tree: zxid and digest.
    fn digests(&self) -> Vec<(Zxid, u64)>;
    /// Bytes where snapshots are.
    fn data_dir_bytes(&self) -> u64;
    /// Bytes where the log is.
    fn log_dir_bytes(&self) -> u64;
    /// The newest snapshot's zxid, and when it was written, in seconds since 1970.
    fn last_snapshot(&self) -> Option<(Zxid, i64)>;
    /// What `stmk` sets and `gtmk` shows.
    fn trace_mask(&self) -> &TraceMask;
    /// Whether the one at `address`, with what it says of itself, may do everything to the root.
    ///
    /// # Errors
    /// Why not.
    fn authorize(&self, address: IpAddr, scheme: &str, auth: Option<&[u8]>) -> Result<(), Refusal>;
    /// Writes the whole tree in Java's snapshot format, to be read from the beginning.
    ///
    /// # Errors
    /// The disk's.
    fn snapshot(&self) -> io::Result<Snapshot>;
    /// Replaces the whole tree by a snapshot in Java's format; returns its zxid.
    ///
    /// # Errors
    /// Reading it, or its content.
    fn restore(&self, snapshot: &mut dyn Read) -> io::Result<Zxid>;
    /// Has another server lead instead of this one, and waits for that; returns which.
    ///
    /// # Errors
    /// Why this one still leads, or never did.
    fn hand_over(&self) -> Result<ServerId, NotHandedOver>;
}

/// A server's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    Standalone,
    /// Of an ensemble.
    Leader,
    /// Of an ensemble.
    Follower,
    /// Of an ensemble, without a vote.
    Observer,
    /// Of an ensemble without a leader, and serves who accepts that.
    ReadOnly,
    /// Of an ensemble, in search of a leader, and serves nobody.
    Looking,
}

impl Mode {
    /// As `srvr` and `mntr` name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
            Self::Looking => "leaderelection",
        }
    }
}

/// What `srvr` shows. Since the last reset, but for what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// Of all answered requests.
    pub requests: RequestStats,
    /// Requests.
    pub packets_received: u64,
    /// Replies and notifications.
    pub packets_sent: u64,
    /// Requests in flight.
    pub outstanding: u64,
    /// Connections.
    pub connections: u64,
    /// Znodes.
    pub node_count: u64,
    /// Since the start.
    pub uptime: Duration,
    /// Sizes of replies: last, smallest, largest; `None` before the first.
    pub response_bytes: Option<[u64; 3]>,
    /// Syncs that took longer than `fsync.warningthresholdms`.
    pub slow_syncs: u64,
    /// Failed authentications.
    pub auth_failures: u64,
}

/// How long requests took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RequestStats {
    /// Shortest.
    pub min_ms: u64,
    /// Average.
    pub average_ms: f64,
    /// Longest.
    pub max_ms: u64,
}

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channel {
    /// `clientPort`
    #[default]
    Plain,
    /// `secureClientPort`
    Tls,
}

/// A connection, as `cons` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionInfo {
    /// The client.
    pub peer: SocketAddr,
    /// How it came in.
    pub channel: Channel,
    /// Whether requests are read (1) and replies wait to be written (4).
    pub interest: u8,
    /// Requests that wait for their reply.
    pub outstanding: u64,
    /// Requests.
    pub packets_received: u64,
    /// Replies and notifications.
    pub packets_sent: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub established_ms: i64,
    /// When it is closed if nothing is heard, in milliseconds since 1970.
    pub expires_ms: i64,
    /// Its session; `None` for four-letter words and before the handshake.
    pub session: Option<SessionId>,
    /// The session's timeout.
    pub timeout_ms: i32,
    /// Short name of the last operation, `NA` before the first.
    pub last_operation: &'static str,
    /// The client's number of the last request; -1 before the first.
    pub last_cxid: i64,
    /// The zxid of the last reply; -1 before the first.
    pub last_zxid: i64,
    /// When the last reply was made, in milliseconds of the server's own clock.
    pub last_response_ms: i64,
    /// How long the last request took.
    pub last_latency_ms: u64,
    /// How long all requests took.
    pub requests: RequestStats,
}

/// A session, as `dump` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionInfo {
    /// Which.
    pub id: SessionId,
    /// When it expires if nothing is heard, in milliseconds since 1970, rounded up to ticks.
    pub expires_ms: i64,
}

/// One data watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Where.
    pub path: String,
    /// Whose.
    pub session: SessionId,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// She is not who she says, or the scheme is unknown.
    NotAuthenticated,
    /// The root's ACL does not give her everything.
    NotAuthorized,
}

/// A tree in Java's snapshot format.
pub struct Snapshot {
    /// The last txn it contains.
    pub zxid: Zxid,
    /// How long it is.
    pub bytes: u64,
    /// Its content.
    pub content: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("zxid", &self.zxid)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
