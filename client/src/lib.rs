//! An async client for ZooKeeper, and for whatever speaks its protocol.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! use client::{Client, CreateMode};
//!
//! // Any of "zk1:2181,zk2:2181,zk3:2181"; with a path behind it, all paths are below that.
//! let client = Client::connect(&servers).await?;
//!
//! client.create("/greeting", "hello", CreateMode::Persistent).await?;
//! let znode = client.get("/greeting").await?;
//! assert_eq!(znode.data, "hello");
//!
//! // Only if nobody has changed it since.
//! client.set("/greeting", "hello, world", znode.stat.version).await?;
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is a handle on a session: clone it, use it from any task, all at once. Connections come and
//! go beneath it; the session, its ephemeral znodes, its identities and its watches are carried from server to
//! server until [`Client::close`] ends it, the last handle is dropped, or it expires. [`Client::detach`] leaves it to
//! another process.
//!
//! # When something fails
//!
//! [`Error`] has a variant for each thing that can be done about it. After a failed write the question is
//! whether it has happened, and [`Error::may_have_happened`] answers it: a request that was sent when its
//! connection broke is not sent again behind your back.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! # let client = client::Client::connect(&servers).await?;
//! use client::{CreateMode, Error, ErrorCode};
//!
//! match client.create("/jobs/1", "", CreateMode::Persistent).await {
//!     Ok(_) => println!("created"),
//!     Err(error) if error.code() == Some(ErrorCode::NodeExists) => println!("someone was faster"),
//!     Err(error) if error.may_have_happened() => println!("have a look whether it is there"),
//!     Err(Error::SessionExpired) => println!("start over with a new client"),
//!     Err(error) => println!("nothing has happened: {error}"), // "NoNode for /jobs/1"
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Watches
//!
//! One that fires once is a future. It is set by the read that shows what it watches, so nothing gets lost
//! between the two, and it survives reconnects: what changed meanwhile is told.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! # let client = client::Client::connect(&servers).await?;
//! use client::{CreateMode, EventType};
//!
//! let (absent, created) = client.exists_and_watch("/leader").await?;
//! assert_eq!(absent, None);
//! client.create("/leader", "me", CreateMode::Ephemeral).await?;
//! assert_eq!(created.await?.kind, EventType::NodeCreated);
//! # Ok(())
//! # }
//! ```
//!
//! One that stays is a stream. What servers do not replay after a reconnect, and what a slow reader has let
//! pass, shows in it as a [`WatchUpdate::Gap`]; whoever reads anew on a gap is always right in the end:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! # let client = client::Client::connect(&servers).await?;
//! use client::{AddWatchMode, CreateMode, EventType, WatchUpdate};
//!
//! client.create("/config", "1", CreateMode::Persistent).await?;
//! let mut watch = client.watch("/config", AddWatchMode::PersistentRecursive).await?;
//! client.set("/config", "2", None).await?;
//!
//! while let Some(update) = watch.next().await {
//!     match update {
//!         WatchUpdate::Event(event) if event.kind == EventType::NodeDeleted => break,
//!         WatchUpdate::Event(_) | WatchUpdate::Gap => {
//!             assert_eq!(client.get("/config").await?.data, "2");
//!             client.delete("/config", None).await?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An event is there before the answer to any request that shows what it tells.
//!
//! # Several at once
//!
//! All or nothing, in one transaction:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! # let client = client::Client::connect(&servers).await?;
//! use client::{CreateMode, Error, ErrorCode};
//!
//! client.create("/from", "10", CreateMode::Persistent).await?;
//! client.create("/to", "0", CreateMode::Persistent).await?;
//! client.multi().check("/from", 0).set("/from", "3", None).set("/to", "7", None).commit().await?;
//!
//! let late = client.multi().check("/from", 0).delete("/to", None).commit().await;
//! assert!(matches!(late, Err(Error::MultiRefused { code: ErrorCode::BadVersion, index: 0 })));
//! # Ok(())
//! # }
//! ```
//!
//! Or simply many: requests need not wait for each other's answers. Those made in one go share system calls,
//! and reach the service in order.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! # let client = client::Client::connect(&servers).await?;
//! use client::CreateMode;
//! use futures::future::try_join_all;
//!
//! client.create("/queue", "", CreateMode::Persistent).await?;
//! let items = ["a", "b", "c"].map(|item| client.create("/queue/", item, CreateMode::PersistentSequential));
//! assert_eq!(try_join_all(items).await?, ["/queue/0000000000", "/queue/0000000001", "/queue/0000000002"]);
//! # Ok(())
//! # }
//! ```
//!
//! # The session
//!
//! [`Client::states`] tells how it fares. Who holds a lock stops relying on it at
//! [`Disconnected`](SessionState::Disconnected), and knows it lost at [`Expired`](SessionState::Expired), which
//! comes once, and also when no server could be reached for so long that a service at work must have expired the
//! session. Who would rather go on when the service was down as a whole says so:
//! [`Builder::outlast_outages`].
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let servers = example_server::start().await?;
//! use std::time::Duration;
//!
//! use client::{Client, SessionState};
//!
//! let client = Client::builder()
//!     .session_timeout(Duration::from_secs(6))
//!     .request_timeout(Duration::from_secs(20))
//!     .credentials("digest", "user:password")
//!     .connect(&servers)
//!     .await?;
//! let mut states = client.states();
//! assert_eq!(states.next().await, Some(SessionState::Connected));
//! client.close().await?;
//! assert_eq!(states.next().await, Some(SessionState::Closed));
//! assert_eq!(states.next().await, None);
//! # Ok(())
//! # }
//! ```
//!
//! # What is bounded, and what happens at the bound
//!
//! | what | bound | then |
//! | --- | --- | --- |
//! | requests under way | [`Builder::in_flight_max`] | further ones wait their turn |
//! | unread events of a [`PersistentWatch`] | [`Builder::watch_buffer`] | dropped; a [`WatchUpdate::Gap`] in their place |
//! | unread [`States`] | one | the newest replaces it |
//! | a request's bytes | [`Builder::request_bytes_max`] | [`Error::TooLarge`], not sent |
//! | an answer's bytes | [`Builder::reply_bytes_max`] | the connection is dropped |
//! | silence of a server | two thirds of the session timeout | the next server is tried |
//! | a request's time | [`Builder::request_timeout`], if wanted | [`Error::Timeout`] |
//! | waiting for a server, when all were tried in vain | [`Builder::fail_unreachable`], if wanted | [`Error::Unreachable`] |
//!
//! Any future may be dropped at any time: a request that was not sent never will be, one that was is carried
//! out or not, unobserved, and nothing else is disturbed.
//!
//! # The inside
//!
//! Callers encode their requests and decode their answers themselves. In between is one task for each session,
//! the [`connection`], which reads, writes and keeps time; everything that has to be right is decided by
//! [`session`], a state machine without I/O that is tested without any. [`mod@watch`] knows who waits for which
//! event, [`hosts`] which server is next.

/// What the README shows must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod builder;
mod client;
mod connection;
mod create;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hosts;
mod multi;
mod path;
mod request;
mod secret;
mod session;
mod state;
mod watch;
mod watcher;

pub use builder::Builder;
pub use client::{Client, Identity, Reconfig, Znode};
pub use create::{CreateMode, CreateOptions, Data};
pub use error::{Error, Result};
pub use hosts::{ConnectStringError, Host};
pub use jute::data::{Acl, Id, Stat, perms};
pub use jute::{AddWatchMode, ErrorCode, EventType, Op, WatcherType};
pub use multi::{Multi, MultiRead, MultiReadResult, MultiResult};
pub use path::{PathFlaw, validate as validate_path};
pub use state::{SessionId, SessionState, States};
pub use watcher::{OneshotWatch, PersistentWatch, WatchEvent, WatchUpdate};
