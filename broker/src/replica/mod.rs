//! Partitions as replicas: leading, following, who is in sync, and when a record is safe.
//!
//! | to learn | read |
//! | --- | --- |
//! | when is a record safe, who is in sync? | [`leading`], without clock or sockets |
//! | what does a partition do with a batch, or a fetch? | [`partition`] |
//! | how does a follower follow? | [`fetcher`] |
//! | who leads, and what becomes of it? | [`manager`] |
//! | where are the logs? | [`store`] |
//! | how do groups keep their offsets? | [`offsets_log`](mod@offsets_log) |
//! | what happens from time to time? | [`upkeep`], [`cleaning`] |

pub mod cleaning;
pub mod clock;
pub mod fetcher;
pub mod leading;
pub mod manager;
mod offsets_log;
pub mod partition;
#[cfg(test)]
mod replication_tests;
pub mod store;
pub mod upkeep;
pub mod waiters;

pub use manager::Replicas;
pub use offsets_log::offsets_log;
