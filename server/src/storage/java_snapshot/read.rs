//! Reading.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use jute::Jute;
use jute::data::{Acl, Id, StatPersisted};
use jute::persistence::FileHeader;
use tracing::warn;
use triomphe::ThinArc;

use super::Compression;
use super::snappy::{self, SnappyReader};
use super::stream::{CheckedReader, FileStream};
use crate::session::SessionId;
use crate::storage::disk::Disk;
use crate::storage::error::{Error, IoContext, Result};
use crate::storage::txn_log::zxid_in_name;
use crate::tree::ZnodeRecord;
use crate::zab::Zxid;

/// The last part: a zxid and its seal.
const LAST_ZXID_BYTES: usize = 8 + 8 + 5;

/// What stands behind a snapshot that is sent, as a jute string.
pub const SNAP_SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// What a Java snapshot holds besides znodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JavaSnapshotHead {
    /// By its name: the log must be replayed from the txn after it.
    pub zxid: Zxid,
    /// Every session, with its timeout in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
    /// The tree's digest at a zxid that may lie behind [`JavaSnapshotHead::zxid`].
    pub digest: Option<(Zxid, u64)>,
    /// The last txn that had been applied when its writing ended.
    pub last_processed: Option<Zxid>,
}

/// Reads the snapshot at `path`, giving each znode to `visit`, parents first. What was visited is void on error.
///
/// # Errors
/// When the file cannot be read, or is not a whole snapshot.
#[doc(alias = "FileSnap")]
#[doc(alias = "SerializeUtils")]
pub fn read_snapshot(
    disk: &dyn Disk,
    path: &Path,
    visit: &mut dyn FnMut(&str, ZnodeRecord),
) -> Result<JavaSnapshotHead> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let zxid = zxid_in_name(name, "snapshot")
        .ok_or_else(|| Error::corrupt_snapshot(path, "a snapshot is called snapshot.<zxid>"))?;
    let file = disk.open_read(path).during("open", path)?;
    let stream = FileStream::new(&*file);
    let read = match Compression::of(path) {
        Compression::None => read_file(stream, visit),
        Compression::Gzip => read_file(MultiGzDecoder::new(stream), visit),
        Compression::Snappy => SnappyReader::new(stream).and_then(|stream| read_file(stream, visit)),
    };
    let head = read.map_err(|error| Error::corrupt_snapshot(path, error.to_string()))?;
    Ok(JavaSnapshotHead { zxid, ..head })
}

/// Reads an uncompressed snapshot that is no file of ours; its head has no zxid but the one within.
///
/// # Errors
/// When the stream fails, or is not a whole snapshot.
pub fn read_stream(
    stream: &mut dyn Read,
    visit: &mut dyn FnMut(&str, ZnodeRecord),
) -> io::Result<JavaSnapshotHead> {
    read_file(stream, visit)
}

/// What a leader sends behind SNAP.
#[derive(Debug)]
pub struct SentSnapshot {
    /// Every session, with its timeout in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
    /// What was read of the stream behind the snapshot.
    pub behind: Vec<u8>,
}

/// Reads sessions, ACLs and znodes, and the signature behind them: what follows a SNAP. It waits for nothing that
/// stands behind, but takes some of it if it is there.
///
/// # Errors
/// When the stream fails, or holds something else.
pub fn read_sent(
    stream: &mut dyn Read,
    visit: &mut dyn FnMut(&str, ZnodeRecord),
) -> io::Result<SentSnapshot> {
    let mut input = CheckedReader::new(stream);
    let sessions = read_tree(&mut input, visit)?;
    if input.bytes(SNAP_SIGNATURE.len())? != SNAP_SIGNATURE {
        return Err(invalid("the snapshot is not signed"));
    }
    Ok(SentSnapshot { sessions, behind: input.into_unread() })
}

/// Whether a file is worth reading: its writer had come to the end, or compresses (and then only the beginning
/// tells anything). `SnapStream.isValidSnapshot`.
pub(super) fn is_whole(disk: &dyn Disk, path: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let file = disk.open_read(path)?;
        let mut bytes = [0; 8];
        match Compression::of(path) {
            Compression::Gzip => {
                file.read_at(0, &mut bytes)?;
                Ok(bytes.starts_with(&[0x1f, 0x8b]))
            }
            Compression::Snappy => {
                file.read_at(0, &mut bytes)?;
                Ok(&bytes == snappy::MAGIC)
            }
            Compression::None => {
                let Some(at) = file.size()?.checked_sub(10) else {
                    return Ok(false);
                };
                file.read_at(at + 5, &mut bytes)?;
                Ok(bytes.starts_with(b"\0\0\0\x01/"))
            }
        }
    };
    let whole = look().unwrap_or(false);
    if !whole {
        warn!(path = %path.display(), "not a whole snapshot");
    }
    whole
}

fn read_file(stream: impl Read, visit: &mut dyn FnMut(&str, ZnodeRecord)) -> io::Result<JavaSnapshotHead> {
    let mut input = CheckedReader::new(stream);
    let header = Bytes::copy_from_slice(input.bytes(16)?);
    if FileHeader::from_bytes(&header).map_or(0, |header| header.magic) != FileHeader::SNAPSHOT_MAGIC {
        return Err(invalid("this is no snapshot"));
    }
    let sessions = read_tree(&mut input, visit)?;
    check_seal(&mut input)?;
    let mut head = JavaSnapshotHead { sessions, ..JavaSnapshotHead::default() };
    // Either of what follows may have been disabled; a digest is longer than a zxid.
    if input.has(LAST_ZXID_BYTES + 1)? {
        head.digest = read_digest(&mut input)?;
        check_seal(&mut input)?;
    }
    if input.has(1)? {
        head.last_processed = Some(Zxid(input.long()?));
        check_seal(&mut input)?;
    }
    Ok(head)
}

/// Zxid and digest; `None` if there is none yet, or of an older version.
fn read_digest<R: Read>(input: &mut CheckedReader<R>) -> io::Result<Option<(Zxid, u64)>> {
    let zxid = Zxid(input.long()?);
    let version = input.int()?;
    if version < 2 {
        input.buffer()?;
        return Ok(None);
    }
    let digest = input.long()?.cast_unsigned();
    Ok((zxid > Zxid::ZERO && version == 2).then_some((zxid, digest)))
}

fn check_seal<R: Read>(input: &mut CheckedReader<R>) -> io::Result<()> {
    let sum = input.sum();
    let sealed = input.long()?.cast_unsigned();
    input.buffer()?;
    if sum == sealed { Ok(()) } else { Err(invalid("wrong checksum")) }
}

fn read_tree<R: Read>(
    input: &mut CheckedReader<R>,
    visit: &mut dyn FnMut(&str, ZnodeRecord),
) -> io::Result<Vec<(SessionId, i32)>> {
    let mut sessions = Vec::new();
    for _ in 0..input.int()? {
        sessions.push((SessionId(input.long()?), input.int()?));
    }
    let acls = read_acls(input)?;
    let mut path = String::new();
    let mut unknown_acls = 0;
    loop {
        read_string(input, &mut path)?;
        match path.as_str() {
            "/" => break,
            "" => path.push('/'),
            _ => {}
        }
        let record = read_znode(input, &acls, &mut unknown_acls)?;
        visit(&path, record);
    }
    if unknown_acls > 0 {
        // ACLs are written first: one that was set meanwhile is not among them. Its txn is in the log.
        warn!(znodes = unknown_acls, "the snapshot lacks ACLs of some znodes, the log should bring them");
    }
    Ok(sessions)
}

fn read_acls<R: Read>(input: &mut CheckedReader<R>) -> io::Result<HashMap<i64, Arc<[Acl]>>> {
    let mut acls = HashMap::from([(-1, Acl::open_unsafe().into())]);
    for _ in 0..input.int()? {
        let id = input.long()?;
        let mut entries = Vec::new();
        for _ in 0..input.int()? {
            let perms = input.int()?;
            let (mut scheme, mut name) = (String::new(), String::new());
            read_string(input, &mut scheme)?;
            read_string(input, &mut name)?;
            entries.push(Acl { perms, id: Id { scheme: scheme.into(), id: name.into() } });
        }
        acls.insert(id, entries.into());
    }
    Ok(acls)
}

fn read_znode<R: Read>(
    input: &mut CheckedReader<R>,
    acls: &HashMap<i64, Arc<[Acl]>>,
    unknown_acls: &mut u32,
) -> io::Result<ZnodeRecord> {
    let data = input.buffer()?.map(|data| ThinArc::from_header_and_slice((), data));
    let acl = acls.get(&input.long()?).map_or_else(
        || {
            *unknown_acls += 1;
            nobody()
        },
        Arc::clone,
    );
    let stat = StatPersisted {
        czxid: input.long()?,
        mzxid: input.long()?,
        ctime: input.long()?,
        mtime: input.long()?,
        version: input.int()?,
        cversion: input.int()?,
        aversion: input.int()?,
        ephemeral_owner: input.long()?,
        pzxid: input.long()?,
    };
    Ok(ZnodeRecord { data, acl, stat })
}

/// Nothing for anyone. An empty ACL would be everything for everyone.
fn nobody() -> Arc<[Acl]> {
    [Acl::new(0, "world", "anyone")].into()
}

/// Puts a string in place of what `into` holds; null is empty.
fn read_string<R: Read>(input: &mut CheckedReader<R>, into: &mut String) -> io::Result<()> {
    into.clear();
    let at = input.position();
    let bytes = input.buffer()?.unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| invalid(&format!("no text at offset {at}")))?;
    into.push_str(text);
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
