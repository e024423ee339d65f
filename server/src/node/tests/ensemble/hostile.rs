//! Whatever strangers say on new links, and liars in votes: nobody panics, and once they have gone, all serve and agree.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::World;
use crate::config::ServerId;
use crate::node::Event;
use crate::session::SessionId;
use crate::zab::{Epoch, Input, LinkId, Notification, Packet, PeerState, Run, Vote, Zxid};

/// Something that no honest server does.
#[derive(Debug, Clone)]
enum Attack {
    /// A stranger dials, and says this.
    Dial(Vec<Packet>),
    /// A vote that nobody cast.
    Lie(i64, Notification),
    /// What comes from the leader of a follower is none of what it sent.
    Garble(Packet),
    /// Meanwhile a client works.
    Work,
    /// Time passes.
    Pass,
}

fn zxid() -> impl Strategy<Value = Zxid> {
    prop_oneof![
        (0_u32..4, 0_u32..4).prop_map(|(epoch, counter)| Zxid::new(Epoch(epoch), counter)),
        any::<i64>().prop_map(Zxid),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    (zxid(), 0_u8..4).prop_map(|(first, more)| Run::starting(first, more))
}

fn epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![4 => 0_u32..5, 1 => any::<u32>()].prop_map(Epoch)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<i64>().prop_map(SessionId)
}

fn introduction() -> impl Strategy<Value = Packet> {
    (any::<bool>(), epoch(), 0_i64..6, 0_i64..2).prop_map(
        |(is_observer, accepted, server, config_version)| Packet::LearnerInfo {
            is_observer,
            accepted,
            server: ServerId(server),
            protocol: 0x10000,
            config_version,
        },
    )
}

fn of_learner() -> impl Strategy<Value = Packet> {
    prop_oneof![
        2 => introduction(),
        3 => (zxid(), proptest::option::of(epoch())).prop_map(|(last, current)| Packet::AckEpoch { last, current }),
        4 => run().prop_map(Packet::Ack),
        2 => (zxid(), vec((session(), any::<i32>()), 0..3))
            .prop_map(|(zxid, touched)| Packet::Ping { zxid, touched: Some(touched) }),
        3 => (session(), any::<i32>(), prop_oneof![-11..20_i32, any::<i32>()], bytes()).prop_map(
            |(session, cxid, op, body)| Packet::Request { session, cxid, op, body, identities: World::everybody() }
        ),
        1 => (session(), any::<i32>())
            .prop_map(|(session, timeout_ms)| Packet::Revalidate { session, timeout_ms }),
        1 => of_leader(),
    ]
}

/// But for what a follower could only believe.
fn of_leader() -> impl Strategy<Value = Packet> {
    prop_oneof![
        epoch().prop_map(|epoch| Packet::LeaderInfo { epoch, protocol: 0x10000 }),
        zxid().prop_map(Packet::Diff),
        zxid().prop_map(Packet::Trunc),
        epoch().prop_map(|epoch| Packet::NewLeader { epoch, config: None }),
        Just(Packet::UpToDate),
        Just(Packet::Sync),
        (zxid(), bytes()).prop_map(|(zxid, record)| Packet::Proposal { zxid, record }),
        (zxid(), bytes()).prop_map(|(zxid, record)| Packet::Inform { zxid, record }),
        run().prop_map(Packet::Commit),
        (session(), any::<bool>()).prop_map(|(session, is_valid)| Packet::Revalidated { session, is_valid }),
        zxid().prop_map(|zxid| Packet::Ping { zxid, touched: None }),
    ]
}

fn lie() -> impl Strategy<Value = Attack> {
    let state = prop_oneof![
        Just(PeerState::Looking),
        Just(PeerState::Following),
        Just(PeerState::Leading),
        Just(PeerState::Observing),
    ];
    let round = prop_oneof![0_i64..5, any::<i64>()];
    (0_i64..5, state, 0_i64..5, zxid(), epoch(), round, 0..3_i32).prop_map(
        |(from, state, leader, zxid, peer_epoch, round, version)| {
            let vote = Vote { leader: ServerId(leader), zxid, peer_epoch };
            Attack::Lie(from, Notification { state, vote, round, version, config: Bytes::new() })
        },
    )
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        4 => (introduction(), vec(of_learner(), 0..6)).prop_map(|(first, mut packets)| {
            packets.insert(0, first);
            Attack::Dial(packets)
        }),
        1 => vec(of_learner(), 1..3).prop_map(Attack::Dial),
        2 => lie(),
        2 => of_leader().prop_map(Attack::Garble),
        1 => Just(Attack::Work),
        1 => Just(Attack::Pass),
    ]
}

/// The servers, and the links on which nobody honest is.
struct Besieged {
    world: World,
    strangers: u32,
}

impl Besieged {
    fn suffer(&mut self, attack: Attack) {
        let world = &mut self.world;
        match attack {
            Attack::Dial(packets) => {
                self.strangers += 1;
                let link = LinkId::Learner(1000 + self.strangers);
                for id in [1, 2, 3].map(ServerId) {
                    world.run(id, [Event::Peer(Input::LinkUp(link))]);
                    for packet in packets.clone() {
                        world.run(id, [Event::Peer(Input::Packet { link, packet })]);
                    }
                }
            }
            Attack::Lie(from, notification) => {
                for id in [1, 2, 3].map(ServerId) {
                    let (from, notification) = (ServerId(from), notification.clone());
                    world.run(id, [Event::Peer(Input::Notification { from, notification })]);
                }
            }
            Attack::Garble(packet) => {
                let followed = world.links_to_leaders();
                if let Some((id, link)) = followed.first().copied() {
                    world.run(id, [Event::Peer(Input::Packet { link, packet })]);
                }
            }
            Attack::Work => {
                let leader = world.servers.iter().find(|(_, server)| server.node.is_leader());
                if let Some(leader) = leader.map(|(id, _)| *id) {
                    let connection = world.connection();
                    world.run(leader, [Event::OpenSession { connection, timeout_ms: 10_000 }]);
                }
            }
            Attack::Pass => world.pass(std::time::Duration::from_millis(500)),
        }
        self.world.settle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn hostile_servers_stop_nobody_for_good(attacks in vec(attack(), 0..30)) {
        let mut besieged = Besieged { world: World::new(3, &[]), strangers: 0 };
        besieged.world.elect();
        attacks.into_iter().for_each(|attack| besieged.suffer(attack));

        let Besieged { mut world, strangers } = besieged;
        for link in (1..=strangers).map(|at| LinkId::Learner(1000 + at)) {
            [1, 2, 3].map(ServerId).into_iter().for_each(|id| world.run(id, [Event::Peer(Input::LinkDown(link))]));
        }
        world.elect();
        world.pass(std::time::Duration::from_secs(30));
        world.elect();
        world.agreed();
    }
}
