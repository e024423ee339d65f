//! Where the tree rests between runs: a copy as of some zxid, moved on by cuts. The log covers the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Error, Result};
use super::java_snapshot::write_body;
use super::snapshot_source::SnapshotSource;
use crate::session::SessionId;
use crate::tree::{Cut, ZnodeRecord};
use crate::zab::Zxid;

/// What a snapshot holds besides znodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotHead {
    /// The last txn it contains.
    pub zxid: Zxid,
    /// The tree's digest there; 0 when there is none.
    pub digest: u64,
    /// Every session, with its timeout in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
}

/// Takes znodes to be stored.
pub type ZnodeSink<'a> = dyn FnMut(&str, &ZnodeRecord) -> Result<()> + 'a;

/// A place for snapshots. What [`SnapshotStore::write`] is given is lost in a crash, but not when the disk fails;
/// what was there at a [`SnapshotStore::flush`] is not lost at all. So the log must be kept from the last flush on, and
/// nothing else needs a log here.
pub trait SnapshotStore: fmt::Debug + Send {
    /// The zxid up to which the store is safe, whatever happens; `None` while it is empty.
    fn durable(&self) -> Option<Zxid>;

    /// The zxid that a flush makes safe: of the last cut that was written, unless parts of it are missing. `None` while
    /// the store is empty.
    fn written(&self) -> Option<Zxid>;

    /// What is safe besides znodes; `None` while the store is empty.
    fn head(&self) -> Option<SnapshotHead>;

    /// How many changed znodes were written since the last flush.
    fn unflushed(&self) -> usize;

    /// About how many znodes are stored: what to make room for before [`SnapshotStore::load`].
    fn znodes_estimate(&self) -> usize;

    /// Gives every znode to `visit`, parents before their children, as of the last flush; `None` if the store is empty.
    ///
    /// # Errors
    /// When what is stored cannot be read.
    fn load(&self, visit: &mut dyn FnMut(&str, ZnodeRecord)) -> Result<Option<SnapshotHead>>;

    /// Moves the stored tree on to the cut's zxid, once all parts of it are there.
    ///
    /// # Errors
    /// When the disk fails; then go on with [`SnapshotStore::reopen`], and with the same cut.
    fn write(&mut self, cut: &Cut) -> Result<()>;

    /// Makes durable what was written; the zxid of it. While parts are missing it does nothing.
    ///
    /// # Errors
    /// When the disk fails; then go on with [`SnapshotStore::reopen`].
    fn flush(&mut self) -> Result<Option<Zxid>>;

    /// Goes on after the disk has failed, with all that was written.
    ///
    /// # Errors
    /// When the disk still fails; to be tried again.
    fn reopen(&mut self) -> Result<()>;

    /// Lets go of what was written since the last flush: the stored tree is the one as of that.
    fn forget_unflushed(&mut self);

    /// Stores a whole tree in place of what is there; `feed` gives it to the sink, in any order, the root as "" or
    /// "/". Durable when it returns; until then, a crash leaves the old tree.
    ///
    /// # Errors
    /// When the disk fails. The old tree is still there then, unless it is [`Error::Halfway`](super::Error).
    fn replace(
        &mut self,
        head: &SnapshotHead,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Like [`SnapshotStore::replace`], with a tree of another history than the log's: from the moment on in which the
    /// new tree is the stored one, [`SnapshotStore::voids_log`].
    ///
    /// # Errors
    /// As there.
    fn replace_history(
        &mut self,
        head: &SnapshotHead,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()>;

    /// No log file that is there, no Java snapshot, and nothing that was set aside may be used any more.
    fn voids_log(&self) -> bool;

    /// They are gone: log files that come from now on continue the stored tree. Durable when it returns.
    ///
    /// # Errors
    /// When the disk fails.
    fn begin_log(&mut self) -> Result<()>;

    /// The zxid of the last [`SnapshotStore::replace`], up to which the log may lack txns.
    fn replaced_at(&self) -> Option<Zxid>;

    /// Holds what is stored open, as it is, whatever is done to the store meanwhile; the zxid of it. `None` if the
    /// store is empty. Nobody needs to let go of it before a crash.
    ///
    /// # Errors
    /// When the disk fails.
    fn hold(&mut self) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>>;

    /// Sets the stored tree aside as it is, durably.
    ///
    /// # Errors
    /// When the disk fails.
    fn keep(&mut self) -> Result<()>;

    /// Lets go of the trees that were set aside before `zxid`.
    ///
    /// # Errors
    /// When the disk fails.
    fn release_before(&mut self, zxid: Zxid) -> Result<()>;

    /// The zxids of the trees that were set aside, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    fn kept(&self) -> Result<Vec<Zxid>>;
}

/// A store in memory, for simulation: it forgets what was not flushed when it [crashes](MemoryStore::crash).
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    current: Option<MemoryTree>,
    durable: Option<MemoryTree>,
    unflushed: usize,
    /// Parts of what `current` is to be are missing.
    is_partial: bool,
    kept: Vec<MemoryTree>,
    is_full: bool,
}

#[derive(Debug, Clone, Default)]
struct MemoryTree {
    head: SnapshotHead,
    replaced_at: Option<Zxid>,
    voids_log: bool,
    znodes: Arc<BTreeMap<String, ZnodeRecord>>,
}

impl MemoryStore {
    /// Loses what was not flushed, as a crash of the machine does.
    pub fn crash(&mut self) {
        self.forget_unflushed();
    }

    /// Whether its disk has room for anything more.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    fn check_room(&self) -> Result<()> {
        if self.is_full { Err(Error::Full { path: PathBuf::from("memory") }) } else { Ok(()) }
    }

    fn put_tree(
        &mut self,
        head: &SnapshotHead,
        voids_log: bool,
        feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
    ) -> Result<()> {
        self.check_room()?;
        let mut znodes = BTreeMap::new();
        feed(&mut |path, record| {
            let path = if path.is_empty() { "/" } else { path };
            znodes.insert(path.to_owned(), record.clone());
            Ok(())
        })?;
        let (head, replaced_at) = (head.clone(), Some(head.zxid));
        self.is_partial = false;
        self.current = Some(MemoryTree { head, replaced_at, voids_log, znodes: Arc::new(znodes) });
        self.flush().map(drop)
    }
}

/// A tree that was held open.
struct HeldTree(MemoryTree);

impl SnapshotSource for HeldTree {
    fn write_body(&mut self, out: &mut dyn Write) -> Result<()> {
        let znodes = &self.0.znodes;
        // As text, "/a-" stands before "/a/b": parents come first all the same.
        let mut walk =
            |sink: &mut ZnodeSink<'_>| znodes.iter().try_for_each(|(path, record)| sink(path, record));
        write_body(out, Path::new("memory"), &self.0.head.sessions, None, &mut walk)
    }
}

impl SnapshotStore for MemoryStore {
    fn durable(&self) -> Option<Zxid> {
        self.durable.as_ref().map(|tree| tree.head.zxid)
    }

    fn written(&self) -> Option<Zxid> {
        let tree = if self.is_partial { &self.durable } else { &self.current };
        tree.as_ref().map(|tree| tree.head.zxid)
    }

    fn head(&self) -> Option<SnapshotHead> {
        self.durable.as_ref().map(|tree| tree.head.clone())
    }

    fn unflushed(&self) -> usize {
        self.unflushed
    }

    fn znodes_estimate(&self) -> usize {
        self.current.as_ref().map_or(0, |tree| tree.znodes.len())
    }

    fn load(&self, visit: &mut dyn FnMut(&str, ZnodeRecord)) -> Result<Option<SnapshotHead>> {
        let Some(tree) = &self.durable else {
            return Ok(None);
        };
        for (path, record) in tree.znodes.iter() {
            visit(path, record.clone());
        }
        Ok(Some(tree.head.clone()))
    }

    fn write(&mut self, cut: &Cut) -> Result<()> {
        self.check_room()?;
        let tree = self.current.get_or_insert_default();
        let znodes = Arc::make_mut(&mut tree.znodes);
        if cut.whole {
            znodes.clear();
            tree.replaced_at = Some(cut.zxid);
        }
        for (path, record) in cut.znodes.iter() {
            match record {
                Some(record) => znodes.insert(path.to_owned(), record.clone()),
                None => znodes.remove(path),
            };
        }
        tree.head = SnapshotHead { zxid: cut.zxid, digest: cut.digest, sessions: cut.sessions.clone() };
        self.unflushed += cut.znodes.len();
        self.is_partial = cut.partial;
        Ok(())
    }

    fn flush(&mut self) -> Result<Option<Zxid>> {
        self.check_room()?;
        if !self.is_partial {
            self.durable.clone_from(&self.current);
            self.unflushed = 0;
        }
        Ok(self.durable())
    }

    fn reopen(&mut self) -> Result<()> {
        self.check_room()
    }

    fn forget_unflushed(&mut self) {
        self.current.clone_from(&self.durable);
        (self.unflushed, self.is_partial) = (0, false);
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
        self.current.as_ref().is_some_and(|tree| tree.voids_log)
    }

    fn begin_log(&mut self) -> Result<()> {
        if let Some(tree) = &mut self.current {
            tree.voids_log = false;
        }
        self.flush().map(drop)
    }

    fn hold(&mut self) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>> {
        self.flush()?;
        let held = self.durable.clone();
        Ok(held.map(|tree| (tree.head.zxid, Box::new(HeldTree(tree)) as Box<dyn SnapshotSource>)))
    }

    fn replaced_at(&self) -> Option<Zxid> {
        self.current.as_ref().and_then(|tree| tree.replaced_at)
    }

    fn keep(&mut self) -> Result<()> {
        self.flush()?;
        self.kept.extend(self.durable.clone());
        Ok(())
    }

    fn release_before(&mut self, zxid: Zxid) -> Result<()> {
        self.kept.retain(|tree| tree.head.zxid >= zxid);
        Ok(())
    }

    fn kept(&self) -> Result<Vec<Zxid>> {
        Ok(self.kept.iter().map(|tree| tree.head.zxid).collect())
    }
}
