//! All links: dialed by learners, or dialed to the leader.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::hub::Hub;
use super::link::{Broken, Link};
use super::masters;
use super::outbox::Piece;
use super::stream::Wire;
use crate::config::ServerId;
use crate::storage::{LogRange, SnapshotSource};
use crate::zab::{Input, LinkId, LinkWork, Packet, Recipients, Violation, Zxid};

/// Links at once. The peer sends learners away before that; this is for those it has not seen yet.
const LINKS_MAX: usize = 1024;

/// A leader that was just elected may not have its port open: how long a learner waits between its tries.
const DIAL_AGAIN_AFTER_MS: [u64; 6] = [10, 20, 50, 100, 200, 400];

/// How long a link that is to be closed may take to take what was sent.
const FLUSH_MAX: Duration = Duration::from_secs(5);

pub(super) struct Links {
    hub: Rc<Hub>,
    links: RefCell<BTreeMap<LinkId, Rc<Link>>>,
    accepted: Cell<u32>,
    scratch: RefCell<BytesMut>,
}

impl Links {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self { hub, links: RefCell::default(), accepted: Cell::new(0), scratch: RefCell::default() }
    }

    /// A learner dialed.
    pub(super) fn accept(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        if self.links.borrow().len() >= LINKS_MAX {
            return debug!(%peer, "too many links, turned away a learner");
        }
        let wire = match self.hub.quorum_sockets().prepare(stream) {
            Ok(wire) => wire,
            Err(error) => return debug!(%peer, %error, "a learner's connection broke before its first byte"),
        };
        self.accepted.set(self.accepted.get().wrapping_add(1));
        let id = LinkId::Learner(self.accepted.get());
        debug!(?id, %peer, "a learner dialed");
        self.begin(id, move |_| async move { Ok((wire, peer)) });
    }

    /// Dials the leader.
    pub(super) fn dial(self: &Rc<Self>, id: LinkId, server: ServerId) {
        self.hub.desk.clear();
        self.begin(id, move |hub| async move {
            let mut delays = DIAL_AGAIN_AFTER_MS.into_iter();
            loop {
                let delay = delays.next();
                let failure = match masters::reach(&hub, server, delay.is_none()).await {
                    Ok(connected) => return Ok(connected),
                    Err(failure) => failure,
                };
                let Some(delay) = delay else {
                    warn!(%server, error = %failure, "cannot reach the leader");
                    return Err(failure);
                };
                sleep(Duration::from_millis(delay)).await;
            }
        });
    }

    fn begin<C, F>(self: &Rc<Self>, id: LinkId, connect: C)
    where
        C: FnOnce(Rc<Hub>) -> F + 'static,
        F: Future<Output = io::Result<(Wire, SocketAddr)>>,
    {
        let link = Rc::new(Link::new(id));
        self.links.borrow_mut().insert(id, Rc::clone(&link));
        let (links, of_task) = (Rc::clone(self), Rc::clone(&link));
        let task = spawn_local(async move {
            let why = match connect(Rc::clone(&links.hub)).await {
                Ok((wire, peer)) => {
                    debug!(?id, %peer, "link up");
                    of_task.peer.set(Some(peer));
                    links.hub.deliver(&mut vec![Input::LinkUp(id)], 0);
                    of_task.run(wire, &links.hub).await
                }
                Err(failure) => Broken::Io(failure),
            };
            links.end(id, &why);
        });
        *link.task.borrow_mut() = Some(task.abort_handle());
    }

    pub(super) fn send(&self, to: &Recipients, packet: &Packet) {
        match to {
            Recipients::One(id) => self.put(*id, |link| Ok(link.outbox.borrow_mut().push_packet(packet)?)),
            Recipients::Many(ids) => {
                let mut scratch = self.scratch.borrow_mut();
                scratch.clear();
                packet.encode(&mut scratch);
                for id in ids.iter() {
                    self.put(*id, |link| Ok(link.outbox.borrow_mut().push_encoded(&scratch)?));
                }
            }
        }
    }

    pub(super) fn send_log(&self, id: LinkId, after: Zxid, upto: Zxid) {
        self.put(id, |link| {
            // At once: when its turn comes, an old file may have been purged.
            let settings = &self.hub.settings;
            let log = LogRange::open(&*settings.disk, &settings.log_dir, after, upto)?;
            link.outbox.borrow_mut().push(Piece::Log(log));
            Ok(())
        });
    }

    /// Keeps what [`Links::send_snapshot`] will send.
    pub(super) fn offer(&self, id: LinkId, snapshot: Box<dyn SnapshotSource>) {
        if let Some(link) = self.links.borrow().get(&id) {
            *link.offered.borrow_mut() = Some(snapshot);
        }
    }

    pub(super) fn send_snapshot(&self, id: LinkId) {
        self.put(id, |link| {
            let snapshot = link.offered.borrow_mut().take().ok_or(Broken::NoSnapshot)?;
            link.outbox.borrow_mut().push(Piece::Snapshot(snapshot));
            Ok(())
        });
    }

    /// Ends a link for the node, which hears of it no more.
    pub(super) fn close(&self, id: LinkId, why: Option<&Violation>) {
        let Some(link) = self.links.borrow_mut().remove(&id) else {
            return;
        };
        let task = link.task.borrow_mut().take();
        let peer = link.peer.get().map(tracing::field::display);
        if let Some(violation) = why {
            warn!(?id, peer, %violation, "closed a link");
        }
        if why.is_some() || peer.is_none() {
            return task.iter().for_each(|task| task.abort());
        }
        link.is_closing.set(true);
        link.ready.notify_one();
        spawn_local(async move {
            sleep(FLUSH_MAX).await;
            task.iter().for_each(|task| task.abort());
        });
    }

    /// Puts something into a link's outbox, if there is such a link.
    fn put(&self, id: LinkId, put: impl FnOnce(&Link) -> Result<(), Broken>) {
        let links = self.links.borrow();
        let Some(link) = links.get(&id) else {
            return;
        };
        // Else the writer knows, or will see it when it has written what it is at.
        let is_news = link.outbox.borrow().is_empty();
        let done = put(link);
        if is_news {
            link.ready.notify_one();
        }
        if let Err(why) = done {
            let task = link.task.borrow_mut().take();
            drop(links);
            self.end(id, &why);
            task.iter().for_each(|task| task.abort());
        }
    }

    /// Tells the node, unless it was the node that closed it.
    fn end(&self, id: LinkId, why: &Broken) {
        let Some(link) = self.links.borrow_mut().remove(&id) else {
            return;
        };
        let (peer, cause) =
            (link.peer.get().map(tracing::field::display), why.source().map(ToString::to_string));
        if why.is_common() {
            debug!(?id, peer, %why, cause, "link down");
        } else {
            warn!(?id, peer, %why, cause, "link down");
        }
        self.hub.deliver(&mut vec![Input::LinkDown(id)], 0);
    }

    /// What the node wants of links, but for votes.
    pub(super) fn carry_out(self: &Rc<Self>, work: LinkWork) {
        match work {
            LinkWork::Dial { link, server } => self.dial(link, server),
            LinkWork::Send { to, packet } => self.send(&to, &packet),
            LinkWork::SendLog { link, after, upto } => self.send_log(link, after, upto),
            LinkWork::SendSnapshot { link } => self.send_snapshot(link),
            LinkWork::Close { link, why } => self.close(link, why.as_ref()),
            LinkWork::Notify { .. } => {}
        }
    }
}
