//! Which watches this client has set, and who gets an event: the client's half of a watch. `ZKWatchManager`.
//!
//! A server keeps one watch for a connection, path and kind; any number of handles may wait for it here.

use std::collections::HashMap;

use jute::proto::{SetWatches, SetWatches2, WatcherEvent};
use jute::{EventType, Op, Ustring, WatcherType};
use tokio::sync::{mpsc, oneshot};

/// Names one handle of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WatchId(pub(crate) u64);

/// An event as it came, with the server's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEvent {
    pub(crate) kind: EventType,
    pub(crate) path: Ustring,
    /// -1 when the server made the event up while taking over the watch, or is older than 3.9.
    pub(crate) zxid: i64,
}

/// What a persistent watch's stream yields, with the server's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawUpdate {
    Event(RawEvent),
    Gap,
}

/// The kinds that servers tell apart, in the order in which `setWatches2` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WatchKind {
    Data,
    Exists,
    Children,
    Persistent,
    Recursive,
}

impl WatchKind {
    const ALL: [Self; 5] = [Self::Data, Self::Exists, Self::Children, Self::Persistent, Self::Recursive];
}

/// A watch that is being set.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) id: WatchId,
    pub(crate) path: Ustring,
    pub(crate) kind: WatchKind,
    pub(crate) sink: Sink,
}

/// The way to a handle.
#[derive(Debug)]
pub(crate) enum Sink {
    Oneshot(oneshot::Sender<RawEvent>),
    Stream(StreamSink),
}

impl Sink {
    fn is_closed(&self) -> bool {
        match self {
            Self::Oneshot(sender) => sender.is_closed(),
            Self::Stream(sink) => sink.sender.is_closed(),
        }
    }
}

/// A bounded queue whose last place is kept for the word that something is missing.
#[derive(Debug)]
pub(crate) struct StreamSink {
    sender: mpsc::Sender<RawUpdate>,
    /// The newest entry of the queue is a `Gap`.
    ends_in_gap: bool,
}

impl StreamSink {
    /// A queue for `events` events, at least one.
    pub(crate) fn new(events: usize) -> (Self, mpsc::Receiver<RawUpdate>) {
        let (sender, receiver) = mpsc::channel(events.max(1) + 1);
        (Self { sender, ends_in_gap: false }, receiver)
    }

    fn push(&mut self, event: &RawEvent) {
        if self.sender.capacity() > 1 {
            self.ends_in_gap = self.sender.try_send(RawUpdate::Event(event.clone())).is_err();
        } else {
            self.push_gap();
        }
    }

    /// Whoever reads the `Gap` reads the state afterwards, so one stands for all that was dropped before it
    /// was read.
    fn push_gap(&mut self) {
        let unread = self.sender.max_capacity() - self.sender.capacity();
        if !(self.ends_in_gap && unread > 0) {
            self.ends_in_gap = self.sender.try_send(RawUpdate::Gap).is_ok();
        }
    }
}

type Sinks = Vec<(WatchId, Sink)>;

/// All watches of one session.
#[derive(Debug, Default)]
#[doc(alias = "ZKWatchManager")]
pub(crate) struct Watches {
    /// A table for each [`WatchKind`].
    tables: [HashMap<Ustring, Sinks>; WatchKind::ALL.len()],
    by_id: HashMap<WatchId, (WatchKind, Ustring)>,
}

impl Watches {
    /// Adds a watch that the server has set. False if its handle has been dropped meanwhile.
    pub(crate) fn add(&mut self, watch: Registration) -> bool {
        if watch.sink.is_closed() {
            return false;
        }
        self.by_id.insert(watch.id, (watch.kind, watch.path.clone()));
        self.table(watch.kind).entry(watch.path).or_default().push((watch.id, watch.sink));
        true
    }

    /// Drops a handle's watch. Its kind and path if it was the last of them, and the server could forget it too.
    pub(crate) fn forget(&mut self, id: WatchId) -> Option<(WatchKind, Ustring)> {
        let (kind, path) = self.by_id.remove(&id)?;
        let sinks = self.table(kind).get_mut(&path)?;
        sinks.retain(|(other, _)| *other != id);
        if !sinks.is_empty() {
            return None;
        }
        self.table(kind).remove(&path);
        Some((kind, path))
    }

    pub(crate) fn has(&self, kind: WatchKind, path: &str) -> bool {
        self.tables[kind as usize].contains_key(path)
    }

    /// Any watch of any kind on exactly this path.
    pub(crate) fn has_any(&self, path: &str) -> bool {
        WatchKind::ALL.into_iter().any(|kind| self.has(kind, path))
    }

    /// The server has dropped watches because it was asked to: their handles end.
    pub(crate) fn remove(&mut self, path: &str, removed: WatcherType) {
        let kinds: &[WatchKind] = match removed {
            WatcherType::Children => &[WatchKind::Children],
            WatcherType::Data => &[WatchKind::Data, WatchKind::Exists],
            WatcherType::Persistent => &[WatchKind::Persistent],
            WatcherType::PersistentRecursive => &[WatchKind::Recursive],
            WatcherType::Any => &WatchKind::ALL,
        };
        for &kind in kinds {
            self.take(kind, path);
        }
    }

    /// Hands an event to everyone it concerns. One-shot watches are used up by it.
    pub(crate) fn deliver(&mut self, event: &WatcherEvent, zxid: i64) {
        let Some(kind) = EventType::from_code(event.event_type) else {
            return; // A kind that a newer server might know is none that was asked for.
        };
        // A copy of its own: the one that came is a slice of the connection's read buffer.
        let event = RawEvent { kind, path: Ustring::from(&*event.path), zxid };
        let used_up: &[WatchKind] = match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => &[WatchKind::Data, WatchKind::Exists],
            EventType::NodeChildrenChanged => &[WatchKind::Children],
            // A server tells a deletion once, even if it was asked for data and for children.
            EventType::NodeDeleted => &[WatchKind::Data, WatchKind::Exists, WatchKind::Children],
        };
        for &kind in used_up {
            for (_, sink) in self.take(kind, &event.path) {
                if let Sink::Oneshot(sender) = sink {
                    let _ = sender.send(event.clone()); // The handle was dropped: nobody waits.
                }
            }
        }
        self.push(WatchKind::Persistent, &event.path, &event);
        // Servers send a child event for the sake of another watch; recursive ones don't promise it.
        if kind != EventType::NodeChildrenChanged && !self.table(WatchKind::Recursive).is_empty() {
            for ancestor in ancestors(&event.path) {
                self.push(WatchKind::Recursive, ancestor, &event);
            }
        }
    }

    /// Tells persistent watches that events may have been missed: servers don't replay them.
    pub(crate) fn push_gaps(&mut self) {
        for (_, sink) in self.tables.iter_mut().flat_map(HashMap::values_mut).flatten() {
            if let Sink::Stream(sink) = sink {
                sink.push_gap();
            }
        }
    }

    /// The requests that set all watches on another connection, each with at most a little more than
    /// `path_bytes_max` of paths.
    pub(crate) fn restore(&self, relative_zxid: i64, path_bytes_max: usize) -> Vec<RestoreWatches> {
        let mut batches = Vec::new();
        let mut batch = RestoreWatches::new(relative_zxid);
        let mut path_bytes = 0;
        for kind in WatchKind::ALL {
            let mut paths: Vec<_> = self.tables[kind as usize].keys().collect();
            paths.sort_unstable();
            for path in paths {
                batch.list(kind).push(path.clone());
                path_bytes += path.len();
                if path_bytes >= path_bytes_max {
                    batches.push(std::mem::replace(&mut batch, RestoreWatches::new(relative_zxid)));
                    path_bytes = 0;
                }
            }
        }
        if path_bytes > 0 {
            batches.push(batch);
        }
        batches
    }

    fn push(&mut self, kind: WatchKind, path: &str, event: &RawEvent) {
        for (_, sink) in self.table(kind).get_mut(path).into_iter().flatten() {
            if let Sink::Stream(sink) = sink {
                sink.push(event);
            }
        }
    }

    fn take(&mut self, kind: WatchKind, path: &str) -> Sinks {
        let sinks = self.table(kind).remove(path).unwrap_or_default();
        for (id, _) in &sinks {
            self.by_id.remove(id);
        }
        sinks
    }

    fn table(&mut self, kind: WatchKind) -> &mut HashMap<Ustring, Sinks> {
        &mut self.tables[kind as usize]
    }
}

/// A path and all above it.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(0) | None => None,
        Some(slash) => Some(&path[..slash]),
    })
}

/// `setWatches`, or `setWatches2` where it takes that: servers before 3.6 know the first only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RestoreWatches(SetWatches2);

impl RestoreWatches {
    fn new(relative_zxid: i64) -> Self {
        Self(SetWatches2 { relative_zxid, ..SetWatches2::default() })
    }

    fn list(&mut self, kind: WatchKind) -> &mut Vec<Ustring> {
        match kind {
            WatchKind::Data => &mut self.0.data_watches,
            WatchKind::Exists => &mut self.0.exist_watches,
            WatchKind::Children => &mut self.0.child_watches,
            WatchKind::Persistent => &mut self.0.persistent_watches,
            WatchKind::Recursive => &mut self.0.persistent_recursive_watches,
        }
    }

    /// The operation it is.
    pub(crate) fn op(&self) -> Op {
        if self.0.persistent_watches.is_empty() && self.0.persistent_recursive_watches.is_empty() {
            Op::SetWatches
        } else {
            Op::SetWatches2
        }
    }

    /// The frame, but for its xid.
    pub(crate) fn into_frame(self) -> bytes::BytesMut {
        let op = self.op();
        if op == Op::SetWatches2 {
            return crate::request::encode_frame(op, &self.0);
        }
        let SetWatches2 { relative_zxid, data_watches, exist_watches, child_watches, .. } = self.0;
        let body = SetWatches { relative_zxid, data_watches, exist_watches, child_watches };
        crate::request::encode_frame(op, &body)
    }
}

#[cfg(test)]
mod tests;
