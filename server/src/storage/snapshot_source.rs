//! A snapshot on its way to a learner.

use std::io::Write;

use super::error::Result;

/// A snapshot that is held open: as of one zxid, whatever happens to the store meanwhile. Dropping it lets go.
pub trait SnapshotSource: Send {
    /// Writes sessions, ACLs and znodes up to the path `/`, as they stand in a Java snapshot behind its header:
    /// [`java_snapshot::write_body`](super::java_snapshot::write_body). Called once, on a thread that may block;
    /// `out` gathers small writes, and blocks when the learner is slow.
    ///
    /// # Errors
    /// When the snapshot cannot be read, or `out` fails: the learner has gone then.
    fn write_body(&mut self, out: &mut dyn Write) -> Result<()>;
}
