//! The machine: events and the time go in, actions come out. It owns no socket, file, clock or random source.
//!
//! Two things drive it: `runtime` in production, the simulator in tests. Both do, for each batch of events:
//!
//! 1. [`Node::step`] once per event, with the tree under its read lock. Writes become txns; their log records
//!    come out as [`Action::Append`].
//! 2. Append them to the log and sync it; then step [`Event::Persisted`].
//! 3. [`Node::apply`] with the tree under its write lock. What it delivers must reach the connections' queues
//!    before the lock is let go: then no reader can see a change whose event is still under way to it.

mod config;
mod event;
mod status;

use std::time::Duration;

pub use config::{CutPolicy, NodeConfig, ReaperConfig};
pub use event::{Action, Delivery, Event, Now, ReplyBody, Request};
pub use status::{Counters, Status};

use crate::session::{SessionId, Sessions};
use crate::tree::Tree;
use crate::watch::Watches;
use crate::zab::Zxid;

/// The machine.
#[derive(Debug)]
pub struct Node {
    sessions: Sessions,
    proposed: Zxid,
    committed: Zxid,
    applied: Zxid,
    counters: Counters,
}

impl Node {
    /// A node that carries on from `tree`, as it was recovered: all of its sessions have their whole timeout
    /// ahead of them.
    #[must_use]
    pub fn new(config: NodeConfig, tree: &Tree, now: Now) -> Self {
        let _ = tree;
        let first = SessionId::first(config.server_id, now.wall_ms.unsigned_abs());
        let tick_ms = u64::try_from(config.tick.as_millis()).unwrap_or(u64::MAX);
        Self {
            sessions: Sessions::new(first, config.timeouts, tick_ms),
            proposed: Zxid::ZERO,
            committed: Zxid::ZERO,
            applied: Zxid::ZERO,
            counters: Counters::default(),
        }
    }

    /// Takes in one event; `out` gets what is to be done about it. Txns are judged against `tree` and all that
    /// is under way to it.
    pub fn step(&mut self, event: Event, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let _ = (event, now, tree, out);
    }

    /// Applies all that is committed: changes `tree`, fires `watches`, answers.
    pub fn apply(&mut self, tree: &mut Tree, watches: &mut Watches, now: Now, out: &mut Vec<Action>) {
        let _ = (tree, watches, now, out);
    }

    /// When to step [`Event::Tick`] if nothing happens before: a [`Now::monotonic`].
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.sessions.next_expiry_ms().map(Duration::from_millis)
    }

    /// Where the node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            proposed: self.proposed,
            committed: self.committed,
            applied: self.applied,
            outstanding: 0,
            pending_paths: 0,
            sessions: self.sessions.len(),
            counters: self.counters,
        }
    }
}
