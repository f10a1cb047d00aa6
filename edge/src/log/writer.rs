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

use std::sync::Arc;

use sync::{Change, Lane, Offset, PerLane, Table, WallTime};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::journal::Journal;
use super::lane::LaneFiles;
use super::retention::{self, Trim};
use super::state::{self, Facts, Puts};
use super::{Batch, Committed, Event, Gap, LogError, Settings, frame, reserve, segment};

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
    pub(super) gaps: Vec<Gap>,
    /// Bytes of records and state that wait to be flushed.
    pub(super) waiting_bytes: usize,
    pub(super) events: Vec<Event>,
    /// Files that are trimmed and still have to be removed.
    pub(super) doomed: Vec<(Lane, Offset)>,
    /// When flushing failed last; `None` while it works.
    pub(super) failed_at: Option<WallTime>,
    pub(super) has_reserve: bool,
}

impl Writer {
    /// Makes a batch durable: one write and one sync of the journal. When it returns, the batch
    /// may be acknowledged.
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
        self.make_room(bytes, wall)?;
        self.settle_gaps(batch)?;
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
        if self.may_try(wall) {
            let is_due = self.waiting_bytes >= self.settings.flush_bytes
                || self.journal.used_bytes() * 2 >= self.journal.capacity()
                || self.journal.is_failed()
                || self.failed_at.is_some();
            let flushed = if is_due {
                self.flush_with_reserve()
            } else {
                Ok(())
            };
            // Also after a failure: what goes now may be the space that was missing.
            let trimmed = self.trim(wall).and_then(|()| self.remove_doomed());
            let done = flushed.and(trimmed);
            self.note_outcome(done, wall);
        }
        std::mem::take(&mut self.events)
    }

    /// Sets the lowest offset of each lane that any reader still wants. Segments wholly below are
    /// removed by [`Writer::maintain`]. Until it is called everything is wanted.
    pub fn release(&mut self, floors: PerLane<Offset>) {
        for (lane, floor) in floors.iter() {
            self.lanes[lane].floor = *floor;
        }
    }

    /// Writes down a gap that a reader found or made. Durable with the next flush, and before any
    /// cursor that is committed after it.
    pub fn note_gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }

    /// Empties the journal and closes all files, so that the next start has nothing to repair.
    /// Dropping the writer instead is as safe and makes the next start slower.
    ///
    /// # Errors
    /// When the journal could not be emptied; it then keeps what it holds for the next start.
    pub fn close(mut self) -> Result<(), LogError> {
        if self.waiting_bytes > 0 || self.journal.used_bytes() > 0 || !self.gaps.is_empty() {
            self.flush_with_reserve()?;
        }
        for lane in Lane::ALL {
            if let Some(active) = self.lanes[lane].active.take() {
                active.database.close()?;
            }
        }
        self.state.close()
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
        facts.first = PerLane::from_fn(|lane| self.lanes[lane].first);
        facts.next = PerLane::from_fn(|lane| self.lanes[lane].flushed);
        self.commit_state(facts, FlushedWith::Puts)?;
        self.puts.clear();
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

    /// A cursor may pass what was noted: the gaps become durable first, so that no record is ever
    /// missing without a word.
    fn settle_gaps(&mut self, batch: &Batch) -> Result<(), LogError> {
        let is_cursor = |change: &Change| {
            matches!(
                change,
                Change::Put {
                    table: Table::Cursors,
                    ..
                }
            )
        };
        if self.gaps.is_empty() || !batch.changes.iter().any(is_cursor) {
            return Ok(());
        }
        self.commit_state(self.facts.clone(), FlushedWith::Nothing)
    }

    fn make_room(&mut self, bytes: u64, wall: WallTime) -> Result<(), LogError> {
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

    fn trim(&mut self, wall: WallTime) -> Result<(), LogError> {
        let mut trims = Vec::new();
        for lane in Lane::ALL {
            let files = &mut self.lanes[lane];
            trims.extend(retention::plan(
                files,
                &self.directory,
                wall,
                &mut self.events,
            )?);
        }
        if trims.is_empty() {
            return Ok(());
        }
        let mut facts = self.facts.clone();
        for trim in &trims {
            facts.first[trim.lane] = trim.first;
            // Sealed segments are flushed, so the state may say so before its next flush.
            facts.next[trim.lane] = facts.next[trim.lane].max(trim.first);
        }
        let noted = self.gaps.len();
        self.gaps
            .extend(trims.iter().filter_map(|trim| trim.gap.clone()));
        if let Err(error) = self.commit_state(facts, FlushedWith::Nothing) {
            // The next attempt plans anew; what the readers found stays noted.
            self.gaps.truncate(noted);
            return Err(error);
        }
        for trim in trims {
            self.apply_trim(trim);
        }
        Ok(())
    }

    fn apply_trim(&mut self, trim: Trim) {
        let files = &mut self.lanes[trim.lane];
        files.first = trim.first;
        let gone = files.sealed.drain(..trim.count);
        self.doomed
            .extend(gone.map(|segment| (trim.lane, segment.first)));
        self.events.push(Event::Trimmed {
            lane: trim.lane,
            first: trim.first,
            gap: trim.gap,
        });
    }

    fn remove_doomed(&mut self) -> Result<(), LogError> {
        if self.doomed.is_empty() {
            return Ok(());
        }
        while let Some((lane, first)) = self.doomed.last().copied() {
            let name = segment::name(lane, first);
            match self.directory.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::file("remove", &name)(error));
                }
                _ => self.doomed.pop(),
            };
            self.events.push(Event::SegmentRemoved { lane, first });
        }
        let path = self.directory.path();
        self.directory.sync().map_err(LogError::file("sync", &path))
    }

    fn commit_state(&mut self, mut facts: Facts, with: FlushedWith) -> Result<(), LogError> {
        let active = |lane: Lane| self.lanes[lane].active.as_ref();
        facts.active_bytes = PerLane::from_fn(|lane| active(lane).map_or(0, |it| it.bytes));
        let none = Puts::new();
        let puts = match with {
            FlushedWith::Puts => &self.puts,
            FlushedWith::Nothing => &none,
        };
        state::commit(
            &self.state,
            puts,
            &self.gaps,
            self.settings.gap_count,
            &facts,
        )?;
        self.gaps.clear();
        self.facts = facts;
        Ok(())
    }

    /// Whether it is time for another attempt after a failure. A clock that went backwards is no
    /// reason to wait.
    fn may_try(&self, wall: WallTime) -> bool {
        self.failed_at
            .is_none_or(|failed| wall.0 < failed.0 || wall.0 - failed.0 >= RETRY_MILLISECONDS)
    }

    pub(super) fn note_outcome(&mut self, done: Result<(), LogError>, wall: WallTime) {
        match done {
            Ok(()) => {
                if self.failed_at.take().is_some() {
                    self.events.push(Event::Recovered);
                }
                if !self.has_reserve {
                    self.has_reserve = reserve::take(self.directory.as_ref());
                }
            }
            Err(error) => {
                self.failed_at = Some(wall);
                self.events.push(Event::Failed { error });
            }
        }
    }
}

/// What goes into the state together with facts and gaps.
enum FlushedWith {
    Puts,
    Nothing,
}

/// Between attempts after a failure, so that a full disk does not keep the thread busy.
const RETRY_MILLISECONDS: u64 = 1000;
