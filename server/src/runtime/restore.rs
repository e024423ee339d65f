//! Another tree in place of the one that is served: the admin server's `restore`.
//!
//! The node's thread does it between two batches, when nothing is under way. The new tree goes to the snapshot
//! store first, whole: from then on every start finds it, and no write that is acknowledged afterwards can be
//! replayed onto the old one. Then all connections are closed. Their clients come back, with their sessions if
//! the new tree has them, and set their watches anew against what is there now.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::member::MemberWork;
use crate::session::SessionId;
use crate::storage;
use crate::tree::{Cut, Tree};
use crate::zab::Zxid;

/// A tree on its way in.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) tree: Tree,
    outcome: SyncSender<storage::Result<Zxid>>,
}

impl Restore {
    /// With the place where its outcome will be.
    pub(super) fn new(tree: Tree) -> (Self, Outcome) {
        let (outcome, waiting) = sync_channel(1);
        (Self { tree, outcome }, Outcome(waiting))
    }

    /// The tree, and whom to tell.
    pub(super) fn split(self) -> (Tree, SyncSender<storage::Result<Zxid>>) {
        (self.tree, self.outcome)
    }
}

/// What the node's thread does between two batches, when somebody asks.
#[derive(Debug)]
pub(super) enum Errand {
    /// Serve another tree.
    Restore(Box<Restore>),
    /// Tell when each session expires, in milliseconds of the server's clock.
    Expiries(SyncSender<Vec<(SessionId, u64)>>),
}

/// How a restore ended.
pub(super) struct Outcome(Receiver<storage::Result<Zxid>>);

impl Outcome {
    /// Waits for it: the zxid of the tree that is served now.
    pub(super) fn wait(&self) -> io::Result<Zxid> {
        let stopped = |_| io::Error::other("the server is stopping");
        self.0.recv().map_err(stopped)?.map_err(io::Error::other)
    }
}

/// What the snapshot thread is given.
#[derive(Debug)]
pub(super) enum SnapshotWork {
    /// What changed; the node is told when it is written.
    Cut(Cut),
    /// A whole tree, and whom to tell.
    Whole(Cut, SyncSender<storage::Result<()>>),
    /// What a member of an ensemble wants.
    Member(MemberWork),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jute::data::{Acl, StatPersisted};
    use parking_lot::RwLock;

    use super::*;
    use crate::config::Config;
    use crate::runtime::{Server, tree_file};
    use crate::storage::DataDirs;
    use crate::storage::java_snapshot::Compression;
    use crate::tree::{TreeLoader, TreeOptions, ZnodeRecord, to_data};

    fn server(dir: &Path) -> Server {
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            dir.display()
        );
        Server::start(Config::parse(&text, Path::new("zoo.cfg"), &[]).unwrap()).unwrap()
    }

    fn other_tree() -> Tree {
        let mut loader = TreeLoader::new(TreeOptions::default());
        for (path, data) in [("/", None), ("/restored", Some(b"data".as_slice()))] {
            let stat = StatPersisted::default();
            let record = ZnodeRecord { data: to_data(data), acl: Acl::open_unsafe().into(), stat };
            loader.znode(path, record).unwrap();
        }
        loader.session(SessionId(7), 4000);
        loader.finish(Zxid(0x2_0000_0009), None)
    }

    #[test]
    fn a_restored_tree_is_served_and_outlives_the_server() {
        let (elsewhere, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dirs = DataDirs::new(elsewhere.path(), None);
        std::fs::create_dir_all(dirs.snapshots()).unwrap();
        let mut snapshot = tree_file::write(&RwLock::new(other_tree()), &dirs, Compression::None).unwrap();

        let running = server(dir.path());
        let before = running.view().gauges().znode_count;
        let zxid = running.view().restore(&mut snapshot.content).unwrap();
        assert_eq!(zxid, Zxid(0x2_0000_0009));
        assert_eq!(running.view().last_zxid(), zxid);
        assert_eq!(running.view().gauges().znode_count, before + 1);
        running.stop();

        let again = server(dir.path());
        assert_eq!(again.view().gauges().znode_count, before + 1);
        assert!(again.view().last_zxid() >= zxid);
        again.stop();
    }

    #[test]
    fn what_is_no_snapshot_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let running = server(dir.path());
        let before = running.view().gauges().znode_count;
        assert!(running.view().restore(&mut b"not a snapshot".as_slice()).is_err());
        assert_eq!(running.view().gauges().znode_count, before);
        running.stop();
    }
}
