//! The thread that waits for a member's disk, while the node's hears other servers: an acknowledgement, or a commit,
//! that came during a sync would else wait for its end, on every server that it passes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use super::shared::Shared;
use crate::storage::{LogSync, Result};
use crate::zab::Zxid;

/// Gives that thread work, one sync at a time. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Syncer {
    begin: SyncSender<LogSync>,
    ended: Receiver<(Result<()>, Duration)>,
    under_way: Option<Synced>,
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
    pub(super) outcome: Result<()>,
    pub(super) took: Duration,
}

impl Syncer {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (begin, begun) = sync_channel::<LogSync>(1);
        let (end, ended) = sync_channel(1);
        let shared = Arc::clone(shared);
        Builder::new().name("log".to_owned()).spawn(move || {
            for sync in begun {
                let began = shared.clock.monotonic();
                let outcome = sync.run();
                if end.send((outcome, shared.clock.monotonic().saturating_sub(began))).is_err() {
                    return;
                }
                shared.queue.poke();
            }
        })?;
        Ok(Self { begin, ended, under_way: None })
    }

    /// Begins a sync; none is under way. The node's queue is [poked](super::queue::NodeQueue::poke) when it has ended.
    pub(super) fn begin(&mut self, sync: LogSync, of: Synced) {
        debug_assert!(self.under_way.is_none(), "one at a time");
        self.under_way = Some(of);
        self.begin.send(sync).expect("the thread lives as long as this");
    }

    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// What has ended since it was asked last.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        self.under_way?;
        let (outcome, took) = self.ended.try_recv().ok()?;
        self.under_way.take().map(|of| Ended { of, outcome, took })
    }

    /// Waits for the sync that is under way, if one is.
    pub(super) fn wait(&mut self) -> Option<Ended> {
        let of = self.under_way.take()?;
        let (outcome, took) = self.ended.recv().expect("the thread lives as long as this");
        Some(Ended { of, outcome, took })
    }
}
