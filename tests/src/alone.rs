//! One production peer of three, for which the test plays network and disk, step by step.

use std::time::Duration;

use bytes::Bytes;
use server::config::{Member, Membership, Role, ServerId};
use server::storage::Epochs;
use server::zab::{
    DiskDone, DiskWork, Epoch, History, Input, LinkId, LinkWork, Notification, Output, Packet, Peer,
    PeerConfig, PeerState, Recipients, Run, Told, Violation, Vote, Zxid,
};

/// Where the peer's learner dialed in.
pub const LEARNER: LinkId = LinkId::Learner(1);
/// Where the peer dialed its leader.
pub const LEADER: LinkId = LinkId::Leader(1);

/// The peer, and what it wanted when it was stepped last.
#[derive(Debug)]
pub struct Alone {
    /// Itself.
    pub peer: Peer,
    me: i64,
    /// The time.
    pub now: Duration,
    /// What it wanted.
    pub out: Vec<Output>,
}

/// The zxid `counter` of `epoch`.
#[must_use]
pub fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// All from `first` to `last`, which is of the same epoch.
///
/// # Panics
/// If one cannot follow the other.
#[must_use]
pub fn run(first: Zxid, last: Zxid) -> Run {
    let mut run = Run::from(first);
    while run.last() < last {
        assert!(run.join(run.last().next().into()));
    }
    run
}

/// What a peer takes for a txn.
#[must_use]
pub fn record() -> Bytes {
    Bytes::from_static(b"a txn")
}

impl Alone {
    /// Server `me` of three, with the epochs and the last txn that its disk remembers.
    #[must_use]
    pub fn new(me: i64, current: u32, accepted: u32, last: Zxid) -> Self {
        Self::configured(me, current, accepted, last, |_| {})
    }

    /// The same, with other settings.
    pub fn configured(
        me: i64,
        current: u32,
        accepted: u32,
        last: Zxid,
        change: impl FnOnce(&mut PeerConfig),
    ) -> Self {
        let member = Member { addresses: Vec::new(), role: Role::Participant, client: None };
        let members = (1..=3).map(|id| (ServerId(id), member.clone())).collect();
        let mut config = PeerConfig {
            me: ServerId(me),
            membership: Membership { members, ..Membership::default() },
            next: None,
            reconfig: false,
            is_observer: false,
            maybe_lost: false,
            tick: Duration::from_secs(1),
            init_limit: Duration::from_secs(10),
            sync_limit: Duration::from_secs(5),
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_secs(60),
            window_txns_max: 500,
            epoch_txns_max: Zxid::COUNTER_MAX,
        };
        change(&mut config);
        let promises = Epochs { current: Epoch(current), accepted: Epoch(accepted) };
        let peer = Peer::new(config, History { promises, last });
        let mut alone = Self { peer, me, now: Duration::ZERO, out: Vec::new() };
        alone.step(Input::Tick);
        alone
    }

    /// Takes in one input; what came of the one before is forgotten.
    pub fn step(&mut self, input: Input) {
        self.out.clear();
        self.peer.step(input, self.now, &mut self.out);
    }

    /// A packet comes.
    pub fn packet(&mut self, link: LinkId, packet: Packet) {
        self.step(Input::Packet { link, packet });
    }

    /// The disk did something.
    pub fn disk(&mut self, done: DiskDone) {
        self.step(Input::Disk(done));
    }

    /// Both others vote for `leader`, with this history.
    pub fn elect(&mut self, leader: i64, epoch: u32, last: Zxid) {
        let vote = Vote { leader: ServerId(leader), zxid: last, peer_epoch: Epoch(epoch) };
        let me = self.me;
        for from in (1..=3).filter(|from| *from != me) {
            self.hear_vote(from, vote, self.peer.status().round);
        }
    }

    /// Another server looks for a leader.
    pub fn hear_vote(&mut self, from: i64, vote: Vote, round: i64) {
        let (state, version, config) = (PeerState::Looking, 2, Bytes::new());
        let notification = Notification { state, vote, round, version, config };
        self.step(Input::Notification { from: ServerId(from), notification });
    }

    /// Time passes until the peer wants a tick.
    ///
    /// # Panics
    /// If it wants none.
    pub fn wait(&mut self) {
        self.now = self.peer.deadline().expect("it waits for something").max(self.now);
        self.step(Input::Tick);
    }

    /// Why it closed `link`, if it did, and the other side was at fault.
    #[must_use]
    pub fn refusal(&self, link: LinkId) -> Option<&Violation> {
        self.out.iter().find_map(|output| match output {
            Output::Link(LinkWork::Close { link: closed, why }) if *closed == link => why.as_ref(),
            _ => None,
        })
    }

    /// Server 2 leads, and the link to it stands.
    ///
    /// # Panics
    /// If it does not introduce itself.
    #[must_use]
    pub fn follower(current: u32, accepted: u32, last: Zxid) -> Self {
        let mut alone = Self::new(1, current, accepted, last);
        alone.elect(2, 9, zxid(9, 9));
        alone.step(Input::LinkUp(LEADER));
        assert!(matches!(alone.sent()[..], [Packet::LearnerInfo { .. }]), "{:?}", alone.out);
        alone
    }

    /// Server 3 is elected, and server 1 comes, having promised `accepted`.
    #[must_use]
    pub fn would_be_leader(current: u32, last: Zxid, accepted: u32) -> Self {
        let mut alone = Self::new(3, current, current, last);
        alone.elect(3, current, last);
        alone.visited_by(1, LEARNER, accepted);
        alone
    }

    /// A follower dials, and says who it is.
    pub fn visited_by(&mut self, server: i64, link: LinkId, accepted: u32) {
        self.visited_as(false, server, link, accepted);
    }

    /// An observer does.
    pub fn visited_by_observer(&mut self, server: i64, link: LinkId, accepted: u32) {
        self.visited_as(true, server, link, accepted);
    }

    fn visited_as(&mut self, is_observer: bool, server: i64, link: LinkId, accepted: u32) {
        self.step(Input::LinkUp(link));
        let (server, accepted) = (ServerId(server), Epoch(accepted));
        let (protocol, config_version) = (0x10000, 0);
        self.packet(link, Packet::LearnerInfo { is_observer, accepted, server, protocol, config_version });
    }

    /// Its learner has promised epoch 5, having been in step with epoch 4.
    #[must_use]
    pub fn promised_leader() -> Self {
        Self::would_be_leader(4, zxid(4, 7), 4).promised()
    }

    /// What [`Alone::promised_leader`] is, of one that would lead.
    #[must_use]
    pub fn promised(mut self) -> Self {
        self.disk(DiskDone::AcceptedEpoch(Epoch(5)));
        self.packet(LEARNER, Packet::AckEpoch { last: zxid(4, 7), current: Some(Epoch(4)) });
        self
    }

    /// The same, in step with its learner.
    ///
    /// # Panics
    /// If it does not serve.
    #[must_use]
    pub fn serving_leader() -> Self {
        Self::promised_leader().serving()
    }

    /// What [`Alone::serving_leader`] is, of one that was promised its epoch.
    ///
    /// # Panics
    /// If it does not serve.
    #[must_use]
    pub fn serving(mut self) -> Self {
        self.disk(DiskDone::CurrentEpoch(Epoch(5)));
        self.packet(LEARNER, Packet::Ack(zxid(5, 0).into()));
        assert!(self.peer.status().serves);
        self
    }

    /// In step with a leader of epoch 6, whose history ends at 5:5.
    ///
    /// # Panics
    /// If it does not serve.
    #[must_use]
    pub fn serving_follower() -> Self {
        let mut follower = Self::follower(5, 6, zxid(5, 5));
        let leader_info = Packet::LeaderInfo { epoch: Epoch(6), protocol: 0x10000 };
        let new_leader = Packet::NewLeader { epoch: Epoch(6), config: None };
        for packet in [leader_info, Packet::Diff(zxid(5, 5)), new_leader] {
            follower.packet(LEADER, packet);
        }
        follower.disk(DiskDone::CurrentEpoch(Epoch(6)));
        follower.packet(LEADER, Packet::UpToDate);
        assert!(follower.peer.status().serves);
        follower
    }

    /// Proposes a txn.
    ///
    /// # Panics
    /// If it cannot.
    pub fn propose(&mut self, zxid: Zxid) {
        self.propose_record(zxid, record());
    }

    /// Proposes this txn.
    ///
    /// # Panics
    /// If it cannot.
    pub fn propose_record(&mut self, zxid: Zxid, record: Bytes) {
        self.out.clear();
        assert!(self.peer.propose(zxid, record, self.now, &mut self.out));
    }

    /// The packets it sent, but for pings, each on its own.
    #[must_use]
    pub fn sent(&self) -> Vec<Packet> {
        self.said().into_iter().flat_map(Packet::apart).collect()
    }

    /// The packets it sent, but for pings, as it said them.
    #[must_use]
    pub fn said(&self) -> Vec<Packet> {
        let packets = self.out.iter().filter_map(|output| match output {
            Output::Link(LinkWork::Send { packet, .. }) => Some(packet.clone()),
            _ => None,
        });
        packets.filter(|packet| !matches!(packet, Packet::Ping { .. })).collect()
    }

    /// Those of [`Alone::sent`] that one link gets.
    #[must_use]
    pub fn sent_to(&self, link: LinkId) -> Vec<Packet> {
        let is_meant = |to: &Recipients| match to {
            Recipients::One(one) => *one == link,
            Recipients::Many(many) => many.contains(&link),
        };
        let packets = self.out.iter().filter_map(|output| match output {
            Output::Link(LinkWork::Send { to, packet }) if is_meant(to) => Some(packet.clone()),
            _ => None,
        });
        packets.flat_map(Packet::apart).filter(|packet| !matches!(packet, Packet::Ping { .. })).collect()
    }

    /// What it wants of the disk.
    #[must_use]
    pub fn works(&self) -> Vec<&DiskWork> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Disk(work) = output { Some(work) } else { None })
            .collect()
    }

    /// What it told last as committed.
    #[must_use]
    pub fn committed(&self) -> Option<Zxid> {
        self.out.iter().rev().find_map(|output| match output {
            Output::Told(Told::Committed(zxid)) => Some(*zxid),
            _ => None,
        })
    }

    /// It looks for a leader.
    #[must_use]
    pub fn looks(&self) -> bool {
        self.peer.status().state == PeerState::Looking
    }
}
