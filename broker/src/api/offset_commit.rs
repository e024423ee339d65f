//! A consumer writes down how far it has got. Kafka's `OffsetCommit`.

use std::collections::HashMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::group_words::{code, name, name_or_none};
use crate::TopicPartition;
use crate::group::records::OffsetValue;
use crate::group::{Caller, Commit, GroupCoordinator};
use crate::registry::ClusterImage;

/// Up to this version a client could say how long its offsets are to be kept.
const LAST_WITH_RETENTION: i16 = 4;

/// Answers when the offsets are safe. Those of partitions that `image` does not show are refused.
pub(super) async fn handle(
    groups: &GroupCoordinator,
    image: &ClusterImage,
    request: &OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let offsets = known_offsets(image, request, groups.now_ms(), version);
    let mut outcomes: HashMap<TopicPartition, Result<(), ResponseError>> =
        offsets.iter().map(|(partition, _)| (partition.clone(), Ok(()))).collect();
    if !offsets.is_empty() {
        let caller = Caller {
            member_id: name(&request.member_id),
            instance_id: name_or_none(request.group_instance_id.as_ref()),
            generation: request.generation_id_or_member_epoch,
        };
        match groups.commit(&name(&request.group_id.0), Commit { caller, offsets }).await {
            Ok(committed) => outcomes.extend(committed),
            Err(error) => outcomes.values_mut().for_each(|outcome| *outcome = Err(error)),
        }
    }
    let topics = request.topics.iter().map(|topic| answered(topic, &outcomes));
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn known_offsets(
    image: &ClusterImage,
    request: &OffsetCommitRequest,
    now_ms: i64,
    version: i16,
) -> Vec<(TopicPartition, OffsetValue)> {
    let retention_ms = Some(request.retention_time_ms)
        .filter(|retention| version <= LAST_WITH_RETENTION && *retention != -1);
    let expire_ms = retention_ms.map(|retention| now_ms.saturating_add(retention));
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let Some(known) = image.topic(&topic.name) else { continue };
        for partition in &topic.partitions {
            if known.partitions.contains_key(&partition.partition_index) {
                let at = TopicPartition::new(known.name.clone(), partition.partition_index);
                offsets.push((at, value(partition, now_ms, expire_ms)));
            }
        }
    }
    offsets
}

fn value(partition: &OffsetCommitRequestPartition, commit_ms: i64, expire_ms: Option<i64>) -> OffsetValue {
    OffsetValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: name_or_none(partition.committed_metadata.as_ref()).unwrap_or_default(),
        commit_ms,
        expire_ms,
    }
}

fn answered(
    topic: &OffsetCommitRequestTopic,
    outcomes: &HashMap<TopicPartition, Result<(), ResponseError>>,
) -> OffsetCommitResponseTopic {
    let topic_name = name(&topic.name.0);
    let partition = |asked: &OffsetCommitRequestPartition| {
        let at = TopicPartition::new(topic_name.clone(), asked.partition_index);
        let outcome = outcomes.get(&at).copied().unwrap_or(Err(ResponseError::UnknownTopicOrPartition));
        OffsetCommitResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(&outcome))
    };
    OffsetCommitResponseTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(topic.partitions.iter().map(partition).collect())
}
