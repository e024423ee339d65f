//! A server that is killed at any moment, again and again, while clients write; and what must be true afterwards.
//!
//! - The [`Writer`]s remember what they were told, znode by znode: data, ACL and the whole stat. A write whose answer
//!   never came is in doubt, and may have happened or not, but nothing else may have.
//! - The [`Ledger`] compares that with what the restarted server shows. A znode nobody can account for is a failure too, so
//!   what was deleted, or went with its session, stays gone.
//! - The [`replay`] knows the log alone: the tree it gives is the one that recovery gives from the database and
//!   the log's end, and had, at every zxid, the digest that the server announced.

pub mod replay;
mod writer;
mod znodes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use client::{Client, CreateMode, Error};
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use rand::{Rng, RngExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::process::wait_until;
use crate::service::{Service, four_letter_word};
use crate::tree_copy::monitored;
use replay::{DIGEST_INTERVAL, Replay};
pub use writer::Writer;
use znodes::Found;

/// Clients that write at the same time.
const WRITERS: u64 = 4;
/// Of each kind of znodes, one below the other.
const DIRECTORIES: [&str; 4] = ["/crash/plain", "/crash/sequential", "/crash/ephemeral", "/crash/pairs"];
/// Where sessions that nobody carries on leave their ephemeral znodes.
const GUESTS: &str = "/crash/guests";
/// What is set until the server announces a digest.
const TICK: &str = "/crash/tick";
/// How long sessions outlast a server that is away.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest that a server grants with the ticks of our tests.
const GUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// What a server logs once it has recovered.
const RECOVERED: &str = "loaded the tree";
/// So often one recovery after the other is cut short.
const RECOVERIES: u32 = 5;

/// What clients were told, over all lives of the server.
#[derive(Debug)]
pub struct Ledger {
    writers: Vec<Writer>,
    /// Every zxid that an acknowledgement named, in all lives: none may come twice.
    zxids: BTreeSet<i64>,
    /// The log's end when the present life began.
    before: i64,
    /// Digests that the server announced, in all lives.
    digests: BTreeMap<i64, u64>,
    /// How many writes of each kind were acknowledged.
    counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Creates what the writers need. Once, before the first round.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn begin(servers: &str, seed: u64) -> Result<Self> {
        let client = Client::connect(servers).await?;
        for directory in DIRECTORIES.into_iter().chain([GUESTS, TICK]) {
            client.create_all(directory).await?;
        }
        client.close().await?;
        let writers = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
        let (zxids, digests, counts) = Default::default();
        Ok(Self { writers, zxids, before: 0, digests, counts })
    }

    /// How many writes of each kind were acknowledged.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Writes until the server is gone; calls `kill` once `acks` writes have been acknowledged.
    ///
    /// # Errors
    /// When the server breaks a promise, not when it goes away.
    pub async fn write_until_killed(
        &mut self,
        servers: &str,
        acks: u64,
        kill: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let guest = Client::builder().session_timeout(GUEST_TIMEOUT).connect_lazily(servers)?;
        self.admit(&guest).await.context("a guest")?;
        let mut clients = Vec::new();
        for writer in &mut self.writers {
            clients.push(writer.connect(servers).await?);
        }
        let (reached, enough) = oneshot::channel();
        let killed = CancellationToken::new();
        let progress = Arc::new(Progress::new(acks, reached, killed.clone()));
        let mut lives = Vec::new();
        for (writer, client) in self.writers.drain(..).zip(clients) {
            let life = writer.write_until_killed(client, servers.to_owned(), Arc::clone(&progress));
            lives.push(tokio::spawn(life));
        }
        // All writers may have failed: then nobody is left to say that it is enough, and their errors are the news.
        drop(progress);
        if enough.await.is_ok() {
            kill()?;
        }
        killed.cancel();
        for life in lives {
            self.writers.push(life.await??);
        }
        // Its session is left to itself. It may have expired already, if the machine was slow.
        drop(guest.detach().await);
        self.settle()
    }

    /// Has `guest` leave something behind, unless the machine is so slow that its session is over already.
    async fn admit(&mut self, guest: &Client) -> Result<()> {
        let left = guest.create(&format!("{GUESTS}/guest-"), "", CreateMode::EphemeralSequential).await;
        match left {
            Err(Error::SessionExpired | Error::ConnectionLost { .. }) => {}
            left => {
                left?;
                *self.counts.entry("guest").or_default() += 1;
            }
        }
        Ok(())
    }

    /// Takes over what the writers were told.
    fn settle(&mut self) -> Result<()> {
        for writer in &mut self.writers {
            for zxid in writer.take_zxids() {
                ensure!(zxid > self.before, "{zxid:#x} is used again: the log had got to {:#x}", self.before);
                ensure!(self.zxids.insert(zxid), "zxid {zxid:#x} was acknowledged twice");
            }
            for (kind, count) in writer.take_counts() {
                *self.counts.entry(kind).or_default() += count;
            }
        }
        Ok(())
    }

    /// Compares what the dead server left on its disk with what it said while it lived.
    ///
    /// # Errors
    /// Names the zxid that is missing, or stands for another tree.
    pub fn check_replay(&mut self, replay: &Replay) -> Result<()> {
        let last = replay.last();
        let acknowledged = self.zxids.last().copied().unwrap_or_default();
        ensure!(acknowledged <= last, "{acknowledged:#x} was acknowledged, the log ends at {last:#x}");
        for (zxid, announced) in &self.digests {
            let digest = replay.digest_at(*zxid).with_context(|| format!("txn {zxid:#x} is lost"))?;
            ensure!(
                digest == *announced,
                "at {zxid:#x} the server had {announced:x}, the log gives {digest:x}"
            );
        }
        self.before = last;
        Ok(())
    }

    /// Compares the restarted server with what the writers know.
    ///
    /// # Errors
    /// Names what is missing, has changed, or should not be there.
    pub async fn check_znodes(&mut self, servers: &str) -> Result<()> {
        let client = Client::connect(servers).await?;
        let mut found = BTreeMap::new();
        for directory in DIRECTORIES {
            read(&client, directory, &mut found).await?;
        }
        client.close().await?;
        let newest = found.values().map(|znode| znode.stat.mzxid).max();
        self.before = newest.max(self.zxids.last().copied()).unwrap_or_default().max(self.before);
        for writer in &mut self.writers {
            writer.check(&mut found)?;
        }
        if let Some((path, znode)) = found.first_key_value() {
            bail!("{path} is there, as {znode:?}: it was never created, or had gone");
        }
        Ok(())
    }

    /// Compares the digests that the restarted server announces with those of the replayed log.
    ///
    /// # Errors
    /// Names the zxid at which they differ.
    pub async fn check_digests(&mut self, server: SocketAddr, replay: &Replay) -> Result<()> {
        self.note_digests(server)?;
        for (zxid, announced) in self.digests.range(..=replay.last()) {
            let digest = replay.digest_at(*zxid);
            ensure!(digest == Some(*announced), "{announced:x} at {zxid:#x}, the log gives {digest:x?}");
        }
        // One that it makes in this life, of the tree it came back with; the next replay knows better.
        let client = Client::connect(&server.to_string()).await?;
        stream::iter(0..DIGEST_INTERVAL)
            .map(|number| client.set(TICK, number.to_string(), None))
            .buffered(32)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        client.close().await?;
        self.note_digests(server)?;
        let newest = self.digests.last_key_value().map_or(0, |(zxid, _)| *zxid);
        ensure!(newest > replay.last(), "no digest is announced after {:#x}", replay.last());
        ensure!(
            monitored(server, "zk_digest_mismatches_count")? == 0,
            "the server found another tree itself"
        );
        Ok(())
    }

    fn note_digests(&mut self, server: SocketAddr) -> Result<()> {
        for line in four_letter_word(server, "hash")?.lines() {
            let (zxid, digest) = line.split_once(": ").with_context(|| format!("digest {line:?}"))?;
            let (zxid, digest) = (i64::from_str_radix(zxid, 16)?, digest.parse::<i64>()?.cast_unsigned());
            let known = *self.digests.entry(zxid).or_insert(digest);
            ensure!(known == digest, "the digest at {zxid:#x} was {known:x} and is {digest:x}");
        }
        Ok(())
    }
}

/// Starts the server a few times, each time killing it before it has recovered, at a moment of its start that the
/// dice choose; tells how often it was still recovering.
///
/// # Errors
/// When it does not start.
pub fn kill_recovering(server: &mut Service, dice: &mut impl Rng) -> Result<u32> {
    let began = Instant::now();
    server.begin_restart()?;
    let recovered = wait_until(SESSION_TIMEOUT, || server.log().contains(RECOVERED));
    ensure!(recovered, "it does not recover: {}", server.log());
    let takes = began.elapsed();
    let mut recovering = 0;
    for _ in 0..RECOVERIES {
        server.begin_restart()?;
        // The moment of the kill is what is tried here: nothing is waited for.
        thread::sleep(takes.mul_f64(dice.random_range(0.1..0.9)));
        server.kill()?;
        recovering += u32::from(!server.log().contains(RECOVERED));
    }
    Ok(recovering)
}

/// Waits until the sessions that nobody carried on have expired.
///
/// # Errors
/// When one of their ephemeral znodes stays.
pub async fn wait_until_guests_are_gone(servers: &str) -> Result<()> {
    let client = Client::connect(servers).await?;
    let expired = async {
        loop {
            let (guests, _, watch) = client.children_and_watch(GUESTS).await?;
            if guests.is_empty() {
                return anyhow::Ok(());
            }
            watch.await?;
        }
    };
    tokio::time::timeout(SESSION_TIMEOUT, expired).await.context("a guest stays")??;
    client.close().await?;
    Ok(())
}

/// Adds the children of `directory` to `found`.
async fn read(client: &Client, directory: &str, found: &mut BTreeMap<String, Found>) -> Result<()> {
    let names = client.children(directory).await?;
    let mut znodes = stream::iter(names)
        .map(|name| async move {
            let path = format!("{directory}/{name}");
            let (znode, acl) = futures::try_join!(client.get(&path), client.acl(&path))?;
            anyhow::Ok((path, Found { data: znode.data, acl: acl.0, stat: znode.stat }))
        })
        .buffer_unordered(256);
    while let Some((path, znode)) = znodes.try_next().await? {
        found.insert(path, znode);
    }
    Ok(())
}

/// Counts acknowledgements, and tells once there are enough.
struct Progress {
    acks: AtomicU64,
    enough: u64,
    reached: Mutex<Option<oneshot::Sender<()>>>,
    /// Who connects now waits in vain.
    killed: CancellationToken,
}

impl Progress {
    fn new(enough: u64, reached: oneshot::Sender<()>, killed: CancellationToken) -> Self {
        Self { acks: AtomicU64::new(0), enough, reached: Mutex::new(Some(reached)), killed }
    }

    fn count(&self) {
        if self.acks.fetch_add(1, Ordering::Relaxed) + 1 == self.enough
            && let Some(reached) = self.reached.lock().take()
        {
            // Nobody waits any more when the round is over.
            let _ = reached.send(());
        }
    }
}
