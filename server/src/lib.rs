//! Menagerie's server.

pub mod auth;
pub mod config;
pub mod metrics;
pub mod node;
pub mod pipeline;
pub mod runtime;
pub mod session;
pub mod storage;
pub mod tools;
pub mod tree;
pub mod watch;
pub mod zab;
