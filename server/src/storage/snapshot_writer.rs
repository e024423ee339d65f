//! Cuts on their way into the snapshot store, also while its disk fails.
//!
//! A cut is kept until the store has it. When the store fails, such as on a full disk, it is opened again and given
//! the rest. So nothing is wrong in it at any time, and nothing missing but its end, which the log has.

use std::collections::VecDeque;

use super::error::Result;
use super::recovery::write_tree;
use super::snapshot::SnapshotStore;
use super::snapshot_source::SnapshotSource;
use crate::tree::{Cut, Tree};
use crate::zab::Zxid;

/// So many changed znodes are worth a flush.
const UNFLUSHED_ZNODES_MAX: usize = 32 << 10;

/// A store, and the cuts that it has not got.
#[derive(Debug)]
pub struct SnapshotWriter<S> {
    store: S,
    /// Oldest first.
    waiting: VecDeque<Cut>,
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
        Self { store, waiting: VecDeque::new(), untold: 0, has_failed: false, txns_max }
    }

    /// Takes a cut, whose place is behind all that came before, for [`SnapshotWriter::advance`].
    pub fn add(&mut self, cut: Cut) {
        self.waiting.push_back(cut);
        self.untold += 1;
    }

    /// Gives the store all that it has not got; how many cuts were taken over since the last time.
    ///
    /// # Errors
    /// When the disk fails. To be tried again, some time later.
    pub fn advance(&mut self) -> Result<usize> {
        self.attempt(Self::write_waiting)?;
        Ok(std::mem::take(&mut self.untold))
    }

    /// Makes durable what was given to the store.
    ///
    /// # Errors
    /// When the disk fails. To be tried again, some time later.
    pub fn flush(&mut self) -> Result<Option<Zxid>> {
        self.attempt(|writer| {
            writer.write_waiting()?;
            writer.store.flush()
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
            writer.waiting.clear();
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
        self.waiting.clear();
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

    /// What [`SnapshotWriter::hold`] would hold: the last cut that came, stored or not, unless parts of it are missing.
    #[must_use]
    pub fn newest(&self) -> Option<Zxid> {
        match self.waiting.back() {
            Some(cut) if cut.partial => self.store.durable(),
            Some(cut) => Some(cut.zxid),
            None => self.store.written(),
        }
    }

    /// The store as of its last flush, from which a tree is to be loaded anew. Cuts that came later are forgotten: what
    /// they are about is in the log behind it, and will be in the new tree's next cut.
    pub fn rebase(&mut self) -> &mut S {
        self.waiting.clear();
        self.store.forget_unflushed();
        &mut self.store
    }

    /// Something waits for another attempt.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// So much would be lost without the log that a flush is due.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        let [written, durable] = [self.store.written(), self.store.durable()].map(Option::unwrap_or_default);
        let txns = written.0.saturating_sub(durable.0);
        // An epoch's beginning looks like many txns, and is rare.
        txns.unsigned_abs() >= self.txns_max || (txns > 0 && self.store.unflushed() >= UNFLUSHED_ZNODES_MAX)
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
        let outcome = if self.has_failed { self.store.reopen().and_then(|()| act(self)) } else { act(self) };
        self.has_failed = outcome.is_err();
        outcome
    }

    fn write_waiting(&mut self) -> Result<()> {
        while let Some(cut) = self.waiting.front() {
            self.store.write(cut)?;
            self.waiting.pop_front();
        }
        Ok(())
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
    fn a_store_that_fails_is_given_the_rest_when_it_works_again() {
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
        assert_eq!(writer.store().written(), Some(Zxid(2)), "what it has, it keeps");

        writer.store().set_full(false);
        assert_eq!(writer.advance().unwrap(), 1);
        assert!(!writer.has_failed());
        assert_eq!(writer.store().written(), Some(Zxid(3)));
        assert_eq!(writer.flush().unwrap(), Some(Zxid(3)));
    }

    #[test]
    fn no_flush_is_due_and_nothing_is_to_be_had_while_parts_are_missing() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        writer.add(cut(1));
        writer.flush().unwrap();
        writer.add(Cut { partial: true, ..cut_of(200, UNFLUSHED_ZNODES_MAX) });
        assert_eq!(writer.newest(), Some(Zxid(1)));
        writer.advance().unwrap();
        assert!(!writer.wants_flush());
        assert_eq!(writer.hold().unwrap().unwrap().0, Zxid(1));
        writer.add(cut(300));
        assert_eq!(writer.newest(), Some(Zxid(300)));
        writer.advance().unwrap();
        assert!(writer.wants_flush());
        assert_eq!(writer.flush().unwrap(), Some(Zxid(300)));
    }

    #[test]
    fn a_flush_is_due_after_so_many_txns() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        let mut is_due_with = |zxid| {
            writer.add(cut(zxid));
            writer.advance().unwrap();
            let is_due = writer.wants_flush();
            if is_due {
                writer.flush().unwrap();
                assert!(!writer.wants_flush());
            }
            is_due
        };
        assert_eq!([99, 100, 199, 200].map(&mut is_due_with), [false, true, false, true]);
    }

    #[test]
    fn a_flush_is_due_after_so_many_znodes() {
        let mut writer = SnapshotWriter::new(MemoryStore::default(), 100);
        writer.add(cut_of(1, UNFLUSHED_ZNODES_MAX - 1));
        writer.advance().unwrap();
        assert!(!writer.wants_flush());
        writer.add(cut(2));
        writer.advance().unwrap();
        assert!(writer.wants_flush());
        writer.flush().unwrap();
        assert!(!writer.wants_flush());
    }
}
