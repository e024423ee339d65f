//! What is too large to be a packet: snapshots both ways, and what the log holds. Disk and tree are worked on by
//! threads that may block; between them and the link stand a few chunks.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

use super::link::Broken;
use crate::storage::java_snapshot::{SNAP_SIGNATURE, read_sent};
use crate::storage::txn_log::LogRecord;
use crate::storage::{LogRange, SnapshotSource};
use crate::tree::{Tree, TreeLoader, TreeOptions};
use crate::zab::{Packet, Zxid};

const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait between the two.
const CHUNKS_WAITING_MAX: usize = 4;

/// Writes what `produce` writes, which it does elsewhere.
pub(super) async fn send<W, P>(out: &mut W, produce: P) -> Result<(), Broken>
where
    W: AsyncWrite + Unpin,
    P: FnOnce(&mut Chunks) -> Result<(), Broken> + Send + 'static,
{
    let (sender, mut receiver) = channel(CHUNKS_WAITING_MAX);
    let producer = spawn_blocking(move || {
        let mut chunks = Chunks { waiting: BytesMut::new(), sender };
        produce(&mut chunks)?;
        chunks.flush().map_err(Broken::Io)
    });
    while let Some(chunk) = receiver.recv().await {
        out.write_all(&chunk).await?;
    }
    producer.await.map_err(io::Error::from)?
}

/// The body of a snapshot, and what says that it was whole.
pub(super) fn write_snapshot(mut snapshot: Box<dyn SnapshotSource>, out: &mut Chunks) -> Result<(), Broken> {
    snapshot.write_body(out)?;
    out.write_all(SNAP_SIGNATURE)?;
    Ok(())
}

/// Txns of the log, each as PROPOSAL and COMMIT.
pub(super) fn write_log(mut log: LogRange, out: &mut Chunks) -> Result<(), Broken> {
    while let Some(LogRecord { zxid, payload, .. }) = log.next_record()? {
        Packet::Proposal { zxid, record: payload }.encode(&mut out.waiting);
        Packet::Commit(zxid.into()).encode(&mut out.waiting);
        out.send_if_full()?;
    }
    Ok(())
}

/// Gathers what is written, and sends it in chunks. Writing fails once the link is down.
pub(super) struct Chunks {
    waiting: BytesMut,
    sender: Sender<Bytes>,
}

impl Chunks {
    fn send_if_full(&mut self) -> io::Result<()> {
        if self.waiting.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        self.send_if_full()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let chunk = self.waiting.split().freeze();
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads the tree that follows a SNAP. `buffer` holds what was read of it already, and on return what was read
/// behind it.
pub(super) async fn receive_tree(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    zxid: Zxid,
    options: TreeOptions,
) -> Result<Box<Tree>, Broken> {
    let (sender, receiver) = channel(CHUNKS_WAITING_MAX);
    let mut building = spawn_blocking(move || build(receiver, zxid, options));
    let built = tokio::select! {
        built = &mut building => built,
        fed = feed(stream, buffer, sender) => {
            fed?;
            building.await
        }
    };
    let (tree, mut behind) = built.map_err(io::Error::from)?.map_err(Broken::Snapshot)?;
    behind.unsplit(buffer.split());
    *buffer = behind;
    Ok(tree)
}

/// Passes on what comes until nobody wants more, or nothing comes. What nobody wanted stays in `buffer`.
async fn feed(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    sender: Sender<Bytes>,
) -> io::Result<()> {
    loop {
        if buffer.is_empty() {
            buffer.reserve(CHUNK_BYTES);
            if stream.read_buf(buffer).await? == 0 {
                return Ok(());
            }
        }
        match sender.reserve().await {
            Ok(room) => room.send(buffer.split().freeze()),
            Err(_) => return Ok(()),
        }
    }
}

/// The tree, and what was taken from the channel behind it.
fn build(receiver: Receiver<Bytes>, zxid: Zxid, options: TreeOptions) -> io::Result<(Box<Tree>, BytesMut)> {
    let mut stream = ChunkReader { receiver, chunk: Bytes::new() };
    let mut loader = TreeLoader::new(options);
    let mut misplaced = None;
    let sent = read_sent(&mut stream, &mut |path, record| {
        if let Err(error) = loader.znode(path, record) {
            misplaced.get_or_insert(error);
        }
    })?;
    if let Some(error) = misplaced {
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    sent.sessions.into_iter().for_each(|(session, timeout_ms)| loader.session(session, timeout_ms));
    let tree = Box::new(loader.finish(zxid, None));

    let mut behind = BytesMut::from(&*sent.behind);
    behind.extend_from_slice(&stream.chunk);
    stream.receiver.close();
    while let Some(chunk) = stream.receiver.blocking_recv() {
        behind.extend_from_slice(&chunk);
    }
    Ok((tree, behind))
}

/// Chunks as a stream, for a thread that may block.
struct ChunkReader {
    receiver: Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let len = self.chunk.len().min(into.len());
        self.chunk.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}
