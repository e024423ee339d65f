//! What servers say to each other.
#![no_main]

use bytes::Bytes;
use jute::Jute;
use jute::quorum::{LearnerInfo, QuorumPacket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(packet) = QuorumPacket::from_bytes(&bytes) {
        assert_eq!(QuorumPacket::from_bytes(&packet.to_bytes()).as_ref(), Ok(&packet));
        if let Some(data) = &packet.data {
            let _ = LearnerInfo::from_bytes(data);
        }
    }
});
