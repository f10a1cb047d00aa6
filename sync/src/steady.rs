//! Time that does not jump, for expiry and age: on a device whose clock may be set by 20 years either
//! way, or that has none.
//!
//! Within a boot it goes with the monotonic clock, whatever the device's clock does. Across boots it
//! goes on where it was, plus the time that the power was off, as far as the device's clock can be
//! believed about that: a clock that is behind where it was, or ahead by over a year, was set, and
//! then the time without power counts for nothing. So nothing that was stored is ever too old
//! because a clock was set, and nothing lives for ever.
//!
//! It is a time of day as long as nobody sets the clock while the gateway runs. What others read
//! ([`SteadyTime::outward`]) is put right when it leaves.

use core::time::Duration;

use crate::{Instant, WallTime};

/// What a log remembers of the time: both at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimeStamp {
    /// The time that does not jump.
    pub steady: WallTime,
    /// The device's clock.
    pub device: WallTime,
}

/// Time that does not jump: what it was when the monotonic clock began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyTime {
    start: WallTime,
}

impl SteadyTime {
    /// Goes on behind what a log remembers; without that, the device's clock is believed once.
    #[must_use]
    pub fn resume(last: Option<TimeStamp>, device: WallTime) -> Self {
        let Some(last) = last else {
            return Self { start: device };
        };
        let off = device
            .0
            .checked_sub(last.device.0)
            .map(Duration::from_millis);
        let off = off.filter(|off| *off <= LONGEST_OFF).unwrap_or_default();
        let off = u64::try_from(off.as_millis()).unwrap_or(0);
        Self {
            start: WallTime(last.steady.0.saturating_add(off)),
        }
    }

    /// The time at an instant of the monotonic clock.
    #[must_use]
    pub fn at(self, instant: Instant) -> WallTime {
        WallTime(self.start.0.saturating_add(instant.as_micros() / 1000))
    }

    /// Says what others would call a time, given both clocks now. Less than a minute is left to the
    /// clocks' own inaccuracy.
    #[must_use]
    pub fn outward(time: WallTime, now: TimeStamp) -> WallTime {
        if now.device.0.abs_diff(now.steady.0) < SMALLEST_DRIFT || time.0 == 0 {
            return time;
        }
        if now.device >= now.steady {
            WallTime(time.0.saturating_add(now.device.0 - now.steady.0))
        } else {
            WallTime(time.0.saturating_sub(now.steady.0 - now.device.0))
        }
    }
}

/// A gateway may lie in a cupboard for a season; a clock that says more was set.
const LONGEST_OFF: Duration = Duration::from_secs(400 * 86_400);
/// Milliseconds.
const SMALLEST_DRIFT: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    const TODAY: u64 = 56 * YEAR;

    #[test]
    fn time_goes_on_where_it_was_and_a_clock_that_was_set_adds_nothing() {
        for (steady, then, device, start, why) in [
            (TODAY, TODAY, TODAY + DAY, TODAY + DAY, "the power was off"),
            (TODAY, TODAY, 5000, TODAY, "no clock: it begins in 1970"),
            (TODAY, TODAY, TODAY + 20 * YEAR, TODAY, "20 years ahead"),
            (TODAY, TODAY, TODAY - 20 * YEAR, TODAY, "20 years back"),
            (HOUR, HOUR, TODAY, HOUR, "set for the first time"),
            (
                HOUR,
                TODAY,
                TODAY + DAY,
                HOUR + DAY,
                "set in the boot before",
            ),
            (HOUR, 5 * HOUR, 6 * HOUR, 2 * HOUR, "1970 in both"),
        ] {
            let last = TimeStamp {
                steady: WallTime(steady),
                device: WallTime(then),
            };
            let time = SteadyTime::resume(Some(last), WallTime(device));
            assert_eq!(time.at(Instant::default()), WallTime(start), "{why}");
        }
        let new = SteadyTime::resume(None, WallTime(TODAY));
        assert_eq!(
            new.at(Instant::from_micros(1_500_000)),
            WallTime(TODAY + 1500)
        );
    }

    /// Boots with random lengths, pauses and jumps, against the time that really went by.
    #[test]
    fn no_life_makes_time_jump_or_stand_still() {
        let mut dice = 7_u64;
        let mut below = |bound: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % bound
        };
        for _ in 0..200 {
            let (mut last, mut device) = (None, TODAY);
            let (mut true_elapsed, mut powered, mut begin) = (0, 0, None);
            for _ in 0..20 {
                let time = SteadyTime::resume(last, WallTime(device));
                let begun = *begin.get_or_insert_with(|| time.at(Instant::default()).0);
                let run = 1 + below(10 * DAY);
                let end = time.at(Instant::from_micros(run * 1000));
                (true_elapsed, powered) = (true_elapsed + run, powered + run);
                device += run;
                device = match below(4) {
                    0 => device + 20 * YEAR,
                    1 => device.saturating_sub(20 * YEAR),
                    _ => device,
                };
                let gone = end.0 - begun;
                assert!(
                    powered <= gone && gone <= true_elapsed,
                    "{powered} {gone} {true_elapsed}"
                );
                last = Some(TimeStamp {
                    steady: end,
                    device: WallTime(device),
                });
                let off = below(30 * DAY);
                true_elapsed += off;
                device = match below(4) {
                    0 => 5000,
                    1 => device.saturating_sub(20 * YEAR),
                    2 => device + 20 * YEAR,
                    _ => device + off,
                };
            }
        }
    }

    #[test]
    fn what_leaves_is_put_right() {
        let now = |steady, device| TimeStamp {
            steady: WallTime(steady),
            device: WallTime(device),
        };
        for (time, now, outward) in [
            (TODAY, now(TODAY + 50, TODAY + 60), TODAY),
            (HOUR, now(2 * HOUR, TODAY), TODAY - HOUR),
            (TODAY, now(TODAY + HOUR, TODAY), TODAY - HOUR),
            (0, now(2 * HOUR, TODAY), 0),
        ] {
            assert_eq!(SteadyTime::outward(WallTime(time), now), WallTime(outward));
        }
    }
}
