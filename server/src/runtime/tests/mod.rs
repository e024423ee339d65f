//! A server in this process, and clients that speak bare frames to it over real sockets.

mod audit;
mod handshake;
mod limits;
mod metrics;
mod operating;
mod order;
mod restart;
mod restoring;
mod throttles;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::data::{Acl, AclList};
use jute::frame::write_frame;
use jute::proto::{
    AuthPacket, ConnectRequest, ConnectResponse, ConnectTail, CreateRequest, GetDataRequest, ReplyHeader,
    RequestHeader, SetDataRequest,
};
use jute::{Jute, Op, Reader, Ustring};
use tempfile::TempDir;

use super::Server;
use crate::config::Config;

/// Nothing here takes as long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a directory of its own.
struct Fixture {
    server: Option<Server>,
    dir: TempDir,
    more: String,
}

impl Fixture {
    fn new(more: &str) -> Self {
        let mut fixture =
            Self { server: None, dir: TempDir::new().expect("a directory"), more: more.to_owned() };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        let dir = self.dir.path().display();
        let text = format!(
            "tickTime=500\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\npreAllocSize=1024\ndataDir={dir}\n{}",
            self.more
        );
        let config = Config::parse(&text, Path::new("zoo.cfg"), &[]).expect("a configuration");
        self.server = Some(Server::start(config).expect("a server"));
    }

    fn stop(&mut self) {
        self.server.take().expect("it runs").stop();
    }

    fn connect(&self) -> Client {
        let address = self.server.as_ref().expect("it runs").local_addr();
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, session: 0, password: Bytes::new(), xid: 0 }
    }

    /// A client with a session.
    fn client(&self) -> Client {
        let mut client = self.connect();
        client.open(10_000);
        client
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    session: i64,
    password: Bytes,
    xid: i32,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
    }

    /// The next frame; `None` if the server closed the connection.
    fn frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        if !self.read(&mut len) {
            return None;
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).expect("a length")];
        assert!(self.read(&mut frame), "closed inside a frame");
        Some(frame.into())
    }

    /// False: the connection ended first.
    fn read(&mut self, into: &mut [u8]) -> bool {
        match self.stream.read_exact(into) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no bytes in time"),
            Err(_) => false,
        }
    }

    fn is_closed(&mut self) -> bool {
        self.frame().is_none()
    }

    fn reply(&mut self) -> (ReplyHeader, Bytes) {
        let frame = self.frame().expect("a reply");
        let mut input = Reader::new(&frame);
        (ReplyHeader::decode(&mut input).expect("a header"), input.rest())
    }

    /// Asks for a session, or for the one it had.
    fn ask_session(&mut self, timeout_ms: i32, last_zxid_seen: i64, tail: Option<bool>) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms,
            session_id: self.session,
            password: Some(self.password.clone()),
        };
        let mut bytes = BytesMut::new();
        write_frame(&mut bytes, |out| {
            request.encode(out);
            if let Some(read_only) = tail {
                ConnectTail { read_only }.encode(out);
            }
        });
        self.send(&bytes);
    }

    fn open(&mut self, timeout_ms: i32) -> ConnectResponse {
        self.ask_session(timeout_ms, 0, Some(false));
        let frame = self.frame().expect("an answer to the handshake");
        let response = ConnectResponse::from_bytes(&frame).expect("a response");
        self.session = response.session_id;
        self.password = response.password.clone().unwrap_or_default();
        response
    }

    /// A request's bytes, numbered.
    fn request(&mut self, op: Op, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
        self.xid += 1;
        request(self.xid, op.code(), body)
    }

    fn get(&mut self, path: &'static str, watch: bool) -> BytesMut {
        self.request(Op::GetData, |out| GetDataRequest { path: path.into(), watch }.encode(out))
    }

    fn set(&mut self, path: &'static str, data: &'static [u8]) -> BytesMut {
        let body = SetDataRequest { path: path.into(), data: Some(data.into()), version: -1 };
        self.request(Op::SetData, |out| body.encode(out))
    }

    fn create(&mut self, path: &str, flags: i32) -> BytesMut {
        let acl = AclList::OPEN_UNSAFE;
        let body = CreateRequest { path: Ustring::from(path), data: Some(Bytes::new()), acl, flags };
        self.request(Op::Create, |out| body.encode(out))
    }

    /// Sends a request and waits for its reply.
    fn call(&mut self, request: &[u8]) -> (ReplyHeader, Bytes) {
        self.send(request);
        self.reply()
    }
}

/// Credentials.
fn auth(scheme: &str, auth: &'static [u8]) -> BytesMut {
    let packet = AuthPacket { auth_type: 0, scheme: scheme.into(), auth: Some(auth.into()) };
    request(jute::proto::xid::AUTH, Op::Auth.code(), |out| packet.encode(out))
}

fn request(xid: i32, op: i32, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write_frame(&mut bytes, |out| {
        RequestHeader { xid, op }.encode(out);
        body(out);
    });
    bytes
}
