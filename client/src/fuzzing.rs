//! A session between a caller and a server who do anything at all: for fuzzers. No part of the API.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jute::frame::FrameCodec;
use jute::proto::{
    ConnectResponse, ConnectTail, GetDataRequest, ReplyHeader, RequestHeader, WatcherEvent, xid,
};
use jute::{Jute, Op, Reader, WatcherType};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::codec::Decoder;

use crate::error::Error;
use crate::request::{Reply, Request, WatchEffect, encode_frame};
use crate::secret::Secret;
use crate::session::{Session, SessionOptions};
use crate::state::Status;
use crate::watch::{RawUpdate, Registration, Sink, StreamSink, WatchId, WatchKind};

const TIMEOUT: Duration = Duration::from_secs(6);
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];
const KINDS: [WatchKind; 5] =
    [WatchKind::Data, WatchKind::Exists, WatchKind::Children, WatchKind::Persistent, WatchKind::Recursive];

/// Plays the steps that `input` spells, a byte each with what belongs to it.
///
/// # Panics
/// When the session breaks a promise: a request has more or less than one outcome, is sent twice or out of order,
/// half a frame is sent, or a session goes on after its end.
pub fn play_session(input: &[u8]) {
    let mut input = input.iter().copied();
    let mut play = Play::new(input.next().unwrap_or(0));
    while let Some(step) = input.next() {
        let before = play.status.borrow().state;
        play.step(step, &mut input);
        play.look_at_what_is_sent();
        let after = play.status.borrow().state;
        assert!(!before.is_terminal() || before == after, "{before:?} was the end, and then {after:?}");
    }
    play.end();
}

type Answer = oneshot::Receiver<Result<Reply, Error>>;

struct Play {
    session: Session,
    status: watch::Receiver<Status>,
    now: Instant,
    /// A connection stands.
    is_connected: bool,
    codec: FrameCodec,
    /// Sent, and not answered.
    sent: VecDeque<i32>,
    last_sent: Option<usize>,
    answers: Vec<Option<Answer>>,
    watches: Vec<mpsc::Receiver<RawUpdate>>,
    next_watch: u64,
}

impl Play {
    fn new(flags: u8) -> Self {
        let options = SessionOptions {
            timeout: TIMEOUT,
            read_only: flags & 1 != 0,
            outlast_outages: flags & 2 != 0,
            fail_unreachable: flags & 4 != 0,
            resume: None,
            credentials: Vec::new(),
        };
        #[allow(clippy::disallowed_methods, reason = "any time will do to start from")]
        let now = Instant::now();
        let (sender, status) = watch::channel(Status::new(&options));
        Self {
            session: Session::new(options, now, sender),
            status,
            now,
            is_connected: false,
            codec: FrameCodec::default(),
            sent: VecDeque::new(),
            last_sent: None,
            answers: Vec::new(),
            watches: Vec::new(),
            next_watch: 0,
        }
    }

    fn step(&mut self, step: u8, input: &mut impl Iterator<Item = u8>) {
        match step % 13 {
            0 => self.ask(Op::SetData, None),
            1 => self.ask_to_watch(input),
            2 => self.cancel(input),
            3 => self.dial(),
            4 => self.receive_granted(input),
            5 => self.receive_answer(input),
            6 => self.receive_event(input),
            7 => self.receive_anything(input),
            8 => self.disconnect(),
            9 => self.pass(input),
            10 => self.authenticate(),
            11 => self.stop_watching(input),
            _ => self.close(),
        }
    }

    /// A request whose path tells its number.
    fn ask(&mut self, op: Op, effect: Option<WatchEffect>) {
        let path = format!("/{}", self.answers.len()).into();
        let frame = encode_frame(op, &GetDataRequest { path, watch: effect.is_some() });
        let (reply, answer) = oneshot::channel();
        self.session.on_request(Request { op, frame, effect, reply, permit: None }, self.now);
        self.answers.push(Some(answer));
    }

    fn ask_to_watch(&mut self, input: &mut impl Iterator<Item = u8>) {
        let choice = usize::from(input.next().unwrap_or(0));
        let (path, kind) = (PATHS[choice / 8 % PATHS.len()], KINDS[choice % KINDS.len()]);
        if choice >= 224 {
            return self.ask(Op::RemoveWatches, Some(WatchEffect::Remove(path.into(), WatcherType::Any)));
        }
        let (op, sink) = match kind {
            WatchKind::Persistent | WatchKind::Recursive => {
                let (sink, updates) = StreamSink::new(2);
                self.watches.push(updates);
                (Op::AddWatch, Sink::Stream(sink))
            }
            WatchKind::Exists => (Op::Exists, Sink::Oneshot(oneshot::channel().0)),
            _ => (Op::GetData, Sink::Oneshot(oneshot::channel().0)),
        };
        self.next_watch += 1;
        let id = WatchId(self.next_watch);
        self.ask(op, Some(WatchEffect::Set(Registration { id, path: path.into(), kind, sink })));
    }

    fn cancel(&mut self, input: &mut impl Iterator<Item = u8>) {
        let which = usize::from(input.next().unwrap_or(0));
        if let Some(answer) = self.answers.get_mut(which) {
            *answer = None;
        }
    }

    fn stop_watching(&mut self, input: &mut impl Iterator<Item = u8>) {
        let which = u64::from(input.next().unwrap_or(0));
        if !self.watches.is_empty() {
            self.watches.swap_remove(which as usize % self.watches.len());
        }
        self.session.on_forget(WatchId(which), self.now);
    }

    fn dial(&mut self) {
        if !self.is_connected && !self.session.is_over() {
            self.is_connected = true;
            self.session.on_connected(&"server".parse().expect("a host"), self.now);
        }
    }

    fn receive_granted(&mut self, input: &mut impl Iterator<Item = u8>) {
        let flags = input.next().unwrap_or(0);
        let timeout_ms = [6000, 0, -1, i32::MAX][usize::from(flags % 4)];
        let password = (flags & 4 == 0).then(|| Bytes::from_static(b"0123456789abcdef"));
        let mut frame = BytesMut::new();
        ConnectResponse { protocol_version: 0, timeout_ms, session_id: 7, password }.encode(&mut frame);
        if flags & 8 == 0 {
            ConnectTail { read_only: flags & 16 != 0 }.encode(&mut frame);
        }
        self.receive(&frame.freeze());
    }

    /// The answer to the oldest request, with any body.
    fn receive_answer(&mut self, input: &mut impl Iterator<Item = u8>) {
        let Some(xid) = self.sent.front().copied() else { return };
        let err = [0, -101, -110, i32::from(input.next().unwrap_or(0))][self.answers.len() % 4];
        let mut frame = BytesMut::new();
        ReplyHeader { xid, zxid: 1, err }.encode(&mut frame);
        let len = usize::from(input.next().unwrap_or(0));
        frame.extend(input.take(len));
        self.receive(&frame.freeze());
    }

    fn receive_event(&mut self, input: &mut impl Iterator<Item = u8>) {
        let choice = input.next().unwrap_or(0);
        let path = PATHS[usize::from(choice / 8) % PATHS.len()].into();
        let mut frame = BytesMut::new();
        ReplyHeader { xid: xid::NOTIFICATION, zxid: 1, err: 0 }.encode(&mut frame);
        WatcherEvent { event_type: i32::from(choice % 8), state: 3, path }.encode(&mut frame);
        self.receive(&frame.freeze());
    }

    fn receive_anything(&mut self, input: &mut impl Iterator<Item = u8>) {
        let len = usize::from(input.next().unwrap_or(0));
        self.receive(&input.take(len).collect());
    }

    fn receive(&mut self, frame: &Bytes) {
        if !self.is_connected {
            return;
        }
        if let Some(xid) = frame.first_chunk().map(|xid| i32::from_be_bytes(*xid))
            && self.session.is_online()
            && self.sent.front() == Some(&xid)
        {
            self.sent.pop_front();
        }
        if self.session.on_frame(frame, self.now).is_err() || self.session.is_over() {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        self.is_connected = false;
        self.sent.clear();
        self.session.on_disconnected();
    }

    fn pass(&mut self, input: &mut impl Iterator<Item = u8>) {
        self.now += Duration::from_millis(50 * u64::from(input.next().unwrap_or(0)));
        if !self.session.on_tick(self.now) {
            self.disconnect();
        }
    }

    fn authenticate(&mut self) {
        let (reply, answer) = oneshot::channel();
        self.session.on_authenticate("digest".into(), Secret(Bytes::from_static(b"a:b")), reply, self.now);
        self.answers.push(Some(answer));
    }

    fn close(&mut self) {
        let (reply, answer) = oneshot::channel();
        self.session.on_close(Some(reply), self.now);
        self.answers.push(Some(answer));
    }

    /// Whole frames; requests of callers in their order, each once.
    fn look_at_what_is_sent(&mut self) {
        if self.session.is_over() {
            return;
        }
        let was_handshake = !self.session.is_online();
        while let Some(frame) = self.codec.decode(self.session.out()).expect("frames have lengths") {
            if was_handshake {
                continue;
            }
            let mut input = Reader::new(&frame);
            let header = RequestHeader::decode(&mut input).expect("requests have headers");
            if !matches!(header.xid, xid::PING | xid::AUTH) {
                self.sent.push_back(header.xid);
            }
            if header.op == Op::SetData.code() {
                let request = GetDataRequest::decode(&mut input).expect("what was asked for");
                let number = request.path[1..].parse().expect("a number");
                assert!(self.last_sent < Some(number), "{number} behind {:?}", self.last_sent);
                self.last_sent = Some(number);
            }
        }
        assert!(self.session.out().is_empty(), "half a frame was sent");
    }

    /// Everyone who still waits learns how it ended.
    fn end(mut self) {
        self.session.end(crate::SessionState::Closed);
        for answer in self.answers.iter_mut().flatten() {
            assert!(
                !matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)),
                "a request has no outcome"
            );
        }
    }
}
