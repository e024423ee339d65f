//! How much memory large requests may take together: ZooKeeper's `largeRequestThreshold` and
//! `largeRequestMaxBytes`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes of large requests under way. Others cost nothing here.
#[derive(Debug)]
pub struct LargeRequests {
    /// A request longer than this is large; `None`: none is.
    threshold: Option<usize>,
    /// All large ones under way together.
    bytes_max: usize,
    under_way: AtomicUsize,
}

/// There is no room for this large request: its connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl LargeRequests {
    /// With none under way.
    #[must_use]
    pub fn new(threshold: Option<usize>, bytes_max: usize) -> Self {
        Self { threshold, bytes_max, under_way: AtomicUsize::new(0) }
    }

    /// Some requests are large.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.threshold.is_some()
    }

    /// Whether a request of `len` bytes, of which not all are here yet, may come.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, len: usize) -> Result<(), NoRoom> {
        let fits = !self.is_large(len) || self.under_way.load(Relaxed) + len <= self.bytes_max;
        if fits { Ok(()) } else { Err(NoRoom) }
    }

    /// A request of `len` bytes is here. What it returns must be given to [`LargeRequests::end`] when it is
    /// answered: 0 for one that is not large.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn begin(&self, len: usize) -> Result<usize, NoRoom> {
        if !self.is_large(len) {
            return Ok(0);
        }
        if self.under_way.fetch_add(len, Relaxed) + len > self.bytes_max {
            self.under_way.fetch_sub(len, Relaxed);
            return Err(NoRoom);
        }
        Ok(len)
    }

    /// A request that [`LargeRequests::begin`] let in is answered, or its connection has gone.
    pub fn end(&self, held: usize) {
        if held > 0 {
            self.under_way.fetch_sub(held, Relaxed);
        }
    }

    fn is_large(&self, len: usize) -> bool {
        self.threshold.is_some_and(|threshold| len > threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_requests_share_what_there_is_and_small_ones_need_nothing() {
        let large = LargeRequests::new(Some(10), 50);
        assert_eq!(large.begin(10), Ok(0));
        assert_eq!(large.begin(30), Ok(30));
        assert_eq!((large.check(20), large.check(21)), (Ok(()), Err(NoRoom)));
        assert_eq!(large.begin(21), Err(NoRoom));
        assert_eq!(large.begin(20), Ok(20));
        large.end(30);
        assert_eq!(large.begin(30), Ok(30));
        assert_eq!(large.begin(10), Ok(0));
    }

    #[test]
    fn without_a_threshold_nothing_is_large() {
        let large = LargeRequests::new(None, 1);
        assert_eq!(large.begin(usize::MAX), Ok(0));
    }
}
