//! The one place in which replication reads clocks.

use std::time::Instant;

use super::partition::Now;
use crate::registry::clock::now_ms;

/// The moment, by both clocks.
#[expect(clippy::disallowed_methods, reason = "the rim")]
pub fn now() -> Now {
    Now { instant: Instant::now(), wall_ms: now_ms() }
}
