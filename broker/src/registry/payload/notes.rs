//! Notes of what has changed: sequential znodes that are read once and swept away.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode, encode};
use crate::topic_partition::{BrokerId, TopicPartition};

/// Whose config it is, as notes name it: `topics/orders`, `brokers/1`, `brokers/<default>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigEntity(pub String);

impl ConfigEntity {
    /// The entity of a topic.
    pub fn topic(topic: &str) -> Self {
        Self(format!("topics/{topic}"))
    }

    /// The entity of a broker, or of all.
    pub fn broker(entity: &str) -> Self {
        Self(format!("brokers/{entity}"))
    }
}

#[derive(Serialize, Deserialize)]
struct ConfigChange {
    version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_name: Option<String>,
}

/// `/config/changes/config_change_<n>`, version 2.
pub fn encode_config_change(entity: &ConfigEntity) -> Vec<u8> {
    let entity_path = Some(entity.0.clone());
    encode(&ConfigChange { version: 2, entity_path, entity_type: None, entity_name: None })
}

/// Reads one of version 1 or 2.
///
/// # Errors
/// When `data` is no such note.
pub fn decode_config_change(data: &[u8]) -> Result<ConfigEntity, Malformed> {
    let change: ConfigChange = decode("a note of a changed config", data)?;
    match (change.entity_path, change.entity_type, change.entity_name) {
        (Some(path), ..) => Ok(ConfigEntity(path)),
        (None, Some(kind), Some(name)) => Ok(ConfigEntity(format!("{kind}/{name}"))),
        _ => Err(Malformed::new("a note of a changed config", "no entity")),
    }
}

#[derive(Serialize, Deserialize)]
struct IsrChange {
    version: i32,
    partitions: Vec<Named>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl From<&TopicPartition> for Named {
    fn from(tp: &TopicPartition) -> Self {
        Self { topic: tp.topic.to_string(), partition: tp.partition }
    }
}

impl From<Named> for TopicPartition {
    fn from(named: Named) -> Self {
        Self::new(named.topic, named.partition)
    }
}

/// `/isr_change_notification/isr_change_<n>`.
pub fn encode_isr_change<'p>(partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Vec<u8> {
    encode(&IsrChange { version: 1, partitions: partitions.into_iter().map(Named::from).collect() })
}

/// Reads one.
///
/// # Errors
/// When `data` is no such note.
pub fn decode_isr_change(data: &[u8]) -> Result<Vec<TopicPartition>, Malformed> {
    let change: IsrChange = decode("a note of changed ISRs", data)?;
    Ok(change.partitions.into_iter().map(TopicPartition::from).collect())
}

/// The only event there is: a directory has failed.
const LOG_DIR_FAILURE: i32 = 1;

#[derive(Serialize, Deserialize)]
struct LogDirEvent {
    version: i32,
    broker: BrokerId,
    event: i32,
}

/// `/log_dir_event_notification/log_dir_event_<n>`: one of the log directories of `broker` has failed.
pub fn encode_log_dir_event(broker: BrokerId) -> Vec<u8> {
    encode(&LogDirEvent { version: 1, broker, event: LOG_DIR_FAILURE })
}

/// Reads whose.
///
/// # Errors
/// When `data` is no such note.
pub fn decode_log_dir_event(data: &[u8]) -> Result<BrokerId, Malformed> {
    Ok(decode::<LogDirEvent>("a note of a failed log directory", data)?.broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_have_kafkas_shapes_and_are_read_back() {
        let note = encode_config_change(&ConfigEntity::topic("t"));
        assert_eq!(note, br#"{"version":2,"entity_path":"topics/t"}"#);
        assert_eq!(decode_config_change(&note).unwrap(), ConfigEntity::topic("t"));
        let old = br#"{"version":1,"entity_type":"brokers","entity_name":"1"}"#;
        assert_eq!(decode_config_change(old).unwrap(), ConfigEntity::broker("1"));

        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let note = encode_isr_change(&partitions);
        let json = concat!(
            r#"{"version":1,"partitions":[{"topic":"t","partition":0},"#,
            r#"{"topic":"t","partition":1}]}"#
        );
        assert_eq!(note, json.as_bytes());
        assert_eq!(decode_isr_change(&note).unwrap(), partitions);

        let note = encode_log_dir_event(1);
        assert_eq!(note, br#"{"version":1,"broker":1,"event":1}"#);
        assert_eq!(decode_log_dir_event(&note).unwrap(), 1);
    }

    #[test]
    fn what_is_no_note_is_an_error() {
        assert!(decode_config_change(br#"{"version":2}"#).is_err());
        assert!(decode_isr_change(br#"{"version":1}"#).is_err());
        assert!(decode_log_dir_event(b"").is_err());
    }
}
