//! A stream that arrives in pieces: the same frames come out as when it arrives at once, or the same refusal.
#![no_main]

use bytes::{Bytes, BytesMut};
use jute::frame::FrameCodec;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fn frames(pieces: &[&[u8]]) -> (Vec<Bytes>, bool) {
    let mut codec = FrameCodec::new(1024);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

fuzz_target!(|input: (usize, &[u8])| {
    let (at, bytes) = input;
    let (head, tail) = bytes.split_at(at % (bytes.len() + 1));
    assert_eq!(frames(&[bytes]), frames(&[head, tail]));
});
