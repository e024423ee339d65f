use super::*;

fn static_member(instance: &str) -> Join {
    Join { instance_id: Some(instance.into()), ..newcomer() }
}

/// A stable group of the dynamic leader and a static member; gives both.
fn with_static(bench: &mut Bench) -> (Joined, Joined) {
    let tokens = [bench.join(newcomer()), bench.join(static_member("pod-1"))];
    bench.settle();
    let [a, b] = tokens.map(|token| bench.joined(token));
    let mut both = vec![a.clone(), b.clone()];
    both.sort_by_key(|joined| joined.member_id != joined.leader);
    bench.stabilise(&both);
    (a, b)
}

#[test]
fn a_static_member_that_restarts_takes_its_place_without_a_rebalance() {
    let mut bench = Bench::new();
    let (_, old) = with_static(&mut bench);
    assert!(old.member_id.starts_with("pod-1-"));
    let part = bench.group.members[&old.member_id].assignment.clone();

    let token = bench.join(static_member("pod-1"));
    assert!(bench.waits(token)); // Until its new id is safe.
    bench.safe();
    let new = bench.joined(token);
    assert_ne!(new.member_id, old.member_id);
    assert_eq!((new.generation, bench.group.state), (1, GroupState::Stable));

    let again = bench.sync(sync_of(&new, Vec::new()));
    assert_eq!(bench.sync_answer(again).expect("synced").assignment, part);
    let Some(GroupRecord::Group { value: Some(value), .. }) = bench.log.last() else { panic!() };
    assert!(value.members.iter().any(|member| member.member_id == new.member_id));
}

#[test]
fn whoever_uses_the_old_id_is_fenced() {
    let mut bench = Bench::new();
    let (_, old) = with_static(&mut bench);
    bench.join(static_member("pod-1"));
    bench.safe();
    let fenced = Err(ResponseError::FencedInstanceId);
    let caller = Caller { instance_id: Some("pod-1".into()), ..caller(&old.member_id, 1) };
    assert_eq!(bench.step(|group, now, _| group.heartbeat(&caller, now)), fenced);
    let join = bench.join(Join { member_id: old.member_id.clone(), ..static_member("pod-1") });
    assert_eq!(bench.refused(join), ResponseError::FencedInstanceId);
    let sync = SyncRequest { instance_id: Some("pod-1".into()), ..sync_of(&old, Vec::new()) };
    let sync = bench.sync(sync);
    assert_eq!(bench.sync_answer(sync), Err(ResponseError::FencedInstanceId));
    let commit = bench.commit(caller, vec![(orders(0), at(1))]);
    assert_eq!(bench.offsets_answer(commit), Err(ResponseError::FencedInstanceId));
}

#[test]
fn an_instance_nobody_knows_is_an_unknown_member() {
    let mut bench = Bench::new();
    let (dynamic, _) = with_static(&mut bench);
    let caller = Caller { instance_id: Some("pod-9".into()), ..caller(&dynamic.member_id, 1) };
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(bench.step(|group, now, _| group.heartbeat(&caller, now)), unknown);
}

#[test]
fn if_the_new_id_is_lost_the_old_one_stays() {
    let mut bench = Bench::new();
    let (_, old) = with_static(&mut bench);
    let token = bench.join(static_member("pod-1"));
    bench.lost(ResponseError::NotEnoughReplicas);
    assert_eq!(bench.refused(token), ResponseError::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat(&old.member_id, 1), Ok(()));
    assert_eq!(bench.group.static_members["pod-1"], old.member_id);
}

#[test]
fn a_static_member_that_changes_the_choice_of_protocol_causes_a_rebalance() {
    let mut bench = Bench::new();
    let both = || vec![protocol("range", &[]), protocol("sticky", &[])];
    let token = bench.join(Join { protocols: both(), ..static_member("pod-1") });
    bench.settle();
    let joined = bench.joined(token);
    bench.stabilise(&[joined]);
    let token = bench.join(Join { protocols: vec![protocol("sticky", &[])], ..static_member("pod-1") });
    let joined = bench.joined(token);
    assert_eq!((joined.generation, joined.protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_returning_leader_is_not_made_to_assign_what_nobody_would_hear_of() {
    let mut bench = Bench::new();
    let token = bench.join(static_member("pod-1"));
    bench.settle();
    let old = bench.joined(token);
    bench.stabilise(std::slice::from_ref(&old));

    let token = bench.join(static_member("pod-1"));
    bench.safe();
    let told = bench.joined(token);
    assert_eq!((&told.leader, told.members.len(), told.skip_assignment), (&old.member_id, 0, false));

    let token = bench.join(Join { may_skip_assignment: true, ..static_member("pod-1") });
    bench.safe();
    let told = bench.joined(token);
    assert_eq!((&told.leader, told.members.len(), told.skip_assignment), (&told.member_id, 1, true));
}

#[test]
fn a_join_or_sync_that_waits_is_fenced_when_another_takes_the_place() {
    let mut bench = Bench::new();
    let first = bench.join(static_member("pod-1"));
    let second = bench.join(static_member("pod-1"));
    assert_eq!(bench.refused(first), ResponseError::FencedInstanceId);
    bench.settle();
    let joined = bench.joined(second);
    assert_eq!(joined.members.len(), 1);

    let sync = bench.sync(sync_of(&joined, Vec::new()));
    let third = bench.join(static_member("pod-1"));
    assert_eq!(bench.sync_answer(sync), Err(ResponseError::FencedInstanceId));
    assert_eq!(bench.joined(third).generation, 2); // The assignment was for the old id: all over again.
}

#[test]
fn static_members_that_do_not_join_again_keep_their_place_until_their_session_ends() {
    let mut bench = Bench::new();
    let long = || Join { session_timeout: 300 * SECOND, ..static_member("pod-1") };
    let tokens = [bench.join(newcomer()), bench.join(long())];
    bench.settle();
    let [dynamic, fixed] = tokens.map(|token| bench.joined(token));
    let mut both = vec![dynamic.clone(), fixed.clone()];
    both.sort_by_key(|joined| joined.member_id != joined.leader);
    bench.stabilise(&both);

    let changed = vec![protocol("range", &["bills"])];
    let token = bench.join(Join { protocols: changed, ..member(&dynamic.member_id) });
    bench.settle();
    let joined = bench.joined(token);
    assert_eq!((joined.generation, joined.members.len()), (2, 2));
    assert!(bench.group.members.contains_key(&fixed.member_id));
}

#[test]
fn if_only_static_members_are_left_and_none_has_joined_the_rebalance_goes_on() {
    let mut bench = Bench::new();
    let long = || Join { session_timeout: 300 * SECOND, ..static_member("pod-1") };
    let tokens = [bench.join(newcomer()), bench.join(long())];
    bench.settle();
    let [dynamic, fixed] = tokens.map(|token| bench.joined(token));
    bench.stabilise(&if fixed.leader == fixed.member_id {
        [fixed, dynamic.clone()]
    } else {
        [dynamic.clone(), fixed]
    });
    bench.leave(&dynamic.member_id).expect("a member");
    bench.pass(120 * SECOND);
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
    let token = bench.join(long());
    assert_eq!(bench.joined(token).generation, 2);
}

#[test]
fn what_a_returning_static_member_reads_counts_from_then_on() {
    let mut bench = Bench::new();
    let (dynamic, _) = with_static(&mut bench);
    let changed = vec![protocol("range", &["orders", "bills"])];
    bench.join(Join { protocols: changed, ..static_member("pod-1") });
    bench.safe();
    let token = bench.token();
    let bills = TopicPartition::new("bills", 0);
    bench.step(|group, _, out| group.delete_offsets(token, vec![bills.clone()], out));
    let subscribed = Err(ResponseError::GroupSubscribedToTopic);
    assert_eq!(bench.offsets_answer(token), Ok(vec![(bills, subscribed)]));
    assert_eq!(bench.heartbeat(&dynamic.member_id, 1), Ok(()));
}
