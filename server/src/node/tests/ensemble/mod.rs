//! Several nodes with their peers, in memory.

mod hostile;
mod local;
mod read_only;
mod rollover;
mod storm;
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::data::Id;
use jute::proto::{ExistsRequest, SetDataRequest, SyncRequest};
use jute::{ErrorCode, Jute, Op};

use super::{create, create_as, set_data};
use crate::config::ServerId;
use crate::node::{Delivery, Event, ReplyBody, Request};
use crate::session::{ConnectionId, SessionId, password_of};
use world::World;

/// A client at one of the servers.
#[derive(Debug, Clone)]
struct Client {
    at: ServerId,
    connection: ConnectionId,
    session: SessionId,
    identities: Arc<[Id]>,
}

impl World {
    fn client(&mut self, at: ServerId) -> Client {
        let connection = self.connection();
        self.run(at, [Event::OpenSession { connection, timeout_ms: 10_000 }]);
        self.settle();
        let [Delivery::Connected { session, .. }] = self.take(at)[..] else {
            panic!("no session");
        };
        Client { at, connection, session, identities: Self::everybody() }
    }

    /// Carries a client's session on at another server.
    fn moved(&mut self, client: &Client, at: ServerId) -> Option<Client> {
        let (connection, session) = (self.connection(), client.session);
        let password = password_of(session).to_vec().into();
        self.run(at, [Event::RenewSession { connection, session, password, timeout_ms: 10_000 }]);
        self.settle();
        match self.take(at)[..] {
            [Delivery::Connected { session: renewed, .. }] => {
                assert_eq!(renewed, session);
                Some(Client { at, connection, ..client.clone() })
            }
            [Delivery::Expired { .. }] => None,
            ref other => panic!("no handshake: {other:?}"),
        }
    }

    fn ask(&mut self, client: &Client, events: impl IntoIterator<Item = Event>) -> Vec<Delivery> {
        self.run(client.at, events);
        self.settle();
        self.take(client.at)
    }

    fn has(&self, path: &str) -> Vec<i64> {
        let has = self.servers.iter().filter(|(_, server)| server.tree.find(path).is_some());
        has.map(|(id, _)| id.0).collect()
    }
}

impl Client {
    fn request(&self, xid: i32, op: Op, body: &impl Jute) -> Request {
        let Self { session, connection, identities, .. } = self.clone();
        Request {
            session,
            connection: Some(connection),
            xid,
            op: op.code(),
            body: body.to_bytes(),
            identities,
        }
    }

    fn create(&self, xid: i32, path: &str) -> Event {
        Event::Write(self.request(xid, Op::Create, &create(path)))
    }

    fn close(&self, xid: i32) -> Event {
        let request = self.request(xid, Op::CloseSession, &SyncRequest { path: "/".into() });
        Event::Write(Request { body: bytes::Bytes::new(), ..request })
    }

    fn exists(&self, xid: i32, path: &str) -> Event {
        Event::Read(self.request(xid, Op::Exists, &ExistsRequest { path: path.into(), watch: false }))
    }

    fn sync(&self, xid: i32) -> Event {
        Event::Write(self.request(xid, Op::Sync, &SyncRequest { path: "/".into() }))
    }
}

/// The numbers of the requests answered, and whether they went well.
fn answers(delivered: &[Delivery]) -> Vec<(i32, bool)> {
    let answer = |delivery: &Delivery| match delivery {
        Delivery::Reply { xid, error, .. } => (*xid, error.is_none()),
        Delivery::Answer { frames, .. } => {
            let number = |at: usize| i32::from_be_bytes(frames[at..at + 4].try_into().unwrap());
            (number(4), number(16) == 0)
        }
        other => panic!("no answer: {other:?}"),
    };
    delivered.iter().map(answer).collect()
}

fn path_of(delivery: &Delivery) -> &str {
    match delivery {
        Delivery::Reply { body: ReplyBody::Path(path), .. } => path,
        other => panic!("no path: {other:?}"),
    }
}

const ONE: ServerId = ServerId(1);
const TWO: ServerId = ServerId(2);
const THREE: ServerId = ServerId(3);

#[test]
fn the_newest_server_leads_and_all_serve() {
    let mut world = World::new(3, &[]);
    assert_eq!(world.elect(), THREE);
    assert_eq!(world.agreed().counter(), 0);
}

#[test]
fn a_write_on_a_follower_is_seen_by_all() {
    let mut world = World::new(3, &[4]);
    let leader = world.elect();
    for at in [leader, ONE, ServerId(4)] {
        let client = world.client(at);
        let path = format!("/by-{}", at.0);
        let answered = world.ask(&client, [client.create(1, &path)]);
        assert_eq!(path_of(&answered[0]), path);
        assert_eq!(world.has(&path), [1, 2, 3, 4]);
    }
    world.agreed();
}

#[test]
fn a_followers_answers_come_in_the_order_of_requests() {
    let mut world = World::new(3, &[]);
    world.elect();
    let client = world.client(ONE);
    let events = [
        client.exists(1, "/a"),
        client.create(2, "/a"),
        client.exists(3, "/a"),
        client.create(4, "/a"),
        client.exists(5, "/b"),
        Event::Refused { connection: client.connection, xid: 6, error: ErrorCode::ThrottledOp },
        client.sync(7),
        client.create(8, "/b"),
        client.exists(9, "/b"),
    ];
    let answered = answers(&world.ask(&client, events));
    let expected = [false, true, true, false, false, false, true, true, true];
    assert_eq!(answered, (1..).zip(expected).collect::<Vec<_>>());
}

#[test]
fn a_sync_on_a_follower_shows_what_was_written_elsewhere() {
    let mut world = World::new(3, &[]);
    let leader = world.elect();
    let (writer, reader) = (world.client(leader), world.client(ONE));
    // The write is on its way when the sync is asked for.
    world.run(leader, [writer.create(1, "/a")]);
    world.run(ONE, [reader.sync(1), reader.exists(2, "/a")]);
    world.settle();
    assert_eq!(answers(&world.take(ONE)), [(1, true), (2, true)]);
}

/// Java's learners depend on it.
#[test]
fn a_leader_that_was_deposed_unawares_answers_no_sync() {
    let mut world = World::new(3, &[4]);
    let deposed = world.elect();
    let (at_leader, at_observer) = (world.client(deposed), world.client(ServerId(4)));
    let elsewhere = world.client(ONE);
    // From now on it hears of nothing, not even that it is alone; its observer stays with it.
    world.part(deposed, ONE);
    world.part(deposed, TWO);
    world.deaf = Some(deposed);
    world.run_until("another leads", |world| world.servers[&TWO].node.is_leader());
    let elsewhere = world.moved(&elsewhere, TWO).unwrap();
    assert_eq!(answers(&world.ask(&elsewhere, [elsewhere.create(1, "/new")])), [(1, true)]);

    assert!(world.servers[&deposed].node.is_leader(), "it does not know");
    for client in [at_leader, at_observer] {
        assert_eq!(answers(&world.ask(&client, [client.exists(1, "/new")])), [(1, false)]);
        let asked = [client.sync(2), client.exists(3, "/new")];
        assert_eq!(
            answers(&world.ask(&client, asked)),
            [],
            "it would not see what was acknowledged elsewhere"
        );
    }
}

#[test]
fn a_sync_is_answered_between_the_commits_around_it() {
    let mut world = World::new(3, &[]);
    world.elect();
    let client = world.client(ONE);
    world.heard.clear();
    world.ask(&client, [client.create(1, "/a"), client.sync(2), client.create(3, "/b")]);
    let heard = world.heard.iter().filter(|(server, _)| *server == ONE).map(|(_, packet)| *packet);
    let heard: Vec<_> = heard.filter(|packet| matches!(*packet, "COMMIT" | "SYNC")).collect();
    assert_eq!(heard, ["COMMIT", "SYNC", "COMMIT"]);
}

#[test]
fn a_session_moves_to_another_server_and_its_old_connection_is_of_no_use() {
    let mut world = World::new(3, &[]);
    let leader = world.elect();
    let first = world.client(ONE);
    let second = world.moved(&first, TWO).unwrap();
    let late = world.ask(&first, [first.create(1, "/late")]);
    assert!(matches!(late[..], [Delivery::Close { .. }]), "{late:?}");
    assert_eq!(answers(&world.ask(&second, [second.create(1, "/a")])), [(1, true)]);
    let third = world.moved(&second, leader).unwrap();
    assert_eq!(answers(&world.ask(&third, [third.create(2, "/b")])), [(2, true)]);
    assert!(world.has("/late").is_empty());
    let nobody = Client { session: SessionId(0x0700_0000_0000_0001), ..third };
    assert!(world.moved(&nobody, ONE).is_none());
}

#[test]
fn a_closed_session_takes_its_ephemerals_along_on_all_servers() {
    let mut world = World::new(3, &[]);
    world.elect();
    let client = world.client(ONE);
    let ephemeral = create_as("/e", 1, jute::data::Acl::open_unsafe());
    world.ask(&client, [Event::Write(client.request(1, Op::Create, &ephemeral))]);
    assert_eq!(world.has("/e"), [1, 2, 3]);
    let bye = world.ask(&client, [client.close(2)]);
    assert!(matches!(bye[..], [Delivery::Reply { xid: 2, close: true, .. }]), "{bye:?}");
    assert!(world.has("/e").is_empty());
    world.agreed();
}

#[test]
fn a_session_lives_while_its_learner_hears_from_it_and_expires_afterwards() {
    let mut world = World::new(3, &[]);
    world.elect();
    let client = world.client(ONE);
    for _ in 0..10 {
        world.pass(Duration::from_secs(3));
        world.run(ONE, [Event::Touched(vec![client.session])]);
    }
    assert_eq!(answers(&world.ask(&client, [client.create(1, "/a")])), [(1, true)]);
    world.pass(Duration::from_secs(20));
    assert!(matches!(world.take(ONE)[..], [Delivery::Close { .. }]));
    assert!(world.moved(&client, TWO).is_none());
}

#[test]
fn clocks_that_jump_by_hours_expire_nobody_and_hold_up_nothing() {
    let mut world = World::new(3, &[]);
    let leader = world.elect();
    let clients = [world.client(leader), world.client(ONE)];
    for (xid, jump) in (1..).zip([36_000_000, -72_000_000, 36_000_000]) {
        world.now.wall_ms += jump;
        world.pass(Duration::from_secs(3));
        for (client, path) in clients.iter().zip(["/a", "/b"]) {
            let write = client.create(xid, &format!("{path}{xid}"));
            assert_eq!(answers(&world.ask(client, [write])), [(xid, true)]);
        }
    }
    assert!(world.servers[&leader].node.is_leader());
    world.agreed();
}

#[test]
fn after_its_clock_was_set_back_a_server_without_its_disk_opens_no_session_twice() {
    let mut world = World::new(3, &[]);
    world.elect();
    world.now.wall_ms += 3_600_000;
    world.lose(ONE);
    world.start(ONE);
    world.elect();
    let before = world.client(ONE);
    world.now.wall_ms -= 3_600_000;
    world.lose(ONE);
    world.start(ONE);
    world.elect();
    assert_ne!(world.client(ONE).session, before.session);
    world.agreed();
}

#[test]
fn a_new_leader_has_all_that_was_committed_and_sessions_live_on() {
    let mut world = World::new(3, &[]);
    let old = world.elect();
    let client = world.client(ONE);
    for xid in 1..=20 {
        world.ask(&client, [client.create(xid, &format!("/{xid}"))]);
    }
    world.kill(old);
    world.run_until("the loss is noticed", |world| !world.servers[&ONE].node.serves());
    assert!(world.has_closed_all(ONE));
    let new = world.elect();
    assert_ne!(new, old);
    let client = world.moved(&client, TWO).unwrap();
    assert_eq!(answers(&world.ask(&client, [client.create(21, "/21")])), [(21, true)]);
    world.start(old);
    world.elect();
    for xid in 1..=21 {
        assert_eq!(world.has(&format!("/{xid}")), [1, 2, 3]);
    }
    assert_eq!(world.agreed().epoch(), crate::zab::Epoch(2));
}

#[test]
fn a_deposed_leader_forgets_what_it_could_not_commit() {
    let mut world = World::new(3, &[]);
    let old = world.elect();
    let (client, other) = (world.client(old), world.client(ONE));
    world.ask(&other, [other.create(1, "/before")]);
    // Only the leader's own disk has it.
    world.run(old, [client.create(1, "/lost")]);
    world.kill(old);
    world.elect();
    let other = world.moved(&other, TWO).unwrap();
    world.ask(&other, [other.create(2, "/kept")]);
    world.start(old);
    world.elect();
    assert_eq!(world.has("/before"), [1, 2, 3]);
    assert_eq!(world.has("/kept"), [1, 2, 3]);
    assert!(world.has("/lost").is_empty() || world.has("/lost").len() == 3);
    world.agreed();
}

#[test]
fn who_was_away_for_long_gets_the_whole_tree() {
    let mut world = World::new(3, &[]);
    world.window_txns_max = 5;
    let leader = world.elect();
    assert_eq!(leader, THREE);
    world.kill(TWO);
    world.kill(THREE);
    world.start(THREE);
    world.elect();
    let client = world.client(ONE);
    for xid in 1..=20 {
        world.ask(&client, [client.create(xid, &format!("/{xid}"))]);
    }
    world.start(TWO);
    world.elect();
    assert_eq!(world.has("/1"), [1, 2, 3]);
    world.agreed();
    let client = world.client(TWO);
    assert_eq!(answers(&world.ask(&client, [client.create(1, "/a")])), [(1, true)]);
    // It is on its disk too.
    world.kill(TWO);
    world.start(TWO);
    world.elect();
    world.agreed();
}

#[test]
fn refusals_are_txns_that_the_follower_answers() {
    let mut world = World::new(3, &[]);
    world.elect();
    let client = world.client(ONE);
    let before = world.agreed();
    let missing = Event::Write(client.request(1, Op::SetData, &set_data("/none", "x", -1)));
    let [Delivery::Reply { error, .. }] = &world.ask(&client, [missing])[..] else {
        panic!("no answer");
    };
    assert_eq!(*error, Some(ErrorCode::NoNode));
    assert_eq!(world.agreed(), before.next());
}

#[test]
fn nobody_is_served_without_a_leader() {
    let mut world = World::new(3, &[]);
    world.elect();
    world.kill(ONE);
    world.kill(TWO);
    world.run_until("it gives up", |world| !world.servers[&THREE].node.serves());
    let connection = world.connection();
    world.take(THREE);
    world.run(THREE, [Event::OpenSession { connection, timeout_ms: 10_000 }]);
    assert!(matches!(world.take(THREE)[..], [Delivery::Close { .. }]));
}

#[test]
fn a_leader_that_hands_over_loses_no_write_that_was_asked_for() {
    let mut world = World::new(3, &[]);
    let old = world.elect();
    let (own, other) = (world.client(old), world.client(ONE));
    world.run(old, [own.create(1, "/a")]);
    world.run(ONE, [other.create(1, "/b")]);
    world.run(old, [Event::HandOver, own.create(2, "/c")]);
    world.settle();
    let new = world.elect();
    assert_ne!(new, old);
    assert_eq!(world.has("/a"), [1, 2, 3]);
    let answered = world.take(old);
    assert_eq!(answers(&answered[..1]), [(1, true)], "{answered:?}");
    let own = world.moved(&own, new).unwrap();
    assert_eq!(answers(&world.ask(&own, [own.create(2, "/c")])), [(2, true)]);
    world.agreed();
}

#[test]
fn a_leader_without_a_successor_in_time_goes_on_with_what_waited() {
    let mut world = World::new(3, &[]);
    let leader = world.elect();
    let (own, other) = (world.client(leader), world.client(ONE));
    world.run(leader, [own.create(1, "/a")]); // No acknowledgement gets through before the next settle.
    world.run(leader, [Event::HandOver, own.create(2, "/b")]);
    world.run(ONE, [other.create(1, "/c")]);
    world.now.monotonic += Duration::from_secs(2);
    world.run(leader, [Event::Tick, own.create(3, "/d")]);
    assert_eq!(answers(&world.ask(&own, [])), [(1, true), (2, true), (3, true)]);
    assert_eq!(answers(&world.take(ONE)), [(1, true)]);
    assert!(world.servers[&leader].node.is_leader());
    world.agreed();
}

#[test]
fn too_much_that_waits_keeps_a_leader_in_office() {
    let mut world = World::new(3, &[]);
    let leader = world.elect();
    let own = world.client(leader);
    world.run(leader, [own.create(1, "/a")]);
    let large = |cxid| {
        let data = Bytes::from(vec![0; 1 << 20]);
        let body = SetDataRequest { path: "/a".into(), data: Some(data), version: -1 };
        Event::Write(own.request(cxid, Op::SetData, &body))
    };
    world.run(leader, [Event::HandOver]);
    world.run(leader, (2..70).map(large));
    assert!(world.servers[&leader].node.is_leader());
    let answered = answers(&world.ask(&own, []));
    assert_eq!(answered, (1..70).map(|cxid| (cxid, true)).collect::<Vec<_>>());
}

#[test]
fn who_loses_the_quorum_expires_nobody_any_more() {
    let mut world = World::new(3, &[]);
    world.elect();
    world.client(THREE);
    world.kill(ONE);
    world.kill(TWO);
    // It was stopped for a while: the quorum and the session are found missing at once.
    world.now.monotonic += Duration::from_secs(60);
    world.tick();
    assert!(!world.servers[&THREE].node.serves());
    assert_eq!(world.servers[&THREE].node.status().counters.sessions_expired, 0);
}
