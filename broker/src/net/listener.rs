//! Accepts connections, within bounds.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::connection::{self, Answering, Client};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// How long to wait when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener's clients are held to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `max.connections`: those beyond are closed at once.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    number: usize,
    limits: Arc<Limits>,
    connections: Arc<Connections>,
}

/// How many connections there are, shared by all listeners.
#[derive(Debug, Default)]
struct Connections {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among them; given up when dropped.
struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Listener {
    /// Binds all `addresses`, which share one count of connections.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub fn bind(addresses: &[SocketAddr], limits: Limits) -> io::Result<Vec<Self>> {
        let limits = Arc::new(limits);
        let connections = Arc::new(Connections::default());
        let bind = |(number, &address)| {
            let (limits, connections) = (Arc::clone(&limits), Arc::clone(&connections));
            Ok(Self { socket: bind_one(address)?, number, limits, connections })
        };
        addresses.iter().enumerate().map(bind).collect()
    }

    /// Where it is bound: of interest when port 0 was asked for.
    ///
    /// # Errors
    /// The system's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves clients until `stop` turns true; then connections are closed.
    pub async fn serve(self, answering: Arc<impl Answering>, stop: watch::Receiver<bool>) {
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, address)) => self.admit(stream, address, &answering, stop.clone()),
                    Err(error) => {
                        warn!(%error, "connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = stopped(&mut stopping) => {
                    info!(listener = self.number, "listener closed");
                    return;
                }
            }
        }
    }

    fn admit(
        &self,
        stream: tokio::net::TcpStream,
        address: SocketAddr,
        answering: &Arc<impl Answering>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(place) = self.connections.admit(address.ip(), &self.limits) else {
            debug!(client = %address, "too many connections");
            return;
        };
        // Replies are written whole; none should wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(client = %address, %error, "connection lost");
            return;
        }
        let client = Client { address, listener: self.number };
        let (limits, answering) = (Arc::clone(&self.limits), Arc::clone(answering));
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = connection::serve(stream, client, &limits, &*answering) => {}
                () = stopped(&mut stop) => {}
            }
        });
    }
}

/// Until it is so; also when nobody is left to say it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Connections {
    fn admit(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Place> {
        let mut by_address = self.by_address.lock();
        let all: usize = by_address.values().sum();
        let count = by_address.entry(address).or_default();
        if all >= limits.connections_max || *count >= limits.connections_per_ip_max {
            if *count == 0 {
                by_address.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(Place { connections: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.connections.by_address.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_together() {
        let limits = Limits {
            connections_max: 3,
            connections_per_ip_max: 2,
            idle_max: Duration::from_secs(600),
            request_bytes_max: 1000,
        };
        let connections = Arc::new(Connections::default());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = connections.admit(one, &limits);
        let second = connections.admit(one, &limits);
        assert!(first.is_some() && second.is_some());
        assert!(connections.admit(one, &limits).is_none(), "two of one address");
        let third = connections.admit(other, &limits);
        assert!(third.is_some());
        assert!(connections.admit(other, &limits).is_none(), "three together");
        drop(first);
        assert!(connections.admit(other, &limits).is_some());
        drop((second, third));
        assert!(connections.by_address.lock().len() <= 1);
    }
}
