//! What a controller does, case by case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::World;
use crate::controller::{Change, Election, NotElected, decide, led_with_others, reassigned, rebalance};
use crate::registry::payload::Assignment;
use crate::topic_partition::TopicPartition;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A topic `t` of one partition on brokers 1, 2 and 3, led by 1.
fn three() -> World {
    let mut world = World::of(3);
    world.create("t", &[&[1, 2, 3]]);
    world.settle();
    world
}

#[test]
fn a_new_partition_is_led_by_its_first_replica_that_is_alive() {
    let mut world = World::of(3);
    world.kill(1);
    world.create("t", &[&[1, 2, 3], &[1]]);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 3]));
    assert_eq!(world.partition(&tp(1)).state, None, "nobody is there to lead it");
    world.start(1);
    world.settle();
    assert_eq!(world.led(&tp(1)), (Some(1), vec![1]));
}

#[test]
fn a_dead_leader_is_followed_by_the_next_in_sync_and_comes_back_as_a_follower() {
    let mut world = three();
    world.kill(1);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 3]));
    world.start(1);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 3]));
}

#[test]
fn a_dead_follower_is_out_of_sync() {
    let mut world = three();
    world.kill(3);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(1), vec![1, 2]));
}

#[test]
fn a_leader_that_was_away_for_a_moment_is_replaced() {
    let mut world = three();
    world.kill(1);
    world.start(1);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 3]));
}

#[test]
fn an_only_replica_that_was_away_for_a_moment_leads_again_in_a_new_epoch() {
    let mut world = World::of(1);
    world.create("t", &[&[1]]);
    world.settle();
    world.kill(1);
    world.start(1);
    world.settle();
    let state = world.image.state(&tp(0)).unwrap();
    assert_eq!((state.leader, state.leader_epoch), (Some(1), 1));
}

#[test]
fn without_anyone_in_sync_nobody_leads_until_one_is_back() {
    let mut world = three();
    world.shrink(&tp(0), 3);
    world.kill(1);
    world.kill(2);
    world.settle();
    assert_eq!(world.led(&tp(0)), (None, vec![1, 2]), "3 is alive, but lacks something");
    world.start(2);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2]));
}

#[test]
fn where_it_is_allowed_one_out_of_sync_leads_rather_than_nobody() {
    let mut world = three();
    world.shrink(&tp(0), 3);
    let allowed = BTreeMap::from([("unclean.leader.election.enable".to_owned(), "true".to_owned())]);
    Arc::make_mut(&mut world.image.topic_configs).insert("t".into(), Arc::new(allowed));
    world.kill(1);
    world.kill(2);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(3), vec![3]));
    assert!(world.image.state(&tp(0)).unwrap().recovering);
}

#[test]
fn a_broker_that_is_about_to_end_leads_only_what_nobody_else_can() {
    let mut world = World::of(2);
    world.create("t", &[&[1, 2], &[1], &[2, 1], &[1, 2]]);
    world.settle();
    world.shrink(&tp(3), 2);
    world.leave(1);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2]));
    assert_eq!(world.led(&tp(1)), (Some(1), vec![1]));
    assert_eq!(world.led(&tp(2)), (Some(2), vec![2]));
    assert_eq!(world.led(&tp(3)), (Some(1), vec![1]));
    assert_eq!(led_with_others(&world.view(), 1), [tp(3)]);
    // In its next life it is a broker like any other.
    world.kill(1);
    world.start(1);
    world.settle();
    world.expand(&tp(0), 1);
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 1]));
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(2), vec![2, 1]));
}

#[test]
fn a_reassignment_waits_for_all_its_replicas_and_then_drops_the_others() {
    let mut world = World::of(4);
    world.create("t", &[&[1, 2]]);
    world.settle();
    let assignment = reassigned(world.partition(&tp(0)), &[3, 4]);
    assert_eq!(
        assignment,
        Assignment { replicas: vec![3, 4, 1, 2], adding: vec![3, 4], removing: vec![1, 2] }
    );
    world.assign(&tp(0), assignment);
    world.settle();
    world.expand(&tp(0), 3);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(1), vec![1, 2, 3]));
    world.expand(&tp(0), 4);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(3), vec![3, 4]));
    assert_eq!(world.partition(&tp(0)).replicas, [3, 4]);
    assert!(!world.partition(&tp(0)).is_reassigning());
}

#[test]
fn a_reassignment_can_be_given_up() {
    let mut world = World::of(3);
    world.create("t", &[&[1, 2]]);
    world.settle();
    world.assign(&tp(0), reassigned(world.partition(&tp(0)), &[3]));
    world.settle();
    let partition = world.partition(&tp(0));
    let given_up = reassigned(partition, &partition.original());
    assert_eq!(given_up, Assignment::of([1, 2]));
    world.assign(&tp(0), given_up);
    world.settle();
    assert_eq!(world.led(&tp(0)), (Some(1), vec![1, 2]));
}

#[test]
fn an_old_tools_reassignment_is_carried_out_and_its_wish_taken_away() {
    let mut world = World::of(3);
    world.create("t", &[&[1, 2], &[1, 2]]);
    world.settle();
    let wanted = BTreeMap::from([
        (tp(0), vec![2, 3]),
        (tp(1), vec![2, 9]),
        (TopicPartition::new("absent", 0), vec![1]),
    ]);
    Arc::make_mut(&mut world.image.wishes).reassignments = Some(wanted);
    world.settle();
    let left = world.image.wishes.reassignments.as_ref().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&tp(0)], "the others cannot be");
    assert_eq!(world.partition(&tp(0)).replicas, [2, 3, 1]);
    world.expand(&tp(0), 3);
    world.settle();
    assert_eq!(world.partition(&tp(0)).replicas, [2, 3]);
    assert_eq!(world.image.wishes.reassignments, None);
}

#[test]
fn a_topic_goes_when_all_its_replicas_are_there() {
    let mut world = three();
    world.kill(3);
    Arc::make_mut(&mut world.image.wishes).deletions = BTreeSet::from(["t".into(), "absent".into()]);
    world.settle();
    assert!(world.image.topic("t").is_some());
    assert_eq!(world.image.wishes.deletions.len(), 1);
    world.start(3);
    world.settle();
    assert!(world.image.topic("t").is_none());
    assert!(world.image.wishes.deletions.is_empty());
}

#[test]
fn leaders_are_given_back_where_too_many_are_away() {
    let mut world = World::of(2);
    world.create("t", &[&[1, 2][..]; 4]);
    world.settle();
    world.kill(1);
    world.settle();
    world.start(1);
    world.settle();
    assert_eq!(rebalance(&world.view()), [], "1 is not in sync");
    (0..4).for_each(|partition| world.expand(&tp(partition), 1));
    let changes = rebalance(&world.view());
    assert_eq!(changes.len(), 4);
    for change in &changes {
        assert!(world.apply(world.fence, change));
    }
    assert_eq!(world.led(&tp(0)).0, Some(1));
    assert_eq!(rebalance(&world.view()), []);
}

#[test]
fn an_election_that_is_asked_for_says_why_it_elects_nobody() {
    let mut world = three();
    let elect = |world: &World, election| {
        super::super::decide::elect(&world.view(), &tp(0), world.partition(&tp(0)), election).map(|_| ())
    };
    assert_eq!(elect(&world, Election::Preferred), Err(NotElected::NotNeeded));
    assert_eq!(elect(&world, Election::Unclean), Err(NotElected::NotNeeded));
    world.kill(1);
    world.settle();
    assert_eq!(elect(&world, Election::Preferred), Err(NotElected::NotAvailable));
    world.kill(2);
    world.kill(3);
    world.settle();
    assert_eq!(elect(&world, Election::Unclean), Err(NotElected::NotAvailable));
    world.start(1);
    assert_eq!(elect(&world, Election::Unclean), Ok(()), "out of sync, but wanted all the same");
}

#[test]
fn preferred_leaders_are_elected_when_an_old_tool_wishes_it() {
    let mut world = three();
    world.kill(1);
    world.settle();
    world.start(1);
    world.settle();
    world.expand(&tp(0), 1);
    Arc::make_mut(&mut world.image.wishes).preferred = Some(BTreeSet::from([tp(0)]));
    assert!(matches!(&decide(&world.view())[..], [Change::Lead { .. }, Change::ForgetPreferred]));
    world.settle();
    assert_eq!(world.led(&tp(0)).0, Some(1));
}
