//! The rim: everything that touches sockets, clocks and threads.
//!
//! | thread | how many | what it does | where |
//! | --- | --- | --- | --- |
//! | `shard-N` | one a core | owns connections: requests in, replies out; answers reads | [`shard`], [`connection`] |
//! | `node` | 1 | judges, logs and applies writes, a batch at a time; talks to the other servers of an ensemble | [`driver`], [`quorum`] |
//! | `snapshots` | 1 | writes cuts of the tree to RocksDB, purges; in the [`background`], as RocksDB's own are | [`snapshots`] |
//! | `listener` | 1 | accepts connections and deals them out to the shards | [`listener`], [`client_port`] |
//! | `log` | 0 or 1 | writes a member's log, and waits for its disk | [`syncer`] |
//! | `http` | 0 or 1 | the admin server, Prometheus | [`http`] |
//!
//! A shard runs a task a connection, one that reads its mailbox, one that reports sessions heard from, and one
//! that closes connections which have no session in time. Between the threads are [`queue::NodeQueue`] (all
//! others to the node), [`mailbox::Mailbox`] (node and listener to a shard), the channels of `snapshots` and `log`, and what
//! [`shared::Shared`] holds; nothing else.

mod account;
pub(crate) mod admin;
mod alarm;
mod audit;
mod background;
mod client_port;
mod clock;
pub(crate) mod connection;
pub(crate) mod driver;
pub mod four_letter;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handover;
mod handshake;
mod http;
mod inbound;
mod java;
pub(crate) mod listener;
mod live;
mod mailbox;
mod member;
mod queue;
pub mod quorum;
mod reply;
mod restore;
mod server;
pub(crate) mod shard;
mod shared;
mod snapshots;
mod stall;
mod startup;
pub mod stats;
mod syncer;
#[cfg(test)]
mod test_view;
#[cfg(test)]
mod tests;
mod tree_file;
mod version;
mod view;

pub use clock::Clock;
pub use handover::NotHandedOver;
pub use http::Http;
pub use server::{Server, StartError};
pub use version::{FULL_VERSION, VERSION};
pub use view::{
    Channel, ConnectionInfo, Mode, Refusal, RequestStats, ServerView, SessionInfo, Snapshot, Statistics,
    Watch,
};
