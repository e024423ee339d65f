//! Sessions that only this server knows: they cost no txn, and own nothing. With its first ephemeral znode one becomes
//! like all others, where that is allowed. All end with the server's role. ZooKeeper's `LocalSessionTracker`,
//! `UpgradeableSessionTracker`, `QuorumZooKeeperServer.checkUpgradeSession`.

use bytes::Bytes;
use jute::txn::{CreateSessionTxn, TxnBody};
use jute::{ErrorCode, Op};

use super::member::Role;
use super::propose::Asked;
use super::{Action, Delivery, Event, Node, Now, Request, millis};
use crate::pipeline::apply::{Origin, Work};
use crate::pipeline::prep::Write;
use crate::session::{ConnectionId, Owner, Renewed, SessionId};
use crate::tree::Tree;
use crate::zab::Zxid;

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// It lives, and asks where it should.
    pub(super) alive: Result<(), ErrorCode>,
    /// It may not own znodes, and is told so.
    pub(super) no_ephemerals: Option<ErrorCode>,
}

impl Standing {
    pub(super) const GLOBAL: Self = Self { alive: Ok(()), no_ephemerals: None };
}

impl Node {
    /// Whether there may be sessions that only this server knows.
    fn has_locals(&self) -> bool {
        self.config.local_sessions || self.role() == Some(Role::ReadOnly)
    }

    /// Does what a client's event means for a local session; returns it if it means more than that.
    pub(super) fn see_to_locals(
        &mut self,
        event: Event,
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) -> Option<Event> {
        if !self.has_locals() {
            return Some(event);
        }
        let now_ms = millis(now.monotonic);
        let locals = &mut self.member().locals;
        match event {
            Event::OpenSession { connection, timeout_ms } => {
                self.open_locally(connection, timeout_ms, now_ms, out);
                return None;
            }
            Event::RenewSession { connection, session, ref password, timeout_ms }
                if locals.is_alive(session) =>
            {
                self.renew_locally(connection, session, password, timeout_ms, now_ms, out);
                return None;
            }
            Event::Touched(ref sessions) => {
                for session in sessions {
                    // One that is not local is heard from elsewhere.
                    let _ = locals.hear_from(*session, now_ms);
                }
            }
            Event::Disconnected { connection } => locals.disconnect(connection),
            Event::Read(ref request) => drop(locals.hear_from(request.session, now_ms)),
            Event::Write(request) if locals.hear_from(request.session, now_ms).is_ok() => {
                return self.on_local_write(request, now, tree, out).map(Event::Write);
            }
            _ => {}
        }
        Some(event)
    }

    fn open_locally(
        &mut self,
        connection: ConnectionId,
        timeout_ms: i32,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) {
        let session = self.sessions.next_id();
        self.counters.sessions_opened += 1;
        let member = self.member();
        let timeout_ms = member.locals.open_as(session, connection, timeout_ms, now_ms);
        self.let_in_locally(connection, session, timeout_ms, out);
    }

    fn renew_locally(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        password: &Bytes,
        timeout_ms: i32,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) {
        let renewed = self.member().locals.renew(connection, session, password, timeout_ms, now_ms);
        let Ok(Renewed { timeout_ms, displaced }) = renewed else {
            self.counters.sessions_refused += 1;
            out.push(Action::Deliver(Delivery::Expired { connection }));
            return;
        };
        self.counters.sessions_renewed += 1;
        out.extend(displaced.map(|connection| Action::Deliver(Delivery::Close { connection })));
        self.let_in_locally(connection, session, timeout_ms, out);
    }

    fn let_in_locally(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Vec<Action>,
    ) {
        let member = self.member();
        if member.role == Role::Learner {
            member.held.hold_locally(session, connection, timeout_ms);
        }
        let is_read_only = member.role == Role::ReadOnly;
        out.push(Action::Deliver(Delivery::connected(connection, session, timeout_ms, is_read_only)));
    }

    /// Ends a local session without a txn, or makes it a global one; returns the request if it is to be served like
    /// others.
    fn on_local_write(
        &mut self,
        request: Request,
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) -> Option<Request> {
        let Request { session, connection: Some(connection), xid, op, .. } = request else {
            return Some(request);
        };
        let op = Op::from_code(op);
        let origin = Origin { connection, xid };
        if op == Some(Op::CloseSession) {
            self.take_turn_as_served(origin, Work::EndLocal(session));
            return None;
        }
        let makes_ephemerals = || {
            let write = op.and_then(|op| Write::decode(op, &request.body));
            matches!(write, Some(Ok(write)) if write.makes_ephemerals())
        };
        if self.role() == Some(Role::ReadOnly) || !makes_ephemerals() {
            return Some(request);
        }
        if self.config.local_upgrades {
            self.upgrade(session, connection, now, tree, out);
        } else if self.role() == Some(Role::Learner) {
            self.take_turn_as_served(origin, Work::Refuse(ErrorCode::EphemeralOnLocalSession));
            return None;
        }
        Some(request)
    }

    /// Behind what its connection asked for before, in whatever role.
    fn take_turn_as_served(&mut self, origin: Origin, work: Work) {
        match self.role() {
            Some(Role::Learner) => self.take_turn(origin.connection, Some(origin), work),
            Some(Role::ReadOnly) => self.member().due.push_back((Some(origin), work)),
            _ => self.wait_in_line(Some(origin), work),
        }
    }

    /// From here on the session is everyone's: its createSession goes ahead of what its client asks for.
    #[doc(alias = "checkUpgradeSession")]
    fn upgrade(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) {
        let Some(timeout_ms) = self.member().locals.take(session) else {
            return;
        };
        if self.role() == Some(Role::Learner) {
            let member = self.member();
            member.held.hold(session, connection, timeout_ms);
            member.upgrading.push(session);
            return self.ask_for_session(session, timeout_ms);
        }
        self.sessions.take_over(session, connection, timeout_ms, millis(now.monotonic));
        let standing = Standing::GLOBAL;
        let asked = Asked { session, standing, xid: 0, op: Op::CreateSession, identities: &[], origin: None };
        self.propose(asked, now, tree, out, |_| Ok(TxnBody::CreateSession(CreateSessionTxn { timeout_ms })));
    }

    /// What a session may do that asks by `owner`. Nobody but its own server knows a local one.
    pub(super) fn hear_request(&mut self, session: SessionId, owner: Owner, now: Now) -> Standing {
        let alive = self.sessions.hear_request(session, owner, millis(now.monotonic));
        if alive.is_ok() || !self.config.local_sessions || self.sessions.knows(session) {
            return Standing { alive, no_ephemerals: None };
        }
        let is_of_this_server = session.server() == self.config.server_id;
        match owner {
            Owner::Here if self.member.as_ref().is_some_and(|member| member.locals.is_alive(session)) => {
                Standing { alive: Ok(()), no_ephemerals: Some(ErrorCode::EphemeralOnLocalSession) }
            }
            Owner::Learner(_) if !is_of_this_server => {
                Standing { alive: Ok(()), no_ephemerals: Some(ErrorCode::SessionExpired) }
            }
            _ => Standing { alive, no_ephemerals: None },
        }
    }

    /// Local sessions whose time is over end at once.
    pub(super) fn expire_locals(&mut self, now: Now, out: &mut Vec<Action>) {
        for session in self.member().locals.expire(millis(now.monotonic)) {
            self.counters.sessions_expired += 1;
            self.expired.push(session);
            let connection = self.end_local(session);
            out.extend(connection.map(|connection| Action::Deliver(Delivery::Close { connection })));
        }
    }

    /// Its client has closed it.
    pub(super) fn finish_local(&mut self, session: SessionId, origin: Origin, out: &mut Vec<Action>) {
        self.end_local(session);
        self.counters.sessions_closed += 1;
        let zxid: Zxid = self.applied;
        out.push(Action::Deliver(origin.bid_farewell(zxid)));
    }

    fn end_local(&mut self, session: SessionId) -> Option<ConnectionId> {
        let member = self.member();
        member.held.let_go(session);
        member.locals.close(session)
    }
}
