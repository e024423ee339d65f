//! Leaders are elected because someone asks for it. Kafka's `ElectLeaders` (KIP-183, KIP-460); only the controller does.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::controller::Election;
use crate::topic_partition::TopicPartition;

/// Since which version there is an error for the whole.
const WITH_ERROR: i16 = 1;

/// Answers for each partition; all there are if none are named.
pub(super) async fn handle(
    context: &Context,
    request: &ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return failed(ResponseError::InvalidRequest, version),
    };
    let named = request.topic_partitions.as_ref().map(|topics| {
        let of_topic = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|number| TopicPartition::new(&**topic.topic, *number))
        });
        of_topic.collect::<Vec<_>>()
    });
    let is_all = named.is_none();
    let answers = match context.controller.elect_leaders(election, named).await {
        Ok(answers) => answers,
        Err(refusal) => return failed(refusal.code, version),
    };
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for (name, answer) in answers {
        let one = PartitionResult::default().with_partition_id(name.partition);
        let one = match answer {
            Ok(()) => one.with_error_message(None),
            // Of all partitions, most have the leader they should have.
            Err(refusal) if is_all && refusal.code == ResponseError::ElectionNotNeeded => continue,
            Err(refusal) => one
                .with_error_code(refusal.code.code())
                .with_error_message(Some(StrBytes::from_string(refusal.message))),
        };
        match topics.last_mut() {
            Some(topic) if **topic.topic == *name.topic => topic.partition_result.push(one),
            _ => topics.push(
                ReplicaElectionResult::default()
                    .with_topic(text(&name.topic).into())
                    .with_partition_result(vec![one]),
            ),
        }
    }
    ElectLeadersResponse::default().with_replica_election_results(topics)
}

fn failed(error: ResponseError, version: i16) -> ElectLeadersResponse {
    let code = if version >= WITH_ERROR { error.code() } else { 0 };
    ElectLeadersResponse::default().with_error_code(code)
}
