//! A frame that leaves: bytes, and ranges of files that are sent without passing through us.

use std::fs::File;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, HeaderVersion};

use super::request::Head;

/// A piece of a frame.
#[derive(Debug, Clone)]
pub enum Part {
    /// As they are.
    Bytes(Bytes),
    /// A range of a file, which keeps its bytes as long as it is referred to.
    File {
        /// Where they stand.
        file: Arc<File>,
        /// Of the first byte.
        position: u64,
        /// How many.
        bytes: usize,
    },
}

/// A whole frame with its length.
#[derive(Debug, Clone)]
pub struct Reply {
    /// One after the other.
    pub parts: Vec<Part>,
}

/// A reply could not be written down: a string or a list too long for its version.
#[derive(Debug, thiserror::Error)]
#[error("reply to api {key}, version {version}: {what}")]
pub struct EncodeError {
    key: i16,
    version: i16,
    what: String,
}

impl Reply {
    /// `message` as the answer to the request of `head`.
    ///
    /// # Errors
    /// When the version has no room for what the message says.
    pub fn encode<M: Encodable + HeaderVersion>(head: &Head, message: &M) -> Result<Self, EncodeError> {
        Self::encode_as(head, message, head.version)
    }

    /// `message` in a version of its own: what clients of unknown versions are told stands in version 0.
    ///
    /// # Errors
    /// When the version has no room for what the message says.
    pub fn encode_as<M: Encodable + HeaderVersion>(
        head: &Head,
        message: &M,
        version: i16,
    ) -> Result<Self, EncodeError> {
        let failed =
            |error: &dyn std::fmt::Display| EncodeError { key: head.key, version, what: error.to_string() };
        let size = message.compute_size(version).map_err(|error| failed(&error))?;
        let mut frame = start(head, M::header_version(version) == 1, size);
        message.encode(&mut frame, version).map_err(|error| failed(&error))?;
        let length = i32::try_from(frame.len() - LENGTH).map_err(|error| failed(&error))?;
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        Ok(Self { parts: vec![Part::Bytes(frame.freeze())] })
    }

    /// How long the frame is, its length included.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

impl Part {
    /// How long it is.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { bytes, .. } => *bytes,
        }
    }
}

/// Of the length before each frame.
pub(super) const LENGTH: usize = 4;

/// A frame whose length is still to be filled in, up to where its body begins; `tagged` heads are of version 1.
pub(super) fn start(head: &Head, tagged: bool, body_bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(LENGTH + 4 + 1 + body_bytes);
    frame.put_i32(0);
    frame.put_i32(head.correlation_id);
    if tagged {
        frame.put_u8(0);
    }
    frame
}
