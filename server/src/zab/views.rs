//! Whom the peer counts: the membership that is committed and, while a reconfiguration is under way, also the one that
//! is to come. `QuorumPeer`'s `quorumVerifier` and `lastSeenQuorumVerifier`.

use std::sync::Arc;

use bytes::Bytes;

use super::Quorum;
use crate::config::{Membership, Role, ServerId};

/// A membership, ready for use.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) membership: Arc<Membership>,
    pub(super) quorum: Quorum,
    /// As it travels in votes and in NEWLEADER.
    pub(super) text: Bytes,
}

/// The memberships that a peer goes by. `next.version > current.version`
#[derive(Debug)]
pub(super) struct Views {
    pub(super) current: View,
    /// It is in the log, or was before its leader's history ended there: nothing is decided without its quorum, too.
    pub(super) next: Option<View>,
}

impl View {
    pub(super) fn new(membership: Membership) -> Self {
        let (quorum, text) = (Quorum::new(&membership), membership.to_text().into());
        Self { membership: Arc::new(membership), quorum, text }
    }

    pub(super) fn version(&self) -> i64 {
        self.membership.version
    }

    pub(super) fn is_observer(&self, id: ServerId) -> bool {
        self.membership.role_of(id) == Some(Role::Observer)
    }
}

impl Views {
    pub(super) fn new(current: Membership, next: Option<Membership>) -> Self {
        let next = next.filter(|next| next.version > current.version).map(View::new);
        Self { current: View::new(current), next }
    }

    /// The newest one.
    #[doc(alias = "lastSeenQuorumVerifier")]
    pub(super) fn seen(&self) -> &View {
        self.next.as_ref().unwrap_or(&self.current)
    }

    fn all(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.current).chain(&self.next)
    }

    /// A quorum of each.
    #[doc(alias = "hasAllQuorums")]
    pub(super) fn is_quorum(&self, servers: impl Iterator<Item = ServerId> + Clone) -> bool {
        self.all().all(|view| view.quorum.is_quorum(servers.clone()))
    }

    /// A quorum of any. Enough to join those who have a leader: they may have one because what is proposed is void.
    pub(super) fn is_any_quorum(&self, servers: impl Iterator<Item = ServerId> + Clone) -> bool {
        self.all().any(|view| view.quorum.is_quorum(servers.clone()))
    }

    /// A voter of any.
    #[doc(alias = "getCurrentAndNextConfigVoters")]
    pub(super) fn is_voter(&self, id: ServerId) -> bool {
        self.all().any(|view| view.quorum.is_voter(id))
    }

    /// It has no vote yet, and is to have one.
    pub(super) fn is_coming_voter(&self, id: ServerId) -> bool {
        let of = |view: &View| view.quorum.is_voter(id);
        self.next.as_ref().is_some_and(of) && !of(&self.current)
    }

    /// May it be elected?
    pub(super) fn is_candidate(&self, id: ServerId) -> bool {
        self.all().any(|view| view.quorum.is_candidate(id))
    }

    /// The voters of all, each once.
    pub(super) fn voters(&self) -> impl Iterator<Item = ServerId> {
        let of_current = self.current.quorum.voters();
        let of_next = self.next.iter().flat_map(|next| next.quorum.voters());
        of_current.chain(of_next.filter(|id| !self.current.quorum.is_voter(*id)))
    }
}
