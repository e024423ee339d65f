//! `/config/<type>/<name>`: settings that differ from the default. Kafka's `ConfigEntityZNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Malformed, decode, encode};
use crate::registry::image::Overrides;

#[derive(Serialize)]
struct Written<'c> {
    version: i32,
    config: &'c Overrides,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    config: BTreeMap<String, serde_json::Value>,
}

/// The payload, version 1. All values are strings.
pub fn encode_config(config: &Overrides) -> Vec<u8> {
    encode(&Written { version: 1, config })
}

/// Reads a config. No data is no settings, and a value that is no string is its text.
///
/// # Errors
/// When `data` is no config.
pub fn decode_config(data: &[u8]) -> Result<Overrides, Malformed> {
    if data.is_empty() {
        return Ok(Overrides::new());
    }
    let Read { config } = decode("a config", data)?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(config.into_iter().map(|(name, value)| (name, text(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_kafkas_shape_and_is_read_back() {
        let config = Overrides::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let data = encode_config(&config);
        assert_eq!(
            String::from_utf8(data.clone()).unwrap(),
            r#"{"version":1,"config":{"retention.ms":"1000"}}"#
        );
        assert_eq!(decode_config(&data).unwrap(), config);
        assert_eq!(encode_config(&Overrides::new()), br#"{"version":1,"config":{}}"#);
    }

    #[test]
    fn a_config_without_data_or_with_numbers_is_read() {
        assert_eq!(decode_config(b"").unwrap(), Overrides::new());
        let config = decode_config(br#"{"version":1,"config":{"retention.ms":1000}}"#).unwrap();
        assert_eq!(config.get("retention.ms").map(String::as_str), Some("1000"));
        assert!(decode_config(b"[").is_err());
    }
}
