//! The client library against real servers: the same scenarios with the Java server and with ours.
//!
//! Each scenario has a subtree of its own. What a server does only when told to (closing without a word, answering late,
//! talking nonsense) is in the client's own tests, with a server that follows a script.

#![allow(clippy::unwrap_used, reason = "in a test, that is a claim")]

use std::time::Duration;

use client::{
    Acl, AddWatchMode, Builder, Client, CreateMode, Data, Error, ErrorCode, EventType, MultiReadResult,
    MultiResult, SessionState, WatchUpdate, WatcherType, perms,
};
use futures::future::try_join_all;
use tests::proxy::Proxy;
use tests::service::Service;
use tests::{peer, zkserver};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// None of the scenarios takes a tenth of it, on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_client_works_with_the_java_server() {
    run_all(&peer::start().unwrap());
}

#[test]
fn the_client_works_with_zkserver() {
    run_all(&zkserver::start().unwrap());
}

#[test]
fn a_session_outlasts_an_outage_of_the_java_server() {
    outlasts_an_outage(peer::start().unwrap());
}

#[test]
fn a_session_outlasts_an_outage_of_zkserver() {
    outlasts_an_outage(zkserver::start().unwrap());
}

/// A service that is down as a whole keeps its sessions: who believes in hers has it again, however long that took. Who wants
/// to know in time has given hers up meanwhile.
fn outlasts_an_outage(mut service: Service) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let servers = service.address().to_string();
    runtime.block_on(async {
        // Long enough for a server that takes its time to start.
        let faithful = builder().session_timeout(Duration::from_secs(20)).outlast_outages(true);
        let faithful = faithful.connect(&servers).await.unwrap();
        faithful.create("/mine", "", CreateMode::Ephemeral).await.unwrap();
        let watchful = builder().connect(&servers).await.unwrap();
        let session = faithful.session_id();
        service.kill().unwrap();
        timeout(LIMIT, state_becomes(&watchful, SessionState::Expired)).await.expect("gives up");
        assert_eq!(faithful.state(), SessionState::Disconnected);

        let restarted = spawn_blocking(move || service.restart().map(|()| service)).await.unwrap();
        let _service = restarted.unwrap();
        let mine = timeout(LIMIT, faithful.exists("/mine")).await.expect("is served again").unwrap();
        assert_eq!(mine.map(|stat| stat.ephemeral_owner), Some(session.0));
        faithful.close().await.unwrap();
    });
}

fn run_all(service: &Service) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    macro_rules! scenarios {
        ($($scenario:ident),* $(,)?) => {$(
            let name = stringify!($scenario);
            println!("{name} with {}", service.name());
            runtime.block_on(async {
                let root = builder().connect(&service.address().to_string()).await.unwrap();
                root.create(&format!("/{name}"), "", CreateMode::Persistent).await.unwrap();
                timeout(LIMIT, $scenario(service, name)).await.expect(name);
                root.close().await.unwrap();
            });
        )*};
    }
    scenarios!(
        every_kind_of_znode_is_created,
        reads_see_what_was_written,
        a_multi_happens_whole_or_not_at_all,
        watches_fire_before_the_answer_that_shows_why,
        persistent_watches_see_everything_until_dropped,
        a_session_survives_a_cut_wire_with_its_ephemerals_and_watches,
        a_session_cut_off_for_too_long_expires,
        a_session_is_carried_on_by_another_client,
        a_session_let_go_of_lives_on,
        more_watches_than_one_request_holds_survive_a_cut_wire,
        identities_open_what_they_should,
        many_requests_are_answered_in_order,
    );
}

fn builder() -> Builder {
    Client::builder().session_timeout(Duration::from_secs(4)).connect_timeout(LIMIT)
}

/// A client that sees the scenario's own subtree only.
async fn client(service: &Service, name: &str) -> Client {
    builder().connect(&format!("{}/{name}", service.address())).await.unwrap()
}

async fn state_becomes(client: &Client, wanted: SessionState) {
    let mut states = client.states();
    while states.next().await.expect("the session has ended otherwise") != wanted {}
}

async fn every_kind_of_znode_is_created(service: &Service, name: &str) {
    let client = client(service, name).await;
    assert_eq!(client.create("/p", "data", CreateMode::Persistent).await.unwrap(), "/p");
    assert_eq!(client.create("/s-", "", CreateMode::PersistentSequential).await.unwrap(), "/s-0000000001");
    assert_eq!(client.create("/", "", CreateMode::PersistentSequential).await.unwrap(), "/0000000002");
    let (path, stat) = client.create_with_stat("/e", "", CreateMode::Ephemeral).await.unwrap();
    assert_eq!((&*path, stat.ephemeral_owner), ("/e", client.session_id().0));
    assert_eq!(client.create("/es-", "", CreateMode::EphemeralSequential).await.unwrap(), "/es-0000000004");
    assert_eq!(client.create("/c", "", CreateMode::Container).await.unwrap(), "/c");
    let ttl = CreateMode::PersistentWithTtl(Duration::from_secs(600));
    assert_eq!(client.create_with_stat("/t", "", ttl).await.unwrap().1.ephemeral_owner, 0);

    let exists = client.create("/p", "", CreateMode::Persistent).await.unwrap_err();
    assert_eq!(exists.code(), Some(ErrorCode::NodeExists));
    assert_eq!(exists.to_string(), "NodeExists for /p");
    let orphan = client.create("/no/parent", "", CreateMode::Persistent).await.unwrap_err();
    assert_eq!(orphan.code(), Some(ErrorCode::NoNode));
    let child = client.create("/e/child", "", CreateMode::Persistent).await.unwrap_err();
    assert_eq!(child.code(), Some(ErrorCode::NoChildrenForEphemerals));
    let mut ephemerals = client.ephemerals("/").await.unwrap();
    ephemerals.sort();
    assert_eq!(ephemerals, ["/e", "/es-0000000004"]);
    client.create_all("/x/y/z").await.unwrap();
    client.create_all("/x/y/z/0").await.unwrap();
    assert_eq!(client.descendants("/x").await.unwrap(), 3);
    client.create_all("/x/1/2").await.unwrap();
    client.delete_all("/x").await.unwrap();
    assert_eq!(client.exists("/x").await.unwrap(), None);
    assert_eq!(client.delete_all("/x").await.unwrap_err().code(), Some(ErrorCode::NoNode));
}

async fn reads_see_what_was_written(service: &Service, name: &str) {
    let client = client(service, name).await;
    client.create("/a", Data::NULL, CreateMode::Persistent).await.unwrap();
    assert!(client.get("/a").await.unwrap().is_null);
    let stat = client.set("/a", b"two", 0).await.unwrap();
    let znode = client.get("/a").await.unwrap();
    assert_eq!((&*znode.data, znode.stat, znode.is_null), (&b"two"[..], stat, false));
    assert_eq!(client.exists("/a").await.unwrap(), Some(stat));
    assert_eq!(client.exists("/b").await.unwrap(), None);
    assert_eq!(client.set("/a", "", 0).await.unwrap_err().code(), Some(ErrorCode::BadVersion));
    assert_eq!(client.children("/").await.unwrap(), ["a"]);
    let (children, stat) = client.children_with_stat("/").await.unwrap();
    assert_eq!((children.len(), stat.num_children), (1, 1));
    client.sync("/").await.unwrap();
    let read = client.multi_read().get("/a").children("/").get("/b").fetch().await.unwrap();
    assert!(matches!(&read[0], Ok(MultiReadResult::Znode(znode)) if znode.data == "two"));
    assert!(matches!(&read[1], Ok(MultiReadResult::Children(children)) if *children == ["a"]));
    assert_eq!(read[2].as_ref().unwrap_err().to_string(), "NoNode for /b");
    let full = client.set("/a", vec![0; 2 << 20], None).await.unwrap_err();
    assert!(matches!(full, Error::TooLarge { .. }));
    client.delete("/a", 1).await.unwrap();
    assert_eq!(client.get("/a").await.unwrap_err().code(), Some(ErrorCode::NoNode));
    client.config().await.unwrap();
}

async fn a_multi_happens_whole_or_not_at_all(service: &Service, name: &str) {
    let client = client(service, name).await;
    let done = client
        .multi()
        .create("/a", "1", CreateMode::Persistent)
        .create("/a/s-", "", CreateMode::EphemeralSequential)
        .set("/a", "2", 0)
        .check("/a", 1)
        .delete("/a/s-0000000000", None)
        .commit()
        .await
        .unwrap();
    assert!(matches!(&done[0], MultiResult::Created { path, .. } if path == "/a"));
    assert!(matches!(&done[1], MultiResult::Created { path, .. } if path == "/a/s-0000000000"));
    assert!(matches!(&done[2], MultiResult::Set(stat) if stat.version == 1));
    assert_eq!(done[3..], [MultiResult::Checked, MultiResult::Deleted]);

    let refused = client.multi().set("/a", "3", None).check("/a", 7).delete("/a", None).commit().await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::MultiRefused { code: ErrorCode::BadVersion, index: 1 }), "{refused:?}");
    assert_eq!(client.get("/a").await.unwrap().data, "2");
    assert_eq!(client.multi().commit().await.unwrap(), []);
}

async fn watches_fire_before_the_answer_that_shows_why(service: &Service, name: &str) {
    let client = client(service, name).await;
    let (absent, created) = client.exists_and_watch("/a").await.unwrap();
    assert_eq!(absent, None);
    let (_, _, child_came) = client.children_and_watch("/").await.unwrap();
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(created.await.unwrap().kind, EventType::NodeCreated);
    let event = child_came.await.unwrap();
    assert_eq!((event.kind, &*event.path), (EventType::NodeChildrenChanged, "/"));

    let (_, changed) = client.get_and_watch("/a").await.unwrap();
    let (_, both) = client.get_and_watch("/a").await.unwrap();
    client.set("/a", "x", None).await.unwrap();
    assert_eq!(changed.await.unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(both.await.unwrap().path, "/a");

    let (_, removed) = client.get_and_watch("/a").await.unwrap();
    assert!(client.has_watches("/a", WatcherType::Data).await.unwrap());
    client.remove_watches("/a", WatcherType::Data).await.unwrap();
    assert!(removed.await.is_err());
    let none = client.remove_watches("/a", WatcherType::Data).await.unwrap_err();
    assert_eq!(none.code(), Some(ErrorCode::NoWatcher));
}

async fn persistent_watches_see_everything_until_dropped(service: &Service, name: &str) {
    let client = client(service, name).await;
    let mut below = client.watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    let mut one = client.watch("/a", AddWatchMode::Persistent).await.unwrap();
    client.create("/a", "", CreateMode::Persistent).await.unwrap();
    client.create("/a/b", "", CreateMode::Persistent).await.unwrap();
    client.set("/a/b", "x", None).await.unwrap();
    client.delete("/a/b", None).await.unwrap();
    client.delete("/a", None).await.unwrap();
    let seen = |update: Option<WatchUpdate>| match update {
        Some(WatchUpdate::Event(event)) => Some((event.kind, event.path)),
        _ => None,
    };
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    for (kind, path) in [
        (NodeCreated, "/a"),
        (NodeCreated, "/a/b"),
        (NodeDataChanged, "/a/b"),
        (NodeDeleted, "/a/b"),
        (NodeDeleted, "/a"),
    ] {
        assert_eq!(seen(below.try_next()), Some((kind, path.to_owned())));
    }
    for kind in [NodeCreated, NodeChildrenChanged, NodeChildrenChanged, NodeDeleted] {
        assert_eq!(seen(one.try_next()), Some((kind, "/a".to_owned())));
    }
    assert_eq!((below.try_next(), one.try_next()), (None, None));
    drop((below, one));
    client.sync("/").await.unwrap();
    assert!(!client.has_watches("/", WatcherType::Any).await.unwrap());
    assert!(!client.has_watches("/a", WatcherType::Any).await.unwrap());
}

async fn a_session_survives_a_cut_wire_with_its_ephemerals_and_watches(service: &Service, name: &str) {
    let other = client(service, name).await;
    let proxy = Proxy::to(service.address()).await.unwrap();
    let client = builder().connect(&format!("{}/{name}", proxy.address())).await.unwrap();
    let session = client.session_id();
    client.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    other.create("/a", "1", CreateMode::Persistent).await.unwrap();
    let (_, changed) = client.get_and_watch("/a").await.unwrap();
    let (_, created) = client.exists_and_watch("/b").await.unwrap();
    let (_, unchanged) = client.get_and_watch("/e").await.unwrap();
    let mut standing = client.watch("/a", AddWatchMode::Persistent).await.unwrap();

    proxy.cut();
    state_becomes(&client, SessionState::Disconnected).await;
    other.set("/a", "2", None).await.unwrap();
    other.create("/b", "", CreateMode::Persistent).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.get("/a").await }
    });
    proxy.mend();

    assert_eq!(waiting.await.unwrap().unwrap().data, "2");
    assert_eq!(changed.await.unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(created.await.unwrap().kind, EventType::NodeCreated);
    assert_eq!(client.session_id(), session);
    assert_eq!(standing.next().await, Some(WatchUpdate::Gap));
    other.set("/a", "3", None).await.unwrap();
    assert!(matches!(standing.next().await, Some(WatchUpdate::Event(_))));
    assert!(other.exists("/e").await.unwrap().is_some());
    other.delete("/e", None).await.unwrap();
    assert_eq!(unchanged.await.unwrap().kind, EventType::NodeDeleted);
}

async fn a_session_cut_off_for_too_long_expires(service: &Service, name: &str) {
    let other = client(service, name).await;
    let proxy = Proxy::to(service.address()).await.unwrap();
    let client = Client::builder().session_timeout(Duration::from_secs(1));
    let client = client.connect(&format!("{}/{name}", proxy.address())).await.unwrap();
    client.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    let (_, gone) = other.get_and_watch("/e").await.unwrap();
    let (_, never) = client.get_and_watch("/e").await.unwrap();
    proxy.cut();
    assert_eq!(gone.await.unwrap().kind, EventType::NodeDeleted);
    proxy.mend();
    assert!(matches!(never.await, Err(Error::SessionExpired)));
    assert_eq!(client.state(), SessionState::Expired);
    assert!(matches!(client.get("/").await, Err(Error::SessionExpired)));
}

async fn a_session_is_carried_on_by_another_client(service: &Service, name: &str) {
    let proxy = Proxy::to(service.address()).await.unwrap();
    let first = builder().connect(&format!("{}/{name}", proxy.address())).await.unwrap();
    first.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    proxy.cut();
    let (id, password) = (first.session_id(), first.session_password());
    let servers = format!("{}/{name}", service.address());
    let second = builder().resume(id, password.clone()).connect(&servers).await.unwrap();
    assert_eq!(second.session_id(), id);
    assert_eq!(second.exists("/e").await.unwrap().unwrap().ephemeral_owner, id.0);
    second.close().await.unwrap();
    let third = client(service, name).await;
    assert_eq!(third.exists("/e").await.unwrap(), None);
    let late = builder().resume(id, password).connect(&servers).await;
    assert!(matches!(late, Err(Error::SessionExpired)));
}

async fn a_session_let_go_of_lives_on(service: &Service, name: &str) {
    let first = client(service, name).await;
    first.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    let (id, password) = first.detach().await.unwrap();
    let servers = format!("{}/{name}", service.address());
    let second = builder().resume(id, password).connect(&servers).await.unwrap();
    assert_eq!(second.exists("/e").await.unwrap().unwrap().ephemeral_owner, id.0);
    second.close().await.unwrap();
}

async fn more_watches_than_one_request_holds_survive_a_cut_wire(service: &Service, name: &str) {
    let proxy = Proxy::to(service.address()).await.unwrap();
    let watching = builder().connect(&format!("{}/{name}", proxy.address())).await.unwrap();
    let paths: Vec<_> = (0..6000).map(|number| format!("/{number:0>200}")).collect();
    assert!(paths.iter().map(String::len).sum::<usize>() > 1 << 20, "more than a server takes at once");
    let set = paths.iter().map(|path| watching.exists_and_watch(path));
    let mut watches: Vec<_> = try_join_all(set).await.unwrap().into_iter().map(|(_, watch)| watch).collect();
    let session = watching.session_id();
    proxy.cut();
    state_becomes(&watching, SessionState::Disconnected).await;
    proxy.mend();
    state_becomes(&watching, SessionState::Connected).await;
    watching.sync("/").await.unwrap();

    let other = client(service, name).await;
    for at in [5999, 3000, 0] {
        other.create(&paths[at], "", CreateMode::Persistent).await.unwrap();
        assert_eq!(watches.remove(at).await.unwrap().kind, EventType::NodeCreated);
    }
    assert_eq!(watching.session_id(), session);
}

async fn identities_open_what_they_should(service: &Service, name: &str) {
    let owner = builder().credentials("digest", "owner:secret");
    let owner = owner.connect(&format!("{}/{name}", service.address())).await.unwrap();
    owner.create("/a", "x", CreateMode::Persistent.with_acl(Acl::creator_all())).await.unwrap();
    let (acl, stat) = owner.acl("/a").await.unwrap();
    assert_eq!((acl.len(), &*acl[0].id.scheme, acl[0].perms), (1, "digest", perms::ALL));
    assert!(owner.who_am_i().await.unwrap().iter().any(|id| id.user == "owner"));

    let other = client(service, name).await;
    assert_eq!(other.get("/a").await.unwrap_err().code(), Some(ErrorCode::NoAuth));
    other.authenticate("digest", "owner:secret").await.unwrap();
    assert_eq!(other.get("/a").await.unwrap().data, "x");
    let opened = other.set_acl("/a", Acl::open_unsafe(), stat.aversion).await.unwrap();
    assert_eq!(opened.aversion, 1);

    let stranger = client(service, name).await;
    assert!(matches!(stranger.authenticate("no-such-scheme", "x").await, Err(Error::AuthFailed)));
    assert_eq!(stranger.state(), SessionState::AuthFailed);
}

async fn many_requests_are_answered_in_order(service: &Service, name: &str) {
    let client = client(service, name).await;
    client.create("/n", "", CreateMode::Persistent).await.unwrap();
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..5000 {
        let client = client.clone();
        writes.spawn(
            async move { (number, client.set("/n", number.to_string(), None).await.unwrap().version) },
        );
    }
    let mut versions = vec![0; 5000];
    while let Some(written) = writes.join_next().await {
        let (number, version) = written.unwrap();
        versions[number] = version;
    }
    assert!(versions.is_sorted(), "writes overtook each other");
    assert_eq!(client.get("/n").await.unwrap().data, "4999");
}
