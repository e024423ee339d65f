//! The tree that a dead server's files give, found in two ways that share nothing but the log.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jute::txn::TxnBody;
use server::storage::{DataDirs, Disk, OsDisk, RecoveryOptions, RocksStore, TxnLogReader, recover};
use server::tree::{Tree, TreeOptions};
use server::zab::Zxid;

use crate::damage;

/// A server announces the digest of every so many-th zxid.
pub(super) const DIGEST_INTERVAL: i64 = 128;

/// What replaying gave.
#[derive(Debug)]
pub struct Replay {
    /// After each txn, beginning with that of zxid 1.
    digests: Vec<u64>,
    /// How far the database had come.
    snapshot: Zxid,
}

impl Replay {
    /// Replays what a server that is dead now has left in `data`. `scratch` is for a copy of it.
    ///
    /// # Errors
    /// When the log's txns, the digests in it, and what recovery makes of it contradict each other.
    pub fn of(data: &Path, scratch: &Path) -> Result<Self> {
        let (tree, digests) = replay_log(data)?;
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        copy(data, scratch)?;
        let dirs = DataDirs::new(scratch, None);
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let mut store = RocksStore::open(&dirs.database())?;
        let recovered = recover(&disk, &mut store, &dirs, &RecoveryOptions::default())?;
        let stats = recovered.stats;
        ensure!(stats.digest_mismatches == 0, "recovery found other trees than the log: {stats:?}");
        ensure!(stats.orphans_dropped == 0, "ephemeral znodes without a session: {stats:?}");
        same_tree(&tree, &recovered.tree).context("the log's tree and the recovered one")?;
        Ok(Self { digests, snapshot: stats.snapshot_zxid })
    }

    /// # Errors
    /// When something that `earlier` had is gone.
    pub fn ensure_goes_on_from(&self, earlier: &Self) -> Result<()> {
        ensure!(self.digests.starts_with(&earlier.digests), "the log has become another");
        ensure!(self.snapshot >= earlier.snapshot, "{} went back to {}", earlier.snapshot, self.snapshot);
        Ok(())
    }

    /// The last zxid.
    #[must_use]
    pub fn last(&self) -> i64 {
        i64::try_from(self.digests.len()).unwrap_or(i64::MAX)
    }

    /// The tree's digest after the txn of `zxid`.
    #[must_use]
    pub fn digest_at(&self, zxid: i64) -> Option<u64> {
        self.digests.get(usize::try_from(zxid.checked_sub(1)?).ok()?).copied()
    }

    /// How far the database had come without the log.
    #[must_use]
    pub fn snapshot(&self) -> i64 {
        self.snapshot.0
    }
}

/// From an empty tree; the log must be whole.
fn replay_log(data: &Path) -> Result<(Tree, Vec<u64>)> {
    let mut tree = Tree::new(TreeOptions::default());
    let mut digests = Vec::new();
    let mut log = TxnLogReader::open(Arc::new(OsDisk), &DataDirs::new(data, None).logs(), Zxid::ZERO)?;
    while let Some(record) = log.next_record()? {
        let zxid = record.zxid;
        ensure!(zxid == tree.last_zxid().next(), "{zxid} follows {}", tree.last_zxid());
        let txn = record.txn(log.path().unwrap_or(data))?;
        tree.replay(&txn);
        let digest = tree.digest();
        match txn.digest.map(|announced| announced.tree_digest.cast_unsigned()) {
            Some(announced) => ensure!(digest == announced, "{zxid} says {announced:x}, leaves {digest:x}"),
            // A refusal changes nothing.
            None => ensure!(matches!(txn.body, TxnBody::Error(_)), "{zxid} has no digest: {txn:?}"),
        }
        digests.push(digest);
    }
    Ok((tree, digests))
}

fn same_tree(one: &Tree, other: &Tree) -> Result<()> {
    ensure!(one.last_zxid() == other.last_zxid(), "{} and {}", one.last_zxid(), other.last_zxid());
    let digests = [one.digest(), one.recompute_digest(), other.digest(), other.recompute_digest()];
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "digests {digests:x?}");
    let sessions = |tree: &Tree| {
        let mut sessions: Vec<_> = tree.sessions().collect();
        sessions.sort_unstable();
        sessions
    };
    ensure!(sessions(one) == sessions(other), "{:?} and {:?}", sessions(one), sessions(other));
    Ok(())
}

/// Logs are only read, so that a link to them will do.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for (path, _) in damage::files(from)? {
        let copied = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(copied.parent().context("a file is in a directory")?)?;
        let is_log = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log."));
        if is_log {
            fs::hard_link(&path, &copied)?;
        } else {
            fs::copy(&path, &copied)?;
        }
    }
    Ok(())
}
