//! The loop: the next thing that is due happens, and what it leads to becomes due.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use server::zab::{Epoch, Input, Notification, Packet, Peer, Zxid};

use super::act::carry_out;
use super::checker::Checker;
use super::disk::{Disk, Txn, Work};
use super::machine::{Machine, Role};
use super::mutant::Mutant;
use super::network::{End, Frame, LinkKey, Network};
use super::plan::{Plan, dice, id_of};
use super::{Stats, members, trace};

/// Of a request to be for another membership.
const RECONFIG_LIKELY: f64 = 0.08;

/// No run has so many events, unless it runs in circles.
const EVENTS_MAX: u64 = 3_000_000;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A server's deadline, in one of its lives.
    Tick(usize, u32),
    /// Something may have arrived at an end of a link.
    Mail(LinkKey, usize),
    /// A dialing arrives, or has failed.
    Dialed(LinkKey),
    DialFailed(LinkKey),
    Vote {
        from: usize,
        to: usize,
        notification: Notification,
    },
    /// A disk is done with what it is at.
    DiskDone(usize, u32),
    /// A bug has a server believe this.
    Imagined(usize, u32, Input),
    Start(usize),
    Request,
    Fault,
}

/// One server, dead or alive.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) disk: Disk,
    pub(super) life: u32,
    pub(super) machine: Option<Machine>,
    /// What its disk has to do, and whether that was answered already.
    pub(super) queue: VecDeque<(Work, bool)>,
    /// How many records are on their way to the disk, or else whether it is at other work.
    pub(super) syncing: usize,
    pub(super) is_busy: bool,
    pub(super) paused_until: Duration,
    pub(super) slow_until: Duration,
    tick_at: Option<Duration>,
}

/// An ensemble, and all that can happen to it.
pub struct World {
    pub(super) plan: Plan,
    pub(super) dice: StdRng,
    pub(super) now: Duration,
    agenda: BTreeMap<(Duration, u64), Event>,
    events: u64,
    pub(super) network: Network,
    pub(super) servers: Vec<Server>,
    pub(super) checker: Checker,
    pub(super) is_peaceful: bool,
    pub(super) mutant: Option<Mutant>,
    pub(super) is_traced: bool,
    requests: u64,
    pub(super) stats: Stats,
}

impl World {
    /// The world of a seed, with a bug if there is to be one.
    #[must_use]
    pub fn new(seed: u64, mutant: Option<Mutant>, is_traced: bool) -> Self {
        let mut dice = dice(seed);
        let plan = Plan::new(&mut dice);
        trace!(is_traced, "{plan:#?}");
        let count = plan.servers();
        let origin: Option<Txn> = (plan.origin.0 != 0).then_some((plan.origin, 0));
        let server = |_| Server {
            disk: Disk::new(origin),
            life: 0,
            machine: None,
            queue: VecDeque::new(),
            syncing: 0,
            is_busy: false,
            paused_until: Duration::ZERO,
            slow_until: Duration::ZERO,
            tick_at: None,
        };
        Self {
            network: Network::new(count),
            servers: (0..count).map(server).collect(),
            checker: Checker::new(count, origin),
            plan,
            dice,
            now: Duration::ZERO,
            agenda: BTreeMap::new(),
            events: 0,
            is_peaceful: false,
            mutant,
            is_traced,
            requests: 0,
            stats: Stats::default(),
        }
    }

    /// The same, with servers that come, go and change.
    #[must_use]
    pub fn reconfiguring(mut self) -> Self {
        self.plan.reconfigure();
        self
    }

    /// Lives through all faults, heals, and sees whether the ensemble gets on.
    ///
    /// # Errors
    /// When a promise was broken.
    pub fn run(mut self) -> Result<Stats> {
        self.live().with_context(|| format!("after {:?} and {} events", self.now, self.events))?;
        self.stats.delivered += self.checker.delivered().len() as u64;
        let delivered = self.checker.delivered().iter();
        let reconfigs = delivered.filter(|(zxid, value)| members::membership_of(*zxid, *value).is_some());
        self.stats.reconfigs += reconfigs.count() as u64;
        self.stats.events += self.events;
        Ok(self.stats)
    }

    fn live(&mut self) -> Result<()> {
        for at in 0..self.servers.len() {
            let delay = Duration::from_micros(self.dice.random_range(0..200_000));
            self.later(delay, Event::Start(at));
        }
        self.later(Duration::from_millis(100), Event::Request);
        if let Some(interval) = self.plan.faults.interval {
            let delay = interval.draw(&mut self.dice);
            self.later(delay, Event::Fault);
        }
        self.run_until(self.plan.peace_at)?;
        self.make_peace();
        self.see_progress()
    }

    /// `Progress`: from now on nothing goes wrong, so everybody serves soon, and everybody gets a new txn.
    fn see_progress(&mut self) -> Result<()> {
        let limit = self.now + self.plan.init_limit * 8 + Duration::from_secs(20);
        let mut asked = None;
        while self.now < limit {
            self.run_until(self.now + Duration::from_millis(20))?;
            if !self.is_whole() {
                asked = None;
                continue;
            }
            let asked = *asked.get_or_insert_with(|| self.checker.delivered().len());
            let behind = |server: &Server| {
                server.machine.as_ref().is_none_or(|machine| machine.tree.0.len() < asked + 3)
            };
            if !self.servers.iter().any(behind) {
                return Ok(());
            }
        }
        let peers = self.servers.iter().map(|server| Some(server.machine.as_ref()?.peer.status()));
        bail!("Progress: everything was healed, and still: {:?}", peers.collect::<Vec<_>>())
    }

    /// One leads, and everybody follows it.
    fn is_whole(&self) -> bool {
        let roles = || self.servers.iter().map(|server| server.machine.as_ref().map(|machine| machine.role));
        let Some(epoch) = roles().find_map(|role| match role {
            Some(Role::Leads(epoch)) => Some(epoch),
            _ => None,
        }) else {
            return false;
        };
        roles().all(|role| matches!(role, Some(Role::Leads(own) | Role::Follows(own)) if own == epoch))
    }

    fn run_until(&mut self, end: Duration) -> Result<()> {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((due, _), event) = entry.remove_entry();
            self.now = due;
            self.events += 1;
            ensure!(self.events < EVENTS_MAX, "Progress: it runs in circles");
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    pub(super) fn later(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, due: Duration, event: Event) {
        // The number keeps what is due at the same time in order.
        self.stats.scheduled += 1;
        self.agenda.insert((due, self.stats.scheduled), event);
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        let whose = match &event {
            Event::Tick(at, life) | Event::DiskDone(at, life) | Event::Imagined(at, life, _) => {
                if self.servers[*at].life != *life {
                    return Ok(());
                }
                Some(*at)
            }
            Event::Mail(key, end) => self.network.end((*key, *end)).map(|end| end.server),
            Event::Dialed(key) => self.network.end((*key, 1)).map(|end| end.server),
            Event::DialFailed(key) => self.network.end((*key, 0)).map(|end| end.server),
            Event::Vote { to, .. } => Some(*to),
            Event::Start(_) | Event::Request | Event::Fault => None,
        };
        if let Some(at) = whose
            && self.servers[at].paused_until > self.now
        {
            self.at(self.servers[at].paused_until, event);
            return Ok(());
        }
        match event {
            Event::Tick(at, _) => self.on_tick(at),
            Event::Mail(key, end) => self.on_mail((key, end)),
            Event::Dialed(key) => self.on_dialed(key),
            Event::DialFailed(key) => self.on_dial_failed(key),
            Event::Vote { from, to, notification } => self.on_vote(from, to, notification),
            Event::DiskDone(at, _) => self.on_disk_done(at),
            Event::Imagined(at, _, input) => self.step(at, input),
            Event::Start(at) => self.start(at),
            Event::Request => self.on_request(),
            Event::Fault => self.on_fault(),
        }
    }

    pub(super) fn start(&mut self, at: usize) -> Result<()> {
        if self.servers[at].machine.is_some() {
            return Ok(());
        }
        let server = &mut self.servers[at];
        let (history, tree) = server.disk.recover();
        let known = server.disk.memberships(&tree);
        trace!(self.is_traced, "{:?} {} starts with {history:?}", self.now, id_of(at));
        let mut machine = Machine::new(Peer::new(self.plan.peer_config(at, known), history), tree);
        machine.swaps = self.mutant == Some(Mutant::CommitOutOfOrder);
        server.machine = Some(machine);
        self.step(at, Input::Tick)
    }

    /// The power goes.
    pub(super) fn crash(&mut self, at: usize) {
        if self.servers[at].machine.take().is_none() {
            return;
        }
        trace!(self.is_traced, "{:?} {} crashes", self.now, id_of(at));
        self.stats.crashes += 1;
        let server = &mut self.servers[at];
        server.life += 1;
        let under_way = server.queue.pop_front();
        server.queue.clear();
        if let Some((work, _)) = under_way
            && server.is_busy
            && server.syncing == 0
            && self.dice.random_bool(0.5)
        {
            carry_out(self.mutant, &mut server.disk, work, true);
        }
        (server.is_busy, server.syncing, server.tick_at) = (false, 0, None);
        server.disk.crash(&mut self.dice);
        for end in self.network.ends_of(at) {
            self.hang_up(end, true);
        }
        let delay = if self.dice.random_bool(0.5) { 20_000 } else { 1_500_000 };
        let delay = Duration::from_micros(self.dice.random_range(500..delay));
        self.later(delay, Event::Start(at));
    }

    /// Closes an end; the other one hears of it. What was sent before may be lost.
    pub(super) fn hang_up(&mut self, end: (LinkKey, usize), may_lose: bool) {
        if let Some(other) = self.network.close(end) {
            if may_lose && self.dice.random_bool(0.5) {
                self.network.lose(other, &mut self.dice);
            }
            self.post(other, Frame::Down);
        }
    }

    pub(super) fn post(&mut self, end: (LinkKey, usize), frame: Frame) {
        let due = self.now + self.plan.latency.draw(&mut self.dice);
        if let Some(due) = self.network.post(end, due, frame) {
            self.at(due, Event::Mail(end.0, end.1));
        }
    }

    pub(super) fn step(&mut self, at: usize, input: Input) -> Result<()> {
        let mut effects = Vec::new();
        let Some(machine) = &mut self.servers[at].machine else {
            return Ok(());
        };
        trace!(self.is_traced && !is_dull(&input), "{:?} {} <- {input:?}", self.now, id_of(at));
        machine.step(input, self.now, &mut effects);
        self.act(at, effects)
    }

    pub(super) fn set_alarm(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let Some(due) = server.machine.as_ref().and_then(|machine| machine.peer.deadline()) else {
            return;
        };
        let due = due.max(self.now);
        if server.tick_at.is_none_or(|earlier| due < earlier) {
            server.tick_at = Some(due);
            let event = Event::Tick(at, server.life);
            self.at(due, event);
        }
    }

    fn on_tick(&mut self, at: usize) -> Result<()> {
        let server = &mut self.servers[at];
        if server.tick_at.is_some_and(|due| due > self.now) {
            return Ok(()); // Another one is earlier.
        }
        server.tick_at = None;
        let due = server.machine.as_ref().and_then(|machine| machine.peer.deadline());
        if due.is_some_and(|due| due <= self.now) {
            return self.step(at, Input::Tick);
        }
        self.set_alarm(at);
        Ok(())
    }

    fn on_vote(&mut self, from: usize, to: usize, mut notification: Notification) -> Result<()> {
        if self.network.is_cut(from, to) {
            return Ok(());
        }
        if let Some(mutant) = self.mutant {
            notification = mutant.misread_vote(notification, self.servers[to].disk.epochs().current);
        }
        if !self.is_peaceful && self.dice.random_bool(self.plan.faults.vote_lies) {
            notification.vote.peer_epoch = Epoch(self.dice.random_range(0..6));
            notification.vote.zxid = Zxid::new(notification.vote.peer_epoch, self.dice.random_range(0..99));
        }
        self.step(to, Input::Notification { from: id_of(from), notification })
    }

    fn on_mail(&mut self, end: (LinkKey, usize)) -> Result<()> {
        loop {
            let Some(&End { server: at, life, id, .. }) = self.network.end(end) else {
                return Ok(());
            };
            if self.servers[at].life != life || self.servers[at].machine.is_none() {
                return Ok(());
            }
            let Some(frame) = self.network.take(end, self.now) else {
                return Ok(());
            };
            let input = match frame {
                Frame::Up => Input::LinkUp(id),
                Frame::Packet(packet) => {
                    let packet = self.mutant.map_or(packet.clone(), |mutant| mutant.misread(packet));
                    Input::Packet { link: id, packet }
                }
                Frame::Tree(tree) => {
                    if let Some(machine) = &mut self.servers[at].machine {
                        machine.received = Some(tree);
                    }
                    Input::SnapshotReceived { link: id }
                }
                Frame::Down => {
                    self.network.close(end);
                    Input::LinkDown(id)
                }
            };
            self.step(at, input)?;
        }
    }

    fn on_dialed(&mut self, key: LinkKey) -> Result<()> {
        let (Some(from), Some(to)) = (self.network.end((key, 0)), self.network.end((key, 1))) else {
            return Ok(());
        };
        let (from, to) = (from.server, to.server);
        if self.network.is_cut(from, to) || self.network.is_cut(to, from) {
            self.later(self.plan.tick * 4, Event::DialFailed(key));
            return Ok(());
        }
        let life = self.servers[to].life;
        if self.servers[to].machine.is_none() {
            let delay = self.plan.latency.draw(&mut self.dice);
            self.later(delay, Event::DialFailed(key));
            return Ok(());
        }
        if let Some(id) = self.network.accept(key, life) {
            self.post((key, 0), Frame::Up);
            return self.step(to, Input::LinkUp(id));
        }
        Ok(())
    }

    fn on_dial_failed(&mut self, key: LinkKey) -> Result<()> {
        let Some(&End { server, life, id, .. }) = self.network.end((key, 0)) else {
            return Ok(());
        };
        self.network.close((key, 0));
        if self.servers[server].life == life { self.step(server, Input::LinkDown(id)) } else { Ok(()) }
    }

    /// Somebody wants something of some server.
    fn on_request(&mut self) -> Result<()> {
        let delay = self.plan.request_interval.draw(&mut self.dice);
        self.later(delay, Event::Request);
        let at = self.dice.random_range(0..self.servers.len());
        if self.servers[at].paused_until > self.now {
            return Ok(());
        }
        let hands_over = !self.is_peaceful && self.dice.random_bool(self.plan.faults.hand_over);
        let count = if self.dice.random_bool(0.2) { self.dice.random_range(1..12) } else { 1 };
        let mut effects = Vec::new();
        let Some(machine) = &mut self.servers[at].machine else { return Ok(()) };
        if hands_over {
            machine.hand_over(self.now, &mut effects);
        } else {
            for _ in 0..count {
                self.requests += 1;
                let reconfigures =
                    self.plan.reconfigures && !self.is_peaceful && self.dice.random_bool(RECONFIG_LIKELY);
                let value = if reconfigures {
                    members::draw(self.plan.servers(), self.requests, &mut self.dice)
                } else {
                    self.requests
                };
                machine.request(value, self.now, &mut effects);
            }
        }
        self.act(at, effects)
    }
}

fn is_dull(input: &Input) -> bool {
    matches!(input, Input::Tick | Input::Packet { packet: Packet::Ping { .. }, .. })
}
