//! The rules, each by its name; and [`laws`], which hold whatever happens.

mod endings;
mod joining;
mod laws;
mod leaving;
mod loading;
mod offsets;
mod rebalancing;
mod static_members;
mod syncing;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::*;
use crate::TopicPartition;
use crate::group::input::{
    Answer, Caller, Commit, Join, JoinRefused, Joined, OffsetOutcomes, SyncRequest, Synced, Token,
};
use crate::group::records::OffsetValue;

/// A group with a clock that the test moves, and a log that it fills.
struct Bench {
    group: Group,
    now: Now,
    tokens: u64,
    answers: BTreeMap<Token, Answer>,
    unsafe_writes: VecDeque<Write>,
    log: Vec<GroupRecord>,
}

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    fn new() -> Self {
        Self::with(GroupLimits::default())
    }

    fn with(limits: GroupLimits) -> Self {
        let now = Now { monotonic: Duration::from_secs(100), wall_ms: 1_000_000 };
        Self::of(Group::new("readers".into(), Arc::new(limits), now), now)
    }

    fn of(group: Group, now: Now) -> Self {
        Self {
            group,
            now,
            tokens: 0,
            answers: BTreeMap::new(),
            unsafe_writes: VecDeque::new(),
            log: Vec::new(),
        }
    }

    fn step<T>(&mut self, step: impl FnOnce(&mut Group, Now, &mut Outputs) -> T) -> T {
        let mut out = Outputs::default();
        let result = step(&mut self.group, self.now, &mut out);
        for (token, answer) in out.answers {
            let twice = self.answers.insert(token, answer);
            assert_eq!(twice, None, "{token:?} is answered twice");
        }
        self.unsafe_writes.extend(out.writes);
        result
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn join(&mut self, mut join: Join) -> Token {
        let token = self.token();
        join.id_suffix = uuid::Uuid::from_u128(token.0.into());
        self.step(|group, now, out| group.join(token, join, now, out));
        token
    }

    fn sync(&mut self, sync: SyncRequest) -> Token {
        let token = self.token();
        self.step(|group, now, out| group.sync(token, sync, now, out));
        token
    }

    fn commit(&mut self, caller: Caller, offsets: Vec<(TopicPartition, OffsetValue)>) -> Token {
        let token = self.token();
        self.step(|group, now, out| group.commit(token, Commit { caller, offsets }, now, out));
        token
    }

    fn heartbeat(&mut self, member_id: &Arc<str>, generation: i32) -> Result<(), ResponseError> {
        let caller = caller(member_id, generation);
        self.step(|group, now, _| group.heartbeat(&caller, now))
    }

    fn leave(&mut self, member_id: &Arc<str>) -> Result<(), ResponseError> {
        let leaver = crate::group::input::Leaver { member_id: Arc::clone(member_id), instance_id: None };
        self.step(|group, now, out| group.leave(&[leaver], now, out)).expect("not dead")[0]
    }

    fn delete(&mut self) -> Token {
        let token = self.token();
        self.step(|group, _, out| group.delete(token, out));
        token
    }

    fn sweep(&mut self) {
        self.step(|group, now, out| group.sweep(now, out));
    }

    /// Lets time pass, ticking whenever the group asks for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.monotonic + duration;
        while let Some(deadline) = self.group.deadline().filter(|deadline| *deadline <= end) {
            self.move_clock(deadline.max(self.now.monotonic));
            self.step(|group, now, out| group.tick(now, out));
        }
        self.move_clock(end);
    }

    /// Lets time pass until nobody waits to join.
    fn settle(&mut self) {
        while self.group.members.values().any(|member| member.join.is_some()) {
            let deadline = self.group.deadline().expect("who waits, waits for something");
            self.pass(deadline - self.now.monotonic);
        }
    }

    fn move_clock(&mut self, to: Duration) {
        self.now.wall_ms += i64::try_from((to - self.now.monotonic).as_millis()).expect("short");
        self.now.monotonic = to;
    }

    /// All that was written is safe.
    fn safe(&mut self) {
        while self.next_safe() {}
    }

    fn next_safe(&mut self) -> bool {
        let Some(write) = self.unsafe_writes.pop_front() else { return false };
        self.log.extend(write.records);
        self.step(|group, now, out| group.written(write.id, Ok(()), now, out));
        true
    }

    /// All that was written is lost.
    fn lost(&mut self, error: ResponseError) {
        while let Some(write) = self.unsafe_writes.pop_front() {
            self.step(|group, now, out| group.written(write.id, Err(error), now, out));
        }
    }

    fn waits(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    fn join_answer(&mut self, token: Token) -> Result<Joined, JoinRefused> {
        match self.answers.remove(&token) {
            Some(Answer::Join(answer)) => answer,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn joined(&mut self, token: Token) -> Joined {
        self.join_answer(token).expect("joined")
    }

    fn refused(&mut self, token: Token) -> ResponseError {
        self.join_answer(token).expect_err("refused").error
    }

    fn sync_answer(&mut self, token: Token) -> Result<Synced, ResponseError> {
        match self.answers.remove(&token) {
            Some(Answer::Sync(answer)) => answer,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn offsets_answer(&mut self, token: Token) -> Result<OffsetOutcomes, ResponseError> {
        match self.answers.remove(&token) {
            Some(Answer::Offsets(answer)) => answer,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn deleted_answer(&mut self, token: Token) -> Result<(), ResponseError> {
        match self.answers.remove(&token) {
            Some(Answer::Deleted(answer)) => answer,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    /// So many members join one after the other; the first of them leads.
    fn generation_of(&mut self, members: usize) -> Vec<Joined> {
        let tokens: Vec<Token> = (0..members).map(|_| self.join(newcomer())).collect();
        self.settle();
        let mut joined: Vec<Joined> = tokens.into_iter().map(|token| self.joined(token)).collect();
        joined.sort_by_key(|joined| joined.member_id != joined.leader);
        joined
    }

    /// As [`Self::generation_of`], and each has a part that has its number.
    fn stable_of(&mut self, members: usize) -> Vec<Joined> {
        let joined = self.generation_of(members);
        self.stabilise(&joined);
        joined
    }

    fn stabilise(&mut self, joined: &[Joined]) {
        let parts = joined.iter().enumerate();
        let parts: Vec<_> =
            parts.map(|(i, joined)| (joined.member_id.clone(), Bytes::from(i.to_string()))).collect();
        let tokens: Vec<Token> = joined
            .iter()
            .map(|joined| {
                let assignments = if joined.member_id == joined.leader { parts.clone() } else { Vec::new() };
                self.sync(sync_of(joined, assignments))
            })
            .collect();
        self.safe();
        for token in tokens {
            self.sync_answer(token).expect("synced");
        }
        assert_eq!(self.group.state, GroupState::Stable);
    }

    fn offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.group.offset(partition, false).expect("never unstable").map(|value| value.offset)
    }
}

/// Who has no id yet, of a client that can do without.
fn newcomer() -> Join {
    Join {
        member_id: "".into(),
        instance_id: None,
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: 10 * SECOND,
        rebalance_timeout: 60 * SECOND,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &["orders"])],
        id_suffix: uuid::Uuid::nil(),
        needs_known_id: false,
        may_skip_assignment: false,
    }
}

fn member(id: &Arc<str>) -> Join {
    Join { member_id: Arc::clone(id), ..newcomer() }
}

fn protocol(name: &str, topics: &[&str]) -> Protocol {
    Protocol { name: name.into(), metadata: subscription(topics) }
}

/// A consumer's subscription, version 0, without user data.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

fn sync_of(joined: &Joined, assignments: Vec<(Arc<str>, Bytes)>) -> SyncRequest {
    SyncRequest {
        member_id: Arc::clone(&joined.member_id),
        instance_id: None,
        generation: joined.generation,
        protocol_type: joined.protocol_type.clone(),
        protocol: joined.protocol.clone(),
        assignments,
    }
}

fn caller(member_id: &Arc<str>, generation: i32) -> Caller {
    Caller { member_id: Arc::clone(member_id), instance_id: None, generation }
}

/// Who takes no part in generations.
fn simple() -> Caller {
    caller(&"".into(), -1)
}

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn at(offset: i64) -> OffsetValue {
    OffsetValue { offset, leader_epoch: -1, metadata: "".into(), commit_ms: 1_000_000, expire_ms: None }
}
