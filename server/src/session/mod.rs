//! Sessions: their ids and passwords, and when they expire.

mod id;

pub use id::{ConnectionId, SessionId};
