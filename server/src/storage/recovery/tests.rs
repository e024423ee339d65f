use std::path::PathBuf;

use bytes::Bytes;
use jute::Jute;
use jute::data::AclList;
use jute::txn::{
    CloseSessionTxn, CreateSessionTxn, CreateTxn, DeleteTxn, SetDataTxn, TxnBody, TxnDigest, TxnHeader,
};

use super::*;
use crate::session::SessionId;
use crate::storage::java_snapshot::{Compression, snapshot_name, write_snapshot};
use crate::storage::snapshot::MemoryStore;
use crate::storage::{LogOptions, OsDisk, RocksStore, SimDisk, TxnLog};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/java_data_dir");

/// A server reduced to its storage: it applies what it logs.
struct Server {
    disk: SimDisk,
    store: MemoryStore,
    tree: Tree,
    log: TxnLog,
}

fn dirs() -> DataDirs {
    DataDirs::new("/data", None)
}

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

impl Server {
    fn start(disk: &SimDisk, mut store: MemoryStore) -> Result<Self> {
        let recovered = recover(&shared(disk), &mut store, &dirs(), &RecoveryOptions::default())?;
        assert_eq!(recovered.stats.digest_mismatches, 0);
        assert_eq!(recovered.tree.digest(), recovered.tree.recompute_digest());
        let options = LogOptions { preallocate_bytes: 16 << 10, ..LogOptions::new(dirs().logs()) };
        let log = TxnLog::open(shared(disk), options, &recovered.log_end)?;
        Ok(Self { disk: disk.clone(), store, tree: recovered.tree, log })
    }

    fn restart(self) -> Result<Self> {
        self.disk.kill();
        Self::start(&self.disk, self.store)
    }

    fn next_zxid(&self) -> Zxid {
        self.log.last_zxid().unwrap().next()
    }

    /// Logs and applies; durable after `sync`.
    fn write(&mut self, session: i64, body: TxnBody) {
        let zxid = self.next_zxid();
        let txn_type = match &body {
            TxnBody::CreateSession(_) => -10,
            TxnBody::CloseSession(_) => -11,
            TxnBody::Create(_) => 1,
            TxnBody::Delete(_) => 2,
            TxnBody::SetData(_) => 5,
            other => panic!("no type for {other:?}"),
        };
        let header =
            TxnHeader { client_id: session, cxid: 1, zxid: zxid.0, time_ms: 1000 + zxid.0, txn_type };
        let mut txn = Txn { header, body, digest: None };
        self.tree.replay(&txn);
        let tree_digest = self.tree.digest().cast_signed();
        txn.digest = Some(TxnDigest { version: 2, tree_digest });
        self.log.append(zxid, &txn.to_bytes()).unwrap();
    }

    fn create(&mut self, path: &str, session: i64) {
        let txn = CreateTxn {
            path: path.into(),
            data: Some(Bytes::from_static(b"data")),
            acl: AclList::OPEN_UNSAFE,
            ephemeral: session != 0,
            parent_cversion: -1,
        };
        self.write(session, TxnBody::Create(txn));
    }

    fn set(&mut self, path: &str, data: &str, version: i32) {
        let data = Some(Bytes::copy_from_slice(data.as_bytes()));
        self.write(0, TxnBody::SetData(SetDataTxn { path: path.into(), data, version }));
    }

    fn delete(&mut self, path: &str) {
        self.write(0, TxnBody::Delete(DeleteTxn { path: path.into() }));
    }

    fn sync(&mut self) {
        self.log.sync().unwrap();
    }

    fn cut(&mut self) {
        let cut = self.tree.take_cut();
        self.store.write(&cut).unwrap();
    }
}

/// All there is to see of a tree. The order of children is nobody's business.
fn content(tree: &Tree) -> String {
    let mut lines = Vec::new();
    tree.visit(|path, znode| {
        lines.push(format!("{path:?} {:?} {:?} {:?}", znode.data(), znode.persisted_stat(), znode.acl()));
    });
    lines.sort_unstable();
    let sessions: Vec<_> = tree.sessions().collect();
    format!("{}\n{sessions:?} {} {}", lines.join("\n"), tree.last_zxid(), tree.digest())
}

fn export(server: &Server) {
    export_as_of(&head(&server.tree), &server.tree, &server.disk);
}

fn head(tree: &Tree) -> SnapshotHead {
    SnapshotHead { zxid: tree.last_zxid(), digest: tree.digest(), sessions: tree.sessions().collect() }
}

/// The znodes as they are, under a head that may be another time's.
fn export_as_of(head: &SnapshotHead, tree: &Tree, disk: &SimDisk) -> PathBuf {
    write_snapshot(disk, &dirs().snapshots(), Compression::None, head, &mut |sink| {
        let mut outcome = Ok(());
        tree.visit(|path, znode| {
            if outcome.is_ok() {
                outcome = sink(path, &znode.record());
            }
        });
        outcome
    })
    .unwrap()
}

#[test]
fn a_server_comes_back_as_it_was_wherever_the_last_cut_was() {
    for cut_after in 0..6 {
        let disk = SimDisk::new(1);
        let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
        for step in 0..6 {
            match step {
                0 => server.write(7, TxnBody::CreateSession(CreateSessionTxn { timeout_ms: 4000 })),
                1 => server.create("/a", 0),
                2 => server.create("/a/b", 7),
                3 => server.set("/a", "other", 1),
                4 => server.create("/c", 0),
                _ => server.delete("/c"),
            }
            if step == cut_after {
                server.cut();
            }
        }
        server.sync();
        let before = content(&server.tree);
        assert_eq!(content(&server.restart().unwrap().tree), before, "cut after step {cut_after}");
    }
}

#[test]
fn no_crash_loses_what_was_synced_however_cuts_and_flushes_fall() {
    for seed in 0..3000_u64 {
        let disk = SimDisk::new(seed);
        let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
        let mut synced = content(&server.tree);
        let mut random = seed;
        let mut unsynced = Vec::new();
        for step in 0..40 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (random >> 33) % 8 {
                0..=3 => {
                    server.create(&format!("/n{step}"), 0);
                    unsynced.push(content(&server.tree));
                }
                4 => server.cut_if_synced(&unsynced),
                5 => drop(server.store.flush().unwrap()),
                6 => {
                    server.sync();
                    synced = unsynced.pop().unwrap_or(synced);
                    unsynced.clear();
                }
                _ => {
                    let Server { mut store, .. } = server;
                    disk.crash();
                    store.crash();
                    server =
                        Server::start(&disk, store).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    let found = content(&server.tree);
                    assert!(found == synced || unsynced.contains(&found), "seed {seed}, step {step}");
                    synced = found;
                    unsynced.clear();
                }
            }
        }
    }
}

impl Server {
    /// A cut is of txns that are in the log.
    fn cut_if_synced(&mut self, unsynced: &[String]) {
        if unsynced.is_empty() {
            self.cut();
        }
    }
}

#[test]
fn what_java_wrote_comes_back_digest_for_digest() {
    let source = Path::new(FIXTURE).join("version-2");
    let dir = tempfile::tempdir().unwrap();
    let dirs = DataDirs::new(dir.path(), None);
    std::fs::create_dir_all(dirs.logs()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let snapshots = java_snapshot::snapshot_files(&OsDisk, &source).unwrap();
    let logs = log_files(&OsDisk, &source).unwrap();
    let tree_options = TreeOptions { extended_types: true, ..TreeOptions::default() };
    let options = RecoveryOptions { tree: tree_options, standalone: false, ..RecoveryOptions::default() };

    let mut trees = Vec::new();
    // From the newest snapshot, from each of the older ones, and then from our own database.
    for file in logs {
        std::fs::copy(&file.path, dirs.logs().join(file.path.file_name().unwrap())).unwrap();
    }
    for snapshot in snapshots.iter().rev() {
        std::fs::copy(&snapshot.path, dirs.snapshots().join(snapshot.path.file_name().unwrap())).unwrap();
        let _ = std::fs::remove_dir_all(dirs.database());
        for source in [Source::Java, Source::Database] {
            let mut store = RocksStore::open(&dirs.database()).unwrap();
            let recovered = recover(&disk, &mut store, &dirs, &options).unwrap();
            assert_eq!(recovered.stats.source, source);
            assert_eq!(recovered.stats.digest_mismatches, 0);
            assert_eq!(recovered.tree.digest(), recovered.tree.recompute_digest());
            trees.push(recovered.tree);
        }
    }
    let contents: Vec<_> = trees.iter().map(content).collect();
    assert!(contents.iter().all(|content| *content == contents[0]), "all roads lead to one tree");

    let tree = &trees[0];
    let data = |path: &str| {
        tree.find(path).map(|znode| String::from_utf8_lossy(znode.data().unwrap_or_default()).into_owned())
    };
    assert_eq!(data("/app").as_deref(), Some("fourth"));
    assert_eq!(data("/app/deep").as_deref(), Some("value-60"));
    assert_eq!(data("/app/ümlaut").as_deref(), Some("grün"));
    assert_eq!(data("/last").as_deref(), Some("one"));
    assert_eq!(data("/app/item-0000000001"), None);
    assert_eq!(data("/gone"), None);
    let owner = |path: &str| tree.find(path).unwrap().persisted_stat().ephemeral_owner;
    assert_eq!(owner("/container"), i64::MIN);
    assert_eq!(owner("/ttl"), 0xff00_0000_0009_27c0_u64.cast_signed());
    let ephemerals: Vec<_> = tree.ephemerals_of(SessionId(owner("/lives"))).collect();
    assert_eq!(ephemerals.len(), 2, "{ephemerals:?}");
    assert_eq!(tree.session_timeout_ms(SessionId(owner("/lives"))), Some(10_000));
    assert_eq!(tree.find("/private").unwrap().acl()[0].id.scheme, "digest");
    assert_eq!(tree.find("/container").unwrap().acl()[0].perms, jute::data::perms::READ);
}

/// A Java server's disk after its first txns: the log, and a snapshot called as of txn `called`, as if it had been
/// begun then. What comes last in it is the digest, as of the second txn.
fn snapshot_of(znodes: &Tree, called: u64, server: &Server, digest: &SnapshotHead) {
    let path = export_as_of(digest, znodes, &server.disk);
    let called = dirs().snapshots().join(snapshot_name(Zxid(called.cast_signed()), Compression::None));
    if path != called {
        server.disk.rename(&path, &called).unwrap();
    }
}

fn after_two_txns() -> Server {
    let mut server = Server::start(&SimDisk::new(1), MemoryStore::default()).unwrap();
    server.create("/a", 0);
    server.set("/a", "second", 1);
    server
}

fn recovered_from_java(server: &Server) -> Recovered {
    let options = RecoveryOptions::default();
    let recovered = recover(&shared(&server.disk), &mut MemoryStore::default(), &dirs(), &options).unwrap();
    assert_eq!(recovered.stats.source, Source::Java);
    recovered
}

/// Java writes the digest after the txn applied last; what the next txn is changing just then may be among the znodes.
#[test]
fn znodes_ahead_of_their_snapshots_digest_are_no_mismatch_if_the_next_txn_knows_them() {
    for called in [2, 1] {
        let mut server = after_two_txns();
        let digest = head(&server.tree);
        server.set("/a", "ahead", 2);
        server.sync();
        snapshot_of(&server.tree, called, &server, &digest);

        let recovered = recovered_from_java(&server);
        assert_eq!((recovered.stats.txns_loaded, recovered.stats.digest_mismatches), (3 - called, 0));
        assert_eq!(content(&recovered.tree), content(&server.tree));
    }
}

#[test]
fn znodes_that_no_txn_knows_are_a_mismatch_with_the_snapshots_digest_and_every_txns() {
    for called in [2, 1] {
        for txns_after in 0..3 {
            let (mut server, mut other) = (after_two_txns(), after_two_txns());
            let digest = head(&server.tree);
            (0..txns_after).for_each(|number| server.create(&format!("/{number}"), 0));
            server.sync();
            other.create("/alien", 0);
            snapshot_of(&other.tree, called, &server, &digest);

            let stats = recovered_from_java(&server).stats;
            assert_eq!(stats.digest_mismatches, 1 + txns_after, "called {called}, {txns_after} txns");
        }
    }
}

#[test]
fn snapshots_that_java_compressed_are_read() {
    let options = RecoveryOptions::default();
    let read = |name: &str| load_java_snapshot(&OsDisk, &Path::new(FIXTURE).join(name), &options).unwrap();
    let names: Vec<_> = OsDisk.list(Path::new(FIXTURE)).unwrap();
    for suffix in ["gz", "snappy"] {
        let name = names.iter().find(|name| name.ends_with(suffix)).unwrap();
        let (tree, head) = read(name);
        let data = tree.find("/app/deep").unwrap().data().unwrap();
        assert!(String::from_utf8_lossy(data).starts_with(&format!("{suffix}-")), "{name}");
        assert_eq!(head.digest, Some((head.zxid, tree.digest())));
    }
}

#[test]
fn a_newer_java_snapshot_is_taken_and_the_database_written_anew() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    server.create("/ours", 0);
    server.sync();
    server.cut();
    server.store.flush().unwrap();
    let stale = server.store.clone();

    // A Java server goes on from here, and purges its logs.
    server.create("/theirs", 0);
    server.delete("/ours");
    server.sync();
    export(&server);
    let expected = content(&server.tree);
    for file in log_files(&disk, &dirs().logs()).unwrap() {
        disk.remove(&file.path).unwrap();
    }
    disk.kill();

    let server = Server::start(&disk, stale).unwrap();
    assert_eq!(content(&server.tree), expected);
    assert_eq!(server.store.durable(), Some(Zxid(3)));
}

#[test]
fn a_damaged_java_snapshot_gives_way_to_the_one_before() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    server.create("/a", 0);
    server.sync();
    export(&server);
    server.create("/b", 0);
    server.sync();
    export(&server);
    let expected = content(&server.tree);
    disk.kill();
    disk.flip(&dirs().snapshots().join(snapshot_name(Zxid(2), Compression::None)), 100, 4);

    let server = Server::start(&disk, MemoryStore::default()).unwrap();
    assert_eq!(content(&server.tree), expected);
}

#[test]
fn a_log_without_a_snapshot_is_refused_unless_trusted() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    server.create("/a", 0);
    server.sync();
    let expected = content(&server.tree);
    disk.kill();

    let trusting = RecoveryOptions { trust_empty_snapshot: true, ..RecoveryOptions::default() };
    let mut store = MemoryStore::default();
    let error = recover(&shared(&disk), &mut store, &dirs(), &RecoveryOptions::default()).unwrap_err();
    assert!(error.to_string().contains("snapshot.trust.empty"), "{error}");
    let recovered = recover(&shared(&disk), &mut store, &dirs(), &trusting).unwrap();
    assert_eq!(content(&recovered.tree), expected);
}

#[test]
fn nothing_at_all_is_an_empty_database_only_if_we_may_think_so() {
    let disk = SimDisk::new(1);
    let cautious = RecoveryOptions { auto_create_db: false, ..RecoveryOptions::default() };
    let recover = || recover(&shared(&disk), &mut MemoryStore::default(), &dirs(), &cautious).unwrap();
    assert!(recover().maybe_lost);
    dirs().mark_initialized(&disk).unwrap();
    assert!(!recover().maybe_lost);
    assert!(recover().maybe_lost, "the marker counts once");
}

#[test]
fn a_missing_log_file_is_noticed() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    for name in ["/a", "/b", "/c"] {
        server.create(name, 0);
        server.sync();
        server = server.restart().unwrap();
    }
    disk.remove(&dirs().logs().join("log.2")).unwrap();
    match server.restart() {
        Err(Error::LogGap { last: Zxid(1), found: Zxid(3), .. }) => {}
        other => panic!("{:?}", other.map(|server| server.tree)),
    }
}

#[test]
fn a_database_of_another_time_than_the_log_is_refused() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    server.create("/a", 0);
    server.sync();
    server = server.restart().unwrap();
    server.create("/b", 0);
    server.sync();
    server.cut();
    server.store.flush().unwrap();
    let store = server.store.clone();
    disk.kill();

    // An older log was put back.
    let (_, end) = (0, log_files(&disk, &dirs().logs()).unwrap());
    disk.remove(&end[1].path).unwrap();
    assert!(matches!(Server::start(&disk, store.clone()), Err(Error::Diverged { .. })));

    // The same zxids, but another history.
    disk.remove(&end[0].path).unwrap();
    let mut other = Server::start(&disk, MemoryStore::default()).unwrap();
    other.create("/x", 0);
    other.create("/y", 0);
    other.sync();
    disk.kill();
    assert!(matches!(Server::start(&disk, store), Err(Error::Diverged { .. })));
}

#[test]
fn ephemerals_without_a_session_are_dropped_for_good_by_a_lone_server_only() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    server.create("/orphan", 99);
    server.write(5, TxnBody::CloseSession(Some(CloseSessionTxn { paths_to_delete: vec![] })));
    server.sync();
    disk.kill();
    for standalone in [false, true] {
        let options = RecoveryOptions { standalone, ..RecoveryOptions::default() };
        let recovered = recover(&shared(&disk), &mut server.store.clone(), &dirs(), &options).unwrap();
        assert_eq!(recovered.tree.find("/orphan").is_none(), standalone);
    }
    // It stays dropped, and what is logged from then on agrees with that.
    let mut server = Server::start(&disk, server.store).unwrap();
    server.create("/after", 0);
    server.sync();
    let server = server.restart().unwrap().restart().unwrap();
    assert!(server.tree.find("/orphan").is_none());
}

#[test]
fn purging_leaves_enough_for_every_snapshot_that_is_kept() {
    let disk = SimDisk::new(1);
    let mut server = Server::start(&disk, MemoryStore::default()).unwrap();
    for round in 0..6 {
        server.create(&format!("/n{round}"), 0);
        server.sync();
        export(&server);
        server.create(&format!("/m{round}"), 0);
        server.sync();
        server = server.restart().unwrap();
    }
    let expected = content(&server.tree);
    disk.kill();
    let removed = crate::storage::purge::purge(&disk, &mut server.store.clone(), &dirs(), 3).unwrap();
    assert!(removed.iter().any(|path| path.ends_with("log.1")), "{removed:?}");
    for kept in java_snapshot::snapshot_files(&disk, &dirs().snapshots()).unwrap() {
        let mut store = MemoryStore::default();
        let recovered = recover(&shared(&disk), &mut store, &dirs(), &RecoveryOptions::default()).unwrap();
        assert_eq!(content(&recovered.tree), expected, "from {kept:?}");
        disk.remove(&kept.path).unwrap();
    }
}
