//! The end of a session.

use std::collections::BTreeSet;

use jute::Ustring;
use jute::txn::{CloseSessionTxn, TxnBody};

use super::{Prep, parent_of};

impl Prep<'_> {
    /// Deletes the session's ephemerals, those under way included, all with the one zxid. It needs no live
    /// session: it is also how the service ends one that expired.
    pub(super) fn close_session(&mut self) -> TxnBody {
        let doomed = self.outlook.ephemerals_of(self.session);
        for path in &doomed {
            if let Ok(parent_path) = parent_of(path)
                && let Some(parent) = self.outlook.find(parent_path)
            {
                self.lose_child(path.slice_ref(parent_path), parent);
            }
            if let Some(znode) = self.outlook.find(path) {
                self.outlook.remove(path.clone(), &znode);
            }
        }
        let list = self.config.list_closed_paths && !self.room.is_short && self.fits(&doomed);
        TxnBody::CloseSession(list.then(|| CloseSessionTxn { paths_to_delete: doomed.into_iter().collect() }))
    }

    /// Replicas know the session's ephemerals themselves: better no list than one that no log has room for.
    fn fits(&self, paths: &BTreeSet<Ustring>) -> bool {
        let bytes: usize = paths.iter().map(|path| path.len() + size_of::<u32>()).sum();
        bytes as u64 <= self.room.bytes / 2
    }
}
