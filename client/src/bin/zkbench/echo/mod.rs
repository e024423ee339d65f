//! The limit: a server that has nothing but the framing. It answers every request with a reply as long as a real
//! one, and, given a file, appends each batch of writes to it and syncs once before it answers: what no server that
//! speaks this protocol and keeps its promises can beat on this machine.

mod log;
mod requests;

use std::cell::{Cell, RefCell};
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
}

/// Serves until the process is ended.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let mut handovers = Vec::new();
    for _ in 0..args.threads.get() {
        let (sender, connections) = mpsc::unbounded_channel();
        let log = args.sync_to.as_ref().map(Log::create).transpose().context("preparing the log")?;
        let answers = Answers::new(args.value_size);
        handovers.push(sender);
        std::thread::spawn(move || serve_all(connections, answers, log));
    }
    println!("echo server on {}", args.listen);
    for handover in handovers.iter().cycle() {
        let (stream, _) = listener.accept().context("accepting a connection")?;
        handover.send(stream).context("a thread ended")?;
    }
    Ok(())
}

type Connections = mpsc::UnboundedReceiver<std::net::TcpStream>;

fn serve_all(mut connections: Connections, answers: Answers, log: Option<Log>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let answers = Rc::new(answers);
        let batch = log.map(|log| {
            let batch = Rc::new(Batch::default());
            spawn_local(sync_batches(batch.clone(), log));
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

/// Writes of all connections that wait for the same sync.
#[derive(Default)]
struct Batch {
    filled: Notify,
    requests: RefCell<Vec<u8>>,
    replies: RefCell<Vec<(Rc<Outgoing>, Vec<u8>)>>,
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

/// Runs behind all tasks that were ready when the first write came, so that one sync serves all of them.
async fn sync_batches(batch: Rc<Batch>, mut log: Log) -> anyhow::Result<()> {
    loop {
        batch.filled.notified().await;
        let requests = std::mem::take(&mut *batch.requests.borrow_mut());
        log.append_and_sync(&requests)?;
        let replies = std::mem::take(&mut *batch.replies.borrow_mut());
        for (outgoing, bytes) in replies {
            // A client that has gone needs no reply.
            let _ = send(&outgoing.half, &bytes).await;
            outgoing.waiting.update(|waiting| waiting - 1);
        }
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
