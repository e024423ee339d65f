//! Packets out of a stream that has no frames: where one ends shows only when it is read.

use bytes::{Bytes, BytesMut};
use jute::quorum::{LastIdentities, QuorumPacket};
use jute::{DecodeError, PacketType, Reader};

use crate::zab::{MalformedPacket, Packet, Receiver, Zxid};

/// Identities of one client.
const IDENTITIES_MAX: usize = 1000;

/// A first packet says who dialed. Until then nobody is trusted with more memory than that takes.
const FIRST_DATA_BYTES_MAX: usize = 1024;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFlaw {
    /// A length that no packet has.
    #[error("a packet with {what} of length {len}")]
    Length {
        /// Of what.
        what: &'static str,
        /// The length.
        len: i32,
    },
    /// A packet whose fields are none.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// A packet that is none.
    #[error(transparent)]
    Malformed(#[from] MalformedPacket),
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The rest of a packet.
    Packet,
    /// A snapshot's body, as of this zxid, until [`Decoder`] is asked again.
    Snapshot(Zxid),
}

/// Reads one end of one link.
#[derive(Debug)]
#[doc(alias = "BinaryInputArchive")]
pub struct Decoder {
    receiver: Receiver,
    data_bytes_max: usize,
    is_known: bool,
    /// Of the clients whose requests come.
    identities: LastIdentities,
}

impl Decoder {
    /// For the end that `receiver` is; no data may be longer than `data_bytes_max`.
    #[must_use]
    pub fn new(receiver: Receiver, data_bytes_max: usize) -> Self {
        let is_known = receiver == Receiver::Learner;
        Self { receiver, data_bytes_max, is_known, identities: LastIdentities::default() }
    }

    /// Takes all packets that are complete from the front of `buffer`, up to a SNAP, and gives them to `found`. Their
    /// data are slices of what was in the buffer.
    ///
    /// # Errors
    /// When what follows the packets is none: as soon as that shows, and before there is room made for it.
    pub fn decode(&mut self, buffer: &mut BytesMut, found: impl FnMut(Packet)) -> Result<Next, StreamFlaw> {
        let mut end = 0;
        let stop = loop {
            match self.front(&buffer[end..]) {
                Ok(None) => break Ok(Next::Packet),
                Ok(Some(front)) => {
                    end += front.len;
                    self.is_known = true;
                    if let Some(zxid) = front.snapshot {
                        break Ok(Next::Snapshot(zxid));
                    }
                }
                Err(flaw) => break Err(flaw),
            }
        };
        self.read(&buffer.split_to(end).freeze(), found)?;
        stop
    }

    fn read(&mut self, block: &Bytes, mut found: impl FnMut(Packet)) -> Result<(), StreamFlaw> {
        let mut input = Reader::new(block);
        while input.remaining() > 0 {
            let wire = QuorumPacket::decode_next(&mut input, &mut self.identities)?;
            found(Packet::from_wire(wire, self.receiver)?);
        }
        Ok(())
    }

    /// The packet at the front; `None` if more of it must come.
    fn front(&self, bytes: &[u8]) -> Result<Option<Front>, StreamFlaw> {
        let data_bytes_max = if self.is_known { self.data_bytes_max } else { FIRST_DATA_BYTES_MAX };
        let mut scan = Scan { rest: bytes };
        match scan.packet(data_bytes_max) {
            Ok(snapshot) => Ok(Some(Front { len: bytes.len() - scan.rest.len(), snapshot })),
            Err(Stop::Short) => Ok(None),
            Err(Stop::Flaw(flaw)) => Err(flaw),
        }
    }
}

struct Front {
    len: usize,
    /// It is a SNAP, as of this zxid.
    snapshot: Option<Zxid>,
}

enum Stop {
    Short,
    Flaw(StreamFlaw),
}

/// Finds a packet's end by its lengths alone.
struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn packet(&mut self, data_bytes_max: usize) -> Result<Option<Zxid>, Stop> {
        let code = self.int()?;
        let kind = PacketType::from_code(code);
        let kind = kind.ok_or(Stop::Flaw(StreamFlaw::Malformed(MalformedPacket::Type(code))))?;
        let zxid = (i64::from(self.int()?) << 32) | i64::from(self.int()?.cast_unsigned());
        self.sized("data", data_bytes_max)?;
        for _ in 0..self.length("identities", IDENTITIES_MAX)? {
            self.sized("a scheme", data_bytes_max)?;
            self.sized("an identity", data_bytes_max)?;
        }
        Ok((kind == PacketType::Snap).then_some(Zxid(zxid)))
    }

    fn sized(&mut self, what: &'static str, max: usize) -> Result<(), Stop> {
        let len = self.length(what, max)?;
        self.rest = self.rest.get(len..).ok_or(Stop::Short)?;
        Ok(())
    }

    /// A length or a count; -1, for null, is none.
    fn length(&mut self, what: &'static str, max: usize) -> Result<usize, Stop> {
        let len = self.int()?;
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(len),
            Err(_) if len == -1 => Ok(0),
            _ => Err(Stop::Flaw(StreamFlaw::Length { what, len })),
        }
    }

    fn int(&mut self) -> Result<i32, Stop> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*bytes))
    }
}
