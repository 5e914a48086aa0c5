//! The only place where the daemon reads a clock for the engine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::input::Now;

/// The monotonic clock since the node's start, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Now {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: millis(self.start.elapsed()),
            unix_ms: millis(since_1970),
        }
    }

    /// The moment at which the monotonic clock shows `mono_ms`.
    pub(super) fn instant(&self, mono_ms: u64) -> Instant {
        self.start + Duration::from_millis(mono_ms)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
