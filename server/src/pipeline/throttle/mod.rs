//! What clients can have too much of. Here: when to stop reading from a connection, which is ZooKeeper's
//! `globalOutstandingLimit`.

mod connections;
mod large;

pub use connections::{ConnectionThrottle, ConnectionThrottleConfig, Weights};
pub use large::{LargeRequests, NoRoom};

/// The rule that keeps the number of requests under way in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// `globalOutstandingLimit`: how many requests the whole server may have under way before busy
    /// connections have to wait.
    pub outstanding_max: usize,
    /// `request_throttle_max_requests`: with so many writes under way, further requests wait to be let in;
    /// `None` is no limit.
    pub requests_max: Option<usize>,
}

impl Throttle {
    /// A connection with `own` requests under way is not read from while the server has `total`, which leaves out
    /// reads that wait behind writes. One without any always gets its turn, so nobody starves.
    #[doc(alias = "shouldThrottle")]
    #[must_use]
    pub const fn must_pause(self, total: usize, own: usize) -> bool {
        own > 0 && (total > self.outstanding_max || own > self.outstanding_max)
    }

    /// How many requests may be let in while `total` writes are under way.
    #[must_use]
    pub const fn room(self, total: usize) -> usize {
        match self.requests_max {
            None => usize::MAX,
            Some(max) => max.saturating_sub(total),
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self { outstanding_max: 1000, requests_max: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_connections_wait_and_only_above_the_limit() {
        let throttle = Throttle { outstanding_max: 10, ..Throttle::default() };
        assert!(!throttle.must_pause(10, 10));
        assert!(throttle.must_pause(11, 1));
        assert!(!throttle.must_pause(1000, 0));
    }

    #[test]
    fn requests_that_wait_on_one_connection_count_though_they_are_not_under_way() {
        let throttle = Throttle { outstanding_max: 10, ..Throttle::default() };
        assert!(!throttle.must_pause(1, 10));
        assert!(throttle.must_pause(1, 11));
    }

    #[test]
    fn requests_are_let_in_up_to_their_number() {
        assert_eq!(Throttle::default().room(1_000_000), usize::MAX);
        let throttle = Throttle { requests_max: Some(3), ..Throttle::default() };
        assert_eq!([0, 2, 3, 9].map(|total| throttle.room(total)), [3, 1, 0, 0]);
    }
}
