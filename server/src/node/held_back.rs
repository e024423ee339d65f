//! While leadership is handed over, nothing is proposed: what clients ask for meanwhile waits until it is known who
//! leads.

use tracing::warn;

use super::{Action, Event, Node, Now};
use crate::tree::Tree;
use crate::zab::Told;

/// So many requests wait at most. With one more, this server goes on leading.
const WAITING_MAX: usize = 100_000;
/// So many bytes wait at most, likewise.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What waits, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    waiting: Vec<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    /// Of this server's clients.
    Event(Event),
    /// Of a learner's.
    Request(Told),
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Event(Event::Write(request) | Event::Read(request)) => request.body.len(),
            Self::Request(Told::Requested { body, .. }) => body.len(),
            _ => 0,
        }
    }
}

impl HeldBack {
    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `false`: it is too much.
    fn push(&mut self, waiting: Waiting) -> bool {
        self.bytes += waiting.bytes();
        self.waiting.push(waiting);
        self.waiting.len() < WAITING_MAX && self.bytes < WAITING_BYTES_MAX
    }
}

impl Node {
    /// Whether what a client asks for has to wait. Nobody overtakes those who wait already.
    pub(super) fn must_hold_back(&self) -> bool {
        let member = self.member.as_deref();
        member.is_some_and(|member| member.peer.is_handing_over() || !member.held_back.is_empty())
    }

    /// This server's own client waits.
    pub(super) fn hold_back(&mut self, event: Event) {
        self.wait_for_leader(Waiting::Event(event));
    }

    /// A learner's client waits.
    pub(super) fn hold_back_request(&mut self, told: Told) {
        self.wait_for_leader(Waiting::Request(told));
    }

    fn wait_for_leader(&mut self, waiting: Waiting) {
        let member = self.member();
        if !member.held_back.push(waiting) && member.peer.is_handing_over() {
            warn!("too much waits for the next leader: this server goes on leading");
            member.peer.keep_leading();
        }
    }

    /// Leadership was not handed over, or has been: what waited for that goes on as it may now.
    pub(super) fn take_up_again(&mut self, now: Now, tree: &Tree, out: &mut Vec<Action>) {
        let member = self.member();
        if member.held_back.is_empty() || member.peer.is_handing_over() {
            return;
        }
        for waiting in std::mem::take(&mut member.held_back).waiting {
            match waiting {
                Waiting::Event(event) => self.on_client_event(event, now, tree, out),
                Waiting::Request(told) if self.is_leader() => self.on_told(told, now, tree, out),
                Waiting::Request(_) => {} // Its learner has lost its link.
            }
            self.carry_on(now, tree, out);
        }
    }
}
