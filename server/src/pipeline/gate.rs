//! Replies come in the order of requests: a read waits while a write of its connection is under way, and a
//! write waits behind such a read. ZooKeeper's `CommitProcessor`.

use std::collections::VecDeque;

/// What a request is, as far as order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Goes through the node, which answers in the order in which it was asked.
    Write,
    /// Answered by the connection, from the tree as its writes so far left it.
    Read,
}

/// One connection's queue. It holds `T`s that wait; those it hands back are to be served at once.
#[derive(Debug)]
#[doc(alias = "CommitProcessor")]
pub struct Gate<T> {
    writes_under_way: usize,
    waiting: VecDeque<(Lane, T)>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { writes_under_way: 0, waiting: VecDeque::new() }
    }
}

impl<T> Gate<T> {
    /// A request arrived. `Some`: serve it now. `None`: it waits here.
    pub fn arrive(&mut self, lane: Lane, request: T) -> Option<T> {
        let may_pass = self.waiting.is_empty() && (lane == Lane::Write || self.writes_under_way == 0);
        if !may_pass {
            self.waiting.push_back((lane, request));
            return None;
        }
        if lane == Lane::Write {
            self.writes_under_way += 1;
        }
        Some(request)
    }

    /// The node answered a write.
    ///
    /// # Panics
    /// If no write was under way: the node answers each once.
    pub fn write_answered(&mut self) {
        assert!(self.writes_under_way > 0, "an answer to no write");
        self.writes_under_way -= 1;
    }

    /// The next request that may be served now; call until there is none.
    pub fn release(&mut self) -> Option<(Lane, T)> {
        match self.waiting.front()? {
            (Lane::Read, _) if self.writes_under_way > 0 => return None,
            (Lane::Read, _) => {}
            (Lane::Write, _) => self.writes_under_way += 1,
        }
        let released = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new(); // An idle connection keeps no buffer.
        }
        released
    }

    /// Requests that were taken off the socket and have no answer yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.writes_under_way + self.waiting.len()
    }

    /// Those among them that have not been let go.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, request)| request)
    }

    /// A read may be answered without entering the gate.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.writes_under_way == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_pass_while_no_write_is_under_way() {
        let mut gate = Gate::default();
        assert_eq!(gate.arrive(Lane::Read, 1), Some(1));
        assert!(gate.is_open());
    }

    #[test]
    fn writes_follow_each_other_at_once() {
        let mut gate = Gate::default();
        assert_eq!(gate.arrive(Lane::Write, 1), Some(1));
        assert_eq!(gate.arrive(Lane::Write, 2), Some(2));
        assert_eq!(gate.outstanding(), 2);
    }

    #[test]
    fn a_read_waits_for_all_writes_before_it() {
        let mut gate = Gate::default();
        gate.arrive(Lane::Write, 1);
        gate.arrive(Lane::Write, 2);
        assert_eq!(gate.arrive(Lane::Read, 3), None);
        gate.write_answered();
        assert_eq!(gate.release(), None);
        gate.write_answered();
        assert_eq!(gate.release(), Some((Lane::Read, 3)));
        assert!(gate.is_open());
    }

    #[test]
    fn a_write_waits_behind_a_read_that_waits() {
        let mut gate = Gate::default();
        gate.arrive(Lane::Write, 1);
        gate.arrive(Lane::Read, 2);
        assert_eq!(gate.arrive(Lane::Write, 3), None);
        assert_eq!(gate.release(), None);
        gate.write_answered();
        assert_eq!(gate.release(), Some((Lane::Read, 2)));
        assert_eq!(gate.release(), Some((Lane::Write, 3)));
        assert!(!gate.is_open());
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_served_once_and_in_order(arrivals in prop::collection::vec(any::<(bool, bool)>(), 0..60)) {
            let mut gate = Gate::default();
            let (mut served, mut under_way) = (Vec::new(), 0);
            let mut serve = |lane, request, under_way: &mut usize| {
                assert!(lane == Lane::Write || *under_way == 0, "a read overtook a write");
                *under_way += usize::from(lane == Lane::Write);
                served.push(request);
            };
            for (request, (is_write, answer_first)) in arrivals.iter().enumerate() {
                if *answer_first && under_way > 0 {
                    gate.write_answered();
                    under_way -= 1;
                    while let Some((lane, request)) = gate.release() {
                        serve(lane, request, &mut under_way);
                    }
                }
                let lane = if *is_write { Lane::Write } else { Lane::Read };
                if let Some(request) = gate.arrive(lane, request) {
                    serve(lane, request, &mut under_way);
                }
            }
            while under_way > 0 {
                gate.write_answered();
                under_way -= 1;
                while let Some((lane, request)) = gate.release() {
                    serve(lane, request, &mut under_way);
                }
            }
            prop_assert_eq!(served, (0..arrivals.len()).collect::<Vec<_>>());
        }
    }
}
