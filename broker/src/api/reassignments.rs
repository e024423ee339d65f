//! Partitions move to other brokers. Kafka's `AlterPartitionReassignments` and `ListPartitionReassignments` (KIP-455).

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId as WireBroker,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::topic_partition::{BrokerId, TopicPartition};

/// Begins moves, or gives them up; only the controller does.
pub(super) async fn alter(
    context: &Context,
    request: &AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let mut wanted = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let replicas = partition.replicas.as_ref();
            let replicas = replicas.map(|replicas| replicas.iter().map(|id| **id).collect::<Vec<BrokerId>>());
            wanted.insert(TopicPartition::new(&**topic.name, partition.partition_index), replicas);
        }
    }
    let response = AlterPartitionReassignmentsResponse::default();
    let answers = match context.controller.alter_reassignments(wanted).await {
        Ok(answers) => answers,
        Err(refusal) => {
            let message = Some(StrBytes::from_string(refusal.message));
            return response.with_error_code(refusal.code.code()).with_error_message(message);
        }
    };
    let mut topics: Vec<ReassignableTopicResponse> = Vec::new();
    for (name, answer) in answers {
        let one = ReassignablePartitionResponse::default().with_partition_index(name.partition);
        let one = match answer {
            Ok(()) => one.with_error_message(None),
            Err(refusal) => one
                .with_error_code(refusal.code.code())
                .with_error_message(Some(StrBytes::from_string(refusal.message))),
        };
        match topics.last_mut() {
            Some(topic) if **topic.name == *name.topic => topic.partitions.push(one),
            _ => topics.push(
                ReassignableTopicResponse::default()
                    .with_name(text(&name.topic).into())
                    .with_partitions(vec![one]),
            ),
        }
    }
    response.with_error_message(None).with_responses(topics)
}

/// The moves that are under way.
pub(super) fn list(
    context: &Context,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let named = request.topics.as_ref().map(|topics| {
        let of_topic = topics.iter().flat_map(|topic| {
            topic.partition_indexes.iter().map(|number| TopicPartition::new(&**topic.name, *number))
        });
        of_topic.collect::<Vec<_>>()
    });
    let wire = |ids: &[BrokerId]| ids.iter().copied().map(WireBroker).collect::<Vec<_>>();
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for (name, moving) in context.admin.reassignments(named.as_deref()) {
        let one = OngoingPartitionReassignment::default()
            .with_partition_index(name.partition)
            .with_replicas(wire(&moving.replicas))
            .with_adding_replicas(wire(&moving.adding))
            .with_removing_replicas(wire(&moving.removing));
        match topics.last_mut() {
            Some(topic) if **topic.name == *name.topic => topic.partitions.push(one),
            _ => topics.push(
                OngoingTopicReassignment::default()
                    .with_name(text(&name.topic).into())
                    .with_partitions(vec![one]),
            ),
        }
    }
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
}
