//! What stands in the log directories of this broker. Kafka's `DescribeLogDirs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::replica::partition::Partition;

/// Since which version the disks' own sizes are told.
const WITH_DISKS: i16 = 4;

/// All directories, with those of the partitions that are asked for, or with all.
pub(super) fn handle(
    context: &Context,
    request: &DescribeLogDirsRequest,
    version: i16,
) -> DescribeLogDirsResponse {
    let is_asked = |partition: &Arc<Partition>| {
        request.topics.as_ref().is_none_or(|topics| {
            let (topic, number) = (&*partition.name.topic, partition.name.partition);
            topics.iter().any(|asked| &**asked.topic == topic && asked.partitions.contains(&number))
        })
    };
    let partitions: Vec<_> = context.replicas.all().into_iter().filter(is_asked).collect();
    let results = context.replicas.store().paths().map(|dir| {
        let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for partition in &partitions {
            let (is_here, size, end) =
                partition.with_log(|log| (log.dir().parent() == Some(dir), log.size(), log.end_offset()));
            if is_here {
                let one = DescribeLogDirsPartition::default()
                    .with_partition_index(partition.name.partition)
                    .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
                    .with_offset_lag((partition.high_watermark() - end).max(0));
                topics.entry(Arc::clone(&partition.name.topic)).or_default().push(one);
            }
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            DescribeLogDirsTopic::default().with_name(text(&name).into()).with_partitions(partitions)
        });
        let result = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_string(dir.display().to_string()))
            .with_topics(topics.collect());
        match rustix::fs::statvfs(dir) {
            Ok(disk) if version >= WITH_DISKS => {
                let bytes =
                    |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
                result.with_total_bytes(bytes(disk.f_blocks)).with_usable_bytes(bytes(disk.f_bavail))
            }
            _ => result,
        }
    });
    DescribeLogDirsResponse::default().with_results(results.collect())
}
