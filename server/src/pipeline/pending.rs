//! What the tree will be once all txns under way have been applied. `prep` judges requests against this
//! outlook, so that a client may send writes that build on each other without waiting for answers.
//! ZooKeeper's `outstandingChanges`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use jute::Ustring;
use jute::data::{Acl, StatPersisted};

use crate::session::SessionId;
use crate::tree::{Tree, digest};
use crate::zab::Zxid;

/// A znode as it will be.
#[derive(Debug, Clone)]
pub(crate) struct Foreseen {
    pub(crate) stat: StatPersisted,
    pub(crate) child_count: usize,
    pub(crate) acl: Arc<[Acl]>,
    pub(crate) data: ForeseenData,
    /// The znode's share of the tree's digest; 0 while digests are off.
    digest: u64,
}

/// Its data.
#[derive(Debug, Clone)]
pub(crate) enum ForeseenData {
    /// What the tree has.
    AsItIs,
    /// What a txn under way brings.
    New(Option<Bytes>),
}

/// The latest that is known of a path.
#[derive(Debug, Clone)]
struct Change {
    zxid: Zxid,
    /// `None`: it will be gone.
    znode: Option<Foreseen>,
}

/// The changes under way.
#[derive(Debug, Default)]
#[doc(alias = "outstandingChanges")]
#[doc(alias = "ChangeRecord")]
pub(crate) struct PendingChanges {
    by_path: HashMap<Ustring, Change>,
    /// Where sessions gain or lose ephemerals. An entry may be stale; `by_path` has the last word.
    ephemerals: HashMap<SessionId, Vec<Ustring>>,
    /// The tree's digest afterwards; `None` is as it is.
    digest: Option<u64>,
    /// While a multi is judged: how to take its changes back.
    undo: Option<Undo>,
    /// Changes since the start.
    foreseen: u64,
    /// Of those, the ones that are forgotten.
    settled: u64,
}

#[derive(Debug, Default)]
struct Undo {
    replaced: Vec<(Ustring, Option<Change>)>,
    digest: Option<u64>,
}

impl PendingChanges {
    /// How many paths have changes under way.
    pub(crate) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// None under way; what was counted before stays counted.
    pub(crate) fn after(before: &Self) -> Self {
        Self { foreseen: before.foreseen, settled: before.foreseen, ..Self::default() }
    }

    /// Changes since the start, and how many of them are forgotten.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.foreseen, self.settled)
    }

    /// Forgets what the tree has caught up with. `nothing_under_way` says that this is all there is.
    pub(crate) fn settle(&mut self, applied: Zxid, nothing_under_way: bool) {
        if nothing_under_way {
            self.by_path.clear();
            self.ephemerals.clear();
            self.digest = None;
            self.settled = self.foreseen;
            return;
        }
        let before = self.by_path.len();
        self.by_path.retain(|_, change| change.zxid > applied);
        self.settled += (before - self.by_path.len()) as u64;
        let by_path = &self.by_path;
        self.ephemerals.retain(|_, paths| {
            paths.retain(|path| by_path.contains_key(path));
            !paths.is_empty()
        });
    }

    /// From here on changes can be taken back: by [`PendingChanges::roll_back`], until
    /// [`PendingChanges::keep`].
    pub(crate) fn begin(&mut self) {
        self.undo = Some(Undo { replaced: Vec::new(), digest: self.digest });
    }

    /// The changes since [`PendingChanges::begin`] stay.
    pub(crate) fn keep(&mut self) {
        self.undo = None;
    }

    /// The changes since [`PendingChanges::begin`] never were.
    pub(crate) fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else {
            return;
        };
        for (path, replaced) in undo.replaced.into_iter().rev() {
            match replaced {
                Some(change) => self.by_path.insert(path, change),
                None => self.by_path.remove(&path),
            };
        }
        self.digest = undo.digest;
    }

    fn insert(&mut self, path: Ustring, change: Change) {
        self.foreseen += 1;
        match &mut self.undo {
            Some(undo) => {
                let replaced = self.by_path.insert(path.clone(), change);
                undo.replaced.push((path, replaced));
            }
            None => {
                self.by_path.insert(path, change);
            }
        }
    }
}

/// The tree and the changes under way to it, as the txn `zxid` finds them and changes them.
#[derive(Debug)]
pub(crate) struct Outlook<'a> {
    tree: &'a Tree,
    pending: &'a mut PendingChanges,
    zxid: Zxid,
    digests: bool,
}

impl<'a> Outlook<'a> {
    pub(crate) fn new(tree: &'a Tree, pending: &'a mut PendingChanges, zxid: Zxid, digests: bool) -> Self {
        Self { tree, pending, zxid, digests }
    }

    pub(crate) fn tree(&self) -> &'a Tree {
        self.tree
    }

    pub(crate) fn pending(&mut self) -> &mut PendingChanges {
        self.pending
    }

    /// The znode at `path`.
    pub(crate) fn find(&self, path: &str) -> Option<Foreseen> {
        if let Some(change) = self.change(path) {
            return change.znode.clone();
        }
        let znode = self.tree.find(path)?;
        Some(Foreseen {
            stat: znode.persisted_stat(),
            child_count: znode.child_count(),
            acl: Arc::clone(znode.acl()),
            data: ForeseenData::AsItIs,
            digest: if self.digests { znode.digest_at(path) } else { 0 },
        })
    }

    /// Is there a znode at `path`?
    pub(crate) fn contains(&self, path: &str) -> bool {
        match self.change(path) {
            Some(change) => change.znode.is_some(),
            None => self.tree.find(path).is_some(),
        }
    }

    /// How many bytes of data the znode at `path` has.
    pub(crate) fn data_len(&self, path: &str, znode: &Foreseen) -> usize {
        match &znode.data {
            ForeseenData::New(data) => data.as_ref().map_or(0, Bytes::len),
            ForeseenData::AsItIs => {
                self.tree.find(path).and_then(|znode| znode.data().map(<[u8]>::len)).unwrap_or(0)
            }
        }
    }

    /// What the new znode `path` will be.
    pub(crate) fn create(
        &mut self,
        path: Ustring,
        stat: StatPersisted,
        acl: Arc<[Acl]>,
        data: Option<Bytes>,
    ) {
        self.note_ephemeral(&path, &stat);
        let znode = Foreseen { stat, child_count: 0, acl, data: ForeseenData::New(data), digest: 0 };
        self.put(path, znode);
    }

    /// What the znode at `path` will be: `znode`, which [`Outlook::find`] gave and the caller changed.
    pub(crate) fn put(&mut self, path: Ustring, mut znode: Foreseen) {
        if self.digests {
            let digest = self.digest_of(&path, &znode);
            self.shift_digest(znode.digest, digest);
            znode.digest = digest;
        }
        self.pending.insert(path, Change { zxid: self.zxid, znode: Some(znode) });
    }

    /// The znode at `path`, which was `znode`, will be gone.
    pub(crate) fn remove(&mut self, path: Ustring, znode: &Foreseen) {
        self.note_ephemeral(&path, &znode.stat);
        self.shift_digest(znode.digest, 0);
        self.pending.insert(path, Change { zxid: self.zxid, znode: None });
    }

    /// The ephemerals `session` will own, sorted.
    pub(crate) fn ephemerals_of(&self, session: SessionId) -> BTreeSet<Ustring> {
        let mut paths: BTreeSet<Ustring> = self.tree.ephemerals_of(session).map(Ustring::from).collect();
        for path in self.pending.ephemerals.get(&session).into_iter().flatten() {
            match self.pending.by_path.get(path) {
                Some(Change { znode: Some(znode), .. }) if znode.stat.ephemeral_owner == session.0 => {
                    paths.insert(path.clone());
                }
                Some(_) => {
                    paths.remove(path);
                }
                None => {}
            }
        }
        paths
    }

    /// The tree's digest once all is applied, this txn's changes so far included.
    pub(crate) fn digest(&self) -> u64 {
        self.pending.digest.unwrap_or_else(|| self.tree.digest())
    }

    fn change(&self, path: &str) -> Option<&Change> {
        // Mostly nothing is under way: then no hash is computed.
        if self.pending.by_path.is_empty() { None } else { self.pending.by_path.get(path) }
    }

    fn note_ephemeral(&mut self, path: &Ustring, stat: &StatPersisted) {
        if stat.ephemeral_owner != 0 {
            self.pending.ephemerals.entry(SessionId(stat.ephemeral_owner)).or_default().push(path.clone());
        }
    }

    fn digest_of(&self, path: &str, znode: &Foreseen) -> u64 {
        match &znode.data {
            ForeseenData::New(data) => digest::of_znode(path, data.as_deref(), &znode.stat),
            ForeseenData::AsItIs => {
                let in_tree = self.tree.find(path);
                let data = in_tree.as_ref().and_then(|znode| znode.data());
                digest::of_znode(path, data, &znode.stat)
            }
        }
    }

    fn shift_digest(&mut self, from: u64, to: u64) {
        if self.digests {
            self.pending.digest = Some(self.digest().wrapping_sub(from).wrapping_add(to));
        }
    }
}
