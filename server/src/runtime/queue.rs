//! The one way into the node: a queue that shards put batches of events into, and that the node takes whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

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
    arrived: Condvar,
    /// Writes put in whose reply has not come out yet.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// When the first of them came.
    since: Duration,
    node_sleeps: bool,
    closed: bool,
}

/// What became of waiting for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// There are some, and the first came at this time.
    Events(Duration),
    /// The deadline has passed first.
    Deadline,
    /// The queue is closed and empty.
    Closed,
}

impl NodeQueue {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), arrived: Condvar::new(), in_flight: AtomicUsize::new(0) }
    }

    /// Moves all of `batch` to the end of the queue, and wakes the node if it sleeps.
    pub(crate) fn send(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.events.is_empty() {
            state.since = self.clock.monotonic();
            std::mem::swap(&mut state.events, batch);
        } else {
            state.events.append(batch);
        }
        let wake = std::mem::take(&mut state.node_sleeps);
        drop(state);
        batch.clear();
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Swaps everything that waits into `into`, which must be empty; sleeps until there is something.
    pub(crate) fn receive(&self, into: &mut Vec<Event>, deadline: Option<Instant>) -> Received {
        debug_assert!(into.is_empty());
        let mut state = self.state.lock();
        while state.events.is_empty() {
            if state.closed {
                return Received::Closed;
            }
            state.node_sleeps = true;
            match deadline {
                None => self.arrived.wait(&mut state),
                Some(deadline) => {
                    if self.arrived.wait_until(&mut state, deadline).timed_out() && state.events.is_empty() {
                        state.node_sleeps = false;
                        return Received::Deadline;
                    }
                }
            }
        }
        state.node_sleeps = false;
        std::mem::swap(&mut state.events, into);
        Received::Events(state.since)
    }

    /// Adds what comes until then to `batch`, or until that is `enough`.
    pub(crate) fn gather(&self, batch: &mut Vec<Event>, until: Instant, enough: usize) {
        let mut state = self.state.lock();
        loop {
            batch.append(&mut state.events);
            if batch.len() >= enough || state.closed {
                return;
            }
            state.node_sleeps = true;
            if self.arrived.wait_until(&mut state, until).timed_out() {
                state.node_sleeps = false;
                batch.append(&mut state.events);
                return;
            }
        }
    }

    /// Lets the node take what is there, and then see [`Received::Closed`].
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_one();
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
    use super::*;

    #[test]
    fn what_was_sent_before_closing_is_still_received() {
        let queue = NodeQueue::new(Clock::start());
        queue.send(&mut vec![Event::Tick, Event::Tick]);
        queue.close();
        let mut events = Vec::new();
        assert!(matches!(queue.receive(&mut events, None), Received::Events(_)));
        assert_eq!(events.len(), 2);
        events.clear();
        assert_eq!(queue.receive(&mut events, None), Received::Closed);
    }

    #[test]
    fn a_batch_grows_until_it_is_enough_or_its_time_is_up() {
        let clock = Clock::start();
        let queue = NodeQueue::new(clock);
        queue.send(&mut vec![Event::Tick, Event::Tick]);
        let mut batch = vec![Event::Tick];
        queue.gather(&mut batch, clock.instant(Duration::from_secs(3600)), 3);
        assert_eq!(batch.len(), 3, "enough at once");
        queue.gather(&mut batch, clock.instant(clock.monotonic()), 9);
        assert_eq!(batch.len(), 3, "nothing came");
        queue.close();
        queue.gather(&mut batch, clock.instant(Duration::from_secs(3600)), 9);
    }

    #[test]
    fn batches_line_up_behind_each_other() {
        let queue = NodeQueue::new(Clock::start());
        let mut batch = vec![Event::SnapshotWritten { cuts: 1 }];
        queue.send(&mut batch);
        batch.push(Event::SnapshotWritten { cuts: 2 });
        queue.send(&mut batch);
        assert!(batch.is_empty());
        let mut events = Vec::new();
        queue.receive(&mut events, None);
        assert!(matches!(
            events[..],
            [Event::SnapshotWritten { cuts: 1 }, Event::SnapshotWritten { cuts: 2 }]
        ));
    }
}
