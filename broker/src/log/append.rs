//! What comes into the log: a producer's batch with its offsets given here, or a leader's batches with theirs.

use super::batch::{Batch, BatchHead, Flaw};
use super::error::{AppendError, Error, Refusal};
use super::producers::Duplicate;
use super::segment::Segment;
use super::{Checked, Discarded, Log, millis};
use crate::config::topic::TimestampType;

/// Where a batch stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "LogAppendInfo")]
pub struct Appended {
    /// Of its first record.
    pub base_offset: i64,
    /// Of its last record.
    pub last_offset: i64,
    /// The timestamp that its records got, in topics that stamp them.
    pub log_append_time: Option<i64>,
    /// Whether it had been appended before; nothing was appended now.
    pub duplicate: bool,
    /// Where the log begins.
    pub log_start_offset: i64,
}

/// Batches of a leader that go into one segment, by one write.
#[derive(Debug, Default)]
struct Run {
    heads: Vec<BatchHead>,
    bytes: usize,
}

impl Log {
    /// Appends a batch as the partition's leader, and gives its records the next offsets: one write of the bytes
    /// that came. A batch that was appended before is not appended again, its offsets are told.
    ///
    /// # Errors
    /// The producer's sequence numbers do not fit, or the disk refuses. After a failed write, no append works
    /// any more, unless it failed for lack of room only.
    #[doc(alias = "appendAsLeader")]
    pub fn append_as_leader(
        &mut self,
        batch: &Checked<'_>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_not_failed()?;
        if let Some(duplicate) = self.producers.check(&batch.head, batch.origin)? {
            return Ok(self.appended_before(duplicate));
        }
        let max = self.config.segment_bytes as usize;
        if batch.size() > max {
            return Err(Refusal::BeyondSegment { size: batch.size(), max }.into());
        }
        let log_append_time = self.stamps_records().then_some(now_ms);
        let head = batch.stamped(self.end_offset, leader_epoch, log_append_time);
        self.make_place(&head, 0, now_ms)?;
        let run = Run { heads: vec![head], bytes: head.size() };
        self.write(run, [&head.to_bytes(), &batch.body])?;
        self.flush_if_many()?;
        Ok(Appended {
            base_offset: head.base_offset,
            last_offset: head.last_offset(),
            log_append_time,
            duplicate: false,
            log_start_offset: self.start_offset,
        })
    }

    /// Appends what a leader sent, as it is: whole batches, whose offsets go on where this log ends, or after.
    /// What is behind the last whole batch is left out. Returns the offset of the first batch, if there was one.
    ///
    /// # Errors
    /// A batch is not what was sent, or its offset is below this log's end: then the batches before it have been
    /// appended. Or the disk refuses.
    #[doc(alias = "appendAsFollower")]
    pub fn append_as_follower(&mut self, mut bytes: &[u8], now_ms: i64) -> Result<Option<i64>, AppendError> {
        self.check_not_failed()?;
        let mut first_offset = None;
        let (mut run, mut next_offset, mut run_bytes) = (Run::default(), self.end_offset, bytes);
        let judged = loop {
            let (batch, rest) = match Batch::split(bytes) {
                Ok(split) => split,
                Err(Flaw::Truncated { .. }) => break Ok(()),
                Err(flaw) => break Err(Refusal::from(flaw)),
            };
            let head = batch.head;
            if first_offset.is_none() && self.begins_inside(&head) {
                self.begin_at(head.base_offset, now_ms)?;
                next_offset = head.base_offset;
            }
            if let Err(refusal) = check_follows(&batch, next_offset) {
                break Err(refusal);
            }
            if self.must_roll(&head, run.bytes, now_ms)? {
                self.write_run(&mut run, &mut run_bytes)?;
                self.roll_to(head.base_offset, now_ms)?;
            }
            first_offset.get_or_insert(head.base_offset);
            next_offset = head.next_offset();
            run.bytes += head.size();
            run.heads.push(head);
            bytes = rest;
        };
        self.write_run(&mut run, &mut run_bytes)?;
        self.flush_if_many()?;
        judged?;
        Ok(first_offset)
    }

    /// Begins a new segment at the log's end, unless the last is still empty.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), Error> {
        self.roll_to(self.end_offset, now_ms)
    }

    pub(super) fn check_not_failed(&self) -> Result<(), Error> {
        if self.failed { Err(Error::Failed { path: self.dir.to_path_buf() }) } else { Ok(()) }
    }

    fn stamps_records(&self) -> bool {
        self.config.timestamp_type == TimestampType::LogAppendTime
    }

    fn appended_before(&self, duplicate: Duplicate) -> Appended {
        Appended {
            base_offset: duplicate.base_offset,
            last_offset: duplicate.last_offset,
            log_append_time: self.stamps_records().then_some(duplicate.timestamp),
            duplicate: true,
            log_start_offset: self.start_offset,
        }
    }

    fn make_place(&mut self, head: &BatchHead, pending: usize, now_ms: i64) -> Result<(), Error> {
        match self.must_roll(head, pending, now_ms)? {
            true => self.roll_to(head.base_offset, now_ms),
            false => Ok(()),
        }
    }

    fn must_roll(&self, head: &BatchHead, pending: usize, now_ms: i64) -> Result<bool, Error> {
        self.active().must_roll(&self.config, self.jitter_ms(), head, pending, now_ms)
    }

    /// What is taken off this segment's age: different for every partition and segment, and the same each time.
    fn jitter_ms(&self) -> i64 {
        let most = millis(self.config.segment_jitter.min(self.config.segment_age_max));
        if most == 0 {
            return 0;
        }
        let name = crc32c::crc32c(self.dir.as_os_str().as_encoded_bytes());
        let seed = crc32c::crc32c_append(name, &self.active().base_offset().to_be_bytes());
        i64::from(seed) % most
    }

    fn write_run(&mut self, run: &mut Run, bytes: &mut &[u8]) -> Result<(), Error> {
        let run = std::mem::take(run);
        let (whole, rest) = bytes.split_at_checked(run.bytes).unwrap_or((bytes, &[]));
        *bytes = rest;
        if run.heads.is_empty() { Ok(()) } else { self.write(run, [whole, &[]]) }
    }

    /// Appends the batches of `run`, whose bytes are `parts`, to the last segment.
    fn write(&mut self, run: Run, parts: [&[u8]; 2]) -> Result<(), Error> {
        let done = self.write_and_note(run, parts);
        self.failed |= done.as_ref().is_err_and(|error| !error.is_full());
        done
    }

    fn write_and_note(&mut self, run: Run, parts: [&[u8]; 2]) -> Result<(), Error> {
        let config = self.config.clone();
        // Epochs first: an epoch without records does no harm, records of an epoch nobody knows of would.
        for head in &run.heads {
            self.epochs.assign(head.leader_epoch, head.base_offset)?;
        }
        let mut position = self.active_mut().write(parts)?;
        for head in &run.heads {
            self.active_mut().note(head, position, &config)?;
            position += head.size() as u64;
            self.producers.update(head);
            self.unflushed_records += u64::from(head.last_offset_delta.unsigned_abs()) + 1;
            self.end_offset = head.next_offset();
        }
        Ok(())
    }

    fn flush_if_many(&mut self) -> Result<(), Error> {
        if self.unflushed_records >= self.config.flush_messages { self.flush() } else { Ok(()) }
    }

    /// Whether `head` begins before this log, which is empty, and ends in it: the leader's records were deleted
    /// up to the middle of a batch, and that batch comes as a whole.
    fn begins_inside(&self, head: &BatchHead) -> bool {
        self.start_offset == self.end_offset
            && self.size() == 0
            && head.base_offset < self.end_offset
            && head.next_offset() > self.end_offset
    }

    fn begin_at(&mut self, base_offset: i64, now_ms: i64) -> Result<(), Error> {
        let start_offset = self.start_offset;
        self.truncate_fully_and_start_at(base_offset, now_ms)?.remove()?;
        self.start_offset = start_offset;
        Ok(())
    }

    pub(super) fn roll_to(&mut self, base_offset: i64, now_ms: i64) -> Result<(), Error> {
        let rolled = self.try_roll_to(base_offset, now_ms);
        self.failed |= rolled.as_ref().is_err_and(|error| !error.is_full());
        rolled
    }

    /// What is done before a step for which there is no room is done again when there is.
    fn try_roll_to(&mut self, base_offset: i64, now_ms: i64) -> Result<(), Error> {
        let is_empty = self.active().size() == 0;
        if is_empty && self.active().base_offset() == base_offset {
            return Ok(());
        }
        if !is_empty {
            self.active_mut().close_indexes()?;
            if self.config.preallocate {
                self.active().release_unused()?;
            }
            // Its batches may have been synced, its indexes have not.
            self.recovery_point = self.recovery_point.min(self.active().base_offset().max(self.start_offset));
        }
        self.producers.advance_end(base_offset);
        self.producers.take_snapshot()?;
        let segment = Segment::create(&self.dir, base_offset, &self.config, now_ms)?;
        if is_empty {
            Discarded(self.active().mark_deleted()?).remove()?;
            self.segments.pop();
        }
        self.segments.push(segment);
        Ok(())
    }
}

fn check_follows(batch: &Batch<'_>, expected: i64) -> Result<(), Refusal> {
    if batch.head.base_offset < expected {
        return Err(Refusal::UnexpectedOffset { offset: batch.head.base_offset, expected });
    }
    Ok(batch.check_crc()?)
}
