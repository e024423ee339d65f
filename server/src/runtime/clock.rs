//! The only place that reads clocks: everything further in is handed a [`Now`].

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::node::Now;

/// Counts from when the server began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

#[allow(clippy::disallowed_methods)] // This is the rim.
impl Clock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Time since somebody in this process asked first.
    #[must_use]
    pub fn of_process() -> Duration {
        static FIRST: OnceLock<Clock> = OnceLock::new();
        FIRST.get_or_init(Self::start).monotonic()
    }

    /// Time since it began.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    /// Milliseconds since 1970; 0 on a machine whose clock stands before that.
    #[must_use]
    pub fn wall_ms() -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }

    /// Both.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall_ms: Self::wall_ms() }
    }

    /// When it will show `monotonic`.
    #[must_use]
    pub fn instant(&self, monotonic: Duration) -> Instant {
        self.began + monotonic
    }
}
