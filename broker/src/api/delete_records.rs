//! Moves a log's start forward. Kafka's `DeleteRecords`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::{Context, is_internal};

/// In place of an offset: all that is safe.
const ALL: i64 = -1;

/// Answers for each partition. Followers learn of it with their next fetch.
pub(super) fn handle(context: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partitions.iter().map(|wanted| answered(wanted, delete(context, &topic.name, wanted)));
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete(context: &Context, topic: &str, wanted: &DeleteRecordsPartition) -> Result<i64, ResponseError> {
    if is_internal(topic) {
        return Err(ResponseError::InvalidTopicException);
    }
    let partition = context.replicas.partition(topic, wanted.partition_index)?;
    partition.as_leader(None, |log, high_watermark, _| {
        if !log.config().cleanup_policy.delete {
            return Err(ResponseError::PolicyViolation); // Compaction is what decides there.
        }
        let before = if wanted.offset == ALL { high_watermark } else { wanted.offset };
        if !(0..=high_watermark).contains(&before) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        log.advance_start(before).map_err(|error| error.response())?;
        Ok(log.start_offset())
    })?
}

fn answered(
    wanted: &DeleteRecordsPartition,
    start: Result<i64, ResponseError>,
) -> DeleteRecordsPartitionResult {
    let (start, error) = match start {
        Ok(start) => (start, 0),
        Err(error) => (-1, error.code()),
    };
    DeleteRecordsPartitionResult::default()
        .with_partition_index(wanted.partition_index)
        .with_low_watermark(start)
        .with_error_code(error)
}
