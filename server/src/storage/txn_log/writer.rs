//! Writing the log.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, info, warn};

use super::segment::SegmentReader;
use super::{HEADER_BYTES, LogEnd, frame, header, log_files, log_name};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::error::{Error, IoContext, Result};
use crate::zab::Zxid;

/// Zeros are written this far at a time: enough to be rare, little enough not to delay the sync they ride on.
const ZERO_STEP_BYTES: u64 = 1 << 20;
static ZEROS: [u8; ZERO_STEP_BYTES as usize] = [0; ZERO_STEP_BYTES as usize];
/// A longer batch goes where no zeros are yet: its sync takes long enough for what the file system has to note.
const ZEROED_BATCH_BYTES_MAX: usize = 64 << 10;
/// See [`LogOptions::file_bytes_max`].
pub const FILE_BYTES_MAX: u64 = 128 << 20;
/// A batch's buffer that has grown beyond this is given back.
const BATCH_BYTES_KEPT: usize = 4 << 20;
/// Without `forceSync`, so much stays unsynced at most: far less than what the reader takes for one torn write.
const UNSYNCED_BYTES_MAX: u64 = 16 << 20;
/// The page cache keeps no more of what is synced, and forgets so much at once. Nobody is going to read it, and the
/// pages are wanted for what comes next: to get fresh ones costs more than all else about a write, in a virtual
/// machine tenfold.
const CACHED_BYTES: u64 = 8 << 20;
const FORGOTTEN_BYTES_MIN: u64 = 4 << 20;
/// On a disk that is nearly full, the first file may be so much smaller than `preallocate_bytes`.
const FIRST_FILE_PARTS: u64 = 64;
/// The next file before it has a name. Neither ZooKeeper nor [`log_files`] take it for a log.
const SPARE_NAME: &str = "preallocated.tmp";

/// Where the log is and how it is written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// `<dataLogDir>/version-2`.
    pub dir: PathBuf,
    /// `preAllocSize`: how much room is set aside at once.
    pub preallocate_bytes: u64,
    /// At least so much of it, and a quarter of `preallocate_bytes`, is always ahead of the writer.
    pub ahead_bytes: u64,
    /// `txnLogSizeLimitInKb`: a file that has become larger is followed by a new one. Unless configured, that
    /// is at [`FILE_BYTES_MAX`], since what is purged is whole files.
    pub file_bytes_max: Option<u64>,
    /// `forceSync`: without it, a crash of the machine loses what was acknowledged.
    pub force_sync: bool,
}

impl LogOptions {
    /// ZooKeeper's defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            preallocate_bytes: 64 << 20,
            ahead_bytes: 0,
            file_bytes_max: None,
            force_sync: true,
        }
    }

    fn ahead(&self) -> u64 {
        self.ahead_bytes.max(self.preallocate_bytes / 4)
    }

    /// A file of so many bytes is followed by a new one.
    fn is_long(&self, bytes: u64) -> bool {
        bytes > self.file_bytes_max.unwrap_or(FILE_BYTES_MAX)
    }
}

/// The log's end, to which txns are appended. After an error other than [`Error::Full`] it is of no further
/// use: nobody knows then what is on the disk, and only a restart can find out.
#[doc(alias = "FileTxnLog")]
#[doc(alias = "SyncRequestProcessor")]
#[derive(Debug)]
pub struct TxnLog {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    current: Option<Segment>,
    /// The file after `current`, so that a full disk is noticed while there is still room to go on.
    spare: Option<Segment>,
    last: Option<Zxid>,
    /// Records that were appended since the last sync.
    batch: Vec<u8>,
    /// Empty: its memory is used again.
    spare_batch: Vec<u8>,
    short: bool,
    failed: bool,
    /// A [`LogSync`] is under way.
    syncing: bool,
}

/// A batch to be written and synced, which may be done on another thread, while records are appended.
#[derive(Debug)]
#[must_use = "nothing is durable before it has run"]
pub struct LogSync {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    batch: Vec<u8>,
    place: Place,
    /// What the page cache may forget.
    forget: Option<Range<u64>>,
}

/// A batch that is on the disk; see [`TxnLog::end_sync`].
#[derive(Debug)]
pub struct Logged {
    batch: Vec<u8>,
}

impl LogSync {
    /// Writes the batch, and waits until it is on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn run(self) -> Result<Logged> {
        let Self { file, path, batch, place, forget } = self;
        place.write(&*file, &batch).during("write", &path)?;
        file.sync().during("sync", &path)?;
        forget.into_iter().for_each(|range| file.forget(range));
        Ok(Logged { batch })
    }
}

/// Where a batch goes.
#[derive(Debug)]
struct Place {
    /// Zeros are written here first.
    zeros: Option<Range<u64>>,
    at: u64,
}

impl Place {
    fn write(&self, file: &dyn DiskFile, batch: &[u8]) -> io::Result<()> {
        write_zeros(file, self.zeros.as_ref())?;
        file.write_at(self.at, batch)
    }
}

fn write_zeros(file: &dyn DiskFile, range: Option<&Range<u64>>) -> io::Result<()> {
    let Some(range) = range else { return Ok(()) };
    let len = usize::try_from(range.end - range.start).expect("at most a step");
    file.write_at(range.start, &ZEROS[..len])
}

/// A file that is written to. `HEADER_BYTES <= written <= zeroed <= reserved`, but for what a batch overtakes.
#[derive(Debug)]
struct Segment {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Behind the last synced record.
    written: u64,
    /// Up to here the file holds zeros that are on the disk, so that writing there changes no metadata.
    zeroed: u64,
    /// Up to here the file system has promised room.
    reserved: u64,
    /// Written, but not synced: only ever so without `forceSync`.
    unsynced: u64,
    /// Up to here the page cache was told to forget it.
    forgotten: u64,
    /// Its name may not be on the disk yet.
    unnamed: bool,
}

impl TxnLog {
    /// Carries on at `end`, where the reader stopped: what a crash left behind it is cut off first.
    ///
    /// # Errors
    /// When the disk fails; a full disk only makes the log [short](TxnLog::is_short).
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions, end: &LogEnd) -> Result<Self> {
        if let Some((path, offset)) = &end.file {
            if end.torn {
                warn!(path = %path.display(), offset, "cutting a torn write off the log");
            }
            cut(&*disk, &options.dir, path, *offset)?;
        }
        let mut log = Self {
            disk,
            options,
            current: None,
            spare: None,
            last: end.last,
            batch: Vec::new(),
            spare_batch: Vec::new(),
            short: false,
            failed: false,
            syncing: false,
        };
        log.make_room()?;
        Ok(log)
    }

    /// Adds a record to the batch; it is durable after the next [`TxnLog::sync`].
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room for it: it is then not in the batch, and the log goes on. It should
    /// not come to that: once the log is [short](TxnLog::is_short), let only small things in.
    ///
    /// # Panics
    /// When `zxid` is not above all others: a zxid is never used twice.
    pub fn append(&mut self, zxid: Zxid, payload: &[u8]) -> Result<()> {
        assert!(!self.failed, "append of {zxid} after a failed write");
        assert!(self.last.is_none_or(|last| last < zxid), "append of {zxid} after {:?}", self.last);
        self.begin_file(zxid)?;
        let before = self.batch.len();
        frame(payload, &mut self.batch);
        let fits = self.reserve_batch();
        if fits.is_err() {
            self.batch.truncate(before);
            return fits;
        }
        self.last = Some(zxid);
        Ok(())
    }

    /// Writes the batch and waits until it is on the disk: one write, one sync.
    ///
    /// # Errors
    /// When either fails. Then nothing of the batch may be acknowledged, and the server must stop.
    ///
    /// # Panics
    /// After an error, and while a [`LogSync`] is under way.
    pub fn sync(&mut self) -> Result<()> {
        assert!(!self.failed && !self.syncing, "sync after a failed write, or during another one");
        if self.batch.is_empty() {
            return Ok(());
        }
        let outcome = self.write_batch();
        self.failed = outcome.is_err();
        outcome?;
        if self.options.is_long(self.file_bytes()) {
            self.roll()?;
        }
        Ok(())
    }

    /// Returns what has to [run](LogSync::run) before the batch is written and durable; its outcome is told to
    /// [`TxnLog::end_sync`]. Meanwhile records can be appended, but nothing else be done. `None`: the batch is durable
    /// already, since a file begins or ends with it, or as much so as without `forceSync`.
    ///
    /// # Errors
    /// See [`TxnLog::sync`].
    ///
    /// # Panics
    /// See [`TxnLog::sync`].
    pub fn begin_sync(&mut self) -> Result<Option<LogSync>> {
        let is_plain = |segment: &&mut Segment| {
            !segment.unnamed && !self.options.is_long(segment.written + self.batch.len() as u64)
        };
        let current = self.current.as_mut().filter(is_plain);
        let Some(segment) = current.filter(|_| self.options.force_sync && !self.batch.is_empty()) else {
            self.sync()?;
            return Ok(None);
        };
        assert!(!self.failed && !self.syncing, "sync after a failed write, or during another one");
        let forget = segment.forgettable(CACHED_BYTES);
        let place = segment.place(self.batch.len());
        let (file, path) = (Arc::clone(&segment.file), segment.path.clone());
        let batch = std::mem::replace(&mut self.batch, std::mem::take(&mut self.spare_batch));
        self.syncing = true;
        Ok(Some(LogSync { file, path, batch, place, forget }))
    }

    /// What [`TxnLog::begin_sync`] wanted has run.
    ///
    /// # Errors
    /// The outcome's: nothing of what was to be written may then be acknowledged, and the server must stop.
    pub fn end_sync(&mut self, outcome: Result<Logged>) -> Result<()> {
        self.syncing = false;
        self.failed |= outcome.is_err();
        let Logged { batch } = outcome?;
        self.spare_batch = emptied(batch);
        if let Some(segment) = &mut self.current {
            segment.unsynced = 0;
        }
        Ok(())
    }

    /// How many bytes wait for the next sync.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Lets the next txn begin a new file. Files whose txns are all in old enough snapshots can be purged.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// With a batch that was not synced.
    pub fn roll(&mut self) -> Result<()> {
        assert!(self.batch.is_empty() && !self.syncing, "a file ends with a sync");
        if self.spare.is_none() {
            self.prepare_spare(self.options.preallocate_bytes)?;
        }
        // Without room for a new file, the old one must do.
        if self.spare.is_some()
            && let Some(mut segment) = self.current.take()
        {
            segment.sync(&*self.disk, &self.options.dir)?;
            segment.file.resize(segment.written).during("cut", &segment.path)?;
            segment.forget(0);
        }
        Ok(())
    }

    /// Forgets all txns after `zxid`, which must not be applied yet. The next one follows `zxid`, whether that stands in
    /// the log or is the last of a snapshot.
    ///
    /// # Errors
    /// When the log cannot be read or the disk fails.
    ///
    /// # Panics
    /// With a batch that was not synced.
    pub fn truncate_after(&mut self, zxid: Zxid) -> Result<()> {
        assert!(self.batch.is_empty() && !self.syncing, "nothing is truncated between append and sync");
        self.current = None;
        truncate_log(&self.disk, &self.options.dir, zxid)?;
        self.last = Some(zxid);
        self.make_room()
    }

    /// Begins anew behind `zxid`, of a history whose first part is a snapshot. All files of the log were removed.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// With a batch that was not synced.
    pub fn begin_anew(&mut self, zxid: Zxid) -> Result<()> {
        assert!(
            self.batch.is_empty() && !self.syncing,
            "nothing of another history is appended before this one begins"
        );
        self.current = None;
        self.last = Some(zxid);
        self.make_room()
    }

    /// The last txn appended, synced or not.
    #[must_use]
    pub fn last_zxid(&self) -> Option<Zxid> {
        self.last
    }

    /// How long the file is that is being written, without what is set aside.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |segment| segment.written)
    }

    /// The disk had no room to set aside ahead of the writer. What was set aside before still takes txns: it is
    /// for what makes room, such as deletions.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// So many bytes, framing included, can be appended for certain. Unless the log is short, that is at least
    /// [`LogOptions::ahead_bytes`] after each append.
    #[must_use]
    pub fn room(&self) -> u64 {
        let segment = self.current.as_ref().or(self.spare.as_ref());
        segment
            .map_or(0, |segment| segment.reserved - segment.written)
            .saturating_sub(self.batch.len() as u64)
    }

    /// Makes durable what was written without `forceSync`.
    ///
    /// # Errors
    /// When the disk fails; the log is then of no further use.
    ///
    /// # Panics
    /// While a [`LogSync`] is under way.
    pub fn sync_written(&mut self) -> Result<()> {
        assert!(!self.syncing, "one sync at a time");
        let Some(segment) = &mut self.current else { return Ok(()) };
        let outcome = segment.sync(&*self.disk, &self.options.dir);
        self.failed |= outcome.is_err();
        outcome
    }

    /// Tries to set room aside, if there is too little; then see [`TxnLog::is_short`].
    ///
    /// # Errors
    /// When the disk fails otherwise than by being full.
    pub fn make_room(&mut self) -> Result<()> {
        self.short = false;
        if self.current.is_none() && self.spare.is_none() {
            self.prepare_first()?;
        }
        let wanted = self.batch.len() as u64;
        match self.reserve(wanted) {
            Err(Error::Full { .. }) => Ok(()),
            other => other,
        }
    }

    fn begin_file(&mut self, first: Zxid) -> Result<()> {
        if self.current.is_some() {
            return Ok(());
        }
        if self.spare.is_none() {
            self.prepare_first()?;
        }
        let Some(mut segment) = self.spare.take() else {
            return Err(Error::Full { path: self.options.dir.clone() });
        };
        let path = self.options.dir.join(log_name(first));
        self.disk.rename(&segment.path, &path).during("rename", &path)?;
        debug!(path = %path.display(), "new log file");
        segment.path = path;
        self.current = Some(segment);
        Ok(())
    }

    /// Makes the first file: if there is no room for all of it, a smaller one.
    fn prepare_first(&mut self) -> Result<()> {
        let mut size = self.options.preallocate_bytes;
        let smallest = (size / FIRST_FILE_PARTS).max(HEADER_BYTES);
        while self.spare.is_none() && size >= smallest {
            self.prepare_spare(size)?;
            size /= 4;
        }
        Ok(())
    }

    /// Makes the file after the current one. Without room for it, there is none, and the log is short.
    fn prepare_spare(&mut self, size: u64) -> Result<()> {
        let path = self.options.dir.join(SPARE_NAME);
        match Segment::create(&*self.disk, path, size) {
            Ok(segment) => self.spare = Some(segment),
            Err(Error::Full { path }) => {
                self.short = true;
                // It may not even be there. If it stays, the next attempt empties it.
                let _ = self.disk.remove(&path);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn reserve_batch(&mut self) -> Result<()> {
        self.reserve(self.batch.len() as u64)
    }

    /// Sees to it that `bytes` fit behind what is written, and tries for what is to be ahead of that.
    fn reserve(&mut self, bytes: u64) -> Result<()> {
        let (unit, ahead) = (self.options.preallocate_bytes, self.options.ahead());
        let Some(segment) = self.current.as_mut().or(self.spare.as_mut()) else {
            return if bytes == 0 { Ok(()) } else { Err(Error::Full { path: self.options.dir.clone() }) };
        };
        let end = segment.written + bytes;
        if end + ahead <= segment.reserved {
            return Ok(());
        }
        if self.short && end <= segment.reserved {
            return Ok(()); // `make_room` tries again, not every append.
        }
        match segment.reserve(end + unit.max(ahead)) {
            Err(Error::Full { path }) => {
                let fits = end <= segment.reserved;
                self.short = true;
                if fits { Ok(()) } else { Err(Error::Full { path }) }
            }
            other => other,
        }
    }

    fn write_batch(&mut self) -> Result<()> {
        let segment = self.current.as_mut().expect("a batch has records, and append opened a file for them");
        segment.write(&self.batch)?;
        if self.options.force_sync || segment.unsynced > UNSYNCED_BYTES_MAX {
            segment.sync(&*self.disk, &self.options.dir)?;
        }
        self.batch = emptied(std::mem::take(&mut self.batch));
        Ok(())
    }
}

/// What is left of a batch's buffer for the next one.
fn emptied(mut batch: Vec<u8>) -> Vec<u8> {
    batch.clear();
    batch.shrink_to(BATCH_BYTES_KEPT);
    batch
}

impl Segment {
    fn create(disk: &dyn Disk, path: PathBuf, preallocate_bytes: u64) -> Result<Self> {
        let file = Arc::from(disk.create(&path).during("create", &path)?);
        let mut segment = Self {
            file,
            path,
            written: HEADER_BYTES,
            zeroed: HEADER_BYTES,
            reserved: 0,
            unsynced: 0,
            forgotten: 0,
            unnamed: true,
        };
        segment.reserve(preallocate_bytes.max(HEADER_BYTES))?;
        segment.file.write_at(0, &header()).during("write", &segment.path)?;
        let zeros = segment.zeros_ahead(HEADER_BYTES);
        write_zeros(&*segment.file, zeros.as_ref()).during("write", &segment.path)?;
        segment.file.sync().during("sync", &segment.path)?;
        Ok(segment)
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.reserved {
            self.file.reserve(bytes).during("set room aside for", &self.path)?;
            self.reserved = bytes;
        }
        Ok(())
    }

    /// Where zeros are to be written for the batches to come, if those before it have reached the last ones.
    fn zeros_ahead(&mut self, end: u64) -> Option<Range<u64>> {
        let from = self.zeroed.max(end);
        if end + ZERO_STEP_BYTES / 2 <= self.zeroed || from >= self.reserved {
            return None;
        }
        self.zeroed = from + ZERO_STEP_BYTES.min(self.reserved - from);
        Some(from..self.zeroed)
    }

    /// Makes way for a batch of so many bytes, which is to be written there.
    fn place(&mut self, bytes: usize) -> Place {
        let (at, end) = (self.written, self.written + bytes as u64);
        let zeros = if bytes <= ZEROED_BATCH_BYTES_MAX { self.zeros_ahead(end) } else { None };
        self.written = end;
        self.unsynced += bytes as u64;
        Place { zeros, at }
    }

    fn write(&mut self, batch: &[u8]) -> Result<()> {
        let place = self.place(batch.len());
        place.write(&*self.file, batch).during("write", &self.path)
    }

    fn sync(&mut self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        if self.unsynced > 0 {
            self.file.sync().during("sync", &self.path)?;
            self.note_synced();
        }
        if self.unnamed {
            disk.sync_dir(dir).during("sync", dir)?;
            self.unnamed = false;
        }
        Ok(())
    }

    fn note_synced(&mut self) {
        self.unsynced = 0;
        self.forget(CACHED_BYTES);
    }

    /// Lets the page cache forget all but the last `kept` bytes of what is synced, which is all that is written.
    fn forget(&mut self, kept: u64) {
        if let Some(range) = self.forgettable(kept) {
            self.file.forget(range);
        }
    }

    /// What [`Segment::forget`] lets it forget, noted as forgotten.
    fn forgettable(&mut self, kept: u64) -> Option<Range<u64>> {
        let end = self.written.saturating_sub(kept);
        let is_enough = end >= self.forgotten + FORGOTTEN_BYTES_MIN;
        is_enough.then(|| std::mem::replace(&mut self.forgotten, end)..end)
    }
}

/// Ends the file at `offset`, for good: an unsynced rest must not come back behind later records.
fn cut(disk: &dyn Disk, dir: &Path, path: &Path, offset: u64) -> Result<()> {
    if offset <= HEADER_BYTES {
        disk.remove(path).during("remove", path)?;
        return disk.sync_dir(dir).during("sync", dir);
    }
    let file = disk.open(path).during("open", path)?;
    if file.size().during("read", path)? > offset {
        file.resize(offset).during("cut", path)?;
    }
    // Even if there was nothing to cut: what a killed server wrote last may not be on the disk yet, and what comes
    // after it soon will be.
    file.sync().during("sync", path)
}

/// Removes all txns after `zxid` from the log in `dir`.
///
/// Files go first, the newest before the others, so that a crash leaves a shorter log, never one with a hole.
fn truncate_log(disk: &Arc<dyn Disk>, dir: &Path, zxid: Zxid) -> Result<()> {
    let mut files = log_files(&**disk, dir)?;
    while let Some(file) = files.pop_if(|file| file.first > zxid) {
        disk.remove(&file.path).during("remove", &file.path)?;
        disk.sync_dir(dir).during("sync", dir)?;
    }
    let Some(file) = files.last() else {
        return Ok(());
    };
    let mut reader = SegmentReader::open(&**disk, &file.path)?;
    let mut end = HEADER_BYTES;
    while reader.next_record()?.is_some_and(|record| record.zxid <= zxid) {
        end = reader.offset();
    }
    cut(&**disk, dir, &file.path, end)?;
    info!(%zxid, "log truncated");
    Ok(())
}
