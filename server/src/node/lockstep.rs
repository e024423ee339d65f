//! A driver without sockets, disk or clock: it does in memory what the rim does for real, one batch at a time.
//! For tests and simulators.

use bytes::Bytes;

use super::{Action, Delivery, Event, Node, NodeConfig, Now};
use crate::tree::{Cut, Tree};
use crate::watch::Watches;
use crate::zab::Zxid;

/// A node, and all that belongs to it.
#[derive(Debug)]
pub struct Lockstep {
    /// The machine.
    pub node: Node,
    /// What it changes.
    pub tree: Tree,
    /// Who waits for that.
    pub watches: Watches,
    /// The log: records in the order of their zxids.
    pub log: Vec<Bytes>,
    /// The cuts it handed out.
    pub cuts: Vec<Cut>,
    /// The time; it stands still unless set.
    pub now: Now,
}

impl Lockstep {
    /// A node on `tree`.
    #[must_use]
    pub fn new(config: NodeConfig, tree: Tree, now: Now) -> Self {
        let node = Node::new(config, &tree, now);
        Self { node, tree, watches: Watches::default(), log: Vec::new(), cuts: Vec::new(), now }
    }

    /// Takes `events` through all that a batch goes through; returns what connections get, in order.
    pub fn run(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let persisted = self.step(events, &mut deliveries);
        self.settle(persisted, &mut deliveries);
        deliveries
    }

    /// The first half of a batch: everything up to the log. Returns the last zxid that is to be persisted.
    pub fn step(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        deliveries: &mut Vec<Delivery>,
    ) -> Option<Zxid> {
        let mut actions = Vec::new();
        for event in events {
            self.node.step(event, self.now, &self.tree, &mut actions);
        }
        let last = actions.iter().rev().find_map(|action| match action {
            Action::Append { zxid, .. } => Some(*zxid),
            _ => None,
        });
        self.carry_out(actions, deliveries);
        last
    }

    /// The second half: the log is on disk up to `persisted`.
    pub fn settle(&mut self, persisted: Option<Zxid>, deliveries: &mut Vec<Delivery>) {
        let mut actions = Vec::new();
        if let Some(zxid) = persisted {
            self.node.step(Event::Persisted(zxid), self.now, &self.tree, &mut actions);
        }
        self.node.apply(&mut self.tree, &mut self.watches, &mut actions);
        self.carry_out(actions, deliveries);
    }

    fn carry_out(&mut self, actions: Vec<Action>, deliveries: &mut Vec<Delivery>) {
        for action in actions {
            match action {
                Action::Append { record, .. } => self.log.push(record),
                Action::Deliver(delivery) => deliveries.push(delivery),
                Action::Snapshot(cut) => self.cuts.push(cut),
                Action::Link(_) | Action::Disk(_) | Action::Adopt { .. } | Action::CloseAll => {
                    unreachable!("it is alone")
                }
            }
        }
    }
}
