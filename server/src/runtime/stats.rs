//! What is counted as requests pass: per connection for `cons`, per shard for `stat`, `mntr` and the metrics.
//!
//! Only the owning shard writes, with plain loads and stores; everyone may read.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::listener::Permit;
use crate::metrics::Sizes;

/// A counter that one thread writes: an atomic only so that others may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// What it stands at.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Smallest, largest and average of times, in milliseconds as ZooKeeper shows them.
#[derive(Debug)]
pub struct Latency {
    count: Counter,
    total_us: Counter,
    min_us: AtomicU64,
    max_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            count: Counter::default(),
            total_us: Counter::default(),
            min_us: AtomicU64::new(u64::MAX),
            max_us: AtomicU64::new(0),
        }
    }
}

impl Latency {
    /// Records `n` requests that took `took` each.
    pub(crate) fn record(&self, took: Duration, n: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count.add(n);
        self.total_us.add(us.saturating_mul(n));
        if us < self.min_us.load(Relaxed) {
            self.min_us.store(us, Relaxed);
        }
        if us > self.max_us.load(Relaxed) {
            self.max_us.store(us, Relaxed);
        }
    }

    pub(crate) fn reset(&self) {
        self.count.reset();
        self.total_us.reset();
        self.min_us.store(u64::MAX, Relaxed);
        self.max_us.store(0, Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.count()
    }

    /// The sum of all.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.total_us.count())
    }

    /// The smallest; 0 before the first.
    #[must_use]
    pub fn min(&self) -> Duration {
        match self.min_us.load(Relaxed) {
            u64::MAX => Duration::ZERO,
            us => Duration::from_micros(us),
        }
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us.load(Relaxed))
    }
}

/// Sizes of replies: the last one, and the extremes.
#[derive(Debug, Default)]
pub struct ReplySizes {
    last: AtomicU64,
    /// Inverted, so that 0 is "none yet".
    min_inverted: AtomicU64,
    max: AtomicU64,
    /// When the last one was made.
    at_us: AtomicU64,
}

impl ReplySizes {
    pub(crate) fn record(&self, sizes: &Sizes, at: Duration) {
        if sizes.count == 0 {
            return;
        }
        self.last.store(sizes.last, Relaxed);
        self.at_us.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Relaxed);
        if !sizes.min > self.min_inverted.load(Relaxed) {
            self.min_inverted.store(!sizes.min, Relaxed);
        }
        if sizes.max > self.max.load(Relaxed) {
            self.max.store(sizes.max, Relaxed);
        }
    }

    fn reset(&self) {
        for part in [&self.last, &self.min_inverted, &self.max, &self.at_us] {
            part.store(0, Relaxed);
        }
    }

    /// The last, smallest and largest over all shards; `None` before the first.
    pub(crate) fn over<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Option<[u64; 3]> {
        let used = all.filter(|sizes| sizes.min_inverted.load(Relaxed) > 0);
        let last = used.clone().max_by_key(|sizes| sizes.at_us.load(Relaxed))?.last.load(Relaxed);
        let min = used.clone().map(|sizes| !sizes.min_inverted.load(Relaxed)).min()?;
        let max = used.map(|sizes| sizes.max.load(Relaxed)).max()?;
        Some([last, min, max])
    }
}

/// One shard's part of what `srvr` shows. The metrics proper are in [`Metrics`](crate::metrics::Metrics).
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Frames that clients sent.
    pub packets_received: Counter,
    /// Replies and notifications.
    pub packets_sent: Counter,
    /// Credentials refused.
    pub auth_failures: Counter,
    /// From a request's arrival to its reply.
    pub latency: Latency,
    /// Of replies.
    pub reply_sizes: ReplySizes,
}

impl ShardStats {
    /// What `srst` sets back: latencies, sizes, and packets both ways.
    pub(crate) fn reset(&self) {
        self.packets_received.reset();
        self.packets_sent.reset();
        self.latency.reset();
        self.reply_sizes.reset();
    }
}

/// One connection, as `cons` shows it. Its owner drops it when it closes.
#[derive(Debug)]
pub struct ConnectionStats {
    /// The client.
    pub peer: SocketAddr,
    /// When it was accepted, milliseconds since 1970.
    pub established_ms: i64,
    /// 0 until there is one.
    pub session: AtomicI64,
    /// The session's timeout; 0 until there is one.
    pub timeout_ms: AtomicI32,
    /// Frames that the client sent.
    pub received: Counter,
    /// Replies and notifications.
    pub sent: Counter,
    /// Requests that wait for their reply.
    pub outstanding: AtomicU64,
    /// Code of the last operation answered; 0 before the first.
    pub last_op: AtomicI32,
    /// The client's number of the last operation answered.
    pub last_xid: AtomicI32,
    /// The zxid in the last reply.
    pub last_zxid: AtomicI64,
    /// When the last reply was made, milliseconds since 1970.
    pub last_response_ms: AtomicI64,
    /// How long the last operation took, in milliseconds.
    pub last_latency_ms: AtomicI64,
    /// All operations.
    pub latency: Latency,
    /// Counts against `maxCnxns` and `maxClientCnxns` for as long as this lives.
    pub(super) _permit: Permit,
}

impl ConnectionStats {
    pub(super) fn new(peer: SocketAddr, permit: Permit, established_ms: i64) -> Self {
        Self {
            peer,
            established_ms,
            session: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            received: Counter::default(),
            sent: Counter::default(),
            outstanding: AtomicU64::new(0),
            last_op: AtomicI32::new(0),
            last_xid: AtomicI32::new(0),
            last_zxid: AtomicI64::new(0),
            last_response_ms: AtomicI64::new(0),
            last_latency_ms: AtomicI64::new(0),
            latency: Latency::default(),
            _permit: permit,
        }
    }

    /// What `crst` sets back.
    pub(crate) fn reset(&self) {
        self.received.reset();
        self.sent.reset();
        self.latency.reset();
        self.last_op.store(0, Relaxed);
        self.last_xid.store(0, Relaxed);
        self.last_zxid.store(0, Relaxed);
        self.last_response_ms.store(0, Relaxed);
        self.last_latency_ms.store(0, Relaxed);
    }
}
