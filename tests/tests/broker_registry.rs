//! What the broker keeps in the service: registration, image, controller and topics, the same scenarios on the Java server
//! and on ours.
//!
//! Each scenario has a cluster of its own, under a path of its own. Brokers are registries and controllers without logs.

#![allow(clippy::unwrap_used, reason = "in a test, that is a claim")]

#[path = "broker_registry/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use broker::TopicPartition;
use broker::controller::Election;
use broker::registry::admin::{ConfigOp, ConfigResource, NewTopic};
use broker::registry::payload::{StatePayload, encode_reassignments};
use broker::registry::{IsrError, Presence, RegistryError, paths};
use client::{Client, CreateMode, Data};
use cluster::{Cluster, Member, eventually, registration};
use futures::future::{join_all, try_join_all};
use tests::service::Service;
use tests::{peer, zkserver};

#[test]
fn a_broker_is_registered_and_refused_when_its_number_is_taken() {
    on_both("registration", is_registered);
}

#[test]
fn a_broker_waits_for_its_own_former_session() {
    on_both("former", waits_for_its_former_self);
}

#[test]
fn a_session_that_is_lost_is_followed_by_another_registration() {
    on_both("lost", is_registered_again);
}

#[test]
fn numbers_are_given_out_once() {
    on_both("numbers", gives_numbers_out_once);
}

#[test]
fn one_broker_is_the_controller_and_when_it_goes_another() {
    on_both("failover", has_one_controller);
}

#[test]
fn a_controller_that_has_lost_its_session_writes_nothing_more() {
    on_both("deposed", is_deposed);
}

#[test]
fn a_leader_changes_its_isr_unless_it_is_outdated() {
    on_both("isr", changes_isr);
}

#[test]
fn topics_come_grow_are_configured_and_go() {
    on_both("topics", topics_live);
}

#[test]
fn partitions_move_and_leaders_are_elected_when_asked_for() {
    on_both("moves", moves);
}

#[test]
fn a_broker_that_is_about_to_end_hands_over() {
    on_both("leaving", hands_over);
}

#[test]
fn every_image_is_the_same_after_random_changes() {
    on_both("random", images_are_equal);
}

#[test]
fn thousands_of_partitions_are_set_up_and_read_in_bulk() {
    on_both("bulk", bulk);
}

/// Runs `scenario` on the Java server, then on ours.
fn on_both<F: Future<Output = ()>>(name: &str, scenario: impl Fn(Cluster) -> F) {
    for service in [peer::start().unwrap(), zkserver::start().unwrap()] {
        run(&service, name, &scenario);
    }
}

fn run<F: Future<Output = ()>>(service: &Service, name: &str, scenario: impl Fn(Cluster) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cluster = Cluster::new(format!("{}/brokers/of/{name}", service.address()));
    let limit = Duration::from_secs(90);
    runtime.block_on(async { tokio::time::timeout(limit, scenario(cluster)).await.expect("ends in time") });
}

async fn is_registered(cluster: Cluster) {
    let one = cluster.outsider().await;
    let epoch = one.registry.register(registration(1, 9001)).await.unwrap();
    let two = cluster.broker(2).await;
    assert_eq!(one.registry.cluster_id(), two.registry.cluster_id());
    assert_eq!(one.registry.cluster_id().len(), 22);

    let client = cluster.client().await;
    for root in paths::ROOTS {
        assert!(client.get(root).await.unwrap().is_null, "{root}");
    }
    let stat = client.exists(&paths::broker(1)).await.unwrap().unwrap();
    assert_eq!(stat.czxid, epoch);
    assert_eq!(stat.ephemeral_owner, one.registry.client().session_id().0);
    assert_eq!(stat.version, 1, "created empty, then set, in one transaction");

    let taken = cluster.outsider().await;
    let error = taken.registry.register(registration(1, 9009)).await.unwrap_err();
    assert!(matches!(error, RegistryError::DuplicateBroker { id: 1, .. }), "{error}");

    one.registry.close().await.unwrap();
    eventually(&two, |image| !image.is_alive(1)).await;
    taken.registry.register(registration(1, 9009)).await.unwrap();
    eventually(&two, |image| image.brokers.get(&1).is_some_and(|it| it.endpoints[0].port == 9009)).await;
}

async fn waits_for_its_former_self(cluster: Cluster) {
    let broker = cluster.broker(1).await;
    let data = broker.registry.client().get(&paths::broker(1)).await.unwrap().data;
    broker.registry.close().await.unwrap();
    // As a process leaves it that was killed.
    let killed = cluster.client().await;
    killed.create(&paths::broker(1), data, CreateMode::Ephemeral).await.unwrap();
    killed.detach().await.unwrap();

    let next = cluster.broker(1).await;
    assert!(next.registry.image().is_alive(1));
}

async fn is_registered_again(cluster: Cluster) {
    let (one, two) = (cluster.broker(1).await, cluster.broker(2).await);
    let before = one.registry.image().brokers[&1].epoch;
    let mut presence = one.registry.presence();
    assert_eq!(*presence.borrow_and_update(), Presence::Registered { epoch: before });

    one.lose_session().await;
    presence.wait_for(|presence| *presence == Presence::Absent).await.unwrap();
    let again = |presence: &Presence| matches!(presence, Presence::Registered { .. });
    let Presence::Registered { epoch } = *presence.wait_for(again).await.unwrap() else { unreachable!() };
    assert!(epoch > before);
    // Who is told so, already has an image of the new session.
    assert_eq!(one.registry.image().brokers[&1].epoch, epoch);
    eventually(&two, |image| image.brokers.get(&1).is_some_and(|it| it.epoch == epoch)).await;
    // And the new session's watches are at work.
    two.admin.create_topic(NewTopic { name: "t".into(), ..NewTopic::default() }, false).await.unwrap();
    eventually(&one, |image| image.topic("t").is_some()).await;
}

async fn gives_numbers_out_once(cluster: Cluster) {
    let (one, two) = (cluster.broker(1).await, cluster.broker(2).await);
    let ids = join_all([&one, &two, &one, &two].map(|it| it.registry.next_broker_id())).await;
    let mut ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1001, 1002, 1003, 1004]);

    let blocks =
        join_all([(&one, 1), (&two, 2), (&one, 1)].map(|(it, id)| it.registry.next_producer_ids(id))).await;
    let mut blocks: Vec<_> = blocks.into_iter().map(Result::unwrap).collect();
    blocks.sort_by_key(|block| block.first);
    let ranges: Vec<_> = blocks.iter().map(|block| (block.first, block.last)).collect();
    assert_eq!(ranges, [(0, 999), (1000, 1999), (2000, 2999)]);
}

async fn has_one_controller(cluster: Cluster) {
    let members = cluster.brokers(3).await;
    let controller = cluster::controller_of(&members).await;
    let epoch = members[0].registry.image().controller.epoch;
    assert_eq!(members.iter().filter(|it| it.controller.is_active()).count(), 1);
    let assignment = BTreeMap::from([(0, vec![1, 2, 3]), (1, vec![2, 3, 1]), (2, vec![3, 1, 2])]);
    cluster::create(&members[0], "t", assignment).await;

    let (gone, left): (Vec<_>, Vec<_>) = members.into_iter().partition(|it| it.id == controller);
    gone[0].registry.close().await.unwrap();
    let moved = |image: &broker::registry::ClusterImage| {
        image.controller.epoch == epoch + 1
            && image.partitions().all(|(_, it)| {
                it.state.as_ref().is_some_and(|it| it.leader.is_some() && !it.isr.contains(&controller))
            })
    };
    for member in &left {
        eventually(member, moved).await;
    }
    assert_eq!(left[0].registry.image().topics, left[1].registry.image().topics);
    let state = left[0].registry.image().state(&TopicPartition::new("t", controller - 1)).cloned().unwrap();
    assert_eq!((state.leader_epoch, state.isr.len(), state.controller_epoch), (1, 2, epoch + 1));
    // What Kafka's own brokers look for.
    assert!(cluster.client().await.exists(paths::FEATURE).await.unwrap().is_some());
}

async fn is_deposed(cluster: Cluster) {
    let members = cluster.brokers(2).await;
    let first = cluster::controller_of(&members).await;
    let of = |id: i32| members.iter().find(|it| it.id == id).unwrap();
    let epoch = of(first).registry.image().controller.epoch;
    of(first).lose_session().await;
    for member in &members {
        eventually(member, |image| image.controller.broker.is_some() && image.controller.epoch > epoch).await;
    }
    let second = cluster::controller_of(&members).await;
    cluster::create(&members[0], "t", BTreeMap::from([(0, vec![1, 2])])).await;
    let image = members[0].registry.image();
    assert_eq!(image.state(&TopicPartition::new("t", 0)).unwrap().controller_epoch, image.controller.epoch);
    assert_eq!(image.controller.broker, Some(second));

    // An operator, too, can have another one elected.
    cluster.client().await.delete(paths::CONTROLLER, None).await.unwrap();
    eventually(&members[0], |now| {
        now.controller.broker.is_some() && now.controller.epoch > image.controller.epoch
    })
    .await;
}

async fn changes_isr(cluster: Cluster) {
    let members = cluster.brokers(2).await;
    cluster::create(&members[0], "t", BTreeMap::from([(0, vec![1, 2])])).await;
    let tp = TopicPartition::new("t", 0);
    let state = members[0].registry.image().state(&tp).cloned().unwrap();
    let alone = StatePayload { isr: vec![1], ..StatePayload::from(&state) };
    let changed = members[0].registry.change_isr(&tp, &alone, state.version).await.unwrap();
    assert_eq!((changed.version, changed.isr.clone()), (state.version + 1, vec![1]));
    let outdated = members[0].registry.change_isr(&tp, &alone, state.version).await;
    assert!(matches!(outdated, Err(IsrError::Stale)));
    eventually(&members[1], |image| image.state(&tp) == Some(&changed)).await;
    let gone = members[0].registry.change_isr(&TopicPartition::new("absent", 0), &alone, 0).await;
    assert!(matches!(gone, Err(IsrError::Stale)));
}

async fn topics_live(cluster: Cluster) {
    let members = cluster.brokers(3).await;
    let admin = &members[0].admin;
    let topic = NewTopic {
        name: "orders".into(),
        partitions: Some(4),
        replication_factor: Some(2),
        config: BTreeMap::from([("retention.ms".into(), "1000".into())]),
        ..NewTopic::default()
    };
    let judged = admin.create_topic(topic.clone(), true).await.unwrap();
    assert!(members[0].registry.image().topic("orders").is_none(), "it was only judged");
    let created = admin.create_topic(topic.clone(), false).await.unwrap();
    assert_eq!(
        (judged.partitions, judged.replication_factor),
        (created.partitions, created.replication_factor)
    );
    assert_eq!(members[0].registry.image().topic_by_id(created.id).map(|it| &*it.name), Some("orders"));
    let refused = admin.create_topic(topic, false).await.unwrap_err();
    assert_eq!(refused.message, "Topic 'orders' already exists.");

    admin.create_partitions("orders", 6, None, false).await.unwrap();
    let led = |image: &broker::registry::ClusterImage| {
        image.topic("orders").is_some_and(|it| it.partitions.len() == 6)
            && image.partitions().all(|(_, it)| it.leader().is_some())
    };
    eventually(&members[1], led).await;

    let resource = ConfigResource::Topic("orders".into());
    let ops = [("cleanup.policy".to_owned(), ConfigOp::Append("compact".into()))];
    admin.alter_config(&resource, &ops, false).await.unwrap();
    eventually(&members[2], |image| {
        let config = image.topic_config("orders");
        config.get("cleanup.policy").map(String::as_str) == Some("delete,compact")
            && config.contains_key("retention.ms")
    })
    .await;
    let wrong = [("retention.ms".to_owned(), ConfigOp::Set("soon".into()))];
    assert!(admin.alter_config(&resource, &wrong, false).await.is_err());
    let client = cluster.client().await;
    assert_eq!(client.children(paths::CONFIG_CHANGES).await.unwrap().len(), 1);

    admin.delete_topic("orders").await.unwrap();
    eventually(&members[2], |image| image.topic("orders").is_none() && !image.is_deleting("orders")).await;
    assert_eq!(client.exists(&paths::topic_config("orders")).await.unwrap(), None);
    assert!(admin.delete_topic("orders").await.is_err());
}

async fn moves(cluster: Cluster) {
    let members = cluster.brokers(3).await;
    let controller = cluster::controller_of(&members).await;
    let controller = &members.iter().find(|it| it.id == controller).unwrap().controller;
    cluster::create(&members[0], "t", BTreeMap::from([(0, vec![1, 2]), (1, vec![1, 2])])).await;
    let (tp, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));

    let wanted = BTreeMap::from([(tp.clone(), Some(vec![3, 1])), (other.clone(), None)]);
    let answers = controller.alter_reassignments(wanted).await.unwrap();
    assert!(answers[&tp].is_ok() && answers[&other].is_err());
    eventually(&members[0], |image| image.partition(&tp).is_some_and(|it| it.replicas == [3, 1, 2])).await;
    assert_eq!(members[0].admin.reassignments(None)[&tp].adding, [3]);
    cluster::expand(&members[0], &tp, 3).await;
    eventually(&members[0], |image| {
        image.partition(&tp).is_some_and(|it| it.replicas == [3, 1] && !it.is_reassigning())
    })
    .await;

    let answers =
        controller.elect_leaders(Election::Preferred, Some(vec![tp.clone(), other.clone()])).await.unwrap();
    assert!(answers[&tp].is_ok() && answers[&other].is_err());
    eventually(&members[0], |image| image.partition(&tp).and_then(|it| it.leader()) == Some(3)).await;

    // And in the way of old.
    let wish = encode_reassignments(&BTreeMap::from([(other.clone(), vec![2])]));
    cluster.client().await.create(paths::REASSIGN_PARTITIONS, wish, CreateMode::Persistent).await.unwrap();
    eventually(&members[0], |image| {
        image.partition(&other).is_some_and(|it| it.replicas == [2] && it.leader() == Some(2))
            && image.wishes.reassignments.is_none()
    })
    .await;
    let refused = members.iter().find(|it| !it.controller.is_active()).unwrap();
    assert!(refused.controller.elect_leaders(Election::Preferred, None).await.is_err());
}

async fn hands_over(cluster: Cluster) {
    let members = cluster.brokers(2).await;
    let controller = cluster::controller_of(&members).await;
    let controller = &members.iter().find(|it| it.id == controller).unwrap().controller;
    cluster::create(&members[0], "t", BTreeMap::from([(0, vec![1, 2]), (1, vec![2, 1])])).await;
    let image = members[0].registry.image();
    let stale = controller.controlled_shutdown(1, Some(image.brokers[&1].epoch - 1)).await;
    assert!(stale.is_err());
    let left = controller.controlled_shutdown(1, Some(image.brokers[&1].epoch)).await.unwrap();
    assert_eq!(left, []);
    eventually(&members[1], |image| {
        image
            .partitions()
            .all(|(_, it)| it.state.as_ref().is_some_and(|it| it.leader == Some(2) && it.isr == [2]))
    })
    .await;
    assert!(controller.controlled_shutdown(9, None).await.is_err());
}

/// Changes by hand and by admin, from several sessions at once; then each image is what a newcomer reads.
async fn images_are_equal(cluster: Cluster) {
    let members = cluster.brokers(3).await;
    let hands = cluster.client().await;
    try_join_all((0..40).map(|number| disturb(&members[number % 3], &hands, number))).await.unwrap();
    members[1].lose_session().await;
    try_join_all((40..80).map(|number| disturb(&members[number % 3], &hands, number))).await.unwrap();
    // At rest: nobody is being deleted, all is led, and all brokers are there.
    for member in &members {
        eventually(member, |image| {
            image.brokers.len() == 3
                && image.controller.broker.is_some()
                && image.wishes.deletions.is_empty()
                && image.partitions().all(|(_, it)| it.leader().is_some_and(|it| image.is_alive(it)))
        })
        .await;
    }
    let newcomer = cluster.outsider().await;
    for member in &members {
        eventually(member, |image| *image == *newcomer.registry.image()).await;
    }
    assert!(newcomer.registry.image().topics.len() > 10);
}

async fn disturb(member: &Member, hands: &Client, number: usize) -> client::Result<()> {
    let name = format!("t{}", number % 24);
    let admin = &member.admin;
    match number % 7 {
        0..=2 => {
            let partitions = Some(i32::try_from(number % 5).unwrap() + 1);
            let topic = NewTopic { name, partitions, replication_factor: Some(2), ..NewTopic::default() };
            _ = admin.create_topic(topic, false).await;
        }
        3 => _ = admin.create_partitions(&name, 7, None, false).await,
        4 => {
            let ops = [("retention.ms".to_owned(), ConfigOp::Set(number.to_string()))];
            _ = admin.alter_config(&ConfigResource::Topic(name), &ops, false).await;
        }
        5 => _ = admin.delete_topic(&name).await,
        _ => {
            // Something that is none of our business.
            let path = format!("{}/mess-{number}", paths::ISR_CHANGES);
            hands.create(&path, Data::NULL, CreateMode::Persistent).await?;
        }
    }
    Ok(())
}

async fn bulk(cluster: Cluster) {
    let members = cluster.brokers(3).await;
    let begun = tokio::time::Instant::now();
    for number in 0..4 {
        let topic = NewTopic {
            name: format!("large-{number}"),
            partitions: Some(1000),
            replication_factor: Some(3),
            ..NewTopic::default()
        };
        members[0].admin.create_topic(topic, false).await.unwrap();
    }
    let led = |image: &broker::registry::ClusterImage| {
        image.partitions().count() == 4000 && image.partitions().all(|(_, it)| it.leader().is_some())
    };
    for member in &members {
        eventually(member, led).await;
    }
    println!("4000 partitions are led after {:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    let newcomer = cluster.outsider().await;
    assert_eq!(newcomer.registry.image().topics, members[0].registry.image().topics);
    println!("they are read after {:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    members[2].registry.close().await.unwrap();
    eventually(&members[0], |image| image.partitions().all(|(_, it)| it.leader() != Some(3))).await;
    println!("and nobody is led by a broker that has ended after {:?}", begun.elapsed());
}
