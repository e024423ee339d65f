//! Who is in a group and what they do. Kafka's `DescribeGroups`.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::NOT_ASKED;
use super::group_words::{name, word, word_or_none};
use crate::group::{GroupCoordinator, GroupDescription, MemberDescription};

/// What may be done with a group, a bit for each of Kafka's `AclOperation`s: to read, to delete and to describe it.
/// Nobody is kept from any.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

/// Answers at once.
pub(super) fn handle(
    groups: &GroupCoordinator,
    request: &DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations { ALL_OPERATIONS } else { NOT_ASKED };
    let described = request.groups.iter().map(|group| {
        let answer =
            DescribedGroup::default().with_group_id(group.clone()).with_authorized_operations(NOT_ASKED);
        match groups.describe(&name(&group.0)) {
            Ok(description) => described(group, &description, version).with_authorized_operations(operations),
            Err(error) => answer.with_error_code(error.code()),
        }
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

fn described(group: &GroupId, description: &GroupDescription, version: i16) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(group.clone())
        .with_group_state(StrBytes::from_static_str(description.state.name()))
        .with_protocol_type(word(&description.protocol_type))
        .with_protocol_data(word(&description.protocol))
        .with_members(description.members.iter().map(|listed| member(listed, version)).collect())
}

fn member(member: &MemberDescription, version: i16) -> DescribedGroupMember {
    let instance_id = member.instance_id.as_ref().filter(|_| version >= 4);
    DescribedGroupMember::default()
        .with_member_id(word(&member.member_id))
        .with_group_instance_id(word_or_none(instance_id))
        .with_client_id(word(&member.client_id))
        .with_client_host(word(&member.client_host))
        .with_member_metadata(member.metadata.clone())
        .with_member_assignment(member.assignment.clone())
}
