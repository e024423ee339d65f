//! The sessions there are, who holds them, and which have been silent for too long.

use hashbrown::HashMap;
use jute::ErrorCode;

use super::expiry::ExpiryBuckets;
use super::password::is_password_of;
use super::{ConnectionId, SessionId};
use crate::zab::LinkId;

/// The shortest and the longest session timeout that is granted, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutBounds {
    /// `minSessionTimeout`.
    pub min_ms: i32,
    /// `maxSessionTimeout`.
    pub max_ms: i32,
}

impl TimeoutBounds {
    /// What a client gets that wishes for `asked_ms`.
    #[must_use]
    pub fn grant(self, asked_ms: i32) -> i32 {
        asked_ms.max(self.min_ms).min(self.max_ms)
    }
}

/// A session that is not there any more, or not for this client: its password was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// A handshake that carries on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    pub(crate) timeout_ms: i32,
    /// Who held the session until now.
    pub(crate) displaced: Option<ConnectionId>,
}

/// Which server a session's client is connected to. Requests that come by another one are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This one.
    Here,
    /// A learner, as long as it has this link.
    Learner(LinkId),
}

#[derive(Debug)]
struct Session {
    timeout_ms: i32,
    expires_ms: u64,
    connection: Option<ConnectionId>,
    /// `None` until its client is heard from.
    owner: Option<Owner>,
    /// Its closeSession is under way: it neither expires again nor is of use to anybody.
    closing: bool,
}

/// All sessions, in time: the tree's table of sessions follows it as txns are applied.
#[derive(Debug)]
#[doc(alias = "SessionTrackerImpl")]
#[doc(alias = "SessionTracker")]
pub struct Sessions {
    by_id: HashMap<SessionId, Session>,
    by_connection: HashMap<ConnectionId, SessionId>,
    buckets: ExpiryBuckets,
    bounds: TimeoutBounds,
    next: SessionId,
}

impl Sessions {
    /// No sessions; the first to be opened is `next`.
    #[must_use]
    pub fn new(next: SessionId, bounds: TimeoutBounds, tick_ms: u64) -> Self {
        Self {
            by_id: HashMap::new(),
            by_connection: HashMap::new(),
            buckets: ExpiryBuckets::new(tick_ms),
            bounds,
            next,
        }
    }

    /// Takes over a session that was there before this server led. It has all of its timeout ahead of it.
    pub(crate) fn adopt(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64) {
        self.avoid(session);
        self.track(session, timeout_ms, None, None, now_ms);
    }

    /// Forgets them all; ids go on.
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.by_connection.clear();
        self.buckets.clear();
    }

    /// An id for a session of somebody else's to track.
    pub(crate) fn next_id(&mut self) -> SessionId {
        let session = self.next;
        self.next = SessionId(session.0 + 1);
        session
    }

    /// What a client gets that wishes for `asked_ms`.
    pub(crate) fn grant(&self, asked_ms: i32) -> i32 {
        self.bounds.grant(asked_ms)
    }

    /// A learner's client opened `session`.
    pub(crate) fn open_at(&mut self, owner: Owner, session: SessionId, timeout_ms: i32, now_ms: u64) {
        self.avoid(session);
        self.track(session, timeout_ms, None, Some(owner), now_ms);
    }

    /// A learner's client carries on `session`: returns who held it here until now.
    pub(crate) fn move_to(
        &mut self,
        owner: Owner,
        session: SessionId,
        timeout_ms: i32,
        now_ms: u64,
    ) -> Result<Option<ConnectionId>, Refused> {
        let known = self.by_id.get_mut(&session).filter(|known| !known.closing).ok_or(Refused)?;
        known.owner = Some(owner);
        known.grant(session, timeout_ms, now_ms, &mut self.buckets);
        let displaced = known.connection.take();
        if let Some(old) = displaced {
            self.by_connection.remove(&old);
        }
        Ok(displaced)
    }

    /// Never opens a session as `session`: after a clock was set back, an id must not be given out twice.
    pub(crate) fn avoid(&mut self, session: SessionId) {
        if session.0 >> 56 == self.next.0 >> 56 && session >= self.next {
            self.next = SessionId(session.0 + 1);
        }
    }

    /// Opens a session for `connection`; returns its id and its timeout. It is known to others once its txn
    /// is applied.
    pub(crate) fn open(&mut self, connection: ConnectionId, asked_ms: i32, now_ms: u64) -> (SessionId, i32) {
        let session = self.next_id();
        (session, self.open_as(session, connection, asked_ms, now_ms))
    }

    /// The same with an id from elsewhere; returns its timeout.
    pub(crate) fn open_as(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        asked_ms: i32,
        now_ms: u64,
    ) -> i32 {
        let timeout_ms = self.bounds.grant(asked_ms);
        self.take_over(session, connection, timeout_ms, now_ms);
        timeout_ms
    }

    /// Takes over a session that another table gave [away](Self::take).
    pub(crate) fn take_over(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        timeout_ms: i32,
        now_ms: u64,
    ) {
        self.track(session, timeout_ms, Some(connection), Some(Owner::Here), now_ms);
        self.by_connection.insert(connection, session);
    }

    /// Gives a session away; returns its timeout.
    pub(crate) fn take(&mut self, session: SessionId) -> Option<i32> {
        let timeout_ms = self.by_id.get(&session)?.timeout_ms;
        self.close(session);
        Some(timeout_ms)
    }

    /// Hands `session` over to `connection`.
    ///
    /// The password is checked first: else whoever guesses an id could break the connection of its holder.
    pub(crate) fn renew(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        password: &[u8],
        asked_ms: i32,
        now_ms: u64,
    ) -> Result<Renewed, Refused> {
        if !is_password_of(session, password) {
            return Err(Refused);
        }
        let Some(known) = self.by_id.get_mut(&session).filter(|known| !known.closing) else {
            return Err(Refused);
        };
        let timeout_ms = self.bounds.grant(asked_ms);
        known.grant(session, timeout_ms, now_ms, &mut self.buckets);
        known.owner = Some(Owner::Here);
        let displaced = known.connection.replace(connection).filter(|old| *old != connection);
        if let Some(old) = displaced {
            self.by_connection.remove(&old);
        }
        self.by_connection.insert(connection, session);
        Ok(Renewed { timeout_ms, displaced })
    }

    /// Notes that `session` is alive.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExpired`] when it is not.
    #[doc(alias = "touchSession")]
    pub(crate) fn hear_from(&mut self, session: SessionId, now_ms: u64) -> Result<(), ErrorCode> {
        match self.by_id.get_mut(&session) {
            Some(known) if !known.closing => {
                known.expires_ms = self.buckets.expiry(now_ms, millis(known.timeout_ms));
                Ok(())
            }
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// The same, of a session that asks for something by `owner`.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExpired`] when it is not alive, [`ErrorCode::SessionMoved`] when it is elsewhere by now.
    #[doc(alias = "checkSession")]
    pub(crate) fn hear_request(
        &mut self,
        session: SessionId,
        owner: Owner,
        now_ms: u64,
    ) -> Result<(), ErrorCode> {
        match self.by_id.get_mut(&session) {
            Some(known) if !known.closing => {
                known.expires_ms = self.buckets.expiry(now_ms, millis(known.timeout_ms));
                let is_owner = *known.owner.get_or_insert(owner) == owner;
                if is_owner { Ok(()) } else { Err(ErrorCode::SessionMoved) }
            }
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// Its closeSession is under way.
    pub(crate) fn begin_close(&mut self, session: SessionId) {
        if let Some(known) = self.by_id.get_mut(&session) {
            known.closing = true;
        }
    }

    /// Its closeSession is applied; returns who held it.
    pub(crate) fn close(&mut self, session: SessionId) -> Option<ConnectionId> {
        let connection = self.by_id.remove(&session)?.connection?;
        self.by_connection.remove(&connection);
        Some(connection)
    }

    /// The connection has gone; its session waits for another until it expires.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        let Some(session) = self.by_connection.remove(&connection) else {
            return;
        };
        if let Some(known) = self.by_id.get_mut(&session) {
            known.connection = None;
        }
    }

    /// The sessions whose time is over. They are closing from here on.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<SessionId> {
        let mut expired = self.buckets.take_due(now_ms);
        expired.retain(|session| match self.by_id.get_mut(session) {
            None => false,
            Some(known) if known.closing => false,
            Some(known) if known.expires_ms > now_ms => {
                self.buckets.file(*session, known.expires_ms);
                false
            }
            Some(known) => {
                known.closing = true;
                true
            }
        });
        expired
    }

    /// When [`Sessions::expire`] is next to be called.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.buckets.next_ms()
    }

    /// When each expires, in no order.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (SessionId, u64)> {
        self.by_id.iter().map(|(id, known)| (*id, known.expires_ms))
    }

    /// How many there are, closing ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Is it known, closing or not?
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.by_id.contains_key(&session)
    }

    /// Is it known, and not closing?
    pub(crate) fn is_alive(&self, session: SessionId) -> bool {
        self.by_id.get(&session).is_some_and(|known| !known.closing)
    }

    fn track(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        connection: Option<ConnectionId>,
        owner: Option<Owner>,
        now_ms: u64,
    ) {
        let expires_ms = self.buckets.expiry(now_ms, millis(timeout_ms));
        self.buckets.file(session, expires_ms);
        self.by_id.insert(session, Session { timeout_ms, expires_ms, connection, owner, closing: false });
    }
}

impl Session {
    /// All of a timeout, perhaps another one than before, lies ahead of it.
    fn grant(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64, buckets: &mut ExpiryBuckets) {
        let sooner = timeout_ms < self.timeout_ms;
        self.timeout_ms = timeout_ms;
        self.expires_ms = buckets.expiry(now_ms, millis(timeout_ms));
        if sooner {
            // Its entry may lie behind the new instant.
            buckets.file(session, self.expires_ms);
        }
    }
}

fn millis(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::password_of;

    const TICK: u64 = 2000;
    const BOUNDS: TimeoutBounds = TimeoutBounds { min_ms: 4000, max_ms: 40_000 };

    fn sessions() -> Sessions {
        Sessions::new(SessionId(0x100), BOUNDS, TICK)
    }

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { shard: 0, slot, generation: 0 }
    }

    #[test]
    fn timeouts_are_granted_within_the_bounds() {
        assert_eq!(
            [0, -1, 3999, 4000, 12_345, 40_001].map(|asked| BOUNDS.grant(asked)),
            [4000, 4000, 4000, 4000, 12_345, 40_000]
        );
    }

    #[test]
    fn ids_count_up() {
        let mut sessions = sessions();
        assert_eq!(sessions.open(connection(1), 10_000, 0), (SessionId(0x100), 10_000));
        assert_eq!(sessions.open(connection(2), 0, 0), (SessionId(0x101), 4000));
    }

    #[test]
    fn an_adopted_id_is_not_given_out_again() {
        let mut sessions = sessions();
        sessions.adopt(SessionId(0x105), 4000, 0);
        sessions.adopt(SessionId(0x0200_0000_0000_0900), 4000, 0);
        assert_eq!(sessions.open(connection(1), 4000, 0).0, SessionId(0x106));
    }

    #[test]
    fn a_silent_session_expires_once() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 4000, 500);
        assert_eq!(sessions.next_expiry_ms(), Some(6000));
        assert_eq!(sessions.expire(5999), []);
        assert_eq!(sessions.expire(6000), [session]);
        assert_eq!(sessions.expire(60_000), []);
    }

    #[test]
    fn a_session_that_is_heard_from_lives_on() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 4000, 0);
        for now in [3000, 6000, 9000, 12_000] {
            assert_eq!(sessions.expire(now), [], "at {now}");
            sessions.hear_from(session, now).unwrap();
        }
        assert_eq!(sessions.expire(17_999), []);
        assert_eq!(sessions.expire(18_000), [session]);
    }

    #[test]
    fn a_closing_session_is_of_no_use() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 4000, 0);
        sessions.begin_close(session);
        assert_eq!(sessions.hear_from(session, 1), Err(ErrorCode::SessionExpired));
        assert_eq!(sessions.renew(connection(2), session, &password_of(session), 4000, 1), Err(Refused));
        assert_eq!(sessions.expire(60_000), []);
        assert_eq!(sessions.close(session), Some(connection(1)));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_session_moves_to_the_connection_that_renews_it() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 4000, 0);
        let renewed = sessions.renew(connection(2), session, &password_of(session), 9000, 1000);
        assert_eq!(renewed, Ok(Renewed { timeout_ms: 9000, displaced: Some(connection(1)) }));
        sessions.disconnect(connection(1));
        assert_eq!(sessions.close(session), Some(connection(2)));
    }

    #[test]
    fn a_request_by_another_server_than_the_last_one_is_late() {
        let mut sessions = sessions();
        let learner = Owner::Learner(LinkId::Learner(7));
        let (session, _) = sessions.open(connection(1), 4000, 0);
        assert_eq!(sessions.hear_request(session, learner, 0), Err(ErrorCode::SessionMoved));
        assert_eq!(sessions.move_to(learner, session, 4000, 0), Ok(Some(connection(1))));
        assert_eq!(sessions.hear_request(session, Owner::Here, 0), Err(ErrorCode::SessionMoved));
        assert_eq!(sessions.hear_request(session, learner, 0), Ok(()));
    }

    #[test]
    fn a_session_belongs_to_the_first_server_that_asks_for_it() {
        let mut sessions = sessions();
        let session = SessionId(0x0200_0000_0000_0900);
        sessions.adopt(session, 4000, 0);
        let learner = |number| Owner::Learner(LinkId::Learner(number));
        assert_eq!(sessions.hear_request(session, learner(1), 0), Ok(()));
        assert_eq!(sessions.hear_request(session, learner(2), 0), Err(ErrorCode::SessionMoved));
    }

    #[test]
    fn a_wrong_password_moves_nothing() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 4000, 0);
        assert_eq!(sessions.renew(connection(2), session, &[0; 16], 4000, 0), Err(Refused));
        assert_eq!(sessions.close(session), Some(connection(1)));
    }

    #[test]
    fn a_renewal_may_shorten_the_timeout() {
        let mut sessions = sessions();
        let (session, _) = sessions.open(connection(1), 40_000, 0);
        sessions.renew(connection(2), session, &password_of(session), 4000, 0).unwrap();
        assert_eq!(sessions.expire(6000), [session]);
        assert_eq!(sessions.expire(60_000), []);
    }

    #[test]
    fn an_unknown_session_is_expired() {
        let mut sessions = sessions();
        assert_eq!(sessions.hear_from(SessionId(7), 0), Err(ErrorCode::SessionExpired));
        let password = password_of(SessionId(7));
        assert_eq!(sessions.renew(connection(1), SessionId(7), &password, 4000, 0), Err(Refused));
    }
}
