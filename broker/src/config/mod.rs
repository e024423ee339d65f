//! `server.properties` and what topics may set for themselves, under Kafka's names.

pub mod topic;
