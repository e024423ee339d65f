//! Databases of format 1: heads and sessions had families of their own.

use std::path::Path;

use rocksdb::DB;

use super::{FORMAT_KEY, VOIDS_LOG_KEY, damaged, family, load, replace};
use crate::session::SessionId;
use crate::storage::error::{Error, Result};
use crate::storage::snapshot::SnapshotHead;
use crate::zab::Zxid;

pub(super) const FORMAT: u8 = 1;
const SESSIONS: &str = "sessions";

/// Writes what is in `db`, which is at `path`, to a database at `to`.
pub(super) fn upgrade(db: &DB, path: &Path, to: &Path) -> Result<()> {
    let (head, replaced_at) = read_head(db, path)?;
    let voids_log = db.get(VOIDS_LOG_KEY).map_err(Error::database(path))?.is_some();
    replace::build(to, &head, replaced_at, voids_log, &mut |sink| {
        let mut outcome = Ok(());
        load::load(db, path, &mut |znode, record| {
            if outcome.is_ok() {
                outcome = sink(znode, &record);
            }
        })?;
        outcome
    })
}

/// The format, the zxid, the digest, and when the tree was last written as a whole, -1 being never.
fn read_head(db: &DB, path: &Path) -> Result<(SnapshotHead, Option<Zxid>)> {
    let unknown = || damaged(path, "its head is of an unknown format");
    let value = db.get(FORMAT_KEY).map_err(Error::database(path))?.ok_or_else(unknown)?;
    let (_, numbers) = value.split_first().ok_or_else(unknown)?;
    let (head, replaced_at) = super::decode_head(numbers).ok_or_else(unknown)?;
    let mut sessions = Vec::new();
    let mut rows = db.raw_iterator_cf(family(db, SESSIONS));
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        let session = key.try_into().map(i64::from_be_bytes);
        let timeout_ms = value.try_into().map(i32::from_be_bytes);
        let (Ok(session), Ok(timeout_ms)) = (session, timeout_ms) else {
            return Err(damaged(path, "a session is of an unknown format"));
        };
        sessions.push((SessionId(session), timeout_ms));
        rows.next();
    }
    rows.status().map_err(|error| damaged(path, error.as_ref()))?;
    Ok((SnapshotHead { sessions, ..head }, replaced_at))
}
