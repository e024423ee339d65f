//! `org.apache.zookeeper.server.quorum`: what servers say to each other on the quorum port.

use bytes::Bytes;

use crate::data::Id;
use crate::record::record;

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
        pub authinfo: Option<Vec<Id>>,
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
