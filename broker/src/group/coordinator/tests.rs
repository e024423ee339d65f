use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;

use super::*;
use crate::group::member::Protocol;
use crate::group::records::OffsetValue;
use crate::registry::image::{Partition, PartitionState, Topic};

/// `__consumer_offsets` of one partition, in memory.
struct TestLog {
    batches: Mutex<Vec<Bytes>>,
    /// Appends that may become safe; a test that holds none back gives many.
    safe: Semaphore,
    fails_with: Mutex<Option<ResponseError>>,
}

impl TestLog {
    fn new() -> Arc<Self> {
        let safe = Semaphore::new(1_000);
        Arc::new(Self { batches: Mutex::default(), safe, fails_with: Mutex::new(None) })
    }

    fn as_log(self: &Arc<Self>) -> OffsetsLog {
        let (appending, reading) = (Arc::clone(self), Arc::clone(self));
        OffsetsLog {
            append: Arc::new(move |_, _, batch| {
                let log = Arc::clone(&appending);
                async move {
                    if let Some(error) = *log.fails_with.lock() {
                        return Err(error);
                    }
                    log.batches.lock().push(batch);
                    log.safe.acquire().await.expect("never closed").forget();
                    Ok(())
                }
                .boxed()
            }),
            read: Arc::new(move |_, _| {
                let batches: Vec<_> = reading.batches.lock().iter().cloned().map(Ok).collect();
                stream::iter(batches).boxed()
            }),
        }
    }
}

fn coordinator(log: &Arc<TestLog>) -> GroupCoordinator {
    let limits = GroupLimits { offsets_partitions: 1, ..GroupLimits::default() };
    GroupCoordinator::new(limits, log.as_log())
}

async fn serving(log: &Arc<TestLog>) -> GroupCoordinator {
    let groups = coordinator(log);
    groups.become_leader(0, 1);
    loaded(&groups).await;
    groups
}

async fn loaded(groups: &GroupCoordinator) {
    while groups.list(|_| true).is_loading {
        tokio::task::yield_now().await;
    }
}

fn group() -> Arc<str> {
    "readers".into()
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"meta") }],
        id_suffix: uuid::Uuid::from_u128(7),
        needs_known_id: false,
        may_skip_assignment: false,
    }
}

fn commit(offset: i64) -> Commit {
    let value = OffsetValue { offset, leader_epoch: -1, metadata: "".into(), commit_ms: 1, expire_ms: None };
    let caller = Caller { member_id: "".into(), instance_id: None, generation: -1 };
    Commit { caller, offsets: vec![(orders(), value)] }
}

fn committed(groups: &GroupCoordinator) -> Option<i64> {
    let offsets = groups.offsets(&group(), Some(vec![orders()]), false).expect("ours");
    offsets[0].1.as_ref().expect("stable").as_ref().map(|value| value.offset)
}

#[tokio::test(start_paused = true)]
async fn a_lone_member_joins_after_the_initial_delay_and_gets_what_it_assigned_itself() {
    let groups = serving(&TestLog::new()).await;
    let began = Instant::now();
    let joined = groups.join(&group(), join("")).await.expect("joined");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!((joined.generation, &joined.leader), (1, &joined.member_id));

    let sync = SyncRequest {
        member_id: Arc::clone(&joined.member_id),
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: vec![(joined.member_id, Bytes::from_static(b"all"))],
    };
    assert_eq!(groups.sync(&group(), sync).await.expect("synced").assignment, "all");
    assert_eq!(groups.describe(&group()).expect("ours").state, GroupState::Stable);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_is_removed_without_anybody_asking() {
    let groups = serving(&TestLog::new()).await;
    groups.join(&group(), join("")).await.expect("joined");
    tokio::time::sleep(Duration::from_secs(71)).await;
    let described = groups.describe(&group()).expect("ours");
    assert_eq!((described.state, described.members), (GroupState::Empty, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_answered_and_seen_once_it_is_safe() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    log.safe.forget_permits(1_000);

    let mut answer = Box::pin({
        let groups = groups.clone();
        async move { groups.commit(&group(), commit(5)).await }
    });
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut answer).await.is_err());
    assert_eq!(committed(&groups), None);

    log.safe.add_permits(1);
    assert_eq!(answer.await, Ok(vec![(orders(), Ok(()))]));
    assert_eq!(committed(&groups), Some(5));
}

#[tokio::test(start_paused = true)]
async fn commits_that_come_while_one_is_under_way_share_the_next_batch_and_the_last_wins() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    log.safe.forget_permits(1_000);
    let commit_later = |offset| {
        let groups = groups.clone();
        tokio::spawn(async move { groups.commit(&group(), commit(offset)).await })
    };
    let mut tasks = vec![commit_later(0)];
    while log.batches.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    tasks.extend((1..100).map(commit_later));
    tokio::task::yield_now().await;
    log.safe.add_permits(1_000);
    for task in tasks {
        task.await.expect("no panic").expect("safe");
    }
    assert_eq!(committed(&groups), Some(99));
    assert_eq!(log.batches.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_never_becomes_safe_times_out() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    log.safe.forget_permits(1_000);
    let answer = groups.commit(&group(), commit(5)).await;
    assert_eq!(answer, Ok(vec![(orders(), Err(ResponseError::RequestTimedOut))]));
    assert_eq!(committed(&groups), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_appended_is_an_error_that_clients_act_on() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    *log.fails_with.lock() = Some(ResponseError::NotEnoughReplicas);
    let answer = groups.commit(&group(), commit(5)).await;
    assert_eq!(answer, Ok(vec![(orders(), Err(ResponseError::CoordinatorNotAvailable))]));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_has_not_heard_yet_that_it_leads_is_waited_for() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    *log.fails_with.lock() = Some(ResponseError::NotLeaderOrFollower);
    let answer = tokio::spawn({
        let groups = groups.clone();
        async move { groups.commit(&group(), commit(5)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!answer.is_finished());
    *log.fails_with.lock() = None;
    assert_eq!(answer.await.expect("no panic"), Ok(vec![(orders(), Ok(()))]));
}

#[tokio::test(start_paused = true)]
async fn the_next_coordinator_goes_on_from_the_log() {
    let log = TestLog::new();
    let before = serving(&log).await;
    before.commit(&group(), commit(5)).await.expect("safe");
    before.commit(&group(), commit(6)).await.expect("safe");
    assert_eq!(committed(&serving(&log).await), Some(6));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_the_partition_is_lost_is_sent_elsewhere() {
    let groups = serving(&TestLog::new()).await;
    let parked = tokio::spawn({
        let groups = groups.clone();
        async move { groups.join(&group(), join("")).await }
    });
    while groups.list(|_| true).groups.is_empty() {
        tokio::task::yield_now().await;
    }
    groups.resign(0);
    let refused = parked.await.expect("no panic").expect_err("not ours");
    assert_eq!(refused.error, ResponseError::NotCoordinator);
    assert_eq!(groups.describe(&group()), Err(ResponseError::NotCoordinator));
}

#[tokio::test]
async fn while_groups_are_loaded_each_request_is_told_what_its_clients_expect() {
    let groups = coordinator(&TestLog::new());
    groups.become_leader(0, 1); // Its task has not run yet.
    let caller = Caller { member_id: "m".into(), instance_id: None, generation: 1 };
    assert_eq!(groups.heartbeat(&group(), &caller), Ok(()));
    assert_eq!(groups.describe(&group()), Err(ResponseError::CoordinatorLoadInProgress));
    assert_eq!(groups.commit(&group(), commit(1)).await, Err(ResponseError::CoordinatorLoadInProgress));
    assert!(groups.list(|_| true).is_loading);
}

#[tokio::test(start_paused = true)]
async fn one_epoch_on_the_groups_stay_and_after_more_they_are_read_again() {
    let log = TestLog::new();
    let groups = serving(&log).await;
    groups.commit(&group(), commit(5)).await.expect("safe");
    log.batches.lock().clear();

    groups.become_leader(0, 2);
    assert_eq!(committed(&groups), Some(5));
    groups.become_leader(0, 4);
    loaded(&groups).await;
    assert_eq!(committed(&groups), None);
}

#[tokio::test]
async fn a_closed_coordinator_is_not_available() {
    let groups = serving(&TestLog::new()).await;
    groups.close();
    groups.become_leader(0, 9);
    assert_eq!(groups.describe(&group()), Err(ResponseError::CoordinatorNotAvailable));
}

#[tokio::test]
async fn groups_that_have_members_have_a_name() {
    let groups = serving(&TestLog::new()).await;
    let nameless: Arc<str> = "".into();
    let refused = groups.join(&nameless, join("")).await.expect_err("no name");
    assert_eq!(refused.error, ResponseError::InvalidGroupId);
    assert!(groups.commit(&nameless, commit(1)).await.is_ok());
    let endless: Arc<str> = "g".repeat(STRING_BYTES_MAX + 1).into();
    assert_eq!(groups.describe(&endless), Err(ResponseError::InvalidGroupId));
}

/// Partition 0 of each of `topics` is led by broker 1.
fn image(topics: &[&str]) -> ClusterImage {
    let state = PartitionState {
        leader: Some(1),
        leader_epoch: 3,
        isr: vec![1],
        controller_epoch: 1,
        recovering: false,
        version: 0,
        modified: 0,
    };
    let partition = Arc::new(Partition { replicas: vec![1], state: Some(state), ..Partition::default() });
    let topic = |name: &&str| {
        let partitions = [(0, Arc::clone(&partition))].into();
        let name: Arc<str> = (*name).into();
        (Arc::clone(&name), Arc::new(Topic { name, id: None, partitions, version: 0 }))
    };
    ClusterImage { topics: Arc::new(topics.iter().map(topic).collect()), ..ClusterImage::default() }
}

#[tokio::test(start_paused = true)]
async fn who_leads_a_partition_coordinates_its_groups_and_nobody_else() {
    let groups = GroupCoordinator::new(GroupLimits::default(), TestLog::new().as_log());
    groups.on_image(&image(&[OFFSETS_TOPIC]), 1);
    loaded(&groups).await;
    assert_eq!(groups.partition_of("readers"), 0);
    assert!(groups.describe(&group()).is_ok());
    groups.on_image(&image(&[OFFSETS_TOPIC]), 2);
    assert_eq!(groups.describe(&group()), Err(ResponseError::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn when_a_topic_is_gone_so_is_how_far_it_was_read() {
    let groups = GroupCoordinator::new(GroupLimits::default(), TestLog::new().as_log());
    groups.on_image(&image(&[OFFSETS_TOPIC, "orders"]), 1);
    loaded(&groups).await;
    groups.commit(&group(), commit(5)).await.expect("safe");
    groups.on_image(&image(&[OFFSETS_TOPIC, "orders", "bills"]), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(committed(&groups), Some(5));
    groups.on_image(&image(&[OFFSETS_TOPIC, "bills"]), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(committed(&groups), None);
}
