//! Stops 1 and 9 of [the life of a write](crate): one client's connection. What arrives becomes answers (reads),
//! events (writes), or has to wait its turn; what the node delivers becomes bytes. ZooKeeper's `NIOServerCnxn`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::data::Id;
use jute::frame::FrameCodec;
use jute::proto::{AuthPacket, RequestHeader, SetSaslResponse};
use jute::{ErrorCode, Jute, Op, Reader as FrameReader};
use tokio::net::tcp::OwnedWriteHalf;
use tracing::{debug, warn};

use super::audit::Audited;
use super::four_letter::Word;
use super::handshake::Handshake;
use super::inbound::Block;
use super::reply;
use super::shared::Shared;
use super::stall::{Stall, Verdict};
use super::stats::ConnectionStats;
use crate::auth::Authentication;
use crate::metrics::{Metrics, Sizes, Traffic};
use crate::node::{Event, Request};
use crate::pipeline::gate::{Gate, Lane};
use crate::pipeline::read::{self, Reader};
use crate::pipeline::throttle::{LargeRequests, NoRoom};
use crate::session::{ConnectionId, SessionId};
use crate::tree::Tree;
use crate::zab::Zxid;

/// With more than this to say, a connection is not read from: who asks on must listen first.
pub(super) const OUTPUT_PAUSE_BYTES: usize = 256 * 1024;

/// With more notifications than this to say, a connection is closed: nobody listens, and they come unasked.
pub(super) const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection may prove so many identities. All of them go along with each of its writes.
const IDENTITIES_MAX: usize = 100;

/// One client.
#[derive(Debug)]
#[doc(alias = "NIOServerCnxn")]
#[doc(alias = "NettyServerCnxn")]
#[doc(alias = "ServerCnxn")]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) output: OwnedWriteHalf,
    pub(super) stats: Arc<ConnectionStats>,
    pub(super) stage: Stage,
    /// Its address, and what it has proven since.
    pub(super) identities: Arc<[Id]>,
    gate: Gate<Asked>,
    /// Its wait in the request throttle.
    pub(super) stall: Stall,
    /// The beginning of what was not taken in yet: part of a frame, or frames that have to wait.
    pub(super) inbox: BytesMut,
    /// Whole frames are among it.
    pub(super) is_held_back: bool,
    /// What the socket did not take yet.
    pub(super) out: BytesMut,
    /// How much of it are notifications, at most.
    pub(super) notices: usize,
    /// It is to close, and its end has been fixed whether or not the client reads what is left.
    pub(super) is_leaving: bool,
    /// The round of touches in which this one has told the node already; see the shard.
    pub(super) touched_round: u64,
    /// What its task waits for.
    pub(super) wish: Wish,
    /// Wakes the task that waits for the socket.
    pub(super) waker: Option<Waker>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first four bytes decide: a word, or a handshake.
    Fresh,
    /// The node decides on the session.
    Opening { accepts_read_only: Option<bool> },
    /// Requests.
    Open { session: SessionId },
    /// It closes once all is said.
    Closing,
}

/// What a connection could do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wish {
    /// Take bytes off the socket.
    pub(super) to_read: bool,
    /// Write what waits.
    pub(super) to_write: bool,
    /// Serve what was asked already.
    pub(super) to_go_on: bool,
}

/// A request that the node has.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) xid: i32,
    pub(super) op: i32,
    /// Of a read: it tells which.
    pub(super) body: Bytes,
    pub(super) arrived: Duration,
    /// Bytes it counts for among large requests.
    large: u32,
    /// Of a write, where an audit is kept.
    pub(super) audited: Option<Box<Audited>>,
}

/// What a connection works with while it takes in frames. The tree is there if there are reads among them.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tree: Option<&'a Tree>,
    /// For the node, sent once the batch is done.
    pub(super) events: &'a mut Vec<Event>,
    /// When the batch arrived.
    pub(super) now: Duration,
    /// Replies written, by kind.
    pub(super) tally: Tally,
    /// How many requests the request throttle lets in.
    pub(super) room: usize,
    /// Sizes of reads, by namespace.
    pub(super) traffic: &'a mut Traffic,
    pub(super) metrics: &'a Metrics,
}

/// Counts of one batch.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) reads: u64,
    pub(super) sent: u64,
    /// Of all replies.
    pub(super) replies: Sizes,
    pub(super) auth_failures: u64,
    /// The last operation answered: its code and xid, and the zxid of the reply.
    pub(super) last: Option<(i32, i32, Zxid)>,
}

/// The client broke the protocol: its connection closes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Breach {
    #[error("a request without a header")]
    Header,
    #[error("a handshake that is none")]
    Handshake(#[source] jute::DecodeError),
    #[error("credentials that are none")]
    Credentials(#[source] jute::DecodeError),
    #[error("it has seen {seen}, but this server only {applied}")]
    Ahead { seen: Zxid, applied: Zxid },
    #[error("the ensemble has no leader")]
    NobodyLeads,
    #[error("this server is read-only, which is not what it asked for")]
    ReadOnly,
    #[error("it looks for another ensemble")]
    WrongEnsemble,
    #[error("too many clients come at once")]
    Throttled,
    #[error("too many large requests are under way")]
    NoRoom,
    #[error("it waited longer than its session may be silent")]
    Stale,
}

/// What stands in front of a frame.
pub(super) const FRAME_LENGTH_BYTES: usize = 4;
/// A reply without a record.
const REPLY_HEADER_BYTES: usize = 16;

impl Asked {
    /// Counts a read answered with `reply`: its path's length and all behind the reply's header, as Java does.
    pub(super) fn note_traffic(&self, reply: &[u8], traffic: &mut Traffic) {
        if let Some(path) = path_read(self.op, &self.body, reply) {
            traffic.record(path, path.len() + reply.len() - REPLY_HEADER_BYTES);
        }
    }
}

impl Tally {
    /// A read was answered with `reply`, a frame.
    pub(super) fn read(&mut self, asked: &Asked, zxid: Zxid, reply: &[u8]) {
        self.replies.record(reply.len() - FRAME_LENGTH_BYTES);
        self.reads += 1;
        self.last = Some((asked.op, asked.xid, zxid));
    }
}

/// Which path was looked at, and found: namespaces are told apart by it. `reply` is the whole frame.
fn path_read<'a>(op: i32, body: &'a [u8], reply: &[u8]) -> Option<&'a str> {
    const SUCCESS: &[u8] = &[0; 4];
    match Op::from_code(op) {
        Some(Op::GetData | Op::Exists | Op::GetChildren | Op::GetChildren2) => {}
        _ => return None,
    }
    if reply.get(16..20) != Some(SUCCESS) {
        return None;
    }
    let (len, rest) = body.split_first_chunk()?;
    let path = rest.get(..usize::try_from(i32::from_be_bytes(*len)).ok()?)?;
    std::str::from_utf8(path).ok()
}

impl Breach {
    /// The client did what the protocol forbids; others are sent away without their fault.
    pub(super) fn is_an_error(&self) -> bool {
        matches!(self, Self::Header | Self::Handshake(_) | Self::Credentials(_))
    }
}

impl Connection {
    pub(super) fn new(id: ConnectionId, output: OwnedWriteHalf, stats: Arc<ConnectionStats>) -> Self {
        let address = crate::auth::identity_of(stats.peer.ip());
        Self {
            id,
            output,
            stats,
            stage: Stage::Fresh,
            identities: Arc::from([address]),
            gate: Gate::default(),
            inbox: BytesMut::new(),
            is_held_back: false,
            stall: Stall::default(),
            out: BytesMut::new(),
            notices: 0,
            is_leaving: false,
            touched_round: 0,
            wish: Wish::default(),
            waker: None,
        }
    }

    /// Its session, once it has one.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.stage {
            Stage::Open { session } => Some(session),
            _ => None,
        }
    }

    /// It may take in frames.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.stage, Stage::Fresh | Stage::Open { .. }) && self.out.len() < OUTPUT_PAUSE_BYTES
    }

    /// Its socket may be read.
    pub(super) fn may_read(&self, shared: &Shared) -> bool {
        self.is_listening()
            && !self.is_held_back
            && !shared.throttle.must_pause(shared.queue.in_flight(), self.gate.outstanding())
    }

    /// Nothing but its turn is missing to serve what was asked.
    pub(super) fn may_go_on(&self) -> bool {
        self.is_listening() && self.is_held_back && !self.stall.is_waiting()
    }

    /// What it could do now.
    pub(super) fn wish_now(&self, shared: &Shared) -> Wish {
        Wish { to_read: self.may_read(shared), to_write: !self.out.is_empty(), to_go_on: self.may_go_on() }
    }

    /// A read is answered here, and not by the node.
    pub(super) fn may_read_tree(&self) -> bool {
        self.gate.is_open()
    }

    /// What comes next is not too large for what is under way, as far as its beginning tells.
    pub(super) fn inbox_fits(&self, large: &LargeRequests) -> bool {
        let len = self.inbox.first_chunk().map_or(0, |len| i32::from_be_bytes(*len));
        large.check(usize::try_from(len).unwrap_or(0)).is_ok()
    }

    /// The four-letter word it begins with, if that is what it does.
    pub(super) fn word(&self) -> Option<Word> {
        Word::from_bytes(*self.inbox.first_chunk()?)
    }

    /// Keeps what could not be taken in, in front of what follows it.
    pub(super) fn put_back(&mut self, block: Block) {
        self.is_held_back = !block.frames.is_empty();
        // Copied: what is left would hold on to the whole buffer it was read into.
        let mut rest = BytesMut::with_capacity(block.frames.len() + self.inbox.len());
        rest.extend_from_slice(&block.frames);
        rest.extend_from_slice(&self.inbox);
        self.inbox = rest;
    }

    /// Takes in the frames of `block`, in order, as far as they may be now; the others stay in it.
    pub(super) fn take_in(&mut self, block: &mut Block, desk: &mut Desk<'_>) -> Result<(), Breach> {
        while self.is_listening() {
            if desk.room == 0 && !block.frames.is_empty() && self.session().is_some() {
                self.stall.begin(desk.now, desk.metrics);
                return Ok(());
            }
            let Some(frame) = block.next_frame() else {
                self.stall.end();
                break;
            };
            desk.tally.received += 1;
            match self.stage {
                Stage::Fresh => self.on_handshake(&frame, desk)?,
                Stage::Open { session } => self.on_request(session, &frame, desk)?,
                Stage::Opening { .. } | Stage::Closing => {}
            }
        }
        Ok(())
    }

    /// A client that has seen more than this server must not be served by it: it would go back in time.
    fn on_handshake(&mut self, frame: &Bytes, desk: &mut Desk<'_>) -> Result<(), Breach> {
        let is_read_only = desk.shared.is_read_only.load(Relaxed);
        if !desk.shared.lets_in.load(Relaxed) && !is_read_only {
            desk.metrics.cnxn_closed_without_zk_server_running.add(1);
            return Err(Breach::NobodyLeads);
        }
        let handshake = Handshake::decode(frame).map_err(Breach::Handshake)?;
        if is_read_only && handshake.accepts_read_only != Some(true) {
            return Err(Breach::ReadOnly);
        }
        if !desk.shared.admits(&handshake, desk.now, desk.metrics) {
            return Err(Breach::Throttled);
        }
        desk.metrics.connection_request_count.add(1);
        desk.metrics.connection_revalidate_count.add(u64::from(handshake.renews()));
        let seen = handshake.last_zxid_seen();
        let applied = desk.tree.map_or_else(|| desk.shared.tree.read().last_zxid(), Tree::last_zxid);
        if seen > applied {
            return Err(Breach::Ahead { seen, applied });
        }
        self.stage = Stage::Opening { accepts_read_only: handshake.accepts_read_only };
        desk.events.push(handshake.into_event(self.id));
        Ok(())
    }

    fn on_request(&mut self, session: SessionId, frame: &Bytes, desk: &mut Desk<'_>) -> Result<(), Breach> {
        let mut input = FrameReader::new(frame);
        let RequestHeader { xid, op } = RequestHeader::decode(&mut input).map_err(|_| Breach::Header)?;
        let body = frame.slice(frame.len() - input.remaining()..);
        match Op::from_code(op) {
            Some(Op::Auth) => return self.on_auth(xid, &body, desk),
            Some(Op::Sasl) => return self.on_sasl(xid, desk),
            _ => {}
        }
        if !self.is_let_in(desk.shared) {
            self.refuse(xid, ErrorCode::SessionClosedRequireSaslAuth, desk);
            self.stage = Stage::Closing;
            return Ok(());
        }
        let verdict = self.judge_wait(desk);
        let large = desk.shared.large.begin(frame.len()).map_err(|NoRoom| {
            desk.metrics.large_requests_rejected.add(1);
            Breach::NoRoom
        })?;
        let large = u32::try_from(large).expect("frames are bounded");
        let asked = Asked { xid, op, body, arrived: desk.now, large, audited: None };
        match (verdict, Lane::of(op), desk.tree) {
            (Verdict::Drop, ..) => return Err(Breach::Stale),
            (Verdict::Refuse, ..) if ![Op::Ping.code(), Op::CloseSession.code()].contains(&op) => {
                self.throttle(asked, desk);
            }
            (_, Lane::Read, Some(tree)) if self.gate.is_open() => self.answer(session, &asked, tree, desk),
            (_, lane, _) => self.pass_on(session, lane, asked, desk),
        }
        Ok(())
    }

    /// Where clients must have authenticated, it has.
    fn is_let_in(&self, shared: &Shared) -> bool {
        let enforced = shared.config.auth.enforced_schemes.as_ref();
        enforced
            .is_none_or(|schemes| self.identities.iter().any(|id| schemes.iter().any(|s| *s == *id.scheme)))
    }

    fn refuse(&mut self, xid: i32, error: ErrorCode, desk: &mut Desk<'_>) {
        warn!(peer = %self.stats.peer, ?error, "closed a client that has not authenticated as it must");
        desk.tally.sent += 1;
        desk.tally.replies.record(REPLY_HEADER_BYTES);
        reply::write_header(&mut self.out, xid, Zxid::ZERO, Some(error));
    }

    fn judge_wait(&self, desk: &Desk<'_>) -> Verdict {
        let timeout_ms = self.stats.timeout_ms.load(Relaxed).max(0).unsigned_abs();
        let timeout = Duration::from_millis(timeout_ms.into());
        self.stall.judge(desk.now, timeout, &desk.shared.config.limits, desk.metrics)
    }

    fn answer(&mut self, session: SessionId, asked: &Asked, tree: &Tree, desk: &mut Desk<'_>) {
        let (connection, schemes) = (self.id, &desk.shared.schemes);
        let reader = Reader { connection, session, identities: &self.identities, schemes };
        let before = self.out.len();
        let Asked { xid, op, ref body, .. } = *asked;
        desk.shared.large.end(asked.large as usize);
        read::answer(tree, &desk.shared.watches, reader, xid, op, body, &mut self.out);
        let reply = &self.out[before..];
        desk.tally.read(asked, tree.last_zxid(), reply);
        asked.note_traffic(reply, desk.traffic);
    }

    /// It has waited too long: its turn to be refused comes behind what was asked before.
    fn throttle(&mut self, asked: Asked, desk: &mut Desk<'_>) {
        if !self.gate.is_open() {
            let (connection, xid, error) = (self.id, asked.xid, ErrorCode::ThrottledOp);
            return self.enter(asked, Event::Refused { connection, xid, error }, desk);
        }
        desk.shared.large.end(asked.large as usize);
        let zxid = desk.tree.map_or_else(|| desk.shared.tree.read().last_zxid(), Tree::last_zxid);
        reply::write_header(&mut self.out, asked.xid, zxid, Some(ErrorCode::ThrottledOp));
        desk.tally.replies.record(REPLY_HEADER_BYTES);
        desk.tally.sent += 1;
    }

    /// Has the node answer.
    fn pass_on(&mut self, session: SessionId, lane: Lane, mut asked: Asked, desk: &mut Desk<'_>) {
        let Asked { xid, op, .. } = asked;
        let (body, identities) = (asked.body.clone(), Arc::clone(&self.identities));
        let request = Request { session, connection: Some(self.id), xid, op, body, identities };
        let event = match lane {
            Lane::Read => Event::Read(request),
            Lane::Write => {
                asked.audited = self.audited(session, &asked, desk.shared);
                asked.body = Bytes::new(); // Only the node needs it.
                Event::Write(request)
            }
        };
        self.enter(asked, event, desk);
    }

    fn enter(&mut self, asked: Asked, event: Event, desk: &mut Desk<'_>) {
        desk.room = desk.room.saturating_sub(1);
        desk.shared.queue.began(1);
        desk.events.push(event);
        self.gate.enter(asked);
    }

    fn audited(&self, session: SessionId, asked: &Asked, shared: &Shared) -> Option<Box<Audited>> {
        let op = if shared.config.audit { Op::from_code(asked.op)? } else { return None };
        Audited::is_due(op).then(|| {
            Box::new(Audited {
                session,
                address: self.stats.peer.ip(),
                identities: Arc::clone(&self.identities),
                op,
                body: asked.body.clone(),
            })
        })
    }

    /// Credentials are judged here and answered at once, ahead of requests that wait.
    fn on_auth(&mut self, xid: i32, body: &Bytes, desk: &mut Desk<'_>) -> Result<(), Breach> {
        let AuthPacket { scheme, auth, .. } = AuthPacket::from_bytes(body).map_err(Breach::Credentials)?;
        desk.tally.sent += 1;
        desk.tally.replies.record(REPLY_HEADER_BYTES);
        let is_named = scheme == "ensemble" && auth.as_ref().is_some_and(|name| !name.is_empty());
        match desk.shared.schemes.authenticate(&scheme, auth.as_deref()) {
            Authentication::Accepted(identities) if self.identities.len() < IDENTITIES_MAX => {
                match desk.shared.schemes.ensemble_names {
                    Some(_) if is_named => desk.metrics.ensemble_auth_success.add(1),
                    _ if scheme == "ensemble" => desk.metrics.ensemble_auth_skip.add(1),
                    _ => {}
                }
                self.add_identities(identities);
                reply::write_header(&mut self.out, xid, Zxid::ZERO, None);
            }
            Authentication::Accepted(_) | Authentication::Failed => {
                warn!(peer = %self.stats.peer, %scheme, "authentication failed");
                desk.tally.auth_failures += 1;
                reply::write_header(&mut self.out, xid, Zxid::ZERO, Some(ErrorCode::AuthFailed));
                self.stage = Stage::Closing;
            }
            Authentication::WrongEnsemble => {
                desk.metrics.ensemble_auth_fail.add(1);
                return Err(Breach::WrongEnsemble);
            }
        }
        Ok(())
    }

    /// SASL is not set up here. A Java server without it answers a null token, and so do we.
    fn on_sasl(&mut self, xid: i32, desk: &mut Desk<'_>) -> Result<(), Breach> {
        desk.tally.sent += 1;
        reply::write_record(&mut self.out, xid, &SetSaslResponse { token: None });
        Ok(())
    }

    fn add_identities(&mut self, identities: Vec<Id>) {
        let mut all = self.identities.to_vec();
        for identity in identities {
            if !all.contains(&identity) {
                all.push(identity);
            }
        }
        self.identities = all.into();
    }

    /// The node has let it in. What it sent meanwhile waits in the inbox.
    pub(super) fn on_connected(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        is_read_only: bool,
    ) {
        let Stage::Opening { accepts_read_only } = self.stage else {
            return;
        };
        if is_read_only && accepts_read_only != Some(true) {
            self.stage = Stage::Closing; // There was a leader when it asked.
            return;
        }
        let tail = accepts_read_only.map(|_| is_read_only);
        reply::write_connected(&mut self.out, session, timeout_ms, password, tail);
        self.stats.session.store(session.0, Relaxed);
        self.stats.timeout_ms.store(timeout_ms, Relaxed);
        self.stage = Stage::Open { session };
        debug!(peer = %self.stats.peer, %session, timeout_ms, "session connected");
    }

    /// Its session is no more, or the password was wrong.
    pub(super) fn on_expired(&mut self) {
        if let Stage::Opening { accepts_read_only } = self.stage {
            reply::write_expired(&mut self.out, accepts_read_only.is_some());
            debug!(peer = %self.stats.peer, "asked for a session that is not there");
        }
        self.stage = Stage::Closing;
    }

    /// It closes: what was under way is nobody's now, and is handed out. Requests that were not let in yet are
    /// dropped and counted.
    pub(super) fn give_up(&mut self, shared: &Shared, metrics: &Metrics) -> Gate<Asked> {
        shared.large.end(self.gate.iter().map(|asked| asked.large as usize).sum());
        let codec = FrameCodec::new(shared.config.limits.request_bytes_max as usize);
        let mut held_back = Block::take(&mut self.inbox, codec);
        let mut dropped = 0;
        while held_back.next_frame().is_some() {
            dropped += 1;
        }
        metrics.stale_requests.add(dropped);
        metrics.stale_requests_dropped.add(dropped);
        std::mem::take(&mut self.gate)
    }

    /// The node's answer has come: to which request.
    pub(super) fn on_answered(&mut self, shared: &Shared) -> Option<Asked> {
        let oldest = self.gate.leave()?;
        shared.large.end(oldest.large as usize);
        Some(oldest)
    }

    /// Has its task look again at what it waits for.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// It has sent a packet that is no request, or been sent one that answers none.
    pub(super) fn book_packets(&self, received: u64, sent: u64) {
        self.stats.received.add(received);
        self.stats.sent.add(sent);
    }

    /// Notes what was done for it.
    pub(super) fn book(&self, tally: Tally, took: Duration, wall_ms: i64) {
        let stats = &self.stats;
        stats.received.add(tally.received);
        stats.sent.add(tally.reads + tally.sent);
        stats.outstanding.store(self.gate.outstanding() as u64, Relaxed);
        if let Some((op, xid, zxid)) = tally.last {
            stats.last_zxid.store(zxid.0, Relaxed);
            stats.last_op.store(op, Relaxed);
            stats.last_xid.store(xid, Relaxed);
            stats.last_response_ms.store(wall_ms, Relaxed);
            stats.last_latency_ms.store(i64::try_from(took.as_millis()).unwrap_or(i64::MAX), Relaxed);
            stats.latency.record(took, tally.reads.max(1));
        }
    }
}
