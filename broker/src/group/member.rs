//! A member of a group: Kafka's `MemberMetadata`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::input::{Join, Token};

/// A way of sharing out the work that a member knows, such as the assignor `range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member has to say about it: for consumers, what it subscribes to.
    pub metadata: Bytes,
}

/// One member.
///
/// It is alive until `expires`, which each of its heartbeats moves. While it waits for an answer of ours it cannot
/// send any, so then it is not removed; except the first time it joins, as it may have gone without a trace.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Its join, while it waits.
    pub(super) join: Option<Token>,
    /// Its sync, while it waits.
    pub(super) sync: Option<Token>,
    /// Has not seen the answer to its first join.
    pub(super) is_new: bool,
    /// When it is removed if nothing is heard of it; on the monotonic clock.
    pub(super) expires: Duration,
}

impl Member {
    /// A member that has just joined by `join`, under `id`.
    pub(super) fn new(id: Arc<str>, join: Join, token: Token, expires: Duration) -> Self {
        Self {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            join: Some(token),
            sync: None,
            is_new: true,
            expires,
        }
    }

    /// Takes over what the client says in its newest join.
    pub(super) fn update(&mut self, join: Join) {
        self.client_id = join.client_id;
        self.client_host = join.client_host;
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols = join.protocols;
    }

    /// The client was heard of.
    pub(super) fn touch(&mut self, now: Duration) {
        self.expires = now.saturating_add(self.session_timeout);
    }

    /// When silence ends its membership; `None` while the silence is ours.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let waits = self.join.is_some() || self.sync.is_some();
        (self.is_new || !waits).then_some(self.expires)
    }

    /// What it said about `protocol`; nothing if it does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|known| &*known.name == protocol)
            .map(|known| known.metadata.clone())
            .unwrap_or_default()
    }
}
