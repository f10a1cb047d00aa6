//! What is behind the journal: the segments of the lanes, `mail.redb`, `state.redb`, and what was
//! handed over to be brought into them.
//!
//! ```text
//!   memory --> segments (a commit a lane) --> mail.redb (its changes)
//!          --> state.redb (all other changes, gaps, journal position)
//! ```
//!
//! Segments and mail come before the state, so a power cut between the two finds records twice, in
//! a segment and in the journal, and never not at all; replaying drops by offset what is there, and
//! puts rows of the mail where they are already.
//!
//! Nothing here touches the journal, so all of it may take its time on another thread while commits
//! go on. It brings over what was there at the last [`Cut`] and nothing later. What could not be
//! brought over stays here, in its order, and what is handed over next comes behind it: nothing is
//! ever given back.
//!
//! Large groups of records come straight into their segments, behind what waits there, and the state
//! hears of them with the next flush.
//!
//! When redb fails (a full disk, above all) nothing is lost: the journal still has everything, and
//! commits go on while it has room. The reserve is given back at once, and flushing is tried again
//! about every second.

mod gaps;
mod mail;
mod trim;

use std::sync::Arc;

use sync::{Change, Lane, PerLane, Table, TimeStamp, WallTime};

use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::gap::ledger::Marks;
use super::image::Images;
use super::intake::{Filling, Holding};
use super::journal::{self, Ownership};
use super::lane::{LaneFiles, Sealed};
use super::retention::{AgeClock, Trim};
use super::rows::{Puts, Rows, are_whole};
use super::snapshot::Copying;
use super::state::{self, Facts};
use super::writer::Fresh;
use super::{Event, Gap, LogError, Meter, Progress, Reason, Settings, exchange, recovery, reserve};

/// Everything that is written but the journal. It belongs to the writer, which lends it to a
/// [`Job`](super::Job).
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) settings: Settings,
    pub(super) state: SharedDatabase,
    /// As last committed.
    pub(super) facts: Facts,
    pub(super) lanes: PerLane<LaneFiles>,
    /// `mail.redb`, where it is open.
    pub(super) mail: Option<SharedDatabase>,
    /// The mail's file is to be made anew, and this is what the damaged one will be named.
    pub(super) bad_mail: Option<String>,
    /// Not yet in `state.redb` or `mail.redb`.
    pub(super) puts: Puts,
    /// In the journal, or found again by every start, and not yet in `state.redb`.
    pub(super) gaps: Vec<Gap>,
    /// The file `gaps` may be older than the state: it could be neither written nor removed.
    pub(super) is_copy_old: bool,
    /// Gaps that were found here, durable in `state.redb` or `mail.redb`, and that the writer has not
    /// heard of.
    pub(super) made: Vec<Gap>,
    /// Which of the gaps in `state.redb` were announced, or are about to be.
    pub(super) marks: Marks,
    /// There are gaps to hand out, or there may be.
    pub(super) has_fresh_gaps: bool,
    /// When the oldest of [`Files::gaps`] became durable without being in `state.redb`, where
    /// readers see it.
    pub(super) unseen_since: Option<WallTime>,
    /// Bytes of records and state that wait to be flushed.
    pub(super) waiting_bytes: usize,
    /// Of records that wait for segments, at most.
    pub(super) unflushed_bytes: PerLane<u64>,
    /// Segments that go as soon as the state says so: what outlives them is in a file.
    pub(super) ready: Vec<Trim>,
    /// Segments that are trimmed and whose files still have to be removed, the last one first.
    pub(super) doomed: Vec<(Lane, Sealed)>,
    /// When flushing failed last; `None` while it works.
    pub(super) failed_at: Option<WallTime>,
    pub(super) has_reserve: bool,
    /// When there was no room for the reserve last.
    pub(super) no_reserve_at: Option<WallTime>,
    /// Whether files were removed since, which readers may still hold.
    pub(super) has_freed: bool,
    pub(super) clock: AgeClock,
    /// What was written, since the log was made.
    pub(super) meter: Meter,
    /// Of copies that take long.
    pub(super) progress: Progress,
    /// What a copy for a backup still lacks.
    pub(super) images: Images,
    /// The copy for a backup that is under way.
    pub(super) copying: Option<Copying>,
    /// Up to where everything was handed over.
    pub(super) cut: Cut,
    /// The cut that `state.redb` stands for since, until the writer hears of it.
    pub(super) emptied: Option<journal::Cut>,
    pub(super) events: Vec<Event>,
}

/// Where commits were when something was handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) journal: journal::Cut,
    /// Whose journal it is.
    pub(super) ownership: Ownership,
    /// Both clocks, if anybody told.
    pub(super) time: Option<TimeStamp>,
    /// Changes of the mail before it, since the log was opened.
    pub(super) mail_changes: u64,
}

/// What a commit to the state left.
struct Stored {
    facts: Facts,
    /// Whether the copy of the gaps says the same.
    copied: Result<(), LogError>,
}

impl Files {
    /// Takes over what was committed since the last time, behind what is still here.
    pub(super) fn take(&mut self, fresh: &mut Fresh, cut: Cut) {
        for (lane, records) in Lane::ALL.into_iter().zip(&mut fresh.records.0) {
            self.lanes[lane].waiting.append(records);
            self.unflushed_bytes[lane] += std::mem::take(&mut fresh.lane_bytes[lane]);
        }
        self.puts.append(&mut fresh.puts);
        self.gaps.append(&mut fresh.gaps);
        self.waiting_bytes += std::mem::take(&mut fresh.bytes);
        let unseen_since = fresh.unseen_since.take();
        self.unseen_since = self.unseen_since.or(unseen_since);
        self.cut = cut;
    }

    /// Brings everything up to the cut into redb: segments and mail first, then the state with the
    /// position. Gives the reserve back when that is what it takes.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        self.with_reserve(Self::try_flush)
    }

    /// Brings records of some lanes into their segments, behind what waits there. They wait there
    /// themselves where that fails.
    pub(super) fn store(&mut self, records: Vec<Change>, lanes: &[Lane]) -> Result<(), LogError> {
        let before = self.waiting_record_bytes(lanes);
        for change in records {
            if let Change::Append { lane, record } = change {
                self.lanes[lane].waiting.push_back(record);
            }
        }
        let stored = self.with_reserve(|files| {
            files.leave_damaged();
            lanes.iter().try_for_each(|lane| {
                let lane = &mut files.lanes[*lane];
                lane.flush(&files.directory, &mut files.events)
            })
        });
        let after = self.waiting_record_bytes(lanes);
        self.waiting_bytes = (self.waiting_bytes + after).saturating_sub(before);
        for lane in lanes {
            self.unflushed_bytes[*lane] = self.waiting_record_bytes(&[*lane]) as u64;
        }
        stored
    }

    /// Does something that the reserve may have to make room for.
    fn with_reserve(
        &mut self,
        mut act: impl FnMut(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        match act(self) {
            Err(error) if self.has_reserve && error.is_full() => {
                self.has_reserve = false;
                reserve::give_back(self.directory.as_ref())?;
                act(self)
            }
            done => done,
        }
    }

    fn waiting_record_bytes(&self, lanes: &[Lane]) -> usize {
        let records = lanes.iter().flat_map(|lane| &self.lanes[*lane].waiting);
        records.map(|record| record.as_bytes().len()).sum()
    }

    fn try_flush(&mut self) -> Result<(), LogError> {
        self.leave_damaged();
        for lane in Lane::ALL {
            self.flush_lane(lane)?;
            self.unflushed_bytes[lane] = 0;
        }
        self.flush_mail()?;
        let mut facts = self.facts.clone();
        facts.position = self.cut.journal.position;
        facts.last = self.cut.journal.youngest;
        facts.salt = self.cut.ownership.salt;
        facts.time = self.cut.time.or(facts.time);
        facts.first = PerLane::from_fn(|lane| self.lanes[lane].first);
        facts.next = PerLane::from_fn(|lane| self.lanes[lane].flushed);
        facts.announced = self.marks.announced;
        let stored = match self.commit_state(facts.clone(), &self.puts, &self.gaps) {
            // What can't be read a second later is on a bad medium.
            Err(error)
                if error.is_damage() || self.failed_at.is_some() && error.is_unreadable() =>
            {
                let forgotten = self.exchange_state()?;
                self.gaps.extend(forgotten);
                self.commit_state(facts, &self.puts, &self.gaps)?
            }
            stored => stored?,
        };
        self.puts.clear();
        self.has_fresh_gaps |= !self.gaps.is_empty();
        self.gaps.clear();
        self.unseen_since = None;
        self.waiting_bytes = 0;
        // The journal keeps what it has of gaps until they have both homes.
        self.note_stored(stored)?;
        self.emptied = Some(self.cut.journal);
        Ok(())
    }

    fn flush_lane(&mut self, lane: Lane) -> Result<(), LogError> {
        let files = &mut self.lanes[lane];
        let flushed = files.flush(&self.directory, &mut self.events);
        if self.failed_at.is_some() && flushed.as_ref().is_err_and(LogError::is_unreadable) {
            // What can't be read a second later is on a bad medium: the lane goes on elsewhere.
            let _ = files.seal(&mut self.events);
        }
        flushed
    }

    /// Closes segments in which a reader found damage: nothing more goes into them.
    fn leave_damaged(&mut self) {
        for gap in self.gaps.iter().filter(|gap| gap.reason == Reason::Damage) {
            let files = &mut self.lanes[gap.lane];
            if files.active.as_ref().is_some_and(|it| it.first <= gap.last) {
                // What can't be closed goes all the same.
                let _ = files.seal(&mut self.events);
            }
        }
    }

    /// Commits to `state.redb`, and then to the copy of the gaps.
    fn commit_state(
        &self,
        mut facts: Facts,
        puts: &Puts,
        gaps: &[Gap],
    ) -> Result<Stored, LogError> {
        let active = |lane: Lane| self.lanes[lane].active.as_ref();
        // The gaps are read first, and a state that was given up, or made anew, is not open.
        self.state.reopen()?;
        facts.wear = self.meter.wear();
        facts.active_bytes = PerLane::from_fn(|lane| active(lane).map_or(0, |it| it.bytes));
        let ledger = self.change_gaps(gaps, &mut facts)?;
        state::commit(&self.state, puts, ledger.as_ref(), &facts)?;
        let copied = ledger.map_or(Ok(()), |ledger| self.copy_gaps(&ledger, &facts));
        Ok(Stored { facts, copied })
    }

    /// Takes what the state says now, and passes on what became of the copy of the gaps.
    fn note_stored(&mut self, stored: Stored) -> Result<(), LogError> {
        self.facts = stored.facts;
        self.is_copy_old = stored.copied.is_err();
        stored.copied
    }

    /// Goes on with a state made of the rows that are intact: the damaged one takes no changes. Gives
    /// what must be written down because of it.
    ///
    /// # Errors
    /// [`LogError::Unusable`] when there is no such row. A state without any would pass for that of
    /// sessions that have lost their subscriptions without a word, as soon as some of what is in memory
    /// is written to it: only a start begins all of it anew, in an epoch of its own.
    fn exchange_state(&mut self) -> Result<Vec<Gap>, LogError> {
        let unusable = |what: String| LogError::Unusable {
            path: state::NAME.to_owned(),
            what,
        };
        let damaged = SharedDatabase::open_sealed(&self.directory, state::NAME, READ_CACHE_BYTES);
        let damaged = damaged.map_err(|error| {
            // Bad where the file is, on a disk that takes others.
            let is_bad_place = || recovery::is_distrusted(self.directory.as_ref());
            match error.is_damage() || error.is_unreadable() && is_bad_place() {
                true => unusable(error.to_string()),
                false => error,
            }
        })?;
        let rows = Rows::of(&damaged, state::TABLES)?;
        let has_gaps = are_whole(&damaged, &[Table::Gaps])?;
        if rows.is_empty() {
            return Err(unusable("none of its rows is whole".to_owned()));
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

    /// Whether it is time for another attempt after a failure.
    pub(super) fn may_try(&self, wall: WallTime) -> bool {
        is_past(self.failed_at, RETRY_MILLISECONDS, wall)
    }

    /// Remembers how something ended, and sees to the reserve after what ended well.
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

    /// What is in the files, as far as it makes lanes refuse.
    pub(super) fn holding(&self) -> Holding {
        let lane = |lane: Lane| {
            let files = &self.lanes[lane];
            Filling {
                bytes: files.bytes(),
                waiting: self.unflushed_bytes[lane],
                most: files.limits.max_bytes,
                segment: files.segment_bytes,
            }
        };
        Holding {
            lanes: PerLane::from_fn(lane),
            has_reserve: self.has_reserve,
            is_failing: self.failed_at.is_some(),
        }
    }

    /// Closes all files, so that the next start has nothing to repair.
    pub(super) fn close(mut self) -> Result<(), LogError> {
        self.give_up_copy();
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
}

/// Whether so much time has gone by since. A clock that went backwards is no reason to wait.
pub(super) fn is_past(since: Option<WallTime>, milliseconds: u64, wall: WallTime) -> bool {
    since.is_none_or(|since| wall < since || wall.0 - since.0 >= milliseconds)
}

/// Between attempts after a failure, so that a full disk does not keep the thread busy.
const RETRY_MILLISECONDS: u64 = 1000;
/// Between attempts to have a reserve, without which telemetry is refused. Each writes what is free,
/// up to 1 MiB, and one that fails is removed before it is synced.
const RESERVE_MILLISECONDS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::simulated::{Fault, Operation, SimulatedFolder};
    use super::super::{Gap, open, state};
    use super::*;

    /// Only a write opened it, and with a gap that waits a read comes first: no flush succeeded, and
    /// nobody could read a gap, before the next start.
    #[test]
    fn a_state_that_was_made_anew_takes_the_gap_that_waits() {
        let folder = SimulatedFolder::new();
        let mut log = open(folder.directory(), Settings::default(), WallTime(1)).unwrap();
        let gap = Gap::of_mail(Lane::Normal, b"k", 1);
        let files = log.writer.files.as_mut().unwrap();
        files.gaps.push(gap.clone());
        files.exchange_state().unwrap();
        files.flush().unwrap();
        assert_eq!(state::gaps(&files.state).unwrap(), [(0, gap)]);
    }

    /// It failed every flush until somebody restarted the program, and nothing told of that.
    #[test]
    fn a_state_of_which_nothing_can_be_read_asks_for_a_start_which_makes_it_anew() {
        let folder = SimulatedFolder::new();
        let mut log = open(folder.directory(), Settings::default(), WallTime(1)).unwrap();
        let put = Change::Put {
            table: Table::Sessions,
            key: b"k".to_vec(),
            value: b"v".to_vec(),
        };
        let batch = super::super::Batch { changes: vec![put] };
        log.writer.commit(&batch, WallTime(1)).unwrap();
        for at in 0..folder.open(state::NAME).unwrap().len().unwrap() {
            folder.flip(state::NAME, at);
        }
        folder.inject(Fault {
            operation: Operation::Sync,
            name: state::NAME.to_owned(),
            times: 1,
        });
        assert!(log.writer.flush().is_err());
        for _ in 0..2 {
            let failed = log.writer.flush();
            assert!(
                matches!(failed, Err(LogError::Unusable { .. })),
                "{failed:?}"
            );
        }
        log.writer.commit(&batch, WallTime(1)).unwrap();
        let epoch = log.epoch;
        drop(log);
        let mut log = open(folder.directory(), Settings::default(), WallTime(2)).unwrap();
        assert!(log.report.is_state_lost && log.epoch > epoch);
        assert_eq!(log.report.damaged_files, ["state.redb.damaged-1"]);
        log.writer.flush().unwrap();
    }

    /// What a failed group left here was counted nowhere, and what a group took along was counted on.
    #[test]
    fn what_waits_for_segments_is_counted_after_each_group() {
        let folder = SimulatedFolder::new();
        let mut log = open(folder.directory(), Settings::default(), WallTime(1)).unwrap();
        let files = log.writer.files.as_mut().unwrap();
        let record = samples::record(0, "t", 1, b"p");
        let append = Change::Append {
            lane: Lane::Normal,
            record: record.clone(),
        };
        folder.inject(Fault {
            operation: Operation::Sync,
            name: "normal".to_owned(),
            times: 1,
        });
        let failed = files.store(vec![append.clone()], &[Lane::Normal]);
        assert!(failed.is_err());
        let waiting = record.as_bytes().len();
        assert_eq!(files.holding().lanes[Lane::Normal].waiting, waiting as u64);
        assert_eq!(files.waiting_bytes, waiting);
        files.store(vec![append], &[Lane::Normal]).unwrap();
        assert_eq!(files.holding().lanes[Lane::Normal].waiting, 0);
        assert_eq!(files.waiting_bytes, 0);
    }
}
