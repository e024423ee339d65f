use jute::EventType;
use jute::multi::{MultiOp, MultiRequest};

use super::*;
use crate::watch::WatchKind;

/// What is delivered, in short: answers by their xid, notifications by event and path.
#[derive(Debug, PartialEq)]
enum Heard {
    Answer(i32),
    Event(EventType, String, i64),
    Closed,
}

fn heard(delivered: Vec<Delivery>) -> Vec<Heard> {
    let hear = |delivery| match delivery {
        Delivery::Reply { xid, .. } => Heard::Answer(xid),
        Delivery::Answer { frames, .. } => {
            // A frame's length, then the xid.
            Heard::Answer(i32::from_be_bytes(frames[4..8].try_into().unwrap()))
        }
        Delivery::Notification { event, path, zxid, .. } => Heard::Event(event, path.to_string(), zxid.0),
        Delivery::Close { .. } => Heard::Closed,
        other => panic!("unexpected: {other:?}"),
    };
    delivered.into_iter().map(hear).collect()
}

fn event(event: EventType, path: &str, zxid: i64) -> Heard {
    Heard::Event(event, path.to_owned(), zxid)
}

#[test]
fn an_event_comes_before_the_answer_to_what_caused_it() {
    let mut world = World::new();
    let client = world.client();
    world.server.watches.add(client.connection, "/a", WatchKind::Data);
    world.server.watches.add(client.connection, "/", WatchKind::Children);
    let delivered = world.server.run([
        client.write(1, Op::Create, &create("/a")),
        client.write(2, Op::SetData, &set_data("/a", "x", -1)),
    ]);
    assert_eq!(
        heard(delivered),
        [
            event(EventType::NodeCreated, "/a", 2),
            event(EventType::NodeChildrenChanged, "/", 2),
            Heard::Answer(1),
            Heard::Answer(2),
        ]
    );
}

#[test]
fn a_read_behind_a_write_sees_it_and_not_the_next() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    let watch = GetDataRequest { path: "/a".into(), watch: true };
    let delivered = world.server.run([
        client.write(2, Op::SetData, &set_data("/a", "x", -1)),
        client.read(3, Op::GetData, &watch),
        client.write(4, Op::SetData, &set_data("/a", "y", -1)),
    ]);
    let Delivery::Answer { frames, zxid, .. } = &delivered[1] else {
        panic!("{delivered:?}");
    };
    assert_eq!(*zxid, Zxid(3));
    let answer = GetDataResponse::from_bytes(&frames.slice(20..)).unwrap();
    assert_eq!(answer.data.as_deref(), Some(&b"x"[..]));
    assert_eq!(
        heard(delivered),
        [Heard::Answer(2), Heard::Answer(3), event(EventType::NodeDataChanged, "/a", 4), Heard::Answer(4),]
    );
}

#[test]
fn a_connection_that_has_gone_leaves_no_watches() {
    let mut world = World::new();
    let client = world.client();
    let watch = ExistsRequest { path: "/a".into(), watch: true };
    world.server.run([
        client.write(1, Op::Create, &create("/a")),
        client.read(2, Op::Exists, &watch),
        Event::Disconnected { connection: client.connection },
    ]);
    assert!(world.server.watches.is_empty());
}

#[test]
fn parts_of_a_multi_fire_in_order_with_one_zxid() {
    let mut world = World::new();
    let client = world.client();
    world.server.watches.add(client.connection, "/", WatchKind::PersistentRecursive);
    let parts = vec![
        MultiOp::Create(create("/a")),
        MultiOp::SetData(set_data("/a", "x", -1)),
        MultiOp::Delete(DeleteRequest { path: "/a".into(), version: -1 }),
    ];
    let delivered = world.deliveries(&client, Op::Multi, &MultiRequest { ops: parts });
    assert_eq!(
        heard(delivered),
        [
            event(EventType::NodeCreated, "/a", 2),
            event(EventType::NodeDataChanged, "/a", 2),
            event(EventType::NodeDeleted, "/a", 2),
            Heard::Answer(1),
        ]
    );
}

#[test]
fn a_failed_multi_fires_nothing() {
    let mut world = World::new();
    let client = world.client();
    world.server.watches.add(client.connection, "/", WatchKind::PersistentRecursive);
    let missing = MultiOp::Delete(DeleteRequest { path: "/missing".into(), version: -1 });
    let parts = vec![MultiOp::Create(create("/a")), missing];
    let delivered = world.deliveries(&client, Op::Multi, &MultiRequest { ops: parts });
    assert_eq!(heard(delivered), [Heard::Answer(1)]);
}

#[test]
fn the_end_of_a_session_is_told_with_its_zxid_before_its_connection_closes() {
    let mut world = World::new();
    let (client, watcher) = (world.client(), world.client());
    world.ask(&client, Op::Create, &create_as("/a", 1, Acl::open_unsafe())).unwrap();
    world.server.watches.add(watcher.connection, "/a", WatchKind::Data);
    world.advance_ms(9000);
    world.server.run([Event::Touched(vec![watcher.session])]);
    world.advance_ms(9000);
    let delivered = world.server.run([Event::Tick]);
    assert_eq!(heard(delivered), [event(EventType::NodeDeleted, "/a", 4), Heard::Closed]);
}

#[test]
fn who_may_not_read_a_znode_is_named_with_its_acl() {
    let mut world = World::new();
    let client = world.client();
    world.server.watches.add(client.connection, "/closed", WatchKind::Data);
    let acl = only(perms::WRITE);
    let delivered = world.deliveries(&client, Op::Create, &create_as("/closed", 0, acl.clone()));
    let Delivery::Notification { acl: Some(guard), .. } = &delivered[0] else {
        panic!("{delivered:?}");
    };
    assert_eq!(guard[..], acl);
}
