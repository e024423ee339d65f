//! The office of a learner: the link to its leader, and how far it is with it. What comes while the disk is at work
//! waits here. `Learner`, `Follower`, `Observer`.

use std::collections::VecDeque;
use std::time::Duration;

use super::discovery::close;
use super::election::Elected;
use super::notification::Notification;
use super::output::{DiskWork, LinkWork, Output};
use super::packet::Packet;
use super::views::View;
use super::{DiskDone, Epoch, LinkId, Peer, PeerStatus, State, Violation, Zxid};
use crate::config::ServerId;

/// After so many attempts to dial the elected leader, the election was in vain.
const DIALS_MAX: u32 = 20;
/// How long after each. A Java leader listens only once it leads.
const DIAL_INTERVAL: Duration = Duration::from_millis(50);
/// Packets that wait for the disk. The disk is waited for before the link is read on, so there are few.
const DEFERRED_MAX: usize = 100_000;

/// A learner, elected somebody else to lead.
#[derive(Debug)]
#[doc(alias = "Learner")]
pub(super) struct Learning {
    pub(super) elected: Elected,
    pub(super) link: LinkId,
    pub(super) stage: LearnerStage,
    pub(super) epoch: Epoch,
    /// How many times the leader was dialed, and when next.
    pub(super) dials: u32,
    pub(super) redial_at: Option<Duration>,
    /// The leader is given up then, unless it is heard from.
    pub(super) silent_at: Duration,
    /// What came while the disk was at work.
    pub(super) deferred: VecDeque<Packet>,
    /// It was told that this server has no history, so that it sends all of its own.
    pub(super) claims_nothing: bool,
    /// The membership that came with NEWLEADER, if it is new: with UPTODATE it takes over.
    pub(super) membership: Option<View>,
    /// The last txn that was in common with the leader before its first proposal.
    pub(super) baseline: Zxid,
    /// The last txn it sent.
    pub(super) last: Zxid,
    /// A tree came, and is not installed.
    pub(super) is_staged: bool,
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

impl Learning {
    pub(super) fn deadline(&self) -> Duration {
        self.redial_at.map_or(self.silent_at, |at| at.min(self.silent_at))
    }

    /// It came as part of a tree: a Java leader queues what is proposed from before it reads the zxid of the tree it
    /// sends.
    pub(super) fn is_within_tree(&self, zxid: Zxid) -> bool {
        self.is_staged && zxid <= self.baseline
    }

    pub(super) fn describe(&self, status: &mut PeerStatus) {
        status.leader = Some(self.elected.vote.leader);
        status.serves = self.stage == LearnerStage::Serving;
    }
}

impl Peer {
    /// Somebody looks for a leader. If that is the one whom this server is dialing, and it has found a better one, it will
    /// not lead.
    pub(super) fn on_seeker_as_learner(
        &mut self,
        from: ServerId,
        heard: &Notification,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let State::Learning(learning) = &self.state else {
            return;
        };
        let is_dialed = learning.stage == LearnerStage::Dialing && from == learning.elected.vote.leader;
        if is_dialed && self.has_found_better(heard, &learning.elected) {
            self.look_again("the elected leader has found a better one", now, out);
        }
    }

    pub(super) fn begin_learning(&mut self, elected: Elected, now: Duration, out: &mut Vec<Output>) {
        if self.disk_works > 0 {
            return; // What the disk says may change what this server has.
        }
        self.endorsed = None;
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
            // Who cannot be reached cannot lead, however long catching up may take.
            silent_at: now + self.config.sync_limit.min(self.config.init_limit),
            deferred: VecDeque::new(),
            claims_nothing: false,
            membership: None,
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
            // If it is being installed, that comes first.
            self.reload(out);
        }
    }

    /// What is in memory is not what is on disk.
    fn reload(&mut self, out: &mut Vec<Output>) {
        self.tail.clear();
        self.disk_works += 1;
        out.push(Output::Disk(DiskWork::Reload));
    }

    /// The log still has what was to be cut, and this server may come to lead with it.
    pub(super) fn on_truncate_refused(&mut self, out: &mut Vec<Output>) {
        self.wants_snapshot = true;
        self.reload(out);
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
        if let Err(violation) = self.take_leader_packet(packet, now, out) {
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

    fn take_leader_packet(
        &mut self,
        packet: Packet,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
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
            (LearnerStage::Syncing, Packet::NewLeader { epoch, config }) => {
                self.on_newleader(epoch, config, out)
            }
            (LearnerStage::Noted, Packet::UpToDate) => {
                self.on_uptodate(now, out);
                Ok(())
            }
            // It wants no answer from whoever is not in step, and would take it for one to a later PING.
            (LearnerStage::Syncing | LearnerStage::Noted, Packet::Ping { .. }) => Ok(()),
            (LearnerStage::Syncing | LearnerStage::Noted | LearnerStage::Serving, packet) => {
                self.take_broadcast(packet, now, out)
            }
            (_, other) => wrong(&other, "nothing is expected"),
        }
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
                self.restart_log(zxid, out);
                self.continue_from(zxid);
            }
            (DiskDone::TruncateRefused, LearnerStage::Truncating) => {
                self.on_truncate_refused(out);
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
    pub(super) fn take_deferred(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let State::Learning(learning) = &mut self.state
            && !learning.stage.waits_for_disk()
            && let Some(packet) = learning.deferred.pop_front()
        {
            if let Err(violation) = self.take_leader_packet(packet, now, out) {
                return self.break_with_leader(violation, now, out);
            }
        }
    }
}
