use std::path::{Path, PathBuf};
use std::sync::Arc;

use jute::Jute;
use jute::txn::{ErrorTxn, Txn, TxnBody, TxnHeader};

use super::*;
use crate::storage::error::{Error, LogFlaw};
use crate::storage::{OsDisk, SimDisk};
use crate::zab::{Epoch, Trace};

fn dir() -> PathBuf {
    PathBuf::from("/data/version-2")
}

/// A payload of its own for each zxid, some of them longer than a sector.
fn payload(zxid: i64) -> bytes::Bytes {
    let header = TxnHeader { client_id: 0x1234, cxid: 1, zxid, time_ms: 7, txn_type: -1 };
    let mut bytes =
        Txn { header, body: TxnBody::Error(ErrorTxn { err: -101 }), digest: None }.to_bytes().to_vec();
    let filler = usize::try_from(zxid * 37 % 1500).unwrap();
    bytes.extend((0..filler).map(|at| (at % 251) as u8 + 1));
    bytes.into()
}

fn options(dir: &Path) -> LogOptions {
    LogOptions { preallocate_bytes: 16 << 10, ..LogOptions::new(dir) }
}

fn read_all(disk: &SimDisk) -> Result<(Vec<Zxid>, LogEnd)> {
    let mut reader = TxnLogReader::open(Arc::new(disk.clone()), &dir(), Zxid::ZERO)?;
    let mut zxids = Vec::new();
    while let Some(record) = reader.next_record()? {
        assert_eq!(record.payload, payload(record.zxid.0), "the payload of {}", record.zxid);
        zxids.push(record.zxid);
    }
    Ok((zxids, reader.end().clone()))
}

fn open(disk: &SimDisk) -> TxnLog {
    let (_, end) = read_all(disk).unwrap();
    TxnLog::open(Arc::new(disk.clone()), options(&dir()), &end).unwrap()
}

fn append(log: &mut TxnLog, zxids: impl IntoIterator<Item = i64>) {
    for zxid in zxids {
        log.append(Zxid(zxid), &payload(zxid)).unwrap();
    }
}

fn zxids(range: impl IntoIterator<Item = i64>) -> Vec<Zxid> {
    range.into_iter().map(Zxid).collect()
}

fn log_of(range: std::ops::RangeInclusive<i64>) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    append(&mut log, range);
    log.sync().unwrap();
    disk
}

/// The bytes of the only log file, without what was set aside behind them.
fn bytes_of(disk: &SimDisk) -> (PathBuf, Vec<u8>) {
    let path = log_files(disk, &dir()).unwrap().remove(0).path;
    let file = disk.open(&path).unwrap();
    let (_, end) = read_all(disk).unwrap();
    let mut bytes = vec![0; usize::try_from(end.file.unwrap().1).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    (path, bytes)
}

fn disk_with(path: &Path, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create(path).unwrap().write_at(0, bytes).unwrap();
    disk
}

#[test]
fn what_was_synced_is_read_back() {
    let disk = log_of(1..=20);
    assert_eq!(read_all(&disk).unwrap().0, zxids(1..=20));
}

#[test]
fn a_restart_begins_a_new_file_named_after_its_first_txn() {
    let disk = log_of(1..=3);
    let mut log = open(&disk);
    append(&mut log, 4..=6);
    log.sync().unwrap();

    let names: Vec<_> = log_files(&disk, &dir()).unwrap().into_iter().map(|file| file.first).collect();
    assert_eq!(names, zxids([1, 4]));
    assert_eq!(read_all(&disk).unwrap().0, zxids(1..=6));
}

#[test]
fn reading_begins_at_the_zxid_asked_for() {
    let disk = log_of(1..=3);
    let mut log = open(&disk);
    append(&mut log, 4..=6);
    log.sync().unwrap();

    for from in 0..=7 {
        let mut reader = TxnLogReader::open(Arc::new(disk.clone()), &dir(), Zxid(from)).unwrap();
        let mut seen = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            seen.push(record.zxid);
        }
        assert_eq!(seen, zxids(from.max(1)..=6), "from {from}");
    }
}

#[test]
fn a_file_that_ends_anywhere_loses_only_the_records_it_ends_in() {
    let (path, bytes) = bytes_of(&log_of(1..=12));
    let ends = record_ends(&bytes);
    for len in 0..=bytes.len() {
        let complete = ends.iter().filter(|end| **end <= len).count();
        let expected = zxids(1..=i64::try_from(complete).unwrap());

        // The file is cut.
        let disk = disk_with(&path, &bytes[..len]);
        assert_eq!(read_all(&disk).unwrap().0, expected, "cut at {len}");

        // The rest was never written to the room set aside.
        let mut padded = bytes[..len].to_vec();
        padded.resize(bytes.len() + 4096, 0);
        let disk = disk_with(&path, &padded);
        assert_eq!(read_all(&disk).unwrap().0, expected, "zeros from {len} on");

        // Carried on, it is whole again.
        let next = i64::try_from(complete).unwrap() + 1;
        append_one(&disk, next);
        assert_eq!(read_all(&disk).unwrap().0, zxids(1..=next), "carried on at {len}");
    }
}

fn append_one(disk: &SimDisk, zxid: i64) {
    let mut log = open(disk);
    append(&mut log, [zxid]);
    log.sync().unwrap();
}

fn record_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = HEADER_BYTES as usize;
    while at < bytes.len() {
        at += FRAME_BYTES + segment::split_head(&bytes[at..]).1;
        ends.push(at);
    }
    ends
}

#[test]
fn a_flipped_bit_anywhere_is_refused_with_file_and_offset() {
    let (path, bytes) = bytes_of(&log_of(1..=6));
    let ends = record_ends(&bytes);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let disk = disk_with(&path, &[&bytes[..], &[0; 4096]].concat());
            disk.flip(&path, at, 1 << bit);
            let start = ends.iter().rev().find(|end| **end <= at).map_or(16, |end| *end as u64);
            match read_all(&disk) {
                Err(Error::CorruptLog { path: named, offset, .. }) => {
                    assert_eq!(named, path);
                    assert_eq!(offset, if at < 16 { 0 } else { start }, "byte {at}, bit {bit}");
                }
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
    }
}

#[test]
fn sectors_missing_from_the_last_batch_are_a_torn_write_even_with_records_behind_them() {
    let disk = log_of(1..=4);
    let (path, synced) = bytes_of(&disk);
    let mut log = open(&disk);
    drop(log);
    let (_, all) = bytes_of(&log_of(1..=30));
    for sector in synced.len().div_ceil(512)..all.len() / 512 {
        let mut torn = all.clone();
        torn[sector * 512..(sector + 1) * 512].fill(0);
        torn.resize(all.len() + 4096, 0);
        let lost = record_ends(&all).iter().filter(|end| **end <= sector * 512).count();
        let (read, end) = read_all(&disk_with(&path, &torn)).unwrap();
        assert_eq!(read, zxids(1..=i64::try_from(lost).unwrap()));
        assert!(end.torn);
    }
    log = open(&disk);
    assert_eq!(log.last_zxid(), Some(Zxid(4)));
}

#[test]
fn txns_out_of_order_are_refused() {
    let mut bytes = header().to_vec();
    for zxid in [1, 3, 2] {
        frame(&payload(zxid), &mut bytes);
    }
    let disk = disk_with(&dir().join("log.1"), &bytes);
    assert!(matches!(
        read_all(&disk),
        Err(Error::CorruptLog { what: LogFlaw::Order { last: Zxid(3), found: Zxid(2) }, .. })
    ));
}

#[test]
fn truncation_ends_the_log_at_the_zxid_whichever_file_it_is_in() {
    for target in 1..=9 {
        let disk = log_of(1..=3);
        for start in [4, 7] {
            let mut log = open(&disk);
            append(&mut log, start..start + 3);
            log.sync().unwrap();
        }
        let mut log = open(&disk);
        log.truncate_after(Zxid(target)).unwrap();
        assert_eq!(read_all(&disk).unwrap().0, zxids(1..=target));

        append(&mut log, [100]);
        log.sync().unwrap();
        assert_eq!(read_all(&disk).unwrap().0, zxids((1..=target).chain([100])));
    }
}

/// Three files: 1 to 5 of epoch 1, 6 to 8 and 1 to 2 of epoch 2, 3 to 5 of epoch 2.
fn log_of_two_epochs() -> (SimDisk, TxnLog) {
    let disk = SimDisk::new(1);
    let epoch = |epoch: i64, counters: std::ops::RangeInclusive<i64>| counters.map(move |c| epoch << 32 | c);
    for zxids in [
        epoch(1, 1..=5).collect(),
        epoch(1, 6..=8).chain(epoch(2, 1..=2)).collect(),
        epoch(2, 3..=5).collect::<Vec<_>>(),
    ] {
        let mut log = open(&disk);
        append(&mut log, zxids);
        log.sync().unwrap();
    }
    let log = open(&disk);
    (disk, log)
}

fn at(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn trace_of(disk: &SimDisk, zxid: Zxid) -> Trace {
    trace(disk, &dir(), zxid, at(2, 5), Zxid::ZERO, 0).unwrap()
}

#[test]
fn a_learners_last_zxid_is_found_or_where_it_would_stand() {
    let (disk, _) = log_of_two_epochs();
    for found in [at(1, 1), at(1, 5), at(1, 6), at(2, 1), at(2, 5)] {
        assert_eq!(trace_of(&disk, found), Trace::Found, "{found}");
    }
    let fork = Trace::Missing { previous: at(1, 8), next: Some(at(2, 1)) };
    assert_eq!(trace_of(&disk, at(1, 9)), fork);
    assert_eq!(trace_of(&disk, at(2, 0)), fork);
    assert_eq!(trace_of(&disk, at(2, 6)), Trace::Missing { previous: at(2, 5), next: None });
    assert_eq!(trace_of(&disk, at(1, 0)), Trace::Found, "nothing is missing behind it");
    assert_eq!(trace_of(&disk, Zxid(9)), Trace::OutOfReach);
    assert_eq!(trace_of(&disk, Zxid::ZERO), Trace::OutOfReach);
    assert_eq!(trace_of(&SimDisk::new(1), at(1, 1)), Trace::OutOfReach, "an empty log");
}

#[test]
fn what_is_more_than_a_snapshot_costs_is_out_of_reach_unless_it_must_be_sent_anyway() {
    let (disk, _) = log_of_two_epochs();
    let needed: u64 = [at(1, 7), at(1, 8), at(2, 1)].map(|zxid| framed_len(&payload(zxid.0))).iter().sum();
    let traced = |bytes_max| trace(&disk, &dir(), at(1, 6), at(2, 5), at(2, 1), bytes_max).unwrap();
    assert_eq!(traced(needed), Trace::Found);
    assert_eq!(traced(needed - 1), Trace::OutOfReach);
}

#[test]
fn behind_a_hole_nothing_is_in_reach() {
    let (disk, _) = log_of_two_epochs();
    let second = &log_files(&disk, &dir()).unwrap()[1];
    disk.remove(&second.path).unwrap();
    assert_eq!(trace(&disk, &dir(), at(1, 5), at(2, 5), at(2, 5), 1 << 20).unwrap(), Trace::OutOfReach);
    assert_eq!(trace(&disk, &dir(), at(1, 8), at(2, 5), at(2, 5), 1 << 20).unwrap(), Trace::OutOfReach);
    assert_eq!(trace_of(&disk, at(2, 3)), Trace::Found);
    let mut range = LogRange::open(&disk, &dir(), at(1, 4), at(2, 5)).unwrap();
    assert_eq!(range.next_record().unwrap().map(|record| record.zxid), Some(at(1, 5)));
    assert!(matches!(range.next_record(), Err(Error::LogGap { .. })));
}

#[test]
fn a_range_is_read_while_the_log_is_written_and_purged() {
    let (disk, mut log) = log_of_two_epochs();
    append(&mut log, [at(2, 6).0]);
    log.sync().unwrap();
    let mut range = LogRange::open(&disk, &dir(), at(1, 7), at(2, 6)).unwrap();
    for file in log_files(&disk, &dir()).unwrap().iter().take(2) {
        disk.remove(&file.path).unwrap();
    }
    let mut read = Vec::new();
    loop {
        let next = log.last_zxid().unwrap().next();
        append(&mut log, [next.0]);
        log.sync().unwrap();
        let chunk = range.next_chunk(1500).unwrap();
        if chunk.is_empty() {
            break;
        }
        for record in chunk {
            assert_eq!(record.payload, payload(record.zxid.0));
            read.push(record.zxid);
        }
    }
    let expected = [at(1, 8)].into_iter().chain((1..=6).map(|counter| at(2, counter)));
    assert_eq!(read, expected.collect::<Vec<_>>());
}

#[test]
fn a_range_that_the_log_does_not_have_is_an_error() {
    let (disk, _) = log_of_two_epochs();
    for (after, upto) in [(at(2, 4), at(2, 6)), (at(0, 3), at(1, 1)), (at(1, 2), at(1, 9))] {
        let mut range = LogRange::open(&disk, &dir(), after, upto).unwrap();
        let outcome = std::iter::from_fn(|| range.next_record().transpose()).find(Result::is_err);
        if (after, upto) == (at(0, 3), at(1, 1)) {
            assert!(outcome.is_none(), "an epoch's first txn may follow whatever came before");
        } else {
            assert!(matches!(outcome, Some(Err(Error::LogGap { .. }))), "{after} to {upto}: {outcome:?}");
        }
    }
}

#[test]
#[should_panic(expected = "append of 0x3 after")]
fn a_zxid_is_never_used_twice() {
    let disk = log_of(1..=3);
    let mut log = open(&disk);
    append(&mut log, [3]);
}

#[test]
fn a_full_disk_is_noticed_before_the_room_set_aside_is_used_up() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(70 << 10));
    let mut log = open(&disk);
    let mut zxid = 0;
    while !log.is_short() {
        zxid += 1;
        append(&mut log, [zxid]);
        log.sync().unwrap();
    }
    // The room set aside still takes records, and then refuses them one by one.
    let noticed = zxid;
    while log.append(Zxid(zxid + 1), &payload(zxid + 1)).is_ok() {
        zxid += 1;
        log.sync().unwrap();
    }
    assert!(zxid > noticed + 2);
    assert!(matches!(log.append(Zxid(zxid + 1), &payload(zxid + 1)), Err(Error::Full { .. })));
    assert_eq!(read_all(&disk).unwrap().0, zxids(1..=zxid));

    // With room again, it goes on with the same zxid.
    disk.set_capacity(None);
    log.make_room().unwrap();
    assert!(!log.is_short());
    append(&mut log, [zxid + 1]);
    log.sync().unwrap();
    assert_eq!(read_all(&disk).unwrap().0, zxids(1..=zxid + 1));
}

#[test]
#[should_panic(expected = "after a failed write")]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    append(&mut log, [1]);
    disk.fail_sync_after(0);
    assert!(log.sync().is_err());
    let _ = log.sync();
}

#[test]
fn records_appended_during_a_sync_wait_for_the_next_one() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    append(&mut log, [1]);
    assert!(log.begin_sync().unwrap().is_none(), "the file's name is synced at once, with all that is in it");

    append(&mut log, [2]);
    let sync = log.begin_sync().unwrap().unwrap();
    append(&mut log, [3]);
    assert!(log.batch_bytes() > 0);
    log.end_sync(sync.run()).unwrap();
    assert!(log.begin_sync().unwrap().is_some(), "3 is to be written now");
    disk.crash();
    let (read, _) = read_all(&disk).unwrap();
    assert!(read == zxids(1..=2) || read == zxids(1..=3), "{read:?}");
}

#[test]
fn a_batch_that_ends_a_file_is_synced_at_once() {
    let disk = SimDisk::new(1);
    let options = LogOptions { file_bytes_max: Some(8 << 10), ..options(&dir()) };
    let mut log = TxnLog::open(Arc::new(disk.clone()), options, &LogEnd::default()).unwrap();
    let mut elsewhere = 0;
    for zxid in 1..=50 {
        append(&mut log, [zxid]);
        if let Some(sync) = log.begin_sync().unwrap() {
            log.end_sync(sync.run()).unwrap();
            elsewhere += 1;
        }
    }
    let files = log_files(&disk, &dir()).unwrap().len();
    assert!(files > 2 && elsewhere > 50 - 2 * files - 1, "{files} files, {elsewhere} syncs elsewhere");
    disk.crash();
    assert_eq!(read_all(&disk).unwrap().0, zxids(1..=50));
}

#[test]
#[should_panic(expected = "after a failed write")]
fn a_sync_that_failed_elsewhere_is_never_tried_again() {
    let disk = log_of(1..=1);
    let mut log = open(&disk);
    append(&mut log, [2]);
    log.sync().unwrap();
    append(&mut log, [3]);
    let sync = log.begin_sync().unwrap().unwrap();
    disk.fail_sync_after(0);
    let outcome = sync.run();
    assert!(outcome.is_err() && log.end_sync(outcome).is_err());
    let _ = log.begin_sync();
}

/// The claim the whole service stands on, tried with every kind of crash.
#[test]
fn no_crash_loses_a_synced_record_or_invents_one() {
    for seed in 0..4000 {
        let disk = SimDisk::new(seed);
        let mut next = 1;
        for life in 0..4 {
            let mut log = open(&disk);
            let mut synced = next - 1;
            for batch in 0..=(seed % 5) {
                let count = 1 + (seed * 31 + life * 7 + batch) % 6;
                append(&mut log, next..next + i64::try_from(count).unwrap());
                next += i64::try_from(count).unwrap();
                if batch == seed % 5 {
                    if seed % 2 == 0 {
                        disk.fail_sync_after(0);
                        assert!(log.sync().is_err());
                    }
                } else {
                    log.sync().unwrap();
                    synced = next - 1;
                    if (seed + batch) % 3 == 0 {
                        log.roll().unwrap();
                    }
                }
            }
            disk.crash();
            let (read, _) =
                read_all(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let last = read.last().map_or(0, |zxid| zxid.0);
            assert_eq!(read, zxids(1..=last), "seed {seed}, life {life}");
            assert!(synced <= last && last < next, "seed {seed}, life {life}: {synced} <= {last} < {next}");
            next = last + 1;
        }
    }
}

#[test]
fn a_crash_while_truncating_leaves_a_log_without_a_hole() {
    for seed in 0..500 {
        let disk = SimDisk::new(seed);
        for start in [1, 4, 7] {
            let mut log = open(&disk);
            append(&mut log, start..start + 3);
            log.sync().unwrap();
        }
        let mut log = open(&disk);
        disk.fail_sync_after(seed % 4);
        let _ = log.truncate_after(Zxid(2));
        disk.crash();
        let (read, _) = read_all(&disk).unwrap();
        let last = read.last().unwrap().0;
        assert_eq!(read, zxids(1..=last), "seed {seed}");
        assert!(last >= 2, "seed {seed}");
    }
}

#[test]
fn files_of_the_operating_system_do_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut log = TxnLog::open(Arc::clone(&disk), options(dir.path()), &LogEnd::default()).unwrap();
    append(&mut log, 1..=100);
    log.sync().unwrap();
    log.roll().unwrap();
    append(&mut log, 101..=200);
    log.sync().unwrap();

    let mut reader = TxnLogReader::open(disk, dir.path(), Zxid(50)).unwrap();
    let mut seen = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        seen.push(record.zxid);
    }
    assert_eq!(seen, zxids(50..=200));
}

#[test]
fn a_long_log_leaves_the_page_cache_behind_the_writer_and_stays_readable() {
    let disk = SimDisk::new(1);
    let mut log = TxnLog::open(Arc::new(disk.clone()), LogOptions::new(dir()), &LogEnd::default()).unwrap();
    for batch in 1..=30 {
        append(&mut log, (batch - 1) * 1000 + 1..=batch * 1000);
        log.sync().unwrap();
        assert!(disk.forgotten_bytes() <= log.file_bytes());
    }
    assert!(log.file_bytes() > 20 << 20);
    assert!(log.file_bytes() - disk.forgotten_bytes() < 12 << 20, "{} bytes", log.file_bytes());
    log.roll().unwrap();
    let (read, _) = read_all(&disk).unwrap();
    assert_eq!(read, zxids(1..=30_000));
}
