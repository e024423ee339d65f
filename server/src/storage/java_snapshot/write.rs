//! Writing.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Gives every znode to the sink, parents before their children. It is called twice, unless ACLs are known: they are
/// written first.
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
    let written = write_unfinished(disk, &unfinished, &path, compression, head, walk);
    if written.is_err() {
        // It may be for want of room, of which this takes some.
        let _ = disk.remove(&unfinished);
    }
    written?;
    disk.rename(&unfinished, &path).during("rename", &path)?;
    disk.sync_dir(dir).during("sync", dir)?;
    Ok(path)
}

/// Writes what is to be `path`, durably.
fn write_unfinished(
    disk: &dyn Disk,
    unfinished: &Path,
    path: &Path,
    compression: Compression,
    head: &SnapshotHead,
    walk: &mut Walk<'_>,
) -> Result<()> {
    let file = disk.create(unfinished).during("create", unfinished)?;
    let stream = FileStream::new(&*file);
    match compression {
        Compression::None => write_file(stream, path, head, walk).map(drop)?,
        Compression::Gzip => {
            let gzip = GzEncoder::new(stream, flate2::Compression::default());
            write_file(gzip, path, head, walk)?.finish().map(drop).during("write", unfinished)?;
        }
        Compression::Snappy => {
            let snappy = SnappyWriter::new(stream).during("write", unfinished)?;
            write_file(snappy, path, head, walk)?.finish().during("write", unfinished)?;
        }
    }
    file.sync().during("sync", unfinished)
}

/// Writes sessions, ACLs and znodes, and no more: what follows a SNAP. Errors of the stream name `path`. `acls`, if
/// known, are all that any znode has.
///
/// # Errors
/// When the stream fails.
pub fn write_body(
    stream: &mut dyn Write,
    path: &Path,
    sessions: &[(SessionId, i32)],
    acls: Option<Vec<Arc<[Acl]>>>,
    walk: &mut Walk<'_>,
) -> Result<()> {
    let mut out = CheckedWriter::new(stream);
    write_tree(&mut out, path, sessions, acls, walk)?;
    out.finish().map(drop).during("write", path)
}

fn write_file<W: Write>(stream: W, path: &Path, head: &SnapshotHead, walk: &mut Walk<'_>) -> Result<W> {
    let mut out = CheckedWriter::new(stream);
    out.put(&FileHeader::SNAPSHOT.to_bytes()).during("write", path)?;
    write_tree(&mut out, path, &head.sessions, None, walk)?;
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
    acls: Option<Vec<Arc<[Acl]>>>,
    walk: &mut Walk<'_>,
) -> Result<()> {
    let mut ids = AclIds::new();
    match acls {
        Some(acls) => acls.iter().for_each(|acl| ids.add(acl)),
        None => walk(&mut |_, record| {
            ids.add(&record.acl);
            Ok(())
        })?,
    }
    write_sessions_and_acls(out, sessions, &ids).during("write", path)?;
    walk(&mut |znode, record| write_znode(out, znode, record, &mut ids).during("write", path))?;
    out.buffer(Some(b"/")).during("write", path)
}

/// The number of each ACL: -1 for the usual one, from 1 on for others.
struct AclIds {
    ids: HashMap<Arc<[Acl]>, i64>,
    /// The one that was asked for last, mostly the one that is asked for next.
    last: (Arc<[Acl]>, i64),
}

impl AclIds {
    fn new() -> Self {
        let open: Arc<[Acl]> = Acl::open_unsafe().into();
        Self { ids: HashMap::from([(Arc::clone(&open), -1)]), last: (open, -1) }
    }

    fn add(&mut self, acl: &Arc<[Acl]>) {
        if !Arc::ptr_eq(acl, &self.last.0) && self.find(acl).is_none() {
            let id = i64::try_from(self.ids.len()).expect("fewer ACLs than fit in memory");
            self.ids.insert(Arc::clone(acl), id);
            self.last = (Arc::clone(acl), id);
        }
    }

    fn find(&mut self, acl: &Arc<[Acl]>) -> Option<i64> {
        if !Arc::ptr_eq(acl, &self.last.0) {
            self.last = (Arc::clone(acl), *self.ids.get(acl)?);
        }
        Some(self.last.1)
    }
}

fn write_sessions_and_acls<W: Write>(
    out: &mut CheckedWriter<W>,
    sessions: &[(SessionId, i32)],
    acls: &AclIds,
) -> io::Result<()> {
    out.int(i32::try_from(sessions.len()).map_err(io::Error::other)?)?;
    for (session, timeout_ms) in sessions {
        out.long(session.0)?;
        out.int(*timeout_ms)?;
    }
    let mut by_id: Vec<_> = acls.ids.iter().filter(|(_, id)| **id >= 0).collect();
    by_id.sort_by_key(|(_, id)| **id);
    out.int(i32::try_from(by_id.len()).map_err(io::Error::other)?)?;
    for (acl, id) in by_id {
        out.long(*id)?;
        out.int(i32::try_from(acl.len()).map_err(io::Error::other)?)?;
        for entry in acl.iter() {
            out.put(&entry.to_bytes())?;
        }
    }
    Ok(())
}

fn write_znode<W: Write>(
    out: &mut CheckedWriter<W>,
    path: &str,
    record: &ZnodeRecord,
    acls: &mut AclIds,
) -> io::Result<()> {
    let path = if path == "/" { "" } else { path };
    out.buffer(Some(path.as_bytes()))?;
    out.buffer(record.data.as_ref().map(|data| &data.slice))?;
    let acl = acls.find(&record.acl);
    out.long(acl.ok_or_else(|| io::Error::other("the tree changed while it was written"))?)?;
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
