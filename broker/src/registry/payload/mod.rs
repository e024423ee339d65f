//! What znodes hold: JSON of the shapes that Kafka 3.8 writes, and reads from its older versions.
//!
//! A field we do not know is skipped, so that a newer version is read, too.

mod admin;
mod broker;
mod cluster;
mod config;
mod notes;
mod state;
mod topic;

pub use admin::{
    decode_preferred_election, decode_reassignments, encode_preferred_election, encode_reassignments,
};
pub use broker::{BrokerRegistration, decode_broker};
pub use cluster::{
    ProducerIdBlock, decode_cluster_id, decode_controller, decode_controller_epoch, decode_feature_version,
    encode_cluster_id, encode_controller, encode_feature,
};
pub use config::{decode_config, encode_config};
pub use notes::{
    ConfigEntity, decode_config_change, decode_isr_change, decode_log_dir_event, encode_config_change,
    encode_isr_change, encode_log_dir_event,
};
pub use state::{StatePayload, decode_state};
pub use topic::{Assignment, TopicPayload};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A znode whose data is not what its path promises.
#[derive(Debug, thiserror::Error)]
#[error("{what} is malformed: {flaw}")]
pub struct Malformed {
    /// Of which kind the znode is.
    pub what: &'static str,
    /// What is wrong with it.
    pub flaw: String,
}

impl Malformed {
    fn new(what: &'static str, flaw: impl Into<String>) -> Self {
        Self { what, flaw: flaw.into() }
    }
}

fn decode<T: DeserializeOwned>(what: &'static str, data: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(data).map_err(|cause| Malformed::new(what, cause.to_string()))
}

/// `serde_json` fails on maps whose keys are no strings and on writers that fail; here are neither.
fn encode(payload: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).expect("payloads have string keys and go to memory")
}

#[cfg(test)]
mod tests {
    use client::Stat;
    use proptest::prelude::*;

    use super::*;

    /// JSON that is nearly right: known names, values of any kind.
    fn json() -> impl Strategy<Value = Vec<u8>> {
        let names = prop::sample::select(vec![
            "version",
            "id",
            "brokerid",
            "leader",
            "isr",
            "leader_epoch",
            "controller_epoch",
            "partitions",
            "topic",
            "partition",
            "replicas",
            "host",
            "port",
            "endpoints",
            "config",
            "block_start",
            "block_end",
            "broker",
            "adding_replicas",
            "topic_id",
            "0",
            "-1",
            "entity_path",
            "event",
            "status",
        ]);
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(serde_json::Value::from),
            "[-A-Z:/0-9\\[\\]]{0,12}".prop_map(serde_json::Value::from),
        ];
        let any_value = leaf.prop_recursive(4, 24, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::hash_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        any_value.prop_map(|value| value.to_string().into_bytes())
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_znode_is_read_or_an_error(
            data in prop_oneof![json(), prop::collection::vec(any::<u8>(), 0..64)]
        ) {
            let _ = decode_broker(1, &data, 1);
            let _ = decode_state(&data, &Stat::default());
            let _ = decode_cluster_id(&data);
            let _ = decode_controller(&data);
            let _ = decode_controller_epoch(&data);
            let _ = decode_feature_version(&data);
            let _ = ProducerIdBlock::decode(&data).map(|block| ProducerIdBlock::next(1, block));
            let _ = decode_config_change(&data);
            let _ = decode_isr_change(&data);
            let _ = decode_log_dir_event(&data);
            let _ = decode_preferred_election(&data);
            let _ = decode_reassignments(&data);
            if let Ok(topic) = TopicPayload::decode(&data) {
                prop_assert_eq!(TopicPayload::decode(&topic.encode()).expect("it was just written").id, topic.id);
            }
            if let Ok(config) = decode_config(&data) {
                prop_assert_eq!(decode_config(&encode_config(&config)).expect("it was just written"), config);
            }
        }
    }
}
