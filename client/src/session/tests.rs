use jute::EventType;
use jute::proto::{GetDataRequest, RequestHeader, SetWatches, SetWatches2};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::watch::{RawEvent, RawUpdate, Sink, StreamSink};

mod any_order;

const TIMEOUT: Duration = Duration::from_secs(6);
const SESSION: i64 = 0x0100_0000_0000_0007;

type Answer = oneshot::Receiver<Result<Reply, Error>>;

/// A session between a caller and a server that are both played by the test.
struct World {
    session: Session,
    now: Instant,
    status: watch::Receiver<Status>,
    next_watch: u64,
}

/// A request as a server sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    xid: i32,
    op: i32,
    body: Bytes,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SessionOptions)) -> Self {
        let mut options = SessionOptions {
            timeout: TIMEOUT,
            read_only: false,
            outlast_outages: false,
            fail_unreachable: false,
            resume: None,
            credentials: Vec::new(),
        };
        change(&mut options);
        #[allow(clippy::disallowed_methods, reason = "any time will do to start from")]
        let now = Instant::now();
        let (sender, status) = watch::channel(Status::new(&options));
        Self { session: Session::new(options, now, sender), now, status, next_watch: 0 }
    }

    fn connected() -> Self {
        let mut world = Self::new();
        world.connect();
        world
    }

    fn state(&self) -> SessionState {
        self.status.borrow().state
    }

    fn dial(&mut self) -> ConnectRequest {
        self.session.on_connected(&"server".parse().unwrap(), self.now);
        let frame = self.frames().remove(0);
        ConnectRequest::from_bytes(&frame).unwrap()
    }

    fn connect(&mut self) -> ConnectRequest {
        let asked = self.dial();
        self.grant(SESSION, TIMEOUT, false);
        asked
    }

    fn grant(&mut self, session_id: i64, timeout: Duration, read_only: bool) {
        let mut frame = BytesMut::new();
        let password = Some(Bytes::from_static(b"0123456789abcdef"));
        let timeout_ms = timeout.as_millis().try_into().unwrap();
        ConnectResponse { protocol_version: 0, timeout_ms, session_id, password }.encode(&mut frame);
        ConnectTail { read_only }.encode(&mut frame);
        self.session.on_frame(&frame.freeze(), self.now).unwrap();
    }

    /// What the session has to send.
    fn frames(&mut self) -> Vec<Bytes> {
        let mut codec = jute::frame::FrameCodec::default();
        let mut frames = Vec::new();
        while let Some(frame) = tokio_util::codec::Decoder::decode(&mut codec, self.session.out()).unwrap() {
            frames.push(frame);
        }
        assert!(self.session.out().is_empty(), "half a frame");
        frames
    }

    fn seen(&mut self) -> Vec<Seen> {
        let frames = self.frames();
        let seen = frames.iter().map(|frame| {
            let mut input = Reader::new(frame);
            let header = RequestHeader::decode(&mut input).unwrap();
            Seen { xid: header.xid, op: header.op, body: input.rest() }
        });
        seen.collect()
    }

    fn seen_ops(&mut self) -> Vec<Op> {
        self.seen().iter().map(|seen| Op::from_code(seen.op).unwrap()).collect()
    }

    fn answer(&mut self, xid: i32, zxid: i64, err: i32) -> Result<(), Violation> {
        self.session.on_frame(&ReplyHeader { xid, zxid, err }.to_bytes(), self.now)
    }

    fn notify(&mut self, kind: EventType, path: &str, zxid: i64) {
        let mut frame = BytesMut::new();
        ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 }.encode(&mut frame);
        WatcherEvent { event_type: kind.code(), state: 3, path: path.into() }.encode(&mut frame);
        self.session.on_frame(&frame.freeze(), self.now).unwrap();
    }

    fn ask(&mut self, op: Op, path: &str) -> Answer {
        self.ask_with(op, path, None)
    }

    fn ask_with(&mut self, op: Op, path: &str, effect: Option<WatchEffect>) -> Answer {
        let frame = encode_frame(op, &GetDataRequest { path: path.into(), watch: effect.is_some() });
        let (reply, answer) = oneshot::channel();
        self.session.on_request(Request { op, frame, effect, reply, permit: None }, self.now);
        answer
    }

    fn watch_once(&mut self, op: Op, path: &str, kind: WatchKind) -> (Answer, oneshot::Receiver<RawEvent>) {
        let (sink, event) = oneshot::channel();
        let set = self.registration(path, kind, Sink::Oneshot(sink));
        (self.ask_with(op, path, Some(set)), event)
    }

    fn watch_on(&mut self, path: &str, kind: WatchKind) -> (Answer, mpsc::Receiver<RawUpdate>, WatchId) {
        let (sink, updates) = StreamSink::new(8);
        let set = self.registration(path, kind, Sink::Stream(sink));
        (self.ask_with(Op::AddWatch, path, Some(set)), updates, WatchId(self.next_watch))
    }

    fn registration(&mut self, path: &str, kind: WatchKind, sink: Sink) -> WatchEffect {
        self.next_watch += 1;
        WatchEffect::Set(Registration { id: WatchId(self.next_watch), path: path.into(), kind, sink })
    }

    fn close(&mut self) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.session.on_close(Some(reply), self.now);
        answer
    }

    fn pass(&mut self, time: Duration) -> bool {
        self.now += time;
        self.session.on_tick(self.now)
    }
}

fn outcome(answer: &mut Answer) -> Option<Result<(), Error>> {
    answer.try_recv().ok().map(|outcome| outcome.map(drop))
}

#[test]
fn a_new_session_asks_for_nothing_it_cannot_have() {
    let mut world = World::new();
    let asked = world.dial();
    assert_eq!((asked.session_id, asked.last_zxid_seen, asked.timeout_ms), (0, 0, 6000));
    assert_eq!(asked.password.unwrap().len(), 16);
    assert_eq!(world.state(), SessionState::Connecting);

    world.grant(SESSION, Duration::from_secs(4), false);
    assert_eq!(world.state(), SessionState::Connected);
    let status = world.status.borrow().clone();
    assert_eq!((status.id.0, status.timeout), (SESSION, Duration::from_secs(4)));
}

#[test]
fn the_next_connection_carries_the_session_and_the_last_zxid_on() {
    let mut world = World::connected();
    let _answer = world.ask(Op::GetData, "/a");
    world.answer(1, 77, 0).unwrap();
    world.session.on_disconnected();
    assert_eq!(world.state(), SessionState::Disconnected);

    let asked = world.connect();
    assert_eq!((asked.session_id, asked.last_zxid_seen), (SESSION, 77));
    assert_eq!(asked.password.as_deref(), Some(&b"0123456789abcdef"[..]));
    assert_eq!(world.state(), SessionState::Connected);
}

#[test]
fn events_and_refusals_out_of_band_do_not_advance_the_last_zxid() {
    let mut world = World::connected();
    world.notify(EventType::NodeCreated, "/a", 99);
    assert_eq!(world.session.last_zxid, 0);
    let _answer = world.ask(Op::Create, "/a");
    world.answer(1, 0, ErrorCode::NoAuth.code()).unwrap();
    assert_eq!(world.session.last_zxid, 0);
}

#[test]
fn identities_then_watches_then_requests_open_a_connection() {
    let mut world = World::with(|options| options.credentials.push(("digest".into(), b"a:b"[..].into())));
    world.connect();
    assert_eq!(world.seen_ops(), [Op::Auth]);
    world.answer(xid::AUTH, 0, 0).unwrap();
    let (_answer, _event) = world.watch_once(Op::GetData, "/a", WatchKind::Data);
    world.answer(1, 5, 0).unwrap();
    world.session.on_disconnected();

    let _waiting = world.ask(Op::SetData, "/b");
    world.dial();
    assert!(world.frames().is_empty(), "nothing may follow the connect request before it is answered");
    world.grant(SESSION, TIMEOUT, false);
    let seen = world.seen();
    let ops: Vec<_> = seen.iter().map(|seen| (seen.xid, Op::from_code(seen.op).unwrap())).collect();
    assert_eq!(ops, [(xid::AUTH, Op::Auth), (xid::SET_WATCHES, Op::SetWatches), (2, Op::SetData)]);
    let brought = SetWatches::from_bytes(&seen[1].body).unwrap();
    assert_eq!((brought.relative_zxid, brought.data_watches), (5, vec!["/a".into()]));
}

#[test]
fn persistent_watches_are_brought_along_and_told_of_the_gap() {
    let mut world = World::connected();
    let (_a, mut updates, _) = world.watch_on("/p", WatchKind::Persistent);
    let (_b, mut below, _) = world.watch_on("/r", WatchKind::Recursive);
    world.answer(1, 3, 0).unwrap();
    world.answer(2, 3, 0).unwrap();
    assert_eq!(updates.try_recv(), Err(TryRecvError::Empty));
    world.seen();
    world.session.on_disconnected();
    world.connect();

    let seen = world.seen();
    assert_eq!(seen[0].op, Op::SetWatches2.code());
    let brought = SetWatches2::from_bytes(&seen[0].body).unwrap();
    assert_eq!(brought.persistent_watches, ["/p"]);
    assert_eq!(brought.persistent_recursive_watches, ["/r"]);
    assert_eq!(updates.try_recv(), Ok(RawUpdate::Gap));
    assert_eq!(below.try_recv(), Ok(RawUpdate::Gap));
}

#[test]
fn many_watches_are_brought_along_in_several_requests() {
    let mut world = World::connected();
    let mut events = Vec::new();
    for number in 0..400_i32 {
        let path = format!("/{}{number}", "x".repeat(1000));
        events.push(world.watch_once(Op::GetData, &path, WatchKind::Data));
        world.answer(number + 1, 1, 0).unwrap();
    }
    world.seen();
    world.session.on_disconnected();
    world.connect();
    let counts: Vec<_> = world
        .seen()
        .iter()
        .map(|seen| SetWatches::from_bytes(&seen.body).unwrap().data_watches.len())
        .collect();
    assert_eq!(counts.len(), 4);
    assert_eq!(counts.iter().sum::<usize>(), 400);
    for _ in &counts {
        world.answer(xid::SET_WATCHES, 1, 0).unwrap();
    }
}

#[test]
fn an_event_is_there_before_the_answer_that_shows_its_change() {
    let mut world = World::connected();
    let (_first, mut event) = world.watch_once(Op::GetData, "/a", WatchKind::Data);
    world.answer(1, 1, 0).unwrap();
    let mut second = world.ask(Op::GetData, "/a");
    world.notify(EventType::NodeDataChanged, "/a", 2);
    assert!(outcome(&mut second).is_none());
    assert_eq!(event.try_recv().unwrap().kind, EventType::NodeDataChanged);
    world.answer(2, 2, 0).unwrap();
    assert!(matches!(outcome(&mut second), Some(Ok(()))));
}

#[test]
fn a_watch_on_an_absent_znode_is_brought_along_as_one() {
    let mut world = World::connected();
    let (_answer, mut event) = world.watch_once(Op::Exists, "/a", WatchKind::Data);
    world.answer(1, 1, ErrorCode::NoNode.code()).unwrap();
    world.seen();
    world.session.on_disconnected();
    world.connect();
    let brought = SetWatches::from_bytes(&world.seen()[0].body).unwrap();
    assert_eq!((brought.data_watches, brought.exist_watches), (vec![], vec!["/a".into()]));
    world.notify(EventType::NodeCreated, "/a", -1);
    assert_eq!(event.try_recv().unwrap().zxid, -1);
}

#[test]
fn a_refused_read_sets_no_watch() {
    let mut world = World::connected();
    let (_answer, mut event) = world.watch_once(Op::GetData, "/a", WatchKind::Data);
    world.answer(1, 1, ErrorCode::NoNode.code()).unwrap();
    assert!(matches!(event.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn what_was_sent_is_lost_and_what_was_not_waits() {
    let mut world = World::connected();
    let mut sent = world.ask(Op::SetData, "/a");
    world.session.on_disconnected();
    let mut waiting = world.ask(Op::SetData, "/b");
    let lost = outcome(&mut sent).unwrap().unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost { op: Op::SetData }) && lost.may_have_happened());
    assert!(outcome(&mut waiting).is_none());

    world.connect();
    assert_eq!(world.seen_ops(), [Op::SetData]);
    world.answer(2, 9, 0).unwrap();
    assert!(matches!(outcome(&mut waiting), Some(Ok(()))));
}

#[test]
fn a_request_nobody_waits_for_any_more_is_not_sent() {
    let mut world = World::new();
    drop(world.ask(Op::Delete, "/a"));
    let _kept = world.ask(Op::Delete, "/b");
    world.connect();
    let seen = world.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].body.ends_with(b"/b\0"));
}

#[test]
fn a_dropped_future_leaves_the_order_of_answers_alone() {
    let mut world = World::connected();
    drop(world.ask(Op::GetData, "/a"));
    let mut second = world.ask(Op::GetData, "/b");
    world.answer(1, 1, 0).unwrap();
    world.answer(2, 1, 0).unwrap();
    assert!(matches!(outcome(&mut second), Some(Ok(()))));
}

#[test]
fn an_answer_out_of_order_costs_the_server_its_connection() {
    let mut world = World::connected();
    let _first = world.ask(Op::GetData, "/a");
    assert!(matches!(world.answer(2, 1, 0), Err(Violation::Order { got: 2, expected: Some(1) })));
    world.answer(1, 1, 0).unwrap();
    assert!(matches!(world.answer(1, 1, 0), Err(Violation::Order { got: 1, expected: None })));
    assert!(matches!(world.answer(xid::AUTH, 0, 0), Err(Violation::Unexpected)));
}

#[test]
fn an_expired_session_ends_everything_once() {
    let mut world = World::connected();
    let (_answer, mut event) = world.watch_once(Op::GetData, "/a", WatchKind::Data);
    world.answer(1, 1, 0).unwrap();
    world.session.on_disconnected();
    let mut waiting = world.ask(Op::SetData, "/b");
    world.dial();
    world.status.borrow_and_update();
    world.grant(0, Duration::ZERO, false);

    assert_eq!(world.state(), SessionState::Expired);
    assert!(world.session.is_over());
    assert!(matches!(outcome(&mut waiting), Some(Err(Error::SessionExpired))));
    assert!(matches!(event.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert!(world.status.has_changed().unwrap());
    world.status.borrow_and_update();
    world.session.on_disconnected();
    assert!(!world.pass(TIMEOUT * 9) || world.session.is_over());
    assert!(!world.status.has_changed().unwrap());
    assert!(matches!(world.ask(Op::GetData, "/a").try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn a_session_that_hears_of_no_server_for_long_expires_by_itself() {
    let mut world = World::connected();
    world.session.on_disconnected();
    assert!(world.pass(TIMEOUT * 4 / 3 - Duration::from_millis(1)));
    assert_eq!(world.session.deadline(), Some(world.now + Duration::from_millis(1)));
    assert!(!world.pass(Duration::from_millis(1)));
    assert_eq!(world.state(), SessionState::Expired);
}

#[test]
fn a_session_may_be_believed_in_until_a_server_says_otherwise() {
    let mut world = World::with(|options| options.outlast_outages = true);
    world.connect();
    world.session.on_disconnected();
    assert!(world.pass(TIMEOUT * 1000));
    assert_eq!(world.session.deadline(), None);
    assert_eq!(world.state(), SessionState::Disconnected);
    assert_eq!(world.connect().session_id, SESSION);
    assert_eq!(world.state(), SessionState::Connected);
}

#[test]
fn a_session_that_never_was_does_not_expire() {
    let mut world = World::new();
    assert_eq!(world.session.deadline(), None);
    assert!(world.pass(TIMEOUT * 100));
    assert_eq!(world.state(), SessionState::Connecting);
}

#[test]
fn a_quiet_connection_is_pinged_after_a_third_and_given_up_after_two() {
    let mut world = World::connected();
    assert!(world.pass(TIMEOUT / 3 - Duration::from_millis(1)));
    assert!(world.seen().is_empty());
    assert!(world.pass(Duration::from_millis(1)));
    assert_eq!(world.seen()[0].xid, xid::PING);
    assert!(world.pass(TIMEOUT / 3 - Duration::from_millis(1)));
    assert!(!world.pass(Duration::from_millis(1)));

    let mut world = World::connected();
    world.pass(TIMEOUT / 3);
    world.answer(xid::PING, 4, 0).unwrap();
    assert!(world.pass(TIMEOUT / 3));
    assert_eq!(world.seen().len(), 2);
}

#[test]
fn a_long_timeout_is_no_reason_to_be_silent_for_long() {
    let mut world = World::new();
    world.dial();
    world.grant(SESSION, Duration::from_secs(600), false);
    world.pass(PING_INTERVAL_MAX);
    assert_eq!(world.seen_ops(), [Op::Ping]);
}

#[test]
fn a_session_that_only_a_read_only_server_knows_is_asked_of_no_other() {
    let mut world = World::with(|options| options.read_only = true);
    world.dial();
    world.grant(5, TIMEOUT, true);
    assert_eq!(world.state(), SessionState::ConnectedReadOnly);
    assert!(world.session.is_read_only());
    world.session.on_disconnected();
    assert_eq!(world.dial().session_id, 0);
    world.grant(SESSION, TIMEOUT, false);
    assert_eq!(world.state(), SessionState::Connected);
    world.session.on_disconnected();
    assert_eq!(world.dial().session_id, SESSION);
}

#[test]
fn a_server_from_before_read_only_mode_is_understood() {
    let mut world = World::new();
    world.dial();
    let answer = ConnectResponse { protocol_version: 0, timeout_ms: 6000, session_id: 1, password: None };
    world.session.on_frame(&answer.to_bytes(), world.now).unwrap();
    assert_eq!(world.state(), SessionState::Connected);
}

#[test]
fn refused_credentials_end_the_session() {
    let mut world = World::connected();
    let (reply, mut answer) = oneshot::channel();
    world.session.on_authenticate("digest".into(), b"x"[..].into(), reply, world.now);
    let mut sent = world.ask(Op::GetData, "/a");
    world.answer(xid::AUTH, 0, ErrorCode::AuthFailed.code()).unwrap();
    assert!(matches!(answer.try_recv(), Ok(Err(Error::AuthFailed))));
    assert!(matches!(outcome(&mut sent), Some(Err(Error::ConnectionLost { .. }))));
    assert_eq!(world.state(), SessionState::AuthFailed);
}

#[test]
fn credentials_given_while_offline_are_answered_for_by_the_next_connection() {
    let mut world = World::with(|options| options.credentials.push(("digest".into(), b"1"[..].into())));
    let (reply, mut answer) = oneshot::channel();
    world.session.on_authenticate("digest".into(), b"2"[..].into(), reply, world.now);
    world.connect();
    assert_eq!(world.seen_ops(), [Op::Auth, Op::Auth]);
    world.answer(xid::AUTH, 0, 0).unwrap();
    assert!(answer.try_recv().is_err(), "the first answer is for the first credentials");
    world.answer(xid::AUTH, 0, 0).unwrap();
    assert!(matches!(answer.try_recv(), Ok(Ok(_))));
}

#[test]
fn the_same_credentials_are_brought_along_once() {
    let mut world = World::connected();
    for _ in 0..3 {
        let (reply, _answer) = oneshot::channel();
        world.session.on_authenticate("digest".into(), b"u:p"[..].into(), reply, world.now);
        world.answer(xid::AUTH, 0, 0).unwrap();
    }
    world.seen();
    world.session.on_disconnected();
    world.connect();
    assert_eq!(world.seen_ops(), [Op::Auth]);
}

#[test]
fn a_session_that_is_let_go_of_is_not_closed() {
    let mut world = World::connected();
    let (mut sent, mut detached) = (world.ask(Op::SetData, "/a"), oneshot::channel());
    world.seen();
    world.session.on_detach(detached.0);
    assert!(world.seen().is_empty());
    assert!(matches!(outcome(&mut sent), Some(Err(Error::ConnectionLost { .. }))));
    assert!(matches!(outcome(&mut detached.1), Some(Ok(()))));
    assert!(world.session.is_over());
}

#[test]
fn what_was_sent_when_the_runtime_ends_may_have_happened() {
    let mut world = World::connected();
    let mut sent = world.ask(Op::SetData, "/a");
    let World { session, status, .. } = world;
    drop(session);
    assert!(outcome(&mut sent).unwrap().unwrap_err().may_have_happened());
    assert_eq!(status.borrow().state, SessionState::Closed);
}

#[test]
fn closing_lets_what_was_asked_before_be_answered() {
    let mut world = World::connected();
    let mut before = world.ask(Op::SetData, "/a");
    let mut closed = world.close();
    let mut after = world.ask(Op::SetData, "/b");
    assert!(matches!(outcome(&mut after), Some(Err(Error::Closed))));
    assert_eq!(world.seen_ops(), [Op::SetData, Op::CloseSession]);
    world.answer(1, 2, 0).unwrap();
    assert!(matches!(outcome(&mut before), Some(Ok(()))));
    world.answer(2, 3, 0).unwrap();
    assert!(matches!(outcome(&mut closed), Some(Ok(()))));
    assert_eq!(world.state(), SessionState::Closed);
}

#[test]
fn closing_without_a_server_says_so() {
    let mut world = World::connected();
    world.session.on_disconnected();
    let mut closed = world.close();
    assert!(matches!(outcome(&mut closed), Some(Err(Error::ConnectionLost { op: Op::CloseSession }))));

    let mut never = World::new();
    let mut closed = never.close();
    assert!(matches!(outcome(&mut closed), Some(Ok(()))), "there is no session to leave behind");
}

#[test]
fn closing_during_the_handshake_waits_for_it() {
    let mut world = World::new();
    world.dial();
    let mut closed = world.close();
    assert!(outcome(&mut closed).is_none());
    world.grant(SESSION, TIMEOUT, false);
    assert_eq!(world.seen_ops(), [Op::CloseSession]);
    world.answer(1, 1, 0).unwrap();
    assert!(matches!(outcome(&mut closed), Some(Ok(()))));
}

#[test]
fn a_persistent_watch_nobody_reads_is_taken_off_the_server() {
    let mut world = World::connected();
    let (_a, _updates, first) = world.watch_on("/p", WatchKind::Persistent);
    let (_b, _more, second) = world.watch_on("/p", WatchKind::Persistent);
    world.answer(1, 1, 0).unwrap();
    world.answer(2, 1, 0).unwrap();
    world.seen();
    world.session.on_forget(first, world.now);
    assert!(world.seen().is_empty(), "another handle still wants it");
    world.session.on_forget(second, world.now);
    let seen = world.seen();
    let removal = RemoveWatchesRequest::from_bytes(&seen[0].body).unwrap();
    assert_eq!((&*removal.path, removal.watcher_type), ("/p", WatcherType::Any.code()));
}

#[test]
fn taking_one_watch_off_spares_others_on_the_same_path() {
    let mut world = World::connected();
    let (_a, _updates, persistent) = world.watch_on("/p", WatchKind::Persistent);
    let (_b, _event) = world.watch_once(Op::GetData, "/p", WatchKind::Data);
    world.answer(1, 1, 0).unwrap();
    world.answer(2, 1, 0).unwrap();
    world.seen();
    world.session.on_forget(persistent, world.now);
    let removal = RemoveWatchesRequest::from_bytes(&world.seen()[0].body).unwrap();
    assert_eq!(removal.watcher_type, WatcherType::Persistent.code());
}

#[test]
fn taking_one_watch_off_spares_another_that_is_being_set() {
    let mut world = World::connected();
    let (_a, _updates, persistent) = world.watch_on("/p", WatchKind::Persistent);
    world.answer(1, 1, 0).unwrap();
    let (_b, _event) = world.watch_once(Op::GetData, "/p", WatchKind::Data);
    world.seen();
    world.session.on_forget(persistent, world.now);
    let removal = RemoveWatchesRequest::from_bytes(&world.seen()[0].body).unwrap();
    assert_eq!(removal.watcher_type, WatcherType::Persistent.code());
}

#[test]
fn a_watch_dropped_while_it_is_being_set_is_taken_off_again() {
    let mut world = World::connected();
    let (answer, updates, id) = world.watch_on("/p", WatchKind::Recursive);
    drop((answer, updates));
    world.session.on_forget(id, world.now);
    assert_eq!(world.seen_ops(), [Op::AddWatch]);
    world.answer(1, 1, 0).unwrap();
    assert_eq!(world.seen_ops(), [Op::RemoveWatches]);
    world.answer(2, 1, ErrorCode::NoWatcher.code()).unwrap();
}

#[test]
fn removed_watches_end() {
    let mut world = World::connected();
    let (_a, mut updates, _) = world.watch_on("/p", WatchKind::Persistent);
    world.answer(1, 1, 0).unwrap();
    let removed = WatchEffect::Remove("/p".into(), WatcherType::Any);
    let _b = world.ask_with(Op::RemoveWatches, "/p", Some(removed));
    world.answer(2, 1, 0).unwrap();
    assert_eq!(updates.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn xids_start_over_without_using_those_that_have_a_meaning() {
    let mut world = World::connected();
    world.session.next_xid = i32::MAX;
    let _answers = [world.ask(Op::GetData, "/a"), world.ask(Op::GetData, "/b")];
    let xids: Vec<_> = world.seen().iter().map(|seen| seen.xid).collect();
    assert_eq!(xids, [i32::MAX, 1]);
}
