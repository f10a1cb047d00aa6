//! The writing side, on a thread of its own.
//!
//! Every batch goes the same way:
//!
//! ```text
//!   commit --> journal (one write, one sync) --> memory
//!   maintain, when the journal is due:
//!     memory --> segments (a commit a lane) --> mail.redb (its changes)
//!            --> state.redb (all other changes, gaps, journal position)
//! ```
//!
//! Segments and mail come before the state, so a power cut between the two finds records twice, in
//! a segment and in the journal, and never not at all; replaying drops by offset what is there, and
//! puts rows of the mail where they are already.
//!
//! When redb fails (a full disk, above all) nothing is lost: the journal still has everything, and
//! commits go on while it has room. The reserve is given back at once, and flushing is tried again
//! about every second.

mod gaps;
mod mail;
mod trim;

use std::sync::Arc;

use bytes::Bytes;
use sync::{Change, Lane, Offset, PerLane, Table, TimeStamp, WallTime};

use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::gap::ledger::Marks;
use super::intake::{Filling, Intake, Pressure};
use super::journal::{self, Journal};
use super::lane::LaneFiles;
use super::retention::AgeClock;
use super::rows::{Puts, Rows, are_whole};
use super::state::{self, Facts};
use super::{
    Batch, Committed, Event, Gap, LogError, Meter, Settings, exchange, frame, gap, latest,
    recovery, reserve,
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
    /// `mail.redb`, where it is open.
    pub(super) mail: Option<SharedDatabase>,
    /// Changes of the mail since the log was opened.
    pub(super) mail_changes: u64,
    /// Committed and not yet in `state.redb` or `mail.redb`.
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
    /// Whether files were removed since, which readers may still hold.
    pub(super) has_freed: bool,
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
            return Ok(Committed {
                first,
                ..Committed::default()
            });
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
        let mut committed = Committed {
            first,
            ..Committed::default()
        };
        for change in &batch.changes {
            self.take(change, &mut committed);
        }
        Ok(committed)
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
        if let Some(mail) = self.mail.take() {
            mail.close()?;
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
    pub(super) fn take(&mut self, change: &Change, committed: &mut Committed) {
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
        let (table, key, value) = match change {
            Change::Append { lane, record } => {
                self.lanes[*lane].waiting.push_back(record.clone());
                self.waiting_bytes += record.as_bytes().len();
                return;
            }
            Change::Put { table, key, value } => (*table, key, Some(value)),
            Change::Delete { table, key } => (*table, key, None),
        };
        self.waiting_bytes += key.len() + value.map_or(0, Vec::len);
        if table == Table::Gaps {
            // Of mail that ends with the same commit. It waits for a flush, which nobody hurries.
            self.gaps.extend(value.and_then(|it| Gap::decode(it)));
            return;
        }
        let place = (table, Bytes::copy_from_slice(key));
        let value = value.map(|value| Bytes::copy_from_slice(value));
        if table.is_mail() {
            self.mail_changes += 1;
            committed.mail.push((place.clone(), value.clone()));
        }
        self.puts.insert(place, value);
    }

    /// Empties the journal: segments and mail first, then the state with the position.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        for lane in Lane::ALL {
            self.lanes[lane].flush(&self.directory, &mut self.events)?;
        }
        self.flush_mail()?;
        let mut facts = self.facts.clone();
        facts.position = self.journal.position_when_emptied();
        facts.last = self.journal.youngest();
        facts.salt = self.journal.ownership().salt;
        facts.first = PerLane::from_fn(|lane| self.lanes[lane].first);
        facts.next = PerLane::from_fn(|lane| self.lanes[lane].flushed);
        facts.announced = self.marks.announced;
        let mut gaps = [self.gaps.as_slice(), &self.noted].concat();
        self.facts = match self.commit_state(facts.clone(), &self.puts, &gaps) {
            Err(error) if error.is_damage() => {
                gaps.extend(self.exchange_state()?);
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
        let ledger = self.change_gaps(gaps, &mut facts)?;
        state::commit(&self.state, puts, ledger.as_ref(), &facts)?;
        if let Some(ledger) = &ledger {
            self.copy_gaps(ledger, &facts)?;
        }
        Ok(facts)
    }

    /// Goes on with a state made of the rows that are intact: the damaged one takes no changes. Gives
    /// what must be written down because of it.
    fn exchange_state(&mut self) -> Result<Vec<Gap>, LogError> {
        let damaged = SharedDatabase::open_sealed(&self.directory, state::NAME, READ_CACHE_BYTES)?;
        let rows = Rows::of(&damaged, state::TABLES)?;
        let has_gaps = are_whole(&damaged, &[Table::Gaps])?;
        if rows.is_empty() {
            return Err(LogError::corrupt(state::NAME, "none of its rows is whole"));
        }
        damaged.abandon();
        let salvaged = exchange::salvaged(state::NAME);
        let cache_bytes = self.settings.cache_bytes;
        state::create(&self.directory, &salvaged, cache_bytes, &self.facts, &rows)?.close()?;
        // All who share it open the new one.
        self.state.abandon();
        let aside = exchange::free_name(self.directory.as_ref(), state::NAME)?;
        exchange::set_aside(self.directory.as_ref(), state::NAME, &aside)?;
        exchange::finish(self.directory.as_ref(), state::NAME)?;
        let lost_rows = rows.lost;
        self.events.push(Event::StateExchanged { aside, lost_rows });
        match has_gaps {
            true => Ok(Vec::new()),
            false => self.bring_gaps_back(),
        }
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
                    let patience = match std::mem::take(&mut self.has_freed) {
                        true => RETRY_MILLISECONDS,
                        false => RESERVE_MILLISECONDS,
                    };
                    let since = WallTime((wall.0 + patience).saturating_sub(RESERVE_MILLISECONDS));
                    self.no_reserve_at = (!self.has_reserve).then_some(since);
                }
            }
            Err(error) => {
                if error.is_damage() && self.failed_at.is_none() {
                    recovery::distrust(self.directory.as_ref());
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

/// Between attempts to have a reserve, without which telemetry is refused. Each writes what is free,
/// up to 1 MiB, and one that fails is removed before it is synced.
const RESERVE_MILLISECONDS: u64 = 10_000;
