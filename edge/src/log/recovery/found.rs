//! What a start has found, in the order in which it finds it: lanes first, then what the journal
//! brings back or lost of them.

use std::sync::Arc;

use bytes::Bytes;
use sync::{Change, Lane, Offset, PerLane, Record, Table, WallTime};

use super::super::database::SharedDatabase;
use super::super::directory::Directory;
use super::super::frame::Frame;
use super::super::lane::LaneFiles;
use super::super::rows::Puts;
use super::super::standing::Standing;
use super::super::state::Facts;
use super::super::{Gap, LogError, Parts, Reason, Wear, gap, reserve};

/// What a writer begins with, besides its files.
pub(super) struct Found {
    pub(super) facts: Facts,
    pub(super) lanes: PerLane<LaneFiles>,
    pub(super) mail: Option<SharedDatabase>,
    pub(super) puts: Puts,
    /// All gaps below were announced, says the journal: news for the state and the copy.
    pub(super) announced: u64,
    /// Gaps that are rows of the state.
    pub(super) known: Vec<Gap>,
    /// Gaps of their copy, where the state is lost.
    pub(super) copied: Vec<Gap>,
    /// Found missing by this start.
    pub(super) gaps: Vec<Gap>,
    /// Noted before the last end, and not yet in the state.
    pub(super) noted: Vec<Gap>,
    pub(super) waiting_bytes: usize,
    /// What was written, where the journal knows it.
    pub(super) wear: Option<Wear>,
}

impl Found {
    pub(super) fn new(facts: Facts, lanes: PerLane<LaneFiles>, gaps: Vec<Gap>) -> Self {
        Self {
            facts,
            lanes,
            mail: None,
            announced: 0,
            known: Vec::new(),
            copied: Vec::new(),
            puts: Puts::new(),
            gaps,
            noted: Vec::new(),
            waiting_bytes: 0,
            wear: None,
        }
    }

    /// Brings records and gaps of a frame back into memory, but for records that segments hold
    /// already. What came before it in a lane, or should be in a segment since, and is not there, is
    /// lost: frames say so of all lanes, whatever they hold themselves.
    pub(super) fn replay(
        &mut self,
        frame: &Frame,
        directory: &Arc<dyn Directory>,
    ) -> Result<(), LogError> {
        for (lane, first) in frame.first.iter() {
            self.skip(lane, *first, Reason::Damage, directory)?;
            self.lanes[lane].is_unheard_of = false;
        }
        self.pass_to(frame.wall);
        let mut offsets = frame.first;
        for change in &frame.batch.changes {
            match change {
                Change::Append { lane, record } => {
                    let offset = offsets[*lane];
                    offsets[*lane] = offset.next();
                    self.replay_record(*lane, offset, record);
                }
                Change::Put { table, value, .. } if *table == Table::Gaps => {
                    self.noted.extend(Gap::decode(value));
                }
                Change::Put { .. } | Change::Delete { .. } => {
                    self.take_standing(change);
                    let announced = gap::announced_by(change).unwrap_or(0);
                    self.announced = announced.max(self.announced);
                }
            }
        }
        for (lane, next) in frame.stored() {
            self.skip(lane, next, Reason::Damage, directory)?;
        }
        Ok(())
    }

    fn take_standing(&mut self, change: &Change) {
        let Some(standing) = Standing::of(change) else {
            return;
        };
        self.wear = Some(standing.wear);
        for (lane, first, bytes) in standing.active {
            let active = self.lanes[lane].active.as_mut();
            if let Some(active) = active.filter(|active| active.first == first) {
                active.bytes = bytes;
            }
        }
    }

    /// Moves both clocks on to the commit of a frame.
    fn pass_to(&mut self, steady: WallTime) {
        if let Some(time) = &mut self.facts.time {
            let passed = steady.0.saturating_sub(time.steady.0);
            time.steady.0 += passed;
            time.device.0 = time.device.0.saturating_add(passed);
        }
    }

    fn replay_record(&mut self, lane: Lane, offset: Offset, record: &Record) {
        let files = &mut self.lanes[lane];
        if offset == files.next() {
            self.waiting_bytes += record.as_bytes().len();
            files.waiting.push_back(record.clone());
        }
    }

    /// Takes what is missing of the mail, but for what is known already.
    pub(super) fn add_missing(&mut self, mut gaps: Vec<Gap>) {
        gaps.retain_mut(|missing| gap::leave_out(missing, &self.known));
        self.gaps.extend(gaps);
    }

    /// Leaves out of what was noted what a job has counted as well before the end came.
    pub(super) fn leave_out_noted(&mut self) {
        let counted = [self.known.as_slice(), &self.gaps].concat();
        self.noted.retain_mut(|gap| gap::leave_out(gap, &counted));
    }

    /// Takes the changes of a frame to those tables that `is_taken` names.
    pub(super) fn take_puts(&mut self, frame: &Frame, is_taken: impl Fn(Table) -> bool) {
        for change in &frame.batch.changes {
            if gap::announced_by(change).is_some() || Standing::of(change).is_some() {
                continue;
            }
            let (table, key, value) = match change {
                Change::Put { table, key, value } => (*table, key, Some(value)),
                Change::Delete { table, key } => (*table, key, None),
                Change::Append { .. } => continue,
            };
            if table != Table::Gaps && is_taken(table) {
                let value = value.map(|value| Bytes::copy_from_slice(value));
                self.puts
                    .insert((table, Bytes::copy_from_slice(key)), value);
            }
        }
    }

    /// Leaves out what a frame held that is not whole.
    pub(super) fn skip_torn(
        &mut self,
        first: &PerLane<Offset>,
        next: &PerLane<Offset>,
        directory: &Arc<dyn Directory>,
    ) -> Result<(), LogError> {
        for lane in Lane::ALL {
            self.skip(lane, first[lane], Reason::Damage, directory)?;
            self.skip(lane, next[lane], Reason::Torn, directory)?;
        }
        Ok(())
    }

    /// Leaves out so many offsets of each lane that none is used twice, whatever was acknowledged.
    pub(super) fn skip_unknown(
        &mut self,
        most: u64,
        directory: &Arc<dyn Directory>,
    ) -> Result<(), LogError> {
        for lane in Lane::ALL {
            // The journal may have held its first records.
            self.lanes[lane].is_unheard_of = false;
            let to = Offset(self.lanes[lane].next().0.saturating_add(most));
            if let Some(gap) = self.skip(lane, to, Reason::Damage, directory)? {
                gap.count = 0;
            }
        }
        Ok(())
    }

    /// Goes on behind all gaps of a log whose state is lost, so that no offset of them is given twice.
    pub(super) fn pass_copied(&mut self, directory: &Arc<dyn Directory>) -> Result<(), LogError> {
        for lane in Lane::ALL {
            let of_lane = self.copied.iter().filter(|gap| gap.lane == lane);
            let ends = of_lane.filter(|gap| gap.is_of_records());
            if let Some(last) = ends.map(|gap| gap.last).max() {
                let to = Offset(last.0.saturating_add(1));
                self.skip(lane, to, Reason::Damage, directory)?;
            }
        }
        Ok(())
    }

    /// Brings what waits into segments.
    pub(super) fn flush_lanes(&mut self, directory: &Arc<dyn Directory>) -> Result<(), LogError> {
        let flush = |files: &mut LaneFiles| files.flush(directory, &mut Vec::new());
        let mut lanes = self.lanes.0.iter_mut();
        lanes.try_for_each(|files| insist(files, directory, flush))
    }

    /// Has the facts of a new state say how the lanes are.
    pub(super) fn state_lanes(&mut self) {
        for (lane, files) in self.lanes.iter() {
            self.facts.first[lane] = files.first;
            self.facts.next[lane] = files.flushed;
            if let Some(kept) = files.kept() {
                self.facts.kept[lane] = kept.next;
                self.facts.kept_bytes[lane] = kept.bytes;
            }
        }
        self.facts.active_bytes = self.active_bytes();
    }

    pub(super) fn active_bytes(&self) -> PerLane<u64> {
        PerLane::from_fn(|lane| {
            let active = self.lanes[lane].active.as_ref();
            active.map_or(0, |active| active.bytes)
        })
    }

    /// Writes down as missing what is between the end of a lane and `to`, and goes on there. Gives
    /// what was written down.
    fn skip(
        &mut self,
        lane: Lane,
        to: Offset,
        reason: Reason,
        directory: &Arc<dyn Directory>,
    ) -> Result<Option<&mut Gap>, LogError> {
        let files = &mut self.lanes[lane];
        let Some(gap) = missing(lane, files.next(), to, reason) else {
            return Ok(None);
        };
        let is_unheard_of = files.is_unheard_of;
        insist(files, directory, |files| {
            files.flush(directory, &mut Vec::new())?;
            // Closing a segment may take room as well.
            files.skip_to(to)
        })?;
        if is_unheard_of {
            // What came before was released, for all that anybody knows.
            files.first = to;
            return Ok(None);
        }
        self.gaps.push(gap);
        Ok(self.gaps.last_mut())
    }
}

/// Does something that writes to a lane: once more in a new segment where the last one takes no
/// more and stays as it is, and once more with the room of the reserve.
fn insist(
    files: &mut LaneFiles,
    directory: &Arc<dyn Directory>,
    act: impl Fn(&mut LaneFiles) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut done = act(files);
    if done.as_ref().is_err_and(LogError::is_damage) {
        done = act(files);
    }
    if done.as_ref().is_err_and(LogError::is_full) {
        reserve::give_back(directory.as_ref())?;
        done = act(files);
    }
    done
}

/// Gives the gap from `first` to before `next`, if there is anything between them.
pub(super) fn missing(lane: Lane, first: Offset, next: Offset, reason: Reason) -> Option<Gap> {
    (first < next).then(|| Gap {
        lane,
        first,
        last: Offset(next.0 - 1),
        count: next.0 - first.0,
        bytes: 0,
        from: WallTime(0),
        to: WallTime(0),
        reason,
        parts: Parts::default(),
    })
}
