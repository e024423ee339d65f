//! The first bytes of a connection: a four-letter word, or the request for a session.

use std::num::NonZeroI64;

use bytes::Bytes;
use jute::proto::{ConnectRequest, ConnectTail};
use jute::{DecodeError, Jute, Reader};

use crate::node::Event;
use crate::session::{ConnectionId, SessionId};
use crate::zab::Zxid;

/// What a client asks for first.
#[derive(Debug)]
pub(super) struct Handshake {
    request: ConnectRequest,
    /// Clients since 3.4 say whether a read-only server would do, and expect to be told in turn.
    pub(super) accepts_read_only: Option<bool>,
}

impl Handshake {
    /// Reads a connection's first frame.
    pub(super) fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(frame);
        let request = ConnectRequest::decode(&mut input)?;
        let tail = ConnectTail::decode(&mut input).ok();
        Ok(Self { request, accepts_read_only: tail.map(|tail| tail.read_only) })
    }

    /// It carries on a session, or tries to.
    pub(super) fn renews(&self) -> bool {
        self.request.session_id != 0
    }

    /// The newest change this client has seen.
    pub(super) fn last_zxid_seen(&self) -> Zxid {
        Zxid(self.request.last_zxid_seen)
    }

    /// What the node has to decide.
    pub(super) fn into_event(self, connection: ConnectionId) -> Event {
        let timeout_ms = self.request.timeout_ms;
        match NonZeroI64::new(self.request.session_id) {
            None => Event::OpenSession { connection, timeout_ms },
            Some(session) => Event::RenewSession {
                connection,
                session: SessionId(session.get()),
                password: self.request.password.unwrap_or_default(),
                timeout_ms,
            },
        }
    }
}
