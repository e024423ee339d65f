use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::records::Compression;
use proptest::prelude::*;

use super::*;
use crate::config::topic::CleanupPolicy;
use crate::log::batch::{Batch, BatchBuilder};
use crate::log::names::{FileKind, FileName, Stage};
use crate::log::{Checked, Recovery};

const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 3600 * 1000;

fn config() -> TopicConfig {
    TopicConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        index_interval_bytes: 100,
        segment_bytes: 600,
        ..TopicConfig::default()
    }
}

fn open(dir: &Path) -> Log {
    Log::open(dir, Arc::new(config()), Recovery::default(), NOW).unwrap()
}

type Pair<'a> = (&'a str, Option<&'a str>);

fn append(log: &mut Log, records: &[Pair<'_>], codec: Compression) {
    append_of(log, BatchBuilder::new(0, NOW, codec), records);
}

fn append_of(log: &mut Log, mut builder: BatchBuilder, records: &[Pair<'_>]) {
    for (key, value) in records {
        builder.push(NOW, Some(key.as_bytes()), value.map(str::as_bytes), []);
    }
    let bytes = builder.build().unwrap();
    let config = log.config().clone();
    log.append_as_leader(&Checked::new(&bytes, &config, NOW).unwrap(), 1, NOW).unwrap();
}

/// One whole round, and where it ended.
fn round(log: &mut Log, checkpoint: Option<i64>, keys: &mut KeyMap, now_ms: i64) -> i64 {
    let plan = log.plan_compaction(checkpoint, log.end_offset(), now_ms).unwrap();
    let cleaned = log.compaction(plan).run(keys, now_ms, |_| ControlFlow::Continue(())).unwrap().unwrap();
    let (discarded, upto) = log.install(cleaned).unwrap();
    discarded.remove().unwrap();
    upto.unwrap()
}

fn keys() -> KeyMap {
    KeyMap::new(1 << 20)
}

/// Offset, key and value of each record.
fn records(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let (mut seen, mut from) = (Vec::new(), log.start_offset());
    while from < log.end_offset() {
        let slice = log.read(from, i64::MAX, 1, true).unwrap();
        let bytes = slice.read().unwrap();
        let (batch, _) = Batch::split(&bytes).unwrap();
        batch.check_crc().unwrap();
        for record in &batch.records().unwrap() {
            let record = record.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            seen.push((record.offset, text(record.key.unwrap()), record.value.map(text)));
        }
        from = batch.head.next_offset();
    }
    seen
}

fn names(log: &Log) -> Vec<(i64, String)> {
    records(log)
        .into_iter()
        .map(|(offset, key, value)| (offset, format!("{key}={}", value.unwrap_or_default())))
        .collect()
}

#[test]
fn the_newest_value_of_each_key_stays_where_it_was() {
    for codec in [Compression::None, Compression::Gzip] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        append(&mut log, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))], codec);
        append(&mut log, &[("c", Some("1")), ("b", Some("2"))], codec);
        log.roll(NOW).unwrap();
        append(&mut log, &[("a", Some("3"))], codec);
        assert_eq!(round(&mut log, None, &mut keys(), NOW), 5);
        let expected =
            [(2, "a=2".to_owned()), (3, "c=1".to_owned()), (4, "b=2".to_owned()), (5, "a=3".to_owned())];
        assert_eq!(names(&log), expected, "the last segment is not touched");
        log.close().unwrap();
        assert_eq!(names(&open(dir.path())), expected);
    }
}

#[test]
fn a_tombstone_stays_its_time_and_then_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", Some("1")), ("b", Some("1"))], Compression::None);
    append(&mut log, &[("a", None)], Compression::None);
    append(&mut log, &[("z", Some("1"))], Compression::None);
    log.roll(NOW).unwrap();
    let clean = round(&mut log, None, &mut keys(), NOW);
    assert_eq!(
        records(&log),
        [(1, "b".into(), Some("1".into())), (2, "a".into(), None), (3, "z".into(), Some("1".into()))]
    );
    round(&mut log, Some(clean), &mut keys(), NOW + DAY - 1);
    assert_eq!(records(&log).len(), 3);
    round(&mut log, Some(clean), &mut keys(), NOW + DAY);
    assert_eq!(names(&log), [(1, "b=1".to_owned()), (3, "z=1".to_owned())]);
}

#[test]
fn timestamps_survive_a_delete_horizon() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", None), ("b", Some("1"))], Compression::None);
    log.roll(NOW).unwrap();
    round(&mut log, None, &mut keys(), NOW);
    assert_eq!(log.offset_for_timestamp(NOW).unwrap().map(|it| (it.timestamp, it.offset)), Some((NOW, 0)));
}

#[test]
fn the_last_batch_of_a_producer_stays_without_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let of = |sequence| BatchBuilder::new(0, NOW, Compression::None).producer(5, 0, sequence);
    append_of(&mut log, of(0), &[("a", Some("1"))]);
    append_of(&mut log, of(1), &[("a", Some("2"))]);
    append(&mut log, &[("a", Some("3"))], Compression::None);
    log.roll(NOW).unwrap();
    round(&mut log, None, &mut keys(), NOW);
    assert_eq!(names(&log), [(2, "a=3".to_owned())]);
    let slice = log.read(0, i64::MAX, 1, true).unwrap();
    assert_eq!(slice.first_offset, 1, "the empty batch");
    for snapshot in std::fs::read_dir(dir.path()).unwrap().filter_map(|it| it.ok()) {
        if snapshot.path().extension().is_some_and(|it| it == "snapshot") {
            std::fs::remove_file(snapshot.path()).unwrap();
        }
    }
    let mut log = open(dir.path());
    append_of(&mut log, of(2), &[("a", Some("4"))]);
    assert_eq!(log.end_offset(), 4);
}

#[test]
fn the_last_offset_of_a_round_is_not_lost_with_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", None)], Compression::None);
    log.roll(NOW).unwrap();
    let clean = round(&mut log, None, &mut keys(), NOW);
    round(&mut log, Some(clean), &mut keys(), NOW + DAY);
    assert_eq!(records(&log), []);
    assert_eq!(log.read(0, i64::MAX, 1, true).unwrap().first_offset, 0);
}

#[test]
fn small_segments_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for at in 0..40 {
        append(&mut log, &[(&format!("key {}", at % 3), Some("value"))], Compression::None);
    }
    let before = log.segment_count();
    let clean = round(&mut log, None, &mut keys(), NOW);
    round(&mut log, Some(clean), &mut keys(), NOW);
    assert!(log.segment_count() <= 3 && before > 5, "{before} became {}", log.segment_count());
}

#[test]
fn a_map_that_is_too_small_for_all_keys_takes_several_rounds_and_comes_to_the_same() {
    let fill = |log: &mut Log| {
        for at in 0..60 {
            append(log, &[(&format!("{}", at * 7 % 20), Some(&format!("{at}")))], Compression::None);
        }
        log.roll(NOW).unwrap();
    };
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut at_once, mut in_rounds) = (open(one.path()), open(many.path()));
    fill(&mut at_once);
    fill(&mut in_rounds);
    round(&mut at_once, None, &mut keys(), NOW);
    let (mut small, mut clean, mut rounds) = (KeyMap::new(5 * 48), 0, 0);
    while clean < 60 {
        let upto = round(&mut in_rounds, Some(clean), &mut small, NOW);
        assert!(upto > clean, "a round gets on");
        (clean, rounds) = (upto, rounds + 1);
    }
    assert!(rounds > 5);
    assert_eq!(names(&in_rounds), names(&at_once));
}

#[test]
fn what_is_appended_meanwhile_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", Some("1")), ("a", Some("2"))], Compression::None);
    log.roll(NOW).unwrap();
    let job = log.compaction(log.plan_compaction(None, 2, NOW).unwrap());
    append(&mut log, &[("b", Some("1"))], Compression::None);
    let cleaned = job.run(&mut keys(), NOW, |_| ControlFlow::Continue(())).unwrap().unwrap();
    append(&mut log, &[("c", Some("1"))], Compression::None);
    log.install(cleaned).unwrap().0.remove().unwrap();
    assert_eq!(names(&log), [(1, "a=2".to_owned()), (2, "b=1".to_owned()), (3, "c=1".to_owned())]);
}

#[test]
fn a_round_on_segments_that_are_gone_meanwhile_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", Some("1")), ("a", Some("2"))], Compression::None);
    log.roll(NOW).unwrap();
    append(&mut log, &[("b", Some("1"))], Compression::None);
    let job = log.compaction(log.plan_compaction(None, 3, NOW).unwrap());
    let cleaned = job.run(&mut keys(), NOW, |_| ControlFlow::Continue(())).unwrap().unwrap();
    log.remove_oldest(1).unwrap().remove().unwrap();
    assert_eq!(log.install(cleaned).unwrap().1, None);
    assert_eq!(names(&log), [(2, "b=1".to_owned())]);
    let left =
        std::fs::read_dir(dir.path()).unwrap().filter_map(|it| it.unwrap().file_name().into_string().ok());
    assert!(left.into_iter().all(|name| !name.ends_with(".cleaned") && !name.ends_with(".deleted")));
}

#[test]
fn a_round_that_is_ended_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", Some("1"))], Compression::None);
    append(&mut log, &[("a", Some("2"))], Compression::None);
    log.roll(NOW).unwrap();
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let before = files();
    for last in 0..4 {
        let job = log.compaction(log.plan_compaction(None, 2, NOW).unwrap());
        let mut asked = 0;
        let ended = job.run(&mut keys(), NOW, |_| {
            asked += 1;
            if asked > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(ended.unwrap().is_none());
        assert_eq!(files(), before);
    }
}

#[test]
fn a_flipped_bit_ends_the_round_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[("a", Some("1"))], Compression::None);
    log.roll(NOW).unwrap();
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[66] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let job = log.compaction(log.plan_compaction(None, 1, NOW).unwrap());
    let error = job.run(&mut keys(), NOW, |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().ends_with("00000000000000000000.log, byte 0"));
}

/// The renames of an install, in their order.
fn renames(dir: &Path, cleaned: &Cleaned) -> Vec<(PathBuf, PathBuf)> {
    let mut all = Vec::new();
    for group in &cleaned.groups {
        let mut step = |offset, from, to| {
            for kind in FileKind::OF_SEGMENT {
                let name = |stage| FileName { offset, kind, stage }.in_dir(dir);
                all.push((name(from), name(to)));
            }
        };
        let first = group.sources[0].base_offset;
        step(first, Stage::Cleaned, Stage::Swap);
        for source in &group.sources {
            step(source.base_offset, Stage::Live, Stage::Deleted);
        }
        step(first, Stage::Swap, Stage::Live);
    }
    all
}

#[test]
fn a_crash_at_any_point_of_an_install_leaves_the_old_or_the_new() {
    let mut crashes = 0;
    for done in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        for at in 0..30 {
            append(&mut log, &[(&format!("key {}", at % 4), Some(&format!("{at}")))], Compression::None);
        }
        log.roll(NOW).unwrap();
        log.close().unwrap();
        let before = records(&log);
        let job = log.compaction(log.plan_compaction(None, 30, NOW).unwrap());
        let cleaned = job.run(&mut keys(), NOW, |_| ControlFlow::Continue(())).unwrap().unwrap();
        let renames = renames(dir.path(), &cleaned);
        if done > renames.len() {
            break;
        }
        for (from, to) in &renames[..done] {
            let _ = std::fs::rename(from, to); // Not every kind of file is there.
        }
        drop(log);
        let log = open(dir.path());
        let after = records(&log);
        assert!(after.iter().all(|it| before.contains(it)), "after {done} renames");
        assert_eq!(state(&after), state(&before), "after {done} renames");
        assert_eq!(log.end_offset(), 30);
        crashes += 1;
    }
    assert!(crashes > 20);
}

/// Segments of 10 records and 100 bytes, each 1000 ms later than the one before.
fn facts(count: i64) -> Vec<SegmentFacts> {
    (0..count)
        .map(|at| SegmentFacts {
            base_offset: at * 10,
            next_offset: at * 10 + 10,
            bytes: 100,
            largest_timestamp: at * 1000 + 999,
        })
        .collect()
}

#[test]
fn a_plan_ends_before_the_last_segment_the_high_watermark_and_what_is_too_young() {
    let upto = |config: &TopicConfig, high_watermark| {
        plan(&facts(5), &[], config, 0, None, high_watermark, 4000).upto
    };
    assert_eq!(upto(&config(), 50), 40);
    assert_eq!(upto(&config(), 25), 20);
    let lagging = TopicConfig { compaction_lag_min: Duration::from_millis(2500), ..config() };
    assert_eq!(upto(&lagging, 50), 10);
}

#[test]
fn a_round_is_due_by_what_is_dirty_or_by_its_age() {
    let firsts: Vec<_> = (0..5).map(|at| Some(at * 1000)).collect();
    let of = |config: &TopicConfig, checkpoint| {
        let plan = plan(&facts(5), &firsts, config, 0, checkpoint, 50, 4000);
        (plan.dirty_bytes, plan.is_due(config))
    };
    assert_eq!(of(&config(), None), (400, true));
    assert_eq!(of(&config(), Some(20)), (200, false));
    assert_eq!(of(&config(), Some(10)), (300, true));
    assert_eq!(of(&config(), Some(40)), (0, false));
    assert_eq!(of(&config(), Some(99)), (400, true));
    let lagging = TopicConfig { compaction_lag_max: Some(Duration::from_millis(1500)), ..config() };
    assert_eq!(of(&lagging, Some(20)), (200, true));
    assert_eq!(of(&lagging, Some(30)), (100, false));
}

fn written() -> impl Strategy<Value = Vec<Vec<(u8, Option<u8>)>>> {
    let batch = proptest::collection::vec((0..8_u8, proptest::option::weighted(0.8, any::<u8>())), 1..5);
    proptest::collection::vec(batch, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The law of compaction: who reads the whole log ends with the same values, and every record that is left is
    /// one that was appended, at its offset.
    #[test]
    fn reading_a_compacted_log_comes_to_what_the_whole_log_says(
        batches in written(), small_map in any::<bool>(), later in prop_oneof![Just(0), Just(DAY)], codec in 0..2
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let codec = if codec == 0 { Compression::None } else { Compression::Lz4 };
        for batch in &batches {
            let texts: Vec<_> = batch.iter().map(|(key, value)| (key.to_string(), value.map(|it| it.to_string()))).collect();
            let pairs: Vec<_> = texts.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            append(&mut log, &pairs, codec);
        }
        let before = records(&log);
        let end = log.end_offset();
        let mut map = if small_map { KeyMap::new(3 * 48) } else { keys() };
        let mut clean = Some(0);
        let active = log.segments().unwrap().last().map(|it| it.base_offset);
        while clean < active {
            clean = Some(round(&mut log, clean, &mut map, NOW));
        }
        round(&mut log, clean, &mut map, NOW + later);
        let after = records(&log);
        prop_assert!(after.iter().all(|record| before.contains(record)));
        prop_assert_eq!(state(&after), state(&before));
        prop_assert_eq!(log.end_offset(), end);
        drop(log);
        prop_assert_eq!(records(&open(dir.path())), after);
    }
}

fn state(records: &[(i64, String, Option<String>)]) -> BTreeMap<&str, &str> {
    let mut state = BTreeMap::new();
    for (_, key, value) in records {
        match value {
            Some(value) => state.insert(key.as_str(), value.as_str()),
            None => state.remove(key.as_str()),
        };
    }
    state
}
