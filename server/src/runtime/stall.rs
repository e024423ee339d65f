//! A connection's wait in the request throttle: while as many writes are under way as `request_throttle_max_requests`
//! allows, requests stay where they came in. ZooKeeper's `RequestThrottler`.

use std::time::Duration;

use super::account::millis;
use crate::config::Limits;
use crate::metrics::Metrics;

/// Whether a connection waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Option<Duration>,
    is_waiting: bool,
}

/// What becomes of a request that has waited, or has not had to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is served.
    Serve,
    /// It waited longer than `throttled_op_wait_time`: it is refused.
    Refuse,
    /// It waited longer than its session may be silent: its connection is closed.
    Drop,
}

impl Stall {
    /// It has to wait; what arrived at `arrived` and is not served yet waits since then.
    pub(super) fn begin(&mut self, arrived: Duration, metrics: &Metrics) {
        self.since.get_or_insert(arrived);
        self.is_waiting = true;
        metrics.request_throttle_wait_count.add(1);
    }

    /// It waits, until [`Stall::retry`].
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// It may try again.
    pub(super) fn retry(&mut self) {
        self.is_waiting = false;
    }

    /// Nothing waits any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Its next request is let in: what becomes of it? `timeout` is its session's.
    pub(super) fn judge(
        &self,
        now: Duration,
        timeout: Duration,
        limits: &Limits,
        metrics: &Metrics,
    ) -> Verdict {
        let Some(since) = self.since else {
            return Verdict::Serve;
        };
        let waited = now.saturating_sub(since);
        metrics.request_throttle_queue_time_ms.record(millis(waited));
        let throttle = &limits.request_throttle;
        if throttle.stale_when_late && waited > timeout {
            metrics.stale_requests.add(1);
            if throttle.drop_stale {
                metrics.stale_requests_dropped.add(1);
                return Verdict::Drop;
            }
        }
        if limits.throttled_wait_max.is_some_and(|max| waited > max) {
            metrics.throttled_ops.add(1);
            return Verdict::Refuse;
        }
        Verdict::Serve
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const SECOND: Duration = Duration::from_secs(1);

    fn verdicts(more: &str) -> [Verdict; 3] {
        let text = format!("dataDir=/d\nclientPort=1\n{more}");
        let limits = Config::parse(&text, Path::new("zoo.cfg"), &[]).unwrap().limits;
        let metrics = Metrics::default();
        let mut stall = Stall::default();
        let now = Duration::from_secs(100);
        let unstalled = stall.judge(now, SECOND, &limits, &metrics);
        stall.begin(now - SECOND / 2, &metrics);
        let short = stall.judge(now, SECOND, &limits, &metrics);
        let long = stall.judge(now + SECOND, SECOND, &limits, &metrics);
        [unstalled, short, long]
    }

    #[test]
    fn what_becomes_of_a_request_depends_on_how_long_it_waited() {
        use Verdict::{Drop, Refuse, Serve};
        let table = [
            ("", [Serve, Serve, Serve]),
            ("throttled_op_wait_time=400", [Serve, Refuse, Refuse]),
            ("request_stale_latency_check=true", [Serve, Serve, Drop]),
            ("request_stale_latency_check=true\nrequest_throttle_drop_stale=false", [Serve, Serve, Serve]),
            ("request_stale_latency_check=true\nthrottled_op_wait_time=400", [Serve, Refuse, Drop]),
        ];
        for (text, expected) in table {
            assert_eq!(verdicts(text), expected, "{text:?}");
        }
    }
}
