//! The sessions of a learner's own clients. Whether they live, only the leader decides: the learner tells it who
//! was heard from. ZooKeeper's `LearnerSessionTracker`.

use hashbrown::HashMap;

use super::{ConnectionId, SessionId};

#[derive(Debug)]
struct Held {
    connection: ConnectionId,
    timeout_ms: i32,
    /// Only this server knows it: nobody is told of it.
    is_local: bool,
    /// It is among those of whom the leader will be told.
    is_touched: bool,
}

/// Who is connected to this learner.
#[derive(Debug, Default)]
#[doc(alias = "LearnerSessionTracker")]
pub(crate) struct HeldSessions {
    by_id: HashMap<SessionId, Held>,
    by_connection: HashMap<ConnectionId, SessionId>,
    /// Heard from since the leader was last told.
    touched: Vec<SessionId>,
}

impl HeldSessions {
    /// Forgets them all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// `session` is at `connection` from now on; returns which one had it until now.
    pub(crate) fn hold(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        timeout_ms: i32,
    ) -> Option<ConnectionId> {
        self.insert(session, Held { connection, timeout_ms, is_local: false, is_touched: false })
    }

    /// The same with a session that is this server's alone.
    pub(crate) fn hold_locally(&mut self, session: SessionId, connection: ConnectionId, timeout_ms: i32) {
        self.insert(session, Held { connection, timeout_ms, is_local: true, is_touched: false });
    }

    fn insert(&mut self, session: SessionId, held: Held) -> Option<ConnectionId> {
        let connection = held.connection;
        let displaced = self.let_go(session).filter(|old| *old != connection);
        self.by_id.insert(session, held);
        self.by_connection.insert(connection, session);
        displaced
    }

    /// Notes that `session` was heard from, if it is held.
    pub(crate) fn hear_from(&mut self, session: SessionId) {
        if let Some(held) = self.by_id.get_mut(&session)
            && !held.is_local
            && !std::mem::replace(&mut held.is_touched, true)
        {
            self.touched.push(session);
        }
    }

    /// Who was heard from since this was last asked, with their timeouts in milliseconds.
    pub(crate) fn take_touched(&mut self) -> Vec<(SessionId, i32)> {
        let mut touched = std::mem::take(&mut self.touched);
        let by_id = &mut self.by_id;
        let told = touched.drain(..).filter_map(|session| {
            let held = by_id.get_mut(&session)?;
            std::mem::take(&mut held.is_touched).then_some((session, held.timeout_ms))
        });
        told.collect()
    }

    /// The connection that has `session`.
    pub(crate) fn holder(&self, session: SessionId) -> Option<ConnectionId> {
        self.by_id.get(&session).map(|held| held.connection)
    }

    /// `session` has ended, or is elsewhere; returns which connection had it.
    pub(crate) fn let_go(&mut self, session: SessionId) -> Option<ConnectionId> {
        let connection = self.by_id.remove(&session)?.connection;
        self.by_connection.remove(&connection);
        Some(connection)
    }

    /// The connection has gone.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        if let Some(session) = self.by_connection.remove(&connection) {
            self.by_id.remove(&session);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(0x0100_0000_0000_0001);
    const TWO: SessionId = SessionId(0x0100_0000_0000_0002);

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { shard: 0, slot, generation: 0 }
    }

    #[test]
    fn the_leader_is_told_once_of_each_that_was_heard_from() {
        let mut held = HeldSessions::default();
        held.hold(ONE, connection(1), 4000);
        held.hold(TWO, connection(2), 6000);
        for session in [TWO, ONE, TWO, SessionId(7)] {
            held.hear_from(session);
        }
        assert_eq!(held.take_touched(), [(TWO, 6000), (ONE, 4000)]);
        assert_eq!(held.take_touched(), []);
        held.hear_from(ONE);
        held.disconnect(connection(1));
        assert_eq!(held.take_touched(), []);
    }

    #[test]
    fn a_session_is_at_its_newest_connection() {
        let mut held = HeldSessions::default();
        assert_eq!(held.hold(ONE, connection(1), 4000), None);
        assert_eq!(held.hold(ONE, connection(2), 4000), Some(connection(1)));
        held.disconnect(connection(1));
        assert_eq!(held.holder(ONE), Some(connection(2)));
        assert_eq!(held.let_go(ONE), Some(connection(2)));
        assert_eq!(held.len(), 0);
    }
}
