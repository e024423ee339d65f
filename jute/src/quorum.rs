//! `org.apache.zookeeper.server.quorum`: what servers say to each other on the quorum port.

use std::sync::Arc;

use bytes::Bytes;

use crate::data::Id;
use crate::reader::{DecodeError, Reader};
use crate::record::{Jute, record};

/// Longer ones are decoded each time.
const KEPT_BYTES_MAX: usize = 4096;

record! {
    /// Who a learner is: the data of its first packet.
    #[derive(Copy)]
    pub struct LearnerInfo {
        pub server_id: i64,
        /// 0x10000.
        pub protocol_version: i32,
        pub config_version: i64,
    }

    /// One packet of the stream between leader and learner. It has no length in front.
    pub struct QuorumPacket {
        /// A [`PacketType`](crate::PacketType).
        pub packet_type: i32,
        pub zxid: i64,
        pub data: Option<Bytes>,
        /// Identities of the client whose request this is.
        pub authinfo: Option<Arc<[Id]>>,
    }

    /// One step of the SASL exchange between servers.
    pub struct QuorumAuthPacket {
        /// -0xa0dbcafecafe1234.
        pub magic: i64,
        /// 0 in progress, 1 success, -1 error.
        pub status: i32,
        pub token: Option<Bytes>,
    }
}

/// The identities that came last in a stream of packets. A client's come with each of its requests: those that come
/// again are not decoded again.
#[derive(Debug, Default)]
pub struct LastIdentities {
    /// As they came; nothing, if none have.
    encoded: Vec<u8>,
    identities: Option<Arc<[Id]>>,
}

impl QuorumPacket {
    /// [`Jute::decode`] of the next packet of a stream, which is `last`'s. Identities are no slices of the frame.
    ///
    /// # Errors
    /// See [`Jute::decode`].
    pub fn decode_next(input: &mut Reader<'_>, last: &mut LastIdentities) -> Result<Self, DecodeError> {
        let within = |field| move |error: DecodeError| error.within("QuorumPacket", field);
        Ok(Self {
            packet_type: input.int().map_err(within("packet_type"))?,
            zxid: input.long().map_err(within("zxid"))?,
            data: input.buffer().map_err(within("data"))?,
            authinfo: last.decode(input).map_err(within("authinfo"))?,
        })
    }
}

impl LastIdentities {
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<Arc<[Id]>>, DecodeError> {
        if !self.encoded.is_empty() && input.skip(&self.encoded) {
            return Ok(self.identities.clone());
        }
        let ahead = input.ahead();
        let Some(identities) = Option::<Vec<Id>>::decode(input)? else {
            return Ok(None);
        };
        // In memory of their own: they are not to hold on to the frame.
        let identities: Arc<[Id]> = identities.iter().map(|id| Id::new(&id.scheme, &id.id)).collect();
        let encoded = &ahead[..ahead.len() - input.remaining()];
        if encoded.len() <= KEPT_BYTES_MAX {
            self.encoded.clear();
            self.encoded.extend_from_slice(encoded);
            self.identities = Some(Arc::clone(&identities));
        }
        Ok(Some(identities))
    }
}
