//! A session: what is asked, what is owed an answer, which watches are set, and how it all moves to another
//! connection. A state machine without I/O: frames and the time go in, bytes to send come out.
//! `ClientCnxn`'s `SendThread`.
//!
//! The promises that users build on are kept here:
//! - answers come in the order of the requests, and an event ahead of any answer that shows its change;
//! - a request that was sent is never sent again by itself; one that was not waits for the next connection;
//! - the last zxid seen follows answers only, not events: several events share a zxid, and a watch restored
//!   relative to it after the first of them would miss the others;
//! - a session ends once, in one of the terminal [`SessionState`]s.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jute::proto::{
    AuthPacket, ConnectRequest, ConnectResponse, ConnectTail, RemoveWatchesRequest, ReplyHeader,
    WatcherEvent, xid,
};
use jute::{DecodeError, ErrorCode, Jute, Op, Reader, Ustring, WatcherType};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::error::Error;
use crate::hosts::Host;
use crate::request::{Empty, Reply, ReplySender, Request, WatchEffect, encode_frame, set_xid};
use crate::secret::Secret;
use crate::state::{SessionId, SessionState, Status};
use crate::watch::{Registration, WatchId, WatchKind, Watches};

/// How many bytes of paths one `setWatches` brings along.
const SET_WATCHES_PATH_BYTES_MAX: usize = 128 * 1024;
/// A quiet connection is pinged at least this often, however long the timeout.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(crate) struct SessionOptions {
    /// The timeout asked for; the server has the last word.
    pub(crate) timeout: Duration,
    /// A server that is cut off from its quorum will do, too.
    pub(crate) read_only: bool,
    /// Only a server's word ends the session, however long there is none.
    pub(crate) outlast_outages: bool,
    /// Requests don't wait for a server when none can be reached.
    pub(crate) fail_unreachable: bool,
    /// A session to carry on, and its password.
    pub(crate) resume: Option<(SessionId, Secret)>,
    pub(crate) credentials: Vec<(Ustring, Secret)>,
}

/// What a server sent is not what the protocol says: the connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("undecodable")]
    Decode(#[from] DecodeError),
    #[error("answer to xid {got} where {expected:?} is next")]
    Order { got: i32, expected: Option<i32> },
    #[error("a frame where none was asked for")]
    Unexpected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No connection.
    Offline,
    /// The connect request is out.
    Handshake,
    /// The server has accepted the session.
    Online,
    /// The session has ended.
    Over,
}

/// A request that was sent and is owed an answer.
#[derive(Debug)]
struct Sent {
    xid: i32,
    op: Op,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// A caller waits.
    Caller { reply: ReplySender, effect: Option<WatchEffect>, _permit: Option<OwnedSemaphorePermit> },
    /// The session's own doing: watches brought along, watches nobody waits for any more.
    Housekeeping,
}

/// See the [module](self).
#[derive(Debug)]
#[doc(alias = "ClientCnxn")]
pub(crate) struct Session {
    options: SessionOptions,
    id: SessionId,
    /// What the server granted; before, what was asked for.
    timeout: Duration,
    last_zxid: i64,
    /// Until then the session exists on one read-only server alone, and no other is asked to carry it on.
    seen_read_write: bool,
    phase: Phase,
    next_xid: i32,
    unsent: VecDeque<Request>,
    sent: VecDeque<Sent>,
    /// Answers to auth packets are in order, but bypass the others.
    auth_replies: VecDeque<Option<ReplySender>>,
    watches: Watches,
    /// Those who wait for the end, once someone wants it.
    closing: Option<Vec<ReplySender>>,
    /// A server has said that the session is closed.
    close_confirmed: bool,
    /// That is being asked to serve the session, or serves it.
    server: Option<Host>,
    out: BytesMut,
    sent_at: Instant,
    heard_at: Instant,
    status: watch::Sender<Status>,
}

impl Session {
    pub(crate) fn new(options: SessionOptions, now: Instant, status: watch::Sender<Status>) -> Self {
        Self {
            seen_read_write: options.resume.is_some(),
            id: options.resume.as_ref().map_or(SessionId::default(), |(id, _)| *id),
            timeout: options.timeout,
            options,
            last_zxid: 0,
            phase: Phase::Offline,
            next_xid: 1,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            auth_replies: VecDeque::new(),
            watches: Watches::default(),
            closing: None,
            close_confirmed: false,
            server: None,
            out: BytesMut::new(),
            sent_at: now,
            heard_at: now,
            status,
        }
    }

    /// What is to be sent; whoever sends it takes it off the front.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Connected, but to a server that only reads.
    pub(crate) fn is_read_only(&self) -> bool {
        self.status.borrow().state == SessionState::ConnectedReadOnly
    }

    pub(crate) fn is_online(&self) -> bool {
        self.phase == Phase::Online
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// That serves the session, or served it last.
    pub(crate) fn server(&self) -> Option<Host> {
        self.server.clone()
    }

    // ---- inputs ----

    /// A connection stands: ask its server to open or carry on the session.
    pub(crate) fn on_connected(&mut self, server: &Host, now: Instant) {
        assert_eq!(self.phase, Phase::Offline, "one connection at a time");
        self.phase = Phase::Handshake;
        self.server = Some(server.clone());
        let (session_id, password) = if self.seen_read_write {
            (self.id.0, self.status.borrow().password.0.clone())
        } else {
            (0, Bytes::from_static(&[0; 16]))
        };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.options.timeout.as_millis()).unwrap_or(i32::MAX),
            session_id,
            password: Some(password),
        };
        self.out.clear();
        jute::frame::write_frame(&mut self.out, |out| {
            request.encode(out);
            ConnectTail { read_only: self.options.read_only }.encode(out);
        });
        self.sent_at = now;
    }

    /// A frame has come.
    ///
    /// # Errors
    /// When the connection must be given up.
    pub(crate) fn on_frame(&mut self, frame: &Bytes, now: Instant) -> Result<(), Violation> {
        self.heard_at = now;
        match self.phase {
            Phase::Handshake => self.on_connect_response(frame, now),
            Phase::Online => self.on_reply(frame),
            Phase::Offline | Phase::Over => Err(Violation::Unexpected),
        }
    }

    /// A caller wants something.
    pub(crate) fn on_request(&mut self, request: Request, now: Instant) {
        match self.phase {
            Phase::Over => {} // Dropped; the caller learns why from the state.
            _ if self.closing.is_some() => drop(request.reply.send(Err(Error::Closed))),
            Phase::Online => self.send(request, now),
            Phase::Offline | Phase::Handshake => self.unsent.push_back(request),
        }
    }

    /// A caller wants this and all further connections to have an identity.
    pub(crate) fn on_authenticate(
        &mut self,
        scheme: Ustring,
        auth: Secret,
        reply: ReplySender,
        now: Instant,
    ) {
        match self.phase {
            Phase::Over => {}
            Phase::Online => {
                self.send_auth(&scheme, &auth, Some(reply), now);
                let identity = (scheme, auth);
                if !self.options.credentials.contains(&identity) {
                    self.options.credentials.push(identity);
                }
            }
            // It goes out with the others once the handshake is through.
            Phase::Offline | Phase::Handshake => {
                self.options.credentials.push((scheme, auth));
                self.auth_replies.resize_with(self.options.credentials.len() - 1, || None);
                self.auth_replies.push_back(Some(reply));
            }
        }
    }

    /// The handle of a watch was dropped.
    pub(crate) fn on_forget(&mut self, id: WatchId, now: Instant) {
        if let Some((kind, path)) = self.watches.forget(id) {
            self.unwatch(kind, path, now);
        }
    }

    /// Every server has been tried in vain.
    pub(crate) fn on_unreachable(&mut self) {
        if self.options.fail_unreachable {
            self.fail_unsent(&Error::Unreachable);
        }
    }

    /// The connection is gone.
    pub(crate) fn on_disconnected(&mut self) {
        self.out.clear();
        if self.phase == Phase::Over {
            return;
        }
        let was_online = std::mem::replace(&mut self.phase, Phase::Offline) == Phase::Online;
        if was_online {
            self.status.send_modify(|status| status.state = SessionState::Disconnected);
            self.fail_sent();
        }
        if self.closing.is_some() {
            self.end(SessionState::Closed);
        }
    }

    /// Does what has become due. False if the connection must be given up: nothing was heard for too long.
    pub(crate) fn on_tick(&mut self, now: Instant) -> bool {
        if self.expires_at().is_some_and(|at| at <= now) {
            self.end(SessionState::Expired);
            return false;
        }
        if self.phase != Phase::Online {
            return true;
        }
        if now.saturating_duration_since(self.heard_at) >= self.read_timeout() {
            return false;
        }
        if now.saturating_duration_since(self.sent_at) >= self.ping_interval() {
            let mut frame = encode_frame(Op::Ping, &Empty);
            set_xid(&mut frame, xid::PING);
            self.out.extend_from_slice(&frame);
            self.sent_at = now;
        }
        true
    }

    /// When [`Session::on_tick`] has something to do next, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.phase != Phase::Online {
            return self.expires_at();
        }
        let online = (self.heard_at + self.read_timeout()).min(self.sent_at + self.ping_interval());
        Some(self.expires_at().map_or(online, |at| at.min(online)))
    }

    // ---- the handshake ----

    fn on_connect_response(&mut self, frame: &Bytes, now: Instant) -> Result<(), Violation> {
        let mut input = Reader::new(frame);
        let response = ConnectResponse::decode(&mut input)?;
        let read_only = input.remaining() > 0 && ConnectTail::decode(&mut input)?.read_only;
        let Some(timeout_ms) = u64::try_from(response.timeout_ms).ok().filter(|&ms| ms > 0) else {
            self.end(SessionState::Expired);
            return Ok(());
        };
        self.id = SessionId(response.session_id);
        self.timeout = Duration::from_millis(timeout_ms);
        self.seen_read_write |= !read_only;
        self.phase = Phase::Online;
        let server = self.server.clone();
        self.status.send_modify(|status| {
            status.state = match read_only {
                true => SessionState::ConnectedReadOnly,
                false => SessionState::Connected,
            };
            status.id = self.id;
            // A copy: the session outlives the read buffer.
            status.password = Bytes::copy_from_slice(&response.password.unwrap_or_default()).into();
            status.timeout = self.timeout;
            status.server = server;
        });
        self.resume(now);
        Ok(())
    }

    /// Brings identities and watches along, in this order and ahead of what callers have asked for.
    fn resume(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.auth_replies);
        let mut waiting = waiting.into_iter();
        for (scheme, auth) in self.options.credentials.clone() {
            self.send_auth(&scheme, &auth, waiting.next().flatten(), now);
        }
        for batch in self.watches.restore(self.last_zxid, SET_WATCHES_PATH_BYTES_MAX) {
            self.send_own(batch.op(), batch.into_frame(), now);
        }
        self.watches.push_gaps();
        for request in std::mem::take(&mut self.unsent) {
            self.send(request, now);
        }
        if self.closing.is_some() {
            self.send_close(now);
        }
    }

    // ---- sending ----

    fn send(&mut self, mut request: Request, now: Instant) {
        if request.reply.is_closed() {
            return; // The caller has gone before anything was sent: nothing ever will be.
        }
        let xid = self.take_xid();
        set_xid(&mut request.frame, xid);
        self.out.extend_from_slice(&request.frame);
        self.sent_at = now;
        let Request { reply, effect, permit, .. } = request;
        let purpose = Purpose::Caller { reply, effect, _permit: permit };
        self.sent.push_back(Sent { xid, op: request.op, purpose });
    }

    fn send_own(&mut self, op: Op, mut frame: BytesMut, now: Instant) {
        let xid = match op {
            Op::SetWatches | Op::SetWatches2 => xid::SET_WATCHES,
            _ => self.take_xid(),
        };
        set_xid(&mut frame, xid);
        self.out.extend_from_slice(&frame);
        self.sent_at = now;
        self.sent.push_back(Sent { xid, op, purpose: Purpose::Housekeeping });
    }

    fn send_auth(&mut self, scheme: &Ustring, auth: &Secret, reply: Option<ReplySender>, now: Instant) {
        let packet = AuthPacket { auth_type: 0, scheme: scheme.clone(), auth: Some(auth.0.clone()) };
        let mut frame = encode_frame(Op::Auth, &packet);
        set_xid(&mut frame, xid::AUTH);
        self.out.extend_from_slice(&frame);
        self.sent_at = now;
        self.auth_replies.push_back(reply);
    }

    /// Lets the server forget a persistent watch. A one-shot one goes by itself, with its first event or with
    /// the connection.
    fn unwatch(&mut self, kind: WatchKind, path: Ustring, now: Instant) {
        let specific = match kind {
            WatchKind::Persistent => WatcherType::Persistent,
            WatchKind::Recursive => WatcherType::PersistentRecursive,
            WatchKind::Data | WatchKind::Exists | WatchKind::Children => return,
        };
        let being_set = self.sent.iter().filter_map(|sent| match &sent.purpose {
            Purpose::Caller { effect: Some(WatchEffect::Set(watch)), .. } => Some(watch),
            _ => None,
        });
        let (mut again, mut others) = (false, self.watches.has_any(&path));
        for watch in being_set.filter(|watch| watch.path == path) {
            again |= watch.kind == kind;
            others = true;
        }
        if self.phase != Phase::Online || again {
            return;
        }
        // Servers before 3.9 don't know the specific types. Where nothing else is watched, `Any` does.
        let type_ = if others { specific } else { WatcherType::Any };
        let body = RemoveWatchesRequest { path, watcher_type: type_.code() };
        self.send_own(Op::RemoveWatches, encode_frame(Op::RemoveWatches, &body), now);
    }

    /// 1, 2, .. and after the largest 1 again: the others are taken.
    fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        xid
    }

    // ---- answers and events ----

    fn on_reply(&mut self, frame: &Bytes) -> Result<(), Violation> {
        let mut input = Reader::new(frame);
        let header = ReplyHeader::decode(&mut input)?;
        match header.xid {
            xid::NOTIFICATION => {
                let event = WatcherEvent::decode(&mut input)?;
                self.watches.deliver(&event, header.zxid);
                Ok(())
            }
            xid::PING => Ok(()),
            xid::AUTH => self.on_auth_reply(header.err),
            _ => self.on_answer(header, input.rest()),
        }
    }

    fn on_auth_reply(&mut self, err: i32) -> Result<(), Violation> {
        let reply = self.auth_replies.pop_front().ok_or(Violation::Unexpected)?;
        if err != 0 {
            if let Some(reply) = reply {
                let _ = reply.send(Err(Error::AuthFailed));
            }
            self.end(SessionState::AuthFailed);
        } else if let Some(reply) = reply {
            let _ = reply.send(Ok(Reply::default()));
        }
        Ok(())
    }

    fn on_answer(&mut self, header: ReplyHeader, body: Bytes) -> Result<(), Violation> {
        let Some(sent) = self.sent.pop_front_if(|sent| sent.xid == header.xid) else {
            let expected = self.sent.front().map(|sent| sent.xid);
            return Err(Violation::Order { got: header.xid, expected });
        };
        self.last_zxid = self.last_zxid.max(header.zxid);
        match sent.purpose {
            Purpose::Caller { reply, effect, _permit } => {
                self.answer(sent.op, header.err, body, reply, effect);
            }
            Purpose::Housekeeping if sent.op == Op::CloseSession => {
                self.close_confirmed = true;
                self.end(SessionState::Closed);
            }
            Purpose::Housekeeping => {}
        }
        Ok(())
    }

    fn answer(&mut self, op: Op, err: i32, body: Bytes, reply: ReplySender, effect: Option<WatchEffect>) {
        let code = (err != 0).then(|| ErrorCode::from_code(err).unwrap_or(ErrorCode::SystemError));
        match effect {
            Some(WatchEffect::Set(mut watch)) => {
                // The server watches for an absent znode to come into being, too.
                let absent = op == Op::Exists && code == Some(ErrorCode::NoNode);
                if absent {
                    watch.kind = WatchKind::Exists;
                }
                if absent || code.is_none() {
                    self.set_watch(watch);
                }
            }
            Some(WatchEffect::Remove(path, kind)) if code.is_none() => self.watches.remove(&path, kind),
            Some(WatchEffect::Remove(..)) | None => {}
        }
        // A caller that has gone meanwhile does not want to know.
        let _ = reply.send(match code {
            None => Ok(Reply { body }),
            // The caller puts her own path in.
            Some(code) => Err(Error::Refused { code, path: Box::default() }),
        });
    }

    fn set_watch(&mut self, watch: Registration) {
        let (kind, path) = (watch.kind, watch.path.clone());
        if !self.watches.add(watch) && !self.watches.has(kind, &path) {
            let now = self.heard_at;
            self.unwatch(kind, path, now);
        }
    }

    // ---- times ----

    /// Servers grant the whole timeout between two signs of life. Two thirds leave one for finding another.
    fn read_timeout(&self) -> Duration {
        self.timeout * 2 / 3
    }

    fn ping_interval(&self) -> Duration {
        (self.timeout / 3).min(PING_INTERVAL_MAX)
    }

    /// When a session is over for us though no server has said so: who holds a lock must not believe in it for
    /// ever, unless she wants to. Servers take a little longer than the timeout, hence the third.
    fn expires_at(&self) -> Option<Instant> {
        let alive = self.phase != Phase::Over && self.id.0 != 0;
        (alive && !self.options.outlast_outages).then(|| self.heard_at + self.timeout * 4 / 3)
    }
}

mod end;
#[cfg(test)]
mod tests;
