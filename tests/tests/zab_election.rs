//! Elections seen by one production peer of three, for which the test plays network and disk. Java's servers wait for a
//! better vote ten times as long as ours, so whoever elected one of ours may change its mind.

use std::time::Duration;

use server::config::ServerId;
use server::zab::{Epoch, LinkId, PeerState, Vote, Zxid};
use tests::alone::{Alone, LEADER, zxid};

/// Less than any limit of `Alone`.
const SOON: Duration = Duration::from_secs(1);

fn vote(leader: i64) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid::ZERO, peer_epoch: Epoch(0) }
}

/// Server `me`, once it and server `other` agree on `leader`.
fn settled(me: i64, other: i64, leader: i64) -> Alone {
    let mut alone = Alone::new(me, 0, 0, Zxid::ZERO);
    alone.hear_vote(other, vote(leader), 1);
    assert!(alone.looks(), "there may be somebody better");
    alone.wait();
    assert!(!alone.looks() && alone.now < SOON);
    alone
}

#[test]
fn a_would_be_leader_looks_again_when_too_few_are_left_of_those_who_could_follow_it() {
    let mut alone = settled(2, 1, 2);
    assert_eq!(alone.peer.status().state, PeerState::Leading);
    alone.hear_vote(1, vote(3), 1);
    assert_eq!(alone.peer.status().state, PeerState::Leading, "server 3 may follow it still");
    alone.hear_vote(3, vote(3), 1);
    assert!(alone.looks());
}

#[test]
fn a_would_be_leader_waits_for_those_who_have_come_whatever_they_said_before() {
    let mut alone = settled(2, 1, 2);
    alone.hear_vote(1, vote(3), 1);
    alone.visited_by(1, LinkId::Learner(1), 0);
    alone.hear_vote(3, vote(3), 1);
    assert_eq!(alone.peer.status().state, PeerState::Leading);
}

#[test]
fn votes_of_a_round_before_do_not_deter_a_would_be_leader() {
    let mut alone = settled(2, 1, 2);
    for from in [1, 3] {
        alone.hear_vote(from, vote(3), 0);
    }
    assert_eq!(alone.peer.status().state, PeerState::Leading);
}

#[test]
fn a_follower_does_not_wait_for_a_leader_that_has_found_somebody_better() {
    let mut alone = settled(1, 2, 2);
    assert_eq!(alone.peer.status().state, PeerState::Following);
    alone.hear_vote(3, vote(3), 1);
    assert_eq!(alone.peer.status().state, PeerState::Following, "server 2 may lead still");
    alone.hear_vote(2, vote(3), 1);
    assert!(alone.looks());
}

#[test]
fn whoever_serves_is_not_deterred_by_votes() {
    let mut leader = Alone::serving_leader();
    let better = Vote { leader: ServerId(2), zxid: zxid(9, 9), peer_epoch: Epoch(9) };
    for from in [1, 2] {
        leader.hear_vote(from, better, leader.peer.status().round);
    }
    assert!(leader.peer.status().serves);

    let mut follower = Alone::follower(3, 4, zxid(3, 5));
    follower.hear_vote(2, better, follower.peer.status().round);
    assert!(!follower.looks(), "the link to its leader stands: {LEADER:?}");
}
