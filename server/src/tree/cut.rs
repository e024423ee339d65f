//! What the snapshot store is given: the tree's changes since the cut before, all as of one zxid.

use std::sync::Arc;

use ecow::EcoString;
use jute::data::{Acl, StatPersisted};

use super::Tree;
use super::{path, path_index};
use crate::session::SessionId;
use crate::zab::Zxid;

/// A znode's data: null, or bytes that the tree and a cut share.
pub type Data = Option<triomphe::ThinArc<(), u8>>;

/// One znode as it is stored.
#[derive(Debug, Clone)]
pub struct ZnodeRecord {
    /// Null is not empty.
    pub data: Data,
    /// Shared between the znodes that have the same.
    pub acl: Arc<[Acl]>,
    /// `cversion` counts creations only; `ephemeral_owner` is raw, and also marks containers and TTL znodes.
    pub stat: StatPersisted,
}

/// All that changed between two zxids, as it is at the second: written atomically, it moves the snapshot
/// store from the one to the other. Its cost is that of the change, not of the tree.
///
/// It may come in parts, each as of its own zxid. Once the last is there, all of them together are as of that one's.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The last txn it contains.
    pub zxid: Zxid,
    /// The tree's digest there; 0 when digests are off.
    pub digest: u64,
    /// What became of each znode that is not as it was. A path stands here once.
    pub znodes: ChangedZnodes,
    /// Every session there is, with its timeout in milliseconds; none in a part that is not the last.
    pub sessions: Vec<(SessionId, i32)>,
    /// The store's old content is to be dropped first: this cut is a whole tree.
    pub whole: bool,
    /// More parts follow. Without them, what is here is not to be stored.
    pub partial: bool,
}

/// Changed and new znodes (`Some`), deleted ones (`None`), each with its full path ("/" is the root). There are many of
/// them and they do not live long, so their paths share one piece of memory.
#[derive(Debug, Clone, Default)]
pub struct ChangedZnodes {
    paths: String,
    /// Each with the end of its path.
    znodes: Vec<(usize, Option<ZnodeRecord>)>,
}

impl ChangedZnodes {
    /// Makes room for so many.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { paths: String::new(), znodes: Vec::with_capacity(count) }
    }

    /// Adds one.
    pub fn push(&mut self, path: &str, znode: Option<ZnodeRecord>) {
        self.paths.push_str(path);
        self.znodes.push((self.paths.len(), znode));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.znodes.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.znodes.is_empty()
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&ZnodeRecord>)> {
        let starts = std::iter::once(0).chain(self.znodes.iter().map(|(end, _)| *end));
        starts.zip(&self.znodes).map(|(start, (end, znode))| (&self.paths[start..*end], znode.as_ref()))
    }
}

impl<Path: AsRef<str>> FromIterator<(Path, Option<ZnodeRecord>)> for ChangedZnodes {
    fn from_iter<T: IntoIterator<Item = (Path, Option<ZnodeRecord>)>>(znodes: T) -> Self {
        let mut changed = Self::default();
        znodes.into_iter().for_each(|(path, znode)| changed.push(path.as_ref(), znode));
        changed
    }
}

/// What changed since the last cut.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Ids of znodes that were marked dirty. Some may have gone since, or stand here twice because their id was
    /// used again: the mark on the znode decides.
    changed: Vec<u32>,
    /// Paths of znodes that were in the last cut, or before it, and were deleted.
    pub(super) deleted: Vec<EcoString>,
}

impl Tree {
    /// At most so many znodes differ from the last cut.
    #[must_use]
    pub fn dirty_count(&self) -> usize {
        self.dirty.changed.len() + self.dirty.deleted.len()
    }

    pub(super) fn mark_dirty(&mut self, id: u32) {
        let node = &mut self.nodes[id];
        if !node.is_dirty() {
            node.set_dirty(true);
            self.dirty.changed.push(id);
        }
    }

    /// All that changed since the last cut, or since the tree was made or loaded.
    pub fn take_cut(&mut self) -> Cut {
        self.take_part(usize::MAX)
    }

    /// The same, or a part of it: at most so many znodes. What changes again is in a later part once more.
    pub fn take_part(&mut self, znodes_max: usize) -> Cut {
        let deleted = take_last(&mut self.dirty.deleted, znodes_max);
        let changed = take_last(&mut self.dirty.changed, znodes_max - deleted.len());
        let mut znodes = ChangedZnodes::with_capacity(changed.len() + deleted.len());
        for path in &deleted {
            match self.find_id(path) {
                // Created anew, it stands among the changed, here or in a later part. If it is deleted before that one, the
                // store has still something to delete.
                Some(id) => self.nodes[id].set_stored(true),
                None => znodes.push(path, None),
            }
        }
        let mut path = Vec::new();
        for id in changed {
            if self.nodes[id].is_dirty() {
                self.settle(id);
                path.clear();
                path_index::push_path(&self.nodes, id, &mut path);
                let path =
                    str::from_utf8(&path).expect("paths are UTF-8: so are names, with slashes between");
                let path = if path.is_empty() { path::ROOT } else { path };
                znodes.push(path, Some(self.znode(id).record()));
            }
        }
        self.cut_of(znodes, false)
    }

    /// The whole tree, for a store that has nothing of it. The next [`Tree::take_cut`] goes on from here.
    pub fn take_whole_cut(&mut self) -> Cut {
        self.dirty.deleted.clear();
        for id in std::mem::take(&mut self.dirty.changed) {
            self.nodes[id].set_dirty(false);
        }
        let mut znodes = ChangedZnodes::with_capacity(self.nodes.len());
        let mut ids = Vec::with_capacity(self.nodes.len());
        self.visit(|path, znode| {
            let path = if path.is_empty() { path::ROOT } else { path };
            znodes.push(path, Some(znode.record()));
            ids.push(znode.id);
        });
        for id in ids {
            self.settle(id);
        }
        self.cut_of(znodes, true)
    }

    /// Notes that the store has, or is about to have, what `id` now is.
    fn settle(&mut self, id: u32) {
        let node = &mut self.nodes[id];
        node.set_dirty(false);
        node.set_stored(true);
    }

    fn cut_of(&self, znodes: ChangedZnodes, whole: bool) -> Cut {
        let partial = self.dirty_count() > 0;
        let sessions = if partial { Vec::new() } else { self.sessions().collect() };
        Cut { zxid: self.last_zxid, digest: self.digest, znodes, sessions, whole, partial }
    }
}

/// The last `count` of `from`, or all of it; then its memory goes, too.
fn take_last<T>(from: &mut Vec<T>, count: usize) -> Vec<T> {
    match from.len().checked_sub(count) {
        None | Some(0) => std::mem::take(from),
        Some(left) => from.split_off(left),
    }
}
