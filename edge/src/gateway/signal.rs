//! Flags that one task of the core thread waits for and any other raises.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

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

/// What the task of a connection waits for beside its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cue {
    /// There are bytes to write, or the end has come.
    Write = 1,
    /// Reading may go on.
    Read = 2,
    /// It took too long; close without writing what is left.
    Abandon = 4,
}

/// A flag for each cue, for one task that may wait for all of them at a time.
#[derive(Default)]
pub(crate) struct Signals {
    raised: Cell<u8>,
    waiting: Cell<Option<Waker>>,
}

impl Signals {
    /// Lets the task go on, now or when it waits for the cue.
    pub(crate) fn raise(&self, cue: Cue) {
        self.raised.set(self.raised.get() | cue as u8);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until the cue is given, and forgets it.
    pub(crate) fn wait(&self, cue: Cue) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            let raised = self.raised.get();
            if raised & cue as u8 > 0 {
                self.raised.set(raised & !(cue as u8));
                return Poll::Ready(());
            }
            let known = self.waiting.take();
            let known = known.filter(|waker| waker.will_wake(context.waker()));
            let waker = known.unwrap_or_else(|| context.waker().clone());
            self.waiting.set(Some(waker));
            Poll::Pending
        })
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
