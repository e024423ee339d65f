//! Assignments that clients name themselves.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::error::ResponseError;

use crate::registry::{ClusterImage, Refusal};
use crate::topic_partition::BrokerId;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ResponseError::InvalidReplicaAssignment, message)
}

/// That a new topic may have it: partitions from 0 without holes, as many replicas for each, none twice.
pub(super) fn check_new(assignment: &BTreeMap<i32, Vec<BrokerId>>) -> Result<(), Refusal> {
    let counts: BTreeSet<_> = assignment.values().map(Vec::len).collect();
    if counts.len() != 1 || counts.contains(&0) {
        return Err(invalid("All partitions should have the same number of replicas"));
    }
    if !assignment.keys().copied().eq(0..i32::try_from(assignment.len()).unwrap_or(i32::MAX)) {
        return Err(invalid("partitions should be a consecutive 0-based integer sequence"));
    }
    assignment.values().try_for_each(|replicas| check_unique(replicas))
}

/// That the partitions which come to a topic may have it: so many, each with so many replicas on brokers that are alive.
pub(super) fn check_added(
    image: &ClusterImage,
    assignment: &[Vec<BrokerId>],
    partitions: usize,
    replicas: usize,
) -> Result<(), Refusal> {
    let unknown: BTreeSet<_> =
        assignment.iter().flatten().filter(|broker| !image.is_alive(**broker)).collect();
    if !unknown.is_empty() {
        return Err(invalid(format!("Unknown broker(s) in replica assignment: {unknown:?}.")));
    }
    if assignment.len() != partitions {
        let given = assignment.len();
        return Err(invalid(format!(
            "Increasing the number of partitions by {partitions} but {given} assignments provided."
        )));
    }
    assignment.iter().try_for_each(|replicas| check_unique(replicas))?;
    match assignment.iter().find(|brokers| brokers.len() != replicas) {
        Some(brokers) => Err(invalid(format!(
            "Inconsistent replication factor between partitions, the topic has {replicas} while {} were given.",
            brokers.len()
        ))),
        None => Ok(()),
    }
}

fn check_unique(replicas: &[BrokerId]) -> Result<(), Refusal> {
    let unique: BTreeSet<_> = replicas.iter().collect();
    if unique.len() < replicas.len() {
        return Err(invalid(format!("Duplicate replica assignment found: {replicas:?}")));
    }
    match replicas.iter().find(|replica| **replica < 0) {
        Some(replica) => Err(invalid(format!("Invalid broker id {replica} in replica assignment"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_topics_assignment_is_dense_and_even() {
        let check = |pairs: &[(i32, &[BrokerId])]| {
            check_new(&pairs.iter().map(|(number, replicas)| (*number, replicas.to_vec())).collect())
        };
        assert!(check(&[(0, &[1, 2]), (1, &[2, 1])]).is_ok());
        for wrong in [
            &[(0, &[1, 2][..]), (1, &[2])][..],
            &[(0, &[])],
            &[(1, &[1])],
            &[(0, &[1]), (2, &[1])],
            &[(0, &[1, 1])],
            &[(0, &[-1])],
        ] {
            let refusal = check(wrong).unwrap_err();
            assert_eq!(refusal.code, ResponseError::InvalidReplicaAssignment, "{wrong:?}");
        }
    }
}
