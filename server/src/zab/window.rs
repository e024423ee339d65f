//! The newest committed txns, at hand for learners that were away for a moment. ZooKeeper's `committedLog`.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Zxid;

/// Together they take no more than this, but for the newest one.
const WINDOW_BYTES_MAX: usize = 8 << 20;

/// A run of committed txns without a gap.
#[derive(Debug)]
pub(super) struct Window {
    txns: VecDeque<(Zxid, Bytes)>,
    txns_max: usize,
    bytes: usize,
    /// The last txn before the first one in here.
    before: Zxid,
}

/// How a learner's last zxid stands to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// What comes after it is in here, all of it.
    Covered,
    /// It is not among the txns in here, though older ones are: after `previous`, the learner went another way.
    Missing { previous: Zxid, next: Option<Zxid> },
    /// It is older than what is in here.
    Older,
}

impl Window {
    /// Empty: the next txn follows `last`.
    pub(super) fn new(txns_max: usize, last: Zxid) -> Self {
        Self { txns: VecDeque::new(), txns_max, bytes: 0, before: last }
    }

    /// The next one; the oldest may have to go.
    pub(super) fn push(&mut self, zxid: Zxid, record: Bytes) {
        assert!(self.last() < zxid, "{zxid} after {}", self.last());
        self.bytes += record.len();
        self.txns.push_back((zxid, record));
        while self.txns.len() > self.txns_max || (self.bytes > WINDOW_BYTES_MAX && self.txns.len() > 1) {
            let Some((zxid, record)) = self.txns.pop_front() else { break };
            self.bytes -= record.len();
            self.before = zxid;
        }
    }

    /// The newest one in here, or the one before the first to come.
    pub(super) fn last(&self) -> Zxid {
        self.txns.back().map_or(self.before, |(zxid, _)| *zxid)
    }

    /// Where `zxid` stands.
    pub(super) fn place(&self, zxid: Zxid) -> Place {
        if zxid == self.before {
            return Place::Covered;
        }
        if zxid < self.before {
            return Place::Older;
        }
        match self.txns.binary_search_by_key(&zxid, |(zxid, _)| *zxid) {
            Ok(_) => Place::Covered,
            Err(at) => {
                let previous = at.checked_sub(1).map_or(self.before, |previous| self.txns[previous].0);
                Place::Missing { previous, next: self.txns.get(at).map(|(zxid, _)| *zxid) }
            }
        }
    }

    /// The txns after `zxid`.
    pub(super) fn after(&self, zxid: Zxid) -> impl Iterator<Item = &(Zxid, Bytes)> {
        let from = self.txns.partition_point(|(earlier, _)| *earlier <= zxid);
        self.txns.range(from..)
    }

    /// Whether all txns after `zxid` are in here.
    pub(super) fn reaches_back_to(&self, zxid: Zxid) -> bool {
        zxid >= self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(txns_max: usize, last: i64, zxids: &[i64]) -> Window {
        let mut window = Window::new(txns_max, Zxid(last));
        zxids.iter().for_each(|zxid| window.push(Zxid(*zxid), Bytes::from_static(b"txn")));
        window
    }

    fn after(window: &Window, zxid: i64) -> Vec<i64> {
        window.after(Zxid(zxid)).map(|(zxid, _)| zxid.0).collect()
    }

    #[test]
    fn the_oldest_go_first() {
        let window = window(3, 10, &[11, 12, 13, 14]);
        assert_eq!(after(&window, 0), [12, 13, 14]);
        assert!(window.reaches_back_to(Zxid(11)) && !window.reaches_back_to(Zxid(10)));
    }

    #[test]
    fn large_txns_leave_less_of_a_window() {
        let mut window = Window::new(500, Zxid(0));
        for zxid in 1..=4 {
            window.push(Zxid(zxid), Bytes::from(vec![0_u8; WINDOW_BYTES_MAX / 2]));
        }
        assert_eq!(after(&window, 0), [3, 4]);
        window.push(Zxid(5), Bytes::from(vec![0_u8; WINDOW_BYTES_MAX + 1]));
        assert_eq!(after(&window, 0), [5]);
    }

    #[test]
    fn a_learner_is_covered_from_the_txn_before_the_first() {
        let window = window(3, 10, &[11, 12]);
        assert_eq!(
            [9, 10, 11, 12].map(|zxid| window.place(Zxid(zxid)) == Place::Covered),
            [false, true, true, true]
        );
        assert_eq!(window.place(Zxid(9)), Place::Older);
    }

    #[test]
    fn where_a_learner_went_another_way_is_known() {
        let window = window(9, 10, &[11, 20, 21]);
        let place = |zxid| window.place(Zxid(zxid));
        assert_eq!(place(12), Place::Missing { previous: Zxid(11), next: Some(Zxid(20)) });
        assert_eq!(place(22), Place::Missing { previous: Zxid(21), next: None });
    }

    #[test]
    fn an_empty_window_covers_who_has_everything() {
        let window = window(9, 10, &[]);
        assert_eq!(window.place(Zxid(10)), Place::Covered);
        assert_eq!(window.place(Zxid(11)), Place::Missing { previous: Zxid(10), next: None });
        assert!(after(&window, 10).is_empty());
    }
}
