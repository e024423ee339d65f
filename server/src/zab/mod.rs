//! Consensus: ZooKeeper's own atomic broadcast (ZAB) and its leader election, as a machine without sockets, disk
//! or clock. A lone server is its own quorum and needs none of it but the order of txns: the [`Zxid`].
//!
//! [`Peer::step`] takes an [`Input`] and the time; what is to be done comes out as [`Output`]s. The files are cut
//! by phase, so that a packet's sender and its receiver stand in one place:
//!
//! | phase | file | packets |
//! | --- | --- | --- |
//! | 0, election | [`election`] | votes, on links of their own |
//! | 1, discovery | [`discovery`] | FOLLOWERINFO, LEADERINFO, ACKEPOCH |
//! | 2, synchronisation | [`sync`] | DIFF, TRUNC, SNAP, NEWLEADER, UPTODATE |
//! | 3, broadcast | [`broadcast`] | PROPOSAL, ACK, COMMIT, INFORM |
//! | ever after | [`service`], [`confirm`] | PING, REQUEST, REVALIDATE, SYNC |
//! | new members | [`reconfig`], [`views`] | COMMITANDACTIVATE, INFORMANDACTIVATE |
//!
//! Who leads is a [`leader`], who follows or observes a [`learner`]: what each remembers, how it begins and ends, and
//! which of the above a packet or the disk's answer goes to.
//!
//! What the peer promises: a txn is told as committed only when a quorum has it on disk, and then it is in the
//! history of every later leader (ZAB, "A simple totally ordered broadcast protocol", Junqueira et al.). The disk's
//! answers come back as inputs, so no driver can break that by doing things in another order.

mod broadcast;
mod confirm;
mod discovery;
mod election;
mod input;
mod leader;
mod learner;
mod notification;
mod output;
mod packet;
mod quorum;
mod reconfig;
mod service;
mod sync;
mod views;
mod violation;
mod window;
mod zxid;

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

pub use confirm::Confirmation;
pub use input::{DiskDone, Input, LinkId, Trace};
pub use notification::{Malformed as MalformedNotification, Notification, PeerState, Vote};
pub use output::{DiskWork, LinkWork, Output, Recipients, Told};
pub use packet::{Malformed as MalformedPacket, Packet, Receiver};
pub use quorum::Quorum;
pub use violation::Violation;
pub use zxid::{Epoch, Run, Zxid};

use crate::config::{Membership, Role, ServerId};
use crate::storage::Epochs;
use discovery::Visitor;
use election::{Elected, Election};
use leader::Leading;
use learner::Learning;
use sync::Tail;
use views::{View, Views};
use window::Window;

/// Learners that dialed and have not been let in yet. One more is turned away.
const VISITORS_MAX: usize = 512;

/// What the peer must be told.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// `myid`.
    pub me: ServerId,
    /// Who belongs to the ensemble, and who counts.
    pub membership: Membership,
    /// The membership of a reconfiguration that the log has, if it is not known to be committed.
    pub next: Option<Membership>,
    /// `reconfigEnabled`.
    pub reconfig: bool,
    /// It observes, unless the membership says what it does: `peerType`.
    pub is_observer: bool,
    /// The database may have been lost: this server must not be elected until it has been brought up to date.
    pub maybe_lost: bool,
    /// `tickTime`.
    pub tick: Duration,
    /// `initLimit`: how long a learner may take to connect and catch up.
    pub init_limit: Duration,
    /// `syncLimit`: how long a peer may stay silent.
    pub sync_limit: Duration,
    /// `fastleader.minNotificationInterval`.
    pub notification_interval_min: Duration,
    /// `fastleader.maxNotificationInterval`.
    pub notification_interval_max: Duration,
    /// `commitLogCount`: the newest txns, which are kept at hand for learners that come back.
    pub window_txns_max: usize,
    /// So many txns an epoch has room for: [`Zxid::COUNTER_MAX`], or fewer so that tests see its end.
    pub epoch_txns_max: u32,
}

/// What the disk remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The epochs.
    pub promises: Epochs,
    /// The last txn in the log, or in the snapshot if that is newer.
    pub last: Zxid,
}

/// One server's part in the ensemble.
#[derive(Debug)]
#[doc(alias = "QuorumPeer")]
pub struct Peer {
    config: PeerConfig,
    views: Views,
    /// Of a tree that is being installed: the membership that it brings, if that may not be committed.
    installing: Option<View>,
    is_observer: bool,
    promises: Epochs,
    log: Log,
    /// Txns that are logged, or wait for that, and are not committed.
    tail: Tail,
    /// The newest of the committed txns.
    window: Window,
    /// Answers that the disk owes, but for those to appends. No office is taken before they are there.
    disk_works: u32,
    /// The log could not be cut as a leader wanted it, or he left something out: the next one is asked for a whole
    /// tree.
    wants_snapshot: bool,
    /// This server led, and wants this one to lead next.
    endorsed: Option<ServerId>,
    /// In this election, and as long as what it found lasts: see [`Election::reconsider_at`].
    prefers_current: bool,
    /// The election's number: `electionEpoch`, `logicalclock`.
    round: i64,
    /// Learners that dialed, while it is not known who leads; by their links.
    visitors: BTreeMap<LinkId, Visitor>,
    /// How many times this server dialed.
    dialed: u32,
    state: State,
}

/// Where the log stands. `committed <= logged`, and `persisted <= logged`
#[derive(Debug, Clone, Copy)]
struct Log {
    /// The last txn appended.
    logged: Zxid,
    /// The last one safe on this disk.
    persisted: Zxid,
    /// The last one known to be committed.
    committed: Zxid,
}

#[derive(Debug)]
enum State {
    /// Between two of the others.
    Idle,
    Looking(Election),
    Leading(Box<Leading>),
    Learning(Box<Learning>),
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// What it does.
    pub state: PeerState,
    /// It serves: leads a quorum, or is in step with a leader.
    pub serves: bool,
    /// Who leads, if that is known.
    pub leader: Option<ServerId>,
    /// `acceptedEpoch`, `currentEpoch`.
    pub promises: Epochs,
    /// The last txn in the log.
    pub logged: Zxid,
    /// The last one known to be committed.
    pub committed: Zxid,
    /// The election's number.
    pub round: i64,
    /// Followers and observers that are in step (of a leader).
    pub synced_followers: usize,
    /// Of the followers, those that do not vote (of a leader).
    pub synced_non_voters: usize,
    /// Observers that are in step (of a leader).
    pub synced_observers: usize,
    /// All learners with a link (of a leader).
    pub learners: usize,
    /// Proposals that no quorum has yet (of a leader).
    pub outstanding: usize,
}

impl Peer {
    /// A peer with `history`. The first [`Input::Tick`] has it look for a leader.
    #[must_use]
    pub fn new(config: PeerConfig, history: History) -> Self {
        let last = history.last;
        let wants_snapshot = config.maybe_lost && last == Zxid::ZERO;
        let window = Window::new(config.window_txns_max, last);
        let views = Views::new(config.membership.clone(), config.next.clone());
        let role = config.membership.role_of(config.me);
        let is_observer = role.map_or(config.is_observer, |role| role == Role::Observer);
        Self {
            config,
            views,
            installing: None,
            is_observer,
            promises: history.promises,
            log: Log { logged: last, persisted: last, committed: Zxid::ZERO },
            tail: Tail::new(),
            window,
            disk_works: 0,
            // A log that begins without a stored tree could not be told from one whose tree was lost.
            wants_snapshot,
            endorsed: None,
            prefers_current: false,
            round: 0,
            visitors: BTreeMap::new(),
            dialed: 0,
            state: State::Idle,
        }
    }

    /// Takes in one input; `out` gets what is to be done about it. `now` never goes back.
    pub fn step(&mut self, input: Input, now: Duration, out: &mut Vec<Output>) {
        match input {
            Input::Notification { from, notification } => self.on_notification(from, &notification, now, out),
            Input::LinkUp(link) => self.on_link_up(link, now, out),
            Input::Packet { link, packet } => self.on_packet(link, packet, now, out),
            Input::SnapshotReceived { link } => self.on_snapshot_received(link, now, out),
            Input::LinkDown(link) => self.on_link_down(link, now, out),
            Input::Disk(done) => self.on_disk(done, now, out),
            Input::Tick => self.on_tick(now, out),
        }
    }

    /// When to step [`Input::Tick`] if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let state = match &self.state {
            State::Idle => Some(Duration::ZERO),
            State::Looking(_) if self.disk_works > 0 => None,
            State::Looking(election) => Some(election.deadline()),
            State::Leading(leading) => Some(leading.deadline()),
            State::Learning(learning) => Some(learning.deadline()),
        };
        let visitors = self.visitors.values().map(Visitor::deadline).min();
        [state, visitors].into_iter().flatten().min()
    }

    /// Where the peer stands.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        let mut status = PeerStatus {
            state: self.state_name(),
            serves: false,
            leader: None,
            promises: self.promises,
            logged: self.log.logged,
            committed: self.log.committed,
            round: self.round,
            synced_followers: 0,
            synced_non_voters: 0,
            synced_observers: 0,
            learners: 0,
            outstanding: 0,
        };
        match &self.state {
            State::Idle | State::Looking(_) => {}
            State::Leading(leading) => leading.describe(self.config.me, &self.views, &mut status),
            State::Learning(learning) => learning.describe(&mut status),
        }
        status
    }

    fn state_name(&self) -> PeerState {
        match &self.state {
            State::Idle | State::Looking(_) => PeerState::Looking,
            State::Leading(_) => PeerState::Leading,
            State::Learning(_) if self.observes() => PeerState::Observing,
            State::Learning(_) => PeerState::Following,
        }
    }

    fn observes(&self) -> bool {
        self.is_observer
    }

    fn on_notification(
        &mut self,
        from: ServerId,
        heard: &Notification,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Looking(_) if self.learn_membership(&heard.config, out) => {
                self.look_again("", now, out);
                self.on_notification(from, heard, now, out);
            }
            State::Looking(mut election) => {
                let elected = self.on_vote_looking(&mut election, from, heard, now, out);
                self.state = State::Looking(election);
                self.take_office(elected, now, out);
            }
            State::Leading(leading) => {
                let elected = leading.elected;
                self.state = State::Leading(leading);
                self.on_vote_in_office(from, heard, elected, out);
                self.on_seeker_as_leader(from, heard, now, out);
            }
            State::Learning(learning) => {
                let elected = learning.elected;
                self.state = State::Learning(learning);
                self.on_vote_in_office(from, heard, elected, out);
                self.on_seeker_as_learner(from, heard, now, out);
            }
        }
    }

    /// The election is over, if it found somebody.
    fn take_office(&mut self, elected: Option<Elected>, now: Duration, out: &mut Vec<Output>) {
        let Some(elected) = elected else {
            return;
        };
        info!(leader = %elected.vote.leader, round = elected.round, "elected");
        if elected.vote.leader == self.config.me {
            self.begin_leading(elected, now, out);
        } else {
            self.begin_learning(elected, now, out);
        }
    }

    /// Gives up whatever it does, for an election.
    fn look_again(&mut self, why: &str, now: Duration, out: &mut Vec<Output>) {
        self.leave(why, out);
        out.push(Output::Told(Told::Look));
        let election = self.look(now, out);
        self.state = State::Looking(election);
        self.on_tick(now, out);
    }

    fn leave(&mut self, why: &str, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Looking(_) => {}
            State::Leading(leading) => {
                warn!(why, epoch = leading.epoch.0, "leading no more");
                self.prefers_current = false;
                self.leave_leading(*leading, out);
            }
            State::Learning(learning) => {
                warn!(why, leader = %learning.elected.vote.leader, "following no more");
                self.prefers_current = false;
                self.leave_learning(*learning, out);
            }
        }
    }

    fn on_tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.dismiss_silent_visitors(now, out);
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.look_again("", now, out),
            State::Looking(mut election) => {
                let elected = self.on_election_tick(&mut election, now, out);
                self.state = State::Looking(election);
                self.take_office(elected, now, out);
            }
            State::Leading(leading) => {
                self.state = State::Leading(leading);
                self.on_leader_tick(now, out);
            }
            State::Learning(learning) => {
                self.state = State::Learning(learning);
                self.on_learner_tick(now, out);
            }
        }
    }

    fn on_link_up(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        match link {
            LinkId::Leader(_) => self.on_leader_reached(link, now, out),
            LinkId::Learner(_) => self.receive_visitor(link, now, out),
        }
    }

    fn on_link_down(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        match link {
            LinkId::Leader(_) => self.on_leader_lost(link, now, out),
            LinkId::Learner(_) => {
                self.visitors.remove(&link);
                self.on_learner_lost(link, out);
            }
        }
    }

    fn on_packet(&mut self, link: LinkId, packet: Packet, now: Duration, out: &mut Vec<Output>) {
        match link {
            LinkId::Leader(_) => self.on_leader_packet(link, packet, now, out),
            LinkId::Learner(_) if self.visitors.contains_key(&link) => {
                self.on_visitor_packet(link, packet, now, out);
            }
            LinkId::Learner(_) => self.on_learner_packet(link, packet, now, out),
        }
    }

    fn on_disk(&mut self, done: DiskDone, now: Duration, out: &mut Vec<Output>) {
        match done {
            DiskDone::Persisted(zxid) => {
                assert!(
                    zxid <= self.log.logged,
                    "{zxid} is on disk, but only {} was logged",
                    self.log.logged
                );
                self.log.persisted = self.log.persisted.max(zxid);
            }
            DiskDone::AcceptedEpoch(epoch) => self.promises.accepted = epoch,
            DiskDone::CurrentEpoch(epoch) => self.promises.current = epoch,
            _ => {}
        }
        if !matches!(done, DiskDone::Persisted(_) | DiskDone::Traced { .. } | DiskDone::SnapshotOpened { .. })
        {
            self.disk_works -= 1;
        }
        match &self.state {
            State::Leading(_) => self.on_leader_disk(done, now, out),
            State::Learning(_) => self.on_learner_disk(done, now, out),
            State::Idle | State::Looking(_) => self.on_late_disk(done, now, out),
        }
    }

    /// The disk did what was asked for by a learner that has lost its leader since. This server's vote may have
    /// become another.
    fn on_late_disk(&mut self, done: DiskDone, now: Duration, out: &mut Vec<Output>) {
        match done {
            DiskDone::Truncated(zxid) | DiskDone::Reloaded(zxid) => self.restart_log(zxid, out),
            DiskDone::Installed(zxid) => {
                self.change_history(out);
                self.restart_log(zxid, out);
            }
            DiskDone::TruncateRefused => self.on_truncate_refused(out),
            _ => {}
        }
        if self.disk_works == 0 && !matches!(done, DiskDone::Persisted(_)) {
            self.look_again("", now, out);
        }
    }

    /// The log ends at `zxid` now, and all of it is on disk.
    fn restart_log(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        self.forget_views_after(zxid, out);
        let committed = self.log.committed.min(zxid);
        self.log = Log { logged: zxid, persisted: zxid, committed };
        self.tail.clear();
        self.window = Window::new(self.config.window_txns_max, zxid);
    }
}
