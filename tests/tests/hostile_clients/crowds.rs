//! Very many clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jute::Op;
use jute::proto::GetDataRequest;
use tests::capture::requests::create_as;
use tests::hostile::{PATIENCE, RawClient, noise, wait_for_files};
use tests::process::wait_until;
use tests::service::four_letter_word;

use super::{Footprint, Stage, zkserver};

/// Connections from one address; a test process may have 20,000 open files.
const MANY: usize = 3000;

fn with_the_default_limit(config: &std::path::Path) -> Result<Command> {
    let mut command = zkserver(config)?;
    command.arg("-Dzookeeper.maxClientCnxns=60");
    Ok(command)
}

#[test]
fn an_address_gets_no_more_connections_than_it_may() -> Result<()> {
    let stage = Stage::with(with_the_default_limit)?;
    let mut served = Vec::new();
    for _ in 0..MANY {
        // Those above the limit are closed before they are heard.
        let Ok(mut client) = RawClient::connect(stage.server.address()) else { continue };
        if client.open_session(30_000).is_ok() {
            served.push(client);
        }
    }
    ensure!(served.len() == 60, "{} were served", served.len());
    for client in &mut served {
        let get = GetDataRequest { path: "/".into(), watch: false };
        ensure!(client.call(Op::GetData, &get)?.0.err == 0);
    }
    drop(served);
    wait_for_files(&stage.server, stage.at_rest.files)?;
    ensure!(RawClient::with_session(stage.server.address(), 30_000).is_ok(), "there is room again");
    stage.check()
}

#[test]
fn without_a_limit_thousands_of_connections_are_cheap() -> Result<()> {
    let stage = Stage::new()?;
    let mut clients = Vec::new();
    for _ in 0..MANY {
        clients.push(RawClient::with_session(stage.server.address(), 60_000)?);
    }
    let before = Footprint::of(&stage.server)?;
    let each = before.rss_bytes.saturating_sub(stage.at_rest.rss_bytes) / MANY as u64;
    ensure!(each < 16 << 10, "{each} bytes a connection");
    for client in clients.iter_mut().step_by(100) {
        let get = GetDataRequest { path: "/".into(), watch: false };
        ensure!(client.call(Op::GetData, &get)?.0.err == 0);
    }
    drop(clients);
    wait_for_files(&stage.server, stage.at_rest.files)?;
    stage.check()
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() -> Result<()> {
    let stage = Stage::new()?;
    for round in 0..MANY {
        let mut client = RawClient::connect(stage.server.address())?;
        match round % 4 {
            0 => {}
            1 => client.send(&noise(round as u64, 3))?,
            2 => drop(client.open_session(1000)?),
            _ => {
                client.open_session(1000)?;
                client.ask(Op::GetData, &GetDataRequest { path: "/".into(), watch: true })?;
            }
        }
    }
    wait_for_files(&stage.server, stage.at_rest.files)?;
    wait_for_sessions(&stage, 1)?;
    let page = four_letter_word(stage.server.address(), "mntr")?;
    ensure!(page.lines().any(|line| line == "zk_watch_count\t0"), "{page}");
    stage.check()
}

#[test]
fn sessions_that_nobody_closes_expire_with_their_znodes() -> Result<()> {
    let stage = Stage::new()?;
    for number in 0..MANY {
        let mut client = RawClient::with_session(stage.server.address(), 1000)?;
        let create = create_as(&format!("/ephemeral-{number}"), "", 1);
        ensure!(client.call(Op::Create, &create)?.0.err == 0);
    }
    wait_for_sessions(&stage, 1)?;
    let page = four_letter_word(stage.server.address(), "mntr")?;
    ensure!(page.lines().any(|line| line == "zk_ephemerals_count\t0"), "{page}");
    stage.check()
}

/// The bystander's session is one of them.
fn wait_for_sessions(stage: &Stage, wanted: usize) -> Result<()> {
    let sessions = || -> Result<usize> {
        let page = four_letter_word(stage.server.address(), "mntr")?;
        let line = page.lines().find_map(|line| line.strip_prefix("zk_global_sessions\t"));
        Ok(line.context("no such line")?.parse()?)
    };
    let expired = wait_until(PATIENCE, || sessions().is_ok_and(|sessions| sessions <= wanted));
    ensure!(expired, "{} sessions are left", sessions()?);
    Ok(())
}

fn with_an_admin_server(config: &std::path::Path) -> Result<Command> {
    let mut command = zkserver(config)?;
    command
        .arg("-Dzookeeper.admin.enableServer=true")
        .arg(format!("-Dzookeeper.admin.serverPort={ADMIN_PORT}"))
        .arg("-Dzookeeper.admin.serverAddress=127.0.0.1");
    Ok(command)
}

/// Fixed, since a launch knows nothing of its test.
const ADMIN_PORT: u16 = 22007;

#[test]
fn the_admin_port_bears_anything() -> Result<()> {
    let stage = Stage::with(with_an_admin_server)?;
    let admin = (std::net::Ipv4Addr::LOCALHOST, ADMIN_PORT);
    let say = |bytes: &[u8], is_all: bool| -> Result<String> {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may have heard enough before the end.
        let _ = stream.write_all(bytes);
        if is_all {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let ask = |bytes: &[u8]| say(bytes, false);
    let throw = |bytes: &[u8]| say(bytes, true);
    let ruok = b"GET /commands/ruok HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    ensure!(wait_until(PATIENCE, || ask(ruok).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))));
    for seed in 0..50 {
        throw(&noise(seed, 4000))?;
    }
    throw(&[b"GET /commands/ruok HTTP/1.1\r\nX: ", &b"x".repeat(8 << 20)[..]].concat())?;
    throw(&[&b"GET /commands/"[..], &b"x".repeat(8 << 20), b" HTTP/1.1\r\n\r\n"].concat())?;
    throw(&b"GET / HTTP/1.1\r\nA: b\r\n".repeat(20_000))?;
    let restore = b"POST /commands/restore HTTP/1.1\r\nHost: here\r\nContent-Length: 4294967296\r\n";
    throw(&[&restore[..], b"Connection: close\r\n\r\n", &noise(9, 32 << 20)].concat())?;
    throw(&[&restore[..], b"Authorization: digest a:b\r\n\r\n", &noise(9, 32 << 20)].concat())?;
    for path in
        ["/commands/nosuch", "/commands/stat/../..", "/%00", "/commands/hash?x=%ff", "/commands/stmk?x"]
    {
        let answer = ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
        ensure!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
    // Hundreds that stop in the middle of a header.
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /commands/ruok HTT")?;
        slow.push(stream);
    }
    ensure!(ask(ruok)?.starts_with("HTTP/1.1 200"), "who asks properly is answered next to them");
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // An answer that it took too long, or none; but an end.
        stream.read_to_end(&mut Vec::new()).context("a half request keeps its connection")?;
    }
    stage.check()
}
