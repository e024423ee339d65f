//! Writes, and the order in which they are refused: the client sees the first error that applies.

use anyhow::Result;
use jute::data::{Acl, perms};
use jute::multi::MultiOp;
use jute::proto::{CreateRequest, CreateTtlRequest, ReconfigRequest, SetDataRequest, SyncRequest};
use jute::{CreateMode, Op};

use crate::capture::requests::{
    acl, check, children, children2, create, create_as, create_ttl, create_with, delete, exists, get,
    get_acl, get_watching, multi, set, set_acl,
};
use crate::capture::{A, B, Script};

pub(super) fn create_in_order_of_errors(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/c", "x"))?;
    s.ask(A, Op::Create, &create("/c", "x"))?;
    s.ask(A, Op::Create2, &create("/c/two", "x"))?;
    s.ask(A, Op::Create2, &create("/c/two", "x"))?;
    // Flags come before the path, the ACL before the parent, permission before existence.
    for flags in [7, -1, 100] {
        s.ask(A, Op::Create, &create_as("bad", "x", flags))?;
    }
    s.ask(A, Op::Create, &create_with("bad", vec![]))?;
    s.ask(A, Op::Create, &create_with("/c/no/parent", vec![]))?;
    s.ask(A, Op::Create, &create("/c/no/parent", "x"))?;
    s.ask(A, Op::Create, &create_with("/c/locked", acl(perms::READ, "world", "anyone")))?;
    s.ask(A, Op::Create, &create("/c/locked/x", "x"))?;
    s.ask(A, Op::Create, &create("/c/locked/..", "x"))?;
    s.ask(A, Op::Create, &create_as("/c/eph", "x", CreateMode::Ephemeral.code()))?;
    s.ask(A, Op::Create, &create("/c/eph/x", "x"))?;
    s.ask(A, Op::Create, &create("/c/eph/../x", "x"))?;
    s.ask(A, Op::Exists, &exists("/c"))
}

pub(super) fn paths(s: &mut Script) -> Result<()> {
    const PATHS: [&str; 24] = [
        "",
        "/",
        "a",
        "a/b",
        "//",
        "/p/",
        "/p//q",
        "/p/.",
        "/p/..",
        "/./p",
        "/p\u{0}",
        "/p\u{1}",
        "/p\u{1f}",
        "/p\u{7f}",
        "/p\u{9f}",
        "/p\u{e000}",
        "/p\u{1f600}",
        "/p\u{fff0}",
        "/p\u{ffff}",
        "/p\u{f8ff}",
        "/p\u{10000}",
        "/p\u{10ffff}",
        "/p/\u{1}/q",
        "/p/./q/",
    ];
    s.connect(A)?;
    for path in PATHS {
        s.ask(A, Op::Create, &create(path, "x"))?;
        s.ask(A, Op::Delete, &delete(path, 9))?;
        s.ask(A, Op::SetData, &set(path, "x", 9))?;
        s.ask(A, Op::Exists, &exists(path))?;
        s.ask(A, Op::GetData, &get(path))?;
        s.ask(A, Op::GetChildren, &children(path))?;
        s.ask(A, Op::SetAcl, &set_acl(path, Acl::open_unsafe(), 9))?;
        s.ask(A, Op::GetAcl, &get_acl(path))?;
        s.ask(A, Op::GetChildren2, &children2(path))?;
        s.ask(A, Op::Create2, &create_as(path, "x", CreateMode::EphemeralSequential.code()))?;
    }
    for path in [
        "/p\u{d7ff}",
        "/p\u{f900}",
        "/p\u{ffef}",
        "/p\u{a0}",
        "/p\u{e9}",
        "/p\u{20ac}",
        "/p...",
        "/p .",
        "/p.q",
    ] {
        s.ask(A, Op::Create, &create(path, path))?;
        s.ask(A, Op::GetData, &get(path))?;
    }
    Ok(())
}

pub(super) fn kinds(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/k", ""))?;
    // Every mode by every operation that creates.
    for flags in -1..8 {
        s.ask(A, Op::Create, &create_as(&format!("/k/a{flags}"), "x", flags))?;
        s.ask(A, Op::Create2, &create_as(&format!("/k/b{flags}"), "x", flags))?;
        s.ask(A, Op::CreateContainer, &create_as(&format!("/k/c{flags}"), "x", flags))?;
        s.ask(A, Op::CreateTtl, &create_ttl(&format!("/k/d{flags}"), flags, 1 << 39))?;
    }
    // With another mode, and no time to live, this request ends a Java server.
    for flags in [5, 6] {
        s.ask(A, Op::CreateTtl, &create_ttl(&format!("/k/e{flags}"), flags, -1))?;
    }
    for ttl in [0, 1, (1 << 40) - 1, 1 << 40, i64::MAX, i64::MIN] {
        s.ask(A, Op::CreateTtl, &create_ttl(&format!("/k/t{ttl}"), 5, ttl))?;
        s.ask(A, Op::Delete, &delete(&format!("/k/t{ttl}"), -1))?;
    }
    s.ask(A, Op::GetData, &get("/k/c4"))?;
    s.ask(A, Op::GetData, &get("/k/d5"))?;
    s.ask(A, Op::GetChildren, &children("/k"))
}

pub(super) fn sequential(s: &mut Script) -> Result<()> {
    let numbered = CreateMode::PersistentSequential.code();
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/s", ""))?;
    s.ask(A, Op::Create, &create_as("/s/n-", "", numbered))?;
    s.ask(A, Op::Create, &create("/s/plain", ""))?;
    s.ask(A, Op::Create2, &create_as("/s/n-", "", numbered))?;
    s.ask(A, Op::Delete, &delete("/s/n-0000000000", -1))?;
    s.ask(A, Op::Create, &create_as("/s/", "", numbered))?;
    s.ask(A, Op::Create, &create_as("/s/e-", "", CreateMode::EphemeralSequential.code()))?;
    s.ask(A, Op::Create, &create_as("/s", "", numbered))?;
    s.ask(A, Op::Create, &create("/s/n-0000000007", ""))?;
    s.ask(A, Op::Create, &create("/s/n-0000000006", ""))?;
    s.ask(A, Op::Create, &create_as("/s/n-", "", numbered))?;
    s.ask(A, Op::Create, &create_as("/s/none/n-", "", numbered))?;
    s.ask(A, Op::Exists, &exists("/s"))?;
    s.ask(A, Op::GetChildren, &children("/s"))
}

pub(super) fn deletes(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Delete, &delete("/d", -1))?;
    s.ask(A, Op::Delete, &delete("/d/none", -1))?;
    s.ask(A, Op::Create, &create("/d", ""))?;
    s.ask(A, Op::Create, &create("/d/x", ""))?;
    s.ask(A, Op::Delete, &delete("/d", 7))?;
    s.ask(A, Op::Delete, &delete("/d", -1))?;
    s.ask(A, Op::Delete, &delete("/d/x", 1))?;
    s.ask(A, Op::Delete, &delete("/d/x", -2))?;
    s.ask(A, Op::Delete, &delete("/d/x", 0))?;
    s.ask(A, Op::Exists, &exists("/d"))?;
    s.ask(A, Op::Create, &create_with("/d/locked", acl(perms::ALL & !perms::DELETE, "world", "anyone")))?;
    s.ask(A, Op::Create, &create("/d/locked/x", ""))?;
    s.ask(A, Op::Delete, &delete("/d/locked/none", -1))?;
    s.ask(A, Op::Delete, &delete("/d/locked/x", 7))?;
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        s.ask(A, Op::Delete, &delete(path, -1))?;
    }
    // deleteContainer is left out: Java lets any client remove an empty znode by it, past the ACL. Ours refuses.
    s.ask(A, Op::Exists, &exists("/d"))
}

pub(super) fn sets(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::SetData, &set("/v", "x", -1))?;
    s.ask(A, Op::Create, &create("/v", ""))?;
    s.ask(A, Op::SetData, &set("/v", "one", 0))?;
    s.ask(A, Op::SetData, &set("/v", "no", 0))?;
    s.ask(A, Op::SetData, &set("/v", "two", -1))?;
    s.ask(A, Op::SetData, &SetDataRequest { path: "/v".into(), data: None, version: -1 })?;
    s.ask(A, Op::GetData, &get("/v"))?;
    s.ask(A, Op::Create, &create_with("/v/locked", acl(perms::READ, "world", "anyone")))?;
    s.ask(A, Op::SetData, &set("/v/locked", "x", 7))?;
    s.ask(A, Op::SetData, &set("/", "root", -1))?;
    s.ask(A, Op::SetData, &set("/", "", -1))?;
    s.ask(A, Op::Sync, &SyncRequest { path: "/v".into() })?;
    s.ask(A, Op::Sync, &SyncRequest { path: "nowhere".into() })?;
    let nobody = ReconfigRequest { cur_config_id: -1, ..ReconfigRequest::default() };
    s.ask(A, Op::Reconfig, &nobody)
}

/// A create's errors, for every operation that creates.
pub(super) fn creating(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/cr", ""))?;
    s.ask(A, Op::Create, &create_as("/cr/e", "", CreateMode::Ephemeral.code()))?;
    s.ask(A, Op::Create, &create_with("/cr/closed", acl(perms::READ, "world", "anyone")))?;
    let nobody = acl(perms::ALL, "auth", "");
    let attempts = [
        ("/cr/new", Acl::open_unsafe()),
        ("/cr/new", Acl::open_unsafe()),
        ("/cr/new", vec![]),
        ("/cr/new", nobody.clone()),
        ("bad", nobody.clone()),
        ("/cr/none/x", nobody),
        ("/cr/none/x", Acl::open_unsafe()),
        ("/cr/closed/x", Acl::open_unsafe()),
        ("/cr/closed/..", Acl::open_unsafe()),
        ("/cr/..", Acl::open_unsafe()),
        ("/cr/e/x", Acl::open_unsafe()),
        ("/cr/e/", Acl::open_unsafe()),
        ("/", Acl::open_unsafe()),
    ];
    for (path, acl) in &attempts {
        let asked = |mode: CreateMode| CreateRequest { flags: mode.code(), ..create_with(path, acl.clone()) };
        s.ask(A, Op::Create2, &asked(CreateMode::Persistent))?;
        s.ask(A, Op::CreateContainer, &asked(CreateMode::Container))?;
        let CreateRequest { path, data, acl, flags } = asked(CreateMode::PersistentWithTtl);
        s.ask(A, Op::CreateTtl, &CreateTtlRequest { path, data, acl, flags, ttl_ms: 1 << 30 })?;
        s.ask(A, Op::Create, &asked(CreateMode::PersistentSequential))?;
        s.ask(A, Op::Create2, &asked(CreateMode::EphemeralSequential))?;
    }
    s.ask(A, Op::GetChildren2, &children2("/cr"))
}

/// Versions: which are expected, which are not.
pub(super) fn versions(s: &mut Script) -> Result<()> {
    const EXPECTED: [i32; 7] = [1, i32::MAX, i32::MIN, -2, 0, 0, -1];
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/vs", ""))?;
    for version in EXPECTED {
        s.ask(A, Op::SetData, &set("/vs", "x", version))?;
        s.ask(A, Op::SetAcl, &set_acl("/vs", Acl::open_unsafe(), version))?;
        s.ask(A, Op::Multi, &multi(&[check("/vs", version)]))?;
        s.ask(A, Op::Create, &create("/vs/x", ""))?;
        s.ask(A, Op::Delete, &delete("/vs/x", version))?;
    }
    s.ask(A, Op::Exists, &exists("/vs"))
}

/// Limits that are none, limits that change, and the order in which they are looked at.
pub(super) fn odd_quotas(s: &mut Script) -> Result<()> {
    let limits = "/zookeeper/quota/oq/zookeeper_limits";
    let stats = "/zookeeper/quota/oq/zookeeper_stats";
    s.connect(A)?;
    s.connect(B)?;
    s.ask(A, Op::Create, &create("/oq", "1"))?;
    s.ask(A, Op::Create, &create_with("/oq/closed", acl(perms::READ, "world", "anyone")))?;
    s.ask(A, Op::Create, &create("/zookeeper/quota/oq", ""))?;
    s.ask(A, Op::Create, &create(limits, "count=-1,bytes=-1=;byteHardLimit=5;countHardLimit=3"))?;
    s.ask(A, Op::Create, &create(stats, ""))?;
    s.ask(B, Op::GetData, &get_watching(stats))?;
    s.ask(A, Op::GetData, &get(stats))?;
    s.ask(A, Op::Create, &create("/oq/a", "22"))?;
    // Permission and existence come before the quota, the quota before the version.
    s.ask(A, Op::Create, &create("/oq/closed/x", "1234567"))?;
    s.ask(A, Op::Create, &create("/oq/a", "1234567"))?;
    s.ask(A, Op::SetData, &set("/oq/closed", "1234567", 7))?;
    s.ask(A, Op::SetData, &set("/oq/a", "1234567", 7))?;
    s.ask(A, Op::SetData, &set("/oq/a", "1", 7))?;
    let both = [MultiOp::Delete(delete("/oq/a", -1)), MultiOp::Create(create("/oq/b", "22"))];
    s.ask(A, Op::Multi, &multi(&both))?;
    s.ask(
        A,
        Op::Multi,
        &multi(&[MultiOp::Create(create("/oq/c", "")), MultiOp::SetData(set("/oq", "123456", -1))]),
    )?;
    s.ask(A, Op::GetData, &get(stats))?;
    s.events(B)?;
    for text in ["count=9,bytes=9", "count=1,bytes=1=;byteHardLimit=-1;countHardLimit=-1", "count=5"] {
        s.ask(A, Op::SetData, &set(limits, text, -1))?;
        s.ask(A, Op::SetData, &set("/oq", "12345678", -1))?;
        s.ask(A, Op::Create, &create("/oq/n", ""))?;
        s.ask(A, Op::Delete, &delete("/oq/n", -1))?;
        s.ask(A, Op::GetData, &get(stats))?;
    }
    s.ask(A, Op::Delete, &delete(stats, -1))?;
    s.ask(A, Op::Create, &create("/oq/last", ""))?;
    s.ask(A, Op::Delete, &delete(limits, -1))
}

pub(super) fn quotas(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    let quota = |node: &str| format!("/zookeeper/quota/q/{node}");
    s.ask(A, Op::Create, &create("/q", "12345"))?;
    s.ask(A, Op::Create, &create("/zookeeper/quota/q", ""))?;
    s.ask(
        A,
        Op::Create,
        &create(&quota("zookeeper_limits"), "count=3,bytes=100=;byteHardLimit=20;countHardLimit=3"),
    )?;
    s.ask(A, Op::Create, &create(&quota("zookeeper_stats"), "count=0,bytes=0"))?;
    s.ask(A, Op::GetData, &get(&quota("zookeeper_stats")))?;
    s.ask(A, Op::Create, &create("/q/a", "12345"))?;
    s.ask(A, Op::Create, &create("/q/b", "123456789012345"))?;
    s.ask(A, Op::Create, &create("/q/b", "1"))?;
    s.ask(A, Op::Create, &create("/q/c", "1"))?;
    s.ask(A, Op::SetData, &set("/q/a", "1234567890123456", -1))?;
    s.ask(A, Op::SetData, &set("/q/a", "123", -1))?;
    s.ask(A, Op::GetData, &get(&quota("zookeeper_stats")))?;
    s.ask(A, Op::Delete, &delete("/q/a", -1))?;
    s.ask(A, Op::GetData, &get(&quota("zookeeper_stats")))?;
    s.ask(A, Op::Delete, &delete(&quota("zookeeper_limits"), -1))?;
    s.ask(A, Op::Create, &create("/q/d", "1234567890123456789012345"))?;
    s.ask(A, Op::GetData, &get(&quota("zookeeper_stats")))?;
    Ok(())
}
