//! Who is in the cluster, what topics there are, who leads each partition. Kafka's `Metadata`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;

use super::{NOT_ASKED, is_internal, text};
use crate::registry::image::{ClusterImage, Partition, Topic};
use crate::topic_partition::BrokerId;

/// The topics that `request` names and that do not exist, if it wants them created.
pub(super) fn to_create(request: &MetadataRequest, version: i16, image: &ClusterImage) -> Vec<Arc<str>> {
    if version >= 4 && !request.allow_auto_topic_creation {
        return Vec::new();
    }
    let named = request.topics.iter().flatten().filter_map(|topic| topic.name.as_ref());
    let missing: BTreeSet<&str> =
        named.map(|name| &***name).filter(|name| image.topic(name).is_none()).collect();
    missing.into_iter().map(Arc::from).collect()
}

/// What `image` shows to a client that came in by `listener`. `refused` are topics that could not be created.
pub(super) fn handle(
    request: &MetadataRequest,
    version: i16,
    image: &ClusterImage,
    listener: &str,
    refused: &[(Arc<str>, ResponseError)],
) -> MetadataResponse {
    let view = View { image, listener, version };
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && version == 0,
    };
    let topics = if all {
        image.topics.values().map(|topic| view.topic(topic)).collect()
    } else {
        let asked = request.topics.iter().flatten();
        asked.map(|topic| view.asked(topic, refused)).collect()
    };
    MetadataResponse::default()
        .with_brokers(brokers(image, listener))
        .with_cluster_id(Some(text(&image.cluster_id)))
        .with_controller_id(controller(image, listener).into())
        .with_topics(topics)
        .with_cluster_authorized_operations(NOT_ASKED)
}

/// The controller, or -1 when there is none that this client can reach.
pub(super) fn controller(image: &ClusterImage, listener: &str) -> BrokerId {
    let reachable =
        |id: &BrokerId| image.brokers.get(id).is_some_and(|broker| broker.endpoint(listener).is_some());
    image.controller.broker.filter(reachable).unwrap_or(-1)
}

fn brokers(image: &ClusterImage, listener: &str) -> Vec<MetadataResponseBroker> {
    let reachable = image.brokers.values().filter_map(|broker| Some((broker, broker.endpoint(listener)?)));
    reachable
        .map(|(broker, endpoint)| {
            MetadataResponseBroker::default()
                .with_node_id(broker.id.into())
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.as_ref().map(|rack| text(rack)))
        })
        .collect()
}

struct View<'a> {
    image: &'a ClusterImage,
    listener: &'a str,
    version: i16,
}

impl View<'_> {
    fn asked(
        &self,
        asked: &MetadataRequestTopic,
        refused: &[(Arc<str>, ResponseError)],
    ) -> MetadataResponseTopic {
        let Some(name) = &asked.name else {
            return match self.image.topic_by_id(asked.topic_id) {
                Some(topic) => self.topic(topic),
                None => failed(ResponseError::UnknownTopicId).with_name(None).with_topic_id(asked.topic_id),
            };
        };
        if let Some(topic) = self.image.topic(name) {
            return self.topic(topic);
        }
        let error = refused.iter().find(|(topic, _)| **topic == ***name).map(|(_, error)| *error);
        let error = error.unwrap_or(ResponseError::UnknownTopicOrPartition);
        failed(error).with_name(Some(name.clone())).with_is_internal(is_internal(name))
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter();
        MetadataResponseTopic::default()
            .with_name(Some(text(&topic.name).into()))
            .with_topic_id(topic.id.unwrap_or_default())
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(
                partitions.map(|(number, partition)| self.partition(*number, partition)).collect(),
            )
            .with_topic_authorized_operations(NOT_ASKED)
    }

    fn partition(&self, number: i32, partition: &Partition) -> MetadataResponsePartition {
        let is_offline = |id: &BrokerId| !self.image.is_alive(*id);
        let leader = partition.leader().and_then(|id| self.image.brokers.get(&id));
        let error = match leader {
            None => Some(ResponseError::LeaderNotAvailable),
            Some(leader) if leader.endpoint(self.listener).is_none() => Some(ResponseError::ListenerNotFound),
            Some(_) if self.version == 0 && partition.replicas.iter().any(is_offline) => {
                Some(ResponseError::ReplicaNotAvailable)
            }
            Some(_) => None,
        };
        let leader = leader.filter(|leader| leader.endpoint(self.listener).is_some());
        let state = partition.state.as_ref();
        let offline = partition.replicas.iter().copied().filter(is_offline);
        MetadataResponsePartition::default()
            .with_error_code(error.map_or(0, |error| error.code()))
            .with_partition_index(number)
            .with_leader_id(leader.map_or(-1, |leader| leader.id).into())
            .with_leader_epoch(state.map_or(-1, |state| state.leader_epoch))
            .with_replica_nodes(partition.replicas.iter().map(|id| (*id).into()).collect())
            .with_isr_nodes(state.iter().flat_map(|state| &state.isr).map(|id| (*id).into()).collect())
            .with_offline_replicas(offline.map(Into::into).collect())
    }
}

fn failed(error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(error.code()).with_topic_authorized_operations(NOT_ASKED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kafka_protocol::messages::TopicName;

    use super::*;
    use crate::registry::image::{Broker, Endpoint, PartitionState};

    fn broker(id: BrokerId) -> (BrokerId, Arc<Broker>) {
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            host: format!("host{id}"),
            port: 9092,
        };
        (id, Arc::new(Broker { id, epoch: 7, endpoints: vec![endpoint], rack: None }))
    }

    fn partition(leader: Option<BrokerId>) -> Arc<Partition> {
        let state = PartitionState {
            leader,
            leader_epoch: 4,
            isr: vec![1],
            controller_epoch: 1,
            recovering: false,
            version: 0,
            modified: 0,
        };
        Arc::new(Partition { replicas: vec![1, 3], state: Some(state), ..Partition::default() })
    }

    fn image() -> ClusterImage {
        let partitions = BTreeMap::from([(0, partition(Some(1))), (1, partition(None))]);
        let name: Arc<str> = "orders".into();
        let topic = Topic { name: Arc::clone(&name), id: None, partitions, version: 0 };
        let mut image = ClusterImage {
            cluster_id: "c".into(),
            brokers: Arc::new(BTreeMap::from([broker(1), broker(2)])),
            topics: Arc::new(BTreeMap::from([(name, Arc::new(topic))])),
            ..ClusterImage::default()
        };
        image.controller.broker = Some(2);
        image
    }

    fn naming(topic: &'static str) -> MetadataRequest {
        let name = TopicName(StrBytes::from_static_str(topic));
        MetadataRequest::default()
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
    }

    #[test]
    fn a_partition_without_a_leader_says_so_and_the_others_name_theirs() {
        let answer = handle(&naming("orders"), 9, &image(), "PLAINTEXT", &[]);
        let partitions = &answer.topics[0].partitions;
        assert_eq!((*partitions[0].leader_id, partitions[0].error_code), (1, 0));
        assert_eq!(partitions[0].offline_replicas, [kafka_protocol::messages::BrokerId(3)]);
        assert_eq!((*partitions[1].leader_id, partitions[1].error_code), (-1, 5));
        assert_eq!(*answer.controller_id, 2);
    }

    #[test]
    fn null_asks_for_all_topics_and_an_empty_list_only_in_the_first_version() {
        let none = MetadataRequest::default().with_topics(Some(Vec::new()));
        assert_eq!(handle(&none, 0, &image(), "PLAINTEXT", &[]).topics.len(), 1);
        assert_eq!(handle(&none, 1, &image(), "PLAINTEXT", &[]).topics.len(), 0);
        assert_eq!(handle(&none.with_topics(None), 1, &image(), "PLAINTEXT", &[]).topics.len(), 1);
    }

    #[test]
    fn an_unknown_topic_is_created_only_if_the_client_allows_it() {
        let request = naming("bills");
        assert_eq!(to_create(&request.clone().with_allow_auto_topic_creation(false), 4, &image()).len(), 0);
        assert_eq!(to_create(&request, 4, &image()), ["bills".into()]);
        assert_eq!(to_create(&naming("orders"), 4, &image()).len(), 0);
        assert_eq!(handle(&request, 4, &image(), "PLAINTEXT", &[]).topics[0].error_code, 3);
    }

    #[test]
    fn brokers_that_have_no_such_listener_are_not_shown() {
        let answer = handle(&naming("orders"), 9, &image(), "INTERNAL", &[]);
        assert!(answer.brokers.is_empty());
        assert_eq!(*answer.controller_id, -1);
        assert_eq!(answer.topics[0].partitions[0].error_code, ResponseError::ListenerNotFound.code());
    }
}
