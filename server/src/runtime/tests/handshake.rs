use jute::ErrorCode;
use jute::proto::{AuthPacket, xid};

use super::*;

#[test]
fn clients_before_3_4_are_answered_without_the_tail_they_do_not_know() {
    let fixture = Fixture::new("");
    for (tail, len) in [(None, 36), (Some(false), 37), (Some(true), 37)] {
        let mut client = fixture.connect();
        client.ask_session(10_000, 0, tail);
        assert_eq!(client.frame().map(|frame| frame.len()), Some(len));
    }
}

#[test]
fn timeouts_are_granted_within_the_bounds() {
    let fixture = Fixture::new("minSessionTimeout=3000\nmaxSessionTimeout=5000");
    for (asked, granted) in [(0, 3000), (4000, 4000), (60_000, 5000)] {
        assert_eq!(fixture.connect().open(asked).timeout_ms, granted);
    }
}

#[test]
fn a_client_that_has_seen_more_is_sent_on_without_a_word() {
    let fixture = Fixture::new("");
    let mut client = fixture.connect();
    client.ask_session(10_000, 1 << 40, Some(false));
    assert!(client.is_closed());
}

#[test]
fn a_session_moves_to_the_connection_that_renews_it() {
    let fixture = Fixture::new("");
    let mut old = fixture.client();
    let mut new = fixture.connect();
    (new.session, new.password) = (old.session, old.password.clone());
    assert_eq!(new.open(10_000).session_id, old.session);
    assert!(old.is_closed());
    let exists = new.get("/", false);
    assert_eq!(new.call(&exists).0.err, 0);
}

#[test]
fn a_wrong_password_is_told_like_an_expired_session() {
    let fixture = Fixture::new("");
    let holder = fixture.client();
    let mut thief = fixture.connect();
    (thief.session, thief.password) = (holder.session, Bytes::from_static(&[7; 16]));
    let response = thief.open(10_000);
    assert_eq!((response.session_id, response.timeout_ms), (0, 0));
    assert!(thief.is_closed());
}

#[test]
fn a_session_ends_with_its_timeout_and_takes_its_znodes_along() {
    let fixture = Fixture::new("minSessionTimeout=500");
    let mut silent = fixture.connect();
    silent.open(500);
    let create = silent.create("/ephemeral", 1);
    assert_eq!(silent.call(&create).0.err, 0);
    let mut watcher = fixture.client();
    let get = watcher.get("/ephemeral", true);
    assert_eq!(watcher.call(&get).0.err, 0);

    assert_eq!(watcher.reply().0.xid, xid::NOTIFICATION);
    assert!(silent.is_closed());
}

#[test]
fn closing_a_session_is_answered_before_the_connection_ends() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let close = client.request(Op::CloseSession, |_| {});
    assert_eq!(client.call(&close).0.err, 0);
    assert!(client.is_closed());
}

#[test]
fn bad_credentials_are_answered_and_the_connection_ends() {
    let fixture = Fixture::new("");
    let auth = |scheme: &'static str| {
        let packet =
            AuthPacket { auth_type: 0, scheme: scheme.into(), auth: Some(Bytes::from_static(b"u:p")) };
        request(xid::AUTH, Op::Auth.code(), |out| packet.encode(out))
    };
    let mut client = fixture.client();
    let (header, _) = client.call(&auth("digest"));
    assert_eq!((header.xid, header.zxid, header.err), (xid::AUTH, 0, 0));
    let (header, _) = client.call(&auth("none"));
    assert_eq!(header.err, ErrorCode::AuthFailed.code());
    assert!(client.is_closed());
}

#[test]
fn words_are_answered_without_a_frame() {
    let fixture = Fixture::new("");
    let mut client = fixture.connect();
    client.send(b"ru");
    client.send(b"ok");
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "imok");
}
