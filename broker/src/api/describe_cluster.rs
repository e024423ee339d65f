//! Who is in the cluster, for tools. Kafka's `DescribeCluster`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{NOT_ASKED, metadata, text};
use crate::registry::image::ClusterImage;

/// The endpoints that can be asked for: those of brokers, for there are no controllers apart.
const BROKERS: i8 = 1;

/// What `image` shows to a client that came in by `listener`.
pub(super) fn handle(
    request: &DescribeClusterRequest,
    image: &ClusterImage,
    listener: &str,
) -> DescribeClusterResponse {
    let answer = DescribeClusterResponse::default().with_cluster_authorized_operations(NOT_ASKED);
    if request.endpoint_type != BROKERS {
        let what = "the brokers' endpoints are the only ones";
        return answer
            .with_error_code(ResponseError::UnsupportedEndpointType.code())
            .with_error_message(Some(StrBytes::from_static_str(what)));
    }
    let reachable = image.brokers.values().filter_map(|broker| Some((broker, broker.endpoint(listener)?)));
    let brokers = reachable.map(|(broker, endpoint)| {
        DescribeClusterBroker::default()
            .with_broker_id(broker.id.into())
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.as_ref().map(|rack| text(rack)))
    });
    answer
        .with_cluster_id(text(&image.cluster_id))
        .with_controller_id(metadata::controller(image, listener).into())
        .with_brokers(brokers.collect())
}
