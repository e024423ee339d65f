//! Sessions: their ids and passwords, how long they may be silent, and who holds them. ZooKeeper's
//! `SessionTrackerImpl`, `ExpiryQueue`.

pub(crate) mod expiry;
mod held;
mod id;
mod password;
mod tracker;

pub(crate) use held::HeldSessions;
pub use id::{ConnectionId, SessionId};
pub(crate) use password::is_password_of;
pub use password::password_of;
pub(crate) use tracker::{Owner, Renewed};
pub use tracker::{Refused, Sessions, TimeoutBounds};
