//! Counters and summaries that one thread writes and all may read: plain loads and stores, no locked instruction.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::traffic::{Sizes, Traffic};

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the [`Metrics`](super::Metrics) may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// What it stands at.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Values up to this are counted exactly.
const EXACT: u64 = 16;
/// Beyond, each power of two has so many buckets: a value is known within 1/16.
const PER_OCTAVE: u64 = 16;
const OCTAVES: u64 = 40;
const BUCKETS: usize = (EXACT + OCTAVES * PER_OCTAVE) as usize;

type Buckets = [AtomicU64; BUCKETS];

/// Count, sum, smallest, largest and spread of some values.
///
/// ZooKeeper samples 4096 of them at random; buckets need no dice and can be added up over threads.
#[doc(alias = "AvgMinMaxPercentileCounter")]
#[derive(Debug, Default)]
pub struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    /// Inverted, so that 0 is "none yet".
    min_inverted: AtomicU64,
    max: AtomicU64,
    /// Made when the first value comes: most summaries of a server never see one.
    buckets: OnceLock<Box<Buckets>>,
}

impl Summary {
    /// Takes in a value. Only the thread that owns the [`Metrics`](super::Metrics) may.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Takes in `n` times the same value. Only the thread that owns the [`Metrics`](super::Metrics) may.
    pub fn record_many(&self, value: u64, n: u64) {
        if n > 0 {
            self.add(&Sizes { count: n, sum: value.wrapping_mul(n), min: value, max: value, last: value });
        }
    }

    /// Takes in what was tallied: of the spread, only the average is known.
    fn add(&self, sizes: &Sizes) {
        let add = |to: &AtomicU64, n: u64| to.store(to.load(Relaxed).wrapping_add(n), Relaxed);
        add(&self.sum, sizes.sum);
        if !sizes.min > self.min_inverted.load(Relaxed) {
            self.min_inverted.store(!sizes.min, Relaxed);
        }
        if sizes.max > self.max.load(Relaxed) {
            self.max.store(sizes.max, Relaxed);
        }
        let buckets = self.buckets.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        add(&buckets[bucket_of(sizes.sum / sizes.count.max(1))], sizes.count);
        add(&self.count, sizes.count);
    }

    pub(super) fn reset(&self) {
        for part in [&self.count, &self.sum, &self.min_inverted, &self.max] {
            part.store(0, Relaxed);
        }
        for bucket in self.buckets.get().into_iter().flat_map(|buckets| buckets.iter()) {
            bucket.store(0, Relaxed);
        }
    }

    /// Adds what it holds to `total`.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        let count = self.count.load(Relaxed);
        if count == 0 {
            return;
        }
        let min = !self.min_inverted.load(Relaxed);
        total.min = if total.count == 0 { min } else { total.min.min(min) };
        total.max = total.max.max(self.max.load(Relaxed));
        total.count += count;
        total.sum = total.sum.wrapping_add(self.sum.load(Relaxed));
        let Some(buckets) = self.buckets.get() else { return };
        for (index, bucket) in buckets.iter().enumerate() {
            let n = bucket.load(Relaxed);
            if n > 0 {
                *total.buckets.entry(index).or_default() += n;
            }
        }
    }
}

/// Summaries by a key: a namespace, a server's id. Whoever records bounds the number of keys.
#[derive(Debug, Default)]
pub struct Keyed(Mutex<BTreeMap<String, Summary>>);

impl Keyed {
    /// Takes in all that was tallied since the last time.
    pub fn take(&self, traffic: &mut Traffic) {
        if traffic.is_empty() {
            return;
        }
        let mut summaries = self.0.lock();
        for (key, sizes) in traffic.drain() {
            match summaries.get(key) {
                Some(summary) => summary.add(&sizes),
                None => summaries.entry(key.to_owned()).or_default().add(&sizes),
            }
        }
    }

    pub(super) fn reset(&self) {
        self.0.lock().values().for_each(Summary::reset);
    }

    pub(super) fn add_to(&self, totals: &mut BTreeMap<String, Distribution>) {
        for (key, summary) in &*self.0.lock() {
            summary.add_to(totals.entry(key.clone()).or_default());
        }
    }
}

/// A summary's content at one moment, over all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest; 0 without any.
    pub min: u64,
    /// The largest; 0 without any.
    pub max: u64,
    /// How many values each bucket has.
    pub(super) buckets: BTreeMap<usize, u64>,
}

impl Distribution {
    /// The average, to four decimals; 0 without any value.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // It is shown to four decimals.
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { four_decimals(self.sum as f64 / self.count as f64) }
    }

    /// The value that `per_mille` of 1000 values do not exceed; 0 without any.
    #[must_use]
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let total: u64 = self.buckets.values().sum();
        let rank = (total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (&index, &n) in &self.buckets {
            seen += n;
            if seen >= rank {
                return value_of(index).clamp(self.min, self.max);
            }
        }
        0
    }
}

/// Half up, as Java rounds averages.
#[must_use]
pub fn four_decimals(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[allow(clippy::cast_possible_truncation)] // Below BUCKETS.
fn bucket_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let octave = u64::from(value.ilog2() - EXACT.ilog2());
    let within = (value >> octave) - PER_OCTAVE;
    ((EXACT + octave * PER_OCTAVE + within) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
pub(super) fn value_of(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let octave = (index - EXACT) / PER_OCTAVE;
    let low = ((index - EXACT) % PER_OCTAVE + PER_OCTAVE) << octave;
    low + ((1 << octave) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(values: impl IntoIterator<Item = u64>) -> Distribution {
        let summary = Summary::default();
        values.into_iter().for_each(|value| summary.record(value));
        let mut total = Distribution::default();
        summary.add_to(&mut total);
        total
    }

    #[test]
    fn small_values_are_known_exactly() {
        let of = distribution(1..=10);
        assert_eq!((of.count, of.sum, of.min, of.max), (10, 55, 1, 10));
        assert_eq!((of.percentile(500), of.percentile(950), of.percentile(999)), (5, 10, 10));
        assert!((of.average() - 5.5).abs() < f64::EPSILON);
    }

    #[test]
    fn large_values_are_known_within_a_sixteenth() {
        for value in (0..63).map(|shift| (1u64 << shift) + (1 << shift) / 3) {
            let known = value_of(bucket_of(value));
            if bucket_of(value) < BUCKETS - 1 {
                assert!(known.abs_diff(value) * 16 <= value, "{value} is taken for {known}");
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(value_of(index)), index);
        }
    }

    #[test]
    fn nothing_recorded_is_all_zeroes() {
        let of = distribution([]);
        assert_eq!(of, Distribution::default());
        assert_eq!(of.percentile(500), 0);
    }

    #[test]
    fn threads_add_up() {
        let mut total = Distribution::default();
        for values in [[1, 2], [3, 9]] {
            let summary = Summary::default();
            values.into_iter().for_each(|value| summary.record(value));
            summary.add_to(&mut total);
        }
        assert_eq!((total.count, total.sum, total.min, total.max), (4, 15, 1, 9));
    }

    #[test]
    fn what_was_tallied_is_added_by_its_key() {
        let (keyed, mut traffic) = (Keyed::default(), Traffic::default());
        for size in [2, 4] {
            traffic.record("/app/x", size);
            keyed.take(&mut traffic);
        }
        let mut totals = BTreeMap::new();
        keyed.add_to(&mut totals);
        let Distribution { count, sum, min, max, .. } = totals["app"];
        assert_eq!((count, sum, min, max), (2, 6, 2, 4));
    }
}
