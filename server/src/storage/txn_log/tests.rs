use std::path::{Path, PathBuf};
use std::sync::Arc;

use jute::Jute;
use jute::txn::{ErrorTxn, Txn, TxnBody, TxnHeader};

use super::*;
use crate::storage::error::{Error, LogFlaw};
use crate::storage::{OsDisk, SimDisk};

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
