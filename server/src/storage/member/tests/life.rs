//! A member's accidents, as they come.

use super::*;

/// One of a learner's lives, whatever comes: proposals, commits, cuts, truncations, other histories, crashes.
#[test]
fn no_accident_brings_back_what_was_cut_off_or_loses_what_was_committed() {
    for seed in 0..300 {
        Life::new(seed).run();
    }
}

struct Life {
    disk: SimDisk,
    server: Option<Server<MemoryStore>>,
    /// What is in the log, by its history.
    logged: Vec<Zxid>,
    /// So many of them are committed.
    committed: usize,
    epoch: u32,
    random: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let server = on_sim(&disk, MemoryStore::default()).unwrap();
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { disk, server: Some(server), logged: Vec::new(), committed: 0, epoch: 1, random }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound as u64).unwrap()
    }

    fn run(mut self) {
        for _ in 0..40 {
            match self.below(12) {
                0..4 => self.propose(),
                4 | 5 => self.commit(),
                6 => self.cut(),
                7 => drop(self.server().writer.flush().unwrap()),
                8 => self.truncate(),
                9 => self.install(),
                10 => self.reload(),
                _ => self.restart(self.logged.clone()),
            }
        }
        self.restart(self.logged.clone());
    }

    fn server(&mut self) -> &mut Server<MemoryStore> {
        self.server.as_mut().unwrap()
    }

    fn next(&mut self) -> Zxid {
        if self.below(4) == 0 {
            self.epoch += 1;
        }
        let last = self.logged.last().copied().unwrap_or_default();
        if last.epoch() == Epoch(self.epoch) { last.next() } else { at(self.epoch, 1) }
    }

    fn propose(&mut self) {
        for _ in 0..=self.below(4) {
            let next = self.next();
            self.logged.push(next);
            self.server().propose([next]);
        }
        if self.below(8) == 0 {
            self.server().log.roll().unwrap();
        }
    }

    fn commit(&mut self) {
        self.committed = self.logged.len();
        self.server().commit();
    }

    /// Of a tree that is served: it has nothing but what is committed.
    fn cut(&mut self) {
        let committed = self.committed.checked_sub(1).map_or(Zxid::ZERO, |last| self.logged[last]);
        if self.server().tree.last_zxid() <= committed {
            self.server().cut();
        }
    }

    fn truncate(&mut self) {
        let keep = self.committed + self.below(self.logged.len() - self.committed + 1);
        let Some(zxid) = keep.checked_sub(1).map(|last| self.logged[last]) else { return };
        let fails = self.below(3) == 0;
        if fails {
            let syncs = self.below(3) as u64;
            self.disk.fail_sync_after(syncs);
        }
        match self.server().truncate(zxid) {
            Ok(done) => {
                assert!(done, "{zxid} is committed, or nothing stored is beyond");
                self.logged.truncate(keep);
                self.restart_after_failure(fails, keep);
            }
            Err(_) => self.restart_after_failure(true, keep),
        }
    }

    fn restart_after_failure(&mut self, fails: bool, keep: usize) {
        if !fails {
            return;
        }
        let server = self.crash();
        // Any part of what was to be cut off may still be there.
        let found = txns_in(&server.tree);
        assert!(self.logged.starts_with(&found) && found.len() >= keep.min(self.logged.len()));
        self.logged = found;
        self.server = Some(server);
        self.epoch += 1;
    }

    fn install(&mut self) {
        let keep = self.below(self.committed + 1);
        self.epoch += 1;
        let mut other = self.logged[..keep].to_vec();
        for _ in 0..self.below(3) {
            let last = other.last().copied().unwrap_or_default();
            other.push(if last.epoch() == Epoch(self.epoch) { last.next() } else { at(self.epoch, 1) });
        }
        if other.is_empty() {
            return;
        }
        let fails = self.below(3) == 0;
        if fails {
            let syncs = self.below(5) as u64;
            self.disk.fail_sync_after(syncs);
        }
        let installed = self.server().install(received(&other)).is_ok();
        if fails {
            let server = self.crash();
            let found = txns_in(&server.tree);
            assert!(found == other || (!installed && found == self.logged), "{found:?}");
            self.server = Some(server);
            self.logged = found;
        } else {
            assert!(installed);
            self.logged = other;
        }
        self.committed = self.logged.len();
        self.epoch += 1;
    }

    fn reload(&mut self) {
        let server = self.server();
        server.tree = server.member.reload(&mut server.writer).unwrap().tree;
        server.proposed.clear();
        assert_eq!(txns_in(&self.server.as_ref().unwrap().tree), self.logged);
    }

    fn restart(&mut self, expected: Vec<Zxid>) {
        let server = self.crash();
        assert_eq!(txns_in(&server.tree), expected);
        self.server = Some(server);
    }

    fn crash(&mut self) -> Server<MemoryStore> {
        let mut store = self.server.take().unwrap().writer.into_store();
        self.disk.crash();
        store.crash();
        on_sim(&self.disk, store).unwrap()
    }
}
