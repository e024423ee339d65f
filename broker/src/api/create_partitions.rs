//! Topics grow. Kafka's `CreatePartitions`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, millis};
use crate::registry::{ClusterImage, Refusal};
use crate::topic_partition::BrokerId;

/// Answers for each topic, when its new partitions have leaders or the time is over.
pub(super) async fn handle(context: &Context, request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match grow(context, topic, request).await {
            Ok(()) => result,
            Err(Refusal { code, message }) => {
                result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow(
    context: &Context,
    topic: &CreatePartitionsTopic,
    request: &CreatePartitionsRequest,
) -> Result<(), Refusal> {
    let named = topic.assignments.as_ref().map(|assignments| {
        let brokers = assignments.iter().map(|one| one.broker_ids.iter().map(|id| **id).collect());
        brokers.collect::<Vec<Vec<BrokerId>>>()
    });
    context
        .admin
        .create_partitions(&topic.name, topic.count, named.as_deref(), request.validate_only)
        .await?;
    if request.validate_only {
        return Ok(());
    }
    let are_there = |image: &ClusterImage| {
        image.topic(&topic.name).is_some_and(|topic_image| {
            let led = topic_image.partitions.values().filter(|partition| partition.leader().is_some());
            led.count() >= usize::try_from(topic.count).unwrap_or(0)
        })
    };
    if context.replicas.await_image(millis(request.timeout_ms), are_there).await {
        return Ok(());
    }
    let message = "The partitions are created; their leaders are yet to be elected.";
    Err(Refusal::new(ResponseError::RequestTimedOut, message))
}
