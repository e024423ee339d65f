//! The machine: events and the time go in, actions come out. It owns no socket, file, clock or random source.
//!
//! Two things drive it: `runtime` in production, the simulator in tests. Both do, for each batch of events:
//!
//! 1. [`Node::step`] once per event, with the tree under its read lock. Writes become txns; their log records
//!    come out as [`Action::Append`].
//! 2. Append them to the log and sync it; then step [`Event::Persisted`].
//! 3. [`Node::apply`] with the tree under its write lock. What it delivers must reach the connections' queues
//!    before the lock is let go: then no reader can see a change whose event is still under way to it.

mod config;
mod event;

pub use config::{CutPolicy, NodeConfig, ReaperConfig};
pub use event::{Action, Delivery, Event, Now, ReplyBody, Request};
