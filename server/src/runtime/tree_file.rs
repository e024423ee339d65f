//! The tree as a snapshot in Java's format: what the admin server's `snapshot` gives and its `restore` takes.

use std::fs::File;
use std::io::{self, Read};

use parking_lot::RwLock;

use super::Snapshot;
use crate::storage::java_snapshot::{Compression, read_stream, write_snapshot};
use crate::storage::snapshot::ZnodeSink;
use crate::storage::{DataDirs, OsDisk, SnapshotHead};
use crate::tree::{Tree, TreeLoader, TreeOptions, ZnodeRecord};

/// Writes the tree into the data directory, where a Java server would have put it, and opens the file.
///
/// The tree is held for as long as it takes to copy references to its content: reads go on, writes wait. The disk
/// is written to afterwards.
pub(super) fn write(tree: &RwLock<Tree>, dirs: &DataDirs, compression: Compression) -> io::Result<Snapshot> {
    let (head, znodes) = {
        let tree = tree.read();
        let head = SnapshotHead {
            zxid: tree.last_zxid(),
            digest: if tree.options().digest { tree.digest() } else { 0 },
            sessions: tree.sessions().collect(),
        };
        (head, content(&tree))
    };
    let mut walk = |sink: &mut ZnodeSink<'_>| znodes.iter().try_for_each(|(path, record)| sink(path, record));
    let path = write_snapshot(&OsDisk, &dirs.snapshots(), compression, &head, &mut walk)
        .map_err(io::Error::other)?;
    let file = File::open(path)?;
    Ok(Snapshot { zxid: head.zxid, bytes: file.metadata()?.len(), content: Box::new(file) })
}

/// Parents before their children; data and ACLs are shared with the tree.
fn content(tree: &Tree) -> Vec<(Box<str>, ZnodeRecord)> {
    let mut znodes = Vec::with_capacity(tree.znode_count());
    tree.visit(|path, znode| {
        let record =
            ZnodeRecord { data: znode.shared_data(), acl: znode.acl().clone(), stat: znode.persisted_stat() };
        znodes.push((path.into(), record));
    });
    znodes
}

/// Reads a tree that [`write()`] or a Java server wrote, uncompressed.
pub(super) fn read(stream: &mut dyn Read, options: TreeOptions) -> io::Result<Tree> {
    let mut loader = TreeLoader::new(options);
    let mut misplaced = None;
    let head = read_stream(stream, &mut |path, record| {
        if let Err(error) = loader.znode(path, record) {
            misplaced.get_or_insert(error);
        }
    })?;
    if let Some(error) = misplaced {
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    head.sessions.into_iter().for_each(|(session, timeout_ms)| loader.session(session, timeout_ms));
    let Some(zxid) = head.last_processed else {
        let what = "the snapshot does not say its last zxid: serializeLastProcessedZxid was off";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    };
    // A digest taken at another zxid is no help, and computing it costs little.
    let digest = head.digest.filter(|(at, _)| *at == zxid).map(|(_, digest)| digest);
    Ok(loader.finish(zxid, digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;
    use crate::tree::to_data;
    use crate::zab::Zxid;
    use jute::data::{Acl, StatPersisted};

    fn tree() -> Tree {
        let mut loader = TreeLoader::new(TreeOptions::default());
        let stat = StatPersisted { czxid: 3, mzxid: 4, version: 1, ..StatPersisted::default() };
        for (path, data) in [("/", None), ("/a", Some(b"data".as_slice())), ("/a/b", None), ("/c", Some(b""))]
        {
            let record = ZnodeRecord { data: to_data(data), acl: Acl::open_unsafe().into(), stat };
            loader.znode(path, record).unwrap();
        }
        loader.session(SessionId(7), 4000);
        loader.finish(Zxid(9), None)
    }

    #[test]
    fn a_tree_that_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = DataDirs::new(dir.path(), None);
        std::fs::create_dir_all(dirs.snapshots()).unwrap();
        let written = RwLock::new(tree());

        let mut snapshot = write(&written, &dirs, Compression::None).unwrap();
        assert_eq!(snapshot.zxid, Zxid(9));
        assert_eq!(snapshot.bytes, std::fs::metadata(dirs.snapshots().join("snapshot.9")).unwrap().len());

        let read = read(&mut snapshot.content, TreeOptions::default()).unwrap();
        let written = written.read();
        assert_eq!(read.last_zxid(), Zxid(9));
        assert_eq!(read.recompute_digest(), written.recompute_digest());
        assert_eq!(read.znode_count(), written.znode_count());
        assert_eq!(read.sessions().collect::<Vec<_>>(), [(SessionId(7), 4000)]);
        assert_eq!(read.find("/a").unwrap().data(), Some(b"data".as_slice()));
        assert_eq!(read.find("/a/b").unwrap().data(), None);
    }

    #[test]
    fn what_is_no_whole_snapshot_becomes_no_tree() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = DataDirs::new(dir.path(), None);
        std::fs::create_dir_all(dirs.snapshots()).unwrap();
        let mut whole = Vec::new();
        let mut snapshot = write(&RwLock::new(tree()), &dirs, Compression::None).unwrap();
        snapshot.content.read_to_end(&mut whole).unwrap();
        for len in [0, 3, 100, whole.len() - 1] {
            assert!(
                read(&mut &whole[..len], TreeOptions::default()).is_err(),
                "{len} bytes of {}",
                whole.len()
            );
        }
    }
}
