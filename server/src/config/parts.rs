//! The config's parts, and how each is read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::source::Source;
use super::{ConfigError, HostPort};
use crate::pipeline::throttle::{ConnectionThrottleConfig, Weights};
use crate::storage::java_snapshot::Compression;

/// Timeouts and kinds of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// No session's timeout is shorter.
    pub timeout_min: Duration,
    /// No session's timeout is longer.
    pub timeout_max: Duration,
    /// A new session is known to its server only.
    pub local: bool,
    /// A local session becomes everyone's when it makes an ephemeral znode.
    pub local_upgrading: bool,
}

impl Sessions {
    pub(super) fn read(source: &Source, tick: Duration) -> Result<Self, ConfigError> {
        let sessions = Self {
            timeout_min: source.millis_or_unset("minSessionTimeout")?.unwrap_or(tick * 2),
            timeout_max: source.millis_or_unset("maxSessionTimeout")?.unwrap_or(tick * 20),
            local: source.flag("localSessionsEnabled", false)?,
            local_upgrading: source.flag("localSessionsUpgradingEnabled", false)?,
        };
        if sessions.timeout_min > sessions.timeout_max {
            return Err(source.error("minSessionTimeout", "is larger than maxSessionTimeout"));
        }
        Ok(sessions)
    }
}

/// Bounds of everything clients can have too much of. `None` is no bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Connections from one address.
    pub connections_per_address_max: Option<u32>,
    /// Connections in all.
    pub connections_max: Option<u32>,
    /// How long a connection may stay without a session.
    pub sessionless_timeout: Duration,
    /// TCP keep-alive towards clients.
    pub keep_alive: bool,
    /// Requests in flight before connections are read no more.
    pub outstanding_max: u32,
    /// `jute.maxbuffer`: the longest request, and the longest buffer in it.
    pub request_bytes_max: u32,
    /// What may come on top in the log and between servers, where headers are added to a request.
    pub request_bytes_extra: u32,
    /// A request longer than this is large.
    pub large_request_bytes: Option<u32>,
    /// All large requests in flight together.
    pub large_requests_bytes_max: u32,
    /// An operation that waited longer in the throttle is refused.
    pub throttled_wait_max: Option<Duration>,
    /// Requests that wait before they are let in.
    pub request_throttle: RequestThrottle,
    /// Clients that are turned away when too many come at once; `None` is no limit.
    pub connection_throttle: Option<ConnectionThrottleConfig>,
}

/// How many requests are let in, and which are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestThrottle {
    /// Requests let in at once; `None` turns the throttle off.
    pub requests_max: Option<u32>,
    /// How long one waits before it is looked at again.
    pub stall: Duration,
    /// Requests of closed connections are dropped.
    pub drop_stale: bool,
    /// A closed connection makes its requests stale.
    pub stale_when_closed: bool,
    /// So does a latency beyond the session's timeout.
    pub stale_when_late: bool,
}

impl Limits {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let request_bytes_max = source.count("jute.maxbuffer", 0xf_ffff, 1024)?;
        Ok(Self {
            connections_per_address_max: source.limit("maxClientCnxns", Some(60))?,
            connections_max: source.limit("maxCnxns", None)?,
            sessionless_timeout: source.millis("nio.sessionlessCnxnTimeout", 10_000, 1)?,
            keep_alive: source.flag("clientTcpKeepAlive", false)?,
            outstanding_max: source.count("globalOutstandingLimit", 1000, 1)?,
            request_bytes_max,
            request_bytes_extra: source.count("jute.maxbuffer.extrasize", request_bytes_max, 1024)?,
            large_request_bytes: source.limit("largeRequestThreshold", None)?,
            large_requests_bytes_max: source.count("largeRequestMaxBytes", 100 * 1024 * 1024, 1)?,
            throttled_wait_max: source
                .limit("throttled_op_wait_time", None)?
                .map(|ms| Duration::from_millis(ms.into())),
            request_throttle: RequestThrottle {
                requests_max: source.limit("request_throttle_max_requests", None)?,
                stall: source.millis("request_throttle_stall_time", 100, 1)?,
                drop_stale: source.flag("request_throttle_drop_stale", true)?,
                stale_when_closed: source.flag("request_stale_connection_check", true)?,
                stale_when_late: source.flag("request_stale_latency_check", false)?,
            },
            connection_throttle: connection_throttle(source)?,
        })
    }
}

fn connection_throttle(source: &Source) -> Result<Option<ConnectionThrottleConfig>, ConfigError> {
    let tokens = source.limit("connection_throttle_tokens", None)?;
    let is_weighted = source.flag("connection_throttle_weight_enabled", false)?;
    let weight = |key, default| source.count(key, default, 1);
    // A local session is the cheapest there is.
    let local = weight("connection_throttle_local_session_weight", 1)?;
    let weights = Weights {
        new: weight("connection_throttle_global_session_weight", 3)?.max(local),
        renewed: weight("connection_throttle_renew_session_weight", 2)?.max(local),
    };
    let config = ConnectionThrottleConfig {
        tokens: tokens.unwrap_or(0),
        fill_interval: source.millis("connection_throttle_fill_time", 1, 1)?,
        fill_count: source.count("connection_throttle_fill_count", 1, 1)?,
        freeze: source.millis_or_unset("connection_throttle_freeze_time")?,
        drop_increase: source.fraction("connection_throttle_drop_increase", 0.02)?,
        drop_decrease: source.fraction("connection_throttle_drop_decrease", 0.002)?,
        decrease_ratio: source.fraction("connection_throttle_decrease_ratio", 0.0)?,
        weights: is_weighted.then_some(weights),
    };
    Ok(tokens.map(|_| config))
}

/// Log and snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Old snapshots, and the log before them.
    pub purge: Purge,
    /// Txns between snapshots, at most.
    pub snapshot_txns: u32,
    /// Bytes of log between snapshots, at most.
    pub snapshot_log_bytes: Option<u64>,
    /// A log file is zero-filled so far ahead of its writer.
    pub preallocate_bytes: u64,
    /// A log file longer than this is followed by a new one.
    pub log_bytes_max: Option<u64>,
    /// Txns kept in memory for learners that lag.
    pub commit_log_txns: u32,
    /// A learner may be sent so much log in place of a snapshot, as a part of the snapshot's size.
    pub snapshot_size_factor: f64,
    /// Writes are answered once they are on disk.
    pub force_sync: bool,
    /// A sync that takes longer is worth a warning.
    pub sync_warning: Duration,
    /// How long a batch waits for more.
    pub flush_delay: Duration,
    /// A batch of so many txns waits no longer.
    pub batch_max: u32,
    /// A log without any snapshot is believed.
    pub trust_empty_snapshot: bool,
    /// Of snapshots in Java's format.
    pub compression: Compression,
    /// Missing directories are made.
    pub create_dirs: bool,
    /// An empty directory becomes an empty tree; otherwise only after `zkserver init`.
    pub create_database: bool,
    /// Snapshots in Java's format say the last zxid they hold.
    pub write_last_processed_zxid: bool,
}

/// When old snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Snapshots kept; never less than 3.
    pub retain: u32,
    /// How often; `None` is never.
    pub interval: Option<Duration>,
}

const SNAPSHOTS_RETAINED_MIN: u32 = 3;
const SECONDS_OF_HOUR: u64 = 60 * 60;

impl Storage {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let compressions = [("gz", Compression::Gzip), ("snappy", Compression::Snappy)];
        let snapshot_log_bytes = match source.text("snapSizeLimitInKb") {
            None => Some(4 * 1024 * 1024 * 1024),
            Some(_) => source.bytes_limit("snapSizeLimitInKb", 1024)?,
        };
        let hours = source.limit("autopurge.purgeInterval", None)?;
        let retain = source.limit("autopurge.snapRetainCount", None)?.unwrap_or(SNAPSHOTS_RETAINED_MIN);
        Ok(Self {
            purge: Purge {
                retain: retain.max(SNAPSHOTS_RETAINED_MIN),
                interval: hours.map(|hours| Duration::from_secs(u64::from(hours) * SECONDS_OF_HOUR)),
            },
            snapshot_txns: source.count("snapCount", 100_000, 0)?.max(2),
            snapshot_log_bytes,
            preallocate_bytes: source.bytes("preAllocSize", 64 * 1024, 1024)?,
            log_bytes_max: source.bytes_limit("txnLogSizeLimitInKb", 1024)?,
            commit_log_txns: source.count("commitLogCount", 500, 0)?,
            snapshot_size_factor: match source.text("snapshotSizeFactor") {
                // Negative: never send log in place of a snapshot.
                Some(text) if text.starts_with('-') => -1.0,
                _ => source.fraction("snapshotSizeFactor", 0.33)?,
            },
            force_sync: source.yes("forceSync", true)?,
            sync_warning: source.millis("fsync.warningthresholdms", 1000, 0)?,
            flush_delay: source.millis("flushDelay", 0, 0)?,
            batch_max: source.count("maxBatchSize", 1000, 0)?,
            trust_empty_snapshot: source.flag("snapshot.trust.empty", false)?,
            compression: source.choice("snapshot.compression.method", Compression::None, &compressions)?,
            create_dirs: source.flag("datadir.autocreate", true)?,
            create_database: source.flag("db.autocreate", true)?,
            write_last_processed_zxid: source.flag("serializeLastProcessedZxid.enabled", true)?,
        })
    }
}

/// What znodes can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znodes {
    /// TTL znodes exist.
    pub extended_types: bool,
    /// TTLs are marked as 3.5.3 did.
    pub emulate_353_ttl: bool,
    /// How often empty containers and TTL znodes are looked for.
    pub container_check_interval: Duration,
    /// How many of them are deleted in a minute.
    pub containers_per_minute_max: u32,
    /// A container that never had a child goes after this time; `None` is never.
    pub container_never_used_max: Option<Duration>,
    /// Hard quotas refuse.
    pub enforce_quota: bool,
    /// The tree's digest is kept.
    pub digest: bool,
    /// Closing a session lists the ephemeral znodes that go with it in its txn.
    pub close_session_lists_ephemerals: bool,
}

impl Znodes {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let never_used = source.millis("znode.container.maxNeverUsedIntervalMs", 0, 0)?;
        Ok(Self {
            extended_types: source.flag("extendedTypesEnabled", false)?,
            emulate_353_ttl: source.flag("emulate353TTLNodes", false)?,
            container_check_interval: source.millis("znode.container.checkIntervalMs", 60_000, 1)?,
            containers_per_minute_max: source.count("znode.container.maxPerMinute", 10_000, 1)?,
            container_never_used_max: Some(never_used).filter(|time| !time.is_zero()),
            enforce_quota: source.flag("enforceQuota", false)?,
            digest: source.flag("digest.enabled", true)?,
            close_session_lists_ephemerals: source.flag("closeSessionTxn.enabled", true)?,
        })
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// ACLs are stored and not looked at.
    pub skip_acl: bool,
    /// A learner refuses by ACL before it forwards.
    pub eager_acl_check: bool,
    /// `user:digest` of the one to whom no ACL applies.
    pub super_digest: Option<String>,
    /// What a digest ACL is made with, as Java names it: `SHA1`, `SHA-256`, `SHA3-256` ..
    pub digest_algorithm: String,
    /// The scheme exists.
    pub digest_enabled: bool,
    /// Distinguished name of the one to whom no ACL applies.
    pub x509_super_user: Option<String>,
    /// SASL name of the one to whom no ACL applies.
    pub sasl_super_user: Option<String>,
    /// What `addauth ensemble` must name.
    pub ensemble_name: Option<String>,
    /// Only these schemes' clients get a session; `None` lets all in.
    pub enforced_schemes: Option<Vec<String>>,
    /// A client that failed SASL may go on without.
    pub allow_sasl_failed: bool,
    /// The `ip` scheme believes the `X-Forwarded-For` header of the admin server's requests.
    pub ip_uses_x_forwarded_for: bool,
}

impl Auth {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let text = |key| source.text(key).map(str::to_owned);
        refuse_foreign_providers(source)?;
        let digest_enabled = source.flag("DigestAuthenticationProvider.enabled", true)?;
        let digests = ["SHA1", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"]
            .into_iter()
            .chain(["SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"])
            .map(|name| (name, name.to_owned()))
            .collect::<Vec<_>>();
        Ok(Self {
            skip_acl: source.yes("skipACL", false)?,
            eager_acl_check: source.flag("enableEagerACLCheck", false)?,
            super_digest: text("DigestAuthenticationProvider.superDigest"),
            digest_algorithm: source.choice(
                "DigestAuthenticationProvider.digestAlg",
                "SHA1".to_owned(),
                &digests,
            )?,
            digest_enabled,
            x509_super_user: text("X509AuthenticationProvider.superUser"),
            sasl_super_user: text("superUser"),
            ensemble_name: text("ensembleAuthName"),
            enforced_schemes: enforced_schemes(source, digest_enabled)?,
            allow_sasl_failed: source.flag("allowSaslFailedClients", false)?,
            ip_uses_x_forwarded_for: source.flag("IPAuthenticationProvider.usexforwardedfor", false)?,
        })
    }
}

/// Only clients that one of these schemes knows are served.
fn enforced_schemes(source: &Source, has_digest: bool) -> Result<Option<Vec<String>>, ConfigError> {
    let schemes = source.text("enforce.auth.schemes").unwrap_or_default();
    let schemes: Vec<String> =
        schemes.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if source.flag("sessionRequireClientSASLAuth", false)? {
        let what = "SASL is not supported yet: nobody would get in";
        return Err(source.error("sessionRequireClientSASLAuth", what));
    }
    if !source.flag("enforce.auth.enabled", false)? {
        return Ok(None);
    }
    if schemes.is_empty() {
        return Err(source.error("enforce.auth.enabled", "true needs enforce.auth.schemes"));
    }
    let is_here = |scheme: &&String| **scheme == "ip" || (**scheme == "digest" && has_digest);
    match schemes.iter().find(|scheme| !is_here(scheme)) {
        Some(scheme) => {
            Err(source.error("enforce.auth.schemes", format!("there is no scheme {scheme:?} here")))
        }
        None => Ok(Some(schemes)),
    }
}

/// Providers whose schemes are built in here.
const BUILT_IN_PROVIDERS: [&str; 3] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
    "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
];

/// `authProvider.*` are Java classes, each of which knows the clients of a scheme. Without one of them, nobody
/// could do what ACLs of that scheme allow: its operator must hear of it before her clients do.
fn refuse_foreign_providers(source: &Source) -> Result<(), ConfigError> {
    let mut providers = source.starting_with("authProvider.");
    let foreign = providers.find(|(_, entry)| !BUILT_IN_PROVIDERS.contains(&entry.value.as_str()));
    let Some((name, entry)) = foreign else { return Ok(()) };
    let what = format!(
        "{} does not exist here, and ACLs of its scheme would let nobody in; without this line the server starts \
         all the same",
        entry.value
    );
    Err(source.error(&format!("authProvider.{name}"), what))
}

/// Which four-letter words are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whitelist {
    /// `*`
    All,
    /// These only.
    Only(BTreeSet<String>),
}

impl Whitelist {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let Some(text) = source.text("4lw.commands.whitelist") else {
            return Self::default_with_read_only(source);
        };
        let words: BTreeSet<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        if words.contains("*") { Ok(Self::All) } else { Self::with_isro(words, source) }
    }

    fn default_with_read_only(source: &Source) -> Result<Self, ConfigError> {
        Self::with_isro(BTreeSet::from(["srvr".to_owned()]), source)
    }

    /// Clients that look for a read-write server ask `isro`: with read-only mode it is always answered.
    fn with_isro(mut words: BTreeSet<String>, source: &Source) -> Result<Self, ConfigError> {
        if source.flag("readonlymode.enabled", false)? {
            words.insert("isro".to_owned());
        }
        Ok(Self::Only(words))
    }

    /// Whether `word` is answered.
    #[must_use]
    pub fn allows(&self, word: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(words) => words.contains(word),
        }
    }
}

/// HTTP for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// It runs.
    pub enabled: bool,
    /// Where.
    pub address: HostPort,
    /// Commands live below this path: `/commands`.
    pub command_url: String,
    /// A silent connection is closed.
    pub idle_timeout: Duration,
    /// `snapshot` and `restore` run once in this time.
    pub rate_limit_interval: Duration,
    /// `snapshot` may be asked for.
    pub snapshot: bool,
    /// `restore` may be asked for.
    pub restore: bool,
}

impl Admin {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        for key in ["admin.portUnification", "admin.forceHttps", "admin.needClientAuth"] {
            if source.flag(key, false)? {
                return Err(source.error(key, "TLS is not supported yet"));
            }
        }
        let url = source.text("admin.commandURL").unwrap_or("/commands");
        if !url.starts_with('/') || url.len() < 2 || url.ends_with('/') || url.contains(['{', '}', '*']) {
            return Err(source.error("admin.commandURL", "is not a path such as /commands"));
        }
        Ok(Self {
            enabled: source.flag("admin.enableServer", true)?,
            address: HostPort {
                host: source.text("admin.serverAddress").filter(|&host| host != "0.0.0.0").map(str::to_owned),
                port: source.port("admin.serverPort", 0)?.unwrap_or(8080),
            },
            command_url: url.to_owned(),
            idle_timeout: source.millis("admin.idleTimeout", 30_000, 1)?,
            rate_limit_interval: source.millis("admin.rateLimiterIntervalInMS", 300_000, 0)?,
            snapshot: source.flag("admin.snapshot.enabled", true)?,
            restore: source.flag("admin.restore.enabled", true)?,
        })
    }
}

/// Where metrics are shown besides `mntr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsProvider {
    /// Nowhere.
    Default,
    /// At `/metrics`, in Prometheus' text format.
    Prometheus {
        /// Where.
        address: HostPort,
        /// `metricsProvider.exportJvmInfo`: the process is shown besides the server.
        shows_process: bool,
    },
}

const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const PROVIDERS: [&str; 2] = [
    "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
];

impl MetricsProvider {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let address = HostPort {
            host: source
                .text("metricsProvider.httpHost")
                .filter(|&host| host != "0.0.0.0")
                .map(str::to_owned),
            port: source.port("metricsProvider.httpPort", 0)?.unwrap_or(7000),
        };
        let shows_process = source.flag("metricsProvider.exportJvmInfo", true)?;
        match source.text("metricsProvider.className") {
            None => Ok(Self::Default),
            Some(PROMETHEUS) => Ok(Self::Prometheus { address, shows_process }),
            Some(name) if PROVIDERS.contains(&name) => Ok(Self::Default),
            Some(name) => {
                Err(source.error("metricsProvider.className", format!("{name} does not exist here")))
            }
        }
    }
}

/// TLS, as given: `ssl.*` and `ssl.quorum.*`, by what follows the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Towards clients.
    pub client: BTreeMap<String, String>,
    /// Between servers.
    pub quorum: BTreeMap<String, String>,
    /// TLS and plain text share the client port.
    pub client_port_unification: bool,
    /// Certificates are read anew when their files change.
    pub client_reload: bool,
    /// Java's FIPS mode.
    pub fips: bool,
}

impl Tls {
    pub(super) fn read(source: &Source) -> Result<Self, ConfigError> {
        let mut tls = Self {
            client_port_unification: source.flag("client.portUnification", false)?,
            client_reload: source.flag("client.certReload", false)?,
            fips: source.flag("fips-mode", true)?,
            ..Self::default()
        };
        for (key, entry) in source.starting_with("ssl.") {
            match key.strip_prefix("quorum.") {
                Some(key) => tls.quorum.insert(key.to_owned(), entry.value.clone()),
                None => tls.client.insert(key.to_owned(), entry.value.clone()),
            };
        }
        Ok(tls)
    }
}
