//! What a controller should change, given how things are. Pure: no clock, no service, nothing remembered but what is in
//! the [`View`]. A controller decides, writes, looks again, until nothing is left to change; so whatever happened, in
//! which order, and to whom as controller, makes no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::registry::image::{Partition, Topic};
use crate::registry::payload::{Assignment, StatePayload, TopicPayload};
use crate::topic_partition::{BrokerId, TopicPartition};

use super::leader::NotElected;
use super::view::View;

/// Something that a controller writes. Everything in it goes into one transaction, which fails if the controller has been
/// deposed, or what it was decided from has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A partition's first state.
    SetUp {
        /// Which.
        tp: TopicPartition,
        /// Its state.
        state: StatePayload,
    },
    /// Another state for a partition.
    Lead {
        /// Which.
        tp: TopicPartition,
        /// The next.
        state: StatePayload,
        /// The version of the one it replaces.
        version: i32,
    },
    /// Another assignment for a topic.
    Assign {
        /// Which.
        topic: Arc<str>,
        /// The next.
        payload: TopicPayload,
        /// The version of the one it replaces.
        version: i32,
    },
    /// A topic goes: its assignment and states, its config, and the wish.
    Delete {
        /// Which.
        topic: Arc<str>,
    },
    /// The wish that a topic be deleted is not granted.
    ForgetDeletion {
        /// Which.
        topic: Arc<str>,
    },
    /// What is left of the wish to reassign; an empty one goes.
    Reassignments {
        /// What each partition is still to be given.
        left: BTreeMap<TopicPartition, Vec<BrokerId>>,
    },
    /// The wish for preferred leaders has been dealt with.
    ForgetPreferred,
}

/// All that should be changed at once.
pub fn decide(view: &View<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut wished = view.image.wishes.preferred.clone().unwrap_or_default();
    for topic in view.image.topics.values() {
        if !view.image.is_deleting(&topic.name) {
            changes.extend(topic.partitions.iter().filter_map(|(number, partition)| {
                let tp = TopicPartition::new(Arc::clone(&topic.name), *number);
                let is_wished = wished.remove(&tp);
                next(view, tp, partition, is_wished)
            }));
            changes.extend(next_assignment(view, topic));
        }
    }
    changes.extend(view.image.wishes.deletions.iter().filter_map(|topic| next_deletion(view, topic)));
    changes.extend(left_reassignments(view));
    if view.image.wishes.preferred.is_some() {
        changes.push(Change::ForgetPreferred);
    }
    changes
}

fn next(view: &View<'_>, tp: TopicPartition, partition: &Partition, is_wished: bool) -> Option<Change> {
    let Some(state) = &partition.state else {
        return view.first_state(partition).map(|state| Change::SetUp { tp, state });
    };
    let next = view.next_state(&tp.topic, partition, state);
    let next = next.or_else(|| is_wished.then(|| view.preferred(partition, state).ok()).flatten());
    next.map(|next| Change::Lead { tp, state: next, version: state.version })
}

/// What an election of a wanted kind changes, or why nothing.
pub(super) fn elect(
    view: &View<'_>,
    tp: &TopicPartition,
    partition: &Partition,
    election: Election,
) -> Result<Change, NotElected> {
    let state = partition.state.as_ref().ok_or(NotElected::NotAvailable)?;
    let next = match election {
        Election::Preferred => view.preferred(partition, state),
        Election::Unclean => view.unclean(partition, state),
    };
    next.map(|next| Change::Lead { tp: tp.clone(), state: next, version: state.version })
}

/// Which leader is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "ElectionType")]
pub enum Election {
    /// The partition's first replica.
    Preferred,
    /// Any, for a partition that has none.
    Unclean,
}

/// Leaders that should be given back to the first replicas of their partitions, broker by broker, where too many are not
/// where they should be. Kafka's `checkAndTriggerAutoLeaderRebalance`.
pub fn rebalance(view: &View<'_>) -> Vec<Change> {
    let mut by_first: BTreeMap<BrokerId, Vec<(TopicPartition, &Arc<Partition>)>> = BTreeMap::new();
    for (tp, partition) in view.image.partitions().filter(|(tp, _)| !view.image.is_deleting(&tp.topic)) {
        if let Some(first) = partition.replicas.first() {
            by_first.entry(*first).or_default().push((tp, partition));
        }
    }
    let by_first = by_first.into_iter().filter(|(broker, _)| view.is_available(*broker));
    by_first.flat_map(|(broker, partitions)| give_back(view, broker, &partitions)).collect()
}

fn give_back(
    view: &View<'_>,
    broker: BrokerId,
    partitions: &[(TopicPartition, &Arc<Partition>)],
) -> Vec<Change> {
    let away = partitions.iter().filter(|(_, partition)| partition.leader() != Some(broker));
    let percentage_max = usize::try_from(view.policy.imbalance_percentage_max).unwrap_or(usize::MAX);
    if away.clone().count().saturating_mul(100) <= partitions.len().saturating_mul(percentage_max) {
        return Vec::new();
    }
    let movable = away.filter(|(_, partition)| !partition.is_reassigning());
    movable.filter_map(|(tp, partition)| elect(view, tp, partition, Election::Preferred).ok()).collect()
}

/// Reassignments that begin, because an old tool wishes it, or are over.
fn next_assignment(view: &View<'_>, topic: &Topic) -> Option<Change> {
    let mut payload = payload_of(topic);
    let mut is_changed = false;
    for (number, assignment) in &mut payload.partitions {
        let partition = topic.partitions.get(number)?;
        let tp = TopicPartition::new(Arc::clone(&topic.name), *number);
        let wanted = view.image.wishes.reassignments.as_ref().and_then(|wanted| wanted.get(&tp));
        if let Some(wanted) = wanted
            && partition.target() != *wanted
            && is_possible(view, wanted)
        {
            *assignment = reassigned(partition, wanted);
            is_changed = true;
        } else if is_reassigned(partition) {
            *assignment = Assignment::of(partition.target());
            is_changed = true;
        }
    }
    let topic_name = Arc::clone(&topic.name);
    is_changed.then_some(Change::Assign { topic: topic_name, payload, version: topic.version })
}

/// What stands in the znode of `topic`.
pub fn payload_of(topic: &Topic) -> TopicPayload {
    let partitions = topic.partitions.iter().map(|(number, partition)| {
        let Partition { replicas, adding, removing, .. } = Partition::clone(partition);
        (*number, Assignment { replicas, adding, removing })
    });
    TopicPayload { id: topic.id, partitions: partitions.collect() }
}

/// The assignment under which `partition` moves to the replicas `wanted`: first all are replicas, those that are wanted
/// in front. KIP-455; Kafka's `ReplicaAssignment.reassignTo`.
///
/// A replica that an earlier reassignment has added, and that nobody wants any more, stays for as long as it is in sync:
/// it may be the leader, or the only one that has everything. It is then both added and removed.
pub fn reassigned(partition: &Partition, wanted: &[BrokerId]) -> Assignment {
    let original = partition.original();
    let is_in_sync = |it: &BrokerId| partition.state.as_ref().is_some_and(|state| state.isr.contains(it));
    let kept = partition.replicas.iter().filter(|it| original.contains(it) || is_in_sync(it));
    let mut replicas = wanted.to_vec();
    replicas.extend(kept.filter(|replica| !wanted.contains(replica)));
    let not_in = |others: &[BrokerId]| replicas.iter().copied().filter(|it| !others.contains(it)).collect();
    Assignment { adding: not_in(&original), removing: not_in(wanted), replicas }
}

/// A reassignment has nothing left to do but to be over: all its replicas are in sync, one of them leads, and nobody else
/// is in sync.
fn is_reassigned(partition: &Partition) -> bool {
    let target = partition.target();
    let is_in_target = |broker: &BrokerId| target.contains(broker);
    partition.is_reassigning()
        && partition.state.as_ref().is_some_and(|state| {
            target.iter().all(|replica| state.isr.contains(replica))
                && state.isr.iter().all(is_in_target)
                && state.leader.as_ref().is_some_and(is_in_target)
        })
}

/// Brokers that are alive, each once.
fn is_possible(view: &View<'_>, replicas: &[BrokerId]) -> bool {
    let unique: BTreeSet<_> = replicas.iter().collect();
    !replicas.is_empty()
        && unique.len() == replicas.len()
        && replicas.iter().all(|replica| view.image.is_alive(*replica))
}

fn left_reassignments(view: &View<'_>) -> Option<Change> {
    let wanted = view.image.wishes.reassignments.as_ref()?;
    let is_left = |tp: &TopicPartition, replicas: &Vec<BrokerId>| {
        let partition = view.image.partition(tp).filter(|_| !view.image.is_deleting(&tp.topic));
        partition.is_some_and(|partition| {
            let has_begun = partition.target() == *replicas;
            if has_begun { partition.is_reassigning() } else { is_possible(view, replicas) }
        })
    };
    let left: BTreeMap<_, _> = wanted.iter().filter(|(tp, replicas)| is_left(tp, replicas)).collect();
    let is_changed = left.len() < wanted.len() || wanted.is_empty();
    let owned = |(tp, replicas): (&TopicPartition, &Vec<BrokerId>)| (tp.clone(), replicas.clone());
    is_changed.then(|| Change::Reassignments { left: left.into_iter().map(owned).collect() })
}

/// A topic goes when all its replicas are there to see it go: one that is not would bring it back to light later.
fn next_deletion(view: &View<'_>, topic: &Arc<str>) -> Option<Change> {
    let Some(known) = view.image.topic(topic).filter(|_| view.policy.deletable) else {
        return Some(Change::ForgetDeletion { topic: Arc::clone(topic) });
    };
    let mut replicas = known.partitions.values().flat_map(|partition| &partition.replicas);
    let are_alive = replicas.all(|replica| view.image.is_alive(*replica));
    are_alive.then(|| Change::Delete { topic: Arc::clone(topic) })
}

/// What `broker` still leads that another could: what keeps it from leaving.
pub fn led_with_others(view: &View<'_>, broker: BrokerId) -> Vec<TopicPartition> {
    let led = view.image.partitions().filter(|(tp, partition)| {
        partition.leader() == Some(broker)
            && partition.replicas.len() > 1
            && !view.image.is_deleting(&tp.topic)
    });
    led.map(|(tp, _)| tp).collect()
}
