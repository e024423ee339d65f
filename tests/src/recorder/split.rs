//! Cuts the bytes of a connection into messages, which TCP knows nothing of.

use bytes::{Buf, Bytes, BytesMut};
use jute::quorum::QuorumPacket;
use jute::{Jute, Reader};

use super::{End, Port};

const SNAP: i32 = 15;
/// Behind a snapshot's body, with its length.
const SNAPSHOT_END: &[u8] = b"\0\0\0\x0aBenWasHere";
/// A version, a server's id, and the length of its address.
const GREETING_HEAD_BYTES: usize = 20;

/// Cuts what one end of a connection sends.
#[derive(Debug)]
pub(super) struct Splitter {
    next: Next,
    buffer: BytesMut,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Greeting,
    Vote,
    Packet,
    Snapshot,
}

impl Splitter {
    pub(super) fn new(port: Port, end: End) -> Self {
        let next = match (port, end) {
            (Port::Election, End::Dialler) => Next::Greeting,
            (Port::Election, End::Listener) => Next::Vote,
            (Port::Quorum, _) => Next::Packet,
        };
        Self { next, buffer: BytesMut::new() }
    }

    /// Takes more bytes, and gives the messages that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        self.buffer.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next_message()).collect()
    }

    fn next_message(&mut self) -> Option<Bytes> {
        let (length, next) = match self.next {
            Next::Greeting => {
                let mut length = self.buffer.get(GREETING_HEAD_BYTES - 4..GREETING_HEAD_BYTES)?;
                (GREETING_HEAD_BYTES + length.get_u32() as usize, Next::Vote)
            }
            Next::Vote => (4 + self.buffer.get(..4)?.get_u32() as usize, Next::Vote),
            Next::Packet => {
                let bytes = Bytes::copy_from_slice(&self.buffer);
                let mut input = Reader::new(&bytes);
                let packet = QuorumPacket::decode(&mut input).ok()?;
                let next = if packet.packet_type == SNAP { Next::Snapshot } else { Next::Packet };
                (bytes.len() - input.remaining(), next)
            }
            Next::Snapshot => {
                let mut windows = self.buffer.windows(SNAPSHOT_END.len());
                let end = windows.position(|window| window == SNAPSHOT_END)?;
                (end + SNAPSHOT_END.len(), Next::Packet)
            }
        };
        if self.buffer.len() < length {
            return None;
        }
        self.next = next;
        Some(self.buffer.split_to(length).freeze())
    }
}
