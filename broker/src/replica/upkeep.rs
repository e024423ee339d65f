//! What is done from time to time: checkpoints, retention, and a look at who is in sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::clock;
use super::manager::{Replicas, discard};
use super::partition::Partition;
use crate::log::{Checkpoint, Error};
use crate::topic_partition::TopicPartition;

/// How often it is looked for logs that `flush.ms` wants synced.
const FLUSH_CHECK: Duration = Duration::from_secs(1);

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct UpkeepSettings {
    /// `replica.lag.time.max.ms`: twice in this time it is looked who is behind.
    pub lag_max: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermarks: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_points: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub starts: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention: Duration,
    /// `log.initial.task.delay.ms`.
    pub first_after: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
}

/// Which mark of a log is written down.
#[derive(Debug, Clone, Copy)]
enum Task {
    Shrink,
    HighWatermarks,
    Flush,
    RecoveryPoints,
    Starts,
    Retention,
}

/// Starts all that is done from time to time; it ends with the runtime.
pub fn start(replicas: &Arc<Replicas>, settings: UpkeepSettings) {
    let tasks = [
        (Task::Shrink, settings.lag_max / 2, settings.lag_max / 2),
        (Task::HighWatermarks, settings.high_watermarks, settings.high_watermarks),
        (Task::Flush, FLUSH_CHECK, FLUSH_CHECK),
        (Task::RecoveryPoints, settings.first_after, settings.recovery_points),
        (Task::Starts, settings.first_after, settings.starts),
        (Task::Retention, settings.first_after, settings.retention),
    ];
    for (task, first, period) in tasks {
        tokio::spawn(run(Arc::clone(replicas), task, first, period, settings));
    }
}

async fn run(
    replicas: Arc<Replicas>,
    task: Task,
    first: Duration,
    period: Duration,
    settings: UpkeepSettings,
) {
    let mut ticks = interval_at(Instant::now() + first, period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if matches!(task, Task::Shrink) {
            replicas.shrink();
            continue;
        }
        let of_task = Arc::clone(&replicas);
        let done = tokio::task::spawn_blocking(move || once(&of_task, task, settings)).await;
        if let Ok(Err(error)) = done {
            replicas.on_disk_error(&error);
        }
    }
}

fn once(replicas: &Replicas, task: Task, settings: UpkeepSettings) -> Result<(), Error> {
    match task {
        Task::Shrink => Ok(()),
        Task::HighWatermarks => checkpoint(replicas, Checkpoint::HighWatermark, Partition::high_watermark),
        Task::Flush => {
            let is_due =
                |partition: &Arc<Partition>| partition.with_log(|log| log.is_flush_due(clock::now().wall_ms));
            replicas.all().iter().filter(|it| is_due(it)).try_for_each(|partition| flush(partition, true))
        }
        Task::RecoveryPoints => {
            replicas.all().iter().try_for_each(|partition| flush(partition, false))?;
            let point = |partition: &Partition| partition.with_log(|log| log.recovery_point());
            checkpoint(replicas, Checkpoint::RecoveryPoint, point)
        }
        Task::Starts => {
            let start = |partition: &Partition| partition.with_log(|log| log.start_offset());
            checkpoint(replicas, Checkpoint::LogStart, start)
        }
        Task::Retention => replicas.all().iter().try_for_each(|partition| {
            partition
                .with_log(|log| log.expire_producers(settings.producer_expiration, clock::now().wall_ms));
            retain(partition)
        }),
    }
}

/// Syncs what has been appended, without holding the log meanwhile: closed segments, or all.
fn flush(partition: &Partition, with_active: bool) -> Result<(), Error> {
    let Some(flush) = partition.with_log(|log| log.unflushed(with_active)) else {
        return Ok(());
    };
    let done = flush.run();
    partition.with_log(|log| match &done {
        Ok(()) => log.flushed(&flush, clock::now().wall_ms),
        Err(_) => log.fail(),
    });
    done
}

fn checkpoint(replicas: &Replicas, which: Checkpoint, mark: impl Fn(&Partition) -> i64) -> Result<(), Error> {
    let of = |partition: Arc<Partition>| -> (TopicPartition, PathBuf, i64) {
        (partition.name.clone(), partition.with_log(|log| log.dir().to_owned()), mark(&partition))
    };
    let marks: Vec<_> = replicas.all().into_iter().map(of).collect();
    replicas.store().checkpoint(which, &marks)
}

/// Drops the segments whose time is over.
fn retain(partition: &Partition) -> Result<(), Error> {
    let high_watermark = partition.high_watermark();
    let now = clock::now().wall_ms;
    let (discarded, delay) = partition.with_log(|log| {
        let delay = log.config().file_delete_delay;
        log.apply_retention(high_watermark, now).map(|discarded| (discarded, delay))
    })?;
    if !discarded.is_empty() {
        info!(partition = %partition.name, "old segments dropped");
    }
    discard(delay, discarded);
    Ok(())
}

/// Writes everything down, for an orderly end.
pub fn finish(replicas: &Replicas, broker_epoch: i64) -> Result<(), Error> {
    for partition in replicas.all() {
        flush(&partition, true)?;
        if let Err(error) = partition.with_log(|log| log.close()) {
            warn!(partition = %partition.name, "not closed");
            return Err(error);
        }
    }
    checkpoint(replicas, Checkpoint::HighWatermark, Partition::high_watermark)?;
    checkpoint(replicas, Checkpoint::RecoveryPoint, |partition| {
        partition.with_log(|log| log.recovery_point())
    })?;
    checkpoint(replicas, Checkpoint::LogStart, |partition| partition.with_log(|log| log.start_offset()))?;
    replicas.store().mark_clean(broker_epoch)
}
