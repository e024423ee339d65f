//! What lies between whoever gives orders and the sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Part;
use super::ports::Door;
use crate::config::{PeerAddress, ServerId};
use crate::storage::SnapshotSource;
use crate::tree::Tree;
use crate::zab::{LinkId, LinkWork};

#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Bounded by the node: it proposes no more while too many requests are outstanding, and carries out what it
    /// orders before it waits for anything.
    orders: Mutex<Vec<Order>>,
    ordered: Notify,
    pub(super) untaken_bytes: AtomicUsize,
    pub(super) taken: Notify,
    /// There is one leader, and so one tree.
    received: Mutex<Option<(LinkId, Box<Tree>)>>,
}

/// What is asked for.
pub(super) enum Order {
    Work(LinkWork),
    Offer {
        link: LinkId,
        snapshot: Box<dyn SnapshotSource>,
    },
    Members {
        members: BTreeMap<ServerId, Vec<PeerAddress>>,
        masters: Vec<ServerId>,
        doors: Option<Vec<Door>>,
    },
    Play(Part),
}

impl Desk {
    pub(super) fn put(&self, orders: impl IntoIterator<Item = Order>) {
        self.orders.lock().extend(orders);
        self.ordered.notify_one();
    }

    /// Swaps all orders into `into`, which must be empty.
    pub(super) fn take_orders(&self, into: &mut Vec<Order>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.orders.lock(), into);
    }

    /// Completes when there may be orders.
    pub(super) async fn ordered(&self) {
        self.ordered.notified().await;
    }

    /// The node has taken everything.
    pub(super) fn note_taken(&self) {
        if self.untaken_bytes.swap(0, SeqCst) > 0 {
            self.taken.notify_waiters();
        }
    }

    pub(super) fn lay_down(&self, link: LinkId, tree: Box<Tree>) {
        *self.received.lock() = Some((link, tree));
    }

    pub(super) fn take_up(&self, link: LinkId) -> Option<Tree> {
        self.received.lock().take_if(|(of, _)| *of == link).map(|(_, tree)| *tree)
    }

    /// Whoever dials again wants no tree that came before.
    pub(super) fn clear(&self) {
        *self.received.lock() = None;
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(work) => work.fmt(f),
            Self::Offer { link, .. } => write!(f, "Offer({link:?})"),
            Self::Members { members, .. } => members.fmt(f),
            Self::Play(part) => part.fmt(f),
        }
    }
}
