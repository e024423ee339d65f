//! The handles of watches: a future for one that fires once, a stream for one that stays.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use jute::EventType;
use tokio::sync::{mpsc, oneshot};

use crate::client::Shared;
use crate::error::{Error, Result};
use crate::path::Chroot;
use crate::request::Command;
use crate::watch::{RawEvent, RawUpdate, WatchId};

/// Something happened to a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "WatchedEvent")]
pub struct WatchEvent {
    /// What.
    pub kind: EventType,
    /// To which znode.
    pub path: String,
    /// In which transaction. Unknown when it happened while the watch was between two connections, and with
    /// servers before 3.9.
    pub zxid: Option<i64>,
}

impl WatchEvent {
    fn new(raw: &RawEvent, chroot: &Chroot) -> Self {
        let zxid = (raw.zxid > 0).then_some(raw.zxid);
        Self { kind: raw.kind, path: chroot.strip(&raw.path).to_owned(), zxid }
    }
}

/// What a [`PersistentWatch`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchUpdate {
    /// An event.
    Event(WatchEvent),
    /// Events may be missing here: the connection was lost and found again, and servers don't replay what
    /// persistent watches missed; or the stream was read too slowly and its buffer was full. The watch is
    /// set: whoever now reads what she watches is up to date, and misses nothing from there on.
    Gap,
}

/// Takes a handle's watch out of the client's tables when the handle goes.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: WatchId,
    pub(crate) chroot: Chroot,
    pub(crate) shared: Arc<Shared>,
    /// Weak: a watch does not keep its session open.
    pub(crate) commands: mpsc::WeakUnboundedSender<Command>,
}

impl Handle {
    fn forget(&self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Forget(self.id)); // The session is over: nothing to forget.
        }
    }
}

/// A watch that fires once: a future of the event. It survives reconnects, and what happened meanwhile is told.
///
/// Ends in an error when the session ends, or when the watch is removed by
/// [`Client::remove_watches`](crate::Client::remove_watches) ([`Error::WatchRemoved`]).
///
/// Dropping it is fine at any time, and asks nothing of the server: that forgets the watch when it next fires, or
/// with the connection. Who drops many before they fire, on ever new paths, uses one [`PersistentWatch`] instead.
#[must_use = "a watch tells nobody when it is dropped"]
pub struct OneshotWatch {
    handle: Handle,
    event: oneshot::Receiver<RawEvent>,
    fired: bool,
}

impl OneshotWatch {
    pub(crate) fn new(handle: Handle, event: oneshot::Receiver<RawEvent>) -> Self {
        Self { handle, event, fired: false }
    }
}

impl Future for OneshotWatch {
    type Output = Result<WatchEvent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let event = ready!(Pin::new(&mut self.event).poll(cx));
        self.fired = true;
        Poll::Ready(match event {
            Ok(event) => Ok(WatchEvent::new(&event, &self.handle.chroot)),
            Err(_) => Err(self.handle.shared.state().error().unwrap_or(Error::WatchRemoved)),
        })
    }
}

impl Drop for OneshotWatch {
    fn drop(&mut self) {
        if !self.fired {
            self.handle.forget();
        }
    }
}

impl fmt::Debug for OneshotWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotWatch").field("fired", &self.fired).finish_non_exhaustive()
    }
}

/// A watch that stays, over deletions of the znode and over reconnects: a stream of [`WatchUpdate`]s.
///
/// The stream buffers as many events as [`Builder::watch_buffer`](crate::Builder::watch_buffer) says. When
/// that is full, further ones are dropped and a [`WatchUpdate::Gap`] stands in their place: neither memory nor
/// the connection depends on how fast a watch is read.
///
/// It ends when the session ends ([`Client::state`](crate::Client::state) tells why), or when the watch is
/// removed by [`Client::remove_watches`](crate::Client::remove_watches). Dropping it removes the watch.
#[must_use = "a watch is removed when it is dropped"]
pub struct PersistentWatch {
    handle: Handle,
    updates: mpsc::Receiver<RawUpdate>,
}

impl PersistentWatch {
    pub(crate) fn new(handle: Handle, updates: mpsc::Receiver<RawUpdate>) -> Self {
        Self { handle, updates }
    }

    /// The next update; `None` after the end of the session or of the watch. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<WatchUpdate> {
        let update = self.updates.recv().await?;
        Some(self.tell(update))
    }

    /// The next update, if it has come already.
    pub fn try_next(&mut self) -> Option<WatchUpdate> {
        let update = self.updates.try_recv().ok()?;
        Some(self.tell(update))
    }

    fn tell(&self, update: RawUpdate) -> WatchUpdate {
        match update {
            RawUpdate::Event(event) => WatchUpdate::Event(WatchEvent::new(&event, &self.handle.chroot)),
            RawUpdate::Gap => WatchUpdate::Gap,
        }
    }
}

impl Stream for PersistentWatch {
    type Item = WatchUpdate;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let update = ready!(self.updates.poll_recv(cx));
        Poll::Ready(update.map(|update| self.tell(update)))
    }
}

impl Drop for PersistentWatch {
    fn drop(&mut self) {
        self.handle.forget();
    }
}

impl fmt::Debug for PersistentWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistentWatch").finish_non_exhaustive()
    }
}
