use jute::ErrorCode;
use jute::proto::xid;

use super::*;
use crate::metrics::{Counter, Metrics, Summary};
use crate::runtime::Clock;

fn counter(fixture: &Fixture, of: fn(&Metrics) -> &Counter) -> u64 {
    fixture.server.as_ref().expect("it runs").view().registry().sum(of)
}

fn count(fixture: &Fixture, of: fn(&Metrics) -> &Summary) -> u64 {
    fixture.server.as_ref().expect("it runs").view().registry().distribution(of).count
}

fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let clock = Clock::start();
    while !is_true() {
        assert!(clock.monotonic() < PATIENCE, "{what}");
    }
}

#[test]
fn clients_that_must_authenticate_are_told_and_disconnected() {
    let fixture = Fixture::new("enforce.auth.enabled=true\nenforce.auth.schemes=digest");
    let mut stranger = fixture.client();
    let get = stranger.get("/", false);
    let (header, body) = stranger.call(&get);
    assert_eq!(header.err, ErrorCode::SessionClosedRequireSaslAuth.code());
    assert_eq!((header.xid, header.zxid, body.len()), (stranger.xid, 0, 0));
    assert!(stranger.is_closed());

    let mut known = fixture.client();
    assert_eq!(known.call(&auth("digest", b"alice:secret")).0.err, 0);
    let get = known.get("/", false);
    assert_eq!(known.call(&get).0.err, 0);
}

#[test]
fn an_address_can_be_authentication_enough() {
    let fixture = Fixture::new("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip");
    let mut client = fixture.client();
    let get = client.get("/", false);
    assert_eq!(client.call(&get).0.err, 0);
}

#[test]
fn more_clients_than_there_are_tokens_are_sent_away() {
    let fixture = Fixture::new("connection_throttle_tokens=2\nconnection_throttle_fill_time=36000000");
    let _admitted = [fixture.client(), fixture.client()];
    let mut third = fixture.connect();
    third.ask_session(10_000, 0, None);
    assert!(third.is_closed());
    assert_eq!(counter(&fixture, |metrics| &metrics.connection_rejected), 1);
    assert_eq!(counter(&fixture, |metrics| &metrics.connection_request_count), 2);
}

#[test]
fn requests_beyond_the_throttle_wait_and_are_answered_in_their_order() {
    let fixture = Fixture::new("request_throttle_max_requests=1\nrequest_throttle_stall_time=5");
    let mut clients: Vec<_> = (0..3).map(|_| fixture.client()).collect();
    let create = clients[0].create("/a", 0);
    clients[0].call(&create);
    for client in &mut clients {
        let requests =
            (0..60).map(|n| if n % 3 == 0 { client.get("/a", false) } else { client.set("/a", b"x") });
        let requests = requests.collect::<Vec<_>>().concat();
        client.send(&requests);
    }
    for client in &mut clients {
        let first = client.xid - 59;
        for xid in first..first + 60 {
            let (header, _) = client.reply();
            assert_eq!((header.xid, header.err), (xid, 0));
        }
    }
    assert!(counter(&fixture, |metrics| &metrics.request_throttle_wait_count) > 0);
    assert!(count(&fixture, |metrics| &metrics.request_throttle_queue_time_ms) > 0);
}

#[test]
fn an_operation_that_waited_too_long_is_refused_but_a_ping_is_not() {
    const REQUESTS: i32 = 400;
    let fixture = Fixture::new("request_throttle_max_requests=1\nthrottled_op_wait_time=1");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    // One at a time, each with a sync of the log: the last ones wait longer than a millisecond.
    let mut requests: Vec<_> = (0..REQUESTS).map(|_| client.set("/a", b"x")).collect();
    requests.push(request(xid::PING, Op::Ping.code(), |_| {}));
    client.send(&requests.concat());
    let replies: Vec<_> = (0..REQUESTS).map(|_| client.reply().0).collect();
    let first = client.xid - REQUESTS + 1;
    assert!(replies.iter().zip(first..).all(|(reply, xid)| reply.xid == xid));
    assert_eq!(replies[0].err, 0);
    assert_eq!(replies.last().unwrap().err, ErrorCode::ThrottledOp.code());
    assert_eq!(client.reply().0.err, 0, "the ping");
    let refused = replies.iter().filter(|reply| reply.err != 0).count() as u64;
    assert_eq!(counter(&fixture, |metrics| &metrics.throttled_ops), refused + 1, "the ping is counted");
}

#[test]
fn requests_that_wait_are_dropped_with_their_connection() {
    let fixture = Fixture::new("request_throttle_max_requests=1\nrequest_throttle_stall_time=5");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    let requests: Vec<_> = (0..1000).map(|_| client.set("/a", b"x")).collect();
    client.send(&requests.concat());
    let mut successor = fixture.connect();
    (successor.session, successor.password) = (client.session, client.password.clone());
    assert_ne!(successor.open(10_000).session_id, 0);
    let dropped = || counter(&fixture, |metrics| &metrics.stale_requests_dropped);
    wait_until("nothing is dropped", || dropped() > 0);
    let set = successor.set("/a", b"y");
    assert_eq!(successor.call(&set).0.err, 0);
}

#[test]
fn large_requests_hold_no_more_than_their_share() {
    let fixture = Fixture::new("largeRequestThreshold=1000\nlargeRequestMaxBytes=3000");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    for _ in 0..10 {
        let set = client.set("/a", &[b'x'; 2000]);
        assert_eq!(client.call(&set).0.err, 0, "what was answered is given back");
    }
    client.send(&4000i32.to_be_bytes());
    assert!(client.is_closed(), "before it has sent what it announced");
    assert_eq!(counter(&fixture, |metrics| &metrics.large_requests_rejected), 1);

    let mut greedy = fixture.client();
    let requests: Vec<_> = (0..20).map(|_| greedy.set("/a", &[b'x'; 1400])).collect();
    greedy.send(&requests.concat());
    while greedy.frame().is_some() {}
    let mut modest = fixture.client();
    let set = modest.set("/a", &[b'x'; 2000]);
    assert_eq!(modest.call(&set).0.err, 0, "nothing is held by connections that have gone");
}

#[test]
fn a_write_may_wait_for_others_to_share_a_sync() {
    let fixture = Fixture::new("flushDelay=3600000\nmaxBatchSize=2");
    let mut clients = [fixture.connect(), fixture.connect()];
    clients.iter_mut().for_each(|client| client.ask_session(10_000, 0, None));
    assert!(clients.iter_mut().all(|client| client.frame().is_some()), "two are enough");
}
