//! Znodes that go without anyone deleting them: whose they are, and which they are.

use std::collections::{BTreeMap, BTreeSet};

use super::znode::ZnodeKind;
use crate::session::SessionId;

/// Ids of the znodes that are not simply persistent. Ordered, so that what is done for all of them is done in
/// the same order wherever the same txns were applied.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// No set is empty.
    ephemerals: BTreeMap<SessionId, BTreeSet<u32>>,
    ephemeral_count: usize,
    containers: BTreeSet<u32>,
    ttls: BTreeSet<u32>,
}

impl Owners {
    pub(super) fn add(&mut self, id: u32, kind: ZnodeKind) {
        match kind {
            ZnodeKind::Persistent => {}
            ZnodeKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
                self.ephemeral_count += 1;
            }
            ZnodeKind::Container => {
                self.containers.insert(id);
            }
            ZnodeKind::Ttl(_) => {
                self.ttls.insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: u32, kind: ZnodeKind) {
        match kind {
            ZnodeKind::Persistent => {}
            ZnodeKind::Ephemeral(session) => self.remove_ephemeral(id, session),
            ZnodeKind::Container => {
                self.containers.remove(&id);
            }
            ZnodeKind::Ttl(_) => {
                self.ttls.remove(&id);
            }
        }
    }

    fn remove_ephemeral(&mut self, id: u32, session: SessionId) {
        let Some(owned) = self.ephemerals.get_mut(&session) else {
            return;
        };
        self.ephemeral_count -= usize::from(owned.remove(&id));
        if owned.is_empty() {
            self.ephemerals.remove(&session);
        }
    }

    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = u32> {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    pub(super) fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = u32> {
        self.containers.iter().copied()
    }

    pub(super) fn ttls(&self) -> impl Iterator<Item = u32> {
        self.ttls.iter().copied()
    }
}
