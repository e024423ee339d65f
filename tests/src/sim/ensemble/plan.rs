//! What a seed decides before anything happens: who belongs to the ensemble, how fast everything is, and what goes
//! wrong how often. Each run has some kinds of faults and not others, so that rare ones meet quiet surroundings too.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use server::config::{Membership, Role, ServerId};
use server::zab::{Epoch, PeerConfig, Quorum, Zxid};

use super::members::member;

/// A range of durations, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(u64, u64);

impl Span {
    pub(super) fn draw(self, dice: &mut StdRng) -> Duration {
        Duration::from_micros(dice.random_range(self.0..=self.1))
    }
}

/// One run, before it begins.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) voters: usize,
    pub(super) observers: usize,
    pub(super) membership: Membership,
    pub(super) quorum: Quorum,
    /// Servers come, go and change.
    pub(super) reconfigures: bool,
    pub(super) tick: Duration,
    pub(super) init_limit: Duration,
    pub(super) sync_limit: Duration,
    pub(super) window_txns_max: usize,
    /// What every server has from the beginning.
    pub(super) origin: Zxid,
    /// Some epochs end soon.
    pub(super) epoch_txns_max: u32,
    /// Faults end here.
    pub(super) peace_at: Duration,
    pub(super) latency: Span,
    pub(super) fsync: Span,
    /// Between two requests of clients.
    pub(super) request_interval: Span,
    pub(super) faults: Faults,
}

/// How likely each fault is; 0 in runs without it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Between two faults of those that come by themselves.
    pub(super) interval: Option<Span>,
    /// Weights of the kinds: crash, cut, one-way cut, heal, pause, broken link, slow disk.
    pub(super) kinds: [u32; 7],
    /// Of a vote to be lost, and to come twice.
    pub(super) vote_lost: f64,
    pub(super) vote_doubled: f64,
    /// Of a vote to lie about the voter's history: whoever is elected, nothing may be lost.
    pub(super) vote_lies: f64,
    /// Of a crash between a disk's work and its answer, or of that work failing.
    pub(super) crash_at_disk: f64,
    /// Of a crash while a step's outputs are carried out.
    pub(super) crash_at_step: f64,
    /// Of the same while servers synchronise.
    pub(super) crash_at_sync: f64,
    /// Of a snapshot of the tree after a txn, and of the log being purged then.
    pub(super) cut: f64,
    pub(super) purge: f64,
    /// Of a disk to refuse to cut its log, though it could.
    pub(super) trunc_refused: f64,
    /// Of a request to be a leader's wish to hand over.
    pub(super) hand_over: f64,
}

impl Plan {
    pub(super) fn new(dice: &mut StdRng) -> Self {
        let (voters, observers, groups, weights): (_, _, &[&[i64]], &[(i64, u32)]) =
            match dice.random_range(0..20) {
                0..9 => (3, 0, &[], &[]),
                9..11 => (3, 1, &[], &[]),
                11..15 => (5, 0, &[], &[]),
                15 => (5, 1, &[], &[]),
                16 => (4, 0, &[], &[]),
                // Two that weigh nothing.
                17 => (5, 0, &[&[1, 2, 3], &[4, 5]], &[(4, 0), (5, 0)]),
                18 => (6, 1, &[&[1, 2], &[3, 4], &[5, 6]], &[(1, 2)]),
                _ => (7, 0, &[&[1, 2, 3], &[4, 5], &[6, 7]], &[(4, 3)]),
            };
        let tick = Duration::from_millis([50, 100, 400][dice.random_range(0..3)]);
        let slow = dice.random_bool(0.2);
        let origin = match dice.random_range(0..10) {
            0..7 => Zxid::ZERO,
            7..9 => Zxid::new(Epoch(3), 7),
            _ => Zxid::new(Epoch(1), u32::MAX - dice.random_range(1..40)),
        };
        let membership = membership(voters, groups, weights);
        let mut plan = Self {
            voters,
            observers,
            quorum: Quorum::new(&membership),
            membership,
            reconfigures: false,
            tick,
            init_limit: tick * dice.random_range(5..12),
            sync_limit: tick * dice.random_range(2..6),
            window_txns_max: [0, 3, 10, 500][dice.random_range(0..4)],
            origin,
            peace_at: Duration::from_millis(dice.random_range(2000..8000)),
            latency: if slow { Span(500, 30_000) } else { Span(50, 3000) },
            fsync: if slow { Span(500, 40_000) } else { Span(100, 4000) },
            request_interval: Span(500, dice.random_range(5_000..150_000)),
            faults: Faults::new(dice),
            epoch_txns_max: Zxid::COUNTER_MAX,
        };
        if dice.random_bool(0.1) {
            plan.shorten_epochs();
        }
        plan
    }

    /// So that they last about a second and a half under load: a slow server must be able to join meanwhile.
    fn shorten_epochs(&mut self) {
        let Span(shortest, longest) = self.request_interval;
        let txns = 1_500_000 / u64::midpoint(shortest, longest);
        self.epoch_txns_max = u32::try_from(txns).unwrap_or(u32::MAX).max(30);
    }

    /// Three found the ensemble; who belongs to it later is anybody's guess.
    pub(super) fn reconfigure(&mut self) {
        self.reconfigures = true;
        self.membership = membership(self.voters.min(3), &[], &[]);
        self.quorum = Quorum::new(&self.membership);
        // Where one votes alone, a short epoch ends before anybody else is in step.
        self.epoch_txns_max = Zxid::COUNTER_MAX;
    }

    pub(super) fn servers(&self) -> usize {
        self.voters + self.observers
    }

    /// How the peer of the `at`th server is told.
    pub(super) fn peer_config(
        &self,
        at: usize,
        known: Option<(Membership, Option<Membership>)>,
    ) -> PeerConfig {
        let (membership, next) = known.unwrap_or_else(|| (self.membership.clone(), None));
        PeerConfig {
            me: id_of(at),
            membership,
            next,
            reconfig: self.reconfigures,
            is_observer: at >= self.voters,
            maybe_lost: false,
            tick: self.tick,
            init_limit: self.init_limit,
            sync_limit: self.sync_limit,
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_millis(3200),
            window_txns_max: self.window_txns_max,
            epoch_txns_max: self.epoch_txns_max,
        }
    }
}

impl Faults {
    fn new(dice: &mut StdRng) -> Self {
        if dice.random_bool(0.05) {
            return Self { cut: 0.05, purge: 0.3, ..Self::default() };
        }
        let mut some = |p: f64, values: [f64; 2]| {
            if dice.random_bool(p) { values[usize::from(dice.random_bool(0.3))] } else { 0.0 }
        };
        let (vote_lost, vote_doubled) = (some(0.5, [0.05, 0.3]), some(0.5, [0.05, 0.3]));
        let vote_lies = some(0.2, [0.1, 0.5]);
        let crash_at_disk = some(0.5, [0.002, 0.01]);
        let crash_at_step = some(0.5, [0.001, 0.004]);
        let crash_at_sync = some(0.5, [0.02, 0.06]);
        let (cut, purge, hand_over) =
            (some(0.7, [0.02, 0.2]), some(0.7, [0.2, 0.8]), some(0.3, [0.01, 0.05]));
        let trunc_refused = some(0.3, [0.3, 0.6]);
        let kinds = std::array::from_fn(|_| if dice.random_bool(0.6) { dice.random_range(1..10) } else { 0 });
        let interval = Span(5_000, [100_000, 300_000, 1_000_000][dice.random_range(0..3)]);
        Self {
            interval: (kinds != [0; 7]).then_some(interval),
            kinds,
            vote_lost,
            vote_doubled,
            vote_lies,
            crash_at_disk,
            crash_at_step,
            crash_at_sync,
            cut,
            purge,
            trunc_refused,
            hand_over,
        }
    }
}

/// The number of the server at this place.
pub(super) fn id_of(at: usize) -> ServerId {
    ServerId(i64::try_from(at + 1).expect("a handful of servers"))
}

/// The place of the server with this number.
pub(super) fn place_of(id: ServerId) -> usize {
    usize::try_from(id.0 - 1).expect("one of the ensemble")
}

fn membership(voters: usize, groups: &[&[i64]], weights: &[(i64, u32)]) -> Membership {
    let members = (0..voters).map(|at| (id_of(at), member(at, Role::Participant, false))).collect();
    let groups = groups.iter().map(|members| members.iter().copied().map(ServerId).collect());
    let groups = (1..).zip(groups).collect();
    let weights = weights.iter().map(|(id, weight)| (ServerId(*id), *weight)).collect();
    Membership { members, groups, weights, version: 0 }
}

/// All that follows from a seed follows from these.
pub(super) fn dice(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
