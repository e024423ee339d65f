//! Configs of topics and brokers, changed while they are at work.

use kafka_protocol::error::ResponseError;

use super::Admin;
use crate::config::topic::{KEYS, Kind, find};
use crate::registry::image::Overrides;
use crate::registry::payload::ConfigEntity;
use crate::registry::{Refusal, paths};
use crate::topic_partition::BrokerId;

/// Whose config it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic's.
    Topic(String),
    /// A broker's; `None` is all brokers'.
    Broker(Option<BrokerId>),
}

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "AlterConfigOp")]
pub enum ConfigOp {
    /// This value.
    Set(String),
    /// The default.
    Delete,
    /// These in addition, of a list.
    Append(String),
    /// Without these, of a list.
    Subtract(String),
}

impl Admin {
    /// Sets what a config is to be as a whole; what is not in it has its default. If only `validate` is wanted, nothing is
    /// written.
    ///
    /// # Errors
    /// [`ResponseError::UnknownTopicOrPartition`], [`ResponseError::InvalidConfig`], [`ResponseError::InvalidRequest`].
    pub async fn set_config(
        &self,
        resource: &ConfigResource,
        config: Overrides,
        validate: bool,
    ) -> Result<(), Refusal> {
        self.change(resource, validate, |_| Ok(config.clone())).await
    }

    /// Changes some settings of a config.
    ///
    /// # Errors
    /// As [`Admin::set_config`].
    pub async fn alter_config(
        &self,
        resource: &ConfigResource,
        ops: &[(String, ConfigOp)],
        validate: bool,
    ) -> Result<(), Refusal> {
        for (at, (name, _)) in ops.iter().enumerate() {
            if ops[..at].iter().any(|(earlier, _)| earlier == name) {
                let message = format!("Error due to duplicate config keys : {name}");
                return Err(Refusal::new(ResponseError::InvalidRequest, message));
            }
        }
        self.change(resource, validate, |known| altered(known, ops)).await
    }

    async fn change(
        &self,
        resource: &ConfigResource,
        validate: bool,
        change: impl Fn(Overrides) -> Result<Overrides, Refusal>,
    ) -> Result<(), Refusal> {
        let (path, entity) = self.place_of(resource).await?;
        let image = self.registry.image();
        let checked = |known: Overrides| {
            let config = change(known)?;
            match resource {
                ConfigResource::Topic(_) => self.check_topic_config(&config).map(drop)?,
                ConfigResource::Broker(_) => self.check_broker_config(&config)?,
            }
            Ok(config)
        };
        if validate {
            let known = match resource {
                ConfigResource::Topic(name) => image.topic_config(name),
                ConfigResource::Broker(id) => {
                    let entity = id.map_or(paths::DEFAULT_ENTITY.to_owned(), |id| id.to_string());
                    image.broker_configs.get(&*entity).cloned().unwrap_or_default()
                }
            };
            return checked(Overrides::clone(&known)).map(drop);
        }
        self.change_config(&path, &entity, checked).await
    }

    async fn place_of(&self, resource: &ConfigResource) -> Result<(String, ConfigEntity), Refusal> {
        match resource {
            ConfigResource::Topic(name) if name.is_empty() => {
                Err(Refusal::new(ResponseError::InvalidRequest, "Default topic resources are not allowed."))
            }
            ConfigResource::Topic(name) => {
                let image = self.fresh_image().await?;
                match image.topic(name).filter(|_| !image.is_deleting(name)) {
                    Some(_) => Ok((paths::topic_config(name), ConfigEntity::topic(name))),
                    None => {
                        let message = format!("The topic '{}' does not exist.", name.escape_default());
                        Err(Refusal::new(ResponseError::UnknownTopicOrPartition, message))
                    }
                }
            }
            ConfigResource::Broker(Some(id)) if *id != self.broker => {
                let message = format!("Unexpected broker id, expected {}, but received {id}", self.broker);
                Err(Refusal::new(ResponseError::InvalidRequest, message))
            }
            ConfigResource::Broker(id) => {
                let entity = id.map_or(paths::DEFAULT_ENTITY.to_owned(), |id| id.to_string());
                Ok((paths::broker_config(&entity), ConfigEntity::broker(&entity)))
            }
        }
    }

    /// What brokers say in a topic's place can change while they are at work; all else is read at their start.
    fn check_broker_config(&self, config: &Overrides) -> Result<(), Refusal> {
        let is_dynamic =
            |name: &str| KEYS.iter().any(|key| key.synonyms.iter().any(|synonym| synonym.name == name));
        if let Some(name) = config.keys().find(|name| !is_dynamic(name)) {
            let message = format!("Cannot update these configs dynamically: {}", name.escape_default());
            return Err(Refusal::new(ResponseError::InvalidConfig, message));
        }
        let layers = crate::config::topic::Layers {
            broker: Some(config),
            file: Some(&self.config.raw),
            ..crate::config::topic::Layers::default()
        };
        let resolved = crate::config::topic::TopicConfig::resolve(layers);
        resolved.map(drop).map_err(|error| {
            Refusal::new(ResponseError::InvalidConfig, format!("Invalid config value: {error}"))
        })
    }
}

/// `config` after `ops`, which are each about another setting.
fn altered(mut config: Overrides, ops: &[(String, ConfigOp)]) -> Result<Overrides, Refusal> {
    for (name, op) in ops {
        match op {
            ConfigOp::Set(value) => _ = config.insert(name.clone(), value.clone()),
            ConfigOp::Delete => _ = config.remove(name),
            ConfigOp::Append(values) => {
                let mut list = list_of(&config, name)?;
                list.extend(elements(values).filter(|value| !config_has(&config, name, value)));
                config.insert(name.clone(), list.join(","));
            }
            ConfigOp::Subtract(values) => {
                let list = list_of(&config, name)?;
                let is_kept = |it: &String| !elements(values).any(|value| value == *it);
                let left: Vec<_> = list.into_iter().filter(is_kept).collect();
                config.insert(name.clone(), left.join(","));
            }
        }
    }
    Ok(config)
}

fn elements(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned)
}

fn config_has(config: &Overrides, name: &str, value: &str) -> bool {
    list_of(config, name).is_ok_and(|list| list.iter().any(|it| it == value))
}

/// The elements of a list, from its default where nothing is set.
fn list_of(config: &Overrides, name: &str) -> Result<Vec<String>, Refusal> {
    let of_synonym = || KEYS.iter().find(|key| key.synonyms.iter().any(|synonym| synonym.name == name));
    match find(name).or_else(of_synonym) {
        Some(key) if key.kind == Kind::List => {
            Ok(elements(config.get(name).map_or(key.default, String::as_str)).collect())
        }
        _ => {
            let message =
                format!("Config value append is not allowed for config key: {}", name.escape_default());
            Err(Refusal::new(ResponseError::InvalidConfig, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(known: &[(&str, &str)], op: ConfigOp, name: &str) -> Result<Overrides, Refusal> {
        let known = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        altered(known, &[(name.to_owned(), op)])
    }

    #[test]
    fn a_setting_is_set_and_goes_back_to_its_default() {
        let set = apply(&[], ConfigOp::Set("1".into()), "retention.ms").unwrap();
        assert_eq!(set.get("retention.ms").map(String::as_str), Some("1"));
        let deleted = apply(&[("retention.ms", "1")], ConfigOp::Delete, "retention.ms").unwrap();
        assert!(deleted.is_empty());
    }

    #[test]
    fn a_list_gains_and_loses_elements_from_its_default_on() {
        let policy = "cleanup.policy";
        let value = |config: Overrides| config.get(policy).cloned();
        let both = apply(&[], ConfigOp::Append("compact".into()), policy).unwrap();
        assert_eq!(value(both).as_deref(), Some("delete,compact"));
        let same = apply(&[(policy, "compact")], ConfigOp::Append("compact".into()), policy).unwrap();
        assert_eq!(value(same).as_deref(), Some("compact"));
        let less = apply(&[(policy, "compact,delete")], ConfigOp::Subtract("delete".into()), policy).unwrap();
        assert_eq!(value(less).as_deref(), Some("compact"));
        let refusal = apply(&[], ConfigOp::Append("1".into()), "retention.ms").unwrap_err();
        assert_eq!(refusal.code, ResponseError::InvalidConfig);
    }
}
