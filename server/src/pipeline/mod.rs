//! A request's stages, a file each. Writes pass `throttle`, `prep` (with `pending`) and `apply`, reads
//! `throttle`, `gate` and `read`. On a learner, `forward` stands in the place of `prep`. `reaper` is where the service asks something of itself.

pub(crate) mod apply;
pub(crate) mod forward;
pub mod gate;
pub(crate) mod pending;
pub(crate) mod prep;
pub mod read;
pub(crate) mod reaper;
pub mod throttle;
