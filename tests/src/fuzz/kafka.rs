//! What Kafka's clients send, what brokers keep on disk, and what stands in the topic of offsets.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use broker::config::TopicConfig;
use broker::group::records::{decode_group_value, decode_key, decode_offset_value};
use broker::log::batch::{Batch, BatchBuilder, BatchHead, HEAD_BYTES, decode_everything};
use broker::log::{Checked, Log, Recovery};
use broker::wire::Request;
use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::records::Compression;

use super::Input;

const NOW_MS: i64 = 1_700_000_000_000;

/// A frame of any API: it is one of Kafka's requests, or refused.
pub(super) fn requests(input: &[u8]) {
    let Ok(request) = Request::parse(Bytes::copy_from_slice(input)) else { return };
    macro_rules! decoded {
        ($($key:ident => $body:ty,)*) => {
            match ApiKey::try_from(request.head.key) {
                $(Ok(ApiKey::$key) => drop(request.body::<$body>()),)*
                _ => {}
            }
        };
    }
    decoded! {
        Produce => ProduceRequest,
        Fetch => FetchRequest,
        ListOffsets => ListOffsetsRequest,
        Metadata => MetadataRequest,
        ApiVersions => ApiVersionsRequest,
        DeleteRecords => DeleteRecordsRequest,
        InitProducerId => InitProducerIdRequest,
        OffsetForLeaderEpoch => OffsetForLeaderEpochRequest,
        FindCoordinator => FindCoordinatorRequest,
        JoinGroup => JoinGroupRequest,
        SyncGroup => SyncGroupRequest,
        Heartbeat => HeartbeatRequest,
        LeaveGroup => LeaveGroupRequest,
        OffsetCommit => OffsetCommitRequest,
        OffsetFetch => OffsetFetchRequest,
        OffsetDelete => OffsetDeleteRequest,
        CreateTopics => CreateTopicsRequest,
        DeleteTopics => DeleteTopicsRequest,
        CreatePartitions => CreatePartitionsRequest,
        AlterConfigs => AlterConfigsRequest,
        IncrementalAlterConfigs => IncrementalAlterConfigsRequest,
        AlterPartitionReassignments => AlterPartitionReassignmentsRequest,
        ListPartitionReassignments => ListPartitionReassignmentsRequest,
        ElectLeaders => ElectLeadersRequest,
        DescribeLogDirs => DescribeLogDirsRequest,
        DescribeConfigs => DescribeConfigsRequest,
        DescribeGroups => DescribeGroupsRequest,
        ListGroups => ListGroupsRequest,
        DeleteGroups => DeleteGroupsRequest,
        DescribeCluster => DescribeClusterRequest,
    }
}

/// Batches from a producer: whatever is in them is told or refused, and what is taken on reads back.
pub(super) fn batches(input: &[u8]) {
    let bytes = sealed(input);
    let found = decode_everything(&bytes);
    if Checked::new(&bytes, &TopicConfig::default(), NOW_MS).is_ok() {
        assert!(found.is_ok(), "what is taken on cannot be read: {found:?}");
    }
}

/// Batches with right checksums: a fuzzer does not guess them.
fn sealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut rest = &mut bytes[..];
    while let Ok(mut head) = BatchHead::parse(rest) {
        let Some((batch, after)) = rest.split_at_mut_checked(head.size()) else { break };
        let Some((at_head, records)) = batch.split_at_mut_checked(HEAD_BYTES) else { break };
        head.crc = head.crc_with(records);
        at_head.copy_from_slice(&head.to_bytes());
        rest = after;
    }
    bytes
}

/// Records of groups and their offsets.
pub(super) fn group_records(input: &[u8]) {
    let _ = decode_key(input);
    let _ = decode_offset_value(input);
    let _ = decode_group_value(input);
}

/// A partition's directory: whatever its files hold, the log opens or says why not; one that was opened is read to its end,
/// goes on, and is the same when it is opened again.
pub(super) fn partition_log(input: &[u8]) {
    let mut input = Input(input);
    let dir = tempfile::tempdir().expect("a directory");
    let recovery = Recovery {
        clean: input.is(),
        recovery_point: i64::from(input.byte()),
        start_offset: i64::from(input.byte()),
    };
    for kind in ["index", "timeindex", "snapshot"] {
        if input.is() {
            write(dir.path(), &format!("00000000000000000000.{kind}"), input.few_bytes());
        }
    }
    if input.is() {
        write(dir.path(), "leader-epoch-checkpoint", input.few_bytes());
    }
    write(dir.path(), "00000000000000000000.log", &sealed(input.0));

    let config = Arc::new(TopicConfig { segment_index_bytes: 4096, ..TopicConfig::default() });
    let open = |recovery| Log::open(dir.path(), Arc::clone(&config), recovery, NOW_MS);
    let Ok(mut log) = open(recovery) else { return };
    if recovery.clean || recovery.recovery_point > 0 {
        return; // Part of it is taken on trust.
    }
    read_to_end(&log);
    let mut record = BatchBuilder::new(0, NOW_MS, Compression::None);
    record.push(NOW_MS, Some(b"key"), Some(b"value"), []);
    let record = record.build().expect("a batch");
    let record = Checked::built_here(&record).expect("a batch");
    // The offsets may be at their end.
    let Ok(appended) = log.append_as_leader(&record, i32::MAX, NOW_MS) else { return };
    assert_eq!(log.end_offset(), appended.last_offset + 1);
    let end = log.end_offset();
    drop(log);
    let again = open(recovery).expect("a log that was open");
    assert_eq!(again.end_offset(), end);
    read_to_end(&again);
}

fn read_to_end(log: &Log) {
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let bytes =
            log.read(from, i64::MAX, 1 << 20, true).expect("within the log").read().expect("a sound disk");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (batch, after) = Batch::split(rest).expect("checked when it was opened");
            assert!(batch.head.next_offset() > from, "it goes back");
            from = batch.head.next_offset();
            rest = after;
        }
        if bytes.is_empty() {
            return; // Offsets without records: compaction took them.
        }
    }
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    fs::write(dir.join(name), content).expect("room for a file");
}
