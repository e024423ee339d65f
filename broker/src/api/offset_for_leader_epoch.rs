//! Where a leader's epoch ended: a reader finds out where the history it has seen parts from the leader's. Kafka's
//! `OffsetForLeaderEpoch` (KIP-101, KIP-320).

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{Context, epoch_asked};

/// Answers for each partition.
pub(super) fn handle(
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partitions.iter().map(|wanted| answered(wanted, end(context, &topic.topic, wanted)));
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end(
    context: &Context,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ResponseError> {
    let partition = context.replicas.partition(topic, wanted.partition)?;
    let current = epoch_asked(wanted.current_leader_epoch);
    partition.as_leader(current, |log, _, _| log.end_offset_for_epoch(wanted.leader_epoch))
}

fn answered(
    wanted: &OffsetForLeaderPartition,
    end: Result<Option<(i32, i64)>, ResponseError>,
) -> EpochEndOffset {
    let response = EpochEndOffset::default().with_partition(wanted.partition);
    match end {
        Ok(end) => {
            let (epoch, end) = end.unwrap_or((-1, -1));
            response.with_leader_epoch(epoch).with_end_offset(end)
        }
        Err(error) => response.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
    }
}
