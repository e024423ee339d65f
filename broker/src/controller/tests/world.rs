//! A cluster without a service: znodes are values, versions and zxids are counted as the service does, and every broker
//! has as many of a partition's records as the replication would have given it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::controller::{Change, Leaving, Policy, View, decide};
use crate::registry::ClusterImage;
use crate::registry::image::{Broker, Partition, Topic};
use crate::registry::payload::{Assignment, StatePayload, TopicPayload};
use crate::topic_partition::{BrokerId, TopicPartition};

pub(super) const POLICY: Policy = Policy { deletable: true, unclean: false, imbalance_percentage_max: 10 };

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) image: ClusterImage,
    zxid: i64,
    pub(super) leaving: Leaving,
    /// The version of `/controller_epoch`.
    pub(super) fence: i32,
    /// By partition and broker.
    records: BTreeMap<(TopicPartition, BrokerId), u32>,
    acknowledged: BTreeMap<TopicPartition, u32>,
}

impl World {
    /// Brokers 1 to `brokers`, all alive.
    pub(super) fn of(brokers: BrokerId) -> Self {
        let mut world = Self::default();
        (1..=brokers).for_each(|broker| world.start(broker));
        world
    }

    pub(super) fn view(&self) -> View<'_> {
        View { image: &self.image, leaving: &self.leaving, policy: POLICY, epoch: self.fence }
    }

    fn tick(&mut self) -> i64 {
        self.zxid += 1;
        self.zxid
    }

    pub(super) fn start(&mut self, id: BrokerId) {
        let epoch = self.tick();
        let broker = Broker { id, epoch, endpoints: Vec::new(), rack: None };
        Arc::make_mut(&mut self.image.brokers).entry(id).or_insert_with(|| Arc::new(broker));
    }

    pub(super) fn kill(&mut self, id: BrokerId) {
        Arc::make_mut(&mut self.image.brokers).remove(&id);
    }

    pub(super) fn leave(&mut self, id: BrokerId) {
        if let Some(broker) = self.image.brokers.get(&id) {
            self.leaving.insert(id, broker.epoch);
        }
    }

    /// A topic with these replicas for each of its partitions.
    pub(super) fn create(&mut self, name: &str, replicas: &[&[BrokerId]]) {
        let name: Arc<str> = name.into();
        let of = |replicas: &&[BrokerId]| Partition { replicas: replicas.to_vec(), ..Partition::default() };
        let partitions = (0..).zip(replicas.iter().map(|it| Arc::new(of(it)))).collect();
        let topic = Topic { name: Arc::clone(&name), id: None, partitions, version: 0 };
        Arc::make_mut(&mut self.image.topics).insert(name, Arc::new(topic));
    }

    pub(super) fn partition(&self, tp: &TopicPartition) -> &Partition {
        self.image.partition(tp).expect("a partition of the test")
    }

    /// Leader and ISR.
    pub(super) fn led(&self, tp: &TopicPartition) -> (Option<BrokerId>, Vec<BrokerId>) {
        let state = self.image.state(tp).expect("a partition that was set up");
        (state.leader, state.isr.clone())
    }

    pub(super) fn assign(&mut self, tp: &TopicPartition, assignment: Assignment) {
        let Assignment { replicas, adding, removing } = assignment;
        self.with_partition(tp, |partition| {
            (partition.replicas, partition.adding, partition.removing) = (replicas, adding, removing);
        });
    }

    fn with_partition<T>(&mut self, tp: &TopicPartition, act: impl FnOnce(&mut Partition) -> T) -> T {
        let topics = Arc::make_mut(&mut self.image.topics);
        let topic = Arc::make_mut(topics.get_mut(&tp.topic).expect("a topic of the test"));
        act(Arc::make_mut(topic.partitions.get_mut(&tp.partition).expect("a partition of the test")))
    }

    /// A record that its producer was told is safe: all of the ISR have it. Only a leader that is alive, and in the life in
    /// which it was elected, takes one.
    pub(super) fn produce(&mut self, tp: &TopicPartition) {
        let Some(leader) = self.acting_leader(tp) else { return };
        let (_, isr) = self.led(tp);
        if isr.iter().all(|replica| self.image.is_alive(*replica)) {
            let end = self.records_of(tp, leader) + 1;
            for replica in isr {
                self.records.insert((tp.clone(), replica), end);
            }
            self.acknowledged.insert(tp.clone(), end);
        }
    }

    /// The leader has seen that `replica` has caught up.
    pub(super) fn expand(&mut self, tp: &TopicPartition, replica: BrokerId) {
        let Some(leader) = self.acting_leader(tp) else { return };
        let (_, mut isr) = self.led(tp);
        let is_replica = self.partition(tp).replicas.contains(&replica);
        if is_replica && self.view().is_available(replica) && !isr.contains(&replica) {
            let end = self.records_of(tp, leader);
            self.records.insert((tp.clone(), replica), end);
            isr.push(replica);
            self.set_isr(tp, isr);
        }
    }

    /// The leader has seen that `replica` does not keep up.
    pub(super) fn shrink(&mut self, tp: &TopicPartition, replica: BrokerId) {
        let Some(leader) = self.acting_leader(tp) else { return };
        let (_, mut isr) = self.led(tp);
        if replica != leader && isr.contains(&replica) {
            isr.retain(|it| *it != replica);
            self.set_isr(tp, isr);
        }
    }

    fn acting_leader(&self, tp: &TopicPartition) -> Option<BrokerId> {
        let state = self.image.state(tp)?;
        let leader = state.leader?;
        (self.image.is_alive(leader) && self.view().is_in_same_life(leader, state)).then_some(leader)
    }

    fn set_isr(&mut self, tp: &TopicPartition, isr: Vec<BrokerId>) {
        let modified = self.tick();
        self.with_partition(tp, |partition| {
            let state = partition.state.as_mut().expect("a partition with a leader");
            (state.isr, state.version, state.modified) = (isr, state.version + 1, modified);
        });
    }

    pub(super) fn records_of(&self, tp: &TopicPartition, broker: BrokerId) -> u32 {
        self.records.get(&(tp.clone(), broker)).copied().unwrap_or_default()
    }

    pub(super) fn acknowledged(&self, tp: &TopicPartition) -> u32 {
        self.acknowledged.get(tp).copied().unwrap_or_default()
    }

    /// Makes a change as the service would: if the fence holds, and the versions are those it was decided from.
    pub(super) fn apply(&mut self, fence: i32, change: &Change) -> bool {
        if fence != self.fence {
            return false;
        }
        match change {
            Change::SetUp { tp, state } => self.set_state(tp, state, None),
            Change::Lead { tp, state, version } => self.set_state(tp, state, Some(*version)),
            Change::Assign { topic, payload, version } => self.set_assignment(topic, payload, *version),
            Change::Delete { topic } => {
                let known = Arc::make_mut(&mut self.image.topics).remove(topic).is_some();
                Arc::make_mut(&mut self.image.wishes).deletions.remove(topic);
                known
            }
            Change::ForgetDeletion { topic } => Arc::make_mut(&mut self.image.wishes).deletions.remove(topic),
            Change::Reassignments { left } => {
                let left = (!left.is_empty()).then(|| left.clone());
                Arc::make_mut(&mut self.image.wishes).reassignments = left;
                true
            }
            Change::ForgetPreferred => {
                Arc::make_mut(&mut self.image.wishes).preferred = None;
                true
            }
        }
    }

    fn set_state(&mut self, tp: &TopicPartition, state: &StatePayload, expected: Option<i32>) -> bool {
        let Some(partition) = self.image.partition(tp) else { return false };
        let known = partition.state.clone();
        if known.as_ref().map(|state| state.version) != expected {
            return false;
        }
        if let Some(known) = known {
            assert!(state.leader_epoch > known.leader_epoch, "{tp}: {known:?} became {state:?}");
        }
        let modified = self.tick();
        let state = state.clone().at(expected.map_or(0, |version| version + 1), modified);
        self.with_partition(tp, |partition| partition.state = Some(state));
        true
    }

    fn set_assignment(&mut self, topic: &Arc<str>, payload: &TopicPayload, expected: i32) -> bool {
        if self.image.topic(topic).is_none_or(|topic| topic.version != expected) {
            return false;
        }
        for (partition, assignment) in &payload.partitions {
            self.assign(&TopicPartition::new(Arc::clone(topic), *partition), assignment.clone());
        }
        let topics = Arc::make_mut(&mut self.image.topics);
        Arc::make_mut(topics.get_mut(topic).expect("just looked at")).version += 1;
        true
    }

    /// A controller that sees everything does all there is to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            let changes = decide(&self.view());
            if changes.is_empty() {
                return;
            }
            for change in &changes {
                assert!(self.apply(self.fence, change), "{change:?} was decided from what there is");
            }
        }
        panic!("there is always something to do: {:?}", decide(&self.view()));
    }
}
