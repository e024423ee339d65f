//! Reads: answered by the connection's own thread, from the tree under its read lock; behind a write of the same
//! connection, by the node (see the [gate](super::gate)). ZooKeeper's `FinalRequestProcessor`, its reading half.
//!
//! Answers are written straight into the connection's buffer: paths are borrowed from the request's frame,
//! data from the tree. A read that sets no watch takes no memory and no lock of its own.

use std::cell::RefCell;

use bytes::{BufMut, Bytes, BytesMut};
use jute::data::{Acl, Id, perms};
use jute::frame::write_frame;
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{
    ErrorResponse, MultiHeader, ReplyHeader, SetWatches, SetWatches2, WatcherEvent, WhoAmIResponse, xid,
};
use jute::{
    AddWatchMode, DecodeError, ErrorCode, EventType, Jute, Op, Reader as Input, Ustring, WatcherType,
};
use parking_lot::Mutex;

use crate::auth::{Schemes, redacted};
use crate::node::Delivery;
use crate::session::{ConnectionId, SessionId};
use crate::tree::{Tree, Znode};
use crate::watch::{WatchKind, Watches};
use crate::zab::Zxid;

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Where watches fire to.
    pub connection: ConnectionId,
    /// Whose ephemerals `getEphemerals` means.
    pub session: SessionId,
    /// The connection's identities.
    pub identities: &'a [Id],
    /// The schemes in force.
    pub schemes: &'a Schemes,
}

/// Answers one read: appends the whole frame (length, header, record) to `out`.
///
/// `op` is the code of an operation whose kind is read, or ping; `body` is what stands behind the request's
/// header. Watches are set while the caller holds the tree: no change can come between the answer and its
/// watch. Events that `setWatches` finds due go in front of the answer.
#[doc(alias = "FinalRequestProcessor")]
pub fn answer(
    tree: &Tree,
    watches: &impl WatchTable,
    who: Reader<'_>,
    xid: i32,
    op: i32,
    body: &Bytes,
    out: &mut BytesMut,
) {
    let read = Read { tree, watches, who };
    let op = Op::from_code(op);
    if let Some(Op::SetWatches | Op::SetWatches2) = op {
        let outcome = read.set_watches(op == Some(Op::SetWatches2), body, out);
        return write_reply(tree, xid, out, |_| outcome);
    }
    let xid = if op == Some(Op::Ping) { xid::PING } else { xid };
    write_reply(tree, xid, out, |out| read.record(op, body, out));
}

/// A `multiRead` with a longer answer than this is refused: a megabyte of parts could ask for all of the memory.
/// Clients take a megabyte, unless they are configured to take more.
const MULTI_READ_BYTES_MAX: usize = 16 << 20;

/// Appends a reply's frame, whose record `record` writes. If it refuses instead, what it wrote is dropped.
fn write_reply(tree: &Tree, xid: i32, out: &mut BytesMut, record: impl FnOnce(&mut BytesMut) -> Outcome) {
    let start = out.len();
    out.put_i32(0);
    ReplyHeader { xid, zxid: tree.last_zxid().0, err: 0 }.encode(out);
    let behind_header = out.len();
    if let Err(refusal) = record(out) {
        out.truncate(behind_header);
        out[behind_header - 4..].copy_from_slice(&refusal.error().code().to_be_bytes());
        if let Refusal::NotAMultiRead = refusal {
            MultiHeader::END.encode(out);
        }
    }
    let len = i32::try_from(out.len() - start - 4).expect("a reply is below 2^31 bytes");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

type Outcome = Result<(), Refusal>;

/// Why there is no answer.
#[derive(Debug)]
enum Refusal {
    /// The code in the reply's header, which is all of it.
    Error(ErrorCode),
    /// A multiRead of writes. An empty list of results stands behind the header: the one that a Java server has begun by then.
    NotAMultiRead,
}

impl Refusal {
    fn error(&self) -> ErrorCode {
        match self {
            Self::Error(error) => *error,
            Self::NotAMultiRead => ErrorCode::MarshallingError,
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self::Error(error)
    }
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::Error(ErrorCode::MarshallingError)
    }
}

/// The watches, as whoever answers has them: a connection's thread shares them, the node holds them anyway.
pub trait WatchTable {
    /// Looks at them, or changes them.
    fn with<T>(&self, look: impl FnOnce(&mut Watches) -> T) -> T;
}

impl WatchTable for Mutex<Watches> {
    fn with<T>(&self, look: impl FnOnce(&mut Watches) -> T) -> T {
        look(&mut self.lock())
    }
}

impl WatchTable for RefCell<&mut Watches> {
    fn with<T>(&self, look: impl FnOnce(&mut Watches) -> T) -> T {
        look(&mut self.borrow_mut())
    }
}

struct Read<'a, W> {
    tree: &'a Tree,
    watches: &'a W,
    who: Reader<'a>,
}

impl<'a, W: WatchTable> Read<'a, W> {
    fn record(&self, op: Option<Op>, body: &Bytes, out: &mut BytesMut) -> Outcome {
        let input = &mut Input::new(body);
        match op {
            Some(Op::GetData) => self.get_data(input, out),
            Some(Op::Exists) => self.exists(input, out),
            Some(Op::GetChildren) => self.get_children(input, out).map(drop),
            Some(Op::GetChildren2) => {
                self.get_children(input, out)?.stat().encode(out);
                Ok(())
            }
            Some(Op::GetAllChildrenNumber) => self.get_all_children_number(input, out),
            Some(Op::GetAcl) => self.get_acl(input, out),
            Some(Op::GetEphemerals) => self.get_ephemerals(input, out),
            Some(Op::MultiRead) => self.multi_read(input, out),
            Some(Op::AddWatch) => self.add_watch(input, out),
            Some(Op::CheckWatches) => self.check_watches(input),
            Some(Op::RemoveWatches) => self.remove_watches(input),
            Some(Op::WhoAmI) => {
                let client_info = self.who.schemes.describe(self.who.identities);
                WhoAmIResponse { client_info }.encode(out);
                Ok(())
            }
            Some(Op::Ping) => Ok(()),
            _ => Err(ErrorCode::Unimplemented.into()),
        }
    }

    /// The znode at `path`, if one may read it.
    fn readable(&self, path: &str) -> Result<Znode<'a>, ErrorCode> {
        let znode = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        self.check_readable(znode)?;
        Ok(znode)
    }

    fn check_readable(&self, znode: Znode<'_>) -> Result<(), ErrorCode> {
        if znode.is_world_readable() { Ok(()) } else { self.check(znode.acl(), perms::READ) }
    }

    fn check(&self, acl: &[Acl], wanted: i32) -> Result<(), ErrorCode> {
        self.who.schemes.check(acl, wanted, self.who.identities)
    }

    fn watch(&self, path: &str, kind: WatchKind) {
        self.watches.with(|watches| watches.add(self.who.connection, path, kind));
    }

    fn get_data(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let (path, watch) = (input.text()?, input.boolean()?);
        let znode = self.readable(&path)?;
        if watch {
            self.watch(&path, WatchKind::Data);
        }
        put_data_and_stat(znode, out);
        Ok(())
    }

    /// The watch is set whether or not the znode is there, unless it is there and may not be read.
    fn exists(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let (path, watch) = (input.text()?, input.boolean()?);
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments.into());
        }
        let znode = self.tree.find(&path);
        znode.map_or(Ok(()), |znode| self.check_readable(znode))?;
        if watch {
            self.watch(&path, WatchKind::Data);
        }
        znode.ok_or(ErrorCode::NoNode)?.stat().encode(out);
        Ok(())
    }

    fn get_children(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Result<Znode<'a>, Refusal> {
        let (path, watch) = (input.text()?, input.boolean()?);
        let znode = self.readable(&path)?;
        if watch {
            self.watch(&path, WatchKind::Children);
        }
        put_children(znode, out);
        Ok(znode)
    }

    fn get_all_children_number(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let path = input.text()?;
        self.readable(&path)?;
        let count = self.tree.descendant_count(&path);
        out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        Ok(())
    }

    /// Reading or administrating is enough; who may only read sees no hashes.
    fn get_acl(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let path = input.text()?;
        let znode = self.tree.find(&path).ok_or(ErrorCode::NoNode)?;
        let acl = znode.acl();
        self.check(acl, perms::READ | perms::ADMIN)?;
        match self.check(acl, perms::ADMIN) {
            Ok(()) => put_acl(acl, out),
            Err(_) => put_acl(&redacted(acl), out),
        }
        znode.stat().encode(out);
        Ok(())
    }

    /// Only the session's own; the prefix is not bound to whole names.
    fn get_ephemerals(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let prefix = input.string()?.unwrap_or_default();
        let all = matches!(prefix.trim(), "" | "/");
        let wanted = |path: &String| all || path.starts_with(&*prefix);
        let count_at = out.len();
        out.put_i32(0);
        let mut count = 0_i32;
        for path in self.tree.ephemerals_of(self.who.session).filter(wanted) {
            put_string(&path, out);
            count += 1;
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        Ok(())
    }

    /// Each part succeeds or fails by itself. There are no watches here.
    fn multi_read(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let start = out.len();
        for part in MultiRequest::decode(input)?.ops {
            if out.len() - start > MULTI_READ_BYTES_MAX {
                return Err(ErrorCode::BadArguments.into());
            }
            let header = MultiHeader { op: part.op().code(), done: false, err: 0 };
            let read = |path: &str| self.readable(path);
            let refused = match part {
                MultiOp::GetData(asked) => read(&asked.path).map(|znode| {
                    header.encode(out);
                    put_data_and_stat(znode, out);
                }),
                MultiOp::GetChildren(asked) => read(&asked.path).map(|znode| {
                    header.encode(out);
                    put_children(znode, out);
                }),
                _ => return Err(Refusal::NotAMultiRead),
            };
            if let Err(error) = refused {
                MultiHeader { op: Op::Error.code(), done: false, err: error.code() }.encode(out);
                ErrorResponse { err: error.code() }.encode(out);
            }
        }
        MultiHeader::END.encode(out);
        Ok(())
    }

    /// No ACL is asked: events are filtered by it as they are delivered.
    fn add_watch(&self, input: &mut Input<'_>, out: &mut BytesMut) -> Outcome {
        let (path, mode) = (input.text()?, input.int()?);
        let mode = AddWatchMode::from_code(mode).ok_or(ErrorCode::MarshallingError)?;
        self.watch(&path, mode.into());
        ErrorResponse { err: 0 }.encode(out);
        Ok(())
    }

    fn check_watches(&self, input: &mut Input<'_>) -> Outcome {
        let (path, kind) = (input.text()?, watcher_type(input)?);
        let found = self.watches.with(|watches| watches.contains(self.who.connection, &path, kind));
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher.into()) }
    }

    fn remove_watches(&self, input: &mut Input<'_>) -> Outcome {
        let (path, kind) = (input.text()?, watcher_type(input)?);
        let found = self.watches.with(|watches| watches.remove(self.who.connection, &path, kind));
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher.into()) }
    }

    /// Sets watches that a client brought along. What happened meanwhile is told at once, unfiltered.
    fn set_watches(&self, persistent_too: bool, body: &Bytes, out: &mut BytesMut) -> Outcome {
        let asked = if persistent_too { SetWatches2::from_bytes(body)? } else { without_persistent(body)? };
        let mut missed = Vec::new();
        self.watches.with(|watches| {
            watches.set_watches(self.tree, self.who.connection, &asked, &mut missed);
        });
        for delivery in missed {
            if let Delivery::Notification { zxid, event, path, .. } = delivery {
                write_notification(zxid, event, path, out);
            }
        }
        Ok(())
    }
}

/// Appends a notification's frame.
pub fn write_notification(zxid: Zxid, event: EventType, path: Ustring, out: &mut BytesMut) {
    write_frame(out, |out| {
        ReplyHeader { xid: xid::NOTIFICATION, zxid: zxid.0, err: 0 }.encode(out);
        WatcherEvent { event_type: event.code(), state: SYNC_CONNECTED, path }.encode(out);
    });
}

/// `KeeperState.SyncConnected`, the state in every event that a server sends.
const SYNC_CONNECTED: i32 = 3;

fn without_persistent(body: &Bytes) -> Result<SetWatches2, DecodeError> {
    let SetWatches { relative_zxid, data_watches, exist_watches, child_watches } = Jute::from_bytes(body)?;
    Ok(SetWatches2 { relative_zxid, data_watches, exist_watches, child_watches, ..SetWatches2::default() })
}

fn watcher_type(input: &mut Input<'_>) -> Result<WatcherType, Refusal> {
    WatcherType::from_code(input.int()?).ok_or(Refusal::Error(ErrorCode::MarshallingError))
}

fn put_data_and_stat(znode: Znode<'_>, out: &mut BytesMut) {
    match znode.data() {
        Some(data) => put_bytes(data, out),
        None => out.put_i32(-1),
    }
    znode.stat().encode(out);
}

fn put_children(znode: Znode<'_>, out: &mut BytesMut) {
    let children = znode.children();
    out.put_i32(length(children.len()));
    for name in children {
        put_string(name, out);
    }
}

fn put_acl(acl: &[Acl], out: &mut BytesMut) {
    out.put_i32(length(acl.len()));
    for entry in acl {
        entry.encode(out);
    }
}

fn put_string(string: &str, out: &mut BytesMut) {
    put_bytes(string.as_bytes(), out);
}

fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_i32(length(bytes.len()));
    out.put_slice(bytes);
}

fn length(len: usize) -> i32 {
    i32::try_from(len).expect("what the tree holds came in frames, whose lengths are below 2^31")
}

#[cfg(test)]
mod tests;
