//! What a follower or an observer does for its clients: it asks the leader, and answers once it has applied the
//! outcome.

use bytes::Bytes;
use jute::multi::MultiOp;
use jute::proto::SyncRequest;
use jute::txn::{Txn, TxnBody};
use jute::{ErrorCode, Jute, Op};

use super::{Action, Delivery, Event, Node, Now, Request};
use crate::pipeline::apply::{self, Origin, Work};
use crate::pipeline::forward::Waiting;
use crate::pipeline::prep::Write;
use crate::session::{ConnectionId, SessionId, is_password_of};
use crate::tree::{Applied, Tree};
use crate::watch::Watches;
use crate::zab::{Told, Zxid};

/// A client who wants to carry on a session, while the leader is asked.
#[derive(Debug)]
pub(super) struct Renewal {
    session: SessionId,
    connection: ConnectionId,
    timeout_ms: i32,
}

impl Node {
    pub(super) fn step_learner(&mut self, event: Event, now: Now, out: &mut Vec<Action>) {
        let _ = now;
        match event {
            Event::Write(request) => self.forward_write(request),
            Event::Read(request) => {
                self.counters.requests += 1;
                if let Some(connection) = request.connection {
                    self.member().held.hear_from(request.session);
                    self.take_turn(connection, None, Work::Read(request));
                }
            }
            Event::Refused { connection, xid, error } => {
                self.take_turn(connection, Some(Origin { connection, xid }), Work::Refuse(error));
            }
            Event::OpenSession { connection, timeout_ms } => self.forward_session(connection, timeout_ms),
            Event::RenewSession { connection, session, password, timeout_ms } => {
                self.ask_to_renew(connection, session, &password, timeout_ms, out);
            }
            Event::Disconnected { connection } => self.on_learner_disconnected(connection),
            Event::Touched(sessions) => {
                let held = &mut self.member().held;
                sessions.into_iter().for_each(|session| held.hear_from(session));
            }
            Event::Peer(_)
            | Event::HandOver
            | Event::Persisted(_)
            | Event::SnapshotWritten { .. }
            | Event::LogRoom(_)
            | Event::Tick => unreachable!("it has nothing to do with clients"),
        }
    }

    /// What is no write is answered here; the others by the txn that the leader makes of them.
    fn forward_write(&mut self, request: Request) {
        let Request { session, connection: Some(connection), xid, op, body, identities } = request else {
            return;
        };
        self.counters.requests += 1;
        self.member().held.hear_from(session);
        let origin = Origin { connection, xid };
        let waiting = match Op::from_code(op) {
            None => Err(Work::Unknown),
            Some(Op::Sync) => match SyncRequest::from_bytes(&body) {
                Ok(SyncRequest { path }) => Ok(Waiting::Sync { origin, path, is_answered: false }),
                Err(_) => Err(Work::Refuse(ErrorCode::MarshallingError)),
            },
            Some(op) => match Write::decode(op, &body) {
                Some(Ok(write)) => Ok(Waiting::Write { cxid: xid, op, parts: parts_of(&write) }),
                Some(Err(_)) => Err(Work::Refuse(ErrorCode::MarshallingError)),
                None => Err(Work::Unknown),
            },
        };
        match waiting {
            Ok(waiting) => {
                let member = self.member();
                member.ask(|peer, outputs| peer.forward(session, xid, op, body, identities, outputs));
                member.forwarded.wait(connection, waiting);
            }
            Err(work) => self.take_turn(connection, Some(origin), work),
        }
    }

    /// At the end of the connection's line; at once if there is none.
    pub(super) fn take_turn(&mut self, connection: ConnectionId, origin: Option<Origin>, work: Work) {
        let member = self.member();
        if member.forwarded.is_waiting(connection) {
            member.forwarded.wait(connection, Waiting::Turn(origin, work));
        } else {
            member.due.push_back((origin, work));
        }
    }

    fn forward_session(&mut self, connection: ConnectionId, timeout_ms: i32) {
        let session = self.sessions.next_id();
        let timeout_ms = self.sessions.grant(timeout_ms);
        self.counters.sessions_opened += 1;
        self.member().held.hold(session, connection, timeout_ms);
        self.ask_for_session(session, timeout_ms);
    }

    pub(super) fn ask_for_session(&mut self, session: SessionId, timeout_ms: i32) {
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        let op = Op::CreateSession.code();
        self.member().ask(|peer, outputs| peer.forward(session, 0, op, body, [].into(), outputs));
    }

    /// The password is checked here; whether the session lives, the leader knows.
    fn ask_to_renew(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        password: &Bytes,
        timeout_ms: i32,
        out: &mut Vec<Action>,
    ) {
        if !is_password_of(session, password) {
            self.counters.sessions_refused += 1;
            out.push(Action::Deliver(Delivery::Expired { connection }));
            return;
        }
        let timeout_ms = self.sessions.grant(timeout_ms);
        let member = self.member();
        member.renewals.push(Renewal { session, connection, timeout_ms });
        member.ask(|peer, outputs| peer.revalidate(session, timeout_ms, outputs));
    }

    /// Nobody waits for its answers; its watches go once those that are due have been given.
    fn on_learner_disconnected(&mut self, connection: ConnectionId) {
        let member = self.member();
        member.held.disconnect(connection);
        member.forwarded.drop_connection(connection);
        member.renewals.retain(|renewal| renewal.connection != connection);
        member.due.push_back((None, Work::Depart(connection)));
    }

    pub(super) fn on_leader_says(&mut self, told: Told, out: &mut Vec<Action>) {
        match told {
            Told::Revalidated { session, is_valid } => self.on_revalidated(session, is_valid, out),
            // All that was committed before is told, and is applied first.
            Told::Synced => self.member().due.push_back((None, Work::Synced)),
            Told::Pinged => {
                let member = self.member();
                let touched = member.held.take_touched();
                member.ask(|peer, outputs| peer.touch(touched, outputs));
            }
            _ => {}
        }
    }

    fn on_revalidated(&mut self, session: SessionId, is_valid: bool, out: &mut Vec<Action>) {
        let member = self.member();
        let Some(asked) = member.renewals.iter().position(|renewal| renewal.session == session) else {
            return; // Its client has gone.
        };
        let Renewal { connection, timeout_ms, .. } = member.renewals.remove(asked);
        if !is_valid {
            self.counters.sessions_refused += 1;
            out.push(Action::Deliver(Delivery::Expired { connection }));
            return;
        }
        let displaced = member.held.hold(session, connection, timeout_ms);
        out.extend(displaced.map(|connection| Action::Deliver(Delivery::Close { connection })));
        self.counters.sessions_renewed += 1;
        out.push(Action::Deliver(Delivery::connected(connection, session, timeout_ms, false)));
    }

    /// A txn is applied: if one of this server's clients asked for it, it is answered, and what waited behind it.
    pub(super) fn answer_learned(
        &mut self,
        zxid: Zxid,
        txn: &Txn,
        applied: Applied,
        tree: &Tree,
        watches: &mut Watches,
        out: &mut Vec<Action>,
    ) {
        let session = SessionId(txn.header.client_id);
        let member = self.member();
        let Some(connection) = member.held.holder(session) else {
            return;
        };
        let origin = Origin { connection, xid: txn.header.cxid };
        match &txn.body {
            TxnBody::CreateSession(_) if member.upgrading.contains(&session) => {
                return member.upgrading.retain(|upgrading| *upgrading != session);
            }
            TxnBody::CreateSession(created) => {
                self.welcome(session, created.timeout_ms, Some(origin), out);
                return;
            }
            TxnBody::CloseSession(_) => {
                member.held.let_go(session);
                let has_asked = member.forwarded.take_write(connection, origin.xid).is_some();
                let farewell = if has_asked {
                    self.counters.sessions_closed += 1;
                    origin.bid_farewell(zxid)
                } else {
                    Delivery::Close { connection }
                };
                out.push(Action::Deliver(farewell));
            }
            _ => {
                let Some((op, parts)) = member.forwarded.take_write(connection, origin.xid) else {
                    return;
                };
                out.push(Action::Deliver(apply::answer(op, &parts, zxid, applied, origin)));
            }
        }
        self.serve_line(connection, tree, watches, out);
    }

    /// Serves what has its turn in a connection's line.
    pub(super) fn serve_line(
        &mut self,
        connection: ConnectionId,
        tree: &Tree,
        watches: &mut Watches,
        out: &mut Vec<Action>,
    ) {
        while let Some((origin, work)) = self.member().forwarded.next_turn(connection) {
            self.answer(origin, work, tree, watches, out);
        }
    }
}

/// Of a multi: what its parts ask for.
fn parts_of(write: &Write) -> Vec<Op> {
    match write {
        Write::Multi(Ok(multi)) => multi.ops.iter().map(MultiOp::op).collect(),
        _ => Vec::new(),
    }
}
