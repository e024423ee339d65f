//! Whom an observer dials. With `observerMasterPort` that is one of the followers, which lets it through to the
//! leader, and the leader itself if none of them does. `QuorumPeer.findLearnerMaster`.
//!
//! Behind one of our followers the leader has no less to do than if it were dialed. Observers go there all the same: behind
//! a Java follower it has, and whoever sets the key may have made way for them to the followers only.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, info};

use super::hub::Hub;
use super::stream::{SocketSetup, Wire};
use crate::config::ServerId;

/// How long a follower may take to be reached. There are others.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(1);

/// Whose turn it is.
#[derive(Debug)]
#[doc(alias = "updateObserverMasterList")]
pub(super) struct Masters {
    me: ServerId,
    /// The voters, the next first. Every observer has an order of its own, so that they do not all go to the same.
    turns: Vec<ServerId>,
    /// Turns since this server was in step.
    in_vain: usize,
}

impl Masters {
    pub(super) fn new(me: ServerId, mut voters: Vec<ServerId>) -> Self {
        voters.sort_by_cached_key(|voter| Reverse(rank(me, *voter)));
        Self { me, turns: voters, in_vain: 0 }
    }

    /// From now on these vote. If they did before, it is still the same one's turn.
    pub(super) fn set(&mut self, voters: Vec<ServerId>) {
        let is_same = voters.len() == self.turns.len() && voters.iter().all(|id| self.turns.contains(id));
        if !is_same {
            *self = Self::new(self.me, voters);
        }
    }

    /// Who may be dialed in place of `leader`, in this order. Nobody: it is the leader's turn, for all others were reached,
    /// one after the other, and none brought this server in step. They will have their turns again after it.
    pub(super) fn in_place_of(&mut self, leader: ServerId) -> Vec<ServerId> {
        let others: Vec<_> = self.turns.iter().copied().filter(|id| *id != leader).collect();
        if self.in_vain < others.len() {
            return others;
        }
        self.in_vain = 0;
        Vec::new()
    }

    /// It was its turn, and so it comes last now. If it was reached, what comes of it is still to be seen.
    pub(super) fn on_dialed(&mut self, master: ServerId, is_reached: bool) {
        let behind = self.turns.iter().position(|id| *id == master).map_or(0, |at| at + 1);
        self.turns.rotate_left(behind);
        self.in_vain += usize::from(is_reached);
    }

    /// The last turn was not in vain.
    pub(super) fn on_in_step(&mut self) {
        self.in_vain = 0;
    }
}

fn rank(me: ServerId, voter: ServerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (me, voter).hash(&mut hasher);
    hasher.finish()
}

/// Dials who lets this server through to `leader`; the leader itself if nobody does, and this is the `last` try: it may be
/// that it has just been elected, and its followers are not in step yet.
pub(super) async fn reach(hub: &Hub, leader: ServerId, mut last: bool) -> io::Result<(Wire, SocketAddr)> {
    let usual = hub.quorum_sockets();
    let brief = SocketSetup { connect_timeout: usual.connect_timeout.min(CONNECT_TIMEOUT_MAX), ..usual };
    let masters = hub.masters.borrow_mut().in_place_of(leader);
    let mut failure = None;
    for master in masters {
        let dialed = brief.dial(&hub.master_endpoints(master)).await;
        hub.masters.borrow_mut().on_dialed(master, dialed.is_ok());
        match dialed {
            Ok(connected) => {
                info!(%master, %leader, "observing the leader through a follower");
                return Ok(connected);
            }
            Err(error) => {
                debug!(%master, %error, "cannot reach the leader through a follower");
                last |= error.kind() == io::ErrorKind::TimedOut; // Time enough has gone by.
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(failure) if !last => return Err(failure),
        Some(failure) => {
            info!(%leader, error = %failure, "no follower lets this server through, dialing the leader")
        }
        None => {}
    }
    usual.dial(&hub.quorum_endpoints(leader)).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LEADER: ServerId = ServerId(3);

    fn masters(me: i64) -> Masters {
        Masters::new(ServerId(me), (1..=5).map(ServerId).collect())
    }

    /// Who is reached in place of the leader, so many times in a row, and never lets this server through.
    fn reached(masters: &mut Masters, leader: ServerId, times: usize) -> Vec<Option<i64>> {
        let mut turn = || {
            let master = masters.in_place_of(leader).first().copied()?;
            masters.on_dialed(master, true);
            Some(master.0)
        };
        (0..times).map(|_| turn()).collect()
    }

    #[test]
    fn all_followers_are_tried_before_the_leader_and_then_again() {
        let mut masters = masters(6);
        let round = reached(&mut masters, LEADER, 5);
        let others: BTreeSet<_> = round[..4].iter().copied().flatten().collect();
        assert_eq!((others, round[4]), ([1, 2, 4, 5].into(), None));
        assert_eq!(reached(&mut masters, LEADER, 5), round);
    }

    #[test]
    fn after_a_turn_that_was_not_in_vain_the_others_come_before_the_leader() {
        let mut masters = masters(6);
        let round = reached(&mut masters, LEADER, 4);
        masters.on_in_step();
        let next = reached(&mut masters, LEADER, 5);
        assert_eq!((&next[..4], next[4]), (&round[..], None));
    }

    #[test]
    fn who_cannot_be_reached_comes_last_next_time() {
        let mut masters = masters(6);
        let order = masters.in_place_of(LEADER);
        masters.on_dialed(order[0], false);
        masters.on_dialed(order[1], false);
        assert_eq!(masters.in_place_of(LEADER), [order[2], order[3], order[0], order[1]]);
    }

    #[test]
    fn a_new_leader_is_not_among_them_and_the_old_one_is() {
        let mut masters = masters(6);
        let others: BTreeSet<_> = masters.in_place_of(ServerId(1)).into_iter().collect();
        assert_eq!(others, [2, 3, 4, 5].map(ServerId).into());
    }

    #[test]
    fn observers_do_not_all_begin_with_the_same() {
        let firsts: BTreeSet<_> = (6..30).map(|me| masters(me).in_place_of(LEADER)[0]).collect();
        assert_eq!(firsts, [1, 2, 4, 5].map(ServerId).into());
    }

    #[test]
    fn the_same_voters_in_another_order_change_nothing() {
        let mut masters = masters(6);
        reached(&mut masters, LEADER, 1);
        let order = masters.in_place_of(LEADER);
        masters.set((1..=5).rev().map(ServerId).collect());
        assert_eq!(masters.in_place_of(LEADER), order);
        masters.set(vec![ServerId(7)]);
        assert_eq!(masters.in_place_of(LEADER), [ServerId(7)]);
    }

    #[test]
    fn who_has_no_masters_dials_the_leader() {
        assert_eq!(Masters::new(ServerId(6), Vec::new()).in_place_of(LEADER), []);
    }
}
