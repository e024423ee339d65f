//! What there is one of in a cluster: its id, its controller, the last block of producer ids, its features.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Malformed, decode, encode};
use crate::topic_partition::BrokerId;

#[derive(Serialize, Deserialize)]
struct ClusterId {
    /// A string, here alone.
    version: String,
    id: String,
}

/// `/cluster/id`.
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    encode(&ClusterId { version: "1".into(), id: id.into() })
}

/// Reads it.
///
/// # Errors
/// When `data` is no such payload.
pub fn decode_cluster_id(data: &[u8]) -> Result<String, Malformed> {
    Ok(decode::<ClusterId>("the cluster's id", data)?.id)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Controller {
    #[serde(default)]
    version: i32,
    #[serde(rename = "brokerid")]
    broker_id: BrokerId,
    #[serde(default, skip_deserializing)]
    timestamp: String,
    #[serde(default, skip_deserializing)]
    kraft_controller_epoch: i32,
}

/// `/controller`, version 2: `now_ms` is wall-clock time.
pub fn encode_controller(broker_id: BrokerId, now_ms: i64) -> Vec<u8> {
    encode(&Controller { version: 2, broker_id, timestamp: now_ms.to_string(), kraft_controller_epoch: -1 })
}

/// Reads who it is.
///
/// # Errors
/// When `data` is no such payload.
pub fn decode_controller(data: &[u8]) -> Result<BrokerId, Malformed> {
    Ok(decode::<Controller>("the controller", data)?.broker_id)
}

/// `/controller_epoch`: a number in decimal.
///
/// # Errors
/// When it is none.
pub fn decode_controller_epoch(data: &[u8]) -> Result<i32, Malformed> {
    let text = std::str::from_utf8(data).unwrap_or_default();
    text.trim().parse().map_err(|_| Malformed::new("the controller's epoch", format!("{text:?}")))
}

/// `/latest_producer_id_block`: ids that a broker may give to producers, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    #[serde(default = "one")]
    version: i32,
    /// Whose they are.
    pub broker: BrokerId,
    /// The first.
    #[serde(rename = "block_start", serialize_with = "as_text", deserialize_with = "from_text")]
    pub first: i64,
    /// The last.
    #[serde(rename = "block_end", serialize_with = "as_text", deserialize_with = "from_text")]
    pub last: i64,
}

/// How many producer ids a broker takes at once.
const BLOCK_IDS: i64 = 1000;

impl ProducerIdBlock {
    /// The block for `broker` that follows `latest`. `None` when there are no ids left.
    pub fn next(broker: BrokerId, latest: Option<Self>) -> Option<Self> {
        let first = latest.map_or(Some(0), |latest| latest.last.checked_add(1))?;
        Some(Self { version: 1, broker, first, last: first.checked_add(BLOCK_IDS - 1)? })
    }

    /// The payload, version 1.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it; no data is no block.
    ///
    /// # Errors
    /// When `data` is no block.
    pub fn decode(data: &[u8]) -> Result<Option<Self>, Malformed> {
        if data.is_empty() {
            return Ok(None);
        }
        decode("a block of producer ids", data).map(Some)
    }
}

fn one() -> i32 {
    1
}

fn as_text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(i64),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Number(number) => Ok(number),
    }
}

#[derive(Serialize, Deserialize)]
struct Feature {
    version: i32,
    status: i32,
    #[serde(default)]
    features: serde_json::Map<String, serde_json::Value>,
}

/// `/feature`: enabled, and none that need agreement.
pub fn encode_feature() -> Vec<u8> {
    encode(&Feature { version: 2, status: 1, features: serde_json::Map::new() })
}

/// Which version of the payload stands there.
///
/// # Errors
/// When `data` is no such payload.
pub fn decode_feature_version(data: &[u8]) -> Result<i32, Malformed> {
    Ok(decode::<Feature>("the cluster's features", data)?.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: Vec<u8>) -> String {
        String::from_utf8(data).unwrap()
    }

    #[test]
    fn payloads_have_kafkas_shapes() {
        assert_eq!(text(encode_cluster_id("abc")), r#"{"version":"1","id":"abc"}"#);
        assert_eq!(
            text(encode_controller(1, 5)),
            r#"{"version":2,"brokerid":1,"timestamp":"5","kraftControllerEpoch":-1}"#
        );
        assert_eq!(text(encode_feature()), r#"{"version":2,"status":1,"features":{}}"#);
        let block = ProducerIdBlock::next(1, None).unwrap();
        assert_eq!(text(block.encode()), r#"{"version":1,"broker":1,"block_start":"0","block_end":"999"}"#);
    }

    #[test]
    fn payloads_of_others_are_read() {
        assert_eq!(decode_cluster_id(br#"{"version":"1","id":"abc"}"#).unwrap(), "abc");
        assert_eq!(decode_controller(br#"{"version":1,"brokerid":3,"timestamp":"1"}"#).unwrap(), 3);
        assert_eq!(decode_controller_epoch(b"17").unwrap(), 17);
        assert_eq!(decode_feature_version(&encode_feature()).unwrap(), 2);
        assert!(decode_controller_epoch(b"x").is_err() && decode_controller_epoch(&[0xff]).is_err());
    }

    #[test]
    fn blocks_of_producer_ids_follow_each_other_until_there_are_no_more() {
        let first = ProducerIdBlock::next(1, None).unwrap();
        let second = ProducerIdBlock::next(2, Some(first)).unwrap();
        assert_eq!((second.broker, second.first, second.last), (2, 1000, 1999));
        assert_eq!(ProducerIdBlock::decode(&second.encode()).unwrap(), Some(second));
        assert_eq!(ProducerIdBlock::decode(b"").unwrap(), None);
        let last = ProducerIdBlock { last: i64::MAX - 10, ..second };
        assert_eq!(ProducerIdBlock::next(1, Some(last)), None);
        assert!(ProducerIdBlock::decode(br#"{"broker":1,"block_start":"a","block_end":"9"}"#).is_err());
    }
}
