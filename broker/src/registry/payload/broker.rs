//! `/brokers/ids/<id>`: where a broker is reached. Kafka's `BrokerIdZNode`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Malformed, decode, encode};
use crate::registry::image::{Broker, Endpoint};
use crate::topic_partition::BrokerId;

const WHAT: &str = "a broker's registration";
const PLAINTEXT: &str = "PLAINTEXT";

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its number.
    pub id: BrokerId,
    /// Where it is to be reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    version: i32,
    #[serde(default)]
    host: Option<String>,
    #[serde(default = "no_port")]
    port: i32,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default = "no_port", skip_deserializing)]
    jmx_port: i32,
    #[serde(default, skip_deserializing)]
    timestamp: String,
    #[serde(default)]
    listener_security_protocol_map: Option<BTreeMap<String, String>>,
    /// Ours has none; those of others are of no concern.
    #[serde(default, skip_deserializing)]
    features: BTreeMap<String, BTreeMap<String, i16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rack: Option<String>,
}

fn no_port() -> i32 {
    -1
}

impl BrokerRegistration {
    /// The payload, version 5: `now_ms` is wall-clock time.
    pub fn encode(&self, now_ms: i64) -> Vec<u8> {
        let plain = self.endpoints.iter().find(|endpoint| endpoint.protocol == PLAINTEXT);
        let protocols = self.endpoints.iter();
        encode(&Payload {
            version: 5,
            host: plain.map(|endpoint| endpoint.host.clone()),
            port: plain.map_or(-1, |endpoint| i32::from(endpoint.port)),
            endpoints: self.endpoints.iter().map(endpoint_text).collect(),
            jmx_port: -1,
            timestamp: now_ms.to_string(),
            listener_security_protocol_map: Some(
                protocols.map(|endpoint| (endpoint.listener.clone(), endpoint.protocol.clone())).collect(),
            ),
            features: BTreeMap::new(),
            rack: self.rack.clone(),
        })
    }
}

/// The broker that registered itself with `data` in a znode of this czxid.
///
/// # Errors
/// When `data` is none of the versions 1 to 5, or a later one that adds to them.
pub fn decode_broker(id: BrokerId, data: &[u8], czxid: i64) -> Result<Broker, Malformed> {
    let payload: Payload = decode(WHAT, data)?;
    let endpoints = match payload.version {
        ..1 => return Err(Malformed::new(WHAT, format!("version {}", payload.version))),
        1 => vec![only_endpoint(&payload)?],
        _ => {
            let protocols = payload.listener_security_protocol_map.as_ref();
            let parsed = payload.endpoints.iter().map(|text| parse_endpoint(text, protocols));
            parsed.collect::<Result<_, _>>()?
        }
    };
    Ok(Broker { id, epoch: czxid, endpoints, rack: payload.rack.map(Arc::from) })
}

fn only_endpoint(payload: &Payload) -> Result<Endpoint, Malformed> {
    let host = payload.host.clone().ok_or_else(|| Malformed::new(WHAT, "no host"))?;
    let port = u16::try_from(payload.port).map_err(|_| Malformed::new(WHAT, "no port"))?;
    Ok(Endpoint { listener: PLAINTEXT.into(), protocol: PLAINTEXT.into(), host, port })
}

fn endpoint_text(endpoint: &Endpoint) -> String {
    let Endpoint { listener, host, port, .. } = endpoint;
    if host.contains(':') {
        format!("{listener}://[{host}]:{port}")
    } else {
        format!("{listener}://{host}:{port}")
    }
}

/// Without a map of protocols, a listener is named after its own.
fn parse_endpoint(text: &str, protocols: Option<&BTreeMap<String, String>>) -> Result<Endpoint, Malformed> {
    let malformed = || Malformed::new(WHAT, format!("endpoint {text:?}"));
    let (listener, address) = text.split_once("://").ok_or_else(malformed)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let listener = listener.to_ascii_uppercase();
    let protocol = match protocols {
        None => listener.clone(),
        Some(protocols) => protocols.get(&listener).cloned().ok_or_else(malformed)?,
    };
    Ok(Endpoint { listener, protocol, host: host.into(), port: port.parse().map_err(|_| malformed())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(listener: &str, host: &str, port: u16) -> Endpoint {
        Endpoint { listener: listener.into(), protocol: PLAINTEXT.into(), host: host.into(), port }
    }

    #[test]
    fn a_broker_registers_itself_in_the_shape_of_version_5() {
        let endpoints = vec![endpoint("CLIENT", "one.example", 9092), endpoint("INSIDE", "::1", 9093)];
        let registration = BrokerRegistration { id: 7, endpoints, rack: Some("dc1".into()) };
        let data = registration.encode(2_233_345_666);
        assert_eq!(
            String::from_utf8(data.clone()).unwrap(),
            concat!(
                r#"{"version":5,"host":"one.example","port":9092,"#,
                r#""endpoints":["CLIENT://one.example:9092","INSIDE://[::1]:9093"],"jmx_port":-1,"#,
                r#""timestamp":"2233345666","listener_security_protocol_map":{"CLIENT":"PLAINTEXT","#,
                r#""INSIDE":"PLAINTEXT"},"features":{},"rack":"dc1"}"#
            )
        );
        let broker = decode_broker(7, &data, 99).unwrap();
        assert_eq!(broker.endpoints, registration.endpoints);
        assert_eq!((broker.epoch, broker.rack.as_deref()), (99, Some("dc1")));
    }

    #[test]
    fn registrations_of_older_versions_are_read() {
        let one = br#"{"version":1,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":"2233345666"}"#;
        assert_eq!(decode_broker(1, one, 1).unwrap().endpoints, [endpoint("PLAINTEXT", "localhost", 9092)]);
        let two = br#"{"version":2,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":2233345666,
            "endpoints":["PLAINTEXT://host1:9092", "SSL://host1:9093"]}"#;
        let broker = decode_broker(1, two, 1).unwrap();
        assert_eq!(broker.endpoint("PLAINTEXT"), Some(&endpoint("PLAINTEXT", "host1", 9092)));
        assert_eq!(broker.endpoint("SSL").map(|endpoint| &*endpoint.protocol), Some("SSL"));
        let newer = br#"{"version":5,"host":null,"port":-1,"jmx_port":9999,"timestamp":"2","rack":"dc1",
            "endpoints":["CLIENT://host1:9092"],"listener_security_protocol_map":{"CLIENT":"SSL"},
            "features":{"feature":{"min_version":1,"max_version":3}}}"#;
        assert_eq!(decode_broker(1, newer, 1).unwrap().endpoints[0].protocol, "SSL");
    }

    #[test]
    fn what_is_no_registration_is_an_error() {
        for data in [
            &b""[..],
            b"null",
            br#"{"version":0}"#,
            br#"{"version":1,"host":"h","port":-1}"#,
            br#"{"version":4,"endpoints":["PLAINTEXT//h:1"]}"#,
            br#"{"version":4,"endpoints":["PLAINTEXT://h:65536"]}"#,
            br#"{"version":4,"endpoints":["X://h:1"],"listener_security_protocol_map":{}}"#,
        ] {
            assert!(decode_broker(1, data, 1).is_err(), "{}", String::from_utf8_lossy(data));
        }
    }
}
