//! Who waits for what. A watch is a connection's, not a session's: it goes when the connection does.
//!
//! ZooKeeper's `WatchManager`, of which it has two: a *data* table for getData, exists and everything recursive,
//! a *child* table for getChildren. A persistent watch stands in both. Here one table holds all modes of a
//! (path, connection) as bits, and the two tables are views of it.
//!
//! Paths are interned as components, as the tree's are: an entry holds its name, its parent and its watchers.

mod fire;
mod report;
mod set;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;

use ecow::EcoString;
use hashbrown::HashTable;
use jute::{AddWatchMode, WatcherType};

use crate::session::ConnectionId;
use crate::tree::path::{self, name_of, parent_of};
use crate::tree::path_index::{Component, PathIndex, ROOT_ID, path_of};
use crate::tree::slab::Slab;
pub use report::WatchSummary;
use set::Watchers;

/// Which watch to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// Once, of data, creation and deletion: getData's and exists'.
    Data,
    /// Once, of children and deletion: getChildren's.
    Children,
    /// Both, and it stays.
    Persistent,
    /// Data, creation and deletion of the znode and all below it; and it stays.
    PersistentRecursive,
}

impl From<AddWatchMode> for WatchKind {
    fn from(mode: AddWatchMode) -> Self {
        match mode {
            AddWatchMode::Persistent => Self::Persistent,
            AddWatchMode::PersistentRecursive => Self::PersistentRecursive,
        }
    }
}

/// The watches a connection has on a path: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Modes(u32);

impl Modes {
    const NONE: Self = Self(0);
    const DATA: Self = Self(1);
    const CHILDREN: Self = Self(2);
    const PERSISTENT: Self = Self(4);
    const RECURSIVE: Self = Self(8);
    const ALL: Self = Self(15);
    /// What a data event goes to.
    const DATA_TABLE: Self = Self(1 | 4 | 8);
    /// What a change of the children goes to.
    const CHILD_TABLE: Self = Self(2 | 4);

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn any(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    fn of_kind(kind: WatchKind) -> Self {
        match kind {
            WatchKind::Data => Self::DATA,
            WatchKind::Children => Self::CHILDREN,
            WatchKind::Persistent => Self::PERSISTENT,
            WatchKind::PersistentRecursive => Self::RECURSIVE,
        }
    }

    fn of_type(watcher_type: WatcherType) -> Self {
        match watcher_type {
            WatcherType::Children => Self::CHILDREN,
            WatcherType::Data => Self::DATA,
            WatcherType::Any => Self::ALL,
            WatcherType::Persistent => Self::PERSISTENT,
            WatcherType::PersistentRecursive => Self::RECURSIVE,
        }
    }
}

/// A path with watches on it, or above one. 40 bytes.
#[derive(Debug, Default)]
struct Entry {
    name: EcoString,
    parent: u32,
    /// Entries whose parent it is.
    children: u32,
    watchers: Watchers,
}

impl Component for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn parent(&self) -> u32 {
        self.parent
    }
}

/// A connection that has watches, or had some. 32 bytes.
#[derive(Debug)]
struct Watcher {
    id: ConnectionId,
    /// On how many paths it has watches.
    watched: u32,
    /// Entries on which it has watches, and some on which it had: those are forgotten once they are the most.
    entries: Entries,
}

impl Default for Watcher {
    fn default() -> Self {
        let id = ConnectionId { shard: 0, slot: 0, generation: 0 };
        Self { id, watched: 0, entries: Entries::None }
    }
}

/// Ids of entries; most connections have one or none.
#[derive(Debug, Default)]
#[allow(clippy::box_collection)] // 16 bytes for each connection, most of which have few watches.
enum Entries {
    #[default]
    None,
    One(u32),
    Many(Box<Vec<u32>>),
}

impl Entries {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    fn push(&mut self, entry: u32) {
        match self {
            Self::None => *self = Self::One(entry),
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, entry])),
            Self::Many(entries) => entries.push(entry),
        }
    }
}

/// How many watches there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCounts {
    /// (path, connection) pairs in the data table.
    pub data: usize,
    /// Those in the child table.
    pub children: usize,
    /// Those that are recursive; part of `data`.
    pub recursive: usize,
}

impl WatchCounts {
    fn account(&mut self, before: Modes, after: Modes) {
        for (table, count) in [
            (Modes::DATA_TABLE, &mut self.data),
            (Modes::CHILD_TABLE, &mut self.children),
            (Modes::RECURSIVE, &mut self.recursive),
        ] {
            *count = *count + usize::from(after.any(table)) - usize::from(before.any(table));
        }
    }
}

/// The watches of this server's connections.
#[derive(Debug)]
#[doc(alias = "WatchManager")]
#[doc(alias = "WatchManagerOptimized")]
#[doc(alias = "IWatchManager")]
pub struct Watches {
    entries: Slab<Entry>,
    index: PathIndex,
    /// Connections, by the number that stands for them in [`Watchers`]. Numbers are used again.
    watchers: Slab<Watcher>,
    /// Those numbers, by connection.
    numbers: HashTable<u32>,
    counts: WatchCounts,
    /// Reused by [`Watches::fire`].
    told: Vec<u32>,
}

impl Default for Watches {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Watches {
    /// None yet. See [`TreeOptions::hash_seed`](crate::tree::TreeOptions).
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        let mut entries = Slab::new();
        assert_eq!(entries.insert(Entry::default()), ROOT_ID, "the first id is the root's");
        Self {
            entries,
            index: PathIndex::new(hash_seed),
            watchers: Slab::new(),
            numbers: HashTable::new(),
            counts: WatchCounts::default(),
            told: Vec::new(),
        }
    }

    /// Whether there are no watches: then nothing needs to be [fired](Watches::fire).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.data == 0 && self.counts.children == 0
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }

    /// Has `connection` watch `path`. Whether it did not already.
    ///
    /// A path that no znode can have is not kept: nothing could ever fire it.
    pub fn add(&mut self, connection: ConnectionId, path: &str, kind: WatchKind) -> bool {
        if !can_be_watched(path) {
            return false;
        }
        let number = self.number_of(connection);
        let entry = self.intern(path);
        let before = self.entries[entry].watchers.modes_of(number);
        let after = before.with(Modes::of_kind(kind));
        if before == after {
            return false;
        }
        self.entries[entry].watchers.set(number, after);
        self.counts.account(before, after);
        if before == Modes::NONE {
            self.note_entry(number, entry);
        }
        true
    }

    /// Whether `connection` has such a watch on `path`.
    #[must_use]
    pub fn contains(&self, connection: ConnectionId, path: &str, watcher_type: WatcherType) -> bool {
        self.modes(connection, path).is_some_and(|modes| modes.any(Modes::of_type(watcher_type)))
    }

    fn modes(&self, connection: ConnectionId, path: &str) -> Option<Modes> {
        let number = self.find_number(connection)?;
        let entry = self.index.find(&self.entries, path)?;
        Some(self.entries[entry].watchers.modes_of(number))
    }

    /// Ends such watches of `connection` on `path`. Whether there were any.
    pub fn remove(&mut self, connection: ConnectionId, path: &str, watcher_type: WatcherType) -> bool {
        let Some(number) = self.find_number(connection) else {
            return false;
        };
        let Some(entry) = self.index.find(&self.entries, path) else {
            return false;
        };
        let before = self.entries[entry].watchers.modes_of(number);
        let after = before.without(Modes::of_type(watcher_type));
        if before == after {
            return false;
        }
        self.entries[entry].watchers.set(number, after);
        self.counts.account(before, after);
        if after == Modes::NONE {
            self.forget_entry(number);
            self.release(entry);
        }
        true
    }

    /// Ends all watches of a connection that has gone.
    pub fn drop_connection(&mut self, connection: ConnectionId) {
        let Self { numbers, watchers, .. } = self;
        let Ok(found) = numbers.find_entry(hash_of(connection), |&number| watchers[number].id == connection)
        else {
            return;
        };
        let number = found.remove().0;
        let watcher = self.watchers.take(number);
        // Some entries are another's by now, or stand here twice: there it has no watches (any more).
        for &entry in watcher.entries.as_slice() {
            let before = self.entries[entry].watchers.modes_of(number);
            if before != Modes::NONE {
                self.entries[entry].watchers.set(number, Modes::NONE);
                self.counts.account(before, Modes::NONE);
                self.release(entry);
            }
        }
    }

    fn find_number(&self, connection: ConnectionId) -> Option<u32> {
        self.numbers.find(hash_of(connection), |&number| self.watchers[number].id == connection).copied()
    }

    fn number_of(&mut self, connection: ConnectionId) -> u32 {
        if let Some(number) = self.find_number(connection) {
            return number;
        }
        let Self { numbers, watchers, .. } = self;
        let number = watchers.insert(Watcher { id: connection, ..Watcher::default() });
        numbers.insert_unique(hash_of(connection), number, |&number| hash_of(watchers[number].id));
        number
    }

    /// Notes that the connection now has watches on `entry`.
    fn note_entry(&mut self, number: u32, entry: u32) {
        let watcher = &mut self.watchers[number];
        watcher.watched += 1;
        watcher.entries.push(entry);
        if watcher.entries.as_slice().len() <= 2 * watcher.watched as usize + 8 {
            return;
        }
        let mut entries = watcher.entries.as_slice().to_vec();
        entries.sort_unstable();
        entries.dedup();
        entries.retain(|&entry| self.entries[entry].watchers.modes_of(number) != Modes::NONE);
        self.watchers[number].entries = match entries[..] {
            [entry] => Entries::One(entry),
            _ => Entries::Many(Box::new(entries)),
        };
    }

    /// Notes that the connection has no watches any more on one of its entries.
    fn forget_entry(&mut self, number: u32) {
        self.watchers[number].watched -= 1;
    }

    /// The entry of `path`, made if need be, and its ancestors with it.
    fn intern(&mut self, path: &str) -> u32 {
        if let Some(entry) = self.index.find(&self.entries, path) {
            return entry;
        }
        // Down from the nearest ancestor that there is.
        let mut missing = vec![path];
        let mut parent = ROOT_ID;
        let mut above = parent_of(path);
        while let Some(path) = above {
            if let Some(entry) = self.index.find(&self.entries, path) {
                parent = entry;
                break;
            }
            missing.push(path);
            above = parent_of(path);
        }
        for path in missing.into_iter().rev() {
            let entry = Entry { name: name_of(path).into(), parent, ..Entry::default() };
            self.entries[parent].children += 1;
            let (Ok(id) | Err(id)) =
                self.index.insert(&mut self.entries, path, |entries| entries.insert(entry));
            parent = id;
        }
        parent
    }

    /// Frees `entry`, and those above it, if nobody watches there or below.
    fn release(&mut self, mut entry: u32) {
        while entry != ROOT_ID && self.entries[entry].watchers.is_empty() && self.entries[entry].children == 0
        {
            let path = path_of(&self.entries, entry);
            self.index.remove(&path, entry);
            let gone = self.entries.take(entry);
            self.entries[gone.parent].children -= 1;
            entry = gone.parent;
        }
    }
}

/// Connections are numbered by the service: no need for a seed.
fn hash_of(connection: ConnectionId) -> u64 {
    foldhash::fast::FixedState::default().hash_one(connection)
}

/// Whether `path` has the form of a path. Its characters do not matter.
fn can_be_watched(path: &str) -> bool {
    let has_form = || path.starts_with('/') && !path.ends_with('/') && !path.contains("//");
    matches!(path, path::ROOT | "") || has_form()
}
