//! A log does what a list of batches would do, whatever is done to it.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Append { count: i64, later: i64 },
    Roll,
    Truncate(prop::sample::Index),
    AdvanceStart(prop::sample::Index),
    Retain,
    Flush,
    CloseAndOpen,
    CrashAndOpen { cut: prop::sample::Index },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (1..5_i64, -3..9_i64).prop_map(|(count, later)| Act::Append { count, later }),
        1 => Just(Act::Roll),
        1 => any::<prop::sample::Index>().prop_map(Act::Truncate),
        1 => any::<prop::sample::Index>().prop_map(Act::AdvanceStart),
        1 => Just(Act::Retain),
        1 => Just(Act::Flush),
        1 => Just(Act::CloseAndOpen),
        1 => any::<prop::sample::Index>().prop_map(|cut| Act::CrashAndOpen { cut }),
    ]
}

/// First and last offset, timestamp of the first record, and epoch of every batch; where the log starts and ends.
struct Model {
    batches: Vec<(i64, i64, i64, i32)>,
    start: i64,
    end: i64,
}

struct Pair {
    dir: TempDir,
    log: Log,
    model: Model,
    clock: i64,
    epoch: i32,
}

fn small() -> TopicConfig {
    TopicConfig {
        segment_bytes: 4 * batch(4, NOW).len() as u32,
        retention_bytes: Some(2000),
        ..super::config()
    }
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        let model = Model { batches: Vec::new(), start: 0, end: 0 };
        Self { dir, log, model, clock: NOW, epoch: 0 }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { count, later } => {
                self.clock += later;
                let done = append(&mut self.log, &batch(*count, self.clock), self.epoch);
                assert_eq!(done.base_offset, self.model.end);
                self.model.batches.push((done.base_offset, done.last_offset, self.clock, self.epoch));
                self.model.end += count;
            }
            Act::Roll => self.log.roll(NOW).unwrap(),
            Act::Truncate(index) => {
                let offset = self.within(index);
                self.log.truncate_to(offset, NOW).unwrap().remove().unwrap();
                let kept = self.model.batches.partition_point(|it| it.1 < offset);
                let cut = self.model.batches.get(kept).map_or(self.model.end, |it| it.0);
                self.model.batches.truncate(kept);
                self.model.end = self.model.end.min(cut);
                self.model.start = self.model.start.min(self.model.end);
                self.epoch += 1;
            }
            Act::AdvanceStart(index) => {
                let offset = self.within(index);
                self.log.advance_start(offset).unwrap();
                self.model.start = self.model.start.max(offset);
            }
            Act::Retain => {
                self.log.apply_retention(self.model.end, NOW).unwrap().remove().unwrap();
                assert!(self.log.start_offset() >= self.model.start);
                self.model.start = self.log.start_offset();
            }
            Act::Flush => self.log.flush().unwrap(),
            Act::CloseAndOpen => {
                self.log.close().unwrap();
                self.reopen(true);
            }
            Act::CrashAndOpen { cut } => {
                self.cut_last_segment(cut);
                self.reopen(false);
            }
        }
    }

    fn within(&self, index: &prop::sample::Index) -> i64 {
        self.model.start + index.index((self.model.end - self.model.start + 1) as usize) as i64
    }

    /// The end of what was written last does not reach the disk.
    fn cut_last_segment(&mut self, cut: &prop::sample::Index) {
        let last = *self.log.segments().unwrap().last().unwrap();
        let cut = cut.index(last.bytes as usize + 1) as u64;
        let path = self.dir.path().join(format!("{:020}.log", last.base_offset));
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(cut).unwrap();
        let model = &mut self.model;
        let (mut left, mut end) = (cut, last.base_offset);
        model.batches.retain(|it| {
            let bytes = batch(it.1 - it.0 + 1, it.2).len() as u64;
            let kept = it.0 < last.base_offset || left >= bytes;
            if it.0 >= last.base_offset {
                left = if kept { left - bytes } else { 0 };
                end = if kept { it.1 + 1 } else { end };
            }
            kept
        });
        if cut < last.bytes {
            (model.end, self.epoch) = (end, self.epoch + 1);
        }
        if model.end < model.start {
            model.batches.clear();
            model.end = model.start;
        }
    }

    fn reopen(&mut self, clean: bool) {
        let (recovery_point, start_offset) = (self.log.recovery_point(), self.model.start);
        let recovery = Recovery { clean, recovery_point, start_offset };
        self.log = Log::open(self.dir.path(), Arc::new(small()), recovery, NOW).unwrap();
    }

    fn compare(&self) {
        let model = &self.model;
        assert_eq!((self.log.start_offset(), self.log.end_offset()), (model.start, model.end));
        let readable = model.batches.iter().filter(|it| it.1 >= model.start);
        let expected: Vec<_> = readable.clone().map(|it| (it.0, it.1)).collect();
        assert_eq!(batches(&self.log), expected);
        let latest = readable.clone().map(|it| it.2).max().unwrap_or(NOW);
        for timestamp in [NOW - 5, NOW, NOW + 3, latest, latest + 2] {
            let found = self.log.offset_for_timestamp(timestamp).unwrap().map(|it| it.offset);
            assert_eq!(found, model.offset_for(timestamp), "timestamp {timestamp}");
        }
        for (epoch, next) in readable.clone().zip(readable.skip(1)) {
            if epoch.3 < next.3 {
                assert_eq!(self.log.end_offset_for_epoch(epoch.3), Some((epoch.3, next.0)));
            }
        }
    }
}

impl Model {
    fn offset_for(&self, timestamp: i64) -> Option<i64> {
        let records = self.batches.iter().flat_map(|it| (it.0..=it.1).map(|at| (at, it.2 + at - it.0)));
        records.filter(|it| it.0 >= self.start).find(|it| it.1 >= timestamp).map(|it| it.0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_does_what_a_list_of_batches_does(acts in proptest::collection::vec(act(), 1..40)) {
        let mut pair = Pair::new();
        for act in &acts {
            pair.act(act);
            pair.compare();
        }
    }
}
