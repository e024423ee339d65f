//! Members of an ensemble in one thread: their disks are vectors, the links between them one queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::Jute;
use jute::data::Id;
use jute::txn::Txn;

use crate::config::{Member, Membership, Role, ServerId};
use crate::node::{Action, Delivery, Event, Node, NodeConfig, Now};
use crate::session::ConnectionId;
use crate::storage::Epochs;
use crate::tree::{Cut, Tree, TreeLoader, TreeOptions};
use crate::watch::Watches;
use crate::zab::{
    DiskDone, DiskWork, History, Input, LinkId, LinkWork, Packet, Peer, PeerConfig, Recipients, Trace, Zxid,
};

/// One process, and what its disk holds.
pub(super) struct Server {
    pub(super) node: Node,
    pub(super) tree: Tree,
    pub(super) watches: Watches,
    pub(super) disk: Disk,
    /// Trees that came behind a SNAP, until they are asked for.
    received: BTreeMap<LinkId, Arc<Cut>>,
    /// Those that are about to be sent.
    opened: BTreeMap<LinkId, Arc<Cut>>,
    /// What its clients got.
    pub(super) delivered: Vec<Delivery>,
    /// Something was appended since it was last said to be persisted.
    is_unsynced: bool,
    pub(super) is_closing_all: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    log: Vec<(Zxid, Bytes)>,
    /// So much of the log survives a crash.
    synced: usize,
    epochs: Epochs,
    /// What the snapshot store has, if anything.
    stored: Option<Arc<Cut>>,
}

/// On its way.
#[derive(Debug)]
struct Letter {
    to: ServerId,
    input: Input,
    /// The tree behind a SNAP.
    tree: Option<Arc<Cut>>,
}

/// The ensemble and its network.
pub(super) struct World {
    pub(super) servers: BTreeMap<ServerId, Server>,
    /// Of those that are down.
    disks: BTreeMap<ServerId, Disk>,
    membership: Membership,
    letters: VecDeque<Letter>,
    /// Whom letters do not reach for now. Its own go out, and its clients are heard.
    pub(super) deaf: Option<ServerId>,
    /// Who cannot reach whom.
    apart: BTreeSet<(ServerId, ServerId)>,
    /// Disks take as long as [`World::sync`] is waited for.
    pub(super) disks_wait: bool,
    /// The packets that servers got.
    pub(super) heard: Vec<(ServerId, &'static str)>,
    /// Each end of a link, and the other.
    links: BTreeMap<(ServerId, LinkId), (ServerId, LinkId)>,
    next_link: u32,
    pub(super) connections: u32,
    pub(super) now: Now,
    pub(super) window_txns_max: usize,
    pub(super) epoch_txns_max: u32,
    /// What all of them are told, but for their numbers.
    config: NodeConfig,
}

/// Letters of one way come in the order in which they were sent: to whom, and over which link or from whom.
type Way = (ServerId, Option<LinkId>, Option<ServerId>);

impl Letter {
    fn way(&self) -> Way {
        let from = match &self.input {
            Input::Notification { from, .. } => Some(*from),
            _ => None,
        };
        (self.to, self.end().map(|(_, link)| link), from)
    }

    /// The end of a link at which it arrives.
    fn end(&self) -> Option<(ServerId, LinkId)> {
        match &self.input {
            Input::Packet { link, .. }
            | Input::LinkUp(link)
            | Input::LinkDown(link)
            | Input::SnapshotReceived { link } => Some((self.to, *link)),
            _ => None,
        }
    }
}

fn tree_of(cut: &Cut) -> Tree {
    let mut loader = TreeLoader::new(TreeOptions::default());
    for (path, znode) in cut.znodes.iter() {
        loader.znode(path, znode.unwrap().clone()).unwrap();
    }
    cut.sessions.iter().for_each(|(session, timeout_ms)| loader.session(*session, *timeout_ms));
    loader.finish(cut.zxid, Some(cut.digest))
}

impl Disk {
    fn tree(&self) -> Tree {
        let mut tree = self.stored.as_ref().map_or_else(Tree::default, |cut| tree_of(cut));
        for (_, record) in &self.log {
            tree.replay(&Txn::from_bytes(record).unwrap());
        }
        tree
    }
}

impl World {
    pub(super) fn new(voters: i64, observers: &[i64]) -> Self {
        Self::with(NodeConfig::default(), voters, observers)
    }

    pub(super) fn with(config: NodeConfig, voters: i64, observers: &[i64]) -> Self {
        let mut members = BTreeMap::new();
        for id in (1..=voters).chain(observers.iter().copied()) {
            let role = if id <= voters { Role::Participant } else { Role::Observer };
            members.insert(ServerId(id), Member { addresses: Vec::new(), role, client: None });
        }
        let mut world = Self {
            servers: BTreeMap::new(),
            disks: BTreeMap::new(),
            membership: Membership { members, ..Membership::default() },
            letters: VecDeque::new(),
            deaf: None,
            apart: BTreeSet::new(),
            disks_wait: false,
            heard: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            connections: 0,
            now: Now::default(),
            window_txns_max: 500,
            epoch_txns_max: Zxid::COUNTER_MAX,
            config,
        };
        (1..=voters).chain(observers.iter().copied()).for_each(|id| world.start(ServerId(id)));
        world
    }

    pub(super) fn start(&mut self, id: ServerId) {
        let disk = self.disks.remove(&id).unwrap_or_default();
        let tree = disk.tree();
        let peer = Peer::new(self.peer_config(id), History { promises: disk.epochs, last: tree.last_zxid() });
        let config = NodeConfig { server_id: u8::try_from(id.0).unwrap(), ..self.config.clone() };
        let node = Node::new(config, &tree, self.now).with_peer(peer, self.now);
        let server = Server {
            node,
            tree,
            watches: Watches::default(),
            disk,
            received: BTreeMap::new(),
            opened: BTreeMap::new(),
            delivered: Vec::new(),
            is_unsynced: false,
            is_closing_all: false,
        };
        self.servers.insert(id, server);
    }

    fn peer_config(&self, me: ServerId) -> PeerConfig {
        PeerConfig {
            me,
            membership: self.membership.clone(),
            next: None,
            reconfig: false,
            is_observer: false,
            maybe_lost: false,
            tick: Duration::from_secs(2),
            init_limit: Duration::from_secs(20),
            sync_limit: Duration::from_secs(10),
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_secs(60),
            window_txns_max: self.window_txns_max,
            epoch_txns_max: self.epoch_txns_max,
        }
    }

    /// What was not synced is lost with it, and so are its links.
    pub(super) fn kill(&mut self, id: ServerId) {
        let mut killed = self.servers.remove(&id).unwrap();
        killed.disk.log.truncate(killed.disk.synced);
        self.disks.insert(id, killed.disk);
        self.letters.retain(|letter| letter.to != id);
        let ends: Vec<_> = self.links.keys().filter(|(end, _)| *end == id).copied().collect();
        for (_, link) in ends {
            self.cut(id, link);
        }
    }

    /// The same, and its disk is gone.
    pub(super) fn lose(&mut self, id: ServerId) {
        self.kill(id);
        self.disks.remove(&id);
    }

    fn cut(&mut self, id: ServerId, link: LinkId) {
        if let Some((other, its_end)) = self.links.remove(&(id, link)) {
            self.links.remove(&(other, its_end));
            self.post(other, Input::LinkDown(its_end));
        }
    }

    fn post(&mut self, to: ServerId, input: Input) {
        self.letters.push_back(Letter { to, input, tree: None });
    }

    /// Steps a server through one batch.
    pub(super) fn run(&mut self, id: ServerId, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.step(id, event);
        }
        if !self.disks_wait {
            self.sync(id);
        }
        if self.servers.contains_key(&id) {
            self.apply(id);
        }
    }

    /// All that was appended is on the disk.
    pub(super) fn sync(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.disk.synced = server.disk.log.len();
        if std::mem::take(&mut server.is_unsynced)
            && let Some((last, _)) = server.disk.log.last()
        {
            let last = *last;
            self.step(id, Event::Persisted(last));
            self.apply(id);
        }
    }

    fn step(&mut self, id: ServerId, event: Event) {
        let mut actions = Vec::new();
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.node.step(event, self.now, &server.tree, &mut actions);
        self.carry_out(id, actions);
        if self.servers[&id].node.must_apply() {
            self.apply(id);
        }
    }

    fn apply(&mut self, id: ServerId) {
        let mut actions = Vec::new();
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.node.apply(&mut server.tree, &mut server.watches, &mut actions);
        assert_eq!(server.node.status().counters.digest_mismatches, 0, "{id:?}");
        self.carry_out(id, actions);
    }

    fn carry_out(&mut self, id: ServerId, actions: Vec<Action>) {
        for action in actions {
            let server = self.servers.get_mut(&id).unwrap();
            match action {
                Action::Append { zxid, record } => {
                    server.disk.log.push((zxid, record));
                    server.is_unsynced = true;
                }
                Action::Deliver(delivery) => server.delivered.push(delivery),
                Action::Snapshot(_) => {}
                Action::Adopt { zxid, from } => {
                    let received = from.map(|link| server.received.remove(&link).unwrap());
                    server.tree = received.map_or_else(Tree::default, |cut| tree_of(&cut));
                    assert_eq!(server.tree.last_zxid(), zxid);
                }
                Action::CloseAll => server.is_closing_all = true,
                Action::Link(work) => self.send(id, work),
                Action::Disk(work) => {
                    if let Some(done) = self.work_disk(id, work) {
                        self.step(id, Event::Peer(Input::Disk(done)));
                    }
                }
            }
        }
    }

    fn work_disk(&mut self, id: ServerId, work: DiskWork) -> Option<DiskDone> {
        if matches!(work, DiskWork::Install) {
            self.apply(id);
        }
        let server = self.servers.get_mut(&id).unwrap();
        server.disk.synced = server.disk.log.len();
        Some(match work {
            DiskWork::Append { .. } => unreachable!("it is an action of its own"),
            DiskWork::SaveMembership { .. } => return None,
            DiskWork::SaveAcceptedEpoch(epoch) => {
                server.disk.epochs.accepted = epoch;
                DiskDone::AcceptedEpoch(epoch)
            }
            DiskWork::SaveCurrentEpoch(epoch) => {
                server.disk.epochs.current = epoch;
                DiskDone::CurrentEpoch(epoch)
            }
            // A leader that never served may have sent more than is left of its history.
            DiskWork::Truncate(zxid) if server.disk.stored.as_ref().is_some_and(|cut| cut.zxid > zxid) => {
                DiskDone::TruncateRefused
            }
            DiskWork::Truncate(zxid) => {
                server.disk.log.retain(|(logged, _)| *logged <= zxid);
                server.disk.synced = server.disk.log.len();
                if server.tree.last_zxid() > zxid {
                    server.tree = server.disk.tree();
                }
                DiskDone::Truncated(zxid)
            }
            DiskWork::Reload => {
                server.tree = server.disk.tree();
                DiskDone::Reloaded(server.tree.last_zxid())
            }
            DiskWork::Install => {
                server.disk.stored = Some(Arc::new(server.tree.take_whole_cut()));
                server.disk.log.clear();
                server.disk.synced = 0;
                DiskDone::Installed(server.tree.last_zxid())
            }
            DiskWork::Trace { link, .. } => DiskDone::Traced { link, trace: Trace::OutOfReach },
            DiskWork::OpenSnapshot { link } => {
                let cut = server.tree.take_whole_cut();
                let zxid = cut.zxid;
                server.opened.insert(link, Arc::new(cut));
                DiskDone::SnapshotOpened { link, zxid }
            }
        })
    }

    fn send(&mut self, from: ServerId, work: LinkWork) {
        match work {
            LinkWork::Notify { to, .. } if self.are_apart(from, to) => {}
            LinkWork::Notify { to, notification } => {
                self.post(to, Input::Notification { from, notification })
            }
            LinkWork::Dial { link, server }
                if self.servers.contains_key(&server) && !self.are_apart(from, server) =>
            {
                self.next_link += 1;
                let its_end = LinkId::Learner(self.next_link);
                self.links.insert((from, link), (server, its_end));
                self.links.insert((server, its_end), (from, link));
                self.post(server, Input::LinkUp(its_end));
                self.post(from, Input::LinkUp(link));
            }
            LinkWork::Dial { link, .. } => self.post(from, Input::LinkDown(link)),
            LinkWork::Send { to: Recipients::One(link), packet } => self.send_packet(from, link, packet),
            LinkWork::Send { to: Recipients::Many(links), packet } => {
                links.iter().for_each(|link| self.send_packet(from, *link, packet.clone()));
            }
            LinkWork::SendLog { link, after, upto } => {
                let log = self.servers[&from].disk.log.clone();
                for (zxid, record) in log.into_iter().filter(|(zxid, _)| after < *zxid && *zxid <= upto) {
                    self.send_packet(from, link, Packet::Proposal { zxid, record });
                    self.send_packet(from, link, Packet::Commit(zxid.into()));
                }
            }
            LinkWork::SendSnapshot { link } => {
                let tree = self.servers.get_mut(&from).and_then(|server| server.opened.remove(&link));
                if let Some((to, its_end)) = self.links.get(&(from, link)).copied() {
                    let input = Input::SnapshotReceived { link: its_end };
                    self.letters.push_back(Letter { to, input, tree });
                }
            }
            LinkWork::Close { link, .. } => self.cut(from, link),
        }
    }

    fn send_packet(&mut self, from: ServerId, link: LinkId, packet: Packet) {
        if let Some((to, its_end)) = self.links.get(&(from, link)).copied() {
            self.post(to, Input::Packet { link: its_end, packet });
        }
    }

    /// Delivers what is under way until nothing is. No time passes.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(at) = self.letters.iter().position(|letter| Some(letter.to) != self.deaf) else {
                return;
            };
            let Some(first) = self.letters.remove(at) else { return };
            // What comes together is one batch, as in production.
            let mut batch = vec![first];
            while self.letters.get(at).is_some_and(|next| next.to == batch[0].to && next.tree.is_none()) {
                batch.extend(self.letters.remove(at));
            }
            self.receive(batch);
        }
        panic!("it never settles");
    }

    /// A batch for one server. A tree can only be with the first.
    fn receive(&mut self, mut batch: Vec<Letter>) {
        let to = batch[0].to;
        let came = batch[0].tree.take().zip(batch[0].end());
        if let (Some((cut, (_, link))), Some(server)) = (came, self.servers.get_mut(&to)) {
            server.received.insert(link, cut);
        }
        let heard = batch.iter().filter_map(|letter| match &letter.input {
            Input::Packet { packet, .. } => Some((to, packet.name())),
            _ => None,
        });
        self.heard.extend(heard);
        self.run(to, batch.into_iter().map(|letter| Event::Peer(letter.input)));
    }

    /// Where letters wait that keep their order.
    fn ways(&self) -> Vec<Way> {
        let arriving = self.letters.iter().filter(|letter| Some(letter.to) != self.deaf);
        let ways: BTreeSet<_> = arriving.map(Letter::way).collect();
        ways.into_iter().collect()
    }

    /// Delivers up to so many letters of one way, which `pick` chooses.
    pub(super) fn deliver_some(&mut self, pick: impl FnOnce(usize) -> usize, most: usize) {
        let ways = self.ways();
        if ways.is_empty() {
            return;
        }
        let way = ways[pick(ways.len())];
        let mut batch: Vec<Letter> = Vec::new();
        while batch.len() < most
            && let Some(at) = self.letters.iter().position(|letter| letter.way() == way)
            && (batch.is_empty() || self.letters[at].tree.is_none())
        {
            batch.extend(self.letters.remove(at));
        }
        self.receive(batch);
    }

    pub(super) fn are_apart(&self, one: ServerId, other: ServerId) -> bool {
        self.apart.contains(&(one.min(other), one.max(other)))
    }

    /// These cannot reach each other any more. What is under way between them is lost.
    pub(super) fn part(&mut self, one: ServerId, other: ServerId) {
        self.apart.insert((one.min(other), one.max(other)));
        self.cut_links(one, other);
    }

    pub(super) fn rejoin_all(&mut self) {
        self.apart.clear();
    }

    pub(super) fn cut_links(&mut self, one: ServerId, other: ServerId) {
        let between = |(end, far): (&(ServerId, LinkId), &(ServerId, LinkId))| {
            (end.0 == one && far.0 == other).then_some((*end, *far))
        };
        let links: Vec<_> = self.links.iter().filter_map(between).collect();
        for (end, far) in links {
            self.letters.retain(|letter| ![end, far].map(Some).contains(&letter.end()));
            self.links.remove(&end);
            self.links.remove(&far);
            self.post(end.0, Input::LinkDown(end.1));
            self.post(far.0, Input::LinkDown(far.1));
        }
    }

    /// Lets time pass until `is_met`.
    pub(super) fn run_until(&mut self, what: &str, is_met: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            self.settle();
            if is_met(self) {
                return;
            }
            let deadlines = self.servers.values().filter_map(|server| server.node.deadline());
            self.now.monotonic = deadlines.min().unwrap_or_default().max(self.now.monotonic);
            self.tick();
        }
        panic!("never: {what}");
    }

    pub(super) fn tick(&mut self) {
        let now = self.now.monotonic;
        let due = |server: &Server| server.node.deadline().is_some_and(|due| due <= now);
        let due: Vec<_> = self.servers.iter().filter(|(_, server)| due(server)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.run(id, [Event::Tick]));
    }

    /// Lets everybody's time pass, ticks and all.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.settle();
            let deadlines = self.servers.values().filter_map(|server| server.node.deadline());
            let next = deadlines.min().unwrap_or(end).min(end);
            self.now.monotonic = next.max(self.now.monotonic + Duration::from_millis(1));
            self.tick();
        }
        self.settle();
    }

    /// Waits until all servers that are up serve; returns who leads.
    pub(super) fn elect(&mut self) -> ServerId {
        self.run_until("all serve", |world| world.servers.values().all(|server| server.node.serves()));
        let leaders = self.servers.iter().filter(|(_, server)| server.node.is_leader());
        let leaders: Vec<_> = leaders.map(|(id, _)| *id).collect();
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        leaders[0]
    }

    pub(super) fn connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId { shard: 0, slot: self.connections, generation: 0 }
    }

    /// What was delivered to a connection of `id` since this was last asked.
    pub(super) fn take(&mut self, id: ServerId) -> Vec<Delivery> {
        std::mem::take(&mut self.servers.get_mut(&id).unwrap().delivered)
    }

    pub(super) fn everybody() -> Arc<[Id]> {
        [Id::new("ip", "127.0.0.1")].into()
    }

    /// Followers' ends of their links.
    pub(super) fn links_to_leaders(&self) -> Vec<(ServerId, LinkId)> {
        self.links.keys().filter(|(_, link)| matches!(link, LinkId::Leader(_))).copied().collect()
    }

    /// Where everybody has the same tree: its last zxid.
    pub(super) fn agreed(&self) -> Zxid {
        let mut states: Vec<_> =
            self.servers.values().map(|server| (server.tree.last_zxid(), server.tree.digest())).collect();
        states.dedup();
        assert_eq!(states.len(), 1, "{states:?}");
        states[0].0
    }

    pub(super) fn has_closed_all(&mut self, id: ServerId) -> bool {
        std::mem::take(&mut self.servers.get_mut(&id).unwrap().is_closing_all)
    }
}
