//! Clients that say nothing, stop in the middle, or never read what they asked for.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use jute::proto::{AddWatchRequest, CreateRequest, GetDataRequest};
use jute::{AddWatchMode, Jute, Op};
use tests::capture::requests::{create, delete, set};
use tests::hostile::{PATIENCE, RawClient, request, wait_for_files};
use tests::process::wait_until;

use super::{Stage, zkserver};

/// How long a socket takes nothing before its sender is taken to be held back.
const HELD_BACK: Duration = Duration::from_millis(500);

fn impatient(config: &std::path::Path) -> Result<Command> {
    let mut command = zkserver(config)?;
    command.arg("-Dzookeeper.nio.sessionlessCnxnTimeout=1000");
    Ok(command)
}

#[test]
fn who_has_no_session_in_time_is_sent_away() -> Result<()> {
    let stage = Stage::with(impatient)?;
    let openings: [&[u8]; 6] =
        [b"", b"r", b"ruo", b"stmk\0\0", &[0, 0, 0, 44], &[0, 0, 0, 44, 0, 0, 0, 0, 1]];
    let mut clients = Vec::new();
    for opening in openings.iter().cycle().take(600) {
        let mut client = RawClient::connect(stage.server.address())?;
        client.send(opening)?;
        clients.push(client);
    }
    for mut client in clients {
        ensure!(client.is_closed());
    }
    stage.check()
}

#[test]
fn who_stops_in_the_middle_of_a_frame_goes_with_its_session() -> Result<()> {
    let stage = Stage::with(impatient)?;
    let mut clients = Vec::new();
    for at in 0..100 {
        let mut client = RawClient::with_session(stage.server.address(), 2000)?;
        let whole = request(1, Op::SetData.code(), &set("/", &"x".repeat(1_000_000), -1).to_bytes());
        client.send(&whole[..at * whole.len() / 100])?;
        clients.push(client);
    }
    for mut client in clients {
        ensure!(client.is_closed());
    }
    wait_for_files(&stage.server, stage.at_rest.files)?;
    // A hundred beginnings of up to a megabyte, in buffers that grow by doubling.
    stage.check_within(192 << 20)
}

#[test]
fn who_asks_and_never_reads_is_not_listened_to_and_goes_with_its_session() -> Result<()> {
    let stage = Stage::with(impatient)?;
    let mut preparing = RawClient::with_session(stage.server.address(), 30_000)?;
    let large = "x".repeat(500_000);
    ensure!(preparing.call(Op::Create, &create("/large", &large))?.0.err == 0);
    let get =
        request(1, Op::GetData.code(), &GetDataRequest { path: "/large".into(), watch: false }.to_bytes());
    let many = get.repeat(1000);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = RawClient::with_session(stage.server.address(), 2000)?;
        // 20 MB of requests would be answered by 200 GB.
        let taken = client.stuff(&many, 20 << 20, HELD_BACK)?;
        ensure!(taken < 20 << 20, "the server goes on listening to one that does not");
        clients.push(client);
    }
    // None of them has read a byte: the server lets go of them all the same.
    wait_for_files(&stage.server, stage.at_rest.files + 1)?;
    drop(clients);
    stage.check()
}

#[test]
fn who_writes_and_never_reads_is_not_listened_to() -> Result<()> {
    let stage = Stage::new()?;
    let writes = request(1, Op::SetData.code(), &set("/", &"x".repeat(1000), -1).to_bytes()).repeat(100);
    let mut client = RawClient::with_session(stage.server.address(), 2000)?;
    let total = 256 << 20;
    let taken = client.stuff(&writes, total, HELD_BACK)?;
    ensure!(taken < total, "the server goes on listening to one that does not");
    stage.check()
}

#[test]
fn who_watches_and_never_reads_is_sent_away() -> Result<()> {
    let stage = Stage::new()?;
    let mut watchers = Vec::new();
    for _ in 0..50 {
        let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
        let watch = AddWatchRequest { path: "/".into(), mode: AddWatchMode::PersistentRecursive.code() };
        ensure!(client.call(Op::AddWatch, &watch)?.0.err == 0);
        watchers.push(client);
    }
    // Each of these changes is told in 16 KB, to each of 50: 20 MB for each, a gigabyte for all.
    let path = format!("/{}", "x".repeat(16_000));
    let mut writer = RawClient::with_session(stage.server.address(), 60_000)?;
    for _ in 0..700 {
        ensure!(writer.call(Op::Create, &create(&path, ""))?.0.err == 0);
        ensure!(writer.call(Op::Delete, &delete(&path, -1))?.0.err == 0);
    }
    // Whoever is sent away may find it out only by sending.
    let gone = wait_until(PATIENCE, || {
        super::Footprint::of(&stage.server).is_ok_and(|now| now.files <= stage.at_rest.files + 1)
    });
    ensure!(gone, "the server keeps notifications for those who read none");
    stage.check_within(384 << 20)
}

#[test]
fn a_reply_far_above_the_usual_limit_reaches_a_slow_reader_whole() -> Result<()> {
    const CHILDREN: usize = 100_000;
    let stage = Stage::new()?;
    let mut client = RawClient::with_session(stage.server.address(), 60_000)?;
    ensure!(client.call(Op::Create, &create("/many", ""))?.0.err == 0);
    for batch in 0..CHILDREN / 1000 {
        for at in 0..1000 {
            let path = format!("/many/child-with-a-name-of-some-length-{:06}", batch * 1000 + at);
            client.ask(Op::Create, &CreateRequest { data: None, ..create(&path, "") })?;
        }
        for _ in 0..1000 {
            ensure!(client.reply()?.0.err == 0);
        }
    }
    for _ in 0..10 {
        client.ask(Op::GetChildren, &GetDataRequest { path: "/many".into(), watch: false })?;
    }
    for _ in 0..10 {
        let (header, body) = client.reply()?;
        ensure!(header.err == 0 && body.len() > 4_000_000, "{header:?}, {} bytes", body.len());
        let children = jute::proto::GetChildrenResponse::from_bytes(&body)?.children;
        ensure!(children.len() == CHILDREN);
    }
    stage.check_within(192 << 20)
}
