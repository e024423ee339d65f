//! Topics come, grow and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, CreateMode, Error, ErrorCode};
use kafka_protocol::error::ResponseError;
use tracing::info;
use uuid::Uuid;

use super::{Admin, Place, Start, assignment, check_name, collide, is_race, place, places};
use crate::registry::id::random_id;
use crate::registry::image::Overrides;
use crate::registry::payload::{Assignment, TopicPayload, encode_config};
use crate::registry::read::get;
use crate::registry::retry::{pause, until_answered};
use crate::registry::{ClusterImage, Refusal, paths};
use crate::topic_partition::{BrokerId, TopicPartition};

/// How many partitions a topic may have: with three replicas each, all in one znode, they are near the service's limit of
/// 1 MiB.
const PARTITIONS_MAX: i32 = 50_000;

/// A topic that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// What it is to be called.
    pub name: String,
    /// How many partitions; `None` as many as `num.partitions` says.
    pub partitions: Option<i32>,
    /// How many replicas each; `None` as many as `default.replication.factor` says.
    pub replication_factor: Option<i16>,
    /// Who is to have them; if none are named, they are placed.
    pub assignment: BTreeMap<i32, Vec<BrokerId>>,
    /// What differs from the default.
    pub config: Overrides,
}

/// A topic that was created, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Which topic of its name it is.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
}

impl Admin {
    /// Creates a topic; if only `validate` is wanted, all is checked and nothing written. It has no leaders yet:
    /// [`Admin::await_image`].
    ///
    /// # Errors
    /// [`ResponseError::InvalidTopicException`], [`ResponseError::TopicAlreadyExists`],
    /// [`ResponseError::InvalidPartitions`], [`ResponseError::InvalidReplicationFactor`],
    /// [`ResponseError::InvalidReplicaAssignment`], [`ResponseError::InvalidConfig`],
    /// [`ResponseError::InvalidRequest`].
    pub async fn create_topic(&self, topic: NewTopic, validate: bool) -> Result<CreatedTopic, Refusal> {
        check_name(&topic.name)?;
        let image = self.fresh_image().await?;
        check_free(&image, &topic.name)?;
        self.check_topic_config(&topic.config)?;
        let assignment = self.assign(&image, &topic)?;
        let created = CreatedTopic {
            id: random_id(),
            partitions: i32::try_from(assignment.len()).unwrap_or(i32::MAX),
            replication_factor: assignment
                .values()
                .next()
                .map_or(0, |it| i16::try_from(it.len()).unwrap_or(i16::MAX)),
        };
        if !validate {
            let partitions =
                assignment.into_iter().map(|(number, replicas)| (number, Assignment::of(replicas)));
            let payload = TopicPayload { id: Some(created.id), partitions: partitions.collect() };
            write_topic(&self.registry.client(), &topic, &payload).await?;
            info!(topic = topic.name, partitions = created.partitions, "a topic is created");
            self.fresh_image().await?;
        }
        Ok(created)
    }

    fn assign(
        &self,
        image: &ClusterImage,
        topic: &NewTopic,
    ) -> Result<BTreeMap<i32, Vec<BrokerId>>, Refusal> {
        if !topic.assignment.is_empty() {
            if topic.partitions.is_some() || topic.replication_factor.is_some() {
                let message = "Both numPartitions or replicationFactor and replicasAssignments were set. \
                               Both cannot be used at the same time.";
                return Err(Refusal::new(ResponseError::InvalidRequest, message));
            }
            assignment::check_new(&topic.assignment)?;
            check_count(i32::try_from(topic.assignment.len()).unwrap_or(i32::MAX))?;
            return Ok(topic.assignment.clone());
        }
        let partitions = check_count(topic.partitions.unwrap_or(self.config.topics.partitions))?;
        let replicas = topic.replication_factor.unwrap_or(self.config.topics.replication_factor);
        let places = places(image);
        let replicas = check_replicas(replicas, &places)?;
        let start =
            Start { first: rand::random_range(0..places.len()), shift: rand::random_range(0..places.len()) };
        Ok((0..).zip(place(&places, start, 0, partitions, replicas)).collect())
    }

    /// Has a topic deleted. It is gone when the image shows it no more; until then it takes no records.
    ///
    /// # Errors
    /// [`ResponseError::UnknownTopicOrPartition`], [`ResponseError::TopicDeletionDisabled`].
    pub async fn delete_topic(&self, name: &str) -> Result<(), Refusal> {
        if !self.config.topics.deletable {
            return Err(Refusal::new(ResponseError::TopicDeletionDisabled, "Topic deletion is disabled."));
        }
        let image = self.fresh_image().await?;
        if image.topic(name).is_none() {
            return Err(unknown(name));
        }
        let (client, path) = (self.registry.client(), paths::delete_topic(name));
        match until_answered(|| client.create(&path, client::Data::NULL, CreateMode::Persistent)).await {
            Ok(_) => info!(topic = name, "a topic is to be deleted"),
            // Someone else wants it, too.
            Err(error) if error.code() == Some(ErrorCode::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        self.fresh_image().await.map(drop)
    }

    /// Lets a topic grow to `count` partitions in all. If no brokers are named for the new ones, they are placed as if the
    /// topic had had them from the beginning.
    ///
    /// # Errors
    /// [`ResponseError::UnknownTopicOrPartition`], [`ResponseError::InvalidPartitions`],
    /// [`ResponseError::InvalidReplicaAssignment`], [`ResponseError::ReassignmentInProgress`].
    pub async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        named: Option<&[Vec<BrokerId>]>,
        validate: bool,
    ) -> Result<(), Refusal> {
        let client = self.registry.client();
        let path = paths::topic(name);
        loop {
            let image = self.fresh_image().await?;
            check_name(name).map_err(|_| unknown(name))?;
            let znode = get(&client, &path).await?.filter(|_| !image.is_deleting(name));
            let znode = znode.ok_or_else(|| unknown(name))?;
            let mut payload = TopicPayload::decode(&znode.data).map_err(|malformed| {
                Refusal::new(ResponseError::UnknownServerError, format!("{path}: {malformed}"))
            })?;
            grow(&image, name, &mut payload, count, named)?;
            if validate {
                return Ok(());
            }
            match client.set(&path, payload.encode(), znode.stat.version).await {
                Ok(_) => break,
                Err(error) if is_race(error.code()) => {}
                // If it was written, the next attempt says so: there is nothing to add.
                Err(error) if error.is_transient() => pause(&error).await,
                Err(error) => return Err(too_large(error)),
            }
        }
        info!(topic = name, partitions = count, "a topic grows");
        self.fresh_image().await.map(drop)
    }

    /// The reassignments that are under way: of all partitions, or of those named.
    pub fn reassignments(&self, named: Option<&[TopicPartition]>) -> BTreeMap<TopicPartition, Assignment> {
        let image = self.registry.image();
        let is_named = |tp: &TopicPartition| named.is_none_or(|named| named.contains(tp));
        let moving = image.partitions().filter(|(tp, partition)| partition.is_reassigning() && is_named(tp));
        let assignment = |(tp, partition): (TopicPartition, &Arc<crate::registry::image::Partition>)| {
            let (replicas, adding) = (partition.replicas.clone(), partition.adding.clone());
            (tp, Assignment { replicas, adding, removing: partition.removing.clone() })
        };
        moving.map(assignment).collect()
    }
}

fn unknown(name: &str) -> Refusal {
    let shown = name.escape_default();
    Refusal::new(ResponseError::UnknownTopicOrPartition, format!("The topic '{shown}' does not exist."))
}

/// A topic of too many partitions for one znode.
fn too_large(error: Error) -> Refusal {
    match error {
        Error::TooLarge { .. } => {
            Refusal::new(ResponseError::InvalidPartitions, "The topic has too many partitions.")
        }
        error => error.into(),
    }
}

fn check_free(image: &ClusterImage, name: &str) -> Result<(), Refusal> {
    let exists = |message| Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
    if image.is_deleting(name) {
        return exists(format!("Topic '{name}' is marked for deletion."));
    }
    if image.topic(name).is_some() {
        return exists(format!("Topic '{name}' already exists."));
    }
    match image.topics.keys().find(|other| collide(name, other)) {
        Some(other) => Err(Refusal::new(
            ResponseError::InvalidTopicException,
            format!("Topic '{name}' collides with existing topics: {other}"),
        )),
        None => Ok(()),
    }
}

fn check_count(partitions: i32) -> Result<usize, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ResponseError::InvalidPartitions, message));
    match usize::try_from(partitions) {
        Err(_) | Ok(0) => invalid("Number of partitions must be larger than 0.".into()),
        Ok(_) if partitions > PARTITIONS_MAX => {
            invalid(format!("Number of partitions must not be larger than {PARTITIONS_MAX}."))
        }
        Ok(partitions) => Ok(partitions),
    }
}

fn check_replicas(replicas: i16, places: &[Place]) -> Result<usize, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ResponseError::InvalidReplicationFactor, message));
    match usize::try_from(replicas) {
        Err(_) | Ok(0) => invalid("Replication factor must be larger than 0.".into()),
        Ok(wanted) if wanted > places.len() => {
            let alive = places.len();
            invalid(format!("Replication factor: {replicas} larger than available brokers: {alive}."))
        }
        Ok(replicas) => Ok(replicas),
    }
}

/// The config comes first: who sees the topic sees how it behaves.
async fn write_topic(client: &Client, topic: &NewTopic, payload: &TopicPayload) -> Result<(), Refusal> {
    let (path, config_path) = (paths::topic(&topic.name), paths::topic_config(&topic.name));
    let (data, config) = (payload.encode(), encode_config(&topic.config));
    loop {
        // A config may have been left behind, or been set by a tool in advance.
        let left = until_answered(|| client.exists(&config_path)).await?;
        let multi = match left {
            Some(stat) => client.multi().set(&config_path, &config, stat.version),
            None => client.multi().create(&config_path, &config, CreateMode::Persistent),
        };
        let error = match multi.create(&path, &data, CreateMode::Persistent).commit().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.is_transient() {
            pause(&error).await;
        } else if !is_race(error.code()) {
            return Err(too_large(error));
        }
        // Ours if an attempt was made although its answer was lost.
        match get(client, &path).await? {
            Some(znode) if znode.data == data => return Ok(()),
            Some(_) => {
                let message = format!("Topic '{}' already exists.", topic.name);
                return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
            }
            None => {}
        }
    }
}

/// Adds partitions to `payload` until there are `count`.
fn grow(
    image: &ClusterImage,
    name: &str,
    payload: &mut TopicPayload,
    count: i32,
    named: Option<&[Vec<BrokerId>]>,
) -> Result<(), Refusal> {
    let is_moving = |it: &Assignment| !it.adding.is_empty() || !it.removing.is_empty();
    if payload.partitions.values().any(is_moving) {
        let message = format!("A partition reassignment is in progress for the topic '{name}'.");
        return Err(Refusal::new(ResponseError::ReassignmentInProgress, message));
    }
    let known = payload.partitions.len();
    let count = check_count(count)?;
    let invalid = |message| Err(Refusal::new(ResponseError::InvalidPartitions, message));
    if count < known {
        return invalid(format!(
            "Topic currently has {known} partitions, which is higher than the requested {count}."
        ));
    } else if count == known {
        return invalid(format!("Topic already has {known} partitions."));
    }
    let Some(first) = payload.partitions.get(&0) else {
        let message = format!("Unexpected existing replica assignment for topic '{name}': no partition 0");
        return Err(Refusal::new(ResponseError::UnknownServerError, message));
    };
    let added = match named {
        Some(named) => {
            assignment::check_added(image, named, count - known, first.replicas.len())?;
            named.to_vec()
        }
        None => {
            let places = places(image);
            let replicas = check_replicas(i16::try_from(first.replicas.len()).unwrap_or(i16::MAX), &places)?;
            let leader = first.replicas.first().copied().unwrap_or_default();
            let start = places.iter().position(|place| place.broker >= leader).unwrap_or_default();
            place(&places, Start { first: start, shift: start }, known, count - known, replicas)
        }
    };
    let numbers = i32::try_from(known).unwrap_or(i32::MAX)..;
    payload.partitions.extend(numbers.zip(added.into_iter().map(Assignment::of)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::image::Broker;

    fn image(brokers: BrokerId) -> ClusterImage {
        let broker = |id| (id, Arc::new(Broker { id, epoch: 1, endpoints: Vec::new(), rack: None }));
        ClusterImage { brokers: Arc::new((0..brokers).map(broker).collect()), ..ClusterImage::default() }
    }

    fn topic(replicas: &[&[BrokerId]]) -> TopicPayload {
        let of = |replicas: &&[BrokerId]| Assignment::of(replicas.to_vec());
        TopicPayload { id: None, partitions: (0..).zip(replicas.iter().map(of)).collect() }
    }

    #[test]
    fn a_topic_grows_as_if_it_had_had_all_partitions_from_the_beginning() {
        let mut grown = topic(&[&[0, 1], &[1, 2]]);
        grow(&image(3), "t", &mut grown, 4, None).unwrap();
        let replicas: Vec<_> = grown.partitions.into_values().map(|it| it.replicas).collect();
        assert_eq!(replicas, [[0, 1], [1, 2], [2, 0], [0, 2]]);
    }

    #[test]
    fn a_topic_only_grows_and_only_at_rest() {
        let code = |count, named: Option<&[Vec<BrokerId>]>| {
            grow(&image(3), "t", &mut topic(&[&[0, 1], &[1, 2]]), count, named).unwrap_err().code
        };
        assert_eq!(code(1, None), ResponseError::InvalidPartitions);
        assert_eq!(code(2, None), ResponseError::InvalidPartitions);
        assert_eq!(code(i32::MAX, None), ResponseError::InvalidPartitions);
        assert_eq!(code(3, Some(&[vec![0, 9]])), ResponseError::InvalidReplicaAssignment);
        assert_eq!(code(3, Some(&[vec![0]])), ResponseError::InvalidReplicaAssignment);
        assert_eq!(code(4, Some(&[vec![0, 1]])), ResponseError::InvalidReplicaAssignment);
        let mut moving = topic(&[&[0, 1]]);
        moving.partitions.get_mut(&0).unwrap().adding = vec![1];
        let refusal = grow(&image(3), "t", &mut moving, 2, None).unwrap_err();
        assert_eq!(refusal.code, ResponseError::ReassignmentInProgress);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_before_anything_is_allocated() {
        assert!(check_count(0).is_err() && check_count(-1).is_err() && check_count(i32::MAX).is_err());
        let places = places(&image(2));
        assert!(check_replicas(0, &places).is_err() && check_replicas(3, &places).is_err());
        assert_eq!(check_replicas(2, &places).unwrap(), 2);
    }
}
