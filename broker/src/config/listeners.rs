//! `listeners`, `advertised.listeners` and the protocols they speak.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ConfigError;
use super::properties::Properties;
use crate::registry::image::Endpoint;

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";
const INTER_BROKER: &str = "inter.broker.listener.name";
const INTER_BROKER_PROTOCOL: &str = "security.inter.broker.protocol";
const PLAINTEXT: &str = "PLAINTEXT";
const KNOWN_PROTOCOLS: [&str; 4] = [PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Where the broker listens, and where it says that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// Where sockets are bound. An empty host is every address, and port 0 is any that is free.
    pub bound: Vec<Endpoint>,
    /// What the others are told: a subset of the names in `bound`. Port 0 stands for the one that was bound.
    pub advertised: Vec<Endpoint>,
    /// The listener by which brokers reach each other.
    pub inter_broker: String,
}

impl Listeners {
    pub(super) fn read(properties: &mut Properties) -> Result<Self, ConfigError> {
        let protocols = protocols(properties)?;
        let bound = match properties.text(LISTENERS) {
            None => endpoints(properties, LISTENERS, "PLAINTEXT://:9092", &protocols)?,
            Some(text) => endpoints(properties, LISTENERS, &text, &protocols)?,
        };
        let advertised = match properties.text(ADVERTISED) {
            None => bound.clone(),
            Some(text) => endpoints(properties, ADVERTISED, &text, &protocols)?,
        };
        check_bound(properties, &bound)?;
        check_advertised(properties, &bound, &advertised)?;
        let inter_broker = inter_broker(properties, &advertised)?;
        Ok(Self { bound, advertised, inter_broker })
    }
}

/// Without a map, each protocol is spoken by the listener of its name.
fn protocols(properties: &mut Properties) -> Result<BTreeMap<String, String>, ConfigError> {
    let list = properties.list(PROTOCOLS);
    if list.is_empty() {
        return Ok(KNOWN_PROTOCOLS.map(|name| (name.to_owned(), name.to_owned())).into());
    }
    let pairs = list.iter().map(|pair| {
        let (name, protocol) =
            pair.split_once(':').ok_or_else(|| properties.wrong(PROTOCOLS, "no NAME:PROTOCOL"))?;
        let protocol = protocol.trim().to_ascii_uppercase();
        if KNOWN_PROTOCOLS.contains(&protocol.as_str()) {
            Ok((name.trim().to_ascii_uppercase(), protocol))
        } else {
            Err(properties.wrong(PROTOCOLS, format!("there is no protocol {protocol}")))
        }
    });
    pairs.collect()
}

fn endpoints(
    properties: &Properties,
    key: &'static str,
    text: &str,
    protocols: &BTreeMap<String, String>,
) -> Result<Vec<Endpoint>, ConfigError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parsed = parts.map(|part| endpoint(part, protocols).map_err(|flaw| properties.wrong(key, flaw)));
    let endpoints = parsed.collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<_> = endpoints.iter().map(|endpoint| &endpoint.listener).collect();
    if names.len() < endpoints.len() {
        return Err(properties.wrong(key, "each listener must have a name of its own"));
    }
    if endpoints.is_empty() {
        return Err(properties.wrong(key, "no listener"));
    }
    Ok(endpoints)
}

fn endpoint(text: &str, protocols: &BTreeMap<String, String>) -> Result<Endpoint, String> {
    let shape = || format!("{text} is not NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(shape)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(shape)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| shape())?;
    let listener = name.to_ascii_uppercase();
    let protocol = protocols.get(&listener);
    let protocol = protocol.ok_or_else(|| format!("{PROTOCOLS} has no protocol for listener {listener}"))?;
    if protocol != PLAINTEXT {
        return Err(format!("listener {listener}: {protocol} is not supported, only {PLAINTEXT}"));
    }
    Ok(Endpoint { listener, protocol: protocol.clone(), host: host.to_owned(), port })
}

fn check_bound(properties: &Properties, bound: &[Endpoint]) -> Result<(), ConfigError> {
    let mut addresses = BTreeSet::new();
    let twice =
        bound.iter().filter(|endpoint| endpoint.port != 0).find(|it| !addresses.insert((&it.host, it.port)));
    match twice {
        Some(twice) => Err(properties.wrong(LISTENERS, format!("port {} is bound twice", twice.port))),
        None => Ok(()),
    }
}

fn check_advertised(
    properties: &Properties,
    bound: &[Endpoint],
    told: &[Endpoint],
) -> Result<(), ConfigError> {
    // Where nothing is advertised, the fault is in what is bound.
    let key = if properties.has(ADVERTISED) { ADVERTISED } else { LISTENERS };
    for endpoint in told {
        if !bound.iter().any(|it| it.listener == endpoint.listener) {
            return Err(properties.wrong(key, format!("{} is not one of {LISTENERS}", endpoint.listener)));
        }
        if key == ADVERTISED && matches!(&*endpoint.host, "0.0.0.0" | "::" | "") {
            return Err(properties.wrong(key, "nobody can connect to every address: name one"));
        }
        if matches!(&*endpoint.host, "0.0.0.0" | "::") {
            let flaw = format!("clients cannot be told to connect to every address: set {ADVERTISED}");
            return Err(properties.wrong(key, flaw));
        }
    }
    Ok(())
}

fn inter_broker(properties: &mut Properties, advertised: &[Endpoint]) -> Result<String, ConfigError> {
    let named = properties.first_of(&[INTER_BROKER, INTER_BROKER_PROTOCOL]);
    let Some(key) = named else {
        let plain = advertised.iter().find(|endpoint| endpoint.listener == PLAINTEXT).or(advertised.first());
        return Ok(plain.map(|endpoint| endpoint.listener.clone()).unwrap_or_default());
    };
    let name = properties.text(key).unwrap_or_default().to_ascii_uppercase();
    if !advertised.iter().any(|endpoint| endpoint.listener == name) {
        return Err(properties.wrong(key, format!("no advertised listener is called {name}")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<Listeners, ConfigError> {
        Listeners::read(&mut Properties::parse(Path::new("f"), text.as_bytes()).unwrap())
    }

    fn names(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(|it| format!("{}={}:{}", it.listener, it.host, it.port)).collect()
    }

    #[test]
    fn what_is_bound_is_advertised_unless_said_otherwise() {
        let listeners = read("").unwrap();
        assert_eq!(names(&listeners.bound), ["PLAINTEXT=:9092"]);
        assert_eq!(listeners.advertised, listeners.bound);
        assert_eq!(listeners.inter_broker, "PLAINTEXT");

        let text = "listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://one.example:19092";
        assert_eq!(names(&read(text).unwrap().advertised), ["PLAINTEXT=one.example:19092"]);
    }

    #[test]
    fn listeners_may_have_names() {
        let text = "listeners=CLIENT://:9092, inside://[::1]:9093\n\
                    listener.security.protocol.map=CLIENT:PLAINTEXT,INSIDE:PLAINTEXT\n\
                    inter.broker.listener.name=INSIDE";
        let listeners = read(text).unwrap();
        assert_eq!(names(&listeners.bound), ["CLIENT=:9092", "INSIDE=::1:9093"]);
        assert_eq!(listeners.inter_broker, "INSIDE");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (text, told) in [
            ("listeners=SSL://:9093", "SSL is not supported"),
            ("listeners=CLIENT://:9092", "no protocol for listener CLIENT"),
            ("listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "a name of its own"),
            ("listeners=PLAINTEXT:9092", "is not NAME://host:port"),
            ("listeners=PLAINTEXT://:70000", "is not NAME://host:port"),
            ("listeners=PLAINTEXT://0.0.0.0:9092", "set advertised.listeners"),
            ("listener.security.protocol.map=A:TLS", "there is no protocol TLS"),
            ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "name one"),
            ("inter.broker.listener.name=INSIDE", "no advertised listener is called INSIDE"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("f:1: ") && error.contains(told), "{text}: {error}");
        }
    }
}
