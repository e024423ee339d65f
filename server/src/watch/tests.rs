//! Claims about watches.

use jute::data::{Acl, perms};
use jute::proto::SetWatches2;
use jute::txn::{DeleteTxn, SetAclTxn, TxnBody};
use jute::{EventType, WatcherType};

mod model;

use super::*;
use crate::node::Delivery;
use crate::tree::tests::{Bench, create, delete, set};
use crate::tree::{Tree, TreeOptions};
use crate::zab::Zxid;

use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};

fn connection(slot: u32) -> ConnectionId {
    ConnectionId { shard: 0, slot, generation: 0 }
}

/// Slots of the connections told, what, where.
type Told = (Vec<u32>, EventType, String);

fn told(deliveries: &[Delivery]) -> Vec<Told> {
    let told = |delivery: &Delivery| match delivery {
        Delivery::Notification { connections, event, path, .. } => {
            (connections.iter().map(|connection| connection.slot).collect(), *event, path.to_string())
        }
        other => panic!("{other:?} is no notification"),
    };
    deliveries.iter().map(told).collect()
}

fn event(slots: &[u32], event: EventType, path: &str) -> Told {
    (slots.to_vec(), event, path.to_owned())
}

/// A tree, and watches that fire for the txns applied to it.
struct World {
    bench: Bench,
    watches: Watches,
}

impl World {
    fn with(paths: &[&str]) -> Self {
        let mut bench = Bench::with(TreeOptions::default());
        for path in paths {
            bench.create(path);
        }
        Self { bench, watches: Watches::default() }
    }

    fn watch(&mut self, slot: u32, path: &str, kind: WatchKind) {
        assert!(self.watches.add(connection(slot), path, kind), "{path} was not watched by {slot} yet");
    }

    fn deliveries(&mut self, body: TxnBody) -> Vec<Delivery> {
        self.bench.apply(body);
        let mut out = Vec::new();
        for change in &self.bench.changes {
            self.watches.fire(change, &mut out);
        }
        out
    }

    fn told(&mut self, body: TxnBody) -> Vec<Told> {
        told(&self.deliveries(body))
    }
}

#[test]
fn a_data_watch_fires_once() {
    let mut world = World::with(&["/a"]);
    world.watch(1, "/a", WatchKind::Data);
    assert_eq!(world.told(create("/a/b")), []);
    assert_eq!(world.told(set("/a", None, 1)), [event(&[1], NodeDataChanged, "/a")]);
    assert_eq!(world.told(set("/a", None, 2)), []);
    assert!(world.watches.is_empty());
}

#[test]
fn an_exists_watch_fires_when_the_znode_comes() {
    let mut world = World::with(&[]);
    world.watch(1, "/a", WatchKind::Data);
    assert_eq!(world.told(create("/a")), [event(&[1], NodeCreated, "/a")]);
}

#[test]
fn a_child_watch_fires_when_a_child_comes_or_goes_or_the_znode_goes() {
    let mut world = World::with(&["/a"]);
    for (body, expected) in [
        (create("/a/b"), event(&[1], NodeChildrenChanged, "/a")),
        (delete("/a/b"), event(&[1], NodeChildrenChanged, "/a")),
        (delete("/a"), event(&[1], NodeDeleted, "/a")),
    ] {
        world.watch(1, "/a", WatchKind::Children);
        assert_eq!(world.told(set("/a", None, 1)), []);
        assert_eq!(world.told(body), [expected]);
    }
    assert!(world.watches.is_empty());
}

#[test]
fn the_roots_children_can_be_watched() {
    let mut world = World::with(&[]);
    world.watch(1, "/", WatchKind::Children);
    assert_eq!(world.told(create("/a")), [event(&[1], NodeChildrenChanged, "/")]);
    assert!(world.watches.is_empty());
}

#[test]
fn who_watches_data_and_children_learns_of_the_end_once() {
    let mut world = World::with(&["/a"]);
    world.watch(1, "/a", WatchKind::Data);
    world.watch(1, "/a", WatchKind::Children);
    world.watch(2, "/a", WatchKind::Children);
    world.watch(3, "/", WatchKind::Children);
    assert_eq!(
        world.told(delete("/a")),
        [event(&[1, 2], NodeDeleted, "/a"), event(&[3], NodeChildrenChanged, "/")]
    );
    assert!(world.watches.is_empty());
}

#[test]
fn a_persistent_watch_stays_and_outlives_the_znode() {
    let mut world = World::with(&["/a"]);
    world.watch(1, "/a", WatchKind::Persistent);
    for (body, expected) in [
        (set("/a", None, 1), event(&[1], NodeDataChanged, "/a")),
        (create("/a/b"), event(&[1], NodeChildrenChanged, "/a")),
        (delete("/a/b"), event(&[1], NodeChildrenChanged, "/a")),
        (delete("/a"), event(&[1], NodeDeleted, "/a")),
        (create("/a"), event(&[1], NodeCreated, "/a")),
    ] {
        assert_eq!(world.told(body), [expected]);
    }
}

#[test]
fn a_recursive_watch_sees_all_below_but_no_children_events() {
    let mut world = World::with(&["/a", "/ab"]);
    world.watch(1, "/a", WatchKind::PersistentRecursive);
    world.watch(2, "/", WatchKind::PersistentRecursive);
    assert_eq!(world.told(create("/a/b")), [event(&[1, 2], NodeCreated, "/a/b")]);
    assert_eq!(world.told(create("/a/b/c")), [event(&[1, 2], NodeCreated, "/a/b/c")]);
    assert_eq!(world.told(set("/a", None, 1)), [event(&[1, 2], NodeDataChanged, "/a")]);
    assert_eq!(world.told(set("/ab", None, 1)), [event(&[2], NodeDataChanged, "/ab")]);
    assert_eq!(world.told(delete("/a/b/c")), [event(&[1, 2], NodeDeleted, "/a/b/c")]);
    assert!(world.watches.remove(connection(2), "/", WatcherType::PersistentRecursive));
    assert_eq!(world.told(set("/ab", None, 2)), []);
}

#[test]
fn all_modes_on_one_path_make_one_event() {
    let mut world = World::with(&["/a"]);
    for kind in [WatchKind::Data, WatchKind::Children, WatchKind::Persistent, WatchKind::PersistentRecursive]
    {
        world.watch(1, "/a", kind);
    }
    world.watch(1, "/", WatchKind::PersistentRecursive);
    assert_eq!(world.watches.counts(), WatchCounts { data: 2, children: 1, recursive: 2 });
    assert_eq!(world.told(set("/a", None, 1)), [event(&[1], NodeDataChanged, "/a")]);
    assert!(!world.watches.contains(connection(1), "/a", WatcherType::Data));
    assert!(world.watches.contains(connection(1), "/a", WatcherType::Children));
    assert_eq!(
        world.told(create("/a/b")),
        [event(&[1], NodeCreated, "/a/b"), event(&[1], NodeChildrenChanged, "/a")]
    );
    assert_eq!(world.told(delete("/a/b")).len(), 2);
    assert_eq!(world.told(delete("/a")), [event(&[1], NodeDeleted, "/a")]);
}

#[test]
fn an_acl_goes_with_the_event_unless_everyone_may_read() {
    let mut world = World::with(&["/a", "/a/b"]);
    let acl = vec![Acl::new(perms::ALL, "digest", "me:x")];
    world.bench.apply(TxnBody::SetAcl(SetAclTxn { path: "/a".into(), acl: acl.clone().into(), version: 1 }));
    world.watch(1, "/a", WatchKind::Children);
    world.watch(1, "/a/b", WatchKind::Data);
    let deliveries = world.deliveries(TxnBody::Delete(DeleteTxn { path: "/a/b".into() }));
    let [
        Delivery::Notification { acl: None, zxid: Zxid(4), .. },
        Delivery::Notification { acl: Some(of_parent), zxid: Zxid(4), .. },
    ] = &deliveries[..]
    else {
        panic!("{deliveries:?}")
    };
    assert_eq!(of_parent[..], acl[..]);
}

#[test]
fn removing_ends_what_is_meant_and_says_whether_there_was_any() {
    let mut watches = Watches::default();
    let one = connection(1);
    let all = [WatchKind::Data, WatchKind::Children, WatchKind::Persistent, WatchKind::PersistentRecursive];
    for kind in all {
        assert!(watches.add(one, "/a", kind));
        assert!(!watches.add(one, "/a", kind), "duplicates collapse");
    }
    assert!(!watches.remove(connection(2), "/a", WatcherType::Any));
    assert!(!watches.remove(one, "/b", WatcherType::Any));
    assert!(watches.remove(one, "/a", WatcherType::Data));
    assert!(!watches.remove(one, "/a", WatcherType::Data));
    assert!(!watches.contains(one, "/a", WatcherType::Data));
    assert!(watches.contains(one, "/a", WatcherType::Persistent));
    assert_eq!(watches.counts(), WatchCounts { data: 1, children: 1, recursive: 1 });
    assert!(watches.remove(one, "/a", WatcherType::Any));
    assert!(!watches.contains(one, "/a", WatcherType::Any));
    assert!(watches.is_empty());
    assert_eq!(watches.entries.len(), 1, "only the root's entry is left");
}

#[test]
fn a_connection_takes_its_watches_along_and_nobody_elses() {
    let mut watches = Watches::default();
    for slot in 0..3 {
        for n in 0..10 {
            watches.add(connection(slot), &format!("/p/{n}"), WatchKind::Data);
        }
    }
    watches.drop_connection(connection(1));
    watches.drop_connection(connection(1));
    assert_eq!(watches.counts().data, 20);
    assert_eq!(watches.by_path()["/p/0"].iter().map(|one| one.slot).collect::<Vec<_>>(), [0, 2]);

    let newcomer = ConnectionId { generation: 1, ..connection(1) };
    assert!(!watches.contains(newcomer, "/p/0", WatcherType::Any));
    watches.add(newcomer, "/q", WatchKind::Data);
    watches.drop_connection(connection(0));
    watches.drop_connection(connection(2));
    assert_eq!(watches.counts().data, 1);
    watches.drop_connection(newcomer);
    assert_eq!(watches.entries.len(), 1);
}

#[test]
fn a_connection_that_watches_again_and_again_leaves_nothing_behind() {
    let mut world = World::with(&["/a", "/b"]);
    world.watch(1, "/b", WatchKind::Persistent);
    for version in 0..1000 {
        world.watch(1, "/a", WatchKind::Data);
        world.watch(1, &format!("/none/{version}"), WatchKind::Data);
        assert!(world.watches.remove(connection(1), &format!("/none/{version}"), WatcherType::Any));
        assert_eq!(world.told(set("/a", None, version)).len(), 1);
    }
    let number = world.watches.find_number(connection(1)).unwrap();
    let watcher = &world.watches.watchers[number];
    assert_eq!(watcher.watched, 1);
    assert!(watcher.entries.as_slice().len() <= 12, "{} entries", watcher.entries.as_slice().len());
    assert_eq!(world.watches.entries.len(), 2);
}

#[test]
fn thousands_of_watchers_are_told_in_one_order() {
    let mut world = World::with(&["/a"]);
    for slot in (0..5000).rev() {
        world.watch(slot, "/a", WatchKind::Data);
    }
    let expected: Vec<u32> = (0..5000).rev().collect();
    assert_eq!(world.told(set("/a", None, 1)), [event(&expected, NodeDataChanged, "/a")]);
    assert!(world.watches.is_empty());
}

#[test]
fn taken_along_watches_tell_what_was_missed_and_wait_for_the_rest() {
    let mut world = World::with(&["/old", "/p", "/p/c"]);
    let since = world.bench.tree.last_zxid().0;
    world.bench.apply(create("/new"));
    world.bench.apply(delete("/p/c"));
    world.bench.create("/changed");
    let strings = |paths: &[&'static str]| paths.iter().map(|&path| path.into()).collect::<Vec<_>>();
    let wanted = SetWatches2 {
        relative_zxid: since,
        data_watches: strings(&["/old", "/changed", "/gone"]),
        exist_watches: strings(&["/new", "/gone"]),
        child_watches: strings(&["/old", "/p", "/gone"]),
        persistent_watches: strings(&["/changed"]),
        persistent_recursive_watches: strings(&["/"]),
    };
    let mut out = Vec::new();
    world.watches.set_watches(&world.bench.tree, connection(1), &wanted, &mut out);
    assert_eq!(
        told(&out),
        [
            event(&[1], NodeDataChanged, "/changed"),
            event(&[1], NodeDeleted, "/gone"),
            event(&[1], NodeCreated, "/new"),
            event(&[1], NodeChildrenChanged, "/p"),
            event(&[1], NodeDeleted, "/gone"),
        ]
    );
    assert!(matches!(out[0], Delivery::Notification { zxid: Zxid(-1), acl: None, .. }));
    let watches = &world.watches;
    assert!(watches.contains(connection(1), "/old", WatcherType::Data));
    assert!(watches.contains(connection(1), "/old", WatcherType::Children));
    assert!(watches.contains(connection(1), "/gone", WatcherType::Data));
    assert!(!watches.contains(connection(1), "/changed", WatcherType::Data));
    assert!(watches.contains(connection(1), "/changed", WatcherType::Persistent));
    assert!(watches.contains(connection(1), "/", WatcherType::PersistentRecursive));
}

#[test]
fn paths_that_no_znode_has_are_not_kept() {
    let mut watches = Watches::default();
    for path in ["a", "/a/", "//a", "/a//b", "//"] {
        assert!(!watches.add(connection(1), path, WatchKind::Data), "{path}");
        assert!(!watches.remove(connection(1), path, WatcherType::Any));
    }
    assert!(watches.is_empty());
    assert!(watches.add(connection(1), "/a b", WatchKind::Data));
}

#[test]
fn operators_see_the_data_table_only() {
    let mut watches = Watches::default();
    watches.add(connection(1), "/a", WatchKind::Data);
    watches.add(connection(1), "/b", WatchKind::Children);
    watches.add(connection(2), "/a", WatchKind::Persistent);
    assert_eq!(watches.summary(), WatchSummary { connections: 2, paths: 1, watches: 2 });
    assert_eq!(watches.by_connection()[&connection(1)].iter().collect::<Vec<_>>(), ["/a"]);
    assert_eq!(watches.by_path().keys().collect::<Vec<_>>(), ["/a"]);
}

#[test]
fn a_tree_that_was_only_read_fires_nothing() {
    let mut watches = Watches::default();
    let mut out = Vec::new();
    watches.set_watches(&Tree::default(), connection(1), &SetWatches2::default(), &mut out);
    assert!(out.is_empty());
    assert!(watches.is_empty());
}
