//! Snapshots in RocksDB: a cut costs what changed, not what is there.
//!
//! Three column families: `znodes`, `sessions`, and `default`, which holds the head. A cut is one write batch over
//! all three, without RocksDB's own log: the txn log has it all. What is in memory reaches the disk by atomic
//! flushes of all families at once, so whatever a crash leaves is the tree as of some cut; only
//! [`SnapshotStore::flush`] says which one is safe.
//!
//! A whole tree is written to a database of its own, sorted files that are taken in as they are, which then takes
//! the place of the old one by renaming: `db.new` to `db`, when it is complete.

mod codec;
mod held;
mod load;
mod replace;

#[cfg(feature = "fuzzing")]
pub use codec::fuzz_database_records;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, FlushOptions,
    LogLevel, Options, WriteBatch,
};
use tracing::{info, warn};

use super::error::{Error, IoContext, Result};
use super::snapshot::{SnapshotHead, SnapshotStore, ZnodeSink};
use super::snapshot_source::SnapshotSource;
use super::txn_log::zxid_in_name;
use crate::session::SessionId;
use crate::tree::{Cut, ZnodeRecord};
use crate::zab::Zxid;
use held::HeldDatabase;

const ZNODES: &str = "znodes";
const SESSIONS: &str = "sessions";
const HEAD_KEY: &[u8] = b"head";
/// There while [`SnapshotStore::voids_log`].
const VOIDS_LOG_KEY: &[u8] = b"voids_log";
/// The format of heads, keys and values. A later one is refused.
const FORMAT: u8 = 1;
/// What is kept in memory between flushes. Twice that while one is under way.
const MEMTABLE_BYTES: usize = 8 << 20;
/// Flushed files that wait for a compaction, which writes all that is stored again, while very much comes; and while little
/// does. The more there are, the more the next start has to merge.
const L0_FILES_BUSY: i32 = 64;
const L0_FILES_CALM: i32 = 4;
/// Background work leaves the disk to the log.
const BACKGROUND_BYTES_PER_SECOND: i64 = 64 << 20;

/// A database of snapshots, in the directory it was opened with: `db` in there, and copies set aside.
pub struct RocksStore {
    dir: PathBuf,
    /// `None` while a whole tree takes the place of the old, and if it could not be opened again after a failure.
    db: Option<DB>,
    written: Option<SnapshotHead>,
    /// Of what was written, all is durable.
    flushed: bool,
    durable: Option<Zxid>,
    replaced_at: Option<Zxid>,
    voids_log: bool,
    sessions: BTreeMap<SessionId, i32>,
    puts_off_compactions: bool,
    /// How many trees were held open.
    held: u64,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore")
            .field("dir", &self.dir)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Opens the database below `dir`, or makes an empty one. If there is none but copies were set aside, the
    /// newest of them is taken.
    ///
    /// # Errors
    /// When it is damaged, of a later format, or the disk fails.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).during("create", dir)?;
        settle_replacement(dir)?;
        held::remove_leftovers(dir)?;
        if !dir.join("db").exists()
            && let Some((zxid, copy)) = copies(dir)?.pop()
        {
            warn!(%zxid, path = %copy.display(), "no database, taking the newest that was set aside");
            restore(&copy, dir)?;
        }
        let mut store = Self {
            dir: dir.to_owned(),
            db: None,
            written: None,
            flushed: true,
            durable: None,
            replaced_at: None,
            voids_log: false,
            sessions: BTreeMap::new(),
            puts_off_compactions: true,
            held: 0,
        };
        store.open_as_it_is()?;
        Ok(store)
    }

    /// Opens the database, and knows what is in it.
    fn open_as_it_is(&mut self) -> Result<()> {
        let db = open_database(&self.path())?;
        let head = self.read_head(&db)?;
        self.voids_log = db.get(VOIDS_LOG_KEY).map_err(self.failed())?.is_some();
        self.durable = head.as_ref().map(|head| head.zxid);
        self.sessions = head.iter().flat_map(|head| head.sessions.iter().copied()).collect();
        self.written = head;
        self.flushed = true;
        self.puts_off_compactions = true;
        self.db = Some(db);
        Ok(())
    }

    /// See [`RocksStore::put_off_compactions`].
    #[must_use]
    pub fn puts_off_compactions(&self) -> bool {
        self.puts_off_compactions
    }

    /// Has compactions wait for long, or, if `off` is false, hardly: then those that waited begin, in the background. They
    /// make the next start faster and cost processor time, which is better spent while little comes. Put off when the store
    /// is opened.
    ///
    /// # Errors
    /// When the database has failed.
    pub fn put_off_compactions(&mut self, off: bool) -> Result<()> {
        if off != self.puts_off_compactions {
            let files = if off { L0_FILES_BUSY } else { L0_FILES_CALM };
            let db = self.db()?;
            db.set_options_cf(
                family(db, ZNODES),
                &[("level0_file_num_compaction_trigger", &files.to_string())],
            )
            .map_err(self.failed())?;
            self.puts_off_compactions = off;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn db(&self) -> Result<&DB> {
        let closed = || Error::refused(&self.path(), "is closed since it failed");
        self.db.as_ref().ok_or_else(closed)
    }

    fn failed(&self) -> impl Fn(rocksdb::Error) -> Error + use<> {
        let path = self.path();
        move |source| match source.kind() {
            rocksdb::ErrorKind::Corruption => damaged(&path, source.as_ref()),
            _ => Error::Database { path: path.clone(), source },
        }
    }

    fn read_head(&mut self, db: &DB) -> Result<Option<SnapshotHead>> {
        let Some(value) = db.get(HEAD_KEY).map_err(self.failed())? else {
            return Ok(None);
        };
        let (zxid, digest, replaced_at) =
            decode_head(&value).ok_or_else(|| damaged(&self.path(), "its head is of an unknown format"))?;
        self.replaced_at = replaced_at;
        let mut sessions = Vec::new();
        let mut rows = db.raw_iterator_cf(family(db, SESSIONS));
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let session = key.try_into().map(i64::from_be_bytes);
            let timeout_ms = value.try_into().map(i32::from_be_bytes);
            let (Ok(session), Ok(timeout_ms)) = (session, timeout_ms) else {
                return Err(damaged(&self.path(), "a session is of an unknown format"));
            };
            sessions.push((SessionId(session), timeout_ms));
            rows.next();
        }
        rows.status().map_err(self.failed())?;
        Ok(Some(SnapshotHead { zxid, digest, sessions }))
    }

    fn batch_of(&self, db: &DB, cut: &Cut) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let znodes = family(db, ZNODES);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (path, record) in cut.znodes.iter() {
            codec::encode_path(path, &mut key);
            if let Some(record) = record {
                codec::encode_record(record, &mut value);
                batch.put_cf(znodes, &key, &value);
            } else {
                batch.delete_cf(znodes, &key);
            }
        }
        batch.put(HEAD_KEY, encode_head(cut.zxid, cut.digest, self.replaced_at));
        batch
    }

    fn put_tree(
        &mut self,
        head: &SnapshotHead,
        voids_log: bool,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()> {
        replace::build(&self.dir.join("db.new"), head, voids_log, feed)?;
        self.db = None;
        put_away(&self.dir)?;
        let completed = complete_replacement(&self.dir).and_then(|()| self.open_as_it_is());
        completed.map_err(|error| Error::Halfway { path: self.dir.clone(), source: Box::new(error) })?;
        info!(zxid = %head.zxid, "whole snapshot written");
        Ok(())
    }

    /// Adds to the batch what is different about the sessions; what they are then.
    fn batch_sessions(&self, db: &DB, cut: &Cut, batch: &mut WriteBatch) -> BTreeMap<SessionId, i32> {
        let now: BTreeMap<_, _> = cut.sessions.iter().copied().collect();
        let family = family(db, SESSIONS);
        for (session, timeout_ms) in &now {
            if self.sessions.get(session) != Some(timeout_ms) {
                batch.put_cf(family, session.0.to_be_bytes(), timeout_ms.to_be_bytes());
            }
        }
        for session in self.sessions.keys().filter(|session| !now.contains_key(session)) {
            batch.delete_cf(family, session.0.to_be_bytes());
        }
        now
    }
}

impl SnapshotStore for RocksStore {
    fn durable(&self) -> Option<Zxid> {
        self.durable
    }

    fn written(&self) -> Option<Zxid> {
        self.written.as_ref().map(|head| head.zxid)
    }

    fn head(&self) -> Option<SnapshotHead> {
        self.written.clone()
    }

    /// Counts a znode once for each sorted file that it stands in.
    fn znodes_estimate(&self) -> usize {
        let Ok(db) = self.db() else {
            return 0;
        };
        let keys = db.property_int_value_cf(family(db, ZNODES), properties::ESTIMATE_NUM_KEYS);
        keys.ok().flatten().and_then(|keys| usize::try_from(keys).ok()).unwrap_or(0)
    }

    fn load(&self, visit: &mut dyn FnMut(&str, ZnodeRecord)) -> Result<Option<SnapshotHead>> {
        let Some(head) = &self.written else {
            return Ok(None);
        };
        load::load(self.db()?, &self.path(), visit)?;
        Ok(Some(head.clone()))
    }

    fn write(&mut self, cut: &Cut) -> Result<()> {
        if cut.whole {
            return self.replace(&head_of(cut), &mut |sink| {
                let mut znodes = cut.znodes.iter().filter_map(|(path, record)| Some((path, record?)));
                znodes.try_for_each(|(path, record)| sink(path, record))
            });
        }
        let db = self.db()?;
        let mut batch = self.batch_of(db, cut);
        let sessions = self.batch_sessions(db, cut, &mut batch);
        db.write_without_wal(batch).map_err(self.failed())?;
        self.sessions = sessions;
        self.written = Some(head_of(cut));
        self.flushed = false;
        Ok(())
    }

    fn flush(&mut self) -> Result<Option<Zxid>> {
        if !self.flushed {
            flush(self.db()?).map_err(self.failed())?;
            self.flushed = true;
            self.durable = self.written.as_ref().map(|head| head.zxid);
        }
        Ok(self.durable)
    }

    fn reopen(&mut self) -> Result<Option<Zxid>> {
        self.db = None;
        settle_replacement(&self.dir)?;
        self.open_as_it_is()?;
        info!(zxid = ?self.durable, "the snapshot database was opened again");
        Ok(self.durable)
    }

    fn replace(
        &mut self,
        head: &SnapshotHead,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()> {
        self.put_tree(head, false, feed)
    }

    fn replace_history(
        &mut self,
        head: &SnapshotHead,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()> {
        self.put_tree(head, true, feed)
    }

    fn voids_log(&self) -> bool {
        self.voids_log
    }

    fn begin_log(&mut self) -> Result<()> {
        let db = self.db()?;
        let mut batch = WriteBatch::default();
        batch.delete(VOIDS_LOG_KEY);
        db.write_without_wal(batch).and_then(|()| flush(db)).map_err(self.failed())?;
        self.voids_log = false;
        Ok(())
    }

    fn hold(&mut self) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>> {
        self.flush()?;
        let Some(head) = self.written.clone() else {
            return Ok(None);
        };
        self.held += 1;
        let zxid = head.zxid;
        let held = HeldDatabase::new(self.db()?, &self.dir, self.held, head)?;
        Ok(Some((zxid, Box::new(held))))
    }

    fn replaced_at(&self) -> Option<Zxid> {
        self.replaced_at
    }

    fn keep(&mut self) -> Result<()> {
        let Some(zxid) = self.flush()? else {
            return Ok(());
        };
        let copy = self.dir.join(format!("db.{:x}", zxid.0));
        if copy.exists() {
            return Ok(());
        }
        let unfinished = self.dir.join("db.tmp");
        remove_dir(&unfinished)?;
        Checkpoint::new(self.db()?)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&unfinished))
            .map_err(self.failed())?;
        fs::rename(&unfinished, &copy).during("rename", &copy)?;
        sync_dir(&self.dir)
    }

    fn release_before(&mut self, zxid: Zxid) -> Result<()> {
        let old = copies(&self.dir)?.into_iter().filter(|(copy, _)| *copy < zxid);
        old.map(|(_, path)| path).try_for_each(|path| remove_dir(&path))
    }

    fn kept(&self) -> Result<Vec<Zxid>> {
        Ok(copies(&self.dir)?.into_iter().map(|(zxid, _)| zxid).collect())
    }
}

/// The copies that were set aside, oldest first.
fn copies(dir: &Path) -> Result<Vec<(Zxid, PathBuf)>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(dir).during("list", dir)? {
        let name = entry.during("list", dir)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(zxid) = zxid_in_name(name, "db").filter(|zxid| format!("db.{:x}", zxid.0) == name) {
            copies.push((zxid, dir.join(name)));
        }
    }
    copies.sort();
    Ok(copies)
}

/// Makes `db` out of a copy that was set aside, which stays.
fn restore(copy: &Path, dir: &Path) -> Result<()> {
    let unfinished = dir.join("db.tmp");
    remove_dir(&unfinished)?;
    let source = open_database(copy)?;
    Checkpoint::new(&source)
        .and_then(|checkpoint| checkpoint.create_checkpoint(&unfinished))
        .map_err(Error::database(copy))?;
    fs::rename(&unfinished, dir.join("db")).during("rename", &unfinished)?;
    sync_dir(dir)
}

/// Makes place for `db.new`. If that fails, the old database is still where it was.
fn put_away(dir: &Path) -> Result<()> {
    let (old, current) = (dir.join("db.old"), dir.join("db"));
    remove_dir(&old)?;
    sync_dir(dir)?;
    fs::rename(&current, &old).during("rename", &current)
}

/// Puts `db.new` where `db` was. A crash in between is settled when the store is opened.
fn complete_replacement(dir: &Path) -> Result<()> {
    let (old, new, current) = (dir.join("db.old"), dir.join("db.new"), dir.join("db"));
    fs::rename(&new, &current).during("rename", &new)?;
    sync_dir(dir)?;
    remove_dir(&old)
}

/// Ends what a crash has interrupted. `db` is away only while `db.new` is complete.
fn settle_replacement(dir: &Path) -> Result<()> {
    let (old, new, current) = (dir.join("db.old"), dir.join("db.new"), dir.join("db"));
    if old.exists() && new.exists() && !current.exists() {
        fs::rename(&new, &current).during("rename", &new)?;
        sync_dir(dir)?;
    }
    for leftover in [old, new, dir.join("db.tmp")] {
        remove_dir(&leftover)?;
    }
    Ok(())
}

fn remove_dir(path: &Path) -> Result<()> {
    if path.exists() { fs::remove_dir_all(path).during("remove", path) } else { Ok(()) }
}

fn sync_dir(dir: &Path) -> Result<()> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).during("sync", dir)
}

fn open_database(path: &Path) -> Result<DB> {
    let options = options();
    let mut znodes = options.clone();
    znodes.set_level_zero_file_num_compaction_trigger(L0_FILES_BUSY);
    // Cuts go on while a compaction that was put off is under way.
    znodes.set_level_zero_slowdown_writes_trigger(2 * L0_FILES_BUSY);
    znodes.set_level_zero_stop_writes_trigger(3 * L0_FILES_BUSY);
    let families = [("default", options.clone()), (ZNODES, znodes), (SESSIONS, options.clone())]
        .map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
    DB::open_cf_descriptors(&options, path, families).map_err(|source| match source.kind() {
        rocksdb::ErrorKind::Corruption => damaged(path, source.as_ref()),
        _ => Error::Database { path: path.to_owned(), source },
    })
}

fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    // Read once, at start, from front to back: large blocks, and no cache to speak of.
    blocks.set_block_size(64 << 10);
    blocks.set_block_cache(&Cache::new_lru_cache(1 << 20));
    blocks.set_format_version(5);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_paranoid_checks(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_background_jobs(2);
    options.set_ratelimiter(BACKGROUND_BYTES_PER_SECOND, 100_000, 10);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

fn head_of(cut: &Cut) -> SnapshotHead {
    SnapshotHead { zxid: cut.zxid, digest: cut.digest, sessions: cut.sessions.clone() }
}

fn family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("opened with all families")
}

fn flush(db: &DB) -> std::result::Result<(), rocksdb::Error> {
    let families = ["default", ZNODES, SESSIONS].map(|name| family(db, name));
    db.flush_cfs_opt(&families, &FlushOptions::default())
}

/// The format, the cut's zxid and digest, and when the tree was last written as a whole, -1 being never.
fn encode_head(zxid: Zxid, digest: u64, replaced_at: Option<Zxid>) -> Vec<u8> {
    let replaced_at = replaced_at.map_or(-1, |zxid| zxid.0);
    [&[FORMAT][..], &zxid.0.to_be_bytes(), &digest.to_be_bytes(), &replaced_at.to_be_bytes()].concat()
}

fn decode_head(value: &[u8]) -> Option<(Zxid, u64, Option<Zxid>)> {
    let (format, rest) = value.split_first()?;
    let (numbers, []) = rest.as_chunks::<8>() else {
        return None;
    };
    let [zxid, digest, replaced_at] = numbers else {
        return None;
    };
    let replaced_at = Some(Zxid(i64::from_be_bytes(*replaced_at))).filter(|zxid| zxid.0 >= 0);
    (*format == FORMAT).then_some((Zxid(i64::from_be_bytes(*zxid)), u64::from_be_bytes(*digest), replaced_at))
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::corrupt_snapshot(
        path,
        format!(
            "{what}; move this directory away: the next start takes the newest copy set aside beside it, or a \
             Java snapshot, and the log from there"
        ),
    )
}

#[cfg(test)]
mod tests;
