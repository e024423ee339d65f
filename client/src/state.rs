//! How the session fares, as its users see it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::watch;

use crate::error::Error;
use crate::hosts::Host;
use crate::secret::Secret;
use crate::session::SessionOptions;

/// Names a session within its service; prints as ZooKeeper does, `0x100000000000001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// How a session fares. The last three are terminal: the session has ended, for the reason they name, and a
/// new [`Client`](crate::Client) is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "KeeperState")]
pub enum SessionState {
    /// No server has accepted the session yet.
    Connecting,
    /// A server accepts reads and writes.
    Connected,
    /// A server that is cut off from its quorum accepts reads; others are being tried.
    ConnectedReadOnly,
    /// The connection is lost and servers are being tried. The session may or may not live on: who holds a
    /// lock should stop relying on it.
    Disconnected,
    /// The session has expired and its ephemeral znodes are gone; or no server could be reached for so long that
    /// it must have expired ([unless wanted otherwise](crate::Builder::outlast_outages)).
    Expired,
    /// The service did not accept the credentials.
    AuthFailed,
    /// The session was closed by this client.
    Closed,
}

impl SessionState {
    /// Nothing comes after it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Expired | Self::AuthFailed | Self::Closed)
    }

    /// A server answers requests.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::ConnectedReadOnly)
    }

    /// What requests fail with, if it is terminal.
    #[must_use]
    pub const fn error(self) -> Option<Error> {
        match self {
            Self::Expired => Some(Error::SessionExpired),
            Self::AuthFailed => Some(Error::AuthFailed),
            Self::Closed => Some(Error::Closed),
            Self::Connecting | Self::Connected | Self::ConnectedReadOnly | Self::Disconnected => None,
        }
    }
}

/// All that is known of a session outside of its task.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: SessionState,
    pub(crate) id: SessionId,
    pub(crate) password: Secret,
    /// Granted, or as long as none is, asked for.
    pub(crate) timeout: Duration,
    /// That serves the session, or served it last.
    pub(crate) server: Option<Host>,
}

impl Status {
    pub(crate) fn new(options: &SessionOptions) -> Self {
        let (id, password) = options.resume.clone().unwrap_or_default();
        Self { state: SessionState::Connecting, id, password, timeout: options.timeout, server: None }
    }
}

/// The session's states as they come, starting with the one at hand, up to and including the terminal one.
///
/// Who reads slowly gets the newest state, not all those between: a lost connection that was found again
/// meanwhile shows as `Connected` twice.
pub struct States(BoxStream<'static, SessionState>);

impl States {
    pub(crate) fn new(receiver: watch::Receiver<Status>) -> Self {
        let start = (receiver, None::<SessionState>);
        Self(Box::pin(stream::unfold(start, |(mut receiver, last)| async move {
            match last {
                Some(last) if last.is_terminal() => return None,
                Some(_) => receiver.changed().await.ok()?,
                None => {}
            }
            let state = receiver.borrow_and_update().state;
            Some((state, (receiver, Some(state))))
        })))
    }

    /// The next state; `None` after the terminal one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<SessionState> {
        self.0.next().await
    }
}

impl Stream for States {
    type Item = SessionState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("States")
    }
}
