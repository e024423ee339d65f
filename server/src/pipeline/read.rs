//! Reads: answered by the connection's own thread, from the tree under its read lock. ZooKeeper's
//! `FinalRequestProcessor`, its reading half.

use bytes::{Bytes, BytesMut};
use jute::data::Id;
use parking_lot::Mutex;

use crate::auth::Schemes;
use crate::session::{ConnectionId, SessionId};
use crate::tree::Tree;
use crate::watch::Watches;

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Where watches fire to.
    pub connection: ConnectionId,
    /// Whose ephemerals `getEphemerals` means.
    pub session: SessionId,
    /// The connection's identities.
    pub identities: &'a [Id],
    /// The schemes in force.
    pub schemes: &'a Schemes,
}

/// Answers one read: appends the whole frame (length, header, record) to `out`.
///
/// `op` is the code of an operation whose kind is read, or ping; `body` is what stands behind the request's
/// header. Watches are set while the caller holds the tree: no change can come between the answer and its
/// watch. Events that `setWatches` finds due go in front of the answer.
pub fn answer(
    tree: &Tree,
    watches: &Mutex<Watches>,
    who: Reader<'_>,
    xid: i32,
    op: i32,
    body: &Bytes,
    out: &mut BytesMut,
) {
    let _ = (tree, watches, who, xid, op, body, out);
}
