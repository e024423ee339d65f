//! Writing a whole tree to a new database.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IngestExternalFileOptions, SstFileWriter, WriteBatch};

use super::{
    HEAD_KEY, SESSIONS, VOIDS_LOG_KEY, ZNODES, codec, encode_head, family, flush, open_database, options,
    remove_dir,
};
use crate::storage::error::{Error, IoContext, Result};
use crate::storage::snapshot::{SnapshotHead, ZnodeSink};

/// So much is sorted at a time. A walk in order makes files that do not overlap, which RocksDB likes best.
const RUN_BYTES: usize = 32 << 20;

/// Makes a database at `path` that holds what `feed` gives it. It is complete and on the disk on return.
pub(super) fn build(
    path: &Path,
    head: &SnapshotHead,
    voids_log: bool,
    feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
) -> Result<()> {
    remove_dir(path)?;
    let runs_dir = path.with_extension("tmp");
    remove_dir(&runs_dir)?;
    fs::create_dir_all(&runs_dir).during("create", &runs_dir)?;

    let mut runs = Runs { dir: runs_dir.clone(), paths: Vec::new(), rows: Vec::new(), bytes: 0 };
    feed(&mut |path, record| runs.add(path, record))?;
    runs.finish_run()?;

    let db = open_database(path)?;
    fill(&db, head, voids_log, &runs.paths).map_err(Error::database(path))?;
    drop(db);
    remove_dir(&runs_dir)
}

fn fill(
    db: &DB,
    head: &SnapshotHead,
    voids_log: bool,
    runs: &[PathBuf],
) -> std::result::Result<(), rocksdb::Error> {
    if !runs.is_empty() {
        let mut move_in = IngestExternalFileOptions::default();
        move_in.set_move_files(true);
        // Runs of an unordered feed overlap: one after the other, RocksDB finds each its level.
        for run in runs {
            db.ingest_external_file_cf_opts(family(db, ZNODES), &move_in, vec![run])?;
        }
    }
    let mut batch = WriteBatch::default();
    for (session, timeout_ms) in &head.sessions {
        batch.put_cf(family(db, SESSIONS), session.0.to_be_bytes(), timeout_ms.to_be_bytes());
    }
    batch.put(HEAD_KEY, encode_head(head.zxid, head.digest, Some(head.zxid)));
    if voids_log {
        batch.put(VOIDS_LOG_KEY, []);
    }
    db.write_without_wal(batch)?;
    flush(db)
}

/// Sorted files made of rows that come in any order.
struct Runs {
    dir: PathBuf,
    paths: Vec<PathBuf>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Runs {
    fn add(&mut self, path: &str, record: &crate::tree::ZnodeRecord) -> Result<()> {
        let (mut key, mut value) = (Vec::with_capacity(path.len()), Vec::new());
        codec::encode_path(path, &mut key);
        codec::encode_record(record, &mut value);
        self.bytes += key.len() + value.len();
        self.rows.push((key, value));
        if self.bytes >= RUN_BYTES { self.finish_run() } else { Ok(()) }
    }

    fn finish_run(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let path = self.dir.join(format!("{}.sst", self.paths.len()));
        self.rows.sort();
        self.write_run(&path).map_err(Error::database(&path))?;
        self.paths.push(path);
        (self.rows, self.bytes) = (Vec::new(), 0);
        Ok(())
    }

    fn write_run(&self, path: &Path) -> std::result::Result<(), rocksdb::Error> {
        let options = options();
        let mut writer = SstFileWriter::create(&options);
        writer.open(path)?;
        for (key, value) in &self.rows {
            writer.put(key, value)?;
        }
        writer.finish()
    }
}
