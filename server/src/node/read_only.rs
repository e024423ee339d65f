//! A server that cannot find a quorum serves what it has to those who asked for no more: clients that accept a
//! read-only server. Their sessions are [`local`](super::local), and end once a leader is found. ZooKeeper's
//! `ReadOnlyZooKeeperServer`, `ReadOnlyRequestProcessor`.

use std::time::Duration;

use jute::{ErrorCode, Op};
use tracing::info;

use super::member::Role;
use super::{Action, Delivery, Event, Node, Now};
use crate::pipeline::apply::{Origin, Work};
use crate::session::SessionId;
use crate::tree::Tree;
use crate::zab::PeerState;

impl Node {
    /// Reads are served, to clients who accept that.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.role() == Some(Role::ReadOnly)
    }

    /// When reads are to be served, if no leader is found before.
    pub(super) fn read_only_deadline(&self) -> Option<Duration> {
        let member = self.member.as_deref().filter(|member| member.role == Role::Looking)?;
        self.config
            .read_only_after
            .map(|patience| member.looking_since + patience)
            .filter(|_| member.is_looking())
    }

    /// It begins once the server has looked for a leader for long enough, and ends once it has found one, even if that
    /// one may not come to lead.
    pub(super) fn review_read_only(&mut self, now: Now) {
        if self.is_read_only() && !self.member().is_looking() {
            let member = self.member();
            member.parts_as = Some(Role::ReadOnly);
            member.role = Role::Looking;
            info!("not read-only any more");
        } else if self.read_only_deadline().is_some_and(|due| due <= now.monotonic) && !self.must_apply() {
            self.member().role = Role::ReadOnly;
            info!("no leader is found: serving clients who accept a read-only server");
        }
    }

    pub(super) fn step_read_only(&mut self, event: Event, tree: &Tree, out: &mut Vec<Action>) {
        let (connection, xid, work) = match event {
            Event::Read(request) => {
                self.counters.requests += 1;
                return self.member().due.push_back((None, Work::Read(request)));
            }
            Event::Disconnected { connection } => {
                return self.member().due.push_back((None, Work::Depart(connection)));
            }
            Event::RenewSession { connection, session, .. } => {
                return self.refuse_renewal(connection, session, tree, out);
            }
            Event::Write(request) => {
                self.counters.requests += 1;
                let Some(connection) = request.connection else { return };
                let work = match Op::from_code(request.op) {
                    Some(_) => Work::Refuse(ErrorCode::NotReadOnly),
                    None => Work::Unknown,
                };
                (connection, request.xid, work)
            }
            Event::Refused { connection, xid, error } => (connection, xid, Work::Refuse(error)),
            _ => return,
        };
        self.member().due.push_back((Some(Origin { connection, xid }), work));
    }

    /// Whether a session of everyone's lives, a quorum knows: its client is sent to look for that.
    fn refuse_renewal(
        &mut self,
        connection: crate::session::ConnectionId,
        session: SessionId,
        tree: &Tree,
        out: &mut Vec<Action>,
    ) {
        self.counters.sessions_refused += 1;
        out.push(Action::Deliver(match tree.session_timeout_ms(session) {
            Some(_) => Delivery::Close { connection },
            None => Delivery::Expired { connection },
        }));
    }
}

impl super::member::Member {
    /// Nobody is elected.
    pub(super) fn is_looking(&self) -> bool {
        self.peer.status().state == PeerState::Looking
    }
}
