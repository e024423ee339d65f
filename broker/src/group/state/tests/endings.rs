use super::*;
use crate::group::input::Leaver;

#[test]
fn an_empty_group_is_deleted_with_all_it_remembers() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    bench.commit(caller(&joined.member_id, 1), vec![(orders(0), at(5))]);
    bench.safe();
    bench.leave(&joined.member_id).expect("a member");
    bench.safe();
    bench.log.clear();

    let token = bench.delete();
    assert!(bench.waits(token));
    bench.safe();
    assert_eq!(bench.deleted_answer(token), Ok(()));
    assert!(bench.group.is_gone());
    let group: Arc<str> = "readers".into();
    assert_eq!(
        bench.log,
        [
            GroupRecord::Offset { group: group.clone(), partition: orders(0), value: None },
            GroupRecord::Group { group, value: None },
        ]
    );
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut bench = Bench::new();
    bench.stable_of(1);
    let token = bench.delete();
    assert_eq!(bench.deleted_answer(token), Err(ResponseError::NonEmptyGroup));
}

#[test]
fn a_group_that_is_being_deleted_is_not_there() {
    let mut bench = Bench::new();
    bench.commit(simple(), vec![(orders(0), at(5))]);
    bench.safe();
    bench.delete();
    let again = bench.delete();
    assert_eq!(bench.deleted_answer(again), Err(ResponseError::GroupIdNotFound));
    let join = bench.join(newcomer());
    assert_eq!(bench.refused(join), ResponseError::CoordinatorNotAvailable);
    let commit = bench.commit(simple(), vec![(orders(0), at(6))]);
    assert_eq!(bench.offsets_answer(commit), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(bench.group.offset(&orders(0), false), Ok(None));
    let unavailable = Err(ResponseError::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat(&"x".into(), 1), unavailable);
    let leavers = [Leaver { member_id: "x".into(), instance_id: None }];
    let left = bench.step(|group, now, out| group.leave(&leavers, now, out));
    assert_eq!(left, Err(ResponseError::CoordinatorNotAvailable));
}

#[test]
fn a_deletion_that_is_lost_changes_nothing() {
    let mut bench = Bench::new();
    bench.commit(simple(), vec![(orders(0), at(5))]);
    bench.safe();
    let token = bench.delete();
    bench.lost(ResponseError::NotEnoughReplicas);
    assert_eq!(bench.deleted_answer(token), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!((bench.group.state, bench.offset(&orders(0))), (GroupState::Empty, Some(5)));
}

#[test]
fn a_commit_under_way_is_deleted_too() {
    let mut bench = Bench::new();
    let commit = bench.commit(simple(), vec![(orders(0), at(5))]);
    let deletion = bench.delete();
    bench.safe();
    assert_eq!(bench.offsets_answer(commit), Ok(vec![(orders(0), Ok(()))]));
    assert_eq!(bench.deleted_answer(deletion), Ok(()));
    let tombstone = GroupRecord::Offset { group: "readers".into(), partition: orders(0), value: None };
    assert_eq!(bench.log.last(), Some(&tombstone));
}

#[test]
fn a_group_of_which_nothing_is_left_is_swept_out() {
    let mut bench = Bench::new();
    let joined = bench.stable_of(1).remove(0);
    bench.leave(&joined.member_id).expect("a member");
    bench.sweep(); // What says that it is empty is not safe yet.
    assert_eq!(bench.group.state, GroupState::Empty);
    bench.safe();
    bench.sweep();
    bench.safe();
    assert!(bench.group.is_gone());
}

#[test]
fn a_group_that_is_no_longer_ours_answers_all_who_wait() {
    const ERROR: ResponseError = ResponseError::NotCoordinator;
    let mut bench = Bench::new();
    let join = bench.join(newcomer());
    bench.step(|group, _, out| group.unload(out));
    assert_eq!(bench.refused(join), ERROR);
    assert!(bench.group.is_gone());

    let mut bench = Bench::new();
    let joined = bench.generation_of(2);
    let syncs = [&joined[0], &joined[1]].map(|joined| bench.sync(sync_of(joined, Vec::new())));
    bench.step(|group, _, out| group.unload(out));
    assert_eq!(syncs.map(|token| bench.sync_answer(token)), [Err(ERROR), Err(ERROR)]);
    bench.safe();
    assert!(bench.group.is_gone());

    let mut bench = Bench::new();
    let commit = bench.commit(simple(), vec![(orders(0), at(5))]);
    let deletion = bench.delete();
    bench.step(|group, _, out| group.unload(out));
    assert_eq!(bench.offsets_answer(commit), Err(ERROR));
    assert_eq!(bench.deleted_answer(deletion), Err(ERROR));
}
