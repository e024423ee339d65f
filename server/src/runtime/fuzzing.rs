//! A client's bytes on their way in, without a socket: for fuzzers.

use bytes::{Bytes, BytesMut};
use jute::Jute;
use jute::frame::FrameCodec;
use jute::proto::RequestHeader;

use super::four_letter::Word;
use super::handshake::Handshake;
use super::inbound::Block;
use crate::node::Event;
use crate::session::ConnectionId;

/// What was understood.
#[derive(Debug, Default)]
pub struct TakenIn {
    /// It began with this word, and no more is looked at.
    pub word: Option<Word>,
    /// Payloads of whole frames; the first is the handshake's.
    pub frames: Vec<Bytes>,
    /// The handshake as the node gets it.
    pub handshake: Option<Event>,
    /// Headers of requests.
    pub requests: Vec<RequestHeader>,
    /// A length that no frame may have, a handshake or a request that is none.
    pub is_broken: bool,
    /// What belongs to a frame that has not come as a whole.
    pub rest: Bytes,
}

/// Takes in `pieces` one after the other, as [`shard`](super::shard) does.
pub fn take_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, frame_bytes_max: usize) -> TakenIn {
    let mut taken = TakenIn::default();
    let mut inbox = BytesMut::new();
    for piece in pieces {
        inbox.extend_from_slice(piece);
        if taken.frames.is_empty() {
            taken.word = inbox.first_chunk().and_then(|bytes| Word::from_bytes(*bytes));
        }
        if taken.word.is_some() || taken.is_broken {
            break;
        }
        let mut block = Block::take(&mut inbox, FrameCodec::new(frame_bytes_max));
        while let Some(frame) = block.next_frame() {
            taken.understand(&frame);
            taken.frames.push(frame);
        }
        assert!(block.frames.is_empty(), "a block holds whole frames");
        taken.is_broken |= block.is_broken;
    }
    taken.rest = inbox.freeze();
    taken
}

impl TakenIn {
    fn understand(&mut self, frame: &Bytes) {
        if self.frames.is_empty() {
            let connection = ConnectionId { shard: 0, slot: 0, generation: 0 };
            match Handshake::decode(frame) {
                Ok(handshake) => self.handshake = Some(handshake.into_event(connection)),
                Err(_) => self.is_broken = true,
            }
        } else {
            match RequestHeader::decode(&mut jute::Reader::new(frame)) {
                Ok(header) => self.requests.push(header),
                Err(_) => self.is_broken = true,
            }
        }
    }
}
