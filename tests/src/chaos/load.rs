//! Clients at work, on a thread of their own, so that faults can be waited for in peace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use client::{Client, CreateMode};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::creator::Creator;
use super::history::History;
use super::shown::{self, Shown};
use crate::ensemble::{Ensemble, Id, Kind};
use crate::process::wait_until;

/// How long the load may take to end after it was told to: whoever waits for a dead server finds another by then.
const END_LIMIT: Duration = Duration::from_secs(60);

/// How a read is made to see all that was acknowledged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// By `sync`, where the client's own server is ours. A leader that does not know yet that it was deposed answers one
    /// without asking its quorum, as Java's do. Where it is Java's, as [`Fence::Write`]: a Java server that leads takes its
    /// own client's sync for a read (its `CommitProcessor` has no `matchSyncs`), and may be later to apply a write than the
    /// follower that acknowledges it.
    Sync,
    /// By a write of the same session: it cannot succeed without a quorum.
    Write,
}

/// How much is done, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Clients whose history is checked.
    pub callers: usize,
    /// Clients that create one znode after the other.
    pub creators: usize,
    /// What all sessions ask for.
    pub session_timeout: Duration,
    /// What makes a read a current one.
    pub fence: Fence,
    /// How long a client rests between two requests: histories are to be searched in the end.
    pub rest: Duration,
    /// What the dice begin with.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            callers: 6,
            creators: 3,
            session_timeout: Duration::from_secs(6),
            fence: Fence::Sync,
            rest: Duration::from_millis(4),
            seed: 0x6368_616f,
        }
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: String,
    /// Those of them that are Java's.
    javas: Vec<String>,
    /// Where the clients work: nobody was there before.
    pub(super) root: String,
    pub(super) settings: Settings,
    pub(super) history: Mutex<History>,
    pub(super) stop: CancellationToken,
    sessions: AtomicUsize,
    expired: AtomicUsize,
    asked: AtomicU64,
    calls: AtomicUsize,
    gaps: Mutex<Gaps>,
}

/// When a write was acknowledged last, and how many were.
#[derive(Debug)]
struct Gaps {
    acknowledged: u64,
    last: Instant,
    longest: Duration,
}

impl Shared {
    /// The client's server is one of Java's.
    pub(super) fn is_at_javas(&self, client: &Client) -> bool {
        client.server().is_some_and(|server| self.javas.contains(&server.to_string()))
    }

    /// Another session's number.
    pub(super) fn next_session(&self) -> usize {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// A client, and its session's number.
    pub(super) fn connect(&self) -> Result<(Client, usize)> {
        let client = Client::builder().session_timeout(self.settings.session_timeout);
        Ok((client.connect_lazily(&self.servers)?, self.next_session()))
    }

    /// A number that was not asked for before.
    pub(super) fn next_value(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    /// How many calls were made before this one.
    pub(super) fn next_call(&self) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn note_expiry(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_acknowledged(&self) {
        let now = Instant::now();
        let mut gaps = self.gaps.lock();
        gaps.longest = gaps.longest.max(now - gaps.last);
        gaps.acknowledged += 1;
        gaps.last = now;
    }

    /// What the client of this number writes to, so that its next read is a current one.
    pub(super) fn fence(&self, number: usize) -> String {
        format!("{}/fences/{number}", self.root)
    }

    pub(super) async fn rest(&self) {
        tokio::time::sleep(self.settings.rest).await;
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<Result<Vec<Creator>>>,
}

impl Load {
    /// Sets clients to work on the service of `ensemble`.
    ///
    /// # Errors
    /// When it does not take their first writes.
    pub fn start(ensemble: &Ensemble, settings: Settings) -> Result<Self> {
        let javas = ensemble.ids().into_iter().filter(|id| ensemble.place(*id).kind() == Kind::Java);
        let shared = Arc::new(Shared {
            servers: ensemble.servers(),
            javas: javas.map(|id| ensemble.address(id).to_string()).collect(),
            root: format!("/chaos-{:016x}", rand::random::<u64>()),
            settings,
            history: Mutex::default(),
            stop: CancellationToken::new(),
            sessions: AtomicUsize::new(0),
            expired: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            gaps: Mutex::new(Gaps { acknowledged: 0, last: Instant::now(), longest: Duration::ZERO }),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(prepare(&shared)).context("before the load")?;
        let clients = Arc::clone(&shared);
        let thread = thread::spawn(move || runtime.block_on(work(clients)));
        let load = Self { shared, thread };
        load.progress(1, "at the beginning")?;
        Ok(load)
    }

    /// Waits until `writes` more are acknowledged.
    ///
    /// # Errors
    /// When they are not, for a minute.
    pub fn progress(&self, writes: u64, when: &str) -> Result<()> {
        let before = self.shared.gaps.lock().acknowledged;
        let goes_on = || self.shared.gaps.lock().acknowledged >= before + writes;
        let has_decided = wait_until(END_LIMIT, || goes_on() || self.thread.is_finished());
        ensure!(has_decided, "no progress {when}");
        ensure!(!self.thread.is_finished(), "the clients have given up {when}");
        Ok(())
    }

    /// The longest time without an acknowledged write since it was asked last.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let mut gaps = self.shared.gaps.lock();
        std::mem::take(&mut gaps.longest)
    }

    /// Lets the clients end what they are doing, and gives what they were told.
    ///
    /// # Errors
    /// When they don't end, or something happened to them that must not.
    pub fn stop(self) -> Result<Outcome> {
        self.shared.stop.cancel();
        ensure!(wait_until(END_LIMIT, || self.thread.is_finished()), "clients wait for answers in vain");
        let creators = self.thread.join().map_err(|_| anyhow!("a client has panicked"))??;
        Ok(Outcome {
            root: self.shared.root.clone(),
            creators,
            history: std::mem::take(&mut *self.shared.history.lock()),
            expired: self.shared.expired.load(Ordering::Relaxed),
            acknowledged: self.shared.gaps.lock().acknowledged,
        })
    }
}

async fn prepare(shared: &Shared) -> Result<()> {
    let client = Client::connect(&shared.servers).await?;
    for directory in ["registers", "created"] {
        client.create_all(&format!("{}/{directory}", shared.root)).await?;
    }
    for number in 0..shared.settings.callers {
        client.create_all(&shared.fence(number)).await?;
    }
    Ok(client.close().await?)
}

async fn work(shared: Arc<Shared>) -> Result<Vec<Creator>> {
    let mut callers = JoinSet::new();
    for number in 0..shared.settings.callers {
        callers.spawn(Caller::new(number, Arc::clone(&shared))?.work());
    }
    let mut creators = JoinSet::new();
    for number in 0..shared.settings.creators {
        creators.spawn(Creator::new(number, &shared.root).work(Arc::clone(&shared)));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let mut all = Vec::new();
    while let Some(ended) = creators.join_next().await {
        all.push(ended??);
    }
    Ok(all)
}

/// What clients were told.
#[derive(Debug)]
pub struct Outcome {
    root: String,
    creators: Vec<Creator>,
    history: History,
    expired: usize,
    acknowledged: u64,
}

impl Outcome {
    /// How many sessions have expired under their clients.
    #[must_use]
    pub fn expired(&self) -> usize {
        self.expired
    }

    /// How much was done.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} writes acknowledged, {} calls checked, {} in doubt, {} sessions expired",
            self.acknowledged,
            self.history.answered(),
            self.history.in_doubt(),
            self.expired,
        )
    }

    /// Holds what clients were told against itself, and against what each of the servers shows.
    ///
    /// # Errors
    /// Says which promise was not kept.
    pub fn check(&self, ensemble: &Ensemble) -> Result<()> {
        self.history.check()?;
        let mut first: Option<(Id, Shown)> = None;
        for id in ensemble.ids().into_iter().filter(|id| ensemble.place(*id).is_running()) {
            let shown = shown::below(&self.root, ensemble.address(id))?;
            let kept = self.creators.iter().try_for_each(|creator| creator.check(&shown));
            kept.with_context(|| format!("on server {id} ({})", ensemble.place(id).kind()))?;
            match &first {
                None => first = Some((id, shown)),
                Some((other, others)) => {
                    let same = shown::ensure_equal(others, &shown);
                    same.with_context(|| format!("server {id} differs from server {other}"))?;
                }
            }
        }
        check_digests(ensemble)
    }
}

/// A replica that applied another history than its leader finds out by itself.
fn check_digests(ensemble: &Ensemble) -> Result<()> {
    let running = ensemble.ids().into_iter().filter(|id| ensemble.place(*id).is_running());
    let is_foreign = ensemble.ids().into_iter().all(|id| ensemble.place(id).kind() == Kind::Java);
    for id in running {
        let mismatches = ensemble.monitored(id, "zk_digest_mismatches_count")?;
        let place = ensemble.place(id);
        if mismatches > 0 && place.kind() == Kind::Java && (is_foreign || place.has_logged_twice()?) {
            // What Java's servers do to each other, and to their own logs, is not ours to mend.
            println!(
                "server {id} has found {mismatches} digests that differ from its own; it is Java's fault"
            );
            continue;
        }
        ensure!(mismatches == 0, "server {id} has found {mismatches} digests that differ from its own");
    }
    Ok(())
}

/// Creates the directory that one of the clients has to itself.
pub(super) async fn create_directory(client: &Client, path: &str) -> Result<(), client::Error> {
    match client.create(path, "", CreateMode::Persistent).await {
        Err(error) if error.code() == Some(client::ErrorCode::NodeExists) => Ok(()),
        created => created.map(drop),
    }
}
