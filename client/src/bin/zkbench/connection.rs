//! A connection for everything that is not the load itself: blocking, one request at a time or a few by hand.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use jute::data::AclList;
use jute::proto::{
    ConnectRequest, ConnectResponse, ConnectTail, CreateRequest, CreateResponse, ReplyHeader, RequestHeader,
    xid,
};
use jute::{CreateMode, ErrorCode, Jute, Op};

use crate::Target;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A session and the connection it lives on.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    last_xid: i32,
}

/// A frame from the server, its header read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) header: ReplyHeader,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Connects and opens a new session.
    pub(crate) fn open(server: SocketAddr, timeout_ms: i32) -> anyhow::Result<Self> {
        Self::open_within(server, timeout_ms, ANSWER_WITHIN)
    }

    /// The same, where connecting and every later answer may take no longer than `patience`.
    pub(crate) fn open_within(
        server: SocketAddr,
        timeout_ms: i32,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, patience)
            .with_context(|| format!("connecting to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut connection = Self { stream, received: BytesMut::new(), last_xid: 0 };
        connection.shake_hands(timeout_ms).with_context(|| format!("opening a session with {server}"))?;
        Ok(connection)
    }

    /// `count` sessions, spread over the target's servers.
    pub(crate) fn open_many(target: &Target, count: usize) -> anyhow::Result<Vec<Self>> {
        let servers = target.addresses()?;
        let each = servers.iter().cycle().take(count);
        each.map(|server| Self::open(*server, target.timeout_ms)).collect()
    }

    fn shake_hands(&mut self, timeout_ms: i32) -> anyhow::Result<()> {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms,
            session_id: 0,
            password: Some(Bytes::from_static(&[0; 16])),
        };
        let mut out = BytesMut::new();
        append_frame(&mut out, &[], |out| {
            request.encode(out);
            ConnectTail { read_only: false }.encode(out);
        });
        self.stream.write_all(&out)?;
        let response = ConnectResponse::from_bytes(&self.frame()?)?;
        ensure!(response.timeout_ms > 0, "the server granted no session");
        Ok(())
    }

    /// Sends one request and does not wait for the reply.
    pub(crate) fn send(&mut self, op: Op, body: &impl Jute) -> anyhow::Result<()> {
        let xid = self.next_xid();
        let mut out = BytesMut::with_capacity(12 + body.encoded_len());
        append_frame(&mut out, &[xid, op.code()], |out| body.encode(out));
        Ok(self.stream.write_all(&out)?)
    }

    /// Sends a sign of life; its reply is to be received.
    pub(crate) fn send_ping(&mut self) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        append_frame(&mut out, &[xid::PING, Op::Ping.code()], |_| {});
        Ok(self.stream.write_all(&out)?)
    }

    /// The next frame, whatever it is.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Reply> {
        let mut body = self.frame()?;
        let header = ReplyHeader::from_bytes(&body)?;
        body.advance(header.encoded_len());
        Ok(Reply { header, body })
    }

    /// Sends one request and waits for its reply, passing over events.
    pub(crate) fn call(&mut self, op: Op, body: &impl Jute) -> anyhow::Result<Reply> {
        self.send(op, body)?;
        loop {
            let reply = self.receive()?;
            if reply.header.xid != xid::NOTIFICATION {
                return Ok(reply);
            }
        }
    }

    /// Creates a znode and says how it came to be called; one that is there already will do as well.
    pub(crate) fn create(&mut self, path: &str, data: &[u8], mode: CreateMode) -> anyhow::Result<String> {
        let request = CreateRequest {
            path: path.into(),
            data: Some(Bytes::copy_from_slice(data)),
            acl: AclList::OPEN_UNSAFE,
            flags: mode.code(),
        };
        let reply = self.call(Op::Create, &request)?;
        match ErrorCode::from_code(reply.header.err) {
            None => Ok(CreateResponse::from_bytes(&reply.body)?.path.to_string()),
            Some(ErrorCode::NodeExists) => Ok(path.to_owned()),
            Some(error) => bail!("creating {path}: {error}"),
        }
    }

    /// The socket, between two requests.
    pub(crate) fn into_stream(self) -> TcpStream {
        debug_assert!(self.received.is_empty(), "a reply was left unread");
        self.stream
    }

    fn next_xid(&mut self) -> i32 {
        self.last_xid = self.last_xid.checked_add(1).unwrap_or(1);
        self.last_xid
    }

    fn frame(&mut self) -> anyhow::Result<Bytes> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(prefix) = self.received.first_chunk::<4>() {
                let len =
                    usize::try_from(i32::from_be_bytes(*prefix)).context("a frame of negative length")?;
                if self.received.len() >= 4 + len {
                    self.received.advance(4);
                    return Ok(self.received.split_to(len).freeze());
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from the server"),
            }
        }
    }
}

/// Appends a length, `ints` and what `body` appends.
fn append_frame(out: &mut BytesMut, ints: &[i32], body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    ints.iter().for_each(|int| out.put_i32(*int));
    body(out);
    let len = i32::try_from(out.len() - start - 4).expect("a request fits in a frame");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// A request as a frame whose xid is still 0.
pub(crate) fn request_frame(op: Op, body: &impl Jute) -> BytesMut {
    let header = RequestHeader { xid: 0, op: op.code() };
    let mut out = BytesMut::new();
    append_frame(&mut out, &[header.xid, header.op], |out| body.encode(out));
    out
}
