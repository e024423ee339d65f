//! From what was stored back to a tree.

use super::path::{self, parent_of};
use super::path_index::ROOT_ID;
use super::znode::Node;
use super::{Tree, TreeOptions, ZnodeRecord, acl};
use crate::session::SessionId;
use crate::zab::Zxid;

/// Why stored znodes are no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A znode came before its parent, or has none.
    #[error("znode {0} has no parent")]
    NoParent(String),
    /// Two znodes have one path.
    #[error("znode {0} is stored twice")]
    Twice(String),
}

/// Builds a tree of znodes that were stored, given in any order that has parents before their children. It is
/// fastest when siblings come together: then only the first looks for its parent.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    root_seen: bool,
    /// The parent of the last znode.
    parent_path: String,
    parent: u32,
}

impl TreeLoader {
    /// Begins with nothing.
    #[must_use]
    pub fn new(options: TreeOptions) -> Self {
        let tree = Tree::with_root(options);
        Self { tree, root_seen: false, parent_path: path::ROOT.to_owned(), parent: ROOT_ID }
    }

    /// Makes room for `znodes` more.
    pub fn reserve(&mut self, znodes: usize) {
        self.tree.index.reserve(&self.tree.nodes, znodes);
    }

    /// Adds a znode. "" is the root too.
    ///
    /// # Errors
    /// When it cannot be there.
    pub fn znode(&mut self, path: &str, record: ZnodeRecord) -> Result<(), LoadError> {
        if matches!(path, "" | path::ROOT) {
            return self.root(record);
        }
        let parent_path = parent_of(path).ok_or_else(|| LoadError::NoParent(path.to_owned()))?;
        if parent_path != self.parent_path {
            let parent = self.tree.find_id(parent_path);
            self.parent = parent.ok_or_else(|| LoadError::NoParent(path.to_owned()))?;
            self.parent_path.clear();
            self.parent_path.push_str(parent_path);
        }
        let node = self.node_of(record);
        self.tree.attach(path, self.parent, node).map_err(|_| LoadError::Twice(path.to_owned()))?;
        Ok(())
    }

    fn root(&mut self, record: ZnodeRecord) -> Result<(), LoadError> {
        if std::mem::replace(&mut self.root_seen, true) {
            return Err(LoadError::Twice(path::ROOT.to_owned()));
        }
        let mut root = self.node_of(record);
        let old = &mut self.tree.nodes[ROOT_ID];
        if let Some(family) = old.family.take() {
            root.family().children = family.children;
        }
        self.tree.data_size += root.data_len() as u64;
        let old = std::mem::replace(old, root);
        self.tree.acls.release(old.acl());
        Ok(())
    }

    fn node_of(&mut self, record: ZnodeRecord) -> Node {
        let mut node = Node { data: record.data, ..Node::default() };
        node.set_persisted_stat(&record.stat);
        node.set_acl(self.tree.acls.acquire_shared(&record.acl), acl::is_world_readable(&record.acl));
        node.set_stored(true);
        node
    }

    /// Adds a session.
    pub fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(session, timeout_ms);
    }

    /// The tree, as of `zxid`. `digest` is what was stored of it, which saves computing it; without it, it is
    /// computed.
    #[must_use]
    pub fn finish(self, zxid: Zxid, digest: Option<u64>) -> Tree {
        let mut tree = self.tree;
        if self.root_seen {
            // What stands there is of the root that was replaced.
            tree.dirty = super::Dirty::default();
        }
        if tree.options.digest {
            tree.digest = digest.unwrap_or_else(|| tree.recompute_digest());
        }
        tree.add_missing_special_znodes();
        tree.find_quotas();
        tree.last_zxid = zxid;
        tree
    }
}
