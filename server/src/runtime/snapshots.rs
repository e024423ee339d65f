//! The snapshot thread: moves the stored tree on, a cut at a time, and removes what nobody needs any more.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::clock::Clock;
use super::member::MemberWork;
use super::quorum::QuorumRim;
use super::restore::SnapshotWork;
use super::shared::Shared;
use crate::metrics::Metrics;
use crate::node::Event;
use crate::storage::java_snapshot::Compression;
use crate::storage::way_back::leave_snapshot;
use crate::storage::{MemberDisk, OsDisk, RocksStore, SnapshotStore, SnapshotWriter, log_bytes_max, purge};
use crate::zab::{DiskDone, Input, Trace, Zxid};

/// When there is nothing to wait for but the next cut.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// Flushes leave the disk to the log for so long at least.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);
/// After so long without a flush, little comes: compactions that were put off are made up for.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// How long after a failure the next attempt is made.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// While the disk is short of room, how often old files are looked for; if `autopurge` may remove any at all.
const MAKE_ROOM_PAUSE: Duration = Duration::from_secs(10);

/// The thread's own.
pub(super) struct Snapshots {
    shared: Arc<Shared>,
    writer: SnapshotWriter<RocksStore>,
    metrics: Arc<Metrics>,
    flush_allowed: Duration,
    /// If no flush comes before.
    calm_at: Duration,
    retry_due: Option<Duration>,
    purge_due: Option<Duration>,
    durable: Option<Zxid>,
    member: Option<(MemberDisk, Arc<QuorumRim>)>,
}

impl Snapshots {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: RocksStore,
        member: Option<(MemberDisk, Arc<QuorumRim>)>,
    ) -> Self {
        let metrics = shared.registry.thread();
        let now = shared.clock.monotonic();
        let purge_due = shared.config.storage.purge.interval.map(|interval| now + interval);
        let durable = store.durable();
        let writer = SnapshotWriter::new(store, shared.config.storage.snapshot_txns.into());
        Self {
            shared,
            writer,
            metrics,
            flush_allowed: now,
            calm_at: now + CALM_AFTER,
            retry_due: None,
            purge_due,
            durable,
            member,
        }
    }

    /// Writes every cut that comes, until the sender has gone; then all is durable, and a Java server could start here.
    pub(super) fn run(mut self, work: &Receiver<SnapshotWork>) {
        loop {
            match work.recv_timeout(self.pause()) {
                Ok(SnapshotWork::Cut(cut)) => {
                    self.writer.add(cut);
                    if !self.writer.has_failed() {
                        self.advance();
                    }
                }
                Ok(SnapshotWork::Whole(cut, outcome)) => {
                    let replaced = self.writer.replace(&cut);
                    self.note(replaced.as_ref().err());
                    // Nobody waits for it when the node has gone, and then nothing depends on it.
                    let _ = outcome.send(replaced);
                    self.advance();
                }
                Ok(SnapshotWork::Member(work)) => self.serve_member(work),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.shared.clock.monotonic();
            if self.retry_due.is_some_and(|due| due <= now) {
                self.advance();
            }
            if self.writer.wants_flush() && !self.writer.has_failed() && self.flush_allowed <= now {
                self.set_compactions(now);
                self.flush();
            } else if self.calm_due().is_some_and(|due| due <= now) {
                self.set_compactions(now);
            }
            self.purge_if_due(now);
        }
        self.flush();
        if !self.writer.has_failed() {
            self.leave_way_back();
        }
    }

    /// A Java server writes its whole tree too, at each start.
    fn leave_way_back(&mut self) {
        if self.shared.is_disk_short() {
            warn!("no snapshot is left for a Java server, for want of room: `zkserver export` writes one");
            return;
        }
        let began = self.shared.clock.monotonic();
        match leave_snapshot(&OsDisk, self.writer.store(), &self.shared.dirs(), Compression::None) {
            Ok(Some(left)) => {
                let took = self.shared.clock.monotonic().saturating_sub(began);
                let path = left.path.display();
                info!(%path, took_ms = took.as_millis(), "a Java server could go on from here");
            }
            Ok(None) => {}
            Err(failure) => {
                let failure: &dyn std::error::Error = &failure;
                warn!(error = failure, "no snapshot is left for a Java server: `zkserver export` writes one");
            }
        }
    }

    /// What a member of an ensemble wants. Nobody waits for it when the node has gone.
    fn serve_member(&mut self, work: MemberWork) {
        let Some((disk, rim)) = &self.member else {
            return;
        };
        let done = match work {
            MemberWork::Reload(answer) => {
                let _ = answer.send(disk.reload(&mut self.writer).map(|recovered| recovered.tree));
                return;
            }
            MemberWork::Install(answer) => {
                let installed = disk.install(&mut self.writer, &mut self.shared.tree.write());
                self.note(installed.as_ref().err());
                let _ = answer.send(installed);
                if !self.writer.has_failed() {
                    self.advance(); // The node is told of cuts that there is no need to write any more.
                }
                return;
            }
            MemberWork::Trace { link, zxid, upto } => {
                let factor = self.shared.config.storage.snapshot_size_factor;
                let bytes_max = log_bytes_max(&self.shared.tree.read(), factor);
                let may_use_log = factor >= 0.0;
                let trace = if may_use_log {
                    disk.trace(&self.writer, zxid, upto, bytes_max)
                } else {
                    Ok(Trace::OutOfReach)
                };
                trace.map(|trace| Some(DiskDone::Traced { link, trace }))
            }
            MemberWork::Hold { link } => disk.hold(&mut self.writer).map(|held| {
                held.map(|(zxid, snapshot)| {
                    rim.offer_snapshot(link, snapshot);
                    DiskDone::SnapshotOpened { link, zxid }
                })
            }),
        };
        match done {
            Ok(Some(done)) => self.shared.queue.send(&mut vec![Event::Peer(Input::Disk(done))]),
            Ok(None) => error!("there is no stored tree to send to a learner"),
            // It is dismissed when it has waited for too long, and comes again.
            Err(failure) => error!(error = &failure as &dyn std::error::Error, "cannot serve a learner"),
        }
    }

    /// Until something is due.
    fn pause(&mut self) -> Duration {
        let flush = self.writer.wants_flush().then_some(self.flush_allowed);
        let next = match self.retry_due {
            Some(retry) => Some(retry),
            None => flush,
        };
        let now = self.shared.clock.monotonic();
        let purge = self.purge_due.map(|due| due.min(now + MAKE_ROOM_PAUSE));
        next.into_iter()
            .chain(purge)
            .chain(self.calm_due())
            .min()
            .map_or(FOREVER, |due| due.saturating_sub(now))
    }

    /// A cut that cannot be written costs nothing but a longer replay at the next start: the log still has it all. The
    /// node is not told then, and so makes no more than are kept here anyway.
    fn advance(&mut self) {
        let began = self.shared.clock.monotonic();
        let outcome = self.writer.advance();
        self.note(outcome.as_ref().err());
        let taken_over = outcome.unwrap_or(0);
        if taken_over > 0 {
            let took = self.shared.clock.monotonic().saturating_sub(began);
            self.metrics.snapshottime.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            debug!(cuts = taken_over, took_ms = took.as_millis(), "snapshot moved on");
            self.shared.queue.send(&mut vec![Event::SnapshotWritten { cuts: taken_over }]);
        }
    }

    fn flush(&mut self) {
        let outcome = self.writer.flush();
        self.note(outcome.as_ref().err());
        let now = self.shared.clock.monotonic();
        (self.flush_allowed, self.calm_at) = (now + FLUSH_PAUSE, now + CALM_AFTER);
    }

    /// When compactions need not be put off any longer, if nothing comes until then.
    fn calm_due(&mut self) -> Option<Duration> {
        let waits = !self.writer.has_failed() && self.writer.store().puts_off_compactions();
        waits.then_some(self.calm_at)
    }

    /// While much comes, compactions are put off.
    fn set_compactions(&mut self, now: Duration) {
        if self.shared.status.lock().puts_cut_off {
            self.calm_at = now + CALM_AFTER; // Very much comes, though not here yet.
        }
        if let Err(failure) = self.writer.store().put_off_compactions(now < self.calm_at) {
            let failure: &dyn std::error::Error = &failure;
            warn!(error = failure, "cannot tell the snapshot's database when to compact; trying again");
            self.calm_at = now + CALM_AFTER;
        }
    }

    /// How an attempt went, for operators and for the next one.
    fn note(&mut self, failure: Option<&crate::storage::Error>) {
        if let Some(failure) = failure {
            self.metrics.snapshot_error_count.add(1);
            self.retry_due = Some(self.shared.clock.monotonic() + RETRY_PAUSE);
            let failure: &dyn std::error::Error = failure;
            error!(error = failure, "cannot write the snapshot; the log is kept, and grows; trying again");
            return;
        }
        if self.retry_due.take().is_some() {
            info!("the snapshot can be written again");
        }
        let durable = self.writer.store().durable();
        if let Some(zxid) = durable.filter(|_| durable != self.durable) {
            self.durable = durable;
            *self.shared.last_snapshot.lock() = Some((zxid, Clock::wall_ms() / 1000));
        }
    }

    fn purge_if_due(&mut self, now: Duration) {
        let Some(due) = self.purge_due else { return };
        let Some(interval) = self.shared.config.storage.purge.interval else { return };
        let makes_room = self.shared.is_disk_short() && due + MAKE_ROOM_PAUSE <= now + interval;
        if due <= now || makes_room {
            self.purge_due = Some(now + interval);
            self.remove_old();
        }
    }

    /// On a full disk, nothing may be left to set a snapshot aside; old files go all the same.
    fn remove_old(&mut self) {
        self.flush();
        if !self.writer.has_failed() {
            let kept = self.writer.store().keep();
            self.note(kept.as_ref().err());
        }
        let retain = self.shared.config.storage.purge.retain as usize;
        let removed = purge::purge(&OsDisk, self.writer.store(), &self.shared.dirs(), retain);
        self.note(removed.as_ref().err());
    }
}
