//! Who waits for what.

/// The watches of this server's connections.
#[derive(Debug, Default)]
pub struct Watches {}
