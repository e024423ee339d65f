//! Phase 3: the leader proposes, a quorum logs, the leader commits, in order. ZAB paper, section "Broadcast";
//! `Leader.propose`, `processAck`, `tryToCommit`, `FollowerZooKeeperServer.commit`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::leader::{LeaderPhase, Leading, Learner, Stage};
use super::learner::LearnerStage;
use super::output::{DiskWork, LinkWork, Output, Recipients, Told};
use super::packet::Packet;
use super::{LinkId, Peer, Quorum, Run, State, Violation, Zxid};
use crate::config::ServerId;

fn send_to_all(to: &Arc<[LinkId]>, packet: impl FnOnce() -> Packet, out: &mut Vec<Output>) {
    if !to.is_empty() {
        out.push(Output::Link(LinkWork::Send { to: Recipients::Many(Arc::clone(to)), packet: packet() }));
    }
}

/// Says `packet` at once with what was to be sent last, if that went the same way and can be joined.
fn join_last(out: &mut [Output], goes_along: impl FnOnce(&Recipients) -> bool, packet: &Packet) -> bool {
    match out.last_mut() {
        Some(Output::Link(LinkWork::Send { to, packet: last })) if goes_along(to) => last.join(packet),
        _ => false,
    }
}

// The leader's half.
impl Peer {
    /// Proposes a txn: `record` is its header, body and digest. Not to be called unless this server leads. `false`
    /// when this epoch has no zxids left: it is not proposed, and an election begins.
    #[doc(alias = "Leader.propose")]
    pub fn propose(&mut self, zxid: Zxid, record: Bytes, now: Duration, out: &mut Vec<Output>) -> bool {
        if zxid.counter() > self.config.epoch_txns_max {
            self.look_again("the epoch's zxids are used up", now, out);
            return false;
        }
        let State::Leading(leading) = &mut self.state else {
            unreachable!("only a leader proposes");
        };
        assert!(leading.phase == LeaderPhase::Serving, "{zxid} is proposed by a leader that does not serve");
        assert!(zxid.may_follow(self.log.logged), "{zxid} is proposed after {}", self.log.logged);
        for learner in leading.learners.values_mut().filter(|learner| learner.stage == Stage::InStep) {
            if !learner.is_observer {
                learner.owing_since.get_or_insert(now);
            }
        }
        send_to_all(&leading.followers, || Packet::Proposal { zxid, record: record.clone() }, out);
        self.foresee(zxid, &record, out);
        self.append(zxid, record, out);
        true
    }

    /// To the log, to wait for its commit.
    fn append(&mut self, zxid: Zxid, record: Bytes, out: &mut Vec<Output>) {
        self.log.logged = zxid;
        self.tail.push_back((zxid, record.clone()));
        out.push(Output::Disk(DiskWork::Append { zxid, record }));
    }

    /// Notes `link`'s ack, then commits what has its quorum. TLA+ `LeaderProcessACK`, `LeaderTryToCommit`.
    #[doc(alias = "processAck")]
    pub(super) fn on_ack(
        &mut self,
        link: LinkId,
        zxid: Zxid,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        let proposed = self.log.logged;
        let State::Leading(leading) = &mut self.state else {
            return Ok(());
        };
        let Some(learner) = leading.learners.get_mut(&link) else {
            return Ok(());
        };
        if zxid.counter() == 0 {
            return Ok(()); // UPTODATE's.
        }
        if zxid > proposed {
            return Err(Violation::AckFromTheFuture { proposed, found: zxid });
        }
        learner.acked = learner.acked.max(zxid);
        if learner.stage != Stage::InStep {
            return Ok(()); // A Java 3.8 follower's log may be quicker than its word on NEWLEADER, which must come first.
        }
        learner.owing_since = (learner.acked < proposed).then_some(now);
        if zxid > self.log.committed {
            self.try_commit(now, out);
        }
        Ok(())
    }

    /// Commits what has its quorums. A reconfiguration changes what that means for all that comes behind it.
    pub(super) fn try_commit(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let Some(committed) = self.newly_committed() {
            let next = self.views.next.as_ref().map(|next| Zxid(next.version()));
            let State::Leading(leading) = &self.state else {
                return;
            };
            let activates = next == Some(committed);
            let designated = activates.then(|| self.designated_leader(leading));
            self.commit_proposals(committed, designated, out);
            match designated {
                Some(designated) => self.activate_as_leader(designated, now, out),
                None => return,
            }
        }
    }

    /// The last proposal that can be committed now, but none behind a reconfiguration that can.
    fn newly_committed(&self) -> Option<Zxid> {
        let State::Leading(leading) = &self.state else {
            return None;
        };
        if leading.phase != LeaderPhase::Serving || self.tail.is_empty() {
            return None;
        }
        let acks = leading.synced_followers().map(|learner| (learner.acked, learner.server));
        let mut acks: Vec<_> = acks.chain([(self.log.persisted, self.config.me)]).collect();
        acks.sort_unstable_by(|one, other| other.cmp(one));
        let reached = reached_by(&self.views.current.quorum, &acks)?;
        let committed = match &self.views.next {
            Some(next) if reached.0 >= next.version() => {
                let reconfig = Zxid(next.version());
                if reached_by(&next.quorum, &acks) >= Some(reconfig) {
                    reconfig
                } else {
                    self.tail.iter().rev().find(|(zxid, _)| *zxid < reconfig)?.0
                }
            }
            _ => reached,
        };
        Some(committed).filter(|committed| *committed > self.log.committed)
    }

    /// Up to `committed`, which is a reconfiguration if it designates a leader.
    fn commit_proposals(&mut self, committed: Zxid, designated: Option<ServerId>, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let mut last = None;
        while let Some((zxid, record)) = self.tail.pop_front_if(|(zxid, _)| *zxid <= committed) {
            leading.answer_syncs_before(zxid, out);
            match designated.filter(|_| zxid == committed) {
                None => {
                    leading.tell_committed(&Packet::Commit(zxid.into()), out);
                    send_to_all(&leading.observers, || Packet::Inform { zxid, record: record.clone() }, out);
                }
                Some(leader) => {
                    leading.tell_committed(&Packet::CommitAndActivate { zxid, leader }, out);
                    let inform = || Packet::InformAndActivate { zxid, leader, record: record.clone() };
                    send_to_all(&leading.observers, inform, out);
                }
            }
            leading.answer_syncs_behind(zxid, out);
            self.window.push(zxid, record);
            last = Some(zxid);
        }
        if let Some(last) = last {
            self.log.committed = last;
            out.push(Output::Told(Told::Committed(last)));
        }
    }
}

/// The last proposal that a quorum has. `acks` begin with the newest: they come in the order of proposals, on disk and on
/// the wire, so whoever has acknowledged one has all before it.
fn reached_by(quorum: &Quorum, acks: &[(Zxid, ServerId)]) -> Option<Zxid> {
    (1..=acks.len()).find_map(|count| {
        let has = acks[..count].iter().map(|(_, server)| *server);
        quorum.is_quorum(has).then_some(acks[count - 1].0)
    })
}

// The learner's half.
impl Peer {
    /// PROPOSAL, COMMIT, INFORM, before UPTODATE and after.
    pub(super) fn take_broadcast(
        &mut self,
        packet: Packet,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        match packet {
            Packet::Proposal { zxid, record } => self.on_proposal(zxid, record, out),
            Packet::Commit(run) => self.on_commit(run, out),
            Packet::Inform { zxid, record } => {
                self.on_proposal(zxid, record, out)?;
                self.on_commit(zxid.into(), out)
            }
            Packet::CommitAndActivate { zxid, leader } => {
                self.on_commit(zxid.into(), out)?;
                self.activate_as_learner(zxid, leader, now, out);
                Ok(())
            }
            Packet::InformAndActivate { zxid, leader, record } => {
                self.on_proposal(zxid, record, out)?;
                self.on_commit(zxid.into(), out)?;
                self.activate_as_learner(zxid, leader, now, out);
                Ok(())
            }
            other => self.take_service(other, out),
        }
    }

    fn on_proposal(&mut self, zxid: Zxid, record: Bytes, out: &mut Vec<Output>) -> Result<(), Violation> {
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        if learning.is_within_tree(zxid) {
            return Ok(());
        }
        if !zxid.may_follow(learning.last) {
            // A Java leader's log goes on behind a SNAP that it got itself. Then not what is in the log is wanted.
            self.wants_snapshot = true;
            return Err(Violation::Gap { last: learning.last, found: zxid });
        }
        learning.last = zxid;
        learning.awaiting.push_back(zxid);
        learning.to_ack.push_back(zxid);
        out.push(Output::Told(Told::Proposed { zxid, record: record.clone() }));
        if self.is_staged() {
            self.tail.push_back((zxid, record)); // Its log begins once the tree is installed.
        } else {
            self.foresee(zxid, &record, out);
            self.append(zxid, record, out);
        }
        Ok(())
    }

    fn on_commit(&mut self, run: Run, out: &mut Vec<Output>) -> Result<(), Violation> {
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        let (mut committed, mut outcome) = (None, Ok(()));
        for zxid in run.iter() {
            if learning.is_within_tree(zxid) {
                continue;
            }
            if learning.awaiting.pop_front_if(|next| *next == zxid).is_none() {
                let expected = learning.awaiting.front().copied();
                outcome = Err(Violation::CommitOutOfOrder { expected, found: zxid });
                break;
            }
            committed = Some(zxid);
        }
        if let Some(committed) = committed {
            self.commit_to(committed, out);
        }
        outcome
    }

    pub(super) fn commit_to(&mut self, committed: Zxid, out: &mut Vec<Output>) {
        while let Some((zxid, record)) = self.tail.pop_front_if(|(zxid, _)| *zxid <= committed) {
            self.window.push(zxid, record);
        }
        self.log.committed = committed;
        out.push(Output::Told(Told::Committed(committed)));
    }

    /// Acknowledges what is on disk, once NEWLEADER is acknowledged. Observers do not count, so they are quiet.
    #[doc(alias = "SendAckRequestProcessor")]
    pub(super) fn ack_persisted(&mut self, out: &mut Vec<Output>) {
        let is_observer = self.observes();
        let persisted = self.log.persisted;
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        if learning.stage < LearnerStage::Noted {
            return;
        }
        while let Some(zxid) = learning.to_ack.pop_front_if(|zxid| *zxid <= persisted) {
            let (link, ack) = (learning.link, Packet::Ack(zxid.into()));
            let goes_along = |to: &Recipients| matches!(to, Recipients::One(one) if *one == link);
            if !is_observer && !join_last(out, goes_along, &ack) {
                out.push(super::discovery::send(link, ack));
            }
        }
    }
}

impl Leading {
    /// Followers that owe acks for so long that they must hang.
    pub(super) fn hanging(&self, limit: Duration, now: Duration) -> Vec<LinkId> {
        let hangs = |since: Option<Duration>| since.is_some_and(|since| since + limit <= now);
        self.learners
            .iter()
            .filter(|(_, learner)| hangs(learner.owing_since))
            .map(|(link, _)| *link)
            .collect()
    }

    /// Tells followers of a commit; those that are not in step yet will be told.
    fn tell_committed(&mut self, commit: &Packet, out: &mut Vec<Output>) {
        let goes_along = |to: &Recipients| matches!(to, Recipients::Many(many) if Arc::ptr_eq(many, &self.followers_in_step));
        if !join_last(out, goes_along, commit) {
            send_to_all(&self.followers_in_step, || commit.clone(), out);
        }
        if self.followers_in_step.len() < self.followers.len() {
            let is_waiting = |learner: &&mut Learner| !learner.is_observer && learner.stage == Stage::Sent;
            let waiting = self.learners.values_mut().filter(is_waiting);
            waiting.for_each(|learner| learner.commits_held.push(commit.clone()));
        }
    }
}
