//! Looking into a snapshot. `SnapshotFormatter`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::date::long_date;
use super::print;
use crate::session::SessionId;
use crate::storage::disk::Disk;
use crate::storage::error::{Error, Result};
use crate::storage::java_snapshot::read_snapshot;
use crate::storage::{RocksStore, SnapshotStore};
use crate::tree::ZnodeRecord;
use crate::zab::Zxid;

/// What of a snapshot is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotFormat {
    /// Stats and the lengths of data.
    #[default]
    Stats,
    /// Stats and data, in base64.
    Data,
    /// Names and sizes, as the disk usage viewer `ncdu` reads them.
    Json,
}

/// A snapshot in memory, its znodes in the order of a walk.
struct Snapshot {
    znodes: Vec<(String, ZnodeRecord)>,
    sessions: Vec<(SessionId, i32)>,
    zxid: Zxid,
    digest: Option<(Zxid, u64)>,
}

/// Prints the snapshot at `path`: a Java server's file, or the directory of a database (`version-2/menagerie`).
///
/// # Errors
/// When it cannot be read.
#[doc(alias = "SnapshotFormatter")]
pub fn dump_snapshot(
    disk: &dyn Disk,
    path: &Path,
    format: SnapshotFormat,
    out: &mut dyn Write,
) -> Result<()> {
    let snapshot = if path.is_dir() { read_database(path)? } else { read_file(disk, path)? };
    match format {
        SnapshotFormat::Json => print_json(&snapshot, out),
        SnapshotFormat::Stats | SnapshotFormat::Data => print_details(&snapshot, format, out),
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Snapshot> {
    let mut znodes = Vec::new();
    let head = read_snapshot(disk, path, &mut |path, record| znodes.push((path.to_owned(), record)))?;
    Ok(Snapshot { znodes, sessions: head.sessions, zxid: head.zxid, digest: head.digest })
}

fn read_database(path: &Path) -> Result<Snapshot> {
    if !path.join("db").exists() {
        return Err(Error::refused(
            path,
            "holds no snapshot database; that is version-2/menagerie in a dataDir",
        ));
    }
    let mut znodes = Vec::new();
    let store = RocksStore::open(path)?;
    let head = store.load(&mut |path, record| znodes.push((path.to_owned(), record)))?.unwrap_or_default();
    let digest = (head.digest != 0).then_some((head.zxid, head.digest));
    Ok(Snapshot { znodes, sessions: head.sessions, zxid: head.zxid, digest })
}

fn print_details(snapshot: &Snapshot, format: SnapshotFormat, out: &mut dyn Write) -> Result<()> {
    let mut ephemerals: BTreeMap<i64, u64> = BTreeMap::new();
    let mut last = snapshot.zxid;
    // ZooKeeper counts the root twice.
    print(out, format_args!("ZNode Details (count={}):\n", snapshot.znodes.len() + 1))?;
    for (path, record) in &snapshot.znodes {
        print_znode(path, record, format, out)?;
        last = last.max(Zxid(record.stat.mzxid)).max(Zxid(record.stat.pzxid));
        *ephemerals.entry(record.stat.ephemeral_owner).or_default() += 1;
    }
    print(out, format_args!("----\nSession Details (sid, timeout, ephemeralCount):\n"))?;
    for (session, timeout_ms) in &snapshot.sessions {
        let count = ephemerals.get(&session.0).copied().unwrap_or_default();
        print(out, format_args!("{:#016x}, {timeout_ms}, {count}\n", session.0))?;
    }
    if let Some((zxid, digest)) = snapshot.digest {
        print(out, format_args!("Target zxid digest is: {:x}, {}\n", zxid.0, digest.cast_signed()))?;
    }
    print(out, format_args!("----\nLast zxid: {last}\n"))
}

fn print_znode(path: &str, record: &ZnodeRecord, format: SnapshotFormat, out: &mut dyn Write) -> Result<()> {
    let stat = &record.stat;
    print(
        out,
        format_args!(
            "----\n{path}\n  cZxid = {:#016x}\n  ctime = {}\n  mZxid = {:#016x}\n  mtime = {}\n  pZxid = {:#016x}\n  \
             cversion = {}\n  dataVersion = {}\n  aclVersion = {}\n  ephemeralOwner = {:#016x}\n",
            stat.czxid,
            long_date(stat.ctime),
            stat.mzxid,
            long_date(stat.mtime),
            stat.pzxid,
            stat.cversion,
            stat.version,
            stat.aversion,
            stat.ephemeral_owner,
        ),
    )?;
    let data = record.data.as_ref().map_or(&[][..], |data| &data.slice);
    match format {
        SnapshotFormat::Data => print(out, format_args!("  data = {}\n", STANDARD.encode(data))),
        _ => print(out, format_args!("  dataLength = {}\n", data.len())),
    }
}

/// A znode with children is an array that begins with itself.
fn print_json(snapshot: &Snapshot, out: &mut dyn Write) -> Result<()> {
    print(out, format_args!(r#"[1,0,{{"progname":"zkserver","progver":"{}"}}"#, env!("CARGO_PKG_VERSION")))?;
    // The paths whose arrays are open.
    let mut open: Vec<&str> = Vec::new();
    for (at, (path, record)) in snapshot.znodes.iter().enumerate() {
        while open.last().is_some_and(|parent| !is_below(path, parent)) {
            open.pop();
            print(out, format_args!("]"))?;
        }
        let name = if path == "/" { "/" } else { path.rsplit('/').next().unwrap_or_default() };
        let bytes = record.data.as_ref().map_or(0, |data| data.slice.len());
        let znode = json!({ "name": name, "asize": bytes, "dsize": bytes, "dev": 0, "ino": 1001 + at });
        let has_children = snapshot.znodes.get(at + 1).is_some_and(|(next, _)| is_below(next, path));
        if has_children {
            open.push(path);
        }
        print(out, format_args!(",{}{znode}", if has_children { "[" } else { "" }))?;
    }
    print(out, format_args!("{}]\n", "]".repeat(open.len())))
}

fn is_below(path: &str, ancestor: &str) -> bool {
    ancestor == "/" || path.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;
    use crate::storage::java_snapshot::snapshot_files;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/java_data_dir");

    fn dump(format: SnapshotFormat) -> String {
        let path = snapshot_files(&OsDisk, &Path::new(FIXTURE).join("version-2")).unwrap().remove(0).path;
        let mut out = Vec::new();
        dump_snapshot(&OsDisk, &path, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The parts between rules, sorted: ZooKeeper walks children in the order of its hash map.
    fn parts(text: &str) -> Vec<&str> {
        let mut parts: Vec<_> = text.split("----\n").collect();
        parts.sort_unstable();
        parts
    }

    #[test]
    fn a_snapshot_reads_as_zookeepers_own_tool_prints_it() {
        let expected = std::fs::read_to_string(Path::new(FIXTURE).join("snapshot.txt")).unwrap();
        // Of the captured version's tool; later ones print the digest too.
        let ours = dump(SnapshotFormat::Data);
        let without_digest: String = ours
            .lines()
            .filter(|line| !line.starts_with("Target zxid digest"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(parts(&without_digest), parts(&expected));
    }

    #[test]
    fn the_json_holds_every_znode_once() {
        let text = dump(SnapshotFormat::Json);
        let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
        let znodes = dump(SnapshotFormat::Stats).matches("cZxid").count();
        assert_eq!(tree[3][0]["name"], "/");
        assert_eq!(text.matches("\"ino\"").count(), znodes);
    }
}
