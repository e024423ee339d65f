//! The rim: everything that touches sockets, clocks and threads.

mod admin;
pub mod four_letter;
mod http;
mod java;
#[cfg(test)]
mod test_view;
mod version;
mod view;

pub use http::Http;
pub use version::{FULL_VERSION, VERSION};
pub use view::{
    Channel, ConnectionInfo, Mode, Refusal, RequestStats, ServerView, SessionInfo, Snapshot, Statistics,
    Watch,
};
