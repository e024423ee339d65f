//! What is left after a crash, and what a log makes of it.

use std::fs;

use proptest::prelude::*;

use super::*;

const CLEAN: Recovery = Recovery { clean: true, recovery_point: 0, start_offset: 0 };

fn reopen(dir: &Path, config: TopicConfig, recovery: Recovery) -> Log {
    Log::open(dir, Arc::new(config), recovery, NOW).unwrap()
}

/// Three segments of two batches with two records each, closed in order.
fn closed(dir: &Path) -> TopicConfig {
    let config = TopicConfig { segment_bytes: 2 * batch(2, NOW).len() as u32, ..config() };
    let mut log = open(dir, config.clone());
    for at in 0..6 {
        append(&mut log, &batch(2, NOW + at), (at / 2) as i32);
    }
    log.close().unwrap();
    config
}

const ALL: [(i64, i64); 6] = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)];

fn path(dir: &Path, base: i64, extension: &str) -> std::path::PathBuf {
    dir.join(format!("{base:020}.{extension}"))
}

#[test]
fn a_log_that_was_closed_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let log = reopen(dir.path(), config, CLEAN);
    assert_eq!(batches(&log), ALL);
    assert_eq!((log.end_offset(), log.recovery_point(), log.latest_epoch()), (12, 12, Some(2)));
    assert_eq!(log.offset_for_timestamp(NOW + 3).unwrap().map(|it| it.offset), Some(5));
}

#[test]
fn indexes_that_are_missing_or_wrong_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let before = fs::read(path(dir.path(), 4, "index")).unwrap();
    let times = fs::read(path(dir.path(), 4, "timeindex")).unwrap();
    assert!(!before.is_empty() && !times.is_empty());
    fs::remove_file(path(dir.path(), 4, "index")).unwrap();
    fs::write(path(dir.path(), 8, "timeindex"), [1, 2, 3]).unwrap();
    fs::write(path(dir.path(), 9, "index"), [0; 8]).unwrap();
    let log = reopen(dir.path(), config, CLEAN);
    assert_eq!(batches(&log), ALL);
    assert_eq!(fs::read(path(dir.path(), 4, "index")).unwrap(), before);
    assert_eq!(fs::read(path(dir.path(), 4, "timeindex")).unwrap(), times);
    assert!(!path(dir.path(), 9, "index").exists());
}

#[test]
fn whatever_byte_the_last_segment_is_cut_at_whole_batches_stay() {
    let size = batch(2, NOW).len();
    for cut in 0..2 * size {
        let dir = tempfile::tempdir().unwrap();
        let config = closed(dir.path());
        let file = fs::OpenOptions::new().write(true).open(path(dir.path(), 8, "log")).unwrap();
        file.set_len(cut as u64).unwrap();
        let mut log = reopen(dir.path(), config, Recovery { recovery_point: 8, ..Recovery::default() });
        assert_eq!(batches(&log), &ALL[..4 + cut / size], "cut at {cut}");
        let next = append(&mut log, &batch(1, NOW), 7).base_offset;
        assert_eq!(next, 8 + 2 * (cut / size) as i64);
    }
}

#[test]
fn whatever_byte_is_flipped_the_batches_before_it_stay_and_those_after_it_go() {
    let size = batch(2, NOW).len();
    for at in 0..2 * size {
        let dir = tempfile::tempdir().unwrap();
        let config = closed(dir.path());
        let mut bytes = fs::read(path(dir.path(), 4, "log")).unwrap();
        bytes[at] ^= 0x40;
        fs::write(path(dir.path(), 4, "log"), &bytes).unwrap();
        let log = reopen(dir.path(), config, Recovery::default());
        // The leader epoch is neither in the CRC nor in any order; a base offset may also have become larger.
        if (12..16).contains(&(at % size)) {
            assert_eq!(batches(&log), ALL);
        } else if !(0..8).contains(&(at % size)) {
            assert_eq!(batches(&log), &ALL[..2 + at / size], "flipped {at}");
            assert_eq!(log.segment_count(), 2);
        }
    }
}

#[test]
fn only_segments_from_the_recovery_point_on_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let mut bytes = fs::read(path(dir.path(), 0, "log")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(path(dir.path(), 0, "log"), &bytes).unwrap();
    let log = reopen(dir.path(), config, Recovery { recovery_point: 4, ..Recovery::default() });
    assert_eq!((log.end_offset(), log.segment_count()), (12, 3));
}

#[test]
fn producers_are_known_again_from_the_snapshot_and_what_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let sent = |sequence| {
        let mut builder = BatchBuilder::new(0, NOW, Compression::None).producer(1, 0, sequence);
        builder.push(NOW, None, None, []);
        builder.build().unwrap()
    };
    let mut log = open(dir.path(), TopicConfig { segment_bytes: 3 * sent(0).len() as u32, ..config() });
    for sequence in 0..7 {
        append(&mut log, &sent(sequence), 0);
    }
    drop(log);
    let mut log = open(dir.path(), config());
    let again = append(&mut log, &sent(6), 0);
    assert_eq!((again.duplicate, again.base_offset), (true, 6));
    log.truncate_to(5, NOW).unwrap().remove().unwrap();
    assert!(append(&mut log, &sent(4), 0).duplicate);
    assert!(!append(&mut log, &sent(5), 0).duplicate);
}

#[test]
fn a_start_beyond_what_is_there_begins_the_log_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let log = reopen(dir.path(), config, Recovery { start_offset: 100, ..Recovery::default() });
    assert_eq!((log.start_offset(), log.end_offset(), log.latest_epoch()), (100, 100, None));
}

#[test]
fn a_start_within_the_log_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let log = reopen(dir.path(), config, Recovery { start_offset: 5, ..CLEAN });
    assert_eq!((log.start_offset(), batches(&log)), (5, ALL[2..].to_vec()));
}

#[test]
fn a_compaction_that_was_not_written_to_its_end_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    fs::write(path(dir.path(), 4, "log.swap"), b"half").unwrap();
    fs::write(path(dir.path(), 4, "index.cleaned"), b"half").unwrap();
    fs::write(path(dir.path(), 0, "log.deleted"), b"old").unwrap();
    let log = reopen(dir.path(), config, CLEAN);
    assert_eq!(batches(&log), ALL);
    assert!(!path(dir.path(), 4, "log.swap").exists() && !path(dir.path(), 0, "log.deleted").exists());
}

#[test]
fn a_compaction_that_was_written_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let config = closed(dir.path());
    let mut both = fs::read(path(dir.path(), 0, "log")).unwrap();
    both.drain(..batch(2, NOW).len());
    both.extend(fs::read(path(dir.path(), 4, "log")).unwrap());
    fs::write(path(dir.path(), 0, "log.swap"), both).unwrap();
    let log = reopen(dir.path(), config, CLEAN);
    assert_eq!(batches(&log), &ALL[1..]);
    assert_eq!(log.segment_count(), 2);
    assert!(!path(dir.path(), 0, "log.swap").exists());
}

#[test]
fn the_topics_id_is_read_and_a_broken_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    fs::write(dir.path().join("partition.metadata"), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n")
        .unwrap();
    assert_eq!(reopen(dir.path(), config(), CLEAN).topic_id(), Some(Uuid::from_u128(1)));
    fs::write(dir.path().join("partition.metadata"), "version: 0\n").unwrap();
    let error = Log::open(dir.path(), Arc::new(config()), CLEAN, NOW).unwrap_err();
    assert!(error.to_string().ends_with("partition.metadata: has no topic_id"));
}

/// A file of the partition, and what becomes of it.
fn damage() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, Option<u8>)> {
    any::<(prop::sample::Index, prop::sample::Index, Option<u8>)>()
}

fn do_damage(dir: &Path, which: &[&str], damage: &(prop::sample::Index, prop::sample::Index, Option<u8>)) {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| which.iter().any(|which| it == *which)));
    paths.sort();
    let path = damage.0.get(&paths);
    let mut bytes = fs::read(path).unwrap();
    if !bytes.is_empty() {
        let at = damage.1.index(bytes.len());
        match damage.2 {
            Some(byte) => bytes[at] = byte,
            None => bytes.truncate(at),
        }
        fs::write(path, bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_in_indexes_and_snapshots_costs_a_record_when_a_log_is_recovered(
        damages in proptest::collection::vec(damage(), 1..4)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = closed(dir.path());
        for damage in &damages {
            do_damage(dir.path(), &["index", "timeindex", "snapshot"], damage);
        }
        let log = reopen(dir.path(), config, Recovery::default());
        prop_assert_eq!(batches(&log), ALL);
        prop_assert_eq!(log.offset_for_timestamp(NOW + 3).unwrap().map(|it| it.offset), Some(5));
    }

    #[test]
    fn nothing_on_disk_makes_a_log_panic(clean in any::<bool>(), damages in proptest::collection::vec(damage(), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let config = closed(dir.path());
        for damage in &damages {
            do_damage(dir.path(), &["index", "timeindex", "snapshot", "log"], damage);
        }
        let recovery = Recovery { clean, recovery_point: 4, start_offset: 0 };
        if let Ok(log) = Log::open(dir.path(), Arc::new(config), recovery, NOW) {
            for offset in 0..12 {
                let _ = log.read(offset, i64::MAX, 300, true).map(|slice| slice.read());
                let _ = log.offset_for_timestamp(NOW + offset);
            }
        }
    }
}
