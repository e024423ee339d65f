//! What tools of old write below `/admin` for the controller to carry out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::notes::Named;
use super::{Malformed, decode, encode};
use crate::topic_partition::{BrokerId, TopicPartition};

#[derive(Serialize, Deserialize)]
struct Reassignments {
    version: i32,
    partitions: Vec<Reassignment>,
}

#[derive(Serialize, Deserialize)]
struct Reassignment {
    topic: String,
    partition: i32,
    replicas: Vec<BrokerId>,
}

/// `/admin/reassign_partitions`.
pub fn encode_reassignments(wanted: &BTreeMap<TopicPartition, Vec<BrokerId>>) -> Vec<u8> {
    let partitions = wanted.iter().map(|(tp, replicas)| Reassignment {
        topic: tp.topic.to_string(),
        partition: tp.partition,
        replicas: replicas.clone(),
    });
    encode(&Reassignments { version: 1, partitions: partitions.collect() })
}

/// Reads it.
///
/// # Errors
/// When `data` is no such wish.
pub fn decode_reassignments(data: &[u8]) -> Result<BTreeMap<TopicPartition, Vec<BrokerId>>, Malformed> {
    let wanted: Reassignments = decode("a reassignment", data)?;
    let partitions = wanted.partitions.into_iter();
    Ok(partitions.map(|one| (TopicPartition::new(one.topic, one.partition), one.replicas)).collect())
}

#[derive(Serialize, Deserialize)]
struct PreferredElection {
    version: i32,
    partitions: Vec<Named>,
}

/// `/admin/preferred_replica_election`.
pub fn encode_preferred_election(partitions: &BTreeSet<TopicPartition>) -> Vec<u8> {
    encode(&PreferredElection { version: 1, partitions: partitions.iter().map(Named::from).collect() })
}

/// Reads it.
///
/// # Errors
/// When `data` is no such wish.
pub fn decode_preferred_election(data: &[u8]) -> Result<BTreeSet<TopicPartition>, Malformed> {
    let wanted: PreferredElection = decode("an election of preferred leaders", data)?;
    Ok(wanted.partitions.into_iter().map(TopicPartition::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_have_kafkas_shapes_and_are_read_back() {
        let reassign = BTreeMap::from([(TopicPartition::new("t", 0), vec![1, 2])]);
        let data = encode_reassignments(&reassign);
        let json = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#;
        assert_eq!(data, json.as_bytes());
        assert_eq!(decode_reassignments(&data).unwrap(), reassign);

        let elect = BTreeSet::from([TopicPartition::new("t", 0)]);
        let data = encode_preferred_election(&elect);
        assert_eq!(data, br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#);
        assert_eq!(decode_preferred_election(&data).unwrap(), elect);
        assert!(decode_preferred_election(b"").is_err() && decode_reassignments(b"{}").is_err());
    }
}
