//! The two indexes of a segment: files of entries of one size, sorted, where to begin looking. Each can be made
//! again from the batches, so neither has a checksum, nor is it synced before its segment is closed.
//!
//! An index holds no open file and, but for the entries not yet written, no memory: a partition nobody uses costs
//! nothing here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::names::{FileKind, FileName, Stage};

/// Entries are written when there are so many.
const UNWRITTEN_MAX: usize = 512;
/// A search ends by reading so many entries at once.
const BLOCK_ENTRIES: u32 = 64;

/// A file of entries of `N` bytes.
#[derive(Debug)]
struct Entries<const N: usize> {
    dir: Arc<Path>,
    name: FileName,
    written: u32,
    unwritten: Vec<[u8; N]>,
    last: Option<[u8; N]>,
}

impl<const N: usize> Entries<N> {
    /// One without entries. A file that is there is emptied by the first write.
    fn empty(dir: &Arc<Path>, name: FileName) -> Self {
        Self { dir: dir.clone(), name, written: 0, unwritten: Vec::new(), last: None }
    }

    /// `None` where there is no file, or one that is no multiple of `N` bytes, or does not end with entries that
    /// are `sorted`: a machine that stopped may have left zeros.
    fn open(
        dir: &Arc<Path>,
        name: FileName,
        sorted: impl Fn(&[u8; N], &[u8; N]) -> bool,
    ) -> Result<Option<Self>, Error> {
        let mut entries = Self::empty(dir, name);
        let path = entries.path();
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("look at", &path)(error)),
        };
        let Some(written) = u32::try_from(size / N as u64).ok().filter(|_| size % N as u64 == 0) else {
            return Ok(None);
        };
        if written > 0 {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let from = written.saturating_sub(BLOCK_ENTRIES);
            let end: Vec<[u8; N]> = read_block(&file, from, written).map_err(Error::io("read", &path))?;
            if !end.is_sorted_by(sorted) {
                return Ok(None);
            }
            entries.last = end.last().copied();
        }
        entries.written = written;
        Ok(Some(entries))
    }

    fn path(&self) -> PathBuf {
        self.name.in_dir(&self.dir)
    }

    fn len(&self) -> u32 {
        self.written + self.unwritten.len() as u32
    }

    fn push(&mut self, entry: [u8; N]) -> Result<(), Error> {
        self.unwritten.push(entry);
        self.last = Some(entry);
        if !self.unwritten.len().is_multiple_of(UNWRITTEN_MAX) {
            return Ok(());
        }
        match self.write() {
            // The batch stands in the log already. The entries are written when there is room.
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }

    /// Writes what has not been, and makes the file exactly as long as the entries are.
    fn write(&mut self) -> Result<(), Error> {
        let path = self.path();
        let file = open_to_write(&path)?;
        let end = u64::from(self.written) * N as u64;
        file.set_len(end).map_err(Error::io("cut", &path))?;
        file.write_all_at(self.unwritten.as_flattened(), end).map_err(Error::io("write", &path))?;
        self.written += self.unwritten.len() as u32;
        self.unwritten = Vec::new();
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        let path = self.path();
        open_to_write(&path)?.sync_all().map_err(Error::sync(&path))
    }

    /// Keeps the first `count` entries.
    fn truncate(&mut self, count: u32) -> Result<(), Error> {
        if count >= self.len() {
            return Ok(());
        }
        self.unwritten.truncate(count.saturating_sub(self.written) as usize);
        self.written = self.written.min(count);
        self.write()?;
        self.last = match count.checked_sub(1) {
            Some(last) => Some(self.read(last)?),
            None => None,
        };
        Ok(())
    }

    /// The entry numbered `at`, which must be there.
    fn read(&self, at: u32) -> Result<[u8; N], Error> {
        if let Some(entry) = at.checked_sub(self.written).and_then(|at| self.unwritten.get(at as usize)) {
            return Ok(*entry);
        }
        let path = self.path();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        read_entry(&file, at).map_err(Error::io("read", &path))
    }

    /// The last entry for which `holds`, which holds for the first so many and for none after.
    fn last_where(&self, holds: impl Fn(&[u8; N]) -> bool) -> Result<Option<[u8; N]>, Error> {
        Ok(match self.count_where(holds)?.checked_sub(1) {
            Some(at) => Some(self.read(at)?),
            None => None,
        })
    }

    /// For how many entries `holds`.
    fn count_where(&self, holds: impl Fn(&[u8; N]) -> bool) -> Result<u32, Error> {
        if self.last.as_ref().is_none_or(&holds) {
            return Ok(self.len());
        }
        if self.unwritten.first().is_some_and(&holds) {
            return Ok(self.written + self.unwritten.partition_point(holds) as u32);
        }
        if self.written == 0 {
            return Ok(0);
        }
        let path = self.path();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        search(&file, self.written, holds).map_err(Error::io("read", &path))
    }
}

fn search<const N: usize>(file: &File, count: u32, holds: impl Fn(&[u8; N]) -> bool) -> io::Result<u32> {
    let (mut low, mut high) = (0, count);
    while high - low > BLOCK_ENTRIES {
        let middle = low + (high - low) / 2;
        if holds(&read_entry(file, middle)?) { low = middle + 1 } else { high = middle }
    }
    Ok(low + read_block(file, low, high)?.partition_point(holds) as u32)
}

fn read_block<const N: usize>(file: &File, from: u32, upto: u32) -> io::Result<Vec<[u8; N]>> {
    let mut block = vec![[0; N]; (upto - from) as usize];
    file.read_exact_at(block.as_flattened_mut(), u64::from(from) * N as u64)?;
    Ok(block)
}

fn read_entry<const N: usize>(file: &File, at: u32) -> io::Result<[u8; N]> {
    let mut entry = [0; N];
    file.read_exact_at(&mut entry, u64::from(at) * N as u64)?;
    Ok(entry)
}

fn open_to_write(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(Error::io("open", path))
}

/// Offset → position of the batch that ends with it. Kafka's `OffsetIndex`: `.index`, 8 bytes an entry.
#[derive(Debug)]
pub(super) struct OffsetIndex(Entries<8>);

impl OffsetIndex {
    const ENTRY_BYTES: u32 = 8;

    pub(super) fn empty(dir: &Arc<Path>, base_offset: i64, stage: Stage) -> Self {
        Self(Entries::empty(dir, FileName { offset: base_offset, kind: FileKind::OffsetIndex, stage }))
    }

    /// `None` where the file is missing or cannot be one of a log of `log_bytes`.
    pub(super) fn open(dir: &Arc<Path>, base_offset: i64, log_bytes: u64) -> Result<Option<Self>, Error> {
        let entries = Entries::open(dir, FileName::live(base_offset, FileKind::OffsetIndex), |a, b| {
            relative_in(a) < relative_in(b) && position_in(a) < position_in(b)
        })?;
        Ok(entries.filter(|it| it.last.is_none_or(|last| position_in(&last) < log_bytes)).map(Self))
    }

    pub(super) fn is_full(&self, bytes_max: u32) -> bool {
        self.0.len() >= bytes_max / Self::ENTRY_BYTES
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.0.len()) * u64::from(Self::ENTRY_BYTES)
    }

    /// Both must be above those of the last entry, and the offset within 2^31 of the base.
    pub(super) fn push(&mut self, offset: i64, position: u64) -> Result<(), Error> {
        let (Ok(relative), Ok(position)) =
            (u32::try_from(offset - self.0.name.offset), u32::try_from(position))
        else {
            return Err(Error::corrupt(&self.0.path(), format!("no place for offset {offset}")));
        };
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.0.push(entry)
    }

    /// Where to begin looking for `offset`: the position of a batch that does not begin after it.
    pub(super) fn position_before(&self, offset: i64) -> Result<u64, Error> {
        let relative = offset - self.0.name.offset;
        let found = self.0.last_where(|entry| relative_in(entry) <= relative)?;
        Ok(found.map_or(0, |entry| position_in(&entry)))
    }

    /// The last position known at which a batch begins, not after `position`.
    pub(super) fn batch_at_or_before(&self, position: u64) -> Result<u64, Error> {
        let found = self.0.last_where(|entry| position_in(entry) <= position)?;
        Ok(found.map_or(0, |entry| position_in(&entry)))
    }

    pub(super) fn last_position(&self) -> u64 {
        self.0.last.map_or(0, |entry| position_in(&entry))
    }

    /// Forgets what is at `position` and after.
    pub(super) fn truncate(&mut self, position: u64) -> Result<(), Error> {
        self.0.truncate(self.0.count_where(|entry| position_in(entry) < position)?)
    }

    pub(super) fn write(&mut self) -> Result<(), Error> {
        self.0.write()
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.0.sync()
    }

    pub(super) fn move_to(&mut self, dir: &Arc<Path>, stage: Stage) {
        self.0.dir = dir.clone();
        self.0.name.stage = stage;
    }
}

fn relative_in(entry: &[u8; 8]) -> i64 {
    let [a, b, c, d, ..] = *entry;
    i64::from(u32::from_be_bytes([a, b, c, d]))
}

fn position_in(entry: &[u8; 8]) -> u64 {
    let [.., a, b, c, d] = *entry;
    u64::from(u32::from_be_bytes([a, b, c, d]))
}

/// Largest timestamp so far → offset of the batch that has it. Kafka's `TimeIndex`: `.timeindex`, 12 bytes an
/// entry.
#[derive(Debug)]
pub(super) struct TimeIndex(Entries<12>);

impl TimeIndex {
    const ENTRY_BYTES: u32 = 12;

    pub(super) fn empty(dir: &Arc<Path>, base_offset: i64, stage: Stage) -> Self {
        Self(Entries::empty(dir, FileName { offset: base_offset, kind: FileKind::TimeIndex, stage }))
    }

    /// `None` where the file is missing or cannot be one.
    pub(super) fn open(dir: &Arc<Path>, base_offset: i64) -> Result<Option<Self>, Error> {
        let entries = Entries::open(dir, FileName::live(base_offset, FileKind::TimeIndex), |a, b| {
            timestamp_in(a) < timestamp_in(b)
        })?;
        Ok(entries.filter(|it| it.last.is_none_or(|last| timestamp_in(&last) >= 0)).map(Self))
    }

    pub(super) fn is_full(&self, bytes_max: u32) -> bool {
        // The last place is for the entry that closes the segment.
        self.0.len() + 1 >= bytes_max / Self::ENTRY_BYTES
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.0.len()) * u64::from(Self::ENTRY_BYTES)
    }

    /// Adds an entry if its timestamp is above the last one's.
    pub(super) fn push(&mut self, timestamp: i64, offset: i64) -> Result<(), Error> {
        let last = self.0.last.map_or(-1, |entry| timestamp_in(&entry));
        let Ok(relative) = u32::try_from(offset - self.0.name.offset) else {
            return Err(Error::corrupt(&self.0.path(), format!("no place for offset {offset}")));
        };
        if timestamp <= last {
            return Ok(());
        }
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.0.push(entry)
    }

    /// The last entry: the largest timestamp that the index knows, and the offset of the batch that has it.
    pub(super) fn last(&self) -> Option<(i64, i64)> {
        self.0.last.map(|entry| (timestamp_in(&entry), self.offset_in(&entry)))
    }

    /// An offset before which all timestamps are below `timestamp`.
    pub(super) fn offset_before(&self, timestamp: i64) -> Result<i64, Error> {
        let found = self.0.last_where(|entry| timestamp_in(entry) < timestamp)?;
        Ok(found.map_or(self.0.name.offset, |entry| self.offset_in(&entry)))
    }

    /// Forgets offsets from this one on.
    pub(super) fn truncate(&mut self, offset: i64) -> Result<(), Error> {
        self.0.truncate(self.0.count_where(|entry| self.offset_in(entry) < offset)?)
    }

    pub(super) fn write(&mut self) -> Result<(), Error> {
        self.0.write()
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.0.sync()
    }

    pub(super) fn move_to(&mut self, dir: &Arc<Path>, stage: Stage) {
        self.0.dir = dir.clone();
        self.0.name.stage = stage;
    }

    fn offset_in(&self, entry: &[u8; 12]) -> i64 {
        let [.., a, b, c, d] = *entry;
        self.0.name.offset + i64::from(u32::from_be_bytes([a, b, c, d]))
    }
}

fn timestamp_in(entry: &[u8; 12]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *entry;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Arc<Path>) {
        let dir = tempfile::tempdir().unwrap();
        let path = Arc::from(dir.path());
        (dir, path)
    }

    #[test]
    fn the_files_are_these_bytes() {
        let (_guard, dir) = dir();
        let mut offsets = OffsetIndex::empty(&dir, 100, Stage::Live);
        offsets.push(105, 0x1234).unwrap();
        offsets.write().unwrap();
        let bytes = std::fs::read(dir.join("00000000000000000100.index")).unwrap();
        assert_eq!(bytes, [0, 0, 0, 5, 0, 0, 0x12, 0x34]);
        let mut times = TimeIndex::empty(&dir, 100, Stage::Live);
        times.push(0x0102, 107).unwrap();
        times.write().unwrap();
        let bytes = std::fs::read(dir.join("00000000000000000100.timeindex")).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 7]);
    }

    #[test]
    fn what_is_found_is_the_same_whether_written_or_not() {
        let (_guard, dir) = dir();
        let mut offsets = OffsetIndex::empty(&dir, 0, Stage::Live);
        for at in 0..1500_u32 {
            offsets.push(i64::from(at) * 10 + 9, u64::from(at) * 100).unwrap();
        }
        let look = |index: &OffsetIndex| {
            for offset in [0, 8, 9, 10, 5000, 5008, 5009, 14_998, 14_999, 20_000] {
                let expected = if offset < 9 { 0 } else { ((offset - 9) / 10).min(1499) as u64 * 100 };
                assert_eq!(index.position_before(offset).unwrap(), expected, "{offset}");
            }
            assert_eq!(index.batch_at_or_before(777).unwrap(), 700);
        };
        look(&offsets);
        offsets.write().unwrap();
        look(&offsets);
        look(&OffsetIndex::open(&dir, 0, u64::MAX).unwrap().unwrap());
    }

    #[test]
    fn truncation_forgets_what_comes_after() {
        let (_guard, dir) = dir();
        for written in [false, true] {
            let mut times = TimeIndex::empty(&dir, 0, Stage::Live);
            for at in 0..1000 {
                times.push(at * 2, at).unwrap();
            }
            if written {
                times.write().unwrap();
            }
            times.truncate(600).unwrap();
            assert_eq!(times.last(), Some((1198, 599)));
            assert_eq!(times.offset_before(1198).unwrap(), 598);
            times.truncate(0).unwrap();
            assert_eq!(times.last(), None);
        }
    }

    #[test]
    fn a_file_that_cannot_be_an_index_is_not_opened() {
        let (_guard, dir) = dir();
        std::fs::write(dir.join("00000000000000000000.index"), [0; 7]).unwrap();
        assert!(OffsetIndex::open(&dir, 0, 100).unwrap().is_none());
        std::fs::write(dir.join("00000000000000000000.index"), [0, 0, 0, 1, 0, 0, 1, 0]).unwrap();
        assert!(OffsetIndex::open(&dir, 0, 100).unwrap().is_none());
        assert!(OffsetIndex::open(&dir, 0, 257).unwrap().is_some());
        assert!(OffsetIndex::open(&dir, 5, 257).unwrap().is_none());
        std::fs::write(dir.join("00000000000000000000.timeindex"), [0; 24]).unwrap();
        assert!(TimeIndex::open(&dir, 0).unwrap().is_none());
    }
}
