//! The office of a leader: whom it has, how far it is with them, how it begins and ends.
//! `Leader`, `LearnerHandler`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::confirm::{Rounds, Syncs};
use super::discovery::close;
use super::election::Elected;
use super::notification::{Notification, PeerState};
use super::output::{Output, Told};
use super::packet::Packet;
use super::views::Views;
use super::{DiskDone, Epoch, LinkId, Peer, PeerStatus, State, Zxid};
use crate::config::ServerId;

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
    /// The epochs of the voters' histories, as they say when they look for a leader.
    pub(super) histories: BTreeMap<ServerId, Epoch>,
    /// Voters who look for a leader still, and have found a better one.
    deserters: BTreeSet<ServerId>,
    /// Followers who get proposals.
    pub(super) followers: Arc<[LinkId]>,
    /// Those of them who get commits, too.
    pub(super) followers_in_step: Arc<[LinkId]>,
    /// Observers who get what is committed.
    pub(super) observers: Arc<[LinkId]>,
    pub(super) syncs: Syncs,
    /// PINGs, and who answered.
    pub(super) rounds: Rounds,
    /// Before it serves: when it gives up. Then: when it pings next.
    pub(super) due: Duration,
    /// It proposes no more, and leaves once a follower has all; by then, or it stays.
    pub(super) hands_over_until: Option<Duration>,
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
    /// What was committed since NEWLEADER was sent, in order: told once that is acknowledged. A Java learner up to 3.8
    /// has forgotten by NEWLEADER which proposals came before it, and fails at their commits until UPTODATE
    /// (ZOOKEEPER-4394).
    pub(super) commits_held: Vec<Packet>,
    /// The last proposal that it acknowledged.
    pub(super) acked: Zxid,
    /// Since when it owes an acknowledgement, and makes no progress.
    pub(super) owing_since: Option<Duration>,
    /// The last round of PINGs that it answered, once it is in step.
    pub(super) answered: u64,
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

impl Leading {
    pub(super) fn deadline(&self) -> Duration {
        self.hands_over_until.map_or(self.due, |until| until.min(self.due))
    }

    pub(super) fn admit(
        &mut self,
        link: LinkId,
        server: ServerId,
        is_observer: bool,
        accepted: Epoch,
        now: Duration,
    ) {
        let (stage, commits_held, acked, owing_since) = (Stage::Greeted, Vec::new(), Zxid::ZERO, None);
        let learner = Learner {
            server,
            is_observer,
            accepted,
            stage,
            heard: now,
            commits_held,
            acked,
            owing_since,
            answered: 0,
        };
        self.learners.insert(link, learner);
    }

    pub(super) fn links_of(&self, server: ServerId) -> impl Iterator<Item = LinkId> {
        self.learners.iter().filter(move |(_, learner)| learner.server == server).map(|(link, _)| *link)
    }

    /// Within `limit`, that is: it is asked twice a tick.
    pub(super) fn has_heard_from(&self, server: ServerId, now: Duration, limit: Duration) -> bool {
        self.learners.values().any(|learner| learner.server == server && now < learner.heard + limit)
    }

    /// A link is gone.
    pub(super) fn remove(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if self.learners.remove(&link).is_some() {
            self.list_recipients();
            out.push(Output::Told(Told::LearnerGone(link)));
        }
    }

    /// Followers who could lead.
    fn successors<'a>(&'a self, views: &'a Views) -> impl Iterator<Item = &'a Learner> {
        let is_ready = |learner: &&Learner| !learner.is_observer && learner.stage == Stage::InStep;
        self.learners
            .values()
            .filter(is_ready)
            .filter(|learner| views.current.quorum.is_candidate(learner.server))
    }

    /// Who gets proposals, and who gets what is committed: all that were sent our history.
    pub(super) fn list_recipients(&mut self) {
        let links = |is_meant: fn(&Learner) -> bool| -> Arc<[LinkId]> {
            self.learners.iter().filter(|(_, learner)| is_meant(learner)).map(|(link, _)| *link).collect()
        };
        let observers = links(|learner| learner.is_observer && learner.was_sent_history());
        let followers_in_step = links(|learner| !learner.is_observer && learner.stage == Stage::InStep);
        self.followers = links(|learner| !learner.is_observer && learner.was_sent_history());
        self.followers_in_step = followers_in_step;
        self.observers = observers;
    }

    pub(super) fn describe(&self, me: ServerId, views: &Views, status: &mut PeerStatus) {
        status.leader = Some(me);
        status.serves = self.phase == LeaderPhase::Serving;
        status.learners = self.learners.len();
        let in_step = || self.learners.values().filter(|learner| learner.stage == Stage::InStep);
        status.synced_observers = in_step().filter(|learner| learner.is_observer).count();
        status.synced_followers = in_step().count() - status.synced_observers;
        let is_voter = |learner: &&Learner| views.current.quorum.is_voter(learner.server);
        status.synced_non_voters = self.synced_followers().filter(|learner| !is_voter(learner)).count();
    }
}

impl Learner {
    fn was_sent_history(&self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::InStep)
    }

    /// Whether it may be one of the quorum with which a reign begins. Who observes so far, and is to vote, may: else nobody
    /// could lead where it is needed for that. It keeps what it promises, and has on its disk what it acknowledges.
    pub(super) fn may_count(&self, views: &Views) -> bool {
        !self.is_observer || views.is_coming_voter(self.server)
    }

    pub(super) fn has_promised(&self) -> bool {
        match self.stage {
            Stage::Greeted | Stage::Invited => false,
            Stage::Promised { counts, .. } => counts,
            Stage::Tracing { .. } | Stage::Opening | Stage::Sent | Stage::InStep => true,
        }
    }
}

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
            histories: BTreeMap::new(),
            deserters: BTreeSet::new(),
            followers: Arc::new([]),
            followers_in_step: Arc::new([]),
            observers: Arc::new([]),
            syncs: Syncs::default(),
            rounds: Rounds::default(),
            due: now + self.config.init_limit,
            hands_over_until: None,
        }));
        self.endorsed = None;
        self.admit_visitors(now, out);
    }

    /// Somebody looks for a leader. Java's servers wait for a better vote for longer than ours, so those who elected this
    /// one may have found it: if nobody has come, and the others are too few, nobody will.
    pub(super) fn on_seeker_as_leader(
        &mut self,
        from: ServerId,
        heard: &Notification,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let State::Leading(leading) = &self.state else {
            return;
        };
        if heard.state != PeerState::Looking || !self.views.is_voter(from) {
            return;
        }
        let is_deserter = self.has_found_better(heard, &leading.elected);
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if heard.vote.leader == from {
            leading.histories.insert(from, heard.vote.peer_epoch);
        }
        if is_deserter {
            leading.deserters.insert(from);
        } else {
            leading.deserters.remove(&from);
        }
        let may_come = |id: &ServerId| !leading.deserters.contains(id) || leading.links_of(*id).count() > 0;
        let left: Vec<_> = self.views.voters().filter(may_come).collect();
        if leading.phase == LeaderPhase::Gathering && !self.views.is_quorum(left.into_iter()) {
            self.look_again("those who elected this server have found a better one", now, out);
        }
    }

    /// Leadership goes to a follower, for instance because this server is about to stop: no more is proposed from
    /// here on, and once a follower has everything, an election begins in which this server speaks for that one.
    /// Given up after a tick, so that nobody waits for longer. `false` unless this server leads and has a follower who could.
    pub fn hand_over(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let State::Leading(leading) = &mut self.state else {
            return false;
        };
        if leading.phase != LeaderPhase::Serving || leading.successors(&self.views).next().is_none() {
            return false;
        }
        leading.hands_over_until = Some(now + self.config.tick);
        self.try_hand_over(now, out);
        true
    }

    /// Whether [`Peer::propose`] must wait: somebody else will lead soon.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        matches!(&self.state, State::Leading(leading) if leading.hands_over_until.is_some())
    }

    /// Leadership is not handed over after all.
    pub fn keep_leading(&mut self) {
        if let State::Leading(leading) = &mut self.state {
            leading.hands_over_until = None;
        }
    }

    pub(super) fn try_hand_over(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(until) = leading.hands_over_until else {
            return;
        };
        // The rest will think the one with the largest number best, too.
        let has_all = |learner: &&Learner| learner.owing_since.is_none();
        let successor = leading.successors(&self.views).filter(has_all).map(|learner| learner.server).max();
        if let (Some(successor), true) = (successor, self.tail.is_empty()) {
            info!(%successor, "handing leadership over");
            self.endorsed = Some(successor);
            self.look_again("leadership is handed over", now, out);
        } else if until <= now {
            warn!("no follower could take leadership over in time");
            leading.hands_over_until = None;
        }
    }

    pub(super) fn leave_leading(&mut self, leading: Leading, out: &mut Vec<Output>) {
        out.extend(leading.learners.into_keys().map(|link| close(link, None)));
    }

    pub(super) fn on_leader_disk(&mut self, done: DiskDone, now: Duration, out: &mut Vec<Output>) {
        match done {
            DiskDone::AcceptedEpoch(_) => self.on_leader_promised(now, out),
            DiskDone::CurrentEpoch(_) => self.on_reign_noted(now, out),
            DiskDone::Persisted(_) => {
                self.count_synced(now, out);
                self.try_commit(now, out);
                self.try_hand_over(now, out);
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
    }
}
