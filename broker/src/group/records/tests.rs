use proptest::prelude::*;

use super::*;

fn offset_record(value: Option<OffsetValue>) -> GroupRecord {
    GroupRecord::Offset { group: "g1".into(), partition: TopicPartition::new("orders", 7), value }
}

fn offset() -> OffsetValue {
    OffsetValue { offset: 42, leader_epoch: 5, metadata: "m".into(), commit_ms: 1_000, expire_ms: None }
}

fn group() -> GroupValue {
    GroupValue {
        protocol_type: Some("consumer".into()),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("a".into()),
        state_since_ms: Some(9),
        members: vec![MemberValue {
            member_id: "a".into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"as"),
        }],
    }
}

fn encoded(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
    record.encode().expect("names are short")
}

#[test]
fn an_offset_has_the_bytes_kafka_gives_it() {
    let (key, value) = encoded(&offset_record(Some(offset())));
    assert_eq!(&key[..], b"\0\x01\0\x02g1\0\x06orders\0\0\0\x07");
    assert_eq!(&value.unwrap()[..], b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x05\0\x01m\0\0\0\0\0\0\x03\xe8");
}

#[test]
fn an_offset_with_an_expiry_of_its_own_is_of_version_1() {
    let (_, value) = encoded(&offset_record(Some(OffsetValue { expire_ms: Some(2_000), ..offset() })));
    assert_eq!(
        &value.unwrap()[..],
        b"\0\x01\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\x07\xd0"
    );
}

#[test]
fn a_membership_has_the_bytes_kafka_gives_it() {
    let (key, value) = encoded(&GroupRecord::Group { group: "g1".into(), value: Some(group()) });
    assert_eq!(&key[..], b"\0\x02\0\x02g1");
    let mut expected = Vec::new();
    expected
        .extend_from_slice(b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x01a\0\0\0\0\0\0\0\x09\0\0\0\x01");
    expected
        .extend_from_slice(b"\0\x01a\xff\xff\0\x01c\0\x02/h\0\0\xea\x60\0\0\x27\x10\0\0\0\x01s\0\0\0\x02as");
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn an_empty_group_has_no_protocol_and_no_leader() {
    let empty = GroupValue { protocol: None, leader: None, members: Vec::new(), ..group() };
    let (_, value) = encoded(&GroupRecord::Group { group: "g1".into(), value: Some(empty.clone()) });
    let value = value.unwrap();
    assert_eq!(&value[..], b"\0\x03\0\x08consumer\0\0\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x09\0\0\0\0");
    assert_eq!(decode_group_value(&value), Ok(empty));
}

#[test]
fn tombstones_have_a_key_and_no_value() {
    assert_eq!(encoded(&offset_record(None)).1, None);
    assert_eq!(encoded(&GroupRecord::Group { group: "g".into(), value: None }).1, None);
}

#[test]
fn offsets_of_older_brokers_are_read() {
    let v0 = b"\0\0\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8";
    let v2 = b"\0\x02\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8";
    let old = OffsetValue { leader_epoch: -1, ..offset() };
    assert_eq!(decode_offset_value(v0), Ok(old.clone()));
    assert_eq!(decode_offset_value(v2), Ok(old));
    assert_eq!(
        decode_key(b"\0\0\0\x01g\0\x01t\0\0\0\0"),
        Ok(RecordKey::Offset { group: "g".into(), partition: TopicPartition::new("t", 0) })
    );
}

#[test]
fn in_a_membership_of_version_0_members_are_waited_for_as_long_as_their_sessions_last() {
    let mut v0 = b"\0\0\0\x08consumer\0\0\0\x03\0\x05range\0\x01a\0\0\0\x01".to_vec();
    v0.extend_from_slice(b"\0\x01a\0\x01c\0\x02/h\0\0\x27\x10\0\0\0\x01s\0\0\0\x02as");
    let read = decode_group_value(&v0).expect("version 0 is known");
    assert_eq!(read.state_since_ms, None);
    assert_eq!(read.members[0].rebalance_timeout_ms, 10_000);
    assert_eq!(read.members[0].assignment, "as");
}

#[test]
fn keys_of_newer_brokers_are_passed_over_and_their_values_refused() {
    assert_eq!(decode_key(b"\0\x03whatever"), Ok(RecordKey::Unknown(3)));
    assert_eq!(decode_offset_value(b"\0\x04.."), Err(DecodeError::UnknownVersion(4)));
    assert_eq!(decode_group_value(b"\0\x04.."), Err(DecodeError::UnknownVersion(4)));
}

#[test]
fn an_array_that_claims_two_thousand_million_members_is_cut_off() {
    let claim = b"\0\x03\0\0\0\0\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x09\x7f\xff\xff\xff";
    assert_eq!(decode_group_value(claim), Err(DecodeError::CutOff("memberId")));
}

#[test]
fn a_name_too_long_for_its_length_field_is_an_error() {
    let long = GroupRecord::Group { group: "g".repeat(STRING_BYTES_MAX + 1).into(), value: None };
    assert_eq!(long.encode(), Err(TooLong { field: "group", bytes: STRING_BYTES_MAX + 1 }));
}

proptest! {
    #[test]
    fn whatever_stands_in_the_log_is_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_key(&bytes);
        let _ = decode_offset_value(&bytes);
        let _ = decode_group_value(&bytes);
    }

    #[test]
    fn every_prefix_of_a_membership_is_an_error(cut in 0_usize..60) {
        let (_, value) = encoded(&GroupRecord::Group { group: "g".into(), value: Some(group()) });
        let value = value.unwrap();
        prop_assert!(decode_group_value(&value[..cut.min(value.len() - 1)]).is_err());
    }

    #[test]
    fn what_was_encoded_is_decoded(offset in any::<i64>(), epoch in -1..i32::MAX, metadata in ".{0,40}",
                                   commit_ms in any::<i64>(), expire in prop::option::of(0..i64::MAX)) {
        let value = OffsetValue {
            offset,
            leader_epoch: if expire.is_some() { -1 } else { epoch },
            metadata: metadata.into(),
            commit_ms,
            expire_ms: expire,
        };
        let (_, bytes) = encoded(&offset_record(Some(value.clone())));
        prop_assert_eq!(decode_offset_value(&bytes.unwrap()), Ok(value));
    }
}
