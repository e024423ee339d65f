//! A member asks for its part of the work; the leader brings everybody's. Kafka's `SyncGroup`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::group_words::{copied, name, name_or_none, word_or_none};
use crate::group::{GroupCoordinator, SyncRequest};

/// Answers when the leader's assignment is safe.
pub(super) async fn handle(
    groups: &GroupCoordinator,
    request: &SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let synced = if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        Err(ResponseError::InconsistentGroupProtocol)
    } else {
        groups.sync(&name(&request.group_id.0), read(request)).await
    };
    match synced {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(word_or_none(synced.protocol_type.as_ref()))
            .with_protocol_name(word_or_none(synced.protocol.as_ref()))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

fn read(request: &SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.iter();
    SyncRequest {
        member_id: name(&request.member_id),
        instance_id: name_or_none(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: name_or_none(request.protocol_type.as_ref()),
        protocol: name_or_none(request.protocol_name.as_ref()),
        assignments: assignments.map(|one| (name(&one.member_id), copied(&one.assignment))).collect(),
    }
}
