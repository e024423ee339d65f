//! The one way into a shard from other threads: deliveries from the node, sockets from the listener.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::listener::Accepted;
use crate::node::Delivery;

/// One shard's. It is bounded by what fills it: replies by the writes in flight, sockets by the limits on
/// connections, notifications by the watches set and by a shard that drains it before it answers a read.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    /// Set under the lock, so that a look at it without the lock is enough to know there is nothing.
    is_full: AtomicBool,
    arrived: Notify,
}

/// What waits in a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// In the order in which the node gave them out.
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) accepted: Vec<Accepted>,
    /// The server stops: close everything.
    pub(crate) stop: bool,
}

impl Mailbox {
    /// Moves all of `deliveries` in. The shard learns of it by [`Mailbox::wake`], or by looking.
    pub(crate) fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        let mut mail = self.mail.lock();
        if mail.deliveries.is_empty() {
            std::mem::swap(&mut mail.deliveries, deliveries);
        } else {
            mail.deliveries.append(deliveries);
        }
        deliveries.clear();
        self.is_full.store(true, Ordering::Release);
    }

    /// Hands over a socket.
    pub(crate) fn adopt(&self, accepted: Accepted) {
        self.mail.lock().accepted.push(accepted);
        self.is_full.store(true, Ordering::Release);
        self.wake();
    }

    /// Tells the shard to close its connections and end.
    pub(crate) fn stop(&self) {
        self.mail.lock().stop = true;
        self.is_full.store(true, Ordering::Release);
        self.wake();
    }

    /// Has the shard look, even if it sleeps.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Completes when the shard should look.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Something waits. What was put in before the tree's lock was let go is seen by whoever took it since.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Takes everything; `into` must be empty.
    pub(crate) fn empty(&self, into: &mut Mail) {
        debug_assert!(into.deliveries.is_empty() && into.accepted.is_empty());
        let mut mail = self.mail.lock();
        std::mem::swap(&mut *mail, into);
        self.is_full.store(false, Ordering::Release);
    }
}
