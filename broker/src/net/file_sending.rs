//! A reply on its way out: bytes are written, ranges of files go by `sendfile`, without a copy of ours.

use std::io;

use bytes::{Buf, Bytes};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::wire::{Part, Reply};

/// Sends all of `reply`.
///
/// # Errors
/// The connection's, and `UnexpectedEof` when a file ends before its range: then the frame cannot be finished.
pub(super) async fn send(write: &OwnedWriteHalf, reply: Reply) -> io::Result<()> {
    let stream: &TcpStream = write.as_ref();
    let mut parts = reply.parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        match part {
            Part::Bytes(bytes) => send_bytes(stream, bytes, parts.peek().is_some()).await?,
            Part::File { file, position, bytes } => send_range(stream, &file, position, bytes).await?,
        }
    }
    Ok(())
}

/// With `more` to follow the kernel waits for it before it sends a packet that is not full.
async fn send_bytes(stream: &TcpStream, mut bytes: Bytes, more: bool) -> io::Result<()> {
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    while !bytes.is_empty() {
        let sent =
            stream.async_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, &bytes, flags)?)).await?;
        bytes.advance(sent);
    }
    Ok(())
}

async fn send_range(
    stream: &TcpStream,
    file: &std::fs::File,
    mut position: u64,
    bytes: usize,
) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut from = position;
                Ok(rustix::fs::sendfile(stream, file, Some(&mut from), left)?)
            })
            .await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        position += sent as u64;
        left -= sent;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn ranges_of_files_go_between_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (server, _) = listener.accept().await.expect("accepted");

        let content: Vec<u8> = (0..3_000_000u32).map(|at| at as u8).collect();
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(&content, 0).expect("written");
        let range = Part::File { file: Arc::new(file), position: 7, bytes: 2_000_000 };
        let parts = vec![Part::Bytes(Bytes::from_static(b"<")), range, Part::Bytes(Bytes::from_static(b">"))];

        let (_read, write) = server.into_split();
        let sending = tokio::spawn(async move { send(&write, Reply { parts }).await });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("received");
        sending.await.expect("no panic").expect("sent");
        assert_eq!(received.len(), 2_000_002);
        assert_eq!(received[1..2_000_001], content[7..2_000_007]);
        assert_eq!((received[0], received[2_000_001]), (b'<', b'>'));
    }

    #[tokio::test]
    async fn a_range_that_its_file_does_not_have_breaks_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let _client = TcpStream::connect(address).await.expect("connected");
        let (server, _) = listener.accept().await.expect("accepted");
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"short", 0).expect("written");
        let parts = vec![Part::File { file: Arc::new(file), position: 0, bytes: 6 }];
        let error = send(&server.into_split().1, Reply { parts }).await.expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
