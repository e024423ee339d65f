//! What the disk does for a member of an ensemble, besides taking txns: it finds where another history parts from
//! ours, gives up a part of ours, takes over another's, and holds ours open for others. `FileTxnSnapLog`,
//! `ZKDatabase`.
//!
//! A crash leaves each of these done or not begun, once [`recover`](super::recover) has been there. What makes that
//! so:
//!
//! * **The store holds nothing but committed txns**, as long as cuts are taken only of trees that are served, and one
//!   is served only when a quorum has all of it. So no [truncation](MemberDisk::truncate) a correct leader asks for
//!   concerns it, nor a cut that is still on its way, and no later flush can bring back what was cut off. A base that
//!   was written at a start, of a Java server's files, may hold more: then the truncation is refused, and so it is if a
//!   leader is wrong.
//! * **Another history comes whole.** [`MemberDisk::install`] puts the tree in place of the stored one, and with the
//!   same rename says that the log is void. So a crash before leaves the old tree and the old log; a crash after it,
//!   the new tree and a log that is not looked at, but removed. Only then txns are logged again.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{info, warn};

use super::data_dir::DataDirs;
use super::disk::Disk;
use super::error::{IoContext, Result};
use super::java_snapshot::snapshot_files;
use super::recovery::{Recovered, RecoveryOptions, reload};
use super::snapshot::SnapshotStore;
use super::snapshot_source::SnapshotSource;
use super::snapshot_writer::SnapshotWriter;
use super::txn_log::{LogRange, TxnLog, log_files, trace};
use crate::tree::Tree;
use crate::zab::{Trace, Zxid};

/// A member's directories. All of it may be used on any thread; what is written to the log meanwhile is not read.
#[derive(Debug, Clone)]
pub struct MemberDisk {
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
    options: RecoveryOptions,
}

impl MemberDisk {
    /// On `disk`, in `dirs`. `options` are those with which the tree was recovered.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dirs: DataDirs, options: RecoveryOptions) -> Self {
        Self { disk, dirs, options }
    }

    /// Finds a learner's last zxid in the log, which is written up to `upto`. `bytes_max` is what a snapshot would
    /// cost: see [`log_bytes_max`]. It may read a whole file of the log: not on the node's thread.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn trace<S: SnapshotStore>(
        &self,
        writer: &SnapshotWriter<S>,
        zxid: Zxid,
        upto: Zxid,
        bytes_max: u64,
    ) -> Result<Trace> {
        let stored = writer.newest().unwrap_or_default();
        trace(&*self.disk, &self.dirs.logs(), zxid, upto, stored, bytes_max)
    }

    /// The txns of the log in `(after, upto]`, all of which are written.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn log_range(&self, after: Zxid, upto: Zxid) -> Result<LogRange> {
        LogRange::open(&*self.disk, &self.dirs.logs(), after, upto)
    }

    /// Has the log end with `zxid`, if it holds it, and no snapshot is beyond: `stored` is
    /// [`SnapshotWriter::newest`]. `false` if not, and then nothing has changed. A tree in memory that is beyond is to
    /// be [loaded again](MemberDisk::reload).
    ///
    /// # Errors
    /// When the disk fails: then nobody knows where the log ends.
    ///
    /// # Panics
    /// With a batch that was not synced.
    pub fn truncate(&self, log: &mut TxnLog, stored: Option<Zxid>, zxid: Zxid) -> Result<bool> {
        if log.last_zxid() == Some(zxid) {
            return Ok(true);
        }
        if stored.is_some_and(|stored| stored > zxid) || !self.has(log, stored, zxid)? {
            warn!(%zxid, ?stored, "the log cannot be cut there");
            return Ok(false);
        }
        // One that was taken over HTTP, of a tree that nobody was served. It would bring back what is cut off.
        let beyond = snapshot_files(&*self.disk, &self.dirs.snapshots())?;
        self.remove(beyond.into_iter().filter(|file| file.zxid > zxid).map(|file| file.path))?;
        log.truncate_after(zxid)?;
        Ok(true)
    }

    /// Whether `zxid` is part of our history.
    fn has(&self, log: &TxnLog, stored: Option<Zxid>, zxid: Zxid) -> Result<bool> {
        if stored == Some(zxid) {
            return Ok(true);
        }
        let upto = log.last_zxid().unwrap_or_default();
        let found = trace(&*self.disk, &self.dirs.logs(), zxid, upto, Zxid::ZERO, u64::MAX)?;
        Ok(found == Trace::Found)
    }

    /// The tree as of the log's end, from the store and the log.
    ///
    /// # Errors
    /// When something is damaged, or the disk fails.
    pub fn reload<S: SnapshotStore>(&self, writer: &mut SnapshotWriter<S>) -> Result<Recovered> {
        reload(&self.disk, writer.rebase(), &self.dirs, &self.options)
    }

    /// Stores a tree of another history, and removes the log, which does not lead to it; its zxid. Then have the log
    /// [begin anew](TxnLog::begin_anew) behind that.
    ///
    /// # Errors
    /// When the disk fails. The old tree and the old log are still there if it is for want of room.
    pub fn install<S: SnapshotStore>(&self, writer: &mut SnapshotWriter<S>, tree: &mut Tree) -> Result<Zxid> {
        writer.replace_history(tree)?;
        remove_void(&*self.disk, writer.store(), &self.dirs)?;
        Ok(tree.last_zxid())
    }

    /// Holds what is stored open, to be sent to a learner; the last txn in it. The log still has all that come after.
    /// `None` if nothing is stored, which is so only until the first tree was recovered or installed.
    ///
    /// # Errors
    /// When the disk fails. To be tried again.
    pub fn hold<S: SnapshotStore>(
        &self,
        writer: &mut SnapshotWriter<S>,
    ) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>> {
        writer.hold()
    }

    fn remove(&self, paths: impl Iterator<Item = PathBuf>) -> Result<()> {
        remove(&*self.disk, paths)?;
        let dir = self.dirs.snapshots();
        self.disk.sync_dir(&dir).during("sync", &dir)
    }
}

/// How much of the log may be sent to a learner in place of `tree`: `snapshotSizeFactor` times its size as a snapshot.
#[must_use]
#[doc(alias = "calculateTxnLogSizeLimit")]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)] // It is an estimate.
pub fn log_bytes_max(tree: &Tree, snapshot_size_factor: f64) -> u64 {
    /// Two lengths, an ACL's id, and the stat.
    const ZNODE_BYTES: u64 = 4 + 4 + 8 + 60;
    let bytes = tree.approximate_data_size() + tree.znode_count() as u64 * ZNODE_BYTES;
    (bytes as f64 * snapshot_size_factor) as u64
}

/// Removes what the stored tree has made void, if it has.
///
/// # Errors
/// When the disk fails. What is left is still void.
pub(super) fn remove_void(disk: &dyn Disk, store: &mut dyn SnapshotStore, dirs: &DataDirs) -> Result<()> {
    if !store.voids_log() {
        return Ok(());
    }
    info!(zxid = ?store.written(), "removing the log, which the stored tree does not continue");
    let logs = log_files(disk, &dirs.logs())?.into_iter().map(|file| file.path);
    let snapshots = snapshot_files(disk, &dirs.snapshots())?.into_iter().map(|file| file.path);
    remove(disk, logs.chain(snapshots))?;
    for dir in [dirs.logs(), dirs.snapshots()] {
        disk.sync_dir(&dir).during("sync", &dir)?;
    }
    store.release_before(Zxid(i64::MAX))?;
    store.begin_log()
}

fn remove(disk: &dyn Disk, mut paths: impl Iterator<Item = PathBuf>) -> Result<()> {
    paths.try_for_each(|path| disk.remove(&path).during("remove", &path))
}

#[cfg(test)]
mod tests;
