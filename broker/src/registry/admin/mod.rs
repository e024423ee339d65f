//! What clients ask about topics and configs, judged and written. Kafka's `ZkAdminManager` and `AdminZkClient`.
//!
//! Whoever serves the request writes the wish (a topic, more partitions, a deletion); the controller sees it and does the
//! rest.

mod assignment;
mod configs;
mod names;
mod placement;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use client::{ErrorCode, Stat};
use kafka_protocol::error::ResponseError;
use tokio::time::timeout;

pub use configs::{ConfigOp, ConfigResource};
pub use names::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, check_name, collide, is_internal};
pub use placement::{Place, Start, place, places};
pub use topics::{CreatedTopic, NewTopic};

use super::image::Overrides;
use super::payload::{ConfigEntity, decode_config, encode_config, encode_config_change};
use super::read::get;
use super::retry::{pause, until_answered};
use super::{ClusterImage, Refusal, Registry, paths};
use crate::config::BrokerConfig;
use crate::config::topic::{Layers, TopicConfig};
use crate::topic_partition::BrokerId;

/// A handle for what clients ask of topics and configs. Clones share it.
#[derive(Debug, Clone)]
pub struct Admin {
    registry: Registry,
    broker: BrokerId,
    config: Arc<BrokerConfig>,
}

impl Admin {
    /// As asked of `broker`, by what `config` says of topics that do not say themselves.
    pub fn new(registry: Registry, broker: BrokerId, config: Arc<BrokerConfig>) -> Self {
        Self { registry, broker, config }
    }

    /// Waits until the image is as wanted; false if it is not within `limit`.
    pub async fn await_image(
        &self,
        limit: Duration,
        mut is_wanted: impl FnMut(&ClusterImage) -> bool,
    ) -> bool {
        let mut images = self.registry.images();
        let wanted = async {
            loop {
                images.mark_unchanged();
                if is_wanted(&self.registry.image()) {
                    return true;
                }
                if images.changed().await.is_err() {
                    return false;
                }
            }
        };
        timeout(limit, wanted).await.unwrap_or(false)
    }

    /// How a topic would behave that had `own` settings; names that no topic has are refused.
    fn check_topic_config(&self, own: &Overrides) -> Result<TopicConfig, Refusal> {
        let image = self.registry.image();
        let broker = image.broker_configs.get(&*self.broker.to_string());
        let all_brokers = image.broker_configs.get(paths::DEFAULT_ENTITY);
        let layers = Layers {
            topic: Some(own),
            broker: broker.map(AsRef::as_ref),
            all_brokers: all_brokers.map(AsRef::as_ref),
            file: Some(&self.config.raw),
        };
        TopicConfig::check(layers).map_err(|error| {
            Refusal::new(ResponseError::InvalidConfig, format!("Invalid config value: {error}"))
        })
    }

    /// The image, showing at least what the asker has seen of this broker.
    async fn fresh_image(&self) -> Result<Arc<ClusterImage>, Refusal> {
        let failed = |_| Refusal::new(ResponseError::RequestTimedOut, "The broker is ending.");
        self.registry.catch_up().await.map_err(failed)?;
        Ok(self.registry.image())
    }

    /// Changes the config at `path`, which another may be changing, too, and tells everyone.
    async fn change_config(
        &self,
        path: &str,
        entity: &ConfigEntity,
        mut change: impl FnMut(Overrides) -> Result<Overrides, Refusal>,
    ) -> Result<(), Refusal> {
        let client = self.registry.client();
        loop {
            let znode = get(&client, path).await?;
            let known = znode.as_ref().map(|znode| decode_config(&znode.data)).transpose();
            let known = known.map_err(|malformed| {
                Refusal::new(ResponseError::UnknownServerError, format!("{path}: {malformed}"))
            })?;
            let data = encode_config(&change(known.unwrap_or_default())?);
            let written: client::Result<Option<Stat>> = match &znode {
                Some(znode) => client.set(path, data, znode.stat.version).await.map(Some),
                None => client.create(path, data, client::CreateMode::Persistent).await.map(|_| None),
            };
            match written {
                Ok(_) => break,
                Err(error) if is_race(error.code()) => {}
                // Twice the same is once.
                Err(error) if error.is_transient() => pause(&error).await,
                Err(error) => return Err(error.into()),
            }
        }
        let note = encode_config_change(entity);
        let mode = client::CreateMode::PersistentSequential;
        until_answered(|| client.create(paths::CONFIG_CHANGE_PREFIX, &note, mode)).await?;
        self.fresh_image().await.map(drop)
    }
}

/// Someone else was faster: what there is has to be looked at again.
fn is_race(code: Option<ErrorCode>) -> bool {
    matches!(code, Some(ErrorCode::BadVersion | ErrorCode::NodeExists | ErrorCode::NoNode))
}
