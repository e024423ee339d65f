//! A learner's side of stop 3 of [the life of a write](crate): what its clients want of the leader goes there, and
//! each connection remembers in a line of its own what it waits for. The answer is made here, once the txn of the
//! same session and number is applied; reads behind it then have their turn. ZooKeeper's
//! `FollowerRequestProcessor`, and `CommitProcessor`'s pending requests.

use std::collections::VecDeque;

use hashbrown::HashMap;
use jute::{Op, Ustring};

use super::apply::{Origin, Work};
use crate::session::ConnectionId;

/// What a connection waits for.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A txn.
    Write {
        /// The client's number for it: the txn's cxid.
        cxid: i32,
        /// What was asked for.
        op: Op,
        /// Of a multi: what its parts asked for.
        parts: Vec<Op>,
    },
    /// The leader's word.
    Sync {
        /// Who asked.
        origin: Origin,
        /// What for; it is only repeated.
        path: Ustring,
        /// The leader has answered.
        is_answered: bool,
    },
    /// Only its turn.
    Turn(Option<Origin>, Work),
}

/// All connections that wait.
#[derive(Debug, Default)]
#[doc(alias = "FollowerRequestProcessor")]
pub(crate) struct Forwarded {
    /// What each waits for, the oldest first. That is something of the leader's, so nothing is ready here.
    lines: HashMap<ConnectionId, VecDeque<Waiting>>,
    /// Who asked for a sync; the leader answers in this order.
    syncs: VecDeque<ConnectionId>,
}

impl Forwarded {
    /// Nobody waits any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether something of the connection's is under way to the leader.
    pub(crate) fn is_waiting(&self, connection: ConnectionId) -> bool {
        self.lines.contains_key(&connection)
    }

    /// At the end of the connection's line.
    pub(crate) fn wait(&mut self, connection: ConnectionId, waiting: Waiting) {
        if matches!(waiting, Waiting::Sync { .. }) {
            self.syncs.push_back(connection);
        }
        self.lines.entry(connection).or_default().push_back(waiting);
    }

    /// The txn that the connection waits for first was applied: what it asked for. `None` if it was somebody
    /// else's.
    pub(crate) fn take_write(&mut self, connection: ConnectionId, cxid: i32) -> Option<(Op, Vec<Op>)> {
        let line = self.lines.get_mut(&connection)?;
        match line
            .pop_front_if(|first| matches!(first, Waiting::Write { cxid: first, .. } if *first == cxid))?
        {
            Waiting::Write { op, parts, .. } => Some((op, parts)),
            _ => None,
        }
    }

    /// The leader answered the oldest sync; returns whose it was.
    pub(crate) fn on_synced(&mut self) -> Option<ConnectionId> {
        let connection = self.syncs.pop_front()?;
        let line = self.lines.get_mut(&connection)?;
        let oldest = line.iter_mut().find_map(|waiting| match waiting {
            Waiting::Sync { is_answered, .. } if !*is_answered => Some(is_answered),
            _ => None,
        });
        *oldest? = true;
        Some(connection)
    }

    /// What has its turn at the head of the connection's line.
    pub(crate) fn next_turn(&mut self, connection: ConnectionId) -> Option<(Option<Origin>, Work)> {
        let line = self.lines.get_mut(&connection)?;
        let is_due = |first: &mut Waiting| match first {
            Waiting::Write { .. } => false,
            Waiting::Sync { is_answered, .. } => *is_answered,
            Waiting::Turn(..) => true,
        };
        let next = line.pop_front_if(is_due);
        if line.is_empty() {
            self.lines.remove(&connection);
        }
        match next? {
            Waiting::Write { .. } => None,
            Waiting::Sync { origin, path, .. } => {
                Some((Some(origin), Work::Sync { path, confirmation: None }))
            }
            Waiting::Turn(origin, work) => Some((origin, work)),
        }
    }

    /// The connection has gone.
    pub(crate) fn drop_connection(&mut self, connection: ConnectionId) {
        self.lines.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use jute::ErrorCode;

    use super::*;

    const ME: ConnectionId = ConnectionId { shard: 0, slot: 1, generation: 0 };

    fn origin(xid: i32) -> Origin {
        Origin { connection: ME, xid }
    }

    fn write(cxid: i32) -> Waiting {
        Waiting::Write { cxid, op: Op::Create, parts: Vec::new() }
    }

    fn sync(xid: i32) -> Waiting {
        Waiting::Sync { origin: origin(xid), path: "/".into(), is_answered: false }
    }

    fn turn(xid: i32) -> Waiting {
        Waiting::Turn(Some(origin(xid)), Work::Refuse(ErrorCode::NoNode))
    }

    fn due(forwarded: &mut Forwarded) -> Vec<i32> {
        std::iter::from_fn(|| forwarded.next_turn(ME)).map(|(origin, _)| origin.unwrap().xid).collect()
    }

    #[test]
    fn what_stands_behind_a_write_waits_for_it() {
        let mut forwarded = Forwarded::default();
        for waiting in [write(1), turn(2), turn(3), write(4), turn(5)] {
            forwarded.wait(ME, waiting);
        }
        assert!(due(&mut forwarded).is_empty());
        assert_eq!(forwarded.take_write(ME, 1), Some((Op::Create, vec![])));
        assert_eq!(due(&mut forwarded), [2, 3]);
        assert!(forwarded.is_waiting(ME));
        assert!(forwarded.take_write(ME, 4).is_some());
        assert_eq!(due(&mut forwarded), [5]);
        assert!(!forwarded.is_waiting(ME));
    }

    #[test]
    fn a_txn_that_the_connection_did_not_ask_for_first_is_not_its_own() {
        let mut forwarded = Forwarded::default();
        for waiting in [write(1), write(2)] {
            forwarded.wait(ME, waiting);
        }
        assert_eq!(forwarded.take_write(ME, 2), None);
        assert!(forwarded.take_write(ME, 1).is_some());
        assert!(forwarded.take_write(ME, 2).is_some());
    }

    #[test]
    fn a_sync_that_is_answered_early_still_waits_for_its_turn() {
        let mut forwarded = Forwarded::default();
        for waiting in [write(1), sync(2), turn(3), sync(4)] {
            forwarded.wait(ME, waiting);
        }
        assert_eq!(forwarded.on_synced(), Some(ME));
        assert!(due(&mut forwarded).is_empty());
        forwarded.take_write(ME, 1);
        assert_eq!(due(&mut forwarded), [2, 3]);
        assert_eq!(forwarded.on_synced(), Some(ME));
        assert_eq!(due(&mut forwarded), [4]);
    }

    #[test]
    fn syncs_of_a_connection_that_has_gone_are_answered_to_nobody() {
        let mut forwarded = Forwarded::default();
        let other = ConnectionId { slot: 2, ..ME };
        forwarded.wait(other, sync(1));
        forwarded.wait(ME, sync(1));
        forwarded.drop_connection(other);
        assert_eq!(forwarded.on_synced(), None);
        assert_eq!(forwarded.on_synced(), Some(ME));
        assert_eq!(due(&mut forwarded), [1]);
    }
}
