//! Who may do what.

use anyhow::Result;
use jute::data::{Acl, perms};
use jute::proto::xid;
use jute::{Op, Ustring};

use crate::capture::requests::{
    acl, auth, children, create, create_with, delete, exists, get, get_acl, set, set_acl,
};
use crate::capture::{A, B, C, Script};

/// `user:secret`, hashed.
const USER: &str = "user:P0v5zBk1VJCvzkVjWGWuE3dVDYA=";

pub(super) fn refused_acls(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/bad", ""))?;
    let refused = [
        ("world", "someone"),
        ("nobody", "knows"),
        ("auth", ""),
        ("auth", "ignored"),
        ("digest", "nocolon"),
        ("digest", "a:b:c"),
        ("digest", ""),
        ("ip", "not.an.address"),
        ("ip", "1.2.3.4/33"),
        ("ip", "1.2.3.4/x"),
        ("", ""),
    ];
    for (scheme, id) in refused {
        s.ask(A, Op::Create, &create_with("/bad/x", acl(perms::ALL, scheme, id)))?;
        s.ask(A, Op::SetAcl, &set_acl("/bad", acl(perms::ALL, scheme, id), -1))?;
    }
    s.ask(A, Op::SetAcl, &set_acl("/bad", vec![], -1))?;
    s.ask(A, Op::SetAcl, &set_acl("/none", vec![], -1))?;
    s.ask(A, Op::SetAcl, &set_acl("/none", Acl::open_unsafe(), -1))?;
    s.ask(A, Op::SetAcl, &set_acl("/bad", Acl::open_unsafe(), 7))?;
    let twice = [Acl::open_unsafe(), Acl::open_unsafe()].concat();
    s.ask(A, Op::SetAcl, &set_acl("/bad", twice, 0))?;
    s.ask(A, Op::GetAcl, &get_acl("/bad"))?;
    for id in ["127.0.0.1", "127.0.0.0/8", "10.0.0.1"] {
        let path = format!("/bad/{}", id.replace('/', "-"));
        s.ask(A, Op::Create, &create_with(&path, acl(perms::ALL, "ip", id)))?;
        s.ask(A, Op::GetData, &get(&path))?;
    }
    s.ask(A, Op::Create, &create_with("/bad/none", acl(0, "world", "anyone")))?;
    s.ask(A, Op::GetData, &get("/bad/none"))?;
    s.ask(A, Op::Create, &create_with("/bad/more", acl(0x7f, "world", "anyone")))?;
    s.ask(A, Op::GetAcl, &get_acl("/bad/more"))
}

pub(super) fn permissions(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.ask_raw(A, Op::WhoAmI.code(), &[])?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "user:secret"))?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "user:secret"))?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "other:with:colons"))?;
    s.ask_raw(A, Op::WhoAmI.code(), &[])?;
    s.ask(A, Op::Create, &create_with("/mine", acl(perms::ALL, "auth", "")))?;
    s.ask(A, Op::GetAcl, &get_acl("/mine"))?;
    s.ask(A, Op::Create, &create("/mine/x", "x"))?;
    s.ask(B, Op::GetData, &get("/mine"))?;
    s.ask(B, Op::Exists, &exists("/mine"))?;
    s.ask(B, Op::GetChildren, &children("/mine"))?;
    s.ask(B, Op::GetAcl, &get_acl("/mine"))?;
    s.ask(B, Op::SetData, &set("/mine", "x", 7))?;
    s.ask(B, Op::SetAcl, &set_acl("/mine", Acl::open_unsafe(), 7))?;
    s.ask(B, Op::Create, &create("/mine/x", "x"))?;
    s.ask(B, Op::Delete, &delete("/mine/none", 7))?;
    s.ask(B, Op::Delete, &delete("/mine/x", -1))?;
    s.ask_as(B, xid::AUTH, Op::Auth, &auth("digest", "super:secret"))?;
    s.ask_raw(B, Op::WhoAmI.code(), &[])?;
    s.ask(B, Op::GetAcl, &get_acl("/mine"))?;
    s.ask(B, Op::SetData, &set("/mine", "super", 0))?;
    s.ask(B, Op::SetData, &set("/zookeeper/config", "x", 7))
}

pub(super) fn auth_failures(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("nobody", "knows"))?;
    s.is_open(A)?;
    s.connect(B)?;
    s.ask_as(B, 17, Op::Auth, &auth("digest", "nocolon"))?;
    s.is_open(B)?;
    s.connect(C)?;
    s.ask_as(C, xid::AUTH, Op::Auth, &auth("ip", "1.2.3.4"))?;
    s.is_open(C)
}

pub(super) fn redaction(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "user:secret"))?;
    let entry = |perms, scheme: &str, id: &str| Acl::new(perms, scheme, id);
    let mixed = vec![
        entry(perms::ALL, "digest", USER),
        entry(perms::READ, "world", "anyone"),
        entry(perms::WRITE, "digest", "other:hash"),
        entry(perms::WRITE, "ip", "1.2.3.4"),
    ];
    let request =
        jute::proto::CreateRequest { path: Ustring::from_static("/hidden"), ..create_with("", mixed) };
    s.ask(A, Op::Create, &request)?;
    s.ask(A, Op::GetAcl, &get_acl("/hidden"))?;
    s.ask(B, Op::GetAcl, &get_acl("/hidden"))?;
    s.ask(A, Op::Create, &create_with("/admin", acl(perms::ADMIN, "world", "anyone")))?;
    s.ask(B, Op::GetAcl, &get_acl("/admin"))?;
    s.ask(B, Op::GetData, &get("/admin"))?;
    s.ask(A, Op::Create, &create_with("/writable", acl(perms::WRITE, "world", "anyone")))?;
    s.ask(B, Op::GetAcl, &get_acl("/writable"))
}
