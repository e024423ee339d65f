//! One partition: its shard, those who wait, and the task that reads, writes and keeps time for it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::Clock;
use super::storage::{OffsetsLog, apply_batches, batch_of};
use crate::group::input::{Answer, Now, Token};
use crate::group::limits::GroupLimits;
use crate::group::shard::{Receipt, Shard, ShardLoad, ShardOutputs, ShardWrite};

/// Groups' writes go into one batch up to this size; a larger one goes alone, to fail alone if it is too large.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// How long a partition that cannot be read or written is left alone.
const RETRY: Duration = Duration::from_millis(50);

/// A partition of which this broker is the coordinator.
pub(super) struct Served {
    partition: i32,
    /// Since when we lead it; what is appended says so.
    pub(super) epoch: AtomicI32,
    pub(super) phase: Mutex<Phase>,
    /// There is something to append.
    to_append: Notify,
    /// There may be something to do earlier than was thought.
    to_tick: Notify,
    ended: CancellationToken,
}

pub(super) enum Phase {
    Loading,
    Serving(Box<Serving>),
    /// No longer ours.
    Ended,
}

pub(super) struct Serving {
    pub(super) shard: Shard,
    /// Bounded by the members of the groups and by what clients have under way.
    waiting: HashMap<Token, oneshot::Sender<Answer>>,
    /// Bounded by the shard.
    queue: VecDeque<ShardWrite>,
    /// When the task is going to tick.
    tick_at: Duration,
}

impl Served {
    pub(super) fn new(partition: i32, epoch: i32) -> Self {
        Self {
            partition,
            epoch: AtomicI32::new(epoch),
            phase: Mutex::new(Phase::Loading),
            to_append: Notify::new(),
            to_tick: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    /// The partition is no longer ours. All who wait are told so.
    pub(super) fn end(&self) {
        self.ended.cancel();
        let phase = std::mem::replace(&mut *self.phase.lock(), Phase::Ended);
        if let Phase::Serving(serving) = phase {
            let Serving { shard, mut waiting, .. } = *serving;
            let mut out = ShardOutputs::default();
            shard.unload(&mut out);
            answer(&mut waiting, out.answers);
        }
        tracing::info!(partition = self.partition, "no longer coordinator of the groups of this partition");
    }

    /// Lets the shard make a step.
    pub(super) fn step<T>(
        &self,
        now: Now,
        step: impl FnOnce(&mut Shard, Now, &mut ShardOutputs) -> T,
    ) -> Result<T, ResponseError> {
        self.in_serving(|serving| {
            let mut out = ShardOutputs::default();
            let result = step(&mut serving.shard, now, &mut out);
            self.follow_up(serving, out);
            result
        })
    }

    /// Lets the shard make a step whose answer is for `token` and goes to `sender`.
    pub(super) fn step_with(
        &self,
        token: Token,
        sender: oneshot::Sender<Answer>,
        now: Now,
        step: impl FnOnce(&mut Shard, Now, &mut ShardOutputs),
    ) -> Result<(), ResponseError> {
        self.in_serving(|serving| {
            let mut out = ShardOutputs::default();
            step(&mut serving.shard, now, &mut out);
            serving.waiting.insert(token, sender);
            self.follow_up(serving, out);
        })
    }

    fn in_serving<T>(&self, f: impl FnOnce(&mut Serving) -> T) -> Result<T, ResponseError> {
        match &mut *self.phase.lock() {
            Phase::Serving(serving) => Ok(f(serving)),
            Phase::Loading => Err(ResponseError::CoordinatorLoadInProgress),
            Phase::Ended => Err(ResponseError::NotCoordinator),
        }
    }

    /// Sends the answers, and tells the task of what is to be done.
    fn follow_up(&self, serving: &mut Serving, out: ShardOutputs) {
        answer(&mut serving.waiting, out.answers);
        if !out.writes.is_empty() {
            serving.queue.extend(out.writes);
            self.to_append.notify_one();
        }
        if serving.shard.deadline() < serving.tick_at {
            self.to_tick.notify_one();
        }
    }

    /// The task of the partition: from its first record until it is no longer ours.
    pub(super) fn run(
        self: Arc<Self>,
        limits: Arc<GroupLimits>,
        log: OffsetsLog,
        clock: Clock,
    ) -> impl Future<Output = ()> + Send + 'static {
        let ended = self.ended.clone();
        async move {
            let commit_timeout = limits.commit_timeout;
            let work = async {
                self.load(&log, limits, clock).await;
                tokio::join!(self.append_all(&log, commit_timeout, clock), self.tick_all(clock));
            };
            ended.run_until_cancelled(work).await;
        }
    }

    async fn load(&self, log: &OffsetsLog, limits: Arc<GroupLimits>, clock: Clock) {
        let loaded = loop {
            match self.read_all(log).await {
                Ok(loaded) => break loaded,
                Err(error) => tracing::debug!(partition = self.partition, %error, "groups not loaded yet"),
            }
            time::sleep(RETRY).await;
        };
        let unread = loaded.unread();
        let mut out = ShardOutputs::default();
        let shard = loaded.finish(limits, clock.now(), &mut out);
        let groups = shard.list().count();
        tracing::info!(
            partition = self.partition,
            groups,
            unread,
            "coordinator of the groups of this partition"
        );

        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Loading) {
            let mut serving =
                Serving { shard, waiting: HashMap::new(), queue: VecDeque::new(), tick_at: Duration::MAX };
            self.follow_up(&mut serving, out);
            *phase = Phase::Serving(Box::new(serving));
        }
    }

    async fn read_all(&self, log: &OffsetsLog) -> Result<ShardLoad, ResponseError> {
        let mut load = ShardLoad::default();
        let mut batches = (log.read)(self.partition, self.epoch.load(Ordering::Acquire));
        while let Some(bytes) = batches.next().await {
            apply_batches(&bytes?, &mut load).map_err(|flaw| {
                tracing::error!(partition = self.partition, %flaw, "groups cannot be loaded");
                ResponseError::CorruptMessage
            })?;
        }
        Ok(load)
    }

    async fn append_all(&self, log: &OffsetsLog, commit_timeout: Duration, clock: Clock) {
        loop {
            let Some((receipts, fate)) = self.append_next(log, commit_timeout, clock).await else {
                self.to_append.notified().await;
                continue;
            };
            let tell = |shard: &mut Shard, now, out: &mut ShardOutputs| {
                for receipt in &receipts {
                    shard.written(receipt, fate, now, out);
                }
            };
            if self.step(clock.now(), tell).is_err() {
                return;
            }
        }
    }

    /// Appends what is at the head of the queue; `None` if there is nothing.
    async fn append_next(
        &self,
        log: &OffsetsLog,
        commit_timeout: Duration,
        clock: Clock,
    ) -> Option<(Vec<Receipt>, Result<(), ResponseError>)> {
        let writes = self.in_serving(|serving| next_batch(&mut serving.queue)).ok()?;
        if writes.is_empty() {
            return None;
        }
        let append = self.append(log, &writes, clock);
        let fate = time::timeout(commit_timeout, append).await;
        let receipts = writes.into_iter().map(|write| write.receipt).collect();
        Some((receipts, fate.unwrap_or(Err(ResponseError::RequestTimedOut))))
    }

    /// Appends, again and again while the replica does not know the epoch in which it leads, or knows a newer one than
    /// we do. Whoever has really lost the partition [ends](Self::end) meanwhile. What was appended twice says the same
    /// twice.
    async fn append(
        &self,
        log: &OffsetsLog,
        writes: &[ShardWrite],
        clock: Clock,
    ) -> Result<(), ResponseError> {
        loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            let records = writes.iter().flat_map(|write| &write.records);
            let batch = batch_of(records, epoch, clock.now().wall_ms)
                .map_err(|_| ResponseError::RecordListTooLarge)?;
            match (log.append)(self.partition, epoch, batch).await {
                Err(ResponseError::NotLeaderOrFollower) => time::sleep(RETRY).await,
                fate => return fate,
            }
        }
    }

    async fn tick_all(&self, clock: Clock) {
        loop {
            let next = self.in_serving(|serving| {
                serving.tick_at = serving.shard.deadline();
                serving.tick_at
            });
            let Ok(next) = next else { return };
            tokio::select! {
                () = time::sleep_until(clock.started + next) => {
                    if self.step(clock.now(), Shard::tick).is_err() {
                        return;
                    }
                }
                () = self.to_tick.notified() => {}
            }
        }
    }
}

/// Takes from the head of `queue` what goes into one batch.
fn next_batch(queue: &mut VecDeque<ShardWrite>) -> Vec<ShardWrite> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(write) = queue.front() {
        bytes += write.receipt.bytes;
        if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
            break;
        }
        batch.extend(queue.pop_front());
    }
    batch
}

fn answer(waiting: &mut HashMap<Token, oneshot::Sender<Answer>>, answers: Vec<(Token, Answer)>) {
    for (token, answer) in answers {
        if let Some(sender) = waiting.remove(&token) {
            // Whoever asked may have gone.
            let _ = sender.send(answer);
        }
    }
}
