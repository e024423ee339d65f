//! From and to Java servers' directories, and removing old files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::print;
use crate::storage::error::{Error, Result};
use crate::storage::java_snapshot::{Compression, JavaSnapshotFile, snapshot_files, write_snapshot};
use crate::storage::recovery::{load_java_snapshot, write_base};
use crate::storage::txn_log::log_files;
use crate::storage::way_back::leave_snapshot;
use crate::storage::{
    DataDirs, Disk, OsDisk, RecoveryOptions, RocksStore, SnapshotHead, SnapshotStore, purge, recover,
};
use crate::tree::{Tree, TreeOptions};

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Of which server.
    pub dirs: DataDirs,
    /// Where to; unless said, beside the server's own files, so that a Java server can start there.
    pub to: Option<PathBuf>,
    /// How.
    pub compression: Compression,
}

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// A Java server's `dataDir`, or one snapshot file.
    pub from: PathBuf,
    /// That server's `dataLogDir`, if it is another directory.
    pub from_log_dir: Option<PathBuf>,
    /// For which server; its directories must hold no data.
    pub dirs: DataDirs,
}

/// Writes a snapshot that Java servers read: beside the server's own files the stored tree, which the log goes on from,
/// elsewhere the tree as of the last txn in the log.
///
/// # Errors
/// When the server is running, there is nothing to export, or the disk fails.
pub fn export(options: &ExportOptions, out: &mut dyn Write) -> Result<()> {
    let dirs = &options.dirs;
    let _lock = dirs.enter(&OsDisk, false)?;
    let mut store = RocksStore::open(&dirs.database())?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let recovered = recover(&disk, &mut store, dirs, &recovery_options())?;
    let nothing = || Error::refused(&dirs.snapshots(), "holds nothing to export");
    if recovered.maybe_lost {
        return Err(nothing());
    }
    let exported = match &options.to {
        None => leave_snapshot(&OsDisk, &store, dirs, options.compression)?.ok_or_else(nothing)?,
        Some(to) => write_tree(&recovered.tree, to, options.compression)?,
    };
    let (path, zxid) = (exported.path.display(), exported.zxid);
    print(out, format_args!("the tree as of {zxid} is written to {path}\n"))
}

fn write_tree(tree: &Tree, to: &Path, compression: Compression) -> Result<JavaSnapshotFile> {
    OsDisk.create_dir_all(to).map_err(|error| Error::refused(to, error.to_string()))?;
    let head =
        SnapshotHead { zxid: tree.last_zxid(), digest: tree.digest(), sessions: tree.sessions().collect() };
    let path = write_snapshot(&OsDisk, to, compression, &head, &mut |sink| {
        let mut outcome = Ok(());
        tree.visit(|path, znode| {
            if outcome.is_ok() {
                outcome = sink(path, &znode.record());
            }
        });
        outcome
    })?;
    Ok(JavaSnapshotFile { zxid: head.zxid, path })
}

/// Brings what a Java server left into directories that are empty yet. (A server that is started in a Java
/// server's own directories does so by itself.)
///
/// # Errors
/// When the directories are in use, there is nothing to import, or it is damaged.
pub fn import(options: &ImportOptions, out: &mut dyn Write) -> Result<()> {
    let dirs = &options.dirs;
    let _lock = dirs.enter(&OsDisk, true)?;
    let mut store = RocksStore::open(&dirs.database())?;
    refuse_data(dirs, &store)?;
    let tree =
        if options.from.is_dir() { read_dir(options, &mut store)? } else { read_file(options, &mut store)? };
    print(
        out,
        format_args!(
            "{} znodes as of {} imported into {}\n",
            tree.znode_count(),
            tree.last_zxid(),
            dirs.data.display()
        ),
    )
}

fn read_dir(options: &ImportOptions, store: &mut RocksStore) -> Result<Tree> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let source = DataDirs::new(&options.from, options.from_log_dir.clone());
    let recovered = recover(&disk, store, &source, &recovery_options())?;
    if recovered.maybe_lost {
        return Err(Error::refused(&source.snapshots(), "holds nothing to import"));
    }
    let epochs = source.epochs().look_at(&OsDisk, recovered.tree.last_zxid())?;
    options.dirs.epochs().save_accepted(&OsDisk, epochs.accepted)?;
    options.dirs.epochs().save_current(&OsDisk, epochs.current)?;
    Ok(recovered.tree)
}

fn read_file(options: &ImportOptions, store: &mut RocksStore) -> Result<Tree> {
    let (mut tree, head) = load_java_snapshot(&OsDisk, &options.from, &recovery_options())?;
    if head.digest.is_some_and(|(zxid, _)| zxid > head.zxid) {
        warn!("the snapshot was taken under load: without the log it may mix older and newer znodes");
    }
    write_base(store, &mut tree)?;
    Ok(tree)
}

fn refuse_data(dirs: &DataDirs, store: &RocksStore) -> Result<()> {
    let is_empty = store.durable().is_none()
        && log_files(&OsDisk, &dirs.logs())?.is_empty()
        && snapshot_files(&OsDisk, &dirs.snapshots())?.is_empty();
    if is_empty {
        Ok(())
    } else {
        Err(Error::refused(&dirs.data, "holds data already; import into an empty directory"))
    }
}

/// Removes all but the newest `retain` snapshots, and the log files none of them needs. `zkCleanup.sh`.
///
/// # Errors
/// When the server is running (it purges by itself, if `autopurge.purgeInterval` is set), or the disk fails.
pub fn clean_up(dirs: &DataDirs, retain: usize, out: &mut dyn Write) -> Result<()> {
    let _lock = dirs.enter(&OsDisk, false)?;
    let mut store = RocksStore::open(&dirs.database())?;
    for path in purge::purge(&OsDisk, &mut store, dirs, retain)? {
        print(out, format_args!("Removing file: {}\n", path.display()))?;
    }
    Ok(())
}

/// Nothing is judged here: every mark on a znode stays as it is.
fn recovery_options() -> RecoveryOptions {
    RecoveryOptions {
        tree: TreeOptions { extended_types: true, ..TreeOptions::default() },
        trust_empty_snapshot: false,
        auto_create_db: false,
        standalone: false,
        ..RecoveryOptions::default()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/java_data_dir");

    #[test]
    fn what_was_imported_can_be_exported_and_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = DataDirs::new(dir.path().join("ours"), None);
        let import_options = ImportOptions { from: FIXTURE.into(), from_log_dir: None, dirs: dirs.clone() };
        import(&import_options, &mut Vec::new()).unwrap();
        let again = import(&import_options, &mut Vec::new()).unwrap_err();
        assert!(again.to_string().contains("holds data already"), "{again}");

        let mut out = Vec::new();
        export(&ExportOptions { dirs: dirs.clone(), to: None, compression: Compression::Snappy }, &mut out)
            .unwrap();
        let exported = snapshot_files(&OsDisk, &dirs.snapshots()).unwrap().remove(0).path;
        let (tree, head) = load_java_snapshot(&OsDisk, &exported, &recovery_options()).unwrap();
        assert_eq!(head.digest, Some((tree.last_zxid(), tree.digest())));
        assert_eq!(tree.find("/app").unwrap().data(), Some(&b"fourth"[..]));

        let third = DataDirs::new(dir.path().join("third"), None);
        import(&ImportOptions { from: exported, from_log_dir: None, dirs: third }, &mut Vec::new()).unwrap();
    }
}
