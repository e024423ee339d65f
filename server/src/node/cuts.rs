//! When the tree's changes are handed to the snapshot store.
//!
//! A cut is taken early enough that it is cheap: the pause grows with what changed since the last. While very much comes
//! it is put off, as processor time is dear then, and what changes again, or goes again, need not be stored. It is not put
//! off for long, as all that came since the last one is replayed after a crash. What has come together by then is handed
//! out in parts, and requests are served in between.

use std::time::Duration;

use super::CutPolicy;

/// How much comes is judged over so long, at least.
const PACE_WINDOW: Duration = Duration::from_millis(100);

/// What the next cut depends on.
#[derive(Debug)]
pub(super) struct Cuts {
    policy: CutPolicy,
    /// Since the last cut.
    txns: u64,
    log_bytes: u64,
    /// Handed out, whole or in part, and not written yet.
    unwritten: usize,
    /// How many znodes the last part has left; `None` when no cut is under way.
    left: Option<usize>,
    waits: Waits,
    pace: Pace,
}

/// For what a cut waits that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// None is due, as far as is known.
    NotDue,
    /// Until those before are written.
    ForStore,
    /// Until less comes.
    ForCalm,
}

impl Cuts {
    pub(super) fn new(policy: CutPolicy) -> Self {
        Self {
            policy,
            txns: 0,
            log_bytes: 0,
            unwritten: 0,
            left: None,
            waits: Waits::NotDue,
            pace: Pace::default(),
        }
    }

    /// Those of another tree, whose store is the same: what has been handed out will be written yet.
    pub(super) fn anew(&self) -> Self {
        Self { unwritten: self.unwritten, pace: self.pace, ..Self::new(self.policy) }
    }

    /// It is `now`.
    pub(super) fn see(&mut self, now: Duration) {
        self.pace.now = now;
    }

    /// A record of so many bytes goes to the log.
    pub(super) fn note_logged(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    /// A txn was applied.
    pub(super) fn note_applied(&mut self) {
        self.txns += 1;
        self.pace.txns += 1;
    }

    /// The store has taken over so many.
    pub(super) fn note_written(&mut self, cuts: usize) {
        self.unwritten = self.unwritten.saturating_sub(cuts);
    }

    /// One is due, and waits until less comes.
    pub(super) fn is_put_off(&self) -> bool {
        self.waits == Waits::ForCalm
    }

    /// Whether to ask for [`Cuts::next_part`], though nothing was applied.
    pub(super) fn is_ready(&self) -> bool {
        self.may_hand_out()
            && match self.waits {
                Waits::NotDue => false,
                Waits::ForStore => true,
                Waits::ForCalm => self.pace.window_end() <= self.pace.now,
            }
    }

    /// When it may become ready by itself.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.is_put_off() && self.may_hand_out()).then(|| self.pace.window_end())
    }

    /// How many znodes to hand out now, of `dirty` that are not as they were in the last cut. That ends the cut if it is all
    /// of them.
    pub(super) fn next_part(&mut self, dirty: usize) -> Option<usize> {
        self.pace.judge(self.policy.busy_txns_per_second);
        self.waits = self.what_for(dirty);
        if self.waits != Waits::ForStore || !self.may_hand_out() {
            return None;
        }
        // Twice of what came since the last part: so there will be an end to it.
        let came = self.left.map_or(0, |left| dirty.saturating_sub(left));
        let enough = self.policy.dirty_max.max(2 * came);
        let part = if dirty > 2 * enough { enough } else { dirty };
        self.unwritten += 1;
        if part == dirty {
            (self.txns, self.log_bytes, self.left, self.waits) = (0, 0, None, Waits::NotDue);
        } else {
            self.left = Some(dirty - part);
        }
        Some(part)
    }

    fn may_hand_out(&self) -> bool {
        self.unwritten < self.policy.unwritten_max
    }

    /// What a cut of `dirty` znodes has to wait for, if it is due. One that has begun goes on.
    fn what_for(&self, dirty: usize) -> Waits {
        let is_large = dirty >= self.policy.dirty_max;
        if self.left.is_none() && !is_large && !self.is_long(1) {
            return Waits::NotDue;
        }
        let may_wait = is_large && self.pace.is_fast && !self.is_long(self.policy.put_off_max);
        if self.left.is_none() && may_wait { Waits::ForCalm } else { Waits::ForStore }
    }

    /// So much came since the last cut, so many times.
    fn is_long(&self, times: u64) -> bool {
        let CutPolicy { txns_max, log_bytes_max, .. } = self.policy;
        self.txns >= txns_max.saturating_mul(times)
            || log_bytes_max.is_some_and(|max| self.log_bytes >= max.saturating_mul(times))
    }
}

/// How much comes.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    now: Duration,
    /// When the window began, and the txns since.
    began: Duration,
    txns: u64,
    /// It was too much in the last window.
    is_fast: bool,
}

impl Pace {
    fn window_end(&self) -> Duration {
        self.began + PACE_WINDOW
    }

    /// Begins another window if this one is over. `busy` are txns a second.
    fn judge(&mut self, busy: u64) {
        if self.now >= self.window_end() {
            let millis = u64::try_from((self.now - self.began).as_millis()).unwrap_or(u64::MAX);
            let is_fast = self.txns.saturating_mul(1000) >= busy.saturating_mul(millis);
            *self = Self { began: self.now, txns: 0, is_fast, ..*self };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CutPolicy = CutPolicy {
        txns_max: 100,
        log_bytes_max: Some(10_000),
        dirty_max: 10,
        unwritten_max: 2,
        busy_txns_per_second: 1000,
        put_off_max: 3,
    };

    /// Time goes by, in which `txns` are applied.
    fn pass(cuts: &mut Cuts, millis: u64, txns: u64) {
        cuts.see(cuts.pace.now + Duration::from_millis(millis));
        (0..txns).for_each(|_| cuts.note_applied());
    }

    /// In the second window of a burst, one txn before a cut.
    fn busy() -> Cuts {
        let mut cuts = Cuts::new(POLICY);
        pass(&mut cuts, 100, 9 * 11);
        assert_eq!(cuts.next_part(9), None);
        pass(&mut cuts, 0, 1);
        assert_eq!(cuts.next_part(9), Some(9), "what is cheap is not put off");
        cuts.note_written(1);
        pass(&mut cuts, 100, 100);
        cuts
    }

    #[test]
    fn a_cut_of_much_is_put_off_until_less_comes() {
        let mut cuts = busy();
        assert_eq!((cuts.next_part(10), cuts.deadline()), (None, Some(Duration::from_millis(300))));
        pass(&mut cuts, 99, 100);
        assert!(!cuts.is_ready());
        pass(&mut cuts, 1, 0);
        assert!(cuts.is_ready());
        assert_eq!(cuts.next_part(15), None, "as much has come");
        assert_eq!((cuts.is_ready(), cuts.deadline()), (false, Some(Duration::from_millis(400))));
        pass(&mut cuts, 100, 99);
        assert_eq!((cuts.next_part(20), cuts.deadline()), (Some(20), None));
        assert!(!cuts.is_ready());
    }

    #[test]
    fn a_cut_is_not_put_off_for_ever() {
        let mut cuts = busy();
        pass(&mut cuts, 0, 199);
        assert_eq!(cuts.next_part(20), None);
        cuts.note_applied();
        assert_eq!(cuts.next_part(20), Some(20));
        let mut cuts = busy();
        cuts.note_logged(29_999);
        assert_eq!(cuts.next_part(20), None);
        cuts.note_logged(1);
        assert_eq!(cuts.next_part(20), Some(20));
    }

    #[test]
    fn it_waits_for_the_store_and_goes_on_when_that_is_done() {
        let mut cuts = Cuts::new(POLICY);
        assert_eq!([25, 15, 11].map(|dirty| cuts.next_part(dirty)), [Some(10), Some(15), None]);
        assert_eq!((cuts.is_ready(), cuts.deadline()), (false, None));
        cuts.note_written(1);
        assert!(cuts.is_ready());
        assert_eq!((cuts.next_part(11), cuts.is_ready()), (Some(11), false));
    }

    #[test]
    fn parts_come_to_an_end_however_much_changes_meanwhile() {
        for came in [0, 1, 9, 40, 1000] {
            let (mut cuts, mut dirty, mut parts) = (Cuts::new(POLICY), 10_000, 0);
            cuts.note_logged(10_000);
            while let Some(part) = cuts.next_part(dirty) {
                cuts.note_written(1);
                (dirty, parts) = (dirty - part, parts + 1);
                if cuts.left.is_none() {
                    break;
                }
                assert!(part <= POLICY.dirty_max.max(4 * came), "{part} when {came} came");
                dirty += came;
            }
            assert_eq!(dirty, 0);
            assert!(parts <= 20_000 / POLICY.dirty_max.max(came) + 1, "{parts} parts when {came} came");
            assert_eq!(cuts.next_part(9), None);
        }
    }
}
