//! The faults that come by themselves, and the peace after them.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;

use super::machine::Role;
use super::network::Frame;
use super::plan::id_of;
use super::trace;
use super::world::{Event, World};

impl World {
    pub(super) fn on_fault(&mut self) -> Result<()> {
        let (false, Some(interval)) = (self.is_peaceful, self.plan.faults.interval) else {
            return Ok(());
        };
        let delay = interval.draw(&mut self.dice);
        self.later(delay, Event::Fault);
        let kinds = self.plan.faults.kinds;
        let mut drawn = self.dice.random_range(0..kinds.iter().sum());
        let kind = kinds.iter().position(|weight| match u32::checked_sub(drawn, *weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        match kind {
            Some(0) => {
                let at = self.somebody();
                self.crash(at);
            }
            Some(1) => self.partition(),
            Some(2) => self.cut_one_way(),
            Some(3) => self.heal(),
            Some(4) => {
                let at = self.somebody();
                let longest = self.plan.sync_limit * 3;
                self.servers[at].paused_until = self.now + self.up_to(longest);
                trace!(self.is_traced, "{:?} {} is paused", self.now, id_of(at));
            }
            Some(5) => self.break_link(),
            _ => {
                let at = self.somebody();
                let longest = self.plan.sync_limit * 2;
                self.servers[at].slow_until = self.now + self.up_to(longest);
            }
        }
        Ok(())
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.dice.random::<f64>())
    }

    /// Often whoever leads.
    fn somebody(&mut self) -> usize {
        let leads = |server: &super::world::Server| {
            server.machine.as_ref().is_some_and(|machine| matches!(machine.role, Role::Leads(_)))
        };
        match self.servers.iter().position(leads) {
            Some(leader) if self.dice.random_bool(0.4) => leader,
            _ => self.dice.random_range(0..self.servers.len()),
        }
    }

    fn partition(&mut self) {
        let sides: Vec<bool> = match self.dice.random_bool(0.4) {
            true => {
                let alone = self.somebody();
                (0..self.servers.len()).map(|at| at == alone).collect()
            }
            false => (0..self.servers.len()).map(|_| self.dice.random_bool(0.5)).collect(),
        };
        trace!(self.is_traced, "{:?} partition {sides:?}", self.now);
        for (from, to) in self.ways() {
            if sides[from] != sides[to] {
                self.network.cut(from, to);
            }
        }
    }

    /// One server hears nobody, or nobody hears it; or one way between two is cut.
    fn cut_one_way(&mut self) {
        let at = self.somebody();
        let other = self.dice.random_range(0..self.servers.len());
        let kind = self.dice.random_range(0..3);
        trace!(self.is_traced, "{:?} one way cut, kind {kind} at {}", self.now, id_of(at));
        for (from, to) in self.ways() {
            let is_cut = match kind {
                0 => from == at,
                1 => to == at,
                _ => from == at && to == other,
            };
            if is_cut {
                self.network.cut(from, to);
            }
        }
    }

    fn ways(&self) -> Vec<(usize, usize)> {
        let servers = self.servers.len();
        (0..servers).flat_map(|from| (0..servers).map(move |to| (from, to))).collect()
    }

    /// What waited arrives now.
    fn heal(&mut self) {
        trace!(self.is_traced, "{:?} healed", self.now);
        for (key, end) in self.network.heal() {
            self.later(Duration::ZERO, Event::Mail(key, end));
        }
    }

    fn break_link(&mut self) {
        let ends = self.network.open_ends();
        if ends.is_empty() {
            return;
        }
        let (key, end) = ends[self.dice.random_range(0..ends.len())];
        for end in [(key, end), (key, 1 - end)] {
            self.network.lose(end, &mut self.dice);
            if let Some(due) = self.network.post(end, self.now, Frame::Down) {
                self.later(due.saturating_sub(self.now), Event::Mail(end.0, end.1));
            }
        }
    }

    pub(super) fn make_peace(&mut self) {
        trace!(self.is_traced, "{:?} peace", self.now);
        self.is_peaceful = true;
        self.heal();
        for at in 0..self.servers.len() {
            let server = &mut self.servers[at];
            server.paused_until = server.paused_until.min(self.now);
            server.slow_until = server.slow_until.min(self.now);
            if server.machine.is_none() {
                self.later(Duration::from_millis(10), Event::Start(at));
            }
        }
    }
}
