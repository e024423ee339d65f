//! The rim of the groups: who coordinates which of them, and everything that waits.
//!
//! Each partition of `__consumer_offsets` that this broker leads has a [`Shard`] behind a mutex, and a task. A request
//! is a step of the shard under its mutex, a matter of microseconds, made by whoever serves the request: so a
//! heartbeat costs no hop to another task. What has to wait, waits on a channel of its own. The task does what takes
//! time: it reads the partition when it becomes ours, appends what the shard wants written, and ticks.
//!
//! Of a partition one append is under way at a time. What comes in meanwhile goes into the next batch, so that their
//! order is that of the steps, and many commits cost one round of replication.

mod serving;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::input::{
    Answer, Caller, Commit, Join, JoinRefused, Joined, Leaver, Now, OffsetOutcomes, SyncRequest, Synced,
    Token,
};
use super::limits::GroupLimits;
use super::records::STRING_BYTES_MAX;
use super::shard::{FetchedOffset, GroupLine, Shard, ShardOutputs, partition_of};
use super::state::{GroupDescription, GroupState};
use crate::TopicPartition;
use crate::registry::ClusterImage;
use crate::registry::clock::now_ms;
use crate::topic_partition::BrokerId;

/// The topic that is the log of the groups.
pub use crate::registry::admin::OFFSETS_TOPIC;
use serving::{Phase, Served};
pub use storage::{AppendBatch, OffsetsLog, ReadBatches};

/// The groups of this broker. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct GroupCoordinator(Arc<Inner>);

struct Inner {
    limits: Arc<GroupLimits>,
    log: OffsetsLog,
    clock: Clock,
    tokens: AtomicU64,
    /// Of [`OFFSETS_TOPIC`].
    partitions: AtomicI32,
    led: Mutex<BTreeMap<i32, Arc<Served>>>,
    /// The last image we were shown.
    image: Mutex<ClusterImage>,
    closed: AtomicBool,
}

/// Where a [`Now`] comes from.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        Now { monotonic: self.started.elapsed(), wall_ms: now_ms() }
    }
}

/// A list of groups, and whether some are still being loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupList {
    /// Those whose state was asked for.
    pub groups: Vec<GroupLine>,
    /// There may be more.
    pub is_loading: bool,
}

impl GroupCoordinator {
    /// A coordinator of no groups yet, which keeps them in `log`.
    pub fn new(limits: GroupLimits, log: OffsetsLog) -> Self {
        let partitions = AtomicI32::new(limits.offsets_partitions.max(1));
        Self(Arc::new(Inner {
            limits: Arc::new(limits),
            log,
            clock: Clock { started: Instant::now() },
            tokens: AtomicU64::new(0),
            partitions,
            led: Mutex::new(BTreeMap::new()),
            image: Mutex::new(ClusterImage::default()),
            closed: AtomicBool::new(false),
        }))
    }

    /// Follows the cluster: becomes the coordinator of what `me` leads of [`OFFSETS_TOPIC`], lets go of the rest, and
    /// forgets how far topics were read that are no more. Call it from a runtime.
    ///
    /// The replicas need not have heard of it yet: a partition that cannot be read is tried again.
    pub fn on_image(&self, image: &ClusterImage, me: BrokerId) {
        if let Some(topic) = image.topic(OFFSETS_TOPIC) {
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.0.partitions.store(partitions.max(1), Ordering::Relaxed);
        }
        let led = led_epochs(image, me);
        let kept: Vec<i32> = self.0.led.lock().keys().copied().collect();
        for partition in kept.into_iter().filter(|partition| !led.contains_key(partition)) {
            self.resign(partition);
        }
        for (partition, epoch) in led {
            self.become_leader(partition, epoch);
        }
        let before = std::mem::replace(&mut *self.0.image.lock(), image.clone());
        for topic in deleted_topics(&before, image) {
            self.forget_topic(&topic);
        }
    }

    /// This broker leads `partition` of [`OFFSETS_TOPIC`] since `epoch`: loads its groups. Call it from a runtime.
    ///
    /// If it did already, one epoch before, nobody else can have led in between, and the groups stay as they are.
    #[doc(alias = "onElection")]
    pub fn become_leader(&self, partition: i32, epoch: i32) {
        let mut led = self.0.led.lock();
        if self.0.closed.load(Ordering::Acquire) {
            return;
        }
        if let Some(served) = led.get(&partition) {
            let known = served.epoch.load(Ordering::Acquire);
            if epoch <= known {
                return;
            }
            if epoch == known.wrapping_add(1) {
                served.epoch.store(epoch, Ordering::Release);
                return;
            }
            served.end();
        }
        let served = Arc::new(Served::new(partition, epoch));
        led.insert(partition, Arc::clone(&served));
        let work = served.run(Arc::clone(&self.0.limits), self.0.log.clone(), self.0.clock);
        tokio::spawn(work);
    }

    /// This broker no longer leads `partition`: whoever waits for its groups is sent elsewhere.
    #[doc(alias = "onResignation")]
    pub fn resign(&self, partition: i32) {
        if let Some(served) = self.0.led.lock().remove(&partition) {
            served.end();
        }
    }

    /// The broker ends: as [`resign`](Self::resign) for all partitions, and no new ones.
    pub fn close(&self) {
        let mut led = self.0.led.lock();
        self.0.closed.store(true, Ordering::Release);
        for (_, served) in std::mem::take(&mut *led) {
            served.end();
        }
    }

    /// Which partition of [`OFFSETS_TOPIC`] is `group`'s.
    pub fn partition_of(&self, group: &str) -> i32 {
        partition_of(group, self.0.partitions.load(Ordering::Relaxed))
    }

    /// The wall clock that offsets are dated by, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now().wall_ms
    }

    /// See [`Group::join`](super::Group::join).
    ///
    /// # Errors
    /// With the code for the client, and the id it is to join with.
    pub async fn join(&self, group: &Arc<str>, join: Join) -> Result<Joined, JoinRefused> {
        let member_id = Arc::clone(&join.member_id);
        let step = |shard: &mut Shard, token, now, out: &mut ShardOutputs| {
            shard.join(group, token, join, now, out);
        };
        let answer = match named(group) {
            Ok(()) => self.parked(group, step).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Answer::Join(answer)) => answer,
            Ok(_) => Err(JoinRefused { error: ResponseError::UnknownServerError, member_id }),
            Err(error) => Err(JoinRefused { error, member_id }),
        }
    }

    /// See [`Group::sync`](super::Group::sync).
    ///
    /// # Errors
    /// With the code for the client. While the groups are being loaded, that it is to join again: that generation's
    /// rebalance is lost, and clients do not expect to hear of loading here.
    pub async fn sync(&self, group: &Arc<str>, sync: SyncRequest) -> Result<Synced, ResponseError> {
        named(group)?;
        let step = |shard: &mut Shard, token, now, out: &mut ShardOutputs| {
            shard.sync(group, token, sync, now, out);
        };
        match self.parked(group, step).await {
            Ok(Answer::Sync(answer)) => answer,
            Ok(_) => Err(ResponseError::UnknownServerError),
            Err(ResponseError::CoordinatorLoadInProgress) => Err(ResponseError::RebalanceInProgress),
            Err(error) => Err(error),
        }
    }

    /// See [`Group::heartbeat`](super::Group::heartbeat). While the groups are being loaded, all is well.
    ///
    /// # Errors
    /// With the code for the client.
    pub fn heartbeat(&self, group: &Arc<str>, caller: &Caller) -> Result<(), ResponseError> {
        named(group)?;
        match self.step(group, |shard, now, _| shard.heartbeat(group, caller, now)) {
            Err(ResponseError::CoordinatorLoadInProgress) => Ok(()),
            answer => answer?,
        }
    }

    /// See [`Group::leave`](super::Group::leave).
    ///
    /// # Errors
    /// With the code for the client, if nobody can leave now.
    pub fn leave(
        &self,
        group: &Arc<str>,
        leavers: &[Leaver],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        named(group)?;
        self.step(group, |shard, now, out| shard.leave(group, leavers, now, out))?
    }

    /// See [`Group::commit`](super::Group::commit).
    ///
    /// # Errors
    /// With the code for the client, if it is about the group as a whole.
    pub async fn commit(&self, group: &Arc<str>, commit: Commit) -> Result<OffsetOutcomes, ResponseError> {
        let step = |shard: &mut Shard, token, now, out: &mut ShardOutputs| {
            shard.commit(group, token, commit, now, out);
        };
        match self.parked(group, step).await? {
            Answer::Offsets(outcomes) => outcomes,
            _ => Err(ResponseError::UnknownServerError),
        }
    }

    /// How far a group has got: in `partitions`, or wherever it has got anywhere.
    ///
    /// # Errors
    /// With the code for the client.
    pub fn offsets(
        &self,
        group: &Arc<str>,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Result<Vec<FetchedOffset>, ResponseError> {
        self.step(group, |shard, _, _| shard.offsets(group, partitions, require_stable))
    }

    /// See [`Group::delete_offsets`](super::Group::delete_offsets).
    ///
    /// # Errors
    /// With the code for the client, if it is about the group as a whole.
    pub async fn delete_offsets(
        &self,
        group: &Arc<str>,
        partitions: Vec<TopicPartition>,
    ) -> Result<OffsetOutcomes, ResponseError> {
        named(group)?;
        let step = |shard: &mut Shard, token, now, out: &mut ShardOutputs| {
            shard.delete_offsets(group, token, partitions, now, out);
        };
        match self.parked(group, step).await? {
            Answer::Offsets(outcomes) => outcomes,
            _ => Err(ResponseError::UnknownServerError),
        }
    }

    /// See [`Group::delete`](super::Group::delete).
    ///
    /// # Errors
    /// With the code for the client.
    pub async fn delete(&self, group: &Arc<str>) -> Result<(), ResponseError> {
        let step = |shard: &mut Shard, token, now, out: &mut ShardOutputs| {
            shard.delete(group, token, now, out);
        };
        match self.parked(group, step).await? {
            Answer::Deleted(answer) => answer,
            _ => Err(ResponseError::UnknownServerError),
        }
    }

    /// Who is in a group and what they do.
    ///
    /// # Errors
    /// With the code for the client.
    pub fn describe(&self, group: &Arc<str>) -> Result<GroupDescription, ResponseError> {
        self.step(group, |shard, _, _| shard.describe(group))
    }

    /// The groups that are in a state that is wanted.
    pub fn list(&self, is_wanted: impl Fn(GroupState) -> bool) -> GroupList {
        let mut list = GroupList { groups: Vec::new(), is_loading: false };
        for served in self.served() {
            match &*served.phase.lock() {
                Phase::Loading => list.is_loading = true,
                Phase::Ended => {}
                Phase::Serving(serving) => {
                    list.groups.extend(serving.shard.list().filter(|line| is_wanted(line.state)));
                }
            }
        }
        list
    }

    fn forget_topic(&self, topic: &str) {
        for served in self.served() {
            // One that is being loaded forgets it when its offsets are too old.
            let _ = served.step(self.0.clock.now(), |shard, now, out| shard.forget_topic(topic, now, out));
        }
    }

    fn served(&self) -> Vec<Arc<Served>> {
        self.0.led.lock().values().cloned().collect()
    }

    /// A step of the shard in which `group` is.
    fn step<T>(
        &self,
        group: &str,
        step: impl FnOnce(&mut Shard, Now, &mut ShardOutputs) -> T,
    ) -> Result<T, ResponseError> {
        self.find(group)?.step(self.0.clock.now(), step)
    }

    /// A step whose answer may come later.
    async fn parked(
        &self,
        group: &str,
        step: impl FnOnce(&mut Shard, Token, Now, &mut ShardOutputs),
    ) -> Result<Answer, ResponseError> {
        let (sender, answer) = oneshot::channel();
        let token = Token(self.0.tokens.fetch_add(1, Ordering::Relaxed));
        let now = self.0.clock.now();
        self.find(group)?.step_with(token, sender, now, |shard, now, out| step(shard, token, now, out))?;
        answer.await.map_err(|_| ResponseError::NotCoordinator)
    }

    fn find(&self, group: &str) -> Result<Arc<Served>, ResponseError> {
        if group.len() > STRING_BYTES_MAX {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.0.closed.load(Ordering::Acquire) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let partition = self.partition_of(group);
        self.0.led.lock().get(&partition).cloned().ok_or(ResponseError::NotCoordinator)
    }
}

/// Groups that have members must have a name. Offsets may be kept under none, as they could before there was one.
#[doc(alias = "isValidGroupId")]
fn named(group: &str) -> Result<(), ResponseError> {
    if group.is_empty() { Err(ResponseError::InvalidGroupId) } else { Ok(()) }
}

/// What `me` leads of [`OFFSETS_TOPIC`], and since which epochs.
fn led_epochs(image: &ClusterImage, me: BrokerId) -> BTreeMap<i32, i32> {
    let Some(topic) = image.topic(OFFSETS_TOPIC) else { return BTreeMap::new() };
    let states = topic.partitions.iter().filter_map(|(id, partition)| Some((*id, partition.state.as_ref()?)));
    states.filter(|(_, state)| state.leader == Some(me)).map(|(id, state)| (id, state.leader_epoch)).collect()
}

/// Topics of which there is none any more, or another one of the same name.
fn deleted_topics(before: &ClusterImage, after: &ClusterImage) -> Vec<Arc<str>> {
    if Arc::ptr_eq(&before.topics, &after.topics) {
        return Vec::new();
    }
    let is_deleted = |name: &Arc<str>, id| after.topic(name).is_none_or(|topic| topic.id != id);
    let deleted = before.topics.iter().filter(|(name, topic)| is_deleted(name, topic.id));
    deleted.map(|(name, _)| Arc::clone(name)).collect()
}
