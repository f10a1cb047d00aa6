//! The flash budget: how long groups of commits wait for company, so that the card lasts.
//!
//! A balance grows with time, by the budget of a day, and falls with what was written; it holds an
//! hour at most, so that a burst costs nobody anything. While half of it is left commits wait as
//! configured; below that longer and longer, up to [`MOST`] when nothing is left. What every message
//! costs at least can't be saved by waiting: a budget below it is overdrawn, and `status` says so.
//! The critical lane never waits for it.

use std::time::Duration;

use sync::Instant;

use crate::limits::Limits;
use crate::log::Meter;

/// What the log writes, and what is known of the card below it.
#[derive(Debug)]
pub(crate) struct Flash {
    meter: Meter,
    rated_bytes: Option<u64>,
    budget: Option<FlashBudget>,
}

impl Flash {
    pub(super) fn new(meter: Meter, limits: &Limits) -> Self {
        let budget = |bytes| {
            let mut budget = FlashBudget::new(bytes, limits.linger);
            // What was written before counts for nothing.
            budget.update(Instant::default(), meter.wear().written_bytes);
            budget
        };
        Self {
            rated_bytes: limits.flash_rated_bytes,
            budget: limits.flash_bytes_per_day.map(budget),
            meter,
        }
    }

    /// Looks at what was written. Gives how long commits may wait, if there is a budget.
    pub(super) fn update(&mut self, now: Instant) -> Option<Duration> {
        let written_bytes = self.meter.wear().written_bytes;
        let budget = self.budget.as_mut()?;
        Some(budget.update(now, written_bytes))
    }

    /// What the operator hears: names and numbers.
    pub(super) fn facts(&self) -> Vec<(&'static str, u64)> {
        let wear = self.meter.wear();
        let mut facts = vec![
            ("flash.written_bytes", wear.written_bytes),
            ("flash.open_seconds", wear.open_seconds),
        ];
        if let Some(budget) = &self.budget {
            let linger = u64::try_from(budget.linger().as_millis()).unwrap_or(u64::MAX);
            facts.push(("flash.linger_ms", linger));
            facts.push(("flash.overdrawn", u64::from(budget.is_overdrawn())));
        }
        let years = self.rated_bytes.and_then(|rated| wear.years_left(rated));
        facts.extend(years.map(|years| ("flash.years_left", years)));
        facts
    }
}

/// What may still be written, and what follows.
#[derive(Debug)]
struct FlashBudget {
    bytes_per_day: u64,
    /// What the operator wants in any case.
    least: Duration,
    /// In bytes times [`DAY_MICROSECONDS`], so that nothing is lost in rounding.
    balance: i128,
    /// The last look: when, and what had been written by then.
    last: Option<(Instant, u64)>,
}

/// The longest that a commit waits on account of the budget.
const MOST: Duration = Duration::from_secs(1);
const DAY_MICROSECONDS: i128 = 86_400_000_000;
/// What the balance holds, as a part of a day.
const HOLDS: i128 = 24;

impl FlashBudget {
    const fn new(bytes_per_day: u64, least: Duration) -> Self {
        Self {
            bytes_per_day,
            least,
            balance: bytes_per_day as i128 * DAY_MICROSECONDS / HOLDS,
            last: None,
        }
    }

    /// Takes what was written in all, and says how long commits may wait from now on.
    fn update(&mut self, now: Instant, written_bytes: u64) -> Duration {
        if let Some((then, before)) = self.last {
            let earned = (now - then).as_micros() as i128 * i128::from(self.bytes_per_day);
            let spent = i128::from(written_bytes.saturating_sub(before)) * DAY_MICROSECONDS;
            let debt = -self.full();
            self.balance = (self.balance + earned - spent).clamp(debt, self.full());
        }
        self.last = Some((now, written_bytes));
        self.linger()
    }

    /// How long commits may wait.
    fn linger(&self) -> Duration {
        let half = self.full() / 2;
        let missing = (half - self.balance).clamp(0, half);
        let most = MOST.max(self.least);
        let longer = (most - self.least).as_micros() as i128 * missing / half.max(1);
        self.least + Duration::from_micros(longer as u64)
    }

    /// Whether waiting does not help any more.
    const fn is_overdrawn(&self) -> bool {
        self.balance < 0
    }

    const fn full(&self) -> i128 {
        self.bytes_per_day as i128 * DAY_MICROSECONDS / HOLDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway that gets so many messages a second, and writes a page a group and twice the
    /// payload. Gives bytes a day, of the last of `days`, and the linger at its end.
    fn live(budget: &mut FlashBudget, days: u64, messages: u64, bytes: u64) -> (u64, Duration) {
        let (mut written, mut yesterday) = (0, 0);
        for second in 1..=days * 86_400 {
            let linger = budget.linger().as_millis() as u64;
            let groups = (1000 / linger.max(1)).min(messages);
            written += groups * 4096 + messages * bytes * 2;
            budget.update(Instant::from_micros(second * 1_000_000), written);
            if second == (days - 1) * 86_400 {
                yesterday = written;
            }
        }
        (written - yesterday, budget.linger())
    }

    #[test]
    fn what_is_written_stays_within_the_budget_of_a_day() {
        const GIGABYTE: u64 = 1_000_000_000;
        for (per_day, messages) in [(GIGABYTE, 100), (4 * GIGABYTE, 100), (4 * GIGABYTE, 10)] {
            let mut budget = FlashBudget::new(per_day, Duration::ZERO);
            let (written, linger) = live(&mut budget, 3, messages, 20);
            println!("{messages}/s: {written} of {per_day} bytes, linger {linger:?}");
            assert!(written <= per_day + per_day / 50, "{written} of {per_day}");
            // It is used: nobody waits for nothing.
            let free = messages * 86_400 * (4096 + 40);
            assert!(
                written >= free.min(per_day) * 95 / 100,
                "{written} of {per_day}"
            );
            assert!(!budget.is_overdrawn());
        }
    }

    #[test]
    fn a_budget_that_suffices_makes_nobody_wait() {
        let least = Duration::from_millis(2);
        let mut budget = FlashBudget::new(100_000_000_000, least);
        let (_, linger) = live(&mut budget, 2, 100, 256);
        assert_eq!(linger, least);
    }

    #[test]
    fn a_burst_is_paid_from_what_was_saved_and_then_waits() {
        let mut budget = FlashBudget::new(2_400_000, Duration::ZERO);
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        assert_eq!(budget.update(at(0), 7_000_000), Duration::ZERO);
        assert_eq!(budget.update(at(1), 7_040_000), Duration::ZERO);
        let linger = budget.update(at(2), 7_080_000);
        assert!(
            linger > Duration::from_millis(500) && linger < MOST,
            "{linger:?}"
        );
        assert_eq!(budget.update(at(3), 7_500_000), MOST);
        assert!(budget.is_overdrawn());
        // An hour's quiet and all is well, however much it was.
        assert_eq!(budget.update(at(2 * 3600), 7_500_000), Duration::ZERO);
        assert!(!budget.is_overdrawn());
    }

    #[test]
    fn more_than_waiting_can_save_is_said() {
        let mut budget = FlashBudget::new(100_000_000, Duration::ZERO);
        let (written, linger) = live(&mut budget, 1, 1000, 256);
        assert!(written > 100_000_000);
        assert_eq!((linger, budget.is_overdrawn()), (MOST, true));
    }
}
