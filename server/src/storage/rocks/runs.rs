//! Sorted files made of znodes that come in any order, for a database to take in as they are.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IngestExternalFileOptions, SstFileWriter};

use super::{HEAD_KEY, ZNODES, codec, family, options, remove_dir};
use crate::storage::error::{Error, IoContext, Result};
use crate::tree::ZnodeRecord;

/// Znodes that are to be put into a database, or deleted from it. A file is written when there is enough for one, so
/// that memory is bounded.
#[derive(Debug)]
pub(super) struct Runs {
    dir: PathBuf,
    bytes_max: usize,
    /// Each is sorted; what stands in a later one is newer.
    files: Vec<PathBuf>,
    /// Keys and values that are in no file yet, one behind the other.
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// How many were added.
    count: usize,
}

/// A key and its value in `bytes`. No znode's value is empty: what has none is deleted.
#[derive(Debug, Clone, Copy)]
struct Row {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Runs {
    /// Writes files of about so many bytes to `dir`, which is its own, and is there only while files are.
    pub(super) fn new(dir: PathBuf, bytes_max: usize) -> Self {
        Self { dir, bytes_max, files: Vec::new(), bytes: Vec::new(), rows: Vec::new(), count: 0 }
    }

    /// How many znodes were added since anything was moved.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Lets go of all that was added.
    pub(super) fn clear(&mut self) {
        // Files that stay are written over, and go with the next ones.
        let _ = remove_dir(&self.dir);
        *self = Self::new(std::mem::take(&mut self.dir), self.bytes_max);
    }

    /// Adds a znode, or `None` to delete it. What was added before about the same path is void.
    ///
    /// # Errors
    /// When the disk fails. What was added is still there.
    pub(super) fn add(&mut self, path: &str, record: Option<&ZnodeRecord>) -> Result<()> {
        let start = self.bytes.len();
        codec::encode_path(path, &mut self.bytes);
        let key_end = self.bytes.len();
        if let Some(record) = record {
            codec::encode_record(record, &mut self.bytes);
        }
        self.rows.push(Row { start, key_end, end: self.bytes.len() });
        self.count += 1;
        if self.bytes.len() >= self.bytes_max { self.write_file(None) } else { Ok(()) }
    }

    /// Puts all that was added into `db`, with the head that goes with it: all or nothing, and durable on return.
    ///
    /// # Errors
    /// When the disk fails. What was added is still there, to be moved into the database once that is opened again.
    pub(super) fn move_into(&mut self, db: &DB, head: &[u8]) -> Result<()> {
        self.write_file(Some(head))?;
        let mut move_in = IngestExternalFileOptions::default();
        move_in.set_move_files(true);
        db.ingest_external_file_cf_opts(family(db, ZNODES), &move_in, self.files.clone())
            .map_err(Error::database(&self.dir))?;
        self.files.clear();
        self.count = 0;
        remove_dir(&self.dir)
    }

    fn write_file(&mut self, head: Option<&[u8]>) -> Result<()> {
        fs::create_dir_all(&self.dir).during("create", &self.dir)?;
        let path = self.dir.join(format!("{}.sst", self.files.len()));
        let (bytes, rows) = (&self.bytes, sorted(&self.bytes, &self.rows));
        let rows = rows.iter().map(|row| (row.key(bytes), &bytes[row.key_end..row.end]));
        let head = head.map(|head| (HEAD_KEY, head));
        write_sorted(&path, rows.chain(head)).map_err(Error::database(&path))?;
        self.files.push(path);
        self.rows.clear();
        self.bytes.clear();
        Ok(())
    }
}

impl Row {
    fn key(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.key_end]
    }
}

/// In the order of their keys; of those that have the same, the last.
fn sorted(bytes: &[u8], rows: &[Row]) -> Vec<Row> {
    // Keys begin alike, and the few bytes behind that mostly decide: those are compared without a look at the keys.
    let first = rows.first().map_or(&[][..], |row| row.key(bytes));
    let alike = |key: &[u8]| first.iter().zip(key).take_while(|(a, b)| a == b).count();
    let alike = rows.iter().map(|row| alike(row.key(bytes))).min().unwrap_or(0);
    let few = |row: &Row| {
        let mut few = [0; 16];
        few.iter_mut().zip(&row.key(bytes)[alike..]).for_each(|(few, byte)| *few = *byte);
        u128::from_be_bytes(few)
    };
    let mut order: Vec<_> = rows.iter().map(|row| (few(row), *row)).collect();
    order.sort_unstable_by(|(few_a, a), (few_b, b)| {
        few_a.cmp(few_b).then_with(|| a.key(bytes).cmp(b.key(bytes))).then(a.start.cmp(&b.start))
    });
    let same =
        |(few_a, a): &(u128, Row), (few_b, b): &(u128, Row)| few_a == few_b && a.key(bytes) == b.key(bytes);
    order.chunk_by(same).filter_map(<[_]>::last).map(|(_, row)| *row).collect()
}

fn write_sorted<'a>(
    path: &Path,
    rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> std::result::Result<(), rocksdb::Error> {
    let options = options();
    let mut writer = SstFileWriter::create(&options);
    writer.open(path)?;
    for (key, value) in rows {
        if value.is_empty() { writer.delete(key)? } else { writer.put(key, value)? }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_sorted_and_the_newest_stays(
            prefix in "[ab]{0,20}",
            keys in proptest::collection::vec("[ab]{0,3}([ab]{14,18})?[ab\u{0}]{0,3}", 0..40),
        ) {
            let (mut bytes, mut rows, mut expected) = (Vec::new(), Vec::new(), BTreeMap::new());
            for key in keys {
                let key = format!("{prefix}{key}").into_bytes();
                let start = bytes.len();
                bytes.extend_from_slice(&key);
                let key_end = bytes.len();
                bytes.push(1);
                rows.push(Row { start, key_end, end: bytes.len() });
                expected.insert(key, start);
            }
            let sorted: Vec<_> =
                sorted(&bytes, &rows).into_iter().map(|row| (row.key(&bytes).to_vec(), row.start)).collect();
            let expected: Vec<_> = expected.into_iter().collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
