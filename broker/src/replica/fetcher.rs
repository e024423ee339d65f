//! Follows: one task for each broker that leads something of which we are a replica. Kafka's `ReplicaFetcherThread`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::clock;
use super::manager::discard;
use super::partition::{Partition, Position};
use crate::log::Discarded;
use crate::metrics;
use crate::net::{Peer, PeerError};
use crate::registry::{Registry, image::Endpoint};
use crate::topic_partition::{BrokerId, TopicPartition};

/// The version in which brokers fetch from each other: with epochs, so that leader and follower find where they part.
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
/// In `ListOffsets`.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// How followers fetch.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// Ourselves.
    pub me: BrokerId,
    /// The listener by which brokers reach each other.
    pub listener: String,
    /// `replica.fetch.wait.max.ms`.
    pub wait_max: Duration,
    /// `replica.fetch.min.bytes`.
    pub bytes_min: i32,
    /// `replica.fetch.max.bytes`, for each partition.
    pub partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_bytes_max: i32,
    /// `replica.fetch.backoff.ms`.
    pub backoff: Duration,
    /// `replica.socket.timeout.ms`.
    pub timeout: Duration,
}

/// What is followed, by leader.
pub type Following = BTreeMap<BrokerId, Vec<Arc<Partition>>>;

/// Follows `leader` for as long as there is anything of it to follow.
pub struct Fetcher {
    leader: BrokerId,
    settings: FetchSettings,
    registry: Registry,
    following: watch::Receiver<Arc<Following>>,
    /// Partitions that are left alone for a while.
    delayed: HashMap<TopicPartition, Instant>,
}

/// One partition in a fetch.
struct Asked {
    partition: Arc<Partition>,
    position: Position,
}

impl Fetcher {
    /// A fetcher that has yet to [`run`](Self::run).
    pub fn new(
        leader: BrokerId,
        settings: FetchSettings,
        registry: Registry,
        following: watch::Receiver<Arc<Following>>,
    ) -> Self {
        Self { leader, settings, registry, following, delayed: HashMap::new() }
    }

    /// Ends when nothing is followed from this leader any more.
    pub async fn run(mut self) {
        let mut reached = true;
        while self.is_wanted() {
            match self.follow().await {
                Ok(()) => reached = true,
                Err(error) => {
                    // Said once for each time that it is lost.
                    if std::mem::replace(&mut reached, false) {
                        info!(
                            leader = self.leader,
                            error = &error as &dyn std::error::Error,
                            "leader not reached"
                        );
                    } else {
                        debug!(
                            leader = self.leader,
                            error = &error as &dyn std::error::Error,
                            "leader not reached"
                        );
                    }
                    tokio::time::sleep(self.settings.backoff).await;
                }
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.following.has_changed().is_ok() && self.following.borrow().contains_key(&self.leader)
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let image = self.registry.image();
        image.brokers.get(&self.leader)?.endpoint(&self.settings.listener).cloned()
    }

    /// One connection's life; its end without an error is that nothing is followed any more.
    async fn follow(&mut self) -> Result<(), PeerError> {
        let endpoint = self.endpoint().ok_or(PeerError::Closed)?;
        let client_id = format!("broker-{}-fetcher", self.settings.me);
        // Batches larger than asked for come whole.
        let answer_bytes_max = i32::MAX as usize;
        let mut peer = Peer::connect(&endpoint, &client_id, answer_bytes_max, self.settings.timeout).await?;
        debug!(leader = self.leader, host = endpoint.host, port = endpoint.port, "following");
        while self.is_wanted() {
            let asked = self.asked();
            if asked.is_empty() {
                self.pause().await;
                continue;
            }
            let request = self.request(&asked);
            let timeout = self.settings.timeout + self.settings.wait_max;
            let answer = peer.call(&request, FETCH_VERSION, timeout).await?;
            self.take(&mut peer, asked, answer).await?;
        }
        Ok(())
    }

    /// Until something else is to be followed, or somebody's delay is over.
    async fn pause(&mut self) {
        let backoff = self.settings.backoff;
        tokio::select! {
            _ = self.following.changed() => {}
            () = tokio::time::sleep(backoff) => {}
        }
    }

    fn asked(&mut self) -> Vec<Asked> {
        let now = Instant::now();
        self.delayed.retain(|_, until| *until > now);
        let following = Arc::clone(&self.following.borrow_and_update());
        let of_leader = following.get(&self.leader).into_iter().flatten();
        let due = of_leader.filter(|partition| !self.delayed.contains_key(&partition.name));
        due.filter_map(|partition| {
            let position = partition.position(self.leader)?;
            Some(Asked { partition: Arc::clone(partition), position })
        })
        .collect()
    }

    fn request(&self, asked: &[Asked]) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for Asked { partition, position } in asked {
            let wanted = FetchPartition::default()
                .with_partition(partition.name.partition)
                .with_current_leader_epoch(position.epoch)
                .with_fetch_offset(position.offset)
                .with_last_fetched_epoch(position.last_epoch.unwrap_or(-1))
                .with_log_start_offset(position.log_start)
                .with_partition_max_bytes(self.settings.partition_bytes_max);
            match topics.last_mut() {
                Some(topic) if **topic.topic == *partition.name.topic => topic.partitions.push(wanted),
                _ => {
                    let name = StrBytes::from_string(partition.name.topic.to_string());
                    topics.push(FetchTopic::default().with_topic(name.into()).with_partitions(vec![wanted]));
                }
            }
        }
        FetchRequest::default()
            .with_replica_id(self.settings.me.into())
            .with_max_wait_ms(self.settings.wait_max.as_millis() as i32)
            .with_min_bytes(self.settings.bytes_min)
            .with_max_bytes(self.settings.response_bytes_max)
            .with_session_epoch(-1)
            .with_topics(topics)
    }

    async fn take(
        &mut self,
        peer: &mut Peer,
        asked: Vec<Asked>,
        answer: FetchResponse,
    ) -> Result<(), PeerError> {
        if let Some(error) = answer.error_code.err() {
            return Err(PeerError::Answer(error.to_string()));
        }
        let given = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        // A leader answers in the order in which it was asked.
        for (asked, given) in asked.into_iter().zip(given) {
            if asked.partition.name.partition != given.partition_index {
                return Err(PeerError::Answer("partitions in another order".to_owned()));
            }
            self.take_one(peer, asked, given).await?;
        }
        Ok(())
    }

    async fn take_one(
        &mut self,
        peer: &mut Peer,
        asked: Asked,
        given: PartitionData,
    ) -> Result<(), PeerError> {
        let Asked { partition, position } = asked;
        let now = clock::now();
        let outcome = match given.error_code.err() {
            None => {
                metrics::replicated(given.records.as_ref().map_or(0, bytes::Bytes::len));
                partition.on_fetched(self.leader, position, given, now).map_err(|error| error.to_string())
            }
            Some(ResponseError::OffsetOutOfRange) => {
                let (start, end) = self.range(peer, &partition.name, position.epoch).await?;
                let cut = partition.on_out_of_range(self.leader, position, start, end, now);
                cut.map_err(|error| error.to_string())
            }
            // One of us has not heard of the latest leader: the service will tell.
            Some(error) => {
                debug!(partition = %partition.name, leader = self.leader, %error, "not given");
                self.delay(&partition.name);
                Ok(Discarded::default())
            }
        };
        match outcome {
            Ok(discarded) => discard(partition.config().file_delete_delay, discarded),
            Err(error) => {
                warn!(partition = %partition.name, leader = self.leader, error, "not replicated");
                self.delay(&partition.name);
            }
        }
        Ok(())
    }

    fn delay(&mut self, partition: &TopicPartition) {
        self.delayed.insert(partition.clone(), Instant::now() + self.settings.backoff);
    }

    /// Where the leader's log begins and ends.
    async fn range(
        &self,
        peer: &mut Peer,
        name: &TopicPartition,
        epoch: i32,
    ) -> Result<(i64, i64), PeerError> {
        let mut found = [0; 2];
        for (at, which) in [EARLIEST, LATEST].into_iter().enumerate() {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(name.partition)
                .with_current_leader_epoch(epoch)
                .with_timestamp(which);
            let topic = StrBytes::from_string(name.topic.to_string());
            let topic = ListOffsetsTopic::default().with_name(topic.into()).with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default()
                .with_replica_id(self.settings.me.into())
                .with_topics(vec![topic]);
            let answer = peer.call(&request, LIST_OFFSETS_VERSION, self.settings.timeout).await?;
            let partition = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
            found[at] = match partition {
                Some(partition) if partition.error_code == 0 => partition.offset,
                _ => return Err(PeerError::Answer("no offset".to_owned())),
            };
        }
        Ok((found[0], found[1]))
    }
}
