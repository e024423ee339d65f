//! Quotas: limits that znodes below [`path::QUOTA`] state for the subtree they mirror, and the usage noted
//! beside them. ZooKeeper's `StatsTrack`, `PathTrie`, `Quotas`, `ZooKeeperServer#checkQuota`.
//!
//! Usage is no part of any txn: every server keeps its own, in data that changes without version or digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::path::{self, name_of, parent_of};
use super::{Data, Tree, to_data};

/// Name of a znode that states limits.
const LIMITS: &str = "zookeeper_limits";
/// Name of a znode that tells usage.
const STATS: &str = "zookeeper_stats";

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD_LIMIT: &str = "countHardLimit";
const BYTE_HARD_LIMIT: &str = "byteHardLimit";

/// The text of limits and stats: `count=5,bytes=-1`, or with hard limits
/// `count=5,bytes=-1=;byteHardLimit=9;countHardLimit=7`. What is not there, or not a number, is -1: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsTrack(BTreeMap<String, i64>);

impl StatsTrack {
    /// Reads what it can of `text`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            let key = parts.next().filter(|key| !key.is_empty())?;
            Some((key.to_owned(), parts.next()?.parse().unwrap_or(-1)))
        });
        Self(pairs.collect())
    }

    /// Usage of `count` znodes and `bytes` of data.
    #[must_use]
    pub fn of_usage(count: i64, bytes: i64) -> Self {
        Self([(COUNT.to_owned(), count), (BYTES.to_owned(), bytes)].into())
    }

    /// Znodes: used, or the soft limit.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.value(COUNT)
    }

    /// Bytes of data: used, or the soft limit.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.value(BYTES)
    }

    /// How many znodes there may be.
    #[must_use]
    pub fn count_hard_limit(&self) -> i64 {
        self.value(COUNT_HARD_LIMIT)
    }

    /// How many bytes of data there may be.
    #[must_use]
    pub fn byte_hard_limit(&self) -> i64 {
        self.value(BYTE_HARD_LIMIT)
    }

    fn value(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn add(&mut self, key: &str, difference: i64) {
        let sum = self.value(key).wrapping_add(difference);
        self.0.insert(key.to_owned(), sum);
    }
}

/// Count and bytes stand first, and a stray `=` behind them: old parsers then stop there.
impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.count(), self.bytes())?;
        let others = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), COUNT | BYTES));
        for (index, (key, value)) in others.enumerate() {
            let separator = if index == 0 { "=;" } else { ";" };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

/// The paths that have limits.
#[derive(Debug, Default)]
pub(super) struct Quotas(BTreeSet<String>);

impl Quotas {
    /// The nearest path with limits that is `path` or above it.
    pub(super) fn nearest(&self, path: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let ancestors = std::iter::successors(Some(path), |path| parent_of(path));
        ancestors.filter_map(|path| self.0.get(path)).map(String::as_str).next()
    }
}

/// What a quota has to say to more usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over<'a> {
    /// To be told to the operator. The quota of this path.
    Soft(&'a str),
    /// To be refused, where quotas are enforced. The quota of this path.
    Hard(&'a str),
}

impl Tree {
    /// Whether `count` more znodes or `bytes` more data at `path` exceed the nearest quota, judged by the usage
    /// applied so far: writes under way may exceed it together.
    #[must_use]
    pub fn quota_over(&self, path: &str, count: i64, bytes: i64) -> Option<Over<'_>> {
        let quota = self.quotas.nearest(path)?;
        let limits = self.track(&limits_path(quota))?;
        let used = self.track(&stats_path(quota))?;
        let judge = |difference: i64, used: i64, soft: i64, hard: i64| {
            let limit = if hard > -1 { hard } else { soft };
            if difference == 0 || limit <= -1 || used.saturating_add(difference) <= limit {
                None
            } else if hard > -1 {
                Some(Over::Hard(quota))
            } else {
                Some(Over::Soft(quota))
            }
        };
        let by_count = judge(count, used.count(), limits.count(), limits.count_hard_limit());
        let by_bytes = judge(bytes, used.bytes(), limits.bytes(), limits.byte_hard_limit());
        match (by_count, by_bytes) {
            (_, Some(Over::Hard(quota))) => Some(Over::Hard(quota)),
            (count, bytes) => count.or(bytes),
        }
    }

    /// The paths that have limits, with the limits and the usage.
    pub fn quota_report(&self) -> impl Iterator<Item = (&str, StatsTrack, StatsTrack)> {
        self.quotas.0.iter().map(|path| {
            let track = |path: String| self.track(&path).unwrap_or_default();
            (path.as_str(), track(limits_path(path)), track(stats_path(path)))
        })
    }

    /// To be called once `path` was created: it may state limits, or be usage to fill in, or be used.
    pub(super) fn quota_created(&mut self, path: &str, data_len: usize) {
        if let Some((quota, name)) = quota_of(path) {
            match name {
                LIMITS => drop(self.quotas.0.insert(quota.to_owned())),
                STATS => self.recount_usage(quota),
                _ => {}
            }
        }
        self.quota_used(path, 1, signed(data_len));
    }

    /// To be called once `path` was deleted.
    pub(super) fn quota_deleted(&mut self, path: &str, data_len: usize) {
        if let Some((quota, LIMITS)) = quota_of(path) {
            self.quotas.0.remove(quota);
        }
        self.quota_used(path, -1, -signed(data_len));
    }

    /// Notes the difference in the nearest quota's usage, and in no other's.
    pub(super) fn quota_used(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(quota) = self.quotas.nearest(path) else {
            return;
        };
        let stats = stats_path(quota);
        let Some(mut used) = self.track(&stats) else {
            return; // The limits are there, the znode for the usage is not yet.
        };
        used.add(COUNT, count);
        used.add(BYTES, bytes);
        self.set_usage(&stats, &used);
    }

    /// Finds the quotas of a tree just loaded, and counts their usage.
    pub(super) fn find_quotas(&mut self) {
        let mut limits = Vec::new();
        self.visit_below(path::QUOTA, |path, _| {
            if let Some((quota, LIMITS)) = quota_of(path) {
                limits.push(quota.to_owned());
            }
        });
        for quota in limits {
            self.recount_usage(&quota);
            self.quotas.0.insert(quota);
        }
    }

    fn recount_usage(&mut self, quota: &str) {
        let (mut count, mut bytes) = (0, 0);
        self.visit_below(quota, |_, znode| {
            count += 1;
            bytes += signed(znode.data().map_or(0, <[u8]>::len));
        });
        self.set_usage(&stats_path(quota), &StatsTrack::of_usage(count, bytes));
    }

    fn track(&self, path: &str) -> Option<StatsTrack> {
        Some(StatsTrack::parse(self.find(path)?.data().unwrap_or_default()))
    }

    fn set_usage(&mut self, stats: &str, used: &StatsTrack) {
        let data: Data = to_data(Some(used.to_string().as_bytes()));
        self.replace_data_quietly(stats, data);
    }
}

/// What `path` is about, and its name, if it is where limits and usage stand: `/a` and `zookeeper_limits` for
/// `/zookeeper/quota/a/zookeeper_limits`.
fn quota_of(path: &str) -> Option<(&str, &str)> {
    let below = path.strip_prefix(path::QUOTA)?;
    let quota = parent_of(below).filter(|quota| quota.len() > 1 && quota.starts_with('/'))?;
    Some((quota, name_of(below)))
}

fn limits_path(quota: &str) -> String {
    format!("{}{quota}/{LIMITS}", path::QUOTA)
}

fn stats_path(quota: &str) -> String {
    format!("{}{quota}/{STATS}", path::QUOTA)
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).expect("data is bounded by memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_reads_what_it_writes() {
        for text in [
            "count=5,bytes=-1",
            "count=-1,bytes=-1=;byteHardLimit=9",
            "count=1,bytes=2=;byteHardLimit=9;countHardLimit=7",
        ] {
            assert_eq!(StatsTrack::parse(text.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn a_track_takes_both_separators_and_misses_nothing_but_numbers() {
        let track = StatsTrack::parse(b"count=4;bytes=5=;byteHardLimit=10;;countHardLimit=");
        assert_eq!((track.count(), track.bytes()), (4, 5));
        assert_eq!((track.byte_hard_limit(), track.count_hard_limit()), (10, -1));
        assert_eq!(StatsTrack::parse(b"").to_string(), "count=-1,bytes=-1");
        assert_eq!(StatsTrack::parse(b"\xff,count,=3,count=x").to_string(), "count=-1,bytes=-1");
    }

    #[test]
    fn the_nearest_quota_is_found_by_components() {
        let quotas = Quotas(["/a".to_owned(), "/a/b/c".to_owned()].into());
        assert_eq!(quotas.nearest("/a/b"), Some("/a"));
        assert_eq!(quotas.nearest("/a/b/c/d"), Some("/a/b/c"));
        assert_eq!(quotas.nearest("/ab"), None);
        assert_eq!(quotas.nearest("/"), None);
    }

    #[test]
    fn limits_stand_where_they_mirror_a_path() {
        assert_eq!(quota_of("/zookeeper/quota/a/b/zookeeper_limits"), Some(("/a/b", LIMITS)));
        assert_eq!(quota_of("/zookeeper/quota/zookeeper_limits"), None);
        assert_eq!(quota_of("/zookeeper/quotas/zookeeper_limits"), None);
    }
}
