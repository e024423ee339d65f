//! Who elects leaders, who deletes topics: the one broker that is the controller. Kafka's `KafkaController`.
//!
//! | to learn | read |
//! | --- | --- |
//! | who becomes it? | `election` |
//! | what is to change? | [`decide`](mod@decide), pure, with `leader` for a single partition |
//! | how is it written, and who is kept from writing? | `write` |
//! | in which order does all that happen? | `task` |
//!
//! Brokers are not told what the controller decides: they see it in the service, as they see all else.

mod decide;
mod election;
mod leader;
mod notes;
mod reassign;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot, watch};

pub use self::decide::{Change, Election, decide, led_with_others, payload_of, reassigned, rebalance};
pub use self::leader::NotElected;
use self::task::{Request, Task};
pub use self::view::{Leaving, Policy, View};
use crate::config::BrokerConfig;
pub use crate::registry::Refusal;
use crate::registry::Registry;
use crate::topic_partition::{BrokerId, TopicPartition};

/// How many requests may wait; further ones wait for room.
const REQUESTS_MAX: usize = 64;

/// Each partition's own answer.
pub type PartitionAnswers = BTreeMap<TopicPartition, Result<(), Refusal>>;

/// A handle on this broker's part in who is the controller. Clones share it; the part ends with the last.
#[derive(Debug, Clone)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
    epoch: watch::Receiver<Option<i32>>,
}

impl Controller {
    /// From now on, `broker` tries to become the controller whenever there is none, as long as it is registered, and does
    /// its work while it is.
    pub fn start(registry: Registry, broker: BrokerId, config: &BrokerConfig) -> Self {
        let policy = Policy {
            deletable: config.topics.deletable,
            unclean: config.topic(&BTreeMap::new()).is_ok_and(|topic| topic.unclean_leader_election),
            imbalance_percentage_max: config.controller.imbalance_percentage_max,
        };
        let rebalance_interval = config.controller.rebalances.then_some(config.controller.rebalance_interval);
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let (epoch_told, epoch) = watch::channel(None);
        tokio::spawn(Task::new(registry, broker, policy, rebalance_interval, received, epoch_told).run());
        Self { requests, epoch }
    }

    /// The epoch in which this broker is the controller; `None` while it is not. May be late to know that it is not any
    /// more; nothing it writes then is accepted.
    pub fn epoch(&self) -> watch::Receiver<Option<i32>> {
        self.epoch.clone()
    }

    /// Whether this broker believes to be the controller.
    pub fn is_active(&self) -> bool {
        self.epoch.borrow().is_some()
    }

    /// Relieves `broker`, which is about to end, of all that others can lead. The answer is what it still leads
    /// although it has other replicas: none of them is in sync.
    ///
    /// # Errors
    /// [`NotController`](kafka_protocol::error::ResponseError::NotController), [`BrokerNotAvailable`](kafka_protocol::error::ResponseError::BrokerNotAvailable), and
    /// [`StaleBrokerEpoch`](kafka_protocol::error::ResponseError::StaleBrokerEpoch) when `broker_epoch`, if known, is of an earlier life.
    pub async fn controlled_shutdown(
        &self,
        broker: BrokerId,
        broker_epoch: Option<i64>,
    ) -> Result<Vec<TopicPartition>, Refusal> {
        self.ask(|answer| Request::Shutdown { broker, broker_epoch, answer }).await
    }

    /// Elects leaders; all partitions there are if none are named.
    ///
    /// # Errors
    /// [`NotController`](kafka_protocol::error::ResponseError::NotController). Each partition has an answer of its own.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<PartitionAnswers, Refusal> {
        self.ask(|answer| Request::Elect { election, partitions, answer }).await
    }

    /// Moves partitions to other replicas, or, where `None` are named, gives up a move that is under way.
    ///
    /// # Errors
    /// [`NotController`](kafka_protocol::error::ResponseError::NotController). Each partition has an answer of its own.
    pub async fn alter_reassignments(
        &self,
        wanted: BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
    ) -> Result<PartitionAnswers, Refusal> {
        self.ask(|answer| Request::Reassign { wanted, answer }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Request,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| Refusal::not_controller())?;
        answered.await.unwrap_or_else(|_| Err(Refusal::not_controller()))
    }
}
