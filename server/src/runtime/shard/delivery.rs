//! Stop 9 of [the life of a write](crate): what the node delivered becomes frames in the connections' buffers.

use std::time::Duration;

use jute::data::perms;

use super::{Shard, State};
use crate::node::Delivery;
use crate::runtime::connection::{Connection, Stage, Tally};
use crate::runtime::reply;
use crate::zab::Zxid;

impl Shard {
    /// Hands out what the node delivered.
    pub(super) fn read_mail(&self, state: &mut State) {
        if !self.mailbox().is_full() {
            return;
        }
        let mut accepted = std::mem::take(&mut state.mail.accepted);
        let stop = state.mail.stop;
        self.mailbox().empty(&mut state.mail);
        state.mail.stop |= stop;
        accepted.append(&mut state.mail.accepted);
        state.mail.accepted = accepted;
        let mut deliveries = std::mem::take(&mut state.mail.deliveries);
        let now = self.shared.clock.monotonic();
        for delivery in deliveries.drain(..) {
            self.deliver(state, delivery, now);
        }
        state.mail.deliveries = deliveries;
    }

    fn deliver(&self, state: &mut State, delivery: Delivery, now: Duration) {
        match delivery {
            Delivery::Reply { connection: id, xid, zxid, error, body, close } => {
                let Some(connection) = state.connection_to_write(id) else {
                    return;
                };
                reply::write_answer(&mut connection.out, xid, zxid, error, body);
                let Some((op, arrived)) = connection.on_answered() else {
                    return;
                };
                if close {
                    connection.stage = Stage::Closing;
                }
                self.shared.queue.ended(1);
                self.book_write(connection, (op, xid, zxid), now.saturating_sub(arrived));
                state.dirty.push(id);
            }
            Delivery::Notification { connections, zxid, event, path, acl } => {
                let frame = reply::notification(zxid, event, path);
                for id in connections {
                    let Some(connection) = state.connection_to_write(id) else {
                        continue;
                    };
                    let may_know = acl.as_ref().is_none_or(|acl| {
                        self.shared.schemes.check(acl, perms::READ, &connection.identities).is_ok()
                    });
                    if may_know {
                        connection.out.extend_from_slice(&frame);
                        self.book(connection, Tally { sent: 1, ..Tally::default() }, now);
                        state.dirty.push(id);
                    }
                }
            }
            Delivery::Connected { connection: id, session, timeout_ms, password } => {
                if let Some(connection) = state.connection_to_write(id) {
                    connection.on_connected(session, timeout_ms, &password);
                    state.dirty.push(id);
                }
            }
            Delivery::Expired { connection: id } => {
                if let Some(connection) = state.connection_to_write(id) {
                    connection.on_expired();
                    state.dirty.push(id);
                }
            }
            Delivery::Close { connection: id } => {
                if let Some(connection) = state.connection(id) {
                    connection.stage = Stage::Closing;
                    state.dirty.push(id);
                }
            }
        }
    }

    pub(super) fn book(&self, connection: &Connection, tally: Tally, arrived: Duration) {
        let now = self.shared.clock.monotonic();
        let took = now.saturating_sub(arrived);
        connection.book(tally, took, self.shared.wall_ms(now));
        let stats = &self.ledger().stats;
        stats.packets_received.add(tally.received);
        stats.auth_failures.add(tally.auth_failures);
        stats.packets_sent.add(tally.reads + tally.sent);
        if tally.reads > 0 {
            stats.latency.record(took, tally.reads);
            stats.read_latency.record(took, tally.reads);
        }
    }

    fn book_write(&self, connection: &Connection, last: (i32, i32, Zxid), took: Duration) {
        let now = self.shared.clock.monotonic();
        let tally = Tally { sent: 1, last: Some(last), ..Tally::default() };
        connection.book(tally, took, self.shared.wall_ms(now));
        let stats = &self.ledger().stats;
        stats.packets_sent.add(1);
        stats.latency.record(took, 1);
        stats.update_latency.record(took, 1);
    }
}
