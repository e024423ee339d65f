//! The node under any sequence of events: the machine itself, with all checks that can be made from outside.

mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::data::Id;
use jute::proto::ReplyHeader;
use jute::txn::Txn;
use jute::{Jute, Op, Reader as RecordReader};
use parking_lot::Mutex;
use server::auth::Schemes;
use server::node::{
    Action, CutPolicy, Delivery, Event, LogRoom, Node, NodeConfig, Now, ReaperConfig, Request,
};
use server::pipeline::gate::Lane;
use server::pipeline::read::{self, Reader};
use server::session::{ConnectionId, SessionId};
use server::tree::{Tree, TreeOptions};
use server::watch::Watches;
use server::zab::Zxid;

use super::Input;
use requests::request;

/// Clients at the same time.
const CLIENTS: usize = 4;
/// In replies to what is no operation, as in Java.
const UNKNOWN_OPERATION: Zxid = Zxid(-1);
/// More events than these are not looked at: an input's time is bounded, too.
const EVENTS_MAX: usize = 400;

/// Plays the events that `input` spells, then lets all that is under way come to its end.
pub(super) fn step(input: &[u8]) {
    let mut input = Input(input);
    let mut play = Play::new(&mut input);
    for _ in 0..EVENTS_MAX {
        if input.is_empty() {
            break;
        }
        play.event(&mut input);
    }
    play.end();
}

/// What a connection is owed, in order.
#[derive(Debug, PartialEq, Eq)]
enum Owed {
    Handshake,
    /// To a write.
    Reply(i32),
    /// To a read.
    Answer(i32),
}

#[derive(Debug, Default)]
struct Client {
    /// Which of its connections this is.
    generation: u32,
    session: Option<SessionId>,
    /// The last session it had, and its password.
    known: Option<(SessionId, [u8; 16])>,
    identities: Vec<Id>,
    xid: i32,
}

struct Play {
    options: TreeOptions,
    node: Node,
    tree: Tree,
    watches: Mutex<Watches>,
    schemes: Arc<Schemes>,
    now: Now,
    log: Vec<Bytes>,
    proposed: Zxid,
    /// Of the last reply.
    replied: Zxid,
    clients: [Client; CLIENTS],
    owed: BTreeMap<ConnectionId, VecDeque<Owed>>,
}

impl Play {
    fn new(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let options = TreeOptions { digest: true, extended_types: flags & 1 != 0, ..TreeOptions::default() };
        let config = NodeConfig {
            tick: Duration::from_millis(500),
            extended_types: options.extended_types,
            enforce_quota: flags & 2 != 0,
            reconfig: flags & 4 != 0,
            list_closed_paths: flags & 8 != 0,
            cuts: CutPolicy {
                txns_max: 20,
                dirty_max: 10,
                unwritten_max: 2,
                busy_txns_per_second: 5,
                put_off_max: 3,
                ..CutPolicy::default()
            },
            reaper: ReaperConfig {
                interval: Duration::from_secs(1),
                never_used_max: Duration::from_secs(u64::from(flags >> 4)),
                ..ReaperConfig::default()
            },
            ..NodeConfig::default()
        };
        let now = Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 };
        let tree = Tree::new(options.clone());
        Self {
            schemes: Arc::clone(&config.schemes),
            node: Node::new(config, &tree, now),
            options,
            tree,
            watches: Mutex::new(Watches::new(0)),
            now,
            log: Vec::new(),
            proposed: Zxid::ZERO,
            replied: Zxid::ZERO,
            clients: Default::default(),
            owed: BTreeMap::new(),
        }
    }

    fn event(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let who = usize::from(choice >> 4) % CLIENTS;
        match choice & 15 {
            0 => self.open(who, input),
            1 => self.renew(who, input),
            2 => self.leave(who),
            3 => self.touch(who),
            4 => self.pass(input),
            5 => self.step(Event::LogRoom(room(choice >> 4))),
            6 => self.step(Event::SnapshotWritten { cuts: 1 }),
            7 => self.settle(input.byte()),
            8 => self.clients[who].identities = identities(input.byte()),
            9 => self.ask_anything(who, input),
            _ => {
                let (op, body) = request(input);
                self.ask(who, op.code(), body);
            }
        }
    }

    fn connection(&self, who: usize) -> ConnectionId {
        ConnectionId { shard: 0, slot: who as u32, generation: self.clients[who].generation }
    }

    fn open(&mut self, who: usize, input: &mut Input<'_>) {
        self.leave(who);
        let connection = self.connection(who);
        self.owed.entry(connection).or_default().push_back(Owed::Handshake);
        let timeout_ms = input.one_of(&[6000, 0, -1, i32::MAX]);
        self.step(Event::OpenSession { connection, timeout_ms });
    }

    fn renew(&mut self, who: usize, input: &mut Input<'_>) {
        self.leave(who);
        let whose = input.below(CLIENTS);
        let (session, password) = self.clients[whose].known.unwrap_or((SessionId(1), [0; 16]));
        let password = match input.below(8) {
            0 => Bytes::copy_from_slice(input.few_bytes()),
            _ => Bytes::copy_from_slice(&password),
        };
        let connection = self.connection(who);
        self.owed.entry(connection).or_default().push_back(Owed::Handshake);
        self.step(Event::RenewSession { connection, session, password, timeout_ms: 6000 });
    }

    fn leave(&mut self, who: usize) {
        let connection = self.connection(who);
        self.clients[who].generation += 1;
        self.clients[who].session = None;
        self.watches.lock().drop_connection(connection);
        self.step(Event::Disconnected { connection });
    }

    fn touch(&mut self, who: usize) {
        let sessions = self.clients[who].known.map(|(session, _)| session);
        self.step(Event::Touched(sessions.into_iter().collect()));
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let millis = u64::from(input.short() % 4096);
        self.now.monotonic += Duration::from_millis(millis);
        self.now.wall_ms += millis as i64;
        if self.node.deadline().is_some_and(|due| due <= self.now.monotonic) {
            self.step(Event::Tick);
        }
    }

    fn ask_anything(&mut self, who: usize, input: &mut Input<'_>) {
        let op = match input.byte() {
            op @ 0..128 => i32::from(op),
            op => i32::from(op.cast_signed()),
        };
        let body = Bytes::copy_from_slice(input.few_bytes());
        self.ask(who, op, body);
    }

    /// A read is answered at once if nothing of its connection is under way, as the rim does it.
    fn ask(&mut self, who: usize, op: i32, body: Bytes) {
        let connection = self.connection(who);
        let client = &mut self.clients[who];
        let Some(session) = client.session else { return };
        client.xid += 1;
        let xid = client.xid;
        if matches!(Op::from_code(op), Some(Op::Auth | Op::Sasl)) {
            return;
        }
        let lane = Lane::of(op);
        if lane == Lane::Read && self.owed.get(&connection).is_none_or(VecDeque::is_empty) {
            return self.read(who, session, xid, op, &body);
        }
        let identities = client.identities.clone().into();
        let request = Request { session, connection: Some(connection), xid, op, body, identities };
        let answered_as = if op == Op::Ping.code() { jute::proto::xid::PING } else { xid };
        let (event, owed) = match lane {
            Lane::Read => (Event::Read(request), Owed::Answer(answered_as)),
            Lane::Write => (Event::Write(request), Owed::Reply(xid)),
        };
        self.owed.entry(connection).or_default().push_back(owed);
        self.step(event);
    }

    fn read(&self, who: usize, session: SessionId, xid: i32, op: i32, body: &Bytes) {
        let connection = self.connection(who);
        let (identities, schemes) = (&self.clients[who].identities[..], &*self.schemes);
        let reader = Reader { connection, session, identities, schemes };
        let mut out = BytesMut::new();
        read::answer(&self.tree, &self.watches, reader, xid, op, body, &mut out);
        let header = header_of_last(out.freeze());
        let wanted = if op == Op::Ping.code() { jute::proto::xid::PING } else { xid };
        assert_eq!((header.xid, header.zxid), (wanted, self.tree.last_zxid().0));
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.node.step(event, self.now, &self.tree, &mut actions);
        self.carry_out(actions);
    }

    /// The log is on disk, except for up to `behind` of its last records; what is committed is applied.
    fn settle(&mut self, behind: u8) {
        let committed = self.node.status().committed;
        let persisted = Zxid(self.proposed.0 - i64::from(behind % 8)).max(committed);
        let mut actions = Vec::new();
        if persisted > committed {
            self.node.step(Event::Persisted(persisted), self.now, &self.tree, &mut actions);
        }
        self.node.apply(&mut self.tree, &mut self.watches.lock(), &mut actions);
        self.carry_out(actions);
        let status = self.node.status();
        assert!(status.applied <= status.committed && status.committed <= status.proposed);
        assert_eq!((status.applied, status.committed), (self.tree.last_zxid(), persisted));
        assert_eq!(status.counters.digest_mismatches, 0, "a txn's digest is not the tree's");
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Append { zxid, record } => {
                    assert_eq!(zxid, self.proposed.next(), "zxids follow each other");
                    self.proposed = zxid;
                    self.log.push(record);
                }
                Action::Deliver(delivery) => self.deliver(delivery),
                Action::Snapshot(cut) => {
                    assert_eq!((cut.zxid, cut.digest), (self.tree.last_zxid(), self.tree.digest()));
                }
                other => panic!("a lone server wants nothing of other servers: {other:?}"),
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connected { connection, session, password, timeout_ms, .. } => {
                assert!(timeout_ms > 0);
                self.settle_debt(connection, &Owed::Handshake);
                if let Some(client) = self.client_of(connection) {
                    client.session = Some(session);
                    client.known = Some((session, password));
                    client.identities = identities(0);
                }
            }
            Delivery::Expired { connection } => {
                self.settle_debt(connection, &Owed::Handshake);
                self.send_away(connection);
            }
            Delivery::Reply { connection, xid, zxid, close, .. } => {
                if zxid != UNKNOWN_OPERATION {
                    assert!(zxid >= self.replied, "a reply knows of all that one before it knew of");
                    self.replied = zxid;
                }
                self.settle_debt(connection, &Owed::Reply(xid));
                if close {
                    self.send_away(connection);
                }
            }
            Delivery::Notification { connections, .. } => assert!(!connections.is_empty()),
            Delivery::Answer { connection, zxid, frames } => {
                let header = header_of_last(frames);
                assert_eq!(header.zxid, zxid.0);
                assert!(zxid >= self.replied, "an answer knows of all that one before it knew of");
                self.replied = zxid;
                self.settle_debt(connection, &Owed::Answer(header.xid));
            }
            Delivery::Close { connection } => {
                let owed = self.owed.entry(connection).or_default();
                owed.pop_front_if(|owed| *owed == Owed::Handshake); // There was no room for a session.
                self.send_away(connection);
            }
        }
    }

    /// Every request is answered once, in the order of asking.
    fn settle_debt(&mut self, connection: ConnectionId, with: &Owed) {
        let owed = self.owed.get_mut(&connection).and_then(VecDeque::pop_front);
        assert_eq!(owed.as_ref(), Some(with), "{connection:?}");
    }

    fn client_of(&mut self, connection: ConnectionId) -> Option<&mut Client> {
        let client = &mut self.clients[connection.slot as usize];
        (client.generation == connection.generation).then_some(client)
    }

    /// The rim closes the connection, and tells the node once it is done with its mail.
    fn send_away(&mut self, connection: ConnectionId) {
        if let Some(client) = self.client_of(connection) {
            client.generation += 1;
            client.session = None;
            self.watches.lock().drop_connection(connection);
            self.step(Event::Disconnected { connection });
        }
    }

    fn end(mut self) {
        self.settle(0);
        // Whoever was sent away with that has yet to depart.
        while self.node.is_behind() {
            self.settle(0);
        }
        let status = self.node.status();
        assert_eq!(status.applied, status.proposed);
        assert_eq!((status.outstanding, status.pending_paths), (0, 0));
        assert!(self.owed.values().all(VecDeque::is_empty), "{:?}", self.owed);
        assert_eq!(self.tree.digest(), self.tree.recompute_digest());
        let alive: BTreeSet<_> = self.tree.sessions().map(|(session, _)| session).collect();
        let owners: BTreeSet<_> = self.tree.ephemeral_owners().collect();
        assert!(owners.is_subset(&alive), "{owners:?} own ephemerals, {alive:?} are alive");
        self.replay();
    }

    /// The log on a fresh tree makes the same tree.
    fn replay(&self) {
        let mut tree = Tree::new(self.options.clone());
        for record in &self.log {
            let txn = Txn::from_bytes(record).expect("a record is a txn");
            assert_eq!(&txn.to_bytes(), record);
            tree.replay(&txn);
            if let Some(digest) = txn.digest {
                assert_eq!(tree.digest(), digest.tree_digest.cast_unsigned());
            }
        }
        assert_eq!(tree.digest(), self.tree.digest());
        assert_eq!(contents(&tree), contents(&self.tree));
        assert!(tree.sessions().eq(self.tree.sessions()));
    }
}

/// Who a client is: its address, and what it has proven.
fn identities(choice: u8) -> Vec<Id> {
    let proven = [None, Some(("digest", "a:b")), Some(("super", "")), Some(("digest", "c:d"))];
    let proven = proven[usize::from(choice) % proven.len()].map(|(scheme, id)| Id::new(scheme, id));
    std::iter::once(Id::new("ip", "127.0.0.1")).chain(proven).collect()
}

/// All that a tree holds, in words.
fn contents(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    tree.visit(|path, znode| {
        all.push(format!("{path} {:?} {:?} {:?}", znode.data(), znode.acl(), znode.stat()));
    });
    all.sort();
    all
}

/// From a disk with room for all to one with none.
/// The header of the reply, which stands behind the events.
fn header_of_last(mut frames: Bytes) -> ReplyHeader {
    let mut last = None;
    while !frames.is_empty() {
        let len = u32::from_be_bytes(*frames.first_chunk().expect("a length")) as usize;
        last = Some(frames.split_to(4 + len).slice(4..));
    }
    let last = last.expect("a reply behind the events");
    ReplyHeader::decode(&mut RecordReader::new(&last)).expect("a reply has a header")
}

fn room(choice: u8) -> LogRoom {
    match choice {
        0 => LogRoom::AMPLE,
        choice => LogRoom { bytes: u64::from(choice - 1) * 100, is_short: true },
    }
}
