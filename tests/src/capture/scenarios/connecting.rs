//! Handshakes, sessions that move, four-letter words.

use anyhow::Result;
use bytes::Bytes;
use jute::proto::{ConnectRequest, ConnectResponse, SyncRequest};
use jute::{AddWatchMode, CreateMode, Jute as _, Op, WatcherType};

use crate::capture::requests::{
    add_watch, check_watches, children, children_watching, children2, create_as, delete, exists,
    exists_watching, get, get_watching, remove_watches, set,
};
use crate::capture::{A, B, C, Script};

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
    for len in [1, 15, 17] {
        let password = Some(Bytes::from(vec![7; len]));
        s.shake_hands(A, &ConnectRequest { password, ..hello(5000) }, Some(false))?;
        s.leave(A)?;
    }
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

/// A session ends by silence: its ephemeral goes, and it cannot be carried on.
pub(super) fn expiring(s: &mut Script) -> Result<()> {
    s.connect(B)?;
    s.ask(B, Op::AddWatch, &add_watch("/fleeting", AddWatchMode::Persistent))?;
    // Long enough for a busy machine to get through the next step.
    s.shake_hands(A, &hello(3000), Some(false))?;
    s.ask(A, Op::Create, &create_as("/fleeting", "x", CreateMode::Ephemeral.code()))?;
    let session = s.cut(A);
    s.next_event(B)?;
    s.next_event(B)?;
    s.ask(B, Op::Exists, &exists("/fleeting"))?;
    s.resume(A, &session)
}

/// A session ends amid the requests of its connection.
pub(super) fn closing(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    let ephemeral = CreateMode::Ephemeral.code();
    let before = [
        (Op::Create, create_as("/closing", "", 0).to_bytes()),
        (Op::Create, create_as("/closing/e", "", ephemeral).to_bytes()),
        (Op::GetData, get("/closing/e").to_bytes()),
    ];
    let behind = [
        (Op::Create, create_as("/closing/late", "", 0).to_bytes()),
        (Op::GetData, get("/closing").to_bytes()),
    ];
    s.leave_amid(A, &before, &behind)?;
    // A Java server refuses what stands behind the end, or drops it unless it has seen it before: with a zxid or without.
    s.connect(C)?;
    s.count_from_here(B)?;
    s.ask(B, Op::GetChildren2, &children2("/closing"))
}

/// Requests that depend on each other, all sent before the first is answered, and one that trickles in.
pub(super) fn pipelined(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask_all(
        A,
        &[
            (Op::GetData, get("/pl").to_bytes()),
            (Op::Create, create_as("/pl", "0", 0).to_bytes()),
            (Op::Create, create_as("/pl", "0", 0).to_bytes()),
            (Op::Create, create_as("/pl/n-", "0", CreateMode::PersistentSequential.code()).to_bytes()),
            (Op::Create, create_as("/pl/n-", "0", CreateMode::EphemeralSequential.code()).to_bytes()),
            (Op::SetData, set("/pl", "1", 0).to_bytes()),
            (Op::SetData, set("/pl", "2", 0).to_bytes()),
            (Op::Delete, delete("/pl", -1).to_bytes()),
            (Op::Exists, exists("/pl").to_bytes()),
            (Op::Sync, SyncRequest { path: "/pl".into() }.to_bytes()),
            (Op::SetData, set("/pl", "3", 1).to_bytes()),
            (Op::Ping, Bytes::new()),
            (Op::GetChildren, children("/pl").to_bytes()),
            (Op::GetData, get("/pl").to_bytes()),
        ],
    )?;
    // Watches set behind writes fire for the writes behind them, and for no other.
    s.ask_all(
        A,
        &[
            (Op::Create, create_as("/pl/w", "0", 0).to_bytes()),
            (Op::GetData, get_watching("/pl/w").to_bytes()),
            (Op::Exists, exists_watching("/pl/w/x").to_bytes()),
            (Op::SetData, set("/pl/w", "1", 7).to_bytes()),
            (Op::SetData, set("/pl/w", "1", 0).to_bytes()),
            (Op::GetData, get("/pl/w").to_bytes()),
            (Op::SetData, set("/pl/w", "2", 1).to_bytes()),
            (Op::GetChildren, children_watching("/pl/w").to_bytes()),
            (Op::AddWatch, add_watch("/pl", AddWatchMode::PersistentRecursive).to_bytes()),
            (Op::Create, create_as("/pl/w/x", "3", 0).to_bytes()),
            (Op::GetChildren2, children2("/pl/w").to_bytes()),
            (Op::RemoveWatches, remove_watches("/pl", WatcherType::Any).to_bytes()),
            (Op::Delete, delete("/pl/w/x", 0).to_bytes()),
            (Op::Delete, delete("/pl/w", -1).to_bytes()),
            (Op::GetData, get("/pl/w").to_bytes()),
            (Op::CheckWatches, check_watches("/pl/w", WatcherType::Any).to_bytes()),
        ],
    )?;
    s.ask_in_pieces(A, Op::SetData, &set("/pl", "in pieces", -1))?;
    s.ask_in_pieces(A, Op::GetData, &get("/pl"))
}

pub(super) fn words(s: &mut Script) -> Result<()> {
    for word in ["ruok", "ruok\n", "isro", "srvr", "wchs", "crst", "srst", "gtmk", "abcd", "RUOK"] {
        s.word(word)?;
    }
    Ok(())
}
