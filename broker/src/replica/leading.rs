//! What the leader of a partition knows of its followers: how far each has got, who is in sync, and up to where records
//! are safe. Pure: ends and times come in, decisions come out.
//!
//! Kafka's `Partition` and `Replica`. The invariant that all rests on: **the high watermark never passes the end of a member
//! of the in-sync replicas**, neither of those that stand in the service nor of those that are being written there; whoever is
//! elected from them has every record below it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::topic_partition::BrokerId;

/// A reign: this broker leads the partition in `epoch`.
#[derive(Debug)]
pub struct Leading {
    me: BrokerId,
    epoch: i32,
    /// Our end when the reign began. Who has not got there may not be in sync: its log may yet be cut.
    epoch_start: i64,
    /// Of the partition's state in the service, which a change must expect.
    version: i32,
    isr: BTreeSet<BrokerId>,
    /// Sent to the service, and not known whether it stands there.
    pending: Option<BTreeSet<BrokerId>>,
    followers: BTreeMap<BrokerId, Follower>,
    end: i64,
    high_watermark: i64,
    lag_max: Duration,
}

/// How far a follower has got.
#[derive(Debug, Clone, Copy)]
struct Follower {
    /// What it asked for last: it has all before. None until it has asked in this reign.
    end: Option<i64>,
    /// The last time at which it had all that we had.
    caught_up: Instant,
    /// When it asked last, and our end then.
    asked: Instant,
    end_when_asked: i64,
}

/// The beginning of a reign.
#[derive(Debug, Clone)]
pub struct Appointment<'a> {
    /// Ourselves.
    pub me: BrokerId,
    /// Of the leader.
    pub epoch: i32,
    /// Of the state's znode.
    pub version: i32,
    /// All that have a copy, or shall have one.
    pub replicas: &'a [BrokerId],
    /// Those in sync, ourselves among them.
    pub isr: &'a [BrokerId],
    /// Of our log.
    pub end: i64,
    /// As we knew it as a follower, or from our checkpoint; `<= end`.
    pub high_watermark: i64,
    /// How long a follower may be behind and still be in sync.
    pub lag_max: Duration,
}

/// The in-sync replicas as they should stand in the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// In the order of their numbers.
    pub isr: Vec<BrokerId>,
    /// Of the leader who asks.
    pub epoch: i32,
    /// What the state's znode must still be at.
    pub version: i32,
}

impl Leading {
    /// Begins a reign.
    pub fn new(appointment: &Appointment<'_>, now: Instant) -> Self {
        let &Appointment { me, epoch, version, replicas, isr, end, high_watermark, lag_max } = appointment;
        let unknown = Follower { end: None, caught_up: now, asked: now, end_when_asked: i64::MAX };
        let mut leading = Self {
            me,
            epoch,
            epoch_start: end,
            version,
            isr: isr.iter().copied().collect(),
            pending: None,
            followers: replicas.iter().filter(|&&id| id != me).map(|&id| (id, unknown)).collect(),
            end,
            high_watermark: high_watermark.min(end),
            lag_max,
        };
        leading.advance(now);
        leading
    }

    /// Of this reign.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Records before it are safe, and shown to consumers.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Those in sync as far as the service has confirmed.
    pub fn isr(&self) -> &BTreeSet<BrokerId> {
        &self.isr
    }

    /// Whether `broker` is one of the partition's replicas.
    pub fn knows(&self, broker: BrokerId) -> bool {
        broker == self.me || self.followers.contains_key(&broker)
    }

    /// The same reign, as the service has it now: another set in sync, or other replicas.
    pub fn confirm(&mut self, version: i32, replicas: &[BrokerId], isr: &[BrokerId], now: Instant) {
        if version < self.version {
            return; // From before our own last change.
        }
        self.version = version;
        self.isr = isr.iter().copied().collect();
        self.followers.retain(|id, _| replicas.contains(id));
        for &id in replicas.iter().filter(|&&id| id != self.me) {
            let end_when_asked = i64::MAX;
            self.followers.entry(id).or_insert(Follower {
                end: None,
                caught_up: now,
                asked: now,
                end_when_asked,
            });
        }
        self.advance(now);
    }

    /// Our log now ends at `end`. True when the high watermark has moved.
    pub fn on_end(&mut self, end: i64, now: Instant) -> bool {
        self.end = end;
        self.advance(now)
    }

    /// `follower` has all before `end`. True when the high watermark has moved.
    pub fn on_fetch(&mut self, follower: BrokerId, end: i64, now: Instant) -> bool {
        let our_end = self.end;
        let Some(known) = self.followers.get_mut(&follower) else {
            return false;
        };
        if end >= our_end {
            known.caught_up = now;
        } else if end >= known.end_when_asked {
            // It has all that we had when it asked before: then it was caught up, if only for that moment.
            known.caught_up = known.caught_up.max(known.asked);
        }
        known.asked = now;
        known.end_when_asked = our_end;
        known.end = Some(end);
        self.advance(now)
    }

    /// A change that should be asked of the service: `follower`, which has just been heard, joins those in sync.
    pub fn to_expand(&self, follower: BrokerId) -> Option<IsrChange> {
        if self.pending.is_some() || self.isr.contains(&follower) {
            return None;
        }
        let end = self.followers.get(&follower)?.end?;
        if end < self.high_watermark || end < self.epoch_start {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.insert(follower);
        Some(self.change_to(isr))
    }

    /// A change that should be asked of the service: those leave who have been behind for too long.
    pub fn to_shrink(&self, now: Instant) -> Option<IsrChange> {
        if self.pending.is_some() {
            return None;
        }
        let stays = |id: &BrokerId| {
            *id == self.me || self.followers.get(id).is_some_and(|follower| self.is_caught_up(follower, now))
        };
        let isr: BTreeSet<_> = self.isr.iter().copied().filter(stays).collect();
        (isr.len() < self.isr.len()).then(|| self.change_to(isr))
    }

    /// `change` is on its way to the service. Until its fate is known, both sets count.
    pub fn on_asked(&mut self, change: &IsrChange) {
        assert_eq!(self.pending, None, "one change at a time");
        self.pending = Some(change.isr.iter().copied().collect());
    }

    /// The service has taken `change`; its state is at `version` now. True when the high watermark has moved.
    pub fn on_changed(&mut self, change: &IsrChange, version: i32, now: Instant) -> bool {
        self.pending = None;
        if version > self.version {
            self.version = version;
            self.isr = change.isr.iter().copied().collect();
        }
        self.advance(now)
    }

    /// The service has refused the change, as its state is another: what it is will be told by [`confirm`](Self::confirm).
    pub fn on_refused(&mut self, now: Instant) -> bool {
        self.pending = None;
        self.advance(now)
    }

    fn change_to(&self, isr: BTreeSet<BrokerId>) -> IsrChange {
        IsrChange { isr: isr.into_iter().collect(), epoch: self.epoch, version: self.version }
    }

    fn is_caught_up(&self, follower: &Follower, now: Instant) -> bool {
        follower.end == Some(self.end) || now.saturating_duration_since(follower.caught_up) <= self.lag_max
    }

    /// Moves the high watermark up to the lowest end of all whose copy counts.
    ///
    /// Besides those in sync, those count who keep up and are about to join: else a busy leader that is alone would always be ahead of
    /// whoever comes back.
    fn advance(&mut self, now: Instant) -> bool {
        let counts = |id: &BrokerId, follower: &Follower| {
            self.isr.contains(id)
                || self.pending.as_ref().is_some_and(|pending| pending.contains(id))
                || (follower.end.is_some_and(|end| end >= self.epoch_start)
                    && now.saturating_duration_since(follower.caught_up) <= self.lag_max)
        };
        let mut lowest = self.end;
        for (id, follower) in &self.followers {
            if counts(id, follower) {
                lowest = lowest.min(follower.end.unwrap_or(i64::MIN));
            }
        }
        // A member of the set that is no replica any more has no end that we could know.
        let stranger = |id: &BrokerId| *id != self.me && !self.followers.contains_key(id);
        if self.isr.iter().chain(self.pending.iter().flatten()).any(stranger) || lowest <= self.high_watermark
        {
            return false;
        }
        self.high_watermark = lowest;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAG: Duration = Duration::from_secs(30);

    /// Tests count from one moment; which one does not matter.
    #[expect(clippy::disallowed_methods, reason = "a first moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn reign(
        replicas: &[BrokerId],
        isr: &[BrokerId],
        end: i64,
        high_watermark: i64,
        now: Instant,
    ) -> Leading {
        let appointment =
            Appointment { me: 1, epoch: 5, version: 3, replicas, isr, end, high_watermark, lag_max: LAG };
        Leading::new(&appointment, now)
    }

    #[test]
    fn a_record_is_safe_once_all_in_sync_have_it() {
        let now = start();
        let mut leading = reign(&[1, 2, 3], &[1, 2, 3], 10, 7, now);
        assert_eq!(leading.high_watermark(), 7);
        assert!(!leading.on_fetch(2, 10, now));
        assert!(leading.on_fetch(3, 9, now));
        assert_eq!(leading.high_watermark(), 9);
        assert!(leading.on_fetch(3, 10, now));
        assert!(!leading.on_end(12, now));
        assert_eq!(leading.high_watermark(), 10);
    }

    #[test]
    fn a_leader_alone_is_its_own_measure() {
        let now = start();
        let mut leading = reign(&[1], &[1], 10, 7, now);
        assert_eq!(leading.high_watermark(), 10);
        assert!(leading.on_end(11, now));
        assert_eq!(leading.high_watermark(), 11);
    }

    #[test]
    fn who_is_behind_for_too_long_leaves_and_comes_back_once_it_has_all_that_is_safe() {
        let now = start();
        let mut leading = reign(&[1, 2], &[1, 2], 10, 10, now);
        leading.on_fetch(2, 10, now);
        leading.on_end(20, now);
        assert_eq!(leading.to_shrink(now + LAG), None);
        let late = now + LAG + Duration::from_millis(1);
        let change = leading.to_shrink(late).expect("a follower behind");
        assert_eq!(change, IsrChange { isr: vec![1], epoch: 5, version: 3 });
        leading.on_asked(&change);
        assert_eq!(leading.high_watermark(), 10, "both sets count");
        assert!(leading.on_changed(&change, 4, late));
        assert_eq!(leading.high_watermark(), 20);

        leading.on_fetch(2, 19, late);
        assert_eq!(leading.to_expand(2), None);
        leading.on_fetch(2, 20, late);
        let change = leading.to_expand(2).expect("caught up");
        assert_eq!(change, IsrChange { isr: vec![1, 2], epoch: 5, version: 4 });
        leading.on_asked(&change);
        leading.on_end(30, late);
        assert_eq!(leading.high_watermark(), 20, "who is being added counts already");
        leading.on_changed(&change, 5, late);
        assert_eq!(leading.isr().len(), 2);
    }

    #[test]
    fn an_idle_follower_that_has_all_stays_in_sync() {
        let now = start();
        let mut leading = reign(&[1, 2], &[1, 2], 10, 10, now);
        leading.on_fetch(2, 10, now);
        assert_eq!(leading.to_shrink(now + LAG * 10), None);
    }

    #[test]
    fn a_follower_that_always_has_what_there_was_when_it_asked_keeps_up() {
        let mut now = start();
        let mut leading = reign(&[1, 2], &[1, 2], 10, 10, now);
        for round in 0..20 {
            leading.on_end(20 + round * 10, now);
            leading.on_fetch(2, 10 + round * 10, now);
            assert_eq!(leading.to_shrink(now), None, "{round}");
            now += LAG / 2;
        }
    }

    #[test]
    fn who_has_not_reached_this_reigns_beginning_is_not_in_sync() {
        let now = start();
        let mut leading = reign(&[1, 2], &[1], 10, 4, now);
        leading.on_fetch(2, 9, now);
        assert_eq!(leading.to_expand(2), None);
    }

    #[test]
    fn a_state_from_before_our_own_change_is_not_gone_back_to() {
        let now = start();
        let mut leading = reign(&[1, 2], &[1], 10, 10, now);
        leading.on_fetch(2, 10, now);
        let change = leading.to_expand(2).expect("caught up");
        leading.on_asked(&change);
        leading.on_changed(&change, 4, now);
        leading.confirm(3, &[1, 2], &[1], now);
        assert!(leading.isr().contains(&2));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(u8),
        Fetch(BrokerId, u8),
        Wait(u8),
        Shrink,
        Expand(BrokerId),
        Settle(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Append),
            (2..5, any::<u8>()).prop_map(|(id, behind)| Step::Fetch(id, behind)),
            any::<u8>().prop_map(Step::Wait),
            Just(Step::Shrink),
            (2..5).prop_map(Step::Expand),
            any::<bool>().prop_map(Step::Settle),
        ]
    }

    proptest! {
        /// Whatever set the service may hold, its members have every record below the high watermark.
        #[test]
        fn the_high_watermark_never_passes_who_may_be_elected(steps in prop::collection::vec(step(), 1..80)) {
            let mut now = start();
            let mut leading = reign(&[1, 2, 3, 4], &[1, 2, 3], 0, 0, now);
            let mut ends = BTreeMap::from([(2, 0), (3, 0), (4, 0)]);
            let (mut end, mut asked, mut version) = (0i64, None::<IsrChange>, 3);
            for step in steps {
                let before = leading.high_watermark();
                match step {
                    Step::Append(count) => { end += i64::from(count); leading.on_end(end, now); }
                    Step::Fetch(id, behind) => {
                        let has = ends.get_mut(&id).expect("a follower");
                        *has = (*has).max(end - i64::from(behind));
                        leading.on_fetch(id, *has, now);
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(u64::from(seconds)),
                    Step::Shrink => if let Some(change) = leading.to_shrink(now) { leading.on_asked(&change); asked = Some(change); },
                    Step::Expand(id) => if let Some(change) = leading.to_expand(id) { leading.on_asked(&change); asked = Some(change); },
                    Step::Settle(taken) => if let Some(change) = asked.take() {
                        if taken { version += 1; leading.on_changed(&change, version, now); } else { leading.on_refused(now); }
                    },
                }
                let high_watermark = leading.high_watermark();
                prop_assert!(before <= high_watermark && high_watermark <= end);
                let may_be_elected = leading.isr().iter().chain(asked.iter().flat_map(|change| &change.isr));
                for id in may_be_elected.filter(|id| **id != 1) {
                    prop_assert!(high_watermark <= ends[id], "{id} has {} of {high_watermark}", ends[id]);
                }
            }
        }
    }
}
