//! Syncing. It takes long, so what is to be synced can be taken out and synced without the log's lock.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::sync_dir;
use super::error::Error;
use super::names::{FileKind, path_of};
use super::{Log, millis};

/// Files to sync, and what is then on disk. See [`Log::unflushed`].
#[derive(Debug)]
#[must_use = "nothing is synced until it is run"]
pub struct Flush {
    segments: Vec<(i64, Arc<File>)>,
    dir: Arc<Path>,
    upto: i64,
    /// How often the log's end had been cut off when this was taken.
    cuts: u64,
}

impl Flush {
    /// Syncs, which may take long. Then the log is told: [`Log::flushed`], or [`Log::fail`] on an error.
    ///
    /// # Errors
    /// A file cannot be synced: what of it is on disk is not known.
    pub fn run(&self) -> Result<(), Error> {
        for (base_offset, file) in &self.segments {
            let path = path_of(&self.dir, *base_offset, FileKind::Log);
            file.sync_data().map_err(Error::sync(&path))?;
            for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::Snapshot] {
                sync_if_there(&path_of(&self.dir, *base_offset, kind))?;
            }
        }
        match sync_dir(&self.dir) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// The segment may have been removed since.
fn sync_if_there(path: &PathBuf) -> Result<(), Error> {
    match File::open(path) {
        Ok(file) => file.sync_data().map_err(Error::sync(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

impl Log {
    /// What has been appended since the last sync: in closed segments only, or in all.
    pub fn unflushed(&self, with_active: bool) -> Option<Flush> {
        let upto = if with_active { self.end_offset } else { self.active().base_offset() };
        if upto <= self.recovery_point {
            return None;
        }
        let first = self.segment_of(self.recovery_point);
        let segments = self.segments.iter().skip(first).filter(|it| it.base_offset() < upto);
        let segments = segments.map(|it| (it.base_offset(), it.file().clone())).collect();
        Some(Flush { segments, dir: self.dir.clone(), upto, cuts: self.cuts })
    }

    /// Says that `flush` has been run. If the log's end has been cut off since, that counts for nothing: other
    /// records may have taken the place of those that were synced.
    pub fn flushed(&mut self, flush: &Flush, now_ms: i64) {
        self.flushed_ms = now_ms;
        self.mark_flushed(flush);
    }

    fn mark_flushed(&mut self, flush: &Flush) {
        if flush.cuts != self.cuts {
            return;
        }
        self.recovery_point = self.recovery_point.max(flush.upto);
        if self.recovery_point == self.end_offset {
            self.unflushed_records = 0;
        }
    }

    /// Whether `flush.ms` asks for a sync now.
    pub fn is_flush_due(&self, now_ms: i64) -> bool {
        let interval = self.config.flush_interval;
        self.recovery_point < self.end_offset
            && interval.is_some_and(|interval| now_ms.saturating_sub(self.flushed_ms) >= millis(interval))
    }

    /// Syncs all that has been appended.
    ///
    /// # Errors
    /// The disk refuses; no append works any more.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check_not_failed()?;
        let Some(flush) = self.unflushed(true) else {
            return Ok(());
        };
        let done = flush.run();
        match &done {
            Ok(()) => self.mark_flushed(&flush),
            Err(_) => self.fail(),
        }
        done
    }

    /// Says that a write or a sync has failed: no append works any more.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Leaves everything on disk such that the next [`open`](Self::open) needs no recovery.
    ///
    /// # Errors
    /// The disk refuses; the next open must recover.
    pub fn close(&mut self) -> Result<(), Error> {
        self.check_not_failed()?;
        self.producers.take_snapshot()?;
        self.active_mut().close_indexes()?;
        if self.config.preallocate {
            self.active().release_unused()?;
        }
        self.active().sync()?;
        self.flush()
    }
}
