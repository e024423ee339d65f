//! Records for consumers, and for followers. Kafka's `Fetch`.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::records::Compression;
use tokio::time::{Instant, timeout_at};

use super::{Context, epoch_asked};
use crate::metrics;
use crate::replica::clock;
use crate::replica::partition::{FetchFrom, Follower, Found, Partition};
use crate::replica::waiters::Waiter;
use crate::topic_partition::BrokerId;
use crate::wire::fetch::{Fetched, FetchedPartition, Records};
use crate::wire::{Head, Reply};

/// From this version on consumers know zstd (KIP-110). Others are refused where a topic is all zstd; what a producer has
/// packed so elsewhere is given as it is, as Kafka does.
const ZSTD_SINCE: i16 = 10;

/// Waits until there is as much as was asked for, or for as long.
pub(super) async fn handle(context: &Context, head: &Head, request: FetchRequest) -> Reply {
    if request.session_id != 0 {
        // We hand out no sessions: this one is another broker's. The client goes on without.
        let error = ResponseError::FetchSessionIdNotFound.code();
        return Fetched { error, topics: Vec::new() }.encode(head);
    }
    let fetch = Fetch::new(context, &request, head.version);
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let waiter = Waiter::default();
    let mut places = Vec::new();
    loop {
        let (fetched, is_final) = fetch.read(context);
        if is_final || fetched.bytes() >= bytes_min || Instant::now() >= deadline {
            fetch.count(&fetched);
            return fetched.encode(head);
        }
        if places.is_empty() {
            // What comes between the first look and now is not told: look once more.
            places = fetch.partitions().map(|partition| waiter.wait_at(fetch.awaits(partition))).collect();
            continue;
        }
        let _ = timeout_at(deadline, waiter.woken()).await;
    }
}

struct Fetch<'a> {
    request: &'a FetchRequest,
    follower: Option<BrokerId>,
    bytes_max: usize,
    /// In the request's order.
    partitions: Vec<Vec<Result<Arc<Partition>, ResponseError>>>,
}

impl<'a> Fetch<'a> {
    fn new(context: &Context, request: &'a FetchRequest, version: i16) -> Self {
        let partitions = request.topics.iter().map(|topic| {
            let find = |wanted: &FetchPartition| {
                let partition = context.replicas.partition(&topic.topic, wanted.partition)?;
                if version < ZSTD_SINCE && partition.config().compression == Some(Compression::Zstd) {
                    return Err(ResponseError::UnsupportedCompressionType);
                }
                Ok(partition)
            };
            topic.partitions.iter().map(find).collect()
        });
        let follower = Some(*request.replica_id).filter(|id| *id >= 0);
        // Followers say what they can take; clients are held to what we like to give.
        let ours = if follower.is_some() { usize::MAX } else { context.config.network.fetch_bytes_max };
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(ours);
        Self { request, follower, bytes_max, partitions: partitions.collect() }
    }

    fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().flatten().filter_map(|partition| partition.as_ref().ok())
    }

    fn awaits<'p>(&self, partition: &'p Partition) -> &'p Arc<crate::replica::waiters::Waiters> {
        if self.follower.is_some() { partition.appended() } else { partition.safe() }
    }

    /// One look at all partitions; true when waiting makes no sense.
    fn read(&self, context: &Context) -> (Fetched, bool) {
        let mut left = self.bytes_max;
        let mut is_first = true;
        let mut is_final = self.partitions().next().is_none();
        let mut topics = Vec::with_capacity(self.request.topics.len());
        for (topic, partitions) in self.request.topics.iter().zip(&self.partitions) {
            let mut fetched = Vec::with_capacity(partitions.len());
            for (wanted, partition) in topic.partitions.iter().zip(partitions) {
                let found = partition.clone().and_then(|partition| {
                    let found = partition.read(&self.from(wanted, left, is_first), clock::now())?;
                    Ok((partition, found))
                });
                let one = match found {
                    Ok((partition, found)) => {
                        self.on_follower(context, &partition);
                        answered(wanted.partition, found)
                    }
                    Err(error) => FetchedPartition::failed(wanted.partition, error.code()),
                };
                is_final |= one.error != 0 || one.diverging.is_some();
                is_first &= one.bytes() == 0;
                left = left.saturating_sub(one.bytes());
                fetched.push(one);
            }
            topics.push((topic.topic.0.clone(), fetched));
        }
        (Fetched { error: 0, topics }, is_final)
    }

    fn from(&self, wanted: &FetchPartition, left: usize, is_first: bool) -> FetchFrom {
        let last_epoch = Some(wanted.last_fetched_epoch).filter(|epoch| *epoch >= 0);
        FetchFrom {
            offset: wanted.fetch_offset,
            current_epoch: epoch_asked(wanted.current_leader_epoch),
            follower: self.follower.map(|id| Follower { id, last_epoch }),
            bytes_max: usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left),
            at_least_one: is_first,
        }
    }

    fn count(&self, fetched: &Fetched) {
        for (topic, partitions) in &fetched.topics {
            for partition in partitions {
                match (partition.error, partition.bytes()) {
                    (0, 0) => {}
                    (0, bytes) => metrics::fetched(topic, bytes, self.follower.is_some()),
                    _ => metrics::fetch_failed(topic),
                }
            }
        }
    }

    /// A follower has just told how far it is: perhaps it is in sync now.
    fn on_follower(&self, context: &Context, partition: &Arc<Partition>) {
        if let Some(follower) = self.follower {
            context.replicas.consider_expansion(partition, follower);
        }
    }
}

fn answered(partition: i32, found: Found) -> FetchedPartition {
    let records =
        found.records.map(|slice| Records { file: slice.file, position: slice.position, bytes: slice.len });
    FetchedPartition {
        partition,
        error: 0,
        high_watermark: found.high_watermark,
        log_start: found.log_start,
        diverging: found.diverging,
        records,
    }
}
