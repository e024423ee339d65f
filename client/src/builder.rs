//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::frame::{FRAME_BYTES_MAX, FrameCodec};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::client::{Client, Shared};
use crate::connection::Driver;
use crate::error::{Error, Result};
use crate::hosts::{ConnectString, Hosts};
use crate::secret::Secret;
use crate::session::{Session, SessionOptions};
use crate::state::{SessionId, Status};

/// What can be asked for: the protocol has milliseconds in 31 bits.
const SESSION_TIMEOUT_MIN: Duration = Duration::from_millis(1);
const SESSION_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Settings of a [`Client`]; `Client::builder()` starts from the defaults.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    session: SessionOptions,
    connect_timeout: Duration,
    request_timeout: Option<Duration>,
    in_flight_max: usize,
    watch_buffer: usize,
    request_bytes_max: usize,
    reply_bytes_max: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            session: SessionOptions {
                timeout: Duration::from_secs(10),
                read_only: false,
                outlast_outages: false,
                fail_unreachable: false,
                resume: None,
                credentials: Vec::new(),
            },
            connect_timeout: Duration::from_secs(30),
            request_timeout: None,
            in_flight_max: 1000,
            watch_buffer: 1024,
            request_bytes_max: FRAME_BYTES_MAX,
            reply_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Builder {
    /// How long the session should outlive its connection; the server has the last word, see
    /// [`Client::session_timeout`]. Within this time a lost connection must be noticed and another server
    /// found. 10 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session.timeout = timeout.clamp(SESSION_TIMEOUT_MIN, SESSION_TIMEOUT_MAX);
        self
    }

    /// Believes in the session until a server says that it has expired, however long none can be reached, as
    /// ZooKeeper's own clients do. A service that was down as a whole has kept its sessions, and each has its
    /// whole timeout ahead of it when the service is back. Without this, the session
    /// [expires](crate::SessionState::Expired) by itself once a service at work would have expired it: who holds a
    /// lock must then let go of it. No.
    pub fn outlast_outages(mut self, wanted: bool) -> Self {
        self.session.outlast_outages = wanted;
        self
    }

    /// Fails requests with [`Error::Unreachable`] once every server has been tried in vain, instead of letting
    /// them wait for one. No.
    pub fn fail_unreachable(mut self, wanted: bool) -> Self {
        self.session.fail_unreachable = wanted;
        self
    }

    /// Accepts a server that is cut off from its quorum and only reads, while looking for one that is not. No.
    pub fn read_only(mut self, accepted: bool) -> Self {
        self.session.read_only = accepted;
        self
    }

    /// Authenticates every connection, before anything else is asked. See [`Client::authenticate`].
    pub fn credentials(mut self, scheme: &str, auth: impl Into<Bytes>) -> Self {
        self.session.credentials.push((scheme.into(), Secret(auth.into())));
        self
    }

    /// Carries on a session that another client, perhaps of another process, has left open. It is that
    /// client's [`Client::session_id`] and [`Client::session_password`], and what [`Client::detach`] tells.
    pub fn resume(mut self, id: SessionId, password: impl Into<Bytes>) -> Self {
        self.session.resume = Some((id, Secret(password.into())));
        self
    }

    /// How long [`Builder::connect`] waits for a server that accepts the session. 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may wait for its answer, all waiting included. Without, it waits until it is
    /// answered, or the connection breaks under it, or the session ends. Without.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// How many requests may be under way; further ones wait their turn. 1000, which is also how many a
    /// server takes, unless configured.
    ///
    /// # Panics
    /// If it is 0.
    pub fn in_flight_max(mut self, requests: usize) -> Self {
        assert!(requests > 0, "a client that may have no request in flight can do nothing");
        self.in_flight_max = requests;
        self
    }

    /// How many events each [`PersistentWatch`](crate::PersistentWatch) keeps for a slow reader. 1024.
    pub fn watch_buffer(mut self, events: usize) -> Self {
        self.watch_buffer = events;
        self
    }

    /// How long a request may be: the servers' `jute.maxbuffer`, above which they close the connection. 1 MiB
    /// less one byte.
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.request_bytes_max = bytes;
        self
    }

    /// How long an answer may be. Servers have no limit; a list of many children can be long. 64 MiB.
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.reply_bytes_max = bytes;
        self
    }

    /// Opens a session on one of `servers`, such as `zk1:2181,zk2:2181,zk3:2181/app`: every path of this
    /// client is then below `/app`. Must be called on a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// When `servers` makes no sense, no server accepts the session in time, or the session ends at once.
    pub async fn connect(self, servers: &str) -> Result<Client> {
        let after = self.connect_timeout;
        let client = self.connect_lazily(servers)?;
        match timeout(after, client.connected()).await {
            Ok(connected) => connected.map(|()| client),
            Err(_) => Err(Error::ConnectTimeout { after }),
        }
    }

    /// The same without waiting: requests wait until a server accepts the session.
    ///
    /// # Errors
    /// When `servers` makes no sense.
    pub fn connect_lazily(self, servers: &str) -> Result<Client> {
        let ConnectString { hosts, chroot } = servers.parse()?;
        let (status, status_seen) = watch::channel(Status::new(&self.session));
        let (commands, commands_received) = mpsc::unbounded_channel();
        let session = Session::new(self.session, Instant::now().into_std(), status);
        let hosts = Hosts::new(hosts, &mut rand::rng());
        let codec = FrameCodec::new(self.reply_bytes_max);
        tokio::spawn(Driver::new(session, hosts, commands_received, codec).run());
        let shared = Shared::new(
            status_seen,
            Arc::new(Semaphore::new(self.in_flight_max)),
            self.request_timeout,
            self.request_bytes_max,
            self.watch_buffer,
        );
        Ok(Client::new(commands, Arc::new(shared), chroot))
    }
}
