//! Sessions: their ids and passwords, how long they may be silent, and who holds them. ZooKeeper's
//! `SessionTrackerImpl`, `ExpiryQueue`.

pub(crate) mod expiry;
mod id;
mod password;
mod tracker;

pub use id::{ConnectionId, SessionId};
pub use password::password_of;
pub use tracker::{Refused, Sessions, TimeoutBounds};
