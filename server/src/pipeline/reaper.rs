//! Empty containers and TTL znodes whose time is over: the service removes them itself. ZooKeeper's
//! `ContainerManager`.

use std::collections::VecDeque;
use std::time::Duration;

use jute::Ustring;

use crate::node::{Now, ReaperConfig};
use crate::tree::Tree;

/// How finely the removals of a minute are spread over it.
const SLICES_PER_MINUTE: u32 = 600;

/// Looks for candidates now and then, and hands them out no faster than allowed.
#[derive(Debug)]
#[doc(alias = "ContainerManager")]
pub(crate) struct Reaper {
    config: ReaperConfig,
    next_search: Duration,
    /// Found, not handed out yet.
    candidates: VecDeque<Ustring>,
    next_slice: Duration,
}

impl Reaper {
    pub(crate) fn new(config: ReaperConfig, now: Duration) -> Self {
        Self { config, next_search: now + config.interval, candidates: VecDeque::new(), next_slice: now }
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Duration {
        if self.candidates.is_empty() { self.next_search } else { self.next_slice.min(self.next_search) }
    }

    /// The znodes to remove now. Each is judged again as its txn is made.
    pub(crate) fn take_due(&mut self, tree: &Tree, now: Now) -> Vec<Ustring> {
        if now.monotonic >= self.next_search {
            self.next_search = now.monotonic + self.config.interval;
            if self.candidates.is_empty() {
                self.search(tree, now.wall_ms);
            }
        }
        if self.candidates.is_empty() || now.monotonic < self.next_slice {
            return Vec::new();
        }
        let (count, pause) = self.slice();
        self.next_slice = now.monotonic + pause;
        self.candidates.drain(..count.min(self.candidates.len())).collect()
    }

    /// How many go at once, and how long to wait afterwards.
    fn slice(&self) -> (usize, Duration) {
        let per_minute = self.config.per_minute_max.max(1);
        let count = (per_minute / SLICES_PER_MINUTE).max(1);
        (count as usize, Duration::from_secs(60) * count / per_minute)
    }

    fn search(&mut self, tree: &Tree, wall_ms: i64) {
        let never_used_max_ms = i64::try_from(self.config.never_used_max.as_millis()).unwrap_or(i64::MAX);
        let containers = tree.container_candidates(wall_ms, never_used_max_ms);
        self.candidates = containers.chain(tree.ttl_candidates(wall_ms)).map(Ustring::from).collect();
    }
}
