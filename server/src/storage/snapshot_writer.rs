//! Cuts on their way into the snapshot store, also while its disk fails.
//!
//! A cut is kept until the store says that it is durable. When the store fails, such as on a full disk, it is
//! opened again and given once more what it may have lost. So nothing is wrong in it at any time, and nothing
//! missing but its end, which the log has.

use std::collections::VecDeque;

use super::error::Result;
use super::recovery::write_tree;
use super::snapshot::SnapshotStore;
use super::snapshot_source::SnapshotSource;
use crate::tree::{Cut, Tree};
use crate::zab::Zxid;

/// So many changed znodes are worth a flush: few enough to be kept in memory until then.
const UNFLUSHED_ZNODES_MAX: usize = 32 << 10;

/// A store, and the cuts that are not durable in it.
#[derive(Debug)]
pub struct SnapshotWriter<S> {
    store: S,
    /// Oldest first.
    kept: VecDeque<Cut>,
    /// How many of `kept`, from the front, the store has.
    written: usize,
    /// How many cuts were taken over and not told yet.
    untold: usize,
    has_failed: bool,
    /// So many txns are worth a flush: it bounds how long the next start replays.
    txns_max: u64,
}

impl<S: SnapshotStore> SnapshotWriter<S> {
    /// Carries on with `store` as it was recovered.
    #[must_use]
    pub fn new(store: S, txns_max: u64) -> Self {
        Self { store, kept: VecDeque::new(), written: 0, untold: 0, has_failed: false, txns_max }
    }

    /// Takes a cut, whose place is behind all that came before, for [`SnapshotWriter::advance`].
    pub fn add(&mut self, cut: Cut) {
        self.kept.push_back(cut);
        self.untold += 1;
    }

    /// Gives the store all that it has not got; how many cuts were taken over since the last time.
    ///
    /// # Errors
    /// When the disk fails. To be tried again, some time later.
    pub fn advance(&mut self) -> Result<usize> {
        self.attempt(Self::write_kept)?;
        Ok(std::mem::take(&mut self.untold))
    }

    /// Makes durable what was given to the store.
    ///
    /// # Errors
    /// When the disk fails. To be tried again, some time later.
    pub fn flush(&mut self) -> Result<Option<Zxid>> {
        self.attempt(|writer| {
            writer.write_kept()?;
            let durable = writer.store.flush()?;
            writer.forget_kept();
            Ok(durable)
        })
    }

    /// Stores a whole tree in place of all that came before.
    ///
    /// # Errors
    /// When the disk fails; see [`SnapshotStore::replace`].
    pub fn replace(&mut self, whole: &Cut) -> Result<()> {
        self.attempt(|writer| {
            writer.store.write(whole)?;
            writer.store.flush()?;
            writer.forget_kept();
            Ok(())
        })
    }

    /// Stores a whole tree of another history: what came before is void. See [`SnapshotStore::replace_history`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn replace_history(&mut self, tree: &mut Tree) -> Result<()> {
        let outcome = write_tree(tree, &mut |head, feed| self.store.replace_history(head, feed));
        self.has_failed = outcome.is_err();
        outcome?;
        self.forget_kept();
        Ok(())
    }

    /// Holds open all that came. See [`SnapshotStore::hold`].
    ///
    /// # Errors
    /// When the disk fails. To be tried again, some time later.
    pub fn hold(&mut self) -> Result<Option<(Zxid, Box<dyn SnapshotSource>)>> {
        self.flush()?;
        self.store.hold()
    }

    /// The last cut that came, stored or not; what is stored if none came.
    #[must_use]
    pub fn newest(&self) -> Option<Zxid> {
        self.kept.back().map(|cut| cut.zxid).max(self.store.written())
    }

    /// The store as it is, from which a tree is to be loaded anew. Cuts that it has not got are forgotten: what they
    /// are about is in the log behind it, and will be in the new tree's next cut.
    pub fn rebase(&mut self) -> &mut S {
        self.kept.truncate(self.written);
        &mut self.store
    }

    /// Something waits for another attempt.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// So much would be lost without the log, or is kept in memory, that a flush is due.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        let Some(newest) = self.kept.back() else { return false };
        let durable = self.store.durable().unwrap_or_default();
        let txns = newest.zxid.0.saturating_sub(durable.0);
        // An epoch's beginning looks like many txns, and is rare.
        txns.unsigned_abs() >= self.txns_max || self.kept_znodes() >= UNFLUSHED_ZNODES_MAX
    }

    /// So much is kept that a flush should not wait. Without it the store would soon write as much of itself, but we
    /// would not know what that was, and keep it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept_znodes() >= 2 * UNFLUSHED_ZNODES_MAX
    }

    fn kept_znodes(&self) -> usize {
        self.kept.iter().map(|cut| cut.znodes.len()).sum()
    }

    /// For what concerns neither cuts nor failures.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back. What is not durable may be lost.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    fn attempt<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outcome = if self.has_failed { self.go_back().and_then(|()| act(self)) } else { act(self) };
        self.has_failed = outcome.is_err();
        outcome
    }

    fn go_back(&mut self) -> Result<()> {
        let durable = self.store.reopen()?;
        self.written = 0;
        // Writing a cut once more changes nothing, and there may be two of one zxid.
        self.kept.retain(|cut| durable.is_none_or(|durable| durable <= cut.zxid));
        Ok(())
    }

    fn write_kept(&mut self) -> Result<()> {
        while let Some(cut) = self.kept.get(self.written) {
            self.store.write(cut)?;
            self.written += 1;
        }
        Ok(())
    }

    fn forget_kept(&mut self) {
        self.kept.clear();
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStore;

    fn cut(zxid: i64) -> Cut {
        cut_of(zxid, 1)
    }

    fn cut_of(zxid: i64, znodes: usize) -> Cut {
        let znodes = (0..znodes).map(|at| (format!("/{zxid}-{at}"), None)).collect();
        Cut { zxid: Zxid(zxid), znodes, ..Cut::default() }
    }

    #[test]
    fn what_a_failing_store_has_lost_it_is_given_again() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        writer.add(cut(1));
        assert_eq!(writer.flush().unwrap(), Some(Zxid(1)));
        writer.add(cut(2));
        assert_eq!(writer.advance().unwrap(), 2);

        writer.store().set_full(true);
        writer.flush().unwrap_err();
        writer.add(cut(3));
        writer.advance().unwrap_err();
        assert!(writer.has_failed());
        assert_eq!(writer.store().written(), Some(Zxid(1)), "it was opened again");

        writer.store().set_full(false);
        assert_eq!(writer.advance().unwrap(), 1);
        assert!(!writer.has_failed());
        assert_eq!(writer.store().written(), Some(Zxid(3)));
        assert_eq!(writer.flush().unwrap(), Some(Zxid(3)));
    }

    #[test]
    fn a_flush_is_due_after_so_many_txns() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        assert!(!writer.wants_flush());
        writer.add(cut(99));
        assert!(!writer.wants_flush());
        writer.add(cut(100));
        assert!(writer.wants_flush());
        writer.flush().unwrap();
        assert!(!writer.wants_flush());
        writer.add(cut(199));
        assert!(!writer.wants_flush());
    }

    #[test]
    fn a_flush_is_due_after_so_many_znodes_and_soon_cannot_wait() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        writer.add(cut_of(1, UNFLUSHED_ZNODES_MAX - 1));
        assert!(!writer.wants_flush());
        writer.add(cut(2));
        assert!(writer.wants_flush() && !writer.is_full());
        writer.add(cut_of(3, UNFLUSHED_ZNODES_MAX));
        assert!(writer.is_full());
        writer.flush().unwrap();
        assert!(!writer.wants_flush() && !writer.is_full());
    }
}
