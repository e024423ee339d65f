//! Writing.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use jute::Jute;
use jute::data::Acl;
use jute::persistence::FileHeader;

use super::snappy::SnappyWriter;
use super::stream::{CheckedWriter, FileStream};
use super::{Compression, snapshot_name};
use crate::session::SessionId;
use crate::storage::disk::Disk;
use crate::storage::error::{IoContext, Result};
use crate::storage::snapshot::{SnapshotHead, ZnodeSink};
use crate::tree::ZnodeRecord;

/// Gives every znode to the sink, parents before their children. It is called twice: ACLs are written first.
pub type Walk<'a> = dyn FnMut(&mut ZnodeSink<'_>) -> Result<()> + 'a;

/// Writes a snapshot for a Java server into `dir`. It is there, whole and durable, on return; the path.
///
/// # Errors
/// When the disk fails.
#[doc(alias = "FileSnap")]
pub fn write_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    compression: Compression,
    head: &SnapshotHead,
    walk: &mut Walk<'_>,
) -> Result<PathBuf> {
    let path = dir.join(snapshot_name(head.zxid, compression));
    let unfinished = dir.join("export.tmp");
    let file = disk.create(&unfinished).during("create", &unfinished)?;
    let stream = FileStream::new(&*file);
    match compression {
        Compression::None => write_file(stream, &path, head, walk).map(drop)?,
        Compression::Gzip => {
            let gzip = GzEncoder::new(stream, flate2::Compression::default());
            write_file(gzip, &path, head, walk)?.finish().map(drop).during("write", &unfinished)?;
        }
        Compression::Snappy => {
            let snappy = SnappyWriter::new(stream).during("write", &unfinished)?;
            write_file(snappy, &path, head, walk)?.finish().during("write", &unfinished)?;
        }
    }
    file.sync().during("sync", &unfinished)?;
    disk.rename(&unfinished, &path).during("rename", &path)?;
    disk.sync_dir(dir).during("sync", dir)?;
    Ok(path)
}

/// Writes sessions, ACLs and znodes, and no more: what follows a SNAP. Errors of the stream name `path`.
///
/// # Errors
/// When the stream fails.
pub fn write_body(
    stream: &mut dyn Write,
    path: &Path,
    sessions: &[(SessionId, i32)],
    walk: &mut Walk<'_>,
) -> Result<()> {
    let mut out = CheckedWriter::new(stream);
    write_tree(&mut out, path, sessions, walk)?;
    out.finish().map(drop).during("write", path)
}

fn write_file<W: Write>(stream: W, path: &Path, head: &SnapshotHead, walk: &mut Walk<'_>) -> Result<W> {
    let mut out = CheckedWriter::new(stream);
    out.put(&FileHeader::SNAPSHOT.to_bytes()).during("write", path)?;
    write_tree(&mut out, path, &head.sessions, walk)?;
    write_trailer(&mut out, head).during("write", path)?;
    out.finish().during("write", path)
}

fn write_trailer<W: Write>(out: &mut CheckedWriter<W>, head: &SnapshotHead) -> io::Result<()> {
    out.seal()?;
    // Without a digest, zxid 0 says so.
    out.long(if head.digest == 0 { 0 } else { head.zxid.0 })?;
    out.int(2)?;
    out.long(head.digest.cast_signed())?;
    out.seal()?;
    out.long(head.zxid.0)?;
    out.seal()
}

fn write_tree<W: Write>(
    out: &mut CheckedWriter<W>,
    path: &Path,
    sessions: &[(SessionId, i32)],
    walk: &mut Walk<'_>,
) -> Result<()> {
    let acls = number_acls(walk)?;
    write_sessions_and_acls(out, sessions, &acls).during("write", path)?;
    walk(&mut |znode, record| write_znode(out, znode, record, &acls).during("write", path))?;
    out.buffer(Some(b"/")).during("write", path)
}

/// Every ACL but the usual one, numbered from 1 on as they come.
fn number_acls(walk: &mut Walk<'_>) -> Result<HashMap<Vec<Acl>, i64>> {
    let open = Acl::open_unsafe();
    let mut acls = HashMap::from([(open, -1)]);
    walk(&mut |_, record| {
        if !acls.contains_key(&*record.acl) {
            let id = i64::try_from(acls.len()).expect("fewer ACLs than fit in memory");
            acls.insert(record.acl.to_vec(), id);
        }
        Ok(())
    })?;
    Ok(acls)
}

fn write_sessions_and_acls<W: Write>(
    out: &mut CheckedWriter<W>,
    sessions: &[(SessionId, i32)],
    acls: &HashMap<Vec<Acl>, i64>,
) -> io::Result<()> {
    out.int(i32::try_from(sessions.len()).map_err(io::Error::other)?)?;
    for (session, timeout_ms) in sessions {
        out.long(session.0)?;
        out.int(*timeout_ms)?;
    }
    let mut by_id: Vec<_> = acls.iter().filter(|(_, id)| **id >= 0).collect();
    by_id.sort_by_key(|(_, id)| **id);
    out.int(i32::try_from(by_id.len()).map_err(io::Error::other)?)?;
    for (acl, id) in by_id {
        out.long(*id)?;
        out.put(&acl.to_bytes())?;
    }
    Ok(())
}

fn write_znode<W: Write>(
    out: &mut CheckedWriter<W>,
    path: &str,
    record: &ZnodeRecord,
    acls: &HashMap<Vec<Acl>, i64>,
) -> io::Result<()> {
    let path = if path == "/" { "" } else { path };
    out.buffer(Some(path.as_bytes()))?;
    out.buffer(record.data.as_ref().map(|data| &data.slice))?;
    let acl = acls.get(&*record.acl);
    out.long(*acl.ok_or_else(|| io::Error::other("the tree changed while it was written"))?)?;
    let stat = &record.stat;
    for long in [stat.czxid, stat.mzxid, stat.ctime, stat.mtime] {
        out.long(long)?;
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        out.int(int)?;
    }
    out.long(stat.ephemeral_owner)?;
    out.long(stat.pzxid)
}
