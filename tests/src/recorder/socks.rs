//! A SOCKS 5 proxy that remembers what passes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use parking_lot::Mutex;

use super::split::Splitter;
use super::{End, Port, Recording};
use crate::ensemble::{ELECTION_PORT, Id};

/// Proxies, one for each server that dials, and all that has passed through them.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    connections: Arc<Mutex<Vec<Arc<Mutex<Recording>>>>>,
    is_losing: Arc<AtomicBool>,
}

impl Recorder {
    /// Opens a proxy for server `dialler`; gives the options with which a JVM uses it.
    ///
    /// It is there for as long as the test is: a thread waits on it.
    pub(super) fn proxy_for(&self, dialler: Id) -> Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let recorder = self.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let recorder = recorder.clone();
                thread::spawn(move || recorder.carry(dialler, client));
            }
        });
        // Java does not use a proxy for addresses of the loopback, unless the list of exceptions is empty.
        Ok(format!("-DsocksProxyHost=127.0.0.1 -DsocksProxyPort={port} -DsocksNonProxyHosts="))
    }

    /// Whether what is sent from now on gets lost on its way.
    pub(super) fn lose(&self, wanted: bool) {
        self.is_losing.store(wanted, Ordering::SeqCst);
    }

    /// All connections since the last time. What passes on those that are still open is forgotten.
    pub(super) fn take(&self) -> Vec<Recording> {
        let taken = std::mem::take(&mut *self.connections.lock());
        taken.iter().map(|connection| connection.lock().clone()).collect()
    }

    /// Whether any message so far, since the last [`Recorder::take`], is what `wanted` looks for.
    pub(super) fn has(&self, wanted: impl Fn(&Recording) -> bool) -> bool {
        self.connections.lock().iter().any(|connection| wanted(&connection.lock()))
    }

    fn carry(&self, dialler: Id, mut client: TcpStream) -> io::Result<()> {
        let target = accept(&mut client)?;
        let SocketAddr::V4(address) = target else { return Ok(()) };
        let listener = address.ip().octets()[3];
        let server = TcpStream::connect(target);
        // 5 is "connection refused".
        let status = if server.is_ok() { 0 } else { 5 };
        client.write_all(&[5, status, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let server = server?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;

        let port = if target.port() == ELECTION_PORT { Port::Election } else { Port::Quorum };
        let recording = Recording { dialler, listener, port, messages: Vec::new() };
        let recording = Arc::new(Mutex::new(recording));
        self.connections.lock().push(Arc::clone(&recording));
        let back = Wire { from: server.try_clone()?, to: client.try_clone()?, end: End::Listener };
        let there = Wire { from: client, to: server, end: End::Dialler };
        let (other, messages) = (self.clone(), Arc::clone(&recording));
        thread::spawn(move || other.copy(back, &messages));
        self.copy(there, &recording);
        Ok(())
    }

    fn copy(&self, mut wire: Wire, recording: &Mutex<Recording>) {
        let mut splitter = Splitter::new(recording.lock().port, wire.end);
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = wire.from.read(&mut buffer) {
            if self.is_losing.load(Ordering::SeqCst) {
                continue;
            }
            let messages = splitter.push(&buffer[..length]);
            recording.lock().messages.extend(messages.into_iter().map(|message| (wire.end, message)));
            if wire.to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // Either side has closed, or failed: for both that is the end.
        let _ = wire.from.shutdown(Shutdown::Both);
        let _ = wire.to.shutdown(Shutdown::Both);
    }
}

/// One direction of a connection.
struct Wire {
    from: TcpStream,
    to: TcpStream,
    /// Whose bytes these are.
    end: End,
}

/// The server's half of the handshake, until it is known where to.
fn accept(client: &mut TcpStream) -> io::Result<SocketAddr> {
    let mut head = [0; 2];
    client.read_exact(&mut head)?;
    let mut methods = vec![0; usize::from(head[1])];
    client.read_exact(&mut methods)?;
    client.write_all(&[5, 0])?;
    let mut wanted = [0; 10];
    client.read_exact(&mut wanted)?;
    let [5, 1, 0, 1, a, b, c, d, high, low] = wanted else {
        return Err(io::Error::other("not a connection to an IPv4 address"));
    };
    Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}
