//! What a shard notes of the work it does: for `cons`, `srvr` and the metrics.

use std::time::Duration;

use super::Shard;
use crate::runtime::account::millis;
use crate::runtime::connection::{Connection, Tally};
use crate::runtime::shared::Ledger;
use crate::zab::Zxid;

impl Shard {
    pub(super) fn book(&self, connection: &Connection, tally: Tally, arrived: Duration) {
        let now = self.shared.clock.monotonic();
        let took = now.saturating_sub(arrived);
        connection.book(tally, took, self.shared.wall_ms(now));
        let Ledger { stats, metrics, .. } = self.ledger();
        stats.packets_received.add(tally.received);
        stats.auth_failures.add(tally.auth_failures);
        stats.packets_sent.add(tally.reads + tally.sent);
        stats.reply_sizes.record(&tally.replies, now);
        metrics.response_bytes.add(tally.replies.sum);
        if tally.reads > 0 {
            stats.latency.record(took, tally.reads);
            metrics.readlatency.record_many(millis(took), tally.reads);
        }
    }

    /// A write that arrived then is answered now, with `size` bytes.
    pub(super) fn book_write(
        &self,
        connection: &Connection,
        last: (i32, i32, Zxid),
        size: usize,
        arrived: Duration,
        now: Duration,
    ) {
        let took = now.saturating_sub(arrived);
        let mut tally = Tally { sent: 1, last: Some(last), ..Tally::default() };
        tally.replies.record(size);
        connection.book(tally, took, self.shared.wall_ms(now));
        let Ledger { stats, metrics, .. } = self.ledger();
        stats.packets_sent.add(1);
        stats.reply_sizes.record(&tally.replies, now);
        stats.latency.record(took, 1);
        metrics.response_bytes.add(tally.replies.sum);
        metrics.updatelatency.record(millis(took));
    }

    /// Packets that are no requests, and answers to none.
    pub(super) fn book_packets(&self, connection: &Connection, received: u64, sent: u64) {
        connection.book_packets(received, sent);
        let stats = &self.ledger().stats;
        stats.packets_received.add(received);
        stats.packets_sent.add(sent);
    }
}
