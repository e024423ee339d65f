//! Reading what is dirty, and writing what stays. Kafka's `Cleaner`.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Job, KeyMap, Source};
use crate::log::batch::{Batch, BatchBuilder, BatchHead, Flaw, Record};
use crate::log::error::Error;
use crate::log::millis;
use crate::log::names::{FileKind, Stage, path_of};
use crate::log::scan::Scan;
use crate::log::segment::Segment;

/// New segments, written and synced, that stand for old ones. See [`Log::install`](super::super::Log::install).
#[derive(Debug)]
#[must_use = "they are no part of the log until they are installed"]
pub struct Cleaned {
    pub(super) groups: Vec<Group>,
    /// All before it is clean, once they are installed.
    pub(super) upto: i64,
    /// For metrics.
    pub tally: Tally,
}

/// One new segment, and those it stands for.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) segment: Segment,
    pub(super) sources: Vec<Source>,
}

/// What a round read and wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes read, keys and all.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Records that were looked at.
    pub read_records: u64,
    /// Records that stay.
    pub kept_records: u64,
}

/// Batches are written once they have so many bytes.
const WRITE_BYTES: usize = 1 << 20;

impl Job {
    /// Does the long part of a round. `pace` is told how many bytes have been read since it was asked last; it may
    /// wait, to leave the disk to others, or end the round.
    ///
    /// `None` where `pace` ended it. What had been written then, or before an error, is removed.
    ///
    /// # Errors
    /// The disk refuses, or a batch on it is not what was appended.
    pub fn run(
        &self,
        keys: &mut KeyMap,
        now_ms: i64,
        mut pace: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Cleaned>, Error> {
        let mut tally = Tally::default();
        let ControlFlow::Continue(upto) = self.map_keys(keys, &mut tally, &mut pace)? else {
            return Ok(None);
        };
        let filter = Filter { job: self, keys, upto, now_ms };
        let mut cleaned = Cleaned { groups: Vec::new(), upto, tally };
        let done = self.write_groups(&filter, &mut cleaned, &mut pace);
        if !matches!(done, Ok(ControlFlow::Continue(()))) {
            cleaned.discard();
            return done.map(|_| None);
        }
        Ok(Some(cleaned))
    }

    /// Puts dirty keys into the map until it is full. Returns the offset up to which all are in it.
    fn map_keys(
        &self,
        keys: &mut KeyMap,
        tally: &mut Tally,
        pace: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), i64>, Error> {
        keys.clear();
        let mut upto = self.plan.first_dirty;
        for source in self.sources.iter().filter(|it| it.next_offset > self.plan.first_dirty) {
            let mut scan = Scan::batches(&source.file, 0, source.bytes);
            while let Some((at, head)) = scan.next_head().map_err(|it| self.unreadable(source, it))? {
                if head.next_offset() <= self.plan.first_dirty {
                    continue;
                }
                if pace(head.size()).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                tally.read_bytes += head.size() as u64;
                let batch = scan.batch(at, &head).map_err(|it| self.unreadable(source, it))?;
                let full = map_batch(&batch, self.plan.first_dirty, keys, upto == self.plan.first_dirty)
                    .map_err(|flaw| self.corrupt(source, at, flaw))?;
                if full {
                    return Ok(ControlFlow::Continue(upto));
                }
                upto = head.next_offset();
            }
            upto = source.next_offset;
        }
        Ok(ControlFlow::Continue(upto))
    }

    fn write_groups(
        &self,
        filter: &Filter<'_>,
        cleaned: &mut Cleaned,
        pace: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let touched = self.sources.iter().take_while(|it| it.base_offset < cleaned.upto).count();
        let (touched, _) = self.sources.split_at(touched);
        for sources in self.groups(touched) {
            let base_offset = sources.first().map_or(0, |first| first.base_offset);
            let segment = Segment::create_as(Stage::Cleaned, &self.dir, base_offset, filter.now_ms)?;
            cleaned.groups.push(Group { segment, sources: sources.to_vec() });
            let Some(group) = cleaned.groups.last_mut() else { continue };
            if self.write_group(filter, group, &mut cleaned.tally, pace)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Neighbours that fit into one segment together, as they are now.
    #[doc(alias = "groupSegmentsBySize")]
    fn groups<'s>(&self, sources: &'s [Source]) -> Vec<&'s [Source]> {
        let fits = |group: &[Source]| {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { return true };
            group.iter().map(|it| it.bytes).sum::<u64>() <= u64::from(self.config.segment_bytes)
                && group.iter().map(|it| it.index_bytes).sum::<u64>()
                    <= u64::from(self.config.segment_index_bytes)
                && last.next_offset - first.base_offset <= i64::from(i32::MAX)
        };
        let (mut groups, mut rest) = (Vec::new(), sources);
        while !rest.is_empty() {
            let more = (2..=rest.len()).take_while(|&count| fits(&rest[..count])).count();
            let (group, after) = rest.split_at(1 + more);
            groups.push(group);
            rest = after;
        }
        groups
    }

    fn write_group(
        &self,
        filter: &Filter<'_>,
        group: &mut Group,
        tally: &mut Tally,
        pace: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut writer = Writer { segment: &mut group.segment, job: self, bytes: BytesMut::new() };
        for source in &group.sources {
            let mut scan = Scan::batches(&source.file, 0, source.bytes);
            while let Some((at, batch)) = scan.next_batch().map_err(|it| self.unreadable(source, it))? {
                if pace(batch.head.size()).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                tally.read_bytes += batch.head.size() as u64;
                match filter.keep(&batch, tally).map_err(|flaw| self.corrupt(source, at, flaw))? {
                    Kept::Nothing => {}
                    Kept::As(bytes) => writer.push(&bytes)?,
                    Kept::AsItIs => writer.push(batch.bytes())?,
                }
            }
        }
        writer.write()?;
        group.segment.close_indexes()?;
        group.segment.sync()?;
        tally.written_bytes += group.segment.size();
        Ok(ControlFlow::Continue(()))
    }

    fn unreadable(&self, source: &Source, error: crate::log::scan::ScanError) -> Error {
        error.into_error(&path_of(&self.dir, source.base_offset, FileKind::Log))
    }

    fn corrupt(&self, source: &Source, position: u64, flaw: Flaw) -> Error {
        let path = path_of(&self.dir, source.base_offset, FileKind::Log);
        Error::CorruptBatch { path, position, source: flaw }
    }
}

impl Cleaned {
    /// Removes what was written. What cannot be is removed by the next start.
    pub(super) fn discard(self) {
        for group in self.groups {
            group.discard();
        }
    }
}

impl Group {
    pub(super) fn discard(self) {
        let removed = self.segment.mark_deleted().map(super::super::Discarded);
        if let Err(error) = removed.and_then(super::super::Discarded::remove) {
            tracing::warn!(%error, "files of an unfinished compaction stay until the next start");
        }
    }
}

/// Notes a batch's keys; `true` where there is no place for all of them. The first batch of a round always has
/// places, else there would be no end of rounds.
fn map_batch(batch: &Batch<'_>, from: i64, keys: &mut KeyMap, first: bool) -> Result<bool, Flaw> {
    batch.check_crc()?;
    if is_left_alone(&batch.head) {
        return Ok(false);
    }
    for record in &batch.records()? {
        let record = record?;
        let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
        if keys.is_full() && !first && keys.newest(key).is_none() {
            return Ok(true);
        }
        keys.put(key, record.offset);
    }
    Ok(false)
}

/// Whether the batch is of a transaction: which of its records count is not known here.
fn is_left_alone(head: &BatchHead) -> bool {
    head.attributes.is_control() || head.attributes.is_transactional()
}

/// What stays of a batch.
enum Kept {
    Nothing,
    AsItIs,
    As(Bytes),
}

/// Decides what stays.
struct Filter<'a> {
    job: &'a Job,
    keys: &'a KeyMap,
    /// Keys of records before it are in the map.
    upto: i64,
    now_ms: i64,
}

impl Filter<'_> {
    fn keep(&self, batch: &Batch<'_>, tally: &mut Tally) -> Result<Kept, Flaw> {
        batch.check_crc()?;
        let head = &batch.head;
        if head.base_offset >= self.upto || is_left_alone(head) {
            tally.read_records += u64::from(head.count.unsigned_abs());
            tally.kept_records += u64::from(head.count.unsigned_abs());
            return Ok(Kept::AsItIs);
        }
        let records = batch.records()?;
        let horizon = head.delete_horizon_ms();
        let tombstones_may_go = horizon.is_some_and(|at| at <= self.now_ms);
        let (mut kept, mut count, mut tombstones) = (Vec::new(), 0, false);
        for record in &records {
            let record = record?;
            count += 1;
            if self.stays(&record, tombstones_may_go) {
                tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        tally.read_records += count;
        tally.kept_records += kept.len() as u64;
        if kept.is_empty() {
            return self.keep_empty(head);
        }
        let new_horizon = tombstones && horizon.is_none();
        if kept.len() as u64 == count && !new_horizon {
            return Ok(Kept::AsItIs);
        }
        let mut builder = BatchBuilder::like(head);
        if new_horizon {
            let delay = millis(self.job.config.delete_retention);
            builder = builder.delete_horizon_ms(self.now_ms.saturating_add(delay));
        }
        for record in &kept {
            builder.keep(record);
        }
        builder.build().map(Kept::As)
    }

    /// The newest of its key stays, but for a tombstone that has been there long enough.
    fn stays(&self, record: &Record<'_>, tombstones_may_go: bool) -> bool {
        if record.offset >= self.upto {
            return true;
        }
        let Some(key) = record.key else {
            return false; // From a time when the topic was not compacted.
        };
        let is_newest = self.keys.newest(key).is_none_or(|newest| record.offset >= newest);
        is_newest && !(record.value.is_none() && tombstones_may_go)
    }

    /// A batch without records stays for the sequence number or the offset that it holds.
    fn keep_empty(&self, head: &BatchHead) -> Result<Kept, Flaw> {
        let producer = self.job.last_batches.get(&head.producer_id).filter(|_| head.has_producer());
        let is_producers_last = producer.is_some_and(|last| {
            last.last_offset == Some(head.last_offset()) && last.epoch == head.producer_epoch
        });
        if is_producers_last || head.next_offset() == self.job.plan.upto {
            return BatchBuilder::empty(head).map(Kept::As);
        }
        Ok(Kept::Nothing)
    }
}

/// Collects batches and writes many at once.
struct Writer<'a> {
    segment: &'a mut Segment,
    job: &'a Job,
    bytes: BytesMut,
}

impl Writer<'_> {
    fn push(&mut self, batch: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(batch);
        if self.bytes.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let bytes = self.bytes.split();
        let config = Arc::clone(&self.job.config);
        let mut position = self.segment.write([&bytes, &[]])?;
        let mut rest = &bytes[..];
        while let Ok((batch, after)) = Batch::split(rest) {
            self.segment.note(&batch.head, position, &config)?;
            position += batch.head.size() as u64;
            rest = after;
        }
        Ok(())
    }
}
