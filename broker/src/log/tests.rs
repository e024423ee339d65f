//! A log as a whole: against a model, after torn writes and flipped bits, and with what a crash leaves.

mod model;
mod recovery;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::records::Compression;

use super::batch::{Batch, BatchBuilder};
use super::*;
use crate::config::topic::TimestampType;

const NOW: i64 = 1_700_000_000_000;

pub(super) fn config() -> TopicConfig {
    TopicConfig { index_interval_bytes: 50, ..TopicConfig::default() }
}

pub(super) fn open(dir: &Path, config: TopicConfig) -> Log {
    Log::open(dir, Arc::new(config), Recovery::default(), NOW).unwrap()
}

/// A batch of `count` records with timestamps from `timestamp` on.
fn batch(count: i64, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(0, timestamp, Compression::None);
    for at in 0..count {
        builder.push(timestamp + at, Some(b"key"), Some(b"value"), []);
    }
    builder.build().unwrap()
}

fn append(log: &mut Log, bytes: &[u8], epoch: i32) -> Appended {
    let config = log.config().clone();
    log.append_as_leader(&Checked::new(bytes, &config, NOW).unwrap(), epoch, NOW).unwrap()
}

fn bytes_of(slice: &Slice) -> Vec<u8> {
    slice.read().unwrap()
}

/// First and last offset of each batch that can be read, from the start on.
pub(super) fn batches(log: &Log) -> Vec<(i64, i64)> {
    let (mut seen, mut from) = (Vec::new(), log.start_offset());
    while from < log.end_offset() {
        let bytes = bytes_of(&log.read(from, i64::MAX, 1000, true).unwrap());
        let mut rest = &bytes[..];
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let (batch, after) = Batch::split(rest).unwrap();
            batch.check_crc().unwrap();
            seen.push((batch.head.base_offset, batch.head.last_offset()));
            from = batch.head.next_offset();
            rest = after;
        }
    }
    seen
}

#[test]
fn what_is_appended_is_read_as_it_came_but_for_offset_and_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    let sent = batch(3, NOW);
    let appended = append(&mut log, &sent, 5);
    assert_eq!((appended.base_offset, appended.last_offset, appended.log_append_time), (0, 2, None));
    append(&mut log, &sent, 5);
    let slice = log.read(4, 6, usize::MAX, true).unwrap();
    assert_eq!(slice.first_offset, 3);
    let bytes = bytes_of(&slice);
    assert_eq!(bytes[..8], 3_i64.to_be_bytes());
    assert_eq!(bytes[12..16], 5_i32.to_be_bytes());
    assert_eq!((&bytes[8..12], &bytes[16..]), (&sent[8..12], &sent[16..]));
}

#[test]
fn a_topic_that_stamps_records_tells_the_time_and_stores_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..config() });
    assert_eq!(append(&mut log, &batch(2, 5), 0).log_append_time, Some(NOW));
    let bytes = bytes_of(&log.read(0, 2, usize::MAX, true).unwrap());
    let (stored, _) = Batch::split(&bytes).unwrap();
    stored.check_crc().unwrap();
    assert_eq!(stored.head.max_timestamp, NOW);
}

#[test]
fn a_read_ends_with_a_whole_batch_before_both_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    for _ in 0..10 {
        append(&mut log, &batch(2, NOW), 0);
    }
    let size = batch(2, NOW).len();
    let len = |from, upto, max, at_least_one| log.read(from, upto, max, at_least_one).unwrap().len / size;
    assert_eq!(len(0, 20, 3 * size + 5, true), 3);
    assert_eq!(len(5, 20, 3 * size, true), 3);
    assert_eq!(len(0, 20, 5, true), 1);
    assert_eq!(len(0, 20, 5, false), 0);
    assert_eq!(len(0, 6, usize::MAX, true), 3);
    assert_eq!(len(0, 7, usize::MAX, true), 3);
    assert_eq!(len(8, 8, usize::MAX, true), 0);
    assert_eq!(len(20, 20, usize::MAX, true), 0);
    assert_eq!(log.read(0, 20, 5, true).unwrap().len % size, 0);
    assert_eq!(log.read(21, 30, 5, true).unwrap_err().response().code(), 1);
}

#[test]
fn a_batch_that_comes_again_is_told_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    let mut builder = BatchBuilder::new(0, NOW, Compression::None).producer(9, 0, 0);
    builder.push(NOW, None, Some(b"once"), []);
    let sent = builder.build().unwrap();
    append(&mut log, &batch(4, NOW), 0);
    assert!(!append(&mut log, &sent, 0).duplicate);
    let again = append(&mut log, &sent, 1);
    assert_eq!((again.duplicate, again.base_offset, log.end_offset()), (true, 4, 5));
}

#[test]
fn a_new_segment_begins_when_the_last_is_full_or_old() {
    let dir = tempfile::tempdir().unwrap();
    let size = batch(1, NOW).len() as u32;
    let mut log = open(dir.path(), TopicConfig { segment_bytes: 3 * size, ..config() });
    for _ in 0..7 {
        append(&mut log, &batch(1, NOW), 0);
    }
    let bases = |log: &Log| log.segments().unwrap().iter().map(|it| it.base_offset).collect::<Vec<_>>();
    assert_eq!(bases(&log), [0, 3, 6]);
    log.set_config(Arc::new(TopicConfig { segment_age_max: Duration::from_millis(10), ..config() }));
    append(&mut log, &batch(1, NOW + 10), 0);
    append(&mut log, &batch(1, NOW + 11), 0);
    assert_eq!(bases(&log), [0, 3, 6, 8]);
    assert!(dir.path().join("00000000000000000008.snapshot").exists());
}

#[test]
fn a_new_segment_begins_when_an_index_is_full_and_even_one_without_places_takes_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), TopicConfig { segment_index_bytes: 4, ..config() });
    for _ in 0..3 {
        append(&mut log, &batch(1, NOW), 0);
    }
    assert_eq!(log.segment_count(), 3);
    assert_eq!(batches(&log), [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn offsets_too_far_from_a_segments_base_go_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    let at = |offset: i64| {
        let mut builder = BatchBuilder::new(offset, NOW, Compression::None).leader_epoch(0);
        builder.push(NOW, Some(b"k"), None, []);
        builder.build().unwrap()
    };
    let far = i64::from(i32::MAX);
    let fetched = [at(0), at(far), at(far + 1), at(3 * far)].concat();
    assert_eq!(log.append_as_follower(&fetched, NOW).unwrap(), Some(0));
    let bases: Vec<_> = log.segments().unwrap().iter().map(|it| it.base_offset).collect();
    assert_eq!(bases, [0, far + 1, 3 * far]);
    assert_eq!(log.read(1, i64::MAX, 1, true).unwrap().first_offset, far);
}

#[test]
fn a_follower_takes_whole_batches_that_go_on_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut leader = open(dir.path(), config());
    for epoch in [1, 1, 4] {
        append(&mut leader, &batch(2, NOW), epoch);
    }
    let fetched = bytes_of(&leader.read(0, 6, usize::MAX, true).unwrap());
    let other = tempfile::tempdir().unwrap();
    let mut follower = open(other.path(), config());
    assert_eq!(follower.append_as_follower(&fetched[..fetched.len() - 1], NOW).unwrap(), Some(0));
    assert_eq!((follower.end_offset(), follower.latest_epoch()), (4, Some(1)));
    assert_eq!(follower.append_as_follower(&fetched, NOW).unwrap_err().response().code(), 1);
    let rest = bytes_of(&leader.read(4, 6, usize::MAX, true).unwrap());
    let mut flipped = rest.clone();
    flipped[40] ^= 1;
    assert_eq!(follower.append_as_follower(&flipped, NOW).unwrap_err().response().code(), 2);
    follower.append_as_follower(&rest, NOW).unwrap();
    assert_eq!(follower.end_offset_for_epoch(2), Some((1, 4)));
    assert_eq!(bytes_of(&follower.read(0, 6, usize::MAX, true).unwrap()), fetched);
}

#[test]
fn an_empty_follower_takes_the_batch_that_its_start_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut leader = open(dir.path(), config());
    append(&mut leader, &batch(4, NOW), 0);
    let fetched = bytes_of(&leader.read(2, 4, usize::MAX, true).unwrap());
    let other = tempfile::tempdir().unwrap();
    let mut follower = open(other.path(), config());
    follower.truncate_fully_and_start_at(2, NOW).unwrap().remove().unwrap();
    follower.append_as_follower(&fetched, NOW).unwrap();
    assert_eq!((follower.start_offset(), follower.end_offset()), (2, 4));
    assert!(follower.read(1, 4, 100, true).is_err());
    assert_eq!(follower.read(2, 4, 100, true).unwrap().first_offset, 0);
}

#[test]
fn offsets_are_found_by_time_in_whatever_segment_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let size = batch(2, NOW).len() as u32;
    let mut log = open(dir.path(), TopicConfig { segment_bytes: 2 * size, ..config() });
    for at in 0..6 {
        append(&mut log, &batch(2, NOW + at * 10), 3);
    }
    let offset = |log: &Log, at| log.offset_for_timestamp(at).unwrap().map(|it| (it.timestamp, it.offset));
    assert_eq!(offset(&log, 0), Some((NOW, 0)));
    assert_eq!(offset(&log, NOW + 1), Some((NOW + 1, 1)));
    assert_eq!(offset(&log, NOW + 22), Some((NOW + 30, 6)));
    assert_eq!(offset(&log, NOW + 51), Some((NOW + 51, 11)));
    assert_eq!(offset(&log, NOW + 52), None);
    assert_eq!(log.newest_record().unwrap().map(|it| (it.offset, it.leader_epoch)), Some((11, 3)));
    log.advance_start(5).unwrap();
    assert_eq!(offset(&log, 0), Some((NOW + 21, 5)));
}

#[test]
fn a_batch_is_cut_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    for epoch in [0, 1, 2] {
        append(&mut log, &batch(3, NOW), epoch);
    }
    log.truncate_to(7, NOW).unwrap().remove().unwrap();
    assert_eq!((log.end_offset(), log.latest_epoch()), (6, Some(1)));
    assert_eq!(append(&mut log, &batch(1, NOW), 5).base_offset, 6);
    assert_eq!(batches(&log), [(0, 2), (3, 5), (6, 6)]);
}

#[test]
fn an_epoch_without_records_is_forgotten_when_the_log_is_cut_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    append(&mut log, &batch(3, NOW), 0);
    log.become_leader(4).unwrap();
    assert_eq!(log.latest_epoch(), Some(4));
    log.truncate_to(3, NOW).unwrap().remove().unwrap();
    assert_eq!((log.end_offset(), log.latest_epoch()), (3, Some(0)));
}

#[test]
fn retention_removes_files_after_their_time_and_moves_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let size = batch(1, NOW).len() as u32;
    let retention = Some(Duration::from_secs(1));
    let mut log = open(dir.path(), TopicConfig { segment_bytes: size, retention, ..config() });
    for at in 0..4 {
        append(&mut log, &batch(1, NOW + at * 1000), 0);
    }
    let held = log.read(0, 1, 1000, true).unwrap();
    let discarded = log.apply_retention(4, NOW + 3000).unwrap();
    assert_eq!((log.start_offset(), log.segment_count()), (2, 2));
    assert!(dir.path().join("00000000000000000000.log.deleted").exists());
    discarded.remove().unwrap();
    assert_eq!(bytes_of(&held).len(), held.len, "a reader goes on with a removed file");
    let left =
        std::fs::read_dir(dir.path()).unwrap().filter_map(|it| it.unwrap().file_name().into_string().ok());
    assert!(left.into_iter().all(|name| !name.ends_with(".deleted")));
    log.apply_retention(4, NOW + 30_000).unwrap().remove().unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.size()), (4, 4, 0));
}

#[test]
fn a_deleted_log_is_renamed_and_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("t-0");
    std::fs::create_dir(&partition).unwrap();
    let mut log = open(&partition, config());
    append(&mut log, &batch(1, NOW), 0);
    let renamed = log.delete(Uuid::nil()).unwrap();
    assert!(renamed.ends_with("t-0.00000000000000000000000000000000-delete") && !partition.exists());
    let bytes = batch(1, NOW);
    let checked = Checked::new(&bytes, &config(), NOW).unwrap();
    let refused = log.append_as_leader(&checked, 0, NOW).unwrap_err();
    assert_eq!(refused.response().code(), 56);
    remove_dir(&renamed).unwrap();
    remove_dir(&renamed).unwrap();
}

#[test]
fn after_a_failed_write_a_log_takes_nothing_more_and_what_was_there_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    append(&mut log, &batch(2, NOW), 0);
    log.active_mut().break_writes();
    let bytes = batch(1, NOW);
    let checked = Checked::new(&bytes, &config(), NOW).unwrap();
    let error = log.append_as_leader(&checked, 0, NOW).unwrap_err();
    assert!(matches!(error, AppendError::Disk(Error::Io { action: "write", .. })));
    let error = log.append_as_leader(&checked, 0, NOW).unwrap_err();
    assert!(matches!(error, AppendError::Disk(Error::Failed { .. })));
    assert!(log.flush().is_err() && log.close().is_err());
    assert_eq!((log.end_offset(), batches(&log)), (2, vec![(0, 1)]));
}

#[test]
fn blocks_that_were_allocated_ahead_do_not_count_and_are_given_back() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), TopicConfig { preallocate: true, segment_bytes: 1 << 20, ..config() });
    append(&mut log, &batch(1, NOW), 0);
    let file = || std::fs::metadata(dir.path().join("00000000000000000000.log")).unwrap();
    assert_eq!(file().len(), batch(1, NOW).len() as u64);
    assert!(file().blocks() * 512 >= 1 << 20);
    log.roll(NOW).unwrap();
    assert!(file().blocks() * 512 < 1 << 16);
}

#[test]
fn after_so_many_records_or_so_long_the_log_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Some(Duration::from_millis(100));
    let mut log = open(dir.path(), TopicConfig { flush_messages: 5, flush_interval: interval, ..config() });
    append(&mut log, &batch(4, NOW), 0);
    assert_eq!(log.recovery_point(), 0);
    assert!(!log.is_flush_due(NOW + 99) && log.is_flush_due(NOW + 100));
    append(&mut log, &batch(1, NOW), 0);
    assert_eq!(log.recovery_point(), 5);
    assert!(!log.is_flush_due(NOW + 100));
    append(&mut log, &batch(1, NOW), 0);
    let flush = log.unflushed(true).unwrap();
    append(&mut log, &batch(1, NOW), 0);
    flush.run().unwrap();
    log.flushed(&flush, NOW + 100);
    assert_eq!(log.recovery_point(), 6);
}

#[test]
fn a_sync_of_what_has_been_cut_off_meanwhile_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    append(&mut log, &batch(4, NOW), 0);
    let flush = log.unflushed(true).unwrap();
    log.truncate_to(0, NOW).unwrap().remove().unwrap();
    append(&mut log, &batch(4, NOW), 1);
    flush.run().unwrap();
    log.flushed(&flush, NOW);
    assert_eq!(log.recovery_point(), 0);
}

#[test]
fn a_segment_that_is_closed_after_its_sync_is_synced_again_for_its_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), config());
    append(&mut log, &batch(1, NOW), 0);
    log.flush().unwrap();
    assert!(log.unflushed(true).is_none());
    log.roll(NOW).unwrap();
    let flush = log.unflushed(false).unwrap();
    flush.run().unwrap();
    log.flushed(&flush, NOW);
    assert_eq!(log.recovery_point(), 1);
    assert!(log.unflushed(true).is_none());
}
