//! Old files, and which of them nobody needs. `PurgeTxnLog`, `DatadirCleanupManager`.

use std::path::PathBuf;

use tracing::info;

use super::data_dir::DataDirs;
use super::disk::Disk;
use super::error::{Error, IoContext, Result};
use super::java_snapshot::snapshot_files;
use super::snapshot::SnapshotStore;
use super::txn_log::log_files;

/// Fewer snapshots are not kept.
pub const RETAIN_MIN: usize = 3;

/// Removes all but the newest `retain` snapshots, and the log files that none of them needs; what was removed.
///
/// All snapshots count, ours and a Java server's. A Java snapshot whose log is gone would be worse than none: a
/// Java server would start from it and not notice the hole. So snapshots go first, and all that are too old.
///
/// # Errors
/// When the disk fails, or `retain` is below [`RETAIN_MIN`].
#[doc(alias = "PurgeTxnLog")]
#[doc(alias = "DatadirCleanupManager")]
pub fn purge(
    disk: &dyn Disk,
    store: &mut dyn SnapshotStore,
    dirs: &DataDirs,
    retain: usize,
) -> Result<Vec<PathBuf>> {
    if retain < RETAIN_MIN {
        let what = format!("at least {RETAIN_MIN} snapshots are kept, not {retain}");
        return Err(Error::refused(&dirs.snapshots(), what));
    }
    let java = snapshot_files(disk, &dirs.snapshots())?;
    let mut all: Vec<_> =
        java.iter().map(|file| file.zxid).chain(store.kept()?).chain(store.durable()).collect();
    all.sort_unstable();
    all.dedup();
    let Some(oldest) = all.get(all.len().saturating_sub(retain)).copied() else {
        return Ok(Vec::new());
    };
    store.release_before(oldest)?;

    let logs = log_files(disk, &dirs.logs())?;
    // The file that holds the txn after the oldest snapshot, and all later ones, stay.
    let needed_from = logs.iter().rposition(|file| file.first <= oldest).unwrap_or(0);
    let old_snapshots = java.into_iter().filter(|file| file.zxid < oldest).map(|file| file.path);
    let old_logs = logs.into_iter().take(needed_from).map(|file| file.path);
    let removed: Vec<PathBuf> = old_snapshots.rev().chain(old_logs).collect();
    for path in &removed {
        info!(path = %path.display(), "removing an old file");
        disk.remove(path).during("remove", path)?;
    }
    Ok(removed)
}
