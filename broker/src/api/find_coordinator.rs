//! Who coordinates a group: whoever leads its partition of `__consumer_offsets`. Kafka's `FindCoordinator`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::TopicPartition;
use crate::group::{GroupCoordinator, OFFSETS_TOPIC};
use crate::registry::ClusterImage;
use crate::registry::image::{Broker, Endpoint};

/// The only keys with which there are coordinators: groups. There are no transactions.
const GROUP: i8 = 0;

/// From this version on several are asked for at once.
const BATCHED: i16 = 4;

/// Answers a client that came in by `listener`. Until `__consumer_offsets` is there, and has leaders, nobody is
/// available: whoever calls this has it created.
pub(super) fn handle(
    groups: &GroupCoordinator,
    image: &ClusterImage,
    listener: &str,
    request: &FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let find = |key: &StrBytes| match request.key_type {
        GROUP => coordinator_of(groups, image, listener, key),
        _ => Err(ResponseError::InvalidRequest),
    };
    if version < BATCHED {
        return one(find(&request.key), version);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| line(key, find(key))).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

fn coordinator_of<'i>(
    groups: &GroupCoordinator,
    image: &'i ClusterImage,
    listener: &str,
    group: &str,
) -> Result<(&'i Broker, &'i Endpoint), ResponseError> {
    let partition = TopicPartition::new(OFFSETS_TOPIC, groups.partition_of(group));
    let leader = image.state(&partition).and_then(|state| state.leader);
    let broker = leader.and_then(|leader| image.brokers.get(&leader));
    let reachable = broker.and_then(|broker| Some((&**broker, broker.endpoint(listener)?)));
    reachable.ok_or(ResponseError::CoordinatorNotAvailable)
}

fn one(found: Result<(&Broker, &Endpoint), ResponseError>, version: i16) -> FindCoordinatorResponse {
    let answer = FindCoordinatorResponse::default();
    match found {
        Ok((broker, endpoint)) => answer
            .with_node_id(broker.id.into())
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port.into()),
        Err(error) => answer
            .with_error_code(error.code())
            .with_error_message((version > 0).then(|| explained(error)))
            .with_node_id((-1).into())
            .with_port(-1),
    }
}

fn line(key: &StrBytes, found: Result<(&Broker, &Endpoint), ResponseError>) -> Coordinator {
    let line = Coordinator::default().with_key(key.clone());
    match found {
        Ok((broker, endpoint)) => line
            .with_node_id(broker.id.into())
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port.into()),
        Err(error) => line
            .with_error_code(error.code())
            .with_error_message(Some(explained(error)))
            .with_node_id((-1).into())
            .with_port(-1),
    }
}

fn explained(error: ResponseError) -> StrBytes {
    StrBytes::from_static_str(match error {
        ResponseError::InvalidRequest => "only groups have coordinators: there are no transactions",
        _ => "the coordinator is not available",
    })
}
