//! What a client should not send.

use anyhow::Result;
use bytes::Bytes;
use jute::proto::{ConnectRequest, DeleteContainerRequest};
use jute::{Jute as _, Op};

use crate::capture::requests::{create, delete, get};
use crate::capture::{A, B, C, Script};

/// Every operation that a client may ask.
const ASKED: [Op; 23] = [
    Op::Create,
    Op::Delete,
    Op::Exists,
    Op::GetData,
    Op::SetData,
    Op::GetAcl,
    Op::SetAcl,
    Op::GetChildren,
    Op::Sync,
    Op::GetChildren2,
    Op::Multi,
    Op::Create2,
    Op::Reconfig,
    Op::CheckWatches,
    Op::RemoveWatches,
    Op::CreateContainer,
    Op::CreateTtl,
    Op::MultiRead,
    Op::SetWatches,
    Op::GetEphemerals,
    Op::GetAllChildrenNumber,
    Op::SetWatches2,
    Op::AddWatch,
];

pub(super) fn bodies(s: &mut Script) -> Result<()> {
    let bodies: [&[u8]; 5] = [
        &[],
        // A path that is longer than what follows, or shorter than nothing, or much longer than any frame.
        &[0, 0, 0, 9, b'/'],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0x7f, 0xff, 0xff, 0xff, b'/'],
        // One that ends where more should follow. Some operations ask for no more.
        &[0, 0, 0, 2, b'/', b'x'],
    ];
    for op in ASKED {
        for body in bodies {
            s.connect(A)?;
            s.count_from_here(A)?;
            s.ask_raw(A, op.code(), body)?;
            s.is_open(A)?;
        }
    }
    s.connect(B)?;
    s.count_from_here(B)?;
    // More than there should be.
    s.ask_raw(B, Op::GetData.code(), &[&get("/").to_bytes()[..], &[1, 2, 3]].concat())?;
    s.ask_raw(B, Op::Create.code(), &[&create("/more", "").to_bytes()[..], &[1, 2, 3]].concat())?;
    s.is_open(B)
}

/// The service's own operation.
pub(super) fn containers(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.ask(A, Op::Create, &create("/dc", ""))?;
    s.ask(B, Op::DeleteContainer, &DeleteContainerRequest { path: "/dc".into() })?;
    s.is_open(B)
}

/// A null for each string, list and buffer of each request.
pub(super) fn nulls(s: &mut Script) -> Result<()> {
    const NULL: [u8; 4] = [0xff; 4];
    const PATH: [u8; 6] = [0, 0, 0, 2, b'/', b'n'];
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/n", ""))?;
    let open = jute::data::Acl::open_unsafe()[0].to_bytes();
    let one = [&[0, 0, 0, 1], &open[..]].concat();
    // One entry: its count, its permissions, "world", "anyone".
    let null_scheme = [&one[..8], &NULL, &one[17..]].concat();
    let null_id = [&one[..17], &NULL].concat();
    let bodies: &[(Op, &[&[u8]])] = &[
        (Op::Create, &[&NULL, &NULL, &one, &[0; 4]]),
        (Op::Create, &[&[0, 0, 0, 3, b'/', b'n', b'1'], &NULL, &NULL, &[0; 4]]),
        (Op::Create2, &[&[0, 0, 0, 3, b'/', b'n', b'2'], &NULL, &[0, 0, 0, 1], &NULL, &[0; 4]]),
        (Op::Create, &[&[0, 0, 0, 3, b'/', b'n', b'3'], &NULL, &null_id, &[0; 4]]),
        (Op::Create, &[&[0, 0, 0, 3, b'/', b'n', b'4'], &NULL, &null_scheme, &[0; 4]]),
        (Op::Delete, &[&NULL, &[0; 4]]),
        (Op::Exists, &[&NULL, &[0]]),
        (Op::GetData, &[&NULL, &[0]]),
        (Op::GetData, &[&NULL, &[1]]),
        (Op::SetData, &[&NULL, &NULL, &[0; 4]]),
        (Op::GetAcl, &[&NULL]),
        (Op::SetAcl, &[&NULL, &one, &[0; 4]]),
        (Op::SetAcl, &[&PATH, &NULL, &[0; 4]]),
        (Op::GetChildren, &[&NULL, &[0]]),
        (Op::GetChildren2, &[&NULL, &[0]]),
        (Op::GetAllChildrenNumber, &[&NULL]),
        (Op::GetEphemerals, &[&NULL]),
        (Op::Sync, &[&NULL]),
        (Op::RemoveWatches, &[&NULL, &[0, 0, 0, 3]]),
        (Op::AddWatch, &[&NULL, &[0; 4]]),
        (Op::SetWatches, &[&[0; 8], &NULL, &NULL, &NULL]),
        (Op::SetWatches2, &[&[0; 8], &NULL, &NULL, &NULL, &NULL, &NULL]),
        (Op::SetWatches, &[&[0; 8], &[0, 0, 0, 1], &NULL, &[0; 4], &[0; 4]]),
    ];
    for (op, parts) in bodies {
        s.count_from_here(A)?;
        s.ask_raw(A, op.code(), &parts.concat())?;
    }
    s.is_open(A)
}

/// Strings whose bytes are no UTF-8.
pub(super) fn texts(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/utf", ""))?;
    let broken: [&[u8]; 6] = [
        &[b'/', 0xff],
        &[b'/', 0xc3],
        &[b'/', 0xc0, 0x80],
        &[b'/', 0xed, 0xa0, 0x80],
        &[b'/', b'u', 0xf0, 0x9f, 0x98],
        &[0xff],
    ];
    for text in broken {
        let len = u8::try_from(text.len())?;
        let path = [&[0, 0, 0, len], text].concat();
        s.count_from_here(A)?;
        let acl = [&[0, 0, 0, 1], &jute::data::Acl::open_unsafe()[0].to_bytes()[..]].concat();
        s.ask_raw(A, Op::Create.code(), &[&path, &[0; 4][..], &acl, &[0; 4]].concat())?;
        s.count_from_here(A)?;
        s.ask_raw(A, Op::Delete.code(), &[&path, &[0; 4][..]].concat())?;
        s.count_from_here(A)?;
        s.ask_raw(A, Op::Exists.code(), &[&path, &[1][..]].concat())?;
        s.ask_raw(A, Op::GetData.code(), &[&path, &[0][..]].concat())?;
        s.ask_raw(A, Op::GetChildren.code(), &[&path, &[0][..]].concat())?;
        s.ask_raw(A, Op::Sync.code(), &path)?;
    }
    s.is_open(A)
}

/// Numbers that clients give their requests, as they should not.
pub(super) fn xids(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    for xid in [0, 7, 7, 3, -1, -2, -3, -4, -8, i32::MAX, i32::MIN] {
        s.ask_as(A, xid, Op::GetData, &get("/zookeeper/none"))?;
        s.ask_as(A, xid, Op::Delete, &delete("/zookeeper/none", -1))?;
    }
    s.ask_raw(A, Op::WhoAmI.code(), &[])?;
    s.is_open(A)
}

/// The longest frame that is read, and the first that is not.
pub(super) fn longest(s: &mut Script) -> Result<()> {
    const FRAME_MAX: usize = 0xf_ffff;
    s.connect(A)?;
    for len in [FRAME_MAX, FRAME_MAX + 1] {
        // A header takes eight bytes; a path its length and the watch's flag.
        let path = format!("/{}", "x".repeat(len - 14));
        s.ask_described(A, Op::GetData, &get(&path).to_bytes(), &format!("in a frame of {len} bytes"))?;
    }
    Ok(())
}

/// What a connection may not begin with.
pub(super) fn beginnings(s: &mut Script) -> Result<()> {
    let request = get("/").to_bytes();
    let hello = ConnectRequest {
        timeout_ms: 5000,
        password: Some(Bytes::from_static(&[0; 16])),
        ..Default::default()
    };
    let hello = hello.to_bytes();
    let frame =
        |payload: &[u8]| [&u32::try_from(payload.len()).unwrap_or(0).to_be_bytes()[..], payload].concat();
    s.send_bytes_first(&[0xff, 0xff, 0xff, 0xff])?;
    s.send_bytes_first(&[0, 0x10, 0, 0])?;
    s.send_bytes_first(b"GET / HTTP/1.1\r\n\r\n")?;
    s.send_bytes_first(&frame(&[]))?;
    s.send_bytes_first(&frame(&[0; 8]))?;
    s.send_bytes_first(&frame(&request))?;
    // Cut in the middle, and a password of an impossible length.
    s.send_bytes_first(&frame(&hello[..hello.len() - 1]))?;
    s.send_bytes_first(&frame(&[&hello[..24], &[0xff, 0xff, 0xff, 0xfe][..]].concat()))?;
    s.send_bytes_first(&frame(&[&hello[..24], &[0, 0, 0, 99][..]].concat()))
}

pub(super) fn operations(s: &mut Script) -> Result<()> {
    // Without createSession (-10): what a Java server makes of it holds a new session's password.
    for op in [0, 10, 13, 23, 99, 108, 999, -1, -2, i32::MAX, i32::MIN] {
        s.connect(A)?;
        s.ask_raw(A, op, &get("/").to_bytes())?;
        s.is_open(A)?;
    }
    Ok(())
}

pub(super) fn frames(s: &mut Script) -> Result<()> {
    for bytes in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0x10, 0, 0], &[0x7f, 0xff, 0xff, 0xff], b"ruok"] {
        s.connect(C)?;
        s.send_bytes(C, bytes)?;
    }
    // Frames too short for a header.
    for bytes in [&[0, 0, 0, 0][..], &[0, 0, 0, 2, 1, 2], &[0, 0, 0, 4, 0, 0, 0, 1]] {
        s.connect(C)?;
        s.send_bytes(C, bytes)?;
    }
    Ok(())
}
