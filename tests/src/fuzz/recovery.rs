//! A server's disk, with accidents: what recovery gives back is what once was, or it refuses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jute::data::{AclList, Id};
use jute::proto::{CreateRequest, SetDataRequest};
use jute::{Jute, Op};
use server::node::lockstep::Lockstep;
use server::node::{CutPolicy, Delivery, Event, NodeConfig, Now, Request};
use server::session::{ConnectionId, SessionId};
use server::storage::{
    DataDirs, Disk, LogOptions, MemoryStore, Recovered, RecoveryOptions, SimDisk, SnapshotStore, TxnLog,
    recover,
};
use server::zab::Zxid;

use super::Input;

const CONNECTION: ConnectionId = ConnectionId { shard: 0, slot: 0, generation: 0 };
const STEPS_MAX: usize = 64;

/// Plays the writes and accidents that `input` spells.
pub(super) fn recovery(input: &[u8]) {
    let mut input = Input(input);
    let mut play = Play::new(u64::from(input.byte()));
    let Some(mut life) = play.start() else { panic!("an empty disk is good to start from") };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0..7 => play.write(&mut life, &mut input),
            7 | 8 => play.sync(&mut life),
            9 => play.store_cuts(&mut life, &mut input),
            10 => {
                play.sync(&mut life);
                life.log.roll().expect("a sound disk");
            }
            choice => {
                play.accident(choice, life, &mut input);
                let Some(next) = play.start() else { return };
                life = next;
            }
        }
    }
    play.sync(&mut life);
    drop(life);
    play.disk.crash();
    play.store.crash();
    play.start();
}

struct Play {
    disk: SimDisk,
    store: MemoryStore,
    dirs: DataDirs,
    now: Now,
    /// The tree's digest after each txn, as of its last maker.
    digests: BTreeMap<Zxid, u64>,
    /// Synced, and so not to be lost without a word.
    acknowledged: Zxid,
    /// Bytes were changed behind the server's back: it may refuse, and a record of the tail may be taken for torn.
    is_damaged: bool,
}

struct Life {
    lockstep: Lockstep,
    log: TxnLog,
    session: SessionId,
    written: Option<Zxid>,
}

impl Play {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            store: MemoryStore::default(),
            dirs: DataDirs::new("/data", None),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 },
            digests: BTreeMap::new(),
            acknowledged: Zxid::ZERO,
            is_damaged: false,
        }
    }

    /// A start; `None` if it was refused, for which there must be a reason.
    fn start(&mut self) -> Option<Life> {
        self.now.monotonic += Duration::from_secs(100);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let entered = self.dirs.enter(&*disk, true).map(drop);
        let recovered = entered
            .and_then(|()| recover(&disk, &mut self.store, &self.dirs, &RecoveryOptions::default()))
            .and_then(|recovered| {
                let options = LogOptions { preallocate_bytes: 8 << 10, ..LogOptions::new(self.dirs.logs()) };
                Ok((TxnLog::open(disk, options, &recovered.log_end)?, recovered))
            });
        let (log, recovered) = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                assert!(self.is_damaged, "refused an undamaged disk: {error:?}");
                return None;
            }
        };
        self.check(&recovered);
        let config = NodeConfig {
            cuts: CutPolicy { txns_max: 8, dirty_max: 2, unwritten_max: 4, ..CutPolicy::default() },
            ..NodeConfig::default()
        };
        let mut life = Life {
            lockstep: Lockstep::new(config, recovered.tree, self.now),
            log,
            session: SessionId(0),
            written: None,
        };
        self.step(&mut life, Event::OpenSession { connection: CONNECTION, timeout_ms: 6000 });
        self.sync(&mut life);
        Some(life)
    }

    fn check(&mut self, recovered: &Recovered) {
        let (tree, last) = (&recovered.tree, recovered.tree.last_zxid());
        assert!(self.is_damaged || last >= self.acknowledged, "{last} where {} was said", self.acknowledged);
        assert_eq!(recovered.stats.digest_mismatches, 0);
        assert_eq!(tree.digest(), tree.recompute_digest());
        if let Some(digest) = self.digests.get(&last) {
            assert_eq!(tree.digest(), *digest, "the tree of {last} is not what it was");
        }
        self.digests.split_off(&last.next());
        self.acknowledged = last;
    }

    fn write(&mut self, life: &mut Life, input: &mut Input<'_>) {
        let path = format!("/{}", input.below(4));
        let data = input.data();
        let (op, body) = if input.is() {
            let (acl, flags) = (AclList::OPEN_UNSAFE, i32::from(input.byte() % 4));
            (Op::Create, CreateRequest { path: path.into(), data, acl, flags }.to_bytes())
        } else {
            (Op::SetData, SetDataRequest { path: path.into(), data, version: -1 }.to_bytes())
        };
        let request = Request {
            session: life.session,
            connection: Some(CONNECTION),
            xid: 1,
            op: op.code(),
            body,
            identities: Arc::new([Id::new("ip", "127.0.0.1")]),
        };
        self.step(life, Event::Write(request));
    }

    fn step(&mut self, life: &mut Life, event: Event) {
        life.lockstep.now = self.now;
        let mut deliveries = Vec::new();
        life.written = life.lockstep.step([event], &mut deliveries).or(life.written);
        for record in life.lockstep.log.drain(..) {
            let txn = jute::txn::Txn::from_bytes(&record).expect("a record is a txn");
            let zxid = Zxid(txn.header.zxid);
            if let Some(digest) = txn.digest {
                self.digests.insert(zxid, digest.tree_digest.cast_unsigned());
            }
            life.log.append(zxid, &record).expect("a sound disk");
        }
    }

    fn sync(&mut self, life: &mut Life) {
        life.log.sync().expect("a sound disk");
        let mut deliveries = Vec::new();
        let written = life.written.take();
        life.lockstep.settle(written, &mut deliveries);
        self.acknowledged = self.acknowledged.max(written.unwrap_or(Zxid::ZERO));
        for delivery in deliveries {
            if let Delivery::Connected { session, .. } = delivery {
                life.session = session;
            }
        }
    }

    fn store_cuts(&mut self, life: &mut Life, input: &mut Input<'_>) {
        let cuts = std::mem::take(&mut life.lockstep.cuts);
        let written: Vec<_> = cuts.iter().map(|_| Event::SnapshotWritten { cuts: 1 }).collect();
        cuts.iter().for_each(|cut| self.store.write(cut).expect("memory"));
        life.lockstep.run(written);
        if input.is() {
            self.store.flush().expect("memory");
        }
    }

    fn accident(&mut self, choice: u8, life: Life, input: &mut Input<'_>) {
        drop(life);
        match choice % 16 {
            11 => self.disk.kill(),
            12 => {
                self.disk.crash();
                self.store.crash();
            }
            13 => self.with_a_log(input, |disk, path, size, input| {
                if size > 0 {
                    disk.flip(path, usize::from(input.short()) % size, input.byte() | 1);
                }
            }),
            14 => self.with_a_log(input, |disk, path, size, input| {
                let size = usize::from(input.short()) % (size + 1);
                let file = disk.open(path).expect("a sound disk");
                file.resize(size as u64).and_then(|()| file.sync()).expect("a sound disk");
            }),
            _ => self.with_a_log(input, |disk, path, size, input| {
                let (offset, bytes) = (usize::from(input.short()) % (size + 1), input.few_bytes());
                let file = disk.open(path).expect("a sound disk");
                file.write_at(offset as u64, bytes).and_then(|()| file.sync()).expect("a sound disk");
            }),
        }
    }

    /// Something happens to one of the log's files while no server runs.
    fn with_a_log(
        &mut self,
        input: &mut Input<'_>,
        happens: impl FnOnce(&SimDisk, &Path, usize, &mut Input<'_>),
    ) {
        self.disk.kill();
        let names = self.disk.list(&self.dirs.logs()).expect("a directory");
        let logs: Vec<_> = names.iter().filter(|name| name.starts_with("log.")).collect();
        if logs.is_empty() {
            return;
        }
        let path = self.dirs.logs().join(input.one_of(&logs));
        let size = self.disk.open_read(&path).and_then(|file| file.size()).expect("a sound disk");
        self.is_damaged = true;
        happens(&self.disk, &path, size as usize, input);
    }
}
