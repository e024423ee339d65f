//! Phase 2: every learner gets the leader's history, and a quorum has it on disk before the leader serves. ZAB paper,
//! section "Synchronization"; `LearnerHandler.syncFollower`, `Learner.syncWithLeader`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, info};

use super::discovery::{close, send};
use super::input::Trace;
use super::leader::{LeaderPhase, Learner, Stage};
use super::learner::LearnerStage;
use super::output::{DiskWork, LinkWork, Output, Told};
use super::packet::Packet;
use super::window::{Place, Window};
use super::{Epoch, LinkId, Log, Peer, State, Violation, Zxid};

// The leader's half.
impl Peer {
    /// The end of what learners get as history: all of it is committed, or will be before anybody serves.
    fn history_end(&self) -> Zxid {
        match &self.state {
            State::Leading(leading) => leading.own_history.1.max(self.log.committed),
            _ => self.log.committed,
        }
    }

    /// Sends its share to everybody who waits for it.
    pub(super) fn sync_all(&mut self, now: Duration, out: &mut Vec<Output>) {
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
        self.count_synced(now, out);
    }

    /// DIFF, TRUNC or SNAP?
    pub(super) fn begin_sync(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if self.holds_newcomers() {
            return;
        }
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
    pub(super) fn on_traced(&mut self, link: LinkId, trace: Trace, out: &mut Vec<Output>) {
        let is_held = self.holds_newcomers();
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(&mut Learner { stage: Stage::Tracing { last }, .. }) = leading.learners.get_mut(&link)
        else {
            return;
        };
        match trace {
            _ if is_held => self.turn_away(link, out),
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

    pub(super) fn on_snapshot_opened(&mut self, link: LinkId, zxid: Zxid, out: &mut Vec<Output>) {
        let is_awaited = match &self.state {
            State::Leading(leading) => {
                leading.learners.get(&link).is_some_and(|learner| learner.stage == Stage::Opening)
            }
            _ => false,
        };
        if !is_awaited {
            return; // Its link has gone, and the driver lets go of the snapshot with it.
        }
        if self.holds_newcomers() {
            return self.turn_away(link, out);
        }
        out.push(send(link, Packet::Snap(zxid)));
        out.push(Output::Link(LinkWork::SendSnapshot { link }));
        self.send_rest(link, zxid, out);
    }

    /// It comes back when it can be let in.
    fn turn_away(&mut self, link: LinkId, out: &mut Vec<Output>) {
        out.push(close(link, None));
        self.on_learner_lost(link, out);
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
            out.push(send(link, Packet::Commit((*zxid).into())));
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
        let (epoch, config) = (leading.epoch, Some(self.views.seen().text.clone()));
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
        learner.answered = leading.rounds.last();
        let commits_held = std::mem::take(&mut learner.commits_held);
        learner.owing_since = (!self.tail.is_empty() && !learner.is_observer).then_some(now);
        info!(server = %learner.server, "a learner is in step");
        leading.list_recipients();
        if leading.phase == LeaderPhase::Serving {
            out.push(send(link, Packet::UpToDate));
            out.extend(commits_held.into_iter().map(|commit| send(link, commit)));
            self.try_commit(now, out);
        } else {
            self.count_synced(now, out);
        }
    }

    /// A quorum has the history: it is committed, and the leader serves.
    #[doc(alias = "waitForNewLeaderAck")]
    pub(super) fn count_synced(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Noted || self.log.persisted < self.log.logged {
            return;
        }
        let in_step = || leading.learners.iter().filter(|(_, learner)| learner.stage == Stage::InStep);
        let followers = in_step().filter(|(_, learner)| learner.may_count(&self.views));
        let servers = followers.map(|(_, learner)| learner.server).chain([self.config.me]);
        if !self.views.is_quorum(servers) {
            return;
        }
        out.extend(in_step().map(|(link, _)| send(*link, Packet::UpToDate)));
        leading.phase = LeaderPhase::Serving;
        leading.elected.vote.peer_epoch = leading.epoch;
        leading.due = Duration::ZERO; // It pings at once.
        let epoch = leading.epoch;
        self.log.committed = leading.own_history.1;
        self.wants_snapshot = false;
        info!(epoch = epoch.0, history_end = %self.log.committed, "leading");
        out.push(Output::Told(Told::Committed(self.log.committed)));
        // So is the membership that the history brought.
        if let Some(next) = self.views.next.take() {
            self.adopt(next, out);
        }
        if self.views.is_voter(self.config.me) {
            out.push(Output::Told(Told::Lead(epoch)));
        } else {
            self.look_again("the membership leaves it out", now, out);
        }
    }
}

// The learner's half.
impl Peer {
    /// Ours is part of the leader's history.
    pub(super) fn on_diff(&mut self, out: &mut Vec<Output>) {
        match &self.state {
            // It took the zxid 0 at its word.
            State::Learning(learning) if learning.claims_nothing => self.stage_tree(Zxid::ZERO, out),
            _ => self.continue_from(self.log.logged),
        }
    }

    pub(super) fn continue_from(&mut self, baseline: Zxid) {
        if let State::Learning(learning) = &mut self.state {
            learning.stage = LearnerStage::Syncing;
            learning.baseline = baseline;
            learning.last = baseline;
        }
    }

    pub(super) fn on_trunc(&mut self, zxid: Zxid, out: &mut Vec<Output>) -> Result<(), Violation> {
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

    pub(super) fn on_snap(&mut self, zxid: Zxid) {
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
    pub(super) fn on_newleader(
        &mut self,
        epoch: Epoch,
        config: Option<Bytes>,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        let view = config.and_then(|config| self.newer_view(&config, &self.views.current));
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        if epoch != learning.epoch {
            return Err(Violation::OldEpoch { proposed: epoch, accepted: learning.epoch });
        }
        self.disk_works += 1;
        learning.membership.clone_from(&view);
        let (stage, work) = if learning.is_staged {
            self.installing.clone_from(&view);
            (LearnerStage::Installing, DiskWork::Install)
        } else {
            (LearnerStage::Noting, DiskWork::SaveCurrentEpoch(epoch))
        };
        learning.stage = stage;
        // From the acknowledgement on, the membership's quorum counts. It is noted before the tree that brings it: a start
        // which finds that one must know that its last reconfiguration may not be committed.
        if let Some(view) = view {
            self.expect(view, out);
        }
        out.push(Output::Disk(work));
        Ok(())
    }

    /// The leader's tree is ours, on disk too; what it has not committed goes to the log.
    pub(super) fn on_installed(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        self.log = Log { logged: zxid, persisted: zxid, committed: zxid };
        let (epoch, tail) = (learning.epoch, self.tail.clone());
        // Until the old log was void, what it proposed was to be reckoned with.
        self.change_history(out);
        for (zxid, record) in tail {
            self.foresee(zxid, &record, out);
            self.log.logged = zxid;
            out.push(Output::Disk(DiskWork::Append { zxid, record }));
        }
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.is_staged = false;
        learning.stage = LearnerStage::Noting;
        self.disk_works += 1;
        out.push(Output::Disk(DiskWork::SaveCurrentEpoch(epoch)));
    }

    /// The history is on disk, and whose it is.
    pub(super) fn on_noted(&mut self, out: &mut Vec<Output>) {
        self.wants_snapshot = false;
        self.log.persisted = self.log.logged;
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.stage = LearnerStage::Noted;
        out.push(send(learning.link, Packet::Ack(learning.epoch.beginning().into())));
        // Nobody waits for the acks of what was committed meanwhile.
        learning.to_ack.clone_from(&learning.awaiting);
        self.ack_persisted(out);
    }

    /// A quorum has the history: serve.
    pub(super) fn on_uptodate(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.stage = LearnerStage::Serving;
        learning.elected.vote.peer_epoch = learning.epoch;
        let (leader, epoch, baseline) = (learning.elected.vote.leader, learning.epoch, learning.baseline);
        out.push(send(learning.link, Packet::Ack(epoch.beginning().into())));
        if self.log.committed < baseline {
            self.commit_to(baseline, out);
        }
        let observed = self.observes();
        if let State::Learning(learning) = &mut self.state
            && let Some(view) = learning.membership.take()
            && view.version() > self.views.current.version()
            && !is_outstanding(Zxid(view.version()), epoch, self.log.committed)
        {
            self.adopt(view, out);
            if self.observes() != observed || !self.views.is_voter(leader) {
                return self.look_again("the membership has changed", now, out);
            }
        }
        info!(%leader, epoch = epoch.0, "in step");
        out.push(Output::Told(Told::Follow { leader, epoch }));
    }
}

/// Has the leader of `epoch` proposed it, and not committed yet? A Java leader sends the membership that it proposes to
/// those who join meanwhile.
fn is_outstanding(zxid: Zxid, epoch: Epoch, committed: Zxid) -> bool {
    zxid.epoch() == epoch && zxid > committed && !is_beginning(zxid)
}

/// A zxid that no txn has: the beginning of an epoch.
fn is_beginning(zxid: Zxid) -> bool {
    zxid.counter() == 0
}

/// A txn that waits to be committed: its zxid and its record.
pub(super) type Tail = VecDeque<(Zxid, Bytes)>;
