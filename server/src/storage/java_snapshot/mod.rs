//! A Java server's snapshots: read to take over from one, written to hand back to one, and (without the file
//! header and what follows the tree) sent and received in a SNAP.
//!
//! | part | what |
//! | --- | --- |
//! | header | `ZKSN`, version 2, dbid -1 |
//! | sessions | count; id and timeout each |
//! | ACLs | count; id and entries each; id -1, in no list, is everything for everyone |
//! | znodes | path, data, ACL id, stat each, in the order of a walk; the root's path is empty; the path `/` ends them |
//! | seal | Adler32 of all before it, the string `/` |
//! | digest | zxid, version 2, the tree's digest; a seal (since 3.6) |
//! | last zxid | the last txn that had been applied; a seal (since 3.9) |
//!
//! They are fuzzy: the tree changed while it was written, so the log has to be replayed from the zxid in the
//! file's name on. ZooKeeper's `FileSnap`, `SnapStream`, `DataTree.serialize`.

mod read;
mod snappy;
mod stream;
mod write;

use std::path::{Path, PathBuf};

pub use read::{JavaSnapshotHead, SNAP_SIGNATURE, SentSnapshot, read_sent, read_snapshot, read_stream};
pub use write::{Walk, write_body, write_snapshot};

use super::disk::Disk;
use super::error::{IoContext, Result};
use super::txn_log::zxid_in_name;
use crate::zab::Zxid;

/// How a snapshot file is compressed; its name tells. `snapshot.compression.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `snapshot.<zxid>.gz`
    Gzip,
    /// `snapshot.<zxid>.snappy`, in snappy-java's own framing.
    Snappy,
}

impl Compression {
    /// By its ZooKeeper name: empty, `gz` or `snappy`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::None),
            "gz" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            _ => None,
        }
    }

    fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.and_then(Self::from_name).unwrap_or_default()
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }
}

/// A Java snapshot by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaSnapshotFile {
    /// The last txn that had been applied when its writing began.
    pub zxid: Zxid,
    /// Where it is.
    pub path: PathBuf,
}

/// The name of the snapshot as of `zxid`.
#[must_use]
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.suffix())
}

/// The Java snapshots in `dir` that are whole as far as can be told at a glance, newest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn snapshot_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<JavaSnapshotFile>> {
    let names = disk.list(dir).during("list", dir)?;
    let mut files: Vec<_> = names
        .iter()
        .filter_map(|name| {
            Some(JavaSnapshotFile { zxid: zxid_in_name(name, "snapshot")?, path: dir.join(name) })
        })
        .filter(|file| read::is_whole(disk, &file.path))
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.zxid));
    Ok(files)
}

#[cfg(test)]
mod tests;
