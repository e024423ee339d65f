//! Claims about the tree as a whole.

use jute::data::{Acl, AclList, perms};
use jute::txn::{
    CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, DeleteTxn, ErrorTxn,
    MultiTxn, SetAclTxn, SetDataTxn, Txn, TxnBody, TxnHeader,
};
use jute::{ErrorCode, EventType, Ustring};

mod model;

use super::*;

pub(crate) const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

/// A tree, and txns with ascending zxids for it.
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    pub(crate) changes: Vec<Change>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(TreeOptions { extended_types: true, ..TreeOptions::default() })
    }

    pub(crate) fn with(options: TreeOptions) -> Self {
        Self { tree: Tree::new(options), changes: Vec::new() }
    }

    pub(crate) fn apply(&mut self, body: TxnBody) -> Applied {
        let txn = txn(self.tree.last_zxid().0 + 1, body);
        self.changes.clear();
        self.tree.apply(&txn, &mut self.changes)
    }

    pub(crate) fn create(&mut self, path: &str) -> Applied {
        self.apply(create(path))
    }

    fn stat(&self, path: &str) -> jute::data::Stat {
        self.tree.find(path).unwrap_or_else(|| panic!("{path} is there")).stat()
    }

    fn children(&self, path: &str) -> Vec<&str> {
        let mut children: Vec<&str> = self.tree.find(path).unwrap().children().collect();
        children.sort_unstable();
        children
    }

    fn events(&self) -> Vec<(EventType, &str)> {
        self.changes.iter().map(|change| (change.event, &change.path[..])).collect()
    }
}

pub(crate) fn txn(zxid: i64, body: TxnBody) -> Txn {
    let header = TxnHeader { client_id: SESSION.0, cxid: 0, zxid, time_ms: 1000 + zxid, txn_type: 0 };
    Txn { header, body, digest: None }
}

pub(crate) fn create(path: &str) -> TxnBody {
    TxnBody::Create(create_txn(path, -1))
}

fn create_txn(path: &str, parent_cversion: i32) -> CreateTxn {
    CreateTxn {
        path: path.into(),
        data: Some("data".into()),
        acl: AclList::OPEN_UNSAFE,
        ephemeral: false,
        parent_cversion,
    }
}

fn ephemeral(path: &str) -> TxnBody {
    TxnBody::Create(CreateTxn { ephemeral: true, ..create_txn(path, -1) })
}

pub(crate) fn delete(path: &str) -> TxnBody {
    TxnBody::Delete(DeleteTxn { path: path.into() })
}

pub(crate) fn set(path: &str, data: Option<&'static str>, version: i32) -> TxnBody {
    TxnBody::SetData(SetDataTxn { path: path.into(), data: data.map(Into::into), version })
}

#[test]
fn a_new_tree_is_that_of_a_new_zookeeper() {
    let tree = Tree::default();
    assert_eq!(tree.znode_count(), 5);
    assert_eq!(tree.approximate_data_size(), 44);
    assert_eq!(tree.digest(), 1_371_985_504);
    assert_eq!(tree.recompute_digest(), 1_371_985_504);
    assert_eq!(tree.find("/").unwrap().stat().cversion, -1);
    assert_eq!(tree.find("").unwrap().path(), "/");
    assert_eq!(tree.find("/zookeeper/config").unwrap().stat().aversion, -1);
    assert_eq!(tree.find("/zookeeper/config").unwrap().acl()[..], Acl::read_unsafe()[..]);
    assert_eq!(tree.descendant_count("/"), 3);
    assert_eq!(tree.descendant_count("/zookeeper"), 2);
}

#[test]
fn a_server_tells_its_own_configuration_whatever_its_tree_came_with() {
    let mut tree = Tree::default();
    let text = b"server.1=127.0.0.1:2888:3888:participant\nversion=0";
    tree.set_config(text, 0, 1234);
    drop(tree.take_cut());
    tree.set_config(text, 0, 5678);
    assert_eq!(tree.dirty_count(), 0, "it is what it was");
    let znode = tree.find("/zookeeper/config").unwrap();
    assert_eq!(znode.data(), Some(text.as_slice()));
    let stat = znode.stat();
    assert_eq!((stat.version, stat.aversion, stat.mzxid, stat.mtime), (-1, -1, 0, 1234));

    tree.set_config(b"version=5", 5, 1234);
    assert_eq!(tree.dirty_count(), 1);
    assert_eq!(tree.digest(), 1_371_985_504, "it is in no digest");
    assert_eq!(tree.approximate_data_size(), 44 + 9);
}

#[test]
fn what_the_store_has_is_deleted_there_too_though_it_came_back_for_a_while() {
    let mut bench = Bench::new();
    bench.create("/a");
    drop(bench.tree.take_cut());
    bench.apply(delete("/a"));
    bench.create("/a");
    let part = bench.tree.take_part(1);
    assert!(part.partial && part.sessions.is_empty() && part.znodes.is_empty());
    bench.apply(delete("/a"));
    let rest = bench.tree.take_part(10);
    assert!(!rest.partial);
    assert!(rest.znodes.iter().any(|(path, znode)| path == "/a" && znode.is_none()));
}

#[test]
fn a_created_znode_is_found_and_its_parent_knows() {
    let mut bench = Bench::new();
    let Applied::Created { path, stat } = bench.create("/a") else { panic!("it is created") };
    assert_eq!(path, "/a");
    assert_eq!(stat, bench.stat("/a"));
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime), (1, 1, 1, 1001, 1001));
    assert_eq!(stat.data_length, 4);
    assert_eq!(bench.children("/"), ["a", "zookeeper"]);
    let root = bench.stat("/");
    assert_eq!((root.cversion, root.num_children, root.pzxid), (0, 2, 1));
    assert_eq!(bench.events(), [(EventType::NodeCreated, "/a")]);
}

#[test]
fn deleting_counts_for_clients_but_not_for_the_next_number() {
    let mut bench = Bench::new();
    for body in [create("/a"), create("/a/b"), create("/a/c"), delete("/a/b")] {
        bench.apply(body);
    }
    let a = bench.tree.find("/a").unwrap();
    assert_eq!(a.persisted_stat().cversion, 2);
    assert_eq!((a.stat().cversion, a.stat().num_children, a.stat().pzxid), (3, 1, 4));
    assert!(bench.tree.find("/a/b").is_none());
    assert_eq!(bench.children("/a"), ["c"]);
}

#[test]
fn null_data_is_not_empty_data() {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.apply(set("/a", None, 1));
    assert_eq!(bench.tree.find("/a").unwrap().data(), None);
    bench.apply(set("/a", Some(""), 2));
    assert_eq!(bench.tree.find("/a").unwrap().data(), Some(&b""[..]));
    assert_eq!(bench.stat("/a").version, 2);
}

#[test]
fn setting_an_acl_changes_the_aversion_and_nothing_else() {
    let mut bench = Bench::new();
    bench.create("/a");
    let before = bench.stat("/a");
    let acl = vec![Acl::new(perms::ALL, "digest", "me:x")];
    let applied =
        bench.apply(TxnBody::SetAcl(SetAclTxn { path: "/a".into(), acl: acl.clone().into(), version: 1 }));
    let after = jute::data::Stat { aversion: 1, ..before };
    assert_eq!(applied, Applied::SetAcl(after));
    assert!(!bench.tree.find("/a").unwrap().is_world_readable());
    assert_eq!(bench.events(), []);

    bench.apply(delete("/a"));
    assert_eq!(bench.changes[0].acl.as_deref(), Some(&acl[..]), "who may learn of it is who could read it");
    assert_eq!(bench.changes[0].parent_acl, None);
    assert_eq!(bench.tree.acl_count(), 2);
}

#[test]
fn a_session_takes_its_ephemerals_along() {
    let mut bench = Bench::new();
    bench.apply(TxnBody::CreateSession(CreateSessionTxn { timeout_ms: 4000 }));
    for body in [create("/p"), ephemeral("/p/a"), ephemeral("/p/b")] {
        bench.apply(body);
    }
    assert_eq!(bench.stat("/p/a").ephemeral_owner, SESSION.0);
    assert_eq!(bench.tree.sessions().collect::<Vec<_>>(), [(SESSION, 4000)]);
    assert_eq!(bench.tree.ephemerals_of(SESSION).collect::<Vec<_>>(), ["/p/a", "/p/b"]);

    // Listed first, then what was not listed; what is listed but not there is no accident.
    let listed = CloseSessionTxn { paths_to_delete: vec!["/p/b".into(), "/p/c".into()] };
    assert_eq!(bench.apply(TxnBody::CloseSession(Some(listed))), Applied::SessionClosed);
    assert_eq!(bench.events(), [(EventType::NodeDeleted, "/p/b"), (EventType::NodeDeleted, "/p/a")]);
    assert_eq!(bench.tree.ephemeral_count(), 0);
    assert_eq!(bench.tree.sessions().len(), 0);
    assert_eq!(bench.stat("/p").pzxid, 5);
}

#[test]
fn containers_and_ttl_znodes_show_no_owner_and_are_found_when_they_may_go() {
    let mut bench = Bench::new();
    let (data, acl) = (None, AclList::OPEN_UNSAFE);
    bench.apply(TxnBody::CreateContainer(CreateContainerTxn {
        path: "/c".into(),
        data: data.clone(),
        acl: acl.clone(),
        parent_cversion: -1,
    }));
    bench.apply(TxnBody::CreateTtl(CreateTtlTxn {
        path: "/t".into(),
        data,
        acl,
        parent_cversion: -1,
        ttl_ms: 50,
    }));
    assert_eq!(bench.tree.find("/c").unwrap().kind(), ZnodeKind::Container);
    assert_eq!(bench.tree.find("/t").unwrap().kind(), ZnodeKind::Ttl(50));
    assert_eq!((bench.stat("/c").ephemeral_owner, bench.stat("/t").ephemeral_owner), (0, 0));

    let containers = |bench: &Bench, never_used_max_ms| {
        bench.tree.container_candidates(2000, never_used_max_ms).collect::<Vec<_>>()
    };
    assert!(containers(&bench, 0).is_empty());
    assert_eq!(containers(&bench, 500), ["/c"]);
    bench.create("/c/x");
    assert!(containers(&bench, 500).is_empty());
    bench.apply(delete("/c/x"));
    assert_eq!(containers(&bench, 0), ["/c"]);

    assert_eq!(bench.tree.ttl_candidates(1002 + 50).count(), 0);
    assert_eq!(bench.tree.ttl_candidates(1002 + 51).collect::<Vec<_>>(), ["/t"]);
}

#[test]
fn the_parts_of_a_multi_happen_under_one_zxid() {
    let mut bench = Bench::new();
    let parts = [create("/a"), create("/a/b"), set("/a", Some("x"), 1), delete("/a/b")];
    let codes = [1, 1, 5, 2];
    let txns = parts.iter().zip(codes).map(|(part, code)| part.to_sub_txn(code)).collect();
    let Applied::Multi(applied) = bench.apply(TxnBody::Multi(MultiTxn { txns })) else {
        panic!("it is a multi")
    };
    assert!(matches!(
        applied[..],
        [Applied::Created { .. }, Applied::Created { .. }, Applied::SetData(_), Applied::Deleted]
    ));
    let a = bench.stat("/a");
    assert_eq!((a.czxid, a.mzxid, a.pzxid, a.cversion), (1, 1, 1, 2));
    assert_eq!(bench.changes.len(), 4);
}

#[test]
fn a_refused_multi_changes_nothing_and_says_which_part_it_was() {
    let mut bench = Bench::new();
    let digest = bench.tree.digest();
    let refused = TxnBody::Error(ErrorTxn { err: ErrorCode::BadVersion.code() });
    let txns = vec![
        create("/a").to_sub_txn(1),
        refused.to_sub_txn(-1),
        create("/b").to_sub_txn(1),
        TxnBody::Error(ErrorTxn { err: ErrorCode::RuntimeInconsistency.code() }).to_sub_txn(-1),
    ];
    let applied = bench.apply(TxnBody::Multi(MultiTxn { txns }));
    let codes = [0, -103, -2, -2].map(Applied::Error);
    assert_eq!(applied, Applied::Multi(codes.into()));
    assert_eq!(bench.tree.digest(), digest);
    assert_eq!(bench.tree.last_zxid(), Zxid(1));
    assert!(bench.changes.is_empty());
}

#[test]
fn a_refusal_takes_a_zxid_and_changes_nothing() {
    let mut bench = Bench::new();
    let error = ErrorTxn { err: ErrorCode::NoNode.code() };
    assert_eq!(bench.apply(TxnBody::Error(error)), Applied::Error(-101));
    assert_eq!(bench.tree.last_zxid(), Zxid(1));
    assert_eq!(bench.tree.digest(), 1_371_985_504);
}

#[test]
fn txns_that_find_the_tree_ahead_of_them_move_nothing_back() {
    let mut bench = Bench::new();
    bench.create("/p");
    bench.apply(TxnBody::Create(create_txn("/p/a", 7)));
    let ahead = bench.stat("/p");

    // Created again, and with an older cversion.
    let again = bench.tree.replay(&txn(1, TxnBody::Create(create_txn("/p/a", 3))));
    assert_eq!(again, Applied::Error(ErrorCode::NodeExists.code()));
    assert_eq!(bench.stat("/p"), ahead);
    // Deleted though it is not there: the parent's pzxid goes on.
    let gone = bench.tree.replay(&txn(9, delete("/p/gone")));
    assert_eq!(gone, Applied::Error(ErrorCode::NoNode.code()));
    assert_eq!(bench.stat("/p"), jute::data::Stat { pzxid: 9, ..ahead });
    // Nothing there to set, no parent to create under.
    assert_eq!(bench.tree.replay(&txn(10, set("/gone", None, 1))), Applied::Error(-101));
    assert_eq!(bench.tree.replay(&txn(11, create("/gone/x"))), Applied::Error(-101));
    assert_eq!(bench.tree.digest(), bench.tree.recompute_digest());
}

#[test]
fn a_znode_deleted_by_a_txn_the_tree_is_ahead_of_takes_its_children_along() {
    let mut bench = Bench::new();
    for path in ["/a", "/a/b", "/a/b/c", "/a/d"] {
        bench.create(path);
    }
    bench.tree.replay(&txn(5, delete("/a")));
    assert_eq!(bench.tree.znode_count(), 5);
    assert!(bench.tree.find("/a/b/c").is_none());
    assert_eq!(bench.tree.digest(), bench.tree.recompute_digest());
}

#[test]
fn usage_is_counted_for_the_nearest_quota_only() {
    let mut bench = Bench::new();
    for path in ["/a", "/a/b", "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits"] {
        bench.create(path);
    }
    bench.create("/zookeeper/quota/a/zookeeper_stats");
    let usage = |bench: &Bench, path: &str| {
        let stats = format!("/zookeeper/quota{path}/zookeeper_stats");
        String::from_utf8(bench.tree.find(&stats).unwrap().data().unwrap().to_vec()).unwrap()
    };
    assert_eq!(usage(&bench, "/a"), "count=2,bytes=8");
    bench.create("/a/c");
    bench.apply(set("/a/c", Some("longer"), 1));
    bench.apply(delete("/a/b"));
    assert_eq!(usage(&bench, "/a"), "count=2,bytes=10");
    assert_eq!(bench.tree.quota_report().map(|(path, ..)| path).collect::<Vec<_>>(), ["/a"]);

    for path in ["/zookeeper/quota/a/c", "/zookeeper/quota/a/c/zookeeper_limits"] {
        bench.create(path);
    }
    bench.create("/zookeeper/quota/a/c/zookeeper_stats");
    bench.create("/a/c/x");
    assert_eq!(
        (usage(&bench, "/a"), usage(&bench, "/a/c")),
        ("count=2,bytes=10".into(), "count=2,bytes=10".into())
    );

    bench.apply(set("/zookeeper/quota/a/zookeeper_limits", Some("count=3,bytes=-1=;byteHardLimit=12"), 1));
    assert_eq!(bench.tree.quota_over("/a/x", 1, 2), None);
    assert_eq!(bench.tree.quota_over("/a/x", 1, 3), Some(quota::Over::Hard("/a")));
    assert_eq!(bench.tree.quota_over("/a/x", 2, 2), Some(quota::Over::Soft("/a")));
    assert_eq!(bench.tree.quota_over("/x", 9, 9), None);

    bench.apply(delete("/zookeeper/quota/a/zookeeper_limits"));
    assert_eq!(bench.tree.quota_over("/a/x", 1, 30), None);
}

#[test]
fn names_are_compared_whole() {
    let mut bench = Bench::new();
    for path in ["/a", "/a/b", "/ab", "/b"] {
        bench.create(path);
    }
    for path in ["a", "/a/", "//a", "/a//b", "/aa/b", "b", "a/b"] {
        assert!(bench.tree.find(path).is_none(), "{path}");
    }
    let long: Ustring = format!("/{}", "x".repeat(300)).into();
    bench.create(&long);
    assert_eq!(bench.tree.find(&long).unwrap().path(), *long);
}
