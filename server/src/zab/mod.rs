//! Consensus: ZooKeeper's own atomic broadcast. A lone server is its own quorum, so all it needs is the order
//! of txns: the [`Zxid`].

mod zxid;

pub use zxid::{Epoch, Zxid};
