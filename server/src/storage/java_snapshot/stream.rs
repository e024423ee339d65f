//! Streams with the running Adler32 that seals a snapshot.

use std::io::{self, Read, Write};

use simd_adler32::Adler32;

use crate::storage::disk::DiskFile;

const BUFFER_BYTES: usize = 256 << 10;

/// Reads jute's types off a stream, whose checksum it keeps.
pub(super) struct CheckedReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// `buffer[read..]` has not been asked for yet, `buffer[..summed]` is in the checksum.
    read: usize,
    summed: usize,
    sum: Adler32,
    /// How far into the stream the buffer begins.
    offset: u64,
}

impl<R: Read> CheckedReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), read: 0, summed: 0, sum: Adler32::new(), offset: 0 }
    }

    /// How much has been asked for.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.read as u64
    }

    /// The checksum of all that has been asked for.
    pub(super) fn sum(&mut self) -> u64 {
        self.sum.write(&self.buffer[self.summed..self.read]);
        self.summed = self.read;
        u64::from(self.sum.finish())
    }

    /// Whether `len` bytes follow.
    pub(super) fn has(&mut self, len: usize) -> io::Result<bool> {
        match self.fill(len) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn bytes(&mut self, len: usize) -> io::Result<&[u8]> {
        self.fill(len)?;
        let start = self.read;
        self.read += len;
        Ok(&self.buffer[start..self.read])
    }

    pub(super) fn int(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.bytes(4)?);
        Ok(i32::from_be_bytes(bytes))
    }

    pub(super) fn long(&mut self) -> io::Result<i64> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.bytes(8)?);
        Ok(i64::from_be_bytes(bytes))
    }

    /// A buffer or string; `None` is null.
    pub(super) fn buffer(&mut self) -> io::Result<Option<&[u8]>> {
        match usize::try_from(self.int()?) {
            Ok(len) => self.bytes(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// What has been read and not been asked for.
    pub(super) fn into_unread(mut self) -> Vec<u8> {
        self.buffer.split_off(self.read)
    }

    /// Makes the next `len` bytes stand in the buffer, without waiting for more than those. A length that is wrong costs no memory beyond what follows.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        if self.buffer.len() - self.read >= len {
            return Ok(());
        }
        self.sum();
        self.buffer.drain(..self.read);
        self.offset += self.read as u64;
        (self.read, self.summed) = (0, 0);
        while self.buffer.len() < len {
            let more = BUFFER_BYTES.max((len - self.buffer.len()).min(16 * BUFFER_BYTES));
            let before = self.buffer.len();
            self.buffer.resize(before + more, 0);
            let got = read_some(&mut self.inner, &mut self.buffer[before..])?;
            self.buffer.truncate(before + got);
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

fn read_some(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Writes through, keeping the checksum.
pub(super) struct CheckedWriter<W: Write> {
    inner: W,
    buffer: Vec<u8>,
    sum: Adler32,
}

impl<W: Write> CheckedWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER_BYTES), sum: Adler32::new() }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.drain() } else { Ok(()) }
    }

    pub(super) fn int(&mut self, value: i32) -> io::Result<()> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn long(&mut self, value: i64) -> io::Result<()> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn buffer(&mut self, value: Option<&[u8]>) -> io::Result<()> {
        let Some(bytes) = value else {
            return self.int(-1);
        };
        self.int(i32::try_from(bytes.len()).map_err(io::Error::other)?)?;
        self.put(bytes)
    }

    /// Writes the checksum of all before it.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.drain()?;
        self.long(i64::from(self.sum.finish()))?;
        self.buffer(Some(b"/"))
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.drain()?;
        Ok(self.inner)
    }

    fn drain(&mut self) -> io::Result<()> {
        self.sum.write(&self.buffer);
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// A [`DiskFile`] from its beginning on.
pub(super) struct FileStream<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl<'a> FileStream<'a> {
    pub(super) fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for FileStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, into)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Write for FileStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
