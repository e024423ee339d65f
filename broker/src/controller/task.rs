//! The task of a broker that is, or may become, the controller.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Client;
use futures::StreamExt;
use kafka_protocol::error::ResponseError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::registry::payload::encode_feature;
use crate::registry::retry::until_answered;
use crate::registry::{Presence, Registry, paths};
use crate::topic_partition::{BrokerId, TopicPartition};

use super::decide::{Change, Election, decide, elect as elect_leader, led_with_others, rebalance};
use super::election::{Elected, elect};
use super::leader::NotElected;
use super::reassign::reassign;
use super::view::{Leaving, Policy, View};
use super::write::{Written, write};
use super::{PartitionAnswers, Refusal, notes};

/// Until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the controller looks again at once after it has written: more often it is not getting anywhere.
const ROUNDS_MAX: usize = 16;

type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a controller is asked.
pub(super) enum Request {
    Shutdown { broker: BrokerId, broker_epoch: Option<i64>, answer: Answer<Vec<TopicPartition>> },
    Elect { election: Election, partitions: Option<Vec<TopicPartition>>, answer: Answer<PartitionAnswers> },
    Reassign { wanted: BTreeMap<TopicPartition, Option<Vec<BrokerId>>>, answer: Answer<PartitionAnswers> },
}

impl Request {
    /// Who asks no longer need not know.
    fn refuse(self) {
        match self {
            Self::Shutdown { answer, .. } => _ = answer.send(Err(Refusal::not_controller())),
            Self::Elect { answer, .. } | Self::Reassign { answer, .. } => {
                _ = answer.send(Err(Refusal::not_controller()));
            }
        }
    }
}

/// Whether the controller goes on.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    GoesOn,
    /// It is not the controller any more, or no longer knows.
    Over,
}

/// What the task was told at its start, and what it hears from.
pub(super) struct Task {
    registry: Registry,
    broker: BrokerId,
    policy: Policy,
    rebalance_interval: Option<Duration>,
    requests: mpsc::Receiver<Request>,
    epoch: watch::Sender<Option<i32>>,
}

impl Task {
    pub(super) fn new(
        registry: Registry,
        broker: BrokerId,
        policy: Policy,
        rebalance_interval: Option<Duration>,
        requests: mpsc::Receiver<Request>,
        epoch: watch::Sender<Option<i32>>,
    ) -> Self {
        Self { registry, broker, policy, rebalance_interval, requests, epoch }
    }

    /// Waits for its turn, takes it, and again, until nobody holds a handle any more.
    pub(super) async fn run(mut self) {
        while self.await_vacancy().await {
            let client = self.registry.client();
            match elect(&client, self.broker).await {
                Ok(Some(elected)) => self.take_turn(client.clone(), elected).await,
                // Another one is the controller: the image will show it.
                Ok(None) => _ = self.registry.catch_up().await,
                Err(error) => warn!(%error, "no controller was elected"),
            }
            // Whatever ended the turn of one that is still the controller would soon end the next one, too.
            let is_still = self.registry.image().controller.broker == Some(self.broker);
            if client.state().is_terminal() || is_still {
                sleep(RETRY).await;
            }
        }
    }

    /// Waits until this broker is registered and nobody else is the controller: it may be itself, in a turn that has
    /// failed. False when it is not to wait any more.
    async fn await_vacancy(&mut self) -> bool {
        let mut presence = self.registry.presence();
        let mut images = self.registry.images();
        loop {
            let is_registered = matches!(*presence.borrow_and_update(), Presence::Registered { .. });
            images.mark_unchanged();
            let is_vacant = self.registry.image().controller.broker.is_none_or(|it| it == self.broker);
            if is_registered && is_vacant {
                return true;
            }
            tokio::select! {
                changed = presence.changed() => if changed.is_err() { return false },
                changed = images.changed() => if changed.is_err() { return false },
                request = self.requests.recv() => match request {
                    Some(request) => request.refuse(),
                    None => return false,
                },
            }
        }
    }

    async fn take_turn(&mut self, client: Client, elected: Elected) {
        let epoch = elected.epoch;
        info!(broker = self.broker, epoch, "this broker is the controller");
        // All that was written before, by whichever controller: none writes after us but us.
        if self.registry.read_all().await.is_ok() {
            self.epoch.send_replace(Some(epoch));
            let mut turn =
                ControllerTurn { task: self, client, elected, leaving: Leaving::new(), is_retrying: false };
            if let Err(error) = turn.run().await {
                warn!(%error, epoch, "the controller's turn ends");
            }
        }
        self.epoch.send_replace(None);
        info!(broker = self.broker, epoch, "this broker is no longer the controller");
    }
}

/// One election's worth of being the controller.
struct ControllerTurn<'t> {
    task: &'t mut Task,
    client: Client,
    elected: Elected,
    leaving: Leaving,
    /// Something could not be written, and is tried again after a while.
    is_retrying: bool,
}

impl ControllerTurn<'_> {
    /// Until it is over.
    async fn run(&mut self) -> client::Result<()> {
        let registry = self.task.registry.clone();
        let mut images = registry.images();
        let mut presence = registry.presence();
        presence.mark_unchanged();
        self.create_feature().await?;
        let mut noted = notes::watch(&self.client).await?;
        notes::sweep(&self.client, self.elected.fence).await;
        // Without rebalancing there is nothing to do, however often.
        let mut rebalances = interval(self.task.rebalance_interval.unwrap_or(Duration::from_secs(3600)));
        rebalances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        rebalances.reset();
        loop {
            images.mark_unchanged();
            if self.settle().await == Turn::Over {
                return Ok(());
            }
            tokio::select! {
                changed = images.changed() => if changed.is_err() { return Ok(()) },
                _ = presence.changed() => return Ok(()), // Another session, or none: not the one that was elected.
                update = noted.next() => match update {
                    Some(_) => notes::sweep(&self.client, self.elected.fence).await,
                    None => return Ok(()),
                },
                _ = rebalances.tick() => if self.rebalance().await == Turn::Over { return Ok(()) },
                () = sleep(RETRY), if self.is_retrying => {}
                request = self.task.requests.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// What Kafka's own brokers wait for. Whatever stands there already stays.
    async fn create_feature(&self) -> client::Result<()> {
        let (client, data) = (&self.client, encode_feature());
        let create = || client.create(paths::FEATURE, &data, client::CreateMode::Persistent);
        match until_answered(create).await {
            Err(error) if error.code() == Some(client::ErrorCode::NodeExists) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Decides and writes until there is nothing left to change.
    async fn settle(&mut self) -> Turn {
        self.is_retrying = false;
        for _ in 0..ROUNDS_MAX {
            let changes = match self.decide() {
                Some(changes) if changes.is_empty() => return Turn::GoesOn,
                Some(changes) => changes,
                None => return Turn::Over,
            };
            let Some(written) = self.write(&changes).await else { return Turn::Over };
            if written.made == 0 {
                break;
            }
        }
        self.is_retrying = true;
        Turn::GoesOn
    }

    /// `None` when this broker is not the controller any more.
    fn decide(&mut self) -> Option<Vec<Change>> {
        self.with_view(decide)
    }

    fn with_view<T>(&mut self, then: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        let image = self.task.registry.image();
        let controller = image.controller;
        if controller.broker != Some(self.task.broker) || controller.epoch != self.elected.epoch {
            return None;
        }
        // Who is gone, or back in another life, is not leaving any more.
        self.leaving.retain(|id, epoch| image.brokers.get(id).is_some_and(|broker| broker.epoch == *epoch));
        let (leaving, policy, epoch) = (&self.leaving, self.task.policy, self.elected.epoch);
        Some(then(&View { image: &image, leaving, policy, epoch }))
    }

    /// `None` when there is another controller, or the session is over.
    async fn write(&self, changes: &[Change]) -> Option<Written> {
        let written = write(&self.client, self.elected.fence, changes).await;
        info!(made = written.made, outdated = written.outdated, "the controller has changed the cluster");
        if written.is_fenced {
            return None;
        }
        let seen = match written.is_unsure {
            true => self.task.registry.read_all().await,
            false => self.task.registry.catch_up().await,
        };
        seen.ok().map(|()| written)
    }

    async fn rebalance(&mut self) -> Turn {
        if self.task.rebalance_interval.is_none() {
            return Turn::GoesOn;
        }
        match self.with_view(rebalance) {
            None => Turn::Over,
            Some(changes) if changes.is_empty() => Turn::GoesOn,
            Some(changes) => self.write(&changes).await.map_or(Turn::Over, |_| Turn::GoesOn),
        }
    }

    async fn answer(&mut self, request: Request) {
        // What the asker has seen, this broker's image may be about to show.
        if self.task.registry.catch_up().await.is_err() {
            return request.refuse();
        }
        match request {
            Request::Shutdown { broker, broker_epoch, answer } => {
                _ = answer.send(self.shut_down(broker, broker_epoch).await);
            }
            Request::Elect { election, partitions, answer } => {
                _ = answer.send(self.elect(election, partitions).await.ok_or_else(Refusal::not_controller));
            }
            Request::Reassign { wanted, answer } => {
                _ = answer.send(self.reassign(wanted).await.ok_or_else(Refusal::not_controller));
            }
        }
    }

    async fn shut_down(
        &mut self,
        broker: BrokerId,
        broker_epoch: Option<i64>,
    ) -> Result<Vec<TopicPartition>, Refusal> {
        let image = self.task.registry.image();
        let Some(known) = image.brokers.get(&broker) else {
            let message = format!("Broker id {broker} does not exist.");
            return Err(Refusal::new(ResponseError::BrokerNotAvailable, message));
        };
        if broker_epoch.is_some_and(|epoch| epoch < known.epoch) {
            return Err(Refusal::new(
                ResponseError::StaleBrokerEpoch,
                "The broker has registered again since.",
            ));
        }
        info!(broker, "a broker is about to end");
        self.leaving.insert(broker, known.epoch);
        if self.settle().await == Turn::Over {
            return Err(Refusal::not_controller());
        }
        self.with_view(|view| led_with_others(view, broker)).ok_or_else(Refusal::not_controller)
    }

    async fn elect(
        &mut self,
        election: Election,
        named: Option<Vec<TopicPartition>>,
    ) -> Option<PartitionAnswers> {
        let is_all = named.is_none();
        let elections = self.with_view(|view| {
            let all = || view.image.partitions().map(|(tp, _)| tp).collect();
            let partitions = named.unwrap_or_else(all);
            let elected = partitions.into_iter().map(|tp| (tp.clone(), judge(view, &tp, election)));
            elected.collect::<BTreeMap<_, _>>()
        })?;
        let changes: Vec<_> = elections.values().filter_map(|it| it.as_ref().ok()).cloned().collect();
        let mut is_outdated = false;
        if !changes.is_empty() {
            let written = self.write(&changes).await?;
            is_outdated = written.outdated > 0 || written.is_unsure;
        }
        let image = self.task.registry.image();
        let answers = elections.into_iter().map(|(tp, judged)| {
            let answer = judged.and_then(|change| {
                let Change::Lead { state, .. } = change else { return Ok(()) };
                let is_done = image.state(&tp).is_some_and(|now| now.leader == state.leader);
                let failed =
                    || Refusal::new(ResponseError::RequestTimedOut, "The partition has changed meanwhile.");
                (!is_outdated || is_done).then_some(()).ok_or_else(failed)
            });
            (tp, answer)
        });
        let is_told = |answer: &Result<(), Refusal>| {
            // Of all partitions, only those for which there was something to do.
            !is_all || !matches!(answer, Err(refusal) if refusal.code == ResponseError::ElectionNotNeeded)
        };
        Some(answers.filter(|(_, answer)| is_told(answer)).collect())
    }

    async fn reassign(
        &mut self,
        wanted: BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
    ) -> Option<PartitionAnswers> {
        let (changes, mut answers) = self.with_view(|view| reassign(view, wanted))?;
        if changes.is_empty() {
            return Some(answers);
        }
        let written = self.write(&changes).await?;
        if written.outdated > 0 || written.is_unsure {
            for answer in answers.values_mut().filter(|answer| answer.is_ok()) {
                let message = "The partition has changed meanwhile.";
                *answer = Err(Refusal::new(ResponseError::RequestTimedOut, message));
            }
        }
        Some(answers)
    }
}

fn judge(view: &View<'_>, tp: &TopicPartition, election: Election) -> Result<Change, Refusal> {
    if view.image.is_deleting(&tp.topic) {
        return Err(Refusal::new(ResponseError::InvalidTopicException, "The topic is being deleted"));
    }
    let unknown = || Refusal::new(ResponseError::UnknownTopicOrPartition, "The partition does not exist.");
    let partition = view.image.partition(tp).ok_or_else(unknown)?;
    elect_leader(view, tp, partition, election).map_err(|reason| match (reason, election) {
        (NotElected::NotNeeded, _) => {
            Refusal::new(ResponseError::ElectionNotNeeded, "Leader election not needed for topic partition.")
        }
        (NotElected::NotAvailable, Election::Preferred) => {
            Refusal::new(ResponseError::PreferredLeaderNotAvailable, "The preferred leader is not available.")
        }
        (NotElected::NotAvailable, Election::Unclean) => {
            Refusal::new(ResponseError::EligibleLeadersNotAvailable, "No replica of the partition is alive.")
        }
    })
}
