//! An ensemble in one thread: the production [`Peer`](server::zab::Peer) of each server, on model disks and a model
//! network, driven by one seed. Virtual time jumps to whatever is due next. Servers crash at any moment, links break,
//! ways are cut, both ways or one, disks are slow or fail, servers stand still; [`checker`] watches what is served. In
//! the end all is healed, and the ensemble must get on.

mod act;
mod checker;
mod disk;
mod machine;
mod members;
mod mutant;
mod network;
mod plan;
mod schedule;
mod world;

pub use mutant::Mutant;
pub use world::World;

/// How much a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Things that happened.
    pub events: u64,
    /// Things that were to happen.
    pub scheduled: u64,
    /// Txns that were committed.
    pub delivered: u64,
    /// Leaders that served.
    pub reigns: u64,
    /// Times that a server stopped without warning.
    pub crashes: u64,
    /// Learners that were sent a part of the log.
    pub diffs: u64,
    /// Learners that had to cut theirs.
    pub truncs: u64,
    /// Those that could not.
    pub refused_truncs: u64,
    /// Learners that were sent a tree.
    pub snaps: u64,
    /// Memberships that were committed.
    pub reconfigs: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.scheduled += other.scheduled;
        self.delivered += other.delivered;
        self.reigns += other.reigns;
        self.crashes += other.crashes;
        self.diffs += other.diffs;
        self.truncs += other.truncs;
        self.refused_truncs += other.refused_truncs;
        self.snaps += other.snaps;
        self.reconfigs += other.reconfigs;
    }
}

/// Prints a line if the run is traced; else it costs nothing.
macro_rules! trace {
    ($traced:expr, $($line:tt)*) => {
        if $traced {
            println!($($line)*);
        }
    };
}
pub(crate) use trace;
