use super::*;

#[test]
fn a_rebalance_is_over_as_soon_as_all_have_joined() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let newcomer = bench.join(newcomer());
    let leader = bench.join(member(&joined[0].member_id));
    assert!(bench.waits(newcomer));
    let follower = bench.join(member(&joined[1].member_id));
    for token in [newcomer, leader, follower] {
        assert_eq!(bench.joined(token).generation, 2);
    }
}

#[test]
fn who_does_not_join_again_in_time_is_removed() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let follower =
        bench.join(Join { protocols: vec![protocol("range", &["bills"])], ..member(&joined[1].member_id) });
    for _ in 0..12 {
        assert!(bench.waits(follower));
        let _ = bench.heartbeat(&joined[0].member_id, 1);
        bench.pass(5 * SECOND);
    }
    let alone = bench.joined(follower);
    assert_eq!((alone.members.len(), &alone.leader), (1, &joined[1].member_id));
    assert_eq!(bench.heartbeat(&joined[0].member_id, 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn heartbeats_tell_members_to_join_again() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    bench.join(newcomer());
    assert_eq!(bench.heartbeat(&joined[0].member_id, 1), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.heartbeat(&joined[1].member_id, 1), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_member_that_falls_silent_is_removed_and_the_others_join_again() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    bench.pass(9 * SECOND);
    assert_eq!(bench.heartbeat(&joined[1].member_id, 1), Ok(()));
    bench.pass(SECOND);
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
    let rejoined = bench.join(member(&joined[1].member_id));
    assert_eq!(bench.joined(rejoined).members.len(), 1);
}

#[test]
fn who_waits_for_us_does_not_expire() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let leader = bench.join(member(&joined[0].member_id));
    for _ in 0..11 {
        bench.pass(5 * SECOND);
        let _ = bench.heartbeat(&joined[1].member_id, 1);
    }
    assert!(bench.waits(leader));
    assert_eq!(bench.group.members.len(), 2);
}

#[test]
fn when_all_are_gone_the_group_is_empty_and_that_is_written_down() {
    let mut bench = Bench::new();
    bench.stable_of(2);
    bench.pass(11 * SECOND);
    assert_eq!((bench.group.state, bench.group.generation()), (GroupState::Empty, 2));
    bench.safe();
    let Some(GroupRecord::Group { value: Some(value), .. }) = bench.log.last() else { panic!() };
    assert_eq!((value.generation, value.members.len(), &value.protocol), (2, 0, &None));
    assert_eq!(bench.group.deadline(), None);
}

#[test]
fn a_leader_that_does_not_come_back_is_replaced_by_one_that_did() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(3);
    let tokens: Vec<Token> = joined[1..]
        .iter()
        .map(|joined| {
            let changed = vec![protocol("range", &["bills"])];
            bench.join(Join { protocols: changed, ..member(&joined.member_id) })
        })
        .collect();
    bench.settle();
    let answers: Vec<Joined> = tokens.into_iter().map(|token| bench.joined(token)).collect();
    assert_eq!(answers[0].leader, answers[1].leader);
    assert_ne!(answers[0].leader, joined[0].member_id);
    assert_eq!(answers.iter().filter(|answer| !answer.members.is_empty()).count(), 1);
}

#[test]
fn a_rebalance_while_members_wait_for_their_parts_sends_them_back_to_join() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let waiting = bench.sync(sync_of(&joined[1], Vec::new()));
    bench.join(newcomer());
    assert_eq!(bench.sync_answer(waiting), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn members_that_do_not_ask_for_their_part_in_time_are_removed() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let leader = bench.sync(sync_of(&joined[0], Vec::new()));
    bench.safe();
    bench.sync_answer(leader).expect("synced");
    for _ in 0..12 {
        let _ = bench.heartbeat(&joined[0].member_id, 1);
        let _ = bench.heartbeat(&joined[1].member_id, 1);
        bench.pass(5 * SECOND);
    }
    assert_eq!(bench.heartbeat(&joined[1].member_id, 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.heartbeat(&joined[0].member_id, 1), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn without_a_leader_that_assigns_nobody_waits_longer_than_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let waiting = bench.sync(sync_of(&joined[1], Vec::new()));
    for _ in 0..12 {
        let _ = bench.heartbeat(&joined[0].member_id, 1);
        bench.pass(5 * SECOND);
    }
    assert_eq!(bench.sync_answer(waiting), Err(ResponseError::RebalanceInProgress));
    assert!(!bench.group.members.contains_key(&joined[0].member_id));
}

#[test]
fn no_initial_delay_means_none() {
    let limits = GroupLimits { initial_rebalance_delay: Duration::ZERO, ..GroupLimits::default() };
    let mut bench = Bench::with(limits);
    let token = bench.join(newcomer());
    assert_eq!(bench.joined(token).generation, 1);
}
