//! The znodes, in memory. Stop 8 of the life of a write changes them; every read looks at them.
//!
//! The tree is the only memory that tasks share: the node changes it under a write lock, connections read it
//! under a read lock. ZooKeeper's `DataTree`, `DataNode`.
//!
//! | you want | look at |
//! | --- | --- |
//! | a znode's data, stat, children | [`Tree::find`], [`Znode`] |
//! | what a txn does | [`Tree::apply`] |
//! | what goes to disk, and comes back | [`Tree::take_cut`], [`TreeLoader`] |
//!
//! A znode is a [`Node`] in a [`Slab`], found by its full path through a [`PathIndex`] that holds
//! nothing but ids. Parents know their children as ids, children their parents.

mod acl;
mod apply;
mod cut;
pub mod digest;
mod load;
mod owners;
pub mod path;
pub(crate) mod path_index;
mod places;
pub mod quota;
pub(crate) mod slab;
#[cfg(test)]
pub(crate) mod tests;
mod znode;

use std::collections::BTreeMap;

use jute::data::{Acl, AclList};

pub use acl::is_world_readable;
pub use apply::{Applied, Change};
pub use cut::{ChangedZnodes, Cut, Data, ZnodeRecord};
pub use load::{LoadError, TreeLoader};
pub use znode::{Znode, ZnodeKind};

use crate::session::SessionId;
use crate::zab::Zxid;
use acl::Acls;
use cut::Dirty;
use digest::History;
use owners::Owners;
use path_index::{PathIndex, ROOT_ID};
use quota::Quotas;
use slab::Slab;
use znode::Node;

/// What is decided about a tree when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeOptions {
    /// Keep the [`digest`]. `zookeeper.digest.enabled`.
    pub digest: bool,
    /// There are TTL znodes. `zookeeper.extendedTypesEnabled`.
    pub extended_types: bool,
    /// TTL znodes may be marked as ZooKeeper 3.5.3 did. `zookeeper.emulate353TTLNodes`.
    pub emulate_353_ttl: bool,
    /// Makes hashes unforeseeable to clients. Nothing that can be seen depends on it.
    pub hash_seed: u64,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { digest: true, extended_types: false, emulate_353_ttl: false, hash_seed: 0 }
    }
}

/// The znodes, who owns the ephemeral ones, and the zxid of the last txn applied.
#[derive(Debug)]
#[doc(alias = "DataTree")]
#[doc(alias = "ZKDatabase")]
pub struct Tree {
    options: TreeOptions,
    nodes: Slab<Node>,
    index: PathIndex,
    acls: Acls,
    owners: Owners,
    quotas: Quotas,
    /// Timeouts in milliseconds.
    sessions: BTreeMap<SessionId, i32>,
    last_zxid: Zxid,
    /// The sum of all znodes' digests.
    digest: u64,
    history: History,
    /// Bytes of all paths and data.
    data_size: u64,
    dirty: Dirty,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new(TreeOptions::default())
    }
}

impl Tree {
    /// The tree of a service that has just been set up: the root, and what [`path::ZOOKEEPER`] holds.
    #[must_use]
    pub fn new(options: TreeOptions) -> Self {
        let mut tree = Self::with_root(options);
        tree.add_missing_special_znodes();
        tree
    }

    fn with_root(options: TreeOptions) -> Self {
        let mut tree = Self {
            nodes: Slab::new(),
            index: PathIndex::new(options.hash_seed),
            acls: Acls::new(options.hash_seed),
            owners: Owners::default(),
            quotas: Quotas::default(),
            sessions: BTreeMap::new(),
            last_zxid: Zxid::ZERO,
            digest: 0,
            history: History::default(),
            // The root's path.
            data_size: 1,
            dirty: Dirty::default(),
            options,
        };
        let root = tree.blank_node();
        let root = tree.nodes.insert(root);
        assert_eq!(root, ROOT_ID, "the first id is the root's");
        tree.count_in(root, path::ROOT);
        tree.mark_dirty(root);
        tree
    }

    fn add_missing_special_znodes(&mut self) {
        for (parent, path) in
            [(path::ROOT, path::ZOOKEEPER), (path::ZOOKEEPER, path::QUOTA), (path::ZOOKEEPER, path::CONFIG)]
        {
            let parent = self.find_id(parent).expect("the parent was there or has just been added");
            let mut node = self.blank_node();
            if path == path::CONFIG {
                // Open to readers only, and its aversion is not a count.
                node.aversion = -1;
                node.set_acl(self.acls.acquire(&Acl::read_unsafe().into()), true);
            }
            if let Ok(id) = self.attach(path, parent, node) {
                self.count_in(id, path);
                self.mark_dirty(id);
            }
        }
    }

    /// A node as the service itself makes them: no data, open to all, changed at no time by no txn.
    fn blank_node(&mut self) -> Node {
        let mut node = Node { data: to_data(Some(b"")), ..Node::default() };
        node.set_acl(self.acls.acquire(&AclList::OPEN_UNSAFE), true);
        node
    }

    /// The znode at `path`. The empty path is the root too, as it is to ZooKeeper.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Znode<'_>> {
        self.find_id(path).map(|id| self.znode(id))
    }

    /// Has the memory fetched that lookups of these paths begin with. Whoever is about to look many up waits once for
    /// all of them, rather than for each.
    pub fn fetch<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        self.index.fetch(paths);
    }

    fn find_id(&self, path: &str) -> Option<u32> {
        self.index.find(&self.nodes, path)
    }

    fn znode(&self, id: u32) -> Znode<'_> {
        Znode { tree: self, id, node: &self.nodes[id] }
    }

    fn path_of(&self, id: u32) -> String {
        path_index::path_of(&self.nodes, id)
    }

    /// How it was made.
    #[must_use]
    pub fn options(&self) -> &TreeOptions {
        &self.options
    }

    /// The zxid of the last txn applied.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Raises [`Tree::last_zxid`]: a new leader's epoch begins with no txn.
    pub fn advance_to(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// Has `text` be the configuration, as of `version`, whatever stood there. Without `reconfigEnabled`, every server
    /// tells its own: after each time the tree was loaded, or came from a leader.
    #[doc(alias = "initConfigInZKDatabase")]
    pub fn set_config(&mut self, text: &[u8], version: i64, now_ms: i64) {
        let Some(id) = self.find_id(path::CONFIG) else {
            return; // Every tree has it, unless somebody had the right to delete it.
        };
        let old_len = self.nodes[id].data_len() as u64;
        let node = &self.nodes[id];
        if node.data.as_ref().is_some_and(|data| data.slice == *text) && node.mzxid == version {
            return;
        }
        self.change(id, path::CONFIG, |node| {
            node.data = to_data(Some(text));
            node.mzxid = version;
            node.mtime = now_ms;
            node.version = -1;
        });
        self.data_size = self.data_size - old_len + text.len() as u64;
    }

    /// As of which zxid the configuration stands there; 0 if there is none.
    #[must_use]
    pub fn config_version(&self) -> i64 {
        self.find_id(path::CONFIG)
            .filter(|id| self.nodes[*id].data.is_some())
            .map_or(0, |id| self.nodes[id].mzxid)
    }

    /// The configuration, if there is one.
    #[must_use]
    pub fn config_text(&self) -> Option<Vec<u8>> {
        self.find(path::CONFIG)?.data().map(<[u8]>::to_vec)
    }

    /// The [`digest`]; 0 while digests are off.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The digest, computed from scratch: what [`Tree::digest`] must be.
    #[must_use]
    pub fn recompute_digest(&self) -> u64 {
        let mut sum = 0_u64;
        if self.options.digest {
            self.visit(|path, znode| {
                let path = if path.is_empty() { path::ROOT } else { path };
                sum = sum.wrapping_add(digest::of_znode(path, znode.data(), &znode.persisted_stat()));
            });
        }
        sum
    }

    /// The digests after every 128th zxid, the newest 1024 of them, oldest first.
    pub fn digest_history(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.history.iter()
    }

    /// How many znodes there are, as ZooKeeper counts: the root twice.
    #[must_use]
    pub fn znode_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Bytes of all paths and data.
    #[must_use]
    pub fn approximate_data_size(&self) -> u64 {
        self.data_size
    }

    /// How many different ACLs there are.
    #[must_use]
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// How many znodes there are below `path`.
    #[must_use]
    pub fn descendant_count(&self, path: &str) -> usize {
        match self.find_id(path) {
            None => 0,
            Some(ROOT_ID) => self.nodes.len() - 1,
            Some(id) => {
                let mut count = 0;
                let mut open = vec![id];
                while let Some(id) = open.pop() {
                    let children = self.nodes[id].children();
                    count += children.len();
                    open.extend(children);
                }
                count
            }
        }
    }

    /// Every session there is, with its timeout in milliseconds.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms))
    }

    /// The timeout of `session` in milliseconds, if there is such a session.
    #[must_use]
    pub fn session_timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// Paths of the znodes that go with `session`.
    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = String> {
        self.owners.of(session).map(|id| self.path_of(id))
    }

    /// Sessions that own ephemeral znodes.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        self.owners.sessions()
    }

    /// How many ephemeral znodes there are.
    #[must_use]
    pub fn ephemeral_count(&self) -> usize {
        self.owners.ephemeral_count()
    }

    /// Childless containers that may go: those that had children, and those that had none since they were made
    /// `never_used_max_ms` ago (0: however long ago that is, they stay).
    pub fn container_candidates(&self, wall_ms: i64, never_used_max_ms: i64) -> impl Iterator<Item = String> {
        let may_go = move |node: &Node| {
            let forgotten = never_used_max_ms != 0 && wall_ms.wrapping_sub(node.mtime) > never_used_max_ms;
            node.cversion() > 0 || forgotten
        };
        self.childless(self.owners.containers())
            .filter(move |&id| may_go(&self.nodes[id]))
            .map(|id| self.path_of(id))
    }

    /// Childless TTL znodes that were not set for longer than their lifetime.
    pub fn ttl_candidates(&self, wall_ms: i64) -> impl Iterator<Item = String> {
        let has_lived = move |znode: Znode<'_>| match znode.kind() {
            ZnodeKind::Ttl(ttl_ms) => ttl_ms != 0 && wall_ms.wrapping_sub(znode.node.mtime) > ttl_ms,
            _ => false,
        };
        self.childless(self.owners.ttls())
            .filter(move |&id| has_lived(self.znode(id)))
            .map(|id| self.path_of(id))
    }

    fn childless(&self, ids: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
        ids.filter(|&id| self.nodes[id].children().is_empty())
    }

    /// Shows every znode to `see`, parents before their children, the root first and under the empty path: the
    /// order and the names of a ZooKeeper snapshot.
    pub fn visit<'a>(&'a self, see: impl FnMut(&str, Znode<'a>)) {
        self.visit_from(ROOT_ID, String::new(), see);
    }

    /// Shows the znode at `path`, if there is one, and all below it to `see`.
    fn visit_below<'a>(&'a self, path: &str, see: impl FnMut(&str, Znode<'a>)) {
        if let Some(id) = self.find_id(path) {
            let path = if id == ROOT_ID { String::new() } else { path.to_owned() };
            self.visit_from(id, path, see);
        }
    }

    fn visit_from<'a>(&'a self, id: u32, mut path: String, mut see: impl FnMut(&str, Znode<'a>)) {
        see(&path, self.znode(id));
        // Children still to be shown, with the length of their parent's path.
        let mut open: Vec<(u32, usize)> = Vec::new();
        let mut last = id;
        loop {
            open.extend(self.nodes[last].children().iter().rev().map(|&child| (child, path.len())));
            let Some((id, parent_len)) = open.pop() else {
                return;
            };
            path.truncate(parent_len);
            path.push('/');
            path.push_str(&self.nodes[id].name);
            see(&path, self.znode(id));
            last = id;
        }
    }

    /// Adds `node` under `parent` as `path`, without counting its digest.
    ///
    /// # Errors
    /// The id of what is there already.
    fn attach(&mut self, path: &str, parent: u32, node: Node) -> Result<u32, u32> {
        let data_len = node.data_len();
        let kind = ZnodeKind::of_owner(node.owner, &self.options);
        let id = self.index.insert(&mut self.nodes, path, |nodes| {
            let slot =
                u32::try_from(nodes[parent].children().len()).expect("there are less than 2^32 znodes");
            let id = nodes.insert(Node { name: path::name_of(path).into(), parent, slot, ..node });
            nodes[parent].family().children.push(id);
            id
        })?;
        self.data_size += (path.len() + data_len) as u64;
        self.owners.add(id, kind);
        Ok(id)
    }

    /// Takes the childless `id` out, whose path is `path`.
    fn detach(&mut self, id: u32, path: &str) -> Node {
        self.index.remove(path, id);
        let node = self.nodes.take(id);
        self.forget_child(node.parent, node.slot);
        if self.options.digest {
            self.digest = self.digest.wrapping_sub(self.digest_of(&node, path));
        }
        self.data_size -= (path.len() + node.data_len()) as u64;
        self.owners.remove(id, ZnodeKind::of_owner(node.owner, &self.options));
        if node.is_stored() {
            self.dirty.deleted.push(path.into());
        }
        node
    }

    /// Takes the child in `slot` off `parent`'s list; the last child moves to its place.
    fn forget_child(&mut self, parent: u32, slot: u32) {
        let children = &mut self.nodes[parent].family().children;
        children.swap_remove(slot as usize);
        if children.len() < children.capacity() / 4 {
            children.shrink_to(children.len() * 2);
        }
        if let Some(&moved) = children.get(slot as usize) {
            self.nodes[moved].slot = slot;
        }
    }

    /// Changes a node, keeping the digest right and noting that it changed.
    fn change(&mut self, id: u32, path: &str, change: impl FnOnce(&mut Node)) {
        if self.options.digest {
            self.digest = self.digest.wrapping_sub(self.digest_of(&self.nodes[id], path));
        }
        change(&mut self.nodes[id]);
        self.count_in(id, path);
        self.mark_dirty(id);
    }

    /// Adds a node's digest, as it is now, to the sum.
    fn count_in(&mut self, id: u32, path: &str) {
        let node = &self.nodes[id];
        let digest = self.digest_with(node, path, node.bytes());
        self.count(id, digest);
    }

    /// What the node's digest is with these data; `None` while digests are off.
    fn digest_with(&self, node: &Node, path: &str, data: Option<&[u8]>) -> Option<u64> {
        self.options.digest.then(|| digest::of_znode(path, data, &node.persisted_stat()))
    }

    fn count(&mut self, id: u32, digest: Option<u64>) {
        if let Some(digest) = digest {
            self.nodes[id].set_digest(digest);
            self.digest = self.digest.wrapping_add(digest);
        }
    }

    /// A node's digest as it was counted in.
    fn digest_of(&self, node: &Node, path: &str) -> u64 {
        node.digest().unwrap_or_else(|| digest::of_znode(path, node.bytes(), &node.persisted_stat()))
    }
}

/// A copy of `data` that stands for itself: a slice of a frame would hold on to all of the frame.
#[must_use]
pub fn to_data(data: Option<&[u8]>) -> Data {
    data.map(|data| triomphe::ThinArc::from_header_and_slice((), data))
}
