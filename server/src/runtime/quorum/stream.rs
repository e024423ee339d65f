//! Connections to and from other servers, before they are links: sockets, and in time what may lie around them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::greeting::Endpoint;

/// What bytes go over. TLS and SASL between servers come in front of the first byte that a link sees.
pub(super) type Wire = Box<dyn Stream>;

/// Anything that can be such.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// How sockets to other servers are set up.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketSetup {
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive: bool,
    /// After so long without an acknowledgement the connection counts as broken.
    pub(super) silence_max: Option<Duration>,
}

impl SocketSetup {
    /// Dials each endpoint in turn until one answers. Names are resolved now, not remembered from the last time.
    pub(super) async fn dial(&self, endpoints: &[Endpoint]) -> io::Result<(Wire, SocketAddr)> {
        let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is known");
        for (host, port) in endpoints {
            match self.dial_one(host, *port).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn dial_one(&self, host: &str, port: u16) -> io::Result<(Wire, SocketAddr)> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match timeout(self.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok((self.prepare(stream)?, address)),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    /// A connection that somebody else has opened.
    pub(super) fn prepare(&self, stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_keepalive(self.keep_alive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(self.silence_max)?;
        Ok(Box::new(stream))
    }
}
