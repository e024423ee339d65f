//! Who has been silent for too long. ZooKeeper's `ExpiryQueue`.

use std::collections::BTreeMap;

use super::SessionId;

/// Sessions by the tick in which they are next to be looked at.
///
/// Time is cut into ticks, and sessions expire in batches at their ends: a session lives on for more than its
/// timeout, and for at most a tick longer. Hearing from a session only moves the instant that the session
/// itself remembers; its entry here stays where it is, and is filed anew when its tick comes. So each session
/// has one entry, and a touch costs nothing but the write of a number.
#[derive(Debug)]
#[doc(alias = "ExpiryQueue")]
pub(super) struct ExpiryBuckets {
    tick_ms: u64,
    buckets: BTreeMap<u64, Vec<SessionId>>,
}

impl ExpiryBuckets {
    pub(super) fn new(tick_ms: u64) -> Self {
        Self { tick_ms: tick_ms.max(1), buckets: BTreeMap::new() }
    }

    /// When a session heard from at `now_ms` expires: the end of the tick in which its timeout passes.
    pub(super) fn expiry(&self, now_ms: u64, timeout_ms: u64) -> u64 {
        ((now_ms + timeout_ms) / self.tick_ms + 1) * self.tick_ms
    }

    /// Looks at `session` at `at_ms`, which [`ExpiryBuckets::expiry`] computed.
    pub(super) fn file(&mut self, session: SessionId, at_ms: u64) {
        self.buckets.entry(at_ms).or_default().push(session);
    }

    /// The sessions to look at by now, the longest due first.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<SessionId> {
        let mut due = Vec::new();
        while let Some(bucket) = self.buckets.first_entry() {
            if *bucket.key() > now_ms {
                break;
            }
            due.extend(bucket.remove());
        }
        due
    }

    /// Looks at nobody any more.
    pub(super) fn clear(&mut self) {
        self.buckets.clear();
    }

    /// When [`ExpiryBuckets::take_due`] has something next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(at_ms, _)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_after_the_timeout_and_at_most_a_tick_later() {
        let buckets = ExpiryBuckets::new(2000);
        for now in [0, 1, 1999, 2000, 2001, 123_456] {
            for timeout in [4000, 4001, 5999, 40_000] {
                let expiry = buckets.expiry(now, timeout);
                assert_eq!(expiry % 2000, 0);
                assert!(expiry > now + timeout && expiry <= now + timeout + 2000);
            }
        }
    }

    #[test]
    fn what_is_due_comes_once_and_in_order() {
        let mut buckets = ExpiryBuckets::new(10);
        buckets.file(SessionId(3), 30);
        buckets.file(SessionId(1), 10);
        buckets.file(SessionId(2), 10);
        assert_eq!(buckets.next_ms(), Some(10));
        assert_eq!(buckets.take_due(9), []);
        assert_eq!(buckets.take_due(30), [SessionId(1), SessionId(2), SessionId(3)]);
        assert_eq!(buckets.next_ms(), None);
    }
}
