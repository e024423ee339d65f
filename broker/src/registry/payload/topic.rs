//! `/brokers/topics/<topic>`: who has which partition. Kafka's `TopicZNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Malformed, decode, encode};
use crate::registry::id::{id_text, parse_id};
use crate::topic_partition::BrokerId;

const WHAT: &str = "a topic's assignment";

/// What a topic's znode says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPayload {
    /// Which topic of its name it is.
    pub id: Option<Uuid>,
    /// By the partitions' numbers.
    pub partitions: BTreeMap<i32, Assignment>,
}

/// Who is to have a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[doc(alias = "ReplicaAssignment")]
pub struct Assignment {
    /// All of them, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Those that it takes away in the end.
    pub removing: Vec<BrokerId>,
}

impl Assignment {
    /// Of a partition that is not being reassigned.
    pub fn of(replicas: impl Into<Vec<BrokerId>>) -> Self {
        Self { replicas: replicas.into(), ..Self::default() }
    }
}

#[derive(Serialize, Deserialize)]
struct Payload {
    version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    #[serde(default)]
    partitions: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default)]
    adding_replicas: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default)]
    removing_replicas: BTreeMap<i32, Vec<BrokerId>>,
}

impl TopicPayload {
    /// The payload, version 3.
    pub fn encode(&self) -> Vec<u8> {
        let of = |part: fn(&Assignment) -> &Vec<BrokerId>| {
            let all = self.partitions.iter().map(move |(number, assignment)| (*number, part(assignment)));
            all.filter(|(_, replicas)| !replicas.is_empty())
                .map(|(number, replicas)| (number, replicas.clone()))
        };
        encode(&Payload {
            version: 3,
            topic_id: self.id.map(id_text),
            partitions: of(|assignment| &assignment.replicas).collect(),
            adding_replicas: of(|assignment| &assignment.adding).collect(),
            removing_replicas: of(|assignment| &assignment.removing).collect(),
        })
    }

    /// Reads any version.
    ///
    /// # Errors
    /// When `data` is no assignment, or a partition's number is below 0.
    pub fn decode(data: &[u8]) -> Result<Self, Malformed> {
        let mut payload: Payload = decode(WHAT, data)?;
        let id = payload.topic_id.as_deref();
        let id =
            id.map(|text| parse_id(text).ok_or_else(|| Malformed::new(WHAT, format!("topic id {text:?}"))));
        if let Some((number, _)) = payload.partitions.first_key_value().filter(|(number, _)| **number < 0) {
            return Err(Malformed::new(WHAT, format!("partition {number}")));
        }
        let partitions = payload.partitions.into_iter().map(|(number, replicas)| {
            let adding = payload.adding_replicas.remove(&number).unwrap_or_default();
            let removing = payload.removing_replicas.remove(&number).unwrap_or_default();
            (number, Assignment { replicas, adding, removing })
        });
        Ok(Self { id: id.transpose()?, partitions: partitions.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_has_the_shape_of_version_3() {
        let moving = Assignment { replicas: vec![3, 1, 2], adding: vec![3], removing: vec![1] };
        let partitions = BTreeMap::from([(0, Assignment::of([1, 2])), (10, moving)]);
        let topic = TopicPayload { id: Some(Uuid::nil()), partitions };
        let data = topic.encode();
        assert_eq!(
            String::from_utf8(data.clone()).unwrap(),
            concat!(
                r#"{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":{"0":[1,2],"10":[3,1,2]},"#,
                r#""adding_replicas":{"10":[3]},"removing_replicas":{"10":[1]}}"#
            )
        );
        assert_eq!(TopicPayload::decode(&data).unwrap(), topic);
    }

    #[test]
    fn assignments_of_versions_1_and_2_are_read() {
        let one = TopicPayload::decode(br#"{"version":1,"partitions":{"1":[2],"0":[1]}}"#).unwrap();
        assert_eq!(one.id, None);
        assert_eq!(one.partitions, BTreeMap::from([(0, Assignment::of([1])), (1, Assignment::of([2]))]));
        let two = br#"{"version":2,"partitions":{"0":[1]},"adding_replicas":{},"removing_replicas":{}}"#;
        assert_eq!(TopicPayload::decode(two).unwrap().partitions.len(), 1);
    }

    #[test]
    fn what_is_no_assignment_is_an_error() {
        for data in [
            &b""[..],
            b"[]",
            br#"{"version":3,"partitions":{"x":[1]}}"#,
            br#"{"version":3,"partitions":{"-1":[1]}}"#,
            br#"{"version":3,"partitions":{"0":1}}"#,
            br#"{"version":3,"topic_id":"short","partitions":{}}"#,
        ] {
            assert!(TopicPayload::decode(data).is_err(), "{}", String::from_utf8_lossy(data));
        }
    }
}
