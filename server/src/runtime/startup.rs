//! From a directory to a tree, and from zoo.cfg to what each part wants to know.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::info;

use super::account;
use super::clock::Clock;
use crate::auth::{DigestAlgorithm, DigestScheme, Schemes};
use crate::config::{Config, ServerId, Storage};
use crate::metrics::Metrics;
use crate::node::{CutPolicy, NodeConfig, ReaperConfig};
use crate::session::TimeoutBounds;
use crate::storage::{
    DataDirs, DataLock, Disk, LogOptions, OsDisk, RecoveryOptions, RecoveryStats, Result, RocksStore,
    SnapshotStore, TxnLog, recover,
};
use crate::tree::{Tree, TreeOptions};
use crate::zab::Zxid;

/// What the threads begin with.
pub(super) struct Started {
    pub(super) lock: DataLock,
    pub(super) tree: Tree,
    pub(super) store: RocksStore,
    pub(super) log: TxnLog,
    pub(super) node_config: NodeConfig,
    pub(super) hash_seed: u64,
    pub(super) recovery: RecoveryStats,
    /// The stored snapshot's zxid, and when it was written, in seconds since 1970.
    pub(super) snapshot: Option<(Zxid, i64)>,
}

/// Locks the directories, loads the newest snapshot, and replays the log behind it.
pub(super) fn load(config: &Config, clock: Clock) -> Result<Started> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let dirs = DataDirs::new(&config.data_dir, Some(config.data_log_dir.clone()));
    let lock = dirs.enter(&*disk, config.storage.create_dirs)?;
    let hash_seed = entropy();
    let mut store = RocksStore::open(&dirs.database())?;
    let recovered = recover(&disk, &mut store, &dirs, &recovery_options(config, hash_seed))?;
    let tree = recovered.tree;
    let snapshot = store.durable().map(|zxid| (zxid, written_at(&dirs.database())));
    let options = LogOptions {
        dir: dirs.logs(),
        preallocate_bytes: config.storage.preallocate_bytes,
        // A txn can be larger than the request it comes of, but not by much.
        ahead_bytes: 4 * u64::from(config.limits.request_bytes_max),
        file_bytes_max: config.storage.log_bytes_max,
        force_sync: config.storage.force_sync,
    };
    let log = TxnLog::open(disk, options, &recovered.log_end)?;
    info!(
        source = ?recovered.stats.source,
        snapshot = %recovered.stats.snapshot_zxid,
        txns = recovered.stats.txns_loaded,
        zxid = %tree.last_zxid(),
        znodes = tree.znode_count(),
        sessions = tree.sessions().len(),
        took_ms = clock.monotonic().as_millis(),
        "loaded the tree"
    );
    Ok(Started {
        lock,
        tree,
        store,
        log,
        node_config: node_config(config),
        hash_seed,
        recovery: recovered.stats,
        snapshot,
    })
}

fn recovery_options(config: &Config, hash_seed: u64) -> RecoveryOptions {
    let tree = TreeOptions {
        digest: config.znodes.digest,
        extended_types: config.znodes.extended_types,
        emulate_353_ttl: config.znodes.emulate_353_ttl,
        hash_seed,
    };
    RecoveryOptions {
        tree,
        trust_empty_snapshot: config.storage.trust_empty_snapshot,
        auto_create_db: config.storage.create_database,
        standalone: true,
        clock: Clock::of_process,
    }
}

fn node_config(config: &Config) -> NodeConfig {
    let ServerId(my_id) = config.my_id.unwrap_or(ServerId(1));
    let znodes = &config.znodes;
    NodeConfig {
        server_id: u8::try_from(my_id).unwrap_or(1),
        tick: config.tick,
        timeouts: TimeoutBounds {
            min_ms: millis(config.sessions.timeout_min),
            max_ms: millis(config.sessions.timeout_max),
        },
        schemes: Arc::new(schemes(config)),
        extended_types: znodes.extended_types,
        digests: znodes.digest,
        enforce_quota: znodes.enforce_quota,
        reconfig: config.ensemble.reconfig_enabled,
        list_closed_paths: znodes.close_session_lists_ephemerals,
        audit: config.audit,
        cuts: cut_policy(&config.storage),
        reaper: ReaperConfig {
            interval: znodes.container_check_interval,
            per_minute_max: znodes.containers_per_minute_max,
            never_used_max: znodes.container_never_used_max.unwrap_or_default(),
        },
    }
}

fn cut_policy(storage: &Storage) -> CutPolicy {
    let usual = CutPolicy::default();
    CutPolicy {
        txns_max: u64::from(storage.snapshot_txns),
        log_bytes_max: storage.snapshot_log_bytes.into_iter().chain(usual.log_bytes_max).min(),
        ..usual
    }
}

fn schemes(config: &Config) -> Schemes {
    let auth = &config.auth;
    let digest = DigestScheme {
        algorithm: DigestAlgorithm::from_name(&auth.digest_algorithm).unwrap_or_default(),
        super_digest: auth.super_digest.clone(),
    };
    Schemes {
        digest: auth.digest_enabled.then_some(digest),
        ensemble_names: auth
            .ensemble_name
            .as_ref()
            .map(|names| names.split(',').map(str::to_owned).collect()),
        skip_acl: auth.skip_acl,
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// When files came to `dir` or went last.
fn written_at(dir: &Path) -> i64 {
    let modified = std::fs::metadata(dir).and_then(|metadata| metadata.modified()).ok();
    let since_1970 = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

/// How the start went, as metrics.
pub(super) fn report(stats: &RecoveryStats, took: Duration, metrics: &Metrics) {
    metrics.dbinittime.record(account::millis(took));
    metrics.startup_snap_load_time.record(account::millis(stats.snapshot_time));
    metrics.startup_txns_loaded.record(stats.txns_loaded);
    metrics.startup_txns_load_time.record(account::millis(stats.replay_time));
    metrics.digest_mismatches_count.add(stats.digest_mismatches);
}

/// What no client can foresee.
fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
