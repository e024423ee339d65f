//! A checksum of the whole tree, kept up to date with every txn. Replicas compare it to notice that they differ.
//!
//! It is the sum of the znodes' digests, so a change costs the digest of one znode before and after. ACLs are
//! not in it, nor is what lies below `/zookeeper/`, part of which servers change on their own. ZooKeeper's
//! `DigestCalculator`, version 2.

use std::collections::VecDeque;

use jute::data::StatPersisted;

use super::path;
use crate::zab::Zxid;

/// What [`TxnDigest::version`](jute::txn::TxnDigest) says of digests made here.
pub const VERSION: i32 = 2;

/// A zxid that is a multiple of this has its digest remembered.
const INTERVAL: i64 = 128;

/// How many are remembered.
const HISTORY_MAX: usize = 1024;

/// What a znode adds to the tree's digest. Null data counts as empty.
#[must_use]
#[doc(alias = "DigestCalculator")]
#[doc(alias = "AdHash")]
pub fn of_znode(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    if !is_counted(path) {
        return 0;
    }
    let mut crc = crc32fast::Hasher::new();
    if path != path::ROOT {
        crc.update(path.as_bytes());
    }
    crc.update(data.unwrap_or_default());
    crc.update(&stat_block(stat));
    crc.finalize().into()
}

/// Whether the znode at `path` is part of the digest at all.
pub(super) fn is_counted(path: &str) -> bool {
    !path.strip_prefix(path::ZOOKEEPER).is_some_and(|below| below.starts_with('/'))
}

/// The fields in the digest's own order, which is not that of the record.
fn stat_block(stat: &StatPersisted) -> [u8; 60] {
    let mut block = [0; 60];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (place, long) in block[..40].chunks_exact_mut(8).zip(longs) {
        place.copy_from_slice(&long.to_be_bytes());
    }
    for (place, int) in block[40..52].chunks_exact_mut(4).zip(ints) {
        place.copy_from_slice(&int.to_be_bytes());
    }
    block[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    block
}

/// Digests of the past, for operators who compare servers: the `hash` word.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Zxid, u64)>);

impl History {
    pub(super) fn note(&mut self, zxid: Zxid, digest: u64) {
        if zxid.0 % INTERVAL != 0 {
            return;
        }
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((zxid, digest));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_counts_under_the_empty_path() {
        let zeros = StatPersisted::default();
        assert_eq!(of_znode("/", Some(b""), &zeros), u64::from(crc32fast::hash(&[0; 60])));
        assert_eq!(of_znode("/", None, &zeros), of_znode("/", Some(b""), &zeros));
    }

    #[test]
    fn what_lies_below_zookeeper_does_not_count() {
        let zeros = StatPersisted::default();
        assert_eq!(of_znode("/zookeeper/quota", Some(b"x"), &zeros), 0);
        assert_ne!(of_znode("/zookeeper", Some(b""), &zeros), 0);
        assert_ne!(of_znode("/zookeepers", Some(b""), &zeros), 0);
    }

    #[test]
    fn every_field_counts() {
        let zeros = StatPersisted::default();
        let variants = [
            StatPersisted { czxid: 1, ..zeros },
            StatPersisted { mzxid: 1, ..zeros },
            StatPersisted { pzxid: 1, ..zeros },
            StatPersisted { ctime: 1, ..zeros },
            StatPersisted { mtime: 1, ..zeros },
            StatPersisted { version: 1, ..zeros },
            StatPersisted { cversion: 1, ..zeros },
            StatPersisted { aversion: 1, ..zeros },
            StatPersisted { ephemeral_owner: 1, ..zeros },
        ];
        let mut digests: Vec<u64> = variants.iter().map(|stat| of_znode("/a", None, stat)).collect();
        digests.push(of_znode("/a", None, &zeros));
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), variants.len() + 1);
    }

    #[test]
    fn the_history_keeps_every_128th_zxid_and_the_newest_1024() {
        let mut history = History::default();
        for zxid in 1..=128 * 1030 {
            history.note(Zxid(zxid), 0);
        }
        assert_eq!(history.iter().count(), 1024);
        assert_eq!(history.iter().next().map(|(zxid, _)| zxid), Some(Zxid(128 * 7)));
    }
}
