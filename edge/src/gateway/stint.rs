//! Tasks at work, and everybody else in between.
//!
//! [`LocalExecutor::run`] takes two hundred turns before it lets anybody else have one. A turn of a
//! link may be some milliseconds, and one of the executor of all links is two hundred of those: as
//! long as somebody sends without a pause, signals and the sweep would wait for minutes. So the work
//! is done in stints that end by the clock.
//!
//! Promises that whoever waits beside the tasks has a turn after [`STINT`] and one turn of a task. It
//! never ends a turn, which each task keeps short itself.

use std::time::Duration;

use smol::LocalExecutor;

use super::clock::read_clock;

/// How long tasks work before others have a turn: a signal is obeyed within a small part of the two
/// seconds that a stop may take, and a look at the clock and the sockets costs far less.
const STINT: Duration = Duration::from_millis(10);
/// A stint is no longer than so many turns.
const TURNS: u32 = 200;

/// Runs the tasks of an executor for as long as it is polled.
pub(super) async fn work<T>(executor: &LocalExecutor<'_>) -> T {
    loop {
        // Waits while there is nothing to do.
        executor.tick().await;
        let end = read_clock() + STINT;
        let mut turns = 1;
        while executor.try_tick() {
            turns += 1;
            if turns >= TURNS || read_clock() >= end {
                smol::future::yield_now().await;
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use smol::future::{FutureExt as _, yield_now};

    use super::*;

    /// As the gateway has it: links on an executor that is a task of another.
    #[test]
    fn who_waits_beside_tasks_of_tasks_has_a_turn_in_between_however_busy_they_are() {
        let (outer, inner) = (LocalExecutor::new(), Rc::new(LocalExecutor::new()));
        let turns = Rc::new(Cell::new(0));
        let busy = inner.spawn({
            let turns = turns.clone();
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    let end = read_clock() + STINT / 10;
                    while read_clock() < end {}
                    yield_now().await;
                }
            }
        });
        let running = outer.spawn({
            let inner = inner.clone();
            async move { work::<()>(&inner).await }
        });
        let beside = async {
            for _ in 0..3 {
                yield_now().await;
            }
        };
        smol::block_on(beside.or(work(&outer)));
        // Without stints it would be tens of thousands.
        assert!((1..=200).contains(&turns.get()), "{}", turns.get());
        drop((running, busy));
    }
}
