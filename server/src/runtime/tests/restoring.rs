//! `restore` while clients are connected: they are cut off, come back, and find what the snapshot holds.

use jute::proto::{ConnectResponse, SetWatches, xid};

use super::*;
use crate::runtime::ServerView;

fn view(fixture: &Fixture) -> std::sync::Arc<dyn ServerView> {
    fixture.server.as_ref().expect("it runs").view()
}

/// Another connection with the session of `client`.
fn come_back(fixture: &Fixture, client: &Client) -> (Client, ConnectResponse) {
    let mut back = fixture.connect();
    (back.session, back.password, back.xid) = (client.session, client.password.clone(), client.xid);
    let response = back.open(10_000);
    (back, response)
}

#[test]
fn clients_come_back_with_the_sessions_that_the_snapshot_has() {
    let mut fixture = Fixture::new("");
    let mut old = fixture.client();
    for request in [old.create("/kept", 0), old.create("/ephemeral", 1)] {
        assert_eq!(old.call(&request).0.err, 0);
    }
    let mut snapshot = view(&fixture).snapshot().expect("a snapshot");

    let mut young = fixture.client();
    for request in
        [young.create("/lost", 0), young.create("/lost-ephemeral", 1), young.set("/kept", b"changed")]
    {
        assert_eq!(young.call(&request).0.err, 0);
    }
    let watch = young.get("/kept", true);
    assert_eq!(young.call(&watch).0.err, 0);
    let newest = view(&fixture).last_zxid();

    let restored = view(&fixture).restore(&mut snapshot.content).expect("it is whole");
    assert!(restored >= newest, "no zxid is used twice");
    assert!(old.is_closed() && young.is_closed(), "everybody is cut off, and nobody is told of a change");

    let (mut old, response) = come_back(&fixture, &old);
    assert_ne!(response.session_id, 0);
    for (path, err) in [("/kept", 0), ("/ephemeral", 0), ("/lost", -101), ("/lost-ephemeral", -101)] {
        let get = old.get(path, false);
        assert_eq!(old.call(&get).0.err, err, "{path}");
    }
    let (_, response) = come_back(&fixture, &young);
    assert_eq!(
        (response.session_id, response.timeout_ms),
        (0, 0),
        "a session that the snapshot has not has expired"
    );

    // Watches are taken along as on any other reconnect, and fire for what comes next.
    let watches = SetWatches {
        relative_zxid: restored.0,
        data_watches: vec!["/kept".into(), "/lost".into()],
        exist_watches: Vec::new(),
        child_watches: Vec::new(),
    };
    let set_watches = request(xid::SET_WATCHES, Op::SetWatches.code(), |out| watches.encode(out));
    old.send(&set_watches);
    assert_eq!(old.reply().0.xid, xid::NOTIFICATION, "/lost is gone");
    assert_eq!(old.reply().0.xid, xid::SET_WATCHES);
    let set = old.set("/kept", b"again");
    old.send(&set);
    assert_eq!(old.reply().0.xid, xid::NOTIFICATION);
    let (header, _) = old.reply();
    assert_eq!(header.err, 0);
    assert!(header.zxid > restored.0);

    // A start finds the restored tree and what was written to it.
    fixture.stop();
    fixture.start();
    let mut later = fixture.client();
    for (path, err) in [("/kept", 0), ("/lost", -101)] {
        let get = later.get(path, false);
        assert_eq!(later.call(&get).0.err, err, "{path} after a restart");
    }
}
