//! The way to the other servers: votes on the election port, packets on the quorum port, byte for byte as ZooKeeper's.
//! It carries out what the [peer](crate::zab::Peer) wants of the network ([`LinkWork`]) and brings it what came from
//! there ([`Input`]); it decides nothing.
//!
//! ```text
//! node ── carry_out(LinkWork..) ──▶ desk ──▶ QuorumSockets ──▶ sockets
//!      ◀── deliver(Input..) ─── NodeQueue ◀──              ◀──
//! ```
//!
//! **The thread** is the node's: [`QuorumSockets`] are tasks that run while it has nothing else to do, and get a
//! [turn](QuorumSockets::turn) as soon as there is something to send. A thread of their own would cost a wake-up for
//! each message on its way out, and one on its way in. What takes long (names, snapshots, reading the log) is on
//! threads that may block.
//!
//! **Towards the network** nothing blocks the caller. [`QuorumRim::carry_out`] leaves a batch on the desk; each packet
//! is encoded once, appended to every recipient's buffer, and written once a link and batch. A link
//! is strictly FIFO over packets, txns of the log and snapshots. A link whose buffer exceeds its bound is closed,
//! with a warning, and reported as down: its learner comes back and catches up from the log.
//!
//! **Towards the node** inputs come in batches, by the callback given to [`QuorumRim::new`], which must not block.
//! Back-pressure: when more than a bound has been delivered since the node last emptied its queue, no link is read;
//! the node says so by [`QuorumRim::taken`].
//!
//! **Trees** do not pass through inputs. One that came behind a SNAP is built here, off the node's thread, and waits
//! in [`QuorumRim::take_tree`] when [`Input::SnapshotReceived`] is delivered. One that is to be sent is handed over by
//! [`QuorumRim::offer_snapshot`], before [`LinkWork::SendSnapshot`] is passed on.
//!
//! | file | what |
//! | --- | --- |
//! | [`mesh`], [`greeting`] | election links: who dials, who hangs up, the newest vote to each |
//! | [`links`], [`link`] | quorum links: dialed and accepted, read and written |
//! | [`relay`], [`masters`] | observers that reach the leader through a follower: the follower's side, and the observer's |
//! | [`decoder`], [`outbox`] | the packets of one link, in and out |
//! | [`bulk`] | what follows a SNAP, and what the log holds |
//! | [`stream`], [`ports`] | sockets |
//! | [`desk`], [`hub`], [`sockets`] | to and from the node |

mod bulk;
mod decoder;
mod desk;
mod greeting;
mod hub;
mod link;
mod links;
mod masters;
mod mesh;
mod outbox;
mod ports;
mod relay;
#[cfg(test)]
mod relay_tests;
mod sockets;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::error;

pub use decoder::{Decoder, Next, StreamFlaw};
#[cfg(feature = "fuzzing")]
pub use greeting::fuzz as fuzz_greeting;
pub use ports::{CannotListen, Door, QuorumPorts, doors_of};
pub use sockets::{QuorumSockets, QuorumStart};

use crate::config::{PeerAddress, ServerId};
use crate::storage::{Disk, SnapshotSource};
use crate::tree::{Tree, TreeOptions};
use crate::zab::{Input, LinkId, LinkWork, PeerState, PeerStatus};
use desk::{Desk, Order};

/// What the sockets must be told.
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
    /// How observers reach the leader.
    pub observer_masters: ObserverMasters,
}

/// `observerMasterPort`, and what goes with it.
#[derive(Debug, Clone, Default)]
pub struct ObserverMasters {
    /// There followers let observers through to the leader. `None`: observers dial the leader.
    pub port: Option<u16>,
    /// `quorumListenOnAllIPs`: not only on this server's own addresses.
    pub listen_everywhere: bool,
    /// Whom this server dials in place of the leader, if it is an observer.
    pub masters: Vec<ServerId>,
    /// How many observers this server lets through just now.
    pub passing: Arc<AtomicUsize>,
}

/// What a server that is in step with its leader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// It leads, or is not in step.
    #[default]
    Other,
    /// It follows this leader, and lets observers through to it.
    Follows(ServerId),
    /// It observes.
    Observes,
}

impl Part {
    /// The part of a server that stands so.
    #[must_use]
    pub fn of(status: &PeerStatus) -> Self {
        match (status.state, status.leader) {
            (PeerState::Following, Some(leader)) if status.serves => Self::Follows(leader),
            (PeerState::Observing, _) if status.serves => Self::Observes,
            _ => Self::Other,
        }
    }
}

/// Takes a batch of inputs to the node, emptying the vector. It must not block.
pub type Deliver = Box<dyn FnMut(&mut Vec<Input>) + Send>;

/// Gives the sockets their orders, from any thread.
#[derive(Debug)]
#[doc(alias = "QuorumCnxManager")]
pub struct QuorumRim {
    desk: Arc<Desk>,
    /// Where the sockets have one of their own, and what ends it when it is dropped.
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl QuorumRim {
    /// A rim, and what opens its sockets on the thread that will give them their turns. They listen, and dial nobody
    /// before they are told to.
    #[must_use]
    pub fn new(settings: QuorumSettings, ports: QuorumPorts, deliver: Deliver) -> (Self, QuorumStart) {
        let desk = Arc::new(Desk::default());
        let start = QuorumStart { settings, ports, deliver, desk: Arc::clone(&desk) };
        (Self { desk, thread: None }, start)
    }

    /// A rim whose sockets have a thread of their own. Dropping it leaves the thread running.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(settings: QuorumSettings, ports: QuorumPorts, deliver: Deliver) -> io::Result<Self> {
        let (rim, start) = Self::new(settings, ports, deliver);
        let (stop, stopped) = oneshot::channel();
        let thread = Builder::new().name("quorum".to_owned()).spawn(move || match start.open() {
            Ok(mut sockets) => drop(sockets.run_until(stopped)),
            Err(error) => error!(%error, "cannot talk to other servers"),
        })?;
        Ok(Self { thread: Some((stop, thread)), ..rim })
    }

    /// Passes on all of `work`, in order; the vector is empty on return.
    pub fn carry_out(&self, work: &mut Vec<LinkWork>) {
        self.desk.put(work.drain(..).map(Order::Work));
    }

    /// The node has emptied its queue of all that was delivered: links are read again.
    pub fn taken(&self) {
        self.desk.note_taken();
    }

    /// Hands over the snapshot that the next [`LinkWork::SendSnapshot`] for `link` sends. It is dropped if the link
    /// is no more.
    pub fn offer_snapshot(&self, link: LinkId, snapshot: Box<dyn SnapshotSource>) {
        self.desk.put([Order::Offer { link, snapshot }]);
    }

    /// The tree that came behind a SNAP, once [`Input::SnapshotReceived`] says so. It waits until it is taken, or
    /// this server dials again.
    #[must_use]
    pub fn take_tree(&self, link: LinkId) -> Option<Tree> {
        self.desk.take_up(link)
    }

    /// From now on these are the members, those are dialed in place of the leader, and this server listens there, if
    /// that is said; links that stand are kept.
    pub fn set_members(
        &self,
        members: BTreeMap<ServerId, Vec<PeerAddress>>,
        masters: Vec<ServerId>,
        doors: Option<Vec<Door>>,
    ) {
        self.desk.put([Order::Members { members, masters, doors }]);
    }

    /// This is what the server does from now on.
    pub fn play(&self, part: Part) {
        self.desk.put([Order::Play(part)]);
    }

    /// Closes everything that has a thread of its own, and waits for that.
    pub fn stop(self) {
        if let Some((stop, thread)) = self.thread {
            drop(stop);
            let _ = thread.join(); // A panic there has been reported by its thread.
        }
    }
}
