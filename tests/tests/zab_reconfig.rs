//! Reconfigurations that are interrupted, each on one production peer, for which the test plays network and disk. "Dynamic
//! reconfiguration of primary/backup clusters", Shraer et al.

use bytes::Bytes;
use jute::txn::{SetDataTxn, Txn, TxnBody, TxnHeader};
use jute::{Jute, Op};
use server::config::{Member, Membership, PeerAddress, Role, ServerId};
use server::zab::{DiskDone, DiskWork, Epoch, Input, LinkId, Packet, PeerConfig, Vote, Zxid};
use tests::alone::{Alone, LEADER, LEARNER, zxid};

/// Where a second learner dialed in.
const OTHER: LinkId = LinkId::Learner(2);

/// These vote.
fn voters(ids: &[i64], version: Zxid) -> Membership {
    let member = |id: &i64| {
        let address = PeerAddress { host: format!("h{id}"), quorum_port: 1, election_port: 2 };
        (ServerId(*id), Member { addresses: vec![address], role: Role::Participant, client: None })
    };
    Membership { members: ids.iter().map(member).collect(), version: version.0, ..Membership::default() }
}

/// The record of a txn that has them vote.
fn reconfiguration(ids: &[i64], zxid: Zxid) -> Bytes {
    let data = Some(voters(ids, zxid).to_text().into());
    let txn_type = Op::Reconfig.code();
    let header = TxnHeader { zxid: zxid.0, txn_type, ..TxnHeader::default() };
    let body = TxnBody::Reconfig(SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 });
    Txn { header, body, digest: None }.to_bytes()
}

fn reconfigurable(config: &mut PeerConfig) {
    config.reconfig = true;
    config.membership = voters(&[1, 2, 3], zxid(4, 0));
}

/// The leader of `epoch` is reached, and sends all it has: a tree as of `last`, and its membership.
fn send_tree(follower: &mut Alone, epoch: u32, last: Zxid, membership: &Membership) {
    let epoch = Epoch(epoch);
    follower.step(Input::LinkUp(LEADER));
    follower.packet(LEADER, Packet::LeaderInfo { epoch, protocol: 0x10000 });
    follower.packet(LEADER, Packet::Snap(last));
    follower.step(Input::SnapshotReceived { link: LEADER });
    let config = Some(membership.to_text().into());
    follower.packet(LEADER, Packet::NewLeader { epoch, config });
}

/// What is noted of the membership that is to come.
fn noted(work: &DiskWork) -> Option<i64> {
    match work {
        DiskWork::SaveMembership { next, .. } => next.as_ref().map(|next| next.version),
        _ => None,
    }
}

/// Else, after a crash between the two, a server could lead with the tree, and without the quorum, of a membership that may
/// not be committed.
#[test]
fn a_membership_is_noted_before_the_tree_that_brings_it() {
    let mut follower = Alone::configured(1, 5, 6, zxid(4, 7), reconfigurable);
    follower.elect(2, 9, zxid(9, 9));
    send_tree(&mut follower, 6, zxid(5, 5), &voters(&[2, 3, 4], zxid(5, 5)));
    let works = follower.works();
    assert!(matches!(works[..], [DiskWork::SaveMembership { .. }, DiskWork::Install]), "{works:?}");
    assert_eq!(noted(works[0]), Some(zxid(5, 5).0));
}

/// Also if the leader is lost while the disk is at work. Else this server, once it led, would bring in a membership that
/// is no part of its history.
#[test]
fn what_a_history_proposed_is_void_once_another_is_installed() {
    let mut follower = Alone::configured(1, 6, 8, zxid(6, 3), |config| {
        reconfigurable(config);
        config.next = Some(voters(&[1, 2, 3, 4], zxid(6, 3)));
    });
    follower.elect(2, 9, zxid(9, 9));
    let vote = Vote { leader: ServerId(2), zxid: zxid(9, 9), peer_epoch: Epoch(9) };
    follower.hear_vote(4, vote, follower.peer.status().round);
    send_tree(&mut follower, 8, zxid(7, 2), &voters(&[1, 2, 3], zxid(4, 0)));
    assert!(matches!(follower.works()[..], [DiskWork::Install]), "{:?}", follower.out);
    follower.step(Input::LinkDown(LEADER));
    assert!(matches!(follower.works()[..], [DiskWork::Reload]), "{:?}", follower.out);
    assert!(follower.peer.is_reconfiguring());

    follower.disk(DiskDone::Installed(zxid(7, 2)));
    let works = follower.works();
    assert!(matches!(works[..], [DiskWork::SaveMembership { next: None, .. }]), "{works:?}");
    follower.disk(DiskDone::Reloaded(zxid(7, 2)));
    assert!(!follower.peer.is_reconfiguring());
}

/// Else nobody could lead where it is needed for the next membership's quorum: it will vote only once that is committed.
#[test]
fn an_observer_that_is_to_vote_counts_when_a_reign_begins() {
    let mut leader = Alone::configured(3, 4, 4, zxid(4, 7), |config| {
        reconfigurable(config);
        config.next = Some(voters(&[3, 4], zxid(4, 7)));
    });
    leader.elect(3, 4, zxid(4, 7));
    let vote = Vote { leader: ServerId(3), zxid: zxid(4, 7), peer_epoch: Epoch(4) };
    leader.hear_vote(4, vote, leader.peer.status().round);
    leader.visited_by(1, LEARNER, 4);
    assert_eq!(leader.works().len(), 0, "no epoch without a quorum of both");

    leader.visited_by_observer(4, OTHER, 6);
    assert!(matches!(leader.works()[..], [DiskWork::SaveAcceptedEpoch(Epoch(7))]), "{:?}", leader.out);
    leader.disk(DiskDone::AcceptedEpoch(Epoch(7)));
    let promise = Packet::AckEpoch { last: zxid(4, 7), current: Some(Epoch(4)) };
    leader.packet(LEARNER, promise.clone());
    assert_eq!(leader.works().len(), 0, "nor a reign");

    leader.packet(OTHER, promise);
    leader.disk(DiskDone::CurrentEpoch(Epoch(7)));
    leader.packet(LEARNER, Packet::Ack(zxid(7, 0).into()));
    assert!(!leader.peer.status().serves);
    leader.packet(OTHER, Packet::Ack(zxid(7, 0).into()));
    assert_eq!(leader.committed(), Some(zxid(4, 7)));
    assert_eq!(leader.peer.membership(), &voters(&[3, 4], zxid(4, 7)));
}

/// An observer with a vote in both, who has not heard of the first, comes back when it has: its promise does not bind it.
#[test]
fn an_observer_that_should_vote_already_does_not_count() {
    let mut leader = Alone::configured(3, 4, 4, zxid(4, 7), |config| {
        reconfigurable(config);
        config.next = Some(voters(&[1, 3], zxid(4, 7)));
    });
    leader.elect(3, 4, zxid(4, 7));
    leader.visited_by_observer(1, LEARNER, 4);
    leader.visited_by(2, OTHER, 4);
    assert_eq!(leader.works().len(), 0);
}

/// Another ensemble's data were in it when it had a vote, and have long been removed.
#[test]
fn who_has_lost_its_vote_is_let_in_whatever_it_said_before() {
    let mut leader = Alone::configured(3, 4, 4, zxid(4, 7), reconfigurable);
    leader.elect(3, 4, zxid(4, 7));
    leader.visited_by(1, LEARNER, 4);
    let mut leader = leader.promised().serving();

    leader.hear_vote(2, Vote { leader: ServerId(2), zxid: zxid(9, 1), peer_epoch: Epoch(9) }, 1);
    leader.visited_by(2, OTHER, 9);
    assert!(leader.refusal(OTHER).is_some(), "{:?}", leader.out);

    leader.propose_record(zxid(5, 1), reconfiguration(&[1, 3], zxid(5, 1)));
    leader.disk(DiskDone::Persisted(zxid(5, 1)));
    leader.packet(LEARNER, Packet::Ack(zxid(5, 1).into()));
    assert_eq!(leader.peer.membership(), &voters(&[1, 3], zxid(5, 1)));

    leader.visited_by(2, OTHER, 4);
    assert_eq!(leader.refusal(OTHER), None);
    assert_eq!(leader.sent_to(OTHER), [Packet::LeaderInfo { epoch: Epoch(5), protocol: 0x10000 }]);
}
