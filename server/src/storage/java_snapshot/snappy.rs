//! The framing of snappy-java's `SnappyOutputStream`: a header of 16 bytes, then blocks, each with its length in
//! front. It is not the snappy project's frame format, which is younger.

use std::io::{self, Read, Write};

pub(super) const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Version, and the oldest version that can read it.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// What snappy-java puts into a block.
const BLOCK_BYTES: usize = 32 << 10;
/// A block above this is none: snappy-java allows 512 MiB, nobody uses more than a few.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// Decompresses.
pub(super) struct SnappyReader<R> {
    inner: R,
    block: Vec<u8>,
    read: usize,
}

impl<R: Read> SnappyReader<R> {
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut header = [0; 16];
        inner.read_exact(&mut header)?;
        if !header.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no snappy-java stream"));
        }
        Ok(Self { inner, block: Vec::new(), read: 0 })
    }

    /// Reads the next block; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut length = [0; 4];
        match self.inner.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if length == MAGIC[..4] {
            // A stream that was appended to: a header in its middle.
            self.inner.read_exact(&mut [0; 12])?;
            return self.next_block();
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unreasonable length of a snappy block"));
        }
        let mut compressed = vec![0; length];
        self.inner.read_exact(&mut compressed)?;
        if snap::raw::decompress_len(&compressed).map_err(io::Error::other)? > BLOCK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unreasonable length of a snappy block"));
        }
        self.block = snap::raw::Decoder::new().decompress_vec(&compressed).map_err(io::Error::other)?;
        self.read = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = &self.block[self.read..];
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        self.read += len;
        Ok(len)
    }
}

/// Compresses. What is written last needs [`SnappyWriter::finish`].
pub(super) struct SnappyWriter<W> {
    inner: W,
    block: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    pub(super) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(MAGIC)?;
        inner.write_all(&VERSIONS)?;
        Ok(Self { inner, block: Vec::with_capacity(BLOCK_BYTES) })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_block()
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = snap::raw::Encoder::new().compress_vec(&self.block).map_err(io::Error::other)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        self.inner.write_all(&length.to_be_bytes())?;
        self.inner.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..len]);
        if self.block.len() == BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
