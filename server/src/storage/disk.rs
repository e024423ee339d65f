//! The seam to the disk: what the log, the small files and recovery need of a file system, and no more.
//!
//! Production runs on [`OsDisk`], the simulator on [`SimDisk`](super::SimDisk), which forgets what was not
//! synced. RocksDB does its own I/O; behind [`SnapshotStore`](super::SnapshotStore) it can be exchanged too.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags};

/// A file system. What a method has done may be lost in a crash until [`DiskFile::sync`] (for bytes) or
/// [`Disk::sync_dir`] (for names) has returned.
pub trait Disk: fmt::Debug + Send + Sync {
    /// The names of the files in `dir`, sorted; directories are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> bool;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file, empty even if it existed.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a directory and those above it.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file another name, in place of what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock that `path` stands for, until the value is dropped; `None` if another process has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;
}

/// Holds a lock of [`Disk::try_lock`] for as long as it lives.
#[derive(Debug)]
pub struct DiskLock(#[allow(dead_code)] pub(super) Box<dyn HoldsLock>);

/// Whatever lets go of a lock when dropped.
pub(super) trait HoldsLock: Any + fmt::Debug + Send + Sync {}
impl<T: Any + fmt::Debug + Send + Sync> HoldsLock for T {}

/// An open file of a [`Disk`].
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` from `offset` on as far as the file goes; how many bytes that were.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Sets aside room for the file up to `size` bytes, growing it with zeros.
    fn reserve(&self, size: u64) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn resize(&self, size: u64) -> io::Result<()>;
    /// Makes the file's bytes and size durable.
    fn sync(&self) -> io::Result<()>;
    /// A hint: what is durable of `range` is hardly going to be read, and need not be kept in memory.
    fn forget(&self, range: Range<u64>);
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DiskLock(Box::new(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match FileExt::read_at(self, &mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, size) {
            // A file system that cannot set room aside: it is enough that there seems to be some.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let more = size.saturating_sub(self.metadata()?.len());
                let stat = rustix::fs::fstatvfs(self)?;
                if more > stat.f_bavail.saturating_mul(stat.f_frsize) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                if more > 0 { self.set_len(size) } else { Ok(()) }
            }
            other => Ok(other?),
        }
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget(&self, range: Range<u64>) {
        if let Some(len) = range.end.checked_sub(range.start).and_then(NonZeroU64::new) {
            // Where it cannot be done, nothing is lost but memory.
            let _ = rustix::fs::fadvise(self, range.start, Some(len), Advice::DontNeed);
        }
    }
}
