//! One of the threads that own connections. Everything here happens on that thread, a turn at a time: a turn
//! begins with a socket that has something, or with mail, and ends with events sent to the node and replies
//! written to sockets.

mod booking;
mod delivery;
mod timing;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use jute::frame::FrameCodec;
use parking_lot::RwLockReadGuard;
use slab::Slab;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio_util::io::poll_read_buf;
use tracing::{debug, warn};

use super::clock::Clock;
use super::connection::{
    Asked, Breach, Connection, Desk, OUTPUT_BYTES_MAX, OUTPUT_PAUSE_BYTES, Stage, Tally, Wish,
};
use super::four_letter::{self, Word};
use super::inbound::Block;
use super::listener::Accepted;
use super::mailbox::{Mail, Mailbox};
use super::shared::{Ledger, Shared};
use super::stats::ConnectionStats;
use crate::metrics::Traffic;
use crate::node::Event;
use crate::pipeline::gate::Gate;
use crate::session::{ConnectionId, SessionId};
use crate::tree::Tree;

/// Room to read into. One buffer serves all connections of a shard: idle ones keep none.
const READ_BYTES: usize = 64 * 1024;

/// With less room left than this, the read buffer is renewed.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Buffers for replies kept for the next turn.
const SPARE_BUFFERS_MAX: usize = 64;

/// With more notifications than this that its sockets do not take, a shard closes those connections that have more
/// than [`OUTPUT_PAUSE_BYTES`] of them.
const NOTICES_BYTES_MAX: usize = 64 << 20;

/// One shard's state, and its way to the rest.
pub(super) struct Shard {
    shared: Arc<Shared>,
    index: u8,
    state: RefCell<State>,
    /// The first touch of a round, the first handshake in the queue, the first event of a batch.
    touched: Notify,
    awaiting: Notify,
    gathered: Notify,
    /// The first connection that waits to be let in.
    stalled: Notify,
}

struct State {
    connections: Slab<Connection>,
    ledger_keys: Vec<usize>,
    generation: u32,
    /// Empty between turns.
    buffer: BytesMut,
    spare: Vec<BytesMut>,
    /// Events since the last batch went to the node.
    events: Vec<Event>,
    /// Connections that this turn has given something.
    dirty: Vec<ConnectionId>,
    mail: Mail,
    /// Connections whose requests wait to be let in.
    stalled: Vec<ConnectionId>,
    /// Requests that are under way although their connections have gone: the audit must tell of them.
    orphans: HashMap<ConnectionId, Gate<Asked>>,
    /// Sizes of this turn's reads, by namespace.
    traffic: Traffic,
    touched: Vec<SessionId>,
    touch_round: u64,
    /// Notifications that no socket has taken, in bytes.
    notices: usize,
    /// By when connections must have a session, or be closed; the earliest first.
    deadlines: VecDeque<(Duration, ConnectionId)>,
}

/// Runs shard `index` until it is told to stop.
pub(super) fn run(shared: &Arc<Shared>, index: u8) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let shard = Rc::new(Shard::new(Arc::clone(shared), index));
    runtime.block_on(async {
        tokio::task::spawn_local(Rc::clone(&shard).report_touches());
        tokio::task::spawn_local(Rc::clone(&shard).enforce_deadlines());
        tokio::task::spawn_local(Rc::clone(&shard).send_events());
        tokio::task::spawn_local(Rc::clone(&shard).wait_out_stalls());
        loop {
            shard.mailbox().arrival().await;
            if shard.on_mail() {
                return;
            }
        }
    });
    Ok(())
}

impl Shard {
    fn new(shared: Arc<Shared>, index: u8) -> Self {
        let state = State {
            connections: Slab::new(),
            ledger_keys: Vec::new(),
            generation: 0,
            buffer: BytesMut::new(),
            spare: Vec::new(),
            events: Vec::new(),
            dirty: Vec::new(),
            mail: Mail::default(),
            stalled: Vec::new(),
            orphans: HashMap::new(),
            traffic: Traffic::default(),
            touched: Vec::new(),
            touch_round: 1,
            notices: 0,
            deadlines: VecDeque::new(),
        };
        Self {
            shared,
            index,
            state: RefCell::new(state),
            touched: Notify::new(),
            awaiting: Notify::new(),
            gathered: Notify::new(),
            stalled: Notify::new(),
        }
    }

    fn mailbox(&self) -> &Mailbox {
        &self.shared.mailboxes[usize::from(self.index)]
    }

    fn ledger(&self) -> &Ledger {
        &self.shared.ledgers[usize::from(self.index)]
    }

    /// A turn: mail has come. True: the server stops.
    fn on_mail(self: &Rc<Self>) -> bool {
        let state = &mut *self.state.borrow_mut();
        self.read_mail(state);
        for accepted in std::mem::take(&mut state.mail.accepted) {
            self.adopt(state, accepted);
        }
        self.finish(state);
        if state.mail.stop {
            let all: Vec<_> = state.connections.iter().map(|(_, connection)| connection.id).collect();
            for id in all {
                self.close(state, id);
            }
            self.shared.queue.send(&mut state.events);
        }
        state.mail.stop
    }

    /// Takes a new connection in; its task lives as long as it does.
    fn adopt(self: &Rc<Self>, state: &mut State, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%peer, %error, "cannot serve a connection");
                self.ledger().load.fetch_sub(1, Relaxed);
                return;
            }
        };
        let stats = Arc::new(ConnectionStats::new(peer, permit, Clock::wall_ms()));
        state.generation = state.generation.wrapping_add(1);
        let entry = state.connections.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("descriptors are fewer than 2^32");
        let id = ConnectionId { shard: self.index, slot, generation: state.generation };
        let (input, output) = stream.into_split();
        entry.insert(Connection::new(id, output, Arc::clone(&stats)));
        let ledger_key = self.ledger().connections.lock().insert((id, stats));
        let slot = id.slot as usize;
        if state.ledger_keys.len() <= slot {
            state.ledger_keys.resize(slot + 1, 0);
        }
        state.ledger_keys[slot] = ledger_key;
        self.set_deadline(state, id);
        tokio::task::spawn_local(Rc::clone(self).attend(id, input));
    }

    /// A connection's task: waits for its socket, whichever way there is something to do.
    async fn attend(self: Rc<Self>, id: ConnectionId, mut input: OwnedReadHalf) {
        std::future::poll_fn(|cx| self.poll_socket(id, &mut input, cx)).await;
    }

    fn poll_socket(&self, id: ConnectionId, input: &mut OwnedReadHalf, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(wish) = self.wish(id, cx) else {
                return Poll::Ready(());
            };
            if wish.to_write && input.as_ref().poll_write_ready(cx).is_ready() {
                self.on_writable(id);
            } else if wish.to_go_on {
                self.on_room(id);
                // Others first: what it asked for may be long.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else if wish.to_read && input.as_ref().poll_read_ready(cx).is_ready() {
                self.on_readable(id, input, cx);
            } else {
                return Poll::Pending;
            }
        }
    }

    /// What its task should wait for; `None` once it is closed.
    fn wish(&self, id: ConnectionId, cx: &mut Context<'_>) -> Option<Wish> {
        let state = &mut *self.state.borrow_mut();
        let connection = state.connection(id)?;
        connection.wish = connection.wish_now(&self.shared);
        match &mut connection.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Some(connection.wish)
    }

    /// A turn: replies have gone, and there are requests that waited for it.
    fn on_room(&self, id: ConnectionId) {
        let state = &mut *self.state.borrow_mut();
        state.dirty.push(id);
        self.finish(state);
    }

    /// A turn: the socket has bytes, or an end.
    fn on_readable(&self, id: ConnectionId, input: &mut OwnedReadHalf, cx: &mut Context<'_>) {
        let state = &mut *self.state.borrow_mut();
        let arrived = self.shared.clock.monotonic();
        match self.read_socket(state, id, input, cx) {
            Poll::Ready(Ok(())) => self.take_in(state, id, arrived),
            Poll::Pending => {}
            Poll::Ready(Err(error)) => {
                debug!(?id, %error, "connection ended");
                self.ledger().metrics.connection_drop_count.add(1);
                self.close(state, id);
            }
        }
        self.finish(state);
    }

    /// Reads once. Polled rather than tried: where fewer bytes came than fit, the next poll knows without asking
    /// the kernel that there are no more.
    fn read_socket(
        &self,
        state: &mut State,
        id: ConnectionId,
        input: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let State { connections, buffer, .. } = state;
        let Some(connection) = connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
        else {
            return Poll::Pending;
        };
        let input = Pin::new(input);
        // The beginning of a long frame grows where it is; of a short one it is copied to where there is room.
        let read = if connection.inbox.len() >= READ_BYTES_MIN {
            connection.inbox.reserve(READ_BYTES_MIN);
            poll_read_buf(input, cx, &mut connection.inbox)
        } else {
            if buffer.capacity() < READ_BYTES_MIN + connection.inbox.len() {
                buffer.reserve(READ_BYTES);
            }
            buffer.extend_from_slice(&connection.inbox);
            let read = poll_read_buf(input, cx, buffer);
            connection.inbox = buffer.split();
            read
        };
        match read {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(bytes)) => {
                self.ledger().metrics.bytes_received_count.add(bytes as u64);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                if connection.inbox.is_empty() {
                    connection.inbox = BytesMut::new(); // It would hold on to the whole buffer.
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Takes in what stands in the connection's inbox, as far as it may be now.
    fn take_in(&self, state: &mut State, id: ConnectionId, arrived: Duration) {
        let Some(connection) = state.connection(id) else {
            return;
        };
        if connection.stage == Stage::Fresh
            && let Some(word) = connection.word()
        {
            self.answer_word(state, id, word);
            return;
        }
        let codec = FrameCodec::new(self.shared.config.limits.request_bytes_max as usize);
        let mut block = Block::take(&mut connection.inbox, codec);
        let tree = (block.has_reads && connection.may_read_tree()).then(|| self.read_tree(state));
        let State { connections, events, traffic, .. } = state;
        let Some(connection) = connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
        else {
            return; // The mail said so.
        };
        let metrics = &self.ledger().metrics;
        let mut desk = Desk {
            shared: &self.shared,
            tree: tree.as_deref(),
            events,
            now: arrived,
            tally: Tally::default(),
            room: self.shared.throttle.room(self.shared.queue.in_flight()),
            traffic,
            metrics,
        };
        let mut taken = connection.take_in(&mut block, &mut desk);
        if taken.is_ok() && self.shared.large.is_on() && !connection.inbox_fits(&self.shared.large) {
            metrics.large_requests_rejected.add(1);
            taken = Err(Breach::NoRoom);
        }
        let tally = desk.tally;
        drop(tree);
        let ended =
            block.is_broken && block.frames.is_empty() && !matches!(connection.stage, Stage::Opening { .. });
        connection.put_back(block);
        if connection.stall.is_waiting() {
            state.stalled.push(id);
            self.stalled.notify_one();
        }
        self.book(connection, tally, arrived);
        metrics.read_per_namespace.take(traffic);
        self.touch(state, id);
        state.dirty.push(id);
        if ended || taken.is_err() {
            self.on_breach(state, id, taken.err());
        }
    }

    /// Locks the tree for reading, and hands out the mail that belongs to what it shows: no answer from here on
    /// overtakes an event.
    fn read_tree(&self, state: &mut State) -> RwLockReadGuard<'_, Tree> {
        let tree = self.shared.tree.read();
        self.read_mail(state);
        tree
    }

    /// The connection's first four bytes were a word: a page, and then it closes.
    fn answer_word(&self, state: &mut State, id: ConnectionId, word: Word) {
        let Some(connection) = state.connection(id) else {
            return;
        };
        let argument = connection.inbox.get(4..4 + word.argument_len());
        if let Some(argument) = argument {
            self.book_packets(connection, 1, 0);
            let page = four_letter::answer(word, argument, &*self.shared);
            self.book_packets(connection, 0, 1);
            connection.out.extend_from_slice(page.as_bytes());
            connection.inbox = BytesMut::new();
            connection.stage = Stage::Closing;
            state.dirty.push(id);
        }
    }

    fn on_breach(&self, state: &mut State, id: ConnectionId, breach: Option<Breach>) {
        if let Some(connection) = state.connection(id) {
            let peer = connection.stats.peer;
            match breach {
                Some(breach @ Breach::Ahead { .. }) => warn!(%peer, %breach, "refused a client"),
                Some(breach) => {
                    self.ledger().metrics.protocol_errors_total.add(u64::from(breach.is_an_error()));
                    debug!(%peer, %breach, "closed a connection");
                }
                None => {
                    self.ledger().metrics.protocol_errors_total.add(1);
                    debug!(%peer, breach = "a frame of an impossible length", "closed a connection");
                }
            }
            // Replies to what came before the breach are still written.
            connection.stage = Stage::Closing;
        }
    }

    /// A turn: the socket takes bytes again.
    fn on_writable(&self, id: ConnectionId) {
        let state = &mut *self.state.borrow_mut();
        self.flush(state, id);
        state.dirty.push(id);
        self.finish(state);
    }

    /// Ends a turn: requests that waited are served, replies go to the sockets; events will go to the node.
    fn finish(&self, state: &mut State) {
        self.serve_waiting(state);
        while let Some(id) = state.dirty.pop() {
            self.flush(state, id);
            let Some(connection) = state.connection(id) else {
                continue;
            };
            if connection.wish_now(&self.shared) != connection.wish {
                connection.wake();
            }
        }
        if !state.events.is_empty() {
            self.gathered.notify_one();
        }
    }

    /// Sends what the turns since the last time have for the node. This task's turn comes behind those of all
    /// sockets that are ready by now: their writes share a batch, and with it one wake-up and one fdatasync.
    async fn send_events(self: Rc<Self>) {
        loop {
            self.gathered.notified().await;
            self.shared.queue.send(&mut self.state.borrow_mut().events);
        }
    }

    /// Connections whose handshake ended, or who listen again, go on with what they asked meanwhile.
    fn serve_waiting(&self, state: &mut State) {
        self.retry_stalled(state);
        let is_waiting = |connection: &mut Connection| connection.may_go_on();
        let waiting: Vec<_> = state
            .dirty
            .iter()
            .copied()
            .filter(|id| state.connections.get_mut(id.slot as usize).is_some_and(is_waiting))
            .collect();
        let now = self.shared.clock.monotonic();
        for id in waiting {
            self.take_in(state, id, now);
        }
    }

    /// Writes what waits, as much as the socket takes.
    fn flush(&self, state: &mut State, id: ConnectionId) {
        let Some(connection) = state.connection(id) else {
            return;
        };
        if !connection.out.is_empty() {
            match connection.output.try_write(&connection.out) {
                Ok(bytes) => drop(connection.out.split_to(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    debug!(?id, %error, "connection broke");
                    self.close(state, id);
                    return;
                }
            }
        }
        let Some(connection) = state.connection(id) else {
            return;
        };
        let closes = connection.stage == Stage::Closing;
        if connection.out.is_empty() {
            let buffer = std::mem::take(&mut connection.out);
            state.notices -= std::mem::take(&mut connection.notices);
            state.recycle(buffer);
            if closes {
                self.close(state, id);
            }
        } else if closes {
            self.see_off(state, id);
        } else if state.is_hopeless(id) {
            self.close(state, id);
        }
    }

    /// The end of a connection, whoever wanted it.
    fn close(&self, state: &mut State, id: ConnectionId) {
        if state.connection(id).is_none() {
            return;
        }
        let mut connection = state.connections.remove(id.slot as usize);
        state.notices -= connection.notices;
        let orphans = connection.give_up(&self.shared, &self.ledger().metrics);
        self.shared.queue.ended(orphans.outstanding());
        if self.shared.config.audit && !orphans.is_open() {
            state.orphans.insert(id, orphans);
        }
        self.ledger().load.fetch_sub(1, Relaxed);
        self.ledger().connections.lock().remove(state.ledger_keys[id.slot as usize]);
        state.events.push(Event::Disconnected { connection: id });
        connection.wake();
    }
}

impl State {
    /// The node has answered the oldest request of `id`: which it was, and the connection if it can still be told.
    fn answered(&mut self, id: ConnectionId, shared: &Shared) -> (Option<Asked>, Option<&mut Connection>) {
        if self.connection(id).is_none() {
            return (self.leave_orphan(id), None);
        }
        let connection = self.connection_to_write(id);
        let asked = connection.and_then(|connection| connection.on_answered(shared));
        shared.queue.ended(usize::from(asked.is_some()));
        (asked, self.connection(id).filter(|connection| connection.stage != Stage::Closing))
    }

    fn leave_orphan(&mut self, id: ConnectionId) -> Option<Asked> {
        let gate = self.orphans.get_mut(&id)?;
        let asked = gate.leave();
        if gate.is_open() {
            self.orphans.remove(&id);
        }
        asked
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
    }

    /// Notifications are all that comes unasked: who lets them pile up is not waited for. Replies are bounded by
    /// not listening to whoever does not read them.
    fn is_hopeless(&mut self, id: ConnectionId) -> bool {
        let total = self.notices;
        let Some(connection) = self.connection(id) else {
            return false;
        };
        let sent = connection.notices.saturating_sub(connection.out.len());
        connection.notices -= sent;
        let own = connection.notices;
        let is_hopeless =
            own > OUTPUT_BYTES_MAX || (own > OUTPUT_PAUSE_BYTES && total - sent > NOTICES_BYTES_MAX);
        if is_hopeless {
            warn!(peer = %connection.stats.peer, unsent_bytes = own, "closed a client that reads nothing");
        }
        self.notices -= sent;
        is_hopeless
    }

    /// The same, with a buffer to write to.
    fn connection_to_write(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection =
            self.connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)?;
        if connection.out.capacity() == 0
            && let Some(buffer) = self.spare.pop()
        {
            connection.out = buffer;
        }
        Some(connection)
    }

    /// Keeps a buffer for the next reply, unless it is a large one.
    fn recycle(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() > 0 && buffer.capacity() <= READ_BYTES && self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
    }
}
