//! What a producer sent, checked before any lock is taken: one batch of format v2 whose records keep the topic's
//! rules. Kafka's `LogValidator`, and the checks of `ProduceRequest` and `UnifiedLog` before it.

use std::borrow::Cow;
use std::time::Duration;

use kafka_protocol::records::Compression;

use super::batch::{Batch, BatchBuilder, BatchHead, Flaw, HEAD_BYTES, NONE, Record, Records};
use super::error::Refusal;
use crate::config::topic::{TimestampType, TopicConfig};

/// A batch that may be appended as it is, but for what its leader stamps on it.
#[derive(Debug, Clone)]
pub struct Checked<'a> {
    pub(super) head: BatchHead,
    pub(super) body: Cow<'a, [u8]>,
    pub(super) origin: Origin,
    /// Whether the CRC must be made anew.
    pub(super) stale_crc: bool,
}

/// Who made a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "AppendOrigin")]
pub enum Origin {
    /// A producer: its sequence numbers count.
    Producer,
    /// This broker's coordinator of groups.
    Coordinator,
}

impl<'a> Checked<'a> {
    /// Checks what a produce request holds for one partition. An uncompressed batch is not copied, nor is a
    /// compressed one unless the topic wants another codec or the producer numbered its records wrongly.
    ///
    /// # Errors
    /// What is wrong, the first thing that is.
    #[doc(alias = "LogValidator.validateMessagesAndAssignOffsets")]
    pub fn new(bytes: &'a [u8], config: &TopicConfig, now_ms: i64) -> Result<Self, Refusal> {
        let batch = only_batch(bytes)?;
        if batch.head.size() > config.message_bytes_max as usize {
            return Err(Refusal::TooLarge {
                size: batch.head.size(),
                max: config.message_bytes_max as usize,
            });
        }
        batch.check_crc()?;
        check_head(&batch.head)?;
        let records = batch.records().map_err(unreadable)?;
        let bounds = TimestampBounds::new(config, now_ms);
        let seen = check_records(&records, config.cleanup_policy.compact, bounds)?;
        let codec = batch.head.attributes.compression()?;
        let checked = match config.compression {
            Some(wanted) if wanted != codec => rebuilt(&batch.head, &records, wanted, config)?,
            _ if !seen.numbered => rebuilt(&batch.head, &records, codec, config)?,
            _ => Self::borrowed(&batch, seen.max_timestamp),
        };
        if checked.size() > config.segment_bytes as usize {
            return Err(Refusal::BeyondSegment { size: checked.size(), max: config.segment_bytes as usize });
        }
        Ok(checked)
    }

    fn borrowed(batch: &Batch<'a>, max_timestamp: i64) -> Self {
        let stale_crc = batch.head.max_timestamp != max_timestamp;
        let head = BatchHead { max_timestamp, ..batch.head };
        Self { head, body: Cow::Borrowed(batch.body()), origin: Origin::Producer, stale_crc }
    }

    /// Takes a batch that this broker has built itself, for its own topics.
    ///
    /// # Errors
    /// It is not one whole batch.
    pub fn built_here(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let batch = only_batch(bytes)?;
        let body = Cow::Borrowed(batch.body());
        Ok(Self { head: batch.head, body, origin: Origin::Coordinator, stale_crc: false })
    }

    /// Bytes it takes in the log.
    pub fn size(&self) -> usize {
        self.head.size()
    }

    /// How many offsets it takes.
    pub fn count(&self) -> i64 {
        i64::from(self.head.last_offset_delta) + 1
    }

    /// As it will stand in the log: offset, leader epoch, and the append's time where the topic wants that.
    pub(super) fn stamped(&self, base_offset: i64, leader_epoch: i32, append_time: Option<i64>) -> BatchHead {
        let mut head = BatchHead { base_offset, leader_epoch, ..self.head };
        if let Some(now_ms) = append_time {
            head.attributes = head.attributes.with_log_append_time();
            head.max_timestamp = now_ms;
        }
        if self.stale_crc || append_time.is_some() {
            head.crc = head.crc_with(&self.body);
        }
        head
    }
}

/// Kafka answers a format that is too old with INVALID_RECORD, one that is none at all with CORRUPT_MESSAGE.
fn only_batch(bytes: &[u8]) -> Result<Batch<'_>, Refusal> {
    match Batch::split(bytes) {
        Ok((batch, [])) => Ok(batch),
        Ok(_) => Err(Refusal::InvalidBatch { what: "there is more than one batch for the partition" }),
        Err(Flaw::Magic(0 | 1)) => Err(Refusal::InvalidBatch { what: "only batches of format v2 are taken" }),
        Err(Flaw::Truncated { .. }) => Err(Refusal::InvalidBatch { what: "there is no whole batch" }),
        Err(Flaw::Offsets { .. }) => Err(Refusal::InvalidBatch { what: "offsets or count cannot be" }),
        Err(flaw) => Err(flaw.into()),
    }
}

fn check_head(head: &BatchHead) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::InvalidBatch { what });
    if head.base_offset != 0 {
        return refuse("the base offset is not 0");
    }
    if head.count == 0 || head.count - 1 != head.last_offset_delta {
        return refuse("the count of records and the last offset contradict each other");
    }
    if head.attributes.is_control() {
        return refuse("clients may not write control records");
    }
    if head.attributes.has_delete_horizon() {
        return refuse("clients may not set a delete horizon");
    }
    if head.has_producer() && head.base_sequence < 0 {
        return refuse("the sequence number is negative");
    }
    if head.attributes.is_transactional() {
        return Err(Refusal::NoTransaction);
    }
    if head.attributes.is_log_append_time() {
        return Err(Refusal::InvalidTimestamp { index: 0, timestamp: head.max_timestamp, from: 0, upto: 0 });
    }
    Ok(())
}

/// The CRC was right, so this is what the producer made: asking it to send the same again would be in vain.
fn unreadable(flaw: Flaw) -> Refusal {
    match flaw {
        Flaw::Codec(codec) => Refusal::UnknownCodec(codec),
        Flaw::Bomb => Refusal::InvalidBatch { what: "the records are too large when unpacked" },
        Flaw::Record { index, what } => Refusal::InvalidRecord { index, what },
        _ => Refusal::InvalidBatch { what: "the records cannot be unpacked" },
    }
}

struct Seen {
    max_timestamp: i64,
    /// Whether the records have offsets 0, 1, 2, ..
    numbered: bool,
}

fn check_records(
    records: &Records<'_>,
    keys_needed: bool,
    bounds: Option<TimestampBounds>,
) -> Result<Seen, Refusal> {
    let mut seen = Seen { max_timestamp: NONE, numbered: true };
    for (index, record) in (0..).zip(records) {
        let record: Record<'_> = record.map_err(unreadable)?;
        if keys_needed && record.key.is_none() {
            return Err(Refusal::InvalidRecord {
                index,
                what: "a compacted topic takes no record without a key",
            });
        }
        if let Some(bounds) = bounds {
            bounds.check(index, record.timestamp)?;
        }
        seen.max_timestamp = seen.max_timestamp.max(record.timestamp);
        seen.numbered &= record.offset_delta == index;
    }
    Ok(seen)
}

/// Within what a record's timestamp must be.
#[derive(Debug, Clone, Copy)]
struct TimestampBounds {
    from: i64,
    upto: i64,
}

impl TimestampBounds {
    fn new(config: &TopicConfig, now_ms: i64) -> Option<Self> {
        let millis = |bound: Option<Duration>| {
            bound.map_or(i64::MAX, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX))
        };
        (config.timestamp_type == TimestampType::CreateTime).then(|| Self {
            from: now_ms.saturating_sub(millis(config.timestamp_before_max)),
            upto: now_ms.saturating_add(millis(config.timestamp_after_max)),
        })
    }

    fn check(self, index: i32, timestamp: i64) -> Result<(), Refusal> {
        if timestamp == NONE || (self.from..=self.upto).contains(&timestamp) {
            return Ok(());
        }
        Err(Refusal::InvalidTimestamp { index, timestamp, from: self.from, upto: self.upto })
    }
}

/// The same records, numbered from 0 and packed with `codec`.
fn rebuilt<'a>(
    head: &BatchHead,
    records: &Records<'_>,
    codec: Compression,
    config: &TopicConfig,
) -> Result<Checked<'a>, Refusal> {
    let mut builder = BatchBuilder::like(head).compression(codec);
    for record in records {
        let record = record.map_err(unreadable)?;
        builder.push(record.timestamp, record.key, record.value, record.headers());
    }
    let bytes = builder.build()?;
    let (batch, _) = Batch::split(&bytes)?;
    let max = config.message_bytes_max as usize;
    if batch.head.size() > max {
        return Err(Refusal::TooLarge { size: batch.head.size(), max });
    }
    let body = Cow::Owned(bytes.get(HEAD_BYTES..).unwrap_or_default().to_vec());
    Ok(Checked { head: batch.head, body, origin: Origin::Producer, stale_crc: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::{CleanupPolicy, TopicConfig};

    const NOW: i64 = 1_000_000;

    fn config() -> TopicConfig {
        TopicConfig::default()
    }

    fn batch(codec: Compression, keys: &[Option<&[u8]>]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0, NOW, codec);
        for (at, key) in (0..).zip(keys) {
            builder.push(NOW + at, *key, Some(b"value"), []);
        }
        builder.build().unwrap().to_vec()
    }

    fn error(bytes: &[u8], config: &TopicConfig) -> i16 {
        Checked::new(bytes, config, NOW).unwrap_err().response().code()
    }

    #[test]
    fn a_good_batch_is_taken_without_a_copy_whatever_its_codec() {
        for codec in [Compression::None, Compression::Gzip, Compression::Lz4] {
            let bytes = batch(codec, &[None, Some(b"k")]);
            let checked = Checked::new(&bytes, &config(), NOW).unwrap();
            assert!(matches!(checked.body, Cow::Borrowed(_)) && !checked.stale_crc);
            assert_eq!((checked.size(), checked.count()), (bytes.len(), 2));
        }
    }

    #[test]
    fn each_fault_has_the_error_that_kafka_gives() {
        let good = batch(Compression::None, &[None]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(error(&with(16, 1), &config()), 87, "an old format");
        assert_eq!(error(&with(16, 9), &config()), 2, "no format at all");
        assert_eq!(error(&with(good.len() - 1, 1), &config()), 2, "a flipped bit");
        assert_eq!(error(&good[..good.len() - 1], &config()), 87, "not whole");
        assert_eq!(error(&[], &config()), 87, "nothing");
        assert_eq!(error(&[good.clone(), good.clone()].concat(), &config()), 87, "two batches");
        assert_eq!(error(&with(7, 1), &config()), 87, "a base offset");
    }

    #[test]
    fn a_batch_larger_than_the_topic_allows_is_refused() {
        let bytes = batch(Compression::None, &[None]);
        let small = TopicConfig { message_bytes_max: 10, ..config() };
        assert_eq!(error(&bytes, &small), 10);
        let small = TopicConfig { segment_bytes: 14, ..config() };
        assert_eq!(error(&bytes, &small), 18);
    }

    #[test]
    fn a_compacted_topic_takes_no_record_without_a_key() {
        let policy = CleanupPolicy { delete: false, compact: true };
        let compacted = TopicConfig { cleanup_policy: policy, ..config() };
        for codec in [Compression::None, Compression::Zstd] {
            let refusal = Checked::new(&batch(codec, &[Some(b"k"), None]), &compacted, NOW).unwrap_err();
            assert_eq!((refusal.response().code(), refusal.record_index()), (87, Some(1)));
        }
        assert!(Checked::new(&batch(Compression::None, &[Some(b"k")]), &compacted, NOW).is_ok());
    }

    #[test]
    fn timestamps_out_of_bounds_are_refused_unless_the_log_stamps_them() {
        let bytes = batch(Compression::Gzip, &[None, None]);
        let tight = TopicConfig { timestamp_after_max: Some(Duration::ZERO), ..config() };
        assert_eq!(error(&bytes, &tight), 32);
        let stamped = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..tight };
        assert!(Checked::new(&bytes, &stamped, NOW).is_ok());
    }

    #[test]
    fn a_topic_with_its_own_codec_gets_its_batches_packed_with_it() {
        let wanted = TopicConfig { compression: Some(Compression::Zstd), ..config() };
        let bytes = batch(Compression::Gzip, &[None, Some(b"k")]);
        let checked = Checked::new(&bytes, &wanted, NOW).unwrap();
        assert_eq!(checked.head.attributes.compression(), Ok(Compression::Zstd));
        let stored = [&checked.head.to_bytes()[..], &checked.body].concat();
        let (batch, _) = Batch::split(&stored).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.records().unwrap().iter().filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn stamping_changes_what_a_leader_decides_and_nothing_else() {
        let bytes = batch(Compression::None, &[Some(b"k")]);
        let checked = Checked::new(&bytes, &config(), NOW).unwrap();
        let head = checked.stamped(77, 5, None);
        assert_eq!((head.base_offset, head.leader_epoch, head.crc), (77, 5, checked.head.crc));
        let head = checked.stamped(77, 5, Some(NOW + 9));
        let stored = [&head.to_bytes()[..], &checked.body].concat();
        let (batch, _) = Batch::split(&stored).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.records().unwrap().iter().next().unwrap().unwrap().timestamp, NOW + 9);
    }
}
