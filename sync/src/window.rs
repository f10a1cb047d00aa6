//! Flow control of one connection: how many records and bytes may be in flight on it, and how that
//! follows the latency of the cloud's answers.

use core::time::Duration;

use crate::Pace;

/// Counts what is in flight against two limits.
#[derive(Clone, Debug)]
pub struct Window {
    most_count: usize,
    least_count: usize,
    most_bytes: usize,
    pace: Pace,
    /// Present limit, between least and most.
    limit_count: usize,
    count: usize,
    bytes: usize,
    /// The usual latency in microseconds: drops at once, rises slowly.
    usual: Option<u64>,
    /// Answers and their latencies since the limit was last looked at.
    round_count: u64,
    round_micros: u64,
}

impl Window {
    /// Makes an empty window. `least_count` bounds what the pace may take away.
    #[must_use]
    pub fn new(most_count: usize, least_count: usize, most_bytes: usize, pace: Pace) -> Self {
        let most_count = most_count.max(1);
        Self {
            most_count,
            least_count: least_count.clamp(1, most_count),
            most_bytes,
            pace,
            limit_count: most_count,
            count: 0,
            bytes: 0,
            usual: None,
            round_count: 0,
            round_micros: 0,
        }
    }

    /// Whether a record of this size may be sent now. An empty window takes a record of any size.
    #[must_use]
    pub const fn has_room_for(&self, bytes: usize) -> bool {
        self.count == 0
            || (self.count < self.limit_count
                && self.bytes.saturating_add(bytes) <= self.most_bytes)
    }

    /// Counts a record in.
    pub fn enter(&mut self, bytes: usize) {
        assert!(self.has_room_for(bytes), "a full window takes no record");
        self.count += 1;
        self.bytes += bytes;
    }

    /// Counts a record out that was answered or is unresolved.
    pub const fn leave(&mut self, bytes: usize) {
        assert!(self.count > 0, "only what entered can leave");
        self.count -= 1;
        self.bytes -= bytes;
    }

    /// Learns how long an answer took.
    pub fn answered_after(&mut self, latency: Duration) {
        if self.pace == Pace::Fixed {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let usual = match self.usual {
            Some(usual) => micros.min(usual + usual / 128 + 1),
            None => micros,
        };
        self.usual = Some(usual);
        self.round_count += 1;
        self.round_micros = self.round_micros.saturating_add(micros);
        if self.round_count < self.limit_count as u64 {
            return;
        }
        let mean = self.round_micros / self.round_count;
        self.limit_count = if mean > usual.saturating_mul(SLOW_FACTOR) + SLOW_MICROS {
            (self.limit_count - self.limit_count.div_ceil(4)).max(self.least_count)
        } else {
            (self.limit_count + 1).min(self.most_count)
        };
        self.round_count = 0;
        self.round_micros = 0;
    }

    /// Records in flight.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Their bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that may be in flight at present.
    #[must_use]
    pub const fn limit_count(&self) -> usize {
        self.limit_count
    }
}

/// Answers are slow when they take this many times the usual time
const SLOW_FACTOR: u64 = 4;
/// and 20 ms more: below that a scheduler's hiccup looks like a slow cloud.
const SLOW_MICROS: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_a_large_record_goes_alone() {
        let mut window = Window::new(2, 1, 100, Pace::Fixed);
        assert!(window.has_room_for(1_000));
        window.enter(1_000);
        assert!(!window.has_room_for(1));
        window.leave(1_000);
        window.enter(60);
        assert!(!window.has_room_for(41));
        assert!(window.has_room_for(40));
        window.enter(40);
        assert!(!window.has_room_for(0));
        assert_eq!((window.count(), window.bytes()), (2, 100));
    }

    #[test]
    fn a_slow_cloud_shrinks_the_window_to_its_least_and_a_quick_one_opens_it_again() {
        let mut window = Window::new(32, 4, 1 << 20, Pace::Latency);
        for _ in 0..64 {
            window.answered_after(Duration::from_millis(2));
        }
        assert_eq!(window.limit_count(), 32);
        for _ in 0..150 {
            window.answered_after(Duration::from_secs(1));
        }
        assert_eq!(window.limit_count(), 4);
        for _ in 0..2_000 {
            window.answered_after(Duration::from_millis(2));
        }
        assert_eq!(window.limit_count(), 32);
    }

    #[test]
    fn a_fixed_window_ignores_latency() {
        let mut window = Window::new(32, 4, 1 << 20, Pace::Fixed);
        window.answered_after(Duration::from_millis(1));
        for _ in 0..1_000 {
            window.answered_after(Duration::from_secs(9));
        }
        assert_eq!(window.limit_count(), 32);
    }
}
