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
