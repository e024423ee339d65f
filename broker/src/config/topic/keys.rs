//! The table of what a topic may set: Kafka 3.8's names, types, defaults, bounds and the broker's own keys behind
//! them. Kafka's `TopicConfig`, `LogConfig` and `ServerTopicConfigSynonyms`.

/// What kind of value a key takes; its number is the one in DescribeConfigs' answer (`ConfigDef.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Which values of its [`Kind`] a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    /// All of the kind.
    Any,
    /// Numbers from this one up.
    AtLeast(i64),
    /// Numbers between these two, which are among them.
    Between(i64, i64),
    /// Numbers from 1 up to this one, or -1.
    UptoOrDefault(i64),
    /// One of these words; of a list, each of its elements.
    Words(&'static [&'static str]),
}

/// How a broker's value becomes the topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Same,
    /// Minutes there, milliseconds here.
    Minutes,
    /// Hours there, milliseconds here.
    Hours,
}

/// A broker's key that stands behind a topic's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synonym {
    /// In `server.properties`.
    pub name: &'static str,
    /// What it counts in.
    pub unit: Unit,
}

/// A topic-level key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// `retention.ms`.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// In effect where nobody says otherwise.
    pub default: &'static str,
    /// Which values it takes.
    pub valid: Valid,
    /// The broker's keys, the one that goes first being first.
    pub synonyms: &'static [Synonym],
    /// For people.
    pub documentation: &'static str,
}

/// The key called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &KEYS[at])
}

macro_rules! keys {
    ($($name:literal $kind:ident = $default:literal, $valid:expr, [$($synonym:literal $unit:ident),*]; $doc:literal;)*) => {
        /// All topic-level keys, by name.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            kind: Kind::$kind,
            default: $default,
            valid: $valid,
            synonyms: &[$(Synonym { name: $synonym, unit: Unit::$unit }),*],
            documentation: $doc,
        }),*];
    };
}

use Valid::{Any, AtLeast, Between, UptoOrDefault, Words};

const CODECS: Valid = Words(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

keys! {
    "cleanup.policy" List = "delete", Words(&["compact", "delete"]), ["log.cleanup.policy" Same];
        "What happens to old segments: `delete` drops them by time and size, `compact` keeps the newest value of each key. Both may be given.";
    "compression.gzip.level" Int = "-1", UptoOrDefault(9), ["compression.gzip.level" Same];
        "The level where `compression.type` is gzip.";
    "compression.lz4.level" Int = "9", Between(1, 17), ["compression.lz4.level" Same];
        "The level where `compression.type` is lz4.";
    "compression.type" String = "producer", CODECS, ["compression.type" Same];
        "The codec batches are stored with; `producer` leaves each as it was sent.";
    "compression.zstd.level" Int = "3", Between(-131_072, 22), ["compression.zstd.level" Same];
        "The level where `compression.type` is zstd.";
    "delete.retention.ms" Long = "86400000", AtLeast(0), ["log.cleaner.delete.retention.ms" Same];
        "How long a compacted topic keeps the tombstone of a deleted key, so that readers who started at the beginning see it.";
    "file.delete.delay.ms" Long = "60000", AtLeast(0), ["log.segment.delete.delay.ms" Same];
        "How long a file that is no longer needed stays on disk under another name.";
    "flush.messages" Long = "9223372036854775807", AtLeast(1), ["log.flush.interval.messages" Same];
        "After this many records the log is synced to disk. Durability is better left to replication.";
    "flush.ms" Long = "9223372036854775807", AtLeast(0), ["log.flush.interval.ms" Same, "log.flush.scheduler.interval.ms" Same];
        "After this time what was written is synced to disk. Durability is better left to replication.";
    "follower.replication.throttled.replicas" List = "", Any, [];
        "Followers whose replication is throttled, as `partition:broker` or `*`.";
    "index.interval.bytes" Int = "4096", AtLeast(0), ["log.index.interval.bytes" Same];
        "An entry is added to a segment's offset index after this many bytes.";
    "leader.replication.throttled.replicas" List = "", Any, [];
        "Leaders whose replication is throttled, as `partition:broker` or `*`.";
    "local.retention.bytes" Long = "-2", AtLeast(-2), ["log.local.retention.bytes" Same];
        "Bytes that stay local where a topic is tiered; -2 is `retention.bytes`. Tiering is not available here.";
    "local.retention.ms" Long = "-2", AtLeast(-2), ["log.local.retention.ms" Same];
        "Time that records stay local where a topic is tiered; -2 is `retention.ms`. Tiering is not available here.";
    "max.compaction.lag.ms" Long = "9223372036854775807", AtLeast(1), ["log.cleaner.max.compaction.lag.ms" Same];
        "A record becomes eligible for compaction after this time at the latest.";
    "max.message.bytes" Int = "1048588", AtLeast(0), ["message.max.bytes" Same];
        "The largest batch of records that is taken, compressed as it is.";
    "message.downconversion.enable" Boolean = "true", Any, ["log.message.downconversion.enable" Same];
        "Whether batches are converted for consumers that know older formats only. Such consumers are not served here.";
    "message.format.version" String = "3.0-IV1", Any, ["log.message.format.version" Same];
        "Deprecated and without effect: batches are stored in format v2.";
    "message.timestamp.after.max.ms" Long = "9223372036854775807", AtLeast(0), ["log.message.timestamp.after.max.ms" Same];
        "How far a record's timestamp may be ahead of the broker's clock. Without effect for LogAppendTime.";
    "message.timestamp.before.max.ms" Long = "9223372036854775807", AtLeast(0), ["log.message.timestamp.before.max.ms" Same];
        "How far a record's timestamp may be behind the broker's clock. Without effect for LogAppendTime.";
    "message.timestamp.difference.max.ms" Long = "9223372036854775807", AtLeast(0), ["log.message.timestamp.difference.max.ms" Same];
        "Deprecated: both bounds of a record's timestamp, where they are not set themselves.";
    "message.timestamp.type" String = "CreateTime", Words(&["CreateTime", "LogAppendTime"]), ["log.message.timestamp.type" Same];
        "Whether a record's timestamp is the producer's or that of its append.";
    "min.cleanable.dirty.ratio" Double = "0.5", Between(0, 1), ["log.cleaner.min.cleanable.ratio" Same];
        "A log is compacted once this share of it is uncompacted.";
    "min.compaction.lag.ms" Long = "0", AtLeast(0), ["log.cleaner.min.compaction.lag.ms" Same];
        "A record stays uncompacted for this time at least.";
    "min.insync.replicas" Int = "1", AtLeast(1), ["min.insync.replicas" Same];
        "With acks=all a write needs this many replicas in sync, else it is refused.";
    "preallocate" Boolean = "false", Any, ["log.preallocate" Same];
        "Whether a new segment's blocks are allocated at once.";
    "remote.storage.enable" Boolean = "false", Any, [];
        "Whether the topic is tiered. Tiering is not available here.";
    "retention.bytes" Long = "-1", Any, ["log.retention.bytes" Same];
        "The size a partition may have before its oldest segments are dropped; -1 is no bound.";
    "retention.ms" Long = "604800000", AtLeast(-1), ["log.retention.ms" Same, "log.retention.minutes" Minutes, "log.retention.hours" Hours];
        "How long records are kept at least before their segment is dropped; -1 is for ever.";
    "segment.bytes" Int = "1073741824", AtLeast(14), ["log.segment.bytes" Same];
        "The size of a segment. Retention and compaction work by whole segments.";
    "segment.index.bytes" Int = "10485760", AtLeast(4), ["log.index.size.max.bytes" Same];
        "The size of a segment's offset index; when it is full, a new segment begins.";
    "segment.jitter.ms" Long = "0", AtLeast(0), ["log.roll.jitter.ms" Same, "log.roll.jitter.hours" Hours];
        "A new segment begins up to this much earlier than `segment.ms` says, so that not all begin at once.";
    "segment.ms" Long = "604800000", AtLeast(1), ["log.roll.ms" Same, "log.roll.hours" Hours];
        "A new segment begins after this time even if the last is not full.";
    "unclean.leader.election.enable" Boolean = "false", Any, ["unclean.leader.election.enable" Same];
        "Whether a replica that is not in sync may lead as a last resort, which may lose records.";
}
