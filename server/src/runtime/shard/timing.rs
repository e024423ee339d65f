//! What a shard does by the clock: it tells the node which sessions were heard from, and closes connections that
//! have no session in time.

use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use super::{Shard, State};
use crate::node::Event;
use crate::session::ConnectionId;

/// How long it may take until the node learns that a session was heard from. Early expiry is no danger: the
/// session's timeout is rounded up to a tick, and begins when the node hears of it.
const TOUCH_DELAY: Duration = Duration::from_millis(50);

impl Shard {
    /// Closes `id` if it has no session by then.
    pub(super) fn set_deadline(&self, state: &mut State, id: ConnectionId) {
        let due = self.shared.clock.monotonic() + self.shared.config.limits.sessionless_timeout;
        state.deadlines.push_back((due, id));
        self.awaiting.notify_one();
    }

    /// Lets `id` read the last that is said to it, but not for ever.
    pub(super) fn see_off(&self, state: &mut State, id: ConnectionId) {
        if let Some(connection) = state.connection(id)
            && !std::mem::replace(&mut connection.is_leaving, true)
        {
            self.set_deadline(state, id);
        }
    }

    /// Notes that the connection's session was heard from.
    pub(super) fn touch(&self, state: &mut State, id: ConnectionId) {
        let round = state.touch_round;
        let Some(connection) = state.connection(id) else {
            return;
        };
        if let Some(session) = connection.session()
            && connection.touched_round != round
        {
            connection.touched_round = round;
            state.touched.push(session);
            if state.touched.len() == 1 {
                self.touched.notify_one();
            }
        }
    }

    pub(super) async fn report_touches(self: Rc<Self>) {
        loop {
            self.touched.notified().await;
            tokio::time::sleep(TOUCH_DELAY).await;
            let state = &mut *self.state.borrow_mut();
            state.touch_round += 1;
            let touched = std::mem::take(&mut state.touched);
            self.shared.queue.send(&mut vec![Event::Touched(touched)]);
        }
    }

    pub(super) async fn enforce_deadlines(self: Rc<Self>) {
        loop {
            let next = self.state.borrow().deadlines.front().copied();
            match next {
                None => self.awaiting.notified().await,
                Some((due, id)) => {
                    tokio::time::sleep_until(self.shared.clock.instant(due).into()).await;
                    self.on_deadline(id);
                }
            }
        }
    }

    /// Requests that wait to be let in are looked at again when writes of this shard's connections are answered;
    /// others' may have been meanwhile.
    pub(super) async fn wait_out_stalls(self: Rc<Self>) {
        loop {
            self.stalled.notified().await;
            while !self.state.borrow().stalled.is_empty() {
                tokio::time::sleep(self.shared.config.limits.request_throttle.stall).await;
                self.finish(&mut self.state.borrow_mut());
            }
        }
    }

    /// Has connections that wait to be let in try again, if there is room.
    pub(super) fn retry_stalled(&self, state: &mut State) {
        if state.stalled.is_empty() || self.shared.throttle.room(self.shared.queue.in_flight()) == 0 {
            return;
        }
        for id in std::mem::take(&mut state.stalled) {
            if let Some(connection) = state.connection(id) {
                connection.stall.retry();
                state.dirty.push(id);
            }
        }
    }

    fn on_deadline(&self, id: ConnectionId) {
        let state = &mut *self.state.borrow_mut();
        state.deadlines.pop_front();
        let is_late = state.connection(id).is_some_and(|connection| connection.session().is_none());
        if is_late {
            debug!(
                ?id,
                "closed a connection that had no session in time, or did not read the last said to it"
            );
            self.ledger().metrics.sessionless_connections_expired.add(1);
            self.close(state, id);
            self.finish(state);
        }
    }
}
