//! The bridge's clocks, read here and nowhere else.

use core::time::Duration;
use std::time::SystemTime;

use sync::{Instant, WallTime};

/// Both clocks of the bridge's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Starts the monotonic clock at zero.
    pub(crate) fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// Tells the time since the start.
    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(0) + self.start.elapsed()
    }

    /// Tells the time of day; a clock before 1970 reads as 1970.
    #[expect(
        clippy::disallowed_methods,
        reason = "the bridge is a driver: expiry is counted when a record leaves, not when its \
                  command was queued"
    )]
    pub(crate) fn wall(self) -> WallTime {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Waits until an instant of this clock.
    pub(crate) async fn sleep_until(self, deadline: Instant) {
        let since_start = deadline - Instant::from_micros(0);
        tokio::time::sleep_until(self.start + since_start).await;
    }
}
