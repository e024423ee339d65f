use super::*;
use crate::group::member::Protocol;
use crate::group::records::GroupRecord;

const NOW: Now = Now { monotonic: Duration::from_secs(100), wall_ms: 1_000_000 };

fn shard() -> Shard {
    ShardLoad::default().finish(Arc::default(), NOW, &mut ShardOutputs::default())
}

fn name(name: &str) -> Arc<str> {
    name.into()
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "app".into(),
        client_host: "/h".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        id_suffix: uuid::Uuid::from_u128(7),
        needs_known_id: false,
        may_skip_assignment: false,
    }
}

fn commit(generation: i32, metadata: &str) -> Commit {
    let value = OffsetValue {
        offset: 5,
        leader_epoch: -1,
        metadata: metadata.into(),
        commit_ms: 1_000_000,
        expire_ms: None,
    };
    let caller = Caller { member_id: "".into(), instance_id: None, generation };
    Commit { caller, offsets: vec![(orders(), value)] }
}

fn refused_join(out: &ShardOutputs) -> ResponseError {
    match &out.answers[..] {
        [(_, Answer::Join(Err(refused)))] => refused.error,
        other => panic!("{other:?}"),
    }
}

/// Tells the shard that all it wrote is safe.
fn safe(shard: &mut Shard, out: &mut ShardOutputs, now: Now) -> Vec<KeyValue> {
    let mut log = Vec::new();
    while !out.writes.is_empty() {
        let write = out.writes.remove(0);
        shard.written(&write.receipt, Ok(()), now, out);
        log.extend(write.records);
    }
    log
}

#[test]
fn sessions_are_as_long_as_the_broker_allows() {
    let mut shard = shard();
    for session_timeout in [Duration::from_millis(5_999), Duration::from_millis(1_800_001)] {
        let mut out = ShardOutputs::default();
        shard.join(&name("g"), Token(1), Join { session_timeout, ..join("") }, NOW, &mut out);
        assert_eq!(refused_join(&out), ResponseError::InvalidSessionTimeout);
    }
    assert_eq!(shard.list().count(), 0);
}

#[test]
fn who_has_an_id_makes_no_group() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.join(&name("g"), Token(1), join("app-1"), NOW, &mut out);
    assert_eq!(refused_join(&out), ResponseError::UnknownMemberId);
    assert_eq!(shard.list().count(), 0);
}

#[test]
fn a_refused_join_or_commit_leaves_no_group_behind() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.join(&name("g"), Token(1), Join { protocols: Vec::new(), ..join("") }, NOW, &mut out);
    assert_eq!(refused_join(&out), ResponseError::InconsistentGroupProtocol);
    shard.commit(&name("g"), Token(2), commit(-1, &"m".repeat(5_000)), NOW, &mut out);
    assert_eq!(shard.list().count(), 0);
}

#[test]
fn a_group_nobody_has_heard_of_has_no_members_no_offsets_and_cannot_be_deleted() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    let caller = Caller { member_id: "m".into(), instance_id: None, generation: 1 };
    assert_eq!(shard.heartbeat(&name("g"), &caller, NOW), Err(ResponseError::UnknownMemberId));
    let leavers = [Leaver { member_id: "m".into(), instance_id: None }];
    let unknown = Ok(vec![Err(ResponseError::UnknownMemberId)]);
    assert_eq!(shard.leave(&name("g"), &leavers, NOW, &mut out), unknown);
    assert_eq!(shard.describe("g"), GroupDescription::dead());
    assert_eq!(shard.offsets("g", Some(vec![orders()]), true), [(orders(), Ok(None))]);
    assert_eq!(shard.offsets("g", None, true), []);
    shard.commit(&name("g"), Token(1), commit(3, ""), NOW, &mut out);
    shard.delete(&name("g"), Token(2), NOW, &mut out);
    shard.delete_offsets(&name("g"), Token(3), vec![orders()], NOW, &mut out);
    assert_eq!(
        out.answers,
        [
            (Token(1), Answer::Offsets(Err(ResponseError::IllegalGeneration))),
            (Token(2), Answer::Deleted(Err(ResponseError::GroupIdNotFound))),
            (Token(3), Answer::Offsets(Err(ResponseError::GroupIdNotFound))),
        ]
    );
}

#[test]
fn groups_are_ticked_when_they_are_due_and_not_before() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.join(&name("g"), Token(1), join(""), NOW, &mut out);
    let due = NOW.monotonic + Duration::from_secs(3);
    assert_eq!(shard.deadline(), due);
    shard.tick(Now { monotonic: due, ..NOW }, &mut out);
    assert!(matches!(out.answers[..], [(Token(1), Answer::Join(Ok(_)))]));
    assert_eq!(shard.deadline(), due + Duration::from_secs(10));
}

#[test]
fn old_offsets_are_swept_out_now_and_then_and_the_group_with_them() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.commit(&name("g"), Token(1), commit(-1, ""), NOW, &mut out);
    safe(&mut shard, &mut out, NOW);
    assert_eq!(shard.deadline(), NOW.monotonic + Duration::from_secs(600));
    let week = Duration::from_secs(7 * 24 * 3_600);
    let later = Now { monotonic: NOW.monotonic + week, wall_ms: NOW.wall_ms + 7 * 24 * 3_600_000 };
    shard.tick(later, &mut out);
    let log = safe(&mut shard, &mut out, later);
    assert_eq!((log.len(), &log[0].1), (1, &None));
    assert_eq!(shard.list().count(), 0);
}

#[test]
fn commits_are_refused_while_too_much_is_under_way() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.in_flight_bytes = IN_FLIGHT_BYTES_MAX;
    shard.commit(&name("g"), Token(1), commit(-1, ""), NOW, &mut out);
    let refused = Answer::Offsets(Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(out.answers, [(Token(1), refused)]);
}

#[test]
fn what_was_written_is_no_longer_under_way_safe_or_not() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.commit(&name("g"), Token(1), commit(-1, ""), NOW, &mut out);
    assert_eq!(shard.in_flight_bytes, out.writes[0].receipt.bytes);
    let write = out.writes.remove(0);
    shard.written(&write.receipt, Err(ResponseError::RequestTimedOut), NOW, &mut out);
    assert_eq!(shard.in_flight_bytes, 0);
    assert_eq!(shard.list().count(), 0);
}

#[test]
fn what_has_no_room_in_its_record_fails_at_once() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    let long = "p".repeat(40_000);
    let protocols = vec![Protocol { name: long.into(), metadata: Bytes::new() }];
    shard.join(&name("g"), Token(1), Join { protocols, ..join("") }, NOW, &mut out);
    let now = Now { monotonic: NOW.monotonic + Duration::from_secs(3), ..NOW };
    shard.tick(now, &mut out);
    let Some((_, Answer::Join(Ok(joined)))) = out.answers.pop() else { panic!("{out:?}") };
    let sync = SyncRequest {
        member_id: joined.member_id,
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    shard.sync(&name("g"), Token(2), sync, now, &mut out);
    assert_eq!(out.answers, [(Token(2), Answer::Sync(Err(ResponseError::InvalidRequest)))]);
    assert_eq!((out.writes.len(), shard.in_flight_bytes), (0, 0));
}

#[test]
fn a_shard_reads_what_it_wrote() {
    let mut before = shard();
    let mut out = ShardOutputs::default();
    before.join(&name("readers"), Token(1), join(""), NOW, &mut out);
    let now = Now { monotonic: NOW.monotonic + Duration::from_secs(3), ..NOW };
    before.tick(now, &mut out);
    let Some((_, Answer::Join(Ok(joined)))) = out.answers.pop() else { panic!("{out:?}") };
    let part = (joined.member_id.clone(), Bytes::from_static(b"part"));
    let sync = SyncRequest {
        member_id: joined.member_id,
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: vec![part],
    };
    before.sync(&name("readers"), Token(2), sync, now, &mut out);
    before.commit(&name("simple"), Token(3), commit(-1, "note"), now, &mut out);
    let log = safe(&mut before, &mut out, now);

    let mut load = ShardLoad::default();
    for (key, value) in &log {
        load.apply(Some(key), value.as_deref());
    }
    assert_eq!(load.unread(), 0);
    let mut out = ShardOutputs::default();
    let after = load.finish(Arc::default(), now, &mut out);
    assert_eq!(out, ShardOutputs::default());
    assert_eq!(after.list().collect::<Vec<_>>(), before.list().collect::<Vec<_>>());
    assert_eq!(after.describe("readers"), before.describe("readers"));
    assert_eq!(after.offsets("simple", None, true), before.offsets("simple", None, true));
    assert_eq!(after.deadline(), now.monotonic + Duration::from_secs(10));
}

#[test]
fn tombstones_and_what_cannot_be_read_leave_the_others_alone() {
    let mut load = ShardLoad::default();
    let mut apply = |record: GroupRecord| {
        let (key, value) = record.encode().expect("short");
        load.apply(Some(&key), value.as_deref());
    };
    let offset = |group: &str, value| GroupRecord::Offset { group: name(group), partition: orders(), value };
    let five = commit(-1, "").offsets[0].1.clone();
    apply(offset("kept", Some(five.clone())));
    apply(offset("dropped", Some(five)));
    apply(offset("dropped", None));
    apply(offset("unheard of", None));
    apply(GroupRecord::Group { group: name("unheard of"), value: None });
    load.apply(None, Some(b"?"));
    load.apply(Some(b"\0"), None);
    load.apply(Some(b"\0\x02\0\x01g"), Some(b"\0\x09"));
    load.apply(Some(b"\0\x07future"), Some(b"?"));
    assert_eq!(load.unread(), 3);
    let shard = load.finish(Arc::default(), NOW, &mut ShardOutputs::default());
    assert_eq!(shard.list().map(|line| line.group).collect::<Vec<_>>(), [name("kept")]);
}

#[test]
fn with_a_topic_go_the_offsets_of_all_groups() {
    let mut shard = shard();
    let mut out = ShardOutputs::default();
    shard.commit(&name("a"), Token(1), commit(-1, ""), NOW, &mut out);
    shard.commit(&name("b"), Token(2), commit(-1, ""), NOW, &mut out);
    safe(&mut shard, &mut out, NOW);
    shard.forget_topic("orders", NOW, &mut out);
    safe(&mut shard, &mut out, NOW);
    assert_eq!(shard.list().count(), 0);
}
