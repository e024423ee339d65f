//! What operators see and may do.

use jute::proto::SetAclRequest;

use super::*;
use crate::runtime::{Refusal, ServerView};

fn view(fixture: &Fixture) -> std::sync::Arc<dyn ServerView> {
    fixture.server.as_ref().expect("it runs").view()
}

fn page(fixture: &Fixture, word: &[u8]) -> String {
    let mut client = fixture.connect();
    client.send(word);
    let mut page = String::new();
    client.stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn only_who_may_do_everything_to_the_root_may_move_whole_trees() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let here = "127.0.0.1".parse().unwrap();
    let ask = |scheme, auth: Option<&str>| view(&fixture).authorize(here, scheme, auth.map(str::as_bytes));
    assert_eq!(ask("digest", Some("a:b")), Ok(()), "the root is open at first");
    assert_eq!(ask("nosuch", None), Err(Refusal::NotAuthenticated));
    assert_eq!(ask("digest", None), Err(Refusal::NotAuthenticated));

    client.call(&auth("digest", b"root:secret"));
    let acl = vec![Acl::new(1, "world", "anyone"), Acl::new(31, "auth", ""), Acl::new(31, "ip", "127.0.0.1")];
    let acl = SetAclRequest { path: "/".into(), acl: acl.into(), version: -1 };
    let acl = client.request(Op::SetAcl, |out| acl.encode(out));
    assert_eq!(client.call(&acl).0.err, 0);
    assert_eq!(ask("digest", Some("a:b")), Err(Refusal::NotAuthorized), "reading is not everything");
    assert_eq!(ask("digest", Some("root:secret")), Ok(()));
    assert_eq!(ask("ip", None), Ok(()));
}

#[test]
fn dump_shows_when_sessions_expire_by_the_tick() {
    let fixture = Fixture::new("");
    let (first, second) = (fixture.client(), fixture.client());
    let sessions = view(&fixture).sessions();
    let mut ids: Vec<_> = sessions.iter().map(|session| session.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [first.session, second.session]);
    let now_ms = crate::runtime::Clock::wall_ms();
    for session in sessions {
        let left = session.expires_ms - now_ms;
        assert!(left > 5000 && left <= 10_600, "{left} ms of 10000, and a tick of 500");
    }
    assert!(
        page(&fixture, b"dump").contains("2 expire at") || page(&fixture, b"dump").contains("1 expire at")
    );
}

#[test]
fn the_snapshot_that_a_server_began_with_is_its_last() {
    let fixture = Fixture::new("");
    let (zxid, seconds) = view(&fixture).last_snapshot().expect("there is one");
    assert_eq!(zxid, crate::zab::Zxid::ZERO);
    assert!(seconds > 1_700_000_000);
}

#[test]
fn cons_counts_as_java_does() {
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let create = client.create("/a", 0);
    client.call(&create);
    let get = client.get("/a", false);
    client.call(&get);
    let page = page(&fixture, b"cons");
    let of_client = page.lines().find(|line| line.contains("sid=0x")).unwrap();
    for part in [
        "[1](queued=0,recved=3,sent=3,",
        ",lop=GETD,",
        ",to=10000,",
        ",lcxid=0x2,",
        ",lzxid=0x2,",
        ",minlat=",
        ",maxlat=",
    ] {
        assert!(of_client.contains(part), "{part} is not in {of_client}");
    }
    assert!(page.lines().any(|line| line.ends_with("[0](queued=0,recved=1,sent=0)")), "{page}");
}
