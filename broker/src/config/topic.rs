//! What a topic may set for itself, and what it gets from the broker where it does not. Kafka's `LogConfig`.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use kafka_protocol::records::Compression;

pub use keys::{KEYS, Key, Kind, Synonym, Unit, Valid, find};

/// Keys and values as they stand in a file or a znode.
pub type Properties = BTreeMap<String, String>;

/// A topic's configuration, complete and checked.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "LogConfig")]
pub struct TopicConfig {
    /// Whether old segments are dropped, compacted, or both.
    pub cleanup_policy: CleanupPolicy,
    /// What a batch is compressed with before it is stored; `None` is as the producer did.
    pub compression: Option<Compression>,
    /// How long compaction keeps tombstones.
    pub delete_retention: Duration,
    /// How long files stay that are no longer needed.
    pub file_delete_delay: Duration,
    /// A sync after so many records.
    pub flush_messages: u64,
    /// A sync after so long; `None` leaves it to the operating system.
    pub flush_interval: Option<Duration>,
    /// An index entry every so many bytes.
    pub index_interval_bytes: u32,
    /// A record may be compacted after this time at the latest; `None` sets no bound.
    pub compaction_lag_max: Option<Duration>,
    /// A record is not compacted before.
    pub compaction_lag_min: Duration,
    /// The largest batch.
    pub message_bytes_max: u32,
    /// How far a timestamp may be behind the clock; `None` sets no bound.
    pub timestamp_before_max: Option<Duration>,
    /// How far a timestamp may be ahead of the clock; `None` sets no bound.
    pub timestamp_after_max: Option<Duration>,
    /// Whose clock stamps records.
    pub timestamp_type: TimestampType,
    /// The share of a log that must be uncompacted before compaction is worth it, from 0 to 1.
    pub dirty_ratio_min: f64,
    /// Replicas in sync that acks=all needs.
    pub in_sync_replicas_min: u32,
    /// Whether a segment's blocks are allocated when it begins.
    pub preallocate: bool,
    /// The size at which old segments go; `None` sets no bound.
    pub retention_bytes: Option<u64>,
    /// The age at which old segments go; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// The size of a segment.
    pub segment_bytes: u32,
    /// The size of a segment's index.
    pub segment_index_bytes: u32,
    /// The most by which `segment_age_max` is cut, for each segment differently.
    pub segment_jitter: Duration,
    /// The age at which a new segment begins.
    pub segment_age_max: Duration,
    /// Whether a replica out of sync may lead.
    pub unclean_leader_election: bool,
}

/// What becomes of old segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// They are dropped by time and size.
    pub delete: bool,
    /// The newest value of each key stays.
    pub compact: bool,
}

/// Whose clock stamps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The leader's, when it appends.
    LogAppendTime,
}

/// Where a value may come from, the first going before the others. An absent map is an empty one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    /// `/config/topics/<t>`.
    pub topic: Option<&'a Properties>,
    /// `/config/brokers/<id>`.
    pub broker: Option<&'a Properties>,
    /// `/config/brokers/<default>`.
    pub all_brokers: Option<&'a Properties>,
    /// `server.properties`.
    pub file: Option<&'a Properties>,
}

/// Where a value came from; its number is the one in DescribeConfigs' answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "ConfigSource")]
pub enum Source {
    /// Set for the topic.
    Topic = 1,
    /// Set for this broker while it runs.
    Broker = 2,
    /// Set for all brokers while they run.
    AllBrokers = 3,
    /// `server.properties`.
    File = 4,
    /// Nobody said anything.
    Default = 5,
}

/// One place that has a value for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name it has there.
    pub name: &'static str,
    /// As it stands there, in that name's unit.
    pub value: String,
    /// Where.
    pub source: Source,
}

/// A key with its value, and all that could have been it.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The key.
    pub key: &'static Key,
    /// In effect, in the topic's unit.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// All places that have one; the first is in effect.
    pub candidates: Vec<Candidate>,
}

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: {what}")]
pub struct TopicConfigError {
    /// The key, under the name where the value stands.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub what: String,
}

impl TopicConfigError {
    fn new(key: &str, value: &str, what: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.to_owned(), what: what.into() }
    }
}

impl Default for TopicConfig {
    /// What Kafka gives a topic for which nobody set anything.
    fn default() -> Self {
        Self::resolve(Layers::default()).expect("the table's defaults are valid")
    }
}

impl TopicConfig {
    /// Takes each value from the first layer that has one. Names that no topic has are passed over: a topic may
    /// have been configured by a newer broker.
    ///
    /// # Errors
    /// A value that is not of its key's kind or out of its bounds.
    pub fn resolve(layers: Layers<'_>) -> Result<Self, TopicConfigError> {
        let mut values = BTreeMap::new();
        for key in KEYS {
            values.insert(key.name, effective(key, layers)?);
        }
        Values(&values).config()
    }

    /// Checks what a client asks to set for a topic, every name included, and that it makes sense together.
    ///
    /// # Errors
    /// A name that no topic has, or a value that cannot be.
    #[doc(alias = "LogConfig.validate")]
    pub fn check(layers: Layers<'_>) -> Result<Self, TopicConfigError> {
        for (name, value) in layers.topic.into_iter().flatten() {
            let key = find(name)
                .ok_or_else(|| TopicConfigError::new(name, value, "is not a configuration of topics"))?;
            check(key, name, value)?;
        }
        let config = Self::resolve(layers)?;
        if layers.topic.is_some_and(|topic| topic.get("remote.storage.enable").is_some_and(|it| is_true(it)))
        {
            return Err(TopicConfigError::new(
                "remote.storage.enable",
                "true",
                "tiered storage is not available",
            ));
        }
        if config.compaction_lag_max.is_some_and(|max| config.compaction_lag_min > max) {
            let min = config.compaction_lag_min.as_millis().to_string();
            return Err(TopicConfigError::new(
                "min.compaction.lag.ms",
                &min,
                "is above max.compaction.lag.ms",
            ));
        }
        Ok(config)
    }

    /// Every key with its value, for DescribeConfigs.
    ///
    /// # Errors
    /// The value in effect is not a number where one is needed.
    pub fn describe(layers: Layers<'_>) -> Result<Vec<Described>, TopicConfigError> {
        KEYS.iter()
            .map(|key| {
                let candidates = candidates(key, layers);
                let value = effective(key, layers)?;
                let source = candidates.first().map_or(Source::Default, |first| first.source);
                Ok(Described { key, value, source, candidates })
            })
            .collect()
    }
}

/// All values there are for `key`, the one in effect first.
fn candidates(key: &'static Key, layers: Layers<'_>) -> Vec<Candidate> {
    let in_layer = |layer: Option<&Properties>, name: &'static str, source| {
        let value = layer.and_then(|layer| layer.get(name))?.clone();
        Some(Candidate { name, value, source })
    };
    let mut found: Vec<_> = in_layer(layers.topic, key.name, Source::Topic).into_iter().collect();
    for synonym in key.synonyms {
        found.extend(in_layer(layers.broker, synonym.name, Source::Broker));
        found.extend(in_layer(layers.all_brokers, synonym.name, Source::AllBrokers));
        found.extend(in_layer(layers.file, synonym.name, Source::File));
    }
    if let Some(last) = key.synonyms.last() {
        let value = in_unit_of(last.unit, key.default);
        found.push(Candidate { name: last.name, value, source: Source::Default });
    }
    found
}

/// The keys with which brokers speak for topics, and what each stands for where nobody sets it: of several for one thing
/// only the coarsest has a default.
pub(super) fn broker_defaults() -> impl Iterator<Item = (&'static str, Option<String>)> {
    KEYS.iter().flat_map(|key| {
        let last = key.synonyms.len().saturating_sub(1);
        key.synonyms.iter().enumerate().map(move |(at, synonym)| {
            (synonym.name, (at == last).then(|| in_unit_of(synonym.unit, key.default)))
        })
    })
}

/// The topic's default as the broker's key with the coarser unit says it: 604800000 ms are 168 hours.
fn in_unit_of(unit: Unit, default: &str) -> String {
    match default.parse::<i64>() {
        Ok(number) if unit != Unit::Same => (number / millis_per(unit)).to_string(),
        _ => default.to_owned(),
    }
}

fn millis_per(unit: Unit) -> i64 {
    match unit {
        Unit::Same => 1,
        Unit::Minutes => 60_000,
        Unit::Hours => 3_600_000,
    }
}

/// The value of `key` that goes first, checked, in the topic's unit.
fn effective(key: &'static Key, layers: Layers<'_>) -> Result<String, TopicConfigError> {
    let candidates = candidates(key, layers);
    let Some(first) = candidates.into_iter().find(|candidate| candidate.source != Source::Default) else {
        return Ok(key.default.to_owned());
    };
    let unit = if first.source == Source::Topic { Unit::Same } else { unit_of(key, first.name) };
    let value = match unit {
        Unit::Same => first.value.trim().to_owned(),
        unit => in_millis(&first, unit)?,
    };
    check(key, first.name, &value)?;
    Ok(value)
}

fn unit_of(key: &Key, synonym: &str) -> Unit {
    key.synonyms.iter().find(|it| it.name == synonym).map_or(Unit::Same, |it| it.unit)
}

/// Minutes or hours as milliseconds; -1, for ever, is -1 in any unit.
fn in_millis(candidate: &Candidate, unit: Unit) -> Result<String, TopicConfigError> {
    let number: i64 = candidate
        .value
        .trim()
        .parse()
        .map_err(|_| TopicConfigError::new(candidate.name, &candidate.value, "is not a number"))?;
    let millis = if number < 0 { -1 } else { number.saturating_mul(millis_per(unit)) };
    Ok(millis.to_string())
}

/// Whether `value` is one that `key` takes; `name` is what it is called where it stands.
fn check(key: &Key, name: &str, value: &str) -> Result<(), TopicConfigError> {
    let refuse = |what: String| Err(TopicConfigError::new(name, value, what));
    let trimmed = value.trim();
    match key.kind {
        Kind::Boolean if !is_true(trimmed) && !trimmed.eq_ignore_ascii_case("false") => {
            refuse("is neither true nor false".into())
        }
        Kind::Boolean => Ok(()),
        Kind::Int => match trimmed.parse::<i32>() {
            Ok(number) => check_bounds(key, i64::from(number)).or_else(refuse),
            Err(_) => refuse("is not a 32-bit number".into()),
        },
        Kind::Long => match trimmed.parse::<i64>() {
            Ok(number) => check_bounds(key, number).or_else(refuse),
            Err(_) => refuse("is not a 64-bit number".into()),
        },
        Kind::Double => match (trimmed.parse::<f64>(), key.valid) {
            (Ok(number), Valid::Between(low, high)) if number >= low as f64 && number <= high as f64 => {
                Ok(())
            }
            (Ok(_), Valid::Between(low, high)) => refuse(format!("is not between {low} and {high}")),
            (Ok(_), _) => Ok(()),
            (Err(_), _) => refuse("is not a number".into()),
        },
        Kind::String => check_word(key, trimmed).or_else(refuse),
        Kind::List => elements(trimmed).try_for_each(|word| check_word(key, word)).or_else(refuse),
    }
}

fn check_bounds(key: &Key, number: i64) -> Result<(), String> {
    match key.valid {
        Valid::AtLeast(low) if number < low => Err(format!("is below {low}")),
        Valid::Between(low, high) if !(low..=high).contains(&number) => {
            Err(format!("is not between {low} and {high}"))
        }
        Valid::UptoOrDefault(high) if number != -1 && !(1..=high).contains(&number) => {
            Err(format!("is neither between 1 and {high} nor -1"))
        }
        _ => Ok(()),
    }
}

fn check_word(key: &Key, word: &str) -> Result<(), String> {
    match key.valid {
        Valid::Words(words) if !words.contains(&word) => Err(format!("is none of {}", words.join(", "))),
        _ => Ok(()),
    }
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|it| !it.is_empty())
}

fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

/// Values of all keys, each checked.
struct Values<'a>(&'a BTreeMap<&'static str, String>);

impl Values<'_> {
    fn config(&self) -> Result<TopicConfig, TopicConfigError> {
        let policy: Vec<_> = elements(self.text("cleanup.policy")).collect();
        let has = |word| policy.contains(&word);
        Ok(TopicConfig {
            cleanup_policy: CleanupPolicy { delete: has("delete"), compact: has("compact") },
            compression: self.compression(),
            delete_retention: self.time("delete.retention.ms")?,
            file_delete_delay: self.time("file.delete.delay.ms")?,
            flush_messages: self.number("flush.messages")?,
            flush_interval: self.bounded_time("flush.ms")?,
            index_interval_bytes: self.number("index.interval.bytes")?,
            compaction_lag_max: self.bounded_time("max.compaction.lag.ms")?,
            compaction_lag_min: self.time("min.compaction.lag.ms")?,
            message_bytes_max: self.number("max.message.bytes")?,
            timestamp_before_max: self.timestamp_bound("message.timestamp.before.max.ms")?,
            timestamp_after_max: self.timestamp_bound("message.timestamp.after.max.ms")?,
            timestamp_type: match self.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            dirty_ratio_min: self.number("min.cleanable.dirty.ratio")?,
            in_sync_replicas_min: self.number("min.insync.replicas")?,
            preallocate: is_true(self.text("preallocate")),
            retention_bytes: u64::try_from(self.number::<i64>("retention.bytes")?).ok(),
            retention: self.bounded_time("retention.ms")?,
            segment_bytes: self.number("segment.bytes")?,
            segment_index_bytes: self.number("segment.index.bytes")?,
            segment_jitter: self.time("segment.jitter.ms")?,
            segment_age_max: self.time("segment.ms")?,
            unclean_leader_election: is_true(self.text("unclean.leader.election.enable")),
        })
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<N, TopicConfigError> {
        let value = self.text(name);
        value.parse().map_err(|_| TopicConfigError::new(name, value, "is not a number that fits"))
    }

    fn time(&self, name: &str) -> Result<Duration, TopicConfigError> {
        self.number(name).map(Duration::from_millis)
    }

    /// `None` for -1 and for the largest number there is: both mean that there is no bound.
    fn bounded_time(&self, name: &str) -> Result<Option<Duration>, TopicConfigError> {
        let millis: i64 = self.number(name)?;
        Ok(u64::try_from(millis).ok().filter(|_| millis != i64::MAX).map(Duration::from_millis))
    }

    /// The deprecated bound on both sides counts where the side's own is not set.
    fn timestamp_bound(&self, name: &str) -> Result<Option<Duration>, TopicConfigError> {
        match self.bounded_time(name)? {
            None => self.bounded_time("message.timestamp.difference.max.ms"),
            own => Ok(own),
        }
    }

    fn compression(&self) -> Option<Compression> {
        match self.text("compression.type") {
            "uncompressed" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }
}
