//! The production node, log and recovery on a simulated disk, driven by one seed: clients write, the power goes at
//! any moment or a sync fails, and what comes back is compared with what was acknowledged.
//!
//! The checks stand outside and know nothing of the server but what it said:
//!
//! - *durability*: the recovered tree stands at or behind no acknowledged zxid;
//! - *prefix*: its digest is the one announced for its zxid when that txn was made, so it is the state after a whole
//!   number of txns, and no other;
//! - *no zxid twice*: what is acknowledged later has a larger zxid than all that was acknowledged before;
//! - *replay agrees*: every txn in the log finds the tree that its digest announced.

mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jute::Jute;
use jute::txn::Txn;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use server::node::lockstep::Lockstep;
use server::node::{CutPolicy, Delivery, Event, NodeConfig, Now};
use server::storage::{
    DataDirs, Disk, LogOptions, MemoryStore, RecoveryOptions, SimDisk, SnapshotStore, TxnLog, recover,
};
use server::tree::Tree;
use server::zab::Zxid;

use workload::Workload;

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
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.replayed += other.replayed;
        self.cuts += other.cuts;
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
        let recovered = recover(&disk, &mut self.store, &self.dirs, &RecoveryOptions::default())?;
        ensure!(recovered.stats.digest_mismatches == 0, "replay found another tree than the log announced");
        self.stats.replayed += recovered.stats.txns_loaded;
        self.check(&recovered.tree)?;

        let options = LogOptions { preallocate_bytes: 64 << 10, ..LogOptions::new(self.dirs.logs()) };
        let log = TxnLog::open(disk, options, &recovered.log_end)?;
        Ok(Life { lockstep: Lockstep::new(self.config(), recovered.tree, self.now), log })
    }

    fn config(&mut self) -> NodeConfig {
        let cuts = CutPolicy {
            txns_max: 40,
            dirty_max: self.dice.random_range(5..60),
            unwritten_max: 4,
            ..CutPolicy::default()
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
        let mut deliveries = Vec::new();
        let last = self.write(life, workload, &mut deliveries)?;
        life.log.sync()?;
        life.lockstep.settle(last, &mut deliveries);
        self.acknowledge(&deliveries, workload)?;
        self.store_cuts(life)
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
        let last = life.lockstep.step(events, deliveries);
        for record in life.lockstep.log.drain(..) {
            let txn = Txn::from_bytes(&record)?;
            let zxid = Zxid(txn.header.zxid);
            if let Some(digest) = txn.digest {
                self.said.digests.insert(zxid, digest.tree_digest.cast_unsigned());
            }
            life.log.append(zxid, &record)?;
        }
        Ok(last)
    }

    fn acknowledge(&mut self, deliveries: &[Delivery], workload: &mut Workload) -> Result<()> {
        for delivery in deliveries {
            match delivery {
                Delivery::Connected { connection, session, .. } => workload.connected(*connection, *session),
                Delivery::Reply { zxid, error, .. } => {
                    ensure!(*zxid >= self.said.acknowledged, "{zxid} after {}", self.said.acknowledged);
                    self.said.acknowledged = *zxid;
                    self.stats.acknowledged += u64::from(error.is_none());
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
        let mut events = Vec::new();
        for cut in life.lockstep.cuts.drain(..) {
            events.push(Event::SnapshotWritten(cut.zxid));
            self.store.write(cut)?;
            self.stats.cuts += 1;
        }
        life.lockstep.run(events);
        if self.dice.random_bool(0.3) {
            self.store.flush()?;
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
        drop(life);
        // After a failed sync the system may have dropped what it could not write, so that even a mere kill loses it.
        if end == End::SyncFails || self.dice.random_bool(0.5) {
            self.disk.crash();
            self.store.crash();
        } else {
            self.disk.kill();
        }
        Ok(())
    }
}
