//! Writing a whole tree to a new database.

use std::path::Path;

use super::runs::Runs;
use super::{VOIDS_LOG_KEY, encode_head, flush_mark, open_database, remove_dir};
use crate::storage::error::{Error, Result};
use crate::storage::snapshot::{SnapshotHead, ZnodeSink};
use crate::zab::Zxid;

/// So much is sorted at a time. A walk in order makes files that do not overlap, which RocksDB likes best.
const RUN_BYTES: usize = 32 << 20;

/// Makes a database at `path` that holds what `feed` gives it. It is complete and on the disk on return.
pub(super) fn build(
    path: &Path,
    head: &SnapshotHead,
    replaced_at: Option<Zxid>,
    voids_log: bool,
    feed: &mut dyn FnMut(&mut ZnodeSink<'_>) -> Result<()>,
) -> Result<()> {
    let runs_dir = path.with_extension("tmp");
    remove_dir(path)?;
    remove_dir(&runs_dir)?;
    let mut runs = Runs::new(runs_dir, RUN_BYTES);
    feed(&mut |path, record| runs.add(path, Some(record)))?;

    let db = open_database(path)?;
    if voids_log {
        db.put(VOIDS_LOG_KEY, []).map_err(Error::database(path))?;
    }
    flush_mark(&db).map_err(Error::database(path))?;
    runs.move_into(&db, &encode_head(head, replaced_at))
}
