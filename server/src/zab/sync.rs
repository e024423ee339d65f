//! Phase 2: every learner gets the leader's history, and a quorum has it on disk before the leader serves. ZAB paper,
//! section "Synchronization"; `LearnerHandler.syncFollower`, `Learner.syncWithLeader`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, info};

use super::discovery::{close, send};
use super::election::Elected;
use super::input::Trace;
use super::output::{DiskWork, LinkWork, Output, Told};
use super::packet::Packet;
use super::window::{Place, Window};
use super::{DiskDone, Epoch, LinkId, Log, Peer, PeerConfig, PeerStatus, State, Violation, Zxid};
use crate::config::ServerId;

/// After so many attempts to dial the elected leader, the election was in vain.
const DIALS_MAX: u32 = 20;
/// How long after each. A Java leader listens only once it leads.
const DIAL_INTERVAL: Duration = Duration::from_millis(50);
/// Packets that wait for the disk. The disk is waited for before the link is read on, so there are few.
const DEFERRED_MAX: usize = 100_000;

/// A leader, elected or already serving.
#[derive(Debug)]
#[doc(alias = "Leader")]
pub(super) struct Leading {
    pub(super) elected: Elected,
    /// The epoch it proposes; zero until a quorum is there.
    pub(super) epoch: Epoch,
    pub(super) phase: LeaderPhase,
    /// `currentEpoch` and the last txn when it was elected: nobody in its quorum may have more.
    pub(super) own_history: (Epoch, Zxid),
    /// Everybody who dialed and said who they are.
    pub(super) learners: BTreeMap<LinkId, Learner>,
    /// Followers who get proposals.
    pub(super) followers: Arc<[LinkId]>,
    /// Observers who get what is committed.
    pub(super) observers: Arc<[LinkId]>,
    /// Before it serves: when it gives up. Then: when it pings next.
    pub(super) due: Duration,
}

/// How far a leader is. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeaderPhase {
    /// Waits for a quorum to come.
    Gathering,
    /// Its own promise of the epoch is on its way to the disk.
    Promising,
    /// Waits for a quorum to promise the epoch.
    Promised,
    /// The reign is on its way to the disk.
    Noting,
    /// Waits for a quorum to have its history.
    Noted,
    /// It leads.
    Serving,
}

/// A learner, as its leader sees it.
#[derive(Debug)]
#[doc(alias = "LearnerHandler")]
pub(super) struct Learner {
    pub(super) server: ServerId,
    pub(super) is_observer: bool,
    pub(super) accepted: Epoch,
    pub(super) stage: Stage,
    /// When the last packet came.
    pub(super) heard: Duration,
    /// The last proposal that it acknowledged.
    pub(super) acked: Zxid,
    /// Since when it owes an acknowledgement, and makes no progress.
    pub(super) owing_since: Option<Duration>,
}

/// How far a learner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// FOLLOWERINFO came.
    Greeted,
    /// LEADERINFO was sent.
    Invited,
    /// ACKEPOCH came: this is what it has.
    Promised { last: Zxid, counts: bool },
    /// The disk is asked where its history ends in ours.
    Tracing { last: Zxid },
    /// The disk is asked for a snapshot.
    Opening,
    /// NEWLEADER was sent.
    Sent,
    /// It has acknowledged that: what it was sent is on its disk.
    InStep,
}

/// A learner, elected somebody else to lead.
#[derive(Debug)]
#[doc(alias = "Learner")]
pub(super) struct Learning {
    pub(super) elected: Elected,
    pub(super) link: LinkId,
    pub(super) stage: LearnerStage,
    pub(super) epoch: Epoch,
    /// How many times the leader was dialed, and when next.
    dials: u32,
    redial_at: Option<Duration>,
    /// The leader is given up then, unless it is heard from.
    pub(super) silent_at: Duration,
    /// What came while the disk was at work.
    deferred: VecDeque<Packet>,
    /// The last txn that was in common with the leader before its first proposal.
    baseline: Zxid,
    /// The last txn it sent.
    pub(super) last: Zxid,
    /// A tree came, and is not installed.
    is_staged: bool,
    /// Its proposals that are not committed.
    pub(super) awaiting: VecDeque<Zxid>,
    /// Its proposals that are to be acknowledged, once they are on disk.
    pub(super) to_ack: VecDeque<Zxid>,
    /// It wants to know who was heard from.
    pub(super) pinged: Option<Zxid>,
}

/// How far this server is in learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LearnerStage {
    /// No link yet.
    Dialing,
    /// FOLLOWERINFO sent.
    Greeted,
    /// The promise is on its way to the disk.
    Promising,
    /// ACKEPOCH sent.
    Promised,
    /// SNAP came, its tree comes.
    Fetching,
    /// The log is being cut.
    Truncating,
    /// Proposals come.
    Syncing,
    /// The tree is on its way to the disk.
    Installing,
    /// The reign is on its way to the disk.
    Noting,
    /// NEWLEADER is acknowledged.
    Noted,
    /// In step.
    Serving,
}

impl LearnerStage {
    /// Packets wait meanwhile.
    fn waits_for_disk(self) -> bool {
        matches!(self, Self::Promising | Self::Fetching | Self::Truncating | Self::Installing | Self::Noting)
    }
}

impl Leading {
    pub(super) fn deadline(&self) -> Duration {
        self.due
    }

    pub(super) fn admit(
        &mut self,
        link: LinkId,
        server: ServerId,
        is_observer: bool,
        accepted: Epoch,
        now: Duration,
    ) {
        let (stage, acked, owing_since) = (Stage::Greeted, Zxid::ZERO, None);
        let learner = Learner { server, is_observer, accepted, stage, heard: now, acked, owing_since };
        self.learners.insert(link, learner);
    }

    pub(super) fn links_of(&self, server: ServerId) -> impl Iterator<Item = LinkId> {
        self.learners.iter().filter(move |(_, learner)| learner.server == server).map(|(link, _)| *link)
    }

    /// A link is gone.
    pub(super) fn remove(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if self.learners.remove(&link).is_some() {
            self.list_recipients();
            out.push(Output::Told(Told::LearnerGone(link)));
        }
    }

    /// Who gets proposals, and who gets what is committed: all that were sent our history.
    pub(super) fn list_recipients(&mut self) {
        let sent = || {
            self.learners.iter().filter(|(_, learner)| matches!(learner.stage, Stage::Sent | Stage::InStep))
        };
        let observers = sent().filter(|(_, learner)| learner.is_observer).map(|(link, _)| *link).collect();
        self.followers = sent().filter(|(_, learner)| !learner.is_observer).map(|(link, _)| *link).collect();
        self.observers = observers;
    }

    pub(super) fn describe(&self, config: &PeerConfig, status: &mut PeerStatus) {
        status.leader = Some(config.me);
        status.serves = self.phase == LeaderPhase::Serving;
        status.learners = self.learners.len();
        let in_step = || self.learners.values().filter(|learner| learner.stage == Stage::InStep);
        status.synced_observers = in_step().filter(|learner| learner.is_observer).count();
        status.synced_followers = in_step().count() - status.synced_observers;
    }
}

impl Learner {
    pub(super) fn has_promised(&self) -> bool {
        match self.stage {
            Stage::Greeted | Stage::Invited => false,
            Stage::Promised { counts, .. } => counts,
            Stage::Tracing { .. } | Stage::Opening | Stage::Sent | Stage::InStep => true,
        }
    }
}

impl Learning {
    pub(super) fn deadline(&self) -> Duration {
        self.redial_at.map_or(self.silent_at, |at| at.min(self.silent_at))
    }

    pub(super) fn describe(&self, status: &mut PeerStatus) {
        status.leader = Some(self.elected.vote.leader);
        status.serves = self.stage == LearnerStage::Serving;
    }
}

// The leader's half.
impl Peer {
    pub(super) fn begin_leading(&mut self, elected: Elected, now: Duration, out: &mut Vec<Output>) {
        if self.disk_works > 0 {
            return; // What the disk says may change what this server has.
        }
        // All that is logged is the new epoch's history.
        for (zxid, record) in self.tail.drain(..) {
            self.window.push(zxid, record);
        }
        self.state = State::Leading(Box::new(Leading {
            elected,
            epoch: Epoch(0),
            phase: LeaderPhase::Gathering,
            own_history: (self.promises.current, self.log.logged),
            learners: BTreeMap::new(),
            followers: Arc::new([]),
            observers: Arc::new([]),
            due: now + self.config.init_limit,
        }));
        self.admit_visitors(now, out);
    }

    pub(super) fn leave_leading(&mut self, leading: Leading, out: &mut Vec<Output>) {
        out.extend(leading.learners.into_keys().map(|link| close(link, None)));
    }

    /// The end of what learners get as history: all of it is committed, or will be before anybody serves.
    fn history_end(&self) -> Zxid {
        match &self.state {
            State::Leading(leading) => leading.own_history.1.max(self.log.committed),
            _ => self.log.committed,
        }
    }

    /// Sends its share to everybody who waits for it.
    pub(super) fn sync_all(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &self.state else {
            return;
        };
        if leading.phase < LeaderPhase::Noted {
            return;
        }
        let waiting =
            leading.learners.iter().filter(|(_, learner)| matches!(learner.stage, Stage::Promised { .. }));
        let waiting: Vec<_> = waiting.map(|(link, _)| *link).collect();
        for link in waiting {
            self.begin_sync(link, out);
        }
        self.count_synced(out);
    }

    /// DIFF, TRUNC or SNAP?
    pub(super) fn begin_sync(&mut self, link: LinkId, out: &mut Vec<Output>) {
        let end = self.history_end();
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&link) else {
            return;
        };
        let Stage::Promised { last, .. } = learner.stage else {
            return;
        };
        debug!(server = %learner.server, %last, %end, "synchronising");
        if last == end {
            return self.send_diff(link, last, out);
        }
        if last > end && !is_beginning(last) {
            out.push(send(link, Packet::Trunc(end)));
            return self.send_rest(link, end, out);
        }
        match self.window.place(last) {
            Place::Covered => self.send_diff(link, last, out),
            Place::Missing { previous, next } => self.send_from_fork(link, last, previous, next, out),
            Place::Older => {
                learner.stage = Stage::Tracing { last };
                out.push(Output::Disk(DiskWork::Trace { link, zxid: last }));
            }
        }
    }

    /// The disk says where a learner's history ends in ours.
    fn on_traced(&mut self, link: LinkId, trace: Trace, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(&mut Learner { stage: Stage::Tracing { last }, .. }) = leading.learners.get_mut(&link)
        else {
            return;
        };
        match trace {
            Trace::OutOfReach => self.send_snapshot(link, out),
            Trace::Found => self.send_diff(link, last, out),
            Trace::Missing { previous, next } => self.send_from_fork(link, last, previous, next, out),
        }
    }

    /// The learner went another way after `previous`.
    fn send_from_fork(
        &mut self,
        link: LinkId,
        last: Zxid,
        previous: Zxid,
        next: Option<Zxid>,
        out: &mut Vec<Output>,
    ) {
        // Only then they parted within an epoch, whose beginning they share.
        let is_same_epoch = next.is_some_and(|next| next.epoch() == last.epoch());
        if is_same_epoch && is_beginning(last) {
            // A Java leader that proposed nothing thinks it has this one.
            self.send_diff(link, previous, out);
        } else if is_same_epoch && previous != Zxid::ZERO {
            out.push(send(link, Packet::Trunc(previous)));
            self.send_rest(link, previous, out);
        } else {
            // A Java learner cannot cut its log across epochs.
            self.send_snapshot(link, out);
        }
    }

    fn send_diff(&mut self, link: LinkId, after: Zxid, out: &mut Vec<Output>) {
        out.push(send(link, Packet::Diff(self.history_end())));
        self.send_rest(link, after, out);
    }

    fn send_snapshot(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &mut self.state
            && let Some(learner) = leading.learners.get_mut(&link)
        {
            learner.stage = Stage::Opening;
            out.push(Output::Disk(DiskWork::OpenSnapshot { link }));
        }
    }

    fn on_snapshot_opened(&mut self, link: LinkId, zxid: Zxid, out: &mut Vec<Output>) {
        let is_awaited = match &self.state {
            State::Leading(leading) => {
                leading.learners.get(&link).is_some_and(|learner| learner.stage == Stage::Opening)
            }
            _ => false,
        };
        if !is_awaited {
            return; // Its link has gone, and the driver lets go of the snapshot with it.
        }
        out.push(send(link, Packet::Snap(zxid)));
        out.push(Output::Link(LinkWork::SendSnapshot { link }));
        self.send_rest(link, zxid, out);
    }

    /// What comes after `after`: the committed, the outstanding, and NEWLEADER. From here on it gets what is new.
    #[doc(alias = "startForwarding")]
    fn send_rest(&mut self, link: LinkId, after: Zxid, out: &mut Vec<Output>) {
        let end = self.history_end();
        let from_memory = if self.window.reaches_back_to(after) {
            after
        } else {
            // All of it was logged before it was committed, and is written, if not yet safe.
            out.push(Output::Link(LinkWork::SendLog { link, after, upto: end }));
            end
        };
        for (zxid, record) in self.window.after(from_memory) {
            out.push(send(link, Packet::Proposal { zxid: *zxid, record: record.clone() }));
            out.push(send(link, Packet::Commit(*zxid)));
        }
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&link) else {
            return;
        };
        if !learner.is_observer {
            for (zxid, record) in &self.tail {
                out.push(send(link, Packet::Proposal { zxid: *zxid, record: record.clone() }));
            }
        }
        let (epoch, config) = (leading.epoch, Some(self.config.membership.clone()));
        out.push(send(link, Packet::NewLeader { epoch, config }));
        learner.stage = Stage::Sent;
        leading.list_recipients();
    }

    /// A learner has our history on its disk.
    pub(super) fn on_ack_newleader(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&link) else {
            return;
        };
        learner.stage = Stage::InStep;
        learner.owing_since = (!self.tail.is_empty() && !learner.is_observer).then_some(now);
        info!(server = %learner.server, "a learner is in step");
        if leading.phase == LeaderPhase::Serving {
            out.push(send(link, Packet::UpToDate));
        } else {
            self.count_synced(out);
        }
    }

    /// A quorum has the history: it is committed, and the leader serves.
    #[doc(alias = "waitForNewLeaderAck")]
    pub(super) fn count_synced(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Noted || self.log.persisted < self.log.logged {
            return;
        }
        let in_step = || leading.learners.iter().filter(|(_, learner)| learner.stage == Stage::InStep);
        let followers = in_step().filter(|(_, learner)| !learner.is_observer);
        let servers = followers.map(|(_, learner)| learner.server).chain([self.config.me]);
        if !self.config.quorum.is_quorum(servers) {
            return;
        }
        out.extend(in_step().map(|(link, _)| send(*link, Packet::UpToDate)));
        leading.phase = LeaderPhase::Serving;
        leading.elected.vote.peer_epoch = leading.epoch;
        leading.due = Duration::ZERO; // It pings at once.
        self.log.committed = leading.own_history.1;
        info!(epoch = leading.epoch.0, history_end = %self.log.committed, "leading");
        out.push(Output::Told(Told::Committed(self.log.committed)));
        out.push(Output::Told(Told::Lead(leading.epoch)));
    }

    pub(super) fn on_leader_disk(&mut self, done: DiskDone, now: Duration, out: &mut Vec<Output>) {
        match done {
            DiskDone::AcceptedEpoch(_) => self.on_leader_promised(out),
            DiskDone::CurrentEpoch(_) => self.on_reign_noted(out),
            DiskDone::Persisted(_) => {
                self.count_synced(out);
                self.try_commit(out);
            }
            DiskDone::Traced { link, trace } => self.on_traced(link, trace, out),
            DiskDone::SnapshotOpened { link, zxid } => self.on_snapshot_opened(link, zxid, out),
            DiskDone::Truncated(_)
            | DiskDone::TruncateRefused
            | DiskDone::Reloaded(_)
            | DiskDone::Installed(_) => {
                unreachable!("nobody leads while the log is at work")
            }
        }
        let _ = now;
    }
}

// The learner's half.
impl Peer {
    pub(super) fn begin_learning(&mut self, elected: Elected, now: Duration, out: &mut Vec<Output>) {
        if self.disk_works > 0 {
            return; // What the disk says may change what this server has.
        }
        self.dismiss_visitors(out);
        self.dialed += 1;
        let link = LinkId::Leader(self.dialed);
        self.state = State::Learning(Box::new(Learning {
            elected,
            link,
            stage: LearnerStage::Dialing,
            epoch: Epoch(0),
            dials: 1,
            redial_at: None,
            silent_at: now + self.config.init_limit,
            deferred: VecDeque::new(),
            baseline: Zxid::ZERO,
            last: Zxid::ZERO,
            is_staged: false,
            awaiting: VecDeque::new(),
            to_ack: VecDeque::new(),
            pinged: None,
        }));
        out.push(Output::Link(LinkWork::Dial { link, server: elected.vote.leader }));
    }

    pub(super) fn leave_learning(&mut self, learning: Learning, out: &mut Vec<Output>) {
        out.push(close(learning.link, None));
        if learning.is_staged {
            // What is in memory is not what is on disk. If it is being installed, that comes first.
            self.tail.clear();
            self.disk_works += 1;
            out.push(Output::Disk(DiskWork::Reload));
        }
    }

    pub(super) fn on_leader_lost(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        if learning.link != link {
            return;
        }
        if learning.stage == LearnerStage::Dialing && learning.dials < DIALS_MAX {
            learning.redial_at = Some(now + DIAL_INTERVAL);
        } else {
            self.look_again("the link to the leader is gone", now, out);
        }
    }

    pub(super) fn on_learner_tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        if learning.silent_at <= now {
            return self.look_again("the leader is silent", now, out);
        }
        if learning.redial_at.is_some_and(|at| at <= now) {
            self.dialed += 1;
            learning.link = LinkId::Leader(self.dialed);
            learning.redial_at = None;
            learning.dials += 1;
            out.push(Output::Link(LinkWork::Dial {
                link: learning.link,
                server: learning.elected.vote.leader,
            }));
        }
    }

    pub(super) fn on_leader_packet(
        &mut self,
        link: LinkId,
        packet: Packet,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        if learning.link != link {
            return;
        }
        let limit = if learning.stage >= LearnerStage::Noted {
            self.config.sync_limit
        } else {
            self.config.init_limit
        };
        learning.silent_at = now + limit;
        if learning.stage.waits_for_disk() || !learning.deferred.is_empty() {
            if learning.deferred.len() < DEFERRED_MAX {
                return learning.deferred.push_back(packet);
            }
            return self.break_with_leader(Violation::TooMany, now, out);
        }
        if let Err(violation) = self.take_leader_packet(packet, out) {
            self.break_with_leader(violation, now, out);
        }
    }

    fn break_with_leader(&mut self, violation: Violation, now: Duration, out: &mut Vec<Output>) {
        let why = violation.to_string();
        if let State::Learning(learning) = &self.state {
            out.push(close(learning.link, Some(violation)));
        }
        self.look_again(&why, now, out);
    }

    fn take_leader_packet(&mut self, packet: Packet, out: &mut Vec<Output>) -> Result<(), Violation> {
        let State::Learning(learning) = &self.state else {
            return Ok(());
        };
        let wrong = |packet: &Packet, phase| Err(Violation::OutOfPlace { packet: packet.name(), phase });
        match (learning.stage, packet) {
            (LearnerStage::Greeted, Packet::LeaderInfo { epoch, .. }) => self.on_leader_info(epoch, out),
            (LearnerStage::Greeted, other) => wrong(&other, "the leader introduces itself"),
            (LearnerStage::Promised, Packet::Diff(_)) => {
                self.on_diff(out);
                Ok(())
            }
            (LearnerStage::Promised, Packet::Trunc(zxid)) => self.on_trunc(zxid, out),
            (LearnerStage::Promised, Packet::Snap(zxid)) => {
                self.on_snap(zxid);
                Ok(())
            }
            (LearnerStage::Promised, other) => wrong(&other, "it is said how histories differ"),
            (LearnerStage::Syncing, Packet::NewLeader { epoch, .. }) => self.on_newleader(epoch, out),
            (LearnerStage::Noted, Packet::UpToDate) => {
                self.on_uptodate(out);
                Ok(())
            }
            // It wants no answer from whoever is not in step.
            (LearnerStage::Syncing, Packet::Ping { .. }) => Ok(()),
            (LearnerStage::Syncing | LearnerStage::Noted | LearnerStage::Serving, packet) => {
                self.take_broadcast(packet, out)
            }
            (_, other) => wrong(&other, "nothing is expected"),
        }
    }

    /// Ours is part of the leader's history.
    fn on_diff(&mut self, out: &mut Vec<Output>) {
        if self.wants_snapshot {
            // It took the zxid 0 at its word.
            self.stage_tree(Zxid::ZERO, out);
        } else {
            self.continue_from(self.log.logged);
        }
    }

    fn continue_from(&mut self, baseline: Zxid) {
        if let State::Learning(learning) = &mut self.state {
            learning.stage = LearnerStage::Syncing;
            learning.baseline = baseline;
            learning.last = baseline;
        }
    }

    fn on_trunc(&mut self, zxid: Zxid, out: &mut Vec<Output>) -> Result<(), Violation> {
        if zxid > self.log.logged {
            return Err(Violation::Gap { last: self.log.logged, found: zxid });
        }
        while self.tail.pop_back_if(|(later, _)| *later > zxid).is_some() {}
        if let State::Learning(learning) = &mut self.state {
            learning.stage = LearnerStage::Truncating;
        }
        self.disk_works += 1;
        out.push(Output::Told(Told::Forget(zxid)));
        out.push(Output::Disk(DiskWork::Truncate(zxid)));
        Ok(())
    }

    fn on_snap(&mut self, zxid: Zxid) {
        if let State::Learning(learning) = &mut self.state {
            learning.stage = LearnerStage::Fetching;
            learning.last = zxid;
        }
    }

    pub(super) fn on_snapshot_received(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        match &self.state {
            State::Learning(learning)
                if learning.link == link && learning.stage == LearnerStage::Fetching =>
            {
                self.stage_tree(learning.last, out);
                self.take_deferred(now, out);
            }
            _ => {}
        }
    }

    /// The tree in memory is the leader's as of `zxid`, while the disk still has ours.
    fn stage_tree(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        self.tail.clear();
        self.window = Window::new(self.config.window_txns_max, zxid);
        self.continue_from(zxid);
        if let State::Learning(learning) = &mut self.state {
            learning.is_staged = true;
        }
        out.push(Output::Told(Told::Adopt(zxid)));
    }

    pub(super) fn is_staged(&self) -> bool {
        matches!(&self.state, State::Learning(learning) if learning.is_staged)
    }

    /// The leader sent all of its history: it has to be on disk before that is acknowledged.
    fn on_newleader(&mut self, epoch: Epoch, out: &mut Vec<Output>) -> Result<(), Violation> {
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        if epoch != learning.epoch {
            return Err(Violation::OldEpoch { proposed: epoch, accepted: learning.epoch });
        }
        self.disk_works += 1;
        if learning.is_staged {
            learning.stage = LearnerStage::Installing;
            out.push(Output::Disk(DiskWork::Install));
        } else {
            learning.stage = LearnerStage::Noting;
            out.push(Output::Disk(DiskWork::SaveCurrentEpoch(epoch)));
        }
        Ok(())
    }

    /// The leader's tree is ours, on disk too; what it has not committed goes to the log.
    fn on_installed(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        self.wants_snapshot = false;
        self.log = Log { logged: zxid, persisted: zxid, committed: zxid };
        for (zxid, record) in &self.tail {
            self.log.logged = *zxid;
            out.push(Output::Disk(DiskWork::Append { zxid: *zxid, record: record.clone() }));
        }
        learning.is_staged = false;
        learning.stage = LearnerStage::Noting;
        self.disk_works += 1;
        out.push(Output::Disk(DiskWork::SaveCurrentEpoch(learning.epoch)));
    }

    /// The history is on disk, and whose it is.
    fn on_noted(&mut self, out: &mut Vec<Output>) {
        self.log.persisted = self.log.logged;
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.stage = LearnerStage::Noted;
        out.push(send(learning.link, Packet::Ack(learning.epoch.beginning())));
        // Nobody waits for the acks of what was committed meanwhile.
        learning.to_ack.clone_from(&learning.awaiting);
        self.ack_persisted(out);
    }

    /// A quorum has the history: serve.
    fn on_uptodate(&mut self, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.stage = LearnerStage::Serving;
        learning.elected.vote.peer_epoch = learning.epoch;
        let (leader, epoch, baseline) = (learning.elected.vote.leader, learning.epoch, learning.baseline);
        out.push(send(learning.link, Packet::Ack(epoch.beginning())));
        if self.log.committed < baseline {
            self.commit_to(baseline, out);
        }
        info!(%leader, epoch = epoch.0, "in step");
        out.push(Output::Told(Told::Follow { leader, epoch }));
    }

    pub(super) fn on_learner_disk(&mut self, done: DiskDone, now: Duration, out: &mut Vec<Output>) {
        let State::Learning(learning) = &self.state else {
            return;
        };
        match (done, learning.stage) {
            (DiskDone::AcceptedEpoch(epoch), LearnerStage::Promising) if epoch == learning.epoch => {
                self.tell_history(Some(self.promises.current), out);
            }
            (DiskDone::Truncated(zxid), LearnerStage::Truncating) => {
                self.restart_log(zxid);
                self.continue_from(zxid);
            }
            (DiskDone::TruncateRefused, LearnerStage::Truncating) => {
                self.wants_snapshot = true;
                return self.look_again("the log cannot be cut so far back; asking for a snapshot", now, out);
            }
            (DiskDone::Installed(zxid), LearnerStage::Installing) => self.on_installed(zxid, out),
            (DiskDone::CurrentEpoch(_), LearnerStage::Noting) => self.on_noted(out),
            (DiskDone::Persisted(_), _) => self.ack_persisted(out),
            _ => {}
        }
        self.take_deferred(now, out);
    }

    /// What came while the disk was at work.
    fn take_deferred(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let State::Learning(learning) = &mut self.state
            && !learning.stage.waits_for_disk()
            && let Some(packet) = learning.deferred.pop_front()
        {
            if let Err(violation) = self.take_leader_packet(packet, out) {
                return self.break_with_leader(violation, now, out);
            }
        }
    }
}

/// A zxid that no txn has: the beginning of an epoch.
fn is_beginning(zxid: Zxid) -> bool {
    zxid.counter() == 0
}

/// Whether a txn may follow another: without a gap, but for the end of an epoch, which only its leader knows.
pub(super) fn follows(last: Zxid, next: Zxid) -> bool {
    if last.epoch() == next.epoch() { next == last.next() } else { next > last }
}

/// A txn that waits to be committed: its zxid and its record.
pub(super) type Tail = VecDeque<(Zxid, Bytes)>;
