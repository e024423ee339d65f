//! The one way into the node: a queue that shards put batches of events into, and that the node takes whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::alarm::Alarm;
use super::clock::Clock;
use crate::node::Event;

/// From all shards to the node.
///
/// Its length is bounded by who puts into it: a connection with a write outstanding is not read from while
/// [`NodeQueue::in_flight`] is above `globalOutstandingLimit`, so at most one socket read a connection comes
/// on top of that limit; a connection waits for its handshake and says once that it has gone; and touches
/// are one a session, a few times a second.
#[derive(Debug)]
pub(crate) struct NodeQueue {
    clock: Clock,
    state: Mutex<State>,
    /// Rings for [`Sleeper::Thread`].
    arrived: Condvar,
    /// Rings for [`Sleeper::Task`].
    rung: Notify,
    /// Writes put in whose reply has not come out yet.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// When the first of them came.
    since: Duration,
    /// Not for an event.
    poked: bool,
    /// Who is to be woken by the next event.
    sleeper: Option<Sleeper>,
    closed: bool,
}

/// How the node waits.
#[derive(Debug, Clone, Copy)]
enum Sleeper {
    /// For nothing but events.
    Thread,
    /// For the sockets of other servers too.
    Task,
}

/// What became of waiting for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// There are some, and the first came at this time.
    Events(Duration),
    /// There are none, but a [`NodeQueue::poke`].
    Poke,
    /// The deadline has passed first.
    Deadline,
    /// The queue is closed and empty.
    Closed,
}

impl NodeQueue {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            arrived: Condvar::new(),
            rung: Notify::new(),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Moves all of `batch` to the end of the queue, and wakes the node if it sleeps.
    pub(crate) fn send(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        self.tell(|state| {
            if state.events.is_empty() {
                state.since = self.clock.monotonic();
                std::mem::swap(&mut state.events, batch);
            } else {
                state.events.append(batch);
            }
        });
        batch.clear();
    }

    /// Has the node look, without an event, at what else it is told.
    pub(crate) fn poke(&self) {
        self.tell(|state| state.poked = true);
    }

    /// Changes what the node sees when it looks, and wakes it if it sleeps.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let sleeper = state.sleeper.take();
        drop(state);
        match sleeper {
            None => {}
            Some(Sleeper::Thread) => drop(self.arrived.notify_one()),
            Some(Sleeper::Task) => self.rung.notify_one(),
        }
    }

    /// Takes everything that waits; if nothing does, `sleeper` hears of what comes next.
    fn take(state: &mut State, into: &mut Vec<Event>, sleeper: Sleeper) -> Option<Received> {
        debug_assert!(into.is_empty());
        if !state.events.is_empty() {
            (state.sleeper, state.poked) = (None, false);
            std::mem::swap(&mut state.events, into);
            return Some(Received::Events(state.since));
        }
        if state.closed {
            return Some(Received::Closed);
        }
        if std::mem::take(&mut state.poked) {
            return Some(Received::Poke);
        }
        state.sleeper = Some(sleeper);
        None
    }

    /// Swaps everything that waits into `into`, which must be empty; sleeps until there is something.
    pub(crate) fn receive(&self, into: &mut Vec<Event>, deadline: Option<Instant>) -> Received {
        let mut state = self.state.lock();
        loop {
            if let Some(received) = Self::take(&mut state, into, Sleeper::Thread) {
                return received;
            }
            let Some(deadline) = deadline else {
                self.arrived.wait(&mut state);
                continue;
            };
            if self.arrived.wait_until(&mut state, deadline).timed_out() {
                return Self::take(&mut state, into, Sleeper::Thread).unwrap_or(Received::Deadline);
            }
        }
    }

    /// [`NodeQueue::receive`], for a thread that has tasks to run meanwhile.
    pub(crate) async fn received(
        &self,
        into: &mut Vec<Event>,
        deadline: Option<Instant>,
        alarm: &mut Alarm,
    ) -> Received {
        let take = |into: &mut Vec<Event>| Self::take(&mut self.state.lock(), into, Sleeper::Task);
        loop {
            if let Some(received) = take(into) {
                return received;
            }
            if !self.rings(deadline, alarm).await {
                return take(into).unwrap_or(Received::Deadline);
            }
        }
    }

    /// Waits for the bell; false: the deadline has passed first.
    async fn rings(&self, deadline: Option<Instant>, alarm: &mut Alarm) -> bool {
        tokio::select! {
            biased;
            () = self.rung.notified() => true,
            () = alarm.at(deadline) => false,
        }
    }

    /// The node would not have to wait.
    pub(crate) fn has_news(&self) -> bool {
        let state = self.state.lock();
        !state.events.is_empty() || state.poked || state.closed
    }

    /// Adds what comes until then to `batch`, or until that is `enough`.
    pub(crate) fn gather(&self, batch: &mut Vec<Event>, until: Instant, enough: usize) {
        let mut state = self.state.lock();
        while !Self::add(&mut state, batch, enough, Sleeper::Thread) {
            if self.arrived.wait_until(&mut state, until).timed_out() {
                batch.append(&mut state.events);
                return;
            }
        }
    }

    /// [`NodeQueue::gather`], for a thread that has tasks to run meanwhile.
    pub(crate) async fn gathered(
        &self,
        batch: &mut Vec<Event>,
        until: Instant,
        enough: usize,
        alarm: &mut Alarm,
    ) {
        while !Self::add(&mut self.state.lock(), batch, enough, Sleeper::Task) {
            if !self.rings(Some(until), alarm).await {
                return batch.append(&mut self.state.lock().events);
            }
        }
    }

    /// Adds what waits to `batch`; true: that is `enough`, or all that will ever come.
    fn add(state: &mut State, batch: &mut Vec<Event>, enough: usize, sleeper: Sleeper) -> bool {
        batch.append(&mut state.events);
        let is_enough = batch.len() >= enough || state.closed;
        state.sleeper = (!is_enough).then_some(sleeper);
        is_enough
    }

    /// Lets the node take what is there, and then see [`Received::Closed`].
    pub(crate) fn close(&self) {
        self.tell(|state| state.closed = true);
    }

    /// Counts writes on their way in.
    pub(crate) fn began(&self, writes: usize) {
        self.in_flight.fetch_add(writes, Ordering::Relaxed);
    }

    /// Counts writes that were answered, or whose connection has gone.
    pub(crate) fn ended(&self, writes: usize) {
        self.in_flight.fetch_sub(writes, Ordering::Relaxed);
    }

    /// Writes put in whose reply has not come out yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Both ways to wait.
    const SLEEPERS: [Sleeper; 2] = [Sleeper::Thread, Sleeper::Task];
    const HOUR: Duration = Duration::from_secs(3600);

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    impl Sleeper {
        fn receive(self, queue: &NodeQueue, deadline: Option<Instant>) -> (Received, Vec<Event>) {
            let mut events = Vec::new();
            let received = match self {
                Self::Thread => queue.receive(&mut events, deadline),
                Self::Task => run(queue.received(&mut events, deadline, &mut Alarm::default())),
            };
            (received, events)
        }

        fn gather(self, queue: &NodeQueue, batch: &mut Vec<Event>, until: Instant, enough: usize) {
            match self {
                Self::Thread => queue.gather(batch, until, enough),
                Self::Task => run(queue.gathered(batch, until, enough, &mut Alarm::default())),
            }
        }
    }

    /// Does `act` to the queue as soon as the node sleeps.
    fn once_it_sleeps(queue: &Arc<NodeQueue>, act: impl FnOnce(&NodeQueue) + Send + 'static) {
        let queue = Arc::clone(queue);
        std::thread::spawn(move || {
            while queue.state.lock().sleeper.is_none() {
                std::thread::yield_now();
            }
            act(&queue);
        });
    }

    #[test]
    fn what_was_sent_before_closing_is_still_received() {
        for sleeper in SLEEPERS {
            let queue = NodeQueue::new(Clock::start());
            queue.send(&mut vec![Event::Tick, Event::Tick]);
            queue.close();
            let (received, events) = sleeper.receive(&queue, None);
            assert!(matches!(received, Received::Events(_)), "{sleeper:?}");
            assert_eq!(events.len(), 2, "{sleeper:?}");
            assert_eq!(sleeper.receive(&queue, None).0, Received::Closed, "{sleeper:?}");
        }
    }

    #[test]
    fn the_node_is_woken_by_events_by_a_poke_and_by_the_end() {
        for sleeper in SLEEPERS {
            let clock = Clock::start();
            let queue = Arc::new(NodeQueue::new(clock));
            once_it_sleeps(&queue, |queue| queue.send(&mut vec![Event::Tick]));
            let (received, events) = sleeper.receive(&queue, None);
            assert!(matches!(received, Received::Events(_)), "{sleeper:?}");
            assert_eq!(events.len(), 1, "{sleeper:?}");

            once_it_sleeps(&queue, NodeQueue::poke);
            assert_eq!(sleeper.receive(&queue, Some(clock.instant(HOUR))).0, Received::Poke, "{sleeper:?}");

            once_it_sleeps(&queue, NodeQueue::close);
            assert_eq!(sleeper.receive(&queue, None).0, Received::Closed, "{sleeper:?}");
        }
    }

    #[test]
    fn a_poke_is_forgotten_when_events_are_taken() {
        for sleeper in SLEEPERS {
            let clock = Clock::start();
            let queue = NodeQueue::new(clock);
            queue.poke();
            queue.send(&mut vec![Event::Tick]);
            assert!(matches!(sleeper.receive(&queue, None).0, Received::Events(_)), "{sleeper:?}");
            let now = clock.instant(clock.monotonic());
            assert_eq!(sleeper.receive(&queue, Some(now)).0, Received::Deadline, "{sleeper:?}");
        }
    }

    #[test]
    fn a_batch_grows_until_it_is_enough_or_its_time_is_up() {
        for sleeper in SLEEPERS {
            let clock = Clock::start();
            let queue = NodeQueue::new(clock);
            queue.send(&mut vec![Event::Tick, Event::Tick]);
            let mut batch = vec![Event::Tick];
            sleeper.gather(&queue, &mut batch, clock.instant(HOUR), 3);
            assert_eq!(batch.len(), 3, "{sleeper:?}: enough at once");
            sleeper.gather(&queue, &mut batch, clock.instant(clock.monotonic()), 9);
            assert_eq!(batch.len(), 3, "{sleeper:?}: nothing came");

            let queue = Arc::new(NodeQueue::new(clock));
            once_it_sleeps(&queue, |queue| queue.send(&mut vec![Event::Tick]));
            sleeper.gather(&queue, &mut batch, clock.instant(HOUR), 4);
            assert_eq!(batch.len(), 4, "{sleeper:?}: it came");
            queue.close();
            sleeper.gather(&queue, &mut batch, clock.instant(HOUR), 9);
            assert_eq!(batch.len(), 4, "{sleeper:?}: there is no more");
        }
    }

    #[test]
    fn batches_line_up_behind_each_other() {
        let queue = NodeQueue::new(Clock::start());
        let mut batch = vec![Event::SnapshotWritten { cuts: 1 }];
        queue.send(&mut batch);
        batch.push(Event::SnapshotWritten { cuts: 2 });
        queue.send(&mut batch);
        assert!(batch.is_empty());
        let (_, events) = Sleeper::Thread.receive(&queue, None);
        assert!(matches!(
            events[..],
            [Event::SnapshotWritten { cuts: 1 }, Event::SnapshotWritten { cuts: 2 }]
        ));
    }
}
