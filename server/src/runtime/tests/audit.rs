use std::io;
use std::sync::{Mutex, OnceLock};

use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{DeleteRequest, SetAclRequest};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::runtime::Clock;

/// What was logged under the target `audit`, by all tests of this process.
fn audit_log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let layer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_target(false);
        let subscriber = tracing_subscriber::registry()
            .with(Targets::new().with_target("audit", Level::INFO))
            .with(layer.with_writer(|| Writer));
        tracing::subscriber::set_global_default(subscriber).expect("no other test sets it");
        Mutex::default()
    })
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        audit_log().lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The session's lines, without the session, once there are `count`.
fn lines_of(session: i64, count: usize) -> Vec<String> {
    let clock = Clock::start();
    loop {
        let all = String::from_utf8(audit_log().lock().unwrap().clone()).unwrap();
        let mark = format!("session=0x{session:x}\t");
        let lines = all.lines().filter(|line| line.contains(&mark));
        let found: Vec<String> =
            lines.map(|line| line.trim_start().replace(&mark, "").replace('\t', " ")).collect();
        if found.len() >= count {
            return found;
        }
        assert!(clock.monotonic() < PATIENCE, "{found:#?}");
    }
}

#[test]
fn every_write_leaves_a_line_that_says_who_did_what() {
    audit_log();
    let fixture = Fixture::new("audit.enable=true");
    let mut client = fixture.client();
    client.call(&auth("digest", b"alice:secret"));
    let requests = [
        client.create("/audit", 0),
        client.create("/audit", 0),
        client.create("/audit/n-", 2),
        client.set("/audit", b"secret data"),
        client.get("/audit", false),
    ];
    client.send(&requests.concat());
    let acl = SetAclRequest {
        path: "/audit".into(),
        acl: vec![Acl::new(9, "world", "anyone")].into(),
        version: -1,
    };
    let acl = client.request(Op::SetAcl, |out| acl.encode(out));
    client.send(&acl);
    let part = |path: &str| MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 });
    for ops in [vec![part("/audit/n-0000000000")], vec![part("/audit/none")]] {
        let multi = client.request(Op::Multi, |out| MultiRequest { ops }.encode(out));
        client.send(&multi);
    }
    let broken = client.create("/audit\nresult=success", 0);
    client.send(&broken);
    let who = "user=127.0.0.1,alice ip=127.0.0.1";
    assert_eq!(
        lines_of(client.session, 8),
        [
            format!("INFO {who} operation=create znode=/audit znode_type=persistent result=success"),
            format!("ERROR {who} operation=create znode=/audit znode_type=persistent result=failure"),
            format!(
                "INFO {who} operation=create znode=/audit/n-0000000000 znode_type=persistent_sequential result=success"
            ),
            format!("INFO {who} operation=setData znode=/audit result=success"),
            format!("INFO {who} operation=setAcl znode=/audit acl=world:anyone:dr result=success"),
            format!("INFO {who} operation=delete znode=/audit/n-0000000000 result=success"),
            format!("ERROR {who} operation=multiOperation result=failure"),
            format!(
                "ERROR {who} operation=create znode=/audit\\nresult=success znode_type=persistent result=failure"
            ),
        ]
    );
}

#[test]
fn what_goes_with_a_session_is_told_and_so_is_what_its_client_did_not_wait_for() {
    audit_log();
    let fixture = Fixture::new("audit.enable=true");
    let mut client = fixture.client();
    let session = client.session;
    let create = client.create("/ephemeral", 1);
    client.call(&create);
    let close = client.request(Op::CloseSession, |_| {});
    client.call(&close);
    let found = lines_of(session, 2);
    assert!(found[1].ends_with(
        " operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode=/ephemeral result=success"
    ));

    let mut hasty = fixture.client();
    let session = hasty.session;
    let creates: Vec<_> = (0..100).map(|_| hasty.create("/hasty-", 2)).collect();
    hasty.send(&creates.concat());
    drop(hasty);
    assert_eq!(lines_of(session, 100).len(), 100);
}

#[test]
fn without_an_audit_there_are_no_lines() {
    audit_log();
    let fixture = Fixture::new("");
    let mut client = fixture.client();
    let create = client.create("/quiet", 0);
    client.call(&create);
    // Another server in this process may have numbered a session of its own alike.
    let all = String::from_utf8(audit_log().lock().unwrap().clone()).unwrap();
    assert!(!all.contains("/quiet"));
}

#[test]
fn start_and_stop_are_told() {
    audit_log();
    let mut fixture = Fixture::new("audit.enable=true");
    fixture.stop();
    let all = String::from_utf8(audit_log().lock().unwrap().clone()).unwrap();
    for end in ["\toperation=serverStart\tresult=success", "\toperation=serverStop\tresult=invoked"] {
        assert!(all.lines().any(|line| line.contains("INFO user=") && line.ends_with(end)), "{end}");
    }
}
