//! Events, actions and replies as a reader wants to see them: everything that matters, on one line.

use std::collections::BTreeMap;

use bytes::Bytes;
use jute::data::Stat;
use jute::multi::{MultiOp, MultiRequest, MultiResult};
use jute::proto::*;
use jute::txn::{Txn, TxnBody};
use jute::{AddWatchMode, CreateMode, ErrorCode, EventType, Jute, Op, Reader};
use server::node::{Action, Delivery, Event, LogRoom, ReplyBody, Request};
use server::session::{ConnectionId, SessionId};

/// Who is who.
#[derive(Default)]
pub(super) struct Names {
    connections: BTreeMap<ConnectionId, String>,
    sessions: BTreeMap<SessionId, String>,
}

impl Names {
    pub(super) fn add_connection(&mut self, who: &str) -> ConnectionId {
        let slot = u32::try_from(self.connections.len()).expect("a scenario is short");
        let connection = ConnectionId { shard: 0, slot, generation: 0 };
        self.connections.insert(connection, who.to_owned());
        connection
    }

    /// A session is called like the first who had it.
    pub(super) fn add_session(&mut self, session: SessionId, who: &str) {
        self.sessions.entry(session).or_insert_with(|| who.to_owned());
    }

    pub(super) fn connection(&self, connection: ConnectionId) -> &str {
        self.connections.get(&connection).map_or("?", String::as_str)
    }

    fn session(&self, session: SessionId) -> &str {
        let unknown = if session == SessionId::SERVICE { "the service" } else { "a new session" };
        self.sessions.get(&session).map_or(unknown, String::as_str)
    }
}

pub(super) fn event(event: &Event, names: &Names) -> String {
    match event {
        Event::Write(asked) => format!("Write {}", question(asked, names)),
        Event::Read(asked) => format!("Read {}", question(asked, names)),
        Event::Refused { connection, xid, error } => {
            format!("Refused {}#{xid}: {error}", names.connection(*connection))
        }
        Event::OpenSession { connection, timeout_ms } => {
            format!("OpenSession {}, {timeout_ms} ms", names.connection(*connection))
        }
        Event::RenewSession { connection, session, timeout_ms, .. } => {
            let (who, whose) = (names.connection(*connection), names.session(*session));
            format!("RenewSession {who}, session of {whose}, {timeout_ms} ms")
        }
        Event::Disconnected { connection } => format!("Disconnected {}", names.connection(*connection)),
        Event::Touched(sessions) => {
            let sessions: Vec<_> = sessions.iter().map(|session| names.session(*session)).collect();
            format!("Touched {}", sessions.join(", "))
        }
        Event::Persisted(zxid) => format!("Persisted {zxid}"),
        Event::SnapshotWritten { cuts } => format!("SnapshotWritten {cuts}"),
        Event::LogRoom(LogRoom { is_short: false, .. }) => "LogRoom ample".to_owned(),
        Event::LogRoom(LogRoom { bytes, is_short: true }) => format!("LogRoom short, {bytes} bytes left"),
        Event::HandOver => "HandOver".to_owned(),
        Event::Peer(input) => format!("Peer {input:?}"),
        Event::Tick => "Tick".to_owned(),
    }
}

fn question(asked: &Request, names: &Names) -> String {
    let who = asked.connection.map_or("the service", |connection| names.connection(connection));
    format!("{who}#{} {}", asked.xid, request(asked.op, &asked.body))
}

/// What an action says; nothing of answers to reads, whose [frames] speak for themselves.
pub(super) fn action(action: &Action, names: &Names) -> Option<String> {
    Some(match action {
        Action::Append { zxid, record } => match Txn::from_bytes(record) {
            Ok(txn) => format!("Append {zxid} {}", logged(&txn, names)),
            Err(error) => format!("Append {zxid} undecodable: {error}"),
        },
        Action::Deliver(Delivery::Answer { .. }) => return None,
        Action::Deliver(delivery) => delivered(delivery, names),
        Action::Snapshot(cut) => format!("Snapshot {}", cut.zxid),
        Action::Link(work) => format!("Link {work:?}"),
        Action::Disk(work) => format!("Disk {work:?}"),
        Action::Adopt { zxid, .. } => format!("Adopt {zxid}"),
        Action::CloseAll => "CloseAll".to_owned(),
    })
}

fn delivered(delivery: &Delivery, names: &Names) -> String {
    match delivery {
        Delivery::Connected { connection, session, timeout_ms, .. } => {
            let (who, whose) = (names.connection(*connection), names.session(*session));
            format!("Connected {who}, session of {whose}, {timeout_ms} ms")
        }
        Delivery::Expired { connection } => format!("Expired {}", names.connection(*connection)),
        Delivery::Reply { connection, xid, zxid, error, body, close } => {
            let close = if *close { ", then close" } else { "" };
            let outcome = error.map_or_else(|| reply_body(body), |error| format!("{error}"));
            format!("Reply {}#{xid} at {zxid}: {outcome}{close}", names.connection(*connection))
        }
        Delivery::Notification { connections, zxid, event, path, .. } => {
            let all: Vec<_> = connections.iter().map(|connection| names.connection(*connection)).collect();
            format!("Notification {} at {zxid}: {event:?} {path}", all.join(", "))
        }
        Delivery::Answer { connection, zxid, .. } => {
            format!("Answer {} at {zxid}", names.connection(*connection))
        }
        Delivery::Close { connection } => format!("Close {}", names.connection(*connection)),
    }
}

fn reply_body(body: &ReplyBody) -> String {
    match body {
        ReplyBody::Empty => "ok".to_owned(),
        ReplyBody::Path(path) => path.to_string(),
        ReplyBody::PathStat(path, stat) => format!("{path}, {}", versions(stat)),
        ReplyBody::Stat(stat) => versions(stat),
        ReplyBody::DataStat(data, stat) => format!("{}, {}", text(data.as_ref()), versions(stat)),
        ReplyBody::Multi(multi) => {
            let parts: Vec<_> = multi.results.iter().map(part).collect();
            format!("[{}]", parts.join("; "))
        }
    }
}

fn part(part: &MultiResult) -> String {
    match part {
        MultiResult::Create(CreateResponse { path }) => path.to_string(),
        MultiResult::Create2(created) => format!("{}, {}", created.path, versions(&created.stat)),
        MultiResult::SetData(stat) => versions(stat),
        MultiResult::Delete | MultiResult::Check => "ok".to_owned(),
        MultiResult::Error(0) => "undone".to_owned(),
        MultiResult::Error(code) => refusal(*code),
        MultiResult::GetData(_) | MultiResult::GetChildren(_) => "a read".to_owned(),
    }
}

fn logged(txn: &Txn, names: &Names) -> String {
    let whose = names.session(SessionId(txn.header.client_id));
    let body = body(&txn.body);
    match txn.header.cxid {
        0 => format!("{body} for {whose}"),
        cxid => format!("{body} for {whose}#{cxid}"),
    }
}

fn body(body: &TxnBody) -> String {
    match body {
        TxnBody::CreateSession(created) => format!("CreateSession {} ms", created.timeout_ms),
        TxnBody::CloseSession(Some(closed)) => {
            let paths: Vec<_> = closed.paths_to_delete.iter().map(|path| &**path).collect();
            format!("CloseSession [{}]", paths.join(", "))
        }
        TxnBody::CloseSession(None) => "CloseSession".to_owned(),
        TxnBody::Create(new) => {
            let ephemeral = if new.ephemeral { " ephemeral" } else { "" };
            let (data, cversion) = (text(new.data.as_ref()), new.parent_cversion);
            format!("Create {} {data}{ephemeral}, parent's cversion {cversion}", new.path)
        }
        TxnBody::CreateTtl(new) => {
            let (data, cversion) = (text(new.data.as_ref()), new.parent_cversion);
            format!("CreateTtl {} {data} {} ms, parent's cversion {cversion}", new.path, new.ttl_ms)
        }
        TxnBody::CreateContainer(new) => {
            let (data, cversion) = (text(new.data.as_ref()), new.parent_cversion);
            format!("CreateContainer {} {data}, parent's cversion {cversion}", new.path)
        }
        TxnBody::Delete(gone) => format!("Delete {}", gone.path),
        TxnBody::SetData(set) | TxnBody::Reconfig(set) => {
            format!("SetData {} {}, version {}", set.path, text(set.data.as_ref()), set.version)
        }
        TxnBody::SetAcl(set) => format!("SetAcl {}, version {}", set.path, set.version),
        TxnBody::CheckVersion(checked) => format!("Check {}", checked.path),
        TxnBody::Multi(multi) => {
            let parts = multi.txns.iter().map(|part| part.body());
            let parts: Vec<_> =
                parts.map(|part| part.map_or_else(|e| e.to_string(), |part| self::body(&part))).collect();
            format!("Multi [{}]", parts.join("; "))
        }
        TxnBody::Error(refused) => format!("Error {}", refusal(refused.err)),
    }
}

/// A request without its header.
pub(super) fn request(op: i32, body: &Bytes) -> String {
    let Some(op) = Op::from_code(op) else { return format!("operation {op}") };
    request_body(op, body).unwrap_or_else(|error| format!("{op:?} undecodable: {error}"))
}

fn request_body(op: Op, body: &Bytes) -> Result<String, jute::DecodeError> {
    let watching =
        |path: &str, watch: bool| format!("{op:?} {path}{}", if watch { ", watching" } else { "" });
    Ok(match op {
        Op::Create | Op::Create2 | Op::CreateContainer => creation(op, &Jute::from_bytes(body)?),
        Op::CreateTtl => {
            let new = CreateTtlRequest::from_bytes(body)?;
            format!("{op:?} {} {} {} ms", new.path, text(new.data.as_ref()), new.ttl_ms)
        }
        Op::Delete => deletion(&Jute::from_bytes(body)?),
        Op::SetData => new_data(&Jute::from_bytes(body)?),
        Op::Multi => {
            let parts: Vec<_> = MultiRequest::from_bytes(body)?.ops.iter().map(request_part).collect();
            format!("Multi [{}]", parts.join("; "))
        }
        Op::Sync => format!("Sync {}", SyncRequest::from_bytes(body)?.path),
        Op::GetData => GetDataRequest::from_bytes(body).map(|read| watching(&read.path, read.watch))?,
        Op::Exists => ExistsRequest::from_bytes(body).map(|read| watching(&read.path, read.watch))?,
        Op::GetChildren2 => {
            GetChildren2Request::from_bytes(body).map(|read| watching(&read.path, read.watch))?
        }
        Op::AddWatch => {
            let asked = AddWatchRequest::from_bytes(body)?;
            let mode = AddWatchMode::from_code(asked.mode).map_or("?".to_owned(), |mode| format!("{mode:?}"));
            format!("AddWatch {} {mode}", asked.path)
        }
        Op::SetWatches => {
            let asked = SetWatches::from_bytes(body)?;
            format!("SetWatches {} since {:#x}", asked.data_watches.join(", "), asked.relative_zxid)
        }
        _ => format!("{op:?}"),
    })
}

fn request_part(part: &MultiOp) -> String {
    match part {
        MultiOp::Create(new) | MultiOp::Create2(new) | MultiOp::CreateContainer(new) => {
            creation(part.op(), new)
        }
        MultiOp::CreateTtl(new) => format!("CreateTtl {}", new.path),
        MultiOp::Delete(gone) => deletion(gone),
        MultiOp::SetData(set) => new_data(set),
        MultiOp::Check(check) => format!("Check {}{}", check.path, of_version(check.version)),
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => format!("{:?}", part.op()),
    }
}

fn creation(op: Op, new: &CreateRequest) -> String {
    let mode = match CreateMode::from_code(new.flags) {
        Some(CreateMode::Persistent | CreateMode::Container) => String::new(),
        Some(mode) => format!(" {mode:?}"),
        None => format!(" mode {}", new.flags),
    };
    format!("{op:?} {} {}{mode}", new.path, text(new.data.as_ref()))
}

fn deletion(gone: &DeleteRequest) -> String {
    format!("Delete {}{}", gone.path, of_version(gone.version))
}

fn new_data(set: &SetDataRequest) -> String {
    format!("SetData {} {}{}", set.path, text(set.data.as_ref()), of_version(set.version))
}

fn of_version(version: i32) -> String {
    if version == -1 { String::new() } else { format!(" of version {version}") }
}

/// All that a read's answer holds: its reply, and the notifications in front of it.
pub(super) fn frames(bytes: &Bytes, who: &str, op: Op) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = bytes.clone();
    while rest.len() >= 4 {
        let length = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let frame = rest.split_to(4 + length).slice(4..);
        lines.push(frame_text(&frame, who, op).unwrap_or_else(|error| format!("undecodable: {error}")));
    }
    lines
}

fn frame_text(frame: &Bytes, who: &str, op: Op) -> Result<String, jute::DecodeError> {
    let mut input = Reader::new(frame);
    let header = ReplyHeader::decode(&mut input)?;
    if header.xid == xid::NOTIFICATION {
        let event = WatcherEvent::decode(&mut input)?;
        let kind = EventType::from_code(event.event_type).map_or("?".to_owned(), |kind| format!("{kind:?}"));
        return Ok(format!("Notification {who} at {:#x}: {kind} {}", header.zxid, event.path));
    }
    let outcome = if header.err == 0 { answer(op, &input.rest())? } else { refusal(header.err) };
    Ok(format!("Reply {who}#{} at {:#x}: {outcome}", header.xid, header.zxid))
}

fn answer(op: Op, body: &Bytes) -> Result<String, jute::DecodeError> {
    Ok(match op {
        Op::GetData => {
            let read = GetDataResponse::from_bytes(body)?;
            format!("{}, {}", text(read.data.as_ref()), versions(&read.stat))
        }
        Op::Exists => versions(&ExistsResponse::from_bytes(body)?.stat),
        Op::GetChildren2 => {
            let read = GetChildren2Response::from_bytes(body)?;
            let children: Vec<_> = read.children.iter().map(|child| &**child).collect();
            format!("[{}], {}", children.join(", "), versions(&read.stat))
        }
        _ => "ok".to_owned(),
    })
}

fn versions(stat: &Stat) -> String {
    format!(
        "version {} mzxid {:#x} cversion {} pzxid {:#x}",
        stat.version, stat.mzxid, stat.cversion, stat.pzxid
    )
}

fn refusal(code: i32) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| code.to_string())
}

fn text(data: Option<&Bytes>) -> String {
    data.map_or_else(|| "null".to_owned(), |data| format!("{:?}", String::from_utf8_lossy(data)))
}
