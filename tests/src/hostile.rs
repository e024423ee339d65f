//! Clients that mean harm, and one that does not: each test lets the ones do their worst to a real server process, while
//! the other asks on and must be answered.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use jute::proto::{
    ConnectRequest, ConnectResponse, GetDataRequest, ReplyHeader, RequestHeader, SetDataRequest,
};
use jute::{Jute, Op, Reader};

use crate::capture::requests::create;
use crate::process::wait_until;
use crate::service::Service;

/// How long a server may take for anything that is asked in these tests. One that hangs takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that sends what it is told to, byte for byte.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    received: BytesMut,
    xid: i32,
}

impl RawClient {
    /// Connects, and says nothing.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        Self::on(stream)
    }

    /// Connects from another address of this machine.
    pub fn connect_from(from: IpAddr, server: SocketAddr) -> Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&server.into(), PATIENCE)?;
        Self::on(socket.into())
    }

    fn on(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: BytesMut::new(), xid: 0 })
    }

    /// Connects, and opens a session.
    pub fn with_session(server: SocketAddr, timeout_ms: i32) -> Result<Self> {
        let mut client = Self::connect(server)?;
        client.open_session(timeout_ms)?;
        Ok(client)
    }

    /// Opens a session.
    pub fn open_session(&mut self, timeout_ms: i32) -> Result<ConnectResponse> {
        self.carry_on(0, &[0; 16], timeout_ms)
    }

    /// Asks for a session that exists; the answer's timeout is 0 if it does not.
    pub fn carry_on(&mut self, session_id: i64, password: &[u8], timeout_ms: i32) -> Result<ConnectResponse> {
        let password = Some(Bytes::copy_from_slice(password));
        let request =
            ConnectRequest { protocol_version: 0, last_zxid_seen: 0, timeout_ms, session_id, password };
        self.send(&frame(&request.to_bytes()))?;
        let answer = self.frame()?.context("no answer to a handshake")?;
        Ok(ConnectResponse::from_bytes(&answer)?)
    }

    /// The same connection, for another thread to send on.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, received: BytesMut::new(), xid: self.xid })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends as much of `bytes`, over and over, as the server takes until it takes no more or closes; how many.
    pub fn stuff(&mut self, bytes: &[u8], total_max: usize, pause: Duration) -> Result<usize> {
        self.stream.set_write_timeout(Some(pause))?;
        let (mut sent, mut at) = (0, 0);
        while sent < total_max {
            match self.stream.write(&bytes[at..]) {
                Ok(count) => {
                    sent += count;
                    at = (at + count) % bytes.len();
                }
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE))?;
        Ok(sent)
    }

    /// Sends a request; its xid.
    pub fn ask(&mut self, op: Op, body: &impl Jute) -> Result<i32> {
        self.xid += 1;
        let request = request(self.xid, op.code(), &body.to_bytes());
        self.send(&request)?;
        Ok(self.xid)
    }

    /// Sends a request, and waits for its reply: the header, and what stands behind it.
    pub fn call(&mut self, op: Op, body: &impl Jute) -> Result<(ReplyHeader, Bytes)> {
        let xid = self.ask(op, body)?;
        loop {
            let (header, body) = self.reply()?;
            if header.xid == xid {
                return Ok((header, body));
            }
        }
    }

    /// The next reply or event.
    pub fn reply(&mut self) -> Result<(ReplyHeader, Bytes)> {
        let frame = self.frame()?.context("closed where a reply was due")?;
        let mut input = Reader::new(&frame);
        let header = ReplyHeader::decode(&mut input)?;
        Ok((header, input.rest()))
    }

    /// The next frame; `None` if the server closes first.
    pub fn frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(len) = self.received.first_chunk::<4>().map(|len| u32::from_be_bytes(*len) as usize)
                && self.received.len() >= 4 + len
            {
                self.received.advance(4);
                return Ok(Some(self.received.split_to(len).freeze()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// All that comes until the server closes.
    ///
    /// # Errors
    /// When it does not.
    pub fn rest(&mut self) -> Result<Bytes> {
        while self.fill()? {}
        Ok(self.received.split().freeze())
    }

    /// The server has closed the connection, or does so before long.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_ok()
    }

    fn fill(&mut self) -> Result<bool> {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Bytes with their length in front.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("tests send less than 4 GiB");
    [&len.to_be_bytes()[..], payload].concat()
}

/// A request's frame.
pub fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&RequestHeader { xid, op }.to_bytes()[..], body].concat())
}

/// A client that asks for nothing special, one request after the other, and wants each answered.
#[derive(Debug)]
pub struct Bystander {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
}

impl Bystander {
    /// Begins. It comes from an address of its own.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let mut client = RawClient::connect_from([127, 0, 0, 9].into(), server)?;
        client.open_session(60_000)?;
        let path = format!("/bystander-{}", client.stream.local_addr()?.port());
        client.call(Op::Create, &create(&path, ""))?;
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&served));
        let task = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed).to_string();
                write_and_read(&mut client, &path, &number).context("the bystander")?;
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        });
        Ok(Self { stop, served, task })
    }

    /// How many rounds it has been served.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Ends.
    ///
    /// # Errors
    /// When a request of its was not answered, or answered wrongly.
    pub fn finish(self) -> Result<u64> {
        let before = self.served();
        ensure!(
            wait_until(PATIENCE, || self.served() > before || self.task.is_finished()),
            "the bystander waits for an answer"
        );
        self.stop.store(true, Ordering::Relaxed);
        self.task.join().expect("the bystander does not panic")?;
        Ok(self.served.load(Ordering::Relaxed))
    }
}

fn write_and_read(client: &mut RawClient, path: &str, data: &str) -> Result<()> {
    let written = Bytes::copy_from_slice(data.as_bytes());
    let set = SetDataRequest { path: path.into(), data: Some(written.clone()), version: -1 };
    let (header, _) = client.call(Op::SetData, &set)?;
    ensure!(header.err == 0, "a write was refused: {}", header.err);
    let (header, body) = client.call(Op::GetData, &GetDataRequest { path: path.into(), watch: false })?;
    ensure!(header.err == 0, "a read was refused: {}", header.err);
    let read = jute::proto::GetDataResponse::from_bytes(&body)?.data;
    ensure!(read == Some(written), "read {read:?}");
    Ok(())
}

/// What the system knows of a server's process.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Now.
    pub rss_bytes: u64,
    /// At most, since it started.
    pub peak_bytes: u64,
    /// Open files, sockets among them.
    pub files: usize,
}

impl Footprint {
    /// Of the process that serves `service`.
    pub fn of(service: &Service) -> Result<Self> {
        let process = format!("/proc/{}", service.process_id());
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
            Ok(line.context("no such line in /proc")?.trim().parse()?)
        };
        Ok(Self {
            rss_bytes: kib("VmRSS:")? << 10,
            peak_bytes: kib("VmHWM:")? << 10,
            files: std::fs::read_dir(format!("{process}/fd"))?.count(),
        })
    }
}

/// Waits until the server has no more open files than `wanted`.
///
/// # Errors
/// When it keeps them.
pub fn wait_for_files(service: &Service, wanted: usize) -> Result<()> {
    let mut last = usize::MAX;
    let closed = wait_until(PATIENCE, || {
        last = Footprint::of(service).map_or(usize::MAX, |footprint| footprint.files);
        last <= wanted
    });
    if !closed {
        bail!("{last} files are open, where {wanted} would do");
    }
    Ok(())
}

/// Bytes without sense, the same for the same seed: xorshift.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(len)
    .collect()
}
