//! From a request to a proposal: stops 2 to 4 of [the life of a write](crate).

use std::borrow::Cow;

use bytes::Bytes;
use jute::data::Id;
use jute::proto::SyncRequest;
use jute::txn::{CreateSessionTxn, ErrorTxn, Txn, TxnBody, TxnDigest, TxnHeader};
use jute::{ErrorCode, Jute, Op, Reader as FrameReader, Ustring};

use super::local::Standing;
use super::member::Role;
use super::{Action, Delivery, Event, Node, Now, Request, millis};
use crate::pipeline::apply::{Origin, Outstanding, Work};
use crate::pipeline::pending::Outlook;
use crate::pipeline::prep::{Prep, Write};
use crate::session::{ConnectionId, Owner, SessionId};
use crate::storage::txn_log::framed_len;
use crate::tree::Tree;
use crate::zab::{Input, Packet, Peer, Zxid};

/// Log records share buffers of this size. A record that is larger gets one of its own.
const RECORD_BUFFER_BYTES: usize = 64 * 1024;
/// The record of a closeSession that lists no paths takes less, whatever is around it.
const CLOSE_BYTES_MAX: u64 = 128;

/// Who asks for a txn, and what answers to it.
pub(super) struct Asked<'a> {
    pub(super) session: SessionId,
    pub(super) standing: Standing,
    pub(super) xid: i32,
    pub(super) op: Op,
    pub(super) identities: &'a [Id],
    pub(super) origin: Option<Origin>,
}

impl Asked<'_> {
    /// What the service does of itself, or has to do for whoever comes: nobody's rights matter.
    pub(super) fn by_service(session: SessionId, op: Op) -> Self {
        Self { session, standing: Standing::GLOBAL, xid: 0, op, identities: &[], origin: None }
    }
}

/// The path that an event's request begins with, if it is one that this server judges.
fn path_of(event: &Event) -> Option<&str> {
    let (Event::Write(Request { body, .. })
    | Event::Peer(Input::Packet { packet: Packet::Request { body, .. }, .. })) = event
    else {
        return None;
    };
    match FrameReader::new(body).text() {
        Ok(Cow::Borrowed(path)) => Some(path),
        _ => None,
    }
}

impl Node {
    /// Has the memory fetched that judging these events will look at, for all of them together. It may be left out:
    /// nothing but the time it takes depends on it.
    pub fn fetch_for(&self, events: &[Event], tree: &Tree) {
        if self.role().is_none_or(|role| role == Role::Leader) {
            tree.fetch(events.iter().filter_map(path_of));
        }
    }

    /// Stop 2: what kind of request is it? Every one is answered, in the order of arrival.
    pub(super) fn on_write(&mut self, request: Request, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let Request { session, connection, xid, op, body, identities } = request;
        self.counters.requests += 1;
        let standing = self.hear_request(session, Owner::Here, now);
        let origin = connection.map(|connection| Origin { connection, xid });
        let Some(op) = Op::from_code(op) else {
            return self.wait_in_line(origin, Work::Unknown);
        };
        if op == Op::Sync {
            return self.on_sync(origin, standing.alive, &body);
        }
        match Write::decode(op, &body) {
            Some(Ok(_)) if !self.has_room_for(op, &body) => {
                self.wait_in_line(origin, Work::Refuse(ErrorCode::QuotaExceeded));
            }
            Some(Ok(write)) => {
                let asked = Asked { session, standing, xid, op, identities: &identities, origin };
                self.propose(asked, now, tree, out, |prep| prep.prepare(write));
                if op == Op::CloseSession {
                    self.sessions.begin_close(session);
                }
            }
            Some(Err(_)) => self.wait_in_line(origin, Work::Refuse(ErrorCode::MarshallingError)),
            // Among them op 20, deleteContainer, which is the service's own: it would delete past every ACL.
            None => self.wait_in_line(origin, Work::Unknown),
        }
    }

    /// A read changes nothing; it is here because a write of its connection is.
    pub(super) fn on_read(&mut self, request: Request) {
        self.counters.requests += 1;
        self.wait_in_line(None, Work::Read(request));
    }

    /// A sync changes nothing. On a lone server it is answered once all before it is applied; a leader has to be sure
    /// besides that it still leads.
    fn on_sync(&mut self, origin: Option<Origin>, alive: Result<(), ErrorCode>, body: &Bytes) {
        let decode = || SyncRequest::from_bytes(body).map_err(|_| ErrorCode::MarshallingError);
        let work = match alive.and_then(|()| decode()) {
            Ok(SyncRequest { path }) => {
                let confirmation = self.member.as_mut().map(|member| member.ask(Peer::confirm));
                Work::Sync { path, confirmation }
            }
            Err(error) => Work::Refuse(error),
        };
        self.wait_in_line(origin, work);
    }

    /// The handshake of a new client: answered when its txn is applied.
    pub(super) fn on_open_session(
        &mut self,
        connection: ConnectionId,
        timeout_ms: i32,
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) {
        if !self.has_room_for(Op::CreateSession, &Bytes::new()) {
            // It may find room elsewhere, or later.
            out.push(Action::Deliver(Delivery::Close { connection }));
            return;
        }
        let (session, timeout_ms) = self.sessions.open(connection, timeout_ms, millis(now.monotonic));
        self.counters.sessions_opened += 1;
        let origin = Some(Origin { connection, xid: 0 });
        let asked = Asked { origin, ..Asked::by_service(session, Op::CreateSession) };
        self.propose(asked, now, tree, out, |_| Ok(TxnBody::CreateSession(CreateSessionTxn { timeout_ms })));
    }

    /// Ends a session from this side.
    pub(super) fn propose_close(&mut self, session: SessionId, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let asked = Asked::by_service(session, Op::CloseSession);
        self.propose(asked, now, tree, out, |prep| prep.prepare(Write::CloseSession));
    }

    /// Removes a container or TTL znode that nobody needs.
    pub(super) fn propose_reaping(&mut self, path: Ustring, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let session = SessionId::SERVICE;
        let asked = Asked::by_service(session, Op::DeleteContainer);
        self.counters.reaped += 1;
        self.propose(asked, now, tree, out, |prep| prep.delete_container(path));
    }

    /// Stops 3 and 4: `judge` makes the txn, which then goes to the log and waits to be committed. A refusal
    /// takes a zxid like any other txn.
    pub(super) fn propose(
        &mut self,
        asked: Asked<'_>,
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
        judge: impl FnOnce(&mut Prep<'_>) -> Result<TxnBody, ErrorCode>,
    ) {
        if self.role().is_some_and(|role| role != Role::Leader) {
            return; // Its reign ended with the txn before.
        }
        let zxid = self.proposed.next();
        let mut prep = Prep {
            config: &self.config,
            peer: self.member.as_deref().map(|member| &member.peer),
            outlook: Outlook::new(tree, &mut self.pending, zxid, self.config.digests),
            session: asked.session,
            alive: asked.standing.alive,
            no_ephemerals: asked.standing.no_ephemerals,
            identities: asked.identities,
            zxid: zxid.0,
            time_ms: now.wall_ms,
            room: self.room,
            parts: Vec::new(),
            over_quota: &mut self.over_quota,
        };
        let (op, body, digest) = match judge(&mut prep) {
            // Without a list it has no body, and a reader would take the digest for one.
            Ok(body @ TxnBody::CloseSession(None)) => (asked.op, body, None),
            Ok(body) => (asked.op, body, prep.digest()),
            Err(error) => {
                self.counters.refusals += 1;
                // Other servers have no other way to learn of it than a txn.
                if self.room.is_short && self.member.is_none() {
                    return self.wait_in_line(asked.origin, Work::Refuse(error));
                }
                (Op::Error, TxnBody::Error(ErrorTxn { err: error.code() }), None)
            }
        };
        let parts = prep.parts;
        let header = TxnHeader {
            client_id: asked.session.0,
            cxid: asked.xid,
            zxid: zxid.0,
            time_ms: now.wall_ms,
            txn_type: op.code(),
        };
        let digest = digest.map(|digest| TxnDigest {
            version: TxnDigest::VERSION,
            tree_digest: i64::from_ne_bytes(digest.to_ne_bytes()),
        });
        let txn = Txn { header, body, digest };
        let record = self.record(&txn);
        let log_bytes = framed_len(&record);
        self.room.bytes = self.room.bytes.saturating_sub(log_bytes);
        self.cuts.note_logged(log_bytes);
        if !self.log(zxid, record, now, out) {
            return;
        }
        self.proposed = zxid;
        self.counters.txns += 1;
        self.wait_in_line(asked.origin, Work::Txn { op: asked.op, parts, txn });
    }

    /// Stop 4: to the log, and to the other servers. `false` if this reign is over.
    fn log(&mut self, zxid: Zxid, record: Bytes, now: Now, out: &mut Vec<Action>) -> bool {
        let Some(member) = &mut self.member else {
            out.push(Action::Append { zxid, record });
            return true;
        };
        if let Some(reign) = &mut member.reign {
            reign.proposed(record.len() as u64);
        }
        self.counters.proposals += 1;
        let proposed = member.ask(|peer, outputs| peer.propose(zxid, record, now.monotonic, outputs));
        if !proposed {
            // The peer has told so; it is seen to after this event. Until then nothing more is proposed.
            member.role = Role::Looking;
            member.parts_as = Some(Role::Leader);
        }
        proposed
    }

    /// Whether a txn for this request fits into the log, and still every session can end after it.
    pub(super) fn has_room_for(&self, op: Op, body: &Bytes) -> bool {
        if !self.room.is_short {
            return true;
        }
        match op {
            Op::CloseSession => self.room.bytes >= CLOSE_BYTES_MAX,
            // What does not grow has a txn that says hardly more than the request did.
            _ => self.room.bytes >= 2 * body.len() as u64 + 2 * CLOSE_BYTES_MAX + self.room_for_endings(),
        }
    }

    /// Whether all sessions could end now. Else none is ended from this side.
    pub(super) fn can_end_sessions(&self) -> bool {
        !self.room.is_short || self.room.bytes >= self.room_for_endings()
    }

    fn room_for_endings(&self) -> u64 {
        CLOSE_BYTES_MAX * (self.sessions.len() + self.orphaned.len()) as u64
    }

    pub(super) fn wait_in_line(&mut self, origin: Option<Origin>, work: Work) {
        self.outstanding.push_back(Outstanding { after: self.proposed, origin, work });
    }

    /// The txn as the log holds it.
    fn record(&mut self, txn: &Txn) -> Bytes {
        let len = txn.encoded_len();
        if self.records.capacity() < len {
            self.records.reserve(len.max(RECORD_BUFFER_BYTES));
        }
        txn.encode(&mut self.records);
        self.records.split().freeze()
    }
}
