//! Bytes that are no requests, and requests that make no sense.

use anyhow::{Result, ensure};
use bytes::Bytes;
use jute::proto::{CreateRequest, GetDataRequest};
use jute::{ErrorCode, Jute, Op};
use tests::hostile::{RawClient, frame, noise, request};
use tests::service::four_letter_word;

use super::Stage;

#[test]
fn a_first_frame_that_is_no_handshake_closes_the_connection() -> Result<()> {
    let stage = Stage::new()?;
    let mut openings: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
        // A TLS client's hello.
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &noise(1, 500)].concat(),
        b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        i32::MIN.to_be_bytes().to_vec(),
        i32::MAX.to_be_bytes().to_vec(),
        0x10_0000_i32.to_be_bytes().to_vec(),
        frame(&[]),
        frame(&[0; 27]),
        // A password that is longer than the frame, and one of negative length.
        frame(&[&[0; 24][..], &i32::MAX.to_be_bytes()].concat()),
        frame(&[&[0; 24][..], &(-2_i32).to_be_bytes()].concat()),
    ];
    // Noise that begins with a length above the limit: anything else would be waited for.
    openings.extend((1..50).map(|seed| [&[0x7f][..], &noise(seed, 2000)].concat()));
    for opening in openings {
        let mut client = RawClient::connect(stage.server.address())?;
        client.send(&opening)?;
        ensure!(client.rest()?.is_empty(), "an answer to {:?}", &opening[..opening.len().min(40)]);
    }
    stage.check()
}

#[test]
fn a_word_is_answered_whatever_follows_it() -> Result<()> {
    let stage = Stage::new()?;
    for word in ["ruokX", "ruok\r\nruok\r\n"] {
        let mut client = RawClient::connect(stage.server.address())?;
        client.send(word.as_bytes())?;
        ensure!(&client.rest()?[..] == b"imok", "{word:?}");
    }
    for _ in 0..300 {
        ensure!(four_letter_word(stage.server.address(), "mntr")?.contains("zk_version"));
    }
    stage.check()
}

#[test]
fn every_request_of_noise_is_answered_in_order_or_ends_its_connection() -> Result<()> {
    let stage = Stage::new()?;
    let ops: Vec<i32> = (-12..30).chain(98..110).filter(|op| *op != Op::CloseSession.code()).collect();
    for seed in 1..200_u64 {
        let mut client = RawClient::with_session(stage.server.address(), 10_000)?;
        let mut sent = Vec::new();
        let mut bytes = Vec::new();
        for at in 0..ops.len() {
            let op = ops[(seed as usize * 31 + at) % ops.len()];
            let body = noise(seed * 1000 + at as u64, at * seed as usize % 64);
            let xid = at as i32 + 1;
            bytes.extend_from_slice(&request(xid, op, &body));
            sent.push(xid);
        }
        // It may be closed before it has heard all.
        let _ = client.send(&bytes);
        let mut answered = 0;
        while let Ok((header, _)) = client.reply() {
            // Pings and credentials are answered under numbers of their own, the latter out of turn.
            if header.xid > 0 {
                ensure!(header.xid > answered, "{} behind {answered}", header.xid);
                answered = header.xid;
            }
            if answered == *sent.last().expect("there are some") {
                break;
            }
        }
    }
    stage.check()
}

#[test]
fn an_operation_that_is_none_is_answered_and_ends_the_connection() -> Result<()> {
    let stage = Stage::new()?;
    for op in [-2, 0, 10, 13, 77, 99, i32::MIN, i32::MAX] {
        let mut client = RawClient::with_session(stage.server.address(), 10_000)?;
        client.send(&request(7, op, &[]))?;
        let (header, _) = client.reply()?;
        ensure!((header.xid, header.err) == (7, ErrorCode::Unimplemented.code()), "op {op}: {header:?}");
        ensure!(client.is_closed(), "op {op}");
    }
    stage.check()
}

#[test]
fn lengths_within_a_request_are_not_believed() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 10_000)?;
    let ops = [Op::Create, Op::SetData, Op::SetAcl, Op::Multi, Op::MultiRead, Op::SetWatches2, Op::GetData];
    for op in ops {
        for length in [i32::MAX, i32::MIN, -2, 0x10_0000, 4] {
            let body = [&length.to_be_bytes()[..], &[0xff; 3]].concat();
            let xid = client.ask(op, &Raw(body.into()))?;
            let (header, _) = client.reply()?;
            ensure!(
                (header.xid, header.err) == (xid, ErrorCode::MarshallingError.code()),
                "{op:?} {header:?}"
            );
        }
    }
    stage.check()
}

#[test]
fn paths_against_the_rules_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 10_000)?;
    let long = format!("/{}", "x".repeat(900_000));
    let paths = [
        "",
        "a",
        "a/b",
        "//",
        "/a//b",
        "/a/",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/\0",
        "/a\u{1}",
        "/a\u{1f}",
        "/\u{7f}",
        "/\u{9f}",
        "/\u{e000}",
        "/\u{f8ff}",
        "/\u{fff0}",
        "/\u{ffff}",
        "/\u{1f600}",
        "/\u{10ffff}",
    ];
    for path in paths {
        let create = CreateRequest {
            path: path.into(),
            acl: jute::data::AclList::OPEN_UNSAFE,
            ..CreateRequest::default()
        };
        let (header, _) = client.call(Op::Create, &create)?;
        let missing_parent = path.contains('/') && !["/", "//"].contains(&path);
        let refused = [ErrorCode::BadArguments.code(), ErrorCode::NoNode.code()];
        ensure!(refused[..1 + usize::from(missing_parent)].contains(&header.err), "{path:?}: {header:?}");
        let (header, _) = client.call(Op::GetData, &GetDataRequest { path: path.into(), watch: true })?;
        // The empty path is the root's other name, as it is in Java.
        let wanted = if path.is_empty() { 0 } else { ErrorCode::NoNode.code() };
        ensure!(header.err == wanted, "{path:?}: {header:?}");
    }
    // No UTF-8.
    let body = [&3_i32.to_be_bytes()[..], b"/\xff\xfe\0"].concat();
    client.ask(Op::GetData, &Raw(body.into()))?;
    let err = client.reply()?.0.err;
    ensure!([ErrorCode::NoNode.code(), ErrorCode::MarshallingError.code()].contains(&err), "{err}");
    let create = CreateRequest {
        path: long.as_str().into(),
        acl: jute::data::AclList::OPEN_UNSAFE,
        ..CreateRequest::default()
    };
    ensure!(client.call(Op::Create, &create)?.0.err == 0, "a long path is a path");
    stage.check()
}

#[test]
fn a_wrong_password_gets_no_session_and_leaves_the_right_one_alone() -> Result<()> {
    let stage = Stage::new()?;
    let mut owner = RawClient::connect(stage.server.address())?;
    let session = owner.open_session(30_000)?;
    let password = session.password.clone().unwrap_or_default();
    let mut wrong: Vec<Vec<u8>> = vec![vec![], vec![0; 16], noise(3, 16), noise(4, 100_000)];
    wrong.push(password[..15].to_vec());
    wrong.push([&password[..], b"x"].concat());
    for password in wrong {
        let mut thief = RawClient::connect(stage.server.address())?;
        let answer = thief.carry_on(session.session_id, &password, 30_000)?;
        ensure!((answer.timeout_ms, answer.session_id) == (0, 0), "{answer:?}");
        ensure!(thief.is_closed());
    }
    let get = GetDataRequest { path: "/".into(), watch: false };
    ensure!(owner.call(Op::GetData, &get)?.0.err == 0, "the owner is served as before");
    stage.check()
}

/// A body as it is.
struct Raw(Bytes);

impl Jute for Raw {
    fn encode(&self, out: &mut bytes::BytesMut) {
        out.extend_from_slice(&self.0);
    }

    fn decode(_: &mut jute::Reader<'_>) -> Result<Self, jute::DecodeError> {
        unreachable!("it is only sent")
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }
}
