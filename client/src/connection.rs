//! The rim: a task that owns the connection. It dials, reads, writes and sleeps; what any of it means is for
//! the [`Session`] to say.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::future::BoxFuture;
use jute::frame::{FrameCodec, FrameError};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant as TokioInstant, Sleep, sleep, timeout};
use tokio_util::codec::Decoder;
use tracing::{debug, warn};

use crate::hosts::{Host, Hosts};
use crate::request::Command;
use crate::session::{Session, Violation};

/// Room made for every read. Many short answers come with one, and long ones with several.
const READ_BYTES: usize = 32 * 1024;
/// How many commands are taken before what they have to say is written.
const COMMANDS_AT_ONCE: usize = 512;
/// A connection that lasts as long is a success. One that breaks sooner, again and again, is no reason to dial
/// without a pause.
const STEADY: Duration = Duration::from_secs(1);
/// While connected to a server that only reads, others are asked this often, then less and less.
const SEARCH_INTERVAL_MIN: Duration = Duration::from_millis(100);
const SEARCH_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How long one of them may take to answer.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("closed by the server")]
    Closed,
    #[error("not heard from for too long")]
    Silent,
    #[error("the session is over")]
    Over,
    #[error("there is a better server")]
    Moved,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame that is none")]
    Frame(#[from] FrameError),
    #[error("a server that breaks the protocol")]
    Violation(#[from] Violation),
}

/// The task behind a client.
#[doc(alias = "ClientCnxn")]
#[doc(alias = "SendThread")]
#[doc(alias = "ClientCnxnSocket")]
pub(crate) struct Driver {
    session: Session,
    hosts: Hosts,
    commands: UnboundedReceiver<Command>,
    /// No more commands will come: all handles have been dropped.
    deserted: bool,
    codec: FrameCodec,
    /// The list of servers was changed such that another one should serve us.
    should_move: bool,
}

impl Driver {
    pub(crate) fn new(
        session: Session,
        hosts: Hosts,
        commands: UnboundedReceiver<Command>,
        codec: FrameCodec,
    ) -> Self {
        Self { session, hosts, commands, deserted: false, codec, should_move: false }
    }

    /// Keeps the session connected until it is over.
    pub(crate) async fn run(mut self) {
        while !self.session.is_over() {
            let (host, pause) = self.hosts.next();
            let Some(mut stream) = self.dial(&host, pause).await else {
                self.on_in_vain();
                continue;
            };
            let (reader, writer) = stream.split();
            let since = now();
            let lost = self.serve(&host, reader, writer).await;
            if now().saturating_duration_since(since) >= STEADY {
                self.hosts.on_served();
            }
            let served = self.session.is_online();
            self.session.on_disconnected();
            if !served {
                self.on_in_vain();
            }
            let id = self.session.id();
            match lost {
                Lost::Violation(_) | Lost::Frame(_) => {
                    warn!(%host, session = %id, %lost, "connection dropped")
                }
                _ => debug!(%host, session = %id, %lost, "connection lost"),
            }
        }
    }

    /// A connection to `host`, unless it can't be had, or the session ends meanwhile.
    async fn dial(&mut self, host: &Host, pause: Duration) -> Option<TcpStream> {
        let limit = self.connect_timeout();
        // A brief session has no time for long pauses. Half of it is random, so that the clients of a lost server
        // don't come all at once.
        let pause = pause.min(self.session.timeout() / 4).mul_f64(rand::rng().random_range(0.5..=1.0));
        let mut attempt = pin!(async move {
            sleep(pause).await;
            timeout(limit, connect(host)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        let mut timer = pin!(sleep(Duration::ZERO));
        while !self.session.is_over() {
            set_timer(timer.as_mut(), self.session.deadline());
            tokio::select! {
                stream = &mut attempt => {
                    return stream.inspect_err(|error| debug!(%host, %error, "no connection")).ok();
                }
                command = self.commands.recv(), if !self.deserted => self.on_command(command, now()),
                () = &mut timer => { self.session.on_tick(now()); }
            }
        }
        None
    }

    /// Serves the session over one connection, until that is of no more use.
    async fn serve<R, W>(&mut self, host: &Host, mut reader: R, mut writer: W) -> Lost
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        // The list may have changed while this one was being dialled.
        self.should_move = !self.hosts.contains(host);
        let handshake_by = now() + self.connect_timeout();
        self.session.on_connected(host, now());
        let mut inbound = BytesMut::new();
        let mut commands = Vec::new();
        let mut search: Option<BoxFuture<'static, Host>> = None;
        let mut timer = pin!(sleep(Duration::ZERO));
        loop {
            inbound.reserve(READ_BYTES);
            let handshaking = !self.session.is_online();
            let due = self.session.deadline().into_iter().chain(handshaking.then_some(handshake_by)).min();
            set_timer(timer.as_mut(), due);
            let unsent = !self.session.out().is_empty();
            // Writing comes first and ends once all is written; requests are limited by those in flight.
            let done: Result<(), Lost> = tokio::select! {
                biased;
                written = writer.write_buf(self.session.out()), if unsent => wrote(written),
                count = self.commands.recv_many(&mut commands, COMMANDS_AT_ONCE), if !self.deserted => {
                    let now = now();
                    if count == 0 {
                        self.on_command(None, now);
                    }
                    commands.drain(..).for_each(|command| self.on_command(Some(command), now));
                    Ok(())
                }
                read = reader.read_buf(&mut inbound) => match read {
                    Ok(0) => Err(Lost::Closed),
                    Ok(_) => self.on_bytes(&mut inbound),
                    Err(error) => Err(error.into()),
                },
                better = or_never(search.as_mut()) => {
                    self.hosts.prefer(&better);
                    Err(Lost::Moved)
                }
                () = &mut timer => Ok(()),
            };
            let late = handshaking && !self.session.is_online() && handshake_by <= now();
            match done {
                Err(lost) => return lost,
                Ok(()) if self.session.is_over() => return Lost::Over,
                Ok(()) if late || !self.session.on_tick(now()) => return Lost::Silent,
                Ok(()) if std::mem::take(&mut self.should_move) => return Lost::Moved,
                Ok(()) => {}
            }
            if handshaking && self.session.is_online() {
                search = self.session.is_read_only().then(|| {
                    let search: BoxFuture<'static, Host> = Box::pin(search_read_write(self.hosts.clone()));
                    search
                });
                debug!(%host, session = %self.session.id(), "connected");
            }
        }
    }

    fn on_bytes(&mut self, inbound: &mut BytesMut) -> Result<(), Lost> {
        let now = now();
        while let Some(frame) = self.codec.decode(inbound)? {
            self.session.on_frame(&frame, now)?;
            if self.session.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn on_command(&mut self, command: Option<Command>, now: Instant) {
        match command {
            Some(Command::Request(request)) => self.session.on_request(request, now),
            Some(Command::Authenticate { scheme, auth, reply }) => {
                self.session.on_authenticate(scheme, auth, reply, now);
            }
            Some(Command::Forget(id)) => self.session.on_forget(id, now),
            Some(Command::UpdateHosts(hosts)) => {
                let current = self.session.server();
                self.should_move = self.hosts.replace(hosts, current.as_ref(), &mut rand::rng());
            }
            Some(Command::Close(reply)) => self.session.on_close(Some(reply), now),
            Some(Command::Detach(reply)) => self.session.on_detach(reply),
            None => {
                self.deserted = true;
                self.session.on_close(None, now);
            }
        }
    }

    fn on_in_vain(&mut self) {
        if self.hosts.all_tried() {
            self.session.on_unreachable();
        }
    }

    /// Such that within one session timeout every server can be tried.
    fn connect_timeout(&self) -> Duration {
        self.session.timeout() / u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the rim")]
fn now() -> Instant {
    TokioInstant::now().into_std()
}

/// Lets `timer` go off at `due` at the latest. One that is set earlier stays: it costs one look in vain, while
/// moving it with every request would cost more.
fn set_timer(timer: std::pin::Pin<&mut Sleep>, due: Option<Instant>) {
    const NOTHING_DUE: Duration = Duration::from_secs(3600);
    let due = TokioInstant::from_std(due.unwrap_or_else(|| now() + NOTHING_DUE));
    if timer.is_elapsed() || due < timer.deadline() || timer.deadline() <= TokioInstant::now() {
        timer.reset(due);
    }
}

fn wrote(written: io::Result<usize>) -> Result<(), Lost> {
    match written {
        Ok(0) => Err(Lost::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn or_never<T>(future: Option<&mut BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Connects to any of the addresses that `host` has now: where its name leads may have changed.
async fn connect(host: &Host) -> io::Result<TcpStream> {
    let mut addresses = match host.name.parse::<IpAddr>() {
        Ok(address) => vec![(address, host.port).into()],
        Err(_) => lookup_host((&*host.name, host.port)).await?.collect::<Vec<_>>(),
    };
    addresses.shuffle(&mut rand::rng());
    let stream = TcpStream::connect(&*addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A server that reads and writes. Asks one after the other, patiently.
async fn search_read_write(mut hosts: Hosts) -> Host {
    let mut interval = SEARCH_INTERVAL_MIN;
    loop {
        sleep(interval).await;
        interval = (interval * 2).min(SEARCH_INTERVAL_MAX);
        let (host, _) = hosts.next();
        if let Ok(Ok(true)) = timeout(SEARCH_TIMEOUT, is_read_write(&host)).await {
            return host;
        }
    }
}

/// Asks with a four-letter word, which takes no session.
async fn is_read_write(host: &Host) -> io::Result<bool> {
    let mut stream = connect(host).await?;
    stream.write_all(b"isro").await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"rw")
}
