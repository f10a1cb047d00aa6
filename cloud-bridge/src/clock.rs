//! The bridge's clocks, read here and nowhere else.

use core::time::Duration;
use std::time::SystemTime;

use sync::{Instant, SteadyTime, TimeStamp, WallTime};

/// All clocks of the bridge's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
    /// `None` where nobody says that the device's clock is not to be believed.
    steady: Option<SteadyTime>,
}

impl Clock {
    /// Starts the monotonic clock at zero, and the time that does not jump where the gateway is.
    pub(crate) fn start(steady: Option<WallTime>) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            steady: steady.map(|time| SteadyTime::resume(None, time)),
        }
    }

    /// Tells the time since the start.
    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(0) + self.start.elapsed()
    }

    /// Tells both times of day.
    pub(crate) fn stamp(self) -> TimeStamp {
        let device = device_time();
        TimeStamp {
            steady: self.steady.map_or(device, |time| time.at(self.now())),
            device,
        }
    }

    /// Tells the time by which what comes from others is measured: the device's.
    pub(crate) fn wall(self) -> WallTime {
        self.stamp().device
    }

    /// Waits until an instant of this clock.
    pub(crate) async fn sleep_until(self, deadline: Instant) {
        let since_start = deadline - Instant::from_micros(0);
        tokio::time::sleep_until(self.start + since_start).await;
    }
}

/// A clock before 1970 reads as 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the bridge is a driver: expiry is counted when a record leaves, not when its command \
              was queued"
)]
fn device_time() -> WallTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
