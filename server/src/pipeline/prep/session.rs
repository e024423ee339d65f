//! The end of a session.

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
        let listed = CloseSessionTxn { paths_to_delete: doomed.into_iter().collect() };
        TxnBody::CloseSession(self.config.list_closed_paths.then_some(listed))
    }
}
