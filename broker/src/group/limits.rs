//! What `server.properties` says about groups.

use std::time::Duration;

/// Limits and delays of the coordinator, with Kafka's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimits {
    /// `group.min.session.timeout.ms`: members may not ask for less.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`: members may not ask for more.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first member waits for others.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members in a group.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`: beside one offset.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`: how long offsets outlive the group that committed them.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`: how often we look for those that have.
    pub offsets_retention_check: Duration,
    /// `offsets.commit.timeout.ms`: how long a record may take to reach all in-sync replicas.
    pub commit_timeout: Duration,
    /// `offsets.topic.num.partitions`: of `__consumer_offsets`, until it exists and has a number of its own.
    pub offsets_partitions: i32,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1_800),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: i32::MAX as usize,
            offset_metadata_bytes_max: 4_096,
            offsets_retention: Duration::from_secs(7 * 24 * 3_600),
            offsets_retention_check: Duration::from_secs(600),
            commit_timeout: Duration::from_secs(5),
            offsets_partitions: 50,
        }
    }
}
