//! The thread that talks to the other servers: votes on the election port, packets on the quorum port, byte for byte
//! as ZooKeeper's. It carries out what the [peer](crate::zab::Peer) wants of the network ([`LinkWork`]) and brings
//! it what came from there ([`Input`]); it decides nothing.
//!
//! ```text
//! node thread ── carry_out(LinkWork..) ──▶ mailbox ──▶ quorum thread ──▶ sockets
//!             ◀── deliver(Input..) ───── NodeQueue ◀──               ◀──
//! ```
//!
//! **Towards the network** nothing blocks the caller. [`QuorumRim::carry_out`] puts a batch into a mailbox; the
//! thread encodes each packet once, appends it to every recipient's buffer, and writes once a link and batch. A link
//! is strictly FIFO over packets, txns of the log and snapshots. A link whose buffer exceeds its bound is closed,
//! with a warning, and reported as down: its learner comes back and catches up from the log.
//!
//! **Towards the node** inputs come in batches, by the callback given to [`QuorumRim::start`], which must not block.
//! Back-pressure: when more than a bound has been delivered since the node last emptied its queue, no link is read;
//! the node says so by [`QuorumRim::taken`].
//!
//! **Trees** do not pass through inputs. One that came behind a SNAP is built here, off the node's thread, and waits
//! in [`QuorumRim::take_tree`] when [`Input::SnapshotReceived`] is delivered. One that is to be sent is handed over by
//! [`QuorumRim::offer_snapshot`], before [`LinkWork::SendSnapshot`] is passed on.
//!
//! | file | what |
//! | --- | --- |

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{PeerAddress, ServerId};
use crate::storage::{Disk, SnapshotSource};
use crate::tree::{Tree, TreeOptions};
use crate::zab::{Input, LinkId, LinkWork};

/// What the thread must be told.
#[derive(Debug, Clone)]
pub struct QuorumSettings {
    /// `myid`.
    pub me: ServerId,
    /// Where everybody listens, this server too: its own election addresses are what it tells whom it dials.
    pub members: BTreeMap<ServerId, Vec<PeerAddress>>,
    /// `multiAddress.enabled`: all of them, in the format that ZooKeeper has had since 3.6.
    pub multi_address: bool,
    /// `cnxTimeout`: how long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long whoever dials the election port may take to say who it is: `quorumCnxnTimeoutMs`, else `syncLimit`.
    pub greeting_timeout: Duration,
    /// `tcpKeepAlive`.
    pub keep_alive: bool,
    /// The longest data of a packet.
    pub data_bytes_max: usize,
    /// For trees that come behind a SNAP.
    pub tree: TreeOptions,
    /// Where the log is, for what [`LinkWork::SendLog`] sends.
    pub log_dir: PathBuf,
    /// And on what.
    pub disk: Arc<dyn Disk>,
}

/// The sockets on which other servers reach this one.
#[derive(Debug)]
pub struct QuorumPorts {
    /// Leader and learners talk there.
    pub quorum: Vec<TcpListener>,
    /// Votes arrive there.
    pub election: Vec<TcpListener>,
}

/// Takes a batch of inputs to the node, emptying the vector. It must not block.
pub type Deliver = Box<dyn FnMut(&mut Vec<Input>) + Send>;

/// The thread, seen from the node's. Dropping it leaves the thread running.
#[derive(Debug)]
#[doc(alias = "QuorumCnxManager")]
pub struct QuorumRim {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

impl QuorumRim {
    /// Starts the thread. It listens, and dials nobody before it is told to.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(settings: QuorumSettings, ports: QuorumPorts, deliver: Deliver) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let of_thread = Arc::clone(&desk);
        let thread = Builder::new()
            .name("quorum".to_owned())
            .spawn(move || run(settings, ports, deliver, &of_thread))?;
        Ok(Self { desk, thread })
    }

    /// Passes on all of `work`, in order; the vector is empty on return.
    pub fn carry_out(&self, work: &mut Vec<LinkWork>) {
        self.desk.put(|orders| orders.extend(work.drain(..).map(Order::Work)));
    }

    /// The node has emptied its queue of all that was delivered: links are read again.
    pub fn taken(&self) {}

    /// Hands over the snapshot that the next [`LinkWork::SendSnapshot`] for `link` sends. It is dropped if the link
    /// is no more.
    pub fn offer_snapshot(&self, link: LinkId, snapshot: Box<dyn SnapshotSource>) {
        self.desk.put(|orders| orders.push(Order::Offer { link, snapshot }));
    }

    /// The tree that came behind a SNAP, once [`Input::SnapshotReceived`] says so. It waits until it is taken, or
    /// this server dials again.
    #[must_use]
    pub fn take_tree(&self, link: LinkId) -> Option<Tree> {
        let mut received = self.desk.received.lock();
        received.take_if(|(of, _)| *of == link).map(|(_, tree)| *tree)
    }

    /// From now on these are the members; links that stand are kept.
    pub fn set_members(&self, members: BTreeMap<ServerId, Vec<PeerAddress>>) {
        self.desk.put(|orders| orders.push(Order::Members(members)));
    }

    /// Closes everything, and waits for the thread.
    pub fn stop(self) {
        self.desk.put(|orders| orders.push(Order::Stop));
        let _ = self.thread.join(); // A panic there has been reported by its thread.
    }
}

/// What lies between the two threads.
#[derive(Debug, Default)]
struct Desk {
    /// Bounded by the node: it proposes no more while its clients' requests are outstanding, and the thread never
    /// waits for anything but its sockets.
    orders: Mutex<Vec<Order>>,
    ordered: Notify,
    received: Mutex<Option<(LinkId, Box<Tree>)>>,
}

impl Desk {
    fn put(&self, put: impl FnOnce(&mut Vec<Order>)) {
        put(&mut self.orders.lock());
        self.ordered.notify_one();
    }
}

enum Order {
    Work(LinkWork),
    Offer { link: LinkId, snapshot: Box<dyn SnapshotSource> },
    Members(BTreeMap<ServerId, Vec<PeerAddress>>),
    Stop,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(work) => work.fmt(f),
            Self::Offer { link, .. } => write!(f, "Offer({link:?})"),
            Self::Members(members) => members.fmt(f),
            Self::Stop => write!(f, "Stop"),
        }
    }
}

fn run(settings: QuorumSettings, ports: QuorumPorts, deliver: Deliver, desk: &Arc<Desk>) {
    for order in std::mem::take(&mut *desk.orders.lock()) {
        if let Order::Offer { snapshot, .. } = order {
            drop(snapshot);
        }
    }
    drop((settings, ports, deliver));
}
