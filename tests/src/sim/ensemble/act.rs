//! What servers want done: on the network, on their disks; and what they show, which the checkers see.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt;
use server::zab::{DiskDone, DiskWork, Input, LinkId, LinkWork, Notification, Packet, Quorum, Recipients};

use super::checker::Disks;
use super::disk::{Disk, Done, Tree, Work, record_of, value_of};
use super::machine::{Effect, Seen};
use super::mutant::Mutant;
use super::network::Frame;
use super::plan::{id_of, place_of};
use super::trace;
use super::world::{Event, World};

impl World {
    /// Carries out what a server wants, unless it crashes meanwhile.
    pub(super) fn act(&mut self, at: usize, effects: Vec<Effect>) -> Result<()> {
        let crash_at = self.draws_crash(&effects).then(|| self.dice.random_range(0..=effects.len()));
        for (number, effect) in effects.into_iter().enumerate() {
            if crash_at == Some(number) {
                break;
            }
            match effect {
                Effect::Link(work) => self.on_link_work(at, work)?,
                Effect::Disk(work) => self.on_disk_work(at, work),
                Effect::Install(tree) => {
                    trace!(self.is_traced, "{:?} {} -> Install {:?}", self.now, id_of(at), tree.last());
                    self.servers[at].queue.push_back((Work::Install(tree), false));
                }
                Effect::Seen(seen) => self.see(at, seen)?,
            }
        }
        if crash_at.is_some() {
            self.crash(at);
            return Ok(());
        }
        self.begin_disk_work(at);
        self.set_alarm(at);
        Ok(())
    }

    fn draws_crash(&mut self, effects: &[Effect]) -> bool {
        if self.is_peaceful || effects.is_empty() {
            return false;
        }
        let faults = self.plan.faults;
        let likely = if effects.iter().any(is_recovery) {
            faults.crash_at_sync.max(faults.crash_at_step)
        } else {
            faults.crash_at_step
        };
        likely > 0.0 && self.dice.random_bool(likely)
    }

    fn on_link_work(&mut self, at: usize, work: LinkWork) -> Result<()> {
        let is_dull = matches!(&work, LinkWork::Send { packet: Packet::Ping { .. }, .. });
        trace!(self.is_traced && !is_dull, "{:?} {} -> {work:?}", self.now, id_of(at));
        match work {
            LinkWork::Notify { to, notification } => self.on_notify(at, place_of(to), notification),
            LinkWork::Dial { link, server } => {
                let key = self.network.dial((at, self.servers[at].life, link), place_of(server));
                let delay = self.plan.latency.draw(&mut self.dice);
                self.later(delay, Event::Dialed(key));
            }
            LinkWork::Send { to, packet } => match to {
                Recipients::One(link) => self.send(at, link, packet),
                Recipients::Many(links) => links.iter().for_each(|link| self.send(at, *link, packet.clone())),
            },
            LinkWork::SendLog { link, after, upto } => {
                let server = &self.servers[at];
                let waiting = server.queue.iter().map(|(work, _)| work);
                let txns =
                    server.disk.read_log(waiting, after, upto).context("the log was purged too early")?;
                for (zxid, value) in txns {
                    let record = record_of(value);
                    self.send(at, link, Packet::Proposal { zxid, record });
                    self.send(at, link, Packet::Commit(zxid.into()));
                }
            }
            LinkWork::SendSnapshot { link } => {
                let tree = self.servers[at].machine.as_mut().and_then(|machine| machine.open.remove(&link));
                let tree = tree.context("a snapshot is sent that was not opened")?;
                if let Some((key, end)) = self.network.find(at, link) {
                    self.post((key, 1 - end), Frame::Tree(tree.clone()));
                }
                // As a Java leader does: what is in the tree may come once more.
                let repeated = self.dice.random_range(0..4);
                for (zxid, value) in &tree.0[tree.0.len().saturating_sub(repeated)..] {
                    self.send(at, link, Packet::Proposal { zxid: *zxid, record: record_of(*value) });
                    self.send(at, link, Packet::Commit((*zxid).into()));
                }
            }
            LinkWork::Close { link, .. } => {
                if let Some(end) = self.network.find(at, link) {
                    self.hang_up(end, false);
                }
            }
        }
        Ok(())
    }

    fn on_notify(&mut self, from: usize, to: usize, notification: Notification) {
        let faults = self.plan.faults;
        let copies = if self.is_peaceful {
            1
        } else if self.dice.random_bool(faults.vote_lost) {
            0
        } else {
            1 + usize::from(self.dice.random_bool(faults.vote_doubled))
        };
        for _ in 0..copies {
            let delay = self.plan.latency.draw(&mut self.dice);
            self.later(delay, Event::Vote { from, to, notification: notification.clone() });
        }
    }

    fn send(&mut self, at: usize, link: LinkId, packet: Packet) {
        if let Some(answer) = self.mutant.and_then(|mutant| mutant.imagined_answer(&packet)) {
            let input = Input::Packet { link, packet: answer };
            self.later(Duration::ZERO, Event::Imagined(at, self.servers[at].life, input));
        }
        match packet {
            Packet::Diff(_) => self.stats.diffs += 1,
            Packet::Trunc(_) => self.stats.truncs += 1,
            Packet::Snap(_) => self.stats.snaps += 1,
            _ => {}
        }
        let Some((key, end)) = self.network.find(at, link) else {
            return;
        };
        let is_several =
            matches!(&packet, Packet::Ack(run) | Packet::Commit(run) if run.first() != run.last());
        // The other end may read them at once or one by one, and then the link may break in between.
        if is_several && self.dice.random() {
            for packet in packet.apart() {
                self.post((key, 1 - end), Frame::Packet(packet));
            }
        } else {
            self.post((key, 1 - end), Frame::Packet(packet));
        }
    }

    fn on_disk_work(&mut self, at: usize, work: DiskWork) {
        trace!(self.is_traced, "{:?} {} -> {work:?}", self.now, id_of(at));
        let premature = self.mutant.and_then(|mutant| mutant.premature(&work));
        if let Some(done) = premature {
            self.later(Duration::ZERO, Event::Imagined(at, self.servers[at].life, Input::Disk(done)));
        }
        let server = &mut self.servers[at];
        if let (Some(Mutant::EpochBeforeHistory), DiskWork::SaveCurrentEpoch(epoch)) = (self.mutant, &work) {
            server.disk.save_current(*epoch);
        }
        server.queue.push_back((Work::Peer(work), premature.is_some()));
    }

    /// The disk takes up the next work: all records that wait at once, or one of the other kinds.
    fn begin_disk_work(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if server.is_busy || server.queue.is_empty() {
            return;
        }
        while let Some((Work::Peer(DiskWork::Append { zxid, record }), _)) = server.queue.front() {
            server.disk.append((*zxid, value_of(record)));
            server.queue.pop_front();
            server.syncing += 1;
        }
        server.is_busy = true;
        let is_slow = server.slow_until > self.now;
        let event = Event::DiskDone(at, server.life);
        let delay = self.plan.fsync.draw(&mut self.dice) * if is_slow { 20 } else { 1 };
        self.later(delay, event);
    }

    pub(super) fn on_disk_done(&mut self, at: usize) -> Result<()> {
        let crash = self.plan.faults.crash_at_disk;
        if !self.is_peaceful && self.dice.random_bool(crash / 2.0) {
            self.crash(at); // The work may be done, or not: a failed sync is no different.
            return Ok(());
        }
        let server = &mut self.servers[at];
        let (done, was_answered) = if server.syncing > 0 {
            server.syncing = 0;
            (server.disk.sync().map_or(Done::Nothing, |zxid| Done::Answer(DiskDone::Persisted(zxid))), false)
        } else {
            let Some((work, was_answered)) = server.queue.pop_front() else { return Ok(()) };
            let traces_far = self.dice.random_bool(0.8);
            let is_trunc = matches!(work, Work::Peer(DiskWork::Truncate(_)));
            let refuses =
                is_trunc && !self.is_peaceful && self.dice.random_bool(self.plan.faults.trunc_refused);
            let work = if refuses { Work::Refuse } else { work };
            (carry_out(self.mutant, &mut server.disk, work, traces_far), was_answered)
        };
        server.is_busy = false;
        if !self.is_peaceful && self.dice.random_bool(crash / 2.0) {
            self.crash(at);
            return Ok(());
        }
        let Some(machine) = &mut server.machine else { return Ok(()) };
        let done = match done {
            Done::Answer(done) => Some(done),
            Done::Reloaded(done, tree) => {
                machine.reload(done, tree);
                Some(done)
            }
            Done::Opened(link, tree) => {
                let zxid = tree.last();
                machine.open.insert(link, tree);
                Some(DiskDone::SnapshotOpened { link, zxid })
            }
            Done::Nothing => None,
        };
        self.stats.refused_truncs += u64::from(done == Some(DiskDone::TruncateRefused));
        match done.filter(|_| !was_answered) {
            Some(done) => self.step(at, Input::Disk(done)),
            None => {
                self.begin_disk_work(at);
                Ok(())
            }
        }
    }

    /// Whose quorums the last txn of a tree needed: those of the newest membership, and if the txn brought that, those of
    /// the one before.
    fn quorums_of(&self, tree: &Tree) -> Vec<Quorum> {
        let mut memberships = tree.memberships();
        let Some(newest) = memberships.next() else { return Vec::new() };
        let brings = newest.version == tree.last().0;
        let before = brings.then(|| memberships.next().unwrap_or_else(|| self.plan.membership.clone()));
        std::iter::once(&newest).chain(&before).map(Quorum::new).collect()
    }

    fn see(&mut self, at: usize, seen: Seen) -> Result<()> {
        trace!(self.is_traced, "{:?} {} {seen:?}", self.now, id_of(at));
        let server = &self.servers[at];
        let Some(machine) = &server.machine else { return Ok(()) };
        let quorums = if self.plan.reconfigures { self.quorums_of(&machine.tree) } else { Vec::new() };
        let quorums = if quorums.is_empty() { vec![self.plan.quorum.clone()] } else { quorums };
        let disks = Disks { quorums, disks: self.servers.iter().map(|s| &s.disk).collect() };
        match seen {
            Seen::Leads(epoch) => {
                self.stats.reigns += 1;
                self.checker.leads(at, epoch, &machine.tree, &disks)?;
            }
            Seen::Follows => self.checker.follows(at, &machine.tree, &disks)?,
            Seen::Proposed(txn) => self.checker.proposed(txn)?,
            Seen::Applied(from) => self.checker.applied(at, from, &machine.tree, &disks)?,
            Seen::Hole(zxid) => bail!("{} is told that {zxid} is committed, and lacks it", id_of(at)),
            Seen::Surplus(zxid) => bail!("{} serves {zxid}, which is not committed", id_of(at)),
        }
        if matches!(seen, Seen::Applied(_)) && self.dice.random_bool(self.plan.faults.cut) {
            let tree = machine.tree.clone();
            let purge = self.dice.random_bool(self.plan.faults.purge);
            self.servers[at].queue.push_back((Work::Cut { tree, purge }, false));
        }
        Ok(())
    }
}

pub(super) fn carry_out(mutant: Option<Mutant>, disk: &mut Disk, work: Work, traces_far: bool) -> Done {
    match (mutant, work) {
        (Some(Mutant::SkipInstall), Work::Install(tree)) => Done::Answer(DiskDone::Installed(tree.last())),
        (Some(mutant), Work::Peer(DiskWork::SaveAcceptedEpoch(epoch)))
            if mutant.forgets(&DiskWork::SaveAcceptedEpoch(epoch)) =>
        {
            Done::Answer(DiskDone::AcceptedEpoch(epoch))
        }
        (_, work) => disk.carry_out(work, traces_far),
    }
}

/// Part of discovery or synchronisation.
fn is_recovery(effect: &Effect) -> bool {
    match effect {
        Effect::Link(LinkWork::Send { packet, .. }) => matches!(
            packet,
            Packet::LeaderInfo { .. }
                | Packet::AckEpoch { .. }
                | Packet::Diff(_)
                | Packet::Trunc(_)
                | Packet::Snap(_)
                | Packet::NewLeader { .. }
                | Packet::UpToDate
        ),
        Effect::Disk(work) => !matches!(work, DiskWork::Append { .. }),
        Effect::Install(_) => true,
        Effect::Link(_) | Effect::Seen(_) => false,
    }
}
