//! The groups that this broker coordinates. Kafka's `ListGroups`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::group_words::word;
use crate::group::{GroupCoordinator, GroupState};

/// Answers at once; while some groups are being loaded, with the others and a code on which clients ask again.
pub(super) fn handle(groups: &GroupCoordinator, request: &ListGroupsRequest) -> ListGroupsResponse {
    let filter = &request.states_filter;
    let is_wanted = |state: GroupState| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(state.name()))
    };
    let list = groups.list(is_wanted);
    let error = if list.is_loading { ResponseError::CoordinatorLoadInProgress.code() } else { 0 };
    let listed = list.groups.iter().map(|line| {
        ListedGroup::default()
            .with_group_id(GroupId(word(&line.group)))
            .with_protocol_type(word(&line.protocol_type))
            .with_group_state(StrBytes::from_static_str(line.state.name()))
    });
    ListGroupsResponse::default().with_error_code(error).with_groups(listed.collect())
}
