//! The client at its edges, against a server that follows a script: how sessions end and go on, what is never shown,
//! and what floods and nonsense do.

#![allow(clippy::unwrap_used, reason = "in a test, that is a claim")]

mod fake;

use std::pin::pin;
use std::time::Duration;

use client::{
    AddWatchMode, CreateMode, Error, ErrorCode, EventType, Op, SessionState, WatchUpdate, WatcherType,
};
use fake::{FakeServer, Peer, SESSION, TIMEOUT, answered, builder, in_time};
use futures::FutureExt;
use jute::Jute;
use jute::proto::{CreateRequest, GetDataResponse};

fn no_data() -> Vec<u8> {
    GetDataResponse::default().to_bytes().to_vec()
}

#[tokio::test]
async fn a_session_that_is_let_go_of_can_be_resumed() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let (id, password) = in_time(client.clone().detach()).await.unwrap();
    assert_eq!(peer.frame().await, None, "nothing is said to the server");
    assert_eq!(client.state(), SessionState::Closed);
    assert!(matches!(client.get("/a").await, Err(Error::Closed)));
    assert!(matches!(client.detach().await, Err(Error::Closed)));

    let address = server.address();
    let resumed = builder().resume(id, password.clone()).connect(&address);
    let (resumed, (asked, _peer)) = in_time(async { tokio::join!(resumed, server.accept()) }).await;
    assert_eq!((asked.session_id, asked.password), (SESSION, Some(password)));
    assert_eq!(resumed.unwrap().session_id(), id);
}

#[test]
fn a_write_under_way_on_a_runtime_that_ends_may_have_happened() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (serving, mine) = (runtime(), runtime());
    let (client, mut peer) = serving.block_on(async {
        let server = FakeServer::bind().await;
        server.client(builder()).await
    });
    let mut writing = pin!(client.set("/a", "x", None));
    assert!(mine.block_on(async { (&mut writing).now_or_never() }).is_none());
    serving.block_on(peer.asked());
    drop((peer, serving));
    let lost = mine.block_on(writing).unwrap_err();
    assert!(lost.may_have_happened(), "{lost:?}");
    assert!(matches!(mine.block_on(client.get("/a")), Err(Error::Closed)));
}

#[tokio::test]
async fn no_secret_is_shown() {
    let server = FakeServer::bind().await;
    let settings = builder().credentials("digest", "user:sesame");
    let shown = format!("{settings:?}");
    assert!(shown.contains("digest") && !shown.contains("sesame"), "{shown}");
    let (client, _peer) = server.client(settings).await;
    let shown = format!("{client:?}");
    assert!(shown.contains("***") && !shown.contains("\\x07"), "the session's password: {shown}");
}

#[tokio::test]
async fn any_session_timeout_can_be_asked_for() {
    for (wanted, asked_ms) in [(Duration::MAX, i32::MAX), (Duration::ZERO, 1)] {
        let server = FakeServer::bind().await;
        let settings = builder().session_timeout(wanted).resume(client::SessionId(SESSION), vec![7; 16]);
        let _client = settings.outlast_outages(true).connect_lazily(&server.address()).unwrap();
        let mut peer = Peer::new(server.accept_raw().await);
        assert_eq!(peer.connect_request().await.timeout_ms, asked_ms);
    }
}

#[tokio::test]
async fn credentials_that_are_not_answered_are_not_waited_for() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder().request_timeout(Duration::from_millis(20))).await;
    let late = client.authenticate("digest", "user:password").await.unwrap_err();
    assert!(matches!(late, Error::Timeout { op: Op::Auth, .. }) && !late.may_have_happened());
    assert_eq!(peer.frame().await.map(|frame| frame.len() > 8), Some(true));
}

#[tokio::test]
async fn a_removed_watch_says_so_and_the_session_goes_on() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let watch = answered(&mut peer, client.get_and_watch("/a"), &no_data()).await;
    let (_, watch) = watch.unwrap();
    let removed = answered(&mut peer, client.remove_watches("/a", WatcherType::Data), &[]).await;
    removed.unwrap();
    let gone = in_time(watch).await.unwrap_err();
    assert!(matches!(gone, Error::WatchRemoved) && !gone.is_terminal());
}

#[tokio::test]
async fn a_watch_nobody_reads_holds_nothing_up_and_ends_in_a_gap() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder().watch_buffer(10)).await;
    let watch = answered(&mut peer, client.watch("/", AddWatchMode::PersistentRecursive), &[0; 4]).await;
    let mut watch = watch.unwrap();
    for number in 0..10_000 {
        peer.notify(EventType::NodeCreated, &format!("/{number}")).await;
    }
    let read = answered(&mut peer, client.get("/a"), &no_data()).await;
    read.unwrap();
    let mut kept = 0;
    while let Some(WatchUpdate::Event(event)) = watch.try_next() {
        assert_eq!(event.path, format!("/{kept}"));
        kept += 1;
    }
    assert_eq!(kept, 10, "and then the gap");
    assert_eq!(watch.try_next(), None);
}

#[tokio::test]
async fn an_answer_longer_than_wanted_costs_the_server_its_connection_and_no_memory() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder().reply_bytes_max(1000)).await;
    let mut reading = pin!(client.get("/long"));
    assert!((&mut reading).now_or_never().is_none());
    peer.asked().await;
    peer.write_raw(&1001_u32.to_be_bytes()).await;
    assert!(matches!(in_time(reading).await, Err(Error::ConnectionLost { op: Op::GetData })));
    let (asked, _peer) = server.accept().await;
    assert_eq!(asked.session_id, SESSION);
}

#[tokio::test]
async fn a_list_of_servers_that_comes_while_one_is_dialled_counts() {
    let (old, new) = (FakeServer::bind().await, FakeServer::bind().await);
    let client = builder().connect_lazily(&old.address()).unwrap();
    // Nothing has been polled yet: the list is there before the first connection.
    client.update_servers(&format!("{},{}", old.address(), new.address())).unwrap();
    let (server, mut peer) = tokio::select! {
        stream = old.accept_raw() => (&old, Peer::new(stream)),
        stream = new.accept_raw() => (&new, Peer::new(stream)),
    };
    peer.connect_request().await;
    peer.grant(SESSION, TIMEOUT, false).await;
    in_time(client.connected()).await.unwrap();
    let mut closing = pin!(client.close());
    assert!((&mut closing).now_or_never().is_none());
    assert_eq!(peer.asked().await.op, Op::CloseSession, "the connection to {} is kept", server.address());
}

#[tokio::test]
async fn all_that_is_missing_is_created_the_chroot_included() {
    let server = FakeServer::bind().await;
    let address = format!("{}/not/there", server.address());
    let (client, (_, mut peer)) =
        in_time(async { tokio::join!(builder().connect(&address), server.accept()) }).await;
    let client = client.unwrap();
    let (made, _) = in_time(async {
        tokio::join!(client.create_all("/a"), async {
            for (path, err) in [
                // There, but this client may not create anything beside it.
                ("/not", ErrorCode::NoAuth.code()),
                ("/not/there", ErrorCode::NodeExists.code()),
                ("/not/there/a", 0),
            ] {
                let asked = peer.asked().await;
                assert_eq!(&*CreateRequest::from_bytes(&asked.body).unwrap().path, path);
                let length = u32::try_from(path.len()).unwrap().to_be_bytes();
                let answer = if err == 0 { [&length, path.as_bytes()].concat() } else { Vec::new() };
                peer.answer(asked.xid, 1, err, &answer).await;
            }
        })
    })
    .await;
    made.unwrap();

    let (refused, _) = in_time(async {
        tokio::join!(client.create_all("/b/c"), async {
            for err in [ErrorCode::NoAuth, ErrorCode::NoNode, ErrorCode::NoNode, ErrorCode::NoNode] {
                let asked = peer.asked().await;
                peer.answer(asked.xid, 1, err.code(), &[]).await;
            }
        })
    })
    .await;
    assert_eq!(refused.unwrap_err().to_string(), "NoAuth for /not", "the cause, not what follows from it");
}

#[tokio::test]
async fn a_client_closed_with_a_write_under_way_gets_its_answer_first() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let writing = client.create("/a", "", CreateMode::Persistent);
    let closing = client.close();
    let (written, closed, _) = in_time(async {
        tokio::join!(writing, closing, async {
            let (create, close) = (peer.asked().await, peer.asked().await);
            assert_eq!((create.op, close.op), (Op::Create, Op::CloseSession));
            peer.answer(create.xid, 1, 0, b"\0\0\0\x02/a").await;
            peer.answer(close.xid, 2, 0, &[]).await;
        })
    })
    .await;
    assert_eq!(written.unwrap(), "/a");
    closed.unwrap();
}

#[tokio::test]
async fn requests_need_not_wait_for_a_service_that_is_not_there() {
    let (gone, unwilling) = (FakeServer::bind().await.address(), FakeServer::bind().await);
    let servers = format!("{gone},{}", unwilling.address());
    let client = builder().fail_unreachable(true).connect_lazily(&servers).unwrap();
    let turned_away = async {
        loop {
            drop(unwilling.accept_raw().await);
        }
    };
    let writing = async { tokio::join!(client.set("/a", "x", None), client.authenticate("digest", "u:p")) };
    let (set, authenticated) = tokio::select! {
        () = turned_away => unreachable!(),
        outcomes = in_time(writing) => outcomes,
    };
    let failed = set.unwrap_err();
    assert!(matches!(failed, Error::Unreachable) && !failed.may_have_happened() && failed.is_transient());
    assert!(matches!(authenticated, Err(Error::Unreachable)));
    assert_eq!(client.state(), SessionState::Connecting, "it goes on trying");
}
