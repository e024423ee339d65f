//! Files that may have been written by anyone, or damaged by anything.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::persistence::FileHeader;
use jute::txn::{ErrorTxn, Txn, TxnBody, TxnHeader};
use jute::{Jute, Op};
use server::storage::java_snapshot::{self, Compression, read_sent, read_snapshot, read_stream};
use server::storage::{Disk, LogOptions, SimDisk, SnapshotHead, TxnLog, TxnLogReader};
use server::tree::{Tree, TreeLoader, TreeOptions};
use server::zab::Zxid;

use super::Input;

const DIR: &str = "/data";

/// A log file: whatever can be read of it can be carried on from, and is then read again.
pub(super) fn log_file(input: &[u8]) {
    let mut input = Input(input);
    let image = if input.is() { records(&mut input) } else { input.0.to_vec() };
    let disk = disk_with("log.1", &image);
    let Some((read, end)) = read_log(&disk) else { return };
    let options = LogOptions { preallocate_bytes: 4096, ..LogOptions::new(DIR) };
    let mut log = TxnLog::open(Arc::clone(&disk), options, &end).expect("a log that was read");
    let next = read.last().map_or(Zxid(1), |(zxid, _)| *zxid);
    let Some(next) = next.0.checked_add(1).map(Zxid) else { return };
    let header = TxnHeader { zxid: next.0, txn_type: Op::Error.code(), ..TxnHeader::default() };
    let txn = Txn { header, body: TxnBody::Error(ErrorTxn { err: -101 }), digest: None };
    log.append(next, &txn.to_bytes()).expect("room for a record");
    log.sync().expect("a sound disk");
    let (again, _) = read_log(&disk).expect("a log that was carried on");
    assert_eq!(again.split_last().map(|(last, before)| (last.0, before)), Some((next, &read[..])));
}

/// A file of records with right checksums, and something behind them.
fn records(input: &mut Input<'_>) -> Vec<u8> {
    let mut image = FileHeader::LOG.to_bytes().to_vec();
    while input.is() {
        let payload = input.few_bytes();
        image.extend_from_slice(&u64::from(adler32(payload)).to_be_bytes());
        image.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        image.extend_from_slice(payload);
        image.push(b'B');
    }
    image.extend_from_slice(input.0);
    image
}

type LogRecords = Vec<(Zxid, Bytes)>;

fn read_log(disk: &Arc<dyn Disk>) -> Option<(LogRecords, server::storage::txn_log::LogEnd)> {
    let mut reader = TxnLogReader::open(Arc::clone(disk), Path::new(DIR), Zxid(0)).expect("a directory");
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().ok()? {
        let _ = record.txn(Path::new("log.1"));
        records.push((record.zxid, record.payload));
    }
    Some((records, reader.end().clone()))
}

/// A snapshot in any of its forms; a database record. A tree that was read is written and read to be the same.
pub(super) fn snapshot(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 8 {
        0 => drop(load(bytes, "snapshot.1")),
        1 => drop(load(bytes, "snapshot.1.gz")),
        2 => drop(load(bytes, "snapshot.1.snappy")),
        3 => round_trip(&sealed(bytes), Compression::None),
        4 => round_trip(&sealed(bytes), Compression::Gzip),
        5 => round_trip(&sealed(bytes), Compression::Snappy),
        6 => drop(read_sent(&mut &*bytes, &mut |_, _| {})),
        _ => server::fuzzing::database_records(bytes),
    }
}

fn load(image: &[u8], name: &str) -> Option<Tree> {
    let disk = disk_with(name, image);
    let mut loader = TreeLoader::new(TreeOptions::default());
    let mut refused = false;
    let read = read_snapshot(&*disk, &Path::new(DIR).join(name), &mut |path, record| {
        refused |= loader.znode(path, record).is_err();
    });
    let head = read.ok().filter(|_| !refused)?;
    head.sessions.iter().for_each(|(session, timeout_ms)| loader.session(*session, *timeout_ms));
    Some(loader.finish(head.zxid, None))
}

fn round_trip(image: &[u8], compression: Compression) {
    let streamed = read_stream(&mut &*image, &mut |_, _| {});
    let Some(tree) = load(image, "snapshot.1") else { return };
    assert!(streamed.is_ok(), "a stream is read as a file is");
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
    disk.create_dir_all(Path::new(DIR)).expect("a sound disk");
    let head = SnapshotHead { zxid: Zxid(1), digest: tree.digest(), sessions: tree.sessions().collect() };
    let path = java_snapshot::write_snapshot(&*disk, Path::new(DIR), compression, &head, &mut |sink| {
        let mut outcome = Ok(());
        tree.visit(|path, znode| {
            if outcome.is_ok() {
                outcome = sink(if path == "/" { "" } else { path }, &znode.record());
            }
        });
        outcome
    });
    let path = path.expect("a sound disk");
    let mut again = TreeLoader::new(TreeOptions::default());
    let head = read_snapshot(&*disk, &path, &mut |path, record| {
        again.znode(path, record).expect("what was written");
    });
    let again = again.finish(head.expect("a whole snapshot").zxid, None);
    assert_eq!((again.digest(), again.znode_count()), (tree.digest(), tree.znode_count()));
}

/// A snapshot of this body, with header and seal.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut image = BytesMut::new();
    FileHeader::SNAPSHOT.encode(&mut image);
    image.extend_from_slice(body);
    let sum = adler32(&image);
    image.extend_from_slice(&u64::from(sum).to_be_bytes());
    image.extend_from_slice(b"\0\0\0\x01/");
    image.to_vec()
}

fn disk_with(name: &str, image: &[u8]) -> Arc<dyn Disk> {
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new(DIR)).expect("a sound disk");
    let file = disk.create(&Path::new(DIR).join(name)).expect("a sound disk");
    file.write_at(0, image).expect("a sound disk");
    Arc::new(disk)
}

/// As `java.util.zip` has it.
fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    high << 16 | low
}
