//! The snapshot thread: moves the stored tree on, a cut at a time, and removes what nobody needs any more.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tracing::{debug, error};

use super::restore::SnapshotWork;
use super::shared::Shared;
use crate::metrics::Metrics;
use crate::node::Event;
use crate::storage::{OsDisk, Result, SnapshotStore, purge};
use crate::tree::Cut;

/// Without `autopurge.purgeInterval`, how long to wait for a cut before looking again.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Writes every cut that comes, until the sender has gone.
pub(super) fn run(shared: &Arc<Shared>, mut store: Box<dyn SnapshotStore>, work: &Receiver<SnapshotWork>) {
    let metrics = shared.registry.thread();
    let interval = shared.config.storage.purge.interval;
    let mut purge_due = interval.map(|interval| shared.clock.monotonic() + interval);
    loop {
        let wait = purge_due.map_or(FOREVER, |due| due.saturating_sub(shared.clock.monotonic()));
        match work.recv_timeout(wait) {
            Ok(SnapshotWork::Cut(cut)) => write(shared, &mut *store, cut, &metrics),
            Ok(SnapshotWork::Whole(cut, outcome)) => {
                // Nobody waits for it when the node has gone, and then nothing depends on it.
                let _ = outcome.send(store.write(cut).and_then(|()| store.flush()).map(drop));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if purge_due.is_some_and(|due| due <= shared.clock.monotonic()) {
            report(remove_old(shared, &mut *store), &metrics);
            purge_due = interval.map(|interval| shared.clock.monotonic() + interval);
        }
    }
    report(store.flush().map(drop), &metrics);
}

/// A cut that cannot be written costs nothing but a longer replay at the next start: the log still has it all.
fn write(shared: &Shared, store: &mut dyn SnapshotStore, cut: Cut, metrics: &Metrics) {
    let (zxid, znodes) = (cut.zxid, cut.znodes.len());
    let began = shared.clock.monotonic();
    report(store.write(cut), metrics);
    let took = shared.clock.monotonic().saturating_sub(began);
    metrics.snapshottime.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    *shared.last_snapshot.lock() = Some((zxid, super::clock::Clock::wall_ms() / 1000));
    debug!(%zxid, znodes, took_ms = took.as_millis(), "snapshot moved on");
    shared.queue.send(&mut vec![Event::SnapshotWritten(zxid)]);
}

fn remove_old(shared: &Shared, store: &mut dyn SnapshotStore) -> Result<()> {
    let retain = shared.config.storage.purge.retain as usize;
    store.flush()?;
    store.keep()?;
    purge::purge(&OsDisk, store, &shared.dirs(), retain).map(drop)
}

fn report(outcome: Result<()>, metrics: &Metrics) {
    if let Err(failure) = outcome {
        metrics.snapshot_error_count.add(1);
        let failure: &dyn std::error::Error = &failure;
        error!(error = failure, "cannot write the snapshot; the log is kept, and grows");
    }
}
