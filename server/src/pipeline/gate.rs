//! Replies come in the order of requests. A connection answers a read itself, unless something it asked for is
//! under way in the node: then the read follows, and the node answers it once all before it has been applied.
//! ZooKeeper's `CommitProcessor`.

use std::collections::VecDeque;

use jute::{Op, OpKind};

/// What a request is, as far as order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Goes through the node, which answers in the order in which it was asked.
    Write,
    /// Can be answered from the tree, as the writes before it left it.
    Read,
}

impl Lane {
    /// The lane of an operation, by its code. What is none is a write: the node turns it away.
    #[must_use]
    pub fn of(op: i32) -> Self {
        match Op::from_code(op) {
            Some(op) if op == Op::Ping || op.kind() == OpKind::Read => Self::Read,
            _ => Self::Write,
        }
    }
}

/// One connection's requests in the node, the oldest first: a `T` remembers each of them.
#[derive(Debug)]
#[doc(alias = "CommitProcessor")]
pub struct Gate<T> {
    under_way: VecDeque<T>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { under_way: VecDeque::new() }
    }
}

impl<T> Gate<T> {
    /// A read may be answered without passing the node.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.under_way.is_empty()
    }

    /// A request goes to the node.
    pub fn enter(&mut self, request: T) {
        self.under_way.push_back(request);
    }

    /// The node answered: the request that this answers.
    pub fn leave(&mut self) -> Option<T> {
        let oldest = self.under_way.pop_front();
        if self.under_way.is_empty() {
            self.under_way = VecDeque::new(); // An idle connection keeps no buffer.
        }
        oldest
    }

    /// Requests in the node, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.under_way.iter()
    }

    /// How many requests are in the node.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.under_way.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_open_while_nothing_is_in_the_node() {
        let mut gate = Gate::default();
        assert!(gate.is_open());
        gate.enter(1);
        gate.enter(2);
        assert!(!gate.is_open());
        assert_eq!(gate.outstanding(), 2);
        assert_eq!(gate.leave(), Some(1));
        assert!(!gate.is_open());
        assert_eq!(gate.leave(), Some(2));
        assert!(gate.is_open());
        assert_eq!(gate.leave(), None);
    }

    #[test]
    fn pings_and_lookups_are_reads_and_all_else_is_the_nodes() {
        for op in [Op::Ping, Op::GetData, Op::Exists, Op::SetWatches2, Op::WhoAmI, Op::MultiRead] {
            assert_eq!(Lane::of(op.code()), Lane::Read, "{op:?}");
        }
        for op in [Op::Create, Op::Sync, Op::Multi, Op::CloseSession] {
            assert_eq!(Lane::of(op.code()), Lane::Write, "{op:?}");
        }
        assert_eq!(Lane::of(4711), Lane::Write);
    }
}
