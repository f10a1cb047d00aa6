//! The writing side, on a thread of its own.
//!
//! Every batch goes the same way:
//!
//! ```text
//!   commit --> journal (one write, one sync) --> memory
//!   maintain, when the journal is due:
//!     memory --> segments (a commit a lane) --> state.redb (changes, gaps, journal position)
//! ```
//!
//! Segments come before the state, so a power cut between the two finds records twice, in a
//! segment and in the journal, and never not at all; replaying drops by offset what is there.
//!
//! When redb fails (a full disk, above all) nothing is lost: the journal still has everything, and
//! commits go on while it has room. The reserve is given back at once, and flushing is tried again
//! about every second.

mod trim;

use std::sync::Arc;

use sync::{Change, Lane, Offset, PerLane, TimeStamp, WallTime};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::gap::ledger::Marks;
use super::intake::{Filling, Intake, Pressure};
use super::journal::{self, Journal};
use super::lane::{Active, LaneFiles};
use super::retention::AgeClock;
use super::state::exchange::exchange;
use super::state::{self, Facts, Keeping, Puts};
use super::{
    Batch, Committed, Event, Gap, LogError, Meter, Reason, Settings, frame, gap, latest, recovery,
    reserve,
};

/// Makes batches durable and keeps the files in order. It owns everything that is written; there
/// is one a folder.
#[derive(Debug)]
pub struct Writer {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) settings: Settings,
    pub(super) journal: Journal,
    pub(super) state: SharedDatabase,
    /// As last committed.
    pub(super) facts: Facts,
    pub(super) lanes: PerLane<LaneFiles>,
    /// Committed and not yet in `state.redb`.
    pub(super) puts: Puts,
    /// In the journal, or found again by every start, and not yet in `state.redb`.
    pub(super) gaps: Vec<Gap>,
    /// Gaps that are nowhere but here.
    pub(super) noted: Vec<Gap>,
    /// Which of the gaps in `state.redb` were announced, or are about to be.
    pub(super) marks: Marks,
    /// There are gaps to hand out, or there may be.
    pub(super) has_fresh_gaps: bool,
    /// When the oldest of [`Writer::noted`] became durable without being in `state.redb`, where
    /// readers see it.
    pub(super) unseen_since: Option<WallTime>,
    /// Bytes of records and state that wait to be flushed.
    pub(super) waiting_bytes: usize,
    pub(super) events: Vec<Event>,
    /// Files that are trimmed and still have to be removed.
    pub(super) doomed: Vec<(Lane, Offset)>,
    /// When flushing failed last; `None` while it works.
    pub(super) failed_at: Option<WallTime>,
    pub(super) has_reserve: bool,
    /// The mark of the start is still in the folder.
    pub(super) is_starting: bool,
    /// When there was no room for the reserve last.
    pub(super) no_reserve_at: Option<WallTime>,
    pub(super) clock: AgeClock,
    /// What was written, since the log was made.
    pub(super) meter: Meter,
    /// When that was looked at last.
    pub(super) metered_at: WallTime,
    /// As it was told last.
    pub(super) intake: PerLane<Intake>,
}

impl Writer {
    /// Makes a batch durable: one write and one sync of the journal. When it returns, the batch
    /// may be acknowledged. Gaps noted before have a frame of their own, which goes first.
    ///
    /// # Errors
    /// When the batch can't be stored. Nothing of it counts then: no offset is used up. After a
    /// power cut it may be found stored all the same, which is what not acknowledging it means.
    pub fn commit(&mut self, batch: &Batch, wall: WallTime) -> Result<Committed, LogError> {
        let first = PerLane::from_fn(|lane| self.lanes[lane].next());
        if batch.changes.is_empty() {
            return Ok(Committed { first });
        }
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
        self.journal.write(batch, wall, first)?;
        for change in &batch.changes {
            self.take(change);
        }
        Ok(Committed { first })
    }

    /// Does what can wait until the acknowledgements are out: empties the journal when it is due,
    /// begins new segments, removes what nobody wants and what is over a limit. Call it after
    /// every commit, and at least every few seconds for the limits of age and after failures.
    ///
    /// Never fails as a whole: failures are events, and are tried again at most once a second.
    pub fn maintain(&mut self, wall: WallTime) -> Vec<Event> {
        self.clock.tick(wall);
        self.meter.pass(self.metered_at, wall);
        self.metered_at = wall;
        self.has_started();
        if self.may_try(wall) {
            let is_due = self.waiting_bytes >= self.settings.flush_bytes
                || self.journal.used_bytes() * 2 >= self.journal.capacity()
                || self.journal.is_failed()
                || self.failed_at.is_some()
                || self.shows_gaps_late(wall);
            let done = self.check_place().and_then(|()| self.tidy(is_due, wall));
            self.note_outcome(done, wall);
        }
        self.hand_out_gaps();
        self.tell_intake();
        std::mem::take(&mut self.events)
    }

    /// Says what lanes take, when that has changed.
    fn tell_intake(&mut self) {
        let intake = self.pressure().intake();
        if intake != self.intake {
            self.intake = intake;
            self.events.push(Event::Intake { intake });
        }
    }

    fn pressure(&self) -> Pressure {
        let lane = |lane: Lane| {
            let files = &self.lanes[lane];
            Filling {
                bytes: files.bytes(),
                most: files.limits.max_bytes,
                segment: files.segment_bytes,
            }
        };
        Pressure {
            lanes: PerLane::from_fn(lane),
            most: self.settings.max_bytes,
            has_reserve: self.has_reserve,
            journal: self.failed_at.map(|_| Filling {
                bytes: self.journal.used_bytes(),
                most: self.journal.capacity(),
                segment: 0,
            }),
        }
    }

    /// Shows gaps to who announces them: a few, and the next when those are announced.
    fn hand_out_gaps(&mut self) {
        let Marks {
            announced,
            handed_out,
        } = self.marks;
        let is_waiting = handed_out > announced;
        if !(self.settings.announces_gaps && self.has_fresh_gaps) || is_waiting {
            return;
        }
        // What can't be read now is tried again with the next gap.
        self.has_fresh_gaps = false;
        let gaps = state::gaps(&self.state).unwrap_or_default().into_iter();
        let fresh = gaps.filter(|(number, _)| *number >= announced);
        let gaps: Vec<_> = fresh.take(HANDED_OUT).collect();
        if let Some((last, _)) = gaps.last() {
            self.marks.handed_out = last + 1;
            self.events.push(Event::Gaps { gaps });
        }
    }

    fn tidy(&mut self, is_flush_due: bool, wall: WallTime) -> Result<(), LogError> {
        let flushed = if is_flush_due {
            self.flush_with_reserve()
        } else {
            Ok(())
        };
        // Also after a failure: what goes now may be the space that was missing.
        let trimmed = self.trim(wall).and_then(|()| self.remove_doomed());
        flushed.and(trimmed)
    }

    /// Whether the journal is where the next start will look for it.
    pub(super) fn check_place(&self) -> Result<(), LogError> {
        if self.journal.is_in_place(self.directory.as_ref()) {
            return Ok(());
        }
        Err(LogError::Displaced {
            path: format!("{}/{}", self.directory.path(), journal::NAME),
        })
    }

    /// Sets the lowest offset of each lane that any reader still wants. Segments wholly below are
    /// removed by [`Writer::maintain`]. Until it is called everything is wanted.
    pub fn release(&mut self, floors: PerLane<Offset>) {
        for (lane, floor) in floors.iter() {
            self.lanes[lane].floor = *floor;
        }
    }

    /// Writes down a gap that a reader found or the cloud made. Durable no later than the next
    /// batch that is committed, so that no cursor is ever stored that has passed a gap unseen.
    /// Beyond 64 gaps between two commits those of a lane become one. What other gaps count
    /// already is left out: a reader finds the same damage again after every start. Says whether
    /// anything of it is news.
    pub fn note_gap(&mut self, mut gap: Gap) -> bool {
        if !gap::leave_out(&mut gap, &self.known_gaps()) {
            return false;
        }
        let files = &mut self.lanes[gap.lane];
        let is_active = |active: &Active| active.first <= gap.last;
        if gap.reason == Reason::Damage && files.active.as_ref().is_some_and(is_active) {
            // Nothing more goes into a damaged file. What can't be closed goes all the same.
            let _ = files.seal(&mut self.events);
        }
        self.waiting_bytes += GAP_BYTES;
        gap::add(&mut self.noted, gap, NOTED_GAPS);
        true
    }

    /// All gaps that are written down or will be. What can't be read at the moment may be counted
    /// twice.
    pub(super) fn known_gaps(&self) -> Vec<Gap> {
        let stored = state::gaps(&self.state).unwrap_or_default();
        let stored = stored.into_iter().map(|(_, gap)| gap);
        let waiting = self.gaps.iter().chain(&self.noted).cloned();
        stored.chain(waiting).collect()
    }

    /// Empties the journal and closes all files, so that the next start has nothing to repair.
    /// Dropping the writer instead is as safe and makes the next start slower.
    ///
    /// # Errors
    /// When the journal could not be emptied; it then keeps what it holds for the next start.
    pub fn close(mut self) -> Result<(), LogError> {
        self.check_place()?;
        self.has_started();
        if self.waiting_bytes > 0 || self.journal.used_bytes() > 0 {
            self.flush_with_reserve()?;
        }
        for lane in Lane::ALL {
            if let Some(active) = self.lanes[lane].active.take() {
                active.database.close()?;
            }
        }
        self.state.close()
    }

    /// Takes both clocks, which the next start is told of ([`Opened::time`](super::Opened::time)).
    pub const fn note_time(&mut self, time: TimeStamp) {
        self.facts.time = Some(time);
    }

    /// What was written, kept up to date.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// All gaps with lower numbers were announced.
    #[must_use]
    pub const fn announced_below(&self) -> u64 {
        self.marks.announced
    }

    /// How much of the journal is in use, in bytes of the file: for metrics.
    #[must_use]
    pub fn journal_used_bytes(&self) -> u64 {
        self.journal.used_bytes()
    }

    /// How many bytes the segments of each lane hold: for metrics.
    #[must_use]
    pub fn lane_bytes(&self) -> PerLane<u64> {
        PerLane::from_fn(|lane| self.lanes[lane].bytes())
    }

    /// Keeps in memory what was made durable, until it is flushed.
    pub(super) fn take(&mut self, change: &Change) {
        if let Some(announced) = gap::announced_by(change) {
            self.marks.announced = announced;
            self.marks.handed_out = announced.max(self.marks.handed_out);
            self.has_fresh_gaps = true;
            return;
        }
        if let Some((lane, next)) = latest::replaced_by(change) {
            self.facts.replaced[lane] = next;
            return;
        }
        self.waiting_bytes += match change {
            Change::Append { lane, record } => {
                self.lanes[*lane].waiting.push_back(record.clone());
                record.as_bytes().len()
            }
            Change::Put { table, key, value } => {
                self.puts.insert((*table, key.clone()), Some(value.clone()));
                key.len() + value.len()
            }
            Change::Delete { table, key } => {
                self.puts.insert((*table, key.clone()), None);
                key.len()
            }
        };
    }

    /// Empties the journal: segments first, then the state with the position.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        for lane in Lane::ALL {
            self.lanes[lane].flush(&self.directory, &mut self.events)?;
        }
        let mut facts = self.facts.clone();
        facts.position = self.journal.position_when_emptied();
        facts.last = self.journal.youngest();
        facts.salt = self.journal.ownership().salt;
        facts.first = PerLane::from_fn(|lane| self.lanes[lane].first);
        facts.next = PerLane::from_fn(|lane| self.lanes[lane].flushed);
        facts.announced = self.marks.announced;
        let gaps = [self.gaps.as_slice(), &self.noted].concat();
        self.facts = match self.commit_state(facts.clone(), &self.puts, &gaps) {
            Err(error) if error.is_damage() => {
                self.exchange_state()?;
                self.commit_state(facts, &self.puts, &gaps)?
            }
            committed => committed?,
        };
        self.puts.clear();
        self.gaps.clear();
        self.noted.clear();
        self.has_fresh_gaps |= !gaps.is_empty();
        self.unseen_since = None;
        self.waiting_bytes = 0;
        self.journal.emptied();
        Ok(())
    }

    /// Flushes, and gives the reserve back when that is what it takes.
    pub(super) fn flush_with_reserve(&mut self) -> Result<(), LogError> {
        match self.flush() {
            Err(error) if self.has_reserve && error.is_full() => {
                self.has_reserve = false;
                reserve::give_back(self.directory.as_ref())?;
                self.flush()
            }
            done => done,
        }
    }

    fn commit_noted(&mut self, wall: WallTime) -> Result<(), LogError> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            changes: self.noted.iter().map(Gap::to_change).collect(),
        };
        self.make_room(frame::padded_bytes(&batch), wall)?;
        if self.noted.is_empty() {
            // Making room was a flush, which took them along.
            return Ok(());
        }
        let first = PerLane::from_fn(|lane| self.lanes[lane].next());
        self.journal.write(&batch, wall, first)?;
        self.gaps.append(&mut self.noted);
        self.unseen_since.get_or_insert(wall);
        Ok(())
    }

    /// Whether a gap has waited so long to be seen that it is worth a flush: one a second at most,
    /// however many there are.
    fn shows_gaps_late(&self, wall: WallTime) -> bool {
        self.unseen_since
            .is_some_and(|since| wall.0 < since.0 || wall.0 - since.0 >= GAP_MILLISECONDS)
    }

    pub(super) fn make_room(&mut self, bytes: u64, wall: WallTime) -> Result<(), LogError> {
        if !self.journal.is_failed() && self.journal.has_room_for(bytes) {
            return Ok(());
        }
        if self.may_try(wall) {
            let done = self.flush_with_reserve();
            self.note_outcome(done, wall);
        }
        if self.journal.is_failed() || !self.journal.has_room_for(bytes) {
            return Err(LogError::Full {
                found: bytes,
                free: self.journal.free_bytes(),
            });
        }
        Ok(())
    }

    /// Commits to `state.redb` and gives the facts as they are there.
    pub(super) fn commit_state(
        &self,
        mut facts: Facts,
        puts: &Puts,
        gaps: &[Gap],
    ) -> Result<Facts, LogError> {
        let active = |lane: Lane| self.lanes[lane].active.as_ref();
        facts.wear = self.meter.wear();
        facts.active_bytes = PerLane::from_fn(|lane| active(lane).map_or(0, |it| it.bytes));
        let keeping = Keeping {
            count: self.settings.gap_count,
            marks: self.marks,
        };
        state::commit(&self.state, puts, gaps, keeping, &facts)?;
        Ok(facts)
    }

    /// Goes on with a state made of the rows that are intact: the damaged one takes no changes.
    fn exchange_state(&mut self) -> Result<(), LogError> {
        let cache_bytes = self.settings.cache_bytes;
        let (aside, lost_rows) = exchange(&self.directory, &self.state, cache_bytes, &self.facts)?;
        self.events.push(Event::StateExchanged { aside, lost_rows });
        Ok(())
    }

    fn has_started(&mut self) {
        if self.is_starting {
            self.is_starting = !recovery::unmark(self.directory.as_ref());
        }
    }

    /// Whether it is time for another attempt after a failure.
    fn may_try(&self, wall: WallTime) -> bool {
        is_past(self.failed_at, RETRY_MILLISECONDS, wall)
    }

    pub(super) fn note_outcome(&mut self, done: Result<(), LogError>, wall: WallTime) {
        match done {
            Ok(()) => {
                if self.failed_at.take().is_some() {
                    self.events.push(Event::Recovered);
                }
                if !self.has_reserve && is_past(self.no_reserve_at, RESERVE_MILLISECONDS, wall) {
                    self.has_reserve = reserve::take(self.directory.as_ref());
                    self.no_reserve_at = (!self.has_reserve).then_some(wall);
                }
            }
            Err(error) => {
                if error.is_damage() && self.failed_at.is_none() {
                    recovery::mark(self.directory.as_ref());
                }
                self.failed_at = Some(wall);
                self.events.push(Event::Failed { error });
            }
        }
    }
}

/// Whether so much time has gone by since. A clock that went backwards is no reason to wait.
fn is_past(since: Option<WallTime>, milliseconds: u64, wall: WallTime) -> bool {
    since.is_none_or(|since| wall < since || wall.0 - since.0 >= milliseconds)
}

/// Between attempts after a failure, so that a full disk does not keep the thread busy.
const RETRY_MILLISECONDS: u64 = 1000;
/// After a gap was noted, before a flush makes it visible.
const GAP_MILLISECONDS: u64 = 1000;

/// Between attempts to have a reserve: each writes up to 1 MiB for nothing.
const RESERVE_MILLISECONDS: u64 = 60_000;

/// Gaps that wait for the next commit: together they fit the smallest journal many times.
const NOTED_GAPS: usize = 64;
/// Gaps that are announced at a time.
const HANDED_OUT: usize = 16;
/// About what a gap takes in the state.
const GAP_BYTES: usize = 128;
