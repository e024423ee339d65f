//! Stop 9 of [the life of a write](crate): what the node delivered becomes frames in the connections' buffers.

use std::time::Duration;

use jute::data::perms;

use super::{Shard, State};
use crate::node::Delivery;
use crate::runtime::connection::{FRAME_LENGTH_BYTES, Stage, Tally};
use crate::runtime::reply;

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
        self.ledger().metrics.read_per_namespace.take(&mut state.traffic);
    }

    fn deliver(&self, state: &mut State, delivery: Delivery, now: Duration) {
        match delivery {
            Delivery::Reply { connection: id, xid, zxid, error, body, close } => {
                let (asked, connection) = state.answered(id, &self.shared);
                if let Some(audited) = asked.as_ref().and_then(|asked| asked.audited.as_ref()) {
                    audited.report(error.is_some(), &body, &self.shared.schemes);
                }
                let (Some(asked), Some(connection)) = (asked, connection) else {
                    self.ledger().metrics.stale_replies.add(1);
                    return;
                };
                let before = connection.out.len();
                reply::write_answer(&mut connection.out, xid, zxid, error, body);
                let size = connection.out.len() - before - FRAME_LENGTH_BYTES;
                if close {
                    connection.stage = Stage::Closing;
                }
                self.book_write(connection, (asked.op, xid, zxid), size, asked.arrived, now);
                state.dirty.push(id);
            }
            Delivery::Answer { connection: id, zxid, frames } => {
                let (Some(asked), Some(connection)) = state.answered(id, &self.shared) else {
                    self.ledger().metrics.stale_replies.add(1);
                    return;
                };
                connection.out.extend_from_slice(&frames);
                let mut tally = Tally::default();
                tally.read(&asked, zxid, &frames);
                self.book(connection, tally, asked.arrived);
                asked.note_traffic(&frames, &mut state.traffic);
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
                        connection.notices += frame.len();
                        self.ledger().metrics.watch_bytes.add(frame.len() as u64);
                        self.book(connection, Tally { sent: 1, ..Tally::default() }, now);
                        state.notices += frame.len();
                        state.dirty.push(id);
                    }
                }
            }
            Delivery::Connected { connection: id, session, timeout_ms, password, is_read_only } => {
                if let Some(connection) = state.connection_to_write(id) {
                    connection.on_connected(session, timeout_ms, &password, is_read_only);
                    self.book_packets(connection, 0, 1);
                    state.dirty.push(id);
                }
            }
            Delivery::Expired { connection: id } => {
                if let Some(connection) = state.connection_to_write(id) {
                    connection.on_expired();
                    self.book_packets(connection, 0, 1);
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
}
