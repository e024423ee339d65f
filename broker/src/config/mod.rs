//! `server.properties` and what topics may set for themselves, under Kafka's names.
//!
//! `conf/server.properties` explains every key.

mod broker;
mod error;
mod listeners;
mod properties;
mod sections;
pub mod topic;

pub use broker::{BrokerConfig, DescribedKey};
pub use error::ConfigError;
pub use listeners::Listeners;
pub use sections::{
    CleanerConfig, ControlledShutdown, ControllerConfig, GroupConfig, LogConfig, NetworkConfig,
    OffsetsConfig, ReplicaConfig, TopicsConfig,
};
pub use topic::TopicConfig;
