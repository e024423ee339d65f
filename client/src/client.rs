//! The API: a method for each operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::data::{Acl, Stat};
use jute::proto::{
    AddWatchRequest, CheckWatchesRequest, Create2Response, CreateRequest, CreateResponse, CreateTtlRequest,
    DeleteRequest, ExistsRequest, ExistsResponse, GetAclRequest, GetAclResponse, GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse, GetChildren2Request, GetChildren2Response, GetChildrenRequest,
    GetChildrenResponse, GetDataRequest, GetDataResponse, GetEphemeralsRequest, GetEphemeralsResponse,
    ReconfigRequest, RemoveWatchesRequest, SetAclRequest, SetAclResponse, SetDataRequest, SetDataResponse,
    SyncRequest, WhoAmIResponse,
};
use jute::{AddWatchMode, ErrorCode, Jute, Op, Ustring, WatcherType};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::builder::Builder;
use crate::create::{CreateMode, CreateOptions, Data};
use crate::error::{Error, Result};
use crate::hosts::{ConnectString, Host};
use crate::multi::{Multi, MultiRead};
use crate::path::Chroot;
use crate::request::{Command, Empty, Reply, Request, WatchEffect, encode_frame};
use crate::state::{SessionId, SessionState, States, Status};
use crate::watch::{Registration, Sink, StreamSink, WatchId, WatchKind};
use crate::watcher::{Handle, OneshotWatch, PersistentWatch};

/// Where the service keeps the ensemble's configuration. No chroot applies to it.
const CONFIG_PATH: &str = "/zookeeper/config";

/// A znode's data and stat.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Znode {
    /// The data; empty also when it is [null](Znode::is_null).
    pub data: Bytes,
    /// Versions, times, sizes.
    pub stat: Stat,
    /// There is no data, not even none.
    pub is_null: bool,
}

impl Znode {
    pub(crate) fn new(response: GetDataResponse) -> Self {
        let is_null = response.data.is_none();
        // A copy: a slice would hold on to all that was read along with it.
        let data = response.data.as_deref().map(Bytes::copy_from_slice).unwrap_or_default();
        Self { data, stat: response.stat, is_null }
    }
}

/// An identity that the service knows this connection by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Such as `ip` or `digest`.
    pub scheme: String,
    /// Who, within the scheme.
    pub user: String,
}

/// How the ensemble is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconfig {
    /// Some servers come, some go.
    Incremental {
        /// Such as `server.4=host:2888:3888:participant;2181`.
        joining: Vec<String>,
        /// Ids.
        leaving: Vec<u64>,
    },
    /// These are all.
    Members(Vec<String>),
}

/// What all handles of one session, and its watches, know of it.
#[derive(Debug)]
pub(crate) struct Shared {
    status: watch::Receiver<Status>,
    in_flight: Arc<Semaphore>,
    request_timeout: Option<Duration>,
    request_bytes_max: usize,
    watch_buffer: usize,
    next_watch: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        status: watch::Receiver<Status>,
        in_flight: Arc<Semaphore>,
        request_timeout: Option<Duration>,
        request_bytes_max: usize,
        watch_buffer: usize,
    ) -> Self {
        let next_watch = AtomicU64::new(0);
        Self { status, in_flight, request_timeout, request_bytes_max, watch_buffer, next_watch }
    }

    pub(crate) fn state(&self) -> SessionState {
        self.status.borrow().state
    }

    /// Why nobody answers any more. Without a terminal state, the runtime has dropped the connection's task.
    fn over(&self) -> Error {
        self.state().error().unwrap_or(Error::Closed)
    }
}

/// A session with a ZooKeeper service, kept alive and connected for as long as a clone of this handle exists.
///
/// All methods may be called at any time, from any task: requests wait while there is no connection. They
/// reach the service in the order in which their futures are first polled, except that those for which there
/// is no room in flight wait their turn first.
///
/// **Dropping** any of the futures is fine. A request that was not sent never will be; one that was may be
/// carried out, but nobody learns how it ended. Neither the connection nor other requests are affected.
///
/// **The session ends** when the last handle is dropped, or with [`Client::close`], which waits until the
/// service has confirmed it. Watches don't keep it open.
#[derive(Debug, Clone)]
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
        self.shared.status.borrow().password.clone()
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

/// Writing.
impl Client {
    /// Creates a znode. Its path, which for sequential modes ends in a number, is the answer.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` without a parent, `NoChildrenForEphemerals`; see [`Error`].
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Data>,
        options: impl Into<CreateOptions>,
    ) -> Result<String> {
        let (op, body) = self.send_create(Op::Create, path, data.into(), &options.into()).await?;
        let created = match op {
            Op::Create => decode::<CreateResponse>(op, &body)?.path,
            _ => decode::<Create2Response>(op, &body)?.path,
        };
        Ok(self.chroot.strip(&created).to_owned())
    }

    /// Creates a znode, and tells its stat, too. Servers before 3.5 don't know it.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn create_with_stat(
        &self,
        path: &str,
        data: impl Into<Data>,
        options: impl Into<CreateOptions>,
    ) -> Result<(String, Stat)> {
        let (op, body) = self.send_create(Op::Create2, path, data.into(), &options.into()).await?;
        let created = decode::<Create2Response>(op, &body)?;
        Ok((self.chroot.strip(&created.path).to_owned(), created.stat))
    }

    /// Creates those of `path` and the znodes above it that are missing, with no data and open to everyone.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_all(&self, path: &str) -> Result<()> {
        let ends = path.char_indices().skip(1).filter(|(_, character)| *character == '/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]);
        let made = ends.map(|end| self.create(&path[..end], Data::default(), CreateMode::Persistent));
        for made in futures::future::join_all(made).await {
            match made {
                Err(error) if error.code() == Some(ErrorCode::NodeExists) => {}
                made => drop(made?),
            }
        }
        Ok(())
    }

    /// Deletes a znode, of `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`; see [`Error`].
    pub async fn delete(&self, path: &str, version: impl Into<Option<i32>>) -> Result<()> {
        let body = DeleteRequest { path: self.chroot.resolve(path)?, version: any(version.into()) };
        self.ask(Op::Delete, path, &body, None).await.map(drop)
    }

    /// Sets a znode's data, if it has `version` and one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`; see [`Error`].
    pub async fn set(
        &self,
        path: &str,
        data: impl Into<Data>,
        version: impl Into<Option<i32>>,
    ) -> Result<Stat> {
        let (path_, Data(data)) = (self.chroot.resolve(path)?, data.into());
        let body = SetDataRequest { path: path_, data, version: any(version.into()) };
        let body = self.ask(Op::SetData, path, &body, None).await?;
        Ok(decode::<SetDataResponse>(Op::SetData, &body)?.stat)
    }

    /// Sets a znode's ACL, if that has version [`Stat::aversion`] and one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `InvalidAcl`; see [`Error`].
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, aversion: impl Into<Option<i32>>) -> Result<Stat> {
        let body = SetAclRequest { path: self.chroot.resolve(path)?, acl, version: any(aversion.into()) };
        let body = self.ask(Op::SetAcl, path, &body, None).await?;
        Ok(decode::<SetAclResponse>(Op::SetAcl, &body)?.stat)
    }

    /// Several writes that all happen, in one transaction, or none.
    pub fn multi(&self) -> Multi<'_> {
        Multi::new(self)
    }

    /// Changes the ensemble, if its configuration has `version` (the mzxid of [`Client::config`]) and one is
    /// given. The answer is the new configuration.
    ///
    /// # Errors
    /// `ReconfigDisabled`, `NoAuth`, `NewConfigNoQuorum`, `ReconfigInProgress`; see [`Error`].
    pub async fn reconfigure(&self, change: &Reconfig, version: impl Into<Option<i64>>) -> Result<Znode> {
        let cur_config_id = version.into().unwrap_or(-1);
        let list = |items: &[String]| (!items.is_empty()).then(|| Ustring::from(items.join(",")));
        let body = match change {
            Reconfig::Incremental { joining, leaving } => {
                let leaving: Vec<_> = leaving.iter().map(u64::to_string).collect();
                ReconfigRequest {
                    joining_servers: list(joining),
                    leaving_servers: list(&leaving),
                    new_members: None,
                    cur_config_id,
                }
            }
            Reconfig::Members(members) => {
                ReconfigRequest { new_members: list(members), cur_config_id, ..ReconfigRequest::default() }
            }
        };
        let body = self.ask(Op::Reconfig, CONFIG_PATH, &body, None).await?;
        decode(Op::Reconfig, &body).map(Znode::new)
    }

    async fn send_create(
        &self,
        op: Op,
        path: &str,
        Data(data): Data,
        options: &CreateOptions,
    ) -> Result<(Op, Bytes)> {
        let (op, frame) = match encode_create(&self.chroot, op, path, data, options)? {
            Create::Plain(op, body) => (op, encode_frame(op, &body)),
            Create::Ttl(body) => (Op::CreateTtl, encode_frame(Op::CreateTtl, &body)),
        };
        Ok((op, self.submit(op, path, frame, None).await?))
    }
}

/// Reading.
impl Client {
    /// A znode's stat, if it exists.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>> {
        let body = ExistsRequest { path: self.chroot.resolve(path)?, watch: false };
        found(self.ask(Op::Exists, path, &body, None).await)
    }

    /// The same, and a watch that fires when the znode comes into being, goes, or gets other data.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exists_and_watch(&self, path: &str) -> Result<(Option<Stat>, OneshotWatch)> {
        let body = ExistsRequest { path: self.chroot.resolve(path)?, watch: true };
        // Should the znode not exist, the session knows what to make of it.
        let (effect, watch) = self.oneshot(body.path.clone(), WatchKind::Data);
        let stat = found(self.ask(Op::Exists, path, &body, Some(effect)).await)?;
        Ok((stat, watch))
    }

    /// A znode's data and stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn get(&self, path: &str) -> Result<Znode> {
        let body = GetDataRequest { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetData, path, &body, None).await?;
        decode(Op::GetData, &body).map(Znode::new)
    }

    /// The same, and a watch that fires when the znode goes or gets other data.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn get_and_watch(&self, path: &str) -> Result<(Znode, OneshotWatch)> {
        self.get_resolved(path, self.chroot.resolve(path)?).await
    }

    /// The names of a znode's children, in no order.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn children(&self, path: &str) -> Result<Vec<String>> {
        let body = GetChildrenRequest { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetChildren, path, &body, None).await?;
        Ok(owned(decode::<GetChildrenResponse>(Op::GetChildren, &body)?.children))
    }

    /// The same, and the stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn children_with_stat(&self, path: &str) -> Result<(Vec<String>, Stat)> {
        let body = GetChildren2Request { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetChildren2, path, &body, None).await?;
        let response = decode::<GetChildren2Response>(Op::GetChildren2, &body)?;
        Ok((owned(response.children), response.stat))
    }

    /// The same, and a watch that fires when a child comes or goes, or the znode itself goes.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn children_and_watch(&self, path: &str) -> Result<(Vec<String>, Stat, OneshotWatch)> {
        let body = GetChildren2Request { path: self.chroot.resolve(path)?, watch: true };
        let (effect, watch) = self.oneshot(body.path.clone(), WatchKind::Children);
        let body = self.ask(Op::GetChildren2, path, &body, Some(effect)).await?;
        let response = decode::<GetChildren2Response>(Op::GetChildren2, &body)?;
        Ok((owned(response.children), response.stat, watch))
    }

    /// How many znodes are below this one, at all depths.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn descendants(&self, path: &str) -> Result<usize> {
        let op = Op::GetAllChildrenNumber;
        let body = GetAllChildrenNumberRequest { path: self.chroot.resolve(path)? };
        let body = self.ask(op, path, &body, None).await?;
        let count = decode::<GetAllChildrenNumberResponse>(op, &body)?.total_number;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The paths of this session's ephemeral znodes that begin with `prefix`, at the end of which no path
    /// component need end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ephemerals(&self, prefix: &str) -> Result<Vec<String>> {
        let body = GetEphemeralsRequest { prefix_path: self.chroot.resolve(prefix)? };
        let body = self.ask(Op::GetEphemerals, prefix, &body, None).await?;
        let paths = decode::<GetEphemeralsResponse>(Op::GetEphemerals, &body)?.ephemerals;
        let inside = paths.iter().filter(|path| self.chroot.contains(path));
        Ok(inside.map(|path| self.chroot.strip(path).to_owned()).collect())
    }

    /// A znode's ACL and stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`].
    pub async fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let body = GetAclRequest { path: self.chroot.resolve(path)? };
        let body = self.ask(Op::GetAcl, path, &body, None).await?;
        let response = decode::<GetAclResponse>(Op::GetAcl, &body)?;
        let acl = response.acl.iter().map(|acl| Acl::new(acl.perms, &acl.id.scheme, &acl.id.id));
        Ok((acl.collect(), response.stat))
    }

    /// Several reads in one request, each of which fails or succeeds by itself.
    pub fn multi_read(&self) -> MultiRead<'_> {
        MultiRead::new(self)
    }

    /// Lets the server that serves this session catch up with the leader: reads that follow see whatever had
    /// been written, by anyone, before.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sync(&self, path: &str) -> Result<()> {
        let body = SyncRequest { path: self.chroot.resolve(path)? };
        self.ask(Op::Sync, path, &body, None).await.map(drop)
    }

    /// The ensemble's configuration, as it stands in `/zookeeper/config`, whatever the chroot.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn config(&self) -> Result<Znode> {
        let body = GetDataRequest { path: CONFIG_PATH.into(), watch: false };
        let body = self.ask(Op::GetData, CONFIG_PATH, &body, None).await?;
        decode(Op::GetData, &body).map(Znode::new)
    }

    /// The same, and a watch that fires when it changes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn config_and_watch(&self) -> Result<(Znode, OneshotWatch)> {
        self.get_resolved(CONFIG_PATH, CONFIG_PATH.into()).await
    }

    async fn get_resolved(&self, path: &str, resolved: Ustring) -> Result<(Znode, OneshotWatch)> {
        let (effect, watch) = self.oneshot(resolved.clone(), WatchKind::Data);
        let body = GetDataRequest { path: resolved, watch: true };
        let body = self.ask(Op::GetData, path, &body, Some(effect)).await?;
        Ok((Znode::new(decode(Op::GetData, &body)?), watch))
    }
}

/// Watches that stay, and identities.
impl Client {
    /// A watch that stays: with [`AddWatchMode::Persistent`] on the data and the children of one znode, with
    /// [`AddWatchMode::PersistentRecursive`] on the data of a znode and of all below it. The znode need not
    /// exist. Servers before 3.6 don't know it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch(&self, path: &str, mode: AddWatchMode) -> Result<PersistentWatch> {
        let body = AddWatchRequest { path: self.chroot.resolve(path)?, mode: mode.code() };
        let kind = match mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::PersistentRecursive => WatchKind::Recursive,
        };
        let (sink, updates) = StreamSink::new(self.shared.watch_buffer);
        let handle = self.handle();
        let effect = registration(handle.id, body.path.clone(), kind, Sink::Stream(sink));
        let watch = PersistentWatch::new(handle, updates);
        self.ask(Op::AddWatch, path, &body, Some(effect)).await?;
        Ok(watch)
    }

    /// Whether this connection has watches of this type on `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn has_watches(&self, path: &str, kind: WatcherType) -> Result<bool> {
        let body = CheckWatchesRequest { path: self.chroot.resolve(path)?, watcher_type: kind.code() };
        match self.ask(Op::CheckWatches, path, &body, None).await {
            Err(error) if error.code() == Some(ErrorCode::NoWatcher) => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Removes all watches of this type that this client has on `path`: their handles end. A single one is
    /// removed by dropping its handle.
    ///
    /// # Errors
    /// `NoWatcher`; see [`Error`].
    pub async fn remove_watches(&self, path: &str, kind: WatcherType) -> Result<()> {
        let body = RemoveWatchesRequest { path: self.chroot.resolve(path)?, watcher_type: kind.code() };
        let effect = WatchEffect::Remove(body.path.clone(), kind);
        self.ask(Op::RemoveWatches, path, &body, Some(effect)).await.map(drop)
    }

    /// Gives this connection, and all that follow it, an identity: for scheme `digest` that is `user:password`.
    ///
    /// # Errors
    /// [`Error::AuthFailed`], which ends the session. After [`Error::ConnectionLost`] the credentials are
    /// kept, and used on the next connection.
    pub async fn authenticate(&self, scheme: &str, auth: impl Into<Bytes>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let (scheme, auth) = (scheme.into(), auth.into());
        let sent = self.commands.send(Command::Authenticate { scheme, auth, reply });
        sent.map_err(|_| self.shared.over())?;
        answer.await.unwrap_or_else(|_| Err(self.shared.over())).map(drop)
    }

    /// The identities that the service knows this connection by. Servers before 3.7 don't know it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn who_am_i(&self) -> Result<Vec<Identity>> {
        let body = self.ask(Op::WhoAmI, "/", &Empty, None).await?;
        let known = decode::<WhoAmIResponse>(Op::WhoAmI, &body)?.client_info;
        let known = known.iter();
        Ok(known
            .map(|id| Identity { scheme: id.auth_scheme.to_string(), user: id.user.to_string() })
            .collect())
    }

    fn handle(&self) -> Handle {
        Handle {
            id: WatchId(self.shared.next_watch.fetch_add(1, Ordering::Relaxed)),
            chroot: self.chroot.clone(),
            shared: Arc::clone(&self.shared),
            commands: self.commands.downgrade(),
        }
    }

    fn oneshot(&self, path: Ustring, kind: WatchKind) -> (WatchEffect, OneshotWatch) {
        let (sink, event) = oneshot::channel();
        let handle = self.handle();
        let effect = registration(handle.id, path, kind, Sink::Oneshot(sink));
        (effect, OneshotWatch::new(handle, event))
    }
}

/// The way to the connection's task and back.
impl Client {
    pub(crate) fn chroot_ref(&self) -> &Chroot {
        &self.chroot
    }

    /// Asks, and waits for the answer's body. `path` is what an error names.
    pub(crate) async fn ask(
        &self,
        op: Op,
        path: &str,
        body: &impl Jute,
        effect: Option<WatchEffect>,
    ) -> Result<Bytes> {
        self.submit(op, path, encode_frame(op, body), effect).await
    }

    async fn submit(
        &self,
        op: Op,
        path: &str,
        frame: BytesMut,
        effect: Option<WatchEffect>,
    ) -> Result<Bytes> {
        let (bytes, max) = (frame.len() - 4, self.shared.request_bytes_max);
        if bytes > max {
            return Err(Error::TooLarge { op, bytes, max });
        }
        let answer = match self.shared.request_timeout {
            None => self.enqueue(op, frame, effect).await?.await,
            Some(after) => {
                let until = Instant::now() + after;
                let timed_out = |sent| Error::Timeout { op, after, sent };
                let enqueued = timeout_at(until, self.enqueue(op, frame, effect)).await;
                let answer = enqueued.map_err(|_| timed_out(false))??;
                timeout_at(until, answer).await.map_err(|_| timed_out(true))?
            }
        };
        let answer = answer.unwrap_or_else(|_| Err(self.shared.over()));
        answer.map(|reply| reply.body).map_err(|error| match error {
            Error::Refused { code, .. } => Error::Refused { code, path: path.into() },
            other => other,
        })
    }

    async fn enqueue(
        &self,
        op: Op,
        frame: BytesMut,
        effect: Option<WatchEffect>,
    ) -> Result<oneshot::Receiver<Result<Reply>>> {
        let permit = Arc::clone(&self.shared.in_flight).acquire_owned().await;
        let (reply, answer) = oneshot::channel();
        let request = Request { op, frame, effect, reply, permit: permit.ok() };
        self.commands.send(Command::Request(request)).map_err(|_| self.shared.over())?;
        Ok(answer)
    }
}

/// A request to create, in one of its two shapes.
pub(crate) enum Create {
    Plain(Op, CreateRequest),
    Ttl(CreateTtlRequest),
}

/// `op` is what a mode without an operation of its own is asked with.
pub(crate) fn encode_create(
    chroot: &Chroot,
    op: Op,
    path: &str,
    data: Option<Bytes>,
    options: &CreateOptions,
) -> Result<Create> {
    let mode = options.mode;
    let path = if mode.is_sequential() { chroot.resolve_sequential(path) } else { chroot.resolve(path) }?;
    let acl = options.acl.clone().unwrap_or_else(Acl::open_unsafe);
    let flags = mode.flags();
    Ok(match mode.ttl() {
        Some(ttl) => {
            let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            Create::Ttl(CreateTtlRequest { path, data, acl, flags, ttl_ms })
        }
        None => {
            let op = if mode == CreateMode::Container { Op::CreateContainer } else { op };
            Create::Plain(op, CreateRequest { path, data, acl, flags })
        }
    })
}

pub(crate) fn decode<T: Jute>(op: Op, body: &Bytes) -> Result<T> {
    T::from_bytes(body).map_err(|cause| Error::BadReply { op, cause })
}

/// The version that matches any.
pub(crate) fn any(version: Option<i32>) -> i32 {
    version.unwrap_or(-1)
}

pub(crate) fn owned(names: Vec<Ustring>) -> Vec<String> {
    names.iter().map(Ustring::to_string).collect()
}

fn found(answer: Result<Bytes>) -> Result<Option<Stat>> {
    match answer {
        Ok(body) => Ok(Some(decode::<ExistsResponse>(Op::Exists, &body)?.stat)),
        Err(error) if error.code() == Some(ErrorCode::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

fn registration(id: WatchId, path: Ustring, kind: WatchKind, sink: Sink) -> WatchEffect {
    WatchEffect::Set(Registration { id, path, kind, sink })
}
