//! How fast a client publishes: an allowance that time refills and each message uses up.
//!
//! A client over its rate is not read, so that its own sending waits; nothing it sent is lost and
//! it is never disconnected for it: a device that was offline for an hour has much to say at once.

use std::time::Duration;

use sync::Instant;

/// How fast a client may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Messages; 0 sets no limit.
    pub(crate) per_second: u32,
    /// Messages at once although that is faster.
    pub(crate) burst: u32,
}

/// What one client may still publish now.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    /// Up to when `left` was refilled.
    since: Instant,
}

impl Allowance {
    /// Starts full.
    pub(crate) const fn new(now: Instant, rate: Rate) -> Self {
        Self {
            left: rate.burst,
            since: now,
        }
    }

    /// Uses up one publish; false when none is left.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        self.refill(now, rate);
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// When the next publish is due, if that is not now.
    pub(crate) fn due(&self, rate: Rate) -> Option<Instant> {
        let is_short = rate.per_second > 0 && self.left == 0;
        is_short.then(|| self.since + time_of(1, rate.per_second))
    }

    fn refill(&mut self, now: Instant, rate: Rate) {
        let micros = u64::try_from((now - self.since).as_micros()).unwrap_or(u64::MAX);
        let earned = micros.saturating_mul(rate.per_second.into()) / MICROS;
        let room = u64::from(rate.burst.saturating_sub(self.left));
        if earned >= room {
            self.left = rate.burst.max(1);
            self.since = now;
        } else {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left += earned;
            // What is over a whole publish counts for the next one.
            self.since = self.since + time_of(earned, rate.per_second);
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
        let rate = Rate {
            per_second: 3,
            burst: 5,
        };
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut allowance = Allowance::new(at(0), rate);
        let mut taken = |millis, wanted: u32| {
            let count = (0..wanted).filter(|_| allowance.take(at(millis), rate));
            (count.count(), allowance.due(rate))
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
        let rate = Rate {
            per_second: 0,
            burst: 1,
        };
        let mut allowance = Allowance::new(Instant::default(), rate);
        assert!((0..10_000).all(|_| allowance.take(Instant::default(), rate)));
        assert_eq!(allowance.due(rate), None);
    }
}
