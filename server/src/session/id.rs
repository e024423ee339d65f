//! Who is who.

use std::fmt;

/// A session, across reconnects and servers. Its top byte is the server that opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: what the service asks of itself, and what a handshake for a new session says.
    pub const SERVICE: Self = Self(0);

    /// The first id that `server` gives out when it starts at `elapsed_ms`, by a clock that is ahead of every
    /// earlier start's. The next ids count up from there; 65,536 of them fit into a millisecond.
    ///
    /// The owner that marks containers is never an id.
    #[doc(alias = "initializeNextSessionId")]
    #[must_use]
    #[allow(clippy::cast_possible_wrap)] // The id's sign is a bit like the others.
    pub const fn first(server: u8, elapsed_ms: u64) -> Self {
        let id = ((elapsed_ms << 24) >> 8) | ((server as u64) << 56);
        Self(if id == 1 << 63 { id + 1 } else { id } as i64)
    }

    /// Which server opened it.
    #[must_use]
    pub const fn server(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_its_server_and_goes_on_with_five_bytes_of_the_clock() {
        assert_eq!(SessionId::first(1, 0), SessionId(0x0100_0000_0000_0000));
        assert_eq!(SessionId::first(2, 0x12_3456_789a), SessionId(0x0212_3456_789a_0000));
        assert_eq!(SessionId::first(0, 0xab12_3456_789a), SessionId(0x0012_3456_789a_0000));
        assert_eq!(SessionId::first(0xff, 1).0, 0xff00_0000_0001_0000_u64 as i64);
    }

    #[test]
    fn the_owner_of_containers_is_no_session() {
        assert_eq!(SessionId::first(0x80, 0), SessionId(i64::MIN + 1));
    }
}
