//! What the server's threads share: the tree and the watches, the ways between threads, the numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use slab::Slab;
use tokio::sync::watch;

use super::clock::Clock;
use super::four_letter::TraceMask;
use super::handshake::Handshake;
use super::listener::Doorkeeper;
use super::mailbox::Mailbox;
use super::queue::NodeQueue;
use super::restore::Errand;
use super::stats::{ConnectionStats, ShardStats};
use crate::auth::Schemes;
use crate::config::{Config, Membership};
use crate::metrics::{Metrics, Registry};
use crate::node::{Delivery, Status};
use crate::pipeline::throttle::{ConnectionThrottle, LargeRequests, Throttle};
use crate::session::ConnectionId;
use crate::tree::Tree;
use crate::watch::Watches;
use crate::zab::Zxid;

/// One of these, for as long as the server runs.
///
/// Locks are taken in this order: `tree`, `watches`, then a mailbox or the queue. No thread takes `tree`
/// twice.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) schemes: Arc<Schemes>,
    /// Who belongs to the ensemble now; the configuration says who did at the start.
    membership: watch::Sender<Arc<Membership>>,
    pub(crate) clock: Clock,
    /// Only the node's thread writes.
    pub(crate) tree: RwLock<Tree>,
    pub(crate) watches: Mutex<Watches>,
    pub(crate) queue: NodeQueue,
    pub(crate) throttle: Throttle,
    /// Where too many clients could come at once.
    pub(crate) connection_throttle: Option<Mutex<ConnectionThrottle>>,
    pub(crate) large: LargeRequests,
    /// One a shard.
    pub(crate) mailboxes: Box<[Mailbox]>,
    /// One a shard.
    pub(crate) ledgers: Box<[Ledger]>,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    /// As of the node's last batch.
    pub(crate) status: Mutex<Status>,
    pub(crate) registry: Registry,
    pub(crate) trace_mask: TraceMask,
    pub(crate) slow_syncs: AtomicU64,
    /// The stop has not begun.
    pub(crate) is_serving: AtomicBool,
    /// It is alone, or there is a leader, and clients are let in. A leader may have been told to let the others do
    /// that: `leaderServes`.
    pub(crate) lets_in: AtomicBool,
    /// There is none, and clients are let in who accept that.
    pub(crate) is_read_only: AtomicBool,
    /// The disk is short of room: writes that grow are refused.
    pub(crate) disk_short: AtomicBool,
    /// What the node's thread is to do when it wakes.
    pub(super) errands: Mutex<Vec<Errand>>,
    /// Observers that reach the leader through this server.
    pub(crate) passing_observers: Arc<AtomicUsize>,
    /// The newest snapshot's zxid, and when it was written, in seconds since 1970.
    pub(crate) last_snapshot: Mutex<Option<(Zxid, i64)>>,
    /// The wall clock when the other began.
    began_ms: i64,
}

/// What a shard lets others see.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Connections dealt out to it that have not closed yet.
    pub(crate) load: AtomicUsize,
    pub(crate) stats: ShardStats,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: Mutex<Slab<(ConnectionId, Arc<ConnectionStats>)>>,
}

impl Ledger {
    fn new(registry: &Registry) -> Self {
        Self {
            load: AtomicUsize::new(0),
            stats: ShardStats::default(),
            metrics: registry.thread(),
            connections: Mutex::default(),
        }
    }

    /// What closes all of its connections.
    pub(super) fn closings(&self) -> Vec<Delivery> {
        let connections = self.connections.lock();
        connections.iter().map(|(_, (connection, _))| Delivery::Close { connection: *connection }).collect()
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        schemes: Arc<Schemes>,
        clock: Clock,
        tree: Tree,
        shards: usize,
        hash_seed: u64,
    ) -> Self {
        let limits = &config.limits;
        let per_address_max = limits.connections_per_address_max.map_or(0, |max| max as usize);
        let connections_max = limits.connections_max.map_or(0, |max| max as usize);
        let registry = Registry::default();
        Self {
            throttle: Throttle {
                outstanding_max: limits.outstanding_max as usize,
                requests_max: limits.request_throttle.requests_max.map(|max| max as usize),
            },
            connection_throttle: limits
                .connection_throttle
                .map(|config| Mutex::new(ConnectionThrottle::new(config, clock.monotonic(), hash_seed))),
            large: LargeRequests::new(
                limits.large_request_bytes.map(|bytes| bytes as usize),
                limits.large_requests_bytes_max as usize,
            ),
            doorkeeper: Arc::new(Doorkeeper::new(per_address_max, connections_max)),
            schemes,
            membership: watch::Sender::new(Arc::new(config.ensemble.membership.clone())),
            clock,
            tree: RwLock::new(tree),
            watches: Mutex::new(Watches::new(hash_seed)),
            queue: NodeQueue::new(clock),
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            ledgers: (0..shards).map(|_| Ledger::new(&registry)).collect(),
            status: Mutex::default(),
            registry,
            trace_mask: TraceMask::default(),
            slow_syncs: AtomicU64::new(0),
            is_serving: AtomicBool::new(true),
            is_read_only: AtomicBool::new(false),
            lets_in: AtomicBool::new(!config.ensemble.is_distributed()),
            config,
            disk_short: AtomicBool::new(false),
            errands: Mutex::default(),
            passing_observers: Arc::default(),
            last_snapshot: Mutex::default(),
            began_ms: Clock::wall_ms(),
        }
    }

    /// Whether one more client may come.
    pub(super) fn admits(&self, handshake: &Handshake, now: Duration, metrics: &Metrics) -> bool {
        let (is_admitted, deficit) = match &self.connection_throttle {
            None => (true, 0),
            Some(throttle) => {
                let mut throttle = throttle.lock();
                (throttle.admit(handshake.renews(), now), throttle.deficit())
            }
        };
        if is_admitted {
            metrics.connection_token_deficit.record(deficit);
        } else {
            metrics.connection_rejected.add(1);
        }
        is_admitted
    }

    /// Who belongs to the ensemble.
    pub(crate) fn membership(&self) -> Arc<Membership> {
        Arc::clone(&self.membership.borrow())
    }

    pub(super) fn set_membership(&self, membership: Arc<Membership>) {
        self.membership.send_replace(membership);
    }

    /// Tells of every change.
    pub(super) fn watch_membership(&self) -> watch::Receiver<Arc<Membership>> {
        self.membership.subscribe()
    }

    /// Has `/zookeeper/config` say who belongs to the ensemble. Without `reconfig`, each server says what its own file
    /// does.
    pub(crate) fn describe_membership(&self, tree: &mut Tree) {
        let ensemble = &self.config.ensemble;
        if ensemble.is_distributed() && !ensemble.reconfig_enabled {
            tree.set_config(
                ensemble.membership.to_text().as_bytes(),
                ensemble.membership.version,
                self.began_ms,
            );
        }
    }

    /// About what the wall clock shows when the other shows `monotonic`. For display.
    pub(crate) fn wall_ms(&self, monotonic: Duration) -> i64 {
        self.began_ms.saturating_add(i64::try_from(monotonic.as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn is_disk_short(&self) -> bool {
        self.disk_short.load(Ordering::Relaxed)
    }
}
