//! A member is alive, and hears whether it is to join again. Kafka's `Heartbeat`.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group_words::{code, name, name_or_none};
use crate::group::{Caller, GroupCoordinator};

/// Answers at once.
pub(super) fn handle(groups: &GroupCoordinator, request: &HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member_id: name(&request.member_id),
        instance_id: name_or_none(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    let beaten = groups.heartbeat(&name(&request.group_id.0), &caller);
    HeartbeatResponse::default().with_error_code(code(&beaten))
}
