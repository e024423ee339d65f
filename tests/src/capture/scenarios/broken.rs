//! What a client should not send.

use anyhow::Result;
use jute::{Jute as _, Op};

use crate::capture::requests::{create, get};
use crate::capture::{A, B, C, Script};

/// Every operation that a client may ask.
const ASKED: [Op; 24] = [
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
    Op::DeleteContainer,
    Op::CreateTtl,
    Op::MultiRead,
    Op::SetWatches,
    Op::GetEphemerals,
    Op::GetAllChildrenNumber,
    Op::SetWatches2,
    Op::AddWatch,
];

pub(super) fn bodies(s: &mut Script) -> Result<()> {
    for op in ASKED {
        s.connect(A)?;
        s.ask_raw(A, op.code(), &[])?;
        s.is_open(A)?;
        s.connect(A)?;
        // A path that is longer than what follows, or shorter than nothing.
        s.ask_raw(A, op.code(), &[0, 0, 0, 9, b'/'])?;
        s.is_open(A)?;
        s.connect(A)?;
        s.ask_raw(A, op.code(), &[0xff, 0xff, 0xff, 0xfe])?;
        s.is_open(A)?;
    }
    s.connect(B)?;
    // More than there should be.
    s.ask_raw(B, Op::GetData.code(), &[&get("/").to_bytes()[..], &[1, 2, 3]].concat())?;
    s.ask_raw(B, Op::Create.code(), &[&create("/more", "").to_bytes()[..], &[1, 2, 3]].concat())?;
    s.is_open(B)
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
