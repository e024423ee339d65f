//! What only a leader does: it knows all sessions, and judges what the clients of learners ask for.

use bytes::{Buf, Bytes};
use jute::txn::{CreateSessionTxn, TxnBody};
use jute::{ErrorCode, Op};

use super::local::Standing;
use super::propose::Asked;
use super::{Action, Delivery, Node, Now, millis};
use crate::pipeline::pending::PendingChanges;
use crate::pipeline::prep::Write;
use crate::pipeline::reaper::Reaper;
use crate::session::{Owner, SessionId};
use crate::tree::Tree;
use crate::zab::{LinkId, Told};

/// What a learner's client asks for.
struct Requested {
    link: LinkId,
    session: SessionId,
    cxid: i32,
    op: i32,
    body: Bytes,
    identities: std::sync::Arc<[jute::data::Id]>,
}

impl Node {
    /// A leader begins with the sessions that `tree` has. All of them have their whole timeout ahead of them.
    pub(super) fn take_office(&mut self, tree: &Tree, now: Now) {
        self.sessions.clear();
        for (session, timeout_ms) in tree.sessions() {
            self.sessions.adopt(session, timeout_ms, millis(now.monotonic));
        }
        self.orphaned = tree.ephemeral_owners().filter(|owner| !self.sessions.is_alive(*owner)).collect();
        self.orphaned.iter().for_each(|owner| self.sessions.avoid(*owner));
        self.reaper = Reaper::new(self.config.reaper, now.monotonic);
        self.pending = PendingChanges::after(&self.pending);
    }

    pub(super) fn on_learner_asks(&mut self, told: Told, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        match told {
            Told::Requested { link, session, cxid, op, body, identities } => {
                self.on_requested(Requested { link, session, cxid, op, body, identities }, now, tree, out);
            }
            Told::Revalidate { link, session, timeout_ms } => {
                self.on_revalidate(link, session, timeout_ms, now, out);
            }
            Told::Touched { sessions, .. } => {
                for (session, _) in sessions {
                    // One that has ended since is heard from in vain.
                    let _ = self.sessions.hear_from(session, millis(now.monotonic));
                }
            }
            // Its sessions wait for their clients to turn up elsewhere.
            _ => {}
        }
    }

    /// The learner answers its client when it applies the txn: so there must be one, for a refusal too.
    fn on_requested(&mut self, asked: Requested, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let Requested { link, session, cxid, op, body, identities } = asked;
        self.counters.requests += 1;
        let owner = Owner::Learner(link);
        let op = Op::from_code(op);
        if op == Some(Op::Sync) {
            return self.member().ask(|peer, outputs| peer.answer_sync(link, outputs));
        }
        if op == Some(Op::CreateSession) {
            return self.on_session_requested(owner, session, cxid, &body, now, tree, out);
        }
        let standing = match op {
            Some(Op::CloseSession) => Standing::GLOBAL,
            _ => self.hear_request(session, owner, now),
        };
        let write = match op.and_then(|op| Write::decode(op, &body)) {
            Some(Ok(_)) if !op.is_some_and(|op| self.has_room_for(op, &body)) => {
                Err(ErrorCode::QuotaExceeded)
            }
            Some(Ok(write)) => Ok(write),
            Some(Err(_)) => Err(ErrorCode::MarshallingError),
            None => Err(ErrorCode::Unimplemented),
        };
        let op = op.unwrap_or(Op::Error);
        let asked = Asked { session, standing, xid: cxid, op, identities: &identities, origin: None };
        self.propose(asked, now, tree, out, |prep| prep.prepare(write?));
        if op == Op::CloseSession {
            self.sessions.begin_close(session);
        }
    }

    #[allow(clippy::too_many_arguments)] // They are one packet's.
    fn on_session_requested(
        &mut self,
        owner: Owner,
        session: SessionId,
        cxid: i32,
        mut body: &[u8],
        now: Now,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) {
        // The learner has granted it already.
        let timeout_ms = if body.len() >= 4 { body.get_i32() } else { 0 };
        self.sessions.open_at(owner, session, timeout_ms, millis(now.monotonic));
        self.counters.sessions_opened += 1;
        let asked = Asked { xid: cxid, ..Asked::by_service(session, Op::CreateSession) };
        self.propose(asked, now, tree, out, |_| Ok(TxnBody::CreateSession(CreateSessionTxn { timeout_ms })));
    }

    #[doc(alias = "revalidateSession")]
    fn on_revalidate(
        &mut self,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let owner = Owner::Learner(link);
        let moved = self.sessions.move_to(owner, session, timeout_ms, millis(now.monotonic));
        if let Ok(Some(connection)) = moved {
            out.push(Action::Deliver(Delivery::Close { connection }));
        }
        let is_valid = moved.is_ok();
        self.member().ask(|peer, outputs| peer.answer_revalidation(link, session, is_valid, outputs));
    }
}
