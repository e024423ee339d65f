use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn all_ok(partition: TopicPartition) -> Result<OffsetOutcomes, ResponseError> {
    Ok(vec![(partition, Ok(()))])
}

fn commit_safely(bench: &mut Bench, caller: Caller, partition: TopicPartition, offset: i64) {
    let value = OffsetValue { commit_ms: bench.now.wall_ms, ..at(offset) };
    let token = bench.commit(caller, vec![(partition.clone(), value)]);
    bench.safe();
    assert_eq!(bench.offsets_answer(token), all_ok(partition));
}

#[test]
fn a_commit_is_answered_and_shows_once_it_is_safe() {
    let mut bench = Bench::new();
    let token = bench.commit(simple(), vec![(orders(0), at(5))]);
    assert!(bench.waits(token));
    assert_eq!(bench.offset(&orders(0)), None);
    assert_eq!(bench.group.offset(&orders(0), true), Err(ResponseError::UnstableOffsetCommit));
    bench.safe();
    assert_eq!(bench.offsets_answer(token), all_ok(orders(0)));
    assert_eq!(bench.offset(&orders(0)), Some(5));
}

#[test]
fn a_commit_that_is_lost_is_an_error_and_changes_nothing() {
    let mut bench = Bench::new();
    commit_safely(&mut bench, simple(), orders(0), 5);
    let token = bench.commit(simple(), vec![(orders(0), at(6))]);
    bench.lost(ResponseError::MessageTooLarge);
    let error = Err(ResponseError::InvalidCommitOffsetSize);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(orders(0), error)]));
    assert_eq!(bench.offset(&orders(0)), Some(5));
}

#[test]
fn members_commit_in_their_generation() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    for (who, error) in [
        (caller(&joined.member_id, 0), ResponseError::IllegalGeneration),
        (caller(&"stranger".into(), 1), ResponseError::UnknownMemberId),
        (simple(), ResponseError::UnknownMemberId),
        (caller(&joined.member_id, -1), ResponseError::IllegalGeneration),
    ] {
        let token = bench.commit(who, vec![(orders(0), at(9))]);
        assert_eq!(bench.offsets_answer(token), Err(error));
    }
}

#[test]
fn during_a_rebalance_members_go_on_committing_until_they_wait_for_their_parts() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    bench.join(newcomer());
    commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    let token = bench.join(member(&joined.member_id));
    bench.joined(token);
    let token = bench.commit(caller(&joined.member_id, 2), vec![(orders(0), at(6))]);
    assert_eq!(bench.offsets_answer(token), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    for _ in 0..5 {
        bench.pass(9 * SECOND);
        commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    }
    assert_eq!(bench.group.state, GroupState::Stable);
}

#[test]
fn too_much_beside_an_offset_is_refused_and_the_others_are_kept() {
    let mut bench = Bench::new();
    let wordy = OffsetValue { metadata: "m".repeat(4_097).into(), ..at(1) };
    let token = bench.commit(simple(), vec![(orders(0), wordy.clone()), (orders(1), at(2))]);
    bench.safe();
    let too_large = Err(ResponseError::OffsetMetadataTooLarge);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(orders(0), too_large), (orders(1), Ok(()))]));
    assert_eq!((bench.offset(&orders(0)), bench.offset(&orders(1))), (None, Some(2)));

    let token = bench.commit(simple(), vec![(orders(0), wordy)]);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(orders(0), too_large)]));
    assert!(bench.unsafe_writes.is_empty());
}

#[test]
fn what_a_simple_consumer_commits_expires_counted_from_the_commit() {
    let mut bench = Bench::new();
    commit_safely(&mut bench, simple(), orders(0), 5);
    bench.pass(4 * DAY);
    commit_safely(&mut bench, simple(), orders(1), 5);
    bench.pass(3 * DAY);
    bench.sweep();
    bench.safe();
    assert_eq!((bench.offset(&orders(0)), bench.offset(&orders(1))), (None, Some(5)));
    bench.pass(4 * DAY);
    bench.sweep();
    bench.safe();
    assert!(bench.group.is_gone());
    let tombstone = GroupRecord::Offset { group: "readers".into(), partition: orders(1), value: None };
    assert_eq!(bench.log.last(), Some(&tombstone));
}

#[test]
fn what_members_commit_expires_counted_from_when_the_last_of_them_left() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    for _ in 0..10 {
        // A quiet topic, read for ten days.
        bench.move_clock(bench.now.monotonic + DAY);
        assert_eq!(bench.heartbeat(&joined.member_id, 1), Ok(()));
        bench.sweep();
    }
    assert_eq!(bench.offset(&orders(0)), Some(5));
    bench.leave(&joined.member_id).expect("a member");
    bench.safe();
    bench.pass(7 * DAY - SECOND);
    bench.sweep();
    assert_eq!(bench.group.state, GroupState::Empty);
    bench.pass(SECOND);
    bench.sweep();
    bench.safe();
    assert!(bench.group.is_gone());
    assert_eq!(bench.log.last(), Some(&GroupRecord::Group { group: "readers".into(), value: None }));
}

#[test]
fn topics_that_members_no_longer_read_expire_under_their_eyes() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    let bills = TopicPartition::new("bills", 0);
    commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    commit_safely(&mut bench, caller(&joined.member_id, 1), bills.clone(), 5);
    bench.move_clock(bench.now.monotonic + 7 * DAY);
    assert_eq!(bench.heartbeat(&joined.member_id, 1), Ok(()));
    bench.sweep();
    bench.safe();
    assert_eq!((bench.offset(&orders(0)), bench.offset(&bills)), (Some(5), None));
}

#[test]
fn an_offset_about_to_change_does_not_expire() {
    let mut bench = Bench::new();
    commit_safely(&mut bench, simple(), orders(0), 5);
    bench.pass(8 * DAY);
    let token =
        bench.commit(simple(), vec![(orders(0), OffsetValue { commit_ms: bench.now.wall_ms, ..at(6) })]);
    bench.sweep();
    bench.safe();
    assert_eq!(bench.offsets_answer(token), all_ok(orders(0)));
    assert_eq!(bench.offset(&orders(0)), Some(6));
}

#[test]
fn offsets_are_deleted_but_not_of_topics_that_are_read() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    let bills = TopicPartition::new("bills", 0);
    commit_safely(&mut bench, caller(&joined.member_id, 1), orders(0), 5);
    commit_safely(&mut bench, caller(&joined.member_id, 1), bills.clone(), 5);
    let token = bench.token();
    let both = vec![orders(0), bills.clone()];
    bench.step(|group, _, out| group.delete_offsets(token, both, out));
    assert!(bench.waits(token));
    bench.safe();
    let subscribed = Err(ResponseError::GroupSubscribedToTopic);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(orders(0), subscribed), (bills.clone(), Ok(()))]));
    assert_eq!((bench.offset(&orders(0)), bench.offset(&bills)), (Some(5), None));
}

#[test]
fn of_members_that_are_no_consumers_nothing_is_deleted() {
    let mut bench = Bench::new();
    let token = bench.join(Join { protocol_type: "connect".into(), ..newcomer() });
    bench.pass(3 * SECOND);
    bench.joined(token);
    let token = bench.token();
    bench.step(|group, _, out| group.delete_offsets(token, vec![orders(0)], out));
    assert_eq!(bench.offsets_answer(token), Err(ResponseError::NonEmptyGroup));
}

#[test]
fn of_consumers_that_we_do_not_understand_all_topics_count_as_read() {
    let mut bench = Bench::new();
    let strange = Protocol { name: "range".into(), metadata: Bytes::from_static(b"\0\0\x7f\xff\xff\xff") };
    let token = bench.join(Join { protocols: vec![strange], ..newcomer() });
    bench.pass(3 * SECOND);
    bench.joined(token);
    let token = bench.token();
    bench.step(|group, _, out| group.delete_offsets(token, vec![orders(0)], out));
    let subscribed = Err(ResponseError::GroupSubscribedToTopic);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(orders(0), subscribed)]));
}

#[test]
fn with_a_topic_go_its_offsets() {
    let mut bench = Bench::new();
    let bills = TopicPartition::new("bills", 0);
    commit_safely(&mut bench, simple(), orders(0), 5);
    commit_safely(&mut bench, simple(), bills.clone(), 5);
    bench.commit(simple(), vec![(orders(1), at(6))]);
    bench.step(|group, _, out| group.forget_topic("orders", out));
    bench.safe();
    assert_eq!(bench.group.committed_partitions(), [bills]);
}

#[test]
fn nothing_was_committed_where_nothing_was() {
    let bench = Bench::new();
    assert_eq!(bench.group.offset(&orders(0), true), Ok(None));
    assert_eq!(bench.group.committed_partitions(), []);
}
