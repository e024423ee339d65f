//! The production node, log and recovery on a simulated disk, driven by one seed: clients write, the power goes at
//! any moment, a sync fails, the disk fills up and is cleared; and what comes back is compared with what was
//! acknowledged.
//!
//! The checks stand outside and know nothing of the server but what it said:
//!
//! - *durability*: the recovered tree stands at or behind no acknowledged zxid;
//! - *prefix*: its digest is the one announced for its zxid when that txn was made, so it is the state after a whole
//!   number of txns, and no other;
//! - *no zxid twice*: what is acknowledged later has a larger zxid than all that was acknowledged before;
//! - *replay agrees*: every txn in the log finds the tree that its digest announced;
//! - *room*: the node proposes nothing that the log cannot take, and refuses nothing for want of room that is there.

pub mod ensemble;
pub(crate) mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jute::txn::Txn;
use jute::{ErrorCode, Jute};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use server::node::lockstep::Lockstep;
use server::node::{CutPolicy, Delivery, Event, LogRoom, NodeConfig, Now};
use server::storage::{
    DataDirs, Disk, LogOptions, MemoryStore, RecoveryOptions, SimDisk, SnapshotStore, SnapshotWriter, TxnLog,
    recover,
};
use server::tree::Tree;
use server::zab::Zxid;

use workload::Workload;

/// Txns after which the snapshot is flushed.
const FLUSH_TXNS: u64 = 60;

/// One server's life after life on one disk.
pub struct World {
    dice: StdRng,
    disk: SimDisk,
    store: MemoryStore,
    dirs: DataDirs,
    now: Now,
    said: Said,
    stats: Stats,
}

/// What the server told the outside, in all its lives.
#[derive(Debug, Default)]
struct Said {
    /// The tree's digest after each txn, as the txn's maker announced it. A txn that was lost without having been
    /// acknowledged gives way to the one that takes its zxid.
    digests: BTreeMap<Zxid, u64>,
    /// The newest zxid that was acknowledged.
    acknowledged: Zxid,
}

/// How much a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Times the power went, or a sync failed.
    pub crashes: u64,
    /// Txns that recovery replayed.
    pub replayed: u64,
    /// Cuts that the snapshot store took.
    pub cuts: u64,
    /// Parts of cuts that it took, but the last of each.
    pub parts: u64,
    /// Writes refused because the disk was full.
    pub refused: u64,
    /// Times the snapshot store failed.
    pub store_failures: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.replayed += other.replayed;
        self.cuts += other.cuts;
        self.parts += other.parts;
        self.refused += other.refused;
        self.store_failures += other.store_failures;
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Between two batches.
    AtRest,
    /// With a batch in the log's buffer.
    BeforeSync,
    /// With a batch on disk that was neither applied nor acknowledged.
    BeforeApply,
    /// A sync says that it failed: the server stops, and nobody knows what is on the disk.
    SyncFails,
}

/// A running server.
struct Life {
    lockstep: Lockstep,
    log: TxnLog,
    snapshots: SnapshotWriter<MemoryStore>,
}

impl World {
    /// A new disk; everything that happens follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        Self {
            disk: SimDisk::new(dice.next_u64()),
            dice,
            store: MemoryStore::default(),
            dirs: DataDirs::new("/data", None),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 },
            said: Said::default(),
            stats: Stats::default(),
        }
    }

    /// Lives through `crashes` crashes, and one recovery more.
    ///
    /// # Errors
    /// When a promise was broken.
    pub fn run(mut self, crashes: u32) -> Result<Stats> {
        for life in 0..crashes {
            self.live().with_context(|| format!("life {life}"))?;
            self.stats.crashes += 1;
        }
        self.start().context("last recovery")?;
        Ok(self.stats)
    }

    /// From recovery to the crash.
    fn live(&mut self) -> Result<()> {
        let mut life = self.start()?;
        let mut workload = Workload::new(self.dice.next_u64());
        let batches = self.dice.random_range(0..12);
        for _ in 0..batches {
            self.batch(&mut life, &mut workload)?;
        }
        let end = match self.dice.random_range(0..4) {
            0 => End::AtRest,
            1 => End::BeforeSync,
            2 => End::BeforeApply,
            _ => End::SyncFails,
        };
        self.die(life, &mut workload, end)
    }

    fn start(&mut self) -> Result<Life> {
        self.now.monotonic += Duration::from_millis(self.dice.random_range(1..5000));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        // The lock is let go at once: this world has one server.
        self.dirs.enter(&*disk, true)?;
        // Whoever starts a server on a full disk is told so. Here, room has been made.
        self.disk.set_capacity(None);
        self.store.set_full(false);
        let recovered = recover(&disk, &mut self.store, &self.dirs, &RecoveryOptions::default())?;
        ensure!(recovered.stats.digest_mismatches == 0, "replay found another tree than the log announced");
        self.stats.replayed += recovered.stats.txns_loaded;
        self.check(&recovered.tree)?;

        // Small enough that the room set aside ahead of the writer is used up now and then.
        let preallocate_bytes = 1 << self.dice.random_range(13..17);
        let ahead_bytes = 16 << 10;
        let options = LogOptions { preallocate_bytes, ahead_bytes, ..LogOptions::new(self.dirs.logs()) };
        let log = TxnLog::open(disk, options, &recovered.log_end)?;
        let snapshots = SnapshotWriter::new(std::mem::take(&mut self.store), FLUSH_TXNS);
        Ok(Life { lockstep: Lockstep::new(self.config(), recovered.tree, self.now), log, snapshots })
    }

    fn config(&mut self) -> NodeConfig {
        let usual = CutPolicy::default();
        let cuts = CutPolicy {
            txns_max: 40,
            dirty_max: self.dice.random_range(5..60),
            busy_txns_per_second: [0, 20, usual.busy_txns_per_second][self.dice.random_range(0..3)],
            put_off_max: self.dice.random_range(1..6),
            ..usual
        };
        NodeConfig { cuts, tick: Duration::from_millis(500), extended_types: false, ..NodeConfig::default() }
    }

    fn check(&mut self, tree: &Tree) -> Result<()> {
        let last = tree.last_zxid();
        ensure!(
            last >= self.said.acknowledged,
            "{} was acknowledged, the log ends at {last}",
            self.said.acknowledged
        );
        // What stood behind is lost, and was never acknowledged: its zxids are free again.
        self.said.digests.split_off(&last.next());
        if let Some(announced) = self.said.digests.get(&last) {
            ensure!(tree.digest() == *announced, "the tree at {last} is not the one that was announced");
        }
        let recomputed = tree.recompute_digest();
        ensure!(
            tree.digest() == recomputed,
            "the digest {:#x} is not the tree's {recomputed:#x}",
            tree.digest()
        );
        Ok(())
    }

    /// One batch from requests to replies.
    fn batch(&mut self, life: &mut Life, workload: &mut Workload) -> Result<()> {
        self.trouble(life)?;
        let mut deliveries = Vec::new();
        let last = self.write(life, workload, &mut deliveries)?;
        life.log.sync()?;
        life.lockstep.settle(last, &mut deliveries);
        self.acknowledge(&deliveries, life.log.is_short(), workload)?;
        self.store_cuts(life)
    }

    /// Disks fill up, and are cleared.
    fn trouble(&mut self, life: &mut Life) -> Result<()> {
        match self.dice.random_range(0..12) {
            0 => self.disk.leave_room(self.dice.random_range(0..100_000)),
            1 => self.disk.set_capacity(None),
            2 => life.snapshots.store().set_full(true),
            3 | 4 => life.snapshots.store().set_full(false),
            _ => {}
        }
        if life.log.is_short() {
            life.log.make_room()?;
        }
        Ok(())
    }

    /// The first half of a batch: its records are in the log's buffer.
    fn write(
        &mut self,
        life: &mut Life,
        workload: &mut Workload,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<Option<Zxid>> {
        self.now.monotonic += Duration::from_millis(self.dice.random_range(0..300));
        self.now.wall_ms += 1;
        life.lockstep.now = self.now;
        let mut events = workload.events(&life.lockstep.tree);
        if life.lockstep.node.deadline().is_some_and(|due| due <= self.now.monotonic) {
            events.push(Event::Tick);
        }
        let mut last = None;
        let mut ask_again_at = u64::MAX;
        for event in events {
            if life.lockstep.node.log_room() <= ask_again_at {
                self.append(life)?;
                let room = LogRoom { bytes: life.log.room(), is_short: life.log.is_short() };
                life.lockstep.step([Event::LogRoom(room)], deliveries);
                ask_again_at = room.bytes / 2;
            }
            last = life.lockstep.step([event], deliveries).or(last);
        }
        self.append(life)?;
        Ok(last)
    }

    /// There is room for whatever the node proposes.
    fn append(&mut self, life: &mut Life) -> Result<()> {
        for record in life.lockstep.log.drain(..) {
            let txn = Txn::from_bytes(&record)?;
            let zxid = Zxid(txn.header.zxid);
            if let Some(digest) = txn.digest {
                self.said.digests.insert(zxid, digest.tree_digest.cast_unsigned());
            }
            life.log.append(zxid, &record)?;
        }
        Ok(())
    }

    fn acknowledge(
        &mut self,
        deliveries: &[Delivery],
        disk_is_short: bool,
        workload: &mut Workload,
    ) -> Result<()> {
        for delivery in deliveries {
            match delivery {
                Delivery::Connected { connection, session, .. } => workload.connected(*connection, *session),
                Delivery::Reply { zxid, error, .. } => {
                    ensure!(*zxid >= self.said.acknowledged, "{zxid} after {}", self.said.acknowledged);
                    self.said.acknowledged = *zxid;
                    self.stats.acknowledged += u64::from(error.is_none());
                    let for_room = *error == Some(ErrorCode::QuotaExceeded);
                    ensure!(disk_is_short || !for_room, "refused for want of room, though there is some");
                    self.stats.refused += u64::from(for_room);
                }
                Delivery::Answer { .. }
                | Delivery::Notification { .. }
                | Delivery::Expired { .. }
                | Delivery::Close { .. } => {}
            }
        }
        Ok(())
    }

    /// The snapshot thread's part: it may lag, and flush when it likes.
    fn store_cuts(&mut self, life: &mut Life) -> Result<()> {
        for cut in life.lockstep.cuts.drain(..) {
            self.stats.cuts += u64::from(!cut.partial);
            self.stats.parts += u64::from(cut.partial);
            life.snapshots.add(cut);
        }
        match life.snapshots.advance() {
            Ok(cuts) => drop(life.lockstep.run([Event::SnapshotWritten { cuts }])),
            Err(_) => self.stats.store_failures += 1,
        }
        if life.snapshots.wants_flush() || self.dice.random_bool(0.1) {
            self.stats.store_failures += u64::from(life.snapshots.flush().is_err());
        }
        if self.dice.random_bool(0.1) {
            life.log.roll()?;
        }
        Ok(())
    }

    fn die(&mut self, mut life: Life, workload: &mut Workload, end: End) -> Result<()> {
        let mut deliveries = Vec::new();
        let written = match end {
            End::AtRest => None,
            _ => self.write(&mut life, workload, &mut deliveries)?,
        };
        match end {
            End::AtRest | End::BeforeSync => {}
            End::BeforeApply => life.log.sync()?,
            End::SyncFails if written.is_some() => {
                self.disk.fail_sync_after(0);
                ensure!(life.log.sync().is_err(), "a failed sync was taken for a good one");
            }
            End::SyncFails => {}
        }
        self.store = life.snapshots.into_store();
        // After a failed sync the system may have dropped what it could not write, so that even a mere kill loses it.
        if end == End::SyncFails || self.dice.random_bool(0.5) {
            self.disk.crash();
            self.store.crash();
        } else {
            self.disk.kill();
            // The store may have flushed of itself what it was given. What it holds in memory is lost in any case.
            self.store.set_full(self.dice.random_bool(0.5));
            let _ = self.store.flush();
            self.store.crash();
        }
        Ok(())
    }
}
