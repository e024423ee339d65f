//! What a Java server and a client said to each other once, kept as text: each frame's payload in hex, `>` for what the
//! client sent and `<` for what came, below the code of the operation.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use jute::data::{Acl, perms};
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::*;
use jute::{AddWatchMode, CreateMode, Jute, Op, WatcherType};

use crate::capture::requests as ask;
use crate::hostile::{RawClient, request};

/// A request, and what came until its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The operation's code; `None` is the handshake.
    pub op: Option<i32>,
    /// The request's frame.
    pub sent: Bytes,
    /// Events, and the reply's frame at last.
    pub came: Vec<Bytes>,
}

/// Asks the server at `address` for every operation there is.
pub fn record(address: SocketAddr) -> Result<Vec<Exchange>> {
    let mut recorder = Recorder { client: RawClient::connect(address)?, xid: 0, exchanges: Vec::new() };
    recorder.handshake()?;
    recorder.writes()?;
    recorder.reads()?;
    recorder.multis()?;
    recorder.watches()?;
    recorder.sessions()?;
    Ok(recorder.exchanges)
}

struct Recorder {
    client: RawClient,
    xid: i32,
    exchanges: Vec<Exchange>,
}

impl Recorder {
    fn handshake(&mut self) -> Result<()> {
        let mut sent =
            ConnectRequest { timeout_ms: 30_000, password: Some(vec![0; 16].into()), ..Default::default() }
                .to_bytes()
                .to_vec();
        sent.push(0);
        self.client.send(&crate::hostile::frame(&sent))?;
        let came = self.client.frame()?.context("no answer to a handshake")?;
        self.exchanges.push(Exchange { op: None, sent: sent.into(), came: vec![came] });
        Ok(())
    }

    fn ask(&mut self, op: Op, body: &impl Jute) -> Result<()> {
        self.xid += 1;
        let xid = match op {
            Op::Ping => xid::PING,
            Op::Auth => xid::AUTH,
            Op::SetWatches | Op::SetWatches2 => xid::SET_WATCHES,
            _ => self.xid,
        };
        let frame = request(xid, op.code(), &body.to_bytes());
        self.client.send(&frame)?;
        let sent = Bytes::copy_from_slice(&frame[4..]);
        let mut came = Vec::new();
        loop {
            let frame = self.client.frame()?.context("closed where a reply was due")?;
            let header = ReplyHeader::from_bytes(&frame)?;
            came.push(frame);
            if header.xid == xid {
                break;
            }
        }
        self.exchanges.push(Exchange { op: Some(op.code()), sent, came });
        Ok(())
    }

    fn writes(&mut self) -> Result<()> {
        self.ask(Op::Auth, &ask::auth("digest", "user:password"))?;
        self.ask(Op::Create, &ask::create("/a", "data"))?;
        self.ask(Op::Create, &CreateRequest { data: None, ..ask::create("/null", "") })?;
        self.ask(Op::Create, &ask::create_with("/open", Acl::open_unsafe()))?;
        self.ask(Op::Create2, &ask::create_as("/a/n-", "x", CreateMode::PersistentSequential.code()))?;
        self.ask(Op::Create2, &ask::create_as("/a/e", "", CreateMode::Ephemeral.code()))?;
        self.ask(Op::CreateContainer, &ask::create_as("/container", "c", CreateMode::Container.code()))?;
        self.ask(Op::CreateTtl, &ask::create_ttl("/ttl", 5, 60_000))?;
        self.ask(Op::Create, &ask::create("/none/a", ""))?;
        self.ask(Op::SetData, &ask::set("/a", "other", 0))?;
        self.ask(Op::SetData, &ask::set("/a", "other", 7))?;
        let acl = [ask::acl(perms::ALL, "auth", ""), ask::acl(perms::READ, "world", "anyone")].concat();
        self.ask(Op::SetAcl, &ask::set_acl("/open", acl, -1))?;
        self.ask(Op::Delete, &ask::delete("/null", -1))?;
        self.ask(Op::Delete, &ask::delete("/a", -1))
    }

    fn reads(&mut self) -> Result<()> {
        self.ask(Op::Exists, &ask::exists("/a"))?;
        self.ask(Op::Exists, &ask::exists("/none"))?;
        self.ask(Op::GetData, &ask::get("/a"))?;
        self.ask(Op::GetData, &ask::get("/container"))?;
        self.ask(Op::GetAcl, &ask::get_acl("/open"))?;
        self.ask(Op::GetChildren, &ask::children("/a"))?;
        self.ask(Op::GetChildren2, &ask::children2("/a"))?;
        self.ask(Op::GetAllChildrenNumber, &GetAllChildrenNumberRequest { path: "/".into() })?;
        self.ask(Op::GetEphemerals, &GetEphemeralsRequest { prefix_path: "/".into() })?;
        self.ask(Op::WhoAmI, &Nothing)?;
        self.ask(Op::Sync, &SyncRequest { path: "/a".into() })?;
        self.ask(Op::Ping, &Nothing)
    }

    fn multis(&mut self) -> Result<()> {
        let ops = vec![
            MultiOp::Create(ask::create("/m", "1")),
            MultiOp::Create2(ask::create("/m/a", "2")),
            MultiOp::SetData(ask::set("/m", "3", 0)),
            ask::check("/m", 1),
            MultiOp::Delete(ask::delete("/m/a", -1)),
        ];
        self.ask(Op::Multi, &MultiRequest { ops })?;
        let ops = vec![
            MultiOp::Delete(ask::delete("/m", -1)),
            ask::check("/m", 9),
            MultiOp::Create(ask::create("/n", "")),
        ];
        self.ask(Op::Multi, &MultiRequest { ops })?;
        let ops = vec![
            MultiOp::GetData(ask::get("/m")),
            MultiOp::GetChildren(ask::children("/a")),
            MultiOp::GetData(ask::get("/none")),
        ];
        self.ask(Op::MultiRead, &MultiRequest { ops })
    }

    fn watches(&mut self) -> Result<()> {
        self.ask(Op::GetData, &ask::get_watching("/a"))?;
        self.ask(Op::SetData, &ask::set("/a", "told", -1))?;
        self.ask(Op::AddWatch, &ask::add_watch("/a", AddWatchMode::Persistent))?;
        self.ask(Op::AddWatch, &ask::add_watch("/a", AddWatchMode::PersistentRecursive))?;
        self.ask(Op::Create, &ask::create("/a/b", ""))?;
        self.ask(Op::Delete, &ask::delete("/a/b", -1))?;
        self.ask(Op::CheckWatches, &ask::check_watches("/a", WatcherType::Any))?;
        self.ask(Op::RemoveWatches, &ask::remove_watches("/a", WatcherType::Any))?;
        self.ask(Op::RemoveWatches, &ask::remove_watches("/a", WatcherType::Any))?;
        let (data_watches, exist_watches) = (vec!["/a".into(), "/none".into()], vec!["/m".into()]);
        let child_watches = vec!["/a".into()];
        let watches = SetWatches { relative_zxid: 1, data_watches, exist_watches, child_watches };
        self.ask(Op::SetWatches, &watches)?;
        let watches = SetWatches2 { persistent_watches: vec!["/p".into()], ..SetWatches2::default() };
        self.ask(Op::SetWatches2, &watches)
    }

    fn sessions(&mut self) -> Result<()> {
        self.ask(Op::Sasl, &GetSaslRequest { token: Some(Bytes::from_static(b"token")) })?;
        self.ask(Op::Reconfig, &ReconfigRequest::default())?;
        self.ask(Op::CloseSession, &Nothing)
    }
}

/// The body of a request that has none.
struct Nothing;

impl Jute for Nothing {
    fn encode(&self, _: &mut bytes::BytesMut) {}

    fn decode(_: &mut jute::Reader<'_>) -> Result<Self, jute::DecodeError> {
        Ok(Self)
    }

    fn encoded_len(&self) -> usize {
        0
    }
}

/// The text that is kept.
#[must_use]
pub fn to_text(exchanges: &[Exchange]) -> String {
    let mut text = String::new();
    for Exchange { op, sent, came } in exchanges {
        let op = op.map_or("handshake".to_owned(), |op| op.to_string());
        let _ = writeln!(text, "{op}\n> {sent:x}");
        for frame in came {
            let _ = writeln!(text, "< {frame:x}");
        }
    }
    text
}

/// Reads it.
pub fn from_text(text: &str) -> Result<Vec<Exchange>> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines() {
        match (line.split_once(' '), exchanges.last_mut()) {
            (None, _) => {
                let op = (line != "handshake").then(|| line.parse()).transpose()?;
                exchanges.push(Exchange { op, sent: Bytes::new(), came: Vec::new() });
            }
            (Some((">", hex)), Some(exchange)) => exchange.sent = from_hex(hex)?,
            (Some(("<", hex)), Some(exchange)) => exchange.came.push(from_hex(hex)?),
            _ => bail!("what is {line:?}?"),
        }
    }
    Ok(exchanges)
}

fn from_hex(hex: &str) -> Result<Bytes> {
    (0..hex.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(hex.get(at..at + 2).context("odd")?, 16)?))
        .collect()
}
