//! The transaction log: every txn, in order, before anybody hears of it. Stop 5 of the life of a write.
//!
//! The files are ZooKeeper's: `log.<zxid of the first txn, in hex>`, each a [`FileHeader`] and then records
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | Adler32 of the payload |
//! | 4 | length of the payload |
//! | length | payload: [`TxnHeader`](jute::txn::TxnHeader), the txn, possibly a digest |
//! | 1 | `B`: the record is complete |
//!
//! up to the end of the file, or to zeros that were written ahead so that a sync need not grow the file.
//! Segments are never recycled: records of an earlier life behind the end would look like records of this one.
//!
//! ZooKeeper's `FileTxnLog`, `FilePadding`, `FileTxnSnapLog`.

mod range;
mod reader;
mod segment;
mod tail;
mod trace;
mod writer;

use std::path::{Path, PathBuf};

use jute::persistence::FileHeader;

pub use range::LogRange;
pub use reader::{LogEnd, TxnLogReader};
pub use segment::{LogRecord, SegmentEnd, SegmentReader};
pub use trace::trace;
pub use writer::{FILE_BYTES_MAX, LogOptions, LogSync, Logged, TxnLog};

use super::disk::Disk;
use super::error::{IoContext, Result};
use crate::zab::Zxid;

/// Length of a [`FileHeader`].
const HEADER_BYTES: u64 = 16;
/// In front of a payload: checksum and length.
const FRAME_HEAD_BYTES: usize = 12;
/// All of a record but its payload.
const FRAME_BYTES: usize = FRAME_HEAD_BYTES + 1;
/// What ends a record.
const RECORD_END: u8 = b'B';
/// A payload above this is no record: requests are bounded far lower, and a multi's txn is hardly longer than it.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// By its name, the zxid of its first txn.
    pub first: Zxid,
    /// Where it is.
    pub path: PathBuf,
}

/// The log's files in `dir`, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn log_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<LogFile>> {
    let names = disk.list(dir).during("list", dir)?;
    let mut files: Vec<_> = names
        .iter()
        .filter_map(|name| Some(LogFile { first: zxid_in_name(name, "log")?, path: dir.join(name) }))
        .collect();
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// The zxid in a name such as `log.1a` or `snapshot.1a.gz`.
pub(super) fn zxid_in_name(name: &str, prefix: &str) -> Option<Zxid> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    let hex = rest.split('.').next()?;
    if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(hex, 16).ok().map(|zxid| Zxid(zxid.cast_signed()))
}

/// The name of the log file that begins with `zxid`.
fn log_name(zxid: Zxid) -> String {
    format!("log.{:x}", zxid.0)
}

/// The header as it stands in a file.
fn header() -> bytes::Bytes {
    jute::Jute::to_bytes(&FileHeader::LOG)
}

/// Adler32 as `java.util.zip` has it.
fn checksum(payload: &[u8]) -> u32 {
    simd_adler32::adler32(&payload)
}

/// How many bytes of the log the record of `payload` takes.
pub(crate) fn framed_len(payload: &[u8]) -> u64 {
    (payload.len() + FRAME_BYTES) as u64
}

/// Appends the record of `payload` to `out`.
pub(crate) fn frame(payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a record is far below 4 GiB: requests are bounded");
    out.extend_from_slice(&u64::from(checksum(payload)).to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    out.push(RECORD_END);
}

#[cfg(test)]
mod tests;
