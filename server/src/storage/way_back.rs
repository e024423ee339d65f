//! The way back to Java: a snapshot of its own kind, which the log continues.
//!
//! A Java server loads the newest `snapshot.<zxid>` and replays the log from there. It refuses a log without any
//! snapshot, but does not notice a hole between the two; therefore whatever voids or removes a log here removes the
//! Java snapshots that needed it too.

use super::data_dir::DataDirs;
use super::disk::Disk;
use super::error::Result;
use super::java_snapshot::{Compression, JavaSnapshotFile, snapshot_files, write_snapshot};
use super::snapshot::SnapshotStore;

/// Sees to it that a Java server can start in `dirs`, and loses nothing there: writes the stored tree as a snapshot of
/// its kind, unless there is one; which it is. `None` if nothing is stored.
///
/// Txns behind the stored tree stay in the log alone. So an ensemble can still have them given up: a Java server that
/// truncates its log does not look whether its snapshot is beyond.
///
/// # Errors
/// When what is stored cannot be read, or the disk fails.
pub fn leave_snapshot(
    disk: &dyn Disk,
    store: &dyn SnapshotStore,
    dirs: &DataDirs,
    compression: Compression,
) -> Result<Option<JavaSnapshotFile>> {
    let Some(head) = store.head() else {
        return Ok(None);
    };
    let there = snapshot_files(disk, &dirs.snapshots())?.into_iter().find(|file| file.zxid == head.zxid);
    if there.is_some() {
        return Ok(there);
    }
    let path = write_snapshot(disk, &dirs.snapshots(), compression, &head, &mut |sink| {
        let mut outcome = Ok(());
        store.load(&mut |path, record| {
            if outcome.is_ok() {
                outcome = sink(path, &record);
            }
        })?;
        outcome
    })?;
    Ok(Some(JavaSnapshotFile { zxid: head.zxid, path }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::recovery::load_java_snapshot;
    use crate::storage::{MemoryStore, RecoveryOptions, SimDisk};
    use crate::tree::{Tree, TreeOptions};
    use crate::zab::Zxid;

    fn dirs(disk: &SimDisk) -> DataDirs {
        let dirs = DataDirs::new("/d", None);
        disk.create_dir_all(&dirs.snapshots()).unwrap();
        dirs
    }

    #[test]
    fn nothing_is_left_of_nothing() {
        let disk = SimDisk::new(1);
        let dirs = dirs(&disk);
        let left = leave_snapshot(&disk, &MemoryStore::default(), &dirs, Compression::None).unwrap();
        assert_eq!(left, None);
    }

    #[test]
    fn what_is_left_is_the_stored_tree_and_is_written_once() {
        let disk = SimDisk::new(1);
        let dirs = dirs(&disk);
        let mut tree = Tree::new(TreeOptions::default());
        tree.advance_to(Zxid(0x1_0000_0007));
        let mut store = MemoryStore::default();
        crate::storage::recovery::write_base(&mut store, &mut tree).unwrap();

        let left = leave_snapshot(&disk, &store, &dirs, Compression::None).unwrap().unwrap();
        assert_eq!(left.path, dirs.snapshots().join("snapshot.100000007"));
        let (read, head) = load_java_snapshot(&disk, &left.path, &RecoveryOptions::default()).unwrap();
        assert_eq!(head.digest, Some((Zxid(0x1_0000_0007), tree.digest())));
        assert_eq!(read.recompute_digest(), tree.recompute_digest());

        let again = leave_snapshot(&disk, &store, &dirs, Compression::Gzip).unwrap().unwrap();
        assert_eq!(again, left);
    }
}
