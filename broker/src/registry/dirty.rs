//! Which parts of the image no longer show what the service has.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::paths::{self, BelowTopics};
use crate::topic_partition::{BrokerId, TopicPartition};

/// What has to be read anew. Events say only where something has happened: what, the znodes themselves tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dirty {
    /// Everything: events may have been missed.
    pub(super) everything: bool,
    /// `/controller` or its epoch.
    pub(super) controller: bool,
    pub(super) brokers: BTreeSet<BrokerId>,
    pub(super) topics: BTreeSet<Arc<str>>,
    pub(super) states: BTreeSet<TopicPartition>,
    pub(super) topic_configs: BTreeSet<Arc<str>>,
    pub(super) broker_configs: BTreeSet<Arc<str>>,
    /// `/admin`, all of it: it is short.
    pub(super) wishes: bool,
}

impl Dirty {
    pub(super) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    pub(super) fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Something has happened to the znode at `path`.
    pub(super) fn touched(&mut self, path: &str) {
        let child =
            |parent: &str| path.strip_prefix(parent)?.strip_prefix('/').filter(|name| !name.contains('/'));
        if path == paths::CONTROLLER || path == paths::CONTROLLER_EPOCH {
            self.controller = true;
        } else if path.starts_with(paths::TOPICS) {
            match paths::below_topics(path) {
                BelowTopics::Topic(topic) => _ = self.topics.insert(topic.into()),
                BelowTopics::State(topic, partition) => {
                    self.states.insert(TopicPartition::new(topic, partition));
                }
                BelowTopics::Other => {}
            }
        } else if let Some(broker) = child(paths::BROKER_IDS) {
            self.brokers.extend(broker.parse::<BrokerId>());
        } else if let Some(topic) = child(paths::TOPIC_CONFIGS) {
            self.topic_configs.insert(topic.into());
        } else if let Some(broker) = child(paths::BROKER_CONFIGS) {
            self.broker_configs.insert(broker.into());
        } else if path.starts_with("/admin/") {
            self.wishes = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(path: &str) -> Dirty {
        let mut dirty = Dirty::default();
        dirty.touched(path);
        dirty
    }

    #[test]
    fn an_event_makes_dirty_what_it_is_about() {
        assert!(after("/controller").controller && after("/controller_epoch").controller);
        assert_eq!(after("/brokers/ids/3").brokers, BTreeSet::from([3]));
        assert_eq!(after("/brokers/topics/a").topics, BTreeSet::from(["a".into()]));
        let state = after("/brokers/topics/a/partitions/0/state");
        assert_eq!(state.states, BTreeSet::from([TopicPartition::new("a", 0)]));
        assert_eq!(after("/config/topics/a").topic_configs, BTreeSet::from(["a".into()]));
        assert_eq!(after("/config/brokers/<default>").broker_configs, BTreeSet::from(["<default>".into()]));
        assert!(after("/admin/delete_topics/a").wishes && after("/admin/reassign_partitions").wishes);
    }

    #[test]
    fn an_event_of_no_concern_leaves_all_clean() {
        for path in [
            "/brokers/ids",
            "/brokers/topics",
            "/brokers/topics/a/partitions",
            "/brokers/topics/a/partitions/0",
            "/brokers/seqid",
            "/config/changes/config_change_0000000001",
            "/config/users/u/clients/c",
            "/brokers/ids/none",
        ] {
            assert!(after(path).is_clean(), "{path}");
        }
    }
}
