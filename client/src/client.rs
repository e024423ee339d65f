//! The API: a handle on a session, with a method for each operation.

mod read;
mod submit;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use self::read::Znode;
pub(crate) use self::read::owned;
pub(crate) use self::submit::{Shared, decode};
pub use self::watch::Identity;
pub use self::write::Reconfig;
pub(crate) use self::write::{Create, any, encode_create};
use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::hosts::{ConnectString, Host};
use crate::path::Chroot;
use crate::request::{Command, Reply};
use crate::state::{SessionId, SessionState, States, Status};

/// Where the service keeps the ensemble's configuration. No chroot applies to it.
const CONFIG_PATH: &str = "/zookeeper/config";

/// A session with a ZooKeeper service, kept alive and connected for as long as a clone of this handle exists.
///
/// All methods may be called at any time, from any task: requests wait while there is no connection. They
/// reach the service in the order in which their futures are first polled, as long as there is
/// [room in flight](Builder::in_flight_max) for them; those that wait for room are let in first come, first
/// served.
///
/// **Dropping** any of the futures is fine. A request that was not sent never will be; one that was may be
/// carried out, but nobody learns how it ended. Neither the connection nor other requests are affected.
///
/// **The session ends** when the last handle is dropped, or with [`Client::close`], which waits until the
/// service has confirmed it. Watches don't keep it open.
#[derive(Debug, Clone)]
#[doc(alias = "ZooKeeper")]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    chroot: Chroot,
}

/// Connecting, and what is known without asking.
impl Client {
    pub(crate) fn new(commands: mpsc::UnboundedSender<Command>, shared: Arc<Shared>, chroot: Chroot) -> Self {
        Self { commands, shared, chroot }
    }

    /// Opens a session with the default settings: [`Builder::connect`].
    ///
    /// # Errors
    /// See there.
    pub async fn connect(servers: &str) -> Result<Self> {
        Self::builder().connect(servers).await
    }

    /// Settings, to begin with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The same session, seen from `path`: every path of the new handle is below it. The znode need not exist.
    ///
    /// # Errors
    /// When `path` is no path.
    pub fn chroot(&self, path: &str) -> Result<Self> {
        let chroot = self.chroot.below(path).map_err(|flaw| Error::BadPath { path: path.into(), flaw })?;
        Ok(Self { chroot, ..self.clone() })
    }

    /// The path that this handle's `/` is for the service.
    #[must_use]
    pub fn root(&self) -> &str {
        self.chroot.as_str()
    }

    /// How the session fares.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.shared.state()
    }

    /// How it fares from now on.
    pub fn states(&self) -> States {
        States::new(self.shared.status.clone())
    }

    /// Waits until a server accepts the session.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn connected(&self) -> Result<()> {
        let mut status = self.shared.status.clone();
        let settled = |status: &Status| status.state.is_connected() || status.state.is_terminal();
        let state = match status.wait_for(settled).await {
            Ok(status) => status.state,
            Err(_) => return Err(self.shared.over()),
        };
        state.error().map_or(Ok(()), Err)
    }

    /// The session's id; 0 before it has one.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.shared.status.borrow().id
    }

    /// What [`Builder::resume`] needs besides the id. Whoever knows it can take the session over.
    #[must_use]
    pub fn session_password(&self) -> Bytes {
        self.shared.status.borrow().password.0.clone()
    }

    /// The session timeout that the service has granted.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.shared.status.borrow().timeout
    }

    /// The server that serves the session, or served it last.
    #[must_use]
    pub fn server(&self) -> Option<Host> {
        self.shared.status.borrow().server.clone()
    }

    /// Uses other servers from now on. The connection is kept, unless its server is not among them, or this
    /// client is one of those that have to move for the load to become even.
    ///
    /// # Errors
    /// When `servers` makes no sense.
    pub fn update_servers(&self, servers: &str) -> Result<()> {
        let ConnectString { hosts, .. } = servers.parse()?;
        self.commands.send(Command::UpdateHosts(hosts)).map_err(|_| self.shared.over())
    }

    /// Lets go of the session without ending it: whoever [resumes](Builder::resume) it within its timeout, in
    /// another process perhaps, carries it on, ephemeral znodes and all. Requests under way are lost as with a
    /// connection, watches end, and this client can't be used any more.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/server.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let servers = example_server::start().await?;
    /// use client::{Client, CreateMode};
    ///
    /// let client = Client::connect(&servers).await?;
    /// client.create("/lock", "mine", CreateMode::Ephemeral).await?;
    /// let (id, password) = client.detach().await?;
    ///
    /// let client = Client::builder().resume(id, password).connect(&servers).await?;
    /// assert!(client.exists("/lock").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the session has ended before.
    pub async fn detach(self) -> Result<(SessionId, Bytes)> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Detach(reply)).map_err(|_| self.shared.over())?;
        answer.await.unwrap_or_else(|_| Err(self.shared.over()))?;
        Ok((self.session_id(), self.session_password()))
    }

    /// Ends the session, after what was asked before has been answered: its ephemeral znodes are gone at once.
    ///
    /// # Errors
    /// [`Error::ConnectionLost`] when no server could be told: the session will expire. In any case, this
    /// client can't be used any more.
    pub async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        match self.commands.send(Command::Close(reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Ok(Reply::default())).map(drop),
            Err(_) => Ok(()), // Over already.
        }
    }
}
