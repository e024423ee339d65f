//! What storage costs on this machine: batches appended and synced, beside bare fdatasyncs of as many bytes;
//! a million znodes loaded, sent to a learner and stored there; cuts written. `cargo run --release -p server --example storage_cost -- <directory>`

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use server::storage::java_snapshot::{SNAP_SIGNATURE, read_sent};
use server::storage::txn_log::LogEnd;
use server::storage::{LogOptions, OsDisk, RocksStore, SnapshotHead, SnapshotStore, SnapshotWriter, TxnLog};
use server::tree::{Cut, TreeLoader, TreeOptions, ZnodeRecord};
use server::zab::Zxid;

const ZNODES: usize = 1_000_000;
const RECORD: [u8; 150] = [7; 150];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("which directory?")?;
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    sync_cost(dir)?;
    let mut store = RocksStore::open(&dir.join("snapshots"))?;
    write_tree(&mut store)?;
    cut_cost(&mut store)?;
    drop(store);
    for _ in 0..3 {
        load_cost(dir)?;
    }
    transfer_cost(dir)
}

#[allow(clippy::disallowed_methods)] // A measurement.
fn now() -> Instant {
    Instant::now()
}

fn sync_cost(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut zxid = 0;
    let options = LogOptions::new(dir.join("log"));
    std::fs::create_dir_all(&options.dir)?;
    let mut log = TxnLog::open(Arc::new(OsDisk), options, &LogEnd::default())?;
    let bare = File::create(dir.join("bare"))?;
    for batch in [1_u64, 16, 256, 4096] {
        let rounds = (400_000 / (batch + 100)).max(200);
        bare.write_all_at(&vec![0; usize::try_from(rounds * batch * 163)?], 0)?;
        bare.sync_all()?;
        let began = now();
        for _ in 0..rounds {
            for _ in 0..batch {
                zxid += 1;
                log.append(Zxid(zxid), &RECORD)?;
            }
            log.sync()?;
        }
        let ours = began.elapsed();
        let bytes = vec![7; usize::try_from(batch * 163)?];
        let began = now();
        for round in 0..rounds {
            bare.write_all_at(&bytes, round * batch * 163)?;
            bare.sync_data()?;
        }
        let limit = began.elapsed();
        let rate = |took: std::time::Duration| (rounds * batch) as f64 / took.as_secs_f64();
        println!(
            "batches of {batch:4}: {:9.0} records/s, bare {:9.0}, {:.2} of the limit",
            rate(ours),
            rate(limit),
            limit.as_secs_f64() / ours.as_secs_f64()
        );
    }
    Ok(())
}

fn record(zxid: i64) -> ZnodeRecord {
    let stat = jute::data::StatPersisted {
        czxid: zxid,
        mzxid: zxid,
        pzxid: zxid,
        ctime: 1_700_000_000_000,
        mtime: 1_700_000_000_000,
        ..Default::default()
    };
    let data = Some(triomphe::ThinArc::from_header_and_slice((), &[7; 100]));
    ZnodeRecord { data, acl: jute::data::Acl::open_unsafe().into(), stat }
}

fn path(at: usize) -> String {
    format!("/bench/dir-{:04}/node-{:07}", at / 1000, at)
}

fn write_tree(store: &mut RocksStore) -> Result<(), Box<dyn Error>> {
    let began = now();
    let shared = record(1);
    store.replace(&SnapshotHead { zxid: Zxid(1), ..Default::default() }, &mut |sink| {
        sink("/", &shared)?;
        sink("/bench", &shared)?;
        for at in 0..ZNODES {
            if at % 1000 == 0 {
                sink(&format!("/bench/dir-{:04}", at / 1000), &shared)?;
            }
            sink(&path(at), &shared)?;
        }
        Ok(())
    })?;
    println!("{ZNODES} znodes written whole in {:?}", began.elapsed());
    Ok(())
}

fn cut_cost(store: &mut RocksStore) -> Result<(), Box<dyn Error>> {
    for znodes in [1000, 10_000, 100_000] {
        let step = ZNODES / znodes;
        let changed = (0..znodes).map(|at| (path(at * step), Some(record(2)))).collect();
        let cut = Cut { zxid: Zxid(2), znodes: changed, ..Cut::default() };
        let began = now();
        store.write(&cut)?;
        let written = began.elapsed();
        store.flush()?;
        println!("cut of {znodes} znodes: written in {written:?}, durable after {:?}", began.elapsed());
    }
    Ok(())
}

fn load_cost(dir: &Path) -> Result<(), Box<dyn Error>> {
    let began = now();
    let store = RocksStore::open(&dir.join("snapshots"))?;
    let opened = began.elapsed();
    let mut count = 0;
    store.load(&mut |_, _| count += 1)?;
    let read = began.elapsed() - opened;
    let began = now();
    let mut loader = TreeLoader::new(TreeOptions::default());
    loader.reserve(ZNODES);
    store.load(&mut |path, record| drop(loader.znode(path, record)))?;
    let tree = loader.finish(Zxid(2), Some(1));
    println!(
        "opened in {opened:?}, {count} read in {read:?}, read and built in {:?} ({})",
        began.elapsed(),
        tree.znode_count()
    );
    Ok(())
}

fn transfer_cost(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut store = RocksStore::open(&dir.join("snapshots"))?;
    let began = now();
    let (zxid, mut held) = store.hold()?.ok_or("an empty store")?;
    let opened = began.elapsed();
    let mut body = Vec::new();
    held.write_body(&mut body)?;
    println!("held open in {opened:?}, {} MiB to be sent after {:?}", body.len() >> 20, began.elapsed());
    body.extend_from_slice(SNAP_SIGNATURE);

    let began = now();
    let mut loader = TreeLoader::new(TreeOptions::default());
    read_sent(&mut body.as_slice(), &mut |path, record| drop(loader.znode(path, record)))?;
    let mut tree = loader.finish(zxid, None);
    println!("received and built in {:?} ({})", began.elapsed(), tree.znode_count());

    let mut writer = SnapshotWriter::new(store, 100_000);
    let began = now();
    writer.replace_history(&mut tree)?;
    println!("stored in {:?}", began.elapsed());
    Ok(())
}
