//! Who may do what.

use anyhow::Result;
use jute::data::{Acl, perms};
use jute::multi::MultiOp;
use jute::proto::{GetAllChildrenNumberRequest, xid};
use jute::{Op, Ustring};

use crate::capture::requests::{
    acl, auth, check, children, children_watching, children2, create, create_with, delete, exists,
    exists_watching, get, get_acl, get_watching, multi, set, set_acl,
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

/// Addresses of the sixth version, and ranges of them.
pub(super) fn long_addresses(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/v6", ""))?;
    let ids = [
        "::1",
        "::",
        "fe80::/10",
        "2001:db8::1/128",
        "::1/129",
        "::1/x",
        "1::2::3",
        "12345::",
        "::ffff:127.0.0.1",
    ];
    for (number, id) in ids.into_iter().enumerate() {
        let path = format!("/v6/{number}");
        s.ask(A, Op::Create, &create_with(&path, acl(perms::ALL, "ip", id)))?;
        s.ask(A, Op::GetData, &get(&path))?;
    }
    Ok(())
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

/// Each permission alone, against each operation that asks for one.
pub(super) fn single_permissions(s: &mut Script) -> Result<()> {
    const SINGLE: [i32; 6] = [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN, 0];
    s.connect(A)?;
    s.connect(B)?;
    s.ask_as(A, xid::AUTH, Op::Auth, &auth("digest", "user:secret"))?;
    s.ask(A, Op::Create, &create("/single", ""))?;
    for perms in SINGLE {
        let path = format!("/single/{perms}");
        let child = format!("{path}/x");
        let both = [acl(perms::ALL, "auth", ""), acl(perms, "world", "anyone")].concat();
        s.ask(A, Op::Create, &create_with(&path, both))?;
        s.ask(A, Op::Create, &create(&child, ""))?;
        s.ask(B, Op::Exists, &exists_watching(&path))?;
        s.ask(B, Op::GetData, &get_watching(&path))?;
        s.ask(B, Op::GetChildren, &children_watching(&path))?;
        s.ask(B, Op::GetChildren2, &children2(&path))?;
        s.ask(B, Op::GetAllChildrenNumber, &GetAllChildrenNumberRequest { path: path.as_str().into() })?;
        s.ask(B, Op::GetAcl, &get_acl(&path))?;
        s.ask(B, Op::Multi, &multi(&[check(&path, 0)]))?;
        s.ask(
            B,
            Op::MultiRead,
            &multi(&[MultiOp::GetData(get(&path)), MultiOp::GetChildren(children(&path))]),
        )?;
        s.ask(B, Op::SetAcl, &set_acl(&path, Acl::open_unsafe(), 7))?;
        s.ask(B, Op::SetData, &set(&path, "x", -1))?;
        s.ask(B, Op::Create, &create(&format!("{path}/y"), ""))?;
        s.ask(B, Op::Delete, &delete(&child, -1))?;
        // What B could not watch it hears nothing of.
        s.ask(A, Op::SetData, &set(&path, "y", -1))?;
        s.ask(A, Op::Create, &create(&format!("{path}/z"), ""))?;
        s.events(B)?;
    }
    Ok(())
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
    s.is_open(C)?;
    for scheme in ["world", "auth", "super", "", "DIGEST"] {
        s.connect(A)?;
        s.ask_as(A, xid::AUTH, Op::Auth, &auth(scheme, "user:secret"))?;
        s.is_open(A)?;
    }
    for credentials in ["", ":", "user:", ":secret"] {
        s.connect(B)?;
        s.ask_as(B, xid::AUTH, Op::Auth, &auth("digest", credentials))?;
        s.ask_raw(B, Op::WhoAmI.code(), &[])?;
        s.is_open(B)?;
    }
    // A null scheme, null credentials, and what is no packet at all.
    for packet in [
        &[&[0; 4][..], &[0xff; 4], &[0; 4]].concat()[..],
        &[0, 0, 0, 0, 0, 0, 0, 6, b'd', b'i', b'g', b'e', b's', b't', 0xff, 0xff, 0xff, 0xff],
        &[0, 0],
    ] {
        s.connect(C)?;
        s.ask_raw(C, Op::Auth.code(), packet)?;
        s.is_open(C)?;
    }
    s.connect(C)?;
    s.ask_raw(C, Op::Sasl.code(), &[0, 0, 0, 1, b'x'])?;
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
