//! What leaves the log: at its end what the leader does not have, at its start what nobody needs.

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::error::Error;
use super::segment::Segment;
use super::{Discarded, Log};

impl Log {
    /// Forgets all records from `offset` on, and the epochs that begin there. A batch is cut as a whole, so the log may
    /// end before `offset`.
    ///
    /// # Errors
    /// The disk refuses; no append works any more.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<Discarded, Error> {
        if offset >= self.end_offset {
            // An epoch that began here and brought no record is the last that this log claims to have seen all the same.
            let done = self.epochs.truncate_from_end(self.end_offset);
            self.failed |= done.is_err();
            return done.map(|()| Discarded::default());
        }
        if self.segments.first().is_some_and(|first| first.base_offset() > offset) {
            return self.truncate_fully_and_start_at(offset, now_ms);
        }
        let done = self.try_truncate_to(offset);
        self.failed |= done.is_err();
        done
    }

    fn try_truncate_to(&mut self, offset: i64) -> Result<Discarded, Error> {
        self.cuts += 1;
        let mut discarded = Discarded::default();
        while self.segments.len() > 1 && self.active().base_offset() > offset {
            discarded.append(self.discard_last()?);
        }
        let mut end = offset;
        if let Some(found) = self.active().find(offset)? {
            end = end.min(found.head.base_offset);
            self.active_mut().truncate(found.position, found.head.base_offset)?;
        }
        self.end_offset = end;
        self.start_offset = self.start_offset.min(end);
        self.recovery_point = self.recovery_point.min(end);
        self.epochs.truncate_from_end(end)?;
        self.reload_producers()?;
        Ok(discarded)
    }

    fn discard_last(&mut self) -> Result<Discarded, Error> {
        let last = self.segments.pop().expect("a log has a segment");
        let mut paths = last.mark_deleted()?;
        paths.extend(self.producers.mark_deleted(last.base_offset())?);
        Ok(Discarded(paths))
    }

    /// Forgets everything; the next record gets `offset`.
    ///
    /// # Errors
    /// The disk refuses; no append works any more.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, now_ms: i64) -> Result<Discarded, Error> {
        let done = self.try_start_at(offset, now_ms);
        self.failed |= done.is_err();
        done
    }

    fn try_start_at(&mut self, offset: i64, now_ms: i64) -> Result<Discarded, Error> {
        self.cuts += 1;
        let mut paths: Vec<PathBuf> = Vec::new();
        for segment in &self.segments {
            paths.extend(segment.mark_deleted()?);
            paths.extend(self.producers.mark_deleted(segment.base_offset())?);
        }
        // Where that fails, the old ones can still be read.
        self.segments = vec![Segment::create(&self.dir, offset, &self.config, now_ms)?];
        (self.start_offset, self.end_offset, self.recovery_point) = (offset, offset, offset);
        self.unflushed_records = 0;
        self.epochs.clear()?;
        self.producers.reset(offset)?;
        Ok(Discarded(paths))
    }

    /// Says that records before `offset` are not needed any more: DeleteRecords, or a leader's start. Their
    /// segments go with the next [retention](super::retention). Whether that changed anything.
    ///
    /// `offset` is not above the high watermark: whoever knows that one has checked it.
    ///
    /// # Errors
    /// The disk refuses.
    #[doc(alias = "maybeIncrementLogStartOffset")]
    pub fn advance_start(&mut self, offset: i64) -> Result<bool, Error> {
        let offset = offset.min(self.end_offset);
        if offset <= self.start_offset {
            return Ok(false);
        }
        self.start_offset = offset;
        self.recovery_point = self.recovery_point.max(offset);
        self.producers.advance_end(offset);
        self.epochs.truncate_from_start(offset)?;
        Ok(true)
    }

    /// Takes the oldest `count` segments out of the log, which then begins after them. The last stays.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_oldest(&mut self, count: usize) -> Result<Discarded, Error> {
        let count = count.min(self.segments.len() - 1);
        let mut paths: Vec<PathBuf> = Vec::new();
        for segment in self.segments.drain(..count) {
            paths.extend(segment.mark_deleted()?);
            paths.extend(self.producers.mark_deleted(segment.base_offset())?);
        }
        if let Some(first) = self.segments.first().map(Segment::base_offset) {
            self.advance_start(first)?;
        }
        Ok(Discarded(paths))
    }

    /// Renames the directory to `<topic>-<partition>.<uuid>-delete`, where it is no partition's any more, and
    /// says what it is called now. Whoever asks removes it, after `file.delete.delay.ms`; a start does it, too.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn delete(&mut self, unique: Uuid) -> Result<PathBuf, Error> {
        self.failed = true;
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let renamed = self.dir.with_file_name(super::dir::delete_name(&name, unique));
        std::fs::rename(&self.dir, &renamed).map_err(Error::io("rename", &self.dir))?;
        self.dir = Arc::from(renamed.as_path());
        for segment in &mut self.segments {
            segment.move_to(&self.dir);
        }
        self.producers.move_to(&self.dir);
        self.epochs.move_to(&self.dir);
        Ok(renamed)
    }
}
