//! Where everything stands, below the chroot. Kafka's `ZkData`.

use crate::topic_partition::{BrokerId, TopicPartition};

/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// Parent of the brokers that are alive.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Parent of the topics.
pub const TOPICS: &str = "/brokers/topics";
/// Its version numbers brokers that have no number of their own.
pub const BROKER_SEQUENCE: &str = "/brokers/seqid";
/// Ephemeral: who is the controller.
pub const CONTROLLER: &str = "/controller";
/// How many controllers there have been.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// Parent of the configs of topics.
pub const TOPIC_CONFIGS: &str = "/config/topics";
/// Parent of the configs of brokers.
pub const BROKER_CONFIGS: &str = "/config/brokers";
/// Parent of the notes that say whose config has changed.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// What such a note's name begins with.
pub const CONFIG_CHANGE_PREFIX: &str = "/config/changes/config_change_";
/// Parent of the topics that are to be deleted.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// A reassignment wanted by a tool of old.
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// An election of preferred leaders wanted by a tool of old.
pub const PREFERRED_ELECTION: &str = "/admin/preferred_replica_election";
/// Parent of the notes that say whose ISR has changed.
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// What such a note's name begins with.
pub const ISR_CHANGE_PREFIX: &str = "/isr_change_notification/isr_change_";
/// Parent of the notes that say which broker has lost a log directory.
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
/// What such a note's name begins with.
pub const LOG_DIR_EVENT_PREFIX: &str = "/log_dir_event_notification/log_dir_event_";
/// The last block of producer ids that was given away.
pub const PRODUCER_IDS: &str = "/latest_producer_id_block";
/// The features that all brokers have.
pub const FEATURE: &str = "/feature";

/// The name that stands for the config of all brokers, or of all that have none of their own.
pub const DEFAULT_ENTITY: &str = "<default>";

/// What a broker creates at its start if it is missing, parents included.
#[doc(alias = "PersistentZkPaths")]
pub const ROOTS: [&str; 14] = [
    "/consumers",
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE,
    ISR_CHANGES,
    PRODUCER_IDS,
    LOG_DIR_EVENTS,
    TOPIC_CONFIGS,
    "/config/clients",
    "/config/users",
    BROKER_CONFIGS,
    "/config/ips",
];

/// The ephemeral znode of `broker`.
pub fn broker(broker: BrokerId) -> String {
    format!("{BROKER_IDS}/{broker}")
}

/// The assignment of `topic`.
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// Parent of the partitions of `topic`.
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// Parent of a partition's state.
pub fn partition(tp: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}", tp.topic, tp.partition)
}

/// Who leads a partition, and who is in sync.
pub fn partition_state(tp: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}/state", tp.topic, tp.partition)
}

/// The config of `topic`.
pub fn topic_config(topic: &str) -> String {
    format!("{TOPIC_CONFIGS}/{topic}")
}

/// The config of a broker, or of [all](DEFAULT_ENTITY).
pub fn broker_config(entity: &str) -> String {
    format!("{BROKER_CONFIGS}/{entity}")
}

/// The wish that `topic` be deleted.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// Whose state a path below [`TOPICS`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BelowTopics<'p> {
    /// Of a topic itself.
    Topic(&'p str),
    /// Of a partition of it.
    State(&'p str, i32),
    /// Of neither.
    Other,
}

/// What `path`, which is below [`TOPICS`], is about.
pub fn below_topics(path: &str) -> BelowTopics<'_> {
    let mut parts = path.strip_prefix(TOPICS).unwrap_or_default().trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(topic), None, ..) if !topic.is_empty() => BelowTopics::Topic(topic),
        (Some(topic), Some("partitions"), Some(number), Some("state"), None) => {
            number.parse().map_or(BelowTopics::Other, |number| BelowTopics::State(topic, number))
        }
        _ => BelowTopics::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partitions_state_is_told_from_what_is_around_it() {
        let state = partition_state(&TopicPartition::new("orders", 12));
        assert_eq!(state, "/brokers/topics/orders/partitions/12/state");
        assert_eq!(below_topics(&state), BelowTopics::State("orders", 12));
        assert_eq!(below_topics(&topic("orders")), BelowTopics::Topic("orders"));
        for other in [TOPICS, &partitions("orders"), "/brokers/topics/orders/partitions/x/state"] {
            assert_eq!(below_topics(other), BelowTopics::Other, "{other}");
        }
    }
}
