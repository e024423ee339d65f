//! From files to a log: what a crash left is settled, what was not synced is read and cut at the first batch that
//! is not good. Kafka's `LogLoader`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::epochs::Epochs;
use super::error::Error;
use super::names::{FileKind, FileName};
use super::producers::Producers;
use super::scan::{Scan, ScanError};
use super::segment::{Recovered, Segment};
use super::{Discarded, Log, dir, leftovers};
use crate::config::topic::TopicConfig;

/// What is known of a log before it is opened, from its directory's [checkpoints](super::Checkpoint).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the broker was stopped in order: then nothing is checked.
    pub clean: bool,
    /// Records before it were synced; 0 where nothing is known.
    pub recovery_point: i64,
    /// Records before it have been deleted; 0 where nothing is known.
    pub start_offset: i64,
}

impl Log {
    /// Opens the log in `dir`, which must be there and may be empty.
    ///
    /// Without a clean stop, the segments from the recovery point on are read and checked, and the log ends before
    /// the first batch that is torn or has changed: it was never acknowledged by this broker's disk, and the
    /// partition's leader has it.
    ///
    /// # Errors
    /// The disk refuses, or a file is there that cannot be understood.
    pub fn open(
        dir: &Path,
        config: Arc<TopicConfig>,
        recovery: Recovery,
        now_ms: i64,
    ) -> Result<Self, Error> {
        let dir: Arc<Path> = Arc::from(dir);
        let files = leftovers::settle(&dir)?;
        remove_orphans(&dir, &files)?;
        let mut opening = Opening {
            epochs: Epochs::open(&dir)?,
            dir,
            config,
            recovery,
            now_ms,
            segments: Vec::new(),
            end_offset: 0,
        };
        for file in files.iter().filter(|file| file.kind == FileKind::Log) {
            opening.open_segment(file.offset)?;
        }
        opening.find_end()?;
        let snapshots = files.iter().filter(|it| it.kind == FileKind::Snapshot).map(|it| it.offset).collect();
        opening.finish(snapshots)
    }

    /// Reads again what producers sent, from the newest snapshot on.
    pub(super) fn reload_producers(&mut self) -> Result<(), Error> {
        self.producers.load(self.start_offset, self.end_offset)?;
        let from = self.producers.end();
        for segment in self.segments.iter().skip(self.segment_of(from)) {
            let Some(found) = segment.find(from)? else { continue };
            let mut scan = Scan::heads(segment.file(), found.position, segment.size());
            while let Some((_, head)) = scan.next_head().map_err(|it| segment.unreadable(it))? {
                self.producers.update(&head);
            }
        }
        self.producers.advance_end(self.end_offset);
        Ok(())
    }
}

/// Indexes without a log are of no use, and would be taken for those of a later segment.
fn remove_orphans(dir: &Path, files: &[FileName]) -> Result<(), Error> {
    let logs: BTreeSet<_> = files.iter().filter(|it| it.kind == FileKind::Log).map(|it| it.offset).collect();
    for file in files {
        if file.kind != FileKind::Snapshot && !logs.contains(&file.offset) {
            let path = file.in_dir(dir);
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// A log whose end is not yet known.
struct Opening {
    dir: Arc<Path>,
    config: Arc<TopicConfig>,
    recovery: Recovery,
    now_ms: i64,
    segments: Vec<Segment>,
    epochs: Epochs,
    end_offset: i64,
}

impl Opening {
    fn open_segment(&mut self, base_offset: i64) -> Result<(), Error> {
        let (mut segment, indexed) = Segment::open(&self.dir, base_offset, self.now_ms)?;
        if !indexed {
            tracing::warn!(segment = %segment.path().display(), "indexes are missing or wrong: made anew");
            self.recover(&mut segment)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Finds where the log ends, by a recovery if the broker was not stopped in order.
    fn find_end(&mut self) -> Result<(), Error> {
        if !self.recovery.clean {
            self.recover_unflushed()?;
        }
        if self.segments.is_empty() {
            self.begin_at(self.recovery.start_offset)?;
        }
        let mut last = self.segments.pop().expect("one is there or has just begun");
        self.end_offset = match last.next_offset() {
            Ok(offset) => offset,
            Err(ScanError::Flaw(..)) => self.recover(&mut last)?.next_offset,
            Err(error) => return Err(last.unreadable(error)),
        };
        self.segments.push(last);
        if self.end_offset < self.recovery.start_offset {
            let (end, start) = (self.end_offset, self.recovery.start_offset);
            tracing::warn!(dir = %self.dir.display(), end, start, "the log ends before its start: it begins anew");
            self.discard_from(0)?;
            self.epochs.clear()?;
            self.begin_at(start)?;
        }
        Ok(())
    }

    fn recover_unflushed(&mut self) -> Result<(), Error> {
        let point = self.recovery.recovery_point;
        let first = self.segments.partition_point(|it| it.base_offset() <= point).saturating_sub(1);
        for at in 0..first {
            self.check_synced(at)?;
        }
        for at in first..self.segments.len() {
            if self.recover_at(at)? > 0 {
                return self.discard_from(at + 1);
            }
        }
        Ok(())
    }

    /// Batches before the recovery point are whole. The end of an index may be missing: what is there is read
    /// from its last entry on.
    fn check_synced(&mut self, at: usize) -> Result<(), Error> {
        let segment = &mut self.segments[at];
        match segment.next_offset() {
            Ok(_) => Ok(()),
            Err(ScanError::Flaw(..)) => self.recover_at(at).map(drop),
            Err(error) => Err(segment.unreadable(error)),
        }
    }

    /// Recovers a segment; returns how many bytes were cut.
    fn recover_at(&mut self, at: usize) -> Result<u64, Error> {
        let mut segment = self.segments.remove(at);
        let recovered = self.recover(&mut segment);
        self.segments.insert(at, segment);
        recovered.map(|it| it.cut)
    }

    fn recover(&mut self, segment: &mut Segment) -> Result<Recovered, Error> {
        let mut epochs = Vec::new();
        let recovered = segment.recover(&self.config, |head| {
            if epochs.last().is_none_or(|&(epoch, _)| epoch < head.leader_epoch) {
                epochs.push((head.leader_epoch, head.base_offset));
            }
        })?;
        for (epoch, offset) in epochs {
            if self.epochs.latest().is_none_or(|latest| latest < epoch) {
                self.epochs.assign(epoch, offset)?;
            }
        }
        if recovered.cut > 0 {
            let (cut, end) = (recovered.cut, recovered.next_offset);
            tracing::warn!(segment = %segment.path().display(), cut, end, "cut at the first batch that is not good");
        }
        Ok(recovered)
    }

    fn discard_from(&mut self, at: usize) -> Result<(), Error> {
        for segment in self.segments.drain(at..) {
            tracing::warn!(segment = %segment.path().display(), "removed: what was before it is lost");
            Discarded(segment.mark_deleted()?).remove()?;
        }
        Ok(())
    }

    fn begin_at(&mut self, offset: i64) -> Result<(), Error> {
        self.segments.push(Segment::create(&self.dir, offset, &self.config, self.now_ms)?);
        self.end_offset = offset;
        Ok(())
    }

    fn finish(mut self, snapshots: BTreeSet<i64>) -> Result<Log, Error> {
        let first = self.segments.first().map_or(0, Segment::base_offset);
        let start_offset = self.recovery.start_offset.max(first);
        self.epochs.truncate_from_end(self.end_offset)?;
        self.epochs.truncate_from_start(start_offset)?;
        let mut producers = Producers::open(&self.dir, snapshots);
        producers.remove_strays(&self.segments.iter().map(Segment::base_offset).collect())?;
        let synced = if self.recovery.clean { self.end_offset } else { self.recovery.recovery_point };
        let mut log = Log {
            topic_id: dir::read_topic_id(&self.dir)?,
            dir: self.dir,
            config: self.config,
            segments: self.segments,
            start_offset,
            end_offset: self.end_offset,
            recovery_point: synced.clamp(start_offset, self.end_offset.max(start_offset)),
            epochs: self.epochs,
            producers,
            unflushed_records: 0,
            flushed_ms: self.now_ms,
            cuts: 0,
            failed: false,
        };
        log.reload_producers()?;
        Ok(log)
    }
}
