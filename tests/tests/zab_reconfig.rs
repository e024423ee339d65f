//! Reconfigurations that are interrupted, each on one production peer, for which the test plays network and disk. "Dynamic
//! reconfiguration of primary/backup clusters", Shraer et al.

use server::config::{Member, Membership, PeerAddress, Role, ServerId};
use server::zab::{DiskWork, Epoch, Input, Packet, PeerConfig, Zxid};
use tests::alone::{Alone, LEADER, zxid};

/// These vote.
fn voters(ids: &[i64], version: Zxid) -> Membership {
    let member = |id: &i64| {
        let address = PeerAddress { host: format!("h{id}"), quorum_port: 1, election_port: 2 };
        (ServerId(*id), Member { addresses: vec![address], role: Role::Participant, client: None })
    };
    Membership { members: ids.iter().map(member).collect(), version: version.0, ..Membership::default() }
}

fn reconfigurable(config: &mut PeerConfig) {
    config.reconfig = true;
    config.membership = voters(&[1, 2, 3], zxid(4, 0));
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
    follower.step(Input::LinkUp(LEADER));
    follower.packet(LEADER, Packet::LeaderInfo { epoch: Epoch(6), protocol: 0x10000 });
    follower.packet(LEADER, Packet::Snap(zxid(5, 5)));
    follower.step(Input::SnapshotReceived { link: LEADER });
    let config = Some(voters(&[2, 3, 4], zxid(5, 5)).to_text().into());
    follower.packet(LEADER, Packet::NewLeader { epoch: Epoch(6), config });
    let works = follower.works();
    assert!(matches!(works[..], [DiskWork::SaveMembership { .. }, DiskWork::Install]), "{works:?}");
    assert_eq!(noted(works[0]), Some(zxid(5, 5).0));
}
