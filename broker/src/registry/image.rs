//! The cluster as the service shows it, at one moment: a value. Kafka's `ControllerContext` and `MetadataCache` in one.
//!
//! An image is cheap to clone and never changes; the next one takes its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::topic_partition::{BrokerId, TopicPartition};

/// Settings by their names, as they stand in a znode below `/config`.
pub type Overrides = BTreeMap<String, String>;

/// What the service knows of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterImage {
    /// `/cluster/id`.
    pub cluster_id: Arc<str>,
    /// `/controller` and `/controller_epoch`.
    pub controller: ControllerImage,
    /// The brokers that are registered.
    pub brokers: Arc<BTreeMap<BrokerId, Arc<Broker>>>,
    /// The topics by their names.
    pub topics: Arc<BTreeMap<Arc<str>, Arc<Topic>>>,
    /// The names of those topics that have an id.
    pub topic_names: Arc<HashMap<Uuid, Arc<str>>>,
    /// What `/config/topics` says, for those topics of which it says anything.
    pub topic_configs: Arc<BTreeMap<Arc<str>, Arc<Overrides>>>,
    /// What `/config/brokers` says, by a broker's number or `<default>`.
    pub broker_configs: Arc<BTreeMap<Arc<str>, Arc<Overrides>>>,
    /// What `/admin` asks of the controller.
    pub wishes: Arc<Wishes>,
}

/// Who is the controller, and of which epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControllerImage {
    /// `None` between two controllers.
    pub broker: Option<BrokerId>,
    /// Of the last one that was elected; 0 before the first.
    pub epoch: i32,
    /// The version of `/controller_epoch`, which all that a controller writes is checked against.
    pub epoch_version: i32,
}

/// A broker that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// The czxid of its znode: which of its lives this is.
    pub epoch: i64,
    /// Where clients and other brokers reach it.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands, if it says so.
    pub rack: Option<Arc<str>>,
}

impl Broker {
    /// Where it is reached by those who came in by the listener of this name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

/// Where a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The listener's name; without a map also its protocol's.
    pub listener: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Which topic of this name it is; those created before Kafka 2.8 have none.
    pub id: Option<Uuid>,
    /// Its partitions by their numbers.
    pub partitions: BTreeMap<i32, Arc<Partition>>,
    /// The version of its znode.
    pub version: i32,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Who is to have it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those of `replicas` that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Those of `replicas` that it takes away in the end.
    pub removing: Vec<BrokerId>,
    /// `None` until the controller has set it up.
    pub state: Option<PartitionState>,
}

impl Partition {
    /// A reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Who is to have it once a reassignment is over.
    pub fn target(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|replica| !self.removing.contains(replica)).collect()
    }

    /// Who had it before a reassignment began.
    pub fn original(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|replica| !self.adding.contains(replica)).collect()
    }

    /// Who leads it.
    pub fn leader(&self) -> Option<BrokerId> {
        self.state.as_ref().and_then(|state| state.leader)
    }
}

/// Who leads a partition and who is in sync with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "LeaderAndIsr")]
pub struct PartitionState {
    /// `None` while no replica that may lead is alive.
    pub leader: Option<BrokerId>,
    /// Grows with every change by the controller.
    pub leader_epoch: i32,
    /// The replicas that have all that was acknowledged.
    pub isr: Vec<BrokerId>,
    /// Of the controller that wrote it.
    pub controller_epoch: i32,
    /// The leader was not in the ISR when it was elected, and has not yet said that it has recovered.
    pub recovering: bool,
    /// The version of its znode: what the next change is checked against.
    pub version: i32,
    /// The zxid of its last change. A broker whose [epoch](Broker::epoch) is above was not yet in its present life
    /// when this was written.
    pub modified: i64,
}

/// What is asked of the controller through the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Topics to be deleted.
    pub deletions: BTreeSet<Arc<str>>,
    /// `/admin/reassign_partitions`: the replicas that each is to have. `None` when there is no such znode.
    pub reassignments: Option<BTreeMap<TopicPartition, Vec<BrokerId>>>,
    /// `/admin/preferred_replica_election`. `None` when there is no such znode.
    pub preferred: Option<BTreeSet<TopicPartition>>,
}

impl ClusterImage {
    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topic(self.topic_names.get(&id)?)
    }

    /// A partition.
    pub fn partition(&self, tp: &TopicPartition) -> Option<&Arc<Partition>> {
        self.topic(&tp.topic)?.partitions.get(&tp.partition)
    }

    /// Its state, if it is set up.
    pub fn state(&self, tp: &TopicPartition) -> Option<&PartitionState> {
        self.partition(tp)?.state.as_ref()
    }

    /// All partitions of all topics, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Arc<Partition>)> {
        self.topics.values().flat_map(|topic| {
            let of = topic.partitions.iter();
            of.map(|(number, partition)| (TopicPartition::new(Arc::clone(&topic.name), *number), partition))
        })
    }

    /// The partitions of which `broker` is a replica.
    pub fn partitions_on(&self, broker: BrokerId) -> impl Iterator<Item = (TopicPartition, &Arc<Partition>)> {
        self.partitions().filter(move |(_, partition)| partition.replicas.contains(&broker))
    }

    /// Whether `broker` is registered.
    pub fn is_alive(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// Whether the topic of this name is to be deleted: it takes no more records, and is soon gone.
    pub fn is_deleting(&self, topic: &str) -> bool {
        self.wishes.deletions.contains(topic)
    }

    /// What `/config/topics` says of `topic`.
    pub fn topic_config(&self, topic: &str) -> Arc<Overrides> {
        self.topic_configs.get(topic).cloned().unwrap_or_default()
    }

    /// What `/config/brokers` says of `broker`, on top of what it says of all.
    pub fn broker_config(&self, broker: BrokerId) -> Overrides {
        let of = |entity: &str| self.broker_configs.get(entity).map(|config| Overrides::clone(config));
        let mut config = of(super::paths::DEFAULT_ENTITY).unwrap_or_default();
        config.extend(of(&broker.to_string()).unwrap_or_default());
        config
    }
}
