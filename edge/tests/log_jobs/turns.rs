//! Runs a job of the log in turns with everybody else, so that commits fall between its writes, at
//! the same places every time.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use edge::log::simulated::SimulatedFolder;
use edge::log::{Done, Job};

/// Runs a job, and `others` before each `nth` change it makes to the disk. They must not read from
/// files that the job is writing.
pub(crate) fn in_turns(
    job: Job,
    folder: &SimulatedFolder,
    nth: u64,
    mut others: impl FnMut(),
) -> Done {
    folder.before_changes(Some(give_way));
    let done = thread::scope(|scope| {
        let (ask, asked) = channel();
        let (go, may_go) = channel();
        let running = scope.spawn(move || {
            TURNS.set(Some(Turns {
                ask,
                may_go,
                nth,
                changes: 0,
            }));
            let done = job.run();
            // Nobody waits for this thread any more.
            TURNS.set(None);
            done
        });
        while asked.recv().is_ok() {
            others();
            go.send(()).expect("the job waits");
        }
        running.join().expect("a job does not panic")
    });
    folder.before_changes(None);
    done
}

/// What the thread of a job knows of its turns.
struct Turns {
    ask: Sender<()>,
    may_go: Receiver<()>,
    nth: u64,
    changes: u64,
}

fn give_way() {
    TURNS.with_borrow_mut(|turns| {
        let Some(turns) = turns else { return };
        turns.changes += 1;
        if turns.changes.is_multiple_of(turns.nth) {
            // A test that has failed meanwhile waits for nothing.
            let _ = turns.ask.send(());
            let _ = turns.may_go.recv();
        }
    });
}

thread_local! {
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}
