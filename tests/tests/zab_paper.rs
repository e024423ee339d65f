//! Claims of the papers ("A simple totally ordered broadcast protocol", "Zab: High-performance broadcast for
//! primary-backup systems"), each on one production peer of three, for which the test plays network and disk.

use server::zab::{DiskDone, DiskWork, Epoch, Input, LinkId, Packet, Zxid};
use tests::alone::{Alone, LEADER, LEARNER, record, run, zxid};

/// Phase 1, discovery.
#[test]
fn a_promise_is_on_disk_before_it_is_given() {
    let mut follower = Alone::follower(3, 4, zxid(3, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(6), protocol: 0x10000 });
    assert!(matches!(follower.works()[..], [DiskWork::SaveAcceptedEpoch(Epoch(6))]));
    assert_eq!(follower.sent(), []);

    follower.disk(DiskDone::AcceptedEpoch(Epoch(6)));
    assert_eq!(follower.sent(), [Packet::AckEpoch { last: zxid(3, 5), current: Some(Epoch(3)) }]);
}

/// Phase 1.
#[test]
fn an_epoch_older_than_the_promised_one_is_refused() {
    let mut follower = Alone::follower(3, 4, zxid(3, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(3), protocol: 0x10000 });
    assert_eq!(follower.works().len(), 0);
    assert!(follower.looks());
}

/// Phase 1.
#[test]
fn an_epoch_promised_before_is_not_counted_again() {
    let mut follower = Alone::follower(3, 4, zxid(3, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(4), protocol: 0x10000 });
    assert_eq!(follower.sent(), [Packet::AckEpoch { last: zxid(3, 5), current: None }]);
}

/// Phase 1.
#[test]
fn a_new_epoch_is_newer_than_all_that_a_quorum_has_promised() {
    let leader = Alone::would_be_leader(4, zxid(4, 7), 11);
    assert!(matches!(leader.works()[..], [DiskWork::SaveAcceptedEpoch(Epoch(12))]), "{:?}", leader.out);
}

/// Phase 1.
#[test]
fn a_would_be_leader_gives_way_to_a_newer_history() {
    for (last, current) in [(zxid(4, 8), 4), (zxid(3, 1), 5)] {
        let mut leader = Alone::would_be_leader(4, zxid(4, 7), 5);
        leader.disk(DiskDone::AcceptedEpoch(Epoch(6)));
        leader.packet(LEARNER, Packet::AckEpoch { last, current: Some(Epoch(current)) });
        assert!(leader.looks(), "{last} of epoch {current}");
    }
}

/// Phase 1. Else a voter whose promise went to somebody who never led could not follow anybody.
#[test]
fn a_leader_gives_way_to_a_voter_that_promised_a_newer_epoch() {
    let mut leader = Alone::serving_leader();
    leader.visited_by(2, LinkId::Learner(2), 6);
    assert!(leader.looks());
}

/// Phase 2, synchronisation.
#[test]
fn a_leader_serves_once_a_quorum_has_its_history() {
    let mut leader = Alone::promised_leader();
    assert!(matches!(leader.works()[..], [DiskWork::SaveCurrentEpoch(Epoch(5))]));
    leader.disk(DiskDone::CurrentEpoch(Epoch(5)));
    let config = Some(leader.peer.membership().to_text().into());
    let new_leader = Packet::NewLeader { epoch: Epoch(5), config };
    assert_eq!(leader.sent(), [Packet::Diff(zxid(4, 7)), new_leader]);
    assert!(!leader.peer.status().serves);

    leader.packet(LEARNER, Packet::Ack(zxid(5, 0).into()));
    assert_eq!(leader.sent(), [Packet::UpToDate]);
    assert_eq!(leader.committed(), Some(zxid(4, 7)));
    assert!(leader.peer.status().serves);
}

/// Phase 2.
#[test]
fn a_learner_acknowledges_a_new_leader_once_the_history_is_on_disk_and_whose_it_is() {
    let mut follower = Alone::follower(3, 6, zxid(3, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(6), protocol: 0x10000 });
    follower.packet(LEADER, Packet::Diff(zxid(3, 6)));
    follower.packet(LEADER, Packet::Proposal { zxid: zxid(3, 6), record: record() });
    assert!(matches!(follower.works()[..], [DiskWork::Append { .. }]));
    follower.packet(LEADER, Packet::NewLeader { epoch: Epoch(6), config: None });
    assert!(matches!(follower.works()[..], [DiskWork::SaveCurrentEpoch(Epoch(6))]));
    assert_eq!(follower.sent(), []);

    follower.disk(DiskDone::CurrentEpoch(Epoch(6)));
    assert_eq!(follower.sent(), [Packet::Ack(zxid(6, 0).into()), Packet::Ack(zxid(3, 6).into())]);
}

/// Phase 2.
#[test]
fn what_a_learner_has_beyond_the_leaders_history_is_cut_off() {
    let mut leader = Alone::promised_leader();
    leader.disk(DiskDone::CurrentEpoch(Epoch(5)));
    leader.visited_by(2, LinkId::Learner(2), 4);
    leader.packet(LinkId::Learner(2), Packet::AckEpoch { last: zxid(4, 9), current: Some(Epoch(4)) });
    assert_eq!(leader.sent()[0], Packet::Trunc(zxid(4, 7)));
}

/// Phase 2.
#[test]
fn who_could_not_cut_its_log_does_not_deny_it_to_a_leader_that_counts_on_it() {
    let mut follower = Alone::follower(3, 5, zxid(3, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(5), protocol: 0x10000 });
    follower.packet(LEADER, Packet::Trunc(zxid(3, 2)));
    follower.disk(DiskDone::TruncateRefused);
    follower.disk(DiskDone::Reloaded(zxid(3, 5)));
    for (epoch, link, answer) in [
        (5, LinkId::Leader(2), Packet::AckEpoch { last: Zxid::ZERO, current: None }),
        (6, LinkId::Leader(3), Packet::AckEpoch { last: zxid(3, 5), current: Some(Epoch(3)) }),
    ] {
        follower.elect(2, 9, zxid(9, 9));
        follower.step(Input::LinkUp(link));
        follower.packet(link, Packet::LeaderInfo { epoch: Epoch(epoch), protocol: 0x10000 });
        if epoch == 6 {
            follower.disk(DiskDone::AcceptedEpoch(Epoch(6)));
        }
        assert_eq!(follower.sent(), [answer]);
        follower.step(Input::LinkDown(link));
    }
}

/// Phase 2. ZooKeeper's learners up to 3.8 fail at a commit there, if nothing was proposed since NEWLEADER.
#[test]
fn nobody_hears_of_a_commit_between_newleader_and_uptodate() {
    const JOINING: LinkId = LinkId::Learner(2);
    let mut leader = Alone::serving_leader();
    leader.propose(zxid(5, 1));
    leader.disk(DiskDone::Persisted(zxid(5, 1)));
    leader.visited_by(2, JOINING, 5);
    leader.packet(JOINING, Packet::AckEpoch { last: zxid(4, 7), current: Some(Epoch(4)) });
    let sent = leader.sent();
    assert!(
        matches!(sent[..], [Packet::Diff(_), Packet::Proposal { .. }, Packet::NewLeader { .. }]),
        "{sent:?}"
    );

    leader.packet(LEARNER, Packet::Ack(zxid(5, 1).into()));
    assert_eq!(leader.committed(), Some(zxid(5, 1)));
    assert_eq!(leader.sent_to(LEARNER), [Packet::Commit(zxid(5, 1).into())]);
    assert_eq!(leader.sent_to(JOINING), []);

    leader.packet(JOINING, Packet::Ack(zxid(5, 0).into()));
    assert_eq!(leader.sent_to(JOINING), [Packet::UpToDate, Packet::Commit(zxid(5, 1).into())]);
}

/// Phase 3, broadcast.
#[test]
fn a_txn_is_committed_when_a_quorum_has_it_on_disk() {
    let mut leader = Alone::serving_leader();
    leader.propose(zxid(5, 1));
    assert_eq!(leader.sent(), [Packet::Proposal { zxid: zxid(5, 1), record: record() }]);
    leader.packet(LEARNER, Packet::Ack(zxid(5, 1).into()));
    assert_eq!(leader.committed(), None, "only one of three has it");

    leader.disk(DiskDone::Persisted(zxid(5, 1)));
    assert_eq!(leader.committed(), Some(zxid(5, 1)));
    assert_eq!(leader.sent(), [Packet::Commit(zxid(5, 1).into())]);
}

/// Phase 3.
#[test]
fn txns_are_committed_in_the_order_in_which_they_were_proposed() {
    let mut leader = Alone::serving_leader();
    leader.propose(zxid(5, 1));
    leader.propose(zxid(5, 2));
    leader.disk(DiskDone::Persisted(zxid(5, 2)));
    leader.packet(LEARNER, Packet::Ack(zxid(5, 2).into()));
    assert_eq!(leader.sent(), [Packet::Commit(zxid(5, 1).into()), Packet::Commit(zxid(5, 2).into())]);
}

/// Phase 3, said at once: what is on disk after one sync is one thing to say, and so is what a quorum has after that.
#[test]
fn acks_and_commits_that_follow_each_other_go_together() {
    let all = run(zxid(5, 1), zxid(5, 3));
    let mut leader = Alone::serving_leader();
    all.iter().for_each(|zxid| leader.propose(zxid));
    leader.disk(DiskDone::Persisted(all.last()));
    leader.packet(LEARNER, Packet::Ack(all));
    assert_eq!(leader.committed(), Some(all.last()));
    assert_eq!(leader.said(), [Packet::Commit(all)]);

    let all = run(zxid(6, 1), zxid(6, 3));
    let mut follower = Alone::serving_follower();
    all.iter().for_each(|zxid| follower.packet(LEADER, Packet::Proposal { zxid, record: record() }));
    follower.disk(DiskDone::Persisted(all.last()));
    assert_eq!(follower.said(), [Packet::Ack(all)]);
    follower.packet(LEADER, Packet::Commit(all));
    assert_eq!(follower.committed(), Some(all.last()));
}

/// Phase 3.
#[test]
fn a_follower_takes_no_txn_that_leaves_one_out() {
    let mut follower = Alone::follower(5, 6, zxid(5, 5));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(6), protocol: 0x10000 });
    follower.packet(LEADER, Packet::Diff(zxid(5, 5)));
    follower.packet(LEADER, Packet::Proposal { zxid: zxid(6, 1), record: record() });
    follower.packet(LEADER, Packet::Proposal { zxid: zxid(6, 3), record: record() });
    assert!(follower.looks());
}
