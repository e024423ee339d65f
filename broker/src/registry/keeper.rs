//! The task that keeps a session, the broker's registration in it, and the image. One for each [`Registry`](super::Registry).

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{AddWatchMode, Client, CreateMode, PersistentWatch, SessionId, WatchUpdate};
use futures::future::{FutureExt, select_all, try_join_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::dirty::Dirty;
use super::error::RegistryError;
use super::isr::NOTE_CHECK;
use super::payload::{BrokerRegistration, encode_isr_change};
use super::read::refresh;
use super::register::register;
use super::retry::until_answered;
use super::{Presence, Shared, paths};

/// Between two attempts to get a session, or to read what could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// How many of this process's own former sessions are remembered: more than can still be unexpired.
const FORMER_MAX: usize = 16;
/// How many ISRs are named in one note.
const NOTED_MAX: usize = 1000;

/// What is watched, each with all that is below.
const WATCHED: [&str; 5] = ["/brokers", "/config", "/admin", paths::CONTROLLER, paths::CONTROLLER_EPOCH];

/// What the keeper is asked by its [`Registry`](super::Registry).
pub(super) enum Ask {
    /// Let the image show all that was written before.
    CatchUp(oneshot::Sender<()>),
    /// Read everything anew.
    ReadAll(oneshot::Sender<()>),
    /// The broker was registered in this session; see to it that it remains so.
    Registered(Registered, oneshot::Sender<()>),
    /// End the session.
    Close(oneshot::Sender<()>),
}

/// In which session, as what, and with which epoch.
pub(super) struct Registered {
    pub(super) session: SessionId,
    pub(super) registration: BrokerRegistration,
    pub(super) epoch: i64,
}

/// Why a session is served no more.
enum End {
    Over,
    Closed(Option<oneshot::Sender<()>>),
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    asks: mpsc::Receiver<Ask>,
    /// What the broker is to be registered as, once it has been.
    registration: Option<BrokerRegistration>,
    /// The epoch it has in the present session.
    epoch: Option<i64>,
    former: Vec<SessionId>,
    dirty: Dirty,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, asks: mpsc::Receiver<Ask>) -> Self {
        let dirty = Dirty::everything();
        Self { shared, asks, registration: None, epoch: None, former: Vec::new(), dirty, waiting: Vec::new() }
    }

    /// Serves `client`'s session, and when that is over the next, until the registry is closed.
    pub(super) async fn run(mut self, mut client: Client) {
        loop {
            if let End::Closed(done) = self.serve(&client).await {
                self.shared.presence.send_replace(Presence::Absent);
                if let Err(error) = client.close().await {
                    warn!(%error, "the session was not closed: it will expire");
                }
                done.map(|done| done.send(()));
                return;
            }
            self.lose(client.session_id());
            let Some(next) = self.reconnect().await else { return };
            client = next;
            self.shared.client.store(Arc::new(client.clone()));
        }
    }

    fn lose(&mut self, session: SessionId) {
        warn!(%session, "the session is over; a new one is wanted");
        self.shared.presence.send_if_modified(|presence| {
            let was_there = matches!(presence, Presence::Registered { .. });
            if was_there {
                *presence = Presence::Absent;
            }
            was_there
        });
        self.former.push(session);
        let surplus = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..surplus);
        self.epoch = None;
        self.dirty = Dirty::everything();
    }

    /// A new session; `None` when nobody wants one any more.
    async fn reconnect(&mut self) -> Option<Client> {
        loop {
            match self.shared.connect().await {
                Ok(client) => return Some(client),
                Err(error) => warn!(%error, "no new session yet"),
            }
            if self.asks.is_closed() && self.asks.is_empty() {
                return None;
            }
            sleep(RETRY).await;
        }
    }

    async fn serve(&mut self, client: &Client) -> End {
        let mut watches = match Watches::set(client).await {
            Ok(watches) => watches,
            Err(error) => {
                warn!(%error, "the cluster cannot be watched");
                return End::Over;
            }
        };
        let mut checks = interval(NOTE_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(error) = self.register_again(client).await {
                warn!(%error, "not registered");
                return End::Over;
            }
            watches.drain(|update| self.note(update));
            if !self.refresh(client).await {
                return End::Over;
            }
            tokio::select! {
                update = watches.next() => match update {
                    Some(update) => self.note(update),
                    None => return End::Over,
                },
                ask = self.asks.recv() => match ask {
                    Some(Ask::Close(done)) => return End::Closed(Some(done)),
                    None => return End::Closed(None),
                    Some(ask) => self.on_ask(client, ask),
                },
                _ = checks.tick() => self.tell_isr_changes(client).await,
            }
        }
    }

    fn on_ask(&mut self, client: &Client, ask: Ask) {
        match ask {
            Ask::CatchUp(done) => self.waiting.push(done),
            Ask::ReadAll(done) => {
                self.dirty = Dirty::everything();
                self.waiting.push(done);
            }
            Ask::Registered(registered, done) => {
                // In another session than the present one it counts for nothing, and is done anew.
                self.epoch = (registered.session == client.session_id()).then_some(registered.epoch);
                self.registration = Some(registered.registration);
                self.waiting.push(done);
            }
            Ask::Close(_) => unreachable!("closing is the loop's own"),
        }
    }

    fn note(&mut self, update: WatchUpdate) {
        match update {
            WatchUpdate::Event(event) => self.dirty.touched(&event.path),
            WatchUpdate::Gap => self.dirty = Dirty::everything(),
        }
    }

    /// A broker that was registered in an earlier session is registered in this one.
    async fn register_again(&mut self, client: &Client) -> Result<(), RegistryError> {
        let (None, Some(registration)) = (self.epoch, &self.registration) else {
            return Ok(());
        };
        match register(client, registration, &self.former).await {
            Ok(epoch) => {
                info!(broker = registration.id, epoch, "registered again");
                self.epoch = Some(epoch);
            }
            Err(error @ RegistryError::DuplicateBroker { .. }) => {
                error!(%error, "the broker's number is lost");
                self.registration = None;
                self.shared.presence.send_replace(Presence::Evicted);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Brings the image up to date, then tells those who wait for it. False when the session is over.
    async fn refresh(&mut self, client: &Client) -> bool {
        if !self.dirty.is_clean() {
            let dirty = std::mem::take(&mut self.dirty);
            match refresh(client, &self.shared.image.load(), &dirty).await {
                Ok(image) => self.shared.publish(image),
                Err(error) if error.is_terminal() => return false,
                Err(error) => {
                    warn!(%error, "the cluster could not be read");
                    self.dirty = Dirty::everything();
                    sleep(RETRY).await;
                    return true;
                }
            }
        }
        if let Some(epoch) = self.epoch {
            let presence = Presence::Registered { epoch };
            self.shared.presence.send_if_modified(|known| std::mem::replace(known, presence) != presence);
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(()); // Who waits no more need not know.
        }
        true
    }

    #[allow(clippy::disallowed_methods, reason = "the rim")]
    async fn tell_isr_changes(&self, client: &Client) {
        let due = self.shared.isr_notes.lock().due(Instant::now());
        let changed: Vec<_> = due.into_iter().flatten().collect();
        for some in changed.chunks(NOTED_MAX) {
            let note = encode_isr_change(some);
            let prefix = paths::ISR_CHANGE_PREFIX;
            let told =
                until_answered(|| client.create(prefix, &note, CreateMode::PersistentSequential)).await;
            if let Err(error) = told {
                warn!(%error, "changed ISRs were not noted");
            }
        }
    }
}

/// The watches of one session.
struct Watches(Vec<PersistentWatch>);

impl Watches {
    async fn set(client: &Client) -> client::Result<Self> {
        let set =
            WATCHED.map(|path| until_answered(move || client.watch(path, AddWatchMode::PersistentRecursive)));
        try_join_all(set).await.map(Self)
    }

    /// The next update of any; `None` when the session is over.
    async fn next(&mut self) -> Option<WatchUpdate> {
        select_all(self.0.iter_mut().map(|watch| watch.next().boxed())).await.0
    }

    /// All that have come. None may be left behind: who waits for the image to catch up relies on it.
    fn drain(&mut self, mut note: impl FnMut(WatchUpdate)) {
        for watch in &mut self.0 {
            while let Some(update) = watch.try_next() {
                note(update);
            }
        }
    }
}
