//! Every metric that can move on a lone server moves with what it measures.

use std::collections::BTreeMap;

use jute::proto::{DeleteRequest, SetWatches, xid};

use super::*;
use crate::runtime::four_letter::monitor_lines;

/// All that `mntr` shows.
fn figures(fixture: &Fixture) -> BTreeMap<String, f64> {
    let view = fixture.server.as_ref().expect("it runs").view();
    #[allow(clippy::cast_precision_loss)] // Small numbers.
    let real = |number| match number {
        crate::metrics::Number::Integer(integer) => integer as f64,
        crate::metrics::Number::Real(real) => real,
    };
    monitor_lines(&*view).into_iter().map(|(name, number)| (name, real(number))).collect()
}

/// Does something, and waits until all of `names` are larger than before.
fn moves(fixture: &mut Fixture, names: &[&str], act: impl FnOnce(&mut Fixture)) {
    let before = figures(fixture);
    act(fixture);
    let clock = crate::runtime::Clock::start();
    for name in names {
        let value = |of: &BTreeMap<String, f64>| of.get(*name).copied().unwrap_or(0.0);
        loop {
            let now = figures(fixture);
            if value(&now) > value(&before) {
                break;
            }
            assert!(clock.monotonic() < PATIENCE, "{name} stays at {}", value(&before));
        }
    }
}

#[test]
fn every_figure_moves_with_what_it_measures() {
    let mut fixture = Fixture::new(
        "maxClientCnxns=4\nnio.sessionlessCnxnTimeout=300\nenforceQuota=true\nensembleAuthName=here\n\
         connection_throttle_tokens=1000\nminSessionTimeout=100\n",
    );
    let handshake: &[&str] = &[
        "connection_request_count",
        "cnt_connection_token_deficit",
        "num_alive_connections",
        "global_sessions",
        "packets_received",
        "packets_sent",
        "bytes_received_count",
    ];
    let mut clients = Vec::new();
    moves(&mut fixture, handshake, |fixture| clients.push(fixture.client()));
    let mut client = clients.pop().unwrap();

    let write: &[&str] = &[
        "znode_count",
        "approximate_data_size",
        "cnt_updatelatency",
        "response_bytes",
        "cnt_propagation_latency",
        "cnt_fsynctime",
        "cnt_prep_processor_queue_size",
        "cnt_prep_processor_queue_time_ms",
        "cnt_prep_process_time",
        "prep_processor_request_queued",
        "outstanding_changes_queued",
        "outstanding_changes_removed",
        "sync_processor_request_queued",
        "cnt_sync_processor_batch_size",
        "cnt_sync_processor_queue_size",
        "cnt_sync_processor_queue_time_ms",
        "cnt_sync_processor_queue_flush_time_ms",
        "cnt_sync_processor_queue_and_flush_time_ms",
        "cnt_sync_process_time",
        "sum_app_write_per_namespace",
        "last_client_response_size",
        "min_client_response_size",
        "max_client_response_size",
    ];
    moves(&mut fixture, write, |_| {
        let create = client.create("/app", 0);
        assert_eq!(client.call(&create).0.err, 0);
    });
    moves(&mut fixture, &["cnt_readlatency", "sum_app_read_per_namespace", "watch_count"], |_| {
        let get = client.get("/app", true);
        assert_eq!(client.call(&get).0.err, 0);
    });
    moves(&mut fixture, &["cnt_node_changed_watch_count", "watch_bytes"], |_| {
        let set = client.set("/app", b"x");
        client.send(&set);
        assert_eq!(client.reply().0.xid, xid::NOTIFICATION);
        assert_eq!(client.reply().0.err, 0);
    });
    let created = ["cnt_node_created_watch_count", "cnt_node_children_watch_count", "ephemerals_count"];
    moves(&mut fixture, &created, |_| {
        let watches = SetWatches {
            relative_zxid: i64::MAX,
            data_watches: Vec::new(),
            exist_watches: vec!["/app/e".into()],
            child_watches: vec!["/app".into()],
        };
        let watch = request(xid::SET_WATCHES, Op::SetWatches.code(), |out| watches.encode(out));
        assert_eq!(client.call(&watch).0.err, 0);
        let create = client.create("/app/e", 1);
        client.send(&create);
        assert_eq!((0..3).map(|_| client.reply().0.err).sum::<i32>(), 0);
    });
    moves(&mut fixture, &["cnt_node_deleted_watch_count"], |_| {
        let get = client.get("/app/e", true);
        assert_eq!(client.call(&get).0.err, 0);
        let body = DeleteRequest { path: "/app/e".into(), version: -1 };
        let delete = client.request(Op::Delete, |out| body.encode(out));
        client.send(&delete);
        assert_eq!((0..2).map(|_| client.reply().0.err).sum::<i32>(), 0);
    });
    let quota = [
        "app_quota_count_limit_per_namespace",
        "app_quota_count_usage_per_namespace",
        "app_quota_exceeded_error_per_namespace",
    ];
    moves(&mut fixture, &quota, |_| {
        for path in [
            "/zookeeper/quota/app",
            "/zookeeper/quota/app/zookeeper_limits",
            "/zookeeper/quota/app/zookeeper_stats",
        ] {
            let create = client.create(path, 0);
            assert_eq!(client.call(&create).0.err, 0, "{path}");
        }
        let limits =
            client.set("/zookeeper/quota/app/zookeeper_limits", b"count=1,bytes=-1=;countHardLimit=1");
        assert_eq!(client.call(&limits).0.err, 0);
        let usage = client.set("/zookeeper/quota/app/zookeeper_stats", b"count=1,bytes=1");
        assert_eq!(client.call(&usage).0.err, 0);
        let create = client.create("/app/more", 0);
        assert_eq!(client.call(&create).0.err, jute::ErrorCode::QuotaExceeded.code());
    });

    moves(&mut fixture, &["ensemble_auth_success"], |_| {
        assert_eq!(client.call(&auth("ensemble", b"here")).0.err, 0)
    });
    moves(&mut fixture, &["ensemble_auth_skip"], |_| {
        assert_eq!(client.call(&auth("ensemble", b"")).0.err, 0)
    });
    moves(&mut fixture, &["ensemble_auth_fail"], |fixture| {
        let mut other = fixture.client();
        other.send(&auth("ensemble", b"elsewhere"));
        assert!(other.is_closed());
    });
    moves(&mut fixture, &["auth_failed_count"], |fixture| {
        let mut other = fixture.client();
        assert_eq!(other.call(&auth("nosuch", b"")).0.err, jute::ErrorCode::AuthFailed.code());
    });
    moves(&mut fixture, &["protocol_errors_total"], |fixture| {
        let mut other = fixture.client();
        other.send(&(-1i32).to_be_bytes());
        assert!(other.is_closed());
    });
    moves(&mut fixture, &["sessionless_connections_expired"], |fixture| {
        assert!(fixture.connect().is_closed());
    });
    moves(&mut fixture, &["connection_rejected"], |fixture| {
        let clients: Vec<_> = (0..4).map(|_| fixture.connect()).collect();
        assert!(fixture.connect().is_closed());
        drop(clients);
    });
    moves(&mut fixture, &["connection_drop_count", "connection_revalidate_count"], |fixture| {
        let (session, password) = (client.session, client.password.clone());
        drop(client);
        let clock = crate::runtime::Clock::start();
        let _successor = loop {
            let mut next = fixture.connect();
            (next.session, next.password) = (session, password.clone());
            next.ask_session(10_000, 0, None);
            if next.frame().is_some() {
                break next;
            }
            assert!(clock.monotonic() < PATIENCE, "there is no place");
        };
    });
    moves(&mut fixture, &["stale_sessions_expired"], |fixture| {
        fixture.connect().open(100);
    });
    moves(&mut fixture, &["stale_replies"], |fixture| {
        let mut hasty = fixture.client();
        let requests: Vec<_> = (0..200).map(|_| hasty.set("/app", b"x")).collect();
        hasty.send(&requests.concat());
    });
}

#[test]
fn the_start_is_measured() {
    let mut fixture = Fixture::new("");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    fixture.stop();
    fixture.start();
    let figures = figures(&fixture);
    for name in [
        "cnt_dbinittime",
        "cnt_startup_snap_load_time",
        "cnt_startup_txns_load_time",
        "cnt_startup_txns_loaded",
    ] {
        assert!(figures[name] > 0.0, "{name}");
    }
    assert!(figures["cnt_snapshottime"] >= 0.0);
}

#[test]
fn four_letter_words_and_handshakes_are_packets_like_others() {
    let fixture = Fixture::new("");
    let _client = fixture.client();
    let statistics = fixture.server.as_ref().unwrap().view().statistics();
    assert_eq!((statistics.packets_received, statistics.packets_sent), (1, 1));
    let mut word = fixture.connect();
    word.send(b"ruok");
    let mut answer = String::new();
    word.stream.read_to_string(&mut answer).unwrap();
    let statistics = fixture.server.as_ref().unwrap().view().statistics();
    assert_eq!((statistics.packets_received, statistics.packets_sent), (2, 2));
}

/// A reset sets everything back but what is a state.
#[test]
fn srst_begins_anew() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let create = client.create("/app", 0);
    client.call(&create);
    fixture.server.as_ref().unwrap().view().reset_statistics();
    let figures = figures(&fixture);
    for name in ["packets_sent", "cnt_updatelatency", "response_bytes", "sum_app_write_per_namespace"] {
        assert!(figures.get(name).copied().unwrap_or(0.0) == 0.0, "{name} is {}", figures[name]);
    }
    assert!(figures["last_client_response_size"] < 0.0, "as in Java before the first");
    assert!(figures["znode_count"] > 0.0);
}
