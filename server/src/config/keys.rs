//! Every key a `zoo.cfg` may hold. What each means stands in `conf/zoo_sample.cfg`; a test holds the two together.

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is read.
    Works,
    /// It is accepted, so that a file need not be changed, and warned about.
    Unused(&'static str),
}

/// A key, or with a final `*` all keys that begin so.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Without `zookeeper.` in front.
    pub name: &'static str,
    /// What becomes of it.
    pub effect: Effect,
}

impl Key {
    /// Whether `name` is this key.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.name,
        }
    }
}

const NOT_YET: &str = "it is not supported yet";
const THREADS: &str = "threads follow the cores and batches size themselves here";
const NETTY: &str = "there is no Netty here";
const JVM: &str = "there is no JVM here";
const CACHES: &str = "there is no response cache here, reads come straight from the tree";
const WATCHES: &str = "there is one watch table here, which needs no cleaning";
const TESTING: &str = "it is for tests of the Java server";
const ALWAYS: &str = "this server always does";
const NEVER: &str = "this server never does";
const JAVA_CLASS: &str = "there are no Java classes here";

/// The table.
pub static KEYS: &[Key] = &[
    // What every file has.
    works("clientPort"),
    works("clientPortAddress"),
    works("clientPortListenBacklog"),
    works("dataDir"),
    works("dataLogDir"),
    works("tickTime"),
    // Sessions and clients.
    works("minSessionTimeout"),
    works("maxSessionTimeout"),
    works("localSessionsEnabled"),
    works("localSessionsUpgradingEnabled"),
    works("readonlymode.enabled"),
    works("clientTcpKeepAlive"),
    works("nio.sessionlessCnxnTimeout"),
    // Limits.
    works("maxClientCnxns"),
    works("maxCnxns"),
    works("globalOutstandingLimit"),
    works("jute.maxbuffer"),
    unused("jute.maxbuffer.extrasize", "records of the log may have any length here"),
    works("largeRequestMaxBytes"),
    works("largeRequestThreshold"),
    works("request_throttle_max_requests"),
    works("request_throttle_stall_time"),
    works("request_throttle_drop_stale"),
    works("request_stale_connection_check"),
    works("request_stale_latency_check"),
    works("throttled_op_wait_time"),
    works("connection_throttle_tokens"),
    works("connection_throttle_fill_time"),
    works("connection_throttle_fill_count"),
    works("connection_throttle_freeze_time"),
    works("connection_throttle_drop_increase"),
    works("connection_throttle_drop_decrease"),
    works("connection_throttle_decrease_ratio"),
    works("connection_throttle_weight_enabled"),
    works("connection_throttle_global_session_weight"),
    works("connection_throttle_local_session_weight"),
    works("connection_throttle_renew_session_weight"),
    // The disk.
    works("autopurge.snapRetainCount"),
    works("autopurge.purgeInterval"),
    works("snapCount"),
    works("snapSizeLimitInKb"),
    works("preAllocSize"),
    works("txnLogSizeLimitInKb"),
    works("commitLogCount"),
    works("snapshotSizeFactor"),
    works("forceSync"),
    works("fsync.warningthresholdms"),
    works("flushDelay"),
    works("maxBatchSize"),
    works("snapshot.trust.empty"),
    works("snapshot.compression.method"),
    works("datadir.autocreate"),
    works("db.autocreate"),
    works("serializeLastProcessedZxid.enabled"),
    // Znodes.
    works("extendedTypesEnabled"),
    works("emulate353TTLNodes"),
    works("znode.container.checkIntervalMs"),
    works("znode.container.maxPerMinute"),
    works("znode.container.maxNeverUsedIntervalMs"),
    works("enforceQuota"),
    works("digest.enabled"),
    works("closeSessionTxn.enabled"),
    // Who may do what.
    works("skipACL"),
    works("enableEagerACLCheck"),
    works("DigestAuthenticationProvider.superDigest"),
    works("DigestAuthenticationProvider.digestAlg"),
    works("DigestAuthenticationProvider.enabled"),
    unused("X509AuthenticationProvider.superUser", NOT_YET),
    unused("superUser", NOT_YET),
    works("ensembleAuthName"),
    works("enforce.auth.enabled"),
    works("enforce.auth.schemes"),
    works("sessionRequireClientSASLAuth"),
    unused("allowSaslFailedClients", NOT_YET),
    works("authProvider.*"),
    unused("IPAuthenticationProvider.usexforwardedfor", NOT_YET),
    // Watching it.
    works("4lw.commands.whitelist"),
    works("admin.enableServer"),
    works("admin.serverAddress"),
    works("admin.serverPort"),
    works("admin.commandURL"),
    works("admin.idleTimeout"),
    works("admin.rateLimiterIntervalInMS"),
    works("admin.snapshot.enabled"),
    works("admin.restore.enabled"),
    works("admin.portUnification"),
    works("admin.forceHttps"),
    works("admin.needClientAuth"),
    works("metricsProvider.className"),
    works("metricsProvider.httpHost"),
    works("metricsProvider.httpPort"),
    works("metricsProvider.exportJvmInfo"),
    unused("metricsProvider.numWorkerThreads", THREADS),
    unused("metricsProvider.maxQueueSize", THREADS),
    unused("metricsProvider.workerShutdownTimeoutMs", THREADS),
    works("audit.enable"),
    // TLS towards clients.
    works("secureClientPort"),
    works("secureClientPortAddress"),
    unused("client.portUnification", NOT_YET),
    unused("client.certReload", NOT_YET),
    unused("fips-mode", NOT_YET),
    unused("ssl.*", NOT_YET),
    // The ensemble.
    works("server.*"),
    works("group.*"),
    works("weight.*"),
    works("initLimit"),
    works("syncLimit"),
    works("connectToLearnerMasterLimit"),
    works("peerType"),
    works("electionAlg"),
    works("leaderServes"),
    works("standaloneEnabled"),
    works("reconfigEnabled"),
    works("dynamicConfigFile"),
    works("syncEnabled"),
    works("observer.reconnectDelayMs"),
    works("observer.election.DelayMs"),
    works("observerMasterPort"),
    works("quorumListenOnAllIPs"),
    works("multiAddress.enabled"),
    works("cnxTimeout"),
    works("quorumCnxnTimeoutMs"),
    works("tcpKeepAlive"),
    works("fastleader.minNotificationInterval"),
    works("fastleader.maxNotificationInterval"),
    works("electionPortBindRetry"),
    works("leader.maxConcurrentSnapSyncs"),
    works("leader.maxConcurrentDiffSyncs"),
    works("leader.maxTimeToWaitForEpoch"),
    works("sslQuorum"),
    works("portUnification"),
    works("sslQuorumReloadCertFiles"),
    works("quorum.auth.enableSasl"),
    works("quorum.auth.serverRequireSasl"),
    works("quorum.auth.learnerRequireSasl"),
    works("quorum.auth.learner.saslLoginContext"),
    works("quorum.auth.server.saslLoginContext"),
    works("quorum.auth.kerberos.servicePrincipal"),
    // Taken and not used.
    unused("maxWriteQueuePollTime", THREADS),
    unused("request_throttler.shutdownTimeout", THREADS),
    unused("nio.numSelectorThreads", THREADS),
    unused("nio.numWorkerThreads", THREADS),
    unused("nio.directBufferBytes", THREADS),
    unused("nio.shutdownTimeout", THREADS),
    unused("commitProcessor.*", THREADS),
    unused("quorum.cnxn.threads.size", THREADS),
    unused("intBufferStartingSizeBytes", THREADS),
    unused("serverCnxnFactory", NETTY),
    unused("netty.*", NETTY),
    unused("jvm.pause.*", JVM),
    unused("maxResponseCacheSize", CACHES),
    unused("maxGetChildrenResponseCacheSize", CACHES),
    unused("watchManagerName", WATCHES),
    unused("watcherCleanThreshold", WATCHES),
    unused("watcherCleanIntervalInSeconds", WATCHES),
    unused("watcherCleanThreadsNum", WATCHES),
    unused("maxInProcessingDeadWatchers", WATCHES),
    unused("bitHashCacheSize", WATCHES),
    unused("learner.asyncSending", ALWAYS),
    unused("learner.closeSocketAsync", ALWAYS),
    unused("leader.closeSocketAsync", ALWAYS),
    unused("leader.nodelay", ALWAYS),
    unused("follower.nodelay", ALWAYS),
    unused("leaderConnectDelayDuringRetryMs", THREADS),
    unused("leader.ackLoggingFrequency", NEVER),
    unused("follower.skipLearnerRequestToNextProcessor", ALWAYS),
    unused("forward_learner_requests_to_commit_processor_disabled", ALWAYS),
    unused("observerMaster.sizeLimit", "followers keep nothing of what they pass on to observers"),
    unused("observer.syncEnabled", "syncEnabled is the key"),
    unused("forceSnapshotSync", TESTING),
    unused("testingonly.initialZxid", TESTING),
    unused("test.allowDiscontinuousProposals", TESTING),
    unused("multiAddress.reachabilityCheckEnabled", ALWAYS),
    unused("multiAddress.reachabilityCheckTimeoutMs", ALWAYS),
    unused("oraclePath", NEVER),
    unused("controllerPort", TESTING),
    unused("messageTracker.*", NEVER),
    unused("pathStats.*", NEVER),
    unused("admin.httpVersion", "HTTP/1.1 is what it speaks"),
    unused("audit.impl.class", JAVA_CLASS),
    unused("kinit", JAVA_CLASS),
    unused("requireKerberosConfig", JAVA_CLASS),
    unused("security.auth_to_local", JAVA_CLASS),
    unused("kerberos.*", JAVA_CLASS),
    unused("sasl.serverconfig", JAVA_CLASS),
    unused("SASLAuthenticationProvider.superPassword", JAVA_CLASS),
    unused("letAnySaslUserDoX", JAVA_CLASS),
];

const fn works(name: &'static str) -> Key {
    Key { name, effect: Effect::Works }
}

const fn unused(name: &'static str, why: &'static str) -> Key {
    Key { name, effect: Effect::Unused(why) }
}

/// The key that `name` is, if ZooKeeper has it.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.is(name))
}
