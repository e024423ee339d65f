mod life;

use std::collections::BTreeSet;

use bytes::Bytes;
use jute::Jute;
use jute::data::{Acl, AclList};
use jute::txn::{CreateSessionTxn, CreateTxn, Txn, TxnBody, TxnDigest, TxnHeader};

use super::*;
use crate::storage::java_snapshot::{SNAP_SIGNATURE, read_sent};
use crate::storage::{LogOptions, MemoryStore, OsDisk, RocksStore, SimDisk, recover};
use crate::tree::{TreeLoader, TreeOptions};
use crate::zab::Epoch;

/// A member reduced to its storage: it logs what it is told, and applies what is committed.
struct Server<S> {
    disk: Arc<dyn Disk>,
    member: MemberDisk,
    writer: SnapshotWriter<S>,
    tree: Tree,
    log: TxnLog,
    /// Logged, and not applied.
    proposed: Vec<Txn>,
}

fn options() -> RecoveryOptions {
    RecoveryOptions { standalone: false, ..RecoveryOptions::default() }
}

fn at(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// A txn that can be told from all others.
fn txn(zxid: Zxid) -> Txn {
    let header = TxnHeader { client_id: 7, cxid: 1, zxid: zxid.0, time_ms: zxid.0, txn_type: 1 };
    let create = CreateTxn {
        path: format!("/{zxid}").into(),
        data: Some(Bytes::from_static(b"data")),
        acl: if zxid.counter().is_multiple_of(3) { Acl::read_unsafe().into() } else { AclList::OPEN_UNSAFE },
        ephemeral: false,
        parent_cversion: -1,
    };
    Txn { header, body: TxnBody::Create(create), digest: None }
}

/// The tree that these txns make.
fn tree_of(zxids: &[Zxid]) -> Tree {
    let mut tree = Tree::new(TreeOptions::default());
    zxids.iter().for_each(|zxid| drop(tree.replay(&txn(*zxid))));
    tree
}

/// The same, as it comes from a leader: from nowhere on this disk.
fn received(zxids: &[Zxid]) -> Tree {
    let tree = tree_of(zxids);
    let mut loader = TreeLoader::new(TreeOptions::default());
    tree.visit(|path, znode| loader.znode(path, znode.record()).unwrap());
    loader.finish(tree.last_zxid(), None)
}

/// Which txns a tree is made of.
fn txns_in(tree: &Tree) -> Vec<Zxid> {
    let mut zxids = BTreeSet::new();
    tree.visit(|_, znode| {
        zxids.insert(Zxid(znode.persisted_stat().czxid));
    });
    zxids.remove(&Zxid::ZERO);
    assert_eq!(zxids.last().copied().unwrap_or_default(), tree.last_zxid());
    assert_eq!(tree.digest(), tree.recompute_digest());
    zxids.into_iter().collect()
}

impl<S: SnapshotStore> Server<S> {
    fn start(disk: &Arc<dyn Disk>, dirs: &DataDirs, mut store: S) -> Result<Self> {
        let recovered = recover(disk, &mut store, dirs, &options())?;
        let log_options = LogOptions { preallocate_bytes: 16 << 10, ..LogOptions::new(dirs.logs()) };
        Ok(Self {
            disk: Arc::clone(disk),
            member: MemberDisk::new(Arc::clone(disk), dirs.clone(), options()),
            writer: SnapshotWriter::new(store, 100),
            tree: recovered.tree,
            log: TxnLog::open(Arc::clone(disk), log_options, &recovered.log_end)?,
            proposed: Vec::new(),
        })
    }

    fn propose(&mut self, zxids: impl IntoIterator<Item = Zxid>) {
        for zxid in zxids {
            let txn = txn(zxid);
            self.log.append(zxid, &txn.to_bytes()).unwrap();
            self.proposed.push(txn);
        }
        self.log.sync().unwrap();
    }

    fn commit(&mut self) {
        for txn in std::mem::take(&mut self.proposed) {
            self.tree.replay(&txn);
        }
    }

    fn cut(&mut self) {
        self.writer.add(self.tree.take_cut());
        self.writer.advance().unwrap();
    }

    fn truncate(&mut self, zxid: Zxid) -> Result<bool> {
        if !self.member.truncate(&mut self.log, self.writer.newest(), zxid)? {
            return Ok(false);
        }
        self.proposed.retain(|txn| txn.header.zxid <= zxid.0);
        if self.tree.last_zxid() > zxid {
            self.tree = self.member.reload(&mut self.writer)?.tree;
        }
        Ok(true)
    }

    fn install(&mut self, tree: Tree) -> Result<()> {
        self.tree = tree;
        self.proposed.clear();
        let zxid = self.member.install(&mut self.writer, &mut self.tree)?;
        self.log.begin_anew(zxid)
    }

    /// The disk's content is that of `zxids`, and stays so.
    fn claim(self, dirs: &DataDirs, zxids: &[Zxid]) -> Self {
        let Self { disk, writer, .. } = self;
        let again = Self::start(&disk, dirs, writer.into_store()).unwrap();
        assert_eq!(txns_in(&again.tree), zxids);
        again
    }
}

fn dirs() -> DataDirs {
    DataDirs::new("/data", None)
}

fn on_sim(disk: &SimDisk, store: MemoryStore) -> Result<Server<MemoryStore>> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Server::start(&disk, &dirs(), store)
}

fn epoch(epoch: u32, counters: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = Zxid> {
    counters.map(move |counter| at(epoch, counter))
}

/// Committed up to 1.6, of which the store has as much as is before 1.4; logged up to 1.9.
fn busy(disk: &SimDisk) -> Server<MemoryStore> {
    let mut server = on_sim(disk, MemoryStore::default()).unwrap();
    server.propose(epoch(1, 1..=3));
    server.commit();
    server.cut();
    server.propose(epoch(1, 4..=6));
    server.commit();
    server.propose(epoch(1, 7..=9));
    server
}

#[test]
fn a_truncation_forgets_what_only_this_log_has() {
    let mut server = busy(&SimDisk::new(1));
    assert!(server.truncate(at(1, 7)).unwrap());
    assert_eq!(txns_in(&server.tree), epoch(1, 1..=6).collect::<Vec<_>>());
    server.propose(epoch(2, 1..=2));
    let zxids: Vec<_> = epoch(1, 1..=7).chain(epoch(2, 1..=2)).collect();
    server.claim(&dirs(), &zxids);
}

#[test]
fn a_tree_that_is_beyond_the_truncation_is_loaded_again_and_moves_on_from_there() {
    let mut server = busy(&SimDisk::new(1));
    server.commit();
    assert!(server.truncate(at(1, 4)).unwrap());
    assert_eq!(txns_in(&server.tree), epoch(1, 1..=4).collect::<Vec<_>>());
    server.propose(epoch(2, 1..=2));
    server.commit();
    server.cut();
    server.writer.flush().unwrap();
    let zxids: Vec<_> = epoch(1, 1..=4).chain(epoch(2, 1..=2)).collect();
    server.claim(&dirs(), &zxids);
}

#[test]
fn a_truncation_before_what_is_stored_or_to_what_is_not_ours_is_refused_and_changes_nothing() {
    let mut server = busy(&SimDisk::new(1));
    for zxid in [at(1, 2), at(1, 10), at(0, 3)] {
        assert!(!server.truncate(zxid).unwrap(), "{zxid}");
    }
    // A cut that waits for the store counts as stored.
    server.writer.add(server.tree.take_cut());
    assert!(!server.truncate(at(1, 4)).unwrap());
    assert!(server.truncate(at(1, 9)).unwrap(), "nothing to be done");
    server.claim(&dirs(), &epoch(1, 1..=9).collect::<Vec<_>>());
}

#[test]
fn a_truncation_down_to_the_stored_tree_leaves_that() {
    let mut server = busy(&SimDisk::new(1));
    assert!(server.truncate(at(1, 3)).unwrap());
    assert_eq!(txns_in(&server.tree), epoch(1, 1..=3).collect::<Vec<_>>());
    server.propose([at(2, 1)]);
    let zxids: Vec<_> = epoch(1, 1..=3).chain([at(2, 1)]).collect();
    let mut server = server.claim(&dirs(), &zxids);

    server.install(received(&[at(3, 5)])).unwrap();
    server.propose([at(3, 6)]);
    assert!(server.truncate(at(3, 5)).unwrap(), "the log begins behind it");
    assert_eq!(server.log.last_zxid(), Some(at(3, 5)));
    server.claim(&dirs(), &[at(3, 5)]);
}

#[test]
fn a_snapshot_file_of_what_is_cut_off_does_not_bring_it_back() {
    let mut server = busy(&SimDisk::new(1));
    server.commit();
    let head = crate::storage::SnapshotHead { zxid: at(1, 9), ..Default::default() };
    let dir = dirs().snapshots();
    let compression = crate::storage::java_snapshot::Compression::None;
    let tree = tree_of(&epoch(1, 1..=9).collect::<Vec<_>>());
    crate::storage::java_snapshot::write_snapshot(&*server.disk, &dir, compression, &head, &mut |sink| {
        let mut outcome = Ok(());
        tree.visit(|path, znode| {
            if outcome.is_ok() {
                outcome = sink(path, &znode.record());
            }
        });
        outcome
    })
    .unwrap();
    assert!(server.truncate(at(1, 7)).unwrap());
    server.claim(&dirs(), &epoch(1, 1..=7).collect::<Vec<_>>());
}

#[test]
fn a_tree_loaded_again_while_the_store_lags_makes_cuts_that_fit_what_is_stored() {
    let mut server = busy(&SimDisk::new(1));
    server.writer.store().set_full(true);
    server.writer.add(server.tree.take_cut());
    server.writer.advance().unwrap_err();
    server.tree = server.member.reload(&mut server.writer).unwrap().tree;
    assert_eq!(txns_in(&server.tree), epoch(1, 1..=9).collect::<Vec<_>>());

    server.writer.store().set_full(false);
    server.proposed.clear();
    server.propose([at(1, 10)]);
    server.commit();
    server.cut();
    server.writer.flush().unwrap();
    assert_eq!(server.writer.store().written(), Some(at(1, 10)));
    server.claim(&dirs(), &epoch(1, 1..=10).collect::<Vec<_>>());
}

/// Another history than [`busy`]'s, which ends before it.
fn other() -> Vec<Zxid> {
    epoch(1, 1..=2).collect()
}

#[test]
fn an_installed_history_is_the_only_one() {
    let mut server = busy(&SimDisk::new(1));
    server.install(received(&other())).unwrap();
    assert_eq!(server.log.last_zxid(), other().last().copied());
    server.propose(epoch(3, 1..=2));
    server.commit();
    server.cut();
    server.writer.flush().unwrap();
    server.propose([at(3, 3)]);
    let zxids: Vec<_> = other().into_iter().chain(epoch(3, 1..=3)).collect();
    let server = server.claim(&dirs(), &zxids);
    server.claim(&dirs(), &zxids);
}

#[test]
fn what_is_committed_before_the_install_and_deleted_after_it_is_not_stored() {
    let mut server = busy(&SimDisk::new(1));
    let mut tree = received(&other());
    tree.replay(&txn(at(3, 1)));
    server.install(tree).unwrap();
    let header = TxnHeader { zxid: at(3, 2).0, txn_type: 2, ..TxnHeader::default() };
    let body = TxnBody::Delete(jute::txn::DeleteTxn { path: format!("/{}", at(3, 1)).into() });
    let delete = Txn { header, body, digest: None };
    server.log.append(at(3, 2), &delete.to_bytes()).unwrap();
    server.log.sync().unwrap();
    server.tree.replay(&delete);
    server.cut();
    server.writer.flush().unwrap();
    let mut stored = Vec::new();
    server.writer.store().load(&mut |path, _| stored.push(path.to_owned())).unwrap();
    assert!(!stored.contains(&format!("/{}", at(3, 1))), "{stored:?}");
}

#[test]
fn a_crash_anywhere_in_an_install_leaves_one_history_or_the_other() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let mut server = busy(&disk);
        server.log.roll().unwrap();
        server.propose([at(2, 1)]);
        // Before anything, or while the old log is removed.
        let outcome = if seed % 8 == 0 {
            Ok(())
        } else {
            disk.fail_sync_after(seed % 8 - 1);
            server.install(received(&other()))
        };
        let is_installed = seed % 8 != 0 && outcome.is_ok();
        let mut store = server.writer.into_store();
        disk.crash();
        store.crash();
        // And once more while that is settled.
        disk.fail_sync_after(seed / 8 % 5);
        let interrupted = on_sim(&disk, store.clone()).map(|server| server.writer.into_store());
        disk.crash();
        let mut store = interrupted.unwrap_or(store);
        store.crash();

        let mut server = on_sim(&disk, store).unwrap();
        let found = txns_in(&server.tree);
        if found == other() {
            new += 1;
        } else {
            old += 1;
            assert!(!is_installed, "seed {seed}: acknowledged, and lost");
            let before: Vec<_> = epoch(1, 1..=9).chain([at(2, 1)]).collect();
            assert_eq!(found, before, "seed {seed}");
        }
        server.propose([at(4, 1)]);
        let zxids: Vec<_> = found.into_iter().chain([at(4, 1)]).collect();
        server.claim(&dirs(), &zxids);
    }
    assert!(old > 0 && new > 0, "{old} old, {new} new");
}

#[test]
fn a_full_disk_refuses_an_install_and_keeps_the_old_history() {
    let mut server = busy(&SimDisk::new(1));
    server.writer.store().set_full(true);
    server.install(received(&other())).unwrap_err();
    server.writer.store().set_full(false);
    server.tree = server.member.reload(&mut server.writer).unwrap().tree;
    assert_eq!(txns_in(&server.tree), epoch(1, 1..=9).collect::<Vec<_>>());
    server.claim(&dirs(), &epoch(1, 1..=9).collect::<Vec<_>>());
}

/// What a learner makes of what is sent.
fn sent(source: &mut dyn SnapshotSource, zxid: Zxid) -> Tree {
    let mut bytes = Vec::new();
    source.write_body(&mut bytes).unwrap();
    bytes.extend_from_slice(SNAP_SIGNATURE);
    bytes.extend_from_slice(b"behind");
    let mut loader = TreeLoader::new(TreeOptions::default());
    let sent = read_sent(&mut bytes.as_slice(), &mut |path, record| loader.znode(path, record).unwrap());
    let sent = sent.unwrap();
    assert_eq!(sent.behind, b"behind");
    sent.sessions.into_iter().for_each(|(session, timeout_ms)| loader.session(session, timeout_ms));
    loader.finish(zxid, None)
}

fn content(tree: &Tree) -> String {
    let mut lines = Vec::new();
    tree.visit(|path, znode| {
        lines.push(format!("{path:?} {:?} {:?} {:?}", znode.data(), znode.persisted_stat(), znode.acl()));
    });
    lines.sort_unstable();
    format!("{}\n{:?} {}", lines.join("\n"), tree.sessions().collect::<Vec<_>>(), tree.last_zxid())
}

/// What is held open is sent as it was, whatever happens to the store, and goes when it is let go of.
fn holds<S: SnapshotStore>(disk: &Arc<dyn Disk>, dirs: &DataDirs, store: S) {
    let mut server = Server::start(disk, dirs, store).unwrap();
    server.propose(epoch(1, 1..=9));
    server.commit();
    let header = TxnHeader { client_id: 5, zxid: at(1, 10).0, txn_type: -10, ..TxnHeader::default() };
    let body = TxnBody::CreateSession(CreateSessionTxn { timeout_ms: 4000 });
    server.tree.replay(&Txn { header, body, digest: None });
    server.writer.add(server.tree.take_cut());
    let expected = content(&server.tree);
    let (zxid, mut held) = server.member.hold(&mut server.writer).unwrap().unwrap();
    assert_eq!(zxid, at(1, 10), "cuts that came before are in it");

    server.propose([at(1, 11)]);
    server.commit();
    server.cut();
    server.writer.flush().unwrap();
    server.install(received(&other())).unwrap();
    let (_, mut other_held) = server.member.hold(&mut server.writer).unwrap().unwrap();
    assert_eq!(content(&sent(&mut *held, zxid)), expected);
    let zxid = server.tree.last_zxid();
    assert_eq!(content(&sent(&mut *other_held, zxid)), content(&server.tree));
}

#[test]
fn a_stored_tree_that_is_held_open_is_sent_as_it_was() {
    let sim: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    holds(&sim, &dirs(), MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    let dirs = DataDirs::new(dir.path(), None);
    let os: Arc<dyn Disk> = Arc::new(OsDisk);
    let _lock = dirs.enter(&*os, true).unwrap();
    holds(&os, &dirs, RocksStore::open(&dirs.database()).unwrap());
    let left: Vec<_> = std::fs::read_dir(dirs.database()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["db"]);
}

#[test]
fn an_install_on_a_real_disk_is_settled_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = DataDirs::new(dir.path(), None);
    let os: Arc<dyn Disk> = Arc::new(OsDisk);
    let _lock = dirs.enter(&*os, true).unwrap();
    let mut server = Server::start(&os, &dirs, RocksStore::open(&dirs.database()).unwrap()).unwrap();
    server.propose(epoch(1, 1..=9));
    server.commit();
    server.cut();
    server.writer.store().keep().unwrap();
    server.propose(epoch(2, 1..=2));
    // All that an install does before the old log goes.
    server.writer.replace_history(&mut received(&other())).unwrap();
    drop(server);

    let mut store = RocksStore::open(&dirs.database()).unwrap();
    assert!(store.voids_log());
    let recovered = recover(&os, &mut store, &dirs, &options()).unwrap();
    assert_eq!(txns_in(&recovered.tree), other());
    assert!(!store.voids_log());
    assert_eq!(store.kept().unwrap(), [], "nothing leads on from there");
    assert_eq!(log_files(&*os, &dirs.logs()).unwrap(), []);
    drop(store);
    let mut server = Server::start(&os, &dirs, RocksStore::open(&dirs.database()).unwrap()).unwrap();
    server.propose(epoch(3, 1..=2));
    drop(server);
    let server = Server::start(&os, &dirs, RocksStore::open(&dirs.database()).unwrap()).unwrap();
    assert_eq!(txns_in(&server.tree), other().into_iter().chain(epoch(3, 1..=2)).collect::<Vec<_>>());
}

#[test]
fn a_leaders_digest_that_is_not_ours_does_not_keep_a_member_from_starting() {
    let disk = SimDisk::new(1);
    let mut server = on_sim(&disk, MemoryStore::default()).unwrap();
    let mut txn = txn(at(1, 1));
    server.tree.replay(&txn);
    txn.digest = Some(TxnDigest { version: 2, tree_digest: 12345 });
    server.log.append(at(1, 1), &txn.to_bytes()).unwrap();
    server.log.sync().unwrap();
    server.cut();
    server.writer.flush().unwrap();
    server.claim(&dirs(), &[at(1, 1)]);
}

#[test]
fn the_log_that_may_be_sent_grows_with_the_tree() {
    let tree = tree_of(&epoch(1, 1..=1000).collect::<Vec<_>>());
    let bytes = log_bytes_max(&tree, 0.33);
    assert!((25_000..60_000).contains(&bytes), "{bytes}");
    assert_eq!(log_bytes_max(&tree, -1.0), 0);
}
