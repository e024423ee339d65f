//! From znodes to an image. Reads are sent without waiting for each other, as many as may be in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use client::{Client, ErrorCode, Result, Znode};
use futures::future::try_join_all;
use tracing::warn;

use super::dirty::Dirty;
use super::image::{
    Broker, ClusterImage, ControllerImage, Overrides, Partition, PartitionState, Topic, Wishes,
};
use super::paths;
use super::payload::{
    Malformed, TopicPayload, decode_broker, decode_config, decode_controller, decode_controller_epoch,
    decode_preferred_election, decode_reassignments, decode_state,
};
use super::pipeline::each;
use super::retry::until_answered;
use crate::topic_partition::{BrokerId, TopicPartition};

/// How many reads one refresh has under way; what else the broker asks is not to wait behind all of them.
const READS_MAX: usize = 512;

/// `image` with everything that is `dirty` read anew.
///
/// # Errors
/// When the session has ended. A malformed znode is none: it is warned of, and taken as absent.
pub(super) async fn refresh(client: &Client, image: &ClusterImage, dirty: &Dirty) -> Result<ClusterImage> {
    if dirty.everything {
        // Another server may lag behind the one that served us before.
        until_answered(|| client.sync("/")).await?;
        return read_all(client, image).await;
    }
    let mut image = image.clone();
    if dirty.controller {
        image.controller = read_controller(client).await?;
    }
    if dirty.wishes {
        image.wishes = Arc::new(read_wishes(client).await?);
    }
    refresh_brokers(client, &mut image, &dirty.brokers).await?;
    refresh_topics(client, &mut image, dirty).await?;
    refresh_configs(client, &mut image.topic_configs, paths::topic_config, &dirty.topic_configs).await?;
    refresh_configs(client, &mut image.broker_configs, paths::broker_config, &dirty.broker_configs).await?;
    Ok(image)
}

async fn read_all(client: &Client, old: &ClusterImage) -> Result<ClusterImage> {
    let lists = [paths::BROKER_IDS, paths::TOPICS, paths::TOPIC_CONFIGS, paths::BROKER_CONFIGS];
    let lists = try_join_all(lists.map(|parent| children(client, parent))).await?;
    let [brokers, topics, topic_configs, broker_configs] = lists.try_into().unwrap_or_default();
    let named = |names: Vec<String>| names.into_iter().map(Arc::from).collect::<BTreeSet<Arc<str>>>();
    let mut image = ClusterImage { cluster_id: Arc::clone(&old.cluster_id), ..ClusterImage::default() };
    let dirty = Dirty {
        brokers: brokers.iter().filter_map(|id| id.parse().ok()).collect(),
        topics: named(topics),
        topic_configs: named(topic_configs),
        broker_configs: named(broker_configs),
        ..Dirty::default()
    };
    image.controller = read_controller(client).await?;
    image.wishes = Arc::new(read_wishes(client).await?);
    refresh_brokers(client, &mut image, &dirty.brokers).await?;
    refresh_topics(client, &mut image, &dirty).await?;
    refresh_configs(client, &mut image.topic_configs, paths::topic_config, &dirty.topic_configs).await?;
    refresh_configs(client, &mut image.broker_configs, paths::broker_config, &dirty.broker_configs).await?;
    Ok(image)
}

async fn read_controller(client: &Client) -> Result<ControllerImage> {
    // In this order: whoever is seen to be the controller has written the epoch with it, or before.
    let broker = get(client, paths::CONTROLLER).await?;
    let epoch = get(client, paths::CONTROLLER_EPOCH).await?;
    let broker = broker.and_then(|znode| sound(paths::CONTROLLER, decode_controller(&znode.data)));
    let Some(znode) = epoch else {
        return Ok(ControllerImage { broker, ..ControllerImage::default() });
    };
    let epoch = sound(paths::CONTROLLER_EPOCH, decode_controller_epoch(&znode.data)).unwrap_or_default();
    Ok(ControllerImage { broker, epoch, epoch_version: znode.stat.version })
}

async fn read_wishes(client: &Client) -> Result<Wishes> {
    let deletions = children(client, paths::DELETE_TOPICS).await?.into_iter().map(Arc::from).collect();
    let reassign = get(client, paths::REASSIGN_PARTITIONS).await?;
    let preferred = get(client, paths::PREFERRED_ELECTION).await?;
    // One that is malformed is an empty one: it is taken away like one that has been carried out.
    let reassignments = reassign.map(|znode| {
        sound(paths::REASSIGN_PARTITIONS, decode_reassignments(&znode.data)).unwrap_or_default()
    });
    let preferred = preferred.map(|znode| {
        sound(paths::PREFERRED_ELECTION, decode_preferred_election(&znode.data)).unwrap_or_default()
    });
    Ok(Wishes { deletions, reassignments, preferred })
}

async fn refresh_brokers(client: &Client, image: &mut ClusterImage, ids: &BTreeSet<BrokerId>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let read = each(ids.iter().copied(), READS_MAX, move |id| async move {
        let path = paths::broker(id);
        let znode = get(client, &path).await?;
        Ok((id, znode.and_then(|znode| sound(&path, decode_broker(id, &znode.data, znode.stat.czxid)))))
    });
    let read: Vec<(BrokerId, Option<Broker>)> = read.await?;
    let brokers = Arc::make_mut(&mut image.brokers);
    for (id, broker) in read {
        match broker {
            Some(broker) => _ = brokers.insert(id, Arc::new(broker)),
            None => _ = brokers.remove(&id),
        }
    }
    Ok(())
}

/// A topic that is dirty is read with all its states; one that is not, with those that are.
async fn refresh_topics(client: &Client, image: &mut ClusterImage, dirty: &Dirty) -> Result<()> {
    // A state may be there before we have seen its topic.
    let unknown = dirty.states.iter().filter(|tp| image.partition(tp).is_none());
    let names: BTreeSet<_> = dirty.topics.iter().chain(unknown.map(|tp| &tp.topic)).cloned().collect();
    let states: Vec<_> = dirty.states.iter().filter(|tp| !names.contains(&tp.topic)).cloned().collect();
    if names.is_empty() && states.is_empty() {
        return Ok(());
    }
    let topics = read_topics(client, &names).await?;
    let states =
        each(states, READS_MAX, move |tp| async move { Ok((read_state(client, &tp).await?, tp)) }).await?;
    for name in names {
        remove_topic(image, &name);
    }
    for topic in topics {
        if let Some(id) = topic.id {
            Arc::make_mut(&mut image.topic_names).insert(id, Arc::clone(&topic.name));
        }
        Arc::make_mut(&mut image.topics).insert(Arc::clone(&topic.name), Arc::new(topic));
    }
    let topics = Arc::make_mut(&mut image.topics);
    for (state, tp) in states {
        if let Some(topic) = topics.get_mut(&tp.topic) {
            set_state(Arc::make_mut(topic), tp.partition, state);
        }
    }
    Ok(())
}

fn remove_topic(image: &mut ClusterImage, name: &str) {
    if let Some(topic) = Arc::make_mut(&mut image.topics).remove(name)
        && let Some(id) = topic.id
    {
        Arc::make_mut(&mut image.topic_names).remove(&id);
    }
}

fn set_state(topic: &mut Topic, partition: i32, state: Option<PartitionState>) {
    if let Some(partition) = topic.partitions.get_mut(&partition) {
        Arc::make_mut(partition).state = state;
    }
}

async fn read_topics(client: &Client, names: &BTreeSet<Arc<str>>) -> Result<Vec<Topic>> {
    let topics =
        each(names.iter().cloned(), READS_MAX, move |name: Arc<str>| read_topic(client, name)).await?;
    let mut topics: BTreeMap<_, _> =
        topics.into_iter().flatten().map(|topic| (Arc::clone(&topic.name), topic)).collect();
    let of = |topic: &Topic| {
        let name = Arc::clone(&topic.name);
        topic.partitions.keys().map(move |number| TopicPartition::new(Arc::clone(&name), *number)).collect()
    };
    let partitions: Vec<Vec<TopicPartition>> = topics.values().map(of).collect();
    let states = each(partitions.into_iter().flatten(), READS_MAX, move |tp| async move {
        Ok((read_state(client, &tp).await?, tp))
    });
    for (state, tp) in states.await? {
        if let Some(topic) = topics.get_mut(&tp.topic) {
            set_state(topic, tp.partition, state);
        }
    }
    Ok(topics.into_values().collect())
}

async fn read_topic(client: &Client, name: Arc<str>) -> Result<Option<Topic>> {
    let path = paths::topic(&name);
    let Some(znode) = get(client, &path).await? else {
        return Ok(None);
    };
    let payload = sound(&path, TopicPayload::decode(&znode.data));
    Ok(payload.map(|payload| topic_of(name, payload, znode.stat.version)))
}

/// A topic whose partitions have not been set up.
fn topic_of(name: Arc<str>, payload: TopicPayload, version: i32) -> Topic {
    let partitions = payload.partitions.into_iter().map(|(number, assignment)| {
        let (replicas, adding, removing) = (assignment.replicas, assignment.adding, assignment.removing);
        (number, Arc::new(Partition { replicas, adding, removing, state: None }))
    });
    Topic { name, id: payload.id, partitions: partitions.collect(), version }
}

async fn read_state(client: &Client, tp: &TopicPartition) -> Result<Option<PartitionState>> {
    let path = paths::partition_state(tp);
    let znode = get(client, &path).await?;
    Ok(znode.and_then(|znode| sound(&path, decode_state(&znode.data, &znode.stat))))
}

async fn refresh_configs(
    client: &Client,
    configs: &mut Arc<BTreeMap<Arc<str>, Arc<Overrides>>>,
    path_of: fn(&str) -> String,
    names: &BTreeSet<Arc<str>>,
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let read = each(names.iter().cloned(), READS_MAX, move |name: Arc<str>| async move {
        let path = path_of(&name);
        let znode = get(client, &path).await?;
        Ok((name, znode.and_then(|znode| sound(&path, decode_config(&znode.data)))))
    });
    let read: Vec<(Arc<str>, Option<Overrides>)> = read.await?;
    let configs = Arc::make_mut(configs);
    for (name, config) in read {
        match config {
            Some(config) => _ = configs.insert(name, Arc::new(config)),
            None => _ = configs.remove(&name),
        }
    }
    Ok(())
}

/// A znode, if it is there.
pub(crate) async fn get(client: &Client, path: &str) -> Result<Option<Znode>> {
    if_there(until_answered(|| client.get(path)).await)
}

/// Its children; none if it is not there.
pub(crate) async fn children(client: &Client, path: &str) -> Result<Vec<String>> {
    if_there(until_answered(|| client.children(path)).await).map(Option::unwrap_or_default)
}

fn if_there<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.code() == Some(ErrorCode::NoNode) => Ok(None),
        answer => answer.map(Some),
    }
}

fn sound<T>(path: impl Display, decoded: Result<T, Malformed>) -> Option<T> {
    decoded.inspect_err(|malformed| warn!(%path, %malformed, "a znode makes no sense")).ok()
}
