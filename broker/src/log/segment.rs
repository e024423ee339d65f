//! A stretch of the log: its batches in one file, with two indexes beside. Kafka's `LogSegment`.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{FallocateFlags, fallocate};

use super::batch::BatchHead;
use super::error::Error;
use super::index::{OffsetIndex, TimeIndex};
use super::names::{FileKind, FileName, Stage, path_of};
use super::scan::{Scan, ScanError};
use crate::config::topic::TopicConfig;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    dir: Arc<Path>,
    base_offset: i64,
    stage: Stage,
    file: Arc<File>,
    /// Bytes of whole batches; what may be after them in the file is none of the log's.
    size: u64,
    offsets: OffsetIndex,
    times: TimeIndex,
    /// The largest timestamp, and the last offset of the first batch that has it.
    newest: Option<(i64, i64)>,
    /// The first batch's largest, which may be -1; `None` until it is known.
    first_timestamp: Option<i64>,
    bytes_since_entry: u64,
    created_ms: i64,
}

/// A batch, and where it stands in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) position: u64,
    pub(super) head: BatchHead,
}

/// What a recovery found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The offset after the last good batch.
    pub(super) next_offset: i64,
    /// Bytes cut off, because they were no good batch.
    pub(super) cut: u64,
}

impl Segment {
    /// A new one without batches. Files of its name that are left over are emptied.
    pub(super) fn create(
        dir: &Arc<Path>,
        base_offset: i64,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Self, Error> {
        let segment = Self::create_as(Stage::Live, dir, base_offset, now_ms)?;
        if config.preallocate {
            // Blocks only: the size stays that of the batches.
            fallocate(&segment.file, FallocateFlags::KEEP_SIZE, 0, u64::from(config.segment_bytes))
                .map_err(|error| Error::io("allocate", &segment.path())(error.into()))?;
        }
        Ok(segment)
    }

    /// A new one without batches, which is no part of the log unless it is [renamed](Self::rename).
    pub(super) fn create_as(
        stage: Stage,
        dir: &Arc<Path>,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Self, Error> {
        let path = FileName { offset: base_offset, kind: FileKind::Log, stage }.in_dir(dir);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        let mut segment = Self::new(stage, dir, base_offset, file, 0, now_ms);
        segment.write_indexes()?;
        Ok(segment)
    }

    fn new(stage: Stage, dir: &Arc<Path>, base_offset: i64, file: File, size: u64, now_ms: i64) -> Self {
        Self {
            dir: dir.clone(),
            base_offset,
            stage,
            file: Arc::new(file),
            size,
            offsets: OffsetIndex::empty(dir, base_offset, stage),
            times: TimeIndex::empty(dir, base_offset, stage),
            newest: None,
            first_timestamp: None,
            bytes_since_entry: 0,
            created_ms: now_ms,
        }
    }

    /// The one that is there, with its indexes if those can be its: else `false`, and it must be
    /// [recovered](Self::recover) before it is used.
    pub(super) fn open(dir: &Arc<Path>, base_offset: i64, now_ms: i64) -> Result<(Self, bool), Error> {
        let path = path_of(dir, base_offset, FileKind::Log);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(Error::io("open", &path))?;
        let size = file.metadata().map_err(Error::io("look at", &path))?.len();
        let mut segment = Self::new(Stage::Live, dir, base_offset, file, size, now_ms);
        let offsets = OffsetIndex::open(dir, base_offset, size)?;
        let times = TimeIndex::open(dir, base_offset)?;
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return Ok((segment, false));
        };
        segment.newest = times.last();
        (segment.offsets, segment.times) = (offsets, times);
        Ok((segment, true))
    }

    pub(super) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn index_bytes(&self) -> u64 {
        self.offsets.bytes().max(self.times.bytes())
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn path(&self) -> PathBuf {
        FileName { offset: self.base_offset, kind: FileKind::Log, stage: self.stage }.in_dir(&self.dir)
    }

    /// The largest timestamp of its records, and the last offset of the first batch with it.
    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        self.newest
    }

    /// What retention goes by: the largest timestamp, or the file's own where the records have none.
    pub(super) fn largest_timestamp(&self) -> Result<i64, Error> {
        if let Some((timestamp, _)) = self.newest {
            return Ok(timestamp);
        }
        let path = self.path();
        let modified =
            self.file.metadata().and_then(|it| it.modified()).map_err(Error::io("look at", &path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The first batch's largest timestamp; `None` without batches, or where it has none.
    pub(super) fn first_timestamp(&self) -> Result<Option<i64>, Error> {
        let first = match self.first_timestamp {
            None => self.read_first_timestamp().map_err(|it| self.unreadable(it))?,
            known => known,
        };
        Ok(first.filter(|timestamp| *timestamp >= 0))
    }

    fn read_first_timestamp(&self) -> Result<Option<i64>, ScanError> {
        let first = Scan::heads(&self.file, 0, self.size).next_head()?;
        Ok(first.map(|(_, head)| head.max_timestamp))
    }

    /// Whether a batch belongs in a new segment, when `pending` bytes will be appended before it.
    /// `jitter_ms` is what this partition takes off the age.
    #[doc(alias = "shouldRoll")]
    pub(super) fn must_roll(
        &self,
        config: &TopicConfig,
        jitter_ms: i64,
        head: &BatchHead,
        pending: usize,
        now_ms: i64,
    ) -> Result<bool, Error> {
        if !self.has_place_for(head.last_offset()) {
            return Ok(true);
        }
        let size = self.size + pending as u64;
        if size == 0 {
            return Ok(false);
        }
        let waited = match self.first_timestamp()? {
            Some(first) if head.max_timestamp >= 0 => head.max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        let age_max = i64::try_from(config.segment_age_max.as_millis()).unwrap_or(i64::MAX);
        Ok(size + head.size() as u64 > u64::from(config.segment_bytes)
            || waited > age_max.saturating_sub(jitter_ms)
            || self.offsets.is_full(config.segment_index_bytes)
            || self.times.is_full(config.segment_index_bytes))
    }

    /// Whether the indexes can say `offset`, which they keep in 31 bits.
    fn has_place_for(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset - self.base_offset))
    }

    /// Appends bytes in one write. On an error nothing has been appended, as far as this segment knows.
    ///
    /// # Errors
    /// [`Error::Full`] where there is no room and the file is as it was; any other leaves the file unknown.
    pub(super) fn write(&mut self, parts: [&[u8]; 2]) -> Result<u64, Error> {
        let position = self.size;
        match write_all_at(&self.file, parts, position) {
            Ok(()) => {
                self.size += (parts[0].len() + parts[1].len()) as u64;
                Ok(position)
            }
            Err(source) => {
                let path = self.path();
                match Error::io("write", &path)(source) {
                    Error::Full { path } => {
                        self.file.set_len(position).map_err(Error::io("cut", &path))?;
                        Err(Error::Full { path })
                    }
                    error => Err(error),
                }
            }
        }
    }

    /// Takes note of a batch that now stands at `position`.
    pub(super) fn note(
        &mut self,
        head: &BatchHead,
        position: u64,
        config: &TopicConfig,
    ) -> Result<(), Error> {
        if position == 0 {
            self.first_timestamp = Some(head.max_timestamp);
        }
        self.note_timestamp(head);
        if self.bytes_since_entry > u64::from(config.index_interval_bytes) {
            self.offsets.push(head.last_offset(), position)?;
            if let Some((timestamp, offset)) = self.newest {
                self.times.push(timestamp, offset)?;
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += head.size() as u64;
        Ok(())
    }

    fn note_timestamp(&mut self, head: &BatchHead) {
        let newest = self.newest.map_or(-1, |(timestamp, _)| timestamp);
        if head.max_timestamp > newest {
            self.newest = Some((head.max_timestamp, head.last_offset()));
        }
    }

    /// The first batch that ends at `offset` or later.
    pub(super) fn find(&self, offset: i64) -> Result<Option<Found>, Error> {
        let from = self.offsets.position_before(offset)?;
        let mut scan = Scan::heads(&self.file, from, self.size);
        while let Some((position, head)) = scan.next_head().map_err(|it| self.unreadable(it))? {
            if head.last_offset() >= offset {
                return Ok(Some(Found { position, head }));
            }
        }
        Ok(None)
    }

    /// The last end of a batch that is not after `limit`; `from` is where one begins, and the least it returns.
    pub(super) fn whole_batches(&self, from: u64, limit: u64) -> Result<u64, Error> {
        if limit >= self.size {
            return Ok(self.size);
        }
        let mut end = self.offsets.batch_at_or_before(limit)?.max(from);
        let mut scan = Scan::heads(&self.file, end, self.size);
        while let Some((position, head)) = scan.next_head().map_err(|it| self.unreadable(it))? {
            let next = position + head.size() as u64;
            if next > limit {
                break;
            }
            end = next;
        }
        Ok(end)
    }

    /// The first batch whose largest timestamp is `timestamp` or above, among those that end at `from` or later.
    pub(super) fn find_by_time(&self, timestamp: i64, from: i64) -> Result<Option<Found>, Error> {
        if self.newest.is_none_or(|(newest, _)| newest < timestamp) {
            return Ok(None);
        }
        let start = self.offsets.position_before(self.times.offset_before(timestamp)?)?;
        let mut scan = Scan::heads(&self.file, start, self.size);
        while let Some((position, head)) = scan.next_head().map_err(|it| self.unreadable(it))? {
            if head.max_timestamp >= timestamp && head.last_offset() >= from {
                return Ok(Some(Found { position, head }));
            }
        }
        Ok(None)
    }

    /// The offset after the last batch, by the end of the index and what comes after it; takes note of what is
    /// there.
    pub(super) fn next_offset(&mut self) -> Result<i64, ScanError> {
        let mut next = self.base_offset;
        let mut scan = Scan::heads(&self.file, self.offsets.last_position(), self.size);
        let mut newest = self.newest;
        let mut since_entry = 0;
        while let Some((_, head)) = scan.next_head()? {
            next = head.next_offset();
            since_entry += head.size() as u64;
            if head.max_timestamp > newest.map_or(-1, |(timestamp, _)| timestamp) {
                newest = Some((head.max_timestamp, head.last_offset()));
            }
        }
        self.newest = newest;
        self.bytes_since_entry = since_entry;
        self.first_timestamp = self.read_first_timestamp()?;
        Ok(next)
    }

    /// Reads all batches, makes the indexes anew, and cuts at the first batch that is not good: not whole, not
    /// the bytes that its CRC is of, or with an offset that does not come after those before it. `each` sees the
    /// good ones.
    pub(super) fn recover(
        &mut self,
        config: &TopicConfig,
        mut each: impl FnMut(&BatchHead),
    ) -> Result<Recovered, Error> {
        let file = self.file.clone();
        let (file_size, mut next_offset) = (self.size, self.base_offset);
        self.forget_batches();
        let mut scan = Scan::batches(&file, 0, file_size);
        loop {
            let (position, head) = match scan.next_batch() {
                Ok(Some((position, batch))) if batch.check_crc().is_ok() => (position, batch.head),
                Ok(_) | Err(ScanError::Flaw(..)) => break,
                Err(error) => return Err(self.unreadable(error)),
            };
            if head.base_offset < next_offset || !self.has_place_for(head.last_offset()) {
                break;
            }
            self.note(&head, position, config)?;
            each(&head);
            next_offset = head.next_offset();
            self.size = position + head.size() as u64;
        }
        let cut = file_size - self.size;
        if cut > 0 {
            let path = self.path();
            self.file.set_len(self.size).map_err(Error::io("cut", &path))?;
        }
        self.close_indexes()?;
        Ok(Recovered { next_offset, cut })
    }

    /// Forgets the batch at `position`, whose base offset is `offset`, and all after.
    pub(super) fn truncate(&mut self, position: u64, offset: i64) -> Result<(), Error> {
        let path = self.path();
        self.file.set_len(position).map_err(Error::io("cut", &path))?;
        self.size = position;
        self.offsets.truncate(position)?;
        self.times.truncate(offset)?;
        self.newest = self.times.last();
        self.next_offset().map(drop).map_err(|error| self.unreadable(error))
    }

    /// The last batch of the segment is written: so are its indexes, the newest timestamp included.
    #[doc(alias = "onBecomeInactiveSegment")]
    pub(super) fn close_indexes(&mut self) -> Result<(), Error> {
        if let Some((timestamp, offset)) = self.newest {
            self.times.push(timestamp, offset)?;
        }
        self.write_indexes()
    }

    /// Gives back blocks that were allocated and not used.
    pub(super) fn release_unused(&self) -> Result<(), Error> {
        let path = self.path();
        self.file.set_len(self.size).map_err(Error::io("cut", &path))
    }

    fn write_indexes(&mut self) -> Result<(), Error> {
        self.offsets.write()?;
        self.times.write()
    }

    /// Syncs batches and indexes.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let path = self.path();
        self.file.sync_all().map_err(Error::sync(&path))?;
        self.offsets.sync()?;
        self.times.sync()
    }

    /// Renames the files, so that they are no part of the log any more, and says what they are called now.
    pub(super) fn mark_deleted(&self) -> Result<Vec<PathBuf>, Error> {
        rename_files(&self.dir, self.base_offset, self.stage, Stage::Deleted)
    }

    /// Renames the files, which makes them another part of the log, or a part.
    pub(super) fn rename(&mut self, stage: Stage) -> Result<(), Error> {
        rename_files(&self.dir, self.base_offset, self.stage, stage)?;
        self.stage = stage;
        let dir = self.dir.clone();
        self.move_to(&dir);
        Ok(())
    }

    /// The partition's directory has another name.
    pub(super) fn move_to(&mut self, dir: &Arc<Path>) {
        self.dir = dir.clone();
        self.offsets.move_to(dir, self.stage);
        self.times.move_to(dir, self.stage);
    }

    /// From now on every write fails.
    #[cfg(test)]
    pub(super) fn break_writes(&mut self) {
        self.file = Arc::new(File::open(self.path()).unwrap());
    }

    pub(super) fn unreadable(&self, error: ScanError) -> Error {
        error.into_error(&self.path())
    }

    fn forget_batches(&mut self) {
        self.size = 0;
        self.offsets = OffsetIndex::empty(&self.dir, self.base_offset, self.stage);
        self.times = TimeIndex::empty(&self.dir, self.base_offset, self.stage);
        (self.newest, self.first_timestamp, self.bytes_since_entry) = (None, None, 0);
    }
}

/// Renames all files of a segment from one stage to another; says what they are called now.
fn rename_files(dir: &Path, base_offset: i64, from: Stage, to: Stage) -> Result<Vec<PathBuf>, Error> {
    let mut renamed = Vec::new();
    for kind in FileKind::OF_SEGMENT {
        let old = FileName { offset: base_offset, kind, stage: from }.in_dir(dir);
        let new = FileName { offset: base_offset, kind, stage: to }.in_dir(dir);
        match std::fs::rename(&old, &new) {
            Ok(()) => renamed.push(new),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("rename", &old)(error)),
        }
    }
    Ok(renamed)
}

/// Writes both parts, one after the other, with one call unless the system takes less at once.
fn write_all_at(file: &File, parts: [&[u8]; 2], at: u64) -> io::Result<()> {
    let [first, second] = parts;
    let mut done = 0;
    while done < first.len() + second.len() {
        let rest = [
            IoSlice::new(first.get(done..).unwrap_or_default()),
            IoSlice::new(second.get(done.saturating_sub(first.len())..).unwrap_or_default()),
        ];
        match rustix::io::pwritev(file, &rest, at + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
