//! The two clocks that logic is told about. Neither is ever read here.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on the monotonic clock, in microseconds since a start that only its driver knows.
/// Comparable within one run of the program; never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Makes the instant `micros` microseconds after the driver's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Gives back the microseconds since the driver's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Measures the time since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time, 584,000 years after the start.
    fn add(self, wait: Duration) -> Self {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Self> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// Milliseconds since 1970-01-01 UTC by the device's own clock. Stored with every record; may jump
/// either way, so differences of two are a hint and never a promise.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Counts whole seconds from `earlier` to this time; zero when the clock went backwards.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }
}

/// Both clocks, read once a turn by the driver and passed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For time-outs within this run.
    pub instant: Instant,
    /// For what outlives it: a [`SteadyTime`](crate::SteadyTime) where clocks may be set.
    pub wall: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_instants_never_go_below_zero_and_sums_never_wrap() {
        let (early, late) = (Instant::from_micros(5), Instant::from_micros(1_000_005));
        assert_eq!(late - early, Duration::from_secs(1));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(early + Duration::from_secs(1), late);
        assert_eq!((late + Duration::MAX).as_micros(), u64::MAX);
    }

    #[test]
    fn a_wall_clock_that_went_back_measures_nothing() {
        assert_eq!(WallTime(5_999).seconds_since(WallTime(4_000)), 1);
        assert_eq!(WallTime(4_000).seconds_since(WallTime(5_999)), 0);
    }
}
