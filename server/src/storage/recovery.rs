//! From what is on the disk back to the tree: a snapshot, then the log from there.
//!
//! **Which snapshot?** The newest, whoever wrote it. Usually that is our database. A Java snapshot that is newer
//! means that a Java server has run here since: it is taken, and the database written anew from it. So going
//! back to Java and coming again loses nothing and brings nothing back.
//!
//! **And if they contradict each other?** The log always reaches at least as far as the database, whose cuts are
//! of txns that were in the log before. If it ends earlier, or its txn of the database's zxid left another digest
//! than the database has, then files of another time were put here: [`Error::Diverged`], nothing is touched.
//!
//! `FileTxnSnapLog.restore`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jute::txn::Txn;
use tracing::{debug, info, warn};

use super::data_dir::{DataDirs, remove_if_there};
use super::disk::Disk;
use super::error::{Error, Result};
use super::java_snapshot::{self, JavaSnapshotHead};
use super::member::remove_void;
use super::snapshot::{SnapshotHead, SnapshotStore, ZnodeSink};
use super::txn_log::{LogEnd, LogRecord, TxnLogReader, log_files};
use crate::tree::{Tree, TreeLoader, TreeOptions};
use crate::zab::Zxid;

/// After so many snapshots that cannot be read, we give up, as ZooKeeper does.
const SNAPSHOTS_TRIED_MAX: usize = 100;
/// The version of digests we compute.
const DIGEST_VERSION: i32 = 2;

/// What is decided about recovery.
#[derive(Debug, Clone)]
pub struct RecoveryOptions {
    /// What is decided about the tree.
    pub tree: TreeOptions,
    /// `zookeeper.snapshot.trust.empty`: a log without a snapshot is replayed from nothing.
    pub trust_empty_snapshot: bool,
    /// `zookeeper.db.autocreate`: no files at all mean an empty database, rather than a lost one.
    pub auto_create_db: bool,
    /// Nobody else has this tree, so ephemeral znodes of sessions that are gone are dropped at once. In an
    /// ensemble the leader decides that.
    pub standalone: bool,
    /// What [`RecoveryStats`] take their times from.
    pub clock: fn() -> Duration,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            tree: TreeOptions::default(),
            trust_empty_snapshot: false,
            auto_create_db: true,
            standalone: true,
            clock: || Duration::ZERO,
        }
    }
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The tree, as of the last txn in the log. The store has it as of the last cut before.
    pub tree: Tree,
    /// The database may have been lost: this server must not vote until it has been brought up to date.
    pub maybe_lost: bool,
    /// For [`TxnLog::open`](super::TxnLog::open).
    pub log_end: LogEnd,
    /// How it went.
    pub stats: RecoveryStats,
}

/// How recovery went, for the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryStats {
    /// What it began with.
    pub source: Source,
    /// As of which zxid.
    pub snapshot_zxid: Zxid,
    /// How many txns were replayed.
    pub txns_loaded: u64,
    /// After how many of them our tree's digest was not the one in the log. `digest_mismatches_count`.
    pub digest_mismatches: u64,
    /// Ephemeral znodes without a session that were dropped.
    pub orphans_dropped: usize,
    /// Reading the snapshot took so long.
    pub snapshot_time: Duration,
    /// And the log so long.
    pub replay_time: Duration,
}

/// What recovery began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Nothing.
    #[default]
    Empty,
    /// Our database.
    Database,
    /// A Java server's snapshot.
    Java,
}

/// Brings back the tree, and sees to it that `store` has a base for the cuts to come. Nothing on the disk is
/// changed but the store, and what it [made void](SnapshotStore::voids_log).
///
/// # Errors
/// When something is damaged or contradictory; the error says what to do.
#[doc(alias = "FileTxnSnapLog")]
pub fn recover(
    disk: &Arc<dyn Disk>,
    store: &mut dyn SnapshotStore,
    dirs: &DataDirs,
    options: &RecoveryOptions,
) -> Result<Recovered> {
    remove_void(&**disk, store, dirs)?;
    let log_is_empty = log_files(&**disk, &dirs.logs())?.is_empty();
    let began = (options.clock)();
    let base = find_base(&**disk, store, dirs, options)?;
    let loaded = (options.clock)();
    if base.source == Source::Empty && !log_is_empty && has_txns(disk, dirs)? {
        refuse_without_snapshot(dirs, options)?;
    }
    let mut replay = Replay::new(base, store, dirs, options);
    let log_end = replay.run(disk, dirs)?;
    let Replay { mut tree, mut stats, .. } = replay;
    stats.snapshot_time = loaded.saturating_sub(began);
    stats.replay_time = (options.clock)().saturating_sub(loaded);
    if options.standalone {
        stats.orphans_dropped = tree.delete_orphaned_ephemerals();
    }
    let marker = dirs.initialize_marker();
    let is_blank = stats.source == Source::Empty && log_end.last.is_none();
    let maybe_lost = is_blank && !options.auto_create_db && !disk.exists(&marker);
    if maybe_lost {
        warn!("no database and no initialize file: this server may have lost its data, and does not vote");
    } else if stats.source != Source::Database || stats.orphans_dropped > 0 {
        // Dropping is no txn, so no log brings it about again: the base must be without them.
        write_base(store, &mut tree)?;
    }
    remove_if_there(&**disk, &marker)?;
    debug!(
        source = ?stats.source, snapshot = %stats.snapshot_zxid, last = %tree.last_zxid(), txns = stats.txns_loaded,
        znodes = tree.znode_count(), "tree recovered"
    );
    let log_end = LogEnd { last: log_end.last.max(Some(tree.last_zxid())), ..log_end };
    Ok(Recovered { tree, maybe_lost, log_end, stats })
}

/// The tree once more, while the log is open: from `store`, as it is, and the log. It changes nothing.
///
/// # Errors
/// When something is damaged, or the disk fails.
pub fn reload(
    disk: &Arc<dyn Disk>,
    store: &dyn SnapshotStore,
    dirs: &DataDirs,
    options: &RecoveryOptions,
) -> Result<Recovered> {
    let base = if store.durable().is_some() { load_ours(store, dirs, options)? } else { no_base(options) };
    let mut replay = Replay::new(base, store, dirs, options);
    let log_end = replay.run(disk, dirs)?;
    let Replay { tree, stats, .. } = replay;
    debug!(snapshot = %stats.snapshot_zxid, last = %tree.last_zxid(), txns = stats.txns_loaded, "tree loaded again");
    let log_end = LogEnd { last: log_end.last.max(Some(tree.last_zxid())), ..log_end };
    Ok(Recovered { tree, maybe_lost: false, log_end, stats })
}

/// Gives the store the whole tree, so that cuts can follow.
///
/// # Errors
/// When the disk fails.
pub fn write_base(store: &mut dyn SnapshotStore, tree: &mut Tree) -> Result<()> {
    write_tree(tree, &mut |head, feed| store.replace(head, feed))
}

/// Takes what is to be stored in place of what is: see [`SnapshotStore::replace`].
type Replace<'a> =
    dyn FnMut(&SnapshotHead, &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>) -> Result<()> + 'a;

/// Gives `replace` the whole tree.
pub(super) fn write_tree(tree: &mut Tree, replace: &mut Replace<'_>) -> Result<()> {
    let head =
        SnapshotHead { zxid: tree.last_zxid(), digest: tree.digest(), sessions: tree.sessions().collect() };
    replace(&head, &mut |sink| {
        let mut outcome = Ok(());
        tree.visit(|path, znode| {
            if outcome.is_ok() {
                outcome = sink(path, &znode.record());
            }
        });
        outcome
    })?;
    // All of it is in the store now.
    drop(tree.take_cut());
    Ok(())
}

/// A snapshot that was read.
struct Base {
    tree: Tree,
    source: Source,
    /// Replay begins after it.
    zxid: Zxid,
    witness: Witness,
}

/// What the digest in a Java snapshot still has to tell.
#[derive(Default)]
enum Witness {
    /// Nothing.
    #[default]
    Heard,
    /// Until this txn the snapshot is neither one state nor the other; then the tree should have this digest.
    Ahead(Zxid, u64),
    /// It was not our tree's, which proves nothing: Java writes the znodes and then the digest after the txn applied last,
    /// but what the next one was changing just then may be among the znodes. The digest of a later txn decides.
    Doubtful(Mismatch),
}

impl Witness {
    /// What it told, when the tree was as of `zxid` and should have had the digest `expected`.
    fn asked(zxid: Zxid, expected: u64, tree: &Tree) -> Self {
        let ours = tree.digest();
        if !tree.options().digest || ours == expected {
            return Self::Heard;
        }
        Self::Doubtful(Mismatch { zxid, expected, ours })
    }
}

/// The tree was not what it should be.
struct Mismatch {
    zxid: Zxid,
    expected: u64,
    ours: u64,
}

fn find_base(
    disk: &dyn Disk,
    store: &dyn SnapshotStore,
    dirs: &DataDirs,
    options: &RecoveryOptions,
) -> Result<Base> {
    let ours = store.durable();
    let candidates = java_snapshot::snapshot_files(disk, &dirs.snapshots())?;
    let newer: Vec<_> = candidates
        .iter()
        .filter(|file| ours.is_none_or(|ours| ours < file.zxid))
        .take(SNAPSHOTS_TRIED_MAX)
        .collect();
    let mut first_error = None;
    for file in newer {
        info!(path = %file.path.display(), "reading a Java server's snapshot");
        match load_java(disk, &file.path, options) {
            Ok(base) => return Ok(base),
            Err(error) => {
                warn!(%error, "snapshot cannot be read, trying the one before");
                first_error.get_or_insert(error);
            }
        }
    }
    match (ours, first_error) {
        (Some(_), _) => load_ours(store, dirs, options),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(no_base(options)),
    }
}

fn no_base(options: &RecoveryOptions) -> Base {
    let tree = Tree::new(options.tree.clone());
    Base { tree, source: Source::Empty, zxid: Zxid::ZERO, witness: Witness::Heard }
}

fn load_ours(store: &dyn SnapshotStore, dirs: &DataDirs, options: &RecoveryOptions) -> Result<Base> {
    let mut loader = TreeLoader::new(options.tree.clone());
    // Growing by and by, the index would hash every path several times over.
    loader.reserve(store.znodes_estimate());
    let mut outcome = Ok(());
    let head = store.load(&mut |path, record| {
        if outcome.is_ok() {
            outcome = loader.znode(path, record);
        }
    })?;
    outcome.map_err(|error| Error::corrupt_snapshot(&dirs.database(), error.to_string()))?;
    let head = head.unwrap_or_default();
    for (session, timeout_ms) in head.sessions {
        loader.session(session, timeout_ms);
    }
    let digest = Some(head.digest).filter(|digest| *digest != 0);
    let tree = loader.finish(head.zxid, digest);
    Ok(Base { tree, source: Source::Database, zxid: head.zxid, witness: Witness::Heard })
}

fn load_java(disk: &dyn Disk, path: &Path, options: &RecoveryOptions) -> Result<Base> {
    let (tree, head) = load_java_snapshot(disk, path, options)?;
    let witness = match head.digest {
        Some((zxid, digest)) if zxid > head.zxid => Witness::Ahead(zxid, digest),
        Some((zxid, digest)) if zxid == head.zxid => Witness::asked(zxid, digest, &tree),
        _ => Witness::Heard,
    };
    Ok(Base { zxid: head.zxid, tree, source: Source::Java, witness })
}

/// Reads a Java snapshot on its own, without a log.
///
/// # Errors
/// When it is not whole.
pub fn load_java_snapshot(
    disk: &dyn Disk,
    path: &Path,
    options: &RecoveryOptions,
) -> Result<(Tree, JavaSnapshotHead)> {
    let mut loader = TreeLoader::new(options.tree.clone());
    let mut outcome = Ok(());
    let head = java_snapshot::read_snapshot(disk, path, &mut |path, record| {
        if outcome.is_ok() {
            outcome = loader.znode(path, record);
        }
    })?;
    outcome.map_err(|error| Error::corrupt_snapshot(path, error.to_string()))?;
    for (session, timeout_ms) in &head.sessions {
        loader.session(*session, *timeout_ms);
    }
    Ok((loader.finish(head.zxid, None), head))
}

fn has_txns(disk: &Arc<dyn Disk>, dirs: &DataDirs) -> Result<bool> {
    let mut log = TxnLogReader::open(Arc::clone(disk), &dirs.logs(), Zxid::ZERO)?;
    Ok(log.next_record()?.is_some())
}

fn refuse_without_snapshot(dirs: &DataDirs, options: &RecoveryOptions) -> Result<()> {
    if options.trust_empty_snapshot {
        warn!("replaying a log without a snapshot, as snapshot.trust.empty asks for");
        return Ok(());
    }
    Err(Error::refused(
        &dirs.logs(),
        format!(
            "there are txns but no snapshot in {}: bring the snapshot back; only if this log is known to begin with \
             the first txn ever, start once with zookeeper.snapshot.trust.empty=true",
            dirs.snapshots().display()
        ),
    ))
}

/// The second half: the log, from the snapshot on.
struct Replay<'a> {
    tree: Tree,
    stats: RecoveryStats,
    witness: Witness,
    /// The txn before the next; `None` where any may come.
    last: Option<Zxid>,
    dirs: &'a DataDirs,
    /// Up to here the database has history that the log need not have: it was written as a whole.
    replaced_at: Option<Zxid>,
    /// All digests in the log are of this server's making.
    standalone: bool,
}

impl<'a> Replay<'a> {
    fn new(base: Base, store: &dyn SnapshotStore, dirs: &'a DataDirs, options: &RecoveryOptions) -> Self {
        let Base { tree, source, zxid, witness } = base;
        let stats = RecoveryStats { source, snapshot_zxid: zxid, ..RecoveryStats::default() };
        let last = (source != Source::Empty).then_some(zxid);
        let (replaced_at, standalone) = (store.replaced_at(), options.standalone);
        Self { tree, stats, witness, last, dirs, replaced_at, standalone }
    }

    fn run(&mut self, disk: &Arc<dyn Disk>, dirs: &DataDirs) -> Result<LogEnd> {
        let base = self.stats.snapshot_zxid;
        let mut log = TxnLogReader::open(Arc::clone(disk), &dirs.logs(), base)?;
        while let Some(record) = log.next_record()? {
            let path = log.path().unwrap_or(Path::new(""));
            let txn = record.txn(path)?;
            if record.zxid == base {
                self.check_same_history(&txn)?;
                continue;
            }
            self.check_no_gap(&record, path)?;
            self.replay(&record, &txn);
        }
        self.check_log_reaches_database(log.end())?;
        match std::mem::take(&mut self.witness) {
            Witness::Heard => {}
            Witness::Ahead(zxid, _) => {
                warn!(%zxid, "the log ends before the snapshot's digest: the tree may be neither old nor new");
            }
            Witness::Doubtful(mismatch) => self.note_mismatch(&mismatch),
        }
        if self.stats.digest_mismatches > 0 {
            warn!(count = self.stats.digest_mismatches, "txns whose digest in the log is not our tree's");
        }
        Ok(log.end().clone())
    }

    fn replay(&mut self, record: &LogRecord, txn: &Txn) {
        self.tree.replay(txn);
        self.last = Some(record.zxid);
        self.stats.txns_loaded += 1;
        if !self.tree.options().digest {
            return;
        }
        if let Witness::Ahead(zxid, digest) = self.witness {
            if record.zxid < zxid {
                return;
            }
            self.witness = Witness::Heard;
            if record.zxid == zxid {
                self.witness = Witness::asked(zxid, digest, &self.tree);
                return;
            }
        }
        if let Some(expected) = digest_of(txn) {
            self.compare(record.zxid, expected);
        }
    }

    fn compare(&mut self, zxid: Zxid, expected: u64) {
        let ours = self.tree.digest();
        let witness = std::mem::take(&mut self.witness);
        if expected == ours {
            if let Witness::Doubtful(Mismatch { zxid, .. }) = witness {
                debug!(%zxid, "the snapshot's digest was of a tree that its znodes were ahead of");
            }
            return;
        }
        if let Witness::Doubtful(mismatch) = witness {
            self.note_mismatch(&mismatch);
        }
        self.note_mismatch(&Mismatch { zxid, expected, ours });
    }

    fn note_mismatch(&mut self, mismatch: &Mismatch) {
        let Mismatch { zxid, expected, ours } = *mismatch;
        if self.stats.digest_mismatches == 0 {
            warn!(%zxid, expected, ours, "digest mismatch");
        }
        self.stats.digest_mismatches += 1;
    }

    /// The log's txn of the database's zxid must have left what the database has.
    fn check_same_history(&self, txn: &Txn) -> Result<()> {
        // A base that was written as a whole may be without orphans that the txn before it still left.
        let is_ours = self.stats.source == Source::Database
            && self.tree.options().digest
            && self.replaced_at != Some(self.stats.snapshot_zxid);
        match digest_of(txn) {
            Some(digest) if is_ours && self.tree.digest() != 0 && digest != self.tree.digest() => {
                let zxid = self.stats.snapshot_zxid;
                if self.standalone {
                    let what = "left another tree than the log's: one of them is of another time";
                    return Err(self.diverged(format!("its txn {zxid} {what}")));
                }
                // The digest is the leader's, whose tree may have been another already.
                warn!(%zxid, "our tree is not the one that the leader had");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_no_gap(&self, record: &LogRecord, path: &Path) -> Result<()> {
        let Some(last) = self.last else {
            return Ok(());
        };
        if record.zxid.may_follow(last) {
            return Ok(());
        }
        Err(Error::LogGap { path: path.to_owned(), offset: record.offset, last, found: record.zxid })
    }

    fn check_log_reaches_database(&self, end: &LogEnd) -> Result<()> {
        let (Some(last), Source::Database) = (end.last, self.stats.source) else {
            return Ok(());
        };
        let database = self.stats.snapshot_zxid;
        // The beginning of a leader's epoch is no txn's.
        let begins_epoch = database.counter() == 0 && database > Zxid::ZERO;
        if last >= database || self.replaced_at == Some(database) || (begins_epoch && !self.standalone) {
            return Ok(());
        }
        Err(self.diverged(format!("it is at txn {database}, but the log ends with {last}")))
    }

    fn diverged(&self, what: String) -> Error {
        let what = format!(
            "{what}. If the log was put back deliberately, move this directory away and start from a Java \
             snapshot; if the log lost its end, put that back, or move the log.* files away to go on from the database"
        );
        Error::Diverged { path: self.dirs.database(), what }
    }
}

/// The digest the txn should leave, if we can compute such.
fn digest_of(txn: &Txn) -> Option<u64> {
    txn.digest
        .filter(|digest| digest.version == DIGEST_VERSION)
        .map(|digest| digest.tree_digest.cast_unsigned())
}

#[cfg(test)]
mod tests;
