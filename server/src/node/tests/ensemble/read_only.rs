//! Servers that have lost their quorum, and serve what they have.

use std::time::Duration;

use jute::{ErrorCode, Op};

use super::{Client, ONE, THREE, TWO, World, answers};
use crate::config::ServerId;
use crate::node::{Delivery, Event, NodeConfig};
use crate::session::{SessionId, password_of};

const PATIENCE: Duration = Duration::from_secs(3);

/// Three servers, and one of them left alone for long enough.
fn world() -> World {
    let config = NodeConfig { read_only_after: Some(PATIENCE), ..NodeConfig::default() };
    let mut world = World::with(config, 3, &[]);
    world.elect();
    let client = world.client(ONE);
    world.ask(&client, [client.create(1, "/a")]);
    world.kill(TWO);
    world.kill(THREE);
    world.run_until("it is read-only", |world| world.servers[&ONE].node.is_read_only());
    world.take(ONE);
    world
}

fn errors(delivered: &[Delivery]) -> Vec<Option<ErrorCode>> {
    let error = |delivery: &Delivery| match delivery {
        Delivery::Reply { error, .. } => *error,
        other => panic!("no answer: {other:?}"),
    };
    delivered.iter().map(error).collect()
}

fn client(world: &mut World) -> Client {
    let connection = world.connection();
    world.run(ONE, [Event::OpenSession { connection, timeout_ms: 10_000 }]);
    let [Delivery::Connected { session, is_read_only: true, .. }] = world.take(ONE)[..] else {
        panic!("no session");
    };
    Client { at: ONE, connection, session, identities: World::everybody() }
}

#[test]
fn reads_are_served_and_writes_refused() {
    let mut world = world();
    assert!(!world.servers[&ONE].node.serves());
    let client = client(&mut world);
    assert_eq!(answers(&world.ask(&client, [client.exists(1, "/a")])), [(1, true)]);
    let writes = [client.create(2, "/b"), client.sync(3), Event::Write(client.request(4, Op::Multi, &0))];
    assert_eq!(errors(&world.ask(&client, writes)), [Some(ErrorCode::NotReadOnly); 3]);
    assert_eq!(errors(&world.ask(&client, [client.close(5)])), [None]);
    assert_eq!(world.servers[&ONE].node.status().local_sessions, 0);
}

#[test]
fn a_server_that_never_had_a_quorum_becomes_read_only_too() {
    let config = NodeConfig { read_only_after: Some(PATIENCE), ..NodeConfig::default() };
    let mut world = World::with(config, 3, &[]);
    world.kill(TWO);
    world.kill(THREE);
    world.pass(PATIENCE - Duration::from_millis(10));
    assert!(!world.servers[&ONE].node.is_read_only());
    world.pass(Duration::from_millis(20));
    assert!(world.servers[&ONE].node.is_read_only());
}

#[test]
fn sessions_of_the_quorum_are_not_judged_by_a_read_only_server() {
    let mut world = world();
    let global = world.servers[&ONE].tree.sessions().next().unwrap().0;
    let unknown = SessionId(7);
    for (session, is_sent_away) in [(global, true), (unknown, false)] {
        let connection = world.connection();
        let password = password_of(session).to_vec().into();
        world.run(ONE, [Event::RenewSession { connection, session, password, timeout_ms: 10_000 }]);
        match world.take(ONE)[..] {
            [Delivery::Close { .. }] => assert!(is_sent_away),
            [Delivery::Expired { .. }] => assert!(!is_sent_away),
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn its_clients_come_back_to_the_same_server_and_are_forgotten_in_time() {
    let mut world = world();
    let client = client(&mut world);
    let again = world.connection();
    let password = password_of(client.session).to_vec().into();
    let session = client.session;
    world.run(ONE, [Event::RenewSession { connection: again, session, password, timeout_ms: 10_000 }]);
    assert!(matches!(
        world.take(ONE)[..],
        [Delivery::Close { connection }, Delivery::Connected { is_read_only: true, .. }]
            if connection == client.connection
    ));
    world.pass(Duration::from_secs(15));
    assert!(matches!(world.take(ONE)[..], [Delivery::Close { connection }] if connection == again));
}

#[test]
fn once_there_is_a_quorum_its_clients_are_sent_to_look_for_it() {
    let mut world = world();
    let client = client(&mut world);
    world.has_closed_all(ONE);
    world.start(TWO);
    world.elect();
    assert!(world.has_closed_all(ONE));
    assert!(!world.servers[&ONE].node.is_read_only());
    assert!(world.moved(&client, ONE).is_none());
    let client = world.client(ONE);
    assert_eq!(answers(&world.ask(&client, [client.create(1, "/b")])), [(1, true)]);
    world.agreed();
}

#[test]
fn without_the_mode_nobody_is_served() {
    let mut world = World::new(3, &[]);
    world.elect();
    world.kill(TWO);
    world.kill(THREE);
    world.pass(Duration::from_secs(60));
    assert!(world.servers.contains_key(&ServerId(1)) && !world.servers[&ONE].node.is_read_only());
}
