//! The sockets on which other servers reach this one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_blocking, spawn_local};
use tracing::{debug, info, warn};

use super::links::Links;
use super::mesh::Mesh;
use crate::config::{Ensemble, PeerAddress, ServerId};
use crate::runtime::listener::bind;

/// Learners and voters are few.
const BACKLOG: i32 = 128;

/// A port may be somebody's who is just leaving; a name may not be there yet.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long the door stays shut when the process has no descriptors left.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The sockets on which other servers reach this one. They do not block.
#[derive(Debug)]
pub struct QuorumPorts {
    open: Vec<(Door, TcpListener)>,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Quorum,
    Election,
}

/// Where other servers are to reach this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    purpose: Purpose,
    /// `None`: every address.
    host: Option<String>,
    port: u16,
}

/// What a server with these addresses listens to.
#[must_use]
pub fn doors_of(addresses: &[PeerAddress], everywhere: bool) -> Vec<Door> {
    // One socket stands for all addresses.
    let addresses = if everywhere { &addresses[..addresses.len().min(1)] } else { addresses };
    let doors = |PeerAddress { host, quorum_port, election_port }: &PeerAddress| {
        let host = Some(host.clone()).filter(|_| !everywhere);
        let door = |purpose, port| Door { purpose, host: host.clone(), port };
        [door(Purpose::Quorum, *quorum_port), door(Purpose::Election, *election_port)]
    };
    addresses.iter().flat_map(doors).collect()
}

/// The sockets that are open, or about to be.
pub(super) struct Doors {
    links: Rc<Links>,
    mesh: Rc<Mesh>,
    open: RefCell<BTreeMap<Door, AbortHandle>>,
}

impl Doors {
    pub(super) fn new(links: Rc<Links>, mesh: Rc<Mesh>) -> Self {
        Self { links, mesh, open: RefCell::default() }
    }

    pub(super) fn open(&self, ports: QuorumPorts) {
        ports.open.into_iter().for_each(|(door, listener)| self.accept(door, listener));
    }

    /// Closes the doors that are not among `doors`, and opens those that are not there. The links that came in stand.
    pub(super) fn move_to(self: &Rc<Self>, doors: Vec<Door>) {
        self.open.borrow_mut().retain(|door, task| {
            let stays = doors.contains(door);
            if !stays {
                info!(host = door.host, port = door.port, "closed a port for other servers");
                task.abort();
            }
            stays
        });
        for door in doors {
            let is_open = self.open.borrow().contains_key(&door);
            if !is_open {
                let (of_task, key) = (Rc::clone(self), door.clone());
                let task = spawn_local(async move { of_task.open_late(door).await });
                self.open.borrow_mut().insert(key, task.abort_handle());
            }
        }
    }

    async fn open_late(&self, door: Door) {
        if let Some(listener) = bind_late(door.host.clone(), door.port).await {
            info!(host = door.host, port = door.port, "opened another port for other servers");
            self.accept(door, listener);
        }
    }

    fn accept(&self, door: Door, listener: TcpListener) {
        let (links, mesh, purpose) = (Rc::clone(&self.links), Rc::clone(&self.mesh), door.purpose);
        let task = spawn_local(accept_each(listener, move |stream, peer| match purpose {
            Purpose::Quorum => links.accept(stream, peer),
            Purpose::Election => mesh.accept(stream, peer),
        }));
        self.open.borrow_mut().insert(door, task.abort_handle());
    }
}

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}")]
pub struct CannotListen {
    /// As configured.
    pub host: String,
    /// Which.
    pub port: u16,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl QuorumPorts {
    /// Opens all of `me`'s ports; tries again as often as `electionPortBindRetry` says.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn bind(ensemble: &Ensemble, me: ServerId) -> Result<Self, CannotListen> {
        let addresses =
            ensemble.membership.members.get(&me).map(|member| &*member.addresses).unwrap_or_default();
        let doors = doors_of(addresses, ensemble.listen_on_all_addresses).into_iter();
        let bind = |door: Door| {
            let listener = bind_patiently(door.host.as_deref(), door.port, ensemble.election_bind_tries_max)?;
            Ok((door, listener))
        };
        Ok(Self { open: doors.map(bind).collect::<Result<_, _>>()? })
    }

    /// Sockets that are open already, at `address`.
    #[must_use]
    pub fn opened(address: &PeerAddress, quorum: TcpListener, election: TcpListener) -> Self {
        let doors = doors_of(std::slice::from_ref(address), false);
        Self { open: doors.into_iter().zip([quorum, election]).collect() }
    }
}

fn bind_patiently(
    host: Option<&str>,
    port: u16,
    tries_max: Option<u32>,
) -> Result<TcpListener, CannotListen> {
    let mut tries = 0;
    loop {
        tries += 1;
        match resolve_and_bind(host, port) {
            Ok(listener) => return Ok(listener),
            Err(error) if tries_max.is_none_or(|max| tries < max) => {
                warn!(host, port, %error, "cannot listen for other servers yet, trying again");
                sleep(TRY_AGAIN_AFTER);
            }
            Err(source) => {
                return Err(CannotListen { host: host.unwrap_or("[::]").to_owned(), port, source });
            }
        }
    }
}

/// Somebody may still be about to leave the port. Names are looked up where nobody waits for them. `None`: the thread
/// ends.
pub(super) async fn bind_late(host: Option<String>, port: u16) -> Option<TcpListener> {
    let mut is_told = false;
    loop {
        let of_look_up = host.clone();
        match spawn_blocking(move || resolve_and_bind(of_look_up.as_deref(), port)).await.ok()? {
            Ok(listener) => return Some(listener),
            Err(error) if is_told => debug!(host, port, %error, "cannot listen for other servers yet"),
            Err(error) => warn!(host, port, %error, "cannot listen for other servers yet, trying again"),
        }
        is_told = true;
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

fn resolve_and_bind(host: Option<&str>, port: u16) -> io::Result<TcpListener> {
    let Some(host) = host else {
        let everywhere = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), BACKLOG);
        return everywhere.or_else(|_| bind(SocketAddr::from(([0; 4], port)), BACKLOG)); // A machine without IPv6.
    };
    let address = (host, port).to_socket_addrs()?.next();
    bind(address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?, BACKLOG)
}

/// Hands over everybody who knocks, until the task is dropped.
pub(super) async fn accept_each(listener: TcpListener, mut admit: impl FnMut(TcpStream, SocketAddr)) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "cannot accept other servers"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Err(error) => {
                warn!(%error, "cannot accept a connection of another server");
                tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
            }
        }
    }
}
