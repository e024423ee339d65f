//! What the node must be told: the part of zoo.cfg that concerns the machine itself.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Schemes;
use crate::session::TimeoutBounds;

/// The node's settings. The defaults are ZooKeeper's.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// `myid`; the top byte of session ids. A lone server is 1.
    pub server_id: u8,
    /// `tickTime`: sessions expire at its multiples.
    pub tick: Duration,
    /// `minSessionTimeout`, `maxSessionTimeout`.
    pub timeouts: TimeoutBounds,
    /// Who may authenticate how, shared with the connections.
    pub schemes: Arc<Schemes>,
    /// `extendedTypesEnabled`: znodes may have a time to live.
    pub extended_types: bool,
    /// `digest.enabled`: txns carry the digest of the tree after them.
    pub digests: bool,
    /// `localSessionsEnabled`: a new session is known to its server only.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: until it makes an ephemeral znode.
    pub local_upgrades: bool,
    /// `readonlymode.enabled`: without a leader for so long, reads are served to clients who accept that.
    pub read_only_after: Option<Duration>,
    /// `enforceQuota`: hard limits are kept.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig: bool,
    /// `multiAddress.enabled`: a server may join with several addresses.
    pub multi_address: bool,
    /// `standaloneEnabled`: an ensemble must keep two voters.
    pub standalone: bool,
    /// `closeSessionTxn.enabled`: the end of a session lists the znodes that go with it.
    pub list_closed_paths: bool,
    /// `audit.enable`: ephemeral znodes that go with a session are told to the rim.
    pub audit: bool,
    /// When to take a cut of the tree for the snapshot store.
    pub cuts: CutPolicy,
    /// How empty containers and TTL znodes are removed.
    pub reaper: ReaperConfig,
}

/// When a cut is taken: by txns, by bytes or by znodes, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutPolicy {
    /// `snapCount`: txns since the last.
    pub txns_max: u64,
    /// `snapSizeLimitInKb`: bytes of log since the last; `None` is no limit. Bounds the cut's memory.
    pub log_bytes_max: Option<u64>,
    /// Znodes changed since the last. Bounds the pause: a cut's cost grows with them. When there are far more, because it
    /// had to wait or was put off, it is taken in parts of about so many.
    pub dirty_max: usize,
    /// Cuts and parts handed out that are not written yet. When there are as many, the next one waits.
    pub unwritten_max: usize,
    /// While so many txns come a second, a cut that is due by its znodes is put off,
    pub busy_txns_per_second: u64,
    /// until there are so many times as many txns or bytes as are enough for a cut at other times.
    pub put_off_max: u64,
}

/// ZooKeeper's `znode.container.*` keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperConfig {
    /// `znode.container.checkIntervalMs`: how often candidates are looked for.
    pub interval: Duration,
    /// `znode.container.maxPerMinute`: how many go at most.
    pub per_minute_max: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container stays that never had a child; zero is
    /// for ever.
    pub never_used_max: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            server_id: 1,
            tick: Duration::from_secs(3),
            timeouts: TimeoutBounds { min_ms: 6000, max_ms: 60_000 },
            schemes: Arc::default(),
            extended_types: false,
            digests: true,
            local_sessions: false,
            local_upgrades: false,
            read_only_after: None,
            enforce_quota: false,
            reconfig: false,
            multi_address: false,
            standalone: true,
            list_closed_paths: true,
            audit: false,
            cuts: CutPolicy::default(),
            reaper: ReaperConfig::default(),
        }
    }
}

impl Default for CutPolicy {
    fn default() -> Self {
        Self {
            txns_max: 100_000,
            log_bytes_max: Some(32 << 20),
            dirty_max: 8192,
            unwritten_max: 4,
            busy_txns_per_second: 50_000,
            put_off_max: 10,
        }
    }
}

impl Default for ReaperConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), per_minute_max: 10_000, never_used_max: Duration::ZERO }
    }
}
