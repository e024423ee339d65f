use jute::multi::{MultiOp, MultiRequest};
use jute::txn::TxnBody;

use super::*;
use crate::node::LogRoom;
use crate::storage::txn_log::framed_len;

const EPHEMERAL: i32 = 1;

impl World {
    /// From here on the disk has no more than `bytes` for the log.
    fn short_of_room(&mut self, bytes: u64) {
        self.server.run([Event::LogRoom(LogRoom { bytes, is_short: true })]);
    }

    fn with_room_again(&mut self) {
        self.server.run([Event::LogRoom(LogRoom::AMPLE)]);
    }

    fn proposed(&self) -> Zxid {
        self.server.node.status().proposed
    }
}

#[test]
fn what_grows_is_refused_and_what_shrinks_is_done() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    world.create(&client, "/b").unwrap();
    world.create(&client, "/c").unwrap();

    world.short_of_room(1 << 20);
    assert_eq!(refused(world.create(&client, "/d")), ErrorCode::QuotaExceeded);
    assert_eq!(refused(world.create(&client, "/a")), ErrorCode::NodeExists);
    assert_eq!(refused(world.set_data(&client, "/a", -1)), ErrorCode::QuotaExceeded);
    let acl = SetAclRequest { path: "/a".into(), acl: only(perms::ALL).into(), version: -1 };
    assert_eq!(refused(world.ask(&client, Op::SetAcl, &acl)), ErrorCode::QuotaExceeded);
    let delete = |path: &str| MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 });
    let growing = MultiRequest { ops: vec![delete("/b"), MultiOp::Create(create("/d"))] };
    assert_eq!(refused(world.ask(&client, Op::Multi, &growing)), ErrorCode::QuotaExceeded);

    let shrinking = MultiRequest { ops: vec![delete("/b")] };
    world.ask(&client, Op::Multi, &shrinking).unwrap();
    world.delete(&client, "/c", -1).unwrap();

    world.with_room_again();
    world.create(&client, "/b").unwrap();
}

#[test]
fn refusals_take_no_room_from_what_shrinks() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    world.short_of_room(1 << 20);
    let before = world.proposed();
    for _ in 0..10 {
        world.create(&client, "/b").unwrap_err();
        world.delete(&client, "/nowhere", -1).unwrap_err();
        let failing = DeleteRequest { path: "/nowhere".into(), version: -1 };
        world.ask(&client, Op::Multi, &MultiRequest { ops: vec![MultiOp::Delete(failing)] }).unwrap_err();
    }
    assert_eq!(world.proposed(), before);
    assert_eq!(world.server.node.log_room(), 1 << 20);
    world.delete(&client, "/a", -1).unwrap();
    assert_eq!(world.proposed(), before.next());
}

#[test]
fn nothing_is_proposed_that_the_log_has_no_room_for() {
    for bytes in 0..2000 {
        let mut world = World::new();
        let client = world.client();
        for path in ["/a", "/b", "/c"] {
            world.create(&client, path).unwrap();
        }
        world.short_of_room(bytes);
        let logged = world.server.log.len();
        for path in ["/a", "/b", "/c"] {
            match world.delete(&client, path, -1) {
                Ok(_) => assert!(!world.has(path)),
                Err(error) => {
                    assert_eq!(error, ErrorCode::QuotaExceeded);
                    assert!(world.has(path));
                }
            }
        }
        world.server.run([client.write_bytes(9, Op::CloseSession.code(), Bytes::new())]);
        let used: u64 = world.server.log[logged..].iter().map(|record| framed_len(record)).sum();
        assert!(used <= bytes, "{used} of {bytes}");
    }
}

#[test]
fn a_session_that_could_not_be_closed_is_closed_later() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &create_as("/mine", EPHEMERAL, Acl::open_unsafe())).unwrap();
    world.short_of_room(0);
    let delivered = world.server.run([client.write_bytes(1, Op::CloseSession.code(), Bytes::new())]);
    assert!(
        matches!(delivered[..], [Delivery::Reply { error: Some(ErrorCode::QuotaExceeded), .. }]),
        "{delivered:?}"
    );
    // Its time is over, but the log has no room to say so. It is alive as long.
    world.advance_ms(60_000);
    assert_eq!(world.server.node.deadline(), None);
    world.server.run([Event::Tick]);
    assert!(world.has("/mine"));

    world.with_room_again();
    assert!(world.server.node.deadline().unwrap() <= world.server.now.monotonic);
    world.server.run([Event::Tick]);
    assert!(!world.has("/mine"));
}

#[test]
fn sessions_open_only_while_all_of_them_could_end() {
    let mut world = World::new();
    world.short_of_room(1 << 10);
    let mut opened = 0;
    loop {
        let connection = world.connection();
        match world.server.run([Event::OpenSession { connection, timeout_ms: 10_000 }])[..] {
            [Delivery::Connected { .. }] => opened += 1,
            [Delivery::Close { .. }] => break,
            ref other => panic!("{other:?}"),
        }
    }
    assert!(opened > 0);
    world.advance_ms(60_000);
    world.server.run([Event::Tick]);
    assert_eq!(world.server.node.status().sessions, 0);
}

#[test]
fn a_list_that_no_log_has_room_for_is_left_out_of_the_end_of_a_session() {
    let mut world = World::new();
    let client = world.client();
    for at in 0..10 {
        let asked = create_as(&format!("/ephemeral{at}"), EPHEMERAL, Acl::open_unsafe());
        world.ask(&client, Op::Create, &asked).unwrap();
    }
    world.server.run([Event::LogRoom(LogRoom { bytes: 200, is_short: false })]);
    world.server.run([client.write_bytes(1, Op::CloseSession.code(), Bytes::new())]);
    assert!(world.server.log.last().unwrap().len() < 100);
    assert!(!world.has("/ephemeral0"));
}

#[test]
fn the_end_of_a_session_is_readable_in_the_log_whether_it_lists_paths_or_not() {
    for list_closed_paths in [true, false] {
        let mut world = World::with(NodeConfig { list_closed_paths, ..NodeConfig::default() });
        let client = world.client();
        world.ask(&client, Op::Create, &create_as("/mine", EPHEMERAL, Acl::open_unsafe())).unwrap();
        world.server.run([client.write_bytes(1, Op::CloseSession.code(), Bytes::new())]);
        let last = world.log().pop().unwrap();
        let TxnBody::CloseSession(listed) = last.body else { panic!("{last:?}") };
        assert_eq!((listed.is_some(), last.digest.is_some()), (list_closed_paths, list_closed_paths));
    }
}
