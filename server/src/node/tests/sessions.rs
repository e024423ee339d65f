use super::*;
use crate::session::password_of;

fn ephemeral(path: &str) -> CreateRequest {
    create_as(path, 1, Acl::open_unsafe())
}

fn renew(connection: ConnectionId, session: SessionId, password: &[u8]) -> Event {
    Event::RenewSession {
        connection,
        session,
        password: Bytes::copy_from_slice(password),
        timeout_ms: 10_000,
    }
}

#[test]
fn a_session_is_open_once_its_txn_is_applied() {
    let mut world = World::new();
    let connection = world.connection();
    let mut delivered = Vec::new();
    let open = Event::OpenSession { connection, timeout_ms: 1 };
    let last = world.server.step([open], &mut delivered);
    assert!(delivered.is_empty());
    world.server.settle(last, &mut delivered);
    let [Delivery::Connected { connection: to, session, timeout_ms, password, .. }] = delivered[..] else {
        panic!("{delivered:?}");
    };
    assert_eq!((to, timeout_ms, password), (connection, 6000, password_of(session)));
    assert_eq!(world.server.tree.sessions().collect::<Vec<_>>(), [(session, 6000)]);
}

#[test]
fn a_closed_session_takes_its_ephemerals_along_and_says_farewell() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    for path in ["/b", "/a"] {
        world.ask(&client, Op::Create, &ephemeral(path)).unwrap();
    }
    world.ask(&other, Op::Create, &ephemeral("/kept")).unwrap();
    assert_eq!(world.stat("/a").ephemeral_owner, client.session.0);

    let close = client.write_bytes(9, Op::CloseSession.code(), Bytes::new());
    let delivered = world.server.run([close]);
    let [Delivery::Reply { xid: 9, zxid, error: None, close: true, .. }] = delivered[..] else {
        panic!("{delivered:?}");
    };
    assert!(!world.has("/a") && !world.has("/b") && world.has("/kept"));
    assert_eq!(world.stat("/").pzxid, zxid.0);
    assert_eq!(world.server.node.status().sessions, 1);
}

#[test]
fn ephemerals_under_way_go_too() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &ephemeral("/old")).unwrap();
    world.server.run([
        client.write(1, Op::Create, &ephemeral("/new")),
        client.write(2, Op::Delete, &DeleteRequest { path: "/old".into(), version: -1 }),
        client.write(3, Op::Create, &create("/old")),
        client.write_bytes(4, Op::CloseSession.code(), Bytes::new()),
    ]);
    assert!(!world.has("/new"));
    assert!(world.has("/old"), "it is another znode now");
}

#[test]
fn after_its_close_a_session_can_do_nothing() {
    let mut world = World::new();
    let client = world.client();
    let delivered = world.server.run([
        client.write_bytes(1, Op::CloseSession.code(), Bytes::new()),
        client.write(2, Op::Create, &ephemeral("/a")),
        client.write(3, Op::Sync, &SyncRequest { path: "/".into() }),
    ]);
    let errors: Vec<_> = delivered.into_iter().map(|reply| answer_of(reply).err()).collect();
    assert_eq!(errors, [None, Some(ErrorCode::SessionExpired), Some(ErrorCode::SessionExpired)]);
    assert!(!world.has("/a"));
}

#[test]
fn a_silent_session_ends_and_its_connection_with_it() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &ephemeral("/a")).unwrap();
    let deadline = world.server.node.deadline().unwrap();
    world.server.now.monotonic = deadline - std::time::Duration::from_millis(1);
    assert!(world.server.run([Event::Tick]).is_empty());
    world.server.now.monotonic = deadline;
    let delivered = world.server.run([Event::Tick]);
    assert!(
        matches!(delivered[..], [Delivery::Close { connection }] if connection == client.connection),
        "{delivered:?}"
    );
    assert!(!world.has("/a"));
    assert_eq!(world.server.tree.sessions().count(), 0);
    let last = world.log().pop().unwrap().header;
    assert_eq!((last.client_id, last.cxid, last.txn_type), (client.session.0, 0, -11));
}

#[test]
fn reads_and_pings_keep_a_session_alive() {
    let mut world = World::new();
    let client = world.client();
    for _ in 0..10 {
        world.advance_ms(9000);
        world.server.run([Event::Touched(vec![client.session, SessionId(77)]), Event::Tick]);
    }
    world.create(&client, "/a").unwrap();
}

#[test]
fn a_session_goes_on_with_another_connection() {
    let mut world = World::new();
    let client = world.client();
    let connection = world.connection();
    let delivered = world.server.run([renew(connection, client.session, &password_of(client.session))]);
    let [Delivery::Close { connection: old }, Delivery::Connected { connection: new, session, .. }] =
        delivered[..]
    else {
        panic!("{delivered:?}");
    };
    assert_eq!((old, new, session), (client.connection, connection, client.session));
    // The old connection's end concerns the session no more.
    world.server.run([Event::Disconnected { connection: client.connection }]);
    let moved = Client { connection, ..client };
    let close = moved.write_bytes(1, Op::CloseSession.code(), Bytes::new());
    assert_eq!(world.server.run([close]).len(), 1);
}

#[test]
fn who_does_not_know_the_password_is_told_the_session_expired() {
    let mut world = World::new();
    let client = world.client();
    let connection = world.connection();
    for event in [renew(connection, client.session, &[0; 16]), renew(connection, SessionId(77), &[0; 16])] {
        let delivered = world.server.run([event]);
        assert!(matches!(delivered[..], [Delivery::Expired { connection: to }] if to == connection));
    }
    world.create(&client, "/a").unwrap();
}

#[test]
fn recovered_sessions_live_on_and_lost_ones_leave_nothing_behind() {
    let mut world = World::new();
    let (client, lost) = (world.client(), world.client());
    world.ask(&client, Op::Create, &ephemeral("/kept")).unwrap();
    world.ask(&lost, Op::Create, &ephemeral("/gone")).unwrap();

    // A tree whose session table lacks one owner, as a crash of a Java server may leave it.
    let mut tree = Tree::new(TreeOptions::default());
    for txn in world.log() {
        let opens_lost = txn.header.client_id == lost.session.0 && txn.header.txn_type == -10;
        if !opens_lost {
            tree.apply(&txn, &mut Vec::new());
        }
    }
    world.server = Lockstep::new(NodeConfig::default(), tree, world.server.now);
    assert_eq!(world.server.node.deadline(), Some(std::time::Duration::ZERO));
    world.server.run([Event::Tick]);
    assert!(world.has("/kept") && !world.has("/gone"));
    world.create(&client, "/a").unwrap();
    let next = world.client();
    assert!(next.session > lost.session);
}
