//! Which brokers are to have which replicas: round robin for the first ones, and for each partition the others as many
//! places further as there have been rounds. Kafka's `AdminUtils.assignReplicasToBrokers`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::registry::ClusterImage;
use crate::topic_partition::BrokerId;

/// A broker that can have replicas, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub broker: BrokerId,
    /// Its rack.
    pub rack: Option<Arc<str>>,
}

/// The brokers of `image` that are alive, by their numbers. Racks count only if all have one.
pub fn places(image: &ClusterImage) -> Vec<Place> {
    let have_all_racks = image.brokers.values().all(|broker| broker.rack.is_some());
    let rack = |rack: &Option<Arc<str>>| rack.clone().filter(|_| have_all_racks);
    image.brokers.values().map(|broker| Place { broker: broker.id, rack: rack(&broker.rack) }).collect()
}

/// Where the round begins. Both are random, except when partitions are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whose turn it is to have the first replica of partition 0.
    pub first: usize,
    /// How much further than the next the second replica goes.
    pub shift: usize,
}

/// Replicas for the partitions from `first_partition` up, so many each.
///
/// # Panics
/// When there are fewer places than replicas: callers have checked it.
pub fn place(
    places: &[Place],
    start: Start,
    first_partition: usize,
    partitions: usize,
    replicas: usize,
) -> Vec<Vec<BrokerId>> {
    assert!(
        (1..=places.len()).contains(&replicas),
        "{replicas} replicas cannot be placed on {} brokers",
        places.len()
    );
    let places = by_turns(places);
    let racks = places.iter().map(|place| &place.rack).collect::<BTreeSet<_>>().len();
    let mut shift = start.shift;
    let mut placed = Vec::with_capacity(partitions);
    for partition in first_partition..first_partition.saturating_add(partitions) {
        if partition > 0 && partition.is_multiple_of(places.len()) {
            shift += 1;
        }
        // Without racks each step is one further; with them, as many as there are racks, to change the rack, too.
        let shift = if places[0].rack.is_some() { shift.wrapping_mul(racks) } else { shift };
        let first = partition.wrapping_add(start.first) % places.len();
        placed.push(replicas_of(&places, racks, first, shift, replicas));
    }
    placed
}

/// No rack gets a second replica before all have one, and no broker a second one at all.
fn replicas_of(places: &[Place], racks: usize, first: usize, shift: usize, replicas: usize) -> Vec<BrokerId> {
    let mut chosen = vec![places[first].broker];
    let mut used = BTreeSet::from([&places[first].rack]);
    let others = places.len().saturating_sub(1).max(1);
    let mut step = 0;
    while chosen.len() < replicas {
        let further = 1 + shift.wrapping_add(step) % others;
        let place = &places[(first + further) % places.len()];
        if (!used.contains(&place.rack) || used.len() == racks) && !chosen.contains(&place.broker) {
            chosen.push(place.broker);
            used.insert(&place.rack);
        }
        step += 1;
    }
    chosen
}

/// With racks, the first broker of each rack, then the second of each, and so on.
fn by_turns(places: &[Place]) -> Vec<Place> {
    let mut racks: BTreeMap<&Option<Arc<str>>, Vec<&Place>> = BTreeMap::new();
    for place in places {
        racks.entry(&place.rack).or_default().push(place);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or_default();
    let turns = (0..longest).flat_map(|turn| racks.values().filter_map(move |rack| rack.get(turn)));
    turns.map(|place| Place::clone(place)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without_racks(brokers: BrokerId) -> Vec<Place> {
        (0..brokers).map(|broker| Place { broker, rack: None }).collect()
    }

    fn with_racks(racks: &[&str]) -> Vec<Place> {
        (0..).zip(racks).map(|(broker, rack)| Place { broker, rack: Some((*rack).into()) }).collect()
    }

    #[test]
    fn without_racks_it_is_as_in_kafkas_own_example() {
        let placed = place(&without_racks(5), Start { first: 0, shift: 0 }, 0, 10, 3);
        let expected = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn with_racks_it_is_as_in_kafkas_own_example() {
        // Brokers 0, 1 and 2 are in racks 1, 3 and 3; 3, 4 and 5 in 2, 2 and 1.
        let places = with_racks(&["rack1", "rack3", "rack3", "rack2", "rack2", "rack1"]);
        let turns: Vec<_> = by_turns(&places).iter().map(|place| place.broker).collect();
        assert_eq!(turns, [0, 3, 1, 5, 4, 2]);
        let placed = place(&places, Start { first: 0, shift: 0 }, 0, 7, 3);
        let expected = [[0, 3, 1], [3, 1, 5], [1, 5, 4], [5, 4, 2], [4, 2, 0], [2, 0, 3], [0, 4, 2]];
        assert_eq!(placed, expected);
    }

    #[test]
    fn an_only_broker_has_everything() {
        assert_eq!(place(&without_racks(1), Start { first: 0, shift: 0 }, 0, 2, 1), [[0], [0]]);
    }

    proptest! {
        #[test]
        fn replicas_are_on_as_many_racks_and_brokers_as_can_be_and_spread_evenly(
            racks in prop::collection::vec(0..4_u8, 1..9), first: u16, shift: u16,
            partitions in 1..60_usize, replicas in 1..5_usize,
        ) {
            let names: Vec<_> = racks.iter().map(u8::to_string).collect();
            let places = with_racks(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let replicas = replicas.min(places.len());
            let start = Start { first: first.into(), shift: shift.into() };
            let placed = place(&places, start, 0, partitions, replicas);
            let all_racks = racks.iter().collect::<BTreeSet<_>>().len();
            let mut leads = BTreeMap::<BrokerId, usize>::new();
            for brokers in &placed {
                prop_assert_eq!(brokers.iter().collect::<BTreeSet<_>>().len(), replicas);
                let used: BTreeSet<_> = brokers.iter().map(|it| racks[usize::try_from(*it).unwrap()]).collect();
                prop_assert_eq!(used.len(), replicas.min(all_racks));
                *leads.entry(brokers[0]).or_default() += 1;
            }
            let most = leads.values().max().copied().unwrap_or_default();
            prop_assert!(most <= partitions.div_ceil(places.len()));
        }
    }
}
