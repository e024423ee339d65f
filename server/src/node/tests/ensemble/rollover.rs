//! An epoch's zxids come to their end: its leader gives up, and the next epoch begins.

use crate::config::ServerId;
use crate::zab::Zxid;

use super::{ONE, THREE, World, answers};

/// Three servers and an observer, whose epochs have room for three txns each.
fn world() -> World {
    let mut world = World::new(3, &[4]);
    let ids: Vec<_> = world.servers.keys().copied().collect();
    ids.iter().for_each(|id| world.kill(*id));
    world.epoch_txns_max = 3;
    ids.iter().for_each(|id| world.start(*id));
    world
}

#[test]
fn at_the_end_of_its_zxids_a_leader_gives_up_and_nothing_acknowledged_is_lost() {
    for at in [ONE, THREE, ServerId(4)] {
        let mut world = world();
        let leader = world.elect();
        let epoch = world.servers[&leader].node.status().proposed.epoch();
        let client = world.client(at);
        // The session took the first of three zxids.
        for xid in [1, 2] {
            let create = client.create(xid, &format!("/{xid}"));
            assert_eq!(answers(&world.ask(&client, [create])), [(xid, true)]);
        }
        assert!(world.ask(&client, [client.create(3, "/3"), client.create(4, "/4")]).is_empty());
        assert!(world.has_closed_all(at));

        let leader = world.elect();
        assert_eq!(world.servers[&leader].node.status().proposed, epoch.next().beginning());
        assert_eq!(world.has("/2"), [1, 2, 3, 4]);
        assert!(world.has("/3").is_empty());
        let client = world.moved(&client, at).expect("its session outlives the epoch");
        assert_eq!(answers(&world.ask(&client, [client.create(6, "/3")])), [(6, true)]);
        assert_eq!(world.agreed(), Zxid::new(epoch.next(), 1));
    }
}

#[test]
fn sessions_that_expire_when_the_zxids_end_expire_in_the_next_epoch() {
    let mut world = world();
    world.elect();
    let client = world.client(ONE);
    world.ask(&client, [client.create(1, "/a"), client.create(2, "/b")]);
    world.kill(ONE);
    world.run_until("its session has expired", |world| world.servers[&THREE].tree.sessions().len() == 0);
    world.elect();
    world.agreed();
}
