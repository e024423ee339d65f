//! What an ensemble adds, and nothing else: a leader puts all requests in one order, each server has them on its disk,
//! and who asked is answered when a majority has.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::link::{Incoming, Kind, Link, linked};
use super::log::Log;
use super::{Batch, Replies};

/// Which server of an ensemble of three.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The others dial this address.
    Leader(SocketAddr),
    /// The leader is there.
    Follower(SocketAddr),
}

const FOLLOWERS: usize = 2;
const DIAL_AGAIN: Duration = Duration::from_millis(20);

/// Serves the writes of `batch`.
pub(super) async fn serve(part: Part, batch: Rc<Batch>, log: Log) -> anyhow::Result<Infallible> {
    let log = Syncer::start(log);
    spawn_local(batch.clone().send_answers());
    match part {
        Part::Leader(listen) => lead(listen, batch, log).await,
        Part::Follower(leader) => follow(leader, batch, log).await,
    }
}

/// The log, on a thread of its own: what comes during a sync is heard meanwhile.
struct Syncer {
    begin: std::sync::mpsc::Sender<Vec<u8>>,
    ended: mpsc::UnboundedReceiver<io::Result<()>>,
}

impl Syncer {
    fn start(mut log: Log) -> Self {
        let (begin, begun) = std::sync::mpsc::channel::<Vec<u8>>();
        let (end, ended) = mpsc::unbounded_channel();
        std::thread::spawn(move || begun.iter().try_for_each(|bytes| end.send(log.append_and_sync(&bytes))));
        Self { begin, ended }
    }

    async fn append_and_sync(&mut self, requests: Vec<u8>) -> anyhow::Result<()> {
        let gone = "the log's thread ended";
        self.begin.send(requests).context(gone)?;
        Ok(self.ended.recv().await.context(gone)??)
    }
}

/// What the leader has under way. Proposals are numbered from 1.
#[derive(Default)]
struct Leader {
    followers: RefCell<Vec<Rc<Link>>>,
    /// From the followers, and how many batches of each.
    forwarded: RefCell<(Vec<u8>, [u64; FOLLOWERS])>,
    /// How far each disk is, the leader's own last.
    synced: Cell<[u64; FOLLOWERS + 1]>,
    /// Its own clients', by proposal.
    waiting: RefCell<VecDeque<(u64, Replies)>>,
}

async fn lead(listen: SocketAddr, batch: Rc<Batch>, mut log: Syncer) -> anyhow::Result<Infallible> {
    let listener = TcpListener::bind(listen).await?;
    let leader = Rc::new(Leader::default());
    for follower in 0..FOLLOWERS {
        let (link, incoming) = linked(listener.accept().await?.0)?;
        leader.followers.borrow_mut().push(link);
        spawn_local(leader.clone().hear(follower, incoming, batch.clone()));
    }
    let mut number = 0;
    loop {
        number += 1;
        batch.filled.notified().await;
        let (mut requests, replies) = batch.take();
        let (forwarded, counts) = leader.forwarded.take();
        requests.extend_from_slice(&forwarded);
        for (link, count) in leader.followers.borrow().iter().zip(counts) {
            link.put(Kind::Propose, count, &requests);
        }
        leader.waiting.borrow_mut().push_back((number, replies));
        yield_now().await; // The others sync meanwhile.
        log.append_and_sync(requests).await?;
        leader.note_synced(FOLLOWERS, number, &batch);
    }
}

impl Leader {
    async fn hear(
        self: Rc<Self>,
        follower: usize,
        mut incoming: Incoming,
        batch: Rc<Batch>,
    ) -> anyhow::Result<Infallible> {
        loop {
            let message = incoming.next().await?;
            if message.kind == Kind::Forward {
                let (requests, counts) = &mut *self.forwarded.borrow_mut();
                requests.extend_from_slice(&message.requests);
                counts[follower] += 1;
                batch.filled.notify_one();
            } else {
                self.note_synced(follower, message.number, &batch);
            }
        }
    }

    fn note_synced(&self, server: usize, number: u64, batch: &Batch) {
        let before = self.committed();
        let mut synced = self.synced.get();
        synced[server] = number;
        self.synced.set(synced);
        let committed = self.committed();
        if committed == before {
            return;
        }
        for link in &*self.followers.borrow() {
            link.put(Kind::Commit, committed, &[]);
        }
        let mut waiting = self.waiting.borrow_mut();
        while let Some((_, replies)) = waiting.pop_front_if(|(number, _)| *number <= committed) {
            batch.answer(replies);
        }
    }

    /// How far a majority is.
    fn committed(&self) -> u64 {
        let mut synced = self.synced.get();
        synced.sort_unstable();
        synced[FOLLOWERS / 2]
    }
}

/// What a follower has under way.
#[derive(Default)]
struct Follower {
    /// Its clients', by batch as it was forwarded.
    forwarded: RefCell<VecDeque<Replies>>,
    /// Proposals, and how many of those batches each is.
    proposed: RefCell<VecDeque<(u64, u64)>>,
    /// What to sync next, and the last proposal in it.
    unsynced: RefCell<(Vec<u8>, u64)>,
    filled: Notify,
}

async fn follow(leader: SocketAddr, batch: Rc<Batch>, log: Syncer) -> anyhow::Result<Infallible> {
    let stream = loop {
        match TcpStream::connect(leader).await {
            Ok(stream) => break stream,
            Err(_) => sleep(DIAL_AGAIN).await,
        }
    };
    let (link, incoming) = linked(stream)?;
    let follower = Rc::new(Follower::default());
    spawn_local(follower.clone().hear(incoming, batch.clone()));
    spawn_local(follower.clone().sync(log, link.clone()));
    loop {
        batch.filled.notified().await;
        let (requests, replies) = batch.take();
        follower.forwarded.borrow_mut().push_back(replies);
        link.put(Kind::Forward, 0, &requests);
    }
}

impl Follower {
    async fn hear(self: Rc<Self>, mut incoming: Incoming, batch: Rc<Batch>) -> anyhow::Result<Infallible> {
        loop {
            let message = incoming.next().await?;
            let mut proposed = self.proposed.borrow_mut();
            if message.kind == Kind::Propose {
                let (requests, last) = &mut *self.unsynced.borrow_mut();
                requests.extend_from_slice(&message.requests);
                *last += 1;
                proposed.push_back((*last, message.number));
                self.filled.notify_one();
                continue;
            }
            while let Some((_, batches)) = proposed.pop_front_if(|(number, _)| *number <= message.number) {
                self.forwarded
                    .borrow_mut()
                    .drain(..batches as usize)
                    .for_each(|replies| batch.answer(replies));
            }
        }
    }

    async fn sync(self: Rc<Self>, mut log: Syncer, link: Rc<Link>) -> anyhow::Result<Infallible> {
        loop {
            self.filled.notified().await;
            let (requests, last) = {
                let (requests, last) = &mut *self.unsynced.borrow_mut();
                (std::mem::take(requests), *last)
            };
            log.append_and_sync(requests).await?;
            link.put(Kind::Acknowledge, last, &[]);
        }
    }
}
