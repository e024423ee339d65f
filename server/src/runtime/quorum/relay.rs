//! The door for observers: whoever dials `observerMasterPort` while this server follows is let through to the leader,
//! byte for byte. ZooKeeper's `ObserverMaster`.
//!
//! A Java follower serves the observer itself, from what it has. Here the leader does: it sees an observer like any other,
//! which is never behind a lagging follower, and this server needs to keep nothing for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use jute::PacketType;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, copy_buf, split};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Part;
use super::hub::Hub;
use super::ports::{accept_each, bind_late};
use super::stream::{SocketSetup, Wire};
use crate::config::ServerId;

/// Observers at one door.
const OBSERVERS_MAX: usize = 256;

/// What the leader says waits in here for an observer; the rest waits at the leader, which has a bound of its own.
const BUFFER_BYTES: usize = 64 << 10;

/// Lets observers through, to one leader after the other.
#[doc(alias = "ObserverMaster")]
pub(super) struct Relay {
    hub: Rc<Hub>,
    part: Cell<Part>,
    /// What stands open, and all who were let through there: they go when this is emptied.
    doors: RefCell<JoinSet<()>>,
    /// Where those are. `None`: every address.
    hosts: RefCell<Vec<Option<String>>>,
}

impl Relay {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self { hub, part: Cell::default(), doors: RefCell::default(), hosts: RefCell::default() }
    }

    /// Lets observers through if this server follows, and nobody any more who is there now.
    pub(super) fn play(&self, part: Part) {
        self.part.set(part);
        let mut doors = self.doors.borrow_mut();
        if !doors.is_empty() {
            info!("observers do not reach the leader through this server any more");
        }
        *doors = JoinSet::new();
        let (Part::Follows(leader), Some(port)) = (part, self.hub.settings.observer_masters.port) else {
            return;
        };
        let hosts = self.hub.observers_doors();
        for host in &hosts {
            doors.spawn_local(keep_door(Rc::clone(&self.hub), leader, host.clone(), port));
        }
        *self.hosts.borrow_mut() = hosts;
    }

    /// The doors are where this server is, wherever it has moved.
    pub(super) fn move_along(&self) {
        if !self.doors.borrow().is_empty() && *self.hosts.borrow() != self.hub.observers_doors() {
            self.play(self.part.get());
        }
    }
}

/// Lets observers in for as long as the task is there.
async fn keep_door(hub: Rc<Hub>, leader: ServerId, host: Option<String>, port: u16) {
    let Some(listener) = bind_late(host.clone(), port).await else {
        return;
    };
    info!(%leader, host, port, "observers reach the leader through this server");
    let mut observers = JoinSet::new();
    let admit = |stream, peer| {
        while observers.try_join_next().is_some() {}
        if observers.len() >= OBSERVERS_MAX {
            return warn!(%peer, "too many observers, turned away one");
        }
        let hub = Rc::clone(&hub);
        observers.spawn_local(async move {
            match let_through(&hub, leader, stream, peer).await {
                Ok(()) => info!(%peer, "an observer is not let through any more"),
                Err(refusal) => warn!(%peer, %refusal, "an observer cannot be let through"),
            }
        });
    };
    accept_each(listener, admit).await;
}

/// Why somebody does not get through.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it broke")]
    Broken(#[from] io::Error),
    #[error("it says nothing")]
    Silent,
    #[error("it begins with {0}, and is no observer")]
    NoObserver(i32),
    #[error("the leader cannot be reached: {0}")]
    Leader(#[source] io::Error),
}

/// Both sides see to it that the other one lives: once either has closed, there is nothing left to be done.
async fn let_through(
    hub: &Hub,
    leader: ServerId,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), Refusal> {
    let sockets = SocketSetup { keep_alive: true, ..hub.quorum_sockets() };
    let mut observer = sockets.prepare(stream)?;
    let first = greeted(hub, &mut observer).await?;
    let (mut to_leader, _) = sockets.dial(&hub.quorum_endpoints(leader)).await.map_err(Refusal::Leader)?;
    to_leader.write_i32(first).await?;

    let _counted = Counted::new(&hub.settings.observer_masters.passing);
    info!(%peer, %leader, "an observer is let through to the leader");
    let ((of_observer, mut for_observer), (of_leader, mut for_leader)) = (split(observer), split(to_leader));
    let (mut of_observer, mut of_leader) = (of_observer, BufReader::with_capacity(BUFFER_BYTES, of_leader));
    // How either ended is for the two of them to tell.
    tokio::select! {
        _ = copy(&mut of_observer, &mut for_leader) => {}
        _ = copy_buf(&mut of_leader, &mut for_observer) => {}
    }
    Ok(())
}

/// Waits for the kind of the first packet, which only an observer's is let through with. The leader hears of nobody else.
async fn greeted(hub: &Hub, observer: &mut Wire) -> Result<i32, Refusal> {
    let first = timeout(hub.settings.greeting_timeout, observer.read_i32()).await;
    match first.map_err(|_| Refusal::Silent)?? {
        kind if kind == PacketType::ObserverInfo.code() => Ok(kind),
        other => Err(Refusal::NoObserver(other)),
    }
}

/// One more, for as long as it is there.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
