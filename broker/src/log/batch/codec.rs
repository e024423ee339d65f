//! Packing and unpacking a batch's records. Unpacking is ours, on the same libraries as `kafka_protocol`'s: that
//! one has no bound, and a few bytes of a client's may stand for gigabytes.

use std::borrow::Cow;
use std::io::Read;

use bytes::BytesMut;
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};
use kafka_protocol::records::Compression;

use super::Flaw;

/// The largest size of a batch's records, unpacked.
pub const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// The records in `packed`, at most `max` bytes of them.
pub(super) fn unpack(codec: Compression, packed: &[u8], max: usize) -> Result<Cow<'_, [u8]>, Flaw> {
    match codec {
        Compression::None => Ok(Cow::Borrowed(packed)),
        Compression::Gzip => read_all(flate2::read::MultiGzDecoder::new(packed), packed.len(), max),
        Compression::Lz4 => read_all(lz4::Decoder::new(packed).map_err(|_| Flaw::Packed)?, packed.len(), max),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| Flaw::Packed)?;
            read_all(decoder, packed.len(), max)
        }
        Compression::Snappy => unpack_snappy(packed, max),
    }
}

fn read_all<'a>(decoder: impl Read, packed: usize, max: usize) -> Result<Cow<'a, [u8]>, Flaw> {
    let mut unpacked = Vec::with_capacity(packed.saturating_mul(2).min(max));
    let bounded = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bounded).read_to_end(&mut unpacked).map_err(|_| Flaw::Packed)?;
    if unpacked.len() > max { Err(Flaw::Bomb) } else { Ok(Cow::Owned(unpacked)) }
}

/// What snappy-java puts before its blocks, up to the two versions (8 bytes) that nobody looks at.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEAD_BYTES: usize = 16;

/// Blocks framed as snappy-java does it, or one block without a frame, as some clients send it.
fn unpack_snappy<'a>(packed: &[u8], max: usize) -> Result<Cow<'a, [u8]>, Flaw> {
    let mut unpacked = Vec::new();
    if !packed.starts_with(XERIAL_MAGIC) {
        unpack_block(packed, &mut unpacked, max)?;
        return Ok(Cow::Owned(unpacked));
    }
    let mut rest = packed.get(XERIAL_HEAD_BYTES..).ok_or(Flaw::Packed)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(Flaw::Packed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Flaw::Packed)?;
        let (block, after) = after.split_at_checked(length).ok_or(Flaw::Packed)?;
        unpack_block(block, &mut unpacked, max)?;
        rest = after;
    }
    Ok(Cow::Owned(unpacked))
}

/// No element of snappy makes more than 64 bytes of 2: a block that claims more lies, and gets no memory.
const SNAPPY_RATIO_MAX: usize = 32;

fn unpack_block(block: &[u8], unpacked: &mut Vec<u8>, max: usize) -> Result<(), Flaw> {
    let length = snap::raw::decompress_len(block).map_err(|_| Flaw::Packed)?;
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(Flaw::Packed);
    }
    let start = unpacked.len();
    if length > max.saturating_sub(start) {
        return Err(Flaw::Bomb);
    }
    unpacked.resize(start + length, 0);
    let target = unpacked.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, target).map_err(|_| Flaw::Packed)?;
    Ok(())
}

/// Appends `records` to `out`, packed.
pub(super) fn pack(codec: Compression, records: &[u8], out: &mut BytesMut) -> Result<(), Flaw> {
    let write = |target: &mut BytesMut| {
        target.extend_from_slice(records);
        Ok(())
    };
    match codec {
        Compression::None => {
            out.extend_from_slice(records);
            return Ok(());
        }
        Compression::Gzip => Gzip::compress(out, write),
        Compression::Snappy => Snappy::compress(out, write),
        Compression::Lz4 => Lz4::compress(out, write),
        Compression::Zstd => Zstd::compress(out, write),
    }
    .map_err(|_| Flaw::Packed)
}
