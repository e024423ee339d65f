//! Menagerie's server: ZooKeeper's service, as a deterministic machine with sockets, disk and clocks at its rim.
//!
//! Events and the time go into the [`node`], actions come out. [`runtime`] drives it in production, a simulator in
//! tests; both run the same code. Which threads there are, [`runtime`] says.
//!
//! # The life of a write
//!
//! | stop | where | what happens |
//! | --- | --- | --- |
//! | 1 | `runtime::connection` | bytes become frames, frames a [`Request`](node::Request); a shard's batch goes to the node as one message |
//! | 2 | [`Node::step`](node::Node::step) | is the session alive? what does it ask for? |
//! | 3 | [`pipeline::prep`] | judged against the [tree](tree::Tree) and the changes under way to it: an idempotent txn with a [`Zxid`](zab::Zxid), or a refusal, which is a txn too |
//! | 4 | [`Action::Append`](node::Action::Append) | the batch's records go to the log. A lone server is its own quorum |
//! | 5 | [`TxnLog::sync`](storage::TxnLog::sync) | one write and one fdatasync for the whole batch |
//! | 6 | [`Event::Persisted`](node::Event::Persisted) | the node learns that it is safe: committed |
//! | 7 | [`Node::apply`](node::Node::apply) | the tree changes under its write lock, [watches](watch::Watches) fire, replies are made |
//! | 8 | [`Delivery`](node::Delivery) | all of it is in the shards' mailboxes before the lock is let go |
//! | 9 | `runtime::shard` | replies in the order of requests, an event ahead of any reply that shows its change; one write a socket |
//!
//! `tests/scenarios/life_of_a_write.txt` is the same tour with real requests, and a test keeps it true.
//!
//! A read takes none of these stops. Its connection's thread answers it with [`pipeline::read`], under the tree's
//! read lock, setting its watch before it lets go; if writes of the same connection are under way, it first waits
//! for them in the [gate](pipeline::gate).
//!
//! # The map
//!
//! | you want | look at |
//! | --- | --- |
//! | bytes on the wire | the `jute` crate |
//! | what is judged how, and in which order | [`pipeline::prep`] |
//! | znodes in memory, and who waits for what | [`tree`], [`watch`] |
//! | sessions, and who may do what | [`session`], [`auth`] |
//! | files: log, snapshots, recovery | [`storage`] |
//! | sockets, threads, clocks; four-letter words and HTTP | [`runtime`] |
//! | zoo.cfg, metrics | [`config`], [`metrics`] |
//! | dump, mend, export, import | [`tools`] |

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
