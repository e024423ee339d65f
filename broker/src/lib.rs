//! `zkbroker`: a thin Kafka broker. Kafka's clients use it unmodified, and its cluster's metadata stands in a
//! ZooKeeper-compatible service, path by path where Kafka itself keeps it.
//!
//! The service decides who is alive, who is the controller and which replica leads; a broker is an ordinary
//! [client](client::Client) of it. The records stand on the brokers' own disks.
//!
//! | to learn | read |
//! | --- | --- |
//! | which bytes is a request? | [`wire`] |
//! | who answers it? | [`api`], a file for each of Kafka's APIs |
//! | where does a record stand on disk? | [`log`](mod@log) |
//! | when is it acknowledged, who may lead? | [`replica`] |
//! | what does the service know of us? | [`registry`] |
//! | who elects leaders, who deletes topics? | [`controller`] |
//! | who consumes what? | [`group`] |
//! | what does `min.insync.replicas` do? | [`config`] |
//! | what is counted? | [`metrics`](mod@metrics) |

pub mod api;
mod broker;
pub mod config;
pub mod controller;
pub mod group;
pub mod log;
mod metrics;
pub mod net;
pub mod registry;
pub mod replica;
mod topic_partition;
pub mod wire;

pub use broker::{Broker, BrokerError};
pub use config::BrokerConfig;
pub use topic_partition::{BrokerId, TopicPartition};
