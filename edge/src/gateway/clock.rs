//! The gateway's clocks, read here and nowhere else: one that counts from the start, one that does
//! not jump, and the device's own, which may.

use std::time::{Duration, Instant as SystemInstant, SystemTime};

use smol::Timer;
use smol::future::FutureExt as _;
use sync::{Instant, Now, SteadyTime, TimeStamp, WallTime};

use super::signal::Signal;

/// How long the clock's work stands aside for everybody else's, however much of it is due.
const BREATH: Duration = Duration::from_micros(200);

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

    pub(super) fn now(self) -> Now {
        let since = read_clock().duration_since(self.start);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let instant = Instant::from_micros(micros);
        Now {
            instant,
            wall: self.steady.at(instant),
        }
    }

    /// Takes a turn whenever the time has come that the last one named, or when it is woken before.
    /// However much is due, everybody else has a turn between two of them.
    pub(super) async fn keep_time(self, wake: &Signal, mut turn: impl FnMut() -> Option<Instant>) {
        loop {
            // A time that has come is no pause, and others wait while there is always more.
            let due = turn().map(|due| due.max(self.now().instant + BREATH));
            let until_due = async {
                match due {
                    Some(due) => drop(self.at(due).await),
                    None => std::future::pending().await,
                }
            };
            until_due.or(wake.wait()).await;
        }
    }

    /// Fires at a time.
    pub(super) fn at(self, instant: Instant) -> Timer {
        Timer::at(self.start + Duration::from_micros(instant.as_micros()))
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
pub(super) fn read_clock() -> SystemInstant {
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
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;

    /// What is always due again at once (a search of the mail, and its next turn) kept sockets
    /// waiting: the executor takes two hundred turns of a task before it looks at them.
    #[test]
    fn between_two_turns_of_the_clock_everybody_else_has_one_however_much_is_due() {
        const TURNS: usize = 50;
        let clock = Clock::resume(None);
        let (turns, others) = (RefCell::new(Vec::new()), Rc::new(Cell::new(0)));
        let turn = || {
            let mut turns = turns.borrow_mut();
            turns.push((clock.now().instant, others.get()));
            (turns.len() < TURNS).then(|| clock.now().instant)
        };
        let executor = smol::LocalExecutor::new();
        let others_work = executor.spawn({
            let others = others.clone();
            async move {
                loop {
                    others.set(others.get() + 1);
                    Timer::after(Duration::from_micros(1)).await;
                }
            }
        });
        let wake = Signal::default();
        let finished = async {
            while turns.borrow().len() < TURNS {
                Timer::after(Duration::from_millis(1)).await;
            }
        };
        let keeping = clock.keep_time(&wake, turn);
        smol::block_on(executor.run(keeping.or(finished)));
        drop(others_work);
        for pair in turns.borrow().windows(2) {
            let [(before, work_before), (after, work_after)] = pair else {
                continue;
            };
            assert!(*after - *before >= BREATH, "{before:?} {after:?}");
            assert!(work_after > work_before, "nobody else had a turn");
        }
    }

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
