//! Reassignments that clients ask for. Kafka's `KafkaController.processApiPartitionReassignment`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::error::ResponseError;

use crate::registry::image::Partition;
use crate::registry::payload::{Assignment, TopicPayload};
use crate::topic_partition::{BrokerId, TopicPartition};

use super::decide::{Change, payload_of, reassigned};
use super::view::View;
use super::{PartitionAnswers, Refusal};

/// What is to be written for what is `wanted`, and what is refused at once. `None` gives up a move that is under way.
pub(super) fn reassign(
    view: &View<'_>,
    wanted: BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
) -> (Vec<Change>, PartitionAnswers) {
    let mut topics: BTreeMap<Arc<str>, TopicPayload> = BTreeMap::new();
    let mut answers = PartitionAnswers::new();
    for (tp, replicas) in wanted {
        let planned = plan(view, &tp, replicas.as_deref());
        if let (Ok(assignment), Some(topic)) = (&planned, view.image.topic(&tp.topic)) {
            let payload = topics.entry(Arc::clone(&topic.name)).or_insert_with(|| payload_of(topic));
            payload.partitions.insert(tp.partition, assignment.clone());
        }
        answers.insert(tp, planned.map(drop));
    }
    // The newest wish goes before what is left of an older one.
    let mut changes: Vec<_> = overruled(view, &answers).into_iter().collect();
    changes.extend(topics.into_iter().filter_map(|(topic, payload)| {
        let version = view.image.topic(&topic)?.version;
        Some(Change::Assign { topic, payload, version })
    }));
    (changes, answers)
}

fn overruled(view: &View<'_>, answers: &PartitionAnswers) -> Option<Change> {
    let older = view.image.wishes.reassignments.as_ref()?;
    let is_overruled = |tp: &TopicPartition| answers.get(tp).is_some_and(Result::is_ok);
    let left: BTreeMap<_, _> =
        older.iter().filter(|(tp, _)| !is_overruled(tp)).map(|(tp, to)| (tp.clone(), to.clone())).collect();
    (left.len() < older.len()).then_some(Change::Reassignments { left })
}

fn plan(view: &View<'_>, tp: &TopicPartition, replicas: Option<&[BrokerId]>) -> Result<Assignment, Refusal> {
    let partition = view.image.partition(tp).filter(|_| !view.image.is_deleting(&tp.topic));
    let partition = partition.ok_or_else(|| {
        Refusal::new(ResponseError::UnknownTopicOrPartition, "The partition does not exist.")
    })?;
    match replicas {
        Some(replicas) => {
            check(view, partition, replicas)?;
            Ok(reassigned(partition, replicas))
        }
        None if partition.is_reassigning() => Ok(reassigned(partition, &partition.original())),
        None => {
            let message = "No partition reassignment is in progress.";
            Err(Refusal::new(ResponseError::NoReassignmentInProgress, message))
        }
    }
}

fn check(view: &View<'_>, partition: &Partition, replicas: &[BrokerId]) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message));
    let unique: BTreeSet<_> = replicas.iter().collect();
    if replicas.is_empty() {
        return invalid("Empty replica list specified in partition reassignment.".into());
    }
    if unique.len() < replicas.len() {
        return invalid(format!(
            "Duplicate replica ids in partition reassignment replica list: {replicas:?}"
        ));
    }
    if replicas.iter().any(|replica| *replica < 0) {
        return invalid(format!("Invalid broker id in replica list: {replicas:?}"));
    }
    let original = partition.original();
    let new = replicas.iter().filter(|replica| !original.contains(replica));
    match new.clone().find(|replica| !view.is_available(**replica)) {
        Some(_) => {
            invalid(format!("Replica assignment has brokers that are not alive. Replica list: {replicas:?}"))
        }
        None => Ok(()),
    }
}
