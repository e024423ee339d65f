//! Frames between client and server: an int length, then that many bytes, both ways.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// `jute.maxbuffer`, unless configured: one byte less than a mebibyte.
pub const FRAME_BYTES_MAX: usize = 0xf_ffff;

/// A length that no frame may have. The connection cannot be used any further.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Negative, or above the limit.
    #[error("frame of {len} bytes, where 0 to {max} are allowed")]
    Length {
        /// As it stood on the wire.
        len: i32,
        /// The limit in force.
        max: usize,
    },
    /// The connection failed.
    #[error("connection failed")]
    Io(#[from] std::io::Error),
}

/// Cuts a stream into frames, and puts lengths in front of them.
#[derive(Debug, Clone, Copy)]
pub struct FrameCodec {
    frame_bytes_max: usize,
}

impl FrameCodec {
    /// Refuses to read frames longer than `frame_bytes_max`.
    #[must_use]
    pub const fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max }
    }

    /// The length of the frame at the front of `src`, once its four bytes are there.
    ///
    /// # Errors
    /// When it is no length that a frame may have.
    pub fn peek(&self, src: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = src.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*prefix);
        match usize::try_from(len) {
            Ok(bytes) if bytes <= self.frame_bytes_max => Ok(Some(bytes)),
            _ => Err(FrameError::Length { len, max: self.frame_bytes_max }),
        }
    }
}

impl Default for FrameCodec {
    fn default() -> Self {
        Self::new(FRAME_BYTES_MAX)
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    /// Takes the next whole frame off `src`, without copying it. Room for a long one is made as its bytes
    /// come, never on the word of its length.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(len) = self.peek(src)? else {
            return Ok(None);
        };
        if src.len() < 4 + len {
            return Ok(None);
        }
        src.advance(4);
        Ok(Some(src.split_to(len).freeze()))
    }
}

impl Encoder<Bytes> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, payload: Bytes, dst: &mut BytesMut) -> Result<(), FrameError> {
        write_frame(dst, |out| out.put_slice(&payload));
        Ok(())
    }
}

/// Appends a frame whose payload `body` writes: the length is filled in afterwards, so nothing is copied.
pub fn write_frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    let len = i32::try_from(out.len() - start - 4).expect("a frame is below 2^31 bytes");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}
