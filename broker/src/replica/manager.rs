//! All partitions of this broker, kept as the service says. Kafka's `ReplicaManager`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::clock;
use super::fetcher::{FetchSettings, Fetcher, Following};
use super::leading::IsrChange;
use super::partition::{Assignment, Partition};
use super::store::Store;
use crate::config::topic::TopicConfig;
use crate::log::{Discarded, Error};
use crate::metrics;
use crate::registry::id::random_id;
use crate::registry::image::{self, ClusterImage, Topic};
use crate::registry::payload::StatePayload;
use crate::registry::{IsrError, Registry};
use crate::topic_partition::{BrokerId, TopicPartition};

/// By topic, so that a request's names are looked up as they stand in it.
type Partitions = HashMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;

/// All partitions of this broker.
#[derive(Debug)]
pub struct Replicas {
    me: BrokerId,
    lag_max: Duration,
    fetching: FetchSettings,
    registry: Registry,
    store: Store,
    partitions: RwLock<Partitions>,
    /// The image that was applied last.
    applied: Mutex<Arc<ClusterImage>>,
    /// The same, for those who wait for it; before the first, the one at the start.
    shown: watch::Sender<Arc<ClusterImage>>,
    following: watch::Sender<Arc<Following>>,
    /// The first failure of a disk after which this broker must not go on.
    failure: watch::Sender<Option<String>>,
}

impl Replicas {
    /// Opens all logs, and follows and leads as the present image says.
    ///
    /// # Errors
    /// A log cannot be opened.
    pub fn open(
        registry: Registry,
        store: Store,
        fetching: FetchSettings,
        lag_max: Duration,
    ) -> Result<Arc<Self>, Error> {
        let image = registry.image();
        let me = fetching.me;
        let mut partitions = Partitions::new();
        for stored in store.load(me, &image, clock::now().wall_ms)? {
            let name = stored.name.clone();
            let partition = Partition::new(stored.name, me, lag_max, stored.log, stored.high_watermark);
            partitions.entry(name.topic).or_default().insert(name.partition, Arc::new(partition));
        }
        let replicas = Arc::new(Self {
            me,
            lag_max,
            fetching,
            registry,
            store,
            partitions: RwLock::new(partitions),
            applied: Mutex::default(),
            shown: watch::Sender::new(image),
            following: watch::Sender::new(Arc::default()),
            failure: watch::Sender::new(None),
        });
        Ok(replicas)
    }

    /// A partition of ours.
    ///
    /// # Errors
    /// It is another broker's, or there is none.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ResponseError> {
        if let Some(found) = self.partitions.read().get(topic).and_then(|topic| topic.get(&partition)) {
            return Ok(Arc::clone(found));
        }
        let is_known = |topic: &Arc<Topic>| topic.partitions.contains_key(&partition);
        let known = self.registry.image().topic(topic).is_some_and(is_known);
        Err(if known { ResponseError::NotLeaderOrFollower } else { ResponseError::UnknownTopicOrPartition })
    }

    /// All partitions of ours, in no order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The directories.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The first failure of a disk after which this broker must not go on.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// What a disk has done to us: without room the rest may go on, all else ends the broker.
    pub fn on_disk_error(&self, error: &Error) {
        if matches!(error, Error::Full { .. }) {
            warn!(error = error as &dyn std::error::Error, "a disk is full");
            return;
        }
        error!(error = error as &dyn std::error::Error, "a disk has failed");
        let cause = error.to_string();
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(cause);
            is_first
        });
    }
}

/// What the service says.
impl Replicas {
    /// Applies every image that comes, until the registry is gone.
    pub async fn follow_images(self: Arc<Self>) {
        let mut images = self.registry.images();
        loop {
            images.mark_unchanged();
            let image = self.registry.image();
            // Logs are made and opened on the way.
            let replicas = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || replicas.apply(&image)).await.is_err() {
                return;
            }
            if images.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes on what `image` gives to this broker, and gives up what it takes away.
    pub fn apply(self: &Arc<Self>, image: &Arc<ClusterImage>) {
        let mut applied = self.applied.lock();
        for (name, topic) in &*image.topics {
            let is_known = applied.topics.get(name).is_some_and(|known| Arc::ptr_eq(known, topic));
            let is_configured = applied.topic_configs.get(name) == image.topic_configs.get(name)
                && Arc::ptr_eq(&applied.broker_configs, &image.broker_configs);
            if !is_known || !is_configured {
                self.apply_topic(image, topic, is_configured);
            }
        }
        self.give_up(image);
        *applied = Arc::clone(image);
        drop(applied);
        self.follow();
        self.shown.send_replace(Arc::clone(image));
    }

    /// The cluster, but of its topics no more than this broker has taken on: what is shown to be led here is led here.
    /// Clients that were told earlier would be refused, and what they send without asking for an answer be lost.
    pub fn image(&self) -> Arc<ClusterImage> {
        let (latest, shown) = (self.registry.image(), self.shown.borrow());
        if Arc::ptr_eq(&latest, &shown) {
            return latest;
        }
        Arc::new(ClusterImage {
            topics: Arc::clone(&shown.topics),
            topic_names: Arc::clone(&shown.topic_names),
            ..(*latest).clone()
        })
    }

    /// Waits until what [`Replicas::image`] shows is wanted; tells whether that came within `limit`.
    pub async fn await_image(
        &self,
        limit: Duration,
        mut is_wanted: impl FnMut(&ClusterImage) -> bool,
    ) -> bool {
        let mut shown = self.shown.subscribe();
        let wanted = shown.wait_for(|image| is_wanted(image));
        tokio::time::timeout(limit, wanted).await.is_ok_and(|wanted| wanted.is_ok())
    }

    fn apply_topic(&self, image: &ClusterImage, topic: &Topic, is_configured: bool) {
        let config = self.store.topic_config(image, &topic.name);
        for (number, partition) in &topic.partitions {
            if !partition.replicas.contains(&self.me) {
                continue;
            }
            let name = TopicPartition::new(Arc::clone(&topic.name), *number);
            if let Err(error) = self.apply_partition(&name, topic.id, partition, &config, is_configured) {
                warn!(partition = %name, "not taken on");
                self.on_disk_error(&error);
            }
        }
    }

    fn apply_partition(
        &self,
        name: &TopicPartition,
        topic_id: Option<Uuid>,
        partition: &image::Partition,
        config: &Arc<TopicConfig>,
        is_configured: bool,
    ) -> Result<(), Error> {
        let Some(state) = &partition.state else {
            return Ok(()); // The controller has not come to it.
        };
        let now = clock::now();
        let ours = match self.ours(name, topic_id)? {
            Some(ours) => ours,
            None => {
                let log =
                    self.store.create(name, topic_id, Arc::clone(config), &self.counts(), now.wall_ms)?;
                let ours = Arc::new(Partition::new(name.clone(), self.me, self.lag_max, log, 0));
                let mut partitions = self.partitions.write();
                partitions
                    .entry(Arc::clone(&name.topic))
                    .or_default()
                    .insert(name.partition, Arc::clone(&ours));
                ours
            }
        };
        if !is_configured {
            ours.with_log(|log| log.set_config(Arc::clone(config)));
        }
        let assignment = Assignment {
            leader: state.leader,
            epoch: state.leader_epoch,
            version: state.version,
            replicas: &partition.replicas,
            isr: &state.isr,
        };
        ours.assign(&assignment, now)
    }

    /// The partition, if it is of this topic and not of one that had its name before.
    fn ours(&self, name: &TopicPartition, topic_id: Option<Uuid>) -> Result<Option<Arc<Partition>>, Error> {
        let found =
            self.partitions.read().get(&name.topic).and_then(|topic| topic.get(&name.partition)).cloned();
        let Some(found) = found else {
            return Ok(None);
        };
        let stored = found.with_log(|log| log.topic_id());
        if topic_id.zip(stored).is_none_or(|(known, stored)| known == stored) {
            return Ok(Some(found));
        }
        self.remove(&found)?;
        Ok(None)
    }

    /// Gives up what the cluster does not have here any more.
    fn give_up(&self, image: &ClusterImage) {
        let is_here = |name: &TopicPartition| {
            image.partition(name).is_some_and(|partition| partition.replicas.contains(&self.me))
        };
        for partition in self.all().iter().filter(|partition| !is_here(&partition.name)) {
            if let Err(error) = self.remove(partition) {
                self.on_disk_error(&error);
            }
        }
    }

    fn remove(&self, partition: &Partition) -> Result<(), Error> {
        partition.leave();
        let TopicPartition { topic, partition: number } = &partition.name;
        let mut partitions = self.partitions.write();
        if let Some(of_topic) = partitions.get_mut(topic) {
            of_topic.remove(number);
            if of_topic.is_empty() {
                partitions.remove(topic);
            }
        }
        drop(partitions);
        let (doomed, delay) =
            partition.with_log(|log| (log.delete(random_id()), log.config().file_delete_delay));
        let doomed = doomed?;
        info!(partition = %partition.name, dir = %doomed.display(), "given up, to be removed");
        remove_later(delay, move || crate::log::remove_dir(&doomed));
        Ok(())
    }

    fn counts(&self) -> HashMap<PathBuf, usize> {
        let mut counts = HashMap::new();
        for partition in self.all() {
            if let Some(dir) = partition.with_log(|log| log.dir().parent().map(PathBuf::from)) {
                *counts.entry(dir).or_default() += 1;
            }
        }
        counts
    }

    /// Has what we follow fetched from whoever leads it.
    fn follow(&self) {
        let mut following = Following::new();
        for partition in self.all() {
            if let Some(leader) = partition.leader().filter(|leader| *leader != self.me) {
                following.entry(leader).or_default().push(partition);
            }
        }
        for partitions in following.values_mut() {
            partitions.sort_by(|one, other| one.name.cmp(&other.name));
        }
        let following = Arc::new(following);
        let before = self.following.send_replace(Arc::clone(&following));
        for leader in following.keys().filter(|leader| !before.contains_key(leader)) {
            let receiver = self.following.subscribe();
            let fetcher = Fetcher::new(*leader, self.fetching.clone(), self.registry.clone(), receiver);
            tokio::spawn(fetcher.run());
        }
    }
}

/// Who is in sync.
impl Replicas {
    /// `follower` has just told how far it is: if it is in sync now, the service is told.
    pub fn consider_expansion(self: &Arc<Self>, partition: &Arc<Partition>, follower: BrokerId) {
        // Who is not registered now may be one that has just died, and must not be waited for.
        if let Some(change) = partition.begin_expansion(follower, || self.registry.image().is_alive(follower))
        {
            self.change_isr(Arc::clone(partition), change);
        }
    }

    /// Has those out of sync who have been behind for too long.
    pub fn shrink(self: &Arc<Self>) {
        for partition in self.all() {
            if let Some(change) = partition.begin_shrinking(clock::now()) {
                self.change_isr(partition, change);
            }
        }
    }

    /// At most one of each partition is on its way at a time.
    fn change_isr(self: &Arc<Self>, partition: Arc<Partition>, change: IsrChange) {
        let replicas = Arc::clone(self);
        tokio::spawn(async move {
            let before = replicas.registry.image().state(&partition.name).map_or(0, |state| state.isr.len());
            let version = replicas.try_change_isr(&partition, &change).await;
            metrics::isr_changed(before, version.map(|_| change.isr.len()));
            partition.end_change(&change, version, clock::now());
        });
    }

    /// The state's new version, if the service has taken the change.
    async fn try_change_isr(&self, partition: &Partition, change: &IsrChange) -> Option<i32> {
        let name = &partition.name;
        let known = self.registry.image().state(name).cloned();
        let Some(known) = known.filter(|known| known.version == change.version) else {
            debug!(partition = %name, "the partition's state has changed meanwhile");
            return None;
        };
        let state = StatePayload {
            leader: Some(self.me),
            leader_epoch: change.epoch,
            isr: change.isr.clone(),
            controller_epoch: known.controller_epoch,
            recovering: false,
        };
        match self.registry.change_isr(name, &state, change.version).await {
            Ok(state) => {
                info!(partition = %name, epoch = change.epoch, from = ?known.isr, to = ?change.isr, "replicas in sync");
                Some(state.version)
            }
            Err(IsrError::Stale) => {
                debug!(partition = %name, "the partition's state has changed meanwhile");
                None
            }
            Err(IsrError::Service(error)) => {
                warn!(partition = %name, %error, "replicas in sync not changed");
                None
            }
        }
    }
}

/// Removes files that are no part of a log any more, once nobody reads them.
pub(super) fn discard(delay: std::time::Duration, discarded: Discarded) {
    if !discarded.is_empty() {
        remove_later(delay, move || discarded.remove());
    }
}

fn remove_later(delay: std::time::Duration, remove: impl FnOnce() -> Result<(), Error> + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let removed = tokio::task::spawn_blocking(remove).await;
        if let Ok(Err(error)) = removed {
            warn!(error = &error as &dyn std::error::Error, "not removed: the next start will");
        }
    });
}
