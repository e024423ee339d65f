//! Every key that deployments set is taken: it has its effect, or is named in one warning; and a value that it cannot
//! have stops the start with file, line and key.

use std::path::Path;

use super::Config;

/// What a key does to a lone server.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It is followed.
    Works,
    /// It is named in a warning.
    Warns,
}
use Then::{Warns, Works};

/// Key, a value it may have, one it may not have (none: it may have any), and what becomes of it.
const KEYS: &[(&str, &str, &str, Then)] = &[
    ("tickTime", "2000", "0", Works),
    ("initLimit", "10", "x", Works),
    ("syncLimit", "5", "x", Works),
    ("dataDir", "/data", "", Works),
    ("dataLogDir", "/log", "", Works),
    ("clientPort", "2181", "70000", Works),
    ("clientPortAddress", "0.0.0.0", "", Works),
    ("secureClientPort", "", "x", Works),
    ("server.1", "a:2888:3888", "a", Works),
    ("minSessionTimeout", "4000", "x", Works),
    ("maxSessionTimeout", "40000", "1", Works),
    ("maxClientCnxns", "0", "many", Works),
    ("maxCnxns", "100", "1e3", Works),
    ("clientPortListenBacklog", "50", "x", Works),
    ("standaloneEnabled", "true", "yes", Works),
    ("reconfigEnabled", "false", "no", Works),
    ("peerType", "participant", "king", Works),
    ("electionAlg", "3", "0", Works),
    ("leaderServes", "yes", "true", Works),
    ("connectToLearnerMasterLimit", "0", "x", Works),
    ("autopurge.snapRetainCount", "5", "x", Works),
    ("autopurge.purgeInterval", "24", "x", Works),
    ("syncEnabled", "true", "1", Works),
    ("4lw.commands.whitelist", "stat, ruok", "", Works),
    ("admin.enableServer", "false", "0", Works),
    ("admin.serverPort", "8081", "-1", Works),
    ("snapCount", "10000", "x", Works),
    ("snapSizeLimitInKb", "-1", "x", Works),
    ("preAllocSize", "16384", "0", Works),
    ("txnLogSizeLimitInKb", "4096", "x", Works),
    ("commitLogCount", "1000", "-1", Works),
    ("snapshotSizeFactor", "0.5", "half", Works),
    ("forceSync", "no", "false", Works),
    ("fsync.warningthresholdms", "20", "x", Works),
    ("flushDelay", "10", "-1", Works),
    ("maxBatchSize", "100", "x", Works),
    ("maxWriteQueuePollTime", "5", "", Warns),
    ("globalOutstandingLimit", "2000", "0", Works),
    ("jute.maxbuffer", "4194304", "4m", Works),
    ("jute.maxbuffer.extrasize", "4194304", "4m", Warns),
    ("largeRequestMaxBytes", "1000000", "0", Works),
    ("largeRequestThreshold", "100000", "x", Works),
    ("request_throttle_max_requests", "20000", "x", Works),
    ("request_throttle_stall_time", "50", "0", Works),
    ("request_throttle_drop_stale", "false", "no", Works),
    ("request_stale_connection_check", "false", "no", Works),
    ("request_stale_latency_check", "true", "yes", Works),
    ("request_throttler.shutdownTimeout", "1000", "", Warns),
    ("throttled_op_wait_time", "100", "x", Works),
    ("connection_throttle_tokens", "100", "x", Works),
    ("connection_throttle_fill_time", "10", "0", Works),
    ("connection_throttle_fill_count", "10", "0", Works),
    ("connection_throttle_freeze_time", "100", "x", Works),
    ("connection_throttle_drop_increase", "0.1", "-1", Works),
    ("connection_throttle_drop_decrease", "0.1", "x", Works),
    ("connection_throttle_decrease_ratio", "0.5", "x", Works),
    ("connection_throttle_weight_enabled", "true", "1", Works),
    ("connection_throttle_global_session_weight", "3", "0", Works),
    ("connection_throttle_local_session_weight", "1", "0", Works),
    ("connection_throttle_renew_session_weight", "2", "0", Works),
    ("serverCnxnFactory", "org.apache.zookeeper.server.NettyServerCnxnFactory", "", Warns),
    ("nio.numSelectorThreads", "4", "", Warns),
    ("nio.numWorkerThreads", "8", "", Warns),
    ("nio.directBufferBytes", "0", "", Warns),
    ("nio.sessionlessCnxnTimeout", "5000", "0", Works),
    ("nio.shutdownTimeout", "1000", "", Warns),
    ("commitProcessor.numWorkerThreads", "4", "", Warns),
    ("commitProcessor.maxReadBatchSize", "-1", "", Warns),
    ("commitProcessor.maxCommitBatchSize", "1", "", Warns),
    ("cnxTimeout", "5000", "x", Works),
    ("quorumCnxnTimeoutMs", "-1", "x", Works),
    ("fastleader.minNotificationInterval", "200", "x", Works),
    ("fastleader.maxNotificationInterval", "60000", "x", Works),
    ("electionPortBindRetry", "3", "x", Works),
    ("quorum.cnxn.threads.size", "20", "", Warns),
    ("tcpKeepAlive", "true", "yes", Works),
    ("clientTcpKeepAlive", "true", "yes", Works),
    ("quorumListenOnAllIPs", "true", "yes", Works),
    ("multiAddress.enabled", "true", "yes", Works),
    ("leader.maxConcurrentSnapSyncs", "10", "x", Works),
    ("leader.maxConcurrentDiffSyncs", "100", "x", Works),
    ("leader.maxTimeToWaitForEpoch", "-1", "x", Works),
    ("learner.asyncSending", "true", "", Warns),
    ("learner.closeSocketAsync", "true", "", Warns),
    ("observer.reconnectDelayMs", "0", "x", Works),
    ("observer.election.DelayMs", "200", "x", Works),
    ("localSessionsEnabled", "true", "yes", Works),
    ("localSessionsUpgradingEnabled", "true", "yes", Works),
    ("readonlymode.enabled", "true", "yes", Works),
    ("extendedTypesEnabled", "true", "yes", Works),
    ("znode.container.checkIntervalMs", "1000", "0", Works),
    ("znode.container.maxPerMinute", "100", "0", Works),
    ("enforceQuota", "true", "yes", Works),
    ("skipACL", "yes", "true", Works),
    ("enableEagerACLCheck", "true", "yes", Works),
    ("DigestAuthenticationProvider.superDigest", "super:x", "", Works),
    ("DigestAuthenticationProvider.digestAlg", "SHA-256", "MD5", Works),
    ("DigestAuthenticationProvider.enabled", "false", "no", Works),
    ("authProvider.1", "org.apache.zookeeper.server.auth.DigestAuthenticationProvider", "a.B", Works),
    ("enforce.auth.enabled", "false", "true", Works),
    ("enforce.auth.schemes", "digest", "", Works),
    ("sessionRequireClientSASLAuth", "false", "true", Works),
    ("ssl.keyStore.location", "/k.jks", "", Warns),
    ("ssl.keyStore.password", "secret", "", Warns),
    ("ssl.trustStore.location", "/t.jks", "", Warns),
    ("ssl.quorum.keyStore.location", "/k.jks", "", Warns),
    ("ssl.clientAuth", "need", "", Warns),
    ("ssl.enabledProtocols", "TLSv1.3", "", Warns),
    ("ssl.hostnameVerification", "true", "", Warns),
    ("sslQuorum", "false", "yes", Works),
    ("portUnification", "false", "yes", Works),
    ("client.portUnification", "true", "yes", Warns),
    ("sslQuorumReloadCertFiles", "false", "yes", Works),
    ("client.certReload", "false", "yes", Warns),
    ("fips-mode", "false", "yes", Warns),
    ("quorum.auth.enableSasl", "false", "yes", Works),
    ("metricsProvider.className", "org.apache.zookeeper.metrics.impl.NullMetricsProvider", "Mine", Works),
    ("metricsProvider.httpPort", "7000", "x", Works),
    ("metricsProvider.exportJvmInfo", "false", "yes", Works),
    ("metricsProvider.numWorkerThreads", "1", "", Warns),
    ("audit.enable", "true", "yes", Works),
    ("digest.enabled", "false", "yes", Works),
    ("snapshot.trust.empty", "true", "yes", Works),
    ("snapshot.compression.method", "gz", "lz4", Works),
    ("datadir.autocreate", "false", "no", Works),
    ("db.autocreate", "false", "no", Works),
    ("serializeLastProcessedZxid.enabled", "false", "no", Works),
    ("watchManagerName", "WatchManagerOptimized", "", Warns),
    ("maxResponseCacheSize", "0", "", Warns),
    ("maxGetChildrenResponseCacheSize", "0", "", Warns),
    ("observerMasterPort", "2191", "70000", Works),
    ("observerMaster.sizeLimit", "1000", "", Warns),
    ("oraclePath", "/o", "", Warns),
    ("group.1", "1", "", Works),
    ("jvm.pause.monitor", "true", "", Warns),
];

fn parse(key: &str, value: &str) -> Result<Config, String> {
    let text = format!("dataDir=/d\nclientPort=1\nserver.1=a:2888:3888\n{key}={value}\n");
    Config::parse(&text, Path::new("zoo.cfg"), &[]).map_err(|error| error.to_string())
}

/// What `check` has to say against each key.
fn faults(check: impl Fn(&str, &str, &str, Then) -> Option<String>) -> Vec<String> {
    KEYS.iter().filter_map(|(key, value, wrong, then)| check(key, value, wrong, *then)).collect()
}

#[test]
fn every_key_is_followed_or_named_in_one_warning() {
    let faults = faults(|key, value, _, then| match parse(key, value) {
        Err(error) => Some(error),
        Ok(config) => {
            let named = config.warnings.iter().filter(|warning| warning.key == key);
            let named = named.filter(|warning| !warning.what.starts_with("given twice")).count();
            (named != usize::from(then == Warns)).then(|| format!("{key} is in {named} warnings"))
        }
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_value_that_a_key_cannot_have_stops_the_start() {
    let faults = faults(|key, _, wrong, _| match parse(key, wrong) {
        _ if wrong.is_empty() => None,
        Ok(_) => Some(format!("{key}={wrong} is taken")),
        Err(error) if error.starts_with(&format!("zoo.cfg:4: {key}: ")) => None,
        // It contradicts another key's default.
        Err(error) if error == "zoo.cfg: minSessionTimeout: is larger than maxSessionTimeout" => None,
        Err(error) => Some(error),
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn keys_of_the_command_line_are_the_files() {
    let faults = faults(|key, value, _, _| {
        let text = "dataDir=/d\nclientPort=1\nserver.1=a:2888:3888\n";
        let property = [(format!("zookeeper.{key}"), value.to_owned())];
        let from_property = Config::parse(text, Path::new("zoo.cfg"), &property);
        match (from_property, parse(key, value)) {
            (Ok(mut from_property), Ok(from_file)) => {
                from_property.text.clone_from(&from_file.text);
                from_property.warnings.clone_from(&from_file.warnings);
                (from_property != from_file).then(|| format!("{key} differs"))
            }
            (Err(error), _) => Some(error.to_string()),
            (_, Err(error)) => Some(error),
        }
    });
    assert_eq!(faults, [""; 0]);
}
