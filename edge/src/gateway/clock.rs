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

#[cfg(test)]
mod tests {
    use super::*;

    /// The device's clock counts once, at the start, and only as far as it can be believed.
    #[test]
    fn the_clock_of_the_device_moves_no_time_but_the_one_that_is_said_to_others() {
        const YEAR: u64 = 365 * 86_400_000;
        const STEADY: u64 = 1_000_000;
        let device = wall_time().0;
        for then in [0, device - 20 * YEAR, device + 20 * YEAR] {
            let last = TimeStamp {
                steady: WallTime(STEADY),
                device: WallTime(then),
            };
            let clock = Clock::resume(Some(last));
            let stamp = clock.stamp();
            let passed = stamp.steady.0 - STEADY;
            assert!(passed <= YEAR, "{then}: {passed}");
            assert!(stamp.device.0.abs_diff(device) < YEAR, "{then}");
            let now = clock.now();
            assert_eq!(now.wall, WallTime(STEADY + now.instant.as_micros() / 1000));
        }
    }
}
