//! How much is written, for cards that take only so much.
//!
//! Every write of the log is counted by the [watched](super::watch) folder: journal, segments, state and what else
//! is in it. A write counts as the pages of 4 KiB that it touches; what the file system writes of its
//! own comes on top. The sum outlives restarts: it is in `state.redb`, and costs no write of its own.
//! A power cut costs at most what the journal held, which is counted at the next start instead; where
//! groups went straight into segments the journal says what was written until then. What was copied
//! since the last flush, for a backup or in the place of a damaged file, is not counted then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sync::WallTime;

/// What a log has written since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wear {
    /// Bytes, in whole pages.
    pub written_bytes: u64,
    /// Seconds in which it was open, by the device's clock without its jumps.
    pub open_seconds: u64,
}

impl Wear {
    /// How many years of the same life a card has left that is rated for so many bytes; `None`
    /// while the log has not been open for an hour.
    #[must_use]
    pub fn years_left(&self, rated_bytes: u64) -> Option<u64> {
        let left = u128::from(rated_bytes.saturating_sub(self.written_bytes));
        let written = u128::from(self.written_bytes.max(1));
        let seconds = u128::from(self.open_seconds);
        let years = left * seconds / written / YEAR_SECONDS;
        let is_known = self.open_seconds >= KNOWN_SECONDS;
        is_known.then(|| u64::try_from(years).unwrap_or(u64::MAX).min(MOST_YEARS))
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What a log has written, kept up to date by its writer. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    written_bytes: AtomicU64,
    open_milliseconds: AtomicU64,
}

impl Meter {
    /// What was written so far.
    #[must_use]
    pub fn wear(&self) -> Wear {
        Wear {
            written_bytes: self.0.written_bytes.load(Ordering::Relaxed),
            open_seconds: self.0.open_milliseconds.load(Ordering::Relaxed) / 1000,
        }
    }

    /// Adds what earlier lives wrote.
    pub(super) fn add(&self, wear: Wear) {
        self.add_bytes(wear.written_bytes);
        let milliseconds = wear.open_seconds.saturating_mul(1000);
        self.0
            .open_milliseconds
            .fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Takes the time. A step of the clock is no time that went by.
    pub(super) fn pass(&self, before: WallTime, now: WallTime) {
        let step = now.0.saturating_sub(before.0);
        if before.0 > 0 && step <= MOST_STEP {
            self.0.open_milliseconds.fetch_add(step, Ordering::Relaxed);
        }
    }

    /// Counts a write of so many bytes.
    pub(super) fn wrote(&self, at: u64, bytes: u64) {
        let pages = (at + bytes).div_ceil(PAGE_BYTES) - at / PAGE_BYTES;
        self.add_bytes(pages * PAGE_BYTES);
    }

    fn add_bytes(&self, bytes: u64) {
        self.0.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

const PAGE_BYTES: u64 = 4096;
const YEAR_SECONDS: u128 = 365 * 86_400;
/// Before it, a start weighs more than what comes after it.
const KNOWN_SECONDS: u64 = 3600;
/// What nobody will see the end of.
const MOST_YEARS: u64 = 1000;
/// Milliseconds: the writer comes round every second; longer steps are those of a clock.
const MOST_STEP: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_left_are_those_of_the_same_life() {
        let day = 86_400;
        let wear = |written_bytes, open_seconds| Wear {
            written_bytes,
            open_seconds,
        };
        for (wear, rated, years) in [
            (wear(1 << 30, 3599), 1 << 40, None),
            // A gigabyte a day, and a card for 366 of these.
            (wear(1 << 30, day), 366 << 30, Some(1)),
            (wear(10 << 30, 10 * day), 740 << 30, Some(2)),
            (wear(10 << 30, 10 * day), 1 << 30, Some(0)),
            (wear(1, day), u64::MAX, Some(1000)),
        ] {
            assert_eq!(wear.years_left(rated), years, "{wear:?} {rated}");
        }
    }
}
