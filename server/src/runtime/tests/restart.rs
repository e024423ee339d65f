use jute::proto::GetDataResponse;

use super::*;

#[test]
fn a_restarted_server_knows_what_it_acknowledged_and_whose_sessions_it_held() {
    let mut fixture = Fixture::new("");
    let mut client = fixture.client();
    for path in ["/kept", "/ephemeral"] {
        let create = client.create(path, i32::from(path == "/ephemeral"));
        assert_eq!(client.call(&create).0.err, 0);
    }
    let set = client.set("/kept", b"value");
    let (acknowledged, _) = client.call(&set);
    fixture.stop();
    assert!(client.is_closed());

    fixture.start();
    let mut back = fixture.connect();
    (back.session, back.password) = (client.session, client.password.clone());
    assert_eq!(back.open(10_000).session_id, client.session);
    let get = back.get("/kept", false);
    let (header, body) = back.call(&get);
    assert!(header.zxid >= acknowledged.zxid);
    assert_eq!(GetDataResponse::from_bytes(&body).unwrap().data.as_deref(), Some(&b"value"[..]));
    let get = back.get("/ephemeral", false);
    assert_eq!(back.call(&get).0.err, 0, "its session lives");
}

#[test]
fn snapshots_and_log_together_make_the_tree() {
    let mut fixture = Fixture::new("snapCount=100");
    let mut client = fixture.client();
    for round in 0..3 {
        let requests: Vec<_> = (0..150).map(|n| client.create(&format!("/n{round}-{n}"), 0)).collect();
        client.send(&requests.concat());
        for _ in 0..150 {
            assert_eq!(client.reply().0.err, 0);
        }
        fixture.stop();
        fixture.start();
        let view = fixture.server.as_ref().unwrap().view();
        assert_eq!(view.statistics().node_count, 5 + 150 * (round + 1));
        client = fixture.client();
    }
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let fixture = Fixture::new("");
    let text = format!("clientPort=0\nadmin.enableServer=false\ndataDir={}\n", fixture.dir.path().display());
    let config = Config::parse(&text, Path::new("zoo.cfg"), &[]).unwrap();
    assert!(Server::start(config).is_err());
}
