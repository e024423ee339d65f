//! Writes, and the order in which they are refused: the client sees the first error that applies.

use anyhow::Result;
use jute::data::perms;
use jute::proto::{ReconfigRequest, SetDataRequest, SyncRequest};
use jute::{CreateMode, Op};

use crate::capture::requests::{
    acl, children, create, create_as, create_ttl, create_with, delete, exists, get, set,
};
use crate::capture::{A, Script};

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
    const PATHS: [&str; 18] = [
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
    ];
    s.connect(A)?;
    for path in PATHS {
        s.ask(A, Op::Create, &create(path, "x"))?;
        s.ask(A, Op::Delete, &delete(path, 9))?;
        s.ask(A, Op::SetData, &set(path, "x", 9))?;
        s.ask(A, Op::Exists, &exists(path))?;
        s.ask(A, Op::GetData, &get(path))?;
        s.ask(A, Op::GetChildren, &children(path))?;
    }
    for path in ["/p\u{a0}", "/p\u{e9}", "/p\u{20ac}", "/p...", "/p .", "/p.q"] {
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
