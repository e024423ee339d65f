use super::*;
use crate::group::input::Leaver;

fn leaver(member_id: &str, instance_id: Option<&str>) -> Leaver {
    Leaver { member_id: member_id.into(), instance_id: instance_id.map(Into::into) }
}

#[test]
fn when_a_member_leaves_the_others_join_again() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    assert_eq!(bench.leave(&joined[0].member_id), Ok(()));
    assert_eq!(bench.heartbeat(&joined[1].member_id, 1), Err(ResponseError::RebalanceInProgress));
    let token = bench.join(member(&joined[1].member_id));
    assert_eq!(bench.joined(token).leader, joined[1].member_id);
}

#[test]
fn when_the_last_member_leaves_the_group_is_empty() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1);
    assert_eq!(bench.leave(&joined[0].member_id), Ok(()));
    assert_eq!((bench.group.state, bench.group.generation()), (GroupState::Empty, 2));
}

#[test]
fn a_rebalance_that_waited_for_who_leaves_is_over() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let token = bench.join(member(&joined[0].member_id));
    assert!(bench.waits(token));
    assert_eq!(bench.leave(&joined[1].member_id), Ok(()));
    assert_eq!(bench.joined(token).members.len(), 1);
}

#[test]
fn who_leaves_while_it_waits_is_answered() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(2);
    let waiting = bench.join(member(&joined[0].member_id));
    assert_eq!(bench.leave(&joined[0].member_id), Ok(()));
    assert_eq!(bench.refused(waiting), ResponseError::UnknownMemberId);

    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let waiting = bench.sync(sync_of(&joined[1], Vec::new()));
    assert_eq!(bench.leave(&joined[1].member_id), Ok(()));
    assert_eq!(bench.sync_answer(waiting), Err(ResponseError::UnknownMemberId));
}

#[test]
fn several_leave_at_once_each_with_an_outcome() {
    let mut bench = Bench::new();
    let fixed = bench.join(Join { instance_id: Some("pod-1".into()), ..newcomer() });
    let dynamic = bench.join(newcomer());
    bench.settle();
    let (fixed, dynamic) = (bench.joined(fixed), bench.joined(dynamic));
    let leavers = [
        leaver("", Some("pod-1")),
        leaver("", Some("pod-1")), // Gone by then.
        leaver(&fixed.member_id, None),
        leaver("", None),
        leaver(&dynamic.member_id, None),
    ];
    let left = bench.step(|group, now, out| group.leave(&leavers, now, out)).expect("not dead");
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(left, [Ok(()), unknown, unknown, unknown, Ok(())]);
    assert_eq!(bench.group.state, GroupState::Empty);
}

#[test]
fn a_static_member_is_not_removed_under_an_id_of_old() {
    let mut bench = Bench::new();
    let token = bench.join(Join { instance_id: Some("pod-1".into()), ..newcomer() });
    bench.settle();
    bench.joined(token);
    let leavers = [leaver("pod-1-of-old", Some("pod-1"))];
    let left = bench.step(|group, now, out| group.leave(&leavers, now, out)).expect("not dead");
    assert_eq!(left, [Err(ResponseError::FencedInstanceId)]);
}

#[test]
fn who_was_only_told_an_id_may_leave_too() {
    let mut bench = Bench::new();
    let token = bench.join(Join { needs_known_id: true, ..newcomer() });
    let id = bench.join_answer(token).expect_err("needs an id").member_id;
    assert_eq!(bench.leave(&id), Ok(()));
    assert!(bench.group.is_blank());
    assert_eq!(bench.leave(&id), Err(ResponseError::UnknownMemberId));
}
