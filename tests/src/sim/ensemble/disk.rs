//! A model of one server's disk: what is on it, what would be lost if the power went, and how long it takes.

use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use server::config::Membership;
use server::storage::Epochs;
use server::zab::{DiskDone, DiskWork, Epoch, History, LinkId, Trace, Zxid};

use super::members::membership_of;

/// A txn: its zxid, and what it says.
pub(super) type Txn = (Zxid, u64);

/// A state of the service: the txns that led to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree(pub(super) Arc<Vec<Txn>>);

impl Tree {
    pub(super) fn last(&self) -> Zxid {
        self.0.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    pub(super) fn push(&mut self, txn: Txn) {
        Arc::make_mut(&mut self.0).push(txn);
    }

    /// The memberships that its reconfigurations brought, the newest first.
    pub(super) fn memberships(&self) -> impl Iterator<Item = Membership> {
        self.0.iter().rev().filter_map(|(zxid, value)| membership_of(*zxid, *value))
    }

    fn has(&self, txn: Txn) -> bool {
        self.0.binary_search(&txn).is_ok()
    }
}

/// What a record says.
pub(super) fn value_of(record: &Bytes) -> u64 {
    u64::from_be_bytes(*record.first_chunk().expect("a record of this world"))
}

/// The record that says so.
pub(super) fn record_of(value: u64) -> Bytes {
    super::members::record_of(value).unwrap_or_else(|| Bytes::copy_from_slice(&value.to_be_bytes()))
}

/// What survives its server.
#[derive(Debug, Default)]
pub(super) struct Disk {
    epochs: Epochs,
    /// The snapshot store.
    store: Tree,
    /// The log, of which the first `safe` are.
    log: Vec<Txn>,
    safe: usize,
    /// The zxid before the log's first.
    floor: Zxid,
    /// What is committed of the membership, and what is proposed.
    membership: Option<(Arc<Membership>, Option<Arc<Membership>>)>,
}

/// Work for a disk, in the order in which it was asked for.
#[derive(Debug)]
pub(super) enum Work {
    Peer(DiskWork),
    /// [`DiskWork::Install`], with the tree that was in memory then.
    Install(Tree),
    /// What cannot be done.
    Refuse,
    /// A snapshot was cut; perhaps the log is purged then.
    Cut {
        tree: Tree,
        purge: bool,
    },
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Answer(DiskDone),
    /// The answer, and the tree that is in memory from now on, if that has to change.
    Reloaded(DiskDone, Tree),
    /// A snapshot is held open.
    Opened(LinkId, Tree),
    Nothing,
}

impl Disk {
    /// One on which every server begins.
    pub(super) fn new(origin: Option<Txn>) -> Self {
        let mut disk = Self::default();
        if let Some(txn) = origin {
            disk.epochs = Epochs { current: txn.0.epoch(), accepted: txn.0.epoch() };
            disk.store.push(txn);
            disk.floor = txn.0;
        }
        disk
    }

    /// The membership that is committed, and the one that is proposed, as a start finds them. As in production, what
    /// is proposed is in the log.
    pub(super) fn memberships(&self, tree: &Tree) -> Option<(Membership, Option<Membership>)> {
        let (current, next) = self.membership.as_ref()?;
        let logged = next.as_ref().and_then(|_| tree.memberships().next());
        Some((Membership::clone(current), logged.filter(|logged| logged.version > current.version)))
    }

    pub(super) fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// What recovery finds. As in [`server::storage::EpochFiles::load`], the epoch of a txn that came from a leader is
    /// this server's, also if a crash came before that was noted.
    pub(super) fn recover(&mut self) -> (History, Tree) {
        let tree = self.reload(Zxid(i64::MAX));
        let of_log = tree.last().epoch();
        assert!(of_log <= self.epochs.accepted, "a txn of {of_log:?}, and {:?}", self.epochs);
        self.epochs.current = self.epochs.current.max(of_log);
        (History { promises: self.epochs, last: tree.last() }, tree)
    }

    /// Whether a crash now would leave this txn.
    pub(super) fn has_safely(&self, txn: Txn) -> bool {
        self.store.has(txn) || self.log[..self.safe].binary_search(&txn).is_ok()
    }

    /// The power goes: of what was not synced, a part may be there all the same.
    pub(super) fn crash(&mut self, dice: &mut StdRng) {
        let kept = dice.random_range(self.safe..=self.log.len());
        self.log.truncate(kept);
        self.safe = kept;
        if self.log.last().is_none_or(|(zxid, _)| *zxid < self.store.last()) {
            self.log.clear();
            self.safe = 0;
            self.floor = self.store.last();
        }
    }

    /// Appended, and not safe.
    pub(super) fn append(&mut self, txn: Txn) {
        self.log.push(txn);
    }

    pub(super) fn sync(&mut self) -> Option<Zxid> {
        self.safe = self.log.len();
        self.log.last().map(|(zxid, _)| *zxid)
    }

    pub(super) fn save_current(&mut self, epoch: Epoch) {
        self.epochs.current = epoch;
    }

    /// Does everything but appending.
    pub(super) fn carry_out(&mut self, work: Work, traces_far: bool) -> Done {
        match work {
            Work::Cut { tree, purge } => {
                if tree.last() > self.store.last() {
                    self.store = tree;
                }
                if purge {
                    self.purge();
                }
                Done::Nothing
            }
            Work::Refuse => Done::Answer(DiskDone::TruncateRefused),
            Work::Install(tree) => {
                self.floor = tree.last();
                self.log.clear();
                self.safe = 0;
                self.store = tree;
                Done::Answer(DiskDone::Installed(self.floor))
            }
            Work::Peer(work) => self.carry_out_for_peer(work, traces_far),
        }
    }

    fn carry_out_for_peer(&mut self, work: DiskWork, traces_far: bool) -> Done {
        match work {
            DiskWork::SaveMembership { current, next } => {
                self.membership = Some((current, next));
                Done::Nothing
            }
            DiskWork::SaveAcceptedEpoch(epoch) => {
                self.epochs.accepted = epoch;
                Done::Answer(DiskDone::AcceptedEpoch(epoch))
            }
            DiskWork::SaveCurrentEpoch(epoch) => {
                self.save_current(epoch);
                Done::Answer(DiskDone::CurrentEpoch(epoch))
            }
            DiskWork::Truncate(zxid) if zxid < self.store.last() => Done::Answer(DiskDone::TruncateRefused),
            DiskWork::Truncate(zxid) => {
                self.log.truncate(self.log.partition_point(|(other, _)| *other <= zxid));
                self.safe = self.log.len();
                let tree = self.reload(zxid);
                Done::Reloaded(DiskDone::Truncated(tree.last()), tree)
            }
            DiskWork::Reload => {
                let tree = self.reload(Zxid(i64::MAX));
                Done::Reloaded(DiskDone::Reloaded(tree.last()), tree)
            }
            DiskWork::Trace { link, zxid } => {
                Done::Answer(DiskDone::Traced { link, trace: self.trace(zxid, traces_far) })
            }
            DiskWork::OpenSnapshot { link } => Done::Opened(link, self.store.clone()),
            DiskWork::Append { .. } | DiskWork::Install => unreachable!("another kind of work"),
        }
    }

    fn reload(&self, upto: Zxid) -> Tree {
        let mut tree = self.store.clone();
        let last = tree.last();
        let newer = self.log.iter().filter(|(zxid, _)| *zxid > last && *zxid <= upto);
        Arc::make_mut(&mut tree.0).extend(newer);
        tree
    }

    /// Whatever the store has may go.
    fn purge(&mut self) {
        let old = self.log[..self.safe].partition_point(|(zxid, _)| *zxid <= self.store.last());
        if let Some((zxid, _)) = self.log.drain(..old).next_back() {
            self.floor = zxid;
        }
        self.safe -= old;
    }

    fn trace(&self, zxid: Zxid, far: bool) -> Trace {
        if zxid < self.floor || !far {
            return Trace::OutOfReach;
        }
        match self.log.binary_search_by_key(&zxid, |(zxid, _)| *zxid) {
            Ok(_) => Trace::Found,
            Err(_) if zxid == self.floor => Trace::Found,
            Err(at) => {
                let previous = at.checked_sub(1).map_or(self.floor, |previous| self.log[previous].0);
                Trace::Missing { previous, next: self.log.get(at).map(|(zxid, _)| *zxid) }
            }
        }
    }

    /// The log's txns in `(after, upto]`, with those that still wait in `queue`; `None` if it does not reach so far back.
    pub(super) fn read_log<'a>(
        &self,
        queue: impl Iterator<Item = &'a Work>,
        after: Zxid,
        upto: Zxid,
    ) -> Option<Vec<Txn>> {
        if after < self.floor {
            return None;
        }
        let waiting = queue.filter_map(|work| match work {
            Work::Peer(DiskWork::Append { zxid, record }) => Some((*zxid, value_of(record))),
            _ => None,
        });
        let all = self.log.iter().copied().chain(waiting);
        Some(all.filter(|(zxid, _)| *zxid > after && *zxid <= upto).collect())
    }
}
