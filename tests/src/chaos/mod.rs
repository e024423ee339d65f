//! Faults for a whole ensemble while clients are at work, and what must be true nevertheless.
//!
//! The [`Load`] runs on a thread of its own and remembers what clients were told; [`Fault`]s happen meanwhile; in the end
//! the [`Outcome`] is held against what every server shows.

mod caller;
mod creator;
mod fault;
pub mod history;
mod load;
mod shown;

pub use fault::{Fault, Target};
pub use load::{Fence, Load, Outcome, Settings};
