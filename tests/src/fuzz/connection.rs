//! All that a client's bytes go through before the server understands a request.

use bytes::BytesMut;
use jute::frame::FrameCodec;
use server::fuzzing::take_in;
use tokio_util::codec::Decoder;

/// Small, so that a frame above it is found soon.
const FRAME_BYTES_MAX: usize = 1024;

/// A stream that arrives in pieces is understood as when it arrives at once. The first byte says how it is cut.
pub(super) fn connection(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = take_in([stream], FRAME_BYTES_MAX);
    let pieces = take_in(stream.chunks(usize::from(*cut).max(1)), FRAME_BYTES_MAX);
    assert_eq!(whole.word, pieces.word);
    assert_eq!(format!("{:?}", whole.handshake), format!("{:?}", pieces.handshake));
    if whole.word.is_some() {
        return;
    }
    // What follows a breach is looked at or not, as it comes; nobody answers it.
    assert_eq!(whole.is_broken, pieces.is_broken);
    if !whole.is_broken {
        assert_eq!((&whole.frames, &whole.requests), (&pieces.frames, &pieces.requests));
        assert_eq!(whole.rest, pieces.rest);
        assert_eq!(whole.frames, frames(stream));
    }
}

/// As the codec of the wire sees them.
fn frames(stream: &[u8]) -> Vec<bytes::Bytes> {
    let mut codec = FrameCodec::new(FRAME_BYTES_MAX);
    let mut buffer = BytesMut::from(stream);
    std::iter::from_fn(|| codec.decode(&mut buffer).expect("no broken length")).collect()
}
