//! The door: takes clients' connections, turns away those above the limits, and deals the others out to the
//! shards. ZooKeeper's `NIOServerCnxnFactory.AcceptThread`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::{debug, warn};

use super::shared::{Ledger, Shared};

/// How long the door stays shut when the process has no descriptors left: the connections that wait in the
/// kernel meanwhile are served once others have gone.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// So many connections on each of the other shards keep the last one out of the node's way.
const SPARED_CONNECTIONS: usize = 500;

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: Permit,
}

/// Counts connections against the limits.
#[derive(Debug)]
#[doc(alias = "NIOServerCnxnFactory")]
#[doc(alias = "ServerCnxnFactory")]
pub(crate) struct Doorkeeper {
    /// `maxClientCnxns`; 0 is no limit.
    pub(crate) per_address_max: usize,
    /// `maxCnxns`; 0 is no limit.
    pub(crate) connections_max: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Doorkeeper {
    pub(crate) fn new(per_address_max: usize, connections_max: usize) -> Self {
        Self { per_address_max, connections_max, present: Mutex::default() }
    }

    /// Counts one more connection from `address`, unless a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let mut present = self.present.lock();
        let from_address = present.by_address.get(&address).copied().unwrap_or(0);
        let is_above = |max: usize, count: usize| max > 0 && count >= max;
        if is_above(self.connections_max, present.connections) || is_above(self.per_address_max, from_address)
        {
            return None;
        }
        present.connections += 1;
        present.by_address.insert(address, from_address + 1);
        Some(Permit { doorkeeper: Arc::clone(self), address })
    }

    /// How many are in.
    pub(crate) fn connections(&self) -> usize {
        self.present.lock().connections
    }
}

/// A connection's place among those the limits allow; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Permit {
    doorkeeper: Arc<Doorkeeper>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut present = self.doorkeeper.present.lock();
        present.connections -= 1;
        if let Some(count) = present.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&self.address);
            }
        }
    }
}

/// Opens the port. `backlog` is `clientPortListenBacklog`.
pub(crate) fn bind(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // As in Java, the wildcard of one family stands for both.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Tells of clients that are turned away, but not of each: a client without a back-off comes again at once.
#[derive(Debug, Default)]
struct TurnedAway {
    told_at: Option<Duration>,
    /// Since then.
    count: u64,
}

/// How often clients that are turned away are worth a line.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

impl TurnedAway {
    fn note(&mut self, peer: SocketAddr, now: Duration) {
        self.count += 1;
        if self.told_at.is_none_or(|told| now.saturating_sub(told) >= TELL_INTERVAL) {
            warn!(%peer, count = self.count, "too many connections: turned away by maxClientCnxns or maxCnxns");
            *self = Self { told_at: Some(now), count: 0 };
        }
    }
}

/// Accepts until the task is dropped.
pub(crate) async fn accept_loop(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let metrics = shared.registry.thread();
    let mut turned_away = TurnedAway::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
                continue;
            }
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !shared.is_serving.load(Relaxed) {
            metrics.cnxn_closed_without_zk_server_running.add(1);
            continue;
        }
        let Some(permit) = shared.doorkeeper.admit(peer.ip()) else {
            metrics.connection_rejected.add(1);
            turned_away.note(peer, shared.clock.monotonic());
            continue;
        };
        match prepare(stream, shared.config.limits.keep_alive) {
            Ok(stream) => {
                let shard = shard_for_next(&shared.ledgers);
                shared.ledgers[shard].load.fetch_add(1, Relaxed);
                shared.mailboxes[shard].adopt(Accepted { stream, peer, permit });
            }
            Err(error) => debug!(%peer, %error, "connection broke before its first byte"),
        }
    }
}

/// The shard with the fewest connections. The last one shares its core with the node's thread, on which all writes
/// wait: it is spared until the others have their hands full.
fn shard_for_next(ledgers: &[Ledger]) -> usize {
    let last = ledgers.len() - 1;
    let load = |shard: usize| {
        let handicap = if shard == last { SPARED_CONNECTIONS } else { 0 };
        ledgers[shard].load.load(Relaxed) + handicap
    };
    (0..ledgers.len()).min_by_key(|&shard| load(shard)).expect("there is a shard")
}

fn prepare(stream: tokio::net::TcpStream, keepalive: bool) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    if keepalive {
        SockRef::from(&stream).set_keepalive(true)?;
    }
    stream.into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_address_with_all_its_connections_waits_until_one_has_gone() {
        let doorkeeper = Arc::new(Doorkeeper::new(2, 0));
        let first = doorkeeper.admit(HERE);
        let second = doorkeeper.admit(HERE);
        assert!(first.is_some() && second.is_some());
        assert!(doorkeeper.admit(HERE).is_none());
        assert!(doorkeeper.admit(THERE).is_some(), "others are not concerned");
        drop(first);
        assert!(doorkeeper.admit(HERE).is_some());
    }

    #[test]
    fn zero_is_no_limit() {
        let doorkeeper = Arc::new(Doorkeeper::new(0, 0));
        let permits: Vec<_> = (0..100).filter_map(|_| doorkeeper.admit(HERE)).collect();
        assert_eq!(permits.len(), 100);
        assert_eq!(doorkeeper.connections(), 100);
    }
}
