//! Expected answers are those of ZooKeeper's server, asked over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::config::ServerId;
use crate::runtime::test_view::TestView;
use crate::runtime::{FULL_VERSION, Http, ServerView};

const PORTS: &str = "admin.serverAddress=127.0.0.1\nadmin.serverPort=0\n";

fn start(more: &str) -> (Http, Arc<TestView>) {
    let view = Arc::new(TestView::new(&format!("{PORTS}{more}")));
    let shared: Arc<dyn ServerView> = Arc::<TestView>::clone(&view);
    (Http::start(&shared).unwrap(), view)
}

/// Status line with headers, and body.
fn ask(at: SocketAddr, request: &str, body: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    let head = format!("{request}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn get(at: SocketAddr, path: &str) -> String {
    ask(at, &format!("GET {path} HTTP/1.1\r\n"), b"").1
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[test]
fn answers_are_those_of_java() {
    let (http, view) = start("");
    let at = http.admin.unwrap();
    let table = [
        ("ruok", "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}"),
        ("nosuch", "{\n  \"command\" : \"nosuch\",\n  \"error\" : \"Unknown command: nosuch\"\n}"),
        ("ruok/x", "{\n  \"command\" : \"ruok/x\",\n  \"error\" : \"Unknown command: ruok/x\"\n}"),
        ("lead", "{\n  \"error\" : \"server is not initialized\",\n  \"command\" : \"leader\"\n}"),
        ("isro", "{\n  \"read_only\" : false,\n  \"command\" : \"is_read_only\",\n  \"error\" : null\n}"),
        (
            "conf",
            "{\n  \"client_port\" : 21400,\n  \"data_dir\" : \"/tmp/data/version-2\",
  \"data_log_dir\" : \"/tmp/data/version-2\",\n  \"tick_time\" : 2000,\n  \"max_client_cnxns\" : 60,
  \"min_session_timeout\" : 4000,\n  \"max_session_timeout\" : 40000,\n  \"server_id\" : 0,
  \"client_port_listen_backlog\" : -1,\n  \"command\" : \"configuration\",\n  \"error\" : null\n}",
        ),
        (
            "dump",
            "{\n  \"expiry_time_to_session_ids\" : {
    \"1795239694000\" : [ 72057929575890945, 72057929575890944 ]\n  },
  \"session_id_to_ephemeral_paths\" : {\n    \"72057929575890944\" : [ \"/app/e\" ]\n  },
  \"command\" : \"dump\",\n  \"error\" : null\n}",
        ),
        (
            "watch_summary",
            "{\n  \"num_connections\" : 2,\n  \"num_paths\" : 2,\n  \"num_total_watches\" : 3,
  \"command\" : \"watch_summary\",\n  \"error\" : null\n}",
        ),
        (
            "wchp",
            "{\n  \"path_to_session_ids\" : {\n    \"/app/x\" : [ 72057929575890945, 72057929575890944 ],
    \"/nope\" : [ 72057929575890945 ]\n  },\n  \"command\" : \"watches_by_path\",\n  \"error\" : null\n}",
        ),
        (
            "lsnp",
            "{\n  \"zxid\" : \"1f\",\n  \"timestamp\" : 1795239634,\n  \"command\" : \"last_snapshot\",
  \"error\" : null\n}",
        ),
        (
            "observers",
            "{\n  \"synced_observers\" : 0,\n  \"observers\" : [ ],\n  \"command\" : \"observers\",
  \"error\" : null\n}",
        ),
        (
            "voting_view",
            "{\n  \"current_config\" : { },\n  \"command\" : \"voting_view\",\n  \"error\" : null\n}",
        ),
        (
            "stmk",
            "{\n  \"error\" : \"setTraceMask requires long traceMask argument\",
  \"command\" : \"set_trace_mask\"\n}",
        ),
        (
            "stmk?traceMask=7",
            "{\n  \"tracemask\" : 7,\n  \"command\" : \"set_trace_mask\",\n  \"error\" : null\n}",
        ),
        ("gtmk", "{\n  \"tracemask\" : 7,\n  \"command\" : \"get_trace_mask\",\n  \"error\" : null\n}"),
        (
            "hash",
            "{\n  \"digests\" : [ {\n    \"zxid\" : 128,\n    \"digest_version\" : 2,\n    \"digest\" : -5
  } ],\n  \"command\" : \"hash\",\n  \"error\" : null\n}",
        ),
    ];
    for (name, answer) in table {
        assert_eq!(get(at, &format!("/commands/{name}")), answer, "{name}");
    }
    let _ = get(at, "/commands/srst");
    let _ = get(at, "/commands/crst");
    assert_eq!(view.resets.load(Relaxed), 101);
}

#[test]
fn every_field_of_java_is_there() {
    let (http, _view) = start("");
    let at = http.admin.unwrap();
    let fields = |name: &str| -> serde_json::Value {
        serde_json::from_str(&get(at, &format!("/commands/{name}"))).unwrap()
    };
    let stats = fields("stats");
    assert_eq!(stats["version"], FULL_VERSION);
    assert_eq!(stats["server_stats"]["avg_latency"], 1.0);
    assert_eq!(stats["server_stats"]["last_processed_zxid"], 5);
    assert_eq!(stats["client_response"]["last_buffer_size"], -1);
    assert_eq!(stats["connections"][1]["remote_socket_address"], "127.0.0.1:42514");
    assert_eq!(stats["connections"][1].as_object().unwrap().len(), 5);

    let connections = fields("connections");
    assert_eq!(connections["connections"][0].as_object().unwrap().len(), 16);
    assert_eq!(connections["connections"][0]["avg_latency"], 1);
    assert_eq!(connections["secure_connections"], serde_json::json!([]));

    let monitor = fields("monitor");
    assert_eq!(monitor["server_state"], "standalone");
    assert_eq!(monitor["znode_count"], 8);
    assert_eq!(monitor["p99_readlatency"], 0);
    assert_eq!(fields("initial_configuration")["initial_configuration"].as_str().unwrap().lines().count(), 6);
}

#[test]
fn the_index_links_to_every_command() {
    let (http, _view) = start("");
    let page = get(http.admin.unwrap(), "/commands");
    assert!(page.starts_with("<a href=\"/commands/configuration\">configuration</a>\n<br/>\n"), "{page}");
    let ours_alone = 1;
    assert_eq!(page.lines().count(), 2 * (28 + ours_alone));
}

#[test]
fn a_server_that_does_not_serve_still_answers() {
    let (http, view) = start("");
    view.serving.store(false, Relaxed);
    let at = http.admin.unwrap();
    let (head, body) = ask(at, "GET /commands/ruok HTTP/1.1\r\n", b"");
    assert_eq!(status(&head), "200");
    assert!(body.contains("This ZooKeeper instance is not currently serving requests"), "{body}");
    assert!(get(at, "/commands/monitor").contains("\"error\" : null"));
}

#[test]
fn a_snapshot_goes_only_to_those_who_may_have_it() {
    let (http, _view) = start("");
    let at = http.admin.unwrap();
    let snapshot = |authorization: &str, query: &str| {
        ask(at, &format!("GET /commands/snapshot{query} HTTP/1.1\r\n{authorization}"), b"")
    };
    let (head, body) = snapshot("", "");
    assert_eq!(status(&head), "401");
    assert!(body.contains("Auth info is missing for the command"), "{body}");
    assert_eq!(status(&snapshot("Authorization: nosuch x\r\n", "").0), "401");
    assert_eq!(status(&snapshot("Authorization: digest root:wrong\r\n", "").0), "403");
    assert_eq!(status(&snapshot("Authorization: digest root:secret more\r\n", "").0), "401");

    let (head, body) = snapshot("Authorization: digest root:secret\r\n", "?streaming=true");
    assert_eq!(status(&head), "200");
    assert!(head.contains("last_zxid: 0x5") && head.contains("snapshot_size: 14"), "{head}");
    assert!(head.contains("content-type: application/octet-stream"), "{head}");
    assert!(body.contains("ZKSN and so on"), "{body}");
}

#[test]
fn snapshots_and_restores_are_rate_limited() {
    let (http, view) = start("admin.rateLimiterIntervalInMS=2000000000\n");
    let at = http.admin.unwrap();
    let who = "Authorization: digest root:secret\r\n";
    for command in ["GET /commands/snap?streaming=false", "POST /commands/restore"] {
        let request = format!("{command} HTTP/1.1\r\n{who}");
        assert_eq!(status(&ask(at, &request, b"ZKSN").0), "200", "{command}");
        assert_eq!(status(&ask(at, &request, b"ZKSN").0), "429", "{command}");
    }
    assert_eq!(view.registry.sum(|metrics| &metrics.snapshot_rate_limited_count), 1);
    assert_eq!(view.registry.sum(|metrics| &metrics.restore_rate_limited_count), 1);
}

#[test]
fn a_restore_takes_the_posted_snapshot() {
    let (http, view) = start("admin.rateLimiterIntervalInMS=0\n");
    let at = http.admin.unwrap();
    let snapshot = [b"ZKSN".as_slice(), &[7; 1_000_000]].concat();
    let post = "POST /commands/restore HTTP/1.1\r\nAuthorization: digest root:secret\r\n";
    let (head, body) = ask(at, post, &snapshot);
    assert_eq!(status(&head), "200");
    assert_eq!(body, "{\n  \"last_zxid\" : 5,\n  \"command\" : \"restore\",\n  \"error\" : null\n}");
    assert_eq!(*view.restored.lock(), snapshot);
}

#[test]
fn leadership_is_handed_over_for_those_who_may() {
    let mut view = TestView::new(PORTS);
    view.successor = Some(ServerId(3));
    let shared: Arc<dyn ServerView> = Arc::new(view);
    let http = Http::start(&shared).unwrap();
    let at = http.admin.unwrap();
    let post = |who: &str| ask(at, &format!("POST /commands/handover HTTP/1.1\r\n{who}"), b"");
    assert_eq!(status(&post("").0), "401");
    assert_eq!(status(&ask(at, "GET /commands/handover HTTP/1.1\r\n", b"").0), "405");
    let (head, body) = post("Authorization: digest root:secret\r\n");
    assert_eq!(status(&head), "200");
    assert_eq!(body, "{\n  \"leader_id\" : 3,\n  \"command\" : \"handover\",\n  \"error\" : null\n}");
}

#[test]
fn who_does_not_lead_has_nothing_to_hand_over() {
    let (http, _view) = start("");
    let who = "Authorization: digest root:secret\r\n";
    let post = format!("POST /commands/ydld HTTP/1.1\r\n{who}");
    let (head, body) = ask(http.admin.unwrap(), &post, b"");
    assert_eq!(status(&head), "409");
    assert!(body.contains("this server does not lead"), "{body}");
}

#[test]
fn what_is_switched_off_is_unavailable() {
    let (http, _view) = start("admin.snapshot.enabled=false\nadmin.restore.enabled=false\n");
    let at = http.admin.unwrap();
    let who = "Authorization: digest root:secret\r\n";
    assert_eq!(status(&ask(at, &format!("GET /commands/snapshot HTTP/1.1\r\n{who}"), b"").0), "503");
    assert_eq!(status(&ask(at, &format!("POST /commands/restore HTTP/1.1\r\n{who}"), b"").0), "503");
    assert_eq!(status(&ask(at, &format!("GET /commands/restore HTTP/1.1\r\n{who}"), b"").0), "405");
}

#[test]
fn prometheus_finds_its_page() {
    let more = "admin.enableServer=false\nmetricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=0\n\
                metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n";
    let (http, _view) = start(more);
    assert_eq!(http.admin, None);
    let (head, body) = ask(http.metrics.unwrap(), "GET /metrics HTTP/1.1\r\n", b"");
    assert_eq!(status(&head), "200");
    assert!(body.contains("\nznode_count 8\n"), "{body}");
}
