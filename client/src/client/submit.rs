//! The way of a request to the connection's task, and of its answer back.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::{Jute, Op};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::Client;
use crate::error::{Error, Result};
use crate::path::Chroot;
use crate::request::{Command, Reply, Request, WatchEffect, encode_frame};
use crate::state::{SessionState, Status};

/// What all handles of one session, and its watches, know of it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) status: watch::Receiver<Status>,
    in_flight: Arc<Semaphore>,
    pub(super) request_timeout: Option<Duration>,
    request_bytes_max: usize,
    pub(super) watch_buffer: usize,
    pub(super) next_watch: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        status: watch::Receiver<Status>,
        in_flight: Arc<Semaphore>,
        request_timeout: Option<Duration>,
        request_bytes_max: usize,
        watch_buffer: usize,
    ) -> Self {
        let next_watch = AtomicU64::new(0);
        Self { status, in_flight, request_timeout, request_bytes_max, watch_buffer, next_watch }
    }

    pub(crate) fn state(&self) -> SessionState {
        self.status.borrow().state
    }

    /// Why nobody answers any more. Without a terminal state, the runtime has dropped the connection's task.
    pub(super) fn over(&self) -> Error {
        self.state().error().unwrap_or(Error::Closed)
    }
}

impl Client {
    pub(crate) fn chroot_ref(&self) -> &Chroot {
        &self.chroot
    }

    /// Asks, and waits for the answer's body. `path` is what an error names.
    pub(crate) async fn ask(
        &self,
        op: Op,
        path: &str,
        body: &impl Jute,
        effect: Option<WatchEffect>,
    ) -> Result<Bytes> {
        self.submit(op, path, encode_frame(op, body), effect).await
    }

    pub(super) async fn submit(
        &self,
        op: Op,
        path: &str,
        frame: BytesMut,
        effect: Option<WatchEffect>,
    ) -> Result<Bytes> {
        let (bytes, max) = (frame.len() - 4, self.shared.request_bytes_max);
        if bytes > max {
            return Err(Error::TooLarge { op, bytes, max });
        }
        let answer = match self.shared.request_timeout {
            None => self.enqueue(op, frame, effect).await?.await,
            Some(after) => {
                let until = Instant::now() + after;
                let timed_out = |sent| Error::Timeout { op, after, sent };
                let enqueued = timeout_at(until, self.enqueue(op, frame, effect)).await;
                let answer = enqueued.map_err(|_| timed_out(false))??;
                timeout_at(until, answer).await.map_err(|_| timed_out(true))?
            }
        };
        let answer = answer.unwrap_or_else(|_| Err(self.shared.over()));
        answer.map(|reply| reply.body).map_err(|error| match error {
            Error::Refused { code, .. } => Error::Refused { code, path: path.into() },
            other => other,
        })
    }

    async fn enqueue(
        &self,
        op: Op,
        frame: BytesMut,
        effect: Option<WatchEffect>,
    ) -> Result<oneshot::Receiver<Result<Reply>>> {
        // Unconstrained: a task that has used up its budget would lose its place in the line.
        let permit = unconstrained(Arc::clone(&self.shared.in_flight).acquire_owned()).await;
        let (reply, answer) = oneshot::channel();
        let request = Request { op, frame, effect, reply, permit: permit.ok() };
        self.commands.send(Command::Request(request)).map_err(|_| self.shared.over())?;
        Ok(answer)
    }
}

/// An answer's body.
pub(crate) fn decode<T: Jute>(op: Op, body: &Bytes) -> Result<T> {
    T::from_bytes(body).map_err(|cause| Error::BadReply { op, cause })
}
