//! Handshakes, sessions that move, four-letter words.

use anyhow::Result;
use bytes::Bytes;
use jute::proto::{ConnectRequest, ConnectResponse};
use jute::{CreateMode, Op};

use crate::capture::requests::{create_as, exists, get};
use crate::capture::{A, B, Script};

fn hello(timeout_ms: i32) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id: 0,
        password: Some(Bytes::from_static(&[0; 16])),
    }
}

pub(super) fn handshake(s: &mut Script) -> Result<()> {
    for timeout_ms in [0, -1, 1, 5000, i32::MAX] {
        s.shake_hands(A, &hello(timeout_ms), Some(false))?;
        s.leave(A)?;
    }
    s.shake_hands(A, &hello(5000), None)?;
    s.leave(A)?;
    s.shake_hands(A, &hello(5000), Some(true))?;
    s.leave(A)?;
    s.shake_hands(A, &ConnectRequest { password: None, ..hello(5000) }, Some(false))?;
    s.leave(A)?;
    s.shake_hands(A, &ConnectRequest { password: Some(Bytes::new()), ..hello(5000) }, Some(false))?;
    s.leave(A)?;
    s.shake_hands(A, &ConnectRequest { protocol_version: 7, ..hello(5000) }, Some(false))?;
    s.leave(A)?;
    s.shake_hands(B, &ConnectRequest { last_zxid_seen: i64::MAX, ..hello(5000) }, Some(false))?;
    s.shake_hands(B, &ConnectRequest { session_id: 0x7777, ..hello(5000) }, Some(false))?;
    s.shake_hands(B, &ConnectRequest { session_id: 0x7777, ..hello(5000) }, None)
}

pub(super) fn reconnecting(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create_as("/moved", "x", CreateMode::Ephemeral.code()))?;
    let session = s.session(A);
    // The server closes the older connection of the two.
    s.resume(B, &session)?;
    s.is_open(A)?;
    s.ask(B, Op::GetData, &get("/moved"))?;
    s.resume(A, &ConnectResponse { password: Some(Bytes::from_static(&[1; 16])), ..session.clone() })?;
    s.is_open(B)?;
    s.resume(B, &session)?;
    s.leave(B)?;
    s.resume(B, &session)?;
    s.connect(B)?;
    s.ask(B, Op::Exists, &exists("/moved"))
}

pub(super) fn words(s: &mut Script) -> Result<()> {
    for word in ["ruok", "isro", "srvr", "wchs", "crst", "srst"] {
        s.word(word)?;
    }
    Ok(())
}
