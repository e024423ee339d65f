//! The log directories, and what is done to all that stands in them: opened at the start, checkpointed as time goes by,
//! signed off at the end. Kafka's `LogManager`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::config::topic::{Layers, TopicConfig};
use crate::log::{Checkpoint, Error, Found, Log, LogDir, Recovery, remove_dir};
use crate::registry::ClusterImage;
use crate::registry::id::random_id;
use crate::registry::image::Topic;
use crate::registry::paths::DEFAULT_ENTITY;
use crate::topic_partition::{BrokerId, TopicPartition};

/// The log directories, taken for this process.
#[derive(Debug)]
pub struct Store {
    config: Arc<BrokerConfig>,
    dirs: Vec<LogDir>,
}

/// A log that was there at the start.
#[derive(Debug)]
pub struct Stored {
    /// Whose.
    pub name: TopicPartition,
    /// Itself.
    pub log: Log,
    /// As it was last written down; 0 where it was not.
    pub high_watermark: i64,
}

/// What is written down of each log from time to time.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// Records before it are safe.
    pub high_watermark: i64,
    /// Records before it are synced.
    pub recovery_point: i64,
    /// Records before it are deleted.
    pub start: i64,
}

impl Store {
    /// Takes the directories.
    ///
    /// # Errors
    /// One is another process's, or the disk refuses.
    pub fn open(config: Arc<BrokerConfig>) -> Result<Self, Error> {
        let dirs = config.log_dirs.iter().map(|path| LogDir::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { config, dirs })
    }

    /// The broker's number as the directories have it, if they have seen one.
    ///
    /// # Errors
    /// What stands there cannot be read.
    pub fn broker_id(&self) -> Result<Option<BrokerId>, Error> {
        for dir in &self.dirs {
            if let Some((id, _)) = dir.identity()? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Compares the directories with who uses them now.
    ///
    /// # Errors
    /// One is another broker's, or of another cluster.
    pub fn claim(&self, me: BrokerId, cluster_id: &str) -> Result<(), Error> {
        self.dirs.iter().try_for_each(|dir| dir.claim(me, cluster_id))
    }

    /// Opens the logs of all partitions that `image` gives to `me`; others are put aside, and never removed.
    ///
    /// # Errors
    /// A log cannot be opened.
    pub fn load(&self, me: BrokerId, image: &ClusterImage, now_ms: i64) -> Result<Vec<Stored>, Error> {
        let mut all = Vec::new();
        for dir in &self.dirs {
            let watermarks = Checkpoint::HighWatermark.read(dir.path())?;
            let recovery_points = Checkpoint::RecoveryPoint.read(dir.path())?;
            let starts = Checkpoint::LogStart.read(dir.path())?;
            for found in dir.list()? {
                let (name, path) = match found {
                    Found::Partition(name, path) => (name, path),
                    Found::Doomed(path) => {
                        remove_dir(&path)?;
                        continue;
                    }
                    Found::Stray(_) => continue,
                };
                let of = |marks: &BTreeMap<TopicPartition, i64>| marks.get(&name).copied().unwrap_or(0);
                let (recovery_point, start_offset) = (of(&recovery_points), of(&starts));
                let recovery = Recovery { clean: dir.was_clean(), recovery_point, start_offset };
                let log = Log::open(&path, self.topic_config(image, &name.topic), recovery, now_ms)?;
                if is_ours(me, image, &name, &log) {
                    all.push(Stored { high_watermark: of(&watermarks), name, log });
                } else {
                    drop(log);
                    let aside = dir.put_aside(&path, random_id())?;
                    warn!(partition = %name, dir = %aside.display(), "put aside: the cluster does not have it here");
                }
            }
        }
        info!(partitions = all.len(), "logs opened");
        Ok(all)
    }

    /// Makes a log for a partition that has none here, in the directory that has the fewest.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn create(
        &self,
        name: &TopicPartition,
        topic_id: Option<Uuid>,
        config: Arc<TopicConfig>,
        counts: &HashMap<PathBuf, usize>,
        now_ms: i64,
    ) -> Result<Log, Error> {
        let count = |dir: &&LogDir| counts.get(dir.path()).copied().unwrap_or(0);
        let dir = self.dirs.iter().min_by_key(count).expect("the configuration has a directory at least");
        let path = dir.create_partition(name, topic_id)?;
        Log::open(&path, config, Recovery { clean: true, ..Recovery::default() }, now_ms)
    }

    /// Writes one kind of mark down, for all logs.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn checkpoint(
        &self,
        which: Checkpoint,
        marks: &[(TopicPartition, PathBuf, i64)],
    ) -> Result<(), Error> {
        self.dirs.iter().try_for_each(|dir| {
            let of_dir = marks.iter().filter(|(_, log, _)| log.parent() == Some(dir.path()));
            which.write(dir.path(), of_dir.map(|(name, _, mark)| (name, *mark)))
        })
    }

    /// Says that all is on disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        self.dirs.iter().try_for_each(|dir| dir.mark_clean(broker_epoch))
    }

    /// The directories' paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(LogDir::path)
    }

    /// What `topic` is configured with: what the service says, on top of the broker's own. What makes no sense in the
    /// service is passed over as a whole, loudly.
    pub fn topic_config(&self, image: &ClusterImage, topic: &str) -> Arc<TopicConfig> {
        let own = image.topic_config(topic);
        let all_brokers = image.broker_configs.get(DEFAULT_ENTITY).map(|config| &**config);
        let file = Layers { file: Some(&self.config.raw), ..Layers::default() };
        let layers = Layers { topic: Some(&own), all_brokers, ..file };
        let config = TopicConfig::resolve(layers).or_else(|error| {
            warn!(topic, %error, "the topic's configuration makes no sense: the broker's own is used");
            TopicConfig::resolve(file)
        });
        Arc::new(config.unwrap_or_default())
    }
}

/// Whether the cluster has `log` on this broker: a topic of that name may be another one by now.
fn is_ours(me: BrokerId, image: &ClusterImage, name: &TopicPartition, log: &Log) -> bool {
    let is_same = |topic: &Arc<Topic>| match (topic.id, log.topic_id()) {
        (Some(known), Some(stored)) => known == stored,
        _ => true,
    };
    image.topic(&name.topic).is_some_and(is_same)
        && image.partition(name).is_some_and(|partition| partition.replicas.contains(&me))
}
