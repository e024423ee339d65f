//! A group is to forget how far it has got. Kafka's `OffsetDelete` (KIP-496).

use std::collections::HashMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::group_words::{code, name};
use crate::TopicPartition;
use crate::group::GroupCoordinator;
use crate::registry::ClusterImage;

/// Answers when they are safely forgotten. Partitions that `image` does not show are refused.
pub(super) async fn handle(
    groups: &GroupCoordinator,
    image: &ClusterImage,
    request: &OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let answer = OffsetDeleteResponse::default();
    let known = known_partitions(image, request);
    match groups.delete_offsets(&name(&request.group_id.0), known).await {
        Err(error) => answer.with_error_code(error.code()),
        Ok(outcomes) => {
            let outcomes = outcomes.into_iter().collect();
            answer.with_topics(request.topics.iter().map(|topic| answered(topic, &outcomes)).collect())
        }
    }
}

fn known_partitions(image: &ClusterImage, request: &OffsetDeleteRequest) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let Some(known) = image.topic(&topic.name) else { continue };
        let asked = topic.partitions.iter().map(|partition| partition.partition_index);
        let asked = asked.filter(|number| known.partitions.contains_key(number));
        partitions.extend(asked.map(|number| TopicPartition::new(known.name.clone(), number)));
    }
    partitions
}

fn answered(
    topic: &OffsetDeleteRequestTopic,
    outcomes: &HashMap<TopicPartition, Result<(), ResponseError>>,
) -> OffsetDeleteResponseTopic {
    let topic_name = name(&topic.name.0);
    let partition = |asked: &OffsetDeleteRequestPartition| {
        let at = TopicPartition::new(topic_name.clone(), asked.partition_index);
        let outcome = outcomes.get(&at).copied().unwrap_or(Err(ResponseError::UnknownTopicOrPartition));
        OffsetDeleteResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(&outcome))
    };
    OffsetDeleteResponseTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(topic.partitions.iter().map(partition).collect())
}
