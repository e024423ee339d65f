//! The groups' log, `__consumer_offsets`: what the coordinator appends to it and reads from it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, unfold};
use kafka_protocol::error::ResponseError;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::clock;
use super::manager::Replicas;
use super::partition::{Partition, Promise};
use super::waiters::Waiter;
use crate::group::{OFFSETS_TOPIC, OffsetsLog};
use crate::log::batch::Batch;

/// Read at a time while groups are loaded.
const CHUNK_BYTES: usize = 1 << 20;

/// The log as the coordinator is to see it; what it appends is safe within `timeout`, or it is told so.
pub fn offsets_log(replicas: &Arc<Replicas>, timeout: Duration) -> OffsetsLog {
    let (appends, reads) = (Arc::clone(replicas), Arc::clone(replicas));
    OffsetsLog {
        append: Arc::new(move |partition, epoch, batch| {
            let replicas = Arc::clone(&appends);
            Box::pin(async move { append(&replicas, partition, epoch, &batch, timeout).await })
        }),
        read: Arc::new(move |partition, epoch| read(&reads, partition, epoch)),
    }
}

async fn append(
    replicas: &Arc<Replicas>,
    partition: i32,
    epoch: i32,
    batch: &[u8],
    timeout: Duration,
) -> Result<(), ResponseError> {
    let deadline = Instant::now() + timeout;
    let partition = replicas.partition(OFFSETS_TOPIC, partition)?;
    let (_, promise) = partition.append_ours(batch, epoch, clock::now()).map_err(|error| error.error)?;
    safe(&partition, promise, deadline).await
}

/// Until it is safe, or cannot be any more.
async fn safe(partition: &Partition, promise: Promise, deadline: Instant) -> Result<(), ResponseError> {
    let waiter = Waiter::default();
    let _place = waiter.wait_at(partition.safe());
    loop {
        if let Some(fate) = partition.fate(promise) {
            return fate;
        }
        if timeout_at(deadline, waiter.woken()).await.is_err() {
            return Err(ResponseError::RequestTimedOut);
        }
    }
}

/// What is left to be read.
struct Reading {
    partition: Arc<Partition>,
    epoch: i32,
    next: i64,
    end: i64,
}

fn read(
    replicas: &Arc<Replicas>,
    partition: i32,
    epoch: i32,
) -> BoxStream<'static, Result<Bytes, ResponseError>> {
    let reading = begin(replicas, partition, epoch);
    let first = match reading {
        Ok(reading) => reading,
        Err(error) => return futures::stream::iter([Err(error)]).boxed(),
    };
    let chunks = unfold(Some(first), |reading| async {
        let mut reading = reading.filter(|reading| reading.next < reading.end)?;
        let chunk = tokio::task::spawn_blocking(move || (chunk(&mut reading), reading)).await;
        match chunk {
            Ok((Ok(bytes), reading)) => Some((Ok(bytes), Some(reading))),
            Ok((Err(error), _)) => Some((Err(error), None)),
            Err(_) => Some((Err(ResponseError::UnknownServerError), None)),
        }
    });
    chunks.boxed()
}

fn begin(replicas: &Arc<Replicas>, partition: i32, epoch: i32) -> Result<Reading, ResponseError> {
    let partition = replicas.partition(OFFSETS_TOPIC, partition)?;
    let (next, end) = partition
        .as_leader(Some(epoch), |log, _, _| (log.start_offset(), log.end_offset()))
        .map_err(|_| ResponseError::NotLeaderOrFollower)?;
    Ok(Reading { partition, epoch, next, end })
}

fn chunk(reading: &mut Reading) -> Result<Bytes, ResponseError> {
    let (next, end) = (reading.next, reading.end);
    let slice = reading
        .partition
        .as_leader(Some(reading.epoch), |log, _, _| log.read(next, end, CHUNK_BYTES, true))
        .map_err(|_| ResponseError::NotLeaderOrFollower)?
        .map_err(|error| error.response())?;
    let bytes = slice.read().map_err(|error| {
        warn!(partition = %reading.partition.name, %error, "groups not read");
        ResponseError::KafkaStorageError
    })?;
    // Compaction leaves holes; an empty end is an end.
    reading.next = next_offset(&bytes).unwrap_or(end);
    Ok(bytes.into())
}

/// Behind the last batch.
fn next_offset(mut bytes: &[u8]) -> Option<i64> {
    let mut next = None;
    while let Ok((batch, rest)) = Batch::split(bytes) {
        next = Some(batch.head.next_offset());
        bytes = rest;
    }
    next
}
