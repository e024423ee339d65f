use jute::proto::xid;

use super::*;

#[test]
fn lengths_that_no_frame_may_have_close_only_their_connection() {
    let fixture = Fixture::new("jute.maxbuffer=2000");
    let mut bystander = fixture.client();
    for length in [-1, i32::MIN, 2001, i32::MAX] {
        let mut client = fixture.client();
        client.send(&length.to_be_bytes());
        assert!(client.is_closed(), "length {length}");
        let mut stranger = fixture.connect();
        stranger.send(&length.to_be_bytes());
        assert!(stranger.is_closed(), "length {length} as the first bytes");
    }
    let get = bystander.get("/", false);
    assert_eq!(bystander.call(&get).0.err, 0);
}

#[test]
fn what_came_before_a_bad_length_is_answered() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let mut bytes = client.get("/", false);
    bytes.extend_from_slice(&(-5i32).to_be_bytes());
    assert_eq!(client.call(&bytes).0.err, 0);
    assert!(client.is_closed());
}

#[test]
fn a_frame_without_a_header_closes_the_connection() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    client.send(&[0, 0, 0, 4, 0, 0, 0, 1]);
    assert!(client.is_closed());
}

#[test]
fn an_unknown_operation_is_answered_and_the_connection_closes() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    assert_eq!(client.call(&request(1, 77, |_| {})).0.err, jute::ErrorCode::Unimplemented.code());
    assert!(client.is_closed());
}

#[test]
fn connections_above_the_limit_of_an_address_are_closed_until_one_goes() {
    let fixture = Fixture::new("maxClientCnxns=2");
    let (first, _second) = (fixture.client(), fixture.client());
    assert!(fixture.connect().is_closed());
    drop(first);
    let deadline = std::time::Duration::from_secs(20);
    let began = crate::runtime::Clock::start();
    loop {
        let mut client = fixture.connect();
        client.ask_session(10_000, 0, None);
        if client.frame().is_some() {
            break;
        }
        assert!(began.monotonic() < deadline, "its place is not given away");
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let fixture = Fixture::new("nio.sessionlessCnxnTimeout=200");
    assert!(fixture.connect().is_closed());
    let mut client = fixture.client();
    let ping = request(xid::PING, Op::Ping.code(), |_| {});
    let began = crate::runtime::Clock::start();
    while began.monotonic() < Duration::from_millis(400) {
        assert_eq!(client.call(&ping).0.err, 0, "one with a session stays");
    }
}

#[test]
fn a_client_that_does_not_listen_is_not_read_from_and_disturbs_nobody() {
    let fixture = Fixture::new("");
    let mut deaf = fixture.client();
    let create = deaf.create("/big", 0);
    deaf.call(&create);
    let set = deaf.set("/big", &[b'x'; 500_000]);
    deaf.call(&set);
    let asked: i32 = 400;
    let first = deaf.xid + 1;
    let mut bytes = BytesMut::new();
    for _ in 0..asked {
        bytes.extend_from_slice(&deaf.get("/big", false));
    }
    deaf.send(&bytes);

    let mut other = fixture.client();
    let get = other.get("/", false);
    assert_eq!(other.call(&get).0.err, 0);
    for xid in first..first + asked {
        assert_eq!(deaf.reply().0.xid, xid, "every answer comes in the end");
    }
}

#[test]
fn more_requests_than_may_be_under_way_are_all_answered() {
    let fixture = Fixture::new("globalOutstandingLimit=10");
    let mut clients: Vec<_> = (0..4).map(|_| fixture.client()).collect();
    let create = clients[0].create("/a", 0);
    clients[0].call(&create);
    for client in &mut clients {
        let requests: Vec<_> = (0..500).map(|_| client.set("/a", b"x")).collect();
        client.send(&requests.concat());
    }
    for client in &mut clients {
        let first = client.xid - 499;
        for xid in first..first + 500 {
            assert_eq!(client.reply().0.xid, xid);
        }
    }
}
