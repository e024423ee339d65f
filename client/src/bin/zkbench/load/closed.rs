//! The closed loop: a connection keeps so many requests on their way, a new one for each reply.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::TcpStream as BlockingStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::{bail, ensure};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::Tally;
use crate::replies::ReplyStream;

const READ_BYTES: usize = 128 * 1024;

thread_local! {
    /// What has just been read, of whichever connection: replies need no buffers of their own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// One connection under load. Replies come in the order of the requests, so what is known of a request on its way
/// is when it was due, once for all that were due together.
#[derive(Debug)]
pub(crate) struct Pipeline {
    stream: TcpStream,
    replies: ReplyStream,
    out: Vec<u8>,
    written: usize,
    /// When they were due, and how many: the oldest first.
    in_flight: VecDeque<(Instant, u64)>,
    in_flight_count: usize,
    next_xid: i32,
    expected_xid: i32,
}

impl Pipeline {
    /// Takes over a connection whose session is open.
    pub(crate) fn new(stream: BlockingStream) -> anyhow::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            replies: ReplyStream::default(),
            out: Vec::new(),
            written: 0,
            in_flight: VecDeque::new(),
            in_flight_count: 0,
            // Far from the xids used to open it.
            next_xid: 1 << 16,
            expected_xid: 1 << 16,
        })
    }

    /// Keeps `outstanding` requests on their way until `next` has none, or `tally` says stop; then waits for the last
    /// reply.
    pub(crate) async fn keep_outstanding(
        &mut self,
        outstanding: usize,
        mut next: impl FnMut(&mut Vec<u8>) -> bool,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let mut stopped = false;
        loop {
            let now = Instant::now();
            while !stopped && self.in_flight_count < outstanding {
                stopped = !tally.borrow_mut().may_send(now) || !self.push(now, &mut next);
            }
            if self.in_flight_count == 0 {
                return Ok(());
            }
            poll_fn(|cx| self.poll_exchange(cx, tally)).await?;
        }
    }

    /// Queues the request that `next` appends, if it does.
    pub(super) fn push(&mut self, due: Instant, mut next: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        let start = self.out.len();
        if !next(&mut self.out) {
            return false;
        }
        self.out[start + 4..start + 8].copy_from_slice(&self.next_xid.to_be_bytes());
        self.next_xid = following(self.next_xid);
        self.in_flight_count += 1;
        match self.in_flight.back_mut() {
            Some((at, count)) if *at == due => *count += 1,
            _ => self.in_flight.push_back((due, 1)),
        }
        true
    }

    /// Requests without a reply.
    pub(super) const fn in_flight_count(&self) -> usize {
        self.in_flight_count
    }

    /// Writes what is queued and takes what has come. Ready once something has.
    pub(super) fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        tally: &RefCell<Tally>,
    ) -> Poll<anyhow::Result<()>> {
        self.poll_write(cx)?;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result?,
            }
            Poll::Ready(self.take(buffer.filled(), tally))
        })
    }

    /// Writes as much as the socket takes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> anyhow::Result<()> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(written) => self.written += written?,
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Accounts for the replies in `bytes`.
    fn take(&mut self, bytes: &[u8], tally: &RefCell<Tally>) -> anyhow::Result<()> {
        ensure!(!bytes.is_empty(), "the server closed a connection");
        let mut tally = tally.borrow_mut();
        let (mut count, mut astray) = (0, None);
        let expected = &mut self.expected_xid;
        self.replies.consume(bytes, |head| {
            if head.xid < 0 {
                return; // An event, or the reply to a ping.
            }
            if head.xid != *expected {
                astray.get_or_insert((head.xid, *expected));
            }
            *expected = following(*expected);
            count += 1;
            if head.err != 0 {
                tally.refused(head.err);
            }
        });
        if let Some((found, expected)) = astray {
            bail!("reply to request {found} where {expected} was due");
        }
        self.settle(count, &mut tally)
    }

    /// The `count` oldest requests have been answered just now.
    fn settle(&mut self, mut count: u64, tally: &mut Tally) -> anyhow::Result<()> {
        let now = Instant::now();
        while count > 0 {
            let Some((due, waiting)) = self.in_flight.front_mut() else {
                bail!("more replies than requests");
            };
            let settled = count.min(*waiting);
            tally.answered(settled, *due, now);
            *waiting -= settled;
            if *waiting == 0 {
                self.in_flight.pop_front();
            }
            count -= settled;
            self.in_flight_count -= settled as usize;
        }
        Ok(())
    }
}

/// Clients count xids from 1 to 2^31 - 1 and over again.
const fn following(xid: i32) -> i32 {
    match xid.checked_add(1) {
        Some(next) => next,
        None => 1,
    }
}
