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
        self.tree.index.reserve(znodes);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jute::data::{Acl, StatPersisted};

    use super::*;
    use crate::tree::{ZnodeKind, to_data};

    fn record(data: &str, owner: i64) -> ZnodeRecord {
        let stat = StatPersisted { czxid: 7, pzxid: 7, ephemeral_owner: owner, ..StatPersisted::default() };
        ZnodeRecord { data: to_data(Some(data.as_bytes())), acl: Arc::from(Acl::open_unsafe()), stat }
    }

    fn loader() -> TreeLoader {
        TreeLoader::new(TreeOptions { extended_types: true, ..TreeOptions::default() })
    }

    #[test]
    fn parents_need_only_come_before_their_children() {
        let mut loader = loader();
        for path in ["/b", "/a", "/b/x", "/a/y", "/b/x/z", "", "/b/w"] {
            loader.znode(path, record("", 0)).unwrap();
        }
        let tree = loader.finish(Zxid(9), None);
        assert_eq!(tree.last_zxid(), Zxid(9));
        assert_eq!(tree.descendant_count("/b"), 3);
        assert_eq!(tree.digest(), tree.recompute_digest());
        assert_eq!(tree.find("/").unwrap().persisted_stat().czxid, 7);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let mut loader = loader();
        assert_eq!(loader.znode("/a/b", record("", 0)), Err(LoadError::NoParent("/a/b".to_owned())));
        assert_eq!(loader.znode("a", record("", 0)), Err(LoadError::NoParent("a".to_owned())));
        loader.znode("/a", record("", 0)).unwrap();
        assert_eq!(loader.znode("/a", record("", 0)), Err(LoadError::Twice("/a".to_owned())));
        loader.znode("/", record("", 0)).unwrap();
        assert_eq!(loader.znode("", record("", 0)), Err(LoadError::Twice("/".to_owned())));
    }

    #[test]
    fn the_services_own_znodes_are_added_where_an_old_server_had_none() {
        let mut loader = loader();
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            loader.znode(path, record("", 0)).unwrap();
        }
        let mut tree = loader.finish(Zxid(9), None);
        let cut = tree.take_cut();
        let added: Vec<&str> = cut.znodes.iter().map(|(path, _)| path).collect();
        assert_eq!(added, ["/zookeeper/config"]);
    }

    #[test]
    fn sessions_owners_and_quotas_are_what_they_were() {
        let mut loader = loader();
        let limits = "count=1,bytes=-1=;countHardLimit=3";
        for (path, data, owner) in [
            ("/", "", 0),
            ("/e", "", 5),
            ("/orphan", "", 6),
            ("/t", "", ZnodeKind::Ttl(9).to_owner()),
            ("/q", "four", 0),
            ("/q/c", "1", ZnodeKind::Container.to_owner()),
            ("/zookeeper", "", 0),
            ("/zookeeper/quota", "", 0),
            ("/zookeeper/quota/q", "", 0),
            ("/zookeeper/quota/q/zookeeper_limits", limits, 0),
            ("/zookeeper/quota/q/zookeeper_stats", "count=99,bytes=99", 0),
        ] {
            loader.znode(path, record(data, owner)).unwrap();
        }
        loader.session(SessionId(5), 4000);
        let mut tree = loader.finish(Zxid(9), None);

        assert_eq!(tree.ephemerals_of(SessionId(5)).collect::<Vec<_>>(), ["/e"]);
        assert_eq!(tree.ttl_candidates(100).collect::<Vec<_>>(), ["/t"]);
        assert_eq!(tree.container_candidates(100, 1).collect::<Vec<_>>(), ["/q/c"]);
        let stats = tree.find("/zookeeper/quota/q/zookeeper_stats").unwrap();
        assert_eq!(stats.data(), Some(&b"count=2,bytes=5"[..]), "usage is counted anew");
        assert_eq!(tree.quota_over("/q/d", 1, 0), None);
        assert!(tree.quota_over("/q/d", 2, 0).is_some());

        assert_eq!(tree.delete_orphaned_ephemerals(), 1);
        assert!(tree.find("/orphan").is_none());
        assert!(tree.find("/e").is_some());
        assert_eq!(tree.digest(), tree.recompute_digest());
    }
}
