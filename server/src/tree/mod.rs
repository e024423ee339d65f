//! The znodes, in memory. Stop 8 of the life of a write changes them; every read looks at them.
//!
//! The tree is the only memory that tasks share: the node changes it under a write lock, connections read it
//! under a read lock. ZooKeeper's `DataTree`, `DataNode`.

mod cut;

pub use cut::{Cut, Data, ZnodeRecord};

/// The znodes, who owns the ephemeral ones, and the zxid of the last txn applied.
#[derive(Debug, Default)]
pub struct Tree {}
