//! Members leave a group, or are made to. Kafka's `LeaveGroup`.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::group_words::{code, name, name_or_none, word, word_or_none};
use crate::group::{GroupCoordinator, Leaver};

/// From this version on several may leave at once, and each has a code of its own.
const BATCHED: i16 = 3;

/// Answers at once.
pub(super) fn handle(
    groups: &GroupCoordinator,
    request: &LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let leavers = read(request, version);
    let left = groups.leave(&name(&request.group_id.0), &leavers);
    let answer = LeaveGroupResponse::default().with_error_code(code(&left));
    let Ok(left) = left else { return answer };
    if version < BATCHED {
        return answer.with_error_code(left.first().map_or(0, code));
    }
    let member = |(leaver, left): (&Leaver, _)| {
        MemberResponse::default()
            .with_member_id(word(&leaver.member_id))
            .with_group_instance_id(word_or_none(leaver.instance_id.as_ref()))
            .with_error_code(code(left))
    };
    answer.with_members(leavers.iter().zip(&left).map(member).collect())
}

fn read(request: &LeaveGroupRequest, version: i16) -> Vec<Leaver> {
    if version < BATCHED {
        return vec![Leaver { member_id: name(&request.member_id), instance_id: None }];
    }
    let members = request.members.iter();
    members
        .map(|member| Leaver {
            member_id: name(&member.member_id),
            instance_id: name_or_none(member.group_instance_id.as_ref()),
        })
        .collect()
}
