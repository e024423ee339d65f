//! From bytes to values: whatever stands in the log, reading it ends in a value or an error.

use std::sync::Arc;

use bytes::Bytes;

use super::{GroupValue, MemberValue, OffsetValue};
use crate::TopicPartition;

/// Bytes that are none of the records we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Ends in the middle of a field.
    #[error("cut off in {0}")]
    CutOff(&'static str),
    /// A length below zero, or null where there must be something.
    #[error("length {length} of {field}")]
    Length {
        /// The field's name in Kafka's schema.
        field: &'static str,
        /// What stands there.
        length: i32,
    },
    /// Text that is none.
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    /// A value of a version nobody had when this was written.
    #[error("value of unknown version {0}")]
    UnknownVersion(i16),
}

/// Of what a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    /// An offset of a group; versions 0 and 1.
    Offset {
        /// The group that committed it.
        group: Arc<str>,
        /// What was read.
        partition: TopicPartition,
    },
    /// The membership of a group; version 2.
    Group(Arc<str>),
    /// Of something that newer brokers keep in this topic: to be passed over.
    Unknown(i16),
}

/// Reads a record's key.
///
/// # Errors
///
/// If it is cut off or no text. Keys of unknown versions are none: they are passed over, as in Kafka.
pub fn decode_key(key: &[u8]) -> Result<RecordKey, DecodeError> {
    let mut reader = Reader(key);
    match reader.i16("version")? {
        0 | 1 => Ok(RecordKey::Offset {
            group: reader.string("group")?,
            partition: TopicPartition::new(reader.string("topic")?, reader.i32("partition")?),
        }),
        2 => Ok(RecordKey::Group(reader.string("group")?)),
        version => Ok(RecordKey::Unknown(version)),
    }
}

/// Reads an offset, versions 0 to 3.
///
/// # Errors
///
/// If it is cut off, no text, or of another version.
pub fn decode_offset_value(value: &[u8]) -> Result<OffsetValue, DecodeError> {
    let mut reader = Reader(value);
    let version = reader.i16("version")?;
    if !(0..=3).contains(&version) {
        return Err(DecodeError::UnknownVersion(version));
    }
    let offset = reader.i64("offset")?;
    let leader_epoch = if version >= 3 { reader.i32("leaderEpoch")? } else { -1 };
    let metadata = reader.string("metadata")?;
    let commit_ms = reader.i64("commitTimestamp")?;
    let expire_ms = if version == 1 { reader.i64("expireTimestamp")? } else { -1 };
    Ok(OffsetValue {
        offset,
        leader_epoch,
        metadata,
        commit_ms,
        expire_ms: (expire_ms != -1).then_some(expire_ms),
    })
}

/// Reads a membership, versions 0 to 3.
///
/// # Errors
///
/// If it is cut off, no text, or of another version.
pub fn decode_group_value(value: &[u8]) -> Result<GroupValue, DecodeError> {
    let mut reader = Reader(value);
    let version = reader.i16("version")?;
    if !(0..=3).contains(&version) {
        return Err(DecodeError::UnknownVersion(version));
    }
    let protocol_type = reader.string("protocolType")?;
    let generation = reader.i32("generation")?;
    let protocol = reader.nullable_string("protocol")?;
    let leader = reader.nullable_string("leader")?;
    let state_since_ms = if version >= 2 { reader.i64("currentStateTimestamp")? } else { -1 };
    // What the array claims to hold is not believed: each member must be there to be counted.
    let count = reader.i32("members")?;
    if count < 0 {
        return Err(DecodeError::Length { field: "members", length: count });
    }
    let members = (0..count).map(|_| reader.member(version)).collect::<Result<Vec<_>, _>>()?;
    Ok(GroupValue {
        protocol_type: (!protocol_type.is_empty()).then_some(protocol_type),
        generation,
        protocol,
        leader,
        state_since_ms: (state_since_ms != -1).then_some(state_since_ms),
        members,
    })
}

/// A cursor that can only fail.
pub(in crate::group) struct Reader<'a>(pub(in crate::group) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::CutOff(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::CutOff(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(in crate::group) fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    pub(in crate::group) fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    fn nullable_string(&mut self, field: &'static str) -> Result<Option<Arc<str>>, DecodeError> {
        let length = self.i16(field)?;
        if length == -1 {
            return Ok(None);
        }
        let length =
            usize::try_from(length).map_err(|_| DecodeError::Length { field, length: length.into() })?;
        let text = str::from_utf8(self.take(field, length)?).map_err(|_| DecodeError::NotText(field))?;
        Ok(Some(text.into()))
    }

    pub(in crate::group) fn string(&mut self, field: &'static str) -> Result<Arc<str>, DecodeError> {
        self.nullable_string(field)?.ok_or(DecodeError::Length { field, length: -1 })
    }

    fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.i32(field)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Length { field, length })?;
        Ok(Bytes::copy_from_slice(self.take(field, length)?))
    }

    fn member(&mut self, version: i16) -> Result<MemberValue, DecodeError> {
        let member_id = self.string("memberId")?;
        let instance_id = if version >= 3 { self.nullable_string("groupInstanceId")? } else { None };
        let client_id = self.string("clientId")?;
        let client_host = self.string("clientHost")?;
        let rebalance_timeout_ms = if version >= 1 { Some(self.i32("rebalanceTimeout")?) } else { None };
        let session_timeout_ms = self.i32("sessionTimeout")?;
        Ok(MemberValue {
            member_id,
            instance_id,
            client_id,
            client_host,
            // Before there was one, members were waited for as long as their sessions lasted.
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: self.bytes("subscription")?,
            assignment: self.bytes("assignment")?,
        })
    }
}
