//! Who counts: which sets of servers are a quorum. ZooKeeper's `QuorumMaj`, `QuorumHierarchical`.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Ensemble, ServerId};

/// The voters, and what a quorum of them is. Any two quorums have a server in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "QuorumVerifier")]
pub struct Quorum {
    /// Each voter's group and weight. Without groups, all stand in one and weigh 1.
    voters: BTreeMap<ServerId, (i64, u32)>,
    /// The weight of each group that has any.
    groups: BTreeMap<i64, u32>,
}

impl Quorum {
    /// The quorums of an ensemble.
    #[must_use]
    pub fn new(ensemble: &Ensemble) -> Self {
        let mut voters = BTreeMap::new();
        for id in ensemble.voters() {
            let group = ensemble.groups.iter().find(|(_, members)| members.contains(&id));
            let weight = ensemble.weights.get(&id).copied().unwrap_or(1);
            voters.insert(id, group.map_or((0, 1), |(group, _)| (*group, weight)));
        }
        let mut groups = BTreeMap::new();
        for (group, weight) in voters.values().filter(|(_, weight)| *weight > 0) {
            *groups.entry(*group).or_insert(0) += weight;
        }
        Self { voters, groups }
    }

    /// Does it vote?
    #[must_use]
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.voters.contains_key(&id)
    }

    /// May it be elected? A server without weight may not.
    #[must_use]
    pub fn is_candidate(&self, id: ServerId) -> bool {
        self.voters.get(&id).is_some_and(|(_, weight)| *weight > 0)
    }

    /// All voters.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.voters.keys().copied()
    }

    /// More than half of the weight in more than half of the groups. Servers that do not vote do not count.
    #[doc(alias = "containsQuorum")]
    pub fn is_quorum(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let mut weights: BTreeMap<i64, u32> = BTreeMap::new();
        let distinct: BTreeSet<ServerId> = servers.into_iter().collect();
        for (group, weight) in distinct.iter().filter_map(|id| self.voters.get(id)) {
            *weights.entry(*group).or_insert(0) += weight;
        }
        let won =
            self.groups.iter().filter(|(group, all)| weights.get(group).is_some_and(|own| *own > **all / 2));
        won.count() > self.groups.len() / 2
    }
}
