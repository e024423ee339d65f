//! A data directory, small enough to be damaged at every byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use server::node::lockstep::Lockstep;
use server::node::{CutPolicy, Delivery, NodeConfig, Now};
use server::storage::{
    DataDirs, Disk, LogOptions, OsDisk, RecoveryOptions, RocksStore, SnapshotWriter, TxnLog, recover,
};
use server::tree::Tree;
use server::zab::Zxid;

use crate::sim::workload::Workload;

/// Of a tree, all that a wrong one could differ in.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    last: Zxid,
    digest: u64,
    sessions: BTreeMap<i64, i32>,
    znodes: BTreeMap<String, String>,
}

impl Content {
    fn of(tree: &Tree) -> Self {
        let mut znodes = BTreeMap::new();
        tree.visit(|path, znode| {
            let (data, acl, stat) = (znode.data(), znode.acl(), znode.stat());
            znodes.insert(path.to_owned(), format!("{data:?} {acl:?} {stat:?}"));
        });
        Self {
            last: tree.last_zxid(),
            digest: tree.recompute_digest(),
            sessions: tree.sessions().map(|(session, timeout_ms)| (session.0, timeout_ms)).collect(),
            znodes,
        }
    }
}

/// Lets a server work in `dir` for a while: its snapshot lies in the middle of its log.
///
/// # Errors
/// When the disk fails.
pub fn make(dir: &Path) -> Result<Content> {
    let dirs = DataDirs::new(dir, None);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let _lock = dirs.enter(&*disk, true)?;
    let mut store = RocksStore::open(&dirs.database())?;
    let recovered = recover(&disk, &mut store, &dirs, &RecoveryOptions::default())?;
    let options = LogOptions { preallocate_bytes: 64 << 10, ..LogOptions::new(dirs.logs()) };
    let mut log = TxnLog::open(disk, options, &recovered.log_end)?;
    let mut snapshots = SnapshotWriter::new(store, 100);

    let cuts = CutPolicy { txns_max: 20, ..CutPolicy::default() };
    let config = NodeConfig { cuts, ..NodeConfig::default() };
    let now = Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 };
    let mut server = Lockstep::new(config, recovered.tree, now);
    let mut workload = Workload::new(1);
    for batch in 0..12 {
        let zxid = server.tree.last_zxid();
        let events = workload.events(&server.tree);
        for delivery in server.run(events) {
            if let Delivery::Connected { connection, session, .. } = delivery {
                workload.connected(connection, session);
            }
        }
        for (record, at) in server.log.drain(..).zip(1..) {
            log.append(Zxid(zxid.0 + at), &record)?;
        }
        log.sync()?;
        for cut in server.cuts.drain(..) {
            // The last ones are lost in the crash that ends this.
            if batch < 8 {
                snapshots.add(cut);
            }
        }
        snapshots.flush()?;
    }
    Ok(Content::of(&server.tree))
}

/// What a server would start with in `dir`.
///
/// # Errors
/// When it would not start.
pub fn start(dir: &Path) -> server::storage::Result<Content> {
    let dirs = DataDirs::new(dir, None);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut store = RocksStore::open(&dirs.database())?;
    let recovered = recover(&disk, &mut store, &dirs, &RecoveryOptions::default())?;
    Ok(Content::of(&recovered.tree))
}

/// All files below `dir`, with their lengths.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(dir: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let len = usize::try_from(fs::metadata(&path)?.len())?;
            found.push((path, len));
        }
    }
    found.sort();
    Ok(found)
}

/// Copies `from` to `to`, in place of what is there, and exchanges one byte: `damage` makes the new one of the old.
///
/// # Errors
/// When the disk fails.
pub fn copy_damaged(
    from: &Path,
    to: &Path,
    file: &Path,
    offset: usize,
    damage: impl Fn(u8) -> u8,
) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for (path, _) in files(from)? {
        let relative = path.strip_prefix(from)?;
        let copy = to.join(relative);
        fs::create_dir_all(copy.parent().context("a file is in a directory")?)?;
        let mut bytes = fs::read(&path)?;
        if path == file {
            bytes[offset] = damage(bytes[offset]);
        }
        fs::write(copy, bytes)?;
    }
    Ok(())
}
