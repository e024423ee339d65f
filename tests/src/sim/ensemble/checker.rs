//! The checks, under the names that ZooKeeper's TLA+ specification gives them (`ZkV3_7_0.tla`). They see only what
//! servers serve, and what is safe on their disks.
//!
//! One sequence of txns is *the* sequence: it grows when a serving server applies a txn that nobody applied before.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use server::zab::{Epoch, Quorum, Zxid};

use super::disk::{Disk, Tree, Txn};
use super::plan::id_of;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// All that was committed.
    delivered: Vec<Txn>,
    /// What leaders proposed.
    broadcast: BTreeMap<Zxid, u64>,
    /// Who led each epoch.
    leaders: BTreeMap<Epoch, usize>,
    /// How far each server was when it served last.
    served: Vec<usize>,
}

impl Checker {
    pub(super) fn new(servers: usize, origin: Option<Txn>) -> Self {
        let mut checker = Self { served: vec![0; servers], ..Self::default() };
        if let Some((zxid, value)) = origin {
            checker.delivered.push((zxid, value));
            checker.broadcast.insert(zxid, value);
        }
        checker
    }

    pub(super) fn delivered(&self) -> &[Txn] {
        &self.delivered
    }

    /// A leader begins to serve. `Leadership1`, `Leadership2`: one leader an epoch. `PrimaryIntegrity`: it has all
    /// that was ever delivered before it broadcasts anything.
    pub(super) fn leads(
        &mut self,
        server: usize,
        epoch: Epoch,
        tree: &Tree,
        disks: &Disks<'_>,
    ) -> Result<()> {
        if let Some(other) = self.leaders.get(&epoch).copied() {
            bail!("Leadership: {} and {} both lead epoch {}", id_of(other), id_of(server), epoch.0);
        }
        // A newer one may have been quicker: then its leader has this one's history, and it won't commit any more.
        let older = self.delivered.partition_point(|(zxid, _)| zxid.epoch() < epoch);
        ensure!(
            tree.0.starts_with(&self.delivered[..older]),
            "PrimaryIntegrity: {} leads epoch {} with {:?}, without all that was delivered: {:?}",
            id_of(server),
            epoch.0,
            tail(&tree.0),
            tail(&self.delivered[..older])
        );
        self.applied(server, 0, tree, disks)?;
        self.leaders.insert(epoch, server);
        Ok(())
    }

    /// A learner begins to serve. `ProcessConsistency`: what it served once it serves again.
    pub(super) fn follows(&mut self, server: usize, tree: &Tree, disks: &Disks<'_>) -> Result<()> {
        ensure!(
            tree.0.len() >= self.served[server],
            "ProcessConsistency: {} serves {} txns, where it had served {}",
            id_of(server),
            tree.0.len(),
            self.served[server]
        );
        self.applied(server, 0, tree, disks)
    }

    pub(super) fn proposed(&mut self, (zxid, value): Txn) -> Result<()> {
        let other = self.broadcast.insert(zxid, value);
        ensure!(other.is_none(), "Leadership: {zxid} was broadcast twice");
        Ok(())
    }

    /// A serving server applied all from `from` on. `PrefixConsistency`, `Agreement`, `TotalOrder`: it is what
    /// everybody applies there.
    pub(super) fn applied(
        &mut self,
        server: usize,
        from: usize,
        tree: &Tree,
        disks: &Disks<'_>,
    ) -> Result<()> {
        let known = self.delivered.len().min(tree.0.len());
        if from < known && tree.0[from..known] != self.delivered[from..known] {
            let at = (from..known).find(|at| tree.0[*at] != self.delivered[*at]).unwrap_or(from);
            bail!(
                "PrefixConsistency: {} applied {:?} as number {at}, others {:?}",
                id_of(server),
                tree.0[at],
                self.delivered[at]
            );
        }
        for txn in &tree.0[known..] {
            self.deliver(*txn)?;
        }
        if tree.0.len() > known {
            disks.check(tree.0[tree.0.len() - 1])?;
        }
        self.served[server] = tree.0.len();
        Ok(())
    }

    /// The sequence grows.
    fn deliver(&mut self, txn: Txn) -> Result<()> {
        let (zxid, value) = txn;
        ensure!(self.broadcast.get(&zxid) == Some(&value), "Integrity: nobody broadcast {txn:?}");
        let last = self.delivered.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        ensure!(zxid > last, "GlobalPrimaryOrder: {zxid} is delivered after {last}");
        let follows =
            if zxid.epoch() == last.epoch() { last.next() } else { zxid.epoch().beginning().next() };
        ensure!(
            zxid == follows,
            "LocalPrimaryOrder: {zxid} is delivered after {last}, without what is between"
        );
        if let Some((newer, _)) = self.leaders.last_key_value() {
            ensure!(
                zxid.epoch() >= *newer,
                "PrimaryIntegrity: {zxid} is delivered, which the leader of epoch {} did not have",
                newer.0
            );
        }
        self.delivered.push(txn);
        Ok(())
    }
}

/// The disks of all servers.
#[derive(Debug)]
pub(super) struct Disks<'a> {
    pub(super) quorums: Vec<Quorum>,
    pub(super) disks: Vec<&'a Disk>,
}

impl Disks<'_> {
    /// `Durability`: what is delivered is safe on the disks of a quorum.
    fn check(&self, txn: Txn) -> Result<()> {
        let has = (0..self.disks.len()).filter(|at| self.disks[*at].has_safely(txn));
        let has: Vec<_> = has.map(id_of).collect();
        ensure!(
            self.quorums.iter().all(|quorum| quorum.is_quorum(has.iter().copied())),
            "Durability: {txn:?} is delivered, and only {has:?} have it"
        );
        Ok(())
    }
}

fn tail(txns: &[Txn]) -> &[Txn] {
    &txns[txns.len().saturating_sub(3)..]
}
