//! What can go wrong, and what it means for the request.

use std::time::Duration;

use jute::{DecodeError, ErrorCode, Op, OpKind};

use crate::hosts::ConnectStringError;
use crate::path::PathFlaw;

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request brought no answer that could be used.
///
/// The question a writer has to ask after a failure is [`Error::may_have_happened`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
#[doc(alias = "KeeperException")]
pub enum Error {
    /// The service looked at the request and refused it: nothing has changed.
    #[error("{code} for {path}")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The path asked for, as the caller gave it.
        path: Box<str>,
    },
    /// The service refused one part of a multi, and with it the whole: nothing has changed.
    #[error("{code} for part {index} of a multi")]
    MultiRefused {
        /// Why.
        code: ErrorCode,
        /// Which part, counted from 0.
        index: usize,
    },
    /// The connection broke after the request was sent and before its answer came. The session lives on.
    #[error("connection lost before {op:?} was answered")]
    ConnectionLost {
        /// What was asked.
        op: Op,
    },
    /// No answer came within the request timeout. The session lives on.
    #[error("{op:?} not answered within {after:?}")]
    Timeout {
        /// What was asked.
        op: Op,
        /// The request timeout.
        after: Duration,
        /// It may have been sent. If not, it never will be.
        sent: bool,
    },
    /// Every server has been tried in vain, and this client was told
    /// [not to wait](crate::Builder::fail_unreachable): the request was not sent, and never will be.
    #[error("no server can be reached")]
    Unreachable,
    /// The session has expired, and its ephemeral znodes are gone. A new [`Client`](crate::Client) is needed.
    #[error("session expired")]
    SessionExpired,
    /// The service did not accept the credentials, which ends the session.
    #[error("authentication failed")]
    AuthFailed,
    /// The client was closed before the request was sent.
    #[error("client closed")]
    Closed,
    /// The watch was removed by [`Client::remove_watches`](crate::Client::remove_watches), and will not fire.
    #[error("watch removed")]
    WatchRemoved,
    /// No server accepted a session in time.
    #[error("no session within {after:?}")]
    ConnectTimeout {
        /// How long it was tried.
        after: Duration,
    },
    /// The list of servers makes no sense.
    #[error(transparent)]
    ConnectString(#[from] ConnectStringError),
    /// No znode can have this path, so it was not asked for.
    #[error("path {path:?}: {flaw}")]
    BadPath {
        /// As the caller gave it.
        path: Box<str>,
        /// The rule it breaks.
        flaw: PathFlaw,
    },
    /// The request is longer than servers accept, which would have cost the connection; it was not sent.
    #[error("{op:?} takes {bytes} bytes, where {max} are allowed")]
    TooLarge {
        /// What was asked.
        op: Op,
        /// How long it is.
        bytes: usize,
        /// How long it may be: `jute.maxbuffer`.
        max: usize,
    },
    /// The server's answer is not what the protocol says.
    #[error("bad answer to {op:?}")]
    BadReply {
        /// What was asked.
        op: Op,
        /// What is wrong with it.
        #[source]
        cause: DecodeError,
    },
}

impl Error {
    /// The request may have taken effect although it failed: it changes something, it was sent, and nobody
    /// knows how it ended. Where this is false, nothing has happened.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::ConnectionLost { op }
            | Self::Timeout { op, sent: true, .. }
            | Self::BadReply { op, .. } => op.kind() == OpKind::Write && *op != Op::Sync,
            _ => false,
        }
    }

    /// Asking again can help without a new session: the connection broke, there is none, or the answer took too
    /// long.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ConnectionLost { .. } | Self::Timeout { .. } | Self::Unreachable => true,
            Self::Refused { code, .. } | Self::MultiRefused { code, .. } => {
                matches!(code, ErrorCode::ThrottledOp | ErrorCode::ConnectionLoss | ErrorCode::NotReadOnly)
            }
            _ => false,
        }
    }

    /// The session is over: every further request fails the same way.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::SessionExpired | Self::AuthFailed | Self::Closed)
    }

    /// Why the service refused, if it was the service that did.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::MultiRefused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_whose_end_is_unknown_may_have_happened() {
        assert!(Error::ConnectionLost { op: Op::SetData }.may_have_happened());
        assert!(Error::Timeout { op: Op::Multi, after: Duration::ZERO, sent: true }.may_have_happened());
        assert!(!Error::Timeout { op: Op::Multi, after: Duration::ZERO, sent: false }.may_have_happened());
        assert!(!Error::ConnectionLost { op: Op::GetData }.may_have_happened());
        assert!(!Error::ConnectionLost { op: Op::Sync }.may_have_happened());
        assert!(!Error::Refused { code: ErrorCode::NoNode, path: "/a".into() }.may_have_happened());
        assert!(!Error::SessionExpired.may_have_happened());
        assert!(!Error::Unreachable.may_have_happened());
    }
}
