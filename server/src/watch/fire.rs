//! Watches firing: when a txn is applied, and when a client takes its watches along to another connection.

use std::sync::Arc;

use jute::data::Acl;
use jute::proto::SetWatches2;
use jute::{EventType, Ustring};

use super::{Modes, WatchKind, Watches};
use crate::node::Delivery;
use crate::session::ConnectionId;
use crate::tree::path::{parent_of, shared_parent_of};
use crate::tree::path_index::ROOT_ID;
use crate::tree::{Change, Tree};
use crate::zab::Zxid;

/// The zxid of events that no txn caused just now.
const NO_ZXID: Zxid = Zxid(-1);

impl Watches {
    /// Appends what those who watch are told of `change`, each connection at most once per event, in the order
    /// of their first watches. One-shot watches among them end.
    pub fn fire(&mut self, change: &Change, out: &mut Vec<Delivery>) {
        if self.is_empty() {
            return;
        }
        // A deleted znode has no children to wait for either: one event tells both.
        let (table, once) = match change.event {
            EventType::NodeDeleted => (Modes::ALL, Modes::DATA.with(Modes::CHILDREN)),
            _ => (Modes::DATA_TABLE, Modes::DATA),
        };
        self.told.clear();
        self.tell_at(&change.path, table, once);
        self.tell_recursive_above(&change.path);
        self.deliver(change.event, change.zxid, &change.path, change.acl.as_ref(), out);

        if matches!(change.event, EventType::NodeCreated | EventType::NodeDeleted) {
            self.fire_at_parent(change, out);
        }
    }

    fn fire_at_parent(&mut self, change: &Change, out: &mut Vec<Delivery>) {
        if self.counts.children == 0 {
            return;
        }
        if let Some(parent) = shared_parent_of(&change.path) {
            self.told.clear();
            self.tell_at(&parent, Modes::CHILD_TABLE, Modes::CHILDREN);
            let acl = change.parent_acl.as_ref();
            self.deliver(EventType::NodeChildrenChanged, change.zxid, &parent, acl, out);
        }
    }

    /// Collects who watches `path` itself in one of `table`'s modes, and ends the watches that are for `once`.
    fn tell_at(&mut self, path: &str, table: Modes, once: Modes) {
        let Some(entry) = self.index.find(&self.entries, path) else {
            return;
        };
        let Self { entries, watchers, counts, told, .. } = self;
        entries[entry].watchers.take_modes(once, |number, before, after| {
            if !before.any(table) {
                return;
            }
            told.push(number);
            counts.account(before, after);
            if after == Modes::NONE {
                watchers[number].watched -= 1;
            }
        });
        self.release(entry);
    }

    /// Collects who watches recursively above `path`.
    fn tell_recursive_above(&mut self, path: &str) {
        if self.counts.recursive == 0 {
            return;
        }
        let Some(mut entry) = self.nearest_above(path) else {
            return;
        };
        let told_at_path = self.told.len();
        loop {
            let watchers = self.entries[entry].watchers.as_slice();
            let recursive = watchers.iter().filter(|one| one.modes().any(Modes::RECURSIVE));
            self.told.extend(recursive.map(|one| one.number()));
            if entry == ROOT_ID {
                break;
            }
            entry = self.entries[entry].parent;
        }
        if self.told.len() > told_at_path {
            self.told.sort_unstable();
            self.told.dedup();
        }
    }

    fn nearest_above(&self, path: &str) -> Option<u32> {
        std::iter::successors(parent_of(path), |path| parent_of(path))
            .find_map(|path| self.index.find(&self.entries, path))
    }

    fn deliver(
        &self,
        event: EventType,
        zxid: Zxid,
        path: &Ustring,
        acl: Option<&Arc<[Acl]>>,
        out: &mut Vec<Delivery>,
    ) {
        if self.told.is_empty() {
            return;
        }
        let connections = self.told.iter().map(|&number| self.watchers[number].id);
        out.push(Delivery::Notification {
            connections: connections.collect(),
            zxid,
            event,
            path: path.clone(),
            acl: acl.cloned(),
        });
    }

    /// Sets the watches that a client had on its connection before, as of `wanted.relative_zxid`. What it has
    /// missed since is appended to `out` instead of being waited for; only one-shot watches can have missed
    /// something. Data and children are looked at apart: a deleted znode may be told twice.
    pub fn set_watches(
        &mut self,
        tree: &Tree,
        connection: ConnectionId,
        wanted: &SetWatches2,
        out: &mut Vec<Delivery>,
    ) {
        let since = wanted.relative_zxid;
        let mut set = |path: &Ustring, kind, missed: Option<EventType>| match missed {
            Some(event) => out.push(missed_by(connection, event, path)),
            None => drop(self.add(connection, path, kind)),
        };
        for path in &wanted.data_watches {
            let missed = match tree.find(path) {
                None => Some(EventType::NodeDeleted),
                Some(znode) => (znode.mzxid() > since).then_some(EventType::NodeDataChanged),
            };
            set(path, WatchKind::Data, missed);
        }
        for path in &wanted.exist_watches {
            set(path, WatchKind::Data, tree.find(path).map(|_| EventType::NodeCreated));
        }
        for path in &wanted.child_watches {
            let missed = match tree.find(path) {
                None => Some(EventType::NodeDeleted),
                Some(znode) => (znode.pzxid() > since).then_some(EventType::NodeChildrenChanged),
            };
            set(path, WatchKind::Children, missed);
        }
        for path in &wanted.persistent_watches {
            set(path, WatchKind::Persistent, None);
        }
        for path in &wanted.persistent_recursive_watches {
            set(path, WatchKind::PersistentRecursive, None);
        }
    }
}

fn missed_by(connection: ConnectionId, event: EventType, path: &Ustring) -> Delivery {
    Delivery::Notification {
        connections: vec![connection],
        zxid: NO_ZXID,
        event,
        path: path.clone(),
        acl: None,
    }
}
