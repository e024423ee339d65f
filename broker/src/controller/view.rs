//! What a controller decides from: the image, and the little that it alone knows.

use std::collections::BTreeMap;

use crate::registry::ClusterImage;
use crate::registry::image::PartitionState;
use crate::registry::paths::DEFAULT_ENTITY;
use crate::topic_partition::BrokerId;

/// The topic's key that allows elections of leaders that are out of sync.
const UNCLEAN: &str = "unclean.leader.election.enable";

/// What is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `delete.topic.enable`.
    pub deletable: bool,
    /// `unclean.leader.election.enable`, for topics that do not say.
    pub unclean: bool,
    /// `leader.imbalance.per.broker.percentage`.
    pub imbalance_percentage_max: u32,
}

/// The brokers that are about to end, by their epochs: one that comes back has another.
pub type Leaving = BTreeMap<BrokerId, i64>;

/// The cluster, as the controller of `epoch` sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'i> {
    /// As the service shows it.
    pub image: &'i ClusterImage,
    /// Who has asked to be relieved.
    pub leaving: &'i Leaving,
    /// What is configured.
    pub policy: Policy,
    /// The controller's own.
    pub epoch: i32,
}

impl View<'_> {
    /// `broker` is registered, and means to stay.
    pub(super) fn is_available(&self, broker: BrokerId) -> bool {
        let epoch = self.image.brokers.get(&broker).map(|broker| broker.epoch);
        epoch.is_some_and(|epoch| self.leaving.get(&broker) != Some(&epoch))
    }

    /// `broker` is in the same life as when `state` was written. One that has ended meanwhile, if only for a moment that
    /// nobody saw, may lack what it had when it was said to be in sync, and does not know that it leads.
    pub(super) fn is_in_same_life(&self, broker: BrokerId, state: &PartitionState) -> bool {
        self.image.brokers.get(&broker).is_some_and(|broker| broker.epoch <= state.modified)
    }

    /// Whether a replica that is out of sync may lead `topic` when no other is left.
    pub(super) fn is_unclean_allowed(&self, topic: &str) -> bool {
        let all_brokers = || self.image.broker_configs.get(DEFAULT_ENTITY)?.get(UNCLEAN);
        let own =
            self.image.topic_configs.get(topic).and_then(|config| config.get(UNCLEAN)).or_else(all_brokers);
        own.map_or(self.policy.unclean, |value| value.eq_ignore_ascii_case("true"))
    }
}
