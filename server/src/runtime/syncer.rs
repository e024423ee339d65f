//! The thread that writes a member's log and waits for the disk, while the node's hears other servers: an
//! acknowledgement, or a commit, that came meanwhile would else wait for the end, on every server that it passes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use super::shared::Shared;
use crate::storage::{LogSync, Logged, Result};
use crate::zab::Zxid;

/// Gives that thread work, one sync at a time. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Syncer {
    begin: SyncSender<(LogSync, Synced)>,
    ended: Receiver<Ended>,
    /// A sync has begun whose end nobody has asked for yet.
    is_busy: bool,
}

/// What a sync makes durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Synced {
    /// The last txn of it.
    pub(super) last: Zxid,
    /// How many there are.
    pub(super) txns: u64,
    /// How long they took before.
    pub(super) judging: Duration,
}

/// A sync that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) of: Synced,
    pub(super) outcome: Result<Logged>,
    pub(super) took: Duration,
}

impl Syncer {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (begin, begun) = sync_channel::<(LogSync, Synced)>(1);
        let (end, ended) = sync_channel(1);
        let shared = Arc::clone(shared);
        Builder::new().name("log".to_owned()).spawn(move || {
            for (sync, of) in begun {
                let began = shared.clock.monotonic();
                let outcome = sync.run();
                let took = shared.clock.monotonic().saturating_sub(began);
                if end.send(Ended { of, outcome, took }).is_err() {
                    return;
                }
                shared.queue.poke();
            }
        })?;
        Ok(Self { begin, ended, is_busy: false })
    }

    /// Begins a sync; none is under way. The node's queue is [poked](super::queue::NodeQueue::poke) when it has ended.
    pub(super) fn begin(&mut self, sync: LogSync, of: Synced) {
        debug_assert!(!self.is_busy, "one at a time");
        self.is_busy = true;
        self.begin.send((sync, of)).expect("the thread lives as long as this");
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// What has ended since it was asked last.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        let ended = self.ended.try_recv().ok()?;
        self.is_busy = false;
        Some(ended)
    }

    /// Waits for the sync that is under way, if one is.
    pub(super) fn wait(&mut self) -> Option<Ended> {
        if !std::mem::take(&mut self.is_busy) {
            return None;
        }
        Some(self.ended.recv().expect("the thread lives as long as this"))
    }
}
