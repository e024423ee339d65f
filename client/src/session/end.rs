//! How a session ends: asked to, let go of, or found to be over; and what those are told who still wait.

use std::time::Instant;

use jute::Op;

use super::{Phase, Purpose, Session};
use crate::error::Error;
use crate::request::{Empty, Reply, ReplySender, encode_frame};
use crate::state::SessionState;
use crate::watch::Watches;

impl Session {
    /// A caller wants the session to end. Requests made before are answered first.
    pub(crate) fn on_close(&mut self, reply: Option<ReplySender>, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        let closing = self.closing.is_some();
        self.closing.get_or_insert_default().extend(reply);
        if closing {
            return;
        }
        match self.phase {
            Phase::Online => self.send_close(now),
            Phase::Handshake => {} // The answer is near; the end follows it.
            // No server to tell: the session, if there is one, will expire.
            Phase::Offline | Phase::Over => self.end(SessionState::Closed),
        }
    }

    /// A caller lets go of the session, which is to live on without her.
    pub(crate) fn on_detach(&mut self, reply: ReplySender) {
        self.end(SessionState::Closed);
        let _ = reply.send(Ok(Reply::default()));
    }

    /// The session is over, for the reason that `state` tells.
    pub(crate) fn end(&mut self, state: SessionState) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        // Before anyone is told: who is told and looks must see it.
        self.status.send_modify(|status| status.state = state);
        let outcome = state.error().unwrap_or(Error::Closed);
        self.fail_sent();
        self.fail_unsent(&outcome);
        // If there was a session and no server has confirmed its end, it will go by expiring.
        let left_behind = state == SessionState::Closed && !self.close_confirmed && self.id.0 != 0;
        for reply in self.closing.take().into_iter().flatten() {
            let _ = reply.send(match left_behind {
                true => Err(Error::ConnectionLost { op: Op::CloseSession }),
                false => Ok(Reply::default()),
            });
        }
        self.watches = Watches::default();
    }

    pub(super) fn send_close(&mut self, now: Instant) {
        self.send_own(Op::CloseSession, encode_frame(Op::CloseSession, &Empty), now);
    }

    /// What was sent may have happened.
    pub(super) fn fail_sent(&mut self) {
        for sent in self.sent.drain(..) {
            if let Purpose::Caller { reply, .. } = sent.purpose {
                let _ = reply.send(Err(Error::ConnectionLost { op: sent.op }));
            }
        }
        for reply in self.auth_replies.drain(..).flatten() {
            // Its credentials are kept, and go out again with the next connection.
            let _ = reply.send(Err(Error::ConnectionLost { op: Op::Auth }));
        }
    }

    /// What was not sent never will be.
    pub(super) fn fail_unsent(&mut self, error: &Error) {
        for reply in self.auth_replies.drain(..).flatten() {
            let _ = reply.send(Err(error.clone()));
        }
        for request in self.unsent.drain(..) {
            let _ = request.reply.send(Err(error.clone()));
        }
    }
}

/// The runtime drops the task behind a client when it shuts down. Callers on another runtime are not to believe
/// that what was sent never happened.
impl Drop for Session {
    fn drop(&mut self) {
        self.end(SessionState::Closed);
    }
}
