//! The threads that compact logs: the one that needs it most first, then a rest when none does. Kafka's `CleanerThread`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::clock;
use super::manager::{Replicas, discard};
use super::partition::Partition;
use crate::log::compaction::{KeyMap, Plan};
use crate::log::{Checkpoint, Error};
use crate::topic_partition::TopicPartition;

/// How much at once, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct CleaningSettings {
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`, of all threads.
    pub key_bytes_max: usize,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads.
    pub bytes_per_second_max: Option<f64>,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

/// What the threads share.
struct Cleaning {
    replicas: Arc<Replicas>,
    settings: CleaningSettings,
    /// Up to where each log is clean, as the checkpoint has it.
    clean: Mutex<BTreeMap<TopicPartition, i64>>,
    /// Logs that a thread is at.
    busy: Mutex<BTreeSet<TopicPartition>>,
    runtime: Handle,
}

/// A log that a thread is at; left when dropped.
struct Claim<'a> {
    cleaning: &'a Cleaning,
    partition: Arc<Partition>,
    plan: Plan,
}

/// Starts the threads; they end with the process. Call it from a runtime.
///
/// # Errors
/// The checkpoint of an earlier run cannot be read.
pub fn start(replicas: &Arc<Replicas>, settings: CleaningSettings) -> Result<(), Error> {
    let mut clean = BTreeMap::new();
    for dir in replicas.store().paths() {
        clean.extend(Checkpoint::Cleaner.read(dir)?);
    }
    let cleaning = Arc::new(Cleaning {
        replicas: Arc::clone(replicas),
        settings,
        clean: Mutex::new(clean),
        busy: Mutex::default(),
        runtime: Handle::current(),
    });
    for number in 0..settings.threads {
        let cleaning = Arc::clone(&cleaning);
        let thread = std::thread::Builder::new().name(format!("cleaner-{number}"));
        let started = thread.spawn(move || cleaning.run());
        started.map_err(|source| Error::Io {
            action: "start a thread for",
            path: "log cleaner".into(),
            source,
        })?;
    }
    Ok(())
}

impl Cleaning {
    fn run(&self) {
        let mut keys = KeyMap::new(self.settings.key_bytes_max / self.settings.threads.max(1));
        loop {
            let done = match self.dirtiest() {
                Some(claim) => self.clean(&claim, &mut keys),
                None => {
                    std::thread::sleep(self.settings.backoff);
                    continue;
                }
            };
            if let Err(error) = done {
                self.replicas.on_disk_error(&error);
                std::thread::sleep(self.settings.backoff);
            }
        }
    }

    /// The log for which a round is worth most.
    fn dirtiest(&self) -> Option<Claim<'_>> {
        let mut best: Option<(Arc<Partition>, Plan)> = None;
        for partition in self.replicas.all() {
            let Some(plan) = self.plan(&partition) else {
                continue;
            };
            if best.as_ref().is_none_or(|(_, best)| best.dirty_ratio() < plan.dirty_ratio()) {
                best = Some((partition, plan));
            }
        }
        let (partition, plan) = best?;
        // Another thread may have been faster.
        let is_free = self.busy.lock().insert(partition.name.clone());
        is_free.then(|| Claim { cleaning: self, partition, plan })
    }

    fn plan(&self, partition: &Partition) -> Option<Plan> {
        let name = &partition.name;
        if self.busy.lock().contains(name) {
            return None;
        }
        let checkpoint = self.clean.lock().get(name).copied();
        let (high_watermark, now) = (partition.high_watermark(), clock::now().wall_ms);
        partition.with_log(|log| {
            if !log.config().cleanup_policy.compact {
                return None;
            }
            match log.plan_compaction(checkpoint, high_watermark, now) {
                Ok(plan) => Some(plan).filter(|plan| plan.is_due(log.config())),
                Err(error) => {
                    warn!(partition = %name, error = &error as &dyn std::error::Error, "not compacted");
                    None
                }
            }
        })
    }

    fn clean(&self, claim: &Claim<'_>, keys: &mut KeyMap) -> Result<(), Error> {
        let partition = &claim.partition;
        let job = partition.with_log(|log| log.compaction(claim.plan));
        let Some(cleaned) = job.run(keys, clock::now().wall_ms, |bytes| self.pace(bytes))? else {
            return Ok(());
        };
        let tally = cleaned.tally;
        let (installed, delay) =
            partition.with_log(|log| (log.install(cleaned), log.config().file_delete_delay));
        let (discarded, clean_upto) = installed?;
        {
            let _runtime = self.runtime.enter();
            discard(delay, discarded);
        }
        let Some(clean_upto) = clean_upto else {
            return Ok(()); // The log was cut meanwhile; the next round sees how.
        };
        info!(
            partition = %partition.name, clean_upto, records = tally.read_records, kept = tally.kept_records,
            bytes = tally.written_bytes, "compacted"
        );
        self.clean.lock().insert(partition.name.clone(), clean_upto);
        self.checkpoint()
    }

    /// Waits for as long as `bytes` may take.
    fn pace(&self, bytes: usize) -> ControlFlow<()> {
        if let Some(per_second) = self.settings.bytes_per_second_max.filter(|per_second| *per_second > 0.0) {
            let share = per_second / self.settings.threads.max(1) as f64;
            std::thread::sleep(Duration::from_secs_f64((bytes as f64 / share).min(60.0)));
        }
        ControlFlow::Continue(())
    }

    /// Writes down how far all logs are clean, but for those that are gone.
    fn checkpoint(&self) -> Result<(), Error> {
        let dirs: BTreeMap<TopicPartition, PathBuf> = self
            .replicas
            .all()
            .into_iter()
            .map(|partition| (partition.name.clone(), partition.with_log(|log| log.dir().to_owned())))
            .collect();
        let mut clean = self.clean.lock();
        clean.retain(|name, _| dirs.contains_key(name));
        let marks: Vec<_> = clean
            .iter()
            .filter_map(|(name, upto)| Some((name.clone(), dirs.get(name)?.clone(), *upto)))
            .collect();
        drop(clean);
        self.replicas.store().checkpoint(Checkpoint::Cleaner, &marks)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cleaning.busy.lock().remove(&self.partition.name);
    }
}
