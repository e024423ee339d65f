//! From a directory to a tree, and from zoo.cfg to what each part wants to know.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::{info, warn};

use super::account;
use super::background::with_background_threads;
use super::clock::Clock;
use super::member::{endpoints_of, observer_masters};
use super::quorum::{ObserverMasters, QuorumSettings};
use crate::auth::{DigestAlgorithm, DigestScheme, Schemes};
use crate::config::{Config, Ensemble, Membership, Role, ServerId, Storage};
use crate::metrics::Metrics;
use crate::node::{CutPolicy, NodeConfig, ReaperConfig};
use crate::session::TimeoutBounds;
use crate::storage::{
    DataDirs, DataLock, Disk, EpochFiles, Error, LogOptions, MemberDisk, MembershipFiles, OsDisk,
    RecoveryOptions, RecoveryStats, Result, RocksStore, SnapshotStore, TxnLog, recover,
};
use crate::tree::{Tree, TreeOptions};
use crate::zab::{History, Peer, PeerConfig, Zxid};

/// What the threads begin with.
pub(super) struct Started {
    pub(super) lock: DataLock,
    pub(super) tree: Tree,
    pub(super) store: RocksStore,
    pub(super) log: TxnLog,
    pub(super) node_config: NodeConfig,
    pub(super) hash_seed: u64,
    pub(super) recovery: RecoveryStats,
    /// What the disk does for a member of an ensemble, if it is one.
    pub(super) member: Option<MemberStart>,
    /// The stored snapshot's zxid, and when it was written, in seconds since 1970.
    pub(super) snapshot: Option<(Zxid, i64)>,
}

/// What a member of an ensemble begins with.
pub(super) struct MemberStart {
    pub(super) disk: MemberDisk,
    pub(super) epoch_files: EpochFiles,
    pub(super) membership_files: MembershipFiles,
    pub(super) files: Arc<dyn Disk>,
    pub(super) peer: Peer,
    pub(super) settings: QuorumSettings,
}

/// Locks the directories, loads the newest snapshot, and replays the log behind it.
pub(super) fn load(config: &Config, clock: Clock) -> Result<Started> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let dirs = DataDirs::new(&config.data_dir, Some(config.data_log_dir.clone()));
    let lock = dirs.enter(&*disk, config.storage.create_dirs)?;
    let hash_seed = entropy();
    let mut store = with_background_threads(|| RocksStore::open(&dirs.database()))?;
    let options = recovery_options(config, hash_seed);
    let recovered = recover(&disk, &mut store, &dirs, &options)?;
    let tree = recovered.tree;
    let member = match config.my_id {
        _ if !config.ensemble.is_distributed() => None,
        None => return Err(Error::refused(&config.data_dir, "there is no myid, and no member without it")),
        Some(me) => {
            let last = recovered.log_end.last.unwrap_or_default();
            let found = Found { last, maybe_lost: recovered.maybe_lost, config: tree.config_text() };
            Some(member(config, me, &disk, &dirs, options, &found)?)
        }
    };
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
        member,
        recovery: recovered.stats,
        snapshot,
    })
}

fn member(
    config: &Config,
    me: ServerId,
    disk: &Arc<dyn Disk>,
    dirs: &DataDirs,
    options: RecoveryOptions,
    found: &Found,
) -> Result<MemberStart> {
    let epoch_files = dirs.epochs();
    let promises = epoch_files.load(&**disk, found.last)?;
    let ensemble = &config.ensemble;
    let membership_files = MembershipFiles { config: config.file.clone(), me };
    let next = proposed_membership(ensemble, &membership_files, &**disk, found);
    let endpoints = endpoints_of(&ensemble.membership, next.as_ref());
    let peer_config = PeerConfig { next, ..peer_config(config, me, found.maybe_lost) };
    let peer = Peer::new(peer_config, History { promises, last: found.last });
    if ensemble.reconfig_enabled
        && ensemble.dynamic_file.is_none()
        && let Err(failure) = membership_files.back_up(&**disk)
    {
        let failure: &dyn std::error::Error = &failure;
        warn!(error = failure, "no copy of the configuration could be kept");
    }
    let settings = QuorumSettings {
        me,
        members: endpoints,
        multi_address: ensemble.multi_address,
        connect_timeout: ensemble.connect_timeout,
        greeting_timeout: ensemble.election_read_timeout.unwrap_or_else(|| sync_limit(config)),
        keep_alive: ensemble.keep_alive,
        data_bytes_max: PACKET_BYTES_MAX.max(2 * config.limits.request_bytes_max as usize),
        tree: options.tree.clone(),
        log_dir: dirs.logs(),
        disk: Arc::clone(disk),
        observer_masters: ObserverMasters {
            port: ensemble.observer_master_port,
            listen_everywhere: ensemble.listen_on_all_addresses,
            masters: observer_masters(&ensemble.membership, ensemble, me),
            ..ObserverMasters::default()
        },
    };
    let disk_of_member = MemberDisk::new(Arc::clone(disk), dirs.clone(), options);
    Ok(MemberStart {
        disk: disk_of_member,
        epoch_files,
        membership_files,
        files: Arc::clone(disk),
        peer,
        settings,
    })
}

/// What recovery found, as far as a member must know.
struct Found {
    last: Zxid,
    maybe_lost: bool,
    /// What `/zookeeper/config` says.
    config: Option<Vec<u8>>,
}

/// The membership of a reconfiguration that was under way when the server stopped. The file says that there was one; what
/// counts is in the log. Without the file, the operator has the last word: whoever lost a quorum for good writes
/// another membership.
fn proposed_membership(
    ensemble: &Ensemble,
    files: &MembershipFiles,
    disk: &dyn Disk,
    found: &Found,
) -> Option<Membership> {
    if !ensemble.reconfig_enabled || !files.has_next(disk) {
        return None;
    }
    let text = found.config.as_ref().and_then(|data| std::str::from_utf8(data).ok());
    let logged = text.and_then(|text| Membership::parse(text).ok());
    let next = logged.filter(|logged| logged.version > ensemble.membership.version);
    // The server was killed before it logged the proposal, or after it had noted that it is committed.
    if next.is_none()
        && let Err(failure) = files.save_next(disk, None)
    {
        let failure: &dyn std::error::Error = &failure;
        warn!(error = failure, "the file of a reconfiguration that is over cannot be removed");
    }
    next
}

/// A leader's proposals may be larger than what this server's own clients may ask for.
const PACKET_BYTES_MAX: usize = 64 << 20;

fn sync_limit(config: &Config) -> Duration {
    config.ensemble.sync_limit.unwrap_or(config.tick * 5)
}

fn peer_config(config: &Config, me: ServerId, maybe_lost: bool) -> PeerConfig {
    let ensemble = &config.ensemble;
    PeerConfig {
        me,
        membership: ensemble.membership.clone(),
        next: None,
        reconfig: ensemble.reconfig_enabled,
        is_observer: ensemble.peer_type == Role::Observer,
        maybe_lost,
        tick: config.tick,
        init_limit: ensemble.init_limit.unwrap_or(config.tick * 10),
        sync_limit: sync_limit(config),
        notification_interval_min: ensemble.notification_interval_min,
        notification_interval_max: ensemble.notification_interval_max,
        window_txns_max: config.storage.commit_log_txns as usize,
        epoch_txns_max: Zxid::COUNTER_MAX,
    }
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
        standalone: !config.ensemble.is_distributed(),
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
        local_sessions: config.sessions.local,
        local_upgrades: config.sessions.local_upgrading,
        read_only_after: config.read_only_mode.then(|| config.tick.max(READ_ONLY_AFTER_MIN)),
        enforce_quota: znodes.enforce_quota,
        reconfig: config.ensemble.reconfig_enabled,
        multi_address: config.ensemble.multi_address,
        standalone: config.ensemble.standalone_enabled,
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

/// An election is over by then, in an ensemble that has a quorum.
const READ_ONLY_AFTER_MIN: Duration = Duration::from_secs(2);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;
    use crate::storage::OsDisk;

    fn members(version: i64) -> Membership {
        Membership::parse(&format!("server.1=a:1:2;3\nserver.2=b:1:2;3\nversion={version:x}")).unwrap()
    }

    #[test]
    fn a_reconfiguration_is_under_way_only_if_its_file_and_the_log_say_so() {
        let membership = members(5);
        let ensemble = Ensemble { membership, reconfig_enabled: true, ..Config::embedded_default().ensemble };
        for (logged, is_under_way) in [(Some(6), true), (Some(5), false), (None, false)] {
            let dir = tempfile::tempdir().unwrap();
            let files = MembershipFiles { config: dir.path().join("zoo.cfg"), me: ServerId(1) };
            files.save_next(&OsDisk, Some(&members(6))).unwrap();
            let config = logged.map(|version| members(version).to_text().into_bytes());
            let found = Found { last: Zxid::ZERO, maybe_lost: false, config };
            let next = proposed_membership(&ensemble, &files, &OsDisk, &found);
            assert_eq!(next.map(|next| next.version), logged.filter(|_| is_under_way));
            assert_eq!(files.has_next(&OsDisk), is_under_way, "what is over leaves no file behind");
        }
    }
}
