//! From values to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::{GroupRecord, GroupValue, MemberValue, OffsetValue};
use crate::TopicPartition;

/// What the schemas' strings can be at most: their lengths are 16 bits, signed.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A string or an array of bytes that has no room in its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} of {bytes} bytes is too long for its record")]
pub struct TooLong {
    /// The field's name in Kafka's schema.
    pub field: &'static str,
    /// How long it is.
    pub bytes: usize,
}

impl GroupRecord {
    /// Key and value as they are appended.
    ///
    /// # Errors
    ///
    /// If a name is longer than [`STRING_BYTES_MAX`].
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), TooLong> {
        match self {
            Self::Offset { group, partition, value } => {
                Ok((offset_key(group, partition)?, value.as_ref().map(offset_value).transpose()?))
            }
            Self::Group { group, value } => {
                Ok((group_key(group)?, value.as_ref().map(group_value).transpose()?))
            }
        }
    }
}

fn offset_key(group: &str, partition: &TopicPartition) -> Result<Bytes, TooLong> {
    let mut out = BytesMut::with_capacity(10 + group.len() + partition.topic.len());
    out.put_i16(1);
    put_string(&mut out, "group", group)?;
    put_string(&mut out, "topic", &partition.topic)?;
    out.put_i32(partition.partition);
    Ok(out.freeze())
}

fn group_key(group: &str) -> Result<Bytes, TooLong> {
    let mut out = BytesMut::with_capacity(4 + group.len());
    out.put_i16(2);
    put_string(&mut out, "group", group)?;
    Ok(out.freeze())
}

/// Version 3; version 1, which has no leader epoch, if the offset has an expiry of its own.
fn offset_value(value: &OffsetValue) -> Result<Bytes, TooLong> {
    let mut out = BytesMut::with_capacity(28 + value.metadata.len());
    out.put_i16(if value.expire_ms.is_some() { 1 } else { 3 });
    out.put_i64(value.offset);
    if value.expire_ms.is_none() {
        out.put_i32(value.leader_epoch);
    }
    put_string(&mut out, "metadata", &value.metadata)?;
    out.put_i64(value.commit_ms);
    if let Some(expire_ms) = value.expire_ms {
        out.put_i64(expire_ms);
    }
    Ok(out.freeze())
}

fn group_value(value: &GroupValue) -> Result<Bytes, TooLong> {
    let mut out = BytesMut::with_capacity(64 + 256 * value.members.len());
    out.put_i16(3);
    put_string(&mut out, "protocolType", value.protocol_type.as_deref().unwrap_or(""))?;
    out.put_i32(value.generation);
    put_nullable_string(&mut out, "protocol", value.protocol.as_deref())?;
    put_nullable_string(&mut out, "leader", value.leader.as_deref())?;
    out.put_i64(value.state_since_ms.unwrap_or(-1));
    let count = i32::try_from(value.members.len())
        .map_err(|_| TooLong { field: "members", bytes: value.members.len() })?;
    out.put_i32(count);
    for member in &value.members {
        put_member(&mut out, member)?;
    }
    Ok(out.freeze())
}

fn put_member(out: &mut BytesMut, member: &MemberValue) -> Result<(), TooLong> {
    put_string(out, "memberId", &member.member_id)?;
    put_nullable_string(out, "groupInstanceId", member.instance_id.as_deref())?;
    put_string(out, "clientId", &member.client_id)?;
    put_string(out, "clientHost", &member.client_host)?;
    out.put_i32(member.rebalance_timeout_ms);
    out.put_i32(member.session_timeout_ms);
    put_bytes(out, "subscription", &member.subscription)?;
    put_bytes(out, "assignment", &member.assignment)
}

fn put_string(out: &mut BytesMut, field: &'static str, text: &str) -> Result<(), TooLong> {
    let length = i16::try_from(text.len()).map_err(|_| TooLong { field, bytes: text.len() })?;
    out.put_i16(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_nullable_string(out: &mut BytesMut, field: &'static str, text: Option<&str>) -> Result<(), TooLong> {
    match text {
        Some(text) => put_string(out, field, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

fn put_bytes(out: &mut BytesMut, field: &'static str, bytes: &[u8]) -> Result<(), TooLong> {
    let length = i32::try_from(bytes.len()).map_err(|_| TooLong { field, bytes: bytes.len() })?;
    out.put_i32(length);
    out.put_slice(bytes);
    Ok(())
}
