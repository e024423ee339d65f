//! The answers to what clients ask of groups, as they leave in each version that is offered.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::ready;
use futures::{FutureExt, StreamExt, stream};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::group::{GroupCoordinator, GroupLimits, OFFSETS_TOPIC, OffsetsLog};
use crate::registry::ClusterImage;
use crate::registry::image::{Broker, Endpoint, Partition, PartitionState, Topic};

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A coordinator of all groups, whose log is nowhere.
async fn coordinator() -> GroupCoordinator {
    let log = OffsetsLog {
        append: Arc::new(|_, _, _| ready(Ok(())).boxed()),
        read: Arc::new(|_, _| stream::empty().boxed()),
    };
    let groups = GroupCoordinator::new(GroupLimits { offsets_partitions: 1, ..GroupLimits::default() }, log);
    groups.become_leader(0, 1);
    while groups.list(|_| true).is_loading {
        tokio::task::yield_now().await;
    }
    groups
}

/// Broker 1 leads the only partition of `orders`.
fn image() -> ClusterImage {
    let broker = Broker {
        id: 1,
        epoch: 1,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            protocol: "PLAINTEXT".into(),
            host: "kafka-1".into(),
            port: 9092,
        }],
        rack: None,
    };
    ClusterImage {
        brokers: Arc::new([(1, Arc::new(broker))].into()),
        topics: Arc::new([topic("orders", Some(1))].into()),
        ..ClusterImage::default()
    }
}

fn topic(name: &str, leader: Option<i32>) -> (Arc<str>, Arc<Topic>) {
    let state = PartitionState {
        leader,
        leader_epoch: 1,
        isr: vec![1],
        controller_epoch: 1,
        recovering: false,
        version: 0,
        modified: 0,
    };
    let partition = Partition { replicas: vec![1], state: Some(state), ..Partition::default() };
    let partitions = [(0, Arc::new(partition))].into();
    (name.into(), Arc::new(Topic { name: name.into(), id: None, partitions, version: 0 }))
}

fn word(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn group() -> GroupId {
    GroupId(word("readers"))
}

/// An answer that a version has no room for would end the connection.
fn must_fit<M: Encodable>(answer: &M, version: i16) {
    let size = answer.compute_size(version).expect("a size");
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).expect("room for all that is said");
    assert_eq!(bytes.len(), size);
}

fn join_request(member_id: &StrBytes) -> JoinGroupRequest {
    let range =
        JoinGroupRequestProtocol::default().with_name(word("range")).with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(member_id.clone())
        .with_protocol_type(word("consumer"))
        .with_protocols(vec![range])
}

async fn join(groups: &GroupCoordinator, version: i16) -> JoinGroupResponse {
    let answer =
        join_group::handle(groups, Some("app"), LOCALHOST, &join_request(&StrBytes::new()), version).await;
    must_fit(&answer, version);
    if answer.error_code != ResponseError::MemberIdRequired.code() {
        return answer;
    }
    assert!(version >= 4, "clients of version {version} do not know that code");
    let again = join_request(&answer.member_id);
    join_group::handle(groups, Some("app"), LOCALHOST, &again, version).await
}

fn commit_request(topics: &[(&'static str, i32)], member: &JoinGroupResponse) -> OffsetCommitRequest {
    let topics = topics.iter().map(|(topic, partition)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(5)
            .with_committed_metadata(Some(word("note")));
        OffsetCommitRequestTopic::default().with_name(TopicName(word(topic))).with_partitions(vec![partition])
    });
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(member.generation_id)
        .with_member_id(member.member_id.clone())
        .with_topics(topics.collect())
}

fn nobody() -> JoinGroupResponse {
    JoinGroupResponse::default().with_generation_id(-1)
}

#[tokio::test(start_paused = true)]
async fn a_member_lives_its_life_in_every_version() {
    for version in 0..=8 {
        let groups = coordinator().await;
        let joined = join(&groups, version.min(7)).await;
        must_fit(&joined, version.min(7));
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));

        let sync = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(1)
            .with_member_id(joined.member_id.clone())
            .with_protocol_type(Some(word("consumer")))
            .with_protocol_name(Some(word("range")));
        let synced = sync_group::handle(&groups, &sync, version.min(5)).await;
        must_fit(&synced, version.min(5));
        assert_eq!(synced.error_code, 0);

        let beat = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(1)
            .with_member_id(joined.member_id.clone());
        let beaten = heartbeat::handle(&groups, &beat);
        must_fit(&beaten, version.min(4));
        assert_eq!(beaten.error_code, 0);

        let commit = commit_request(&[("orders", 0)], &joined).with_retention_time_ms(-1);
        let committed = offset_commit::handle(&groups, &image(), &commit, version.max(2)).await;
        must_fit(&committed, version.max(2));
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);

        let described = describe_groups::handle(
            &groups,
            &DescribeGroupsRequest::default().with_groups(vec![group()]),
            version.min(5),
        );
        must_fit(&described, version.min(5));
        assert_eq!(described.groups[0].group_state.as_str(), "Stable");
        assert_eq!(described.groups[0].members[0].client_host.as_str(), "/127.0.0.1");

        let listed = list_groups::handle(&groups, &ListGroupsRequest::default());
        must_fit(&listed, version.min(4));
        assert_eq!(listed.groups[0].group_id, group());

        let leaver = MemberIdentity::default().with_member_id(joined.member_id.clone());
        let leave = LeaveGroupRequest::default()
            .with_group_id(group())
            .with_member_id(joined.member_id.clone())
            .with_members(vec![leaver]);
        let left = leave_group::handle(&groups, &leave, version.min(5));
        must_fit(&left, version.min(5));
        assert_eq!((left.error_code, left.members.len()), (0, usize::from(version >= 3)));

        let names = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
        let deleted = delete_groups::handle(&groups, &names).await;
        must_fit(&deleted, version.min(2));
        assert_eq!(deleted.results[0].error_code, 0);
    }
}

fn fetch_request(topic: &'static str, version: i16) -> OffsetFetchRequest {
    let name = TopicName(word(topic));
    if version < 8 {
        let topic = OffsetFetchRequestTopic::default().with_name(name).with_partition_indexes(vec![0]);
        return OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    }
    let topic = OffsetFetchRequestTopics::default().with_name(name).with_partition_indexes(vec![0]);
    let of_group = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![of_group])
}

#[tokio::test(start_paused = true)]
async fn offsets_come_back_as_they_were_committed_in_every_version() {
    let groups = coordinator().await;
    offset_commit::handle(&groups, &image(), &commit_request(&[("orders", 0)], &nobody()), 8).await;
    for version in 1..=8 {
        let fetched = offset_fetch::handle(&groups, &fetch_request("orders", version), version);
        must_fit(&fetched, version);
        let (offset, metadata) = if version < 8 {
            let partition = &fetched.topics[0].partitions[0];
            (partition.committed_offset, partition.metadata.clone())
        } else {
            let partition = &fetched.groups[0].topics[0].partitions[0];
            (partition.committed_offset, partition.metadata.clone())
        };
        assert_eq!((offset, metadata.as_deref()), (5, Some("note")));
    }
}

#[tokio::test(start_paused = true)]
async fn without_topics_all_of_the_group_are_meant() {
    let groups = coordinator().await;
    offset_commit::handle(&groups, &image(), &commit_request(&[("orders", 0)], &nobody()), 8).await;
    let all = OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    let fetched = offset_fetch::handle(&groups, &all, 2);
    assert_eq!(fetched.topics[0].partitions[0].committed_offset, 5);
    let none = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(Vec::new()));
    assert_eq!(offset_fetch::handle(&groups, &none, 2).topics, []);
    let of_group = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let all = OffsetFetchRequest::default().with_groups(vec![of_group]);
    assert_eq!(offset_fetch::handle(&groups, &all, 8).groups[0].topics[0].partitions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_committed_the_offset_is_minus_one_and_no_error() {
    let groups = coordinator().await;
    let fetched = offset_fetch::handle(&groups, &fetch_request("bills", 5), 5);
    let partition = &fetched.topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (-1, -1));
    assert_eq!((partition.metadata.as_deref(), partition.error_code), (Some(""), 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_group_stands_where_the_version_has_a_place_for_it() {
    let groups = coordinator().await;
    groups.resign(0);
    let code = ResponseError::NotCoordinator.code();
    let v1 = offset_fetch::handle(&groups, &fetch_request("orders", 1), 1);
    must_fit(&v1, 1);
    assert_eq!((v1.error_code, v1.topics[0].partitions[0].error_code), (0, code));
    let v2 = offset_fetch::handle(&groups, &fetch_request("orders", 2), 2);
    must_fit(&v2, 2);
    assert_eq!((v2.error_code, v2.topics.len()), (code, 0));
    let v8 = offset_fetch::handle(&groups, &fetch_request("orders", 8), 8);
    must_fit(&v8, 8);
    assert_eq!((v8.error_code, v8.groups[0].error_code), (0, code));

    let left = leave_group::handle(&groups, &LeaveGroupRequest::default().with_group_id(group()), 0);
    must_fit(&left, 0);
    assert_eq!(left.error_code, code);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_partitions_that_do_not_exist_are_refused_and_the_others_kept() {
    let groups = coordinator().await;
    let request = commit_request(&[("orders", 1), ("orders", 0), ("bills", 0)], &nobody());
    let committed = offset_commit::handle(&groups, &image(), &request, 8).await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let codes: Vec<i16> = committed.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [unknown, 0, unknown]);
}

#[tokio::test(start_paused = true)]
async fn an_old_client_says_how_long_its_offsets_are_kept() {
    let groups = coordinator().await;
    let request = commit_request(&[("orders", 0)], &nobody()).with_retention_time_ms(0);
    offset_commit::handle(&groups, &image(), &request, 4).await;
    tokio::time::sleep(std::time::Duration::from_secs(601)).await;
    let fetched = offset_fetch::handle(&groups, &fetch_request("orders", 5), 5);
    assert_eq!(fetched.topics[0].partitions[0].committed_offset, -1);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_deleted_where_there_are_such_partitions() {
    let groups = coordinator().await;
    offset_commit::handle(&groups, &image(), &commit_request(&[("orders", 0)], &nobody()), 8).await;
    let partitions = |numbers: &[i32]| {
        let numbers = numbers.iter();
        numbers.map(|number| OffsetDeleteRequestPartition::default().with_partition_index(*number)).collect()
    };
    let orders = OffsetDeleteRequestTopic::default()
        .with_name(TopicName(word("orders")))
        .with_partitions(partitions(&[0, 7]));
    let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![orders]);
    let deleted = offset_delete::handle(&groups, &image(), &request).await;
    must_fit(&deleted, 0);
    let codes: Vec<i16> = deleted.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownTopicOrPartition.code()]);
    let again = offset_delete::handle(&groups, &image(), &request).await;
    must_fit(&again, 0);
    assert_eq!(again.error_code, ResponseError::GroupIdNotFound.code());
}

#[tokio::test(start_paused = true)]
async fn in_version_5_a_sync_says_what_it_is_about() {
    let groups = coordinator().await;
    let request = SyncGroupRequest::default().with_group_id(group());
    let synced = sync_group::handle(&groups, &request, 5).await;
    must_fit(&synced, 5);
    assert_eq!(synced.error_code, ResponseError::InconsistentGroupProtocol.code());
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_state_however_it_is_spelt() {
    let groups = coordinator().await;
    offset_commit::handle(&groups, &image(), &commit_request(&[("orders", 0)], &nobody()), 8).await;
    let list = |state| {
        let request = ListGroupsRequest::default().with_states_filter(vec![word(state)]);
        list_groups::handle(&groups, &request).groups.len()
    };
    assert_eq!((list("empty"), list("Empty"), list("Stable"), list("what")), (1, 1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_done_with_a_group_is_told_to_who_asks() {
    let groups = coordinator().await;
    let request = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let described = describe_groups::handle(&groups, &request, 5);
    assert_eq!(described.groups[0].group_state.as_str(), "Dead");
    assert_eq!(described.groups[0].authorized_operations, i32::MIN);
    let request = request.with_include_authorized_operations(true);
    assert_eq!(describe_groups::handle(&groups, &request, 5).groups[0].authorized_operations, 0b1_0100_1000);
}

#[tokio::test]
async fn a_group_is_coordinated_by_the_leader_of_its_partition() {
    let groups = coordinator().await;
    let with = |leader| ClusterImage { topics: Arc::new([topic(OFFSETS_TOPIC, leader)].into()), ..image() };
    let request = FindCoordinatorRequest::default()
        .with_key(word("readers"))
        .with_coordinator_keys(vec![word("readers"), word("others")]);
    let unavailable = ResponseError::CoordinatorNotAvailable.code();
    for version in 0..=4 {
        let found = find_coordinator::handle(&groups, &with(Some(1)), "PLAINTEXT", &request, version);
        must_fit(&found, version);
        let told = if version < 4 {
            vec![(found.error_code, found.node_id.0, found.host.clone(), found.port)]
        } else {
            let lines = found.coordinators.iter();
            lines.map(|line| (line.error_code, line.node_id.0, line.host.clone(), line.port)).collect()
        };
        assert_eq!(told, vec![(0, 1, word("kafka-1"), 9092); if version < 4 { 1 } else { 2 }]);

        for (nobody, listener) in [
            (image(), "PLAINTEXT"),
            (with(None), "PLAINTEXT"),
            (with(Some(2)), "PLAINTEXT"),
            (with(Some(1)), "TLS"),
        ] {
            let found = find_coordinator::handle(&groups, &nobody, listener, &request, version);
            must_fit(&found, version);
            let code = found.coordinators.first().map_or(found.error_code, |line| line.error_code);
            assert_eq!(code, unavailable);
        }
    }
}

#[tokio::test]
async fn transactions_have_no_coordinator() {
    let groups = coordinator().await;
    let request = FindCoordinatorRequest::default().with_key_type(1).with_key(word("tx"));
    let found = find_coordinator::handle(&groups, &image(), "PLAINTEXT", &request, 2);
    must_fit(&found, 2);
    assert_eq!(found.error_code, ResponseError::InvalidRequest.code());
}
