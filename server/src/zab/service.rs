//! What else goes over the links while a leader serves: signs of life, and what only the leader can do for a
//! learner's client. `Leader.lead`'s loop, `Learner.ping`, `LearnerHandler.run`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::data::Id;

use super::discovery::{close, send};
use super::leader::{LeaderPhase, Stage};
use super::learner::LearnerStage;
use super::output::{Output, Told};
use super::packet::Packet;
use super::{LinkId, Peer, State, Violation};
use crate::session::SessionId;

// The leader's half.
impl Peer {
    /// Twice a tick: pings, and a look at who still answers. Before it serves: has it taken too long?
    pub(super) fn on_leader_tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.try_hand_over(now, out);
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.due > now {
            return;
        }
        if leading.phase != LeaderPhase::Serving {
            return self.look_again("no quorum followed in time", now, out);
        }
        leading.due = now + self.config.tick / 2;
        let mut dead = leading.hanging(self.config.sync_limit, now);
        // Less patient than the learners, who leave after `syncLimit`: when they follow somebody else, this server must not
        // think any more that it leads, and answer their syncs.
        let sync_limit = self.config.sync_limit.saturating_sub(self.config.tick / 2).max(self.config.tick);
        for (link, learner) in &leading.learners {
            let limit = if learner.stage == Stage::InStep { sync_limit } else { self.config.init_limit };
            if learner.heard + limit <= now && !dead.contains(link) {
                dead.push(*link);
            }
        }
        for link in dead {
            out.push(close(link, Some(Violation::Silent)));
            leading.remove(link, out);
        }
        let in_step = leading
            .learners
            .values()
            .filter(|learner| !learner.is_observer && learner.stage == Stage::InStep);
        let servers = in_step.map(|learner| learner.server).chain([self.config.me]);
        if !self.views.is_quorum(servers) {
            return self.look_again("the quorum is lost", now, out);
        }
        self.ping_all(out);
    }

    pub(super) fn on_learner_lost(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &mut self.state {
            leading.remove(link, out);
            if leading.phase == LeaderPhase::Serving {
                leading.due = Duration::ZERO; // It may have been the last one of the quorum.
            }
        }
    }

    /// A packet of a learner that has introduced itself.
    pub(super) fn on_learner_packet(
        &mut self,
        link: LinkId,
        packet: Packet,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let epoch = leading.epoch;
        let Some(learner) = leading.learners.get_mut(&link) else {
            return;
        };
        learner.heard = now;
        let taken = match (learner.stage, packet) {
            (Stage::Invited, Packet::AckEpoch { last, current }) => {
                self.on_ack_epoch(link, last, current, now, out);
                Ok(())
            }
            (Stage::Sent, Packet::Ack(run)) if run.first() == epoch.beginning() => {
                self.on_ack_newleader(link, now, out);
                Ok(())
            }
            // They come in the order of proposals: the last one speaks for all.
            (Stage::Sent | Stage::InStep, Packet::Ack(run)) => {
                let taken = self.on_ack(link, run.last(), now, out);
                self.try_hand_over(now, out);
                taken
            }
            (Stage::InStep, other) => {
                if matches!(other, Packet::Ping { .. }) {
                    self.on_pong(link, out);
                }
                serve_learner(link, other, out)
            }
            (_, other) => Err(Violation::OutOfPlace { packet: other.name(), phase: "a learner is let in" }),
        };
        if let Err(violation) = taken {
            out.push(close(link, Some(violation)));
            self.on_learner_lost(link, out);
        }
    }

    /// Answers whether a session lives.
    pub fn answer_revalidation(
        &self,
        link: LinkId,
        session: SessionId,
        is_valid: bool,
        out: &mut Vec<Output>,
    ) {
        self.answer(link, Packet::Revalidated { session, is_valid }, out);
    }

    fn answer(&self, link: LinkId, packet: Packet, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &self.state
            && leading.learners.contains_key(&link)
        {
            out.push(send(link, packet));
        }
    }
}

/// What a learner asks for its clients.
fn serve_learner(link: LinkId, packet: Packet, out: &mut Vec<Output>) -> Result<(), Violation> {
    let told = match packet {
        Packet::Ping { touched, .. } => match touched.filter(|touched| !touched.is_empty()) {
            Some(sessions) => Told::Touched { link, sessions },
            None => return Ok(()),
        },
        Packet::Request { session, cxid, op, body, identities } => {
            Told::Requested { link, session, cxid, op, body, identities }
        }
        Packet::Revalidate { session, timeout_ms } => Told::Revalidate { link, session, timeout_ms },
        other => return Err(Violation::OutOfPlace { packet: other.name(), phase: "a learner is in step" }),
    };
    out.push(Output::Told(told));
    Ok(())
}

// The learner's half.
impl Peer {
    pub(super) fn take_service(&mut self, packet: Packet, out: &mut Vec<Output>) -> Result<(), Violation> {
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        match packet {
            Packet::Ping { zxid, .. } => {
                learning.pinged = Some(zxid);
                out.push(Output::Told(Told::Pinged));
            }
            Packet::Revalidated { session, is_valid } => {
                out.push(Output::Told(Told::Revalidated { session, is_valid }));
            }
            Packet::Sync => out.push(Output::Told(Told::Synced)),
            other => return Err(Violation::OutOfPlace { packet: other.name(), phase: "in step" }),
        }
        Ok(())
    }

    /// Answers [`Told::Pinged`]: who was heard from since the last time, with their timeouts in milliseconds.
    pub fn touch(&mut self, touched: Vec<(SessionId, i32)>, out: &mut Vec<Output>) {
        if let State::Learning(learning) = &mut self.state
            && let Some(zxid) = learning.pinged.take()
        {
            // A Java leader cannot bear null in its place.
            out.push(send(learning.link, Packet::Ping { zxid, touched: Some(touched) }));
        }
    }

    /// Asks the leader for what a client wants. Without a leader it is lost, and so is its client's connection.
    pub fn forward(
        &mut self,
        session: SessionId,
        cxid: i32,
        op: i32,
        body: Bytes,
        identities: Arc<[Id]>,
        out: &mut Vec<Output>,
    ) {
        self.ask(Packet::Request { session, cxid, op, body, identities }, out);
    }

    /// Asks the leader whether a session lives that wants to carry on here.
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32, out: &mut Vec<Output>) {
        self.ask(Packet::Revalidate { session, timeout_ms }, out);
    }

    fn ask(&mut self, packet: Packet, out: &mut Vec<Output>) {
        if let State::Learning(learning) = &self.state
            && learning.stage == LearnerStage::Serving
        {
            out.push(send(learning.link, packet));
        }
    }
}
