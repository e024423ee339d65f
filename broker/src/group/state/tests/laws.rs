//! What holds whatever clients do, whatever is lost, and however late it all is.

use proptest::prelude::*;
use proptest::sample::Index;

use super::loading::reloaded;
use super::*;
use crate::group::input::Leaver;

const CLIENTS: usize = 5;
/// Clients with smaller numbers are dynamic members.
const FIRST_STATIC: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    Join { client: usize, topics: usize, needs_known_id: bool },
    Sync { client: usize },
    Heartbeat { client: usize },
    Commit { client: usize },
    Leave { client: usize },
    Restart { client: usize },
    Pass { millis: u64 },
    Safe,
    Lost { error: Index },
    DeleteOffsets,
    Delete,
    Sweep,
    Failover,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let client = || 0..CLIENTS;
    let join = (client(), 1..3_usize, any::<bool>())
        .prop_map(|(client, topics, needs_known_id)| Action::Join { client, topics, needs_known_id });
    let action = prop_oneof![
        12 => join,
        12 => client().prop_map(|client| Action::Sync { client }),
        4 => client().prop_map(|client| Action::Heartbeat { client }),
        3 => client().prop_map(|client| Action::Commit { client }),
        2 => client().prop_map(|client| Action::Leave { client }),
        2 => client().prop_map(|client| Action::Restart { client }),
        6 => (0..4_000_u64).prop_map(|millis| Action::Pass { millis }),
        1 => (10_000..70_000_u64).prop_map(|millis| Action::Pass { millis }),
        12 => Just(Action::Safe),
        1 => any::<Index>().prop_map(|error| Action::Lost { error }),
        1 => Just(Action::DeleteOffsets),
        1 => Just(Action::Delete),
        1 => Just(Action::Sweep),
        1 => Just(Action::Failover),
    ];
    prop::collection::vec(action, 1..150)
}

/// A client as it sees itself.
#[derive(Debug, Default, Clone)]
struct Client {
    id: Arc<str>,
    joined: Option<Joined>,
    join: Option<Token>,
    sync: Option<(Token, i32)>,
}

/// Clients, a group, and what has been seen of it.
struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// Requests that may not have been answered.
    asked: Vec<Token>,
    /// Who was told to assign, by generation.
    leaders: BTreeMap<i32, Arc<str>>,
    /// Which of the assignments that were sent reached members, by generation.
    assignments: BTreeMap<i32, u64>,
    sent: u64,
    generation: i32,
    /// The log does not tell the newest generation.
    log_is_behind: bool,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            clients: vec![Client::default(); CLIENTS],
            asked: Vec::new(),
            leaders: BTreeMap::new(),
            assignments: BTreeMap::new(),
            sent: 0,
            generation: 0,
            log_is_behind: false,
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Join { client, topics, needs_known_id } => self.join(client, topics, needs_known_id),
            Action::Sync { client } => self.sync(client),
            Action::Heartbeat { client } => self.heartbeat(client),
            Action::Commit { client } => self.commit(client),
            Action::Leave { client } => self.leave(client),
            Action::Restart { client } => self.clients[client] = Client::default(),
            Action::Pass { millis } => self.bench.pass(Duration::from_millis(millis)),
            Action::Safe => self.next_safe(),
            Action::Lost { ref error } => self.lost(error),
            Action::DeleteOffsets => {
                let token = self.bench.token();
                self.asked.push(token);
                self.bench.step(|group, _, out| group.delete_offsets(token, vec![orders(0)], out));
            }
            Action::Delete => {
                let token = self.bench.delete();
                self.asked.push(token);
            }
            Action::Sweep => self.bench.sweep(),
            Action::Failover => self.fail_over(),
        }
        self.read_answers();
        self.check();
    }

    fn instance(client: usize) -> Option<Arc<str>> {
        (client >= FIRST_STATIC).then(|| format!("pod-{client}").into())
    }

    fn join(&mut self, client: usize, topics: usize, needs_known_id: bool) {
        let instance_id = Self::instance(client);
        let token = self.bench.join(Join {
            member_id: Arc::clone(&self.clients[client].id),
            needs_known_id: needs_known_id && instance_id.is_none(),
            instance_id,
            may_skip_assignment: needs_known_id,
            protocols: vec![protocol("range", &["orders", "bills"][..topics])],
            session_timeout: Duration::from_secs(10 + client as u64),
            rebalance_timeout: Duration::from_secs(20 + client as u64),
            ..newcomer()
        });
        self.clients[client].join = Some(token);
        self.asked.push(token);
    }

    fn sync(&mut self, client: usize) {
        let Some(joined) = self.clients[client].joined.clone() else { return };
        self.sent += 1;
        let part = |(i, member): (usize, &crate::group::input::JoinedMember)| {
            (Arc::clone(&member.member_id), Bytes::from(format!("{} {} {i}", joined.generation, self.sent)))
        };
        let assignments = joined.members.iter().enumerate().map(part).collect();
        let instance_id = Self::instance(client);
        let token = self.bench.sync(SyncRequest { instance_id, ..sync_of(&joined, assignments) });
        self.clients[client].sync = Some((token, joined.generation));
        self.asked.push(token);
    }

    fn caller(&self, client: usize) -> Caller {
        let Client { id, joined, .. } = &self.clients[client];
        let generation = joined.as_ref().map_or(-1, |joined| joined.generation);
        Caller { instance_id: Self::instance(client), ..caller(id, generation) }
    }

    fn heartbeat(&mut self, client: usize) {
        let caller = self.caller(client);
        let beaten = self.bench.step(|group, now, _| group.heartbeat(&caller, now));
        if beaten == Err(ResponseError::UnknownMemberId) {
            self.clients[client] = Client::default();
        }
    }

    fn commit(&mut self, client: usize) {
        let offset = at(i64::try_from(self.asked.len()).expect("few"));
        let token = self.bench.commit(self.caller(client), vec![(orders(0), offset)]);
        self.asked.push(token);
    }

    fn leave(&mut self, client: usize) {
        let leavers =
            [Leaver { member_id: Arc::clone(&self.clients[client].id), instance_id: Self::instance(client) }];
        let _ = self.bench.step(|group, now, out| group.leave(&leavers, now, out));
        self.clients[client] = Client::default();
    }

    fn next_safe(&mut self) {
        let Some(write) = self.bench.unsafe_writes.front() else { return };
        let is_membership = |record: &GroupRecord| matches!(record, GroupRecord::Group { .. });
        self.log_is_behind &= !write.records.iter().any(is_membership);
        self.bench.next_safe();
    }

    fn lost(&mut self, error: &Index) {
        use ResponseError::*;
        self.log_is_behind |= !self.bench.unsafe_writes.is_empty();
        self.bench.lost(*error.get(&[
            NotEnoughReplicas,
            NotLeaderOrFollower,
            RequestTimedOut,
            MessageTooLarge,
        ]));
    }

    /// The broker dies with all that was not safe; another reads the log. It may count a generation again that
    /// nobody wrote down.
    fn fail_over(&mut self) {
        let group = reloaded(&self.bench.log, self.bench.now);
        let old = std::mem::replace(&mut self.bench.group, group);
        self.check_reload(&old);
        self.bench.unsafe_writes.clear();
        self.bench.answers.clear();
        self.asked.clear();
        self.leaders.clear();
        self.assignments.clear();
        self.log_is_behind = false;
        self.generation = self.bench.group.generation();
        for client in &mut self.clients {
            (client.join, client.sync) = (None, None);
        }
    }

    /// LAW: who reads the log has the group that was.
    fn check_reload(&self, old: &Group) {
        let new = &self.bench.group;
        let rests = matches!(old.state, GroupState::Stable | GroupState::Empty) && old.in_flight.is_empty();
        if !rests || self.log_is_behind {
            return;
        }
        assert_eq!(new.describe(), old.describe());
        assert_eq!(
            (&new.leader, &new.protocol, new.generation),
            (&old.leader, &old.protocol, old.generation)
        );
        assert_eq!((&new.static_members, &new.subscribed), (&old.static_members, &old.subscribed));
        assert_eq!(new.offsets, old.offsets);
        let timeouts = |group: &Group| -> Vec<(Duration, Duration)> {
            let members = group.members.values();
            members.map(|member| (member.session_timeout, member.rebalance_timeout)).collect()
        };
        assert_eq!(timeouts(new), timeouts(old));
        if old.state == GroupState::Empty && old.generation > 0 {
            assert_eq!(new.state_since_ms, old.state_since_ms);
        }
    }

    fn read_answers(&mut self) {
        for (token, answer) in std::mem::take(&mut self.bench.answers) {
            self.asked.retain(|asked| *asked != token);
            match answer {
                Answer::Join(answer) => self.read_join(token, answer),
                Answer::Sync(answer) => self.read_sync(token, answer),
                Answer::Offsets(_) | Answer::Deleted(_) => {}
            }
        }
    }

    fn read_join(&mut self, token: Token, answer: Result<Joined, JoinRefused>) {
        if let Ok(joined) = &answer
            && !joined.members.is_empty()
            && !joined.skip_assignment
        {
            // LAW: one member leads a generation.
            assert_eq!(joined.leader, joined.member_id);
            let leader = self.leaders.entry(joined.generation).or_insert_with(|| joined.leader.clone());
            assert_eq!(*leader, joined.leader, "leaders of generation {}", joined.generation);
        }
        let Some(client) = self.clients.iter_mut().find(|client| client.join == Some(token)) else { return };
        client.join = None;
        match answer {
            Ok(joined) => (client.id, client.joined) = (Arc::clone(&joined.member_id), Some(joined)),
            Err(JoinRefused { error: ResponseError::MemberIdRequired, member_id }) => client.id = member_id,
            Err(JoinRefused { error: ResponseError::RebalanceInProgress, .. }) => {}
            Err(_) => *client = Client::default(),
        }
    }

    fn read_sync(&mut self, token: Token, answer: Result<Synced, ResponseError>) {
        let mut clients = self.clients.iter_mut();
        let client = clients.find(|client| client.sync.is_some_and(|(asked, _)| asked == token));
        let Some((_, generation)) = client.and_then(|client| client.sync.take()) else { return };
        let Ok(Synced { assignment, .. }) = answer else { return };
        if assignment.is_empty() {
            return; // Not there yet when the leader was told of the others.
        }
        // LAW: all parts of a generation are of one assignment by its leader.
        let text = str::from_utf8(&assignment).expect("ours");
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().expect("ours")).collect();
        assert_eq!(numbers[0], u64::try_from(generation).expect("positive"));
        let sent = self.assignments.entry(generation).or_insert(numbers[1]);
        assert_eq!(*sent, numbers[1], "assignments of generation {generation}");
    }

    fn check(&mut self) {
        let group = &self.bench.group;
        // LAW: generations grow.
        assert!(group.generation >= self.generation || group.state == GroupState::Dead);
        self.generation = group.generation;
        // LAW: each part is one member's.
        let mut parts: Vec<&Bytes> = group.members.values().map(|member| &member.assignment).collect();
        parts.retain(|part| !part.is_empty());
        let all = parts.len();
        parts.sort();
        parts.dedup();
        assert_eq!(parts.len(), all);
        self.check_lists();
        self.check_nobody_is_forgotten();
        if group.is_gone() {
            // The shard would begin another.
            let group = Group::new("readers".into(), Arc::new(GroupLimits::default()), self.bench.now);
            self.bench.group = group;
            self.bench.log.clear();
            self.generation = 0;
            self.leaders.clear();
            self.assignments.clear();
            self.log_is_behind = false;
        }
    }

    fn check_lists(&self) {
        let group = &self.bench.group;
        assert_eq!(group.leader.is_some(), !group.members.is_empty());
        assert!(group.leader.as_ref().is_none_or(|leader| group.members.contains_key(leader)));
        let fixed = group
            .members
            .values()
            .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())));
        assert_eq!(fixed.collect::<BTreeMap<_, _>>(), group.static_members);
        let mut counts = BTreeMap::new();
        for protocol in group.members.values().flat_map(|member| &member.protocols) {
            *counts.entry(Arc::clone(&protocol.name)).or_insert(0) += 1;
        }
        assert_eq!(counts, group.protocol_counts);
        assert!(group.pending_sync.iter().all(|id| group.members.contains_key(id)));
        assert!(group.pending_members.keys().all(|id| !group.members.contains_key(id)));
        assert_eq!(group.rebalance.is_some(), group.state == GroupState::PreparingRebalance);
        if matches!(group.state, GroupState::Empty | GroupState::Dead) {
            assert_eq!(group.members.len(), 0);
        }
    }

    /// LAW: who waits is known to the group, and the group waits for something.
    fn check_nobody_is_forgotten(&self) {
        let group = &self.bench.group;
        let parked = group.members.values().filter_map(|member| member.join.or(member.sync)).count();
        let written = group.in_flight.len();
        assert!(self.asked.len() <= parked + written, "{:?} wait", self.asked);
        assert!(parked == 0 || group.deadline().is_some() || written > 0);
    }

    /// LAW: everybody is answered in the end.
    fn end(mut self) {
        while !self.bench.unsafe_writes.is_empty() {
            self.bench.safe();
            self.read_answers();
        }
        for _ in 0..400 {
            self.bench.pass(SECOND);
            self.bench.safe();
        }
        self.read_answers();
        assert_eq!(self.asked, []);
    }
}

proptest! {
    #[test]
    fn whatever_clients_do_the_laws_hold(actions in actions()) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
        }
        world.end();
    }
}
