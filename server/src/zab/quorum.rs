//! Who counts: which sets of servers are a quorum. ZooKeeper's `QuorumMaj`, `QuorumHierarchical`.

use std::collections::BTreeMap;

use crate::config::{Membership, ServerId};

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
    /// The quorums of a membership.
    #[must_use]
    pub fn new(membership: &Membership) -> Self {
        let mut voters = BTreeMap::new();
        for id in membership.voters() {
            let group = membership.groups.iter().find(|(_, members)| members.contains(&id));
            let weight = membership.weights.get(&id).copied().unwrap_or(1);
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

    /// More than half of the weight in more than half of the groups. Servers that do not vote do not count. It is asked at
    /// each acknowledgement, so it goes through `servers` over and over rather than make a set of them.
    #[doc(alias = "containsQuorum")]
    pub fn is_quorum(&self, servers: impl Iterator<Item = ServerId> + Clone) -> bool {
        let has = |id: ServerId| servers.clone().any(|server| server == id);
        let weight_in = |group: i64| -> u32 {
            let present = self.voters.iter().filter(|(id, (of, _))| *of == group && has(**id));
            present.map(|(_, (_, weight))| weight).sum()
        };
        let won = self.groups.iter().filter(|(group, all)| weight_in(**group) > **all / 2);
        won.count() > self.groups.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `voters` with their groups and weights.
    fn quorum(voters: &[(i64, i64, u32)]) -> Quorum {
        let voters: BTreeMap<_, _> =
            voters.iter().map(|(id, group, weight)| (ServerId(*id), (*group, *weight))).collect();
        let mut groups = BTreeMap::new();
        for (group, weight) in voters.values().filter(|(_, weight)| *weight > 0) {
            *groups.entry(*group).or_insert(0) += weight;
        }
        Quorum { voters, groups }
    }

    fn holds(quorum: &Quorum, servers: &[i64]) -> bool {
        quorum.is_quorum(servers.iter().copied().map(ServerId))
    }

    #[test]
    fn more_than_half_of_the_voters_are_a_quorum() {
        let four = quorum(&[(1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 0, 1)]);
        assert!(!holds(&four, &[1, 2]));
        assert!(holds(&four, &[1, 2, 4]));
    }

    #[test]
    fn strangers_and_repetitions_do_not_count() {
        let three = quorum(&[(1, 0, 1), (2, 0, 1), (3, 0, 1)]);
        assert!(!holds(&three, &[1, 1, 7, 8]));
        assert!(!holds(&three, &[]));
    }

    #[test]
    fn most_groups_must_be_won_by_more_than_half_of_their_weight() {
        let two_of_three_groups =
            quorum(&[(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 2), (5, 2, 1), (6, 3, 1), (7, 3, 1)]);
        assert!(holds(&two_of_three_groups, &[1, 2, 4]));
        assert!(!holds(&two_of_three_groups, &[1, 2, 3, 5]));
        assert!(!holds(&two_of_three_groups, &[4, 6]), "one of two is not more than half");
    }

    #[test]
    fn a_group_without_weight_is_none() {
        let weightless = quorum(&[(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 0), (5, 2, 0)]);
        assert!(holds(&weightless, &[1, 2]));
        assert!(!holds(&weightless, &[4, 5]));
        assert!(weightless.is_voter(ServerId(4)) && !weightless.is_candidate(ServerId(4)));
    }

    #[test]
    fn any_two_quorums_have_a_server_in_common() {
        let groups = quorum(&[(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 1), (5, 3, 3), (6, 3, 1)]);
        let sets: Vec<Vec<i64>> =
            (0..64_u32).map(|bits| (1..=6).filter(|id| bits & (1 << (id - 1)) != 0).collect()).collect();
        let quorums: Vec<_> = sets.iter().filter(|set| holds(&groups, set)).collect();
        assert!(!quorums.is_empty());
        for one in &quorums {
            assert!(quorums.iter().all(|other| other.iter().any(|id| one.contains(id))));
        }
    }
}
