//! The promises a server keeps over restarts: `currentEpoch`, `acceptedEpoch`; and `myid`.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{Error, IoContext, Result};
use crate::zab::{Epoch, Zxid};

/// Longer than any number; a file that is longer holds something else.
const FILE_BYTES_MAX: usize = 64;

/// The epochs as they are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// The epoch of the leader whose history this server has taken over.
    pub current: Epoch,
    /// The newest epoch this server has promised to follow. Never below `current`.
    pub accepted: Epoch,
}

/// Reads and writes the epochs of one server. `QuorumPeer.loadDataBase`, `setCurrentEpoch`, `setAcceptedEpoch`.
#[derive(Debug, Clone)]
#[doc(alias = "AtomicFileOutputStream")]
#[doc(alias = "currentEpoch")]
#[doc(alias = "acceptedEpoch")]
pub struct EpochFiles {
    /// `<dataDir>/version-2`.
    pub dir: PathBuf,
}

impl EpochFiles {
    /// What is on the disk, for a server whose last txn is `last`. A file that is missing is written: a server
    /// that had none belongs to the epoch of its last txn.
    ///
    /// A crash may have come between a leader's txns and the note whose history they are. The epoch was accepted
    /// before, so it has become this server's: whoever has one of an epoch's txns has all that its leader began with.
    ///
    /// # Errors
    /// When a file holds no epoch, or they contradict each other or the log: going on could break a promise.
    pub fn load(&self, disk: &dyn Disk, last: Zxid) -> Result<Epochs> {
        let of_log = Zxid(last.0.max(0)).epoch();
        let current = match self.read(disk, "currentEpoch")? {
            Some(current) if current < of_log => match self.read(disk, "acceptedEpoch")? {
                Some(accepted) if accepted >= of_log => self.write(disk, "currentEpoch", of_log)?,
                _ => self.promised_in_time(disk, current, of_log)?,
            },
            Some(current) => current,
            None => self.write(disk, "currentEpoch", of_log)?,
        };
        let accepted = match self.read(disk, "acceptedEpoch")? {
            Some(accepted) => accepted,
            None => self.write(disk, "acceptedEpoch", current.max(of_log))?,
        };
        if accepted < current {
            return Err(Error::BadFile {
                path: self.dir.join("acceptedEpoch"),
                what: format!("epoch {} is older than currentEpoch {}", accepted.0, current.0),
            });
        }
        Ok(Epochs { current, accepted })
    }

    /// The epochs of a server that is somebody else's to change, whose last txn is `last`.
    ///
    /// # Errors
    /// When a file holds no epoch.
    pub fn look_at(&self, disk: &dyn Disk, last: Zxid) -> Result<Epochs> {
        let current = self.read(disk, "currentEpoch")?.unwrap_or_default().max(last.epoch());
        let accepted = self.read(disk, "acceptedEpoch")?.unwrap_or_default().max(current);
        Ok(Epochs { current, accepted })
    }

    /// Before this server tells the leader of `epoch` that it has its history.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_current(&self, disk: &dyn Disk, epoch: Epoch) -> Result<()> {
        self.write(disk, "currentEpoch", epoch).map(drop)
    }

    /// Before this server acknowledges `epoch`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_accepted(&self, disk: &dyn Disk, epoch: Epoch) -> Result<()> {
        self.write(disk, "acceptedEpoch", epoch).map(drop)
    }

    /// A crash between the two halves of a write leaves the newer epoch in the file's forerunner.
    fn promised_in_time(&self, disk: &dyn Disk, current: Epoch, of_log: Epoch) -> Result<Epoch> {
        match self.read(disk, "currentEpoch.tmp")? {
            Some(newer) if newer >= of_log => self.write(disk, "currentEpoch", newer),
            _ => Err(Error::BadFile {
                path: self.dir.join("currentEpoch"),
                what: format!("epoch {} is older than the log's last txn, of epoch {}", current.0, of_log.0),
            }),
        }
    }

    fn read(&self, disk: &dyn Disk, name: &str) -> Result<Option<Epoch>> {
        let path = self.dir.join(name);
        let Some(text) = read_small(disk, &path)? else {
            return Ok(None);
        };
        let epoch = text.trim().parse::<u32>().ok().filter(|epoch| *epoch <= i32::MAX.cast_unsigned());
        match epoch {
            Some(epoch) => Ok(Some(Epoch(epoch))),
            None => Err(Error::BadFile { path, what: "holds no epoch".into() }),
        }
    }

    fn write(&self, disk: &dyn Disk, name: &str, epoch: Epoch) -> Result<Epoch> {
        write_atomically(disk, &self.dir.join(name), epoch.0.to_string().as_bytes())?;
        Ok(epoch)
    }
}

/// The content of a small text file; `None` if there is none.
///
/// # Errors
/// When it cannot be read, is long, or is no text.
pub fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    if !disk.exists(path) {
        return Ok(None);
    }
    let file = disk.open_read(path).during("open", path)?;
    let mut bytes = [0; FILE_BYTES_MAX + 1];
    let len = file.read_at(0, &mut bytes).during("read", path)?;
    match std::str::from_utf8(&bytes[..len]) {
        Ok(text) if len <= FILE_BYTES_MAX => Ok(Some(text.to_owned())),
        _ => Err(Error::BadFile { path: path.to_owned(), what: "holds more than a number".into() }),
    }
}

/// Puts `bytes` in place of the file's content: after a crash it holds either all of the old or all of the new.
///
/// # Errors
/// When the disk fails.
pub fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut forerunner = path.as_os_str().to_owned();
    forerunner.push(".tmp");
    let forerunner = PathBuf::from(forerunner);
    let file = disk.create(&forerunner).during("create", &forerunner)?;
    file.write_at(0, bytes).during("write", &forerunner)?;
    file.sync().during("sync", &forerunner)?;
    disk.rename(&forerunner, path).during("rename", path)?;
    disk.sync_dir(dir).during("sync", dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimDisk;

    fn files() -> EpochFiles {
        EpochFiles { dir: PathBuf::from("/d") }
    }

    #[test]
    fn promises_survive_any_crash() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            files().save_accepted(&disk, Epoch(5)).unwrap();
            files().save_current(&disk, Epoch(4)).unwrap();
            disk.fail_sync_after(seed % 3);
            let _ = files().save_current(&disk, Epoch(5));
            disk.crash();
            let epochs = files().load(&disk, Zxid::new(Epoch(4), 9)).unwrap();
            assert!(epochs.accepted == Epoch(5) && epochs.current >= Epoch(4), "seed {seed}: {epochs:?}");
        }
    }

    #[test]
    fn without_files_the_epoch_is_that_of_the_last_txn() {
        let disk = SimDisk::new(1);
        let epochs = files().load(&disk, Zxid::new(Epoch(3), 9)).unwrap();
        assert_eq!(epochs, Epochs { current: Epoch(3), accepted: Epoch(3) });
        assert_eq!(files().load(&disk, Zxid::new(Epoch(3), 9)).unwrap(), epochs);
    }

    #[test]
    fn an_accepted_epoch_whose_txns_came_before_a_crash_is_the_current_one() {
        let disk = SimDisk::new(1);
        files().save_accepted(&disk, Epoch(5)).unwrap();
        files().save_current(&disk, Epoch(2)).unwrap();
        let epochs = files().load(&disk, Zxid::new(Epoch(4), 3)).unwrap();
        assert_eq!(epochs, Epochs { current: Epoch(4), accepted: Epoch(5) });
        assert_eq!(files().load(&disk, Zxid::new(Epoch(4), 3)).unwrap(), epochs);
    }

    #[test]
    fn an_epoch_that_contradicts_the_log_is_refused() {
        let disk = SimDisk::new(1);
        files().save_accepted(&disk, Epoch(2)).unwrap();
        files().save_current(&disk, Epoch(2)).unwrap();
        let error = files().load(&disk, Zxid::new(Epoch(3), 1)).unwrap_err();
        assert!(error.to_string().contains("older than the log's last txn"), "{error}");

        files().save_accepted(&disk, Epoch(1)).unwrap();
        let error = files().load(&disk, Zxid::new(Epoch(2), 1)).unwrap_err();
        assert!(error.to_string().contains("older than currentEpoch"), "{error}");
    }
}
