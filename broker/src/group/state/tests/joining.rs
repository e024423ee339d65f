use super::*;

#[test]
fn the_first_member_waits_for_others_and_leads() {
    let mut bench = Bench::new();
    let first = bench.join(newcomer());
    bench.pass(3 * SECOND - Duration::from_millis(1));
    assert!(bench.waits(first));
    bench.pass(Duration::from_millis(1));
    let joined = bench.joined(first);
    assert_eq!((joined.generation, joined.protocol.as_deref()), (1, Some("range")));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn every_newcomer_gives_further_ones_the_same_time_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let mut tokens = vec![bench.join(Join { rebalance_timeout: 10 * SECOND, ..newcomer() })];
    for _ in 0..4 {
        bench.pass(2 * SECOND);
        tokens.push(bench.join(Join { rebalance_timeout: 10 * SECOND, ..newcomer() }));
    }
    // 3 + 3 + 3 + 1: the last extension is cut short.
    bench.pass(2 * SECOND - Duration::from_millis(1));
    assert!(tokens.iter().all(|token| bench.waits(*token)));
    bench.pass(Duration::from_millis(1));
    let leaders: Vec<_> = tokens.into_iter().map(|token| bench.joined(token).leader).collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0]));
}

#[test]
fn only_the_leader_is_told_of_the_others() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(3);
    let told: Vec<usize> = joined.iter().map(|joined| joined.members.len()).collect();
    assert_eq!(told, [3, 0, 0]);
    assert_eq!(joined[0].members[0].metadata, subscription(&["orders"]));
}

#[test]
fn who_must_have_an_id_is_told_one_and_joins_with_it() {
    let mut bench = Bench::new();
    let token = bench.join(Join { needs_known_id: true, ..newcomer() });
    let refused = bench.join_answer(token).expect_err("needs an id");
    assert_eq!(refused.error, ResponseError::MemberIdRequired);
    assert!(refused.member_id.starts_with("app-"));
    assert_eq!(bench.group.state, GroupState::Empty);

    let again = bench.join(Join { needs_known_id: true, ..member(&refused.member_id) });
    bench.pass(3 * SECOND);
    assert_eq!(bench.joined(again).member_id, refused.member_id);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_with_the_session() {
    let mut bench = Bench::new();
    let token = bench.join(Join { needs_known_id: true, ..newcomer() });
    let id = bench.join_answer(token).expect_err("needs an id").member_id;
    bench.pass(10 * SECOND);
    assert!(bench.group.is_blank());
    let late = bench.join(member(&id));
    assert_eq!(bench.refused(late), ResponseError::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_who_was_just_told_its_id() {
    let mut bench = Bench::new();
    let first = bench.stable_of(1).remove(0);
    let token = bench.join(Join { needs_known_id: true, ..newcomer() });
    let id = bench.join_answer(token).expect_err("needs an id").member_id;
    let rejoined = bench.join(member(&first.member_id)); // The leader: a rebalance.
    assert!(bench.waits(rejoined));
    let second = bench.join(member(&id));
    assert_eq!((bench.joined(rejoined).members.len(), bench.joined(second).generation), (2, 2));
}

#[test]
fn ids_that_were_given_out_are_bounded_and_the_oldest_goes() {
    let mut bench = Bench::new();
    for _ in 0..=PENDING_MEMBERS_MAX {
        bench.join(Join { needs_known_id: true, ..newcomer() });
        bench.now.monotonic += Duration::from_nanos(1);
    }
    assert_eq!(bench.group.pending_members.len(), PENDING_MEMBERS_MAX);
    let first = bench.join_answer(Token(1)).expect_err("needs an id").member_id;
    assert!(!bench.group.pending_members.contains_key(&first));
}

#[test]
fn a_group_takes_no_more_members_than_it_may() {
    let mut bench = Bench::with(GroupLimits { group_size_max: 2, ..GroupLimits::default() });
    let joined = bench.stable_of(2);
    let third = bench.join(newcomer());
    assert_eq!(bench.refused(third), ResponseError::GroupMaxSizeReached);
    assert_eq!(bench.group.state, GroupState::Stable);

    // In a rebalance those that have joined are counted.
    let first = bench.join(member(&joined[0].member_id));
    let fourth = bench.join(newcomer());
    let second = bench.join(member(&joined[1].member_id));
    assert_eq!(bench.refused(second), ResponseError::GroupMaxSizeReached);
    assert_eq!((bench.joined(first).members.len(), bench.joined(fourth).generation), (2, 2));
}

#[test]
fn members_must_share_a_protocol() {
    let mut bench = Bench::new();
    bench.join(Join { protocols: vec![protocol("range", &[]), protocol("sticky", &[])], ..newcomer() });
    let other_kind = bench.join(Join { protocol_type: "connect".into(), ..newcomer() });
    assert_eq!(bench.refused(other_kind), ResponseError::InconsistentGroupProtocol);
    let stranger = bench.join(Join { protocols: vec![protocol("mine", &[])], ..newcomer() });
    assert_eq!(bench.refused(stranger), ResponseError::InconsistentGroupProtocol);
    let sticky = bench.join(Join { protocols: vec![protocol("sticky", &[])], ..newcomer() });
    // Now all know "sticky" only.
    let range = bench.join(Join { protocols: vec![protocol("range", &[])], ..newcomer() });
    assert_eq!(bench.refused(range), ResponseError::InconsistentGroupProtocol);
    bench.settle();
    assert_eq!(bench.joined(sticky).protocol.as_deref(), Some("sticky"));
}

#[test]
fn the_first_member_must_know_a_protocol() {
    let mut bench = Bench::new();
    let without = bench.join(Join { protocols: Vec::new(), ..newcomer() });
    assert_eq!(bench.refused(without), ResponseError::InconsistentGroupProtocol);
    let untyped = bench.join(Join { protocol_type: "".into(), ..newcomer() });
    assert_eq!(bench.refused(untyped), ResponseError::InconsistentGroupProtocol);
    assert!(bench.group.is_blank());
}

#[test]
fn the_protocol_most_members_like_best_is_chosen() {
    let mut bench = Bench::new();
    let [a, b, c] = [["x", "y"], ["y", "x"], ["y", "x"]]
        .map(|names| names.iter().map(|name| protocol(name, &[])).collect())
        .map(|protocols| bench.join(Join { protocols, ..newcomer() }));
    bench.settle();
    for token in [a, b, c] {
        assert_eq!(bench.joined(token).protocol.as_deref(), Some("y"));
    }
}

#[test]
fn a_protocol_named_twice_counts_once() {
    let mut bench = Bench::new();
    let twice = vec![protocol("range", &[]), protocol("range", &["bills"])];
    let token = bench.join(Join { protocols: twice, ..newcomer() });
    let other = bench.join(newcomer());
    bench.settle();
    assert_eq!(bench.joined(token).generation, bench.joined(other).generation);
}

#[test]
fn an_unknown_id_is_refused() {
    let mut bench = Bench::new();
    bench.stable_of(1);
    let stranger = bench.join(member(&"app-unheard-of".into()));
    assert_eq!(bench.refused(stranger), ResponseError::UnknownMemberId);
}

#[test]
fn a_follower_with_nothing_new_to_say_gets_the_generation_there_is() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let again = bench.join(member(&joined[1].member_id));
    assert_eq!(bench.joined(again), joined[1]);
    assert_eq!(bench.group.state, GroupState::Stable);
}

#[test]
fn a_follower_that_subscribes_to_something_else_causes_a_rebalance() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let changed = vec![protocol("range", &["orders", "bills"])];
    let again = bench.join(Join { protocols: changed, ..member(&joined[1].member_id) });
    assert!(bench.waits(again));
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
}

#[test]
fn a_leader_that_joins_again_causes_a_rebalance() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let leader = bench.join(member(&joined[0].member_id));
    assert!(bench.waits(leader));
    assert_eq!(bench.heartbeat(&joined[1].member_id, 1), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn who_did_not_get_its_answer_gets_it_again_before_the_assignment() {
    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let again: Vec<Token> = joined.iter().map(|joined| bench.join(member(&joined.member_id))).collect();
    assert_eq!(bench.joined(again[0]), joined[0]);
    assert_eq!(bench.joined(again[1]), joined[1]);
}

#[test]
fn a_join_that_comes_again_takes_the_place_of_the_one_that_waits() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let first = bench.join(member(&joined[0].member_id));
    let second = bench.join(member(&joined[0].member_id));
    assert_eq!(bench.refused(first), ResponseError::RebalanceInProgress);
    let follower = bench.join(member(&joined[1].member_id));
    assert_eq!((bench.joined(second).generation, bench.joined(follower).generation), (2, 2));
}

#[test]
fn a_new_member_whose_client_is_gone_is_not_waited_for_forever() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    let ghost = bench.join(Join { rebalance_timeout: 3_600 * SECOND, ..newcomer() });
    for _ in 0..60 {
        bench.pass(5 * SECOND);
        let _ = bench.heartbeat(&joined.member_id, 1);
    }
    assert_eq!(bench.refused(ghost), ResponseError::UnknownMemberId);
}
