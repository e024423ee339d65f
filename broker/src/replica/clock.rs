//! The one place in which replication reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::partition::Now;

/// The moment, by both clocks.
#[expect(clippy::disallowed_methods, reason = "the rim")]
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
}
