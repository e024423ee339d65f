//! The machine: events and the time go in, actions come out. It owns no socket, file, clock or random source.
//!
//! Two things drive it: `runtime` in production, the simulator in tests. Both do, for each batch of events:
//!
//! 1. [`Node::step`] once per event, with the tree under its read lock. Writes become txns; their log records
//!    come out as [`Action::Append`].
//! 2. Append them to the log and sync it; then step [`Event::Persisted`].
//! 3. [`Node::apply`] with the tree under its write lock. What it delivers must reach the connections' queues
//!    before the lock is let go: then no reader can see a change whose event is still under way to it.

mod commit;
mod config;
mod cuts;
mod event;
mod held_back;
mod leader;
mod learner;
mod local;
pub mod lockstep;
mod member;
mod over_quota;
mod propose;
mod read_only;
mod status;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
pub use config::{CutPolicy, NodeConfig, ReaperConfig};
pub use event::{Action, Delivery, Event, LogRoom, Now, ReplyBody, Request};
use jute::Ustring;
pub use over_quota::OverQuota;
pub use status::{Counters, Reign, Status};

use commit::Workspace;
use cuts::Cuts;
use member::Member;

use crate::metrics::Traffic;
use crate::pipeline::apply::{Origin, Outstanding, Work};
use crate::pipeline::pending::PendingChanges;
use crate::pipeline::reaper::Reaper;
use crate::session::{ConnectionId, SessionId, Sessions};
use crate::tree::Tree;
use crate::zab::{Peer, Zxid};

/// The machine. `applied <= committed <= proposed`
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    /// `None`: it is alone.
    member: Option<Box<Member>>,
    sessions: Sessions,
    pending: PendingChanges,
    reaper: Reaper,
    /// Requests whose txns are not applied, in order.
    outstanding: VecDeque<Outstanding>,
    /// Where log records are written; they share its memory.
    records: BytesMut,
    /// Sessions that own znodes but are in no table: a crash of another server's left them so.
    orphaned: Vec<SessionId>,
    workspace: Workspace,
    proposed: Zxid,
    committed: Zxid,
    applied: Zxid,
    room: LogRoom,
    cuts: Cuts,
    counters: Counters,
    /// Applied writes, by namespace.
    written: Traffic,
    over_quota: OverQuota,
    /// Sessions that expired, until the rim has told of them.
    expired: Vec<SessionId>,
    /// Where an audit is kept: ephemerals that went with their session.
    gone_with_session: Vec<(SessionId, Ustring)>,
}

impl Node {
    /// A node that carries on from `tree`, as it was recovered: all of its sessions have their whole timeout
    /// ahead of them.
    #[must_use]
    pub fn new(config: NodeConfig, tree: &Tree, now: Now) -> Self {
        let first = SessionId::first(config.server_id, now.wall_ms.unsigned_abs());
        let mut sessions = Sessions::new(first, config.timeouts, millis(config.tick));
        for (session, timeout_ms) in tree.sessions() {
            sessions.adopt(session, timeout_ms, millis(now.monotonic));
        }
        let orphaned: Vec<_> = tree.ephemeral_owners().filter(|owner| !sessions.is_alive(*owner)).collect();
        orphaned.iter().for_each(|owner| sessions.avoid(*owner));
        let reaper = Reaper::new(config.reaper, now.monotonic);
        let zxid = tree.last_zxid();
        let cuts = Cuts::new(config.cuts);
        Self {
            config,
            member: None,
            sessions,
            pending: PendingChanges::default(),
            reaper,
            outstanding: VecDeque::new(),
            records: BytesMut::new(),
            orphaned,
            workspace: Workspace::default(),
            proposed: zxid,
            committed: zxid,
            applied: zxid,
            room: LogRoom::AMPLE,
            cuts,
            counters: Counters::default(),
            written: Traffic::default(),
            over_quota: OverQuota::default(),
            expired: Vec::new(),
            gone_with_session: Vec::new(),
        }
    }

    /// The same as a member of an ensemble: it serves once there is a leader, be it this one or another.
    #[must_use]
    pub fn with_peer(mut self, peer: Peer, now: Now) -> Self {
        self.sessions.clear();
        self.orphaned.clear();
        let locals = Sessions::new(SessionId::SERVICE, self.config.timeouts, millis(self.config.tick));
        self.member = Some(Box::new(Member::new(peer, locals, now)));
        self
    }

    /// A node that carries on from another tree, with nothing under way. No zxid is used twice if `tree` is not
    /// behind this one.
    #[must_use]
    pub fn with_tree(&self, tree: &Tree, now: Now) -> Self {
        assert!(self.outstanding.is_empty(), "txns are under way to the old tree");
        assert!(self.applied <= tree.last_zxid(), "{} after {}", tree.last_zxid(), self.applied);
        Self {
            room: self.room,
            cuts: self.cuts.anew(),
            counters: self.counters,
            pending: PendingChanges::after(&self.pending),
            ..Self::new(self.config.clone(), tree, now)
        }
    }

    /// Takes in one event; `out` gets what is to be done about it. Txns are judged against `tree` and all that
    /// is under way to it.
    pub fn step(&mut self, event: Event, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        self.cuts.see(now.monotonic);
        if self.member.is_some() {
            self.step_member(event, now, tree, out);
        } else {
            self.step_alone(event, now, tree, out);
        }
    }

    /// What a lone server and a leader have in common.
    fn step_alone(&mut self, event: Event, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        match event {
            Event::Write(request) => self.on_write(request, now, tree, out),
            Event::Read(request) => self.on_read(request),
            Event::Refused { connection, xid, error } => {
                self.wait_in_line(Some(Origin { connection, xid }), Work::Refuse(error));
            }
            Event::OpenSession { connection, timeout_ms } => {
                self.on_open_session(connection, timeout_ms, now, tree, out);
            }
            Event::RenewSession { connection, session, password, timeout_ms } => {
                self.on_renew_session(connection, session, &password, timeout_ms, now, out);
            }
            Event::Disconnected { connection } => {
                self.sessions.disconnect(connection);
                self.wait_in_line(None, Work::Depart(connection)); // Its reads may still set watches.
            }
            Event::Touched(sessions) => {
                for session in sessions {
                    // One that has ended since is heard from in vain.
                    let _ = self.sessions.hear_from(session, millis(now.monotonic));
                }
            }
            Event::Persisted(zxid) => self.on_persisted(zxid),
            Event::SnapshotWritten { cuts } => self.cuts.note_written(cuts),
            Event::LogRoom(room) => self.room = room,
            Event::Peer(_) | Event::HandOver => {} // A lone server has no peers.
            Event::Tick => self.on_tick(now, tree, out),
        }
    }

    /// When to step [`Event::Tick`] if nothing happens before: a [`Now::monotonic`].
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let deadline = if self.member.is_some() { self.member_deadline() } else { self.own_deadline() };
        let cut = self.cuts.deadline().filter(|_| self.serves());
        deadline.into_iter().chain(cut).min()
    }

    fn own_deadline(&self) -> Option<Duration> {
        if !self.can_end_sessions() {
            return None;
        }
        if !self.orphaned.is_empty() {
            return Some(Duration::ZERO);
        }
        let expiry = self.sessions.next_expiry_ms().map(Duration::from_millis);
        if self.room.is_short {
            return expiry;
        }
        let reaping = self.reaper.deadline();
        Some(expiry.map_or(reaping, |expiry| expiry.min(reaping)))
    }

    /// Sizes of the writes applied since this was last emptied, by namespace.
    pub fn written(&mut self) -> &mut Traffic {
        &mut self.written
    }

    /// The writes beyond a quota since this was last emptied.
    pub fn over_quota(&mut self) -> &mut OverQuota {
        &mut self.over_quota
    }

    /// Sessions that expired since this was last emptied.
    pub fn expired(&mut self) -> &mut Vec<SessionId> {
        &mut self.expired
    }

    /// Ephemeral znodes that went with their session since this was last emptied, where an audit is kept.
    pub fn gone_with_session(&mut self) -> &mut Vec<(SessionId, Ustring)> {
        &mut self.gone_with_session
    }

    /// When each session expires if nobody is heard from, in milliseconds of [`Now::monotonic`].
    #[must_use]
    pub fn session_expiries(&self) -> Vec<(SessionId, u64)> {
        let locals = self.member.iter().flat_map(|member| member.locals.expiries());
        let mut expiries: Vec<_> = self.sessions.expiries().chain(locals).collect();
        expiries.sort_unstable();
        expiries
    }

    /// How many more bytes of records the node will propose before it is told of more room.
    #[must_use]
    pub fn log_room(&self) -> u64 {
        self.room.bytes
    }

    /// Where the node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let (changes_foreseen, changes_settled) = self.pending.counts();
        Status {
            proposed: self.proposed,
            committed: self.committed,
            applied: self.applied,
            outstanding: self.outstanding.len(),
            pending_paths: self.pending.len(),
            sessions: self.member.as_ref().map_or(0, |member| member.held.len()) + self.sessions.len(),
            local_sessions: self.member.as_ref().map_or(0, |member| member.locals.len()),
            puts_cut_off: self.cuts.is_put_off() && self.serves(),
            peer: self.member.as_ref().map(|member| member.peer.status()),
            reign: self.member.as_ref().and_then(|member| member.reign),
            counters: Counters { changes_foreseen, changes_settled, ..self.counters },
        }
    }

    /// The handshake of a known client. It is answered at once: the session's txn is long applied.
    fn on_renew_session(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        password: &Bytes,
        timeout_ms: i32,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let renewed = self.sessions.renew(connection, session, password, timeout_ms, millis(now.monotonic));
        let Ok(renewed) = renewed else {
            self.counters.sessions_refused += 1;
            out.push(Action::Deliver(Delivery::Expired { connection }));
            return;
        };
        self.counters.sessions_renewed += 1;
        if let Some(connection) = renewed.displaced {
            out.push(Action::Deliver(Delivery::Close { connection }));
        }
        out.push(Action::Deliver(Delivery::connected(connection, session, renewed.timeout_ms, false)));
    }

    /// A lone server is its own quorum: what its disk has is committed.
    fn on_persisted(&mut self, zxid: Zxid) {
        assert!(zxid <= self.proposed, "{zxid} is on disk, but only {} was proposed", self.proposed);
        self.committed = self.committed.max(zxid);
    }

    fn on_tick(&mut self, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        if !self.can_end_sessions() {
            return;
        }
        for session in std::mem::take(&mut self.orphaned) {
            self.propose_close(session, now, tree, out);
        }
        for session in self.sessions.expire(millis(now.monotonic)) {
            self.counters.sessions_expired += 1;
            self.expired.push(session);
            self.propose_close(session, now, tree, out);
        }
        if self.room.is_short {
            return; // Nobody waits for a reaping.
        }
        for path in self.reaper.take_due(tree, now) {
            self.propose_reaping(path, now, tree, out);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
