//! Replicas of one partition, with real logs, and a service that elects as a controller would: whatever the order of
//! appends, fetches, elections and restarts, what was safe stays, and whoever is left to follow gets there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_response::{EpochEndOffset, PartitionData};
use kafka_protocol::records::Compression;
use proptest::prelude::*;
use tempfile::TempDir;

use super::clock;
use super::partition::{Assignment, FetchFrom, Follower, Now, Partition};
use crate::config::topic::TopicConfig;
use crate::log::batch::{Batch, BatchBuilder};
use crate::log::{Log, Recovery};
use crate::topic_partition::{BrokerId, TopicPartition};

const BROKERS: [BrokerId; 3] = [1, 2, 3];
const LAG_MAX: Duration = Duration::from_secs(30);

/// The state that the service has of the partition.
#[derive(Debug, Clone)]
struct State {
    leader: BrokerId,
    epoch: i32,
    version: i32,
    isr: BTreeSet<BrokerId>,
}

struct Cluster {
    now: Now,
    dirs: BTreeMap<BrokerId, TempDir>,
    replicas: BTreeMap<BrokerId, Partition>,
    alive: BTreeSet<BrokerId>,
    state: State,
    /// Values that were safe at some time, by their offsets.
    safe: BTreeMap<i64, Vec<u8>>,
    appended: u32,
}

impl Cluster {
    fn new() -> Self {
        let dirs: BTreeMap<_, _> = BROKERS.map(|id| (id, tempfile::tempdir().expect("a directory"))).into();
        let state = State { leader: 1, epoch: 0, version: 0, isr: BROKERS.into() };
        let now = clock::now();
        let mut cluster = Self {
            now,
            dirs,
            replicas: BTreeMap::new(),
            alive: BROKERS.into(),
            state,
            safe: BTreeMap::new(),
            appended: 0,
        };
        BROKERS.into_iter().for_each(|id| cluster.open(id, 0));
        cluster.tell_all();
        cluster
    }

    fn open(&mut self, id: BrokerId, high_watermark: i64) {
        let config = Arc::new(TopicConfig::default());
        let log =
            Log::open(self.dirs[&id].path(), config, Recovery::default(), self.now.wall_ms).expect("opens");
        let name = TopicPartition::new("orders", 0);
        self.replicas.insert(id, Partition::new(name, id, LAG_MAX, log, high_watermark));
    }

    fn tell(&self, id: BrokerId) {
        let isr: Vec<_> = self.state.isr.iter().copied().collect();
        let State { leader, epoch, version, .. } = self.state;
        let assignment = Assignment { leader: Some(leader), epoch, version, replicas: &BROKERS, isr: &isr };
        self.replicas[&id].assign(&assignment, self.now).expect("assigned");
    }

    fn tell_all(&self) {
        self.alive.iter().for_each(|id| self.tell(*id));
    }

    /// As a controller does: the first of those in sync that is alive.
    fn elect(&mut self) {
        let Some(leader) =
            BROKERS.into_iter().find(|id| self.state.isr.contains(id) && self.alive.contains(id))
        else {
            return;
        };
        let State { epoch, version, isr, .. } = &self.state;
        let alive: BTreeSet<_> = isr.intersection(&self.alive).copied().collect();
        self.state = State { leader, epoch: epoch + 1, version: version + 1, isr: alive };
    }

    fn append(&mut self) {
        let leader = &self.replicas[&self.state.leader];
        if !self.alive.contains(&self.state.leader) {
            return;
        }
        self.appended += 1;
        let mut batch = BatchBuilder::new(0, self.now.wall_ms, Compression::None);
        batch.push(self.now.wall_ms, None, Some(&self.appended.to_be_bytes()), []);
        let _ = leader.append(&batch.build().expect("a batch"), false, self.now);
        self.note_safe();
    }

    fn fetch(&mut self, id: BrokerId) {
        let leader_id = self.state.leader;
        if !self.alive.contains(&id) || !self.alive.contains(&leader_id) {
            return;
        }
        let (leader, follower) = (&self.replicas[&leader_id], &self.replicas[&id]);
        let Some(asked) = follower.position(leader_id) else {
            return;
        };
        let from = FetchFrom {
            offset: asked.offset,
            current_epoch: Some(asked.epoch),
            follower: Some(Follower { id, last_epoch: asked.last_epoch }),
            bytes_max: 200,
            at_least_one: true,
        };
        let found = match leader.read(&from, self.now) {
            Ok(found) => found,
            Err(kafka_protocol::error::ResponseError::OffsetOutOfRange) => {
                let (start, end) = leader.with_log(|log| (log.start_offset(), log.end_offset()));
                let cut = follower.on_out_of_range(leader_id, asked, start, end, self.now).expect("cut");
                cut.remove().expect("removed");
                return;
            }
            Err(_) => return, // One of them has not been told.
        };
        let mut given = PartitionData::default()
            .with_high_watermark(found.high_watermark)
            .with_log_start_offset(found.log_start)
            .with_records(found.records.map(|slice| slice.read().expect("readable").into()));
        if let Some(diverging) = found.diverging {
            let end = EpochEndOffset::default().with_epoch(diverging.epoch).with_end_offset(diverging.end);
            given = given.with_diverging_epoch(end);
        }
        follower.on_fetched(leader_id, asked, given, self.now).expect("taken").remove().expect("removed");
        if let Some(change) = leader.begin_expansion(id, || true) {
            self.change(leader_id, change);
        }
        self.note_safe();
    }

    /// The service takes a change only of who knows the present state.
    fn change(&mut self, leader: BrokerId, change: super::leading::IsrChange) {
        let is_current = self.state.version == change.version && self.state.epoch == change.epoch;
        if is_current {
            self.state.version += 1;
            self.state.isr = change.isr.iter().copied().collect();
        }
        let version = is_current.then_some(self.state.version);
        self.replicas[&leader].end_change(&change, version, self.now);
    }

    fn shrink(&mut self) {
        self.now.instant += LAG_MAX * 2;
        let leader = self.state.leader;
        if let Some(change) =
            self.replicas[&leader].begin_shrinking(self.now).filter(|_| self.alive.contains(&leader))
        {
            self.change(leader, change);
        }
        self.note_safe();
    }

    fn kill(&mut self, id: BrokerId) {
        if self.alive.len() > 1 {
            self.alive.remove(&id);
        }
    }

    fn restart(&mut self, id: BrokerId) {
        if self.alive.insert(id) {
            let high_watermark = self.replicas[&id].high_watermark();
            self.replicas.remove(&id);
            self.open(id, high_watermark);
            self.tell(id);
        }
    }

    fn values(&self, id: BrokerId) -> BTreeMap<i64, Vec<u8>> {
        let bytes = self.replicas[&id].with_log(|log| {
            let mut all = Vec::new();
            let mut from = log.start_offset();
            while from < log.end_offset() {
                let chunk =
                    log.read(from, i64::MAX, 1 << 20, true).expect("in range").read().expect("readable");
                let mut rest = &chunk[..];
                while let Ok((batch, after)) = Batch::split(rest) {
                    from = batch.head.next_offset();
                    rest = after;
                }
                all.extend(chunk);
            }
            all
        });
        let (mut values, mut rest) = (BTreeMap::new(), &bytes[..]);
        while let Ok((batch, after)) = Batch::split(rest) {
            for record in &batch.records().expect("records") {
                let record = record.expect("a record");
                values.insert(record.offset, record.value.expect("a value").to_vec());
            }
            rest = after;
        }
        values
    }

    fn note_safe(&mut self) {
        let leader = self.state.leader;
        if !self.replicas[&leader].is_leading() || !self.alive.contains(&leader) {
            return;
        }
        let high_watermark = self.replicas[&leader].high_watermark();
        for (offset, value) in self.values(leader).range(..high_watermark) {
            self.safe.insert(*offset, value.clone());
        }
    }

    /// All are back, and hear of everything.
    fn settle(&mut self) {
        BROKERS.into_iter().for_each(|id| self.restart(id));
        if !self.replicas[&self.state.leader].is_leading() || !self.state.isr.contains(&self.state.leader) {
            self.elect();
        }
        for _ in 0..500 {
            self.tell_all();
            BROKERS.into_iter().for_each(|id| self.fetch(id));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Fetch(BrokerId),
    Elect,
    Tell(BrokerId),
    Shrink,
    Kill(BrokerId),
    Restart(BrokerId),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..=3;
    prop_oneof![
        4 => Just(Step::Append),
        8 => id.clone().prop_map(Step::Fetch),
        2 => Just(Step::Elect),
        4 => id.clone().prop_map(Step::Tell),
        1 => Just(Step::Shrink),
        1 => id.clone().prop_map(Step::Kill),
        1 => id.prop_map(Step::Restart),
    ]
}

fn run(steps: &[Step]) {
    let mut cluster = Cluster::new();
    for step in steps {
        match *step {
            Step::Append => cluster.append(),
            Step::Fetch(id) => cluster.fetch(id),
            Step::Elect => cluster.elect(),
            Step::Tell(id) if cluster.alive.contains(&id) => cluster.tell(id),
            Step::Tell(_) => {}
            Step::Shrink => cluster.shrink(),
            Step::Kill(id) => cluster.kill(id),
            Step::Restart(id) => cluster.restart(id),
        }
    }
    cluster.settle();
    let leader = cluster.values(cluster.state.leader);
    for (offset, value) in &cluster.safe {
        assert_eq!(leader.get(offset), Some(value), "offset {offset} was safe, and {:?}", cluster.state);
    }
    for id in BROKERS {
        assert_eq!(cluster.values(id), leader, "{id} has another log than its leader, {:?}", cluster.state);
        assert!(cluster.state.isr.contains(&id), "{id} is not in sync: {:?}", cluster.state);
    }
}

#[test]
fn who_led_for_an_epoch_without_records_follows_the_next_leader() {
    let elect =
        |leader: BrokerId| [Step::Kill(1), Step::Elect, Step::Tell(2), Step::Tell(3), Step::Restart(leader)];
    let mut steps = vec![Step::Append, Step::Fetch(2), Step::Fetch(3)];
    steps.extend(elect(1));
    steps.extend([Step::Kill(2), Step::Elect, Step::Restart(2), Step::Tell(1), Step::Tell(3)]);
    run(&steps);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_safe_stays_and_all_get_there(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}
