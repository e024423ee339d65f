//! What one thread counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Schedule;
use crate::report::nanos_histogram;

/// Counts replies once the warm-up is over, and says when it is time to stop.
#[derive(Debug)]
pub(crate) struct Tally {
    measure_from: Instant,
    end: Instant,
    /// Requests that may still be sent, if their number is limited.
    left: Option<u64>,
    last_answer: Instant,
    answered: u64,
    errors: BTreeMap<i32, u64>,
    unanswered: u64,
    nanos: Histogram<u64>,
}

/// What one or all threads counted.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) seconds: f64,
    pub(super) answered: u64,
    pub(super) errors: BTreeMap<i32, u64>,
    /// Sent in time, but not answered before the patience ran out.
    pub(super) unanswered: u64,
    pub(super) nanos: Histogram<u64>,
}

impl Tally {
    /// Counts between `measure_from` and `end`, at most `count` requests.
    pub(super) fn new(schedule: Schedule, count: Option<u64>) -> Self {
        Self {
            measure_from: schedule.measure_from,
            end: schedule.end,
            left: count,
            last_answer: schedule.measure_from,
            answered: 0,
            errors: BTreeMap::new(),
            unanswered: 0,
            nanos: nanos_histogram(),
        }
    }

    /// Counts everything from now on.
    pub(crate) fn unlimited() -> Self {
        let now = Instant::now();
        let end = now + Duration::from_secs(u64::from(u32::MAX));
        Self::new(Schedule { start: now, measure_from: now, end }, None)
    }

    /// One more request may be sent at `now`.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        if now >= self.end {
            return false;
        }
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// `count` requests that were due at `due` have been answered at `now`.
    pub(super) fn answered(&mut self, count: u64, due: Instant, now: Instant) {
        if now < self.measure_from || now > self.end {
            return;
        }
        self.answered += count;
        self.last_answer = now;
        let nanos = u64::try_from(now.saturating_duration_since(due).as_nanos()).unwrap_or(u64::MAX);
        self.nanos.saturating_record_n(nanos, count);
    }

    /// A reply said no.
    pub(super) fn refused(&mut self, err: i32) {
        *self.errors.entry(err).or_default() += 1;
    }

    /// `count` requests will not be answered any more.
    pub(super) fn gave_up(&mut self, count: usize) {
        self.unanswered += count as u64;
    }

    /// Requests that were answered.
    pub(crate) const fn answered_total(&self) -> u64 {
        self.answered
    }

    /// Errors by code.
    pub(crate) const fn errors(&self) -> &BTreeMap<i32, u64> {
        &self.errors
    }

    pub(super) fn summary(&mut self) -> Summary {
        let until = if self.left.is_some() { self.last_answer } else { self.end };
        Summary {
            seconds: until.saturating_duration_since(self.measure_from).as_secs_f64(),
            answered: self.answered,
            errors: std::mem::take(&mut self.errors),
            unanswered: self.unanswered,
            nanos: std::mem::replace(&mut self.nanos, nanos_histogram()),
        }
    }
}

impl Summary {
    pub(super) fn merge(summaries: Vec<Self>) -> Self {
        let none = Self {
            seconds: 0.0,
            answered: 0,
            errors: BTreeMap::new(),
            unanswered: 0,
            nanos: nanos_histogram(),
        };
        summaries.into_iter().fold(none, |mut all, one| {
            all.seconds = all.seconds.max(one.seconds);
            all.answered += one.answered;
            all.unanswered += one.unanswered;
            one.errors.iter().for_each(|(code, count)| *all.errors.entry(*code).or_default() += count);
            all.nanos.add(&one.nanos).expect("all histograms have the same bounds");
            all
        })
    }
}
