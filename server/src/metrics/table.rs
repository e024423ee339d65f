//! Every metric there is, with ZooKeeper's exact names: dashboards and alerts are built on them. What a step of
//! its pipeline has no counterpart for here stays, and stands at 0.

use std::collections::BTreeMap;

use super::{Counter, Detail, Keyed, Kind, Metric, Number, Summary, Unit};

/// A gauge's value, if there is one.
trait Shown {
    fn shown(self) -> Option<Number>;
}

impl Shown for i64 {
    fn shown(self) -> Option<Number> {
        Some(self.into())
    }
}

impl Shown for f64 {
    fn shown(self) -> Option<Number> {
        Some(self.into())
    }
}

impl Shown for Option<i64> {
    fn shown(self) -> Option<Number> {
        self.map(Number::from)
    }
}

macro_rules! metrics {
    (
        gauges { $($gauge:ident: $type:ty, $gauge_unit:ident, $gauge_help:literal;)* }
        counters { $($counter:ident: $counter_help:literal;)* }
        summaries { $($summary:ident: $detail:ident, $unit:ident, $help:literal;)* }
        keyed { $($keyed:ident: $keyed_detail:ident, $keyed_unit:ident, $keyed_help:literal;)* }
        keyed_counters { $($tally:ident: $tally_help:literal;)* }
    ) => {
        /// What is looked up rather than counted, at one moment.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Gauges {
            $(#[doc = $gauge_help] pub $gauge: $type,)*
            /// Limits and usage of each namespace that has quotas.
            pub quotas: BTreeMap<String, QuotaGauges>,
        }

        impl Gauges {
            /// Each with its value; `None` is of an office that this server does not hold.
            pub fn all(&self) -> impl Iterator<Item = (Metric, Option<Number>)> {
                [$((
                    Metric { name: stringify!($gauge), kind: Kind::Gauge, unit: Unit::$gauge_unit, help: $gauge_help },
                    self.$gauge.shown(),
                ),)*].into_iter()
            }
        }

        /// What one thread counts. Each has its own: nobody else writes to it, everyone may read.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $counter_help] pub $counter: Counter,)*
            $(#[doc = $help] pub $summary: Summary,)*
            $(#[doc = $keyed_help] pub $keyed: Keyed,)*
            $(#[doc = $tally_help] pub $tally: Keyed,)*
        }

        /// The counters: how each is described, and where it is.
        pub(super) type CounterOf = (Metric, fn(&Metrics) -> &Counter);
        /// The summaries: how each is described, and where it is.
        pub(super) type SummaryOf = (Metric, fn(&Metrics) -> &Summary);
        /// The keyed summaries: how each is described, and where it is.
        pub(super) type KeyedOf = (Metric, fn(&Metrics) -> &Keyed);

        pub(super) static COUNTERS: &[CounterOf] = &[$((
            Metric { name: stringify!($counter), kind: Kind::Counter, unit: Unit::Count, help: $counter_help },
            |metrics| &metrics.$counter,
        ),)*];

        pub(super) static SUMMARIES: &[SummaryOf] = &[$((
            Metric {
                name: stringify!($summary),
                kind: Kind::Summary(Detail::$detail),
                unit: Unit::$unit,
                help: $help,
            },
            |metrics| &metrics.$summary,
        ),)*];

        pub(super) static KEYED: &[KeyedOf] = &[$((
            Metric {
                name: stringify!($keyed),
                kind: Kind::Keyed(Detail::$keyed_detail),
                unit: Unit::$keyed_unit,
                help: $keyed_help,
            },
            |metrics| &metrics.$keyed,
        ),)*];

        /// Shown by how many values each key has.
        pub(super) static KEYED_COUNTERS: &[KeyedOf] = &[$((
            Metric { name: stringify!($tally), kind: Kind::Counter, unit: Unit::Count, help: $tally_help },
            |metrics| &metrics.$tally,
        ),)*];
    };
}

metrics! {
    gauges {
        avg_latency: f64, Milliseconds, "Average time to answer since the last reset.";
        max_latency: i64, Milliseconds, "Longest time to answer since the last reset.";
        min_latency: i64, Milliseconds, "Shortest time to answer since the last reset.";
        packets_received: i64, Count, "Requests since the last reset.";
        packets_sent: i64, Count, "Replies and notifications since the last reset.";
        num_alive_connections: i64, Count, "Connections of clients.";
        outstanding_requests: i64, Count, "Requests in flight.";
        uptime: i64, Milliseconds, "Since the start.";
        znode_count: i64, Count, "Znodes.";
        watch_count: i64, Count, "Watches.";
        ephemerals_count: i64, Count, "Ephemeral znodes.";
        approximate_data_size: i64, Bytes, "Paths and data of all znodes.";
        global_sessions: i64, Count, "Sessions.";
        local_sessions: i64, Count, "Sessions only this server knows.";
        open_file_descriptor_count: i64, Count, "Files and sockets open.";
        max_file_descriptor_count: i64, Count, "Files and sockets that may be open.";
        connection_drop_probability: f64, Count, "Of the connection throttle.";
        last_client_response_size: i64, Bytes, "The last reply's size.";
        max_client_response_size: i64, Bytes, "The largest reply's size.";
        min_client_response_size: i64, Bytes, "The smallest reply's size.";
        outstanding_tls_handshake: i64, Count, "TLS handshakes under way.";
        auth_failed_count: i64, Count, "Failed authentications.";
        non_mtls_remote_conn_count: i64, Count, "Connections without client certificates, from elsewhere.";
        non_mtls_local_conn_count: i64, Count, "Connections without client certificates, from this machine.";
        quorum_size: Option<i64>, Count, "Voters, of an ensemble.";
        learners: Option<i64>, Count, "Servers that have a link to this one, the leader.";
        synced_followers: Option<i64>, Count, "Followers in step with this leader.";
        synced_non_voting_followers: Option<i64>, Count, "Of them, those that are no members.";
        synced_observers: Option<i64>, Count, "Observers in step with this leader, or let through to it by this follower.";
        pending_syncs: Option<i64>, Count, "Syncs of learners' clients that wait for a commit.";
        leader_uptime: Option<i64>, Milliseconds, "Since this server leads.";
        last_proposal_size: Option<i64>, Bytes, "The last proposal's size, of this leader.";
        max_proposal_size: Option<i64>, Bytes, "The largest proposal's size.";
        min_proposal_size: Option<i64>, Bytes, "The smallest proposal's size.";
    }
    counters {
        snapshot_error_count: "Snapshots that failed.";
        snapshot_rate_limited_count: "Snapshots refused because one was asked for shortly before.";
        restore_error_count: "Restores that failed.";
        restore_rate_limited_count: "Restores refused because one was asked for shortly before.";
        looking_count: "Times this server looked for a leader.";
        diff_count: "Learners brought up to date by a diff.";
        snap_count: "Learners brought up to date by a snapshot.";
        commit_count: "Commits, on the leader.";
        connection_request_count: "Handshakes of clients.";
        connection_rejected: "Connections refused by `maxCnxns` and `maxClientCnxns`.";
        bytes_received_count: "Bytes that clients sent.";
        unrecoverable_error_count: "Errors that stop the server.";
        add_dead_watcher_stall_time: "Milliseconds that closing connections waited for the cleaner of watches; 0 here.";
        dead_watchers_queued: "Connections whose watches wait to be removed; 0 here.";
        dead_watchers_cleared: "Connections whose watches were removed later; 0 here.";
        response_packet_cache_hits: "getData answered from a cache; 0 here.";
        response_packet_cache_misses: "getData not answered from a cache; 0 here.";
        response_packet_get_children_cache_hits: "getChildren answered from a cache; 0 here.";
        response_packet_get_children_cache_misses: "getChildren not answered from a cache; 0 here.";
        ensemble_auth_success: "Clients that named this ensemble.";
        ensemble_auth_fail: "Clients that named another ensemble.";
        ensemble_auth_skip: "Clients that named none, or servers without a name.";
        prep_processor_request_queued: "Requests that were to be judged.";
        outstanding_changes_queued: "Changes judged and not yet applied, as they came.";
        outstanding_changes_removed: "Changes applied since they were judged.";
        revalidate_count: "Sessions whose owner was asked for.";
        connection_drop_count: "Connections dropped by the connection throttle.";
        connection_revalidate_count: "Reconnects with a session.";
        sessionless_connections_expired: "Connections closed because no session came about in time.";
        stale_sessions_expired: "Sessions that expired.";
        request_commit_queued: "Commits that waited to be applied.";
        throttled_ops: "Operations refused because they had waited too long.";
        learner_proposal_received_count: "Proposals received, as a learner.";
        learner_commit_received_count: "Commits received, as a learner.";
        sync_processor_request_queued: "Requests that went to the log.";
        proposal_count: "Proposals, as a leader.";
        quit_leading_due_to_disloyal_voter: "Times a leader stepped down for a voter that did not follow.";
        stale_requests: "Requests of closed connections, or too late ones.";
        stale_requests_dropped: "Those of them that were dropped.";
        stale_replies: "Replies to closed connections.";
        request_throttle_wait_count: "Times a request waited in the throttle.";
        large_requests_rejected: "Requests refused because too many large ones were in flight.";
        digest_mismatches_count: "Times the tree's digest was not the expected one.";
        unsuccessful_handshake: "TLS handshakes that failed.";
        insecure_admin_count: "Admin requests without TLS.";
        tls_handshake_exceeded: "TLS connections refused because too many handshakes were under way.";
        cnxn_closed_without_zk_server_running: "Connections closed because the server does not serve.";
        skip_learner_request_to_next_processor_count: "Requests a learner did not take part in itself.";
        requests_not_forwarded_to_commit_processor: "Requests of learners that the leader only proposes.";
        response_bytes: "Bytes of replies.";
        watch_bytes: "Bytes of notifications.";
        protocol_errors_total: "Connections closed because their client broke the protocol.";
    }
    summaries {
        fsynctime: Basic, Milliseconds, "Syncs of the log.";
        snapshottime: Basic, Milliseconds, "Writing snapshots.";
        restore_time: Basic, Milliseconds, "Restoring a snapshot over HTTP.";
        dbinittime: Basic, Milliseconds, "Loading the tree at the start.";
        readlatency: Percentiles, Milliseconds, "Reads, from their arrival to their reply.";
        updatelatency: Percentiles, Milliseconds, "Writes, from their arrival to their reply.";
        propagation_latency: Percentiles, Milliseconds, "From a txn's making to its being applied here.";
        follower_sync_time: Basic, Milliseconds, "A follower's catching up.";
        observer_sync_time: Basic, Milliseconds, "An observer's catching up.";
        election_time: Basic, Milliseconds, "From looking to having found a leader.";
        connection_token_deficit: Basic, Count, "Tokens the connection throttle lacks.";
        inflight_snap_count: Basic, Count, "Snapshots being sent to learners.";
        inflight_diff_count: Basic, Count, "Diffs being sent to learners.";
        node_created_watch_count: Basic, Count, "Watches fired by a creation.";
        node_deleted_watch_count: Basic, Count, "Watches fired by a deletion.";
        node_changed_watch_count: Basic, Count, "Watches fired by a change of data.";
        node_children_watch_count: Basic, Count, "Watches fired by a change of children.";
        dead_watchers_cleaner_latency: Percentiles, Milliseconds, "Removing watches of closed connections.";
        prep_processor_queue_time_ms: Percentiles, Milliseconds, "Requests' wait to be judged.";
        prep_processor_queue_size: Basic, Count, "Requests that wait to be judged.";
        prep_process_time: Basic, Milliseconds, "Judging a request.";
        proposal_process_time: Basic, Milliseconds, "Proposing a request.";
        close_session_prep_time: Percentiles, Milliseconds, "Judging the end of a session.";
        unavailable_time: Basic, Milliseconds, "Without a leader.";
        leader_unavailable_time: Basic, Milliseconds, "Without a leader, at the new leader.";
        requests_in_session_queue: Basic, Count, "Requests behind others of their session.";
        pending_session_queue_size: Basic, Count, "Sessions with requests that wait.";
        reads_after_write_in_session_queue: Basic, Count, "Reads behind a write of their session.";
        reads_issued_from_session_queue: Basic, Count, "Reads let go after a write.";
        session_queues_drained: Basic, Count, "Sessions whose queues emptied at once.";
        time_waiting_empty_pool_in_commit_processor_read_ms: Basic, Milliseconds, "Waiting for reads to finish.";
        write_batch_time_in_commit_processor: Basic, Milliseconds, "Applying a batch of writes.";
        concurrent_request_processing_in_commit_processor: Basic, Count, "Requests processed at once.";
        read_commit_proc_req_queued: Basic, Count, "Reads that wait.";
        write_commit_proc_req_queued: Basic, Count, "Writes that wait.";
        commit_commit_proc_req_queued: Basic, Count, "Commits that wait.";
        read_commit_proc_issued: Basic, Count, "Reads let go at once.";
        write_commit_proc_issued: Basic, Count, "Writes let go at once.";
        read_commitproc_time_ms: Percentiles, Milliseconds, "Reads' wait for writes before them.";
        write_commitproc_time_ms: Percentiles, Milliseconds, "Writes' wait for their commit.";
        local_write_committed_time_ms: Percentiles, Milliseconds, "From a commit's arrival to its application, writes of own clients.";
        server_write_committed_time_ms: Percentiles, Milliseconds, "From a commit's arrival to its application, other writes.";
        commit_process_time: Basic, Milliseconds, "Handling a commit.";
        om_proposal_process_time_ms: Percentiles, Milliseconds, "A follower's passing a proposal to observers.";
        om_commit_process_time_ms: Percentiles, Milliseconds, "A follower's passing a commit to observers.";
        read_final_proc_time_ms: Percentiles, Milliseconds, "Answering reads.";
        write_final_proc_time_ms: Percentiles, Milliseconds, "Answering writes.";
        proposal_latency: Percentiles, Milliseconds, "From a proposal to its quorum.";
        proposal_ack_creation_latency: Percentiles, Milliseconds, "From a proposal's making to its acknowledgement.";
        commit_propagation_latency: Percentiles, Milliseconds, "From a commit's making to its arrival.";
        startup_txns_loaded: Basic, Count, "Txns replayed at the start.";
        startup_txns_load_time: Basic, Milliseconds, "Replaying the log at the start.";
        startup_snap_load_time: Basic, Milliseconds, "Loading the snapshot at the start.";
        sync_processor_queue_and_flush_time_ms: Percentiles, Milliseconds, "From a write's queueing to its being on disk.";
        sync_processor_queue_size: Basic, Count, "Writes that wait for the disk.";
        sync_processor_queue_time_ms: Percentiles, Milliseconds, "Writes' wait for the disk.";
        sync_processor_queue_flush_time_ms: Percentiles, Milliseconds, "Flushing a batch.";
        sync_process_time: Basic, Milliseconds, "Appending and flushing a batch.";
        sync_processor_batch_size: Basic, Count, "Writes of a batch.";
        quorum_ack_latency: Percentiles, Milliseconds, "From a proposal to the acknowledgement that made its quorum.";
        request_throttle_queue_time_ms: Percentiles, Milliseconds, "Requests' wait in the throttle.";
        netty_queued_buffer_capacity: Basic, Bytes, "Received bytes that wait to be read.";
        learner_request_processor_queue_size: Basic, Count, "Requests a learner has yet to forward.";
        socket_closing_time: Basic, Milliseconds, "Closing a socket.";
        jvm_pause_time_ms: Percentiles, Milliseconds, "Pauses of the virtual machine; none here.";
    }
    keyed {
        write_per_namespace: Basic, Bytes, "Sizes of writes, by first path component.";
        read_per_namespace: Basic, Bytes, "Sizes of reads, by first path component.";
        learner_handler_qp_size: Basic, Count, "Packets queued for a learner, by its id.";
        learner_handler_qp_time_ms: Percentiles, Milliseconds, "Packets' wait for a learner, by its id.";
        ack_latency: Percentiles, Milliseconds, "From a proposal to its acknowledgement, by server id.";
    }
    keyed_counters {
        quota_exceeded_error_per_namespace: "Writes refused by a quota, by first path component.";
    }
}

/// The quotas of a namespace, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaGauges {
    /// How many znodes there may be; hard limits go before soft ones.
    pub count_limit: i64,
    /// How many bytes of data there may be; hard limits go before soft ones.
    pub bytes_limit: i64,
    /// How many znodes there are.
    pub count: i64,
    /// How many bytes of data there are.
    pub bytes: i64,
}

type QuotaOf = (Metric, fn(&QuotaGauges) -> i64);

static QUOTAS: [QuotaOf; 4] = [
    (quota("quota_count_limit_per_namespace", Unit::Count, "Znodes allowed."), |quota| quota.count_limit),
    (quota("quota_bytes_limit_per_namespace", Unit::Bytes, "Data allowed."), |quota| quota.bytes_limit),
    (quota("quota_count_usage_per_namespace", Unit::Count, "Znodes there are."), |quota| quota.count),
    (quota("quota_bytes_usage_per_namespace", Unit::Bytes, "Data there is."), |quota| quota.bytes),
];

const fn quota(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, help }
}

impl Gauges {
    /// Those that each namespace has, with the namespace.
    pub fn by_namespace(&self) -> impl Iterator<Item = (&'static Metric, &str, Number)> {
        QUOTAS.iter().flat_map(|(metric, of)| {
            self.quotas.iter().map(move |(namespace, quota)| (metric, namespace.as_str(), of(quota).into()))
        })
    }
}
