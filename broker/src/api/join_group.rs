//! Somebody wants to be a member of a group. Kafka's `JoinGroup`.

use std::net::IpAddr;
use std::time::Duration;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Builder;

use super::group_words::{copied, name, name_or_none, word, word_or_none};
use crate::group::{GroupCoordinator, Join, JoinRefused, Joined, JoinedMember, Protocol};

/// Answers when the group's next generation begins, or when it is clear that this client is not to be in it.
///
/// `client_id` stands in the request's head; `address` is the client's.
pub(super) async fn handle(
    groups: &GroupCoordinator,
    client_id: Option<&str>,
    address: IpAddr,
    request: &JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let join = read(client_id, address, request, version);
    let answer = match groups.join(&name(&request.group_id.0), join).await {
        Ok(joined) => accepted(&joined, version),
        Err(refused) => refusal(&refused),
    };
    // Before version 7 there had to be a name.
    match answer.protocol_name {
        None if version < 7 => answer.with_protocol_name(Some(StrBytes::new())),
        _ => answer,
    }
}

fn read(client_id: Option<&str>, address: IpAddr, request: &JoinGroupRequest, version: i16) -> Join {
    let protocols = request.protocols.iter();
    let protocols = protocols
        .map(|protocol| Protocol { name: name(&protocol.name), metadata: copied(&protocol.metadata) })
        .collect();
    // Version 0 knew one timeout.
    let rebalance_timeout_ms =
        if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    Join {
        member_id: name(&request.member_id),
        instance_id: name_or_none(request.group_instance_id.as_ref()),
        client_id: client_id.unwrap_or("").into(),
        client_host: format!("/{address}").into(),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout_ms),
        protocol_type: name(&request.protocol_type),
        protocols,
        id_suffix: Builder::from_random_bytes(rand::random()).into_uuid(),
        needs_known_id: version >= 4 && request.group_instance_id.is_none(),
        may_skip_assignment: version >= 9,
    }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn accepted(joined: &Joined, version: i16) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(word_or_none(joined.protocol_type.as_ref()))
        .with_protocol_name(word_or_none(joined.protocol.as_ref()))
        .with_leader(word(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(word(&joined.member_id))
        .with_members(joined.members.iter().map(|listed| member(listed, version)).collect())
}

fn member(member: &JoinedMember, version: i16) -> JoinGroupResponseMember {
    let instance_id = member.instance_id.as_ref().filter(|_| version >= 5);
    JoinGroupResponseMember::default()
        .with_member_id(word(&member.member_id))
        .with_group_instance_id(word_or_none(instance_id))
        .with_metadata(member.metadata.clone())
}

fn refusal(refused: &JoinRefused) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(refused.error.code())
        .with_generation_id(-1)
        .with_protocol_name(None)
        .with_member_id(word(&refused.member_id))
}
