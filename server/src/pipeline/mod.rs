//! A request's stages, a file each. Writes pass `throttle`, `gate`, `prep` (with `pending`) and `apply`; reads
//! `throttle`, `gate` and `read`.

pub mod gate;
pub mod read;
pub mod throttle;
