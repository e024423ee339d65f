//! Menagerie's server: ZooKeeper's service, as a deterministic machine with sockets, disk and clocks at its rim.
//!
//! Events and the time go into the [`node`], actions come out. [`runtime`] drives it in production, a simulator in
//! tests; both run the same code. Which threads there are, [`runtime`] says.
//!
//! # The life of a write
//!
//! | stop | where | what happens |
//! | --- | --- | --- |
//! | 1 | [`runtime::connection`] | bytes become frames, frames a [`Request`](node::Request); a shard's batch goes to the node as one message |
//! | 2 | [`Node::step`](node::Node::step) | is the session alive? what does it ask for? A learner sends it on to the leader: [`pipeline::forward`] |
//! | 3 | [`pipeline::prep`] | judged against the [tree](tree::Tree) and the [changes under way](pipeline::pending) to it: an idempotent txn with a [`Zxid`](zab::Zxid), or a refusal, which is a txn too |
//! | 4 | [`Peer::propose`](zab::Peer::propose) | its record goes to the log, and as a [PROPOSAL](zab::Packet::Proposal) to every follower, both at once. A lone server only logs: [`Action::Append`](node::Action::Append) |
//! | 5 | [`TxnLog::sync`](storage::TxnLog::sync) | one write and one fdatasync for the whole batch, on each server; a member of an ensemble [does not wait](storage::TxnLog::begin_sync) for it, and hears the others meanwhile |
//! | 6 | [`Event::Persisted`](node::Event::Persisted) | the node learns what is safe on this disk; a follower acknowledges it |
//! | 7 | [`Status::committed`](node::Status::committed) | a quorum has it: the leader [commits](zab). A lone server is its own quorum |
//! | 8 | [`Node::apply`](node::Node::apply) | the tree changes under its write lock, [watches](watch::Watches) fire, the server that holds the session makes the reply; every [`Delivery`](node::Delivery) is in its shard's mailbox before the lock is let go |
//! | 9 | [`runtime::shard`] | replies in the order of requests, an event ahead of any reply that shows its change; one write a socket |
//!
//! `tests/scenarios/life_of_a_write.txt` is the same tour with real requests, and a test keeps it true.
//!
//! A read takes none of these stops. Its connection's thread answers it with [`pipeline::read`], under the tree's
//! read lock, setting its watch before it lets go. If something else that the connection asked for is under way in
//! the node, the read follows it there: see the [gate](pipeline::gate), and
//! `tests/scenarios/life_of_a_read.txt`, which shows it.
//!
//! # The map
//!
//! | you want | look at |
//! | --- | --- |
//! | bytes on the wire | the `jute` crate |
//! | what is judged how, and in which order | [`pipeline::prep`] |
//! | znodes in memory, and who waits for what | [`tree`], [`watch`] |
//! | sessions, and who may do what | [`session`], [`auth`] |
//! | who leads, and when a txn is committed | [`zab`] |
//! | files: log, snapshots, recovery | [`storage`] |
//! | sockets, threads, clocks; four-letter words and HTTP | [`runtime`] |
//! | zoo.cfg, metrics | [`config`], [`metrics`] |
//! | dump, mend, export, import | [`tools`] |
//!
//! | a newcomer asks | and finds |
//! | --- | --- |
//! | who decides NodeExists? | [`pipeline::prep::create`] |
//! | why did my watch fire? | [`Tree::apply`](tree::Tree::apply) says what changed, [`Watches::fire`](watch::Watches::fire) who hears of it |
//! | what is fsynced, and when? | [`storage::txn_log`] |
//! | when does a leader commit? | `zab::broadcast`; DIFF, TRUNC or SNAP? `zab::sync` |
//! | what does a learner with another history do? | [`storage::member`] |
//! | who belongs to the ensemble, and how does that change? | `zab::reconfig`; its files: [`storage::MembershipFiles`] |
//! | does this leader still lead? | `zab::confirm` |
//! | when does my session expire? | [`session::expiry`] |
//! | what if the process dies right here? | [`storage::recovery`] |
//! | what does `globalOutstandingLimit` do? | [`pipeline::throttle`]; any other key: [`config::keys`], and `conf/zoo_sample.cfg` in words |
//! | which threads are there? | [`runtime`] |
//! | where is this number in `mntr` from? | [`metrics::table`] |
//!
//! # Coming from ZooKeeper's source
//!
//! The search box knows ZooKeeper's class names.
//!
//! | there | here |
//! | --- | --- |
//! | `ZooKeeperServer`, `QuorumPeerMain` | [`runtime::Server`], and the machine in it: [`node::Node`] |
//! | `NIOServerCnxn`, `NIOServerCnxnFactory` | [`runtime::connection`], [`runtime::listener`] |
//! | `PrepRequestProcessor`, `outstandingChanges` | [`pipeline::prep`], [`pipeline::pending`] |
//! | `SyncRequestProcessor`, `FileTxnLog` | [`storage::TxnLog`], driven by [`runtime::driver`] |
//! | `QuorumPeer`, `FastLeaderElection`, `Leader`, `Learner`, `LearnerHandler` | [`zab::Peer`] |
//! | `QuorumCnxManager`, `LearnerHandler`'s sockets | [`runtime::quorum`] |
//! | `FollowerRequestProcessor`, `LearnerSessionTracker` | [`pipeline::forward`], [`session`] |
//! | `CommitProcessor` | [`pipeline::gate`] |
//! | `FinalRequestProcessor` | [`pipeline::apply`] for writes, [`pipeline::read`] for reads |
//! | `DataTree`, `DataNode`, `WatchManager` | [`tree::Tree`], [`tree::Znode`], [`watch::Watches`] |
//! | `SessionTrackerImpl`, `ExpiryQueue` | [`session::Sessions`], [`session::expiry`] |
//! | `FileTxnSnapLog`, `FileSnap` | [`storage::recover`], [`storage::RocksStore`], [`storage::java_snapshot`] |
//! | `ContainerManager` | [`pipeline::reaper`] |
//! | `FourLetterCommands`, `JettyAdminServer`, `ServerMetrics` | [`runtime::four_letter`], [`runtime::admin`], [`metrics`] |
//! | `QuorumPeerConfig` | [`config::Config`] |

pub mod auth;
pub mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
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
