use tokio::sync::mpsc::error::TryRecvError;

use super::*;

fn event(kind: EventType, path: &str) -> WatcherEvent {
    WatcherEvent { event_type: kind.code(), state: 3, path: path.into() }
}

fn oneshot(watches: &mut Watches, id: u64, kind: WatchKind, path: &str) -> oneshot::Receiver<RawEvent> {
    let (sink, received) = oneshot::channel();
    let sink = Sink::Oneshot(sink);
    assert!(watches.add(Registration { id: WatchId(id), path: path.into(), kind, sink }));
    received
}

fn stream(
    watches: &mut Watches,
    id: u64,
    kind: WatchKind,
    path: &str,
    room: usize,
) -> mpsc::Receiver<RawUpdate> {
    let (sink, received) = StreamSink::new(room);
    let sink = Sink::Stream(sink);
    assert!(watches.add(Registration { id: WatchId(id), path: path.into(), kind, sink }));
    received
}

fn paths(received: &mut mpsc::Receiver<RawUpdate>) -> Vec<String> {
    std::iter::from_fn(|| received.try_recv().ok())
        .map(|update| match update {
            RawUpdate::Event(event) => event.path.to_string(),
            RawUpdate::Gap => "gap".to_owned(),
        })
        .collect()
}

#[test]
fn a_one_shot_watch_fires_once_for_all_who_wait() {
    let mut watches = Watches::default();
    let mut first = oneshot(&mut watches, 1, WatchKind::Data, "/a");
    let mut second = oneshot(&mut watches, 2, WatchKind::Exists, "/a");
    let mut children = oneshot(&mut watches, 3, WatchKind::Children, "/a");
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 9);
    assert_eq!(first.try_recv().unwrap().zxid, 9);
    assert_eq!(second.try_recv().unwrap().zxid, 9);
    assert!(children.try_recv().is_err());
    assert!(watches.has(WatchKind::Children, "/a") && !watches.has(WatchKind::Data, "/a"));
}

#[test]
fn one_deletion_uses_up_the_watches_of_data_and_of_children() {
    let mut watches = Watches::default();
    let mut data = oneshot(&mut watches, 1, WatchKind::Data, "/a");
    let mut children = oneshot(&mut watches, 2, WatchKind::Children, "/a");
    watches.deliver(&event(EventType::NodeDeleted, "/a"), 9);
    assert_eq!(data.try_recv().unwrap().kind, EventType::NodeDeleted);
    assert_eq!(children.try_recv().unwrap().kind, EventType::NodeDeleted);
    assert!(!watches.has_any("/a"));
}

#[test]
fn a_recursive_watch_sees_all_below_but_no_changes_of_children() {
    let mut watches = Watches::default();
    let mut below = stream(&mut watches, 1, WatchKind::Recursive, "/a", 8);
    let mut root = stream(&mut watches, 2, WatchKind::Recursive, "/", 8);
    let mut exact = stream(&mut watches, 3, WatchKind::Persistent, "/a", 8);
    for path in ["/a", "/a/b/c", "/ab", "/"] {
        watches.deliver(&event(EventType::NodeDataChanged, path), 1);
    }
    watches.deliver(&event(EventType::NodeChildrenChanged, "/a"), 1);
    assert_eq!(paths(&mut below), ["/a", "/a/b/c"]);
    assert_eq!(paths(&mut root), ["/a", "/a/b/c", "/ab", "/"]);
    assert_eq!(paths(&mut exact), ["/a", "/a"]);
}

#[test]
fn a_full_stream_says_that_something_is_missing_and_goes_on_once_it_is_read() {
    let mut watches = Watches::default();
    let mut slow = stream(&mut watches, 1, WatchKind::Persistent, "/a", 2);
    for _ in 0..10 {
        watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    }
    assert_eq!(paths(&mut slow), ["/a", "/a", "gap"]);
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    watches.push_gaps();
    watches.push_gaps();
    assert_eq!(paths(&mut slow), ["/a", "gap"]);
}

#[test]
fn a_gap_that_was_not_read_yet_stands_for_what_is_dropped_after_it() {
    let mut watches = Watches::default();
    let mut slow = stream(&mut watches, 1, WatchKind::Persistent, "/a", 1);
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    assert!(matches!(slow.try_recv(), Ok(RawUpdate::Event(_))));
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    assert_eq!(paths(&mut slow), ["gap"]);
    watches.deliver(&event(EventType::NodeDataChanged, "/a"), 1);
    assert_eq!(paths(&mut slow), ["/a"]);
    assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn forgetting_the_last_of_a_kind_tells_what_the_server_may_forget() {
    let mut watches = Watches::default();
    let _first = oneshot(&mut watches, 1, WatchKind::Data, "/a");
    let _second = oneshot(&mut watches, 2, WatchKind::Data, "/a");
    assert_eq!(watches.forget(WatchId(1)), None);
    assert_eq!(watches.forget(WatchId(2)), Some((WatchKind::Data, "/a".into())));
    assert_eq!(watches.forget(WatchId(2)), None);
    assert!(watches.restore(0, 1).is_empty());
}

#[test]
fn a_watch_whose_handle_has_gone_is_not_added() {
    let mut watches = Watches::default();
    let (sink, received) = oneshot::channel();
    drop(received);
    let sink = Sink::Oneshot(sink);
    assert!(!watches.add(Registration { id: WatchId(1), path: "/a".into(), kind: WatchKind::Data, sink }));
    assert!(!watches.has_any("/a"));
}

#[test]
fn an_event_of_a_kind_nobody_knows_disturbs_nothing() {
    let mut watches = Watches::default();
    let mut kept = oneshot(&mut watches, 1, WatchKind::Data, "/a");
    watches.deliver(&WatcherEvent { event_type: 77, state: 3, path: "/a".into() }, 1);
    assert!(matches!(kept.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
}
