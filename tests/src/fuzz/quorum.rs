//! What other servers say: streams of packets, votes, greetings.

use bytes::{Bytes, BytesMut};
use server::runtime::quorum::{Decoder, Next};
use server::zab::{Notification, Packet, Receiver};

const DATA_BYTES_MAX: usize = 1 << 20;

/// The stream of one link, in pieces: what is found in it does not depend on them, and is encoded and decoded again.
pub(super) fn quorum_stream(input: &[u8]) {
    let Some((choice, stream)) = input.split_first() else { return };
    let receiver = if choice & 1 == 0 { Receiver::Learner } else { Receiver::Leader };
    let (packets, is_flawed) = decode(receiver, stream.chunks(usize::from(choice >> 1) + 1));
    assert_eq!(decode(receiver, [stream]), (packets.clone(), is_flawed), "in one piece");

    let mut again = BytesMut::new();
    packets.iter().for_each(|packet| packet.encode(&mut again));
    // Names that are not UTF-8 grow when they are replaced, perhaps beyond what a first packet may be.
    let is_whole = !again.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
    if is_whole {
        assert_eq!(decode(receiver, [&*again]), (packets, false), "encoded again");
    }
}

/// All packets up to a flaw or a snapshot, and whether there is a flaw.
fn decode<'a>(receiver: Receiver, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Packet>, bool) {
    let mut decoder = Decoder::new(receiver, DATA_BYTES_MAX);
    let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match decoder.decode(&mut buffer, |packet| packets.push(packet)) {
            Ok(Next::Packet) => {}
            Ok(Next::Snapshot(_)) => return (packets, false),
            Err(_) => return (packets, true),
        }
    }
    (packets, false)
}

/// A message on an election link, or the greeting before.
pub(super) fn election(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if choice & 1 == 0 {
        return server::fuzzing::greeting(bytes);
    }
    if let Ok(vote) = Notification::decode(Bytes::copy_from_slice(bytes)) {
        let newest = Notification { version: Notification::VERSION, ..vote };
        assert_eq!(Notification::decode(newest.encode()).as_ref(), Ok(&newest));
    }
}
