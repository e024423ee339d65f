//! Menagerie's server.

pub mod node;
pub mod session;
pub mod tree;
pub mod zab;
