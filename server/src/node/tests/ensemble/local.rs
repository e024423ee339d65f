//! Sessions that only their server knows.

use std::time::Duration;

use jute::data::Acl;
use jute::multi::{MultiOp, MultiRequest};
use jute::{CreateMode, ErrorCode, Op};

use super::{Client, ONE, THREE, TWO, World, answers, create, create_as};
use crate::config::ServerId;
use crate::node::{Delivery, Event, NodeConfig};

fn world(upgrades: bool) -> (World, ServerId) {
    let config = NodeConfig { local_sessions: true, local_upgrades: upgrades, ..NodeConfig::default() };
    let mut world = World::with(config, 3, &[4]);
    let leader = world.elect();
    assert_eq!(leader, THREE);
    (world, leader)
}

fn ephemeral(client: &Client, xid: i32, path: &str) -> Event {
    Event::Write(client.request(
        xid,
        Op::Create,
        &create_as(path, CreateMode::Ephemeral as i32, Acl::open_unsafe()),
    ))
}

fn error(delivered: &[Delivery]) -> Option<ErrorCode> {
    let [Delivery::Reply { error, .. }] = delivered else {
        panic!("no answer: {delivered:?}");
    };
    *error
}

/// How many sessions everybody knows of, and how many this server alone.
fn sessions(world: &World, at: ServerId) -> (usize, usize) {
    let server = &world.servers[&at];
    (server.tree.sessions().len(), server.node.status().local_sessions)
}

#[test]
fn local_sessions_cost_no_txn_and_write_like_others() {
    for at in [ONE, THREE, ServerId(4)] {
        let (mut world, _) = world(false);
        let before = world.agreed();
        let client = world.client(at);
        assert_eq!(world.agreed(), before);
        assert_eq!(sessions(&world, at), (0, 1));
        assert_eq!(answers(&world.ask(&client, [client.create(1, "/a")])), [(1, true)]);
        let created = world.agreed();
        let asked = [client.exists(2, "/a"), client.sync(3), client.close(4)];
        assert_eq!(answers(&world.ask(&client, asked)), [(2, true), (3, true), (4, true)]);
        assert_eq!(world.agreed(), created);
        assert_eq!(sessions(&world, at), (0, 0));
    }
}

#[test]
fn local_sessions_own_nothing_where_they_stay_local() {
    for at in [ONE, THREE] {
        let (mut world, _) = world(false);
        let client = world.client(at);
        let refused = world.ask(&client, [ephemeral(&client, 1, "/e")]);
        assert_eq!(error(&refused), Some(ErrorCode::EphemeralOnLocalSession));
        assert!(world.has("/e").is_empty());
        let answered = world.ask(&client, [client.create(2, "/a")]);
        assert_eq!(answers(&answered), [(2, true)], "it goes on as it was");
        world.agreed();
    }
}

#[test]
fn with_an_ephemeral_znode_a_local_session_becomes_everyones() {
    for at in [ONE, THREE, ServerId(4)] {
        let (mut world, leader) = world(true);
        let client = world.client(at);
        let asked = [ephemeral(&client, 1, "/e"), ephemeral(&client, 2, "/f"), client.exists(3, "/f")];
        assert_eq!(answers(&world.ask(&client, asked)), [(1, true), (2, true), (3, true)]);
        assert_eq!(sessions(&world, at), (1, 0));
        assert_eq!(world.has("/e"), [1, 2, 3, 4]);

        // It lives on elsewhere, and takes its znodes with it in the end.
        let elsewhere = world.moved(&client, TWO).unwrap();
        assert_eq!(answers(&world.ask(&elsewhere, [elsewhere.close(4)])), [(4, true)]);
        assert!(world.has("/e").is_empty());
        assert!(world.servers[&leader].node.is_leader());
        world.agreed();
    }
}

#[test]
fn a_multi_that_makes_an_ephemeral_znode_upgrades_too() {
    let (mut world, _) = world(true);
    let client = world.client(ONE);
    let ops = vec![
        MultiOp::Create(create("/a")),
        MultiOp::Create2(create_as("/a/e", CreateMode::Ephemeral as i32, Acl::open_unsafe())),
    ];
    let multi = Event::Write(client.request(1, Op::Multi, &MultiRequest { ops }));
    assert_eq!(answers(&world.ask(&client, [multi])), [(1, true)]);
    assert_eq!(sessions(&world, ONE), (1, 0));
}

#[test]
fn an_upgraded_session_expires_everywhere_when_nobody_is_heard_from() {
    let (mut world, _) = world(true);
    let client = world.client(ONE);
    world.ask(&client, [ephemeral(&client, 1, "/e")]);
    // Its server tells the leader that it lives.
    for _ in 0..8 {
        world.pass(Duration::from_secs(3));
        world.run(ONE, [Event::Touched(vec![client.session])]);
    }
    assert_eq!(world.has("/e"), [1, 2, 3, 4]);
    world.pass(Duration::from_secs(15));
    assert!(world.has("/e").is_empty());
}

#[test]
fn local_sessions_live_as_long_as_they_are_heard_from() {
    for at in [ONE, THREE] {
        let (mut world, _) = world(false);
        let client = world.client(at);
        for _ in 0..8 {
            world.pass(Duration::from_secs(3));
            world.run(at, [Event::Touched(vec![client.session])]);
        }
        assert_eq!(sessions(&world, at), (0, 1));
        world.take(at);
        world.pass(Duration::from_secs(15));
        assert_eq!(sessions(&world, at), (0, 0));
        assert!(
            matches!(world.take(at)[..], [Delivery::Close { connection }] if connection == client.connection)
        );
    }
}

#[test]
fn local_sessions_are_carried_on_at_their_own_server_only() {
    let (mut world, _) = world(true);
    for at in [ONE, THREE] {
        let client = world.client(at);
        world.run(at, [Event::Disconnected { connection: client.connection }]);
        let client = world.moved(&client, at).expect("its server knows it");
        assert_eq!(answers(&world.ask(&client, [client.create(1, &format!("/{}", at.0))])), [(1, true)]);
        for elsewhere in [TWO, THREE, ServerId(4)].into_iter().filter(|elsewhere| *elsewhere != at) {
            assert!(world.moved(&client, elsewhere).is_none());
        }
    }
}

#[test]
fn local_sessions_end_with_their_servers_role() {
    let (mut world, leader) = world(false);
    let client = world.client(ONE);
    world.kill(leader);
    world.elect();
    assert_eq!(sessions(&world, ONE).1, 0);
    assert!(world.moved(&client, ONE).is_none());
}
