//! The sockets on which other servers reach this one.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread::sleep;
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::warn;

use crate::config::{Ensemble, PeerAddress, ServerId};
use crate::runtime::listener::bind;

/// Learners and voters are few.
const BACKLOG: i32 = 128;

/// A port may be somebody's who is just leaving; a name may not be there yet.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long the door stays shut when the process has no descriptors left.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The sockets on which other servers reach this one. They do not block.
#[derive(Debug, Default)]
pub struct QuorumPorts {
    /// Leader and learners talk there.
    pub quorum: Vec<TcpListener>,
    /// Votes arrive there.
    pub election: Vec<TcpListener>,
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
        let mut ports = Self::default();
        let addresses = ensemble.members.get(&me).map(|member| &*member.addresses).unwrap_or_default();
        for PeerAddress { host, quorum_port, election_port } in addresses {
            let host = if ensemble.listen_on_all_addresses { None } else { Some(host.as_str()) };
            ports.quorum.push(bind_patiently(host, *quorum_port, ensemble.election_bind_tries_max)?);
            ports.election.push(bind_patiently(host, *election_port, ensemble.election_bind_tries_max)?);
            if host.is_none() {
                break; // One socket stands for all addresses.
            }
        }
        Ok(ports)
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
