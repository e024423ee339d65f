//! Reads: what is there, what is null, what belongs to whom.

use anyhow::Result;
use jute::proto::{
    CreateRequest, GetAllChildrenNumberRequest, GetChildren2Request, GetEphemeralsRequest, SetDataRequest,
};
use jute::{CreateMode, Op};

use crate::capture::requests::{
    children, children2, create, create_as, delete, exists, get, get_acl, set, set_acl,
};
use crate::capture::{A, B, Script};

pub(super) fn null_data(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &CreateRequest { data: None, ..create("/null", "") })?;
    s.ask(A, Op::GetData, &get("/null"))?;
    s.ask(A, Op::Exists, &exists("/null"))?;
    s.ask(A, Op::SetData, &set("/null", "", -1))?;
    s.ask(A, Op::GetData, &get("/null"))?;
    s.ask(A, Op::SetData, &SetDataRequest { path: "/null".into(), data: None, version: -1 })?;
    s.ask(A, Op::GetData, &get("/null"))
}

pub(super) fn reads(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/r", "data"))?;
    for child in ["/r/one", "/r/two", "/r/two/three"] {
        s.ask(A, Op::Create, &create(child, child))?;
    }
    for path in ["/r", "/r/two/three", "/r/none", "/r/none/none", "/"] {
        s.ask(A, Op::Exists, &exists(path))?;
        s.ask(A, Op::GetData, &get(path))?;
        s.ask(A, Op::GetChildren, &children(path))?;
        s.ask(A, Op::GetChildren2, &children2(path))?;
        s.ask(A, Op::GetAcl, &get_acl(path))?;
        s.ask(A, Op::GetAllChildrenNumber, &GetAllChildrenNumberRequest { path: path.into() })?;
    }
    s.ask(A, Op::Delete, &delete("/r/one", -1))?;
    s.ask(A, Op::GetChildren2, &GetChildren2Request { path: "/r".into(), watch: false })?;
    s.ask(A, Op::SetAcl, &set_acl("/r", jute::data::Acl::read_unsafe(), 0))?;
    s.ask(A, Op::SetAcl, &set_acl("/r", jute::data::Acl::open_unsafe(), 1))?;
    s.ask(A, Op::Exists, &exists("/r"))
}

pub(super) fn service_znodes(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    for path in ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
        s.ask(A, Op::GetData, &get(path))?;
        s.ask(A, Op::GetAcl, &get_acl(path))?;
    }
    s.ask(A, Op::GetAcl, &get_acl("/"))?;
    s.ask(A, Op::GetChildren, &children("/zookeeper"))?;
    s.ask(A, Op::Create, &create("/zookeeper/own", "x"))?;
    s.ask(A, Op::SetData, &set("/zookeeper/config", "x", -1))?;
    s.ask(A, Op::Delete, &delete("/zookeeper/own", -1))
}

pub(super) fn ephemerals(s: &mut Script) -> Result<()> {
    let ephemeral = CreateMode::Ephemeral.code();
    s.connect(A)?;
    s.connect(B)?;
    s.ask(A, Op::Create, &create("/e", ""))?;
    s.ask(A, Op::Create2, &create_as("/e/a", "", ephemeral))?;
    s.ask(A, Op::Create2, &create_as("/e/ab", "", ephemeral))?;
    s.ask(B, Op::Create2, &create_as("/e/b", "", ephemeral))?;
    for prefix in ["/", "/e", "/e/a", "/e/b", "", "/none"] {
        s.ask(A, Op::GetEphemerals, &GetEphemeralsRequest { prefix_path: prefix.into() })?;
    }
    s.ask(B, Op::Delete, &delete("/e/a", -1))?;
    s.ask(A, Op::GetEphemerals, &GetEphemeralsRequest { prefix_path: "/e".into() })?;
    s.leave(A)?;
    s.ask(B, Op::GetChildren2, &children2("/e"))
}
