//! From a committed proposal to its answer: stop 8 of [the life of a write](crate).

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use jute::txn::{Txn, TxnBody};
use jute::{Op, Reader as FrameReader, Ustring};
use tracing::error;

use super::member::Role;
use super::{Action, Delivery, Node, ReplyBody, Request};
use crate::metrics::Traffic;
use crate::pipeline::apply::{self, Origin, Outstanding, Work};
use crate::pipeline::read::{self, Reader};
use crate::session::SessionId;
use crate::tree::{Applied, Change, Tree};
use crate::watch::Watches;
use crate::zab::Zxid;

/// The path that a txn looks up first, if it is known without reading on.
fn path_of(body: &TxnBody) -> Option<&str> {
    match body {
        TxnBody::Create(txn) => Some(&txn.path),
        TxnBody::CreateTtl(txn) => Some(&txn.path),
        TxnBody::CreateContainer(txn) => Some(&txn.path),
        TxnBody::SetData(txn) => Some(&txn.path),
        TxnBody::SetAcl(txn) => Some(&txn.path),
        TxnBody::Delete(txn) => Some(&txn.path),
        _ => None,
    }
}

/// As Java counts them: a path's length and its new data's.
fn note_written(body: &TxnBody, written: &mut Traffic) {
    let mut note = |path: &str, data: &Option<Bytes>| {
        written.record(path, path.len() + data.as_ref().map_or(0, Bytes::len));
    };
    match body {
        TxnBody::Create(txn) => note(&txn.path, &txn.data),
        TxnBody::CreateTtl(txn) => note(&txn.path, &txn.data),
        TxnBody::CreateContainer(txn) => note(&txn.path, &txn.data),
        TxnBody::SetData(txn) => note(&txn.path, &txn.data),
        TxnBody::Delete(txn) => note(&txn.path, &None),
        TxnBody::Multi(multi) => {
            let is_refused = multi.txns.iter().any(|part| part.txn_type == Op::Error.code());
            let parts = multi.txns.iter().filter(|_| !is_refused).filter_map(|part| part.data.as_ref());
            // Each begins with its path; whole, it is about as long as path and data.
            for data in parts {
                if let Ok(path) = FrameReader::new(data).text() {
                    written.record(&path, data.len());
                }
            }
        }
        _ => {}
    }
}

/// What a round of applying needs room for; kept from one round to the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    changes: Vec<Change>,
    fired: Vec<Delivery>,
    /// Where answers to reads are written; they share its memory.
    answers: BytesMut,
}

/// Answers to reads share buffers of this size. What is larger makes room for itself.
const ANSWERS_BYTES: usize = 64 * 1024;
/// With less room left than this, the next buffer begins.
const ANSWERS_BYTES_MIN: usize = 4 * 1024;

impl Node {
    /// Applies all that is committed: changes `tree`, fires `watches`, answers.
    pub fn apply(&mut self, tree: &mut Tree, watches: &mut Watches, out: &mut Vec<Action>) {
        self.fetch_for_committed(tree);
        while let Some(Outstanding { after, origin, work }) = self.next_committed() {
            match work {
                Work::Txn { op, parts, txn } => {
                    let applied = self.apply_txn(after, &txn, tree, watches, out);
                    if self.answers_as() == Some(Role::Learner) {
                        self.answer_learned(after, &txn, applied, tree, watches, out);
                        continue;
                    }
                    match &txn.body {
                        TxnBody::CreateSession(created) => {
                            self.welcome(SessionId(txn.header.client_id), created.timeout_ms, origin, out);
                        }
                        TxnBody::CloseSession(_) => {
                            self.finish_session(SessionId(txn.header.client_id), origin, out);
                        }
                        _ => {
                            let reply =
                                origin.map(|origin| apply::answer(op, &parts, after, applied, origin));
                            out.extend(reply.map(Action::Deliver));
                        }
                    }
                }
                other => self.answer(origin, other, tree, watches, out),
            }
        }
        if self.member.is_some() {
            self.apply_member(tree, watches, out);
        }
        self.pending.settle(self.applied, self.applied == self.proposed);
        if self.serves()
            && let Some(part) = self.cuts.next_part(tree.dirty_count())
        {
            let cut = tree.take_part(part);
            self.counters.cuts += u64::from(!cut.partial);
            out.push(Action::Snapshot(cut));
        }
    }

    /// What a member has to do besides: what waited for no txn, and what its peer wants.
    fn apply_member(&mut self, tree: &mut Tree, watches: &mut Watches, out: &mut Vec<Action>) {
        while let Some((origin, work)) = self.member().due.pop_front() {
            self.answer(origin, work, tree, watches, out);
        }
        self.part_with_clients(out);
        self.begin_role(tree);
        let now = self.member().now;
        self.carry_on(now, tree, out);
    }

    /// Does what is no txn.
    pub(super) fn answer(
        &mut self,
        origin: Option<Origin>,
        work: Work,
        tree: &Tree,
        watches: &mut Watches,
        out: &mut Vec<Action>,
    ) {
        let reply = match work {
            Work::Txn { .. } => unreachable!("txns are applied"),
            Work::Read(request) => return self.answer_read(&request, tree, watches, out),
            Work::Depart(connection) => return watches.drop_connection(connection),
            Work::Synced => {
                if let Some(connection) = self.member().forwarded.on_synced() {
                    self.serve_line(connection, tree, watches, out);
                }
                return;
            }
            Work::EndLocal(session) => {
                if let Some(origin) = origin {
                    self.finish_local(session, origin, out);
                }
                return;
            }
            Work::Sync { path, .. } => origin.map(|origin| origin.reply(self.applied, ReplyBody::Path(path))),
            Work::Refuse(error) => origin.map(|origin| origin.refuse(self.applied, error)),
            Work::Unknown => origin.map(Origin::turn_away),
        };
        out.extend(reply.map(Action::Deliver));
    }

    /// Something is committed and not applied: [`Node::apply`] has work.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.outstanding.front().is_some_and(|next| next.after <= self.committed)
            || self.member.as_ref().is_some_and(|member| !member.due.is_empty())
            || self.must_apply()
            || (self.cuts.is_ready() && self.serves())
    }

    /// In a large tree each lookup waits for memory. Here all that are to come wait together.
    fn fetch_for_committed(&self, tree: &Tree) {
        let committed = self.outstanding.iter().take_while(|next| next.after <= self.committed);
        tree.fetch(committed.filter_map(|next| match &next.work {
            Work::Txn { txn, .. } => path_of(&txn.body),
            _ => None,
        }));
    }

    fn next_committed(&mut self) -> Option<Outstanding> {
        let committed = self.committed;
        let peer = self.member.as_ref().map(|member| &member.peer);
        self.outstanding.pop_front_if(|next| {
            let has_turn = next.after <= committed;
            match (&next.work, peer) {
                // Whatever was proposed after it and is committed says that this server led, too.
                (Work::Sync { confirmation: Some(confirmation), .. }, Some(peer)) => {
                    has_turn && (next.after < committed || peer.has_confirmed(*confirmation))
                }
                _ => has_turn,
            }
        })
    }

    fn answer_read(&mut self, request: &Request, tree: &Tree, watches: &mut Watches, out: &mut Vec<Action>) {
        let Request { session, connection, xid, op, ref body, ref identities } = *request;
        let Some(connection) = connection else {
            return;
        };
        let answers = &mut self.workspace.answers;
        if answers.capacity() < ANSWERS_BYTES_MIN {
            answers.reserve(ANSWERS_BYTES);
        }
        let reader = Reader { connection, session, identities, schemes: &self.config.schemes };
        read::answer(tree, &RefCell::new(watches), reader, xid, op, body, answers);
        let frames = answers.split().freeze();
        out.push(Action::Deliver(Delivery::Answer { connection, zxid: tree.last_zxid(), frames }));
    }

    fn apply_txn(
        &mut self,
        zxid: Zxid,
        txn: &Txn,
        tree: &mut Tree,
        watches: &mut Watches,
        out: &mut Vec<Action>,
    ) -> Applied {
        if self.config.audit && matches!(txn.body, TxnBody::CloseSession(_)) {
            let session = SessionId(txn.header.client_id);
            let paths = tree.ephemerals_of(session).map(|path| (session, Ustring::from(&*path)));
            self.gone_with_session.extend(paths);
        }
        let Workspace { changes, fired, .. } = &mut self.workspace;
        let applied = if watches.is_empty() { tree.replay(txn) } else { tree.apply(txn, changes) };
        // Events go in front of the reply: whoever sees the change in an answer has heard of it.
        for change in changes.drain(..) {
            watches.fire(&change, fired);
        }
        out.extend(fired.drain(..).map(Action::Deliver));
        self.applied = zxid;
        self.cuts.note_applied();
        note_written(&txn.body, &mut self.written);
        self.compare_digests(txn, tree);
        applied
    }

    fn compare_digests(&mut self, txn: &Txn, tree: &Tree) {
        let is_fuzzy = || self.member.as_ref().is_some_and(|member| member.is_tree_fuzzy);
        if txn.digest.is_some_and(|digest| digest.tree_digest.cast_unsigned() != tree.digest()) && !is_fuzzy()
        {
            self.note_mismatch(txn, tree);
        }
    }

    /// Two servers, or two versions of one, disagree about what a txn does: one of them has a bug. All txns that follow
    /// disagree too, so not each is told.
    #[cold]
    fn note_mismatch(&mut self, txn: &Txn, tree: &Tree) {
        self.counters.digest_mismatches += 1;
        let count = self.counters.digest_mismatches;
        if !count.is_power_of_two() {
            return;
        }
        let (zxid, txn_type, ours) = (Zxid(txn.header.zxid), txn.header.txn_type, tree.digest());
        error!(count, %zxid, txn_type, ours, "after this txn, the tree is not what its author has");
    }

    /// The good end of a new client's handshake.
    pub(super) fn welcome(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        origin: Option<Origin>,
        out: &mut Vec<Action>,
    ) {
        if let Some(Origin { connection, .. }) = origin {
            out.push(Action::Deliver(Delivery::connected(connection, session, timeout_ms, false)));
        }
    }

    /// Tells the client that asked for it, and closes the connection that held the session.
    fn finish_session(&mut self, session: SessionId, origin: Option<Origin>, out: &mut Vec<Action>) {
        let holder = self.sessions.close(session);
        if let Some(origin) = origin {
            self.counters.sessions_closed += 1;
            out.push(Action::Deliver(origin.bid_farewell(self.applied)));
        }
        let asked_here = origin.map(|origin| origin.connection);
        let silent = holder.filter(|holder| asked_here != Some(*holder));
        out.extend(silent.map(|connection| Action::Deliver(Delivery::Close { connection })));
    }
}
