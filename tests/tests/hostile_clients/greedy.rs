//! Requests that are well formed, and ask for too much.

use anyhow::{Result, ensure};
use bytes::Bytes;
use jute::data::{Acl, AclList};
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{AuthPacket, CreateRequest, DeleteRequest, ExistsRequest, GetDataRequest, SetWatches};
use jute::{ErrorCode, Jute, Op};
use tests::capture::requests::{create, set};
use tests::hostile::{RawClient, request};

use super::Stage;

#[test]
fn a_flood_of_writes_beyond_the_limit_is_answered_whole_and_in_order() -> Result<()> {
    const CLIENTS: usize = 20;
    const WRITES: i32 = 4000;
    let stage = Stage::new()?;
    let flood: Vec<u8> = (1..=WRITES)
        .flat_map(|xid| request(xid, Op::SetData.code(), &set("/", &"x".repeat(200), -1).to_bytes()))
        .collect();
    let address = stage.server.address();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = RawClient::with_session(address, 60_000)?;
                    let mut writing = client.try_clone()?;
                    std::thread::scope(|scope| -> Result<()> {
                        let sent = scope.spawn(|| writing.send(&flood));
                        for xid in 1..=WRITES {
                            let (header, _) = client.reply()?;
                            ensure!((header.xid, header.err) == (xid, 0), "{header:?} where {xid} is next");
                        }
                        sent.join().expect("it does not panic")
                    })
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().expect("it does not panic"))
    })?;
    stage.check()
}

#[test]
fn a_multi_of_a_megabyte_is_judged_without_a_stop() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    ensure!(client.call(Op::Create, &create("/m", ""))?.0.err == 0);
    let parts = 15_000;
    let creates = (0..parts).map(|at| {
        let path = format!("/m/{at:05}").into();
        MultiOp::Create(CreateRequest { path, data: None, acl: AclList::OPEN_UNSAFE, flags: 0 })
    });
    let creates = MultiRequest { ops: creates.collect() };
    ensure!(creates.encoded_len() < 0xf_ffff, "{} bytes are no request", creates.encoded_len());
    let sets = (0..parts).map(|at| {
        MultiOp::SetData(jute::proto::SetDataRequest {
            path: format!("/m/{at:05}").into(),
            data: None,
            version: 0,
        })
    });
    let deletes = (0..parts)
        .map(|at| MultiOp::Delete(DeleteRequest { path: format!("/m/{at:05}").into(), version: -1 }));
    let deletes = MultiRequest { ops: deletes.collect() };
    for (asked, fails) in [
        (&creates, false),
        (&creates, true),
        (&MultiRequest { ops: sets.collect() }, false),
        (&deletes, false),
        (&deletes, true),
    ] {
        let (header, body) = client.call(Op::Multi, asked)?;
        ensure!(header.err == 0);
        let results = jute::multi::MultiResponse::from_bytes(&body)?.results;
        ensure!(results.len() == parts);
        let failed = matches!(results[0], jute::multi::MultiResult::Error(_));
        ensure!(failed == fails, "{:?}", results[0]);
    }
    stage.check_within(192 << 20)
}

#[test]
fn a_multi_read_is_not_answered_by_more_than_a_server_can_hold() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    ensure!(client.call(Op::Create, &create("/large", &"x".repeat(1_000_000)))?.0.err == 0);
    // Forty gigabytes, if it were answered.
    let read = MultiOp::GetData(GetDataRequest { path: "/large".into(), watch: false });
    let (header, body) = client.call(Op::MultiRead, &MultiRequest { ops: vec![read.clone(); 40_000] })?;
    ensure!(header.err != 0 && body.is_empty(), "{header:?}, {} bytes", body.len());
    // Some megabytes are no matter.
    let (header, body) = client.call(Op::MultiRead, &MultiRequest { ops: vec![read; 4] })?;
    ensure!(header.err == 0 && body.len() > 4_000_000, "{header:?}, {} bytes", body.len());
    stage.check_within(192 << 20)
}

#[test]
fn who_proves_ever_more_identities_is_sent_away() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    let mut accepted = 0;
    for number in 0..100_000 {
        let auth = Some(Bytes::from(format!("user-{number}:password")));
        let packet = AuthPacket { auth_type: 0, scheme: "digest".into(), auth };
        if client.ask(Op::Auth, &packet).is_err() {
            break;
        }
        match client.reply() {
            Ok((header, _)) if header.err == 0 => accepted += 1,
            Ok((header, _)) => {
                ensure!(header.err == ErrorCode::AuthFailed.code(), "{header:?}");
                break;
            }
            Err(_) => break,
        }
    }
    ensure!((50..1000).contains(&accepted), "{accepted} identities of one connection");
    stage.check()
}

#[test]
fn an_acl_of_a_megabyte_is_refused_at_once() -> Result<()> {
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    let packet = AuthPacket { auth_type: 0, scheme: "digest".into(), auth: Some(Bytes::from_static(b"a:b")) };
    client.ask(Op::Auth, &packet)?;
    ensure!(client.reply()?.0.err == 0);
    for scheme in ["auth", "ip"] {
        let entry = |perms| Acl::new(perms, scheme, if scheme == "ip" { "10.0.0.1" } else { "" });
        let acl: Vec<_> = (0..40_000).map(entry).collect();
        let asked = CreateRequest { path: "/acl".into(), data: None, acl: acl.into(), flags: 0 };
        for _ in 0..20 {
            client.ask(Op::Create, &asked)?;
        }
        for _ in 0..20 {
            let (header, _) = client.reply()?;
            ensure!(header.err == ErrorCode::InvalidAcl.code(), "{scheme}: {header:?}");
        }
    }
    // A list that somebody might want is taken.
    let acl: Vec<_> = (0..200).map(|host| Acl::new(31, "ip", &format!("10.0.0.{host}"))).collect();
    let asked = CreateRequest { path: "/acl".into(), data: None, acl: acl.into(), flags: 0 };
    ensure!(client.call(Op::Create, &asked)?.0.err == 0);
    stage.check()
}

#[test]
fn watches_of_one_connection_cost_what_they_cost_and_go_with_it() -> Result<()> {
    let stage = Stage::new()?;
    let watched = 200_000;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    for batch in 0..watched / 1000 {
        let paths = |prefix: &str| {
            (0..1000).map(|at| format!("/{prefix}-{}", batch * 1000 + at).as_str().into()).collect::<Vec<_>>()
        };
        let asked =
            SetWatches { relative_zxid: i64::MAX, exist_watches: paths("e"), ..SetWatches::default() };
        client.ask(Op::SetWatches, &asked)?;
        ensure!(client.reply()?.0.err == 0);
    }
    ensure!(client.call(Op::Exists, &ExistsRequest { path: "/".into(), watch: true })?.0.err == 0);
    drop(client);
    let gone = tests::process::wait_until(tests::hostile::PATIENCE, || {
        tests::service::four_letter_word(stage.server.address(), "wchs")
            .is_ok_and(|page| page.ends_with("Total watches:0\n"))
    });
    ensure!(gone, "watches outlive their connection");
    stage.check()
}
