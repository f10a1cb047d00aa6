//! Where handshakes stand in line: their arithmetic gets a share of the thread, and no more.
//!
//! A storm of clients that come back all at once must not keep those who are connected waiting. So
//! handshakes pass one by one, and after each the turnstile stays shut until the others have had
//! their part of the time.

use std::time::{Duration, Instant};

use smol::Timer;
use smol::lock::Mutex;

/// One for all listeners of a thread.
pub(crate) struct Turnstile {
    /// When the next may pass.
    open_at: Mutex<Instant>,
    percent: u32,
}

impl Turnstile {
    /// Gives handshakes `percent` of the thread's time, 1 to 100.
    #[must_use]
    pub(crate) fn new(percent: u32) -> Self {
        Self {
            open_at: Mutex::new(read_clock()),
            percent: percent.clamp(1, 100),
        }
    }

    /// Waits for the turn of `work`, which has to be ready to begin, and does it.
    pub(crate) async fn pass<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut open_at = self.open_at.lock().await;
        if *open_at > read_clock() {
            Timer::at(*open_at).await;
        }
        let start = read_clock();
        let outcome = work();
        *open_at = start + period(read_clock() - start, self.percent);
        outcome
    }
}

/// How long it takes, with the others' part, what takes `work` alone.
fn period(work: Duration, percent: u32) -> Duration {
    work * 100 / percent
}

#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where clocks are read"
)]
fn read_clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_the_rest_to_others() {
        let second = Duration::from_secs(1);
        assert_eq!(period(second, 100), second);
        assert_eq!(period(second, 50), 2 * second);
        assert_eq!(period(second, 20), 5 * second);
    }

    #[test]
    fn who_comes_next_waits_until_the_others_had_their_part() {
        let turnstile = Turnstile::new(50);
        let work = || {
            let start = read_clock();
            while read_clock() - start < Duration::from_millis(5) {}
            (start, read_clock())
        };
        smol::block_on(async {
            let (start, end) = turnstile.pass(work).await;
            let (next, _) = turnstile.pass(work).await;
            assert!(next - start >= 2 * (end - start));
        });
    }
}
