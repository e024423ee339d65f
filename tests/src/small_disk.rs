//! A small file system, which fills up quickly.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::run;

const DISK_MIB: u64 = 192;
/// Nobody waits this long but for a system that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A file system in a file, mounted until dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// `None` where the system does not let us mount.
    ///
    /// # Errors
    /// When there is no such thing as a file system.
    pub fn mount() -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        fs::File::create(&image)?.set_len(DISK_MIB << 20)?;
        fs::create_dir(dir.path().join("disk"))?;
        let made = run(Command::new("mkfs.ext4").arg("-q").arg("-F").arg(&image), LIMIT)?;
        ensure!(made.code == Some(0), "mkfs.ext4: {}", made.output);
        let disk = Self { dir };
        let mounted = run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()), LIMIT)?;
        if mounted.code != Some(0) {
            println!("SKIPPED: mounting a small file system is not permitted here: {}", mounted.output);
            return Ok(None);
        }
        Ok(Some(disk))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Leaves hardly anything to anybody.
    ///
    /// # Errors
    /// When the system refuses otherwise than for lack of room.
    pub fn fill(&self) -> Result<()> {
        let mut bytes = 64 << 20;
        let mut at = 0;
        while bytes >= 4096 {
            let name = self.path().join(format!("ballast{at}"));
            let taken = run(Command::new("fallocate").arg("-l").arg(bytes.to_string()).arg(&name), LIMIT)?;
            if taken.code != Some(0) {
                // What it took before it failed is given back, and half of it tried.
                fs::remove_file(&name).or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
                bytes /= 2;
            }
            at += 1;
        }
        Ok(())
    }

    /// Takes back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.path())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ballast")) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Not mounted: nothing to undo. Busy: the test has failed before, and left a server running.
        let _ = run(Command::new("umount").arg(self.path()), LIMIT);
    }
}
