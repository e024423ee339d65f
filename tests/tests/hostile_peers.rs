//! What a peer does about others that are wrong, by accident or on purpose: each on one production peer of three, for
//! which the test plays network and disk.

use std::time::Duration;

use server::config::ServerId;
use server::zab::{
    DiskDone, DiskWork, Epoch, Input, LinkId, LinkWork, Output, Packet, Told, Violation, Vote, Zxid,
};
use tests::alone::{Alone, LEADER, LEARNER, record, run, zxid};

/// Somebody else's.
const STRANGER: LinkId = LinkId::Learner(2);

fn vote(leader: i64, epoch: u32, last: Zxid) -> Vote {
    Vote { leader: ServerId(leader), zxid: last, peer_epoch: Epoch(epoch) }
}

fn proposal(zxid: Zxid) -> Packet {
    Packet::Proposal { zxid, record: record() }
}

fn leader_info(epoch: u32) -> Packet {
    Packet::LeaderInfo { epoch: Epoch(epoch), protocol: 0x10000 }
}

#[test]
fn a_leader_serves_on_whatever_strangers_begin_with() {
    let ack_epoch = Packet::AckEpoch { last: Zxid(i64::MAX), current: Some(Epoch(u32::MAX)) };
    let learner_info = Packet::LearnerInfo {
        is_observer: false,
        accepted: Epoch(u32::MAX),
        server: ServerId(2),
        protocol: 0x10000,
        config_version: 0,
    };
    for first in [ack_epoch, Packet::Ack(zxid(5, 1).into()), Packet::UpToDate, learner_info] {
        let mut leader = Alone::serving_leader();
        leader.step(Input::LinkUp(STRANGER));
        leader.packet(STRANGER, first);
        assert!(leader.refusal(STRANGER).is_some(), "{:?}", leader.out);
        assert!(leader.peer.status().serves);
    }
}

#[test]
fn a_leader_lets_nobody_in_under_its_own_id() {
    let mut leader = Alone::serving_leader();
    leader.visited_by(3, STRANGER, 4);
    assert_eq!(leader.refusal(STRANGER), Some(&Violation::OwnId(ServerId(3))));
    assert!(leader.peer.status().serves);
}

#[test]
fn of_two_servers_with_one_id_the_first_stays() {
    let mut leader = Alone::serving_leader();
    leader.visited_by(1, STRANGER, 4);
    assert_eq!(leader.refusal(STRANGER), Some(&Violation::Duplicate(ServerId(1))));
    assert_eq!(leader.peer.status().learners, 1);

    // But one that has been silent for a while may come again before the loss of its link is noticed.
    leader.now += Duration::from_secs(1);
    leader.visited_by(1, LinkId::Learner(3), 4);
    assert_eq!(leader.refusal(LEARNER), Some(&Violation::Silent));
    assert_eq!(leader.sent(), [leader_info(5)]);
}

#[test]
fn servers_that_are_no_voters_make_no_quorum() {
    let mut leader = Alone::new(3, 4, 4, zxid(4, 7));
    leader.elect(3, 4, zxid(4, 7));
    for (server, link) in [(8, LinkId::Learner(8)), (9, LinkId::Learner(9))] {
        leader.visited_by(server, link, 4);
        assert!(leader.works().is_empty(), "an epoch is proposed to strangers");
    }
    leader.visited_by(1, LEARNER, 4);
    assert!(matches!(leader.works()[..], [DiskWork::SaveAcceptedEpoch(Epoch(5))]));
}

#[test]
fn an_acknowledgement_of_what_was_never_proposed_commits_nothing() {
    let mut leader = Alone::serving_leader();
    leader.propose(zxid(5, 1));
    leader.packet(LEARNER, Packet::Ack(zxid(5, 2).into()));
    assert_eq!(leader.committed(), None);
    let found = zxid(5, 2);
    assert_eq!(leader.refusal(LEARNER), Some(&Violation::AckFromTheFuture { proposed: zxid(5, 1), found }));
}

#[test]
fn another_ensembles_data_do_not_depose_a_leader() {
    let mut leader = Alone::serving_leader();
    leader.hear_vote(2, vote(2, 9, zxid(9, 1)), 1);
    leader.visited_by(2, STRANGER, 9);
    let (server, theirs, ours) = (ServerId(2), Epoch(9), Epoch(5));
    assert_eq!(leader.refusal(STRANGER), Some(&Violation::ForeignHistory { server, theirs, ours }));
    assert!(leader.peer.status().serves);

    // Whereas a voter that only promised an epoch to somebody who never led is let in, for a new one.
    leader.hear_vote(2, vote(2, 4, zxid(4, 7)), 1);
    leader.visited_by(2, LinkId::Learner(3), 9);
    assert!(leader.looks());
}

#[test]
fn a_leader_that_hears_nobody_leaves_before_its_followers_leave_it() {
    let (mut leader, mut follower) = (Alone::serving_leader(), Alone::serving_follower());
    while leader.peer.status().serves {
        leader.wait();
    }
    follower.packet(LEADER, Packet::Ping { zxid: zxid(6, 0), touched: None });
    follower.wait();
    assert!(follower.looks() && leader.now < follower.now, "{:?}, {:?}", leader.now, follower.now);
}

#[test]
fn a_leader_notices_at_once_that_its_last_follower_has_gone() {
    let mut leader = Alone::serving_leader();
    leader.step(Input::LinkDown(LEARNER));
    leader.wait();
    assert!(leader.looks());
    assert_eq!(leader.now, Duration::ZERO);
}

#[test]
fn a_leader_that_cannot_be_reached_is_given_up_after_the_sync_limit() {
    let mut follower = Alone::new(1, 3, 4, zxid(3, 5));
    follower.elect(2, 9, zxid(9, 9));
    while !follower.looks() {
        follower.wait();
    }
    assert_eq!(follower.now, Duration::from_secs(5));
}

#[test]
fn a_follower_leaves_a_leader_that_says_things_out_of_order() {
    let before: [&[Packet]; 5] = [
        &[Packet::Diff(zxid(5, 5))],
        &[leader_info(6), leader_info(6)],
        &[leader_info(6), proposal(zxid(6, 1))],
        &[leader_info(6), Packet::Diff(zxid(5, 5)), Packet::UpToDate],
        &[leader_info(6), Packet::Diff(zxid(5, 5)), Packet::NewLeader { epoch: Epoch(7), config: None }],
    ];
    for packets in before {
        let mut follower = Alone::follower(5, 6, zxid(5, 5));
        for packet in packets {
            assert!(!follower.looks(), "too early, of {packets:?}");
            follower.packet(LEADER, packet.clone());
        }
        assert!(follower.looks() && follower.refusal(LEADER).is_some(), "{packets:?}: {:?}", follower.out);
        assert!(follower.works().is_empty());
    }
}

#[test]
fn no_epoch_is_promised_that_leaves_none_to_follow() {
    let mut follower = Alone::follower(5, 6, zxid(5, 5));
    follower.packet(LEADER, leader_info(u32::MAX));
    assert_eq!(follower.refusal(LEADER), Some(&Violation::AbsurdEpoch(Epoch(u32::MAX))));
    assert!(follower.works().is_empty());
}

#[test]
fn proposals_come_without_gap_and_once_and_commits_in_their_order() {
    let wrong: [&[Packet]; 6] = [
        &[proposal(zxid(6, 2))],
        &[proposal(zxid(6, 1)), proposal(zxid(6, 1))],
        &[proposal(zxid(5, 4))],
        &[Packet::Commit(zxid(6, 1).into())],
        &[Packet::Commit(run(zxid(6, 1), zxid(6, 2)))],
        &[proposal(zxid(6, 1)), proposal(zxid(6, 2)), Packet::Commit(zxid(6, 2).into())],
    ];
    for packets in wrong {
        let mut follower = Alone::serving_follower();
        packets.iter().for_each(|packet| follower.packet(LEADER, packet.clone()));
        assert!(follower.looks(), "{packets:?}");
        assert_eq!(follower.committed(), None, "{packets:?}");
        assert!(follower.works().is_empty(), "{packets:?}");
    }
}

#[test]
fn of_commits_that_come_together_those_before_a_wrong_one_count() {
    let mut follower = Alone::serving_follower();
    follower.packet(LEADER, proposal(zxid(6, 1)));
    follower.packet(LEADER, Packet::Commit(run(zxid(6, 1), zxid(6, 2))));
    assert!(follower.looks());
    assert_eq!(follower.committed(), Some(zxid(6, 1)));
}

#[test]
fn a_log_is_not_cut_where_it_does_not_reach() {
    let mut follower = Alone::follower(5, 6, zxid(5, 5));
    follower.packet(LEADER, leader_info(6));
    follower.packet(LEADER, Packet::Trunc(zxid(5, 6)));
    assert!(follower.looks() && follower.works().is_empty());
}

#[test]
fn half_a_snapshot_changes_nothing() {
    let mut follower = Alone::follower(5, 6, zxid(5, 5));
    follower.packet(LEADER, leader_info(6));
    follower.packet(LEADER, Packet::Snap(zxid(6, 9)));
    follower.step(Input::LinkDown(LEADER));
    assert!(follower.looks() && follower.works().is_empty());
    assert!(!follower.out.iter().any(|output| matches!(output, Output::Told(Told::Adopt(_)))));
    assert_eq!(follower.peer.status().logged, zxid(5, 5));
}

#[test]
fn a_tree_that_was_not_stored_when_its_leader_left_is_forgotten() {
    let mut follower = Alone::follower(5, 6, zxid(5, 5));
    follower.packet(LEADER, leader_info(6));
    follower.packet(LEADER, Packet::Snap(zxid(6, 9)));
    follower.step(Input::SnapshotReceived { link: LEADER });
    follower.packet(LEADER, proposal(zxid(6, 10)));
    follower.step(Input::LinkDown(LEADER));
    assert!(matches!(follower.works()[..], [DiskWork::Reload]), "{:?}", follower.out);
    follower.disk(DiskDone::Reloaded(zxid(5, 5)));
    assert_eq!(follower.peer.status().logged, zxid(5, 5));
}

#[test]
fn a_round_that_leaves_none_after_it_is_no_round() {
    let mut peer = Alone::new(1, 5, 5, zxid(5, 5));
    for round in [i64::MAX, i64::MAX / 2 + 1] {
        peer.hear_vote(2, vote(2, 5, zxid(5, 5)), round);
        assert_eq!(peer.peer.status().round, 1);
    }
    peer.elect(2, 5, zxid(5, 5));
    let dialed = |output: &Output| matches!(output, Output::Link(LinkWork::Dial { server: ServerId(2), .. }));
    assert!(peer.out.iter().any(dialed), "{:?}", peer.out);
}

#[test]
fn a_vote_for_who_does_not_vote_elects_nobody() {
    let mut peer = Alone::new(1, 5, 5, zxid(5, 5));
    peer.elect(9, 8, zxid(8, 8));
    assert!(peer.looks());
    peer.elect(2, 5, zxid(5, 5));
    assert!(!peer.looks());
}
