//! What the node tells of itself: plain numbers, which the rim publishes.

use std::time::Duration;

use crate::zab::{PeerStatus, Zxid};

/// The node at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// The last txn that got a zxid. `applied <= committed <= proposed`
    pub proposed: Zxid,
    /// The last that is durable.
    pub committed: Zxid,
    /// The last that the tree shows.
    pub applied: Zxid,
    /// Requests that wait for their txn to commit.
    pub outstanding: usize,
    /// Paths with changes that are not applied.
    pub pending_paths: usize,
    /// Sessions, closing ones included; on a learner those of its own clients.
    pub sessions: usize,
    /// Sessions that only this server knows.
    pub local_sessions: usize,
    /// A cut is due, and is put off until less comes.
    pub puts_cut_off: bool,
    /// Its part in the ensemble, if it is a member of one.
    pub peer: Option<PeerStatus>,
    /// What a leader shows of its reign.
    pub reign: Option<Reign>,
    /// Since the start.
    pub counters: Counters,
}

/// A leader's reign so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reign {
    /// When it began: a [`Now::monotonic`](super::Now::monotonic).
    pub since: Duration,
    /// Sizes of proposals: the last, the smallest, the largest. `None` before the first.
    pub proposal_bytes: Option<[u64; 3]>,
}

impl Reign {
    pub(super) fn proposed(&mut self, bytes: u64) {
        let [_, min, max] = self.proposal_bytes.unwrap_or([bytes; 3]);
        self.proposal_bytes = Some([bytes, min.min(bytes), max.max(bytes)]);
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Writes that arrived.
    pub requests: u64,
    /// Txns, refusals among them.
    pub txns: u64,
    /// Refusals.
    pub refusals: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions carried on by another connection.
    pub sessions_renewed: u64,
    /// Handshakes that asked for a session in vain.
    pub sessions_refused: u64,
    /// Sessions that ended because nobody was heard from.
    pub sessions_expired: u64,
    /// Sessions that their clients closed.
    pub sessions_closed: u64,
    /// Containers and TTL znodes removed.
    pub reaped: u64,
    /// Changes of znodes that were foreseen.
    pub changes_foreseen: u64,
    /// Of those, changes that the tree has by now, or that were taken back.
    pub changes_settled: u64,
    /// Elections begun.
    pub elections: u64,
    /// Proposals made, as a leader.
    pub proposals: u64,
    /// Proposals received, as a learner.
    pub proposals_received: u64,
    /// Cuts handed out.
    pub cuts: u64,
    /// Txns after which the tree's digest was not what the txn said. It has to stay 0.
    pub digest_mismatches: u64,
}
