//! The limit: a server that has nothing but the framing. It answers every request with a reply as long as a real
//! one, and, given a file, appends each batch of writes to it and syncs once before it answers: what no server that
//! speaks this protocol and keeps its promises can beat on this machine. Three of them do the same as an ensemble.

mod ensemble;
mod link;
mod log;
mod requests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};

use self::ensemble::Part;
use self::log::Log;
use self::requests::{Answers, RequestStream};

/// Where to listen, what to sync.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:2181")]
    listen: SocketAddr,
    /// Threads, connections going to each in turn
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Bytes of data that a get answers with
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// A file for writes: filled with zeros ahead, and synced once a batch. One thread only
    #[arg(long, conflicts_with = "threads")]
    sync_to: Option<PathBuf>,
    /// Where the two other servers of an ensemble find this one, which leads: a write is answered when two have synced it
    #[arg(long, requires = "sync_to", value_name = "ADDRESS")]
    leads: Option<SocketAddr>,
    /// Where the server is that leads
    #[arg(long, requires = "sync_to", conflicts_with = "leads", value_name = "ADDRESS")]
    follows: Option<SocketAddr>,
}

impl Args {
    fn part(&self) -> Option<Part> {
        self.leads.map(Part::Leader).or(self.follows.map(Part::Follower))
    }
}

/// Serves until the process is ended.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let (mut handovers, part) = (Vec::new(), args.part());
    for _ in 0..args.threads.get() {
        let (sender, connections) = mpsc::unbounded_channel();
        let log = args.sync_to.as_ref().map(Log::create).transpose().context("preparing the log")?;
        let answers = Answers::new(args.value_size);
        handovers.push(sender);
        std::thread::spawn(move || serve_all(connections, answers, log, part));
    }
    println!("echo server on {}", args.listen);
    for handover in handovers.iter().cycle() {
        let (stream, _) = listener.accept().context("accepting a connection")?;
        handover.send(stream).context("a thread ended")?;
    }
    Ok(())
}

type Connections = mpsc::UnboundedReceiver<std::net::TcpStream>;

fn serve_all(
    mut connections: Connections,
    answers: Answers,
    log: Option<Log>,
    part: Option<Part>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let answers = Rc::new(answers);
        let batch = log.map(|log| {
            let batch = Rc::new(Batch::default());
            spawn_local(serve_writes(part, batch.clone(), log));
            batch
        });
        while let Some(stream) = connections.recv().await {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            spawn_local(serve(TcpStream::from_std(stream)?, answers.clone(), batch.clone()));
        }
        Ok(())
    })
}

/// Each to its connection.
type Replies = Vec<(Rc<Outgoing>, Vec<u8>)>;

/// Writes of all connections that wait for the same sync.
#[derive(Default)]
struct Batch {
    filled: Notify,
    requests: RefCell<Vec<u8>>,
    replies: RefCell<Replies>,
    /// Replies that need not wait any more.
    due: RefCell<Replies>,
    answered: Notify,
}

impl Batch {
    fn take(&self) -> (Vec<u8>, Replies) {
        (self.requests.take(), self.replies.take())
    }

    fn answer(&self, replies: Replies) {
        self.due.borrow_mut().extend(replies);
        self.answered.notify_one();
    }

    async fn send_answers(self: Rc<Self>) {
        loop {
            self.answered.notified().await;
            send_all(self.due.take()).await;
        }
    }
}

/// One connection's way out. Replies behind one that waits for a sync have to wait with it.
struct Outgoing {
    half: OwnedWriteHalf,
    waiting: Cell<usize>,
}

/// Ends with the connection, whichever way that goes.
async fn serve(stream: TcpStream, answers: Rc<Answers>, batch: Option<Rc<Batch>>) -> io::Result<()> {
    let (mut reading, half) = stream.into_split();
    let outgoing = Rc::new(Outgoing { half, waiting: Cell::new(0) });
    let mut requests = RequestStream::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reading.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut replies = Vec::new();
        let writes = requests.consume(&buffer[..count], &answers, &mut replies);
        match &batch {
            Some(batch) if writes || outgoing.waiting.get() > 0 => {
                batch.requests.borrow_mut().extend_from_slice(&buffer[..count]);
                outgoing.waiting.update(|waiting| waiting + 1);
                batch.replies.borrow_mut().push((outgoing.clone(), replies));
                batch.filled.notify_one();
            }
            _ => send(&outgoing.half, &replies).await?,
        }
    }
}

/// Ends the process when it cannot go on: a limit that has stopped to answer is none.
async fn serve_writes(part: Option<Part>, batch: Rc<Batch>, log: Log) {
    let outcome = match part {
        None => sync_batches(batch, log).await,
        Some(part) => ensemble::serve(part, batch, log).await,
    };
    eprintln!(
        "zkbench: writes are not answered any more: {:#}",
        outcome.expect_err("it only ends by failing")
    );
    std::process::exit(1);
}

/// Runs behind all tasks that were ready when the first write came, so that one sync serves all of them.
async fn sync_batches(batch: Rc<Batch>, mut log: Log) -> anyhow::Result<Infallible> {
    loop {
        batch.filled.notified().await;
        let (requests, replies) = batch.take();
        log.append_and_sync(&requests)?;
        send_all(replies).await;
    }
}

async fn send_all(replies: Replies) {
    for (outgoing, bytes) in replies {
        // A client that has gone needs no reply.
        let _ = send(&outgoing.half, &bytes).await;
        outgoing.waiting.update(|waiting| waiting - 1);
    }
}

async fn send(writing: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match writing.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => writing.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use jute::CreateMode;

    use super::*;
    use crate::connection::Connection;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "it does not come about");
            std::thread::yield_now();
        }
    }

    fn free_addresses<const N: usize>() -> [SocketAddr; N] {
        let listeners: [_; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        listeners.map(|listener| listener.local_addr().unwrap())
    }

    fn count(needle: &[u8], log: &Path) -> usize {
        let written = std::fs::read(log).unwrap();
        let end = written.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        written[..end].windows(needle.len()).filter(|window| *window == needle).count()
    }

    #[test]
    fn every_server_of_an_ensemble_has_every_write_and_answers_its_own_clients() {
        let dir = tempfile::tempdir().unwrap();
        let [leader, second, third, quorum] = free_addresses();
        let servers = [leader, second, third];
        let logs = servers.map(|server| dir.path().join(server.port().to_string()));
        for (listen, sync_to) in servers.into_iter().zip(logs.clone()) {
            let (leads, follows) = if listen == leader { (Some(quorum), None) } else { (None, Some(quorum)) };
            let args = Args {
                listen,
                threads: NonZeroUsize::MIN,
                value_size: 100,
                sync_to: Some(sync_to),
                leads,
                follows,
            };
            std::thread::spawn(move || run(&args));
        }
        for server in servers {
            let mut client = until(|| Connection::open(server, 10_000).ok());
            for _ in 0..3 {
                client.create("/written", b"", CreateMode::Persistent).unwrap();
            }
        }
        for log in &logs {
            until(|| (count(b"/written", log) == 9).then_some(()));
        }
    }
}
