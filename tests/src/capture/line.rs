//! One connection, as bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use bytes::{Buf as _, Bytes, BytesMut};

/// How long a server may take to answer. Only a server that is wrong takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came next on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// A frame, without its length.
    Frame(Bytes),
    /// The server closed the connection.
    Closed,
    /// Nothing, for longer than any server needs.
    Silence,
}

#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    received: BytesMut,
    closed: bool,
}

impl Line {
    pub(super) fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: BytesMut::new(), closed: false })
    }

    /// Sends bytes as they are. If the server has gone, reading will tell.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a frame.
    pub(super) fn send_frame(&mut self, payload: &[u8]) {
        let len = i32::try_from(payload.len()).expect("scripts send short frames");
        self.send(&[&len.to_be_bytes()[..], payload].concat());
    }

    /// What comes next.
    pub(super) fn receive(&mut self) -> Result<Came> {
        loop {
            if let Some(prefix) = self.received.first_chunk::<4>() {
                let len = u32::from_be_bytes(*prefix) as usize;
                if self.received.len() >= 4 + len {
                    self.received.advance(4);
                    return Ok(Came::Frame(self.received.split_to(len).freeze()));
                }
            }
            match self.fill()? {
                Some(0) => return Ok(Came::Closed),
                Some(_) => {}
                None => return Ok(Came::Silence),
            }
        }
    }

    /// Everything until the server closes.
    pub(super) fn receive_all(&mut self) -> Result<Bytes> {
        while self.fill()?.is_some_and(|count| count > 0) {}
        Ok(self.received.split().freeze())
    }

    /// The server has closed it, and all it sent has been read.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn fill(&mut self) -> Result<Option<usize>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                self.closed |= count == 0;
                Ok(Some(count))
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    self.closed = true;
                    Ok(Some(0))
                }
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(None),
                ErrorKind::Interrupted => self.fill(),
                _ => Err(error.into()),
            },
        }
    }
}
