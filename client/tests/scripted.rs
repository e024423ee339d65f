//! The client against a server that follows a script, and does at once what a real one does rarely.

#![allow(clippy::unwrap_used, reason = "in a test, that is a claim")]

mod fake;

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use client::{
    AddWatchMode, Client, CreateMode, Data, Error, ErrorCode, EventType, Op, SessionState, Stat, WatchUpdate,
};
use fake::{FakeServer, Peer, SESSION, TIMEOUT, answer, answered, builder, in_time};
use futures::{FutureExt, StreamExt, future};
use jute::Jute;
use jute::proto::{
    ExistsRequest, GetDataRequest, GetDataResponse, SetWatches, SetWatches2, WatcherEvent, xid,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn data(text: &'static str) -> Bytes {
    GetDataResponse { data: Some(text.into()), stat: Stat::default() }.to_bytes()
}

fn path_of(body: &Bytes) -> String {
    ExistsRequest::from_bytes(body).unwrap().path.to_string()
}

#[tokio::test]
async fn a_session_and_its_watches_survive_the_loss_of_a_connection() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let mut states = client.states();
    assert_eq!(states.next().await, Some(SessionState::Connected));

    let ((znode, watch), _) = in_time(async {
        tokio::join!(async { client.get_and_watch("/a").await.unwrap() }, async {
            let asked = peer.asked().await;
            assert!(GetDataRequest::from_bytes(&asked.body).unwrap().watch);
            peer.answer(asked.xid, 12, 0, &data("one")).await;
        })
    })
    .await;
    assert_eq!(znode.data, "one");

    drop(peer);
    assert_eq!(in_time(states.next()).await, Some(SessionState::Disconnected));
    let (asked, mut peer) = server.accept().await;
    assert_eq!((asked.session_id, asked.last_zxid_seen), (SESSION, 12));
    assert_eq!(in_time(states.next()).await, Some(SessionState::Connected));

    let brought = peer.asked().await;
    assert_eq!((brought.xid, brought.op), (xid::SET_WATCHES, Op::SetWatches));
    assert_eq!(SetWatches::from_bytes(&brought.body).unwrap().data_watches, ["/a"]);
    peer.notify(EventType::NodeDataChanged, "/a").await;
    peer.answer(xid::SET_WATCHES, 15, 0, &[]).await;
    let event = in_time(watch).await.unwrap();
    assert_eq!((event.kind, &*event.path, event.zxid), (EventType::NodeDataChanged, "/a", None));
}

#[tokio::test]
async fn a_session_moves_to_another_server() {
    let (first, second) = (FakeServer::bind().await, FakeServer::bind().await);
    let servers = format!("{},{}", first.address(), second.address());
    let client = builder().connect_lazily(&servers).unwrap();
    let (from, to) = tokio::select! {
        (_, peer) = first.accept() => { drop((peer, first)); ("first", second) }
        (_, peer) = second.accept() => { drop((peer, second)); ("second", first) }
    };
    let (asked, _peer) = to.accept().await;
    assert_eq!(asked.session_id, SESSION, "after {from}");
    in_time(client.connected()).await.unwrap();
    assert_eq!(client.server().unwrap().to_string(), to.address());
}

#[tokio::test]
async fn an_expired_session_says_so_everywhere_and_once() {
    let server = FakeServer::bind().await;
    let (client, peer) = server.client(builder()).await;
    let states = client.states();
    drop(peer);
    let mut peer = Peer::new(server.accept_raw().await);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.delete("/a", None).await }
    });
    peer.connect_request().await;
    peer.grant(0, Duration::ZERO, false).await;
    assert!(matches!(in_time(waiting).await.unwrap(), Err(Error::SessionExpired)));
    let states: Vec<_> = in_time(states.collect()).await;
    assert_eq!(states.iter().filter(|state| **state == SessionState::Expired).count(), 1);
    assert_eq!(states.last(), Some(&SessionState::Expired));
    assert!(matches!(client.get("/a").await, Err(Error::SessionExpired)));
    client.close().await.unwrap();
}

#[tokio::test]
async fn answers_may_come_in_any_pieces() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let (both, _) = in_time(async {
        tokio::join!(async { tokio::join!(client.get("/a"), client.get("/b")) }, async {
            let (first, second) = (peer.asked().await, peer.asked().await);
            let mut bytes = Vec::new();
            for (asked, text) in [(first, "one"), (second, "two")] {
                let frame = answer(asked.xid, 1, 0, &data(text));
                bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(&frame);
            }
            for byte in bytes {
                peer.write_raw(&[byte]).await;
                tokio::task::yield_now().await;
            }
        })
    })
    .await;
    assert_eq!((both.0.unwrap().data, both.1.unwrap().data), (Bytes::from("one"), Bytes::from("two")));
}

#[tokio::test]
async fn a_write_whose_answer_got_lost_may_have_happened() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let (lost, _) = in_time(async {
        tokio::join!(client.set("/a", "x", None), async {
            peer.asked().await;
            drop(peer);
        })
    })
    .await;
    let lost = lost.unwrap_err();
    assert!(lost.may_have_happened() && lost.is_transient() && !lost.is_terminal(), "{lost:?}");

    let (read, _) = in_time(async {
        tokio::join!(client.get("/a"), async {
            let (_, mut peer) = server.accept().await;
            let asked = peer.asked().await;
            assert_eq!(asked.op, Op::GetData, "the lost write must not be repeated");
            peer.answer(asked.xid, 1, 0, &data("x")).await;
            peer
        })
    })
    .await;
    assert_eq!(read.unwrap().data, "x");
}

#[tokio::test]
async fn a_dropped_future_does_not_disturb_the_others() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let mut dropped = Box::pin(client.get("/dropped"));
    assert!((&mut dropped).now_or_never().is_none());
    let dropped_asked = peer.asked().await;
    drop(dropped);
    let (kept, _) = in_time(async {
        tokio::join!(client.get("/kept"), async {
            let asked = peer.asked().await;
            peer.answer(dropped_asked.xid, 1, 0, &data("wrong")).await;
            peer.answer(asked.xid, 1, 0, &data("right")).await;
        })
    })
    .await;
    assert_eq!(kept.unwrap().data, "right");
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder().in_flight_max(2)).await;
    let paths: Vec<_> = (0..5).map(|number| format!("/{number}")).collect();
    let mut all = pin!(future::join_all(paths.iter().map(|path| client.get(path))));
    let mut asked = Vec::new();
    while asked.len() < 5 {
        let mut arrived = Vec::new();
        for _ in 0..2.min(5 - asked.len()) {
            let next = tokio::select! { next = peer.asked() => next, _ = &mut all => panic!("unanswered") };
            arrived.push(next);
        }
        // Had a third been sent, it would have come with them.
        assert!(peer.frames.next().now_or_never().is_none(), "more than two in flight");
        for next in &arrived {
            peer.answer(next.xid, 1, 0, &data("x")).await;
        }
        asked.extend(arrived);
    }
    assert!(in_time(all).await.iter().all(Result::is_ok));
    let asked: Vec<_> = asked.iter().map(|asked| path_of(&asked.body)).collect();
    assert_eq!(asked, paths);
}

#[tokio::test]
async fn many_requests_at_once_go_out_in_order() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let paths: Vec<_> = (0..3000).map(|number| format!("/{number}")).collect();
    let (answers, asked) = in_time(async {
        tokio::join!(future::join_all(paths.iter().map(|path| client.exists(path))), async {
            let mut seen = Vec::new();
            for zxid in 0..3000 {
                let asked = peer.asked().await;
                seen.push(path_of(&asked.body));
                peer.answer(asked.xid, zxid, ErrorCode::NoNode.code(), &[]).await;
            }
            seen
        })
    })
    .await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_none()));
    assert_eq!(asked, paths);
}

#[tokio::test]
async fn a_server_that_closes_without_a_word_is_passed_over() {
    let (unwilling, willing) = (FakeServer::bind().await, FakeServer::bind().await);
    let servers = format!("{},{}", unwilling.address(), willing.address());
    let turn_away = async {
        loop {
            let mut peer = Peer::new(unwilling.accept_raw().await);
            peer.connect_request().await;
        }
    };
    let connected = async { tokio::join!(builder().connect(&servers), willing.accept()) };
    let (client, (asked, _peer)) = tokio::select! {
        () = turn_away => unreachable!(),
        connected = in_time(connected) => connected,
    };
    assert_eq!(asked.session_id, 0);
    assert_eq!(client.unwrap().session_id().0, SESSION);
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_left() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    peer.write_raw(&[0, 0, 0, 3, 1, 2, 3]).await;
    let (_, mut peer) = server.accept().await;
    peer.write_raw(&[0xff; 4]).await;
    let (_, mut peer) = server.accept().await;
    peer.answer(77, 1, 0, &[]).await;
    let (asked, _peer) = server.accept().await;
    assert_eq!(asked.session_id, SESSION);
    in_time(client.connected()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_a_server_would_not_read_is_not_sent() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder().request_bytes_max(1000)).await;
    let refused = client.create("/a", vec![0; 1000], CreateMode::Persistent).await.unwrap_err();
    assert!(
        matches!(refused, Error::TooLarge { op: Op::Create, max: 1000, .. }) && !refused.may_have_happened()
    );
    assert!(matches!(client.get("a").await, Err(Error::BadPath { .. })));
    let mut unanswered = pin!(client.set("/a", Data::NULL, 1));
    assert!((&mut unanswered).now_or_never().is_none());
    assert_eq!(peer.asked().await.op, Op::SetData, "the connection is as good as before");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_not_waited_for() {
    let server = FakeServer::bind().await;
    let brief = Duration::from_millis(20);
    let (client, mut peer) = server.client(builder().request_timeout(brief).in_flight_max(1)).await;
    let sent = client.set("/a", "x", None).await.unwrap_err();
    assert!(matches!(sent, Error::Timeout { op: Op::SetData, sent: true, .. }) && sent.may_have_happened());
    let waiting = client.set("/b", "x", None).await.unwrap_err();
    assert!(matches!(waiting, Error::Timeout { sent: false, .. }) && !waiting.may_have_happened());
    let asked = peer.asked().await;
    peer.answer(asked.xid, 1, 0, &Stat::default().to_bytes()).await;
    let _late = client.delete("/c", None).await;
    assert_eq!(peer.asked().await.op, Op::Delete, "what timed out before it was sent must not be sent");
}

#[tokio::test]
async fn the_session_ends_with_its_last_handle() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let other = client.chroot("/app").unwrap();
    drop(client);
    let reading = tokio::spawn(async move { other.get("/").await });
    let asked = peer.asked().await;
    assert_eq!(path_of(&asked.body), "/app");
    reading.abort();
    let closed = peer.asked().await;
    assert_eq!(closed.op, Op::CloseSession);
    peer.answer(asked.xid, 1, 0, &data("x")).await;
    peer.answer(closed.xid, 2, 0, &[]).await;
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn closing_waits_for_the_server_to_confirm() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let mut closing = pin!(client.close());
    assert!((&mut closing).now_or_never().is_none());
    let asked = peer.asked().await;
    assert_eq!(asked.op, Op::CloseSession);
    assert!((&mut closing).now_or_never().is_none());
    peer.answer(asked.xid, 1, 0, &[]).await;
    in_time(closing).await.unwrap();
    assert_eq!(client.state(), SessionState::Closed);
    assert!(matches!(client.get("/a").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_read_only_server_is_left_for_one_that_writes() {
    let (read_only, writable) = (FakeServer::bind().await, FakeServer::bind().await);
    let client = builder().read_only(true).connect_lazily(&read_only.address()).unwrap();
    let mut peer = Peer::new(read_only.accept_raw().await);
    peer.connect_request().await;
    peer.grant(5, TIMEOUT, true).await;
    in_time(client.connected()).await.unwrap();
    assert_eq!(client.state(), SessionState::ConnectedReadOnly);
    client.update_servers(&format!("{},{}", read_only.address(), writable.address())).unwrap();

    // It is asked in passing whether it writes; the connection it has goes on until one does.
    drop(peer);
    let both = async {
        let mut kept = Vec::new();
        loop {
            tokio::select! {
                stream = read_only.accept_raw() => {
                    let mut peer = Peer::new(stream);
                    peer.connect_request().await;
                    peer.grant(5, TIMEOUT, true).await;
                    // So that only the search can lead away from here.
                    kept.push(peer);
                }
                mut stream = writable.accept_raw() => {
                    let mut word = [0; 4];
                    stream.read_exact(&mut word).await.unwrap();
                    if &word == b"isro" {
                        stream.write_all(b"rw").await.unwrap();
                        return Peer::new(writable.accept_raw().await);
                    }
                }
            }
        }
    };
    let mut peer = in_time(both).await;
    assert_eq!(peer.connect_request().await.session_id, 0, "a read-only server's session is nobody else's");
    peer.grant(SESSION, TIMEOUT, false).await;
    let mut states = client.states();
    while in_time(states.next()).await.expect("the session lives") != SessionState::Connected {}
    assert_eq!(client.session_id().0, SESSION);
}

#[tokio::test]
async fn a_persistent_watch_says_where_it_may_have_missed_something() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let watch = answered(&mut peer, client.watch("/a", AddWatchMode::PersistentRecursive), &[0; 4]).await;
    let mut watch = watch.unwrap();
    peer.notify(EventType::NodeCreated, "/a/b").await;
    let Some(WatchUpdate::Event(event)) = in_time(watch.next()).await else { panic!("no event") };
    assert_eq!((event.kind, &*event.path), (EventType::NodeCreated, "/a/b"));

    drop(peer);
    let (_, mut peer) = server.accept().await;
    assert_eq!(in_time(watch.next()).await, Some(WatchUpdate::Gap));
    let brought = peer.asked().await;
    let brought = SetWatches2::from_bytes(&brought.body).unwrap();
    assert_eq!(brought.persistent_recursive_watches, ["/a"]);
    peer.answer(xid::SET_WATCHES, 1, 0, &[]).await;

    drop(watch);
    assert_eq!(peer.asked().await.op, Op::RemoveWatches);
}

#[tokio::test]
async fn whoever_sees_an_answer_has_seen_the_events_before_it() {
    let server = FakeServer::bind().await;
    let (client, mut peer) = server.client(builder()).await;
    let watch = answered(&mut peer, client.watch("/a", AddWatchMode::Persistent), &[0; 4]).await;
    let mut watch = watch.unwrap();
    for _ in 0..100 {
        let (read, _) = in_time(async {
            tokio::join!(client.get("/a"), async {
                let asked = peer.asked().await;
                let event = WatcherEvent {
                    event_type: EventType::NodeDataChanged.code(),
                    state: 3,
                    path: "/a".into(),
                };
                peer.answer(xid::NOTIFICATION, 2, 0, &event.to_bytes()).await;
                peer.answer(asked.xid, 2, 0, &data("new")).await;
            })
        })
        .await;
        assert_eq!(read.unwrap().data, "new");
        assert!(matches!(watch.try_next(), Some(WatchUpdate::Event(_))));
    }
}

#[tokio::test]
async fn other_servers_can_take_over() {
    let (old, new) = (FakeServer::bind().await, FakeServer::bind().await);
    let (client, mut peer) = old.client(builder()).await;
    client.update_servers(&new.address()).unwrap();
    let (asked, _peer) = new.accept().await;
    assert_eq!(asked.session_id, SESSION);
    assert_eq!(peer.frame().await, None);
    assert!(client.update_servers("").is_err());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_not_waited_for_for_ever() {
    let nobody = FakeServer::bind().await.address();
    let limit = Duration::from_millis(200);
    let refused = in_time(builder().connect_timeout(limit).connect(&nobody)).await;
    assert!(matches!(refused, Err(Error::ConnectTimeout { after }) if after == limit));
    assert!(matches!(Client::connect("host:port").await, Err(Error::ConnectString(_))));
}

#[tokio::test]
async fn a_chroot_is_invisible() {
    let server = FakeServer::bind().await;
    let address = format!("{}/app", server.address());
    let (client, (_, mut peer)) =
        in_time(async { tokio::join!(builder().connect(&address), server.accept()) }).await;
    let client = client.unwrap().chroot("/part").unwrap();
    assert_eq!(client.root(), "/app/part");
    let (created, _) = in_time(async {
        tokio::join!(client.create("/q-", "", CreateMode::EphemeralSequential), async {
            let asked = peer.asked().await;
            assert_eq!(asked.op, Op::Create);
            assert!(asked.body.starts_with(b"\0\0\0\x0c/app/part/q-"));
            peer.answer(asked.xid, 1, 0, b"\0\0\0\x16/app/part/q-0000000003").await;
        })
    })
    .await;
    assert_eq!(created.unwrap(), "/q-0000000003");
    let (refused, _) = in_time(async {
        tokio::join!(client.delete("/x", 3), async {
            let asked = peer.asked().await;
            peer.answer(asked.xid, 1, ErrorCode::BadVersion.code(), &[]).await;
        })
    })
    .await;
    assert_eq!(refused.unwrap_err().to_string(), "BadVersion for /x");
}
