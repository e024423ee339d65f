//! Several operations in one request.

use anyhow::Result;
use jute::data::perms;
use jute::multi::MultiOp;
use jute::proto::MultiHeader;
use jute::{CreateMode, Jute as _, Op};

use crate::capture::requests::{
    acl, check, children, children_watching, children2, create, create_as, create_ttl, create_with, delete,
    get, get_watching, multi, set,
};
use crate::capture::{A, Script};

pub(super) fn succeeding(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Multi, &multi(&[]))?;
    s.ask(A, Op::Multi, &multi(&[MultiOp::Create(create("/m", "0"))]))?;
    let all = [
        MultiOp::Create(create("/m/a", "1")),
        MultiOp::Create2(create("/m/b", "2")),
        MultiOp::CreateContainer(create_as("/m/c", "3", CreateMode::Container.code())),
        MultiOp::CreateTtl(create_ttl("/m/d", CreateMode::PersistentWithTtl.code(), 1 << 30)),
        MultiOp::Create(create_as("/m/n-", "4", CreateMode::PersistentSequential.code())),
        MultiOp::Create(create_as("/m/e", "5", CreateMode::Ephemeral.code())),
        MultiOp::SetData(set("/m/a", "one", 0)),
        MultiOp::Check(jute::proto::CheckVersionRequest { path: "/m/a".into(), version: 1 }),
        MultiOp::SetData(set("/m/a", "two", 1)),
        MultiOp::Delete(delete("/m/b", 0)),
        check("/m", -1),
    ];
    s.ask(A, Op::Multi, &multi(&all))?;
    s.ask(A, Op::GetData, &get("/m/a"))?;
    s.ask(A, Op::GetData, &get("/m"))?;
    s.ask(A, Op::GetChildren, &children("/m"))
}

pub(super) fn failing(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/f", "0"))?;
    let attempts = [
        vec![check("/f", 7)],
        vec![check("/none", -1)],
        vec![check("", -1)],
        vec![MultiOp::Create(create("/f/a", "1")), MultiOp::Create(create("/f/a", "1")), check("/f", 0)],
        vec![MultiOp::SetData(set("/f", "1", 0)), MultiOp::SetData(set("/f", "2", 0)), check("/f", 0)],
        vec![MultiOp::Delete(delete("/f", 0)), MultiOp::Create(create("/f/a", "1"))],
        vec![MultiOp::Create(create("/f/a", "1")), MultiOp::Delete(delete("/f", -1))],
        vec![MultiOp::Create(create("bad", "1")), check("/f", 0)],
        vec![MultiOp::Create2(create_as("/f/b", "1", 9)), check("/f", 0)],
        vec![MultiOp::CreateTtl(create_ttl("/f/t", 5, 0)), check("/f", 0)],
    ];
    for ops in &attempts {
        s.ask(A, Op::Multi, &multi(ops))?;
    }
    s.ask(A, Op::GetData, &get("/f"))?;
    // What does not belong into a multi.
    s.ask(A, Op::Multi, &multi(&[MultiOp::GetData(get("/f"))]))?;
    s.ask(A, Op::Multi, &multi(&[check("/f", 0), MultiOp::GetData(get("/f"))]))?;
    for op in [Op::SetAcl.code(), Op::Exists.code(), Op::Multi.code(), 999] {
        let header = MultiHeader { op, done: false, err: -1 }.to_bytes();
        s.ask_raw(
            A,
            Op::Multi.code(),
            &[&header[..], &get("/f").to_bytes(), &MultiHeader::END.to_bytes()].concat(),
        )?;
    }
    s.ask_raw(A, Op::Multi.code(), &[])?;
    s.ask(A, Op::Create, &create_as("/f/n-", "", CreateMode::PersistentSequential.code()))
}

/// Each part that can be refused, at each place of a multi.
pub(super) fn failing_anywhere(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    for (path, flags) in [("/fa", 0), ("/fa/x", 0), ("/fa/x/y", 0), ("/fa/e", CreateMode::Ephemeral.code())] {
        s.ask(A, Op::Create, &create_as(path, "0", flags))?;
    }
    s.ask(A, Op::Create, &create_with("/fa/closed", acl(perms::READ, "world", "anyone")))?;
    s.ask(A, Op::Create, &create_with("/fa/secret", acl(perms::WRITE, "world", "anyone")))?;
    let good = [
        MultiOp::Create2(create("/fa/new", "1")),
        MultiOp::SetData(set("/fa/new", "2", 0)),
        check("/fa/new", 1),
        MultiOp::Delete(delete("/fa/new", 1)),
    ];
    let refused = [
        MultiOp::Create(create("/fa/x", "")),
        MultiOp::Create(create("/fa/none/x", "")),
        MultiOp::Create(create("/fa/e/x", "")),
        MultiOp::Create(create("/fa/closed/x", "")),
        MultiOp::Create(create("/fa/../x", "")),
        MultiOp::Create(create_with("/fa/z", vec![])),
        MultiOp::Create2(create("/fa/x", "")),
        MultiOp::CreateContainer(create_as("/fa/x", "", CreateMode::Container.code())),
        MultiOp::CreateTtl(create_ttl("/fa/x", CreateMode::PersistentWithTtl.code(), 1000)),
        MultiOp::CreateTtl(create_ttl("/fa/t", CreateMode::PersistentWithTtl.code(), 0)),
        MultiOp::Delete(delete("/fa/none", -1)),
        MultiOp::Delete(delete("/fa/x", -1)),
        MultiOp::Delete(delete("/fa/x/y", 7)),
        MultiOp::Delete(delete("/zookeeper/quota", -1)),
        MultiOp::Delete(delete("nowhere", -1)),
        MultiOp::SetData(set("/fa/none", "", -1)),
        MultiOp::SetData(set("/fa/x", "", 7)),
        MultiOp::SetData(set("/fa/closed", "", 7)),
        MultiOp::SetData(set("", "", -1)),
        check("/fa/none", -1),
        check("/fa/x", 7),
        check("/fa/secret", 7),
        check("/fa/", 0),
    ];
    for part in &refused {
        for place in [0, 2, good.len()] {
            let mut ops = good.to_vec();
            ops.insert(place, part.clone());
            s.ask(A, Op::Multi, &multi(&ops))?;
        }
    }
    // Nothing of it has happened, and no number was used up.
    s.ask(A, Op::GetChildren2, &children2("/fa"))?;
    s.ask(A, Op::Create2, &create_as("/fa/n-", "", CreateMode::PersistentSequential.code()))
}

/// Modes and operations that do not belong together, in a multi.
pub(super) fn modes(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/mm", ""))?;
    for flags in 0..5 {
        s.ask(A, Op::Multi, &multi(&[MultiOp::Create(create_as(&format!("/mm/a{flags}"), "x", flags))]))?;
        s.ask(A, Op::Multi, &multi(&[MultiOp::Create2(create_as(&format!("/mm/b{flags}"), "x", flags))]))?;
        s.ask(
            A,
            Op::Multi,
            &multi(&[MultiOp::CreateContainer(create_as(&format!("/mm/c{flags}"), "x", flags))]),
        )?;
    }
    for flags in [0, 1, 2, 3, 4, 9, -1] {
        s.ask(A, Op::Multi, &multi(&[MultiOp::CreateTtl(create_ttl(&format!("/mm/f{flags}"), flags, -1))]))?;
        s.ask(
            A,
            Op::Multi,
            &multi(&[MultiOp::CreateTtl(create_ttl(&format!("/mm/g{flags}"), flags, 1000))]),
        )?;
    }
    for flags in [5, 6] {
        s.ask(
            A,
            Op::Multi,
            &multi(&[MultiOp::CreateTtl(create_ttl(&format!("/mm/d{flags}"), flags, 1 << 30))]),
        )?;
        s.ask(A, Op::Multi, &multi(&[MultiOp::Create2(create_as(&format!("/mm/e{flags}"), "x", flags))]))?;
    }
    s.ask(A, Op::GetChildren2, &children2("/mm"))
}

pub(super) fn reading(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/mr", "0"))?;
    s.ask(A, Op::Create, &create("/mr/a", "1"))?;
    s.ask(A, Op::MultiRead, &multi(&[]))?;
    let reads = [
        MultiOp::GetData(get("/mr")),
        MultiOp::GetChildren(children("/mr")),
        MultiOp::GetData(get("/mr/none")),
        MultiOp::GetChildren(children("/none")),
        MultiOp::GetData(get_watching("/mr/a")),
        MultiOp::GetChildren(children_watching("/mr")),
    ];
    s.ask(A, Op::MultiRead, &multi(&reads))?;
    s.ask(A, Op::SetData, &set("/mr/a", "2", -1))?;
    s.ask(A, Op::Create, &create("/mr/b", ""))?;
    s.events(A)?;
    s.ask(A, Op::MultiRead, &multi(&[MultiOp::SetData(set("/mr", "x", -1))]))?;
    s.ask(A, Op::MultiRead, &multi(&[MultiOp::GetData(get("/mr")), MultiOp::SetData(set("/mr", "x", -1))]))?;
    let header = MultiHeader { op: Op::Exists.code(), done: false, err: -1 }.to_bytes();
    let exists = [&header[..], &get("/mr").to_bytes(), &MultiHeader::END.to_bytes()].concat();
    s.ask_raw(A, Op::MultiRead.code(), &exists)?;
    s.is_open(A)
}
