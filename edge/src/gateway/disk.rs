//! The writer thread: the only place that waits for a disk sync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use sync::{Offset, PerLane, WallTime};

use super::clock::Clock;
use super::committer::Group;
use crate::log::{Committed, Event, Gap, LogError, Writer};

/// What the core asks of the writer.
pub(crate) enum Request {
    /// Make it durable.
    Commit(Group),
    /// The lowest offsets that anybody still wants.
    Release(PerLane<Offset>),
    /// Write down a gap that a reader found or the cloud made.
    NoteGap(Gap),
    /// Save what is whole of a mail file that can't be read on.
    MendMail,
    /// Make a copy of the log for a backup.
    Snapshot,
    /// Nothing new: retention and what failed before.
    Maintain,
}

/// What the writer tells the core, in the order in which it happened.
pub(crate) enum Answer {
    /// A group is durable, or was refused as a whole.
    Committed {
        group: Group,
        result: Result<Committed, LogError>,
    },
    /// Files changed.
    Event(Event),
}

/// The core's end of the writer thread.
pub(crate) struct Disk {
    pub(crate) requests: Sender<Request>,
    pub(crate) answers: Receiver<Answer>,
    thread: thread::JoinHandle<Result<(), LogError>>,
    turns: Arc<AtomicU64>,
}

/// Requests that may wait: one group, and some notes.
const REQUESTS: usize = 16;
/// Answers that may wait; the core always takes them, so this is only a smoothing.
const ANSWERS: usize = 64;
/// What a write on a hung disk may hold up the stop of the program.
const CLOSE_PATIENCE: Duration = Duration::from_millis(900);

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(writer: Writer, clock: Clock) -> io::Result<Self> {
        let (requests, inbox) = async_channel::bounded(REQUESTS);
        let (outbox, answers) = async_channel::bounded(ANSWERS);
        let turns = Arc::new(AtomicU64::new(0));
        let counter = turns.clone();
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .stack_size(512 << 10)
            .spawn(move || write(writer, clock, &inbox, &outbox, &counter))?;
        Ok(Self {
            requests,
            answers,
            thread,
            turns,
        })
    }

    /// How many requests the thread has dealt with; it gets one a second at least.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Ends the thread: the journal is emptied and the files are closed, if the disk lets it
    /// happen in time. If not, the next start does the same from the journal.
    pub(crate) fn close(self) -> Result<(), LogError> {
        self.requests.close();
        self.answers.close();
        let deadline = now() + CLOSE_PATIENCE;
        while !self.thread.is_finished() {
            if now() >= deadline {
                return Ok(());
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        self.thread.join().unwrap_or(Ok(()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stop of the program has a deadline"
)]
fn now() -> Instant {
    Instant::now()
}

fn write(
    mut writer: Writer,
    clock: Clock,
    inbox: &Receiver<Request>,
    outbox: &Sender<Answer>,
    turns: &AtomicU64,
) -> Result<(), LogError> {
    while let Ok(request) = inbox.recv_blocking() {
        let time = clock.stamp();
        let wall = time.steady;
        writer.note_time(time);
        match request {
            Request::Commit(group) => {
                let result = writer.commit(&group.batch, wall);
                // A closed channel means that the core has gone; what is durable stays so.
                let _ = outbox.send_blocking(Answer::Committed { group, result });
            }
            Request::Release(floors) => writer.release(floors),
            Request::NoteGap(gap) => {
                writer.note_gap(gap);
            }
            Request::MendMail => writer.mend_mail(wall),
            Request::Snapshot => writer.snapshot(),
            Request::Maintain => {}
        }
        maintain(&mut writer, wall, outbox);
        turns.fetch_add(1, Ordering::Relaxed);
    }
    writer.close()
}

fn maintain(writer: &mut Writer, wall: WallTime, outbox: &Sender<Answer>) {
    for event in writer.maintain(wall) {
        let _ = outbox.send_blocking(Answer::Event(event));
    }
}

#[cfg(test)]
mod tests {
    use sync::{Change, Table};

    use super::*;
    use crate::log::simulated::SimulatedFolder;
    use crate::log::{Batch, Opened, Settings, open};

    fn commit() -> Request {
        let put = Change::Put {
            table: Table::Sessions,
            key: vec![1],
            value: vec![2],
        };
        Request::Commit(Group {
            batch: Batch { changes: vec![put] },
            owners: Vec::new(),
        })
    }

    fn start(folder: &SimulatedFolder) -> Disk {
        let settings = Settings::default();
        let opened = open(folder.directory(), settings, WallTime(1)).expect("the log works");
        let Opened { writer, .. } = opened;
        Disk::start(writer, Clock::resume(None)).expect("a thread")
    }

    /// A card that is busy with itself for half a minute is nobody's end, and nobody's lie.
    #[test]
    fn a_sync_that_hangs_holds_up_the_writer_alone_and_shows() {
        let folder = SimulatedFolder::new();
        let disk = start(&folder);
        folder.hold_syncs(true);
        let requests = [commit(), Request::Maintain, Request::Maintain];
        for request in requests {
            disk.requests.try_send(request).expect("there is room");
        }
        // Nobody waits for the thread, and nothing is acknowledged.
        assert_eq!(disk.turns(), 0);
        assert!(disk.answers.try_recv().is_err());
        folder.hold_syncs(false);
        let answer = disk.answers.recv_blocking().expect("the thread lives");
        assert!(matches!(answer, Answer::Committed { result: Ok(_), .. }));
        disk.close().expect("the log can be closed");
    }

    #[test]
    fn a_stop_does_not_wait_for_a_sync_that_hangs() {
        let folder = SimulatedFolder::new();
        let disk = start(&folder);
        folder.hold_syncs(true);
        disk.requests.try_send(commit()).expect("there is room");
        let before = now();
        disk.close().expect("the thread is left behind");
        assert!(before.elapsed() < CLOSE_PATIENCE * 3);
        folder.hold_syncs(false);
    }
}
