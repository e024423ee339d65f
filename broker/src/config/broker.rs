//! A broker's whole configuration: `server.properties`, checked once. Kafka's `KafkaConfig`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use super::error::ConfigError;
use super::listeners::Listeners;
use super::properties::Properties;
use super::sections::{
    CleanerConfig, ControlledShutdown, ControllerConfig, GroupConfig, LogConfig, NetworkConfig,
    OffsetsConfig, ReplicaConfig, TopicsConfig,
};
use super::topic::{self, KEYS, Layers, Properties as Raw, Source, TopicConfig, TopicConfigError};
use crate::registry::ServiceConfig;
use crate::topic_partition::BrokerId;

/// What a broker is told by its `server.properties`. Everything in it is valid.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "KafkaConfig")]
pub struct BrokerConfig {
    /// `broker.id`; `None` takes the one of `meta.properties`, or has the service give out one.
    pub broker_id: Option<BrokerId>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Where the broker listens.
    pub listeners: Listeners,
    /// How the service is reached.
    pub service: ServiceConfig,
    /// `log.dirs`, or `log.dir`.
    pub log_dirs: Vec<PathBuf>,
    /// Connections and requests.
    pub network: NetworkConfig,
    /// How topics are created and deleted.
    pub topics: TopicsConfig,
    /// How followers follow.
    pub replica: ReplicaConfig,
    /// What a controller does by itself.
    pub controller: ControllerConfig,
    /// How a broker takes its leave.
    pub controlled_shutdown: ControlledShutdown,
    /// How logs are looked after.
    pub log: LogConfig,
    /// How logs are compacted.
    pub cleaner: CleanerConfig,
    /// The topic of offsets.
    pub offsets: OffsetsConfig,
    /// Consumer groups.
    pub group: GroupConfig,
    /// `metrics.http.port`, a key of our own: where metrics are told over HTTP. `None` nowhere.
    pub metrics_port: Option<u16>,
    /// `metrics.http.host`.
    pub metrics_host: String,
    /// All keys as they stand in the file: the layer below topics' own settings.
    pub raw: Raw,
    /// All keys there are, topics' included, and what they stand for where nobody sets them.
    pub defaults: BTreeMap<&'static str, Option<String>>,
}

/// A broker's key with all the values it was given, the one in effect first. It is null without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedKey<'a> {
    /// The key.
    pub name: &'a str,
    /// What it was set to, where, and what it stands for if nobody sets it.
    pub candidates: Vec<(Source, &'a str)>,
    /// Whether it can be changed while the broker runs.
    pub is_dynamic: bool,
}

impl BrokerConfig {
    /// Reads the file at `path`, as if `overrides` were its last lines. Keys that nobody knows are warned of, as Kafka
    /// does.
    ///
    /// # Errors
    /// Names the file, and where there is one the line and the key.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let unreadable = |cause| ConfigError::Unreadable { path: path.into(), cause };
        let mut text = std::fs::read(path).map_err(unreadable)?;
        for line in overrides {
            text.push(b'\n');
            text.extend_from_slice(line.as_bytes());
        }
        Self::parse(path, &text)
    }

    /// The same, of a text that is at hand.
    ///
    /// # Errors
    /// As [`BrokerConfig::load`].
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        let mut file = Properties::parse(path, text)?;
        let config = Self::read(&mut file)?;
        for (key, line) in file.unknown(|key| accepted::is_known(key) || is_topic_synonym(key)) {
            warn!(file = %path.display(), line, key, "unknown key");
        }
        Ok(config)
    }

    fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let config = Self {
            broker_id: broker_id(file)?,
            rack: file.text("broker.rack"),
            listeners: Listeners::read(file)?,
            service: service(file)?,
            log_dirs: log_dirs(file)?,
            network: NetworkConfig::read(file)?,
            topics: TopicsConfig::read(file)?,
            replica: ReplicaConfig::read(file)?,
            controller: ControllerConfig::read(file)?,
            controlled_shutdown: ControlledShutdown::read(file)?,
            log: LogConfig::read(file)?,
            cleaner: CleanerConfig::read(file)?,
            offsets: OffsetsConfig::read(file)?,
            group: GroupConfig::read(file)?,
            metrics_port: metrics_port(file)?,
            metrics_host: file.text("metrics.http.host").unwrap_or_else(|| "127.0.0.1".into()),
            raw: file.raw(),
            defaults: topic::broker_defaults().chain(file.defaults()).collect(),
        };
        let topics = Layers { file: Some(&config.raw), ..Layers::default() };
        TopicConfig::resolve(topics).map_err(|TopicConfigError { key, what, .. }| file.wrong(&key, what))?;
        Ok(config)
    }

    /// How a topic behaves that has these settings of its own.
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn topic(&self, own: &Raw) -> Result<TopicConfig, TopicConfigError> {
        TopicConfig::resolve(Layers { topic: Some(own), file: Some(&self.raw), ..Layers::default() })
    }

    /// Every key, with what was set for this broker while it runs, and for all. Of keys that others know, only
    /// those that are set.
    pub fn describe<'a>(&'a self, this: &'a Raw, all: &'a Raw) -> Vec<DescribedKey<'a>> {
        let layers = [(Source::Broker, this), (Source::AllBrokers, all), (Source::File, &self.raw)];
        let set = layers.into_iter().flat_map(|(_, layer)| layer.keys().map(String::as_str));
        let names: BTreeSet<&str> = set.chain(self.defaults.keys().copied()).collect();
        let describe = |name: &'a str| {
            let given =
                layers.iter().filter_map(|(source, layer)| Some((*source, layer.get(name)?.as_str())));
            let default = self.defaults.get(name).and_then(Option::as_deref);
            DescribedKey {
                name,
                candidates: given.chain(default.map(|value| (Source::Default, value))).collect(),
                is_dynamic: is_topic_synonym(name),
            }
        };
        names.into_iter().map(describe).collect()
    }
}

fn is_topic_synonym(key: &str) -> bool {
    KEYS.iter().any(|topic| topic.synonyms.iter().any(|synonym| synonym.name == key))
}

fn broker_id(file: &mut Properties) -> Result<Option<BrokerId>, ConfigError> {
    let reserved = file.number("reserved.broker.max.id", 1000, 0..)?;
    let generated = file.flag("broker.id.generation.enable", true)?;
    let least = if generated { -1 } else { 0 };
    let id = file.number("broker.id", -1, least..=reserved)?;
    if id < 0 && !generated {
        return Err(ConfigError::Missing { path: file.path().into(), key: "broker.id".into() });
    }
    Ok((id >= 0).then_some(id))
}

fn service(file: &mut Properties) -> Result<ServiceConfig, ConfigError> {
    let connect = file.required("zookeeper.connect")?;
    let session_timeout = file.millis("zookeeper.session.timeout.ms", 18_000, 1)?;
    let default = u64::try_from(session_timeout.as_millis()).unwrap_or(u64::MAX);
    let connection_timeout = file.millis("zookeeper.connection.timeout.ms", default, 1)?;
    if file.flag("zookeeper.set.acl", false)? {
        return Err(file.wrong("zookeeper.set.acl", "not supported: all znodes are open to everyone"));
    }
    if file.flag("zookeeper.ssl.client.enable", false)? {
        return Err(file.wrong("zookeeper.ssl.client.enable", "not supported"));
    }
    Ok(ServiceConfig { connect, session_timeout, connection_timeout })
}

fn log_dirs(file: &mut Properties) -> Result<Vec<PathBuf>, ConfigError> {
    let dirs = match file.first_of(&["log.dirs", "log.dir"]) {
        Some(key) => file.list(key),
        None => vec!["/tmp/kafka-logs".to_owned()],
    };
    let _known = file.text("log.dir");
    if dirs.is_empty() {
        return Err(file.wrong("log.dirs", "no directory"));
    }
    Ok(dirs.into_iter().map(PathBuf::from).collect())
}

fn metrics_port(file: &mut Properties) -> Result<Option<u16>, ConfigError> {
    let port = file.number("metrics.http.port", -1, -1..=i32::from(u16::MAX))?;
    Ok(u16::try_from(port).ok())
}

/// How long something lasts that is counted in whole minutes.
pub(super) fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// Keys of Kafka's that are accepted although there is nothing here that they could change.
mod accepted {
    const KEYS: [&str; 44] = [
        "advertised.host.name",
        "advertised.port",
        "background.threads",
        "compression.gzip.level",
        "connection.failed.authentication.delay.ms",
        "controller.quorum.voters",
        "controller.socket.timeout.ms",
        "delete.records.purgatory.purge.interval.requests",
        "fetch.purgatory.purge.interval.requests",
        "group.coordinator.rebalance.protocols",
        "group.coordinator.threads",
        "inter.broker.protocol.version",
        "kafka.metrics.polling.interval.secs",
        "kafka.metrics.reporters",
        "log.cleaner.io.buffer.load.factor",
        "log.dir.failure.timeout.ms",
        "log.flush.scheduler.interval.ms",
        "log.message.downconversion.enable",
        "log.message.format.version",
        "max.incremental.fetch.session.cache.slots",
        "max.request.partition.size.limit",
        "metric.reporters",
        "metrics.num.samples",
        "metrics.recording.level",
        "metrics.sample.window.ms",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.alter.log.dirs.threads",
        "offsets.commit.required.acks",
        "offsets.load.buffer.size",
        "offsets.topic.compression.codec",
        "port",
        "producer.id.expiration.check.interval.ms",
        "producer.purgatory.purge.interval.requests",
        "queued.max.request.bytes",
        "quota.window.num",
        "quota.window.size.seconds",
        "replica.selector.class",
        "replication.quota.window.num",
        "replication.quota.window.size.seconds",
        "request.timeout.ms",
        "transaction.partition.verification.enable",
        "zookeeper.max.in.flight.requests",
    ];

    /// Transactions have keys, and nothing here that needs them.
    const PREFIXES: [&str; 4] = ["transaction.", "transactional.", "controller.quota.", "group.consumer."];

    pub(super) fn is_known(key: &str) -> bool {
        KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::parse(Path::new("server.properties"), text.as_bytes())
    }

    #[test]
    fn a_file_with_the_least_there_must_be_has_kafkas_defaults() {
        let config = parse("zookeeper.connect=zk1:2181,zk2:2181/kafka\n").unwrap();
        assert_eq!(config.broker_id, None);
        assert_eq!(config.service.connect, "zk1:2181,zk2:2181/kafka");
        assert_eq!(config.service.session_timeout, Duration::from_secs(18));
        assert_eq!(config.service.connection_timeout, Duration::from_secs(18));
        assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
        assert_eq!((config.topics.partitions, config.topics.replication_factor), (1, 1));
        assert!(config.topics.auto_create && config.topics.deletable);
        assert_eq!(config.replica.lag_max, Duration::from_secs(30));
        assert_eq!(config.offsets.partitions, 50);
        assert_eq!(config.offsets.retention, minutes(7 * 24 * 60));
        assert_eq!(config.group.session_timeout_min, Duration::from_secs(6));
        assert_eq!(config.controlled_shutdown.retries_max, 3);
        assert_eq!(config.metrics_port, None);
    }

    #[test]
    fn a_brokers_number_is_given_or_given_out() {
        let with = |text: &str| parse(&format!("zookeeper.connect=zk\n{text}"));
        assert_eq!(with("broker.id=0").unwrap().broker_id, Some(0));
        assert_eq!(with("broker.id=-1").unwrap().broker_id, None);
        assert!(with("broker.id=1001").unwrap_err().to_string().contains("from -1 to 1000"));
        assert_eq!(with("broker.id=1001\nreserved.broker.max.id=2000").unwrap().broker_id, Some(1001));
        let error = with("broker.id.generation.enable=false").unwrap_err();
        assert_eq!(error.to_string(), "server.properties: broker.id is missing");
    }

    #[test]
    fn what_topics_get_from_the_broker_is_checked_with_the_rest() {
        let error = parse("zookeeper.connect=zk\nlog.retention.ms=soon\n").unwrap_err().to_string();
        assert!(error.starts_with("server.properties:2: log.retention.ms=soon: "), "{error}");
        let config = parse("zookeeper.connect=zk\nlog.retention.hours=1\n").unwrap();
        assert_eq!(config.topic(&Raw::new()).unwrap().retention, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn every_key_is_described_with_all_that_could_have_been_its_value() {
        let config = parse("zookeeper.connect=zk\nlog.segment.bytes=1000\nmy.own=x\n").unwrap();
        let this = Raw::from([("log.segment.bytes".to_owned(), "3000".to_owned())]);
        let all = Raw::from([("log.segment.bytes".to_owned(), "2000".to_owned())]);
        let described = config.describe(&this, &all);
        let of = |name: &str| described.iter().find(|it| it.name == name).unwrap();
        let candidates = [
            (Source::Broker, "3000"),
            (Source::AllBrokers, "2000"),
            (Source::File, "1000"),
            (Source::Default, "1073741824"),
        ];
        assert_eq!(
            (&*of("log.segment.bytes").candidates, of("log.segment.bytes").is_dynamic),
            (&candidates[..], true)
        );
        assert_eq!(of("log.retention.hours").candidates, [(Source::Default, "168")]);
        assert_eq!(of("log.retention.ms").candidates, []);
        assert_eq!(of("num.partitions").candidates, [(Source::Default, "1")]);
        assert_eq!(of("my.own").candidates, [(Source::File, "x")]);
        assert!(!of("num.partitions").is_dynamic);
        assert_eq!(
            of("log.cleaner.io.max.bytes.per.second").candidates,
            [(Source::Default, "1.7976931348623157e308")]
        );
    }

    #[test]
    fn what_would_be_insecure_in_silence_is_refused() {
        assert!(parse("zookeeper.connect=zk\nzookeeper.set.acl=true\n").is_err());
        assert!(parse("zookeeper.connect=zk\nlisteners=SASL_SSL://:9092\n").is_err());
    }

    #[test]
    fn the_sample_is_a_configuration_without_unknown_keys() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/server.properties"));
        let text = std::fs::read_to_string(path).unwrap();
        BrokerConfig::load(path, &[]).unwrap();
        // Every key that is shown with its default is one there is.
        let shown =
            text.lines().map(|line| line.strip_prefix('#').filter(|it| !it.starts_with(' ')).unwrap_or(line));
        let all: Vec<_> = shown.filter(|line| line.contains('=')).collect();
        let mut file = Properties::parse(path, all.join("\n").as_bytes()).unwrap();
        BrokerConfig::read(&mut file).unwrap();
        assert_eq!(file.unknown(|key| accepted::is_known(key) || is_topic_synonym(key)), []);
    }
}
