//! The order of txns: an epoch and a counter within it.

use std::fmt;

/// Numbers the reign of a leader. 32 bits, of which the sign is never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// Numbers a txn: epoch in the upper 32 bits, counter in the lower. Prints as the field prints it, in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[doc(alias = "ZxidUtils")]
pub struct Zxid(pub i64);

impl Epoch {
    /// As it travels in votes: a long. What does not fit, or is negative, is an observer's: no epoch at all.
    #[must_use]
    pub fn from_wire(epoch: i64) -> Self {
        Self(u32::try_from(epoch).unwrap_or(0))
    }

    /// As it travels in votes.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Its beginning: the zxid before its first txn's.
    #[must_use]
    pub const fn beginning(self) -> Zxid {
        Zxid::new(self, 0)
    }
}

impl Zxid {
    /// The last counter that a txn of an ensemble has: at the next one, its leader gives up, as a Java server does.
    pub const COUNTER_MAX: u32 = u32::MAX - 1;
    /// Before the first txn.
    pub const ZERO: Self = Self(0);

    /// The zxid `counter` of `epoch`.
    #[must_use]
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Self(((epoch.0 as i64) << 32) | counter as i64)
    }

    /// Whose reign it belongs to.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The upper half, as it stands.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// Its place within the epoch; 0 is the epoch's beginning, which no txn has.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The lower half, as it stands.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid after this one. A lone server counts on into the next epoch, as ZooKeeper's does.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Whether its txn may stand right behind that of `last`: nothing is missing between them. Where an epoch ends
    /// only its leader knows; the next one begins with its first txn.
    #[must_use]
    pub const fn may_follow(self, last: Self) -> bool {
        if self.epoch().0 == last.epoch().0 {
            self.0 == last.next().0
        } else {
            self.epoch().0 > last.epoch().0 && self.counter() <= 1
        }
    }
}

/// Zxids of one epoch that follow each other without a gap, one at least.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Run {
    first: Zxid,
    last: Zxid,
}

impl Run {
    /// Where it begins.
    #[must_use]
    pub const fn first(self) -> Zxid {
        self.first
    }

    /// Where it ends.
    #[must_use]
    pub const fn last(self) -> Zxid {
        self.last
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Zxid> {
        (self.first.0..=self.last.0).map(Zxid)
    }

    /// Goes on with `next`, if that follows. An epoch's beginning is no txn's: nothing follows it, nor does it follow
    /// anything.
    #[must_use]
    pub fn join(&mut self, next: Self) -> bool {
        let follows = self.last.counter() > 0 && next.first.counter() > 0 && next.first.0 - 1 == self.last.0;
        if follows {
            self.last = next.last;
        }
        follows
    }
}

#[cfg(test)]
impl Run {
    /// `first` and so many `more`, as far as they can follow.
    pub(crate) fn starting(first: Zxid, more: u8) -> Self {
        let mut run = Self::from(first);
        for _ in 0..more {
            let _ = run.join(Zxid(run.last.0.wrapping_add(1)).into());
        }
        run
    }
}

impl From<Zxid> for Run {
    fn from(zxid: Zxid) -> Self {
        Self { first: zxid, last: zxid }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}..={}", self.first, self.last)
        }
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_with_the_next_txn_of_its_epoch_only() {
        let zxid = |counter| Zxid::new(Epoch(5), counter);
        let mut run = Run::from(zxid(1));
        for next in
            [zxid(0), zxid(1), zxid(3), Zxid::new(Epoch(6), 0), Zxid::new(Epoch(6), 2), Zxid(i64::MIN)]
        {
            assert!(!run.join(next.into()), "{next}");
        }
        let mut next = Run::from(zxid(2));
        assert!(next.join(zxid(3).into()) && run.join(next));
        assert_eq!((run.first(), run.last()), (zxid(1), zxid(3)));
        assert_eq!(run.iter().collect::<Vec<_>>(), [1, 2, 3].map(zxid));
    }

    #[test]
    fn nothing_follows_an_epochs_beginning_nor_the_last_zxid_there_is() {
        assert!(!Run::from(Epoch(5).beginning()).join(Zxid::new(Epoch(5), 1).into()));
        let last = Zxid::new(Epoch(5), u32::MAX);
        assert!(!Run::from(last).join(Epoch(6).beginning().into()));
        assert!(!Run::from(Zxid(i64::MAX)).join(Zxid(i64::MIN).into()));
    }
}
