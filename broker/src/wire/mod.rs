//! Kafka's protocol: frames, headers, the versions spoken of each API, and what a request may look like.
//!
//! The records of the wire are those of [`kafka_protocol::messages`], made from Kafka's own schemas. What stands here is
//! what they lack: [`apis`] says which versions are spoken, [`shape`] checks a request before it is decoded (the
//! decoder would reserve whatever an array claims to hold), [`request`] and [`reply`] are the two ends of a frame, and
//! [`fetch`] and [`controlled_shutdown`] are the two messages that need hands of their own.

pub mod apis;
pub mod controlled_shutdown;
pub mod fetch;
pub mod reply;
pub mod request;
mod shape;

pub use apis::{Api, Versions};
pub use reply::{Part, Reply};
pub use request::{Head, Request, RequestError};
