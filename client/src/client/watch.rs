//! Watches that stay, and identities: what concerns the connection rather than znodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jute::proto::{AddWatchRequest, CheckWatchesRequest, RemoveWatchesRequest, WhoAmIResponse};
use jute::{AddWatchMode, ErrorCode, Op, Ustring, WatcherType};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Client, decode};
use crate::error::{Error, Result};
use crate::request::{Command, Empty, WatchEffect};
use crate::secret::Secret;
use crate::watch::{Registration, Sink, StreamSink, WatchId, WatchKind};
use crate::watcher::{Handle, OneshotWatch, PersistentWatch};

/// An identity that the service knows this connection by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Such as `ip` or `digest`.
    pub scheme: String,
    /// Who, within the scheme.
    pub user: String,
}

/// Watches that stay, and identities.
impl Client {
    /// A watch that stays: with [`AddWatchMode::Persistent`] on the data and the children of one znode, with
    /// [`AddWatchMode::PersistentRecursive`] on the data of a znode and of all below it. The znode need not
    /// exist. Servers before 3.6 don't know it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch(&self, path: &str, mode: AddWatchMode) -> Result<PersistentWatch> {
        let body = AddWatchRequest { path: self.chroot.resolve(path)?, mode: mode.code() };
        let kind = match mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::PersistentRecursive => WatchKind::Recursive,
        };
        let (sink, updates) = StreamSink::new(self.shared.watch_buffer);
        let handle = self.handle();
        let effect = registration(handle.id, body.path.clone(), kind, Sink::Stream(sink));
        let watch = PersistentWatch::new(handle, updates);
        self.ask(Op::AddWatch, path, &body, Some(effect)).await?;
        Ok(watch)
    }

    /// Whether this connection has watches of this type on `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn has_watches(&self, path: &str, kind: WatcherType) -> Result<bool> {
        let body = CheckWatchesRequest { path: self.chroot.resolve(path)?, watcher_type: kind.code() };
        match self.ask(Op::CheckWatches, path, &body, None).await {
            Err(error) if error.code() == Some(ErrorCode::NoWatcher) => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Removes all watches of this type that this client has on `path`: their handles end. A single one is
    /// removed by dropping its handle.
    ///
    /// # Errors
    /// `NoWatcher`; see [`Error`].
    pub async fn remove_watches(&self, path: &str, kind: WatcherType) -> Result<()> {
        let body = RemoveWatchesRequest { path: self.chroot.resolve(path)?, watcher_type: kind.code() };
        let effect = WatchEffect::Remove(body.path.clone(), kind);
        self.ask(Op::RemoveWatches, path, &body, Some(effect)).await.map(drop)
    }

    /// Gives this connection, and all that follow it, an identity: for scheme `digest` that is `user:password`.
    ///
    /// # Errors
    /// [`Error::AuthFailed`], which ends the session. After [`Error::ConnectionLost`] or [`Error::Timeout`] the
    /// credentials are kept, and used on the next connection.
    pub async fn authenticate(&self, scheme: &str, auth: impl Into<Bytes>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let (scheme, auth) = (scheme.into(), Secret(auth.into()));
        let sent = self.commands.send(Command::Authenticate { scheme, auth, reply });
        sent.map_err(|_| self.shared.over())?;
        let answer = match self.shared.request_timeout {
            None => answer.await,
            Some(after) => timeout(after, answer).await.map_err(|_| Error::Timeout {
                op: Op::Auth,
                after,
                sent: true,
            })?,
        };
        answer.unwrap_or_else(|_| Err(self.shared.over())).map(drop)
    }

    /// The identities that the service knows this connection by. Servers before 3.7 don't know it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn who_am_i(&self) -> Result<Vec<Identity>> {
        let body = self.ask(Op::WhoAmI, "/", &Empty, None).await?;
        let known = decode::<WhoAmIResponse>(Op::WhoAmI, &body)?.client_info;
        let known = known.iter();
        Ok(known
            .map(|id| Identity { scheme: id.auth_scheme.to_string(), user: id.user.to_string() })
            .collect())
    }

    fn handle(&self) -> Handle {
        Handle {
            id: WatchId(self.shared.next_watch.fetch_add(1, Ordering::Relaxed)),
            chroot: self.chroot.clone(),
            shared: Arc::clone(&self.shared),
            commands: self.commands.downgrade(),
        }
    }

    pub(super) fn oneshot(&self, path: Ustring, kind: WatchKind) -> (WatchEffect, OneshotWatch) {
        let (sink, event) = oneshot::channel();
        let handle = self.handle();
        let effect = registration(handle.id, path, kind, Sink::Oneshot(sink));
        (effect, OneshotWatch::new(handle, event))
    }
}

fn registration(id: WatchId, path: Ustring, kind: WatchKind, sink: Sink) -> WatchEffect {
    WatchEffect::Set(Registration { id, path, kind, sink })
}
