//! Clients at work on an ensemble while servers crash, links break and messages dawdle, all driven by one seed. What
//! the service promises its clients is checked as they see it; then all is healed, and everybody must get on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jute::{CreateMode, ErrorCode, Op};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Client, World};
use crate::config::ServerId;
use crate::node::tests::{create_as, set_data};
use crate::node::{Delivery, Event};
use crate::session::{ConnectionId, SessionId, password_of};
use crate::zab::Zxid;
use jute::data::Acl;
use jute::proto::ExistsRequest;

const SEEDS: u64 = 4000;
const STEPS: usize = 400;
const CALLERS: usize = 4;
const TIMEOUT_MS: i32 = 10_000;

/// What a caller waits for.
#[derive(Debug, Clone)]
enum Asked {
    Create {
        path: String,
        is_ephemeral: bool,
    },
    Set,
    Sync,
    /// Whether it has to be there.
    Exists {
        path: String,
        must: bool,
    },
    Close,
}

/// A user of the service, with one session at a time.
#[derive(Debug, Default)]
struct Caller {
    session: Option<SessionId>,
    /// Under way to a session, or with one.
    at: Option<(ServerId, ConnectionId)>,
    is_connected: bool,
    asked: VecDeque<(i32, Asked)>,
    xid: i32,
    /// The newest state that it has seen.
    seen: Zxid,
    /// What it made in this session, and was told so.
    made: Vec<String>,
    /// So many of all that others were told of is seen by it: it asked for a sync.
    synced: usize,
}

struct Storm {
    world: World,
    dice: StdRng,
    callers: Vec<Caller>,
    servers: Vec<ServerId>,
    paths: u32,
    /// Persistent znodes that somebody was told of.
    made: Vec<String>,
    /// Ephemeral ones, with their session.
    lent: BTreeMap<String, SessionId>,
    closed: BTreeSet<SessionId>,
    /// Links break, too.
    breaks_links: bool,
    answers: u32,
    is_traced: bool,
}

impl Storm {
    fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{}", line());
        }
    }

    fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let (voters, observers): (i64, &[i64]) = match dice.random_range(0..4) {
            0 => (3, &[4]),
            1 => (5, &[]),
            _ => (3, &[]),
        };
        let mut world = World::new(voters, observers);
        world.window_txns_max = if dice.random_bool(0.5) { 500 } else { 3 };
        let servers = world.servers.keys().copied().collect();
        world.elect();
        world.disks_wait = true;
        Self {
            world,
            callers: (0..CALLERS).map(|_| Caller::default()).collect(),
            servers,
            paths: 0,
            made: Vec::new(),
            lent: BTreeMap::new(),
            closed: BTreeSet::new(),
            breaks_links: dice.random_bool(0.7),
            answers: 0,
            is_traced: false,
            dice,
        }
    }

    fn run(mut self) -> u32 {
        for _ in 0..STEPS {
            self.step();
            self.read_mail();
        }
        self.heal();
        self.answers
    }

    fn step(&mut self) {
        let server = self.servers[self.dice.random_range(0..self.servers.len())];
        match self.dice.random_range(0..100) {
            0..45 => {
                let most = self.dice.random_range(1..6);
                let dice = &mut self.dice;
                self.world.deliver_some(|ways| dice.random_range(0..ways), most);
            }
            45..60 => self.world.sync(server),
            60..85 => self.call(),
            85..93 => {
                let longest = if self.dice.random_bool(0.1) { 4000 } else { 300 };
                self.world.now.monotonic += Duration::from_millis(self.dice.random_range(1..longest));
                self.world.tick();
            }
            93 => self.crash_or_start(server),
            94 => self.break_something(server),
            95 if self.breaks_links => self.world.rejoin_all(),
            96 => {
                if self.world.servers.contains_key(&server) {
                    self.trace(|| format!("{server:?} is to hand over"));
                    self.world.run(server, [Event::HandOver]);
                }
            }
            97 => self.leave(),
            98 => self.world.deaf = None,
            _ => self.world.settle(),
        }
    }

    fn crash_or_start(&mut self, server: ServerId) {
        if !self.world.servers.contains_key(&server) {
            self.world.now.wall_ms += 1; // Session ids begin with it.
            return self.world.start(server);
        }
        self.read_mail();
        self.world.kill(server);
        for caller in &mut self.callers {
            caller.lose(server);
        }
    }

    fn break_something(&mut self, server: ServerId) {
        if !self.breaks_links {
            return;
        }
        let others: Vec<_> = self.servers.iter().copied().filter(|other| *other != server).collect();
        let other = others[self.dice.random_range(0..others.len())];
        match self.dice.random_range(0..4) {
            0 => self.world.part(server, other),
            1 => others.iter().for_each(|other| self.world.part(server, *other)),
            2 => self.depose(),
            _ => self.world.cut_links(server, other),
        }
    }

    /// Nobody hears of the leader any more, and the leader of nothing.
    fn depose(&mut self) {
        let leads =
            |server: &&ServerId| self.world.servers.get(server).is_some_and(|server| server.node.is_leader());
        let Some(leader) = self.servers.iter().find(leads).copied() else { return };
        self.trace(|| format!("{leader:?} is cut off"));
        for other in self.servers.clone().into_iter().filter(|other| *other != leader) {
            self.world.part(leader, other);
        }
        self.world.deaf = Some(leader);
    }

    /// A client hangs up.
    fn leave(&mut self) {
        let number = self.dice.random_range(0..CALLERS);
        if let Some((server, connection)) = self.callers[number].at {
            self.callers[number].hang_up();
            self.world.run(server, [Event::Disconnected { connection }]);
        }
    }

    /// A client does what it does next.
    fn call(&mut self) {
        let number = self.dice.random_range(0..CALLERS);
        if self.callers[number].at.is_none() {
            return self.connect(number);
        }
        if self.callers[number].is_connected {
            let count = if self.dice.random_bool(0.3) { self.dice.random_range(2..8) } else { 1 };
            for _ in 0..count {
                self.ask(number);
            }
        }
    }

    fn connect(&mut self, number: usize) {
        let server = self.servers[self.dice.random_range(0..self.servers.len())];
        let Some(tree) = self.world.servers.get(&server).map(|server| server.tree.last_zxid()) else {
            return;
        };
        if tree < self.callers[number].seen {
            return; // Such a client is turned away.
        }
        let connection = self.world.connection();
        let caller = &mut self.callers[number];
        caller.at = Some((server, connection));
        let event = match caller.session {
            None => Event::OpenSession { connection, timeout_ms: TIMEOUT_MS },
            Some(session) => {
                let password = password_of(session).to_vec().into();
                Event::RenewSession { connection, session, password, timeout_ms: TIMEOUT_MS }
            }
        };
        self.world.run(server, [event]);
    }

    fn ask(&mut self, number: usize) {
        let Some((at, connection)) = self.callers[number].at else { return };
        let Some(session) = self.callers[number].session else { return };
        if self.callers[number].asked.iter().any(|(_, asked)| matches!(asked, Asked::Close)) {
            return;
        }
        self.callers[number].xid += 1;
        let xid = self.callers[number].xid;
        let client = Client { at, connection, session, identities: World::everybody() };
        let (event, asked) = match self.dice.random_range(0..20) {
            0..7 => self.create(&client, xid),
            7..9 => {
                let request = set_data("/shared", "new", -1);
                (Event::Write(client.request(xid, Op::SetData, &request)), Asked::Set)
            }
            9..12 => {
                self.callers[number].synced = self.made.len();
                (client.sync(xid), Asked::Sync)
            }
            12 if self.dice.random_bool(0.3) => (client.close(xid), Asked::Close),
            _ => {
                let Some((path, must)) = self.guess(number) else { return };
                let request = ExistsRequest { path: path.as_str().into(), watch: false };
                (Event::Read(client.request(xid, Op::Exists, &request)), Asked::Exists { path, must })
            }
        };
        self.trace(|| format!("caller {number} at {at:?} {connection:?} {session:?} asks {xid} {asked:?}"));
        self.callers[number].asked.push_back((xid, asked));
        self.world.run(at, [event]);
    }

    fn create(&mut self, client: &Client, xid: i32) -> (Event, Asked) {
        self.paths += 1;
        let (path, is_ephemeral) = (format!("/n{}", self.paths), self.dice.random_bool(0.3));
        let mode = if is_ephemeral { CreateMode::Ephemeral } else { CreateMode::Persistent };
        let request = create_as(&path, mode as i32, Acl::open_unsafe());
        (Event::Write(client.request(xid, Op::Create, &request)), Asked::Create { path, is_ephemeral })
    }

    /// A path to look for, and whether this caller may insist on it.
    fn guess(&mut self, number: usize) -> Option<(String, bool)> {
        let caller = &self.callers[number];
        if !caller.made.is_empty() && self.dice.random_bool(0.5) {
            return Some((caller.made[self.dice.random_range(0..caller.made.len())].clone(), true));
        }
        if self.made.is_empty() {
            return None;
        }
        // What a sync shows, if it has to show anything, is what came last.
        let newest = caller.synced.saturating_sub(1);
        let at = if self.dice.random_bool(0.5) { newest } else { self.dice.random_range(0..self.made.len()) };
        Some((self.made[at].clone(), at < caller.synced))
    }

    fn read_mail(&mut self) {
        for id in self.servers.clone() {
            if !self.world.servers.contains_key(&id) {
                continue;
            }
            for delivery in self.world.take(id) {
                self.on_delivery(id, delivery);
            }
            if self.world.has_closed_all(id) {
                let mut gone = Vec::new();
                for caller in &mut self.callers {
                    gone.extend(
                        caller.at.filter(|(server, _)| *server == id).map(|(_, connection)| connection),
                    );
                    caller.lose(id);
                }
                let gone = gone.into_iter().map(|connection| Event::Disconnected { connection });
                self.world.run(id, gone.collect::<Vec<_>>());
            }
        }
    }

    fn on_delivery(&mut self, from: ServerId, delivery: Delivery) {
        let (Delivery::Connected { connection, .. }
        | Delivery::Expired { connection }
        | Delivery::Reply { connection, .. }
        | Delivery::Answer { connection, .. }
        | Delivery::Close { connection }) = delivery
        else {
            return;
        };
        let Some(number) = self.callers.iter().position(|caller| caller.at == Some((from, connection)))
        else {
            return; // It hung up.
        };
        self.trace(|| format!("caller {number} at {from:?} <- {delivery:?}"));
        let caller = &mut self.callers[number];
        match delivery {
            Delivery::Connected { session, .. } => {
                assert!(caller.session.is_none_or(|own| own == session), "another's session");
                (caller.session, caller.is_connected) = (Some(session), true);
            }
            Delivery::Expired { .. } => {
                // What it made is for others to see from now on.
                caller.hang_up();
                caller.session = None;
                caller.made.clear();
            }
            Delivery::Close { .. } => caller.hang_up(),
            Delivery::Reply { xid, zxid, error, close, .. } => {
                self.on_answer(number, xid, zxid, error);
                if close {
                    self.callers[number].hang_up();
                }
            }
            Delivery::Answer { zxid, ref frames, .. } => {
                let int = |at: usize| i32::from_be_bytes(frames[at..at + 4].try_into().unwrap());
                self.on_answer(number, int(4), zxid, ErrorCode::from_code(int(16)));
            }
            Delivery::Notification { .. } => {}
        }
    }

    fn on_answer(&mut self, number: usize, xid: i32, zxid: Zxid, error: Option<ErrorCode>) {
        self.answers += 1;
        let caller = &mut self.callers[number];
        let session = caller.session.expect("who asks has a session");
        let (awaited, asked) = caller.asked.pop_front().expect("an answer to a request");
        assert_eq!(xid, awaited, "answers come in the order of requests");
        assert!(zxid >= caller.seen, "{zxid} after {}", caller.seen);
        caller.seen = zxid;
        if matches!(error, Some(ErrorCode::SessionExpired | ErrorCode::SessionMoved)) {
            return caller.hang_up();
        }
        match asked {
            Asked::Create { path, is_ephemeral } => {
                assert_eq!(error, None, "{path}");
                caller.made.push(path.clone());
                if is_ephemeral {
                    self.lent.insert(path, session);
                } else {
                    self.made.push(path);
                }
            }
            Asked::Set => assert_eq!(error, Some(ErrorCode::NoNode)),
            Asked::Sync => assert_eq!(error, None),
            Asked::Exists { path, must } => {
                assert!(error.is_none() || error == Some(ErrorCode::NoNode), "{error:?}");
                assert!(error.is_none() || !must, "session {session:?} does not see {path} at {zxid}");
            }
            Asked::Close => {
                assert_eq!(error, None);
                self.closed.insert(session);
                caller.hang_up();
                caller.session = None;
                caller.made.clear();
            }
        }
    }

    /// From now on nothing goes wrong.
    fn heal(&mut self) {
        self.world.rejoin_all();
        self.world.deaf = None;
        self.world.disks_wait = false;
        for server in self.servers.clone() {
            if self.world.servers.contains_key(&server) {
                self.world.sync(server);
            } else {
                self.world.now.wall_ms += 1;
                self.world.start(server);
            }
        }
        self.settle_down("all serve one leader", |storm| storm.is_whole());
        for caller in &mut self.callers {
            assert!(caller.at.is_none() || caller.is_connected || caller.asked.is_empty());
        }
        self.settle_down("all have their answers", |storm| {
            storm.callers.iter().all(|caller| caller.asked.is_empty())
        });
        self.check_trees();
        // Whoever came back, or comes anew, is served.
        for number in 0..CALLERS {
            for _ in 0..50 {
                if self.callers[number].at.is_none() {
                    self.connect(number);
                }
                self.world.pass(Duration::from_millis(100));
                self.read_mail();
                if self.callers[number].is_connected {
                    break;
                }
            }
            assert!(self.callers[number].is_connected, "caller {number} is not let in");
        }
        self.check_trees();
    }

    fn settle_down(&mut self, what: &str, is_met: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            self.world.pass(Duration::from_millis(100));
            self.read_mail();
            if is_met(self) {
                return;
            }
        }
        panic!("never: {what}");
    }

    fn is_whole(&self) -> bool {
        let nodes = || self.world.servers.values().map(|server| &server.node);
        nodes().all(|node| node.serves()) && nodes().filter(|node| node.is_leader()).count() == 1
    }

    /// All servers have one tree, with all that clients were told of, and nothing of sessions that have ended.
    fn check_trees(&mut self) {
        self.world.settle();
        self.world.agreed();
        let tree = &self.world.servers.values().next().unwrap().tree;
        assert_eq!(tree.digest(), tree.recompute_digest());
        for path in &self.made {
            assert!(tree.find(path).is_some(), "{path} is lost");
        }
        for (path, session) in &self.lent {
            let lives = tree.session_timeout_ms(*session).is_some();
            assert_eq!(tree.find(path).is_some(), lives, "{path} of {session:?}");
        }
        for owner in tree.ephemeral_owners() {
            assert!(tree.session_timeout_ms(owner).is_some(), "ephemerals of {owner:?}, which has ended");
        }
        for session in &self.closed {
            assert!(tree.session_timeout_ms(*session).is_none(), "{session:?} was closed");
        }
    }
}

impl Caller {
    fn hang_up(&mut self) {
        self.at = None;
        self.is_connected = false;
        self.asked.clear();
        self.synced = 0;
    }

    fn lose(&mut self, server: ServerId) {
        if self.at.is_some_and(|(at, _)| at == server) {
            self.hang_up();
        }
    }
}

#[test]
fn clients_in_a_storm_see_what_they_were_promised() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    if let Some(seed) = number("MENAGERIE_STORM_SEED") {
        let mut storm = Storm::new(seed);
        storm.is_traced = true;
        storm.run();
        return;
    }
    let seeds = number("MENAGERIE_STORM_SEEDS").unwrap_or(SEEDS);
    let mut answers = 0;
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| Storm::new(seed).run());
        answers +=
            u64::from(run.unwrap_or_else(|_| panic!("seed {seed}; again: MENAGERIE_STORM_SEED={seed}")));
    }
    assert!(answers > 10 * seeds, "{answers} answers: the storm is too strong");
    println!("{answers} answers in {seeds} storms");
}
