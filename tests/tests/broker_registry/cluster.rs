//! A cluster of brokers that have no logs: what the service keeps of them is all there is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::config::BrokerConfig;
use broker::controller::Controller;
use broker::registry::admin::{Admin, NewTopic};
use broker::registry::image::Endpoint;
use broker::registry::payload::{BrokerRegistration, StatePayload};
use broker::registry::{ClusterImage, Registry};
use broker::{BrokerId, TopicPartition};
use client::{Client, Error};
use tokio::time::Instant;

/// None of the waits takes a tenth of it, on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Short, for those who are to expire.
const SESSION: Duration = Duration::from_secs(6);

/// Where its znodes stand.
pub(crate) struct Cluster {
    connect: String,
}

/// A broker of it.
pub(crate) struct Member {
    pub(crate) id: BrokerId,
    pub(crate) registry: Registry,
    pub(crate) controller: Controller,
    pub(crate) admin: Admin,
}

/// What broker `id` says of itself.
pub(crate) fn registration(id: BrokerId, port: u16) -> BrokerRegistration {
    let (listener, protocol) = ("PLAINTEXT".to_owned(), "PLAINTEXT".to_owned());
    let endpoint = Endpoint { listener, protocol, host: "127.0.0.1".into(), port };
    BrokerRegistration { id, endpoints: vec![endpoint], rack: None }
}

impl Cluster {
    pub(crate) fn new(connect: String) -> Self {
        Self { connect }
    }

    /// A session beside those of the brokers.
    pub(crate) async fn client(&self) -> Client {
        Client::builder().session_timeout(SESSION).connect(&self.connect).await.unwrap()
    }

    /// A broker that is not registered.
    pub(crate) async fn outsider(&self) -> Member {
        self.member(0).await
    }

    /// A broker that is.
    pub(crate) async fn broker(&self, id: BrokerId) -> Member {
        let member = self.member(id).await;
        let port = 9000 + u16::try_from(id).unwrap();
        member.registry.register(registration(id, port)).await.unwrap();
        member
    }

    /// Brokers 1 to `count`, each of which sees them all.
    pub(crate) async fn brokers(&self, count: BrokerId) -> Vec<Member> {
        let mut members = Vec::new();
        for id in 1..=count {
            members.push(self.broker(id).await);
        }
        for member in &members {
            eventually(member, |image| (1..=count).all(|id| image.is_alive(id))).await;
        }
        members
    }

    async fn member(&self, id: BrokerId) -> Member {
        let timeout = SESSION.as_millis();
        let text = format!(
            "broker.id={id}\nzookeeper.connect={}\nzookeeper.session.timeout.ms={timeout}\n\
             zookeeper.connection.timeout.ms=60000\nauto.leader.rebalance.enable=false\n",
            self.connect
        );
        let config = BrokerConfig::parse(Path::new("server.properties"), text.as_bytes()).unwrap();
        let registry = Registry::connect(config.service.clone()).await.unwrap();
        let controller = Controller::start(registry.clone(), id, &config);
        let admin = Admin::new(registry.clone(), id, Arc::new(config));
        Member { id, registry, controller, admin }
    }
}

impl Member {
    /// Ends its session from outside, as if it had expired.
    ///
    /// Its owner takes a session back that was taken from it: whoever is faster ends it.
    pub(crate) async fn lose_session(&self) {
        let client = self.registry.client();
        let (id, password, server) =
            (client.session_id(), client.session_password(), client.server().unwrap().to_string());
        let end = async || {
            let taken_over = Client::builder().resume(id, password.clone());
            taken_over.connect(&server).await?.close().await
        };
        let limit = Instant::now() + LIMIT;
        loop {
            match end().await {
                Ok(()) | Err(Error::SessionExpired) => return,
                Err(error) if error.is_transient() && Instant::now() < limit => {}
                Err(error) => panic!("the session does not end: {error}"),
            }
        }
    }
}

/// Waits until `member` sees the cluster as wanted.
pub(crate) async fn eventually(member: &Member, is_wanted: impl FnMut(&ClusterImage) -> bool) {
    let seen = member.admin.await_image(LIMIT, is_wanted).await;
    assert!(seen, "broker {} still sees {:?}", member.id, member.registry.image());
}

/// Who is the controller, once all agree.
pub(crate) async fn controller_of(members: &[Member]) -> BrokerId {
    eventually(&members[0], |image| image.controller.broker.is_some()).await;
    let controller = members[0].registry.image().controller;
    for member in members {
        eventually(member, |image| image.controller.epoch >= controller.epoch).await;
        let mut epoch = member.controller.epoch();
        if controller.broker == Some(member.id) {
            epoch.wait_for(Option::is_some).await.unwrap();
        }
    }
    controller.broker.unwrap()
}

/// A topic, led.
pub(crate) async fn create(member: &Member, name: &str, assignment: BTreeMap<i32, Vec<BrokerId>>) {
    let topic = NewTopic { name: name.into(), assignment, ..NewTopic::default() };
    member.admin.create_topic(topic, false).await.unwrap();
    let is_led = |image: &ClusterImage| {
        image.topic(name).is_some_and(|topic| topic.partitions.values().all(|it| it.leader().is_some()))
    };
    eventually(member, is_led).await;
}

/// As a leader does it whose follower has caught up.
pub(crate) async fn expand(member: &Member, tp: &TopicPartition, replica: BrokerId) {
    let state = member.registry.image().state(tp).cloned().unwrap();
    let mut expanded = StatePayload::from(&state);
    expanded.isr.push(replica);
    member.registry.change_isr(tp, &expanded, state.version).await.unwrap();
}
