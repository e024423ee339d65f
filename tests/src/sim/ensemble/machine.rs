//! One server while it lives: the production [`Peer`], and a model of what stands above it: a tree that holds what was
//! committed, and txns that wait for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use server::session::SessionId;
use server::zab::{DiskDone, DiskWork, Epoch, Input, LinkId, LinkWork, Output, Peer, Told, Zxid};

use super::disk::{Tree, Txn, record_of, value_of};
use super::members::membership_of;

/// What a machine wants done, and what it does for everybody to see.
#[derive(Debug)]
pub(super) enum Effect {
    Link(LinkWork),
    Disk(DiskWork),
    /// [`DiskWork::Install`] of this tree.
    Install(Tree),
    Seen(Seen),
}

/// What checkers see.
#[derive(Debug)]
pub(super) enum Seen {
    /// It leads, and serves.
    Leads(Epoch),
    /// It follows or observes, and serves.
    Follows,
    /// A txn was made.
    Proposed(Txn),
    /// A serving server applied the txns from this place on.
    Applied(usize),
    /// It was told that this is committed, and has never heard of it.
    Hole(Zxid),
    /// It serves what nobody said is committed.
    Surplus(Zxid),
}

/// Whether a machine serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Looks,
    Leads(Epoch),
    Follows(Epoch),
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) peer: Peer,
    pub(super) role: Role,
    pub(super) tree: Tree,
    /// Logged or on their way to the log, not committed.
    waiting: VecDeque<Txn>,
    /// The newest that it was told is committed: also of a tree that it never got to store.
    committed: Zxid,
    /// The next txn's, of a leader.
    next: Zxid,
    /// A tree that came behind a SNAP.
    pub(super) received: Option<Tree>,
    /// Snapshots that are held open for learners.
    pub(super) open: BTreeMap<LinkId, Tree>,
    /// Applies the wrong way round: a bug to be found.
    pub(super) swaps: bool,
}

impl Machine {
    pub(super) fn new(peer: Peer, tree: Tree) -> Self {
        Self {
            peer,
            role: Role::Looks,
            tree,
            waiting: VecDeque::new(),
            committed: Zxid::ZERO,
            next: Zxid::ZERO,
            received: None,
            open: BTreeMap::new(),
            swaps: false,
        }
    }

    pub(super) fn step(&mut self, input: Input, now: Duration, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        self.peer.step(input, now, &mut out);
        self.take(out, now, effects);
    }

    /// A client asks this server to write `value`.
    pub(super) fn request(&mut self, value: u64, now: Duration, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        match self.role {
            Role::Looks => {}
            Role::Leads(_) => self.propose(value, now, &mut out, effects),
            Role::Follows(_) => {
                self.peer.forward(SessionId(1), 1, 1, record_of(value), Arc::new([]), &mut out);
            }
        }
        self.take(out, now, effects);
    }

    pub(super) fn hand_over(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        self.peer.hand_over(now, &mut out);
        self.take(out, now, effects);
    }

    /// The disk's history is not what was in memory.
    pub(super) fn reload(&mut self, done: DiskDone, tree: Tree) {
        match done {
            // What was not applied yet may still be committed.
            DiskDone::Truncated(zxid) if self.tree.last() <= zxid => {}
            DiskDone::Truncated(_) => self.tree = tree,
            _ => {
                self.waiting.clear();
                self.tree = tree;
            }
        }
    }

    fn propose(&mut self, value: u64, now: Duration, out: &mut Vec<Output>, effects: &mut Vec<Effect>) {
        if !matches!(self.role, Role::Leads(_)) || self.peer.is_handing_over() {
            return;
        }
        let zxid = self.next;
        if let Some(membership) = membership_of(zxid, value)
            && (self.peer.is_reconfiguring() || !self.peer.is_quorum_synced(&membership))
        {
            return;
        }
        if self.peer.propose(zxid, record_of(value), now, out) {
            self.next = zxid.next();
            self.waiting.push_back((zxid, value));
            effects.push(Effect::Seen(Seen::Proposed((zxid, value))));
        }
    }

    fn take(&mut self, mut out: Vec<Output>, now: Duration, effects: &mut Vec<Effect>) {
        while !out.is_empty() {
            for output in std::mem::take(&mut out) {
                match output {
                    Output::Link(work) => effects.push(Effect::Link(work)),
                    Output::Disk(DiskWork::Install) => effects.push(Effect::Install(self.tree.clone())),
                    Output::Disk(work) => effects.push(Effect::Disk(work)),
                    Output::Told(told) => self.hear(told, now, &mut out, effects),
                }
            }
        }
    }

    fn hear(&mut self, told: Told, now: Duration, out: &mut Vec<Output>, effects: &mut Vec<Effect>) {
        match told {
            Told::Look => {
                self.role = Role::Looks;
                self.open.clear();
            }
            Told::Lead(epoch) => {
                self.next = epoch.beginning().next();
                self.serve(Role::Leads(epoch), Seen::Leads(epoch), effects);
            }
            Told::Follow { epoch, .. } => self.serve(Role::Follows(epoch), Seen::Follows, effects),
            Told::Proposed { zxid, record } => self.waiting.push_back((zxid, value_of(&record))),
            Told::Forget(zxid) => self.waiting.retain(|(other, _)| *other <= zxid),
            Told::Adopt(_) => {
                self.waiting.clear();
                self.tree = self.received.take().unwrap_or_default();
                self.committed = self.committed.max(self.tree.last());
            }
            Told::Committed(zxid) => self.commit(zxid, effects),
            Told::Requested { body, .. } => self.propose(value_of(&body), now, out, effects),
            Told::LearnerGone(link) => drop(self.open.remove(&link)),
            Told::Pinged => self.peer.touch(Vec::new(), out),
            Told::Revalidate { .. } | Told::Touched { .. } | Told::Revalidated { .. } | Told::Synced => {}
        }
    }

    fn serve(&mut self, role: Role, seen: Seen, effects: &mut Vec<Effect>) {
        self.role = role;
        if self.tree.last() > self.committed {
            effects.push(Effect::Seen(Seen::Surplus(self.tree.last())));
        }
        effects.push(Effect::Seen(seen));
    }

    fn commit(&mut self, zxid: Zxid, effects: &mut Vec<Effect>) {
        let from = self.tree.0.len();
        let before = self.tree.last();
        while let Some(txn) = self.waiting.pop_front_if(|(waiting, _)| *waiting <= zxid) {
            if txn.0 > before {
                self.tree.push(txn);
            }
        }
        let tree = Arc::make_mut(&mut self.tree.0);
        if self.swaps && tree.len() >= from + 2 {
            tree.swap(from, from + 1);
        }
        self.committed = self.committed.max(zxid);
        if self.tree.last() < zxid && zxid.counter() != 0 {
            effects.push(Effect::Seen(Seen::Hole(zxid)));
        }
        if self.role != Role::Looks && self.tree.0.len() > from {
            effects.push(Effect::Seen(Seen::Applied(from)));
        }
    }
}
