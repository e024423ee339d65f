//! One group: Kafka's `GroupMetadata`, with the half of `GroupCoordinator` that decides.
//!
//! ```text
//!           first join                all joined, or out of time
//!   Empty ────────────► PreparingRebalance ────────────► CompletingRebalance
//!     ▲                   │   ▲      ▲                      │         │
//!     └───────────────────┘   │      └──────────────────────┘         │ the leader's assignment
//!       nobody is left        │        somebody comes, goes,          ▼ is safe on the log
//!                             └──────── or changes ───────────────  Stable
//! ```
//!
//! From Empty, a group that is deleted or has nothing left to remember becomes Dead.
//!
//! A machine of values: time comes in, answers and writes go out, in [`Outputs`]. Nothing here reads a clock, draws a
//! number or waits.

mod generation;
mod join;
mod leave;
mod load;
mod offsets;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;
mod view;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;

use super::input::{Now, Outputs, Write, WriteId};
use super::limits::GroupLimits;
use super::member::{Member, Protocol};
use super::offsets::Offsets;
use super::records::GroupRecord;
use written::InFlight;

pub use view::{GroupDescription, MemberDescription};

/// The type of protocol consumers have: its metadata is what they subscribe to.
pub(super) const CONSUMER: &str = "consumer";

/// How long a new member's join may wait before it is taken for lost.
///
/// It has no id, or not known it for long, and cannot send heartbeats; its session timeout would be too short for a
/// long rebalance. `GroupCoordinator.NewMemberJoinTimeoutMs`.
pub(super) const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

/// Ids given out and not yet used, for each group. Beyond it the oldest is forgotten: its client asks for another.
pub(super) const PENDING_MEMBERS_MAX: usize = 10_000;

/// What a group is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// Nobody is in it; its offsets are remembered.
    Empty,
    /// All members are to join again.
    PreparingRebalance,
    /// All have joined; the leader is to bring the assignment.
    CompletingRebalance,
    /// Everybody has a part.
    Stable,
    /// Deleted, or no longer ours.
    Dead,
}

impl GroupState {
    /// As Kafka spells it in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long [`GroupState::PreparingRebalance`] may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rebalance {
    deadline: Duration,
    /// In the first rebalance after the group was empty, nobody knows who will come: it lasts to the deadline, which
    /// moves by so much at most if new members keep coming. `None` if it is over as soon as all have joined.
    extendable: Option<Duration>,
}

/// A group of this broker.
///
/// Invariants: `leader` is a member, if there are members; members share a protocol; `static_members` names the
/// members that have an instance id, each once; only members that do not wait for an answer expire, or new ones.
#[derive(Debug)]
pub struct Group {
    id: Arc<str>,
    limits: Arc<GroupLimits>,
    state: GroupState,
    /// Milliseconds since 1970; unknown if loaded from a record written before Kafka 2.1.
    state_since_ms: Option<i64>,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    generation: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out and not yet used, with when each is forgotten.
    pending_members: BTreeMap<Arc<str>, Duration>,
    /// Of how many members each protocol is known.
    protocol_counts: BTreeMap<Arc<str>, usize>,
    /// Members that have not asked for their part of this generation.
    pending_sync: BTreeSet<Arc<str>>,
    /// When those are removed.
    sync_deadline: Duration,
    rebalance: Option<Rebalance>,
    /// Somebody came during the first rebalance, so others may follow.
    new_member_added: bool,
    /// Topics this generation reads; `None` if unknown.
    subscribed: Option<BTreeSet<Arc<str>>>,
    offsets: Offsets,
    next_write: u64,
    in_flight: BTreeMap<WriteId, InFlight>,
}

impl Group {
    /// A group nobody has heard of yet.
    pub fn new(id: Arc<str>, limits: Arc<GroupLimits>, now: Now) -> Self {
        Self {
            id,
            limits,
            state: GroupState::Empty,
            state_since_ms: Some(now.wall_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            protocol_counts: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: Duration::ZERO,
            rebalance: None,
            new_member_added: false,
            subscribed: None,
            offsets: Offsets::default(),
            next_write: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// Its name.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What it is about.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Nothing of it is left: it may be dropped.
    pub fn is_gone(&self) -> bool {
        self.state == GroupState::Dead && self.in_flight.is_empty()
    }

    /// There is nothing to remember of it, as if nobody had ever heard of it.
    pub fn is_blank(&self) -> bool {
        self.state == GroupState::Empty
            && self.generation == 0
            && self.pending_members.is_empty()
            && self.in_flight.is_empty()
            && self.offsets.committed().is_empty()
    }

    /// When to call [`tick`](Self::tick) next, if nothing happens before; on the monotonic clock.
    pub fn deadline(&self) -> Option<Duration> {
        let members = self.members.values().filter_map(Member::deadline).min();
        let pending = self.pending_members.values().min().copied();
        let rebalance = self.rebalance.map(|rebalance| rebalance.deadline);
        let sync = (!self.pending_sync.is_empty()).then_some(self.sync_deadline);
        [members, pending, rebalance, sync].into_iter().flatten().min()
    }

    /// Ends what has lasted too long: sessions, ids nobody used, rebalances.
    pub fn tick(&mut self, now: Now, out: &mut Outputs) {
        if self.state == GroupState::Dead {
            return;
        }
        self.pending_members.retain(|_, expires| *expires > now.monotonic);
        let silent: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.deadline().is_some_and(|deadline| deadline <= now.monotonic))
            .map(|member| Arc::clone(&member.id))
            .collect();
        for member in silent {
            tracing::info!(group = %self.id, %member, "member removed, its session has expired");
            self.remove_and_rebalance(&member, now, out);
        }
        self.end_overdue_syncs(now, out);
        self.advance_rebalance(now, out);
    }

    fn become_state(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    /// Is `member_id` a member, and the one that `instance_id` stands for, if it stands for any?
    fn check_member(&self, member_id: &str, instance_id: Option<&Arc<str>>) -> Result<(), ResponseError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if !self.members.contains_key(member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        Ok(())
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// How long the slowest member may take to join again.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn count_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.protocol_counts.entry(Arc::clone(&protocol.name)).or_default() += 1;
        }
    }

    fn uncount_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.protocol_counts.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.protocol_counts.remove(&protocol.name);
                }
            }
        }
    }

    fn insert_member(&mut self, member: Member) {
        let id = Arc::clone(&member.id);
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&id));
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&id));
        }
        self.count_protocols(&member.protocols);
        self.pending_members.remove(&id);
        self.members.insert(id, member);
    }

    /// Takes a member out, answering what it waits for. Another becomes leader if it was.
    fn remove_member(&mut self, member_id: &str, out: &mut Outputs) {
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
        let Some(member) = self.members.remove(member_id) else { return };
        self.uncount_protocols(&member.protocols);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some(token) = member.join {
            out.refuse_join(token, ResponseError::UnknownMemberId, &"".into());
        }
        if let Some(token) = member.sync {
            out.sync(token, Err(ResponseError::UnknownMemberId));
        }
    }

    /// Has `records` written; `in_flight` says what follows when their fate is known.
    fn write(&mut self, records: Vec<GroupRecord>, in_flight: InFlight, out: &mut Outputs) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.in_flight.insert(id, in_flight);
        out.writes.push(Write { id, records });
        id
    }
}
