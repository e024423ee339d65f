//! Watches against a model of them: ZooKeeper's two tables, as plain maps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::tree::Change;

const KINDS: [WatchKind; 4] =
    [WatchKind::Data, WatchKind::Children, WatchKind::Persistent, WatchKind::PersistentRecursive];
const TYPES: [WatcherType; 5] = [
    WatcherType::Children,
    WatcherType::Data,
    WatcherType::Any,
    WatcherType::Persistent,
    WatcherType::PersistentRecursive,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Standard,
    Persistent,
    Recursive,
}

/// One of the two tables: what each connection has on each path.
#[derive(Default)]
struct Table(BTreeMap<(String, u32), BTreeSet<Mode>>);

impl Table {
    fn add(&mut self, path: &str, slot: u32, mode: Mode) -> bool {
        self.0.entry((path.to_owned(), slot)).or_default().insert(mode)
    }

    fn remove(&mut self, path: &str, slot: u32, modes: &[Mode]) -> bool {
        let Some(there) = self.0.get_mut(&(path.to_owned(), slot)) else {
            return false;
        };
        let before = there.len();
        there.retain(|mode| !modes.contains(mode));
        let removed = there.len() < before;
        self.0.retain(|_, modes| !modes.is_empty());
        removed
    }

    fn trigger(&mut self, path: &str) -> BTreeSet<u32> {
        let mut told = BTreeSet::new();
        for ((watched, slot), modes) in &mut self.0 {
            if watched == path {
                told.insert(*slot);
                modes.remove(&Mode::Standard);
            } else if path::is_within(path, watched) && modes.contains(&Mode::Recursive) {
                told.insert(*slot);
            }
        }
        self.0.retain(|_, modes| !modes.is_empty());
        told
    }
}

#[derive(Default)]
struct Model {
    data: Table,
    children: Table,
}

impl Model {
    fn add(&mut self, slot: u32, path: &str, kind: WatchKind) -> bool {
        match kind {
            WatchKind::Data => self.data.add(path, slot, Mode::Standard),
            WatchKind::Children => self.children.add(path, slot, Mode::Standard),
            WatchKind::Persistent => {
                self.data.add(path, slot, Mode::Persistent) | self.children.add(path, slot, Mode::Persistent)
            }
            WatchKind::PersistentRecursive => self.data.add(path, slot, Mode::Recursive),
        }
    }

    fn remove(&mut self, slot: u32, path: &str, watcher_type: WatcherType) -> bool {
        let all = [Mode::Standard, Mode::Persistent, Mode::Recursive];
        match watcher_type {
            WatcherType::Children => self.children.remove(path, slot, &all[..1]),
            WatcherType::Data => self.data.remove(path, slot, &all[..1]),
            WatcherType::Persistent => {
                self.data.remove(path, slot, &all[1..2]) | self.children.remove(path, slot, &all[1..2])
            }
            WatcherType::PersistentRecursive => self.data.remove(path, slot, &all[2..]),
            WatcherType::Any => self.data.remove(path, slot, &all) | self.children.remove(path, slot, &all),
        }
    }

    fn drop_connection(&mut self, slot: u32) {
        self.data.0.retain(|(_, watcher), _| *watcher != slot);
        self.children.0.retain(|(_, watcher), _| *watcher != slot);
    }

    /// Who is told what, in the order of the tables.
    fn fire(&mut self, event: EventType, path: &str) -> BTreeMap<(String, i32), BTreeSet<u32>> {
        let mut told = BTreeMap::new();
        let mut at_path = self.data.trigger(path);
        if event == NodeDeleted {
            at_path.append(&mut self.children.trigger(path));
        }
        told.insert((path.to_owned(), event.code()), at_path);
        if event != NodeDataChanged
            && let Some(parent) = path::parent_of(path)
        {
            told.insert((parent.to_owned(), NodeChildrenChanged.code()), self.children.trigger(parent));
        }
        told.retain(|_, slots| !slots.is_empty());
        told
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(u32, String, usize),
    Remove(u32, String, usize),
    Drop(u32),
    Fire(EventType, String),
}

fn paths() -> impl Strategy<Value = String> {
    let names = prop::collection::vec("[ab]", 0..4);
    names.prop_map(|names| format!("/{}", names.join("/")))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slots = 0..6_u32;
    let events = prop_oneof![Just(NodeCreated), Just(NodeDeleted), Just(NodeDataChanged)];
    let steps = prop_oneof![
        6 => (slots.clone(), paths(), 0..KINDS.len()).prop_map(|(slot, path, kind)| Step::Add(slot, path, kind)),
        2 => (slots.clone(), paths(), 0..TYPES.len()).prop_map(|(slot, path, what)| Step::Remove(slot, path, what)),
        1 => slots.prop_map(Step::Drop),
        4 => (events, paths()).prop_map(|(event, path)| Step::Fire(event, path)),
    ];
    prop::collection::vec(steps, 0..200)
}

fn fire(watches: &mut Watches, event: EventType, path: &str) -> BTreeMap<(String, i32), BTreeSet<u32>> {
    let change = Change { event, path: path.into(), zxid: Zxid(1), acl: None, parent_acl: None };
    let mut out = Vec::new();
    watches.fire(&change, &mut out);
    let mut all = BTreeMap::new();
    for (slots, event, path) in told(&out) {
        let distinct: BTreeSet<u32> = slots.iter().copied().collect();
        assert_eq!(distinct.len(), slots.len(), "each connection is told once");
        assert!(all.insert((path, event.code()), distinct).is_none(), "each event is told once");
    }
    all
}

proptest! {
    #[test]
    fn watches_do_what_the_two_tables_do(steps in steps()) {
        let mut watches = Watches::default();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add(slot, path, kind) => prop_assert_eq!(
                    watches.add(connection(slot), &path, KINDS[kind]),
                    model.add(slot, &path, KINDS[kind])
                ),
                Step::Remove(slot, path, what) => {
                    let contained = watches.contains(connection(slot), &path, TYPES[what]);
                    let removed = model.remove(slot, &path, TYPES[what]);
                    prop_assert_eq!(contained, removed);
                    prop_assert_eq!(watches.remove(connection(slot), &path, TYPES[what]), removed);
                }
                Step::Drop(slot) => {
                    watches.drop_connection(connection(slot));
                    model.drop_connection(slot);
                }
                Step::Fire(event, path) => {
                    prop_assert_eq!(fire(&mut watches, event, &path), model.fire(event, &path));
                }
            }
            prop_assert_eq!(watches.counts().data, model.data.0.len());
            prop_assert_eq!(watches.counts().children, model.children.0.len());
        }
        let watched: BTreeSet<String> = model.data.0.keys().map(|(path, _)| path.clone()).collect();
        prop_assert_eq!(watches.by_path().into_keys().collect::<BTreeSet<_>>(), watched);
        (0..6).for_each(|slot| watches.drop_connection(connection(slot)));
        prop_assert_eq!(watches.entries.len(), 1, "nothing is left behind");
    }
}
