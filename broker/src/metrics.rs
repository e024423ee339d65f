//! What the broker counts, under the names by which Prometheus' exporter for Kafka shows Kafka's own.
//!
//! Traffic is counted as it comes; what can be looked at is looked at when somebody asks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::controller::Controller;
use crate::group::{GroupCoordinator, GroupState};
use crate::registry::Registry;
use crate::replica::Replicas;
use crate::topic_partition::BrokerId;

const MESSAGES_IN: &str = "kafka_server_brokertopicmetrics_messagesin_total";
const BYTES_IN: &str = "kafka_server_brokertopicmetrics_bytesin_total";
const BYTES_OUT: &str = "kafka_server_brokertopicmetrics_bytesout_total";
const REPLICATED_IN: &str = "kafka_server_brokertopicmetrics_replicationbytesin_total";
const REPLICATED_OUT: &str = "kafka_server_brokertopicmetrics_replicationbytesout_total";
const FAILED_PRODUCE: &str = "kafka_server_brokertopicmetrics_failedproducerequests_total";
const FAILED_FETCH: &str = "kafka_server_brokertopicmetrics_failedfetchrequests_total";
const REQUESTS: &str = "kafka_network_requestmetrics_requests_total";
const REQUEST_SECONDS: &str = "kafka_network_requestmetrics_totaltime_seconds";
const ISR_SHRINKS: &str = "kafka_server_replicamanager_isrshrinks_total";
const ISR_EXPANDS: &str = "kafka_server_replicamanager_isrexpands_total";
const FAILED_ISR: &str = "kafka_server_replicamanager_failedisrupdates_total";
const PARTITIONS: &str = "kafka_server_replicamanager_partitioncount";
const LEADERS: &str = "kafka_server_replicamanager_leadercount";
const UNDER_REPLICATED: &str = "kafka_server_replicamanager_underreplicatedpartitions";
const UNDER_MIN_ISR: &str = "kafka_server_replicamanager_underminisrpartitioncount";
const ACTIVE_CONTROLLER: &str = "kafka_controller_kafkacontroller_activecontrollercount";
const OFFLINE: &str = "kafka_controller_kafkacontroller_offlinepartitionscount";
const BROKERS: &str = "kafka_controller_kafkacontroller_activebrokercount";
const TOPICS: &str = "kafka_controller_kafkacontroller_globaltopiccount";
const GROUPS: &str = "kafka_coordinator_group_groupmetadatamanager_numgroups";
const GROUP_OFFSETS: &str = "kafka_coordinator_group_groupmetadatamanager_numoffsets";
/// A gauge for the groups in each state.
const GROUP_STATES: [(GroupState, &str); 5] = [
    (GroupState::Empty, "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"),
    (
        GroupState::PreparingRebalance,
        "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance",
    ),
    (
        GroupState::CompletingRebalance,
        "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance",
    ),
    (GroupState::Stable, "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"),
    (GroupState::Dead, "kafka_coordinator_group_groupmetadatamanager_numgroupsdead"),
];
const LOG_BYTES: &str = "kafka_log_log_size";
const LOG_END: &str = "kafka_log_log_logendoffset";
const LOG_START: &str = "kafka_log_log_logstartoffset";
const LOG_SEGMENTS: &str = "kafka_log_log_numlogsegments";

/// Sums of old are dropped from time to time, else they grow for as long as nobody asks.
const UPKEEP: Duration = Duration::from_secs(10);

/// Records that were appended for producers.
pub(crate) fn produced(topic: &str, records: u64, bytes: usize) {
    counter!(MESSAGES_IN, "topic" => topic.to_owned()).increment(records);
    counter!(BYTES_IN, "topic" => topic.to_owned()).increment(bytes as u64);
}

/// A producer's records that were refused.
pub(crate) fn produce_failed(topic: &str) {
    counter!(FAILED_PRODUCE, "topic" => topic.to_owned()).increment(1);
}

/// Records that were given to consumers, or to followers.
pub(crate) fn fetched(topic: &str, bytes: usize, is_follower: bool) {
    if is_follower {
        counter!(REPLICATED_OUT).increment(bytes as u64);
    } else {
        counter!(BYTES_OUT, "topic" => topic.to_owned()).increment(bytes as u64);
    }
}

/// A fetch of one partition that was refused.
pub(crate) fn fetch_failed(topic: &str) {
    counter!(FAILED_FETCH, "topic" => topic.to_owned()).increment(1);
}

/// Records that came from a leader.
pub(crate) fn replicated(bytes: usize) {
    counter!(REPLICATED_IN).increment(bytes as u64);
}

/// A request of this kind was answered after `elapsed`, waiting for others included.
pub(crate) fn answered(request: &'static str, elapsed: Duration) {
    counter!(REQUESTS, "request" => request).increment(1);
    histogram!(REQUEST_SECONDS, "request" => request).record(elapsed.as_secs_f64());
}

/// The replicas in sync of a partition have changed, or could not be.
pub(crate) fn isr_changed(from: usize, to: Option<usize>) {
    match to {
        Some(to) if to < from => counter!(ISR_SHRINKS).increment(1),
        Some(_) => counter!(ISR_EXPANDS).increment(1),
        None => counter!(FAILED_ISR).increment(1),
    }
}

/// What is looked at when somebody asks.
pub(crate) struct Subject {
    pub(crate) me: BrokerId,
    pub(crate) registry: Registry,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) controller: Controller,
    pub(crate) groups: GroupCoordinator,
}

/// Counts from now on, and shows it at `http://address/metrics` until `stop` turns true. Gives where that is.
///
/// # Errors
/// When the address cannot be bound, or something in this process counts already.
pub(crate) async fn start(
    address: &str,
    subject: Subject,
    stop: watch::Receiver<bool>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let page = PrometheusBuilder::new().install_recorder().map_err(io::Error::other)?;
    describe();
    let subject = Arc::new(subject);
    let show = {
        let page = page.clone();
        move || {
            let (page, subject) = (page.clone(), Arc::clone(&subject));
            async move { show(&page, &subject) }
        }
    };
    tokio::spawn(keep(page, stop.clone()));
    let router = Router::new().route("/metrics", get(show));
    let mut stopping = stop;
    let stopped = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    Ok(bound)
}

async fn keep(page: PrometheusHandle, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => page.run_upkeep(),
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
        }
    }
}

fn show(page: &PrometheusHandle, subject: &Subject) -> impl IntoResponse + use<> {
    subject.look();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.render())
}

impl Subject {
    fn look(&self) {
        let image = self.registry.image();
        let is_active = self.controller.is_active();
        gauge!(ACTIVE_CONTROLLER).set(f64::from(u8::from(is_active)));
        let offline = image.partitions().filter(|(_, partition)| partition.leader().is_none()).count();
        gauge!(OFFLINE).set(if is_active { offline as f64 } else { 0.0 });
        gauge!(BROKERS).set(image.brokers.len() as f64);
        gauge!(TOPICS).set(image.topics.len() as f64);

        let (mut leaders, mut under_replicated, mut under_min) = (0, 0, 0);
        for (name, partition) in image.partitions_on(self.me).filter(|(_, it)| it.leader() == Some(self.me)) {
            leaders += 1;
            let in_sync = partition.state.as_ref().map_or(0, |state| state.isr.len());
            under_replicated += usize::from(in_sync < partition.target().len());
            let ours = self.replicas.partition(&name.topic, name.partition);
            under_min +=
                usize::from(ours.is_ok_and(|it| in_sync < it.config().in_sync_replicas_min as usize));
        }
        gauge!(LEADERS).set(f64::from(leaders));
        gauge!(UNDER_REPLICATED).set(under_replicated as f64);
        gauge!(UNDER_MIN_ISR).set(under_min as f64);

        let groups = self.groups.list(|_| true).groups;
        gauge!(GROUPS).set(groups.len() as f64);
        gauge!(GROUP_OFFSETS).set(groups.iter().map(|group| group.offsets).sum::<usize>() as f64);
        for (state, name) in GROUP_STATES {
            gauge!(name).set(groups.iter().filter(|group| group.state == state).count() as f64);
        }

        let all = self.replicas.all();
        gauge!(PARTITIONS).set(all.len() as f64);
        for partition in all {
            let (bytes, end, start, segments) = partition
                .with_log(|log| (log.size(), log.end_offset(), log.start_offset(), log.segment_count()));
            let labels = [
                ("topic", partition.name.topic.to_string()),
                ("partition", partition.name.partition.to_string()),
            ];
            gauge!(LOG_BYTES, &labels).set(bytes as f64);
            gauge!(LOG_END, &labels).set(end as f64);
            gauge!(LOG_START, &labels).set(start as f64);
            gauge!(LOG_SEGMENTS, &labels).set(segments as f64);
        }
    }
}

fn describe() {
    let counters = [
        (MESSAGES_IN, Unit::Count, "Records appended for producers."),
        (BYTES_IN, Unit::Bytes, "Bytes of batches appended for producers."),
        (BYTES_OUT, Unit::Bytes, "Bytes of batches given to consumers."),
        (REPLICATED_IN, Unit::Bytes, "Bytes of batches taken from leaders."),
        (REPLICATED_OUT, Unit::Bytes, "Bytes of batches given to followers."),
        (FAILED_PRODUCE, Unit::Count, "Batches of producers that were refused."),
        (FAILED_FETCH, Unit::Count, "Partitions in fetches that were refused."),
        (REQUESTS, Unit::Count, "Requests answered."),
        (ISR_SHRINKS, Unit::Count, "Times that replicas fell out of sync."),
        (ISR_EXPANDS, Unit::Count, "Times that replicas came to be in sync."),
        (FAILED_ISR, Unit::Count, "Changes of who is in sync that the service did not take."),
    ];
    for (name, unit, help) in counters {
        describe_counter!(name, unit, help);
    }
    let gauges = [
        (PARTITIONS, Unit::Count, "Partitions of which this broker has a replica."),
        (LEADERS, Unit::Count, "Partitions that this broker leads."),
        (UNDER_REPLICATED, Unit::Count, "Partitions led here of which not all replicas are in sync."),
        (UNDER_MIN_ISR, Unit::Count, "Partitions led here with fewer in sync than acks=all needs."),
        (ACTIVE_CONTROLLER, Unit::Count, "1 at the controller, else 0."),
        (OFFLINE, Unit::Count, "At the controller: partitions without a leader."),
        (BROKERS, Unit::Count, "Brokers that are registered."),
        (TOPICS, Unit::Count, "Topics of the cluster."),
        (GROUPS, Unit::Count, "Groups coordinated here."),
        (GROUP_OFFSETS, Unit::Count, "Offsets committed by groups coordinated here."),
        (LOG_BYTES, Unit::Bytes, "Size of a partition's log."),
        (LOG_END, Unit::Count, "The offset that a partition's next record gets."),
        (LOG_START, Unit::Count, "A partition's first offset."),
        (LOG_SEGMENTS, Unit::Count, "Segments of a partition's log."),
    ];
    for (name, unit, help) in gauges {
        describe_gauge!(name, unit, help);
    }
    for (state, name) in GROUP_STATES {
        describe_gauge!(name, Unit::Count, format!("Groups coordinated here that are {state}."));
    }
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time to the answer, waiting for others included.");
}
