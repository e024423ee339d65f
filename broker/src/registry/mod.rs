//! What the service knows of us, and we of the cluster: registration, the cluster's image, every znode's path and
//! payload. Kafka's `KafkaZkClient` and `ZkData`.
//!
//! A [`Registry`] is a handle. Behind it, one task (`keeper`) holds the session, sets the watches, and whenever they
//! tell of a change reads those znodes anew (`dirty`, `read`) and publishes the next [`ClusterImage`]. When the session
//! expires it gets a new one, registers the broker again and reads everything anew.

pub mod admin;
pub(crate) mod clock;
pub(crate) mod config_notes;
mod dirty;
mod error;
pub mod id;
pub mod image;
mod isr;
mod keeper;
mod numbers;
pub mod paths;
pub mod payload;
pub(crate) mod pipeline;
pub(crate) mod read;
mod register;
pub(crate) mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use client::Client;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::error::{IsrError, Refusal, RegistryError};
pub use self::image::ClusterImage;
use self::image::PartitionState;
use self::isr::IsrNotes;
use self::keeper::{Ask, Keeper, Registered};
use self::payload::{BrokerRegistration, ProducerIdBlock, StatePayload, encode_log_dir_event};
use self::retry::until_answered;
use crate::topic_partition::{BrokerId, TopicPartition};

/// How many callers may wait for the keeper's ear; further ones wait for room.
const ASKS_MAX: usize = 64;
/// How many events of one watch may be unread before everything is read anew.
const EVENTS_MAX: usize = 16 * 1024;

/// How the service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// `zookeeper.connect`: hosts, and perhaps a chroot.
    pub connect: String,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`.
    pub connection_timeout: Duration,
}

/// Whether the service counts this broker among those that are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Not yet, or not at present: the session has expired, and others lead what this broker has led.
    Absent,
    /// It does.
    Registered {
        /// The broker's epoch: another one after each expiry.
        epoch: i64,
    },
    /// While this broker had no session, another one took its number. It has to end.
    Evicted,
}

/// A handle on what the broker and the service know of each other. Clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Shared {
    config: ServiceConfig,
    client: ArcSwap<Client>,
    image: ArcSwap<ClusterImage>,
    /// How many images have been published.
    images: watch::Sender<u64>,
    presence: watch::Sender<Presence>,
    isr_notes: Mutex<IsrNotes>,
}

impl Shared {
    async fn connect(&self) -> client::Result<Client> {
        connect(&self.config).await
    }

    fn publish(&self, image: ClusterImage) {
        self.image.store(Arc::new(image));
        self.images.send_modify(|images| *images += 1);
    }
}

/// Like Kafka's own client, ours holds on to a session for as long as no server says that it has expired: when the
/// service is down as a whole, brokers go on as they are.
async fn connect(config: &ServiceConfig) -> client::Result<Client> {
    let builder = Client::builder()
        .session_timeout(config.session_timeout)
        .connect_timeout(config.connection_timeout)
        .outlast_outages(true)
        .watch_buffer(EVENTS_MAX);
    builder.connect(&config.connect).await
}

/// Beginning and end.
impl Registry {
    /// Opens a session, creates what a cluster needs where it is missing (the chroot, too), and reads the cluster.
    ///
    /// # Errors
    /// When no server can be reached in time, or something that is needed cannot be created or read.
    pub async fn connect(config: ServiceConfig) -> Result<Self, RegistryError> {
        let client = connect(&config).await?;
        let (root, roots) = ("/", paths::ROOTS);
        until_answered(|| client.create_all(root)).await?;
        try_join_all(roots.map(|root| {
            until_answered({
                let client = &client;
                move || client.create_all(root)
            })
        }))
        .await?;
        let cluster_id = numbers::cluster_id(&client).await?;
        let image = ClusterImage { cluster_id: cluster_id.into(), ..ClusterImage::default() };
        let shared = Arc::new(Shared {
            config,
            client: ArcSwap::from_pointee(client.clone()),
            image: ArcSwap::from_pointee(image),
            images: watch::Sender::new(0),
            presence: watch::Sender::new(Presence::Absent),
            isr_notes: Mutex::default(),
        });
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        tokio::spawn(Keeper::new(Arc::clone(&shared), asked).run(client));
        let registry = Self { shared, asks };
        registry.catch_up().await?;
        Ok(registry)
    }

    /// Makes this broker one of those that are alive, from now until [`Registry::close`], over all sessions to come.
    /// Its epoch is the answer; when it is given, the image shows the broker.
    ///
    /// # Errors
    /// [`RegistryError::DuplicateBroker`] when another broker has its number.
    pub async fn register(&self, registration: BrokerRegistration) -> Result<i64, RegistryError> {
        let client = self.client();
        let epoch = register::register(&client, &registration, &[]).await?;
        let registered = Registered { session: client.session_id(), registration, epoch };
        self.ask(|done| Ask::Registered(registered, done)).await?;
        Ok(epoch)
    }

    /// Ends the session: the broker is gone at once. Also when the last handle is dropped.
    ///
    /// # Errors
    /// When it was closed before.
    pub async fn close(&self) -> Result<(), RegistryError> {
        self.ask(Ask::Close).await
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) -> Result<(), RegistryError> {
        let (done, answer) = oneshot::channel();
        self.asks.send(ask(done)).await.map_err(|_| RegistryError::Closed)?;
        answer.await.map_err(|_| RegistryError::Closed)
    }
}

/// What is known.
impl Registry {
    /// The cluster as it was last seen.
    pub fn image(&self) -> Arc<ClusterImage> {
        self.shared.image.load_full()
    }

    /// How many images there have been: changes with each new one.
    pub fn images(&self) -> watch::Receiver<u64> {
        self.shared.images.subscribe()
    }

    /// Whether the service counts this broker among those that are alive.
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.shared.presence.subscribe()
    }

    /// The id of the cluster.
    pub fn cluster_id(&self) -> Arc<str> {
        Arc::clone(&self.shared.image.load().cluster_id)
    }

    /// The present session. After it has expired, there is another.
    pub fn client(&self) -> Client {
        Client::clone(&self.shared.client.load())
    }

    /// Waits until the image shows all that this broker has written, and all that it has read by
    /// [`Registry::client`].
    ///
    /// # Errors
    /// When the registry is closed.
    pub async fn catch_up(&self) -> Result<(), RegistryError> {
        self.ask(Ask::CatchUp).await
    }

    /// Reads everything anew, all that had been written by anyone when it was asked.
    ///
    /// # Errors
    /// When the registry is closed.
    pub async fn read_all(&self) -> Result<(), RegistryError> {
        self.ask(Ask::ReadAll).await
    }
}

/// What a broker writes.
impl Registry {
    /// A number for a broker that has none, above all that are given by hand.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn next_broker_id(&self) -> Result<BrokerId, RegistryError> {
        numbers::next_broker_id(&self.client()).await
    }

    /// A block of ids for producers that no other broker has had.
    ///
    /// # Errors
    /// When the session has ended, or there are none left.
    pub async fn next_producer_ids(&self, broker: BrokerId) -> Result<ProducerIdBlock, RegistryError> {
        numbers::next_producer_ids(&self.client(), broker).await
    }

    /// Sets the state of a partition that this broker leads, if its znode still has version `expected`, and gives the
    /// state as it then is. A connection that breaks is dealt with: `Ok` is written, and an error is not.
    ///
    /// # Errors
    /// [`IsrError::Stale`] when the state was changed by another: whoever asked is no longer the leader of that
    /// epoch, or has to read the image anew.
    pub async fn change_isr(
        &self,
        tp: &TopicPartition,
        state: &StatePayload,
        expected: i32,
    ) -> Result<PartitionState, IsrError> {
        let changed = isr::change_isr(&self.client(), tp, state, expected).await?;
        self.note_isr_change(tp);
        Ok(changed)
    }

    #[allow(clippy::disallowed_methods, reason = "the rim")]
    fn note_isr_change(&self, tp: &TopicPartition) {
        self.shared.isr_notes.lock().changed(tp.clone(), Instant::now());
    }

    /// Tells the controller that one of the log directories of `broker` has failed.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn note_log_dir_failure(&self, broker: BrokerId) -> Result<(), RegistryError> {
        let (client, note) = (self.client(), encode_log_dir_event(broker));
        let mode = client::CreateMode::PersistentSequential;
        until_answered(|| client.create(paths::LOG_DIR_EVENT_PREFIX, &note, mode)).await?;
        Ok(())
    }
}
