//! How far a group has got. Kafka's `OffsetFetch`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::group_words::{code, name, word};
use crate::TopicPartition;
use crate::group::records::OffsetValue;
use crate::group::{FetchedOffset, GroupCoordinator};

/// From this version on several groups are asked for at once.
const BATCHED: i16 = 8;
/// From this version on there is a place for an error that is about the group.
const GROUP_ERROR: i16 = 2;

/// Answers at once.
pub(super) fn handle(
    groups: &GroupCoordinator,
    request: &OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version >= BATCHED {
        let each = request.groups.iter().map(|group| {
            let topics = group.topics.as_ref();
            let wanted = topics
                .map(|topics| partitions(topics.iter().map(|topic| (&topic.name, &topic.partition_indexes))));
            let fetched = groups.offsets(&name(&group.group_id.0), wanted, request.require_stable);
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_error_code(code(&fetched))
                .with_topics(by_topic(fetched.unwrap_or_default(), batched_topic))
        });
        return OffsetFetchResponse::default().with_groups(each.collect());
    }
    let topics = request.topics.as_ref();
    let wanted =
        topics.map(|topics| partitions(topics.iter().map(|topic| (&topic.name, &topic.partition_indexes))));
    let asked = wanted.clone().unwrap_or_default();
    let answer = OffsetFetchResponse::default();
    match groups.offsets(&name(&request.group_id.0), wanted, request.require_stable) {
        Ok(fetched) => answer.with_topics(by_topic(fetched, topic)),
        Err(error) if version >= GROUP_ERROR => answer.with_error_code(error.code()),
        Err(error) => {
            let failed = asked.into_iter().map(|partition| (partition, Err(error))).collect();
            answer.with_topics(by_topic(failed, topic))
        }
    }
}

fn partitions<'r>(topics: impl Iterator<Item = (&'r TopicName, &'r Vec<i32>)>) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for (topic, numbers) in topics {
        let topic = name(&topic.0);
        partitions.extend(numbers.iter().map(|number| TopicPartition::new(Arc::clone(&topic), *number)));
    }
    partitions
}

/// One partition's offset; -1 where there is none.
struct Fetched {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: StrBytes,
    error: i16,
}

impl Fetched {
    fn new(partition: i32, fetched: Result<Option<OffsetValue>, ResponseError>) -> Self {
        let error = code(&fetched);
        let value = fetched.ok().flatten();
        Self {
            partition,
            offset: value.as_ref().map_or(-1, |value| value.offset),
            leader_epoch: value.as_ref().map_or(-1, |value| value.leader_epoch),
            metadata: value.map(|value| word(&value.metadata)).unwrap_or_default(),
            error,
        }
    }
}

/// Puts the partitions of a topic together.
fn by_topic<T>(offsets: Vec<FetchedOffset>, topic: impl Fn(TopicName, Vec<Fetched>) -> T) -> Vec<T> {
    let mut topics = BTreeMap::<Arc<str>, Vec<Fetched>>::new();
    for (at, fetched) in offsets {
        topics.entry(at.topic).or_default().push(Fetched::new(at.partition, fetched));
    }
    topics.into_iter().map(|(name, partitions)| topic(TopicName(word(&name)), partitions)).collect()
}

fn topic(name: TopicName, partitions: Vec<Fetched>) -> OffsetFetchResponseTopic {
    let partition = |fetched: Fetched| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(fetched.partition)
            .with_committed_offset(fetched.offset)
            .with_committed_leader_epoch(fetched.leader_epoch)
            .with_metadata(Some(fetched.metadata))
            .with_error_code(fetched.error)
    };
    OffsetFetchResponseTopic::default()
        .with_name(name)
        .with_partitions(partitions.into_iter().map(partition).collect())
}

fn batched_topic(name: TopicName, partitions: Vec<Fetched>) -> OffsetFetchResponseTopics {
    let partition = |fetched: Fetched| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(fetched.partition)
            .with_committed_offset(fetched.offset)
            .with_committed_leader_epoch(fetched.leader_epoch)
            .with_metadata(Some(fetched.metadata))
            .with_error_code(fetched.error)
    };
    OffsetFetchResponseTopics::default()
        .with_name(name)
        .with_partitions(partitions.into_iter().map(partition).collect())
}
