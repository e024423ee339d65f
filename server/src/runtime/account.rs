//! What the node's thread counts, a batch at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jute::EventType;
use tracing::{info, warn};

use super::audit;
use crate::metrics::{Metrics, Registry, Summary};
use crate::node::{Counters, Delivery, Node};
use crate::session::SessionId;

/// The node's thread's metrics.
#[derive(Debug)]
pub(super) struct Account {
    metrics: Arc<Metrics>,
    /// The node's counters as they were added before.
    known: Counters,
    quotas: QuotaWarnings,
}

impl Account {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { metrics: registry.thread(), known: Counters::default(), quotas: QuotaWarnings::default() }
    }

    /// `events` were taken out of the queue; the first had waited for `waited`.
    pub(super) fn received(&self, events: usize, waited: Duration) {
        self.metrics.prep_processor_queue_size.record(events as u64);
        self.metrics.prep_processor_queue_time_ms.record(millis(waited));
    }

    /// Events were judged and `txns` of them appended, in `judging`; then the log was synced, in `sync`.
    pub(super) fn logged(&self, txns: u64, judging: Duration, sync: Duration) {
        let metrics = &self.metrics;
        let whole = judging + sync;
        metrics.prep_process_time.record(millis(judging));
        metrics.fsynctime.record(millis(sync));
        metrics.sync_processor_request_queued.add(txns);
        metrics.sync_processor_batch_size.record(txns);
        metrics.sync_processor_queue_size.record(txns);
        metrics.sync_processor_queue_time_ms.record_many(millis(judging), txns);
        metrics.sync_processor_queue_flush_time_ms.record(millis(sync));
        metrics.sync_processor_queue_and_flush_time_ms.record_many(millis(whole), txns);
        metrics.sync_process_time.record(millis(whole));
    }

    /// So many watches hear of it.
    pub(super) fn fired(&self, delivery: &Delivery) {
        let Delivery::Notification { connections, event, .. } = delivery else {
            return;
        };
        let of_event: &Summary = match event {
            EventType::NodeCreated => &self.metrics.node_created_watch_count,
            EventType::NodeDeleted => &self.metrics.node_deleted_watch_count,
            EventType::NodeDataChanged => &self.metrics.node_changed_watch_count,
            EventType::NodeChildrenChanged => &self.metrics.node_children_watch_count,
        };
        of_event.record(connections.len() as u64);
    }

    /// A batch is applied at `now`, whose txns were made at `made`.
    pub(super) fn applied(&mut self, node: &mut Node, made: Duration, now: Duration) {
        let counters = node.status().counters;
        let known = std::mem::replace(&mut self.known, counters);
        let metrics = &self.metrics;
        metrics.propagation_latency.record_many(millis(now.saturating_sub(made)), counters.txns - known.txns);
        metrics.prep_processor_request_queued.add(counters.requests - known.requests);
        metrics.outstanding_changes_queued.add(counters.changes_foreseen - known.changes_foreseen);
        metrics.outstanding_changes_removed.add(counters.changes_settled - known.changes_settled);
        metrics.stale_sessions_expired.add(counters.sessions_expired - known.sessions_expired);
        metrics.looking_count.add(counters.elections - known.elections);
        metrics.proposal_count.add(counters.proposals - known.proposals);
        metrics.learner_proposal_received_count.add(counters.proposals_received - known.proposals_received);
        metrics.digest_mismatches_count.add(counters.digest_mismatches - known.digest_mismatches);
        metrics.write_per_namespace.take(node.written());
        metrics.quota_exceeded_error_per_namespace.take(&mut node.over_quota().refused);
        self.quotas.tell_of(&mut node.over_quota().exceeded, now);
        tell_of_expired(node.expired());
        for (session, path) in node.gone_with_session().drain(..) {
            audit::report_ephemeral(session, &path);
        }
    }
}

/// A quota that is exceeded is not named again within this time.
const QUOTA_NAMED_EVERY: Duration = Duration::from_secs(60);
/// Quotas of which it is known when they were named. With more of them, some are named more often.
const QUOTAS_KNOWN_MAX: usize = 1000;

/// Which quotas the operator was warned about, and when.
#[derive(Debug, Default)]
struct QuotaWarnings(HashMap<Box<str>, Duration>);

impl QuotaWarnings {
    fn tell_of(&mut self, exceeded: &mut BTreeSet<Box<str>>, now: Duration) {
        for quota in std::mem::take(exceeded) {
            if self.0.get(&quota).is_some_and(|named| now.saturating_sub(*named) < QUOTA_NAMED_EVERY) {
                continue;
            }
            warn!(path = %quota, "quota exceeded");
            if self.0.len() >= QUOTAS_KNOWN_MAX {
                self.0.clear();
            }
            self.0.insert(quota, now);
        }
    }
}

/// Sessions that are named one by one when many expire at once: after a cut network, thousands may.
const EXPIRED_NAMED_MAX: usize = 100;

/// Whoever looks for a vanished ephemeral znode finds its session here.
fn tell_of_expired(expired: &mut Vec<SessionId>) {
    for session in expired.iter().take(EXPIRED_NAMED_MAX) {
        info!(%session, "session expired");
    }
    if expired.len() > EXPIRED_NAMED_MAX {
        info!(count = expired.len() - EXPIRED_NAMED_MAX, "more sessions expired");
    }
    expired.clear();
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
