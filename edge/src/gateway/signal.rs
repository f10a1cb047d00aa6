//! Flags that one task of the core thread waits for and any other raises.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

use crate::link::socket::Attendant;

/// Raised any number of times, noticed once. One task may wait at a time; a second one would take
/// the first one's place.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_raised: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// Lets the waiting task, or the next one to wait, go on.
    pub(crate) fn raise(&self) {
        self.is_raised.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until the flag is raised, and lowers it.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            if self.is_raised.take() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            match waiting.as_mut() {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waiting = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }
}

/// What the task of a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cue {
    /// There are bytes to write, or the end has come.
    Write = 1,
    /// Reading may go on.
    Read = 2,
    /// It took too long; close without writing what is left.
    Abandon = 4,
    /// The socket may have bytes.
    Readable = 8,
    /// The socket may have room.
    Writable = 16,
    /// The socket will have no more bytes than it has. Nobody waits for it, and it stays given.
    Ended = 32,
}

/// A flag for each cue, for one task that may wait for all of them at a time.
#[derive(Default)]
pub(crate) struct Signals {
    raised: Cell<u8>,
    awaited: Cell<u8>,
    /// Whether the task stays although there is nothing to do.
    is_staying: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

/// What a task waits for when it has nothing to do.
const REST: u8 = Cue::Write as u8 | Cue::Readable as u8;
/// What it does not wait for then, since it would be in the middle of something.
const WORK: u8 = Cue::Read as u8 | Cue::Writable as u8;

impl Signals {
    /// Starts for a task that stays, or one that may rest.
    pub(crate) fn new(is_staying: bool) -> Self {
        Self {
            is_staying: Cell::new(is_staying),
            ..Self::default()
        }
    }

    /// Lets the task go on, now or when it waits for the cue.
    pub(crate) fn raise(&self, cue: Cue) {
        self.raised.set(self.raised.get() | cue as u8);
        if self.awaited.get() & cue as u8 > 0 {
            self.wake();
        }
    }

    /// Lets a task that stayed rest from now on.
    pub(crate) fn relax(&self) {
        if self.is_staying.take() {
            self.wake();
        }
    }

    /// Waits until the cue is given, and forgets it.
    pub(crate) fn wait(&self, cue: Cue) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            let (raised, awaited, cue) = (self.raised.get(), self.awaited.get(), cue as u8);
            if raised & cue > 0 {
                self.raised.set(raised & !cue);
                self.awaited.set(awaited & !cue);
                return Poll::Ready(());
            }
            self.awaited.set(awaited | cue);
            self.hold(context.waker());
            Poll::Pending
        })
    }

    /// Waits until there is nothing to do, and then only for something to write or to read. Poll it
    /// after all other waits.
    pub(crate) fn rest(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            let (raised, awaited) = (self.raised.get(), self.awaited.get());
            let is_idle = awaited & (REST | WORK) == REST && raised & awaited == 0;
            if is_idle && !self.is_staying.get() {
                return Poll::Ready(());
            }
            self.hold(context.waker());
            Poll::Pending
        })
    }

    fn hold(&self, waker: &Waker) {
        let known = self.waiting.take();
        let known = known.filter(|known| known.will_wake(waker));
        self.waiting
            .set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl Attendant for Signals {
    async fn readable(&self) -> io::Result<()> {
        self.wait(Cue::Readable).await;
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        self.wait(Cue::Writable).await;
        Ok(())
    }

    fn tells_of_more(&self) -> bool {
        self.raised.get() & Cue::Ended as u8 == 0
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_signal_raised_before_the_wait_is_not_lost() {
        let signal = Signal::default();
        signal.raise();
        signal.raise();
        smol::block_on(signal.wait());
        assert!(
            smol::block_on(smol::future::poll_once(signal.wait())).is_none(),
            "noticed once"
        );
    }

    #[test]
    fn each_cue_is_noticed_once_by_who_waits_for_it() {
        let signals = Signals::default();
        let is_given = |cue| smol::block_on(smol::future::poll_once(signals.wait(cue))).is_some();
        assert!(!is_given(Cue::Write));
        signals.raise(Cue::Read);
        signals.raise(Cue::Abandon);
        assert!(!is_given(Cue::Write));
        assert!(is_given(Cue::Read) && is_given(Cue::Abandon));
        assert!(!is_given(Cue::Read) && !is_given(Cue::Abandon));
    }

    #[test]
    fn a_task_rests_only_while_nothing_is_given_and_it_is_in_the_middle_of_nothing() {
        let signals = Signals::new(true);
        let poll = |cue| smol::block_on(smol::future::poll_once(signals.wait(cue))).is_some();
        let rests = || smol::block_on(smol::future::poll_once(signals.rest())).is_some();
        assert!(
            !poll(Cue::Write) && !poll(Cue::Readable) && !rests(),
            "stays"
        );
        signals.relax();
        assert!(rests());
        signals.raise(Cue::Write);
        assert!(!rests(), "something to write");
        assert!(poll(Cue::Write) && !rests(), "writing");
        assert!(
            !poll(Cue::Writable) && !poll(Cue::Write) && !rests(),
            "still writing"
        );
        signals.raise(Cue::Writable);
        assert!(poll(Cue::Writable) && rests());
        signals.raise(Cue::Readable);
        assert!(
            poll(Cue::Readable) && !poll(Cue::Read) && !rests(),
            "held up"
        );
        signals.raise(Cue::Read);
        assert!(poll(Cue::Read) && !poll(Cue::Readable) && rests());
    }

    #[test]
    fn a_waiting_task_is_woken() {
        let executor = smol::LocalExecutor::new();
        let signal = Rc::new(Signal::default());
        let waiting = executor.spawn({
            let signal = signal.clone();
            async move { signal.wait().await }
        });
        smol::block_on(executor.run(async {
            smol::future::yield_now().await;
            signal.raise();
            waiting.await;
        }));
    }
}
