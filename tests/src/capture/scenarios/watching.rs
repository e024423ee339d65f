//! Events: which, to whom, and ahead of what.

use anyhow::Result;
use jute::data::{Acl, perms};
use jute::multi::MultiOp;
use jute::proto::{SetWatches, SetWatches2, xid};
use jute::{AddWatchMode, CreateMode, Jute as _, Op, Ustring, WatcherType};

use crate::capture::requests::{
    acl, add_watch, auth, check_watches, children_watching, create, create_as, create_with, delete,
    exists_watching, get, get_watching, multi, remove_watches, set, set_acl,
};
use crate::capture::{A, B, C, Script};

use super::watch_kinds::KINDS;

fn watch_all(s: &mut Script, who: usize, path: &str) -> Result<()> {
    s.ask(who, Op::GetData, &get_watching(path))?;
    s.ask(who, Op::Exists, &exists_watching(path))?;
    s.ask(who, Op::GetChildren, &children_watching(path))
}

pub(super) fn one_shot(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    watch_all(s, A, "/w")?;
    s.ask(A, Op::Create, &create("/w", ""))?;
    s.ask(A, Op::SetData, &set("/w", "nobody watches", -1))?;
    watch_all(s, A, "/w")?;
    s.ask(A, Op::SetData, &set("/w", "1", -1))?;
    s.ask(A, Op::SetData, &set("/w", "2", -1))?;
    s.ask(A, Op::Create, &create("/w/x", ""))?;
    s.ask(A, Op::Create, &create("/w/y", ""))?;
    watch_all(s, A, "/w")?;
    watch_all(s, A, "/w/x")?;
    s.ask(A, Op::SetAcl, &set_acl("/w/x", Acl::open_unsafe(), -1))?;
    s.ask(A, Op::Delete, &delete("/w/x", -1))?;
    s.ask(A, Op::Delete, &delete("/w/y", -1))?;
    watch_all(s, A, "/w")?;
    s.ask(A, Op::Delete, &delete("/w", 99))?;
    s.ask(A, Op::Delete, &delete("/w", -1))?;
    // Pipelined: the event stands between the replies.
    s.ask_all(
        A,
        &[
            (Op::Exists, exists_watching("/w").to_bytes()),
            (Op::Create, create("/w", "").to_bytes()),
            (Op::GetData, get_watching("/w").to_bytes()),
            (Op::SetData, set("/w", "x", -1).to_bytes()),
            (Op::GetData, get("/w").to_bytes()),
        ],
    )?;
    s.word("wchs")
}

pub(super) fn two_connections(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.connect(C)?;
    s.ask(A, Op::Create, &create("/w2", ""))?;
    watch_all(s, B, "/w2")?;
    s.ask(C, Op::GetData, &get_watching("/w2"))?;
    s.ask(A, Op::SetData, &set("/w2", "1", -1))?;
    s.ask(B, Op::GetData, &get("/w2"))?;
    s.events(C)?;
    s.ask(A, Op::Create, &create("/w2/x", ""))?;
    s.events(B)?;
    s.ask(C, Op::GetChildren, &children_watching("/w2/x"))?;
    s.ask(A, Op::Delete, &delete("/w2/x", -1))?;
    s.events(B)?;
    s.events(C)
}

pub(super) fn persistent(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.ask(B, Op::AddWatch, &add_watch("/p1", AddWatchMode::Persistent))?;
    s.ask(B, Op::AddWatch, &add_watch("/p1", AddWatchMode::Persistent))?;
    s.ask(A, Op::AddWatch, &add_watch("/p1", AddWatchMode::PersistentRecursive))?;
    for round in ["1", "2"] {
        s.ask(A, Op::Create, &create("/p1", ""))?;
        s.ask(A, Op::Create, &create("/p1/x", ""))?;
        s.ask(A, Op::Create, &create("/p1/x/y", ""))?;
        s.ask(A, Op::SetData, &set("/p1", round, -1))?;
        s.ask(A, Op::SetData, &set("/p1/x/y", round, -1))?;
        s.ask(A, Op::Delete, &delete("/p1/x/y", -1))?;
        s.ask(A, Op::Delete, &delete("/p1/x", -1))?;
        s.ask(A, Op::Delete, &delete("/p1", -1))?;
        s.events(B)?;
    }
    // All kinds on one path: one event each time.
    watch_all(s, B, "/p1")?;
    s.ask(B, Op::AddWatch, &add_watch("/p1", AddWatchMode::PersistentRecursive))?;
    s.ask(A, Op::Create, &create("/p1", ""))?;
    watch_all(s, B, "/p1")?;
    s.ask(A, Op::Create, &create("/p1/x", ""))?;
    s.ask(A, Op::Delete, &delete("/p1/x", -1))?;
    s.ask(A, Op::Delete, &delete("/p1", -1))?;
    s.events(B)?;
    for mode in [-1, 2, 7] {
        let request = jute::proto::AddWatchRequest { path: "/p1".into(), mode };
        s.ask(A, Op::AddWatch, &request)?;
    }
    s.ask(A, Op::AddWatch, &add_watch("bad", AddWatchMode::Persistent))
}

pub(super) fn removing(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    for kind in KINDS {
        let path = &*format!("/rm{}", kind.code());
        let child = &*format!("{path}/x");
        s.ask(A, Op::Create, &create(path, ""))?;
        s.ask(A, Op::RemoveWatches, &remove_watches(path, kind))?;
        watch_all(s, A, path)?;
        s.ask(A, Op::AddWatch, &add_watch(path, AddWatchMode::Persistent))?;
        s.ask(A, Op::AddWatch, &add_watch(path, AddWatchMode::PersistentRecursive))?;
        s.ask(A, Op::CheckWatches, &check_watches(path, kind))?;
        // Twice: the second finds nothing.
        let request = remove_watches(path, kind).to_bytes();
        s.ask_described(A, Op::RemoveWatches, &request, &format!("first of {path}"))?;
        s.ask_described(A, Op::RemoveWatches, &request, &format!("second of {path}"))?;
        s.ask(A, Op::SetData, &set(path, "x", -1))?;
        s.ask(A, Op::Create, &create(child, ""))?;
        s.ask(A, Op::Delete, &delete(child, -1))?;
        s.ask_described(
            A,
            Op::RemoveWatches,
            &remove_watches(path, WatcherType::Any).to_bytes(),
            &format!("of what is left of {path}"),
        )?;
    }
    s.ask(A, Op::Create, &create("/rm", ""))?;
    let odd = jute::proto::RemoveWatchesRequest { path: "/rm".into(), watcher_type: 9 };
    s.ask(A, Op::RemoveWatches, &odd)?;
    let odd = jute::proto::CheckWatchesRequest { path: "/rm".into(), watcher_type: 0 };
    s.ask(A, Op::CheckWatches, &odd)
}

pub(super) fn replayed(s: &mut Script) -> Result<()> {
    let paths = |paths: &[&str]| paths.iter().map(|path| Ustring::from(*path)).collect::<Vec<_>>();
    s.connect(A)?;
    s.connect(B)?;
    s.ask(A, Op::Create, &create("/sw", ""))?;
    s.ask(A, Op::Create, &create("/sw/x", ""))?;
    // Everything has changed since zxid 0, nothing since the last one there is.
    for relative_zxid in [0, i64::MAX] {
        let old = SetWatches {
            relative_zxid,
            data_watches: paths(&["/sw", "/sw/none"]),
            exist_watches: paths(&["/sw/x", "/sw/later"]),
            child_watches: paths(&["/sw", "/sw/none"]),
        };
        s.ask_as(B, xid::SET_WATCHES, Op::SetWatches, &old)?;
        s.events(B)?;
    }
    let new = SetWatches2 {
        relative_zxid: 0,
        data_watches: paths(&["/sw/x"]),
        exist_watches: paths(&["/sw/later"]),
        child_watches: paths(&["/sw/x"]),
        persistent_watches: paths(&["/sw", "/sw/none"]),
        persistent_recursive_watches: paths(&["/sw/x"]),
    };
    s.ask_as(B, xid::SET_WATCHES, Op::SetWatches2, &new)?;
    s.ask(A, Op::Create, &create("/sw/later", ""))?;
    s.ask(A, Op::SetData, &set("/sw", "x", -1))?;
    s.ask(A, Op::SetData, &set("/sw/x", "x", -1))?;
    s.ask(A, Op::Create, &create("/sw/x/y", ""))?;
    s.ask(A, Op::Delete, &delete("/sw/x/y", -1))?;
    s.events(B)
}

pub(super) fn filtered(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.connect(C)?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "user:secret"))?;
    s.ask(A, Op::Create, &create("/fl", ""))?;
    s.ask(B, Op::AddWatch, &add_watch("/fl", AddWatchMode::PersistentRecursive))?;
    s.ask(B, Op::Exists, &exists_watching("/fl/secret"))?;
    s.ask(A, Op::Create, &create_with("/fl/secret", acl(perms::ALL, "auth", "")))?;
    s.ask(A, Op::SetData, &set("/fl/secret", "x", -1))?;
    s.ask(A, Op::Create, &create("/fl/secret/open", ""))?;
    s.ask(A, Op::SetAcl, &set_acl("/fl", acl(perms::ALL, "auth", ""), -1))?;
    s.ask(C, Op::AddWatch, &add_watch("/fl", AddWatchMode::Persistent))?;
    s.ask(A, Op::SetData, &set("/fl", "x", -1))?;
    s.ask(A, Op::Delete, &delete("/fl/secret/open", -1))?;
    s.ask(A, Op::Delete, &delete("/fl/secret", -1))?;
    s.ask(A, Op::Create, &create("/fl/open", ""))?;
    s.events(B)?;
    s.events(C)
}

pub(super) fn several_at_once(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.connect(C)?;
    s.ask(A, Op::Create, &create("/mu", ""))?;
    s.ask(B, Op::AddWatch, &add_watch("/mu", AddWatchMode::PersistentRecursive))?;
    s.ask(A, Op::AddWatch, &add_watch("/mu", AddWatchMode::Persistent))?;
    let ops = [
        MultiOp::Create(create("/mu/a", "")),
        MultiOp::SetData(set("/mu/a", "x", -1)),
        MultiOp::SetData(set("/mu", "x", -1)),
        MultiOp::Delete(delete("/mu/a", -1)),
    ];
    s.ask(A, Op::Multi, &multi(&ops))?;
    s.events(B)?;
    let failing = [ops[0].clone(), MultiOp::Delete(delete("/mu/none", -1))];
    s.ask(A, Op::Multi, &multi(&failing))?;
    s.events(B)?;
    s.ask(C, Op::Create, &create_as("/mu/e", "", CreateMode::Ephemeral.code()))?;
    s.events(A)?;
    s.events(B)?;
    s.leave(C)?;
    s.events(A)?;
    s.events(B)
}
