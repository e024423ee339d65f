//! A server as a value: started, asked where it listens, stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;
use tracing::info;

use super::audit::{self, Outcome};
use super::background::step_back;
use super::client_port::{accept_everywhere, backlog, listen};
use super::clock::Clock;
use super::driver::{CUTS_WAITING_MAX, Driver, die, run_or_die};
use super::http::Http;
use super::member::Joining;
use super::quorum::{CannotListen, QuorumPorts, QuorumRim};
use super::shared::Shared;
use super::snapshots::Snapshots;
use super::startup::{self, MemberStart, Started};
use super::{ServerView, shard};
use crate::config::Config;
use crate::node::{Event, Node};
use crate::storage::{self, DataLock};
use crate::zab::{Input, Peer, Zxid};

/// Shards beyond this many share nothing but locks, and gain nothing.
const SHARDS_MAX: usize = 32;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is on the disk, or the disk.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A port.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A port for other servers.
    #[error(transparent)]
    ListenForServers(#[from] CannotListen),
    /// Neither `clientPort` nor `secureClientPort`.
    #[error("no clientPort is configured: nobody could reach this server")]
    NoPort,
    /// The admin server or Prometheus' page.
    #[error("cannot serve HTTP")]
    Http(#[source] io::Error),
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running server. Dropping it without [`Server::stop`] leaves its threads running.
#[derive(Debug)]
#[doc(alias = "ZooKeeperServer")]
#[doc(alias = "ZooKeeperServerMain")]
#[doc(alias = "QuorumPeerMain")]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    http: Http,
    stop_listening: oneshot::Sender<()>,
    listener: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
    node: JoinHandle<()>,
    snapshots: JoinHandle<()>,
    _lock: DataLock,
}

impl Server {
    /// Loads what is on the disk, and serves it. On return, clients can connect.
    ///
    /// # Errors
    /// Nothing runs then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let is_audited = config.audit;
        let started = Self::launch(config);
        if is_audited {
            let outcome = if started.is_ok() { Outcome::Success } else { Outcome::Failure };
            audit::report_server("serverStart", outcome);
        }
        started
    }

    fn launch(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let client = config.client.clone().ok_or(StartError::NoPort)?;
        let Started { lock, tree, store, log, node_config, hash_seed, member, recovery, snapshot } =
            startup::load(&config, clock)?;
        let loading = clock.monotonic();
        let listener = listen(&client, backlog(&config))?;
        let address = listener.local_addr().map_err(StartError::Thread)?;

        let ports = match &member {
            Some(member) => Some(QuorumPorts::bind(&config.ensemble, member.settings.me)?),
            None => None,
        };
        let node = Node::new(node_config.clone(), &tree, clock.now());
        let shards = std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX);
        let shared = Arc::new(Shared::new(config, node_config.schemes, clock, tree, shards, hash_seed));
        shared.describe_membership(&mut shared.tree.write());
        *shared.last_snapshot.lock() = snapshot;
        startup::report(&recovery, loading, &shared.registry.thread());
        let view: Arc<dyn ServerView> = Arc::clone(&shared) as Arc<dyn ServerView>;
        let http = Http::start(&view).map_err(StartError::Http)?;

        let (cuts, written) = sync_channel(CUTS_WAITING_MAX);
        let (node, member) = match member.zip(ports) {
            None => (node, None),
            Some((member, ports)) => {
                let (peer, joining) = join_ensemble(&shared, member, ports, snapshot);
                (node.with_peer(peer, clock.now()), Some(joining))
            }
        };
        let of_member = member.as_ref().map(|member| (member.disk.clone(), Arc::clone(&member.rim)));
        let for_node = Arc::clone(&shared);
        let node = spawn("node", move || match member.map(|joining| joining.open(&for_node)).transpose() {
            Ok(member) => run_or_die(Driver::new(for_node, node, log, cuts, member)),
            Err(error) => die(&error, "cannot talk to other servers"),
        })?;
        let for_snapshots = Arc::clone(&shared);
        let snapshots = spawn("snapshots", move || {
            step_back();
            Snapshots::new(for_snapshots, store, of_member).run(&written);
        })?;
        let shards = (0..shards).map(|index| spawn_shard(&shared, index)).collect::<Result<_, _>>()?;
        let (stop_listening, stopped) = oneshot::channel();
        let for_listener = Arc::clone(&shared);
        let listener = spawn("listener", move || run_listener(listener, for_listener, stopped))?;
        info!(%address, admin = shown(http.admin), metrics = shown(http.metrics), "serving");
        Ok(Self { shared, address, http, stop_listening, listener, shards, node, snapshots, _lock: lock })
    }

    /// Where clients connect. Tells which port it is, when 0 was configured.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin server and Prometheus' page are.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What operators see of it.
    #[must_use]
    pub fn view(&self) -> Arc<dyn ServerView> {
        Arc::clone(&self.shared) as Arc<dyn ServerView>
    }

    /// Stops: no new connections, then none at all, then everything that was acknowledged is in log and snapshot.
    /// Sessions live on, for clients to come back to.
    pub fn stop(self) {
        // A leader has another one take its place first. If nobody can, it goes nevertheless.
        let _ = self.shared.give_leadership_away();
        self.shared.is_serving.store(false, Relaxed);
        if self.shared.config.audit {
            audit::report_server("serverStop", Outcome::Invoked);
        }
        drop(self.stop_listening);
        join(self.listener);
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.stop());
        self.shards.into_iter().for_each(join);
        self.shared.queue.close();
        join(self.node); // Its end of the channel of cuts closes, which ends the next.
        join(self.snapshots);
        drop(self.http);
        info!(zxid = %self.shared.tree.read().last_zxid(), "stopped");
    }
}

/// The node's part of an ensemble, and all that its thread needs for that. What other servers say goes to the node.
fn join_ensemble(
    shared: &Arc<Shared>,
    member: MemberStart,
    ports: QuorumPorts,
    snapshot: Option<(Zxid, i64)>,
) -> (Peer, Joining) {
    let MemberStart { disk, epoch_files, membership_files, files, peer, mut settings } = member;
    settings.observer_masters.passing = Arc::clone(&shared.passing_observers);
    let to_node = Arc::clone(shared);
    let mut events = Vec::new();
    let deliver = move |inputs: &mut Vec<Input>| {
        events.extend(inputs.drain(..).map(Event::Peer));
        to_node.queue.send(&mut events);
    };
    let (rim, start) = QuorumRim::new(settings, ports, Box::new(deliver));
    let (rim, stored) = (Arc::new(rim), snapshot.map(|(zxid, _)| zxid));
    (peer, Joining { rim, start, disk, epoch_files, membership_files, files, stored })
}

/// `none` where nothing listens.
fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "none".to_owned(), |address| address.to_string())
}

fn run_listener(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let metrics = shared.registry.thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                outcome = accept_everywhere(listener, &shared) => outcome,
                _ = stopped => Ok(()),
            }
        })
    });
    if let Err(error) = outcome {
        metrics.unrecoverable_error_count.add(1);
        tracing::error!(%error, "no more connections are accepted");
    }
}

fn spawn_shard(shared: &Arc<Shared>, index: usize) -> Result<JoinHandle<()>, StartError> {
    let shared = Arc::clone(shared);
    let index = u8::try_from(index).expect("shards are at most SHARDS_MAX");
    spawn(&format!("shard-{index}"), move || {
        if let Err(error) = shard::run(&shared, index) {
            shared.ledgers[usize::from(index)].metrics.unrecoverable_error_count.add(1);
            tracing::error!(index, %error, "a shard cannot run");
        }
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}

/// A thread of ours that panicked has broken an invariant, and so have we.
fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
