//! The node as a member of an ensemble: it hands its [`Peer`] what concerns consensus, passes on what the peer wants
//! of network and disk, and does what it is told.
//!
//! The tree holds what is committed (and, until a leader says otherwise, what recovery replayed). Txns that are not
//! committed wait among the outstanding requests: a leader's because it made them, a learner's because they came.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use jute::Jute;
use jute::txn::Txn;
use tracing::warn;

use super::held_back::HeldBack;
use super::{Action, Delivery, Event, Node, Now, Reign};
use crate::pipeline::apply::{Origin, Outstanding, Work};
use crate::pipeline::forward::Forwarded;
use crate::pipeline::pending::PendingChanges;
use crate::session::{HeldSessions, SessionId, Sessions};
use crate::storage::txn_log::framed_len;
use crate::tree::Tree;
use crate::zab::{DiskDone, Input, LinkId, LinkWork, Output, Packet, Peer, Told, Violation, Zxid};

/// What only a member has.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: Peer,
    pub(super) role: Role,
    /// What the peer wants, and nobody has seen to yet.
    outputs: Vec<Output>,
    /// Empty: for what it wants meanwhile.
    spare: Vec<Output>,
    /// The txn of the packet in hand.
    decoded: Option<Txn>,
    /// Whose tree the input in hand is about.
    tree_from: Option<LinkId>,
    /// The tree came from a Java leader, who went on changing it while it was sent: it is not the tree as of any zxid
    /// before all is applied that was committed until this server was in step.
    pub(super) is_tree_fuzzy: bool,
    /// The role is new: it begins once all that is committed is applied.
    pub(super) begins: bool,
    /// Since when nobody leads, if nobody does.
    pub(super) looking_since: Duration,
    /// What it served its clients as until now: they go once they have the answers to all that is committed.
    pub(super) parts_as: Option<Role>,
    pub(super) now: Now,
    pub(super) reign: Option<Reign>,
    /// What clients asked for while leadership is being handed over.
    pub(super) held_back: HeldBack,
    /// A learner's own clients.
    pub(super) held: HeldSessions,
    /// What they wait for.
    pub(super) forwarded: Forwarded,
    /// Sessions that only this server knows.
    pub(super) locals: Sessions,
    /// Of a learner: those that are on their way to be everyone's.
    pub(super) upgrading: Vec<SessionId>,
    /// What waits for no txn, only for the next round of applying.
    pub(super) due: VecDeque<(Option<Origin>, Work)>,
    /// Clients who want to carry on a session, while the leader is asked.
    pub(super) renewals: Vec<super::learner::Renewal>,
}

/// What a member serves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nobody leads: it does not serve.
    Looking,
    /// Nobody leads: it serves reads.
    ReadOnly,
    Leader,
    /// Follower or observer.
    Learner,
}

impl Member {
    pub(super) fn new(peer: Peer, locals: Sessions, now: Now) -> Self {
        Self {
            peer,
            role: Role::Looking,
            outputs: Vec::new(),
            spare: Vec::new(),
            decoded: None,
            tree_from: None,
            is_tree_fuzzy: false,
            begins: false,
            looking_since: now.monotonic,
            parts_as: None,
            now,
            reign: None,
            held_back: HeldBack::default(),
            held: HeldSessions::default(),
            forwarded: Forwarded::default(),
            locals,
            upgrading: Vec::new(),
            due: VecDeque::new(),
            renewals: Vec::new(),
        }
    }

    /// Has the tree tell of the membership, where no txn did: it came in a vote, or with NEWLEADER.
    #[doc(alias = "initConfigInZKDatabase")]
    fn describe_membership(&self, tree: &mut Tree) {
        let membership = self.peer.membership();
        if tree.config_version() < membership.version {
            tree.set_config(membership.to_text().as_bytes(), membership.version, self.now.wall_ms);
        }
    }

    /// Has the peer do something. What it wants done about it waits for [`Node::carry_on`].
    pub(super) fn ask<T>(&mut self, ask: impl FnOnce(&mut Peer, &mut Vec<Output>) -> T) -> T {
        ask(&mut self.peer, &mut self.outputs)
    }
}

impl Node {
    /// The member's part of [`Node::step`].
    pub(super) fn step_member(&mut self, event: Event, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        self.member().now = now;
        match event {
            Event::Peer(input) => self.on_peer(input, now, tree),
            Event::Persisted(zxid) => self.on_peer(Input::Disk(DiskDone::Persisted(zxid)), now, tree),
            Event::Tick => self.on_member_tick(now, tree, out),
            Event::HandOver => {
                self.member().ask(|peer, outputs| peer.hand_over(now.monotonic, outputs));
            }
            Event::SnapshotWritten { .. } | Event::LogRoom(_) => self.step_alone(event, now, tree, out),
            _ => self.on_client_event(event, now, tree, out),
        }
        self.carry_on(now, tree, out);
        self.take_up_again(now, tree, out);
        self.review_read_only(now);
    }

    pub(super) fn on_client_event(&mut self, event: Event, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let role = self.member().role;
        // Who was heard from lives on, whoever leads.
        if role == Role::Leader && self.must_hold_back() && !matches!(event, Event::Touched(_)) {
            return self.hold_back(event);
        }
        if role == Role::Looking {
            return self.turn_away(event, out);
        }
        let Some(event) = self.see_to_locals(event, now, tree, out) else {
            return;
        };
        match role {
            Role::Looking => {}
            Role::ReadOnly => self.step_read_only(event, tree, out),
            Role::Leader => self.step_alone(event, now, tree, out),
            Role::Learner => self.step_learner(event, now, out),
        }
    }

    /// Only for what is reached through a peer.
    pub(super) fn member(&mut self) -> &mut Member {
        self.member.as_deref_mut().expect("a lone server has no peer")
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.member.as_ref().map(|member| member.role)
    }

    /// In which role clients are answered.
    pub(super) fn answers_as(&self) -> Option<Role> {
        self.member.as_ref().map(|member| member.parts_as.unwrap_or(member.role))
    }

    /// [`Node::apply`] must come before the next event: a role begins or ends with it.
    #[must_use]
    pub fn must_apply(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.begins || member.parts_as.is_some())
    }

    /// Clients are served: this server is alone, or has a leader.
    #[must_use]
    pub fn serves(&self) -> bool {
        !matches!(self.role(), Some(Role::Looking | Role::ReadOnly))
    }

    /// This server leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role() == Some(Role::Leader)
    }

    fn on_member_tick(&mut self, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let member = self.member();
        if member.peer.deadline().is_some_and(|due| due <= now.monotonic) {
            member.ask(|peer, outputs| peer.step(Input::Tick, now.monotonic, outputs));
            self.carry_on(now, tree, out); // It may have lost its quorum.
            self.take_up_again(now, tree, out); // Whoever waits has been heard from.
        }
        if self.is_leader() && !self.must_apply() && !self.member().peer.is_handing_over() {
            self.on_tick(now, tree, out);
        }
        self.expire_locals(now, out);
    }

    pub(super) fn member_deadline(&self) -> Option<Duration> {
        let member = self.member.as_deref()?;
        let own = if member.role == Role::Leader { self.own_deadline() } else { None };
        let locals = member.locals.next_expiry_ms().map(Duration::from_millis);
        [member.peer.deadline(), own, locals, self.read_only_deadline()].into_iter().flatten().min()
    }

    fn on_peer(&mut self, input: Input, now: Now, tree: &Tree) {
        match &input {
            Input::Disk(DiskDone::Truncated(zxid)) => self.on_truncated(*zxid, tree),
            Input::Disk(DiskDone::Reloaded(_)) => self.on_reloaded(tree),
            Input::SnapshotReceived { link } => self.member().tree_from = Some(*link),
            Input::Packet { link, packet } => {
                let link = *link;
                if let Err(violation) = self.decode_txn(packet) {
                    return self.break_link(link, violation, now);
                }
            }
            _ => {}
        }
        self.member().ask(|peer, outputs| peer.step(input, now.monotonic, outputs));
    }

    /// A txn is judged before the peer logs it: what cannot be read again must not be on the disk.
    fn decode_txn(&mut self, packet: &Packet) -> Result<(), Violation> {
        let (Packet::Proposal { zxid, record }
        | Packet::Inform { zxid, record }
        | Packet::InformAndActivate { zxid, record, .. }) = packet
        else {
            return Ok(());
        };
        match Txn::from_bytes(record) {
            Ok(txn) if txn.header.zxid == zxid.0 => {
                self.member().decoded = Some(txn);
                Ok(())
            }
            Ok(txn) => Err(Violation::Undecodable(format!("txn {} as {zxid}", Zxid(txn.header.zxid)))),
            Err(error) => Err(Violation::Undecodable(format!("txn {zxid}: {error}"))),
        }
    }

    fn break_link(&mut self, link: LinkId, violation: Violation, now: Now) {
        let member = self.member();
        member.outputs.push(Output::Link(LinkWork::Close { link, why: Some(violation) }));
        member.ask(|peer, outputs| peer.step(Input::LinkDown(link), now.monotonic, outputs));
    }

    /// Sees to what the peer wants, until it wants no more.
    pub(super) fn carry_on(&mut self, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        while !self.member().outputs.is_empty() {
            let Member { outputs, spare, .. } = self.member();
            let mut begun = std::mem::replace(outputs, std::mem::take(spare));
            for output in begun.drain(..) {
                match output {
                    Output::Link(work) => out.push(Action::Link(work)),
                    Output::Disk(work) => out.push(Action::from(work)),
                    Output::Told(told) => self.on_told(told, now, tree, out),
                }
            }
            self.member().spare = begun;
        }
        let member = self.member();
        (member.decoded, member.tree_from) = (None, None);
    }

    pub(super) fn on_told(&mut self, told: Told, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        match told {
            Told::Look => self.stop_serving(),
            Told::Lead(epoch) => {
                self.proposed = epoch.beginning();
                self.begin(Role::Leader);
            }
            Told::Follow { .. } => self.begin(Role::Learner),
            Told::Proposed { zxid, record } => self.on_proposed(zxid, &record),
            Told::Committed(zxid) => self.committed = self.committed.max(zxid),
            Told::Forget(zxid) => {
                self.outstanding.retain(|waiting| waiting.after <= zxid);
                self.proposed = self.proposed.min(zxid);
            }
            Told::Adopt(zxid) => {
                self.carry_on_from(zxid);
                let member = self.member();
                member.is_tree_fuzzy = true;
                let from = member.tree_from;
                out.push(Action::Adopt { zxid, from });
            }
            Told::Requested { .. } if self.must_hold_back() => self.hold_back_request(told),
            Told::Requested { .. }
            | Told::Revalidate { .. }
            | Told::Touched { .. }
            | Told::LearnerGone(_) => {
                self.on_learner_asks(told, now, tree, out);
            }
            Told::Revalidated { .. } | Told::Synced | Told::Pinged => self.on_leader_says(told, out),
        }
    }

    fn begin(&mut self, role: Role) {
        let member = self.member();
        member.role = role;
        member.begins = true;
        let since = member.now.monotonic;
        member.reign = (role == Role::Leader).then(|| Reign { since, ..Reign::default() });
    }

    /// What is not committed is answered no more. It may still become so, under the next leader.
    fn stop_serving(&mut self) {
        self.counters.elections += 1;
        self.pending = PendingChanges::after(&self.pending);
        let committed = self.committed;
        // A sync is the word of a leader. Without it, what stands behind it on its connection has no turn.
        let mut unanswered = Vec::new();
        for mut waiting in std::mem::take(&mut self.outstanding) {
            let asker = waiting.asker();
            if matches!(waiting.work, Work::Sync { .. }) {
                unanswered.extend(asker);
            }
            let has_turn =
                waiting.after <= committed && asker.is_none_or(|asker| !unanswered.contains(&asker));
            match waiting.work {
                // Connections that have gone wait for no txn, and none may be forgotten along with one.
                Work::Depart(_) => self.member().due.push_back((None, waiting.work)),
                _ if has_turn => self.outstanding.push_back(waiting),
                Work::Txn { .. } => {
                    waiting.origin = None;
                    self.outstanding.push_back(waiting);
                }
                _ => {}
            }
        }
        let member = self.member();
        if member.role != Role::Looking {
            member.parts_as = Some(member.role);
        }
        member.role = Role::Looking;
        member.looking_since = member.now.monotonic;
        member.reign = None;
        member.begins = false;
        member.due.retain(|(_, work)| matches!(work, Work::Depart(_)));
    }

    /// Clients have the answers to all that is committed, and go elsewhere.
    pub(super) fn part_with_clients(&mut self, out: &mut Vec<Action>) {
        let member = self.member();
        if member.parts_as.take().is_none() {
            return;
        }
        member.held.clear();
        member.forwarded.clear();
        member.renewals.clear();
        member.locals.clear();
        member.upgrading.clear();
        self.sessions.clear();
        self.orphaned.clear();
        out.push(Action::CloseAll);
    }

    /// While nobody leads, nobody is served.
    fn turn_away(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::OpenSession { connection, .. } | Event::RenewSession { connection, .. } => {
                out.push(Action::Deliver(Delivery::Close { connection }));
            }
            Event::Disconnected { connection } => {
                self.member().due.push_back((None, Work::Depart(connection)));
            }
            // All others have been closed.
            _ => {}
        }
    }

    /// The leader's txn is in the log, or will be.
    fn on_proposed(&mut self, zxid: Zxid, record: &Bytes) {
        let decoded = self.member().decoded.take().filter(|txn| txn.header.zxid == zxid.0);
        let txn = decoded.unwrap_or_else(|| Txn::from_bytes(record).expect("it was decoded when it came"));
        self.proposed = zxid;
        self.counters.txns += 1;
        self.counters.proposals_received += 1;
        self.cuts.note_logged(framed_len(record));
        let op = jute::Op::Error; // Who asked for what, their connections know.
        let work = Work::Txn { op, parts: Vec::new(), txn };
        self.outstanding.push_back(Outstanding { after: zxid, origin: None, work });
    }

    /// The log ends at `zxid`. The tree has been loaded anew if it went beyond; `tree` is what there is now.
    fn on_truncated(&mut self, zxid: Zxid, tree: &Tree) {
        if tree.last_zxid() == self.applied {
            self.proposed = zxid.max(self.applied);
        } else {
            self.carry_on_from(tree.last_zxid());
        }
    }

    fn on_reloaded(&mut self, tree: &Tree) {
        self.member().is_tree_fuzzy = false;
        self.carry_on_from(tree.last_zxid());
    }

    /// Another tree, as of `zxid`, takes the place of the one there was.
    fn carry_on_from(&mut self, zxid: Zxid) {
        self.outstanding.clear();
        self.proposed = zxid;
        self.committed = zxid;
        self.applied = zxid;
        self.cuts = self.cuts.anew();
    }

    /// All that is committed is applied to `tree`, so the role begins.
    pub(super) fn begin_role(&mut self, tree: &mut Tree) {
        let member = self.member();
        if !std::mem::take(&mut member.begins) {
            return;
        }
        let (role, now) = (member.role, member.now);
        member.is_tree_fuzzy = false;
        if self.applied != self.committed {
            warn!(applied = %self.applied, committed = %self.committed, "committed txns are missing");
        }
        if self.config.reconfig {
            self.member().describe_membership(tree);
        }
        match role {
            Role::Leader => self.take_office(tree, now),
            // The tree may have come from the leader, with sessions that this server opened before its clock was set back.
            _ => tree.sessions().for_each(|(session, _)| self.sessions.avoid(session)),
        }
    }
}
