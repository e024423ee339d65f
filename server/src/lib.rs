//! Menagerie's server.

pub mod auth;
pub mod node;
pub mod pipeline;
pub mod session;
pub mod tree;
pub mod watch;
pub mod zab;
