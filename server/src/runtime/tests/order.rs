use jute::proto::{GetDataResponse, xid};

use super::*;

#[test]
fn pipelined_reads_see_the_writes_before_them_and_none_after() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let mut bytes = client.create("/a", 0);
    for data in [&b"1"[..], b"2", b"3"] {
        bytes.extend_from_slice(&client.set("/a", data));
        bytes.extend_from_slice(&client.get("/a", false));
        bytes.extend_from_slice(&client.get("/a", false));
    }
    client.send(&bytes);

    assert_eq!(client.reply().0.xid, 1);
    for (round, data) in [&b"1"[..], b"2", b"3"].into_iter().enumerate() {
        let first = 2 + 3 * i32::try_from(round).unwrap();
        assert_eq!(client.reply().0.xid, first);
        for read in [first + 1, first + 2] {
            let (header, body) = client.reply();
            assert_eq!((header.xid, header.err), (read, 0));
            assert_eq!(GetDataResponse::from_bytes(&body).unwrap().data.as_deref(), Some(data));
        }
    }
}

#[test]
fn an_event_comes_before_the_reply_that_shows_its_change() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    for _ in 0..100 {
        let mut bytes = client.get("/a", true);
        bytes.extend_from_slice(&client.set("/a", b"new"));
        client.send(&bytes);
        assert_eq!(client.reply().0.xid, client.xid - 1, "the read that watches");
        assert_eq!(client.reply().0.xid, xid::NOTIFICATION);
        assert_eq!(client.reply().0.xid, client.xid, "the write");
    }
}

#[test]
fn no_read_of_another_overtakes_its_own_event() {
    let fixture = Fixture::new("");
    let (mut writer, mut reader) = (fixture.client(), fixture.client());
    let create = writer.create("/a", 0);
    writer.call(&create);
    for _ in 0..100 {
        let get = reader.get("/a", true);
        let (watching, body) = reader.call(&get);
        assert_eq!(watching.err, 0);
        let version = GetDataResponse::from_bytes(&body).unwrap().stat.version;
        let set = writer.set("/a", b"x");
        writer.send(&set);
        let mut told = false;
        loop {
            let get = reader.get("/a", false);
            reader.send(&get);
            let (mut header, mut body) = reader.reply();
            if header.xid == xid::NOTIFICATION {
                told = true;
                (header, body) = reader.reply();
            }
            assert_eq!(header.err, 0);
            if GetDataResponse::from_bytes(&body).unwrap().stat.version > version {
                break;
            }
        }
        assert!(told, "the change was seen before its event");
        writer.reply();
    }
}

#[test]
fn requests_sent_along_with_the_handshake_are_served_after_it() {
    let fixture = Fixture::new("");
    let mut client = fixture.connect();
    client.ask_session(10_000, 0, Some(false));
    let mut bytes = client.create("/early", 0);
    bytes.extend_from_slice(&client.get("/early", false));
    client.send(&bytes);
    assert_eq!(client.frame().map(|frame| frame.len()), Some(37));
    assert_eq!(client.reply().0.xid, 1);
    let (header, _) = client.reply();
    assert_eq!((header.xid, header.err), (2, 0));
}

#[test]
fn frames_may_arrive_a_byte_at_a_time() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let mut bytes = client.create("/slow", 0);
    bytes.extend_from_slice(&client.get("/slow", false));
    for byte in bytes {
        client.send(&[byte]);
    }
    assert_eq!(client.reply().0.err, 0);
    assert_eq!(client.reply().0.err, 0);
}
