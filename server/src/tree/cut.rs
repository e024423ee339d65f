//! What the snapshot store is given: the tree's changes since the cut before, all as of one zxid.

use std::sync::Arc;

use ecow::EcoString;
use jute::data::{Acl, StatPersisted};

use crate::session::SessionId;
use crate::zab::Zxid;

/// A znode's data: null, or bytes that the tree and a cut share.
pub type Data = Option<triomphe::ThinArc<(), u8>>;

/// One znode as it is stored.
#[derive(Debug, Clone)]
pub struct ZnodeRecord {
    /// Null is not empty.
    pub data: Data,
    /// Shared between the znodes that have the same.
    pub acl: Arc<[Acl]>,
    /// `cversion` counts creations only; `ephemeral_owner` is raw, and also marks containers and TTL znodes.
    pub stat: StatPersisted,
}

/// All that changed between two zxids, as it is at the second: written atomically, it moves the snapshot
/// store from the one to the other. Its cost is that of the change, not of the tree.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The last txn it contains.
    pub zxid: Zxid,
    /// The tree's digest there; 0 when digests are off.
    pub digest: u64,
    /// Changed and new znodes (`Some`), deleted ones (`None`), by full path ("/" is the root).
    pub znodes: Vec<(EcoString, Option<ZnodeRecord>)>,
    /// Every session there is, with its timeout in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
    /// The store's old content is to be dropped first: this cut is a whole tree.
    pub whole: bool,
}
