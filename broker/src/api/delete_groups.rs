//! Groups that have no members are deleted, with their offsets. Kafka's `DeleteGroups`.

use futures::future::join_all;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::group_words::{code, name};
use crate::group::GroupCoordinator;

/// Answers when they are safely deleted.
pub(super) async fn handle(groups: &GroupCoordinator, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
    let deletions = request.groups_names.iter().map(|group| async {
        let deleted = groups.delete(&name(&group.0)).await;
        DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(code(&deleted))
    });
    DeleteGroupsResponse::default().with_results(join_all(deletions).await)
}
