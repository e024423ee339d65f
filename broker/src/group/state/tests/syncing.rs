use super::*;

#[test]
fn each_member_gets_what_the_leader_made_out_for_it() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let follower = bench.sync(sync_of(&joined[1], Vec::new()));
    assert!(bench.waits(follower));
    let parts = vec![
        (joined[0].member_id.clone(), Bytes::from_static(b"a")),
        (joined[1].member_id.clone(), Bytes::from_static(b"b")),
    ];
    let leader = bench.sync(sync_of(&joined[0], parts));
    bench.safe();
    assert_eq!(bench.sync_answer(leader).expect("synced").assignment, "a");
    assert_eq!(bench.sync_answer(follower).expect("synced").assignment, "b");
}

#[test]
fn nobody_gets_a_part_before_it_is_safe() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1).remove(0);
    let token = bench.sync(sync_of(&joined, Vec::new()));
    assert!(bench.waits(token));
    assert_eq!(bench.group.state, GroupState::CompletingRebalance);
    bench.safe();
    assert!(bench.sync_answer(token).is_ok());
}

#[test]
fn an_assignment_that_is_lost_sends_all_back_to_join() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let follower = bench.sync(sync_of(&joined[1], Vec::new()));
    let leader = bench.sync(sync_of(&joined[0], Vec::new()));
    bench.lost(ResponseError::NotEnoughReplicasAfterAppend);
    assert_eq!(bench.sync_answer(leader), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(bench.sync_answer(follower), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
}

#[test]
fn what_an_append_fails_with_is_told_in_words_that_members_know() {
    for (appending, told) in [
        (ResponseError::NotEnoughReplicas, ResponseError::CoordinatorNotAvailable),
        (ResponseError::UnknownTopicOrPartition, ResponseError::CoordinatorNotAvailable),
        (ResponseError::NotLeaderOrFollower, ResponseError::NotCoordinator),
        (ResponseError::KafkaStorageError, ResponseError::NotCoordinator),
        (ResponseError::RequestTimedOut, ResponseError::RebalanceInProgress),
        (ResponseError::MessageTooLarge, ResponseError::UnknownServerError),
    ] {
        let mut bench = Bench::new();
        let joined = bench.generation_of(1).remove(0);
        let token = bench.sync(sync_of(&joined, Vec::new()));
        bench.lost(appending);
        assert_eq!(bench.sync_answer(token), Err(told));
    }
}

#[test]
fn an_assignment_of_a_generation_that_is_over_is_of_no_use() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1).remove(0);
    let token = bench.sync(sync_of(&joined, Vec::new()));
    bench.join(newcomer());
    assert_eq!(bench.sync_answer(token), Err(ResponseError::RebalanceInProgress));
    bench.safe();
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
}

#[test]
fn of_two_assignments_the_first_counts() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1).remove(0);
    let part = |text: &'static str| vec![(joined.member_id.clone(), Bytes::from_static(text.as_bytes()))];
    let first = bench.sync(sync_of(&joined, part("first")));
    let second = bench.sync(sync_of(&joined, part("second")));
    assert_eq!(bench.sync_answer(first), Err(ResponseError::RebalanceInProgress));
    bench.safe();
    assert_eq!(bench.sync_answer(second).expect("synced").assignment, "first");
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn members_the_leader_forgot_get_an_empty_part() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let follower = bench.sync(sync_of(&joined[1], Vec::new()));
    bench.sync(sync_of(&joined[0], vec![("stranger".into(), Bytes::from_static(b"x"))]));
    bench.safe();
    assert_eq!(bench.sync_answer(follower).expect("synced").assignment, "");
}

#[test]
fn in_a_stable_group_each_may_ask_again() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let again = bench.sync(sync_of(&joined[1], Vec::new()));
    assert_eq!(bench.sync_answer(again).expect("synced").assignment, "1");
}

#[test]
fn who_is_not_of_this_generation_is_told_so() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1).remove(0);
    let old = SyncRequest { generation: 0, ..sync_of(&joined, Vec::new()) };
    let old = bench.sync(old);
    assert_eq!(bench.sync_answer(old), Err(ResponseError::IllegalGeneration));
    let stranger = SyncRequest { member_id: "x".into(), ..sync_of(&joined, Vec::new()) };
    let stranger = bench.sync(stranger);
    assert_eq!(bench.sync_answer(stranger), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.heartbeat(&joined.member_id, 7), Err(ResponseError::IllegalGeneration));
    assert_eq!(bench.heartbeat(&"x".into(), 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_thinks_of_another_protocol_is_told_so() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1).remove(0);
    for wrong in [
        SyncRequest { protocol: Some("sticky".into()), ..sync_of(&joined, Vec::new()) },
        SyncRequest { protocol_type: Some("connect".into()), ..sync_of(&joined, Vec::new()) },
    ] {
        let token = bench.sync(wrong);
        assert_eq!(bench.sync_answer(token), Err(ResponseError::InconsistentGroupProtocol));
    }
    let silent = SyncRequest { protocol: None, protocol_type: None, ..sync_of(&joined, Vec::new()) };
    let silent = bench.sync(silent);
    bench.safe();
    assert!(bench.sync_answer(silent).is_ok());
}

#[test]
fn during_a_rebalance_there_are_no_parts() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    bench.join(newcomer());
    let token = bench.sync(sync_of(&joined, Vec::new()));
    assert_eq!(bench.sync_answer(token), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_description_tells_parts_of_stable_groups_only() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(1);
    let before = bench.group.describe();
    assert_eq!((before.state, &*before.protocol), (GroupState::CompletingRebalance, ""));
    assert_eq!(before.members[0].metadata, "");
    bench.stabilise(&joined);
    let after = bench.group.describe();
    assert_eq!(
        (after.state.name(), &*after.protocol, &*after.protocol_type),
        ("Stable", "range", "consumer")
    );
    assert_eq!(
        (&after.members[0].metadata, &after.members[0].assignment),
        (&subscription(&["orders"]), &"0".into())
    );
    assert_eq!((&*after.members[0].client_id, &*after.members[0].client_host), ("app", "/127.0.0.1"));
}
