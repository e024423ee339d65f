//! Sockets: connections, their requests in order, and what is sent straight from a file.
//!
//! One task per connection reads requests and starts them one after the other; a second half of the same task sends
//! the answers in the order of their requests. A request starts once the one before it has been answered, but
//! for produce requests: their records are appended in their order, and waiting for followers keeps none behind them
//! from the log.

mod connection;
mod file_sending;
mod listener;
mod peer;

pub use connection::{Answer, Answering, Client, Pending};
pub use listener::{Limits, Listener};
pub use peer::{Peer, PeerError};
