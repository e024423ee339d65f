//! Between the servers of an ensemble: messages, of which all that are due leave in one write.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// A kind, a number, and how many bytes follow.
const HEADER_BYTES: usize = 1 + 8 + 4;
const READ_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A follower's requests, for the leader to put in their place.
    Forward = 1,
    /// Requests in their place; the number says how many of this follower's batches they are.
    Propose = 2,
    /// All up to this proposal is on the follower's disk.
    Acknowledge = 3,
    /// All up to this proposal is on the disks of a majority.
    Commit = 4,
}

pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) requests: BytesMut,
}

/// The way out.
#[derive(Default)]
pub(super) struct Link {
    due: RefCell<Vec<u8>>,
    filled: Notify,
}

/// The way in.
pub(super) struct Incoming {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

/// Both ways of a connection.
pub(super) fn linked(stream: TcpStream) -> io::Result<(Rc<Link>, Incoming)> {
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let link = Rc::new(Link::default());
    spawn_local(link.clone().flush(writing));
    Ok((link, Incoming { half: reading, buffer: BytesMut::new() }))
}

impl Link {
    /// Sent once all tasks that are ready have run.
    pub(super) fn put(&self, kind: Kind, number: u64, requests: &[u8]) {
        let mut due = self.due.borrow_mut();
        due.put_u8(kind as u8);
        due.put_u64(number);
        due.put_u32(requests.len() as u32);
        due.extend_from_slice(requests);
        self.filled.notify_one();
    }

    async fn flush(self: Rc<Self>, mut half: OwnedWriteHalf) -> io::Result<()> {
        loop {
            self.filled.notified().await;
            let due = self.due.take();
            half.write_all(&due).await?;
        }
    }
}

impl Incoming {
    pub(super) async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(mut header) = self.buffer.get(..HEADER_BYTES) {
                let (kind, number, length) = (header.get_u8(), header.get_u64(), header.get_u32() as usize);
                if self.buffer.len() >= HEADER_BYTES + length {
                    self.buffer.advance(HEADER_BYTES);
                    let kinds = [Kind::Forward, Kind::Propose, Kind::Acknowledge, Kind::Commit];
                    let kind = kinds.into_iter().find(|known| *known as u8 == kind);
                    let kind = kind.context("another server speaks another language")?;
                    return Ok(Message { kind, number, requests: self.buffer.split_to(length) });
                }
            }
            self.buffer.reserve(READ_BYTES);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                bail!("another server has gone");
            }
        }
    }
}
