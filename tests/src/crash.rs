//! A server that is killed at any moment, again and again, while clients write; and a ledger of what it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use futures::stream::{FuturesUnordered, StreamExt};

/// Clients that write at the same time.
const WRITERS: usize = 4;
/// Writes each of them keeps under way.
const UNDER_WAY: usize = 16;

/// What clients were told, over all lives of the server.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Znodes whose creation was acknowledged, with the zxid it was acknowledged with.
    created: BTreeMap<String, i64>,
    /// The newest value of each register that was acknowledged, with its zxid.
    registers: BTreeMap<usize, (u64, i64)>,
    /// Every zxid that an acknowledgement named, in all lives: none may come twice.
    zxids: BTreeSet<i64>,
    /// The newest zxid that any client saw, acknowledged or not, before the present life began.
    before: i64,
    /// Names never used so far.
    next_name: u64,
}

impl Ledger {
    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.zxids.len()
    }

    fn note(&mut self, zxid: i64) -> Result<()> {
        ensure!(
            zxid > self.before,
            "zxid {zxid:#x} was used before the restart: {:#x} was seen",
            self.before
        );
        ensure!(self.zxids.insert(zxid), "zxid {zxid:#x} was acknowledged twice");
        Ok(())
    }
}

/// Creates what the writers need. Once, before the first round.
///
/// # Errors
/// When the server does not take it.
pub async fn prepare(servers: &str) -> Result<()> {
    let client = Client::connect(servers).await?;
    client.create_all("/crash/created").await?;
    for writer in 0..WRITERS {
        client.create(&register(writer), "0", CreateMode::Persistent).await?;
    }
    client.close().await?;
    Ok(())
}

/// Writes until the server is gone; calls `kill` once `acks` writes have been acknowledged.
///
/// # Errors
/// When the server breaks a promise, not when it goes away.
pub async fn write_until_killed(
    servers: &str,
    ledger: Arc<Mutex<Ledger>>,
    acks: u64,
    kill: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..WRITERS {
        clients.push(Client::connect(servers).await?);
    }
    let (reached, enough) = tokio::sync::oneshot::channel();
    let progress =
        Arc::new(Progress { acks: AtomicU64::new(0), enough: acks, reached: Mutex::new(Some(reached)) });
    let writers: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(writer, client)| tokio::spawn(write(writer, client.clone(), ledger.clone(), progress.clone())))
        .collect();
    // All writers may have failed: then nobody is left to say that it is enough, and their errors are the news.
    drop(progress);
    if enough.await.is_ok() {
        kill()?;
    }
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

/// Counts acknowledgements, and tells once there are enough.
struct Progress {
    acks: AtomicU64,
    enough: u64,
    reached: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
}

impl Progress {
    fn count(&self) {
        if self.acks.fetch_add(1, Ordering::Relaxed) + 1 == self.enough
            && let Some(reached) = self.reached.lock().expect("no holder panics").take()
        {
            // Nobody waits any more when the round is over.
            let _ = reached.send(());
        }
    }
}

/// One client: creations and a register, several under way at once, until the connection breaks.
async fn write(
    writer: usize,
    client: Client,
    ledger: Arc<Mutex<Ledger>>,
    progress: Arc<Progress>,
) -> Result<()> {
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < UNDER_WAY {
            let name = {
                let mut ledger = ledger.lock().expect("no holder panics");
                ledger.next_name += 1;
                ledger.next_name
            };
            under_way.push(write_once(writer, &client, name));
        }
        let Some(outcome) = under_way.next().await else { return Ok(()) };
        match outcome {
            Ok(written) => {
                record(&mut ledger.lock().expect("no holder panics"), written)?;
                progress.count();
            }
            Err(error) if error.code().is_none() => return Ok(()),
            Err(error) => return Err(error).context("a write was refused"),
        }
    }
}

enum Written {
    Created { path: String, zxid: i64 },
    Set { writer: usize, value: u64, zxid: i64 },
}

async fn write_once(writer: usize, client: &Client, name: u64) -> client::Result<Written> {
    if name.is_multiple_of(3) {
        let stat = client.set(&register(writer), name.to_string(), None).await?;
        return Ok(Written::Set { writer, value: name, zxid: stat.mzxid });
    }
    let path = format!("/crash/created/{name}");
    let (_, stat) = client.create_with_stat(&path, "a value", CreateMode::Persistent).await?;
    Ok(Written::Created { path, zxid: stat.czxid })
}

fn record(ledger: &mut Ledger, written: Written) -> Result<()> {
    match written {
        Written::Created { path, zxid } => {
            ledger.note(zxid)?;
            ledger.created.insert(path, zxid);
        }
        Written::Set { writer, value, zxid } => {
            ledger.note(zxid)?;
            let newest = ledger.registers.entry(writer).or_default();
            if newest.1 < zxid {
                *newest = (value, zxid);
            }
        }
    }
    Ok(())
}

/// Compares the restarted server with the ledger.
///
/// # Errors
/// Names what is missing or has changed.
pub async fn verify(servers: &str, ledger: &mut Ledger) -> Result<()> {
    let client = Client::connect(servers).await?;
    let mut seen = ledger.before;

    let children = client.children("/crash/created").await?;
    let mut stats = futures::stream::iter(children)
        .map(|name| {
            let client = &client;
            async move {
                let path = format!("/crash/created/{name}");
                let stat = client.exists(&path).await?.context("a listed child is gone")?;
                anyhow::Ok((path, stat))
            }
        })
        .buffer_unordered(256);
    let mut there = BTreeMap::new();
    while let Some(found) = stats.next().await {
        let (path, stat) = found?;
        seen = seen.max(stat.czxid);
        there.insert(path, stat.czxid);
    }
    drop(stats);
    for (path, zxid) in &ledger.created {
        let found = there.get(path).with_context(|| format!("{path}, acknowledged as {zxid:#x}, is lost"))?;
        ensure!(found == zxid, "{path} was acknowledged as {zxid:#x} and is now {found:#x}");
    }

    for writer in 0..WRITERS {
        let znode = client.get(&register(writer)).await?;
        seen = seen.max(znode.stat.mzxid);
        let Some((value, zxid)) = ledger.registers.get(&writer) else { continue };
        ensure!(
            znode.stat.mzxid >= *zxid,
            "register {writer} went back from {zxid:#x} to {:#x}",
            znode.stat.mzxid
        );
        if znode.stat.mzxid == *zxid {
            ensure!(znode.data == value.to_string(), "register {writer} has another value");
        }
    }
    ledger.before = seen.max(ledger.zxids.last().copied().unwrap_or_default());
    client.close().await?;
    Ok(())
}

fn register(writer: usize) -> String {
    format!("/crash/register{writer}")
}
