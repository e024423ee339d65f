//! The offsets of a log's ends, and of moments. Kafka's `ListOffsets`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::{Context, epoch_asked};
use crate::log::{Error, Log, TimestampOffset};

/// In place of a time: the end of what the asker may read.
const LATEST: i64 = -1;
/// In place of a time: the first record.
const EARLIEST: i64 = -2;
/// In place of a time: the record with the largest.
const LARGEST_TIMESTAMP: i64 = -3;

/// Since which version the epoch is told.
const WITH_EPOCH: i16 = 4;

/// A record, or an end: what is before it in the log is not asked for.
struct Found {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

/// Answers for each partition; consumers see only what is safe.
pub(super) fn handle(context: &Context, request: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let is_follower = *request.replica_id >= 0;
    let topics = request.topics.into_iter().map(|topic| {
        let find = |wanted: ListOffsetsPartition| {
            let found = find(context, &topic.name, &wanted, is_follower);
            answered(wanted.partition_index, found, version)
        };
        let partitions = topic.partitions.into_iter().map(find).collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn find(
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    is_follower: bool,
) -> Result<Option<Found>, ResponseError> {
    let partition = context.replicas.partition(topic, wanted.partition_index)?;
    partition.as_leader(epoch_asked(wanted.current_leader_epoch), |log, high_watermark, epoch| {
        let upto = if is_follower { log.end_offset() } else { high_watermark };
        match wanted.timestamp {
            LATEST => Ok(Some(Found { offset: upto, timestamp: -1, epoch })),
            EARLIEST => Ok(Some(Found {
                offset: log.start_offset(),
                timestamp: -1,
                epoch: epoch_at(log, log.start_offset(), epoch),
            })),
            LARGEST_TIMESTAMP => safe(log.newest_record(), upto),
            time if time >= 0 => safe(log.offset_for_timestamp(time), upto),
            _ => Err(ResponseError::UnsupportedVersion), // Another word in place of a time, of a later version.
        }
    })?
}

/// What was found, if the asker may see it.
fn safe(found: Result<Option<TimestampOffset>, Error>, upto: i64) -> Result<Option<Found>, ResponseError> {
    let found = found.map_err(|error| error.response())?.filter(|found| found.offset < upto);
    Ok(found.map(|found| Found {
        offset: found.offset,
        timestamp: found.timestamp,
        epoch: found.leader_epoch,
    }))
}

fn epoch_at(log: &Log, offset: i64, otherwise: i32) -> i32 {
    log.epoch_at(offset).unwrap_or(otherwise)
}

fn answered(
    partition: i32,
    found: Result<Option<Found>, ResponseError>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(partition);
    let none = Found { offset: -1, timestamp: -1, epoch: -1 };
    let (error, found) = match found {
        Ok(found) => (0, found.unwrap_or(none)),
        Err(error) => (error.code(), none),
    };
    response
        .with_error_code(error)
        .with_offset(found.offset)
        .with_timestamp(found.timestamp)
        .with_leader_epoch(if version >= WITH_EPOCH { found.epoch } else { -1 })
}
