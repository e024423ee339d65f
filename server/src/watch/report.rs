//! The data table, told to operators: the words `wchs`, `wchc`, `wchp`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Modes, Watches};
use crate::session::ConnectionId;
use crate::tree::path_index::path_of;

/// How much is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "WatchesSummary")]
#[doc(alias = "WatchesReport")]
pub struct WatchSummary {
    /// Connections that watch something.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// (path, connection) pairs.
    pub watches: usize,
}

impl Watches {
    /// How much is watched in the data table.
    #[must_use]
    pub fn summary(&self) -> WatchSummary {
        let by_connection = self.by_connection();
        let paths: BTreeSet<&String> = by_connection.values().flatten().collect();
        WatchSummary { connections: by_connection.len(), paths: paths.len(), watches: self.counts.data }
    }

    /// The data table's paths, in order, by connection.
    #[must_use]
    pub fn by_connection(&self) -> BTreeMap<ConnectionId, BTreeSet<String>> {
        let mut table = BTreeMap::new();
        for &number in &self.numbers {
            let watcher = &self.watchers[number];
            let is_watched =
                |entry: &&u32| self.entries[**entry].watchers.modes_of(number).any(Modes::DATA_TABLE);
            let entries = watcher.entries.as_slice().iter().filter(is_watched);
            let paths: BTreeSet<String> = entries.map(|&entry| path_of(&self.entries, entry)).collect();
            if !paths.is_empty() {
                table.insert(watcher.id, paths);
            }
        }
        table
    }

    /// The data table's connections, in order, by path.
    #[must_use]
    pub fn by_path(&self) -> BTreeMap<String, BTreeSet<ConnectionId>> {
        let mut table: BTreeMap<String, BTreeSet<ConnectionId>> = BTreeMap::new();
        for (connection, paths) in self.by_connection() {
            for path in paths {
                table.entry(path).or_default().insert(connection);
            }
        }
        table
    }
}
