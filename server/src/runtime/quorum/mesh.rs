//! Election links: one to every server that there is something to say to, kept by the server with the larger id.
//! ZooKeeper's `QuorumCnxManager`.
//!
//! Whoever has something to say dials, and says who it is. If the other has the larger id, it hangs up and dials
//! back: so two servers never keep two connections. Only the newest message to each server matters; it is said
//! again when the connection is a new one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::greeting::{Endpoint, Greeting, GreetingFlaw};
use super::hub::Hub;
use super::stream::Wire;
use crate::config::ServerId;
use crate::zab::{Input, Notification};

/// The longest message.
const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// Connections that have not said yet whose they are.
const STRANGERS_MAX: usize = 256;

/// Servers that are known only because they dialed.
const UNKNOWN_MAX: usize = 1024;

/// Between two tries to reach a server. A new message is worth a try at once.
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(50);
const DIAL_AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);

/// How long a server with a larger id may take to dial back. Greeting it again would break what it has built.
const DIAL_BACK_MAX: Duration = Duration::from_millis(500);

/// A server that dialed is dialed back so often, even if there is nothing to say to it.
const TRIES_TO_DIAL_BACK: u32 = 5;

/// A server without an id of its own: an observer that says this is given one.
const NO_ID: ServerId = ServerId(i64::MAX);

pub(super) struct Mesh {
    hub: Rc<Hub>,
    peers: RefCell<BTreeMap<ServerId, Peer>>,
    strangers: Cell<usize>,
    serial: Cell<u64>,
    next_given_id: Cell<i64>,
}

/// Another server.
#[derive(Default)]
struct Peer {
    /// The newest message, its length in front.
    newest: Option<Bytes>,
    /// It was written on the connection that stands.
    is_said: bool,
    /// Where it says that it listens.
    advertised: Vec<Endpoint>,
    connection: Option<Connection>,
    dialer: Option<Dialer>,
}

struct Connection {
    serial: u64,
    task: AbortHandle,
    /// There is something to say.
    news: Rc<Notify>,
}

struct Dialer {
    task: AbortHandle,
    /// There is something new to say.
    hurry: Rc<Notify>,
}

impl Mesh {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            peers: RefCell::default(),
            strangers: Cell::new(0),
            serial: Cell::new(0),
            next_given_id: Cell::new(-1),
        }
    }

    /// Says something to a server, as soon as it can be reached, unless there is something newer by then.
    #[doc(alias = "toSend")]
    pub(super) fn notify(self: &Rc<Self>, to: ServerId, notification: &Notification) {
        let message = notification.encode();
        let mut framed = BytesMut::with_capacity(4 + message.len());
        framed.put_u32(u32::try_from(message.len()).expect("a configuration fits into a message"));
        framed.put_slice(&message);

        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(to).or_default();
        peer.newest = Some(framed.freeze());
        peer.is_said = false;
        match (&peer.connection, &peer.dialer) {
            (Some(connection), _) => connection.news.notify_one(),
            (None, Some(dialer)) => dialer.hurry.notify_one(),
            (None, None) => peer.dialer = Some(self.begin_to_dial(to, 0)),
        }
    }

    /// The membership has changed: members may have moved since they said where they listen, and to those who have
    /// left there is nothing to say unless they ask.
    pub(super) fn on_members(&self) {
        for (server, peer) in self.peers.borrow_mut().iter_mut() {
            if self.hub.is_member(*server) {
                peer.advertised.clear();
            } else if peer.connection.is_none() {
                peer.newest = None;
            }
        }
    }

    /// Somebody dialed.
    pub(super) fn accept(self: &Rc<Self>, stream: TcpStream, address: SocketAddr) {
        if self.strangers.get() >= STRANGERS_MAX {
            return debug!(%address, "too many have dialed the election port and said nothing yet");
        }
        let mut wire = match self.hub.election_sockets().prepare(stream) {
            Ok(wire) => wire,
            Err(error) => return debug!(%address, %error, "connection broke before its first byte"),
        };
        self.strangers.set(self.strangers.get() + 1);
        let mesh = Rc::clone(self);
        spawn_local(async move {
            let greeting = timeout(mesh.hub.settings.greeting_timeout, Greeting::read(&mut wire)).await;
            mesh.strangers.set(mesh.strangers.get() - 1);
            match greeting {
                Ok(Ok(greeting)) => mesh.on_greeting(greeting, wire, address),
                Ok(Err(GreetingFlaw::Read(error))) => {
                    debug!(%address, %error, "hung up on the election port, or reached over another link");
                }
                Ok(Err(flaw)) => warn!(%address, %flaw, "no greeting on the election port"),
                Err(_) => debug!(%address, "silent on the election port"),
            }
        });
    }

    #[doc(alias = "handleConnection")]
    fn on_greeting(self: &Rc<Self>, greeting: Greeting, wire: Wire, address: SocketAddr) {
        let me = self.hub.settings.me;
        let mut server = greeting.server;
        if server == NO_ID {
            server = ServerId(self.next_given_id.replace(self.next_given_id.get() - 1));
        }
        if server == me {
            return warn!(%address, id = %me, "another server has this server's id: check both their myid");
        }
        let mut peers = self.peers.borrow_mut();
        if !peers.contains_key(&server) && peers.len() >= UNKNOWN_MAX {
            return warn!(%address, %server, "too many unknown servers on the election port");
        }
        let peer = peers.entry(server).or_default();
        peer.advertised = greeting.addresses;
        if server > me {
            return self.keep(server, peer, wire, address);
        }
        // It has no connection, whatever stands here: it would not have dialed.
        debug!(%server, %address, "dialing back a server with a smaller id");
        if let Some(connection) = peer.connection.take() {
            connection.task.abort();
        }
        match &peer.dialer {
            Some(dialer) => dialer.hurry.notify_one(),
            None => peer.dialer = Some(self.begin_to_dial(server, TRIES_TO_DIAL_BACK)),
        }
    }

    /// A connection that stays, in place of the one before.
    fn keep(self: &Rc<Self>, server: ServerId, peer: &mut Peer, wire: Wire, address: SocketAddr) {
        debug!(%server, %address, "election link up");
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let news = Rc::new(Notify::new());
        let (mesh, of_task) = (Rc::clone(self), Rc::clone(&news));
        let task = spawn_local(async move {
            let (mut reading, mut writing) = tokio::io::split(wire);
            let ended: io::Result<()> = tokio::select! {
                ended = mesh.hear(server, &mut reading) => ended,
                ended = mesh.say(server, &mut writing, &of_task) => ended,
            };
            debug!(%server, error = ended.err().map(tracing::field::display), "election link down");
            mesh.on_down(server, serial);
        });
        peer.is_said = false;
        let connection = Connection { serial, task: task.abort_handle(), news };
        if let Some(old) = peer.connection.replace(connection) {
            old.task.abort();
        }
        if let Some(dialer) = peer.dialer.take() {
            dialer.task.abort();
        }
    }

    fn on_down(self: &Rc<Self>, server: ServerId, serial: u64) {
        let mut peers = self.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&server) else {
            return;
        };
        if peer.connection.take_if(|connection| connection.serial == serial).is_some()
            && peer.has_news()
            && peer.dialer.is_none()
        {
            peer.dialer = Some(self.begin_to_dial(server, 0));
        }
    }

    /// Brings the node what a server says.
    async fn hear(&self, from: ServerId, stream: &mut ReadHalf<Wire>) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            self.hub.room().await;
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            while let Some(message) = next_message(&mut buffer)? {
                let bytes = message.len();
                match Notification::decode(message) {
                    Ok(notification) => {
                        self.hub.deliver(&mut vec![Input::Notification { from, notification }], bytes);
                    }
                    Err(flaw) => warn!(server = %from, %flaw, "ignored an election message"),
                }
            }
        }
    }

    /// Says the newest, whenever there is something new.
    async fn say(&self, to: ServerId, stream: &mut WriteHalf<Wire>, news: &Notify) -> io::Result<()> {
        loop {
            match self.news_for(to) {
                Some(message) => {
                    stream.write_all(&message).await?;
                    self.note_said(to, &message);
                }
                None => news.notified().await,
            }
        }
    }

    fn news_for(&self, to: ServerId) -> Option<Bytes> {
        let peers = self.peers.borrow();
        peers.get(&to).filter(|peer| peer.has_news()).and_then(|peer| peer.newest.clone())
    }

    fn note_said(&self, to: ServerId, said: &Bytes) {
        if let Some(peer) = self.peers.borrow_mut().get_mut(&to) {
            // By its place: an equal one that came meanwhile was asked for again.
            peer.is_said = peer.newest.as_ref().is_some_and(|newest| newest.as_ptr() == said.as_ptr());
        }
    }

    /// Dials until there is a connection, or nothing to say; at least `tries` times.
    fn begin_to_dial(self: &Rc<Self>, server: ServerId, tries: u32) -> Dialer {
        let hurry = Rc::new(Notify::new());
        let (mesh, of_task) = (Rc::clone(self), Rc::clone(&hurry));
        let task = spawn_local(async move { mesh.dial_until_reached(server, tries, &of_task).await });
        Dialer { task: task.abort_handle(), hurry }
    }

    async fn dial_until_reached(self: &Rc<Self>, server: ServerId, mut tries: u32, hurry: &Notify) {
        let is_mine_to_keep = server < self.hub.settings.me;
        let mut pause = DIAL_AGAIN_AFTER;
        loop {
            // Who is unknown may still dial.
            let endpoints = self.endpoints(server);
            let reached = self.greet(&endpoints).await;
            tries = tries.saturating_sub(1);
            if self.is_done_dialing(server, reached, tries > 0, endpoints.is_empty()) {
                return;
            }
            if is_mine_to_keep {
                let hurried = timeout(pause, hurry.notified()).await.is_ok();
                pause = if hurried { DIAL_AGAIN_AFTER } else { DIAL_AGAIN_AFTER_MAX.min(pause * 2) };
            } else {
                sleep(pause.max(DIAL_BACK_MAX)).await;
                pause = DIAL_AGAIN_AFTER_MAX.min(pause * 2);
            }
        }
    }

    /// Keeps what was dialed, if it is this server's to keep. If not, somebody dials back, or this server dials again.
    fn is_done_dialing(
        self: &Rc<Self>,
        server: ServerId,
        reached: io::Result<(Wire, SocketAddr)>,
        must_try_again: bool,
        is_unknown: bool,
    ) -> bool {
        let mut peers = self.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&server) else {
            return true;
        };
        match reached {
            Ok((wire, address)) if server < self.hub.settings.me => {
                self.keep(server, peer, wire, address);
                return true;
            }
            Ok(_) => {}
            Err(error) => debug!(%server, %error, "cannot reach a server for the election"),
        }
        if is_unknown || (!must_try_again && !peer.has_news()) {
            peer.dialer = None;
            return true;
        }
        false
    }

    /// Where it says that it listens comes first: it must know.
    fn endpoints(&self, server: ServerId) -> Vec<Endpoint> {
        let advertised = self.peers.borrow().get(&server).map(|peer| peer.advertised.clone());
        let mut endpoints = advertised.unwrap_or_default();
        for configured in self.hub.election_endpoints(server) {
            if !endpoints.contains(&configured) {
                endpoints.push(configured);
            }
        }
        endpoints
    }

    /// Dials, and says who dials.
    async fn greet(&self, endpoints: &[Endpoint]) -> io::Result<(Wire, SocketAddr)> {
        let settings = &self.hub.settings;
        let (mut wire, address) = self.hub.election_sockets().dial(endpoints).await?;
        let addresses = self.hub.election_endpoints(settings.me);
        let greeting = Greeting { server: settings.me, addresses }.encode(settings.multi_address);
        wire.write_all(&greeting).await?;
        Ok((wire, address))
    }
}

impl Peer {
    fn has_news(&self) -> bool {
        self.newest.is_some() && !self.is_said
    }
}

/// The next whole message in `buffer`.
fn next_message(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(len) = buffer.first_chunk().map(|len| i32::from_be_bytes(*len)) else {
        return Ok(None);
    };
    let len = usize::try_from(len).ok().filter(|len| (1..=MESSAGE_BYTES_MAX).contains(len));
    let len =
        len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreasonable length of a message"))?;
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    let mut message = buffer.split_to(4 + len);
    Ok(Some(message.split_off(4).freeze()))
}
