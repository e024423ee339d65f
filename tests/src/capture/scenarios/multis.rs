//! Several operations in one request.

use anyhow::Result;
use jute::multi::MultiOp;
use jute::proto::MultiHeader;
use jute::{CreateMode, Jute as _, Op};

use crate::capture::requests::{
    check, children, children_watching, create, create_as, create_ttl, delete, get, get_watching, multi, set,
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
    s.is_open(A)
}
