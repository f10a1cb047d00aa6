//! The two threads of the log, the only places that wait for a disk: the writer, which makes groups
//! durable and answers, and the worker, which does the jobs of the writer on the files behind the
//! journal.
//!
//! Promises that a group waits for a job only when the journal has no room for it. Never has more
//! than one job.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use smol::Timer;
use smol::future::FutureExt as _;
use sync::{Offset, PerLane, WallTime};

use super::clock::Clock;
use super::committer::Group;
use crate::log::{Batch, Committed, Done, Event, Gap, Job, LogError, Progress, Writer};

/// What the core asks of the writer.
pub(crate) enum Request {
    /// Make it durable.
    Commit(Group),
    /// The lowest offsets that anybody still wants.
    Release(PerLane<Offset>),
    /// Write down gaps that readers found or the cloud made.
    NoteGaps(Vec<Gap>),
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

/// The core's end of the writer thread. The worker's only end is the writer's.
pub(crate) struct Disk {
    requests: Sender<Request>,
    pub(crate) answers: Receiver<Answer>,
    /// A request may be waiting for room.
    is_sending: Cell<bool>,
    thread: thread::JoinHandle<Result<(), LogError>>,
    turns: Arc<AtomicU64>,
}

/// Requests that may wait: one group, and some notes.
const REQUESTS: usize = 16;
/// Answers that may wait; the core always takes them, so this is only a smoothing.
const ANSWERS: usize = 64;
/// What a job may take before the writer counts as one that hangs, or a piece of one that copies. A
/// slow card needs half a minute for a single sync now and then, and a job has several.
const JOB_PATIENCE: Duration = Duration::from_secs(120);
/// How often a job is looked after while nothing else can be done.
const LOOK: Duration = Duration::from_millis(500);
/// What a write on a hung disk may hold up the stop of the program.
const CLOSE_PATIENCE: Duration = Duration::from_millis(900);

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(writer: Writer, clock: Clock) -> io::Result<Self> {
        let (requests, inbox) = async_channel::bounded(REQUESTS);
        let (outbox, answers) = async_channel::bounded(ANSWERS);
        let turns = Arc::new(AtomicU64::new(0));
        let desk = Desk {
            writer,
            clock,
            outbox,
            worker: Worker::start()?,
            turns: turns.clone(),
        };
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || desk.serve(&inbox))?;
        Ok(Self {
            requests,
            answers,
            is_sending: Cell::new(false),
            thread,
            turns,
        })
    }

    /// Asks the writer for something, as soon as there is room for it. One task at a time may.
    pub(crate) async fn send(&self, request: Request) {
        self.is_sending.set(true);
        // The writer only goes when nobody is left who asks.
        let _ = self.requests.send(request).await;
        self.is_sending.set(false);
    }

    /// Asks for a commit, if there is a group and nothing that was asked before waits for room.
    pub(crate) fn offer(&self, group: impl FnOnce() -> Option<Group>) {
        if !self.is_sending.get()
            && !self.requests.is_full()
            && let Some(group) = group()
        {
            let sent = self.requests.try_send(Request::Commit(group));
            debug_assert!(sent.is_ok(), "there is room, and the writer has not gone");
        }
    }

    /// How many requests the writer has dealt with while the worker kept up, and how often it found,
    /// waiting for a job, that this had come on; it gets one a second at least.
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

/// What the writer thread works with.
struct Desk {
    writer: Writer,
    clock: Clock,
    outbox: Sender<Answer>,
    worker: Worker,
    turns: Arc<AtomicU64>,
}

/// What comes to the writer thread.
enum Call {
    Request(Request),
    Done(Done),
}

impl Desk {
    fn serve(mut self, inbox: &Receiver<Request>) -> Result<(), LogError> {
        while let Some(call) = self.next(inbox) {
            let time = self.clock.stamp();
            self.writer.note_time(time);
            match call {
                Call::Request(request) => self.deal_with(request, time.steady),
                Call::Done(done) => self.finish(done),
            }
            self.tell_events();
            if let Some(job) = self.writer.begin(time.steady) {
                self.worker.give(job);
            }
            // One that could not begin says why.
            self.tell_events();
            if self.worker.keeps_up(now()) {
                self.turns.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.await_job();
        self.writer.close()
    }

    /// Waits for either thread to say something; `None` when the core has gone. Not in the way of
    /// `smol::block_on`, which takes turns with the core at watching the core's sockets.
    fn next(&self, inbox: &Receiver<Request>) -> Option<Call> {
        let done = async {
            match self.worker.done.recv().await {
                Ok(done) => Some(Call::Done(done)),
                Err(_) => std::future::pending().await,
            }
        };
        let request = async { inbox.recv().await.ok().map(Call::Request) };
        smol::future::block_on(done.or(request))
    }

    fn deal_with(&mut self, request: Request, wall: WallTime) {
        match request {
            Request::Commit(group) => {
                self.await_room(&group.batch);
                let result = self.writer.commit(&group.batch, wall);
                // What it did to segments itself is told behind its answer.
                self.tell_events();
                // A closed channel means that the core has gone; what is durable stays so.
                let _ = self
                    .outbox
                    .send_blocking(Answer::Committed { group, result });
            }
            Request::Release(floors) => self.writer.release(floors),
            Request::NoteGaps(gaps) => gaps.into_iter().for_each(|gap| {
                self.writer.note_gap(gap);
            }),
            Request::MendMail => self.writer.mend_mail(),
            Request::Snapshot => self.writer.snapshot(),
            Request::Maintain => {}
        }
    }

    fn await_room(&mut self, batch: &Batch) {
        if self.writer.waits_for_job(batch) {
            self.await_job();
            // They come before the answer to the batch.
            self.tell_events();
        }
    }

    fn await_job(&mut self) {
        if self.writer.is_lent()
            && let Some(done) = self.worker.wait(&self.turns)
        {
            self.finish(done);
        }
    }

    fn finish(&mut self, done: Done) {
        self.worker.since = None;
        self.writer.finish(done);
    }

    fn tell_events(&mut self) {
        for event in self.writer.events() {
            let _ = self.outbox.send_blocking(Answer::Event(event));
        }
    }
}

/// The writer's end of the worker thread, which ends with it.
struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// When the job under way was given to it, or was seen to have come on.
    since: Option<Instant>,
    /// Of that job, and how far it was when somebody looked.
    progress: (Progress, u64),
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (jobs, inbox) = async_channel::bounded::<Job>(1);
        let (outbox, done) = async_channel::bounded(1);
        thread::Builder::new()
            .name("log-worker".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while let Ok(job) = inbox.recv_blocking() {
                    // A closed channel means that the writer has gone.
                    let _ = outbox.send_blocking(job.run());
                }
            })?;
        Ok(Self {
            jobs,
            done,
            since: None,
            progress: (Progress::default(), 0),
        })
    }

    fn give(&mut self, job: Job) {
        self.since = Some(now());
        let progress = job.progress();
        let pieces = progress.pieces();
        self.progress = (progress, pieces);
        // The thread only goes when this end has gone.
        let _ = self.jobs.send_blocking(job);
    }

    /// Waits for the job under way, and counts a turn whenever it is seen to have come on: one that
    /// copies may take longer than anybody's patience. `None` when the thread has gone.
    fn wait(&mut self, turns: &AtomicU64) -> Option<Done> {
        loop {
            let done = async { Some(self.done.recv().await) };
            let look = async {
                Timer::after(LOOK).await;
                None
            };
            match smol::future::block_on(done.or(look)) {
                Some(done) => return done.ok(),
                None => {
                    turns.fetch_add(u64::from(self.comes_on(now())), Ordering::Relaxed);
                }
            }
        }
    }

    fn keeps_up(&mut self, now: Instant) -> bool {
        self.comes_on(now);
        self.since.is_none_or(|since| now < since + JOB_PATIENCE)
    }

    /// Whether the job has copied anything since it was last asked after.
    fn comes_on(&mut self, now: Instant) -> bool {
        let (progress, seen) = &mut self.progress;
        let pieces = progress.pieces();
        let comes_on = std::mem::replace(seen, pieces) != pieces;
        if comes_on {
            self.since = self.since.map(|_| now);
        }
        comes_on
    }
}

/// Of each of the two threads.
const STACK_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use sync::{Change, Table};

    use super::*;
    use crate::log::simulated::SimulatedFolder;
    use crate::log::{Batch, Opened, Settings, open};

    fn commit() -> Request {
        put(1, 1)
    }

    fn put(number: u8, bytes: usize) -> Request {
        let put = Change::Put {
            table: Table::Sessions,
            key: vec![number],
            value: vec![2; bytes],
        };
        Request::Commit(Group {
            batch: Batch { changes: vec![put] },
            owners: Vec::new(),
        })
    }

    fn start(folder: &SimulatedFolder) -> Disk {
        let settings = Settings {
            journal_bytes: 256 << 10,
            flush_bytes: 60 << 10,
            ..Settings::default()
        };
        let opened = open(folder.directory(), settings, WallTime(1)).expect("the log works");
        let Opened { writer, .. } = opened;
        Disk::start(writer, Clock::resume(None)).expect("a thread")
    }

    /// A card that is busy with itself for half a minute is nobody's end, and nobody's lie.
    #[test]
    fn a_sync_that_hangs_holds_up_the_writer_alone_and_shows() {
        let folder = SimulatedFolder::new();
        let disk = start(&folder);
        folder.hold_syncs(Some(""));
        let requests = [commit(), Request::Maintain, Request::Maintain];
        for request in requests {
            disk.requests.try_send(request).expect("there is room");
        }
        // Nobody waits for the thread, and nothing is acknowledged.
        assert_eq!(disk.turns(), 0);
        assert!(disk.answers.try_recv().is_err());
        folder.hold_syncs(None);
        let answer = disk.answers.recv_blocking().expect("the thread lives");
        assert!(matches!(answer, Answer::Committed { result: Ok(_), .. }));
        disk.close().expect("the log can be closed");
    }

    /// No acknowledgement waits for redb as long as the next job has not enough to do.
    #[test]
    fn a_job_that_hangs_holds_up_nobody_until_there_is_enough_for_the_next() {
        let folder = SimulatedFolder::new();
        let disk = start(&folder);
        folder.hold_syncs(Some("state"));
        // It is under way from the eighth on, and twice as many may follow.
        for number in 0..16 {
            let request = put(number, 7900);
            disk.requests.send_blocking(request).expect("a writer");
            expect_commit(&disk);
        }
        let mut waiting = 0;
        while disk.requests.try_send(put(waiting, 20_000)).is_ok() {
            waiting += 1;
            assert!(waiting < 100, "none is refused, so they wait");
            thread::yield_now();
        }
        folder.hold_syncs(None);
        (0..waiting).for_each(|_| expect_commit(&disk));
        disk.close().expect("the log can be closed");
    }

    fn expect_commit(disk: &Disk) {
        loop {
            let answer = disk.answers.recv_blocking().expect("the thread lives");
            if let Answer::Committed { result, .. } = answer {
                result.expect("it is stored");
                return;
            }
        }
    }

    #[test]
    fn a_job_may_be_slow_and_one_that_hangs_is_not_hidden() {
        let folder = SimulatedFolder::new();
        let settings = Settings::default();
        let opened = open(folder.directory(), settings, WallTime(1)).expect("the log works");
        let mut writer = opened.writer;
        let mut worker = Worker::start().expect("a thread");
        let begun = now();
        assert!(worker.keeps_up(begun + JOB_PATIENCE));
        folder.hold_syncs(Some(""));
        writer.snapshot();
        worker.give(writer.begin(WallTime(1)).expect("it was asked for"));
        assert!(worker.keeps_up(begun + JOB_PATIENCE / 2));
        assert!(!worker.keeps_up(now() + JOB_PATIENCE));
        folder.hold_syncs(None);
        let done = worker.done.recv_blocking().expect("the thread lives");
        writer.finish(done);
    }

    /// Opens a log with some MiB of mail, of which a copy has several pieces.
    fn writer_of_mail(folder: &SimulatedFolder) -> Writer {
        let settings = Settings {
            has_mail: true,
            ..Settings::default()
        };
        let opened = open(folder.directory(), settings, WallTime(1)).expect("the log works");
        let mut writer = opened.writer;
        for number in 0..45 {
            let put = Change::Put {
                table: Table::Mail,
                key: vec![number],
                value: vec![number; 100 << 10],
            };
            let batch = Batch { changes: vec![put] };
            writer.commit(&batch, WallTime(1)).expect("there is room");
            writer.maintain(WallTime(1));
        }
        writer.close().expect("the log works");
        // All of it is one piece.
        let settings = Settings {
            flush_bytes: 64 << 20,
            ..Settings::default()
        };
        let opened = open(folder.directory(), settings, WallTime(1));
        opened.expect("the log works").writer
    }

    /// A group that found no room beside a long backup kept the writer waiting, and the service
    /// manager ended the program in the middle of it.
    #[test]
    fn whoever_waits_for_a_copy_that_comes_on_counts_as_one_who_turns() {
        let folder = SimulatedFolder::new();
        let mut writer = writer_of_mail(&folder);
        let mut worker = Worker::start().expect("a thread");
        folder.hold_syncs(Some("mail"));
        writer.snapshot();
        worker.give(writer.begin(WallTime(1)).expect("it was asked for"));
        let turns = AtomicU64::new(0);
        let done = thread::scope(|scope| {
            let waiting = scope.spawn(|| worker.wait(&turns));
            let begun = now();
            while turns.load(Ordering::Relaxed) == 0 {
                assert!(begun.elapsed() < JOB_PATIENCE, "it comes on");
                thread::yield_now();
            }
            folder.hold_syncs(None);
            waiting.join().expect("it only waits")
        });
        writer.finish(done.expect("the thread lives"));
    }

    /// A backup with more mail than a card writes in two minutes ended the program.
    #[test]
    fn a_copy_may_take_its_time_for_as_long_as_it_comes_on() {
        let folder = SimulatedFolder::new();
        let mut writer = writer_of_mail(&folder);
        let mut worker = Worker::start().expect("a thread");
        folder.hold_syncs(Some("mail"));
        writer.snapshot();
        let job = writer.begin(WallTime(1)).expect("it was asked for");
        let progress = job.progress();
        worker.give(job);
        let begun = now();
        while progress.pieces() == 0 {
            assert!(begun.elapsed() < JOB_PATIENCE, "it comes on");
            thread::yield_now();
        }
        let mut at = begun + JOB_PATIENCE;
        assert!(worker.keeps_up(at), "it has come on since");
        // It waits for its first sync now, or soon.
        loop {
            at += JOB_PATIENCE;
            if !worker.keeps_up(at) {
                break;
            }
        }
        folder.hold_syncs(None);
        let done = worker.done.recv_blocking().expect("the thread lives");
        writer.finish(done);
        assert!(worker.keeps_up(at + JOB_PATIENCE));
    }

    #[test]
    fn a_stop_does_not_wait_for_a_sync_that_hangs() {
        let folder = SimulatedFolder::new();
        let disk = start(&folder);
        folder.hold_syncs(Some(""));
        disk.requests.try_send(commit()).expect("there is room");
        let before = now();
        disk.close().expect("the thread is left behind");
        // It would wait for ever; the rest is room for a busy machine.
        assert!(before.elapsed() < CLOSE_PATIENCE * 10);
        folder.hold_syncs(None);
    }
}
