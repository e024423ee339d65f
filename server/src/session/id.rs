//! Who is who.

use std::fmt;

/// A session, across reconnects and servers. Its top byte is the server that opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A client's connection to this server. Never used twice in the life of a process: `slot` is, `generation`
/// tells its users apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Which of the connection threads it lives on.
    pub shard: u8,
    /// Its place there.
    pub slot: u32,
    /// The how-manieth user of that place it is.
    pub generation: u32,
}
