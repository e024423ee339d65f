//! An async client for ZooKeeper-compatible services.

mod builder;
mod client;
mod connection;
mod create;
mod error;
mod hosts;
mod multi;
mod path;
mod request;
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
