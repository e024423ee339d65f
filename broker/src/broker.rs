//! A broker from its start to its end: what is opened, in which order, and how it takes its leave. Kafka's `KafkaServer`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::api::Context;
use crate::config::BrokerConfig;
use crate::controller::Controller;
use crate::group::{GroupCoordinator, GroupLimits};
use crate::log;
use crate::metrics::{self, Subject};
use crate::net::{Limits, Listener, Peer, PeerError};
use crate::registry::image::Endpoint;
use crate::registry::payload::BrokerRegistration;
use crate::registry::{Presence, Registry, RegistryError};
use crate::replica::cleaning::{self, CleaningSettings};
use crate::replica::fetcher::FetchSettings;
use crate::replica::store::Store;
use crate::replica::upkeep::{self, UpkeepSettings};
use crate::replica::{Replicas, offsets_log};
use crate::topic_partition::BrokerId;
use crate::wire::apis::CONTROLLED_SHUTDOWN;
use crate::wire::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};

/// In which controlled shutdown is asked for.
const CONTROLLED_SHUTDOWN_VERSION: i16 = 2;
/// How long a controller may take to relieve a broker; who ends must not wait for a service that is gone.
const CONTROLLED_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the service may take to end the session; else it expires.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is closed after so long where the configuration sets no bound: never, for all practical ends.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why a broker does not start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A log, or its directory.
    #[error("logs")]
    Log(#[from] log::Error),
    /// The service.
    #[error("the service")]
    Registry(#[from] RegistryError),
    /// A listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// As it is configured.
        address: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another broker has taken our number while we had no session.
    #[error("another broker is registered as {0} now")]
    Evicted(BrokerId),
    /// A disk does not take what it is given.
    #[error("a disk has failed: {0}")]
    Disk(String),
}

/// A broker that runs.
pub struct Broker {
    me: BrokerId,
    config: Arc<BrokerConfig>,
    registry: Registry,
    replicas: Arc<Replicas>,
    groups: GroupCoordinator,
    controller: Controller,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    listening: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Opens the logs, joins the cluster, and serves.
    ///
    /// # Errors
    /// When any of it is not possible; nothing is left behind but what stands on disk.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let config = Arc::new(config);
        let store = Store::open(Arc::clone(&config))?;
        let registry = Registry::connect(config.service.clone()).await?;
        let me = number(&config, &store, &registry).await?;
        store.claim(me, &registry.cluster_id())?;

        let (opening, fetching, lag_max) = (registry.clone(), fetching(me, &config), config.replica.lag_max);
        let replicas = tokio::task::spawn_blocking(move || Replicas::open(opening, store, fetching, lag_max));
        let replicas = replicas.await.expect("opening logs does not panic")?;
        let groups = GroupCoordinator::new(
            group_limits(&config),
            offsets_log(&replicas, config.offsets.commit_timeout),
        );

        let listeners = bind(&config)?;
        let addresses: Vec<_> =
            listeners.iter().filter_map(|listener| listener.local_address().ok()).collect();
        let registration = BrokerRegistration {
            id: me,
            endpoints: advertised(&config, &addresses),
            rack: config.rack.clone(),
        };
        let epoch = registry.register(registration).await?;
        let controller = Controller::start(registry.clone(), me, &config);
        tokio::spawn(Arc::clone(&replicas).follow_images());
        tokio::spawn(follow_groups(groups.clone(), registry.clone(), me));
        upkeep::start(&replicas, upkeep_settings(&config));
        if config.cleaner.enabled {
            cleaning::start(&replicas, cleaning_settings(&config))?;
        }

        let (stop, stopping) = watch::channel(false);
        let context = Context::new(
            me,
            Arc::clone(&config),
            registry.clone(),
            Arc::clone(&replicas),
            groups.clone(),
            controller.clone(),
        );
        let context = Arc::new(context);
        if let Some(port) = config.metrics_port {
            let address = format!("{}:{port}", config.metrics_host);
            let (registry, replicas) = (registry.clone(), Arc::clone(&replicas));
            let (controller, groups) = (controller.clone(), groups.clone());
            let subject = Subject { me, registry, replicas, controller, groups };
            let started = metrics::start(&address, subject, stopping.clone()).await;
            let bound = started.map_err(|cause| BrokerError::Listen { address, cause })?;
            info!(%bound, "metrics");
        }
        let serve = |listener: Listener| tokio::spawn(listener.serve(Arc::clone(&context), stopping.clone()));
        let listening = listeners.into_iter().map(serve).collect();
        info!(broker = me, epoch, cluster = &*registry.cluster_id(), ?addresses, "started");
        Ok(Self { me, config, registry, replicas, groups, controller, addresses, stop, listening })
    }

    /// Where its listeners are bound, in the configuration's order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its number.
    pub fn id(&self) -> BrokerId {
        self.me
    }

    /// Until it must not go on.
    pub async fn failed(&self) -> BrokerError {
        let mut failure = self.replicas.failure();
        let mut presence = self.registry.presence();
        tokio::select! {
            failure = failure.wait_for(Option::is_some) => {
                let cause = failure.ok().and_then(|cause| cause.clone());
                BrokerError::Disk(cause.unwrap_or_default())
            }
            _ = presence.wait_for(|presence| *presence == Presence::Evicted) => BrokerError::Evicted(self.me),
        }
    }

    /// Gives away what it leads, writes everything down, and leaves.
    ///
    /// # Errors
    /// When something could not be written: the next start recovers.
    pub async fn stop(self) -> Result<(), BrokerError> {
        if self.config.controlled_shutdown.enabled {
            self.give_away().await;
        }
        self.stop.send_replace(true);
        for listening in self.listening {
            let _ = listening.await;
        }
        self.groups.close();
        let epoch = match *self.registry.presence().borrow() {
            Presence::Registered { epoch } => epoch,
            Presence::Absent | Presence::Evicted => -1,
        };
        let replicas = Arc::clone(&self.replicas);
        let finished = tokio::task::spawn_blocking(move || upkeep::finish(&replicas, epoch)).await;
        finished.expect("closing logs does not panic")?;
        match timeout(CLOSE_TIMEOUT, self.registry.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(error = &error as &dyn std::error::Error, "the session was over already")
            }
            Err(_) => warn!("the service is not reached: the session is left to expire"),
        }
        info!(broker = self.me, "stopped");
        Ok(())
    }

    /// Asks the controller to let others lead what we lead, as often as the configuration says.
    async fn give_away(&self) {
        let settings = &self.config.controlled_shutdown;
        for attempt in 0..=settings.retries_max {
            if attempt > 0 {
                tokio::time::sleep(settings.backoff).await;
            }
            let asked = timeout(CONTROLLED_SHUTDOWN_TIMEOUT, self.ask_controller()).await;
            match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(0) => return info!("nothing is led here any more"),
                Ok(remaining) if self.is_the_last() => {
                    return info!(remaining, "no other broker is there to lead what is led here");
                }
                Ok(remaining) => warn!(remaining, "no other replica is in sync for all that is led here"),
                Err(error) => warn!(error, "the controller did not take over what is led here"),
            }
        }
    }

    fn is_the_last(&self) -> bool {
        self.registry.image().brokers.keys().all(|id| *id == self.me)
    }

    /// How many partitions it could not give to others.
    async fn ask_controller(&self) -> Result<usize, String> {
        let Presence::Registered { epoch } = *self.registry.presence().borrow() else {
            return Err("not registered".to_owned());
        };
        if self.controller.is_active() {
            let remaining = self.controller.controlled_shutdown(self.me, Some(epoch)).await;
            return remaining.map(|remaining| remaining.len()).map_err(|refusal| refusal.to_string());
        }
        let image = self.registry.image();
        let controller = image.controller.broker.and_then(|id| image.brokers.get(&id));
        let endpoint = controller.and_then(|broker| broker.endpoint(&self.config.listeners.inter_broker));
        let endpoint = endpoint.ok_or("there is no controller")?;
        let request = ControlledShutdownRequest { broker: self.me, broker_epoch: epoch };
        let answer = ask(self.me, endpoint, &request).await.map_err(|error| error.to_string())?;
        let answer = ControlledShutdownResponse::decode(answer).ok_or("a broken answer")?;
        if answer.error == 0 { Ok(answer.remaining.len()) } else { Err(format!("error {}", answer.error)) }
    }
}

async fn ask(
    me: BrokerId,
    endpoint: &Endpoint,
    request: &ControlledShutdownRequest,
) -> Result<bytes::Bytes, PeerError> {
    const ANSWER_BYTES_MAX: usize = 16 << 20;
    let client_id = format!("broker-{me}-shutdown");
    let limit = CONTROLLED_SHUTDOWN_TIMEOUT;
    let mut peer = Peer::connect(endpoint, &client_id, ANSWER_BYTES_MAX, limit).await?;
    peer.call_raw(CONTROLLED_SHUTDOWN, CONTROLLED_SHUTDOWN_VERSION, &request.encode(), limit).await
}

/// As configured, else as the directories remember, else a new one.
async fn number(config: &BrokerConfig, store: &Store, registry: &Registry) -> Result<BrokerId, BrokerError> {
    if let Some(id) = config.broker_id {
        return Ok(id);
    }
    match store.broker_id()? {
        Some(id) => Ok(id),
        None => Ok(registry.next_broker_id().await?),
    }
}

fn bind(config: &BrokerConfig) -> Result<Vec<Listener>, BrokerError> {
    let network = &config.network;
    let limits = Limits {
        connections_max: network.connections_max,
        connections_per_ip_max: network.connections_per_ip_max,
        idle_max: network.idle_max.unwrap_or(NEVER),
        request_bytes_max: network.request_bytes_max,
    };
    let addresses = config.listeners.bound.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let of_all = |cause| {
        let address = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        BrokerError::Listen { address, cause }
    };
    Listener::bind(&addresses, limits).map_err(of_all)
}

/// An empty host is every address.
fn address(endpoint: &Endpoint) -> Result<SocketAddr, BrokerError> {
    let host = if endpoint.host.is_empty() { "0.0.0.0" } else { &endpoint.host };
    let failed = |cause| BrokerError::Listen { address: format!("{host}:{}", endpoint.port), cause };
    let mut found = (host, endpoint.port).to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// What others are told: a port of 0 is the one that was bound, an empty host this machine's name.
fn advertised(config: &BrokerConfig, addresses: &[SocketAddr]) -> Vec<Endpoint> {
    let listeners = &config.listeners;
    let told = listeners.advertised.iter().cloned().map(|mut endpoint| {
        let at = listeners.bound.iter().position(|bound| bound.listener == endpoint.listener);
        let bound = at.and_then(|at| addresses.get(at));
        if endpoint.port == 0 {
            endpoint.port = bound.map_or(0, SocketAddr::port);
        }
        if endpoint.host.is_empty() || endpoint.host == "0.0.0.0" {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            endpoint.host = name;
        }
        endpoint
    });
    told.collect()
}

/// Shows the coordinator each image.
async fn follow_groups(groups: GroupCoordinator, registry: Registry, me: BrokerId) {
    let mut images = registry.images();
    loop {
        images.mark_unchanged();
        groups.on_image(&registry.image(), me);
        if images.changed().await.is_err() {
            return;
        }
    }
}

fn fetching(me: BrokerId, config: &BrokerConfig) -> FetchSettings {
    let replica = &config.replica;
    let bounded = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    FetchSettings {
        me,
        listener: config.listeners.inter_broker.clone(),
        wait_max: replica.fetch_wait_max,
        bytes_min: bounded(replica.fetch_bytes_min),
        partition_bytes_max: bounded(replica.fetch_bytes_max),
        response_bytes_max: bounded(replica.fetch_response_bytes_max),
        backoff: replica.fetch_backoff,
        timeout: replica.request_timeout,
    }
}

fn upkeep_settings(config: &BrokerConfig) -> UpkeepSettings {
    UpkeepSettings {
        lag_max: config.replica.lag_max,
        high_watermarks: config.replica.checkpoint_interval,
        recovery_points: config.log.recovery_checkpoint_interval,
        starts: config.log.start_checkpoint_interval,
        retention: config.log.retention_check_interval,
        first_after: config.log.initial_task_delay,
        producer_expiration: config.log.producer_expiration,
    }
}

fn cleaning_settings(config: &BrokerConfig) -> CleaningSettings {
    let cleaner = &config.cleaner;
    CleaningSettings {
        threads: cleaner.threads,
        key_bytes_max: cleaner.key_bytes_max,
        bytes_per_second_max: cleaner.bytes_per_second_max,
        backoff: cleaner.backoff,
    }
}

fn group_limits(config: &BrokerConfig) -> GroupLimits {
    let (group, offsets) = (&config.group, &config.offsets);
    GroupLimits {
        session_timeout_min: group.session_timeout_min,
        session_timeout_max: group.session_timeout_max,
        initial_rebalance_delay: group.initial_rebalance_delay,
        group_size_max: group.members_max,
        offset_metadata_bytes_max: offsets.metadata_bytes_max,
        offsets_retention: offsets.retention,
        offsets_retention_check: offsets.retention_check_interval,
        commit_timeout: offsets.commit_timeout,
        offsets_partitions: offsets.partitions,
    }
}
