//! How fast a client publishes: an allowance that time refills and each PUBLISH uses up.
//!
//! A client over its rate is not read, so that its own sending waits; nothing it sent is lost and
//! it is never disconnected for it: a device that was offline for an hour has much to say at once.

use std::time::Duration;

use sync::Instant;

use super::Settings;

/// What one client may still publish now.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when `left` was refilled.
    since: Instant,
}

impl Allowance {
    /// Starts full.
    pub(super) const fn new(now: Instant, settings: &Settings) -> Self {
        Self {
            left: settings.publish_burst,
            since: now,
        }
    }

    /// Uses up one publish; false when none is left.
    pub(super) fn take(&mut self, now: Instant, settings: &Settings) -> bool {
        if settings.publishes_per_second == 0 {
            return true;
        }
        self.refill(now, settings);
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// When the next publish is due, if that is not now.
    pub(super) fn due(&self, settings: &Settings) -> Option<Instant> {
        let is_short = settings.publishes_per_second > 0 && self.left == 0;
        is_short.then(|| self.since + time_of(1, settings.publishes_per_second))
    }

    fn refill(&mut self, now: Instant, settings: &Settings) {
        let rate = settings.publishes_per_second;
        let micros = u64::try_from((now - self.since).as_micros()).unwrap_or(u64::MAX);
        let earned = micros.saturating_mul(rate.into()) / MICROS;
        let room = u64::from(settings.publish_burst.saturating_sub(self.left));
        if earned >= room {
            self.left = settings.publish_burst.max(1);
            self.since = now;
        } else {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left += earned;
            // What is over a whole publish counts for the next one.
            self.since = self.since + time_of(earned, rate);
        }
    }
}

const MICROS: u64 = 1_000_000;

fn time_of(count: u32, rate: u32) -> Duration {
    Duration::from_micros((u64::from(count) * MICROS).div_ceil(u64::from(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate_and_nothing_more() {
        let settings = Settings {
            publishes_per_second: 3,
            publish_burst: 5,
            ..Settings::default()
        };
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut allowance = Allowance::new(at(0), &settings);
        let mut taken = |millis, wanted: u32| {
            let count = (0..wanted).filter(|_| allowance.take(at(millis), &settings));
            (count.count(), allowance.due(&settings))
        };
        assert_eq!(taken(0, 4), (4, None));
        assert_eq!(taken(0, 4), (1, Some(Instant::from_micros(333_334))));
        assert_eq!(taken(333, 1).0, 0);
        assert_eq!(taken(334, 2).0, 1);
        // Asked a hundred times a second for ten seconds.
        let sum: usize = (34..1034).map(|step| taken(step * 10, 1).0).sum();
        assert!((29..=31).contains(&sum), "{sum}");
        assert_eq!(taken(60_000, 100).0, 5);
    }

    #[test]
    fn without_a_rate_everything_goes() {
        let settings = Settings::default();
        let mut allowance = Allowance::new(Instant::default(), &settings);
        assert!((0..10_000).all(|_| allowance.take(Instant::default(), &settings)));
        assert_eq!(allowance.due(&settings), None);
    }
}
