//! The gateway's clocks, read here and nowhere else: one that counts from the start, one that does
//! not jump, and the device's own, which may.

use std::time::{Duration, Instant as SystemInstant, SystemTime};

use sync::{Instant, Now, SteadyTime, TimeStamp, WallTime};

/// All clocks of the gateway; copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: SystemInstant,
    steady: SteadyTime,
}

impl Clock {
    /// Starts the monotonic clock, and goes on with the time that does not jump where a log was
    /// written last.
    pub(super) fn resume(last: Option<TimeStamp>) -> Self {
        Self {
            start: read_clock(),
            steady: SteadyTime::resume(last, wall_time()),
        }
    }

    pub(super) const fn start(self) -> SystemInstant {
        self.start
    }

    pub(super) fn now(self) -> Now {
        let since = read_clock().duration_since(self.start);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let instant = Instant::from_micros(micros);
        Now {
            instant,
            wall: self.steady.at(instant),
        }
    }

    /// Both times of day at this moment.
    pub(super) fn stamp(self) -> TimeStamp {
        TimeStamp {
            steady: self.now().wall,
            device: wall_time(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where clocks are read"
)]
fn read_clock() -> SystemInstant {
    SystemInstant::now()
}

/// The device's clock; 1970 when it is set to before that.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where clocks are read"
)]
pub(crate) fn wall_time() -> WallTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
