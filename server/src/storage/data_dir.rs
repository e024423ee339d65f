//! The directories a server works in, and whether it may.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskLock};
use super::epoch_file::{EpochFiles, read_small, write_atomically};
use super::error::{Error, IoContext, Result};
use super::java_snapshot;
use super::txn_log::log_files;

/// What other services keep where somebody might point us by mistake.
const FOREIGN: [(&str, &str); 6] = [
    ("version-1", "a ZooKeeper older than 3.0"),
    ("member", "etcd"),
    ("meta.properties", "a Kafka broker"),
    ("PG_VERSION", "PostgreSQL"),
    ("state", "ClickHouse Keeper"),
    ("raft", "Consul"),
];

/// Where a server keeps what. `FileTxnSnapLog` checks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirs {
    /// `dataDir`.
    pub data: PathBuf,
    /// `dataLogDir`; the same unless configured.
    pub log: PathBuf,
}

/// Keeps other servers out of the directories.
#[derive(Debug)]
pub struct DataLock {
    _locks: Vec<DiskLock>,
}

impl DataDirs {
    /// `dataDir`, and `dataLogDir` if it is another.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, log: Option<PathBuf>) -> Self {
        let data = data.into();
        Self { log: log.unwrap_or_else(|| data.clone()), data }
    }

    /// Where snapshots and epochs are.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.data.join("version-2")
    }

    /// Where the log is.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.log.join("version-2")
    }

    /// Where the snapshot database is, for [`RocksStore::open`](super::RocksStore::open).
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.snapshots().join("menagerie")
    }

    /// The files with the server's promises.
    #[must_use]
    pub fn epochs(&self) -> EpochFiles {
        EpochFiles { dir: self.snapshots() }
    }

    /// Makes the directories if they are missing and `auto_create` (`zookeeper.datadir.autocreate`) allows it,
    /// refuses them if they are somebody else's, and locks them.
    ///
    /// # Errors
    /// [`Error::Refused`], with what to do about it.
    pub fn enter(&self, disk: &dyn Disk, auto_create: bool) -> Result<DataLock> {
        self.refuse_foreign(disk)?;
        for dir in [self.snapshots(), self.logs()] {
            if !disk.exists(&dir) && !auto_create {
                let what = "is missing, and zookeeper.datadir.autocreate is false: create it, or mount what it is on";
                return Err(Error::refused(&dir, what));
            }
            disk.create_dir_all(&dir).during("create", &dir)?;
        }
        self.refuse_mixed_up(disk)?;
        self.lock(disk)
    }

    fn refuse_foreign(&self, disk: &dyn Disk) -> Result<()> {
        for dir in [&self.data, &self.log] {
            if disk.exists(&dir.join("version-2")) {
                continue;
            }
            if let Some((marker, owner)) = FOREIGN.iter().find(|(marker, _)| disk.exists(&dir.join(marker))) {
                let what = format!(
                    "holds {marker}, so it seems to belong to {owner}; give dataDir a directory of its own"
                );
                return Err(Error::refused(dir, what));
            }
        }
        Ok(())
    }

    /// Snapshots among the logs, or logs among the snapshots, are a sign of mixed-up settings.
    fn refuse_mixed_up(&self, disk: &dyn Disk) -> Result<()> {
        if self.data == self.log {
            return Ok(());
        }
        if let Some(file) = java_snapshot::snapshot_files(disk, &self.logs())?.first() {
            let what = "is a snapshot in dataLogDir; check dataDir and dataLogDir";
            return Err(Error::refused(&file.path, what));
        }
        if let Some(file) = log_files(disk, &self.snapshots())?.first() {
            let what = "is a log in dataDir, while dataLogDir is another directory; move the log.* files there, or \
                        check both settings";
            return Err(Error::refused(&file.path, what));
        }
        Ok(())
    }

    fn lock(&self, disk: &dyn Disk) -> Result<DataLock> {
        let mut dirs = vec![self.snapshots(), self.logs()];
        dirs.dedup();
        let mut locks = Vec::new();
        for dir in dirs {
            let path = dir.join("lock");
            match disk.try_lock(&path).during("lock", &path)? {
                Some(lock) => locks.push(lock),
                None => return Err(Error::refused(&dir, "another server is running here")),
            }
        }
        Ok(DataLock { _locks: locks })
    }

    /// The server's number, from `myid`; `None` if there is no such file.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn my_id(&self, disk: &dyn Disk) -> Result<Option<i64>> {
        let path = self.data.join("myid");
        let Some(text) = read_small(disk, &path)? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(Error::BadFile { path, what: format!("{:?} is no server id", text.trim()) }),
        }
    }

    /// Writes `myid`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_my_id(&self, disk: &dyn Disk, id: i64) -> Result<()> {
        write_atomically(disk, &self.data.join("myid"), format!("{id}\n").as_bytes())
    }

    /// Says that an empty database is not a lost one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn mark_initialized(&self, disk: &dyn Disk) -> Result<()> {
        write_atomically(disk, &self.initialize_marker(), b"")
    }

    pub(super) fn initialize_marker(&self) -> PathBuf {
        self.data.join("initialize")
    }
}

/// Removes a file if it is there.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    if disk.exists(path) { disk.remove(path).during("remove", path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{OsDisk, SimDisk};

    #[test]
    fn two_servers_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = DataDirs::new(dir.path(), None);
        let first = dirs.enter(&OsDisk, true).unwrap();
        let error = dirs.enter(&OsDisk, true).unwrap_err();
        assert!(error.to_string().contains("another server is running here"), "{error}");
        drop(first);
        dirs.enter(&OsDisk, true).unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let disk = SimDisk::new(1);
        disk.create(Path::new("/d/PG_VERSION")).unwrap();
        let error = DataDirs::new("/d", None).enter(&disk, true).unwrap_err();
        assert!(error.to_string().contains("PostgreSQL"), "{error}");
    }

    #[test]
    fn logs_and_snapshots_stay_where_they_are_configured() {
        let disk = SimDisk::new(1);
        disk.create(Path::new("/d/version-2/log.1")).unwrap();
        assert!(DataDirs::new("/d", None).enter(&disk, true).is_ok());
        disk.kill();
        let error = DataDirs::new("/d", Some("/l".into())).enter(&disk, true).unwrap_err();
        assert!(error.to_string().contains("is a log in dataDir"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_not_made_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let error = DataDirs::new(dir.path().join("gone"), None).enter(&OsDisk, false).unwrap_err();
        assert!(error.to_string().contains("autocreate"), "{error}");
    }

    #[test]
    fn my_id_is_a_number() {
        let disk = SimDisk::new(1);
        let dirs = DataDirs::new("/d", None);
        assert_eq!(dirs.my_id(&disk).unwrap(), None);
        dirs.save_my_id(&disk, 3).unwrap();
        assert_eq!(dirs.my_id(&disk).unwrap(), Some(3));
        disk.create(Path::new("/d/myid")).unwrap().write_at(0, b"three").unwrap();
        assert!(dirs.my_id(&disk).is_err());
    }
}
