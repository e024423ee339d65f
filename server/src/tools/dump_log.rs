//! Looking into one file of the log, and mending it. `TxnLogToolkit`.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jute::Jute;
use jute::persistence::FileHeader;
use jute::txn::Txn;

use super::print;
use super::txn_text::txn_text;
use crate::storage::disk::Disk;
use crate::storage::error::{Error, IoContext, LogFlaw, Result};
use crate::storage::txn_log::frame;
use crate::zab::Zxid;

const HEADER_BYTES: usize = 16;
const HEAD_BYTES: usize = 12;

/// A copy of a log that was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedLog {
    /// Where it is. The original is untouched.
    pub path: PathBuf,
    /// How many records it has.
    pub records: usize,
    /// How many of them got a new checksum.
    pub checksums_fixed: usize,
}

/// A record, whole or not.
struct Raw {
    payload: Bytes,
    sum_is_right: bool,
    complete: bool,
}

/// The records of a file, up to the first length that is none.
struct RawRecords {
    rest: Bytes,
}

/// Prints every txn of the log at `path`; a record with a wrong checksum is marked.
///
/// # Errors
/// When the file cannot be read, is no log, or ends inside a record; what could be read has been printed then.
#[doc(alias = "TxnLogToolkit")]
#[doc(alias = "LogFormatter")]
pub fn dump_log(disk: &dyn Disk, path: &Path, out: &mut dyn Write) -> Result<()> {
    let (header, records) = open(disk, path)?;
    print(
        out,
        format_args!(
            "ZooKeeper Transactional Log File with dbid {} txnlog format version {}\n",
            header.dbid, header.version
        ),
    )?;
    let mut count = 0;
    for record in records {
        let mark = if record.sum_is_right { "" } else { "CRC ERROR - " };
        let text = match Txn::from_bytes(&record.payload) {
            Ok(txn) => txn_text(&txn),
            Err(error) => format!("undecodable txn ({error})"),
        };
        print(out, format_args!("{mark}{text}\n"))?;
        if !record.complete {
            print(out, format_args!("Last transaction was partial.\n"))?;
            break;
        }
        count += 1;
    }
    print(out, format_args!("EOF reached after {count} txns.\n"))
}

/// Copies the log to `<path>.fixed` with right checksums, up to the first record that is not complete. Whether
/// what had a wrong one is what was written, only its reader can tell: see what `dump_log` prints.
///
/// # Errors
/// When the file is no log, the copy exists, or the disk fails.
pub fn recover_log(disk: &dyn Disk, path: &Path) -> Result<RepairedLog> {
    let (header, records) = open(disk, path)?;
    let mut bytes = header.to_bytes().to_vec();
    let (mut count, mut fixed) = (0, 0);
    for record in records.take_while(|record| record.complete) {
        frame(&record.payload, &mut bytes);
        count += 1;
        fixed += usize::from(!record.sum_is_right);
    }
    let path = write_beside(disk, path, ".fixed", &bytes)?;
    Ok(RepairedLog { path, records: count, checksums_fixed: fixed })
}

/// Copies the log to `<path>.chopped<zxid>`, without the txns after `zxid`.
///
/// # Errors
/// When the file is no log, does not hold `zxid`, the copy exists, or the disk fails.
pub fn chop_log(disk: &dyn Disk, path: &Path, zxid: Zxid) -> Result<RepairedLog> {
    let (header, records) = open(disk, path)?;
    let mut bytes = header.to_bytes().to_vec();
    let mut count = 0;
    let mut last = None;
    for record in records.take_while(|record| record.complete) {
        match Txn::from_bytes(&record.payload) {
            Ok(txn) if txn.header.zxid <= zxid.0 => last = Some(txn.header.zxid),
            _ => break,
        }
        frame(&record.payload, &mut bytes);
        count += 1;
    }
    if last != Some(zxid.0) {
        let what = format!("holds no txn {zxid} to chop after");
        return Err(Error::BadFile { path: path.to_owned(), what });
    }
    let path = write_beside(disk, path, &format!(".chopped{}", zxid.0), &bytes)?;
    Ok(RepairedLog { path, records: count, checksums_fixed: 0 })
}

fn open(disk: &dyn Disk, path: &Path) -> Result<(FileHeader, RawRecords)> {
    let file = disk.open_read(path).during("open", path)?;
    let size = file.size().during("read", path)?;
    let size = usize::try_from(size).map_err(|_| Error::refused(path, "is too large for this machine"))?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes).during("read", path)?;
    bytes.truncate(read);
    let bytes = Bytes::from(bytes);
    match FileHeader::from_bytes(&bytes) {
        Ok(header) if header.magic == FileHeader::LOG_MAGIC => {
            Ok((header, RawRecords { rest: bytes.slice(HEADER_BYTES..) }))
        }
        _ => Err(Error::CorruptLog { path: path.to_owned(), offset: 0, what: LogFlaw::Header }),
    }
}

impl Iterator for RawRecords {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let head = self.rest.get(..HEAD_BYTES)?;
        let sum = u64::from_be_bytes(head[..8].try_into().ok()?);
        let length = u32::from_be_bytes(head[8..].try_into().ok()?) as usize;
        if length == 0 {
            return None;
        }
        let available = self.rest.len() - HEAD_BYTES;
        let payload = self.rest.slice(HEAD_BYTES..HEAD_BYTES + length.min(available));
        let end = self.rest.get(HEAD_BYTES + length).copied();
        let sum_is_right = sum == u64::from(simd_adler32::adler32(&&payload[..]));
        self.rest = self.rest.slice((HEAD_BYTES + length + 1).min(self.rest.len())..);
        Some(Raw { payload, sum_is_right, complete: end == Some(b'B') })
    }
}

fn write_beside(disk: &dyn Disk, path: &Path, suffix: &str, bytes: &[u8]) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let copy = PathBuf::from(name);
    if disk.exists(&copy) {
        return Err(Error::refused(&copy, "exists already"));
    }
    let file = disk.create(&copy).during("create", &copy)?;
    file.write_at(0, bytes).during("write", &copy)?;
    file.sync().during("sync", &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{OsDisk, SimDisk};

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/java_data_dir");

    fn dump(disk: &dyn Disk, path: &Path) -> String {
        let mut out = Vec::new();
        dump_log(disk, path, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn newest_log() -> PathBuf {
        let dir = Path::new(FIXTURE).join("version-2");
        crate::storage::txn_log::log_files(&OsDisk, &dir).unwrap().pop().unwrap().path
    }

    #[test]
    fn a_log_reads_as_zookeepers_own_tool_prints_it() {
        let expected = std::fs::read_to_string(Path::new(FIXTURE).join("log.txt")).unwrap();
        assert_eq!(dump(&OsDisk, &newest_log()), expected);
    }

    /// The fixture's log on a disk of its own.
    fn copy() -> (SimDisk, PathBuf, usize) {
        let bytes = std::fs::read(newest_log()).unwrap();
        let (disk, path) = (SimDisk::new(1), PathBuf::from("/log.54"));
        disk.create(&path).unwrap().write_at(0, &bytes).unwrap();
        (disk, path, bytes.len())
    }

    #[test]
    fn a_wrong_checksum_is_shown_and_can_be_fixed() {
        let (disk, path, _) = copy();
        disk.flip(&path, 16 + 3, 1);
        assert!(dump(&disk, &path).contains("CRC ERROR - "));

        let repaired = recover_log(&disk, &path).unwrap();
        assert_eq!(repaired.checksums_fixed, 1);
        assert_eq!(dump(&disk, &repaired.path), dump(&OsDisk, &newest_log()));
        assert!(matches!(recover_log(&disk, &path), Err(Error::Refused { .. })));
    }

    #[test]
    fn chopping_keeps_what_comes_before_and_the_txn_itself() {
        let (disk, path, _) = copy();
        let zxid = crate::storage::txn_log::log_files(&OsDisk, newest_log().parent().unwrap()).unwrap();
        let first = zxid.last().unwrap().first;
        let chopped = chop_log(&disk, &path, Zxid(first.0 + 2)).unwrap();
        assert_eq!(chopped.records, 3);
        assert!(dump(&disk, &chopped.path).ends_with("EOF reached after 3 txns.\n"));
        assert!(chop_log(&disk, &path, Zxid(first.0 + 1000)).is_err());
    }
}
