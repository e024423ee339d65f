//! Where the groups are kept, as the coordinator sees it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kafka_protocol::error::ResponseError;
use kafka_protocol::records::Compression;

use crate::group::shard::{KeyValue, ShardLoad};
use crate::log::batch::{Batch, BatchBuilder, Flaw};

/// Appends a batch to a partition of `__consumer_offsets`, as its leader of an epoch, with `acks=all`: resolves when
/// the high watermark has passed it, or with the code a producer would get.
pub type AppendBatch =
    dyn Fn(i32, i32, Bytes) -> BoxFuture<'static, Result<(), ResponseError>> + Send + Sync + 'static;

/// Reads a partition of `__consumer_offsets`, as its leader of an epoch, from its start to the end it has then: whole
/// batches, one or more at a time. Ends with an error if it could not be read to the end.
pub type ReadBatches =
    dyn Fn(i32, i32) -> BoxStream<'static, Result<Bytes, ResponseError>> + Send + Sync + 'static;

/// The log of the groups: what the coordinator asks of the replicas of `__consumer_offsets`.
///
/// Both are called with a partition and a leader epoch, and should fail with `NOT_LEADER_OR_FOLLOWER` where this broker
/// does not lead that partition since that epoch.
#[derive(Clone)]
pub struct OffsetsLog {
    /// How records are made safe.
    pub append: Arc<AppendBatch>,
    /// How they are read again.
    pub read: Arc<ReadBatches>,
}

impl fmt::Debug for OffsetsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffsetsLog").finish_non_exhaustive()
    }
}

/// `records` as one batch of `leader_epoch`.
pub(super) fn batch_of<'a>(
    records: impl IntoIterator<Item = &'a KeyValue>,
    leader_epoch: i32,
    now_ms: i64,
) -> Result<Bytes, Flaw> {
    let mut builder = BatchBuilder::new(0, now_ms, Compression::None).leader_epoch(leader_epoch);
    for (key, value) in records {
        builder.push(now_ms, Some(key), value.as_deref(), []);
    }
    builder.build()
}

/// Adds the records of all batches in `bytes` to `load`. Markers of transactions are not records of ours.
pub(super) fn apply_batches(mut bytes: &[u8], load: &mut ShardLoad) -> Result<(), Flaw> {
    while !bytes.is_empty() {
        let (batch, rest) = Batch::split(bytes)?;
        bytes = rest;
        if batch.head.attributes.is_control() {
            continue;
        }
        for record in &batch.records()? {
            let record = record?;
            load.apply(record.key, record.value);
        }
    }
    Ok(())
}
