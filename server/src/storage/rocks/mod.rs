//! Snapshots in RocksDB: a cut costs what changed, not what is there.
//!
//! What cuts bring is collected, sorted by path, and written to files that RocksDB takes in as they are: it keeps nothing
//! in memory, and needs no log of its own, as the txn log has it all. The head comes with them, as one more key, so
//! whatever a crash leaves is the tree as of some [`SnapshotStore::flush`].
//!
//! A whole tree is written to a database of its own, sorted files that are taken in as they are, which then takes
//! the place of the old one by renaming: `db.new` to `db`, when it is complete.

mod codec;
mod format_1;
mod held;
mod load;
mod replace;
mod runs;

#[cfg(feature = "fuzzing")]
pub use codec::fuzz_database_records;

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, LogLevel, Options,
    WaitForCompactOptions,
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
use runs::Runs;

/// The family that holds all but what the format, and whether the log is void, are.
const ZNODES: &str = "znodes";
/// Behind all znodes: no path holds such a byte.
const HEAD_KEY: &[u8] = b"\xffhead";
/// Where the head of format 1 was, which began with that number.
const FORMAT_KEY: &[u8] = b"head";
/// There while [`SnapshotStore::voids_log`].
const VOIDS_LOG_KEY: &[u8] = b"voids_log";
/// The format of heads, keys and values. A later one is refused.
const FORMAT: u8 = 2;
/// What is kept in memory between flushes.
const RUN_BYTES: usize = 8 << 20;
/// How many flushed files wait for a compaction, which writes all that is stored again, and how many bytes of them, while
/// very much comes; and while little does. The more there are, the more the next start has to merge.
const L0_BUSY: L0Limit = L0Limit { files: 64, bytes: 64 * RUN_BYTES };
const L0_CALM: L0Limit = L0Limit { files: 4, bytes: 256 << 20 };
/// When so many wait, cuts wait for a compaction.
const L0_FILES_MAX: u64 = 192;
/// Background work leaves the disk to the log.
const BACKGROUND_BYTES_PER_SECOND: i64 = 64 << 20;

/// See [`L0_BUSY`].
#[derive(Debug, Clone, Copy)]
struct L0Limit {
    files: i32,
    bytes: usize,
}

/// A database of snapshots, in the directory it was opened with: `db` in there, and copies set aside.
pub struct RocksStore {
    dir: PathBuf,
    /// `None` while a whole tree takes the place of the old, and if it could not be opened again after a failure.
    db: Option<DB>,
    durable: Option<SnapshotHead>,
    /// What was written since the last flush, and the head it comes to, if no part of it is missing. They outlive a
    /// failure of the database.
    runs: Runs,
    unflushed: Option<SnapshotHead>,
    replaced_at: Option<Zxid>,
    voids_log: bool,
    puts_off_compactions: bool,
    /// How many trees were held open.
    held: u64,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore")
            .field("dir", &self.dir)
            .field("durable", &self.durable())
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
        remove_dir(&runs_dir(dir))?;
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
            durable: None,
            runs: Runs::new(runs_dir(dir), RUN_BYTES),
            unflushed: None,
            replaced_at: None,
            voids_log: false,
            puts_off_compactions: true,
            held: 0,
        };
        store.open_as_it_is()?;
        Ok(store)
    }

    /// Opens the database, and knows what is in it.
    fn open_as_it_is(&mut self) -> Result<()> {
        let mut db = open_database(&self.path())?;
        match db.get(FORMAT_KEY).map_err(self.failed())?.as_deref() {
            None => flush_mark(&db).map_err(self.failed())?,
            Some([FORMAT]) => {}
            Some([format_1::FORMAT, ..]) => {
                format_1::upgrade(&db, &self.path(), &self.dir.join("db.new"))?;
                drop(db);
                put_away(&self.dir)?;
                complete_replacement(&self.dir)?;
                info!(path = %self.path().display(), "the snapshot database was brought to this version's format");
                db = open_database(&self.path())?;
            }
            Some(_) => return Err(damaged(&self.path(), "it is of an unknown format")),
        }
        let unknown = || damaged(&self.path(), "its head is of an unknown format");
        let head = db.get_cf(family(&db, ZNODES), HEAD_KEY).map_err(self.failed())?;
        let head = head.map(|head| decode_head(&head).ok_or_else(unknown)).transpose()?;
        let (head, replaced_at) = head.unzip();
        self.replaced_at = replaced_at.flatten();
        self.voids_log = db.get(VOIDS_LOG_KEY).map_err(self.failed())?.is_some();
        self.durable = head;
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
            let limit = if off { L0_BUSY } else { L0_CALM };
            let db = self.db()?;
            let options = [
                ("level0_file_num_compaction_trigger", &*limit.files.to_string()),
                // The first level's size is as much as may wait in front of it, too.
                ("max_bytes_for_level_base", &*limit.bytes.to_string()),
            ];
            db.set_options_cf(family(db, ZNODES), &options).map_err(self.failed())?;
            self.puts_off_compactions = off;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn db(&self) -> Result<&DB> {
        self.db.as_ref().ok_or_else(|| self.closed())
    }

    fn closed(&self) -> Error {
        Error::refused(&self.path(), "is closed since it failed")
    }

    fn failed(&self) -> impl Fn(rocksdb::Error) -> Error + use<> {
        let path = self.path();
        move |source| match source.kind() {
            rocksdb::ErrorKind::Corruption => damaged(&path, source.as_ref()),
            _ => Error::Database { path: path.clone(), source },
        }
    }

    fn put_tree(
        &mut self,
        head: &SnapshotHead,
        voids_log: bool,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()> {
        replace::build(&self.dir.join("db.new"), head, Some(head.zxid), voids_log, feed)?;
        self.db = None;
        put_away(&self.dir)?;
        let completed = complete_replacement(&self.dir).and_then(|()| self.open_as_it_is());
        completed.map_err(|error| Error::Halfway { path: self.dir.clone(), source: Box::new(error) })?;
        self.forget_unflushed();
        info!(zxid = %head.zxid, "whole snapshot written");
        Ok(())
    }

    /// How many flushed files wait for a compaction.
    fn files_waiting(&self, db: &DB) -> Result<u64> {
        let files = properties::num_files_at_level(0);
        let waiting = db.property_int_value_cf(family(db, ZNODES), &files).map_err(self.failed())?;
        Ok(waiting.unwrap_or(0))
    }

    /// RocksDB itself takes in files however many there are.
    fn wait_for_compactions(&self, db: &DB) -> Result<()> {
        let files = self.files_waiting(db)?;
        if files >= L0_FILES_MAX {
            info!(files, "waiting for the snapshot database to be compacted");
            db.wait_for_compact(&WaitForCompactOptions::default()).map_err(self.failed())?;
        }
        Ok(())
    }
}

impl SnapshotStore for RocksStore {
    fn durable(&self) -> Option<Zxid> {
        self.durable.as_ref().map(|head| head.zxid)
    }

    fn written(&self) -> Option<Zxid> {
        self.unflushed.as_ref().or(self.durable.as_ref()).map(|head| head.zxid)
    }

    fn head(&self) -> Option<SnapshotHead> {
        self.durable.clone()
    }

    fn unflushed(&self) -> usize {
        self.runs.len()
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
        let Some(head) = &self.durable else {
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
        self.db()?;
        self.unflushed = None; // Nothing may be flushed with half of this cut.
        cut.znodes.iter().try_for_each(|(path, record)| self.runs.add(path, record))?;
        self.unflushed = (!cut.partial).then(|| head_of(cut));
        Ok(())
    }

    fn flush(&mut self) -> Result<Option<Zxid>> {
        if let Some(head) = &self.unflushed {
            let db = self.db.as_ref().ok_or_else(|| self.closed())?;
            self.wait_for_compactions(db)?;
            self.runs.move_into(db, &encode_head(head, self.replaced_at))?;
            self.durable = self.unflushed.take();
        }
        Ok(self.durable())
    }

    fn reopen(&mut self) -> Result<()> {
        let replaced_at = self.replaced_at;
        self.db = None;
        settle_replacement(&self.dir)?;
        self.open_as_it_is()?;
        info!(zxid = ?self.durable(), "the snapshot database was opened again");
        // A flush may have been done, or a whole tree be in place, and the failure have come behind.
        let is_flushed = self.unflushed.as_ref().is_some_and(|head| self.durable() == Some(head.zxid));
        if is_flushed || self.replaced_at != replaced_at {
            self.forget_unflushed();
        }
        Ok(())
    }

    fn forget_unflushed(&mut self) {
        self.runs.clear();
        self.unflushed = None;
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
        db.delete(VOIDS_LOG_KEY).and_then(|()| db.flush()).map_err(self.failed())?;
        self.voids_log = false;
        Ok(())
    }

    fn hold(&mut self) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>> {
        self.flush()?;
        let Some(head) = self.durable.clone() else {
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

fn runs_dir(dir: &Path) -> PathBuf {
    dir.join("db.runs")
}

fn open_database(path: &Path) -> Result<DB> {
    let options = options();
    // Those that an older format has besides are opened with the rest, as RocksDB wants it.
    let mut families = DB::list_cf(&options, path).unwrap_or_default();
    for name in ["default", ZNODES] {
        if !families.iter().any(|family| family == name) {
            families.push(name.to_owned());
        }
    }
    let families = families.into_iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
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
    options.set_paranoid_checks(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_level_zero_file_num_compaction_trigger(L0_BUSY.files);
    options.set_max_bytes_for_level_base(L0_BUSY.bytes as u64);
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

/// Says durably of which format the database is, and what was put into its family besides.
fn flush_mark(db: &DB) -> std::result::Result<(), rocksdb::Error> {
    db.put(FORMAT_KEY, [FORMAT])?;
    db.flush()
}

/// The zxid, the digest, when the tree was last written as a whole (-1 being never), and every session with its timeout.
fn encode_head(head: &SnapshotHead, replaced_at: Option<Zxid>) -> Vec<u8> {
    let replaced_at = replaced_at.map_or(-1, |zxid| zxid.0);
    let mut value =
        [head.zxid.0.to_be_bytes(), head.digest.to_be_bytes(), replaced_at.to_be_bytes()].concat();
    for (session, timeout_ms) in &head.sessions {
        value.extend_from_slice(&session.0.to_be_bytes());
        value.extend_from_slice(&timeout_ms.to_be_bytes());
    }
    value
}

fn decode_head(mut value: &[u8]) -> Option<(SnapshotHead, Option<Zxid>)> {
    let number = |value: &mut &[u8]| {
        let (number, rest) = value.split_first_chunk()?;
        *value = rest;
        Some(i64::from_be_bytes(*number))
    };
    let zxid = Zxid(number(&mut value)?);
    let digest = number(&mut value)?.cast_unsigned();
    let replaced_at = Some(Zxid(number(&mut value)?)).filter(|zxid| zxid.0 >= 0);
    let mut sessions = Vec::with_capacity(value.len() / 12);
    while !value.is_empty() {
        let session = SessionId(number(&mut value)?);
        let (timeout_ms, rest) = value.split_first_chunk()?;
        sessions.push((session, i32::from_be_bytes(*timeout_ms)));
        value = rest;
    }
    Some((SnapshotHead { zxid, digest, sessions }, replaced_at))
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
