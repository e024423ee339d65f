//! What a line behind a `>` asks for.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use jute::data::AclList;
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{
    AddWatchRequest, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, ExistsRequest,
    GetChildren2Request, GetDataRequest, SetDataRequest, SetWatches, SyncRequest,
};
use jute::{AddWatchMode, CreateMode, Jute, Op};
use server::node::LogRoom;

/// One command.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody does something.
    Of(String, Deed),
    /// Time passes.
    Wait(Duration),
    /// The disk runs short, or has room again.
    LogRoom(LogRoom),
    /// The server stops and starts again, with the tree it had.
    Restart,
}

/// What a client does.
#[derive(Debug)]
pub(super) enum Deed {
    /// Asks for a session.
    Connect { timeout_ms: i32 },
    /// Asks to carry on a session: its own, or somebody else's.
    Resume { of: Option<String> },
    /// Loses its connection.
    Drop,
    /// Tells that it is alive.
    Ping,
    /// Asks for anything else.
    Ask(Op, Bytes),
}

/// Reads a command.
pub(super) fn parse(text: &str) -> Result<Command> {
    if let Some((who, deed)) = text.split_once(':').filter(|(who, _)| !who.contains(' ')) {
        return Ok(Command::Of(who.to_owned(), parse_deed(deed)?));
    }
    let mut words = Words::new(text);
    Ok(match words.next("command")? {
        "wait" => {
            let number: u64 = words.number("number of seconds or milliseconds")?;
            match words.next("unit")? {
                "s" => Command::Wait(Duration::from_secs(number)),
                "ms" => Command::Wait(Duration::from_millis(number)),
                unit => bail!("no unit: {unit}"),
            }
        }
        "disk" => match words.next("state")? {
            "short" => Command::LogRoom(LogRoom { bytes: 1 << 20, is_short: true }),
            "roomy" => Command::LogRoom(LogRoom::AMPLE),
            state => bail!("no state of a disk: {state}"),
        },
        "restart" => Command::Restart,
        other => bail!("no command: {other}"),
    })
}

fn parse_deed(text: &str) -> Result<Deed> {
    let mut words = Words::new(text);
    let deed = match words.next("command")? {
        "connect" => Deed::Connect { timeout_ms: words.number_or(10_000)? },
        "resume" => Deed::Resume { of: words.0.pop_front().map(str::to_owned) },
        "drop" => Deed::Drop,
        "ping" => Deed::Ping,
        "close" => Deed::Ask(Op::CloseSession, Bytes::new()),
        "multi" => {
            let rest: Vec<_> = words.0.drain(..).collect();
            let parts = rest.split(|word| *word == ";");
            let ops = parts.map(|part| parse_part(part.iter().copied().collect()));
            Deed::Ask(Op::Multi, MultiRequest { ops: ops.collect::<Result<_>>()? }.to_bytes())
        }
        command => {
            let (op, body) = parse_request(command, &mut words)?;
            Deed::Ask(op, body)
        }
    };
    words.end()?;
    Ok(deed)
}

fn parse_request(command: &str, words: &mut Words<'_>) -> Result<(Op, Bytes)> {
    Ok(match command {
        "create" => match parse_create(words)? {
            Created::Plain(op, body) => (op, body.to_bytes()),
            Created::Ttl(body) => (Op::CreateTtl, body.to_bytes()),
        },
        "delete" => (Op::Delete, parse_delete(words)?.to_bytes()),
        "set" => (Op::SetData, parse_set(words)?.to_bytes()),
        "get" => {
            let watch = words.flag("-w");
            (Op::GetData, GetDataRequest { path: words.next("path")?.into(), watch }.to_bytes())
        }
        "exists" => {
            let watch = words.flag("-w");
            (Op::Exists, ExistsRequest { path: words.next("path")?.into(), watch }.to_bytes())
        }
        "ls" => {
            let watch = words.flag("-w");
            (Op::GetChildren2, GetChildren2Request { path: words.next("path")?.into(), watch }.to_bytes())
        }
        "addWatch" => {
            let recursive = words.flag("-r");
            let mode = if recursive { AddWatchMode::PersistentRecursive } else { AddWatchMode::Persistent };
            let body = AddWatchRequest { path: words.next("path")?.into(), mode: mode.code() };
            (Op::AddWatch, body.to_bytes())
        }
        "setWatches" => {
            let relative_zxid = words.number("zxid")?;
            let data_watches = words.0.drain(..).map(Into::into).collect();
            (Op::SetWatches, SetWatches { relative_zxid, data_watches, ..SetWatches::default() }.to_bytes())
        }
        "sync" => (Op::Sync, SyncRequest { path: words.next("path")?.into() }.to_bytes()),
        other => bail!("no command: {other}"),
    })
}

fn parse_part(words: VecDeque<&str>) -> Result<MultiOp> {
    let mut words = Words(words);
    let part = match words.next("part of the multi")? {
        "create" => match parse_create(&mut words)? {
            Created::Plain(Op::CreateContainer, body) => MultiOp::CreateContainer(body),
            Created::Plain(_, body) => MultiOp::Create2(body),
            Created::Ttl(body) => MultiOp::CreateTtl(body),
        },
        "delete" => MultiOp::Delete(parse_delete(&mut words)?),
        "set" => MultiOp::SetData(parse_set(&mut words)?),
        "check" => {
            let version = words.version()?;
            MultiOp::Check(CheckVersionRequest { path: words.next("path")?.into(), version })
        }
        other => bail!("no part of a multi: {other}"),
    };
    words.end()?;
    Ok(part)
}

enum Created {
    Plain(Op, CreateRequest),
    Ttl(CreateTtlRequest),
}

fn parse_create(words: &mut Words<'_>) -> Result<Created> {
    let (ephemeral, sequential) = (words.flag("-e"), words.flag("-s"));
    let (container, ttl_ms) = (words.flag("-c"), words.option("-t")?);
    let mode = match (ephemeral, sequential, container, ttl_ms) {
        (false, false, true, None) => CreateMode::Container,
        (false, false, false, None) => CreateMode::Persistent,
        (false, true, false, None) => CreateMode::PersistentSequential,
        (true, false, false, None) => CreateMode::Ephemeral,
        (true, true, false, None) => CreateMode::EphemeralSequential,
        (false, false, false, Some(_)) => CreateMode::PersistentWithTtl,
        (false, true, false, Some(_)) => CreateMode::PersistentSequentialWithTtl,
        _ => bail!("no such mode"),
    };
    let (path, data) = (words.next("path")?.into(), Some(words.data()));
    let (acl, flags) = (AclList::OPEN_UNSAFE, mode.code());
    Ok(match ttl_ms {
        Some(ttl_ms) => Created::Ttl(CreateTtlRequest { path, data, acl, flags, ttl_ms }),
        None => {
            let op = if container { Op::CreateContainer } else { Op::Create };
            Created::Plain(op, CreateRequest { path, data, acl, flags })
        }
    })
}

fn parse_delete(words: &mut Words<'_>) -> Result<DeleteRequest> {
    let version = words.version()?;
    Ok(DeleteRequest { path: words.next("path")?.into(), version })
}

fn parse_set(words: &mut Words<'_>) -> Result<SetDataRequest> {
    let version = words.version()?;
    Ok(SetDataRequest { path: words.next("path")?.into(), data: Some(words.data()), version })
}

/// What is left of a line.
struct Words<'t>(VecDeque<&'t str>);

impl<'t> Words<'t> {
    fn new(text: &'t str) -> Self {
        Self(text.split_whitespace().collect())
    }

    fn next(&mut self, what: &str) -> Result<&'t str> {
        self.0.pop_front().with_context(|| format!("no {what}"))
    }

    fn flag(&mut self, flag: &str) -> bool {
        self.0.pop_front_if(|word| *word == flag).is_some()
    }

    fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N> {
        let word = self.next(what)?;
        word.parse().ok().with_context(|| format!("no {what}: {word}"))
    }

    fn number_or(&mut self, default: i32) -> Result<i32> {
        if self.0.is_empty() { Ok(default) } else { self.number("number") }
    }

    /// What stands behind `flag`.
    fn option(&mut self, flag: &str) -> Result<Option<i64>> {
        if self.flag(flag) { self.number("number").map(Some) } else { Ok(None) }
    }

    fn version(&mut self) -> Result<i32> {
        let version = self.option("-v")?.unwrap_or(-1);
        i32::try_from(version).context("no version")
    }

    fn data(&mut self) -> Bytes {
        Bytes::from(self.0.pop_front().unwrap_or_default().to_owned())
    }

    fn end(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "too much: {:?}", self.0);
        Ok(())
    }
}
