//! A database held open as it was: hard links to its files, opened for reading.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use super::codec::{RecordDecoder, decode_path};
use super::load::znodes;
use super::{ZNODES, damaged, options, remove_dir};
use crate::storage::error::{Error, IoContext, Result};
use crate::storage::java_snapshot::write_body;
use crate::storage::snapshot::{SnapshotHead, ZnodeSink};
use crate::storage::snapshot_source::SnapshotSource;

/// In front of a number: the directories of what is held. Whatever a crash leaves of them goes at the next start.
const NAME: &str = "held-";

/// A copy of the database, for as long as it lives.
pub(super) struct HeldDatabase {
    path: PathBuf,
    head: SnapshotHead,
    /// `None` only while it is dropped.
    db: Option<DB>,
}

impl HeldDatabase {
    /// Holds what is safe in `db`, which is the tree that `head` is of. It is the store's `number`th that is held.
    pub(super) fn new(db: &DB, dir: &Path, number: u64, head: SnapshotHead) -> Result<Self> {
        let path = dir.join(format!("{NAME}{number}"));
        remove_dir(&path)?;
        let held = Checkpoint::new(db).and_then(|checkpoint| checkpoint.create_checkpoint(&path));
        let opened = held.and_then(|()| DB::open_cf_for_read_only(&options(), &path, [ZNODES], false));
        let mut held = Self { path, head, db: None };
        held.db = Some(opened.map_err(Error::database(&held.path))?);
        Ok(held)
    }

    /// Gives every row to `visit`.
    fn rows(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let db = self.db.as_ref().expect("open until it is dropped");
        let mut rows = znodes(db);
        while let Some((key, value)) = rows.item() {
            visit(key, value)?;
            rows.next();
        }
        rows.status().map_err(|error| damaged(&self.path, error.as_ref()))
    }
}

impl SnapshotSource for HeldDatabase {
    fn write_body(&mut self, out: &mut dyn Write) -> Result<()> {
        let path = &self.path;
        let unknown = |what| move || damaged(path, what);
        let mut decoder = RecordDecoder::new();
        self.rows(|_, value| decoder.learn_acl(value).ok_or_else(unknown("a znode's ACL is none")))?;
        let acls = decoder.acls().collect();
        let mut znode = String::new();
        let mut walk = |sink: &mut ZnodeSink<'_>| {
            self.rows(|key, value| {
                znode.clear();
                decode_path(key, &mut znode).ok_or_else(unknown("a key is no path"))?;
                let record = decoder.decode(value).ok_or_else(unknown("a znode is of an unknown format"))?;
                sink(&znode, &record)
            })
        };
        write_body(out, path, &self.head.sessions, Some(acls), &mut walk)
    }
}

impl Drop for HeldDatabase {
    fn drop(&mut self) {
        drop(self.db.take());
        // If it stays, the next start removes it.
        let _ = remove_dir(&self.path);
    }
}

/// Removes what was held by a server that is no more.
pub(super) fn remove_leftovers(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).during("list", dir)? {
        let entry = entry.during("list", dir)?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME)) {
            remove_dir(&entry.path())?;
        }
    }
    Ok(())
}
