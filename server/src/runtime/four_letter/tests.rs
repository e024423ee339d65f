//! Expected pages are those of ZooKeeper 3.8.0, in the order in which this server lists things.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::metrics::Traffic;
use crate::runtime::test_view::TestView;

fn ask(word: &str, view: &TestView) -> String {
    let bytes = <[u8; 4]>::try_from(word.as_bytes()).unwrap();
    answer(Word::from_bytes(bytes).unwrap(), &[], view)
}

#[test]
fn pages_are_those_of_java() {
    let view = TestView::new("");
    let version = crate::runtime::FULL_VERSION;
    let statistics = "\
Latency min/avg/max: 0/1.0/3
Received: 21
Sent: 20
Connections: 3
Outstanding: 0
Zxid: 0x5
Mode: standalone
Node count: 8
";
    let table = [
        ("ruok", "imok".to_owned()),
        ("isro", "rw".to_owned()),
        ("gtmk", "306".to_owned()),
        ("srst", "Server stats reset.\n".to_owned()),
        ("crst", "Connection stats reset.\n".to_owned()),
        ("dirs", "datadir_size: 67109337\nlogdir_size: 67109338\n".to_owned()),
        ("hash", "80: -5\n".to_owned()),
        ("srvr", format!("Zookeeper version: {version}\n{statistics}")),
        (
            "stat",
            format!(
                "Zookeeper version: {version}\nClients:
 /127.0.0.1:42480[1](queued=0,recved=9,sent=8)
 /127.0.0.1:42514[0](queued=0,recved=9,sent=8)
 /127.0.0.1:42486[1](queued=0,recved=9,sent=8)\n\n{statistics}"
            ),
        ),
        (
            "cons",
            " /127.0.0.1:42480[1](queued=0,recved=9,sent=8,sid=0x100004e1f9f0000,lop=GETD,est=1795239682726,\
to=10000,lcxid=0x8,lzxid=0x5,lresp=5168428,llat=0,minlat=0,avglat=1,maxlat=3)
 /127.0.0.1:42514[0](queued=0,recved=9,sent=8)
 /127.0.0.1:42486[1](queued=0,recved=9,sent=8,sid=0x100004e1f9f0001,lop=GETD,est=1795239682726,\
to=10000,lcxid=0x8,lzxid=0x5,lresp=5168428,llat=0,minlat=0,avglat=1,maxlat=3)\n\n"
                .to_owned(),
        ),
        (
            "conf",
            "clientPort=21400
secureClientPort=-1
dataDir=/tmp/data/version-2
dataDirSize=67109337
dataLogDir=/tmp/data/version-2
dataLogSize=67109338
tickTime=2000
maxClientCnxns=60
minSessionTimeout=4000
maxSessionTimeout=40000
clientPortListenBacklog=-1
serverId=0\n"
                .to_owned(),
        ),
        (
            "dump",
            "SessionTracker dump:
Session Sets (1)/(2):
2 expire at Sat Nov 21 05:41:34 UTC 2026:
\t0x100004e1f9f0001
\t0x100004e1f9f0000
ephemeral nodes dump:
Sessions with Ephemerals (1):
0x100004e1f9f0000:
\t/app/e
Connections dump:
Connections Sets (1)/(3):
3 expire at Sat Nov 21 05:41:34 UTC 2026:
\tip: /127.0.0.1:42480 sessionId: 0x100004e1f9f0000
\tip: /127.0.0.1:42514 sessionId: 0x0
\tip: /127.0.0.1:42486 sessionId: 0x100004e1f9f0001\n"
                .to_owned(),
        ),
        ("wchs", "2 connections watching 2 paths\nTotal watches:3\n".to_owned()),
        ("wchc", "0x100004e1f9f0000\n\t/app/x\n0x100004e1f9f0001\n\t/app/x\n\t/nope\n\n".to_owned()),
        (
            "wchp",
            "/app/x\n\t0x100004e1f9f0001\n\t0x100004e1f9f0000\n/nope\n\t0x100004e1f9f0001\n\n".to_owned(),
        ),
    ];
    for (word, page) in table {
        assert_eq!(ask(word, &view), page, "{word}");
    }
    assert_eq!(view.resets.load(Relaxed), 101);
}

#[test]
fn mntr_shows_every_metric_that_java_shows() {
    let view = TestView::new("");
    let shard = view.registry.thread();
    let mut traffic = Traffic::default();
    for keyed in [&shard.read_per_namespace, &shard.write_per_namespace] {
        traffic.record("/app", 1);
        keyed.take(&mut traffic);
    }
    let page = ask("mntr", &view);
    let ours: Vec<&str> = page.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
    let missing: Vec<&str> =
        include_str!("mntr_of_java_3.8.0.txt").lines().filter(|name| !ours.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(page.starts_with("zk_version\t3.9.5-menagerie-"), "{page}");
    assert!(page.contains("\nzk_server_state\tstandalone\n"), "{page}");
    assert!(page.contains("\nzk_avg_latency\t1.0\n"), "{page}");
    assert!(page.contains("\nzk_znode_count\t8\n"), "{page}");
    assert!(page.contains("\nzk_p99_readlatency\t0\n"), "{page}");
}

#[test]
fn words_outside_the_whitelist_say_so() {
    let mut view = TestView::new("");
    view.config = crate::config::Config::embedded_default();
    assert_eq!(ask("mntr", &view), "mntr is not executed because it is not in the whitelist.\n");
    assert!(ask("srvr", &view).contains("Mode: standalone"));
}

#[test]
fn a_server_that_does_not_serve_says_so() {
    let view = TestView::new("");
    view.serving.store(false, Relaxed);
    assert_eq!(ask("stat", &view), "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!(ask("ruok", &view), "imok");
    assert_eq!(ask("isro", &view), "null");
}

#[test]
fn the_trace_mask_is_what_was_set() {
    let view = TestView::new("");
    assert_eq!(answer(Word::Stmk, &118i64.to_be_bytes(), &view), "118");
    assert_eq!(answer(Word::Gtmk, &[], &view), "118");
    assert_eq!(Word::Stmk.argument_len(), 8);
}

#[test]
fn a_frame_length_is_no_word() {
    assert_eq!(Word::from_bytes(45i32.to_be_bytes()), None);
    assert_eq!(Word::from_bytes(*b"stat"), Some(Word::Stat));
    assert_eq!(answer(Word::TelnetClose, &[], &TestView::new("")), "");
}

#[test]
fn addresses_look_as_java_prints_them() {
    let table = [
        ("127.0.0.1:5", "/127.0.0.1:5"),
        ("[::ffff:10.0.0.1]:5", "/10.0.0.1:5"),
        ("[::1]:5", "/[0:0:0:0:0:0:0:1]:5"),
    ];
    for (address, shown) in table {
        assert_eq!(java_address(address.parse().unwrap()), shown);
    }
}

#[test]
fn the_environment_says_where_it_runs() {
    let page = ask("envi", &TestView::new(""));
    for line in ["Environment:\n", "\nzookeeper.version=3.9.5-menagerie-", "\nos.name=", "\nuser.dir=/"] {
        assert!(format!("\n{page}").contains(line), "{line:?} is not in {page}");
    }
}
