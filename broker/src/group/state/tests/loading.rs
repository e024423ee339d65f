use super::*;
use crate::group::records::{GroupValue, MemberValue};

/// The group as its newest records tell it.
pub(super) fn reloaded(log: &[GroupRecord], now: Now) -> Group {
    let mut value = None;
    let mut offsets = BTreeMap::new();
    for record in log {
        match record {
            GroupRecord::Group { value: newest, .. } => value.clone_from(newest),
            GroupRecord::Offset { partition, value: Some(newest), .. } => {
                offsets.insert(partition.clone(), newest.clone());
            }
            GroupRecord::Offset { partition, value: None, .. } => drop(offsets.remove(partition)),
        }
    }
    let limits = Arc::new(GroupLimits::default());
    Group::load("readers".into(), value, offsets, limits, now, &mut Outputs::default())
}

fn value() -> GroupValue {
    GroupValue {
        protocol_type: Some("consumer".into()),
        generation: 4,
        protocol: Some("range".into()),
        leader: Some("b".into()),
        state_since_ms: Some(5),
        members: ["a", "b"].map(member_value).into(),
    }
}

fn member_value(id: &str) -> MemberValue {
    MemberValue {
        member_id: id.into(),
        instance_id: None,
        client_id: "app".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: subscription(&["orders"]),
        assignment: Bytes::from_static(b"part"),
    }
}

fn load(value: GroupValue, limits: GroupLimits) -> Bench {
    let now = Now { monotonic: 100 * SECOND, wall_ms: 1_000_000 };
    let mut out = Outputs::default();
    let group = Group::load("readers".into(), Some(value), BTreeMap::new(), Arc::new(limits), now, &mut out);
    assert_eq!(out, Outputs::default());
    Bench::of(group, now)
}

#[test]
fn members_find_the_group_as_they_left_it() {
    let mut bench = load(value(), GroupLimits::default());
    assert_eq!(bench.group.state, GroupState::Stable);
    assert_eq!(bench.heartbeat(&"a".into(), 4), Ok(()));
    let joined = bench.group.joined(&"b".into(), true);
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (4, "b", 2));
    let sync = bench.sync(sync_of(&joined, Vec::new()));
    assert_eq!(bench.sync_answer(sync).expect("synced").assignment, "part");
}

#[test]
fn members_that_do_not_find_us_in_a_session_are_removed() {
    let mut bench = load(value(), GroupLimits::default());
    bench.pass(10 * SECOND);
    assert_eq!((bench.group.state, bench.group.generation()), (GroupState::Empty, 5));
}

#[test]
fn a_group_with_more_members_than_are_allowed_now_joins_again() {
    let limits = GroupLimits { group_size_max: 1, ..GroupLimits::default() };
    let mut bench = load(value(), limits);
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
    let first = bench.join(member(&"b".into()));
    let second = bench.join(member(&"a".into()));
    assert_eq!(bench.refused(second), ResponseError::GroupMaxSizeReached);
    assert_eq!(bench.joined(first).generation, 5);
}

#[test]
fn what_cannot_be_is_made_the_best_of() {
    let led_by_nobody = GroupValue { leader: Some("gone".into()), ..value() };
    assert_eq!(load(led_by_nobody, GroupLimits::default()).group.leader.as_deref(), Some("a"));

    let without_protocol = GroupValue { protocol: None, ..value() };
    let bench = load(without_protocol, GroupLimits::default());
    assert_eq!((bench.group.state, bench.group.members.len()), (GroupState::Empty, 0));

    let fixed = |id: &str| MemberValue { instance_id: Some("pod".into()), ..member_value(id) };
    let doubled = GroupValue { members: vec![fixed("a"), fixed("b"), fixed("a")], ..value() };
    let bench = load(doubled, GroupLimits::default());
    assert_eq!((bench.group.members.len(), bench.group.static_members.len()), (1, 1));

    let negative =
        MemberValue { session_timeout_ms: -1, rebalance_timeout_ms: i32::MIN, ..member_value("a") };
    let odd = GroupValue { generation: i32::MAX, members: vec![negative], ..value() };
    let mut bench = load(odd, GroupLimits::default());
    bench.pass(SECOND);
    assert_eq!((bench.group.state, bench.group.generation()), (GroupState::Empty, 1));
}
