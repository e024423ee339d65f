//! The tree against a model of it that is too simple to be wrong: a map from paths to records.

use std::collections::{BTreeMap, BTreeSet};

use jute::data::{Acl, StatPersisted, perms};
use jute::txn::{
    CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, MultiTxn, SetAclTxn,
    SetDataTxn, Txn, TxnBody, TxnHeader,
};
use proptest::prelude::*;

use super::*;

type Stored = (Option<Vec<u8>>, Vec<Acl>, StatPersisted);

/// All that replicas must agree on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    znodes: BTreeMap<String, Stored>,
    sessions: BTreeMap<SessionId, i32>,
}

impl Model {
    fn of(tree: &Tree) -> Self {
        let mut znodes = BTreeMap::new();
        tree.visit(|path, znode| {
            let path = if path.is_empty() { "/" } else { path };
            let stored = (znode.data().map(<[u8]>::to_vec), znode.acl().to_vec(), znode.persisted_stat());
            assert!(znodes.insert(path.to_owned(), stored).is_none(), "{path} is shown once");
        });
        Self { znodes, sessions: tree.sessions().collect() }
    }

    fn digest(&self) -> u64 {
        let digests =
            self.znodes.iter().map(|(path, (data, _, stat))| digest::of_znode(path, data.as_deref(), stat));
        digests.fold(0, u64::wrapping_add)
    }

    fn owned_by(&self, session: SessionId) -> BTreeSet<String> {
        let owned = self.znodes.iter().filter(|(_, (_, _, stat))| stat.ephemeral_owner == session.0);
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn children(&self, path: &str) -> BTreeSet<&str> {
        let is_child = |candidate: &&String| path::parent_of(candidate) == Some(path);
        self.znodes.keys().filter(is_child).map(|child| path::name_of(child)).collect()
    }

    fn apply(&mut self, header: &TxnHeader, body: &TxnBody) {
        match body {
            TxnBody::Create(txn) => {
                let owner = if txn.ephemeral { header.client_id } else { 0 };
                self.create(header, &txn.path, txn.data.as_deref(), &txn.acl, owner, txn.parent_cversion);
            }
            TxnBody::CreateTtl(txn) => {
                let owner = ZnodeKind::Ttl(txn.ttl_ms).to_owner();
                self.create(header, &txn.path, txn.data.as_deref(), &txn.acl, owner, txn.parent_cversion);
            }
            TxnBody::CreateContainer(txn) => {
                let owner = ZnodeKind::Container.to_owner();
                self.create(header, &txn.path, txn.data.as_deref(), &txn.acl, owner, txn.parent_cversion);
            }
            TxnBody::Delete(txn) => self.delete(header, &txn.path),
            TxnBody::SetData(txn) => {
                if let Some((data, _, stat)) = self.znodes.get_mut(&*txn.path) {
                    *data = txn.data.as_ref().map(|data| data.to_vec());
                    (stat.mzxid, stat.mtime, stat.version) = (header.zxid, header.time_ms, txn.version);
                }
            }
            TxnBody::SetAcl(txn) => {
                if let Some((_, acl, stat)) = self.znodes.get_mut(&*txn.path) {
                    (*acl, stat.aversion) = (txn.acl.to_vec(), txn.version);
                }
            }
            TxnBody::Multi(txn) => {
                for part in &txn.txns {
                    self.apply(header, &part.body().unwrap());
                }
            }
            TxnBody::CreateSession(txn) => {
                self.sessions.insert(SessionId(header.client_id), txn.timeout_ms);
            }
            TxnBody::CloseSession(txn) => {
                let session = SessionId(header.client_id);
                self.sessions.remove(&session);
                for path in txn.iter().flat_map(|txn| &txn.paths_to_delete) {
                    self.delete(header, path);
                }
                for path in self.owned_by(session) {
                    self.delete(header, &path);
                }
            }
            TxnBody::Reconfig(_) | TxnBody::CheckVersion(_) | TxnBody::Error(_) => {}
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        owner: i64,
        cversion: i32,
    ) {
        let Some((_, _, parent)) = self.znodes.get_mut(path::parent_of(path).unwrap()) else {
            return;
        };
        if cversion > parent.cversion {
            (parent.cversion, parent.pzxid) = (cversion, header.zxid);
        }
        if let Some((_, there, _)) = self.znodes.get_mut(path) {
            *there = acl.to_vec();
            return;
        }
        let (zxid, time) = (header.zxid, header.time_ms);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        self.znodes.insert(path.to_owned(), (data.map(<[u8]>::to_vec), acl.to_vec(), stat));
    }

    fn delete(&mut self, header: &TxnHeader, path: &str) {
        let Some((_, _, parent)) = self.znodes.get_mut(path::parent_of(path).unwrap()) else {
            return;
        };
        parent.pzxid = parent.pzxid.max(header.zxid);
        self.znodes.retain(|candidate, _| !path::is_within(candidate, path));
    }
}

/// Whether all that the tree keeps beside its znodes fits them.
fn check(tree: &Tree, model: &Model) {
    assert_eq!(Model::of(tree), *model);
    assert_eq!(tree.digest(), model.digest(), "the digest follows every change");
    assert_eq!(tree.recompute_digest(), model.digest());
    assert_eq!(tree.znode_count(), model.znodes.len() + 1);
    let sizes = model.znodes.iter().map(|(path, (data, ..))| path.len() + data.as_ref().map_or(0, Vec::len));
    assert_eq!(tree.approximate_data_size(), sizes.sum::<usize>() as u64);
    let acls: BTreeSet<Vec<u8>> = model.znodes.values().map(|(_, acl, _)| encoded(acl)).collect();
    assert_eq!(tree.acl_count(), acls.union(&[encoded(&Acl::open_unsafe())].into()).count());
    for (path, (_, _, stat)) in &model.znodes {
        let znode = tree.find(path).unwrap_or_else(|| panic!("{path} is found"));
        assert_eq!(znode.path(), *path);
        let children = model.children(path);
        assert_eq!(znode.children().collect::<BTreeSet<_>>(), children);
        let num_children = i32::try_from(children.len()).unwrap();
        assert_eq!(znode.stat().num_children, num_children);
        assert_eq!(znode.stat().cversion, stat.cversion * 2 - num_children);
    }
    for session in SESSIONS {
        assert_eq!(tree.ephemerals_of(session).collect::<BTreeSet<_>>(), model.owned_by(session));
    }
    let ephemerals: usize = SESSIONS.iter().map(|&session| model.owned_by(session).len()).sum();
    assert_eq!(tree.ephemeral_count(), ephemerals);
}

fn encoded(acl: &[Acl]) -> Vec<u8> {
    jute::Jute::to_bytes(&acl.to_vec()).to_vec()
}

const SESSIONS: [SessionId; 2] = [SessionId(0x0100_0000_0000_0001), SessionId(0x0200_0000_0000_0001)];

/// A wish; `History` makes a txn of it.
#[derive(Debug, Clone)]
enum Wish {
    Create { path: String, data: Option<Vec<u8>>, acl: usize, kind: usize },
    Delete(String),
    SetData(String, Option<Vec<u8>>),
    SetAcl(String, usize),
    OpenSession,
    CloseSession { listed: bool },
    Multi(Vec<Wish>),
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-c]|b-?|a name of more than 15 bytes", 1..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..5))
}

fn simple_wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => (paths(), data(), 0..3_usize, 0..6_usize)
            .prop_map(|(path, data, acl, kind)| Wish::Create { path, data, acl, kind }),
        4 => paths().prop_map(Wish::Delete),
        2 => (paths(), data()).prop_map(|(path, data)| Wish::SetData(path, data)),
        1 => (paths(), 0..3_usize).prop_map(|(path, acl)| Wish::SetAcl(path, acl)),
    ]
}

fn histories() -> impl Strategy<Value = Vec<(usize, Wish)>> {
    let wishes = prop_oneof![
        12 => simple_wishes(),
        1 => Just(Wish::OpenSession),
        1 => any::<bool>().prop_map(|listed| Wish::CloseSession { listed }),
        2 => prop::collection::vec(simple_wishes(), 0..4).prop_map(Wish::Multi),
    ];
    prop::collection::vec((0..SESSIONS.len(), wishes), 0..80)
}

fn acl(which: usize) -> Vec<Acl> {
    match which {
        0 => Acl::open_unsafe(),
        1 => Acl::read_unsafe(),
        _ => vec![Acl::new(perms::ALL, "digest", "me:x"), Acl::new(perms::READ, "ip", "127.0.0.1")],
    }
}

/// Turns wishes into txns, as a leader would that judges them against `model`.
struct History {
    model: Model,
    txns: Vec<Txn>,
}

impl History {
    /// Refuses what cannot be, so that every txn finds what it expects.
    fn valid(wishes: &[(usize, Wish)]) -> Self {
        let mut history = Self { model: Model::of(&Tree::default()), txns: Vec::new() };
        for (session, wish) in wishes {
            history.wish(SESSIONS[*session], wish);
        }
        history
    }

    fn wish(&mut self, session: SessionId, wish: &Wish) {
        let zxid = self.txns.len() as i64 + 1;
        let header = TxnHeader { client_id: session.0, cxid: 0, zxid, time_ms: 1000 + zxid, txn_type: 0 };
        let Some(body) = self.judge(&header, wish) else {
            return;
        };
        if !matches!(body, TxnBody::Multi(_)) {
            self.model.apply(&header, &body);
        }
        self.txns.push(Txn { header, body, digest: None });
    }

    /// The parts of a multi are applied to the model as they are judged.
    fn judge(&mut self, header: &TxnHeader, wish: &Wish) -> Option<TxnBody> {
        let there = |path: &str| self.model.znodes.get(path).map(|(_, _, stat)| stat);
        match wish {
            Wish::Create { path, data, acl: which, kind } => {
                let parent = there(path::parent_of(path)?)?;
                let childless_kind = SESSIONS.iter().any(|session| session.0 == parent.ephemeral_owner);
                if childless_kind || there(path).is_some() {
                    return None;
                }
                let parent_cversion = parent.cversion + 1;
                let (path, data, acl) =
                    (path.as_str().into(), data.clone().map(Into::into), acl(*which).into());
                Some(match kind {
                    0 => TxnBody::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion }),
                    1 => TxnBody::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms: 5 }),
                    _ => {
                        TxnBody::Create(CreateTxn { path, data, acl, ephemeral: *kind == 2, parent_cversion })
                    }
                })
            }
            Wish::Delete(path) => {
                (there(path).is_some() && self.model.children(path).is_empty()).then(|| delete(path))
            }
            Wish::SetData(path, data) => {
                let (version, data) = (there(path)?.version + 1, data.clone().map(Into::into));
                Some(TxnBody::SetData(SetDataTxn { path: path.as_str().into(), data, version }))
            }
            Wish::SetAcl(path, which) => {
                let version = there(path)?.aversion + 1;
                Some(TxnBody::SetAcl(SetAclTxn {
                    path: path.as_str().into(),
                    acl: acl(*which).into(),
                    version,
                }))
            }
            Wish::OpenSession => Some(TxnBody::CreateSession(CreateSessionTxn { timeout_ms: 4000 })),
            Wish::CloseSession { listed } => {
                let owned = self.model.owned_by(SessionId(header.client_id));
                let paths_to_delete = owned.into_iter().map(Into::into).collect();
                Some(TxnBody::CloseSession(listed.then_some(CloseSessionTxn { paths_to_delete })))
            }
            Wish::Multi(wishes) => {
                let mut txns = Vec::new();
                for wish in wishes {
                    if let Some(body) = self.judge(header, wish) {
                        self.model.apply(header, &body);
                        txns.push(body.to_sub_txn(code_of(&body)));
                    }
                }
                Some(TxnBody::Multi(MultiTxn { txns }))
            }
        }
    }
}

fn code_of(body: &TxnBody) -> i32 {
    let op = match body {
        TxnBody::Create(_) => jute::Op::Create2,
        TxnBody::CreateTtl(_) => jute::Op::CreateTtl,
        TxnBody::CreateContainer(_) => jute::Op::CreateContainer,
        TxnBody::Delete(_) => jute::Op::Delete,
        TxnBody::SetData(_) => jute::Op::SetData,
        TxnBody::SetAcl(_) => jute::Op::SetAcl,
        other => panic!("{other:?} is no part of a multi"),
    };
    op.code()
}

fn tree() -> Tree {
    Tree::new(TreeOptions { extended_types: true, ..TreeOptions::default() })
}

/// What a snapshot store has after some cuts.
#[derive(Default)]
struct Store {
    znodes: BTreeMap<String, ZnodeRecord>,
    sessions: Vec<(SessionId, i32)>,
    zxid: Zxid,
    digest: u64,
}

impl Store {
    fn write(&mut self, cut: Cut) {
        if cut.whole {
            self.znodes.clear();
        }
        let mut paths = BTreeSet::new();
        for (path, record) in cut.znodes.iter() {
            assert!(paths.insert(path), "{path} stands in the cut once");
            match record {
                Some(record) => drop(self.znodes.insert(path.to_owned(), record.clone())),
                None => drop(self.znodes.remove(path)),
            }
        }
        (self.sessions, self.zxid, self.digest) = (cut.sessions, cut.zxid, cut.digest);
    }

    fn load(&self, digest: Option<u64>) -> Tree {
        let mut loader = TreeLoader::new(TreeOptions { extended_types: true, ..TreeOptions::default() });
        for (path, record) in &self.znodes {
            loader.znode(path, record.clone()).unwrap();
        }
        for &(session, timeout_ms) in &self.sessions {
            loader.session(session, timeout_ms);
        }
        loader.finish(self.zxid, digest)
    }
}

proptest! {
    #[test]
    fn the_tree_does_what_the_model_does(wishes in histories()) {
        let history = History::valid(&wishes);
        let mut tree = tree();
        for txn in &history.txns {
            let applied = tree.replay(txn);
            prop_assert!(!matches!(applied, Applied::Error(_)), "{applied:?} of {txn:?}");
        }
        check(&tree, &history.model);
    }

    #[test]
    fn txns_that_fit_nothing_do_what_they_do_to_the_model(
        wishes in histories(),
        kept in prop::collection::vec(any::<bool>(), 80),
    ) {
        // Some txns of a history are left out, so that others find nothing, or too much.
        let history = History::valid(&wishes);
        let mut tree = tree();
        let mut model = Model::of(&tree);
        for (txn, _) in history.txns.iter().zip(kept).filter(|(_, kept)| *kept) {
            tree.replay(txn);
            model.apply(&txn.header, &txn.body);
            check(&tree, &model);
        }
    }

    #[test]
    fn replaying_the_end_of_the_log_again_changes_nothing(wishes in histories(), from in 0..80_usize) {
        let history = History::valid(&wishes);
        let mut tree = tree();
        history.txns.iter().for_each(|txn| drop(tree.replay(txn)));
        history.txns.iter().skip(from).for_each(|txn| drop(tree.replay(txn)));
        check(&tree, &history.model);
    }

    #[test]
    fn cuts_and_their_parts_add_up_to_the_tree(
        wishes in histories(),
        cut_every in 1..40_usize,
        part_every in 1..6_usize,
        part in 1..6_usize,
        whole_at in 0..80_usize,
    ) {
        let history = History::valid(&wishes);
        let mut tree = tree();
        let mut store = Store::default();
        for (n, txn) in history.txns.iter().enumerate() {
            tree.replay(txn);
            if n == whole_at {
                store.write(tree.take_whole_cut());
            } else if n % cut_every == 0 {
                store.write(tree.take_cut());
                prop_assert_eq!(tree.dirty_count(), 0);
            } else if n % part_every == 0 {
                let expected = part.min(tree.dirty_count());
                let before = tree.dirty_count();
                let cut = tree.take_part(part);
                prop_assert_eq!(tree.dirty_count(), before - expected);
                prop_assert_eq!(cut.partial, before > expected);
                prop_assert!(cut.znodes.len() <= part);
                store.write(cut);
            }
        }
        store.write(tree.take_cut());
        check(&store.load(None), &history.model);
        let mut loaded = store.load(Some(store.digest));
        check(&loaded, &history.model);
        prop_assert_eq!(loaded.last_zxid(), tree.last_zxid());
        prop_assert_eq!(loaded.dirty_count(), 0);

        // What was loaded goes on as what it was loaded from, and its cuts go into the same store.
        for txn in &history.txns {
            let txn = Txn { header: TxnHeader { zxid: txn.header.zxid + 1000, ..txn.header }, ..txn.clone() };
            prop_assert_eq!(loaded.replay(&txn), tree.replay(&txn));
        }
        prop_assert_eq!(Model::of(&loaded), Model::of(&tree));
        prop_assert_eq!(loaded.digest(), tree.digest());
        store.write(loaded.take_cut());
        check(&store.load(None), &Model::of(&tree));
    }
}
