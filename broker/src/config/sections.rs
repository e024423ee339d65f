//! The parts of a broker's configuration, each with the keys it is read from.

use std::time::Duration;

use super::broker::minutes;
use super::error::ConfigError;
use super::properties::Properties;

const MIB: usize = 1024 * 1024;

/// Connections and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `connections.max.idle.ms`: a silent connection is closed. `None` never.
    pub idle_max: Option<Duration>,
    /// `queued.max.requests`: what may be under way before connections are read no more.
    pub queued_requests_max: usize,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<usize>,
    /// `fetch.max.bytes`: the most that one Fetch answers.
    pub fetch_bytes_max: usize,
}

impl NetworkConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let idle_ms = file.number("connections.max.idle.ms", 600_000_i64, -1..)?;
        Ok(Self {
            request_bytes_max: file.size("socket.request.max.bytes", 100 * MIB, 1)?,
            connections_max: file.size("max.connections", i32::MAX as usize, 0)?,
            connections_per_ip_max: file.size("max.connections.per.ip", i32::MAX as usize, 0)?,
            idle_max: u64::try_from(idle_ms).ok().map(Duration::from_millis),
            queued_requests_max: file.size("queued.max.requests", 500, 1)?,
            backlog: file.number("socket.listen.backlog.size", 50, 1..=i32::MAX.unsigned_abs())?,
            send_buffer_bytes: buffer(file, "socket.send.buffer.bytes")?,
            receive_buffer_bytes: buffer(file, "socket.receive.buffer.bytes")?,
            fetch_bytes_max: file.size("fetch.max.bytes", 55 * MIB, 1024)?,
        })
    }
}

fn buffer(file: &mut Properties, key: &'static str) -> Result<Option<usize>, ConfigError> {
    Ok(usize::try_from(file.number(key, 102_400_i32, -1..)?).ok())
}

/// How topics are created and deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicsConfig {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub deletable: bool,
}

impl TopicsConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        Ok(Self {
            partitions: file.number("num.partitions", 1, 1..)?,
            replication_factor: file.number("default.replication.factor", 1, 1..)?,
            auto_create: file.flag("auto.create.topics.enable", true)?,
            deletable: file.flag("delete.topic.enable", true)?,
        })
    }
}

/// How followers follow, and when they are in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// `replica.lag.time.max.ms`: who has not caught up for so long is out of sync.
    pub lag_max: Duration,
    /// `replica.fetch.min.bytes`.
    pub fetch_bytes_min: usize,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_wait_max: Duration,
    /// `replica.fetch.max.bytes`: of one partition.
    pub fetch_bytes_max: usize,
    /// `replica.fetch.response.max.bytes`: of all.
    pub fetch_response_bytes_max: usize,
    /// `replica.fetch.backoff.ms`: after an error.
    pub fetch_backoff: Duration,
    /// `num.replica.fetchers`: from one leader.
    pub fetchers: usize,
    /// `replica.socket.timeout.ms`.
    pub request_timeout: Duration,
    /// `replica.socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<usize>,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub checkpoint_interval: Duration,
}

impl ReplicaConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let config = Self {
            lag_max: file.millis("replica.lag.time.max.ms", 30_000, 1)?,
            fetch_bytes_min: file.size("replica.fetch.min.bytes", 1, 0)?,
            fetch_wait_max: file.millis("replica.fetch.wait.max.ms", 500, 0)?,
            fetch_bytes_max: file.size("replica.fetch.max.bytes", MIB, 0)?,
            fetch_response_bytes_max: file.size("replica.fetch.response.max.bytes", 10 * MIB, 0)?,
            fetch_backoff: file.millis("replica.fetch.backoff.ms", 1000, 0)?,
            fetchers: file.size("num.replica.fetchers", 1, 1)?,
            request_timeout: file.millis("replica.socket.timeout.ms", 30_000, 1)?,
            receive_buffer_bytes: usize::try_from(file.number(
                "replica.socket.receive.buffer.bytes",
                65_536_i32,
                -1..,
            )?)
            .ok(),
            checkpoint_interval: file.millis("replica.high.watermark.checkpoint.interval.ms", 5000, 1)?,
        };
        let wait = "replica.fetch.wait.max.ms";
        if config.fetch_wait_max > config.lag_max {
            return Err(wrong_of(
                file,
                wait,
                "replica.lag.time.max.ms",
                "followers would wait until they lag",
            ));
        }
        if config.fetch_wait_max > config.request_timeout {
            return Err(wrong_of(file, wait, "replica.socket.timeout.ms", "followers would wait in vain"));
        }
        Ok(config)
    }
}

/// That two values do not go together, told of the one that stands in the file.
fn wrong_of(file: &Properties, key: &'static str, other: &'static str, flaw: &str) -> ConfigError {
    let (at, with) = if file.has(key) { (key, other) } else { (other, key) };
    file.wrong(at, format!("does not go with {with}: {flaw}"))
}

/// What a controller does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerConfig {
    /// `auto.leader.rebalance.enable`.
    pub rebalances: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub rebalance_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`: the share of partitions that a broker should lead and does not, above
    /// which it is given them back.
    pub imbalance_percentage_max: u32,
}

impl ControllerConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let interval =
            file.number("leader.imbalance.check.interval.seconds", 300_u64, 1..=u64::from(u32::MAX))?;
        Ok(Self {
            rebalances: file.flag("auto.leader.rebalance.enable", true)?,
            rebalance_interval: Duration::from_secs(interval),
            imbalance_percentage_max: file.number("leader.imbalance.per.broker.percentage", 10, 0..=100)?,
        })
    }
}

/// How a broker takes its leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlledShutdown {
    /// `controlled.shutdown.enable`.
    pub enabled: bool,
    /// `controlled.shutdown.max.retries`.
    pub retries_max: u32,
    /// `controlled.shutdown.retry.backoff.ms`.
    pub backoff: Duration,
}

impl ControlledShutdown {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        Ok(Self {
            enabled: file.flag("controlled.shutdown.enable", true)?,
            retries_max: file.number("controlled.shutdown.max.retries", 3, 0..=i32::MAX.unsigned_abs())?,
            backoff: file.millis("controlled.shutdown.retry.backoff.ms", 5000, 0)?,
        })
    }
}

/// How logs are looked after. How each behaves is [the topic's](super::TopicConfig).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.initial.task.delay.ms`: what is done again and again is first done after so long.
    pub initial_task_delay: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_checkpoint_interval: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub start_checkpoint_interval: Duration,
    /// `producer.id.expiration.ms`: a producer that has been silent for so long is forgotten.
    pub producer_expiration: Duration,
}

impl LogConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        Ok(Self {
            retention_check_interval: file.millis("log.retention.check.interval.ms", 300_000, 1)?,
            initial_task_delay: file.millis("log.initial.task.delay.ms", 30_000, 0)?,
            recovery_checkpoint_interval: file.millis(
                "log.flush.offset.checkpoint.interval.ms",
                60_000,
                1,
            )?,
            start_checkpoint_interval: file.millis(
                "log.flush.start.offset.checkpoint.interval.ms",
                60_000,
                1,
            )?,
            producer_expiration: file.millis("producer.id.expiration.ms", 86_400_000, 1)?,
        })
    }
}

/// How logs are compacted.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: for the keys of all threads.
    pub key_bytes_max: usize,
    /// `log.cleaner.io.buffer.size`.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`; `None` sets no bound.
    pub bytes_per_second_max: Option<f64>,
    /// `log.cleaner.backoff.ms`: how long it rests when there is nothing to compact.
    pub backoff: Duration,
}

impl CleanerConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let rate = file.number("log.cleaner.io.max.bytes.per.second", f64::MAX, 0.0..)?;
        Ok(Self {
            enabled: file.flag("log.cleaner.enable", true)?,
            threads: file.size("log.cleaner.threads", 1, 1)?,
            key_bytes_max: file.number("log.cleaner.dedupe.buffer.size", 128 * MIB, MIB..)?,
            io_buffer_bytes: file.size("log.cleaner.io.buffer.size", 512 * 1024, 1)?,
            bytes_per_second_max: (rate < f64::MAX && rate > 0.0).then_some(rate),
            backoff: file.millis("log.cleaner.backoff.ms", 15_000, 1)?,
        })
    }
}

/// The topic of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetsConfig {
    /// `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: u32,
    /// `offsets.retention.minutes`: an empty group's offsets are kept for so long.
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `offset.metadata.max.bytes`.
    pub metadata_bytes_max: usize,
    /// `offsets.commit.timeout.ms`: how long a commit may wait for its replicas.
    pub commit_timeout: Duration,
}

impl OffsetsConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let retention = file.number("offsets.retention.minutes", 7 * 24 * 60, 1..=i32::MAX.unsigned_abs())?;
        let segment = file.number("offsets.topic.segment.bytes", 100 << 20, 1..=i32::MAX.unsigned_abs())?;
        Ok(Self {
            partitions: file.number("offsets.topic.num.partitions", 50, 1..)?,
            replication_factor: file.number("offsets.topic.replication.factor", 3, 1..)?,
            segment_bytes: segment,
            retention: minutes(u64::from(retention)),
            retention_check_interval: file.millis("offsets.retention.check.interval.ms", 600_000, 1)?,
            metadata_bytes_max: file.size("offset.metadata.max.bytes", 4096, 0)?,
            commit_timeout: file.millis("offsets.commit.timeout.ms", 5000, 1)?,
        })
    }
}

/// Consumer groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members to join the first.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.max.size`.
    pub members_max: usize,
}

impl GroupConfig {
    pub(super) fn read(file: &mut Properties) -> Result<Self, ConfigError> {
        let config = Self {
            initial_rebalance_delay: file.millis("group.initial.rebalance.delay.ms", 3000, 0)?,
            session_timeout_min: file.millis("group.min.session.timeout.ms", 6000, 0)?,
            session_timeout_max: file.millis("group.max.session.timeout.ms", 1_800_000, 0)?,
            members_max: file.size("group.max.size", i32::MAX as usize, 1)?,
        };
        if config.session_timeout_min > config.session_timeout_max {
            let (least, most) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
            return Err(wrong_of(file, least, most, "no session timeout would be long enough"));
        }
        Ok(config)
    }
}
