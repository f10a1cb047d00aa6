//! The writing side: commits into the journal, and work on the files that can wait.
//!
//! ```text
//!   commit --> journal (one write, one sync) --> memory
//!   commit of much --> segments --> journal, a word (see log/writer/direct.rs)
//!   begin, run, finish, when the journal is due:
//!     memory --> segments --> mail.redb --> state.redb (see log/files.rs)
//! ```
//!
//! Promises that a commit never waits for redb while the journal has room for it: the files are lent
//! to a [`Job`], and the frames it brings over are kept until it is done. What is committed
//! meanwhile waits in memory and in the journal for the next one. A commit that finds no room there
//! waits for the job ([`Writer::waits_for_job`]), or where the files are at home does the work
//! itself.

mod direct;
mod fresh;
mod gaps;
mod job;
mod room;

use std::sync::Arc;

use sync::{Change, Offset, PerLane, TimeStamp, WallTime};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::files::{Cut, Files, is_past};
use super::intake::{Holding, Intake};
use super::journal::{self, Journal};
use super::retention::AgeClock;
use super::{Batch, Committed, Event, Gap, LogError, Meter, Settings, frame, gap, recovery};

pub(super) use self::fresh::Fresh;
use self::job::Order;
pub use self::job::{Done, Job, Progress};

/// Makes batches durable and keeps the files in order. It owns everything that is written; there
/// is one a folder.
#[derive(Debug)]
pub struct Writer {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) settings: Settings,
    pub(super) journal: Journal,
    /// Everything else that is written; `None` while it is lent.
    pub(super) files: Option<Box<Files>>,
    /// The handle that is in the files as well, for reading.
    state: SharedDatabase,
    /// Not yet handed over to the files.
    fresh: Fresh,
    /// The offset that the next append to each lane has.
    next: PerLane<Offset>,
    /// Gaps that are nowhere but here.
    noted: Vec<Gap>,
    /// Gaps that were handed over to the job under way.
    lent_gaps: Vec<Gap>,
    /// All gaps with lower numbers were announced.
    announced: u64,
    /// Changes of the mail since the log was opened.
    pub(super) mail_changes: u64,
    /// Both clocks, as told last.
    time: Option<TimeStamp>,
    floors: PerLane<Offset>,
    clock: AgeClock,
    /// What the next job is asked for.
    order: Order,
    /// Something was asked for or found that only a look at the files settles.
    is_look_due: bool,
    /// When the last job began.
    looked_at: Option<WallTime>,
    pub(super) events: Vec<Event>,
    /// What the last batch did to segments.
    own_events: Vec<Event>,
    /// The mark of the start is still in the folder.
    is_starting: bool,
    /// What was written, since the log was made.
    pub(super) meter: Meter,
    /// When that was looked at last.
    metered_at: WallTime,
    /// The files as they were when they were lent.
    pub(super) holding: Holding,
    /// As it was told last.
    intake: PerLane<Intake>,
}

impl Writer {
    pub(super) fn new(journal: Journal, files: Files) -> Self {
        Self {
            directory: Arc::clone(&files.directory),
            settings: files.settings.clone(),
            journal,
            state: files.state.clone(),
            fresh: Fresh::default(),
            next: PerLane::from_fn(|lane| files.lanes[lane].next()),
            noted: Vec::new(),
            lent_gaps: Vec::new(),
            announced: files.marks.announced,
            mail_changes: files.cut.mail_changes,
            time: files.facts.time,
            floors: PerLane::default(),
            clock: AgeClock::default(),
            order: Order::default(),
            is_look_due: true,
            looked_at: None,
            events: Vec::new(),
            own_events: Vec::new(),
            is_starting: true,
            meter: files.meter.clone(),
            metered_at: WallTime::default(),
            holding: files.holding(),
            intake: PerLane::from_fn(|_| Intake::Open),
            files: Some(Box::new(files)),
        }
    }

    /// Makes a batch durable: one write and one sync of the journal, with a large group of records
    /// in segments before. When it returns, the batch may be acknowledged. Gaps noted before have a
    /// frame of their own, which goes first, also where the batch has nothing in it.
    ///
    /// # Errors
    /// When the batch can't be stored. It may be found stored all the same, which is what not
    /// acknowledging it means: as a whole after a power cut; or some of its records, where it is
    /// nothing but records, and while the log is open as well. An [`Event::Flushed`] tells of these
    /// before the answer of the next batch, which has offsets behind them.
    pub fn commit(&mut self, batch: &Batch, wall: WallTime) -> Result<Committed, LogError> {
        self.events.append(&mut self.own_events);
        let first = self.next;
        let mut committed = Committed {
            first,
            ..Committed::default()
        };
        let bytes = frame::padded_bytes(batch);
        if bytes > self.journal.capacity() {
            return Err(LogError::TooLarge {
                found: bytes,
                allowed: self.journal.capacity(),
            });
        }
        self.check_place()?;
        self.commit_noted(wall)?;
        self.make_room(bytes, wall)?;
        if batch.changes.is_empty() {
            return Ok(committed);
        }
        let lanes = self.direct_lanes(batch);
        if lanes.is_empty() {
            self.journal.write(batch, wall, first)?;
            self.take_all(batch, &mut committed);
        } else {
            let others = self.commit_directly(batch, &lanes, wall)?;
            self.take_all(&others, &mut committed);
        }
        Ok(committed)
    }

    /// Whether a batch has to wait for the job under way, because the journal has no room for it,
    /// or twice as much has come since as makes a job due: so what waits in memory is four times
    /// that and two batches at most, and where jobs fail what the journal has room for. Then a
    /// driver waits for the job and calls [`Writer::finish`] before it commits.
    #[must_use]
    pub fn waits_for_job(&self, batch: &Batch) -> bool {
        let bytes = frame::padded_bytes(batch);
        let is_enough = self.fresh.bytes >= AMID * self.settings.flush_bytes;
        let is_possible = bytes <= self.journal.capacity();
        self.is_lent() && (is_enough || is_possible && !self.has_room_behind_noted(bytes))
    }

    /// Lends the files to a job if there is something to do: the journal to be emptied, segments to
    /// go for what was released or is over a limit, a failure to be tried again. `None` while a job
    /// is under way. Call it after every commit, and at least every few seconds.
    pub fn begin(&mut self, wall: WallTime) -> Option<Job> {
        self.events.append(&mut self.own_events);
        self.pass(wall);
        let files = self.files.as_deref()?;
        if !files.may_try(wall) {
            return None;
        }
        if !self.is_in_place() {
            self.refuse_job(wall);
            return None;
        }
        let order = Order {
            flushes: self.order.mends_mail || self.is_flush_due(files, wall),
            ..self.order
        };
        let copies = order.copies || files.copying.is_some();
        if !(order.flushes || copies || self.must_look(files, wall)) {
            return None;
        }
        self.order = Order::default();
        self.is_look_due = false;
        self.looked_at = Some(wall);
        let files = self.lend()?;
        Some(Job { files, order, wall })
    }

    /// Takes the files back from a job. Its events come with [`Writer::events`].
    pub fn finish(&mut self, done: Done) {
        self.take_back(done.files);
    }

    /// Gives what happened since, in order. What it gives after a commit comes before the answer to
    /// it; what the commit itself did to segments is given behind that, by the next call.
    pub fn events(&mut self) -> Vec<Event> {
        self.tell_intake();
        let own = std::mem::take(&mut self.own_events);
        std::mem::replace(&mut self.events, own)
    }

    /// Does here and now what a job would be lent the files for, until nothing is left to do. Never
    /// fails as a whole: failures are events, and are tried again at most once a second.
    pub fn maintain(&mut self, wall: WallTime) -> Vec<Event> {
        while let Some(job) = self.begin(wall) {
            self.finish(job.run());
        }
        self.events()
    }

    /// Sets the lowest offset of each lane that any reader still wants. Segments wholly below are
    /// removed by the next job. Until it is called everything is wanted.
    pub fn release(&mut self, floors: PerLane<Offset>) {
        self.is_look_due |= floors != self.floors;
        self.floors = floors;
    }

    /// Has the next job put a new file in the place of `mail.redb`, with the rows of it that are
    /// intact: a reader came upon [`Damage::File`](super::Damage).
    pub const fn mend_mail(&mut self) {
        self.order.mends_mail = true;
    }

    /// Has the next job begin a copy of the log in the folder `snapshot` inside its own, and those
    /// after it go on with it, a piece each. It is as good a data folder as this one, up to when the
    /// first of them began. An older one there is removed, and one under way is begun anew. The outcome
    /// is an event.
    pub const fn snapshot(&mut self) {
        self.order.copies = true;
    }

    /// Empties the journal and closes all files, so that the next start has nothing to repair.
    /// Dropping the writer instead is as safe and makes the next start slower; where the files are
    /// lent it is the same.
    ///
    /// # Errors
    /// When the journal could not be emptied; it then keeps what it holds for the next start.
    pub fn close(mut self) -> Result<(), LogError> {
        self.check_place()?;
        self.has_started();
        self.fresh.gaps.append(&mut self.noted);
        let is_due = self.waiting_bytes() > 0
            || self.journal.used_bytes() > 0
            || !self.fresh.gaps.is_empty();
        if is_due {
            self.flush()?;
        }
        self.files.map_or(Ok(()), |files| files.close())
    }

    /// Takes both clocks, which the next start is told of ([`Opened::time`](super::Opened::time)).
    pub const fn note_time(&mut self, time: TimeStamp) {
        self.time = Some(time);
    }

    /// Whether the files are lent to a job.
    #[must_use]
    pub const fn is_lent(&self) -> bool {
        self.files.is_none()
    }

    /// What was written, kept up to date.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// How much of the journal is in use, in bytes of the file: for metrics.
    #[must_use]
    pub fn journal_used_bytes(&self) -> u64 {
        self.journal.used_bytes()
    }

    /// How many bytes the segments of each lane hold: for metrics. Those of before it while a job is
    /// under way.
    #[must_use]
    pub fn lane_bytes(&self) -> PerLane<u64> {
        PerLane::from_fn(|lane| self.holding.lanes[lane].bytes)
    }

    /// Brings everything into redb here and now.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        let Some(mut files) = self.lend() else {
            return Ok(());
        };
        let done = files.flush();
        self.take_back(files);
        done
    }

    /// Brings everything into redb here and now, and remembers how that ended.
    pub(super) fn try_flush(&mut self, wall: WallTime) {
        if let Some(mut files) = self.lend() {
            let done = files.flush();
            files.note_outcome(done, wall);
            self.take_back(files);
        }
    }

    /// Remembers how something ended.
    pub(super) fn note_outcome(&mut self, done: Result<(), LogError>, wall: WallTime) {
        if let Some(mut files) = self.files.take() {
            files.note_outcome(done, wall);
            self.take_back(files);
        }
    }

    fn check_place(&self) -> Result<(), LogError> {
        match self.is_in_place() {
            true => Ok(()),
            false => Err(self.displaced()),
        }
    }

    /// Whether the journal is where the next start will look for it.
    fn is_in_place(&self) -> bool {
        self.journal.is_in_place(self.directory.as_ref())
    }

    fn displaced(&self) -> LogError {
        LogError::Displaced {
            path: format!("{}/{}", self.directory.path(), journal::NAME),
        }
    }

    /// Hands over to the files what they lack.
    fn lend(&mut self) -> Option<Box<Files>> {
        let mut files = self.files.take()?;
        let cut = Cut {
            journal: self.journal.cut(),
            ownership: self.journal.ownership(),
            time: self.time,
            mail_changes: self.mail_changes,
        };
        files.take(&mut self.fresh, cut);
        files.clock = self.clock;
        for (lane, floor) in self.floors.iter() {
            files.lanes[lane].floor = *floor;
        }
        let marks = &mut files.marks;
        files.has_fresh_gaps |= self.announced > marks.announced;
        marks.announced = self.announced.max(marks.announced);
        marks.handed_out = marks.announced.max(marks.handed_out);
        self.lent_gaps.clone_from(&files.gaps);
        self.holding = files.holding();
        Some(files)
    }

    fn take_back(&mut self, mut files: Box<Files>) {
        if let Some(cut) = files.emptied.take() {
            self.journal.emptied(cut);
        }
        self.lent_gaps.clear();
        // A reader may have found damage meanwhile in what the job has given up.
        let made = std::mem::take(&mut files.made);
        for gaps in [&mut self.noted, &mut self.fresh.gaps] {
            gaps.retain_mut(|gap| gap::leave_out(gap, &made));
        }
        self.events.append(&mut files.events);
        self.holding = files.holding();
        self.files = Some(files);
    }

    fn is_flush_due(&self, files: &Files, wall: WallTime) -> bool {
        self.waiting_bytes() >= self.settings.flush_bytes
            || self.journal.used_bytes() * 2 >= self.journal.capacity()
            || self.journal.is_failed()
            || files.failed_at.is_some()
            || self.shows_gaps_late(files, wall)
    }

    /// Whether there may be something to do that is not flushing.
    fn must_look(&self, files: &Files, wall: WallTime) -> bool {
        let changes_with_time = !files.has_reserve
            || files
                .lanes
                .iter()
                .any(|(_, it)| it.limits.max_age.is_some());
        self.is_look_due
            || files.has_more_to_trim()
            || files.has_gaps_to_hand_out(self.announced)
            || changes_with_time && is_past(self.looked_at, LOOK_MILLISECONDS, wall)
    }

    /// A job that can't begin, because the folder is not there.
    fn refuse_job(&mut self, wall: WallTime) {
        let begins = std::mem::take(&mut self.order.copies);
        let error = self.displaced();
        let files = self.files.as_deref_mut();
        if let Some(files) = files.filter(|files| begins || files.copying.is_some()) {
            // What is there of it is in another place.
            files.copying = None;
            files.end_copy(Err(error));
            self.events.append(&mut files.events);
        }
        self.note_outcome(Err(self.displaced()), wall);
    }

    /// Takes the time.
    fn pass(&mut self, wall: WallTime) {
        self.clock.tick(wall);
        self.meter.pass(self.metered_at, wall);
        self.metered_at = wall;
        self.has_started();
    }

    fn has_started(&mut self) {
        if self.is_starting {
            self.is_starting = !recovery::unmark(self.directory.as_ref());
        }
    }

    fn take_all(&mut self, batch: &Batch, committed: &mut Committed) {
        for change in &batch.changes {
            self.take(change, committed);
        }
    }

    /// Keeps in memory what was made durable, until it is flushed.
    fn take(&mut self, change: &Change, committed: &mut Committed) {
        if let Some(announced) = gap::announced_by(change) {
            self.announced = announced;
            return;
        }
        if let Change::Append { lane, .. } = change {
            self.next[*lane] = self.next[*lane].next();
        }
        let before = committed.mail.len();
        self.fresh.take(change, committed);
        self.mail_changes += (committed.mail.len() - before) as u64;
    }

    fn make_room(&mut self, bytes: u64, wall: WallTime) -> Result<(), LogError> {
        if self.has_room_for(bytes) {
            return Ok(());
        }
        if self.files.as_ref().is_some_and(|files| files.may_try(wall)) {
            self.try_flush(wall);
        }
        if !self.has_room_for(bytes) {
            return Err(LogError::Full {
                found: bytes,
                free: self.journal.free_bytes(),
            });
        }
        Ok(())
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        !self.journal.is_failed() && self.journal.has_room_for(bytes)
    }

    /// Bytes of records and state that wait for redb, but for those of a job under way.
    fn waiting_bytes(&self) -> usize {
        self.fresh.bytes + self.files.as_ref().map_or(0, |files| files.waiting_bytes)
    }
}

/// How much may come while a job is under way, in units of what makes one due. With less a burst
/// waits for redb after all, with more it takes memory.
const AMID: usize = 2;
/// Between looks for what is too old.
const LOOK_MILLISECONDS: u64 = 1000;
