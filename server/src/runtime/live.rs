//! The running server as operators see it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use jute::Op;
use jute::data::perms;

use super::NotHandedOver;
use super::four_letter::TraceMask;
use super::restore::{Errand, Restore};
use super::shared::Shared;
use super::stats::{ConnectionStats, Latency, ReplySizes};
use super::tree_file;
use super::view::{
    Channel, ConnectionInfo, Mode, Refusal, RequestStats, ServerView, SessionInfo, Snapshot, Statistics,
    Watch,
};
use crate::auth::Authentication;
use crate::config::{Config, Membership, ServerId};
use crate::metrics::{Gauges, QuotaGauges, Registry};
use crate::node::Event;
use crate::node::Reign;
use crate::session::{ConnectionId, SessionId};
use crate::storage::DataDirs;
use crate::tree::Tree;
use crate::zab::{PeerState, PeerStatus, Zxid};

/// How long a page waits for what only the node's thread knows: a slow disk must not hold up other clients.
const NODE_PATIENCE: Duration = Duration::from_millis(500);

impl ServerView for Shared {
    fn config(&self) -> &Config {
        &self.config
    }

    fn membership(&self) -> Arc<Membership> {
        Shared::membership(self)
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn gauges(&self) -> Gauges {
        let statistics = self.statistics();
        let watches = self.watches.lock().counts();
        let (znodes, ephemerals, bytes, quotas) = {
            let tree = self.tree.read();
            (tree.znode_count(), tree.ephemeral_count(), tree.approximate_data_size(), quotas(&tree))
        };
        let reply_sizes = statistics.response_bytes;
        let local_sessions = self.status.lock().local_sessions;
        Gauges {
            avg_latency: statistics.requests.average_ms,
            max_latency: gauge(statistics.requests.max_ms),
            min_latency: gauge(statistics.requests.min_ms),
            packets_received: gauge(statistics.packets_received),
            packets_sent: gauge(statistics.packets_sent),
            num_alive_connections: gauge(statistics.connections),
            outstanding_requests: gauge(statistics.outstanding),
            uptime: gauge(statistics.uptime.as_millis()),
            znode_count: gauge(znodes),
            watch_count: gauge(watches.data + watches.children),
            ephemerals_count: gauge(ephemerals),
            approximate_data_size: gauge(bytes),
            global_sessions: gauge(self.tree.read().sessions().len()),
            local_sessions: gauge(local_sessions),
            open_file_descriptor_count: open_files(),
            max_file_descriptor_count: open_files_max(),
            connection_drop_probability: self
                .connection_throttle
                .as_ref()
                .map_or(0.0, |throttle| throttle.lock().drop_probability()),
            auth_failed_count: gauge(statistics.auth_failures),
            last_client_response_size: reply_sizes.map_or(-1, |[last, _, _]| gauge(last)),
            min_client_response_size: reply_sizes.map_or(-1, |[_, min, _]| gauge(min)),
            max_client_response_size: reply_sizes.map_or(-1, |[_, _, max]| gauge(max)),
            quotas,
            ..self.ensemble_gauges()
        }
    }

    fn is_serving(&self) -> bool {
        let is_alone = !self.config.ensemble.is_distributed();
        let has_leader = self.peer().map_or(is_alone, |peer| peer.serves);
        self.is_serving.load(Relaxed) && (has_leader || self.is_read_only.load(Relaxed))
    }

    fn mode(&self) -> Mode {
        match self.status.lock().peer.map(|peer| peer.state) {
            None => Mode::Standalone,
            Some(PeerState::Leading) => Mode::Leader,
            Some(PeerState::Following) => Mode::Follower,
            Some(PeerState::Observing) => Mode::Observer,
            // Whoever asks whether we serve and then what we are may see the time before read-only begins.
            Some(PeerState::Looking) if self.is_read_only.load(Relaxed) => Mode::ReadOnly,
            Some(PeerState::Looking) => Mode::Looking,
        }
    }

    fn peer(&self) -> Option<PeerStatus> {
        self.status.lock().peer
    }

    fn reign(&self) -> Option<Reign> {
        self.status.lock().reign
    }

    fn last_zxid(&self) -> Zxid {
        self.tree.read().last_zxid()
    }

    fn statistics(&self) -> Statistics {
        let sum = |of: fn(&super::stats::ShardStats) -> u64| {
            self.ledgers.iter().map(|ledger| of(&ledger.stats)).sum()
        };
        Statistics {
            requests: request_stats(self.ledgers.iter().map(|ledger| &ledger.stats.latency)),
            packets_received: sum(|stats| stats.packets_received.count()),
            packets_sent: sum(|stats| stats.packets_sent.count()),
            outstanding: self.queue.in_flight() as u64,
            connections: self.doorkeeper.connections() as u64,
            node_count: self.tree.read().znode_count() as u64,
            uptime: self.clock.monotonic(),
            response_bytes: ReplySizes::over(self.ledgers.iter().map(|ledger| &ledger.stats.reply_sizes)),
            slow_syncs: self.slow_syncs.load(Relaxed),
            auth_failures: sum(|stats| stats.auth_failures.count()),
        }
    }

    fn reset_statistics(&self) {
        self.ledgers.iter().for_each(|ledger| ledger.stats.reset());
        self.registry.reset();
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let patience = self.config.limits.sessionless_timeout;
        let of_shard = |ledger: &super::shared::Ledger| -> Vec<ConnectionInfo> {
            ledger.connections.lock().iter().map(|(_, (_, stats))| connection_info(stats, patience)).collect()
        };
        self.ledgers.iter().flat_map(of_shard).collect()
    }

    fn reset_connections(&self) {
        for ledger in &self.ledgers {
            ledger.connections.lock().iter().for_each(|(_, (_, stats))| stats.reset());
        }
    }

    /// The node knows. Should it be too busy to say so, nothing is shown.
    fn sessions(&self) -> Vec<SessionInfo> {
        let (answer, expiries) = sync_channel(1);
        self.errands.lock().push(Errand::Expiries(answer));
        // The node's thread looks when it wakes.
        self.queue.send(&mut vec![Event::Tick]);
        let expiries = expiries.recv_timeout(NODE_PATIENCE).unwrap_or_default();
        let shown = |(id, expires_ms)| SessionInfo {
            id,
            expires_ms: self.wall_ms(Duration::from_millis(expires_ms)),
        };
        let mut sessions: Vec<_> = expiries.into_iter().map(shown).collect();
        sessions.sort_unstable_by_key(|session| (session.expires_ms, session.id));
        sessions
    }

    fn ephemerals(&self) -> BTreeMap<SessionId, Vec<String>> {
        let tree = self.tree.read();
        tree.ephemeral_owners().map(|owner| (owner, tree.ephemerals_of(owner).collect())).collect()
    }

    fn watches(&self) -> Vec<Watch> {
        let mut sessions: HashMap<ConnectionId, SessionId> = HashMap::new();
        for ledger in &self.ledgers {
            for (_, (id, stats)) in ledger.connections.lock().iter() {
                sessions.insert(*id, SessionId(stats.session.load(Relaxed)));
            }
        }
        let by_path = self.watches.lock().by_path();
        let of_path = |(path, connections): (String, std::collections::BTreeSet<ConnectionId>)| {
            let found: Vec<_> = connections.iter().filter_map(|id| sessions.get(id).copied()).collect();
            found.into_iter().map(move |session| Watch { path: path.clone(), session })
        };
        by_path.into_iter().flat_map(of_path).collect()
    }

    fn digests(&self) -> Vec<(Zxid, u64)> {
        self.tree.read().digest_history().collect()
    }

    fn data_dir_bytes(&self) -> u64 {
        bytes_below(&self.dirs().snapshots())
    }

    fn log_dir_bytes(&self) -> u64 {
        bytes_below(&self.dirs().logs())
    }

    fn last_snapshot(&self) -> Option<(Zxid, i64)> {
        *self.last_snapshot.lock()
    }

    fn trace_mask(&self) -> &TraceMask {
        &self.trace_mask
    }

    fn authorize(&self, address: IpAddr, scheme: &str, auth: Option<&[u8]>) -> Result<(), Refusal> {
        let Authentication::Accepted(proven) = self.schemes.authenticate(scheme, auth) else {
            return Err(Refusal::NotAuthenticated);
        };
        // As in Java, the address counts only for those who refer to it.
        let identities = if scheme == "ip" { vec![crate::auth::identity_of(address)] } else { proven };
        if identities.is_empty() {
            return Err(Refusal::NotAuthenticated);
        }
        let tree = self.tree.read();
        let root = tree.find("/").ok_or(Refusal::NotAuthorized)?;
        let may = |wanted| self.schemes.check(root.acl(), wanted, &identities).is_ok();
        let may_all =
            [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN].into_iter().all(may);
        if may_all { Ok(()) } else { Err(Refusal::NotAuthorized) }
    }

    fn snapshot(&self) -> io::Result<Snapshot> {
        tree_file::write(&self.tree, &self.dirs(), self.config.storage.compression)
    }

    fn restore(&self, snapshot: &mut dyn Read) -> io::Result<Zxid> {
        let options = self.tree.read().options().clone();
        let (restore, outcome) = Restore::new(tree_file::read(snapshot, options)?);
        self.errands.lock().push(Errand::Restore(Box::new(restore)));
        // The node's thread looks when it wakes.
        self.queue.send(&mut vec![Event::Tick]);
        outcome.wait()
    }

    fn hand_over(&self) -> Result<ServerId, NotHandedOver> {
        self.hand_leadership_over()
    }
}

impl Shared {
    pub(super) fn dirs(&self) -> DataDirs {
        DataDirs::new(&self.config.data_dir, Some(self.config.data_log_dir.clone()))
    }
}

/// The quotas of each namespace together. Hard limits go before soft ones; what is not limited counts -1, as in Java.
fn quotas(tree: &Tree) -> BTreeMap<String, QuotaGauges> {
    let mut gauges = BTreeMap::<String, QuotaGauges>::new();
    for (path, limits, used) in tree.quota_report() {
        let Some(namespace) = path.split('/').nth(1) else { continue };
        let hard_or = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let gauge = gauges.entry(namespace.to_owned()).or_default();
        gauge.count_limit += hard_or(limits.count_hard_limit(), limits.count());
        gauge.bytes_limit += hard_or(limits.byte_hard_limit(), limits.bytes());
        gauge.count += used.count();
        gauge.bytes += used.bytes();
    }
    gauges
}

fn gauge(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss)] // An average for display.
fn request_stats<'a>(latencies: impl Iterator<Item = &'a Latency>) -> RequestStats {
    let (mut count, mut total, mut min, mut max) = (0, Duration::ZERO, None::<Duration>, Duration::ZERO);
    for latency in latencies.filter(|latency| latency.count() > 0) {
        count += latency.count();
        total += latency.total();
        min = Some(min.map_or(latency.min(), |min| min.min(latency.min())));
        max = max.max(latency.max());
    }
    let average_ms = if count == 0 { 0.0 } else { total.as_secs_f64() * 1000.0 / count as f64 };
    RequestStats { min_ms: millis(min.unwrap_or_default()), average_ms, max_ms: millis(max) }
}

/// `patience` is how long it may stay without a session; Java looks after connections that often.
fn connection_info(stats: &ConnectionStats, patience: Duration) -> ConnectionInfo {
    let session = match stats.session.load(Relaxed) {
        0 => None,
        session => Some(SessionId(session)),
    };
    let timeout_ms = stats.timeout_ms.load(Relaxed);
    let last_op = stats.last_op.load(Relaxed);
    let last_response_ms = stats.last_response_ms.load(Relaxed);
    let has_answered = last_op != 0;
    ConnectionInfo {
        peer: stats.peer,
        channel: Channel::Plain,
        interest: u8::from(session.is_some()),
        outstanding: stats.outstanding.load(Relaxed),
        packets_received: stats.received.count(),
        packets_sent: stats.sent.count(),
        established_ms: stats.established_ms,
        expires_ms: {
            let patience = gauge(patience.as_millis()).max(1);
            let allowed = if session.is_some() { i64::from(timeout_ms) } else { patience };
            (stats.established_ms.max(last_response_ms) + allowed) / patience * patience + patience
        },
        session,
        timeout_ms,
        last_operation: short_name(last_op),
        last_cxid: if has_answered { i64::from(stats.last_xid.load(Relaxed)) } else { -1 },
        last_zxid: if has_answered { stats.last_zxid.load(Relaxed) } else { -1 },
        last_response_ms,
        last_latency_ms: u64::try_from(stats.last_latency_ms.load(Relaxed)).unwrap_or(0),
        requests: request_stats(std::iter::once(&stats.latency)),
    }
}

impl Shared {
    fn ensemble_gauges(&self) -> Gauges {
        let status = *self.status.lock();
        let Some(peer) = status.peer else {
            return Gauges::default();
        };
        let quorum_size = Some(gauge(self.membership().voters().count()));
        let Some(reign) = status.reign else {
            let is_observer_master =
                self.config.ensemble.observer_master_port.is_some() && peer.state == PeerState::Following;
            let synced_observers = is_observer_master.then(|| gauge(self.passing_observers.load(Relaxed)));
            return Gauges { quorum_size, synced_observers, ..Gauges::default() };
        };
        let [last, min, max] = reign.proposal_bytes.map_or([-1; 3], |bytes| bytes.map(gauge));
        Gauges {
            quorum_size,
            learners: Some(gauge(peer.learners)),
            synced_followers: Some(gauge(peer.synced_followers)),
            synced_non_voting_followers: Some(gauge(peer.synced_non_voters)),
            synced_observers: Some(gauge(peer.synced_observers)),
            pending_syncs: Some(0),
            leader_uptime: Some(gauge(self.clock.monotonic().saturating_sub(reign.since).as_millis())),
            last_proposal_size: Some(last),
            min_proposal_size: Some(min),
            max_proposal_size: Some(max),
            ..Gauges::default()
        }
    }
}

/// What `cons` calls an operation. ZooKeeper's `Request.op2String`, shortened.
fn short_name(code: i32) -> &'static str {
    let Some(op) = Op::from_code(code) else {
        return if code == 0 { "NA" } else { "UNKN" };
    };
    match op {
        Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => "CREA",
        Op::Delete | Op::DeleteContainer => "DELE",
        Op::Exists => "EXIS",
        Op::GetData => "GETD",
        Op::SetData => "SETD",
        Op::GetAcl => "GETA",
        Op::SetAcl => "SETA",
        Op::GetChildren | Op::GetChildren2 => "GETC",
        Op::GetAllChildrenNumber => "GETACN",
        Op::Sync => "SYNC",
        Op::Ping => "PING",
        Op::CreateSession => "SESS",
        Op::CloseSession => "CLOS",
        Op::SetWatches => "SETW",
        Op::SetWatches2 => "STW2",
        Op::AddWatch => "ADDW",
        Op::CheckWatches => "CHKW",
        Op::RemoveWatches => "REMW",
        Op::Multi => "MULT",
        Op::MultiRead => "MLTR",
        Op::Reconfig => "RECO",
        Op::Check => "CHEC",
        Op::GetEphemerals => "GETE",
        Op::WhoAmI => "HOMI",
        Op::Auth => "AUTH",
        Op::Sasl => "SASL",
        Op::Error => "ERRO",
    }
}

/// All files below `dir`. Where logs and snapshots share a directory, both count for both, as in Java.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let bytes_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes_of).sum()
}

fn open_files() -> i64 {
    fs::read_dir("/proc/self/fd").map_or(-1, |entries| gauge(entries.count()))
}

fn open_files_max() -> i64 {
    gauge(rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX))
}
