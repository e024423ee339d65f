//! One connection between leader and learner: packets in, packets out.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::bulk;
use super::decoder::{Decoder, Next, StreamFlaw};
use super::hub::Hub;
use super::outbox::{Outbox, Overflow, Piece};
use super::stream::Wire;
use crate::storage::{self, SnapshotSource};
use crate::zab::{Input, LinkId, Receiver};

/// Room to read into.
const READ_BYTES: usize = 64 << 10;
/// With less room left than this, the read buffer is renewed.
const READ_BYTES_MIN: usize = 16 << 10;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("closed by the other side")]
    Closed,
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("undecodable packet")]
    Stream(#[from] StreamFlaw),
    #[error("a snapshot that is none came behind SNAP")]
    Snapshot(#[source] io::Error),
    #[error("what was to be sent cannot be read")]
    Storage(#[from] storage::Error),
    #[error("no snapshot was opened to be sent")]
    NoSnapshot,
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Broken {
    /// It is in the nature of connections.
    pub(super) fn is_common(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }
}

/// A link, as long as the node knows it.
pub(super) struct Link {
    pub(super) id: LinkId,
    /// The other side, once it is reached.
    pub(super) peer: Cell<Option<SocketAddr>>,
    pub(super) outbox: RefCell<Outbox>,
    /// Something is in the outbox, or it is to be closed.
    pub(super) ready: Notify,
    /// What [`LinkWork::SendSnapshot`](crate::zab::LinkWork::SendSnapshot) will send.
    pub(super) offered: RefCell<Option<Box<dyn SnapshotSource>>>,
    /// Nothing is read any more, and it ends once the outbox is empty.
    pub(super) is_closing: Cell<bool>,
    pub(super) task: RefCell<Option<AbortHandle>>,
}

impl Link {
    pub(super) fn new(id: LinkId) -> Self {
        Self {
            id,
            peer: Cell::new(None),
            outbox: RefCell::default(),
            ready: Notify::new(),
            offered: RefCell::new(None),
            is_closing: Cell::new(false),
            task: RefCell::new(None),
        }
    }

    /// Reads and writes until either fails, or all is written and the link is to be closed.
    pub(super) async fn run(&self, wire: Wire, hub: &Hub) -> Broken {
        let (mut reading, mut writing) = tokio::io::split(wire);
        let ended = tokio::select! {
            ended = self.read_loop(&mut reading, hub) => ended,
            ended = self.write_loop(&mut writing) => ended,
        };
        ended.err().unwrap_or(Broken::Closed)
    }

    async fn read_loop(&self, stream: &mut ReadHalf<Wire>, hub: &Hub) -> Result<(), Broken> {
        let receiver = match self.id {
            LinkId::Leader(_) => Receiver::Learner,
            LinkId::Learner(_) => Receiver::Leader,
        };
        let mut decoder = Decoder::new(receiver, hub.settings.data_bytes_max);
        let mut buffer = BytesMut::new();
        loop {
            hub.room().await;
            if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
                buffer.reserve(READ_BYTES);
            }
            let got = stream.read_buf(&mut buffer).await?;
            if self.is_closing.get() {
                std::future::pending::<()>().await; // Only what is to be written matters now.
            }
            if got == 0 {
                return Err(Broken::Closed);
            }
            while let Next::Snapshot(zxid) = self.take_in(&mut decoder, &mut buffer, hub)? {
                let tree = bulk::receive_tree(stream, &mut buffer, zxid, hub.settings.tree.clone()).await?;
                hub.desk.lay_down(self.id, tree);
                hub.deliver(&mut vec![Input::SnapshotReceived { link: self.id }], 0);
            }
        }
    }

    /// Brings the node all packets that are complete. Those in front of a wrong one count.
    fn take_in(&self, decoder: &mut Decoder, buffer: &mut BytesMut, hub: &Hub) -> Result<Next, StreamFlaw> {
        let (link, before) = (self.id, buffer.len());
        let mut inputs = hub.scratch.take();
        let next = decoder.decode(buffer, |packet| {
            let is_joined = match inputs.last_mut() {
                Some(Input::Packet { packet: last, .. }) => last.join(&packet),
                _ => false,
            };
            if !is_joined {
                inputs.push(Input::Packet { link, packet });
            }
        });
        hub.deliver(&mut inputs, before - buffer.len());
        hub.scratch.replace(inputs);
        next
    }

    async fn write_loop(&self, stream: &mut WriteHalf<Wire>) -> Result<(), Broken> {
        loop {
            let next = self.outbox.borrow_mut().next();
            match next {
                Some(Piece::Packets(packets)) => {
                    stream.write_all(&packets).await?;
                    self.outbox.borrow_mut().wrote(packets);
                }
                Some(Piece::Log(log)) => {
                    bulk::send(stream, move |out| bulk::write_log(log, out)).await?;
                }
                Some(Piece::Snapshot(snapshot)) => {
                    bulk::send(stream, move |out| bulk::write_snapshot(snapshot, out)).await?;
                }
                None if self.is_closing.get() => return Ok(stream.shutdown().await?),
                None => self.ready.notified().await,
            }
        }
    }
}
