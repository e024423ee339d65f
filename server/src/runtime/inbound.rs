//! Bytes off a socket, cut into whole frames without copying them.

use bytes::{Buf, Bytes, BytesMut};
use jute::frame::FrameCodec;
use jute::{Op, OpKind};

/// Whole frames, one behind the other as they came.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) frames: Bytes,
    /// Among them are requests that look at the tree.
    pub(super) has_reads: bool,
    /// What follows the frames has a length that no frame may have.
    pub(super) is_broken: bool,
}

impl Block {
    /// Takes all whole frames off the front of `buffer`.
    pub(super) fn take(buffer: &mut BytesMut, codec: FrameCodec) -> Self {
        let (mut end, mut has_reads, mut is_broken) = (0, false, false);
        loop {
            let rest = &buffer[end..];
            match codec.peek(rest) {
                Ok(Some(len)) if rest.len() >= 4 + len => {
                    has_reads |= is_read(&rest[4..4 + len]);
                    end += 4 + len;
                }
                Ok(_) => break,
                Err(_) => {
                    is_broken = true;
                    break;
                }
            }
        }
        Self { frames: buffer.split_to(end).freeze(), has_reads, is_broken }
    }

    /// The next frame's payload.
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        let len = usize::try_from(i32::from_be_bytes(*self.frames.first_chunk()?)).ok()?;
        self.frames.advance(4);
        Some(self.frames.split_to(len))
    }
}

/// A request that is answered from the tree: all that does not go through the node.
fn is_read(frame: &[u8]) -> bool {
    let code = frame.get(4..8).and_then(|code| code.first_chunk());
    let op = code.and_then(|code| Op::from_code(i32::from_be_bytes(*code)));
    op.is_some_and(|op| op == Op::Ping || op.kind() == OpKind::Read)
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use jute::Jute;
    use jute::frame::write_frame;
    use jute::proto::RequestHeader;

    use super::*;

    fn request(op: Op) -> BytesMut {
        let mut out = BytesMut::new();
        write_frame(&mut out, |out| RequestHeader { xid: 1, op: op.code() }.encode(out));
        out
    }

    #[test]
    fn whole_frames_are_taken_and_the_rest_stays() {
        let mut buffer = request(Op::Create);
        buffer.extend_from_slice(&request(Op::SetData));
        buffer.extend_from_slice(&request(Op::GetData)[..7]);
        let mut block = Block::take(&mut buffer, FrameCodec::default());
        assert!(!block.has_reads, "the read has not arrived as a whole");
        assert_eq!(block.next_frame().map(|frame| frame.len()), Some(8));
        assert_eq!(block.next_frame().map(|frame| frame.len()), Some(8));
        assert_eq!(block.next_frame(), None);
        assert_eq!(buffer.len(), 7);
    }

    #[test]
    fn frames_in_front_of_a_bad_length_are_still_served() {
        let mut buffer = request(Op::GetData);
        buffer.put_i32(-1);
        let block = Block::take(&mut buffer, FrameCodec::default());
        assert!(block.has_reads && block.is_broken);
        assert_eq!(block.frames.len(), 12);
    }
}
