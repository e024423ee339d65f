//! When to stop reading from a connection: ZooKeeper's `globalOutstandingLimit`.

/// The rule that keeps the number of requests under way in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// `globalOutstandingLimit`: how many requests the whole server may have under way before busy
    /// connections have to wait.
    pub outstanding_max: usize,
}

impl Throttle {
    /// A connection with `own` requests under way is not read from while the server has `total`. One without
    /// any always gets its turn, so nobody starves.
    #[doc(alias = "shouldThrottle")]
    #[must_use]
    pub const fn must_pause(self, total: usize, own: usize) -> bool {
        own > 0 && total > self.outstanding_max
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self { outstanding_max: 1000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_connections_wait_and_only_above_the_limit() {
        let throttle = Throttle { outstanding_max: 10 };
        assert!(!throttle.must_pause(10, 10));
        assert!(throttle.must_pause(11, 1));
        assert!(!throttle.must_pause(1000, 0));
    }
}
