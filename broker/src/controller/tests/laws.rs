//! What holds whatever happens.

use proptest::prelude::*;

use super::world::World;
use crate::controller::{Change, decide, reassigned};
use crate::topic_partition::{BrokerId, TopicPartition};

const BROKERS: BrokerId = 4;
const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Event {
    Start(BrokerId),
    Kill(BrokerId),
    /// So fast that nobody sees it.
    Restart(BrokerId),
    Leave(BrokerId),
    Produce(TopicPartition),
    Expand(TopicPartition, BrokerId),
    Shrink(TopicPartition, BrokerId),
    Reassign(TopicPartition, Vec<BrokerId>),
    Settle,
}

fn event() -> impl Strategy<Value = Event> {
    let broker = 1..=BROKERS;
    let tp = (0..PARTITIONS).prop_map(|partition| TopicPartition::new("t", partition));
    let replicas = proptest::sample::subsequence((1..=BROKERS).collect::<Vec<_>>(), 1..=3).prop_shuffle();
    prop_oneof![
        1 => broker.clone().prop_map(Event::Start),
        1 => broker.clone().prop_map(Event::Kill),
        1 => broker.clone().prop_map(Event::Restart),
        1 => broker.clone().prop_map(Event::Leave),
        3 => tp.clone().prop_map(Event::Produce),
        3 => (tp.clone(), broker.clone()).prop_map(|(tp, broker)| Event::Expand(tp, broker)),
        1 => (tp.clone(), broker).prop_map(|(tp, broker)| Event::Shrink(tp, broker)),
        1 => (tp, replicas).prop_map(|(tp, replicas)| Event::Reassign(tp, replicas)),
        3 => Just(Event::Settle),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Start(broker) => world.start(broker),
        Event::Kill(broker) => world.kill(broker),
        Event::Restart(broker) => {
            world.kill(broker);
            world.start(broker);
        }
        Event::Leave(broker) => world.leave(broker),
        Event::Produce(tp) => world.produce(&tp),
        Event::Expand(tp, broker) => world.expand(&tp, broker),
        Event::Shrink(tp, broker) => world.shrink(&tp, broker),
        Event::Reassign(tp, replicas) => {
            let assignment = reassigned(world.partition(&tp), &replicas);
            world.assign(&tp, assignment);
        }
        Event::Settle => world.settle(),
    }
}

fn cluster() -> World {
    let mut world = World::of(BROKERS);
    world.create("t", &[&[1, 2, 3], &[2, 3], &[4]]);
    world.settle();
    world
}

fn check_settled(world: &World) {
    for (tp, partition) in world.image.partitions() {
        let state = partition.state.as_ref().expect("all was set up while all were alive");
        let view = world.view();
        match state.leader {
            Some(leader) => {
                assert!(world.image.is_alive(leader), "{tp} is led by {leader}, who is dead");
                assert!(view.is_in_same_life(leader, state), "{tp} is led by {leader}, who does not know");
                assert!(state.isr.contains(&leader), "{tp}: {leader} leads and is out of sync");
                assert!(partition.replicas.contains(&leader), "{tp}: {leader} leads and is no replica");
                let missing = world.acknowledged(&tp).saturating_sub(world.records_of(&tp, leader));
                assert_eq!(missing, 0, "{tp} has lost what was acknowledged: {state:?}");
                assert!(state.isr.iter().all(|replica| partition.replicas.contains(replica)));
                assert!(state.isr.iter().all(|replica| world.image.is_alive(*replica)));
            }
            None => {
                let are_replicas = state.isr.iter().any(|it| partition.replicas.contains(it));
                assert!(are_replicas, "{tp}: nobody will ever lead it: {state:?}");
                let back =
                    state.isr.iter().find(|it| partition.replicas.contains(it) && view.is_available(**it));
                assert_eq!(back, None, "{tp} has no leader, and could have one");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_leader_is_alive_in_sync_and_has_all_that_was_acknowledged(
        events in prop::collection::vec(event(), 0..60)
    ) {
        let mut world = cluster();
        for event in events {
            let is_settled = matches!(event, Event::Settle);
            happen(&mut world, event);
            if is_settled {
                check_settled(&world);
            }
        }
        world.settle();
        check_settled(&world);
    }

    /// Two brokers that both believe to be the controller, each with an image of its own age: in the end it is as if there
    /// had been one. That a leader's epoch only grows is claimed by the world itself.
    #[test]
    fn of_two_controllers_only_the_one_elected_last_writes(
        steps in prop::collection::vec((event(), 0..6_usize), 0..60)
    ) {
        let mut world = cluster();
        let mut controllers = [(world.clone(), world.fence), (world.clone(), -1)];
        for (event, act) in steps {
            let is_reassignment = matches!(event, Event::Reassign(..));
            if !matches!(event, Event::Settle) {
                happen(&mut world, event);
            }
            if is_reassignment {
                // It is the controller itself that writes it, and it looks again after it has written.
                controllers.iter_mut().filter(|it| it.1 == world.fence).for_each(|it| it.0 = world.clone());
            }
            let who = act % 2;
            match act / 2 {
                0 => {
                    world.fence += 1;
                    // The first thing that it does is to read all there is.
                    controllers[who] = (world.clone(), world.fence);
                }
                1 => controllers[who].0 = world.clone(),
                _ => {
                    let (seen, fence) = &controllers[who];
                    let changes: Vec<Change> = decide(&seen.view());
                    let made = changes.iter().filter(|change| world.apply(*fence, change)).count();
                    prop_assert!(made == 0 || *fence == world.fence);
                }
            }
        }
        world.settle();
        check_settled(&world);
    }
}
