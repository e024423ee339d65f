//! A server that says exactly what the test wants it to say, over a real socket.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::{Builder, Client, EventType, Op};
use futures::{SinkExt, StreamExt};
use jute::frame::FrameCodec;
use jute::proto::{
    ConnectRequest, ConnectResponse, ConnectTail, ReplyHeader, RequestHeader, WatcherEvent, xid,
};
use jute::{Jute, Reader};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;

pub(crate) const SESSION: i64 = 0x0100_0000_0000_0042;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(6);
/// No test should take a hundredth of it.
const LIMIT: Duration = Duration::from_secs(20);

/// What `test` yields, which must be in time.
pub(crate) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, test).await.expect("the test hangs")
}

/// What `asking` yields when its one request is answered with `body`.
pub(crate) async fn answered<T>(peer: &mut Peer, asking: impl Future<Output = T>, body: &[u8]) -> T {
    let answer = async {
        let asked = peer.asked().await;
        peer.answer(asked.xid, 1, 0, body).await;
    };
    in_time(async { tokio::join!(asking, answer).0 }).await
}

/// A client's settings, with a session timeout that the tests don't reach.
pub(crate) fn builder() -> Builder {
    Client::builder().session_timeout(TIMEOUT)
}

/// A port where clients knock.
pub(crate) struct FakeServer {
    listener: TcpListener,
}

/// One connection.
pub(crate) struct Peer {
    pub(crate) frames: Framed<TcpStream, FrameCodec>,
}

/// A request, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) xid: i32,
    pub(crate) op: Op,
    pub(crate) body: Bytes,
}

impl FakeServer {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) async fn accept_raw(&self) -> TcpStream {
        let (stream, _) = in_time(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Takes a connection and grants its client a session.
    pub(crate) async fn accept(&self) -> (ConnectRequest, Peer) {
        let mut peer = Peer { frames: Framed::new(self.accept_raw().await, FrameCodec::default()) };
        let asked = peer.connect_request().await;
        peer.grant(SESSION, TIMEOUT, false).await;
        (asked, peer)
    }

    /// A connected client, and the server's end of its connection.
    pub(crate) async fn client(&self, builder: Builder) -> (Client, Peer) {
        let address = self.address();
        let (client, (_, peer)) =
            in_time(async { tokio::join!(builder.connect(&address), self.accept()) }).await;
        (client.unwrap(), peer)
    }
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { frames: Framed::new(stream, FrameCodec::default()) }
    }

    pub(crate) async fn connect_request(&mut self) -> ConnectRequest {
        ConnectRequest::from_bytes(&self.frame().await.expect("a connect request")).unwrap()
    }

    pub(crate) async fn grant(&mut self, session_id: i64, timeout: Duration, read_only: bool) {
        let mut frame = BytesMut::new();
        let timeout_ms = timeout.as_millis().try_into().unwrap();
        let password = Some(Bytes::from_static(&[7; 16]));
        ConnectResponse { protocol_version: 0, timeout_ms, session_id, password }.encode(&mut frame);
        ConnectTail { read_only }.encode(&mut frame);
        self.frames.send(frame.freeze()).await.unwrap();
    }

    /// The next frame; `None` when the client has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        in_time(self.frames.next()).await?.ok()
    }

    /// The next request that is not a ping.
    pub(crate) async fn asked(&mut self) -> Asked {
        loop {
            let frame = self.frame().await.expect("a request");
            let mut input = Reader::new(&frame);
            let header = RequestHeader::decode(&mut input).unwrap();
            if header.xid != xid::PING {
                return Asked { xid: header.xid, op: Op::from_code(header.op).unwrap(), body: input.rest() };
            }
        }
    }

    /// Answers with a header and what is `behind` it.
    pub(crate) async fn answer(&mut self, xid: i32, zxid: i64, err: i32, behind: &[u8]) {
        self.frames.send(answer(xid, zxid, err, behind)).await.unwrap();
    }

    pub(crate) async fn notify(&mut self, kind: EventType, path: &str) {
        let event = WatcherEvent { event_type: kind.code(), state: 3, path: path.into() };
        self.answer(xid::NOTIFICATION, -1, 0, &event.to_bytes()).await;
    }

    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) {
        self.frames.get_mut().write_all(bytes).await.unwrap();
    }
}

/// An answer's frame, without its length.
pub(crate) fn answer(xid: i32, zxid: i64, err: i32, behind: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    ReplyHeader { xid, zxid, err }.encode(&mut frame);
    frame.extend_from_slice(behind);
    frame.freeze()
}
