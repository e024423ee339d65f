//! What a learner and its leader say to each other, as text; and one production peer that takes the part of either, while
//! a recording of [Java's servers](crate::recorder) takes the other.
//!
//! A line is a packet: `>` from the learner, `<` from the leader. Pings are left out, and so is what clients have a learner
//! ask for: both come when they come.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jute::quorum::QuorumPacket;
use jute::txn::Txn;
use jute::{Jute, Op};
use server::config::{Member, Membership, Role, ServerId};
use server::storage::Epochs;
use server::zab::{
    DiskDone, DiskWork, Epoch, History, Input, LinkId, LinkWork, Notification, Output, Packet, Peer,
    PeerConfig, PeerState, Receiver, Recipients, Told, Trace, Vote, Zxid,
};

use crate::recorder::{End, Recording};

const SNAP: i32 = 15;
/// Who votes; whoever else comes observes.
const VOTERS: std::ops::RangeInclusive<i64> = 1..=3;
/// Where the follower dialed in who is there before the recording begins.
const FOLLOWER: LinkId = LinkId::Learner(1000);

/// One thing that was said.
#[derive(Debug, Clone)]
enum Said {
    Packet(Packet),
    /// The tree behind a SNAP.
    Tree,
}

/// One link from its beginning.
#[derive(Debug)]
pub struct Conversation {
    learner: i64,
    leader: i64,
    said: Vec<(End, Said)>,
}

impl Conversation {
    /// What was recorded on a learner's link.
    ///
    /// # Errors
    /// When a message is no packet.
    pub fn of(recording: &Recording) -> Result<Self> {
        let mut said = Vec::new();
        let mut is_tree = false;
        for (end, message) in &recording.messages {
            if is_tree && *end == End::Listener {
                is_tree = false;
                said.push((*end, Said::Tree));
                continue;
            }
            let wire = QuorumPacket::from_bytes(message)?;
            is_tree |= wire.packet_type == SNAP;
            let receiver = if *end == End::Dialler { Receiver::Leader } else { Receiver::Learner };
            let packet = Packet::from_wire(wire, receiver)?;
            if !is_left_out(&packet) {
                said.push((*end, Said::Packet(packet)));
            }
        }
        Ok(Self { learner: recording.dialler.into(), leader: recording.listener.into(), said })
    }

    /// The lines of one end, or of both.
    #[must_use]
    pub fn lines(&self, of: Option<End>) -> Vec<String> {
        let lines = self.said.iter().filter(|(end, _)| of.is_none_or(|of| of == *end));
        lines.map(|(end, said)| line(*end, said)).collect()
    }

    /// All of it, below a line that says who, and where our peers would say something else.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{} learns from {}\n", self.learner, self.leader);
        self.lines(None).iter().for_each(|line| text.extend([line, "\n"]));
        let parts = [
            ("learner", End::Dialler, self.as_our_learner()),
            ("leader", End::Listener, self.as_our_leader()),
        ];
        for (part, end, ours) in parts {
            let _ = match ours {
                Ok(ours) => write!(text, "ours as the {part}: {}", difference(&self.lines(Some(end)), &ours)),
                Err(error) => writeln!(text, "ours as the {part}: not played, {error}"),
            };
        }
        text
    }

    fn packets(&self) -> impl Iterator<Item = &Packet> {
        self.said.iter().filter_map(|(_, said)| match said {
            Said::Packet(packet) => Some(packet),
            Said::Tree => None,
        })
    }

    /// What the learner's disk had before: it says so itself.
    fn learners_history(&self) -> Result<(bool, History)> {
        let mut found = (None, None);
        for packet in self.packets() {
            match packet {
                Packet::LearnerInfo { is_observer, accepted, .. } => {
                    found.0 = Some((*is_observer, *accepted))
                }
                Packet::AckEpoch { last, current } => found.1 = Some((*last, *current)),
                _ => {}
            }
        }
        let ((is_observer, accepted), (last, current)) =
            (found.0.context("no introduction")?, found.1.context("no history")?);
        let promises = Epochs { current: current.unwrap_or(accepted), accepted };
        Ok((is_observer, History { promises, last }))
    }

    /// Where the leader's history ended when the learner came, and its epoch.
    fn leaders_history(&self) -> Result<(Zxid, Epoch)> {
        let end = self.packets().find_map(|packet| match packet {
            Packet::Diff(zxid) | Packet::Snap(zxid) | Packet::Trunc(zxid) => Some(*zxid),
            _ => None,
        });
        let epoch = self.packets().find_map(|packet| match packet {
            Packet::LeaderInfo { epoch, .. } => Some(*epoch),
            _ => None,
        });
        Ok((end.context("no synchronisation")?, epoch.context("no epoch")?))
    }

    /// The txns of the recording.
    fn records(&self) -> BTreeMap<Zxid, Bytes> {
        let records = self.packets().filter_map(|packet| match packet {
            Packet::Proposal { zxid, record } | Packet::Inform { zxid, record } => {
                Some((*zxid, record.clone()))
            }
            _ => None,
        });
        records.collect()
    }

    /// What our peer says as the learner, when the leader says what Java's did.
    ///
    /// # Errors
    /// When it does not come so far.
    pub fn as_our_learner(&self) -> Result<Vec<String>> {
        let (is_observer, history) = self.learners_history()?;
        let mut peer = Lone::new(self.learner, is_observer, history);
        peer.elect(self.leader);
        let link = peer.dialed.context("it dials nobody")?;
        peer.step(Input::LinkUp(link));
        for (_, said) in self.said.iter().filter(|(end, _)| *end == End::Listener) {
            match said.clone() {
                Said::Packet(packet) => peer.step(Input::Packet { link, packet }),
                Said::Tree => peer.step(Input::SnapshotReceived { link }),
            }
        }
        Ok(peer.lines_to(link, End::Dialler))
    }

    /// What our peer says as the leader, when the learner says what Java's did. Whatever Java's leader proposed, it
    /// proposes, too.
    ///
    /// # Errors
    /// When it does not come so far.
    pub fn as_our_leader(&self) -> Result<Vec<String>> {
        let (end, epoch) = self.leaders_history()?;
        let records = self.records();
        let is_joined = end.epoch() == epoch;
        let before = Epoch(epoch.0 - 1);
        ensure!(!is_joined || before == Epoch(0), "what it had before its epoch is not in the recording");
        let last = if is_joined { Zxid::ZERO } else { end };
        let history = History { promises: Epochs { current: before, accepted: before }, last };
        let mut peer = Lone::new(self.leader, false, history);
        peer.elect(self.leader);
        // Another follower is there first: a reign that has begun is joined.
        peer.follow_with(self.learner, history);
        for counter in 1..=if is_joined { end.counter() } else { 0 } {
            let zxid = Zxid::new(epoch, counter);
            peer.propose(zxid, records.get(&zxid).cloned().unwrap_or_default())?;
        }
        let link = LinkId::Learner(1);
        peer.step(Input::LinkUp(link));
        for (who, said) in &self.said {
            match (who, said) {
                (End::Dialler, Said::Packet(packet)) => {
                    peer.step(Input::Packet { link, packet: packet.clone() });
                }
                (_, Said::Packet(Packet::Proposal { zxid, record } | Packet::Inform { zxid, record }))
                    if *zxid > peer.proposed =>
                {
                    peer.propose(*zxid, record.clone())?;
                }
                _ => {}
            }
        }
        Ok(peer.lines_to(link, End::Listener))
    }
}

/// What stands between the lines at the beginning and at the end that are equal.
fn difference(theirs: &[String], ours: &[String]) -> String {
    if theirs == ours {
        return "the same\n".to_owned();
    }
    let pairs = || theirs.iter().zip(ours);
    let before = pairs().take_while(|(one, other)| one == other).count();
    let after = theirs.iter().rev().zip(ours.iter().rev()).take_while(|(one, other)| one == other).count();
    let after = after.min(theirs.len().min(ours.len()) - before);
    let mut text = "the same, but for\n".to_owned();
    for (sign, lines) in [("- ", theirs), ("+ ", ours)] {
        lines[before..lines.len() - after].iter().for_each(|line| text.extend([sign, line, "\n"]));
    }
    text
}

fn is_left_out(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::Ping { .. }
            | Packet::Request { .. }
            | Packet::Revalidate { .. }
            | Packet::Revalidated { .. }
            | Packet::Sync
    )
}

fn line(end: End, said: &Said) -> String {
    let sign = if end == End::Dialler { '>' } else { '<' };
    match said {
        Said::Tree => format!("{sign} (the tree)"),
        Said::Packet(packet) => format!("{sign} {}{}", packet.name(), told(packet)),
    }
}

fn told(packet: &Packet) -> String {
    match packet {
        Packet::LearnerInfo { accepted, server, protocol, config_version, .. } => {
            let (epoch, server) = (accepted.0, server.0);
            format!(
                " of {server}, promised epoch {epoch}, protocol {protocol:#x}, members {config_version:#x}"
            )
        }
        Packet::LeaderInfo { epoch, protocol } => format!(" epoch {}, protocol {protocol:#x}", epoch.0),
        Packet::AckEpoch { last, current: Some(epoch) } => format!(" {last}, of epoch {}", epoch.0),
        Packet::AckEpoch { last, current: None } => format!(" {last}, promised before"),
        Packet::NewLeader { epoch, .. } => format!(" epoch {}", epoch.0),
        Packet::Proposal { zxid, record } | Packet::Inform { zxid, record } => {
            format!(" {zxid} {}", name_of(record))
        }
        Packet::Diff(zxid) | Packet::Trunc(zxid) | Packet::Snap(zxid) => format!(" {zxid}"),
        Packet::Ack(run) | Packet::Commit(run) => format!(" {}", run.first()),
        _ => String::new(),
    }
}

fn name_of(record: &Bytes) -> String {
    match Txn::from_bytes(record) {
        Ok(txn) => {
            Op::from_code(txn.header.txn_type).map_or_else(|| "Error".to_owned(), |op| format!("{op:?}"))
        }
        Err(_) => "(not recorded)".to_owned(),
    }
}

/// A production peer with a disk that does at once what it is asked for.
struct Lone {
    peer: Peer,
    me: i64,
    dialed: Option<LinkId>,
    proposed: Zxid,
    sent: Vec<(LinkId, Said)>,
    now: Duration,
}

impl Lone {
    fn new(me: i64, is_observer: bool, history: History) -> Self {
        let member = |role| Member { addresses: Vec::new(), role, client: None };
        let mut members: BTreeMap<_, _> =
            VOTERS.map(|id| (ServerId(id), member(Role::Participant))).collect();
        members.insert(ServerId(VOTERS.end() + 1), member(Role::Observer));
        let config = PeerConfig {
            me: ServerId(me),
            membership: Membership { members, ..Membership::default() },
            next: None,
            reconfig: false,
            is_observer,
            maybe_lost: false,
            tick: Duration::from_secs(1),
            init_limit: Duration::from_secs(10),
            sync_limit: Duration::from_secs(5),
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_secs(60),
            window_txns_max: 500,
            epoch_txns_max: Zxid::COUNTER_MAX,
        };
        let (proposed, now) = (history.last, Duration::ZERO);
        let peer = Peer::new(config, history);
        let mut lone = Self { peer, me, dialed: None, proposed, sent: Vec::new(), now };
        lone.step(Input::Tick);
        lone
    }

    /// Everybody votes for `leader`, whatever it has.
    fn elect(&mut self, leader: i64) {
        let zxid = Zxid::new(Epoch(99), 0);
        let vote = if leader == self.me {
            Vote {
                leader: ServerId(leader),
                zxid: self.proposed,
                peer_epoch: self.peer.status().promises.current,
            }
        } else {
            Vote { leader: ServerId(leader), zxid, peer_epoch: Epoch(99) }
        };
        let me = self.me;
        for from in VOTERS.filter(|id| *id != me) {
            let (round, state) = (self.peer.status().round, PeerState::Looking);
            let notification = Notification { state, vote, round, version: 2, config: Bytes::new() };
            self.step(Input::Notification { from: ServerId(from), notification });
        }
    }

    /// A voter other than `learner` follows, who has what this server has.
    fn follow_with(&mut self, learner: i64, History { promises, last }: History) {
        let is_free = |id: &i64| *id != self.me && *id != learner;
        let server = ServerId(VOTERS.rev().find(is_free).expect("there are three voters"));
        let (is_observer, protocol, config_version) = (false, 0x10000, 0);
        let Epochs { current, accepted } = promises;
        let info = Packet::LearnerInfo { is_observer, accepted, server, protocol, config_version };
        let promise = Packet::AckEpoch { last, current: Some(current) };
        self.step(Input::LinkUp(FOLLOWER));
        for packet in [info, promise, Packet::Ack(accepted.next().beginning().into())] {
            self.step(Input::Packet { link: FOLLOWER, packet });
        }
    }

    /// The node above has a txn.
    fn propose(&mut self, zxid: Zxid, record: Bytes) -> Result<()> {
        let mut out = Vec::new();
        ensure!(self.peer.propose(zxid, record, self.now, &mut out), "it does not propose {zxid}");
        self.proposed = zxid;
        self.carry_out(out);
        self.step(Input::Packet { link: FOLLOWER, packet: Packet::Ack(zxid.into()) });
        Ok(())
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.peer.step(input, self.now, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        let mut works = VecDeque::new();
        let mut adopted = Zxid::ZERO;
        for output in out {
            match output {
                Output::Link(work) => self.send(work),
                Output::Disk(work) => works.push_back(work),
                Output::Told(Told::Adopt(zxid)) => adopted = zxid,
                Output::Told(_) => {}
            }
        }
        for work in works {
            let done = match work {
                DiskWork::Append { zxid, .. } => DiskDone::Persisted(zxid),
                DiskWork::SaveAcceptedEpoch(epoch) => DiskDone::AcceptedEpoch(epoch),
                DiskWork::SaveCurrentEpoch(epoch) => DiskDone::CurrentEpoch(epoch),
                DiskWork::Truncate(zxid) => DiskDone::Truncated(zxid),
                DiskWork::Trace { link, .. } => DiskDone::Traced { link, trace: Trace::Found },
                DiskWork::Install | DiskWork::Reload => {
                    DiskDone::Installed(self.peer.status().logged.max(adopted))
                }
                DiskWork::OpenSnapshot { link } => DiskDone::SnapshotOpened { link, zxid: self.proposed },
                DiskWork::SaveMembership { .. } => continue,
            };
            self.step(Input::Disk(done));
        }
    }

    fn send(&mut self, work: LinkWork) {
        match work {
            LinkWork::Dial { link, .. } => self.dialed = Some(link),
            LinkWork::Send { to: Recipients::One(link), packet } => {
                self.sent.extend(packet.apart().into_iter().map(|packet| (link, Said::Packet(packet))));
            }
            LinkWork::Send { to: Recipients::Many(links), packet } => {
                for packet in packet.apart() {
                    self.sent.extend(links.iter().map(|link| (*link, Said::Packet(packet.clone()))));
                }
            }
            LinkWork::SendSnapshot { link } => self.sent.push((link, Said::Tree)),
            LinkWork::SendLog { .. } => panic!("all that was recorded is in memory"),
            LinkWork::Notify { .. } | LinkWork::Close { .. } => {}
        }
    }

    fn lines_to(&self, link: LinkId, end: End) -> Vec<String> {
        let is_told = |said: &Said| !matches!(said, Said::Packet(packet) if is_left_out(packet));
        let sent = self.sent.iter().filter(|(to, said)| *to == link && is_told(said));
        sent.map(|(_, said)| line(end, said)).collect()
    }
}
