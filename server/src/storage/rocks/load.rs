//! Reading the whole database: one thread reads and decodes while the caller's builds the tree.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::codec::{RecordDecoder, decode_path};
use super::{HEAD_KEY, ZNODES, damaged, family};
use crate::storage::error::Result;
use crate::tree::ZnodeRecord;

/// Znodes handed over at once: enough that the hand-over costs nothing.
const BATCH_ZNODES: usize = 4096;
/// Batches that wait for the builder.
const BATCHES_MAX: usize = 16;
const READAHEAD_BYTES: usize = 2 << 20;

/// Some znodes, their paths one behind the other.
#[derive(Default)]
struct Batch {
    paths: String,
    /// Each with the end of its path.
    znodes: Vec<(usize, ZnodeRecord)>,
}

pub(super) fn load(db: &DB, path: &Path, visit: &mut dyn FnMut(&str, ZnodeRecord)) -> Result<()> {
    let (sender, batches) = sync_channel(BATCHES_MAX);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read(db, path, &sender));
        for Batch { paths, znodes } in batches {
            let mut start = 0;
            for (end, record) in znodes {
                visit(&paths[start..end], record);
                start = end;
            }
        }
        reader.join().expect("the reader returns its errors")
    })
}

/// At the first of all znodes, which come in order.
pub(super) fn znodes(db: &DB) -> DBRawIterator<'_> {
    let mut options = ReadOptions::default();
    options.set_readahead_size(READAHEAD_BYTES);
    options.fill_cache(false);
    options.set_verify_checksums(true);
    options.set_iterate_upper_bound(HEAD_KEY);
    let mut znodes = db.raw_iterator_cf_opt(family(db, ZNODES), options);
    znodes.seek_to_first();
    znodes
}

fn read(db: &DB, path: &Path, sender: &SyncSender<Batch>) -> Result<()> {
    let mut decoder = RecordDecoder::new();
    let mut batch = Batch::default();
    let mut rows = znodes(db);
    while let Some((key, value)) = rows.item() {
        let record = decoder.decode(value).ok_or_else(|| damaged(path, "a znode is of an unknown format"))?;
        decode_path(key, &mut batch.paths).ok_or_else(|| damaged(path, "a key is no path"))?;
        batch.znodes.push((batch.paths.len(), record));
        if batch.znodes.len() == BATCH_ZNODES {
            // Received until we hang up: the receiver outlives this thread.
            let _ = sender.send(std::mem::take(&mut batch));
        }
        rows.next();
    }
    rows.status().map_err(|error| damaged(path, error.as_ref()))?;
    let _ = sender.send(batch);
    Ok(())
}
