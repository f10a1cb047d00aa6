//! The end of records: what is released, too old or too much goes, a whole segment at a time.
//!
//! What was wanted is in a gap before it goes. Where the latest of a topic outlives its segment,
//! those records are appended anew in the same frame as the gap that counts the others and the word
//! that this was done; a cut behind that frame finds that word, and the segment goes as it is.

use sync::{Change, Lane, Offset, PerLane, Record, WallTime};

use super::super::latest::{Search, replaced};
use super::super::retention::{self, Given, Ready, Trim};
use super::super::rows::Puts;
use super::super::{
    Batch, Committed, Event, Gap, LogError, Overflow, Parts, Reason, frame, gap, segment,
};
use super::Writer;

impl Writer {
    pub(super) fn trim(&mut self, wall: WallTime) -> Result<(), LogError> {
        self.search()?;
        let mut trims = self.plan()?;
        if trims.is_empty() {
            return Ok(());
        }
        if trims.iter().any(|trim| trim.gap.is_some()) {
            let known = self.known_gaps();
            for trim in &mut trims {
                trim.gap = trim.gap.take_if(|gap| gap::leave_out(gap, &known));
            }
        }
        // What is in the journal must not be in the state as well, or it counts twice.
        let mut gaps = Vec::new();
        for trim in &mut trims {
            if !self.store_anew(trim, wall)? {
                gaps.extend(trim.gap.clone());
            }
        }
        let mut facts = self.facts.clone();
        for trim in &trims {
            facts.first[trim.lane] = trim.first;
            // Sealed segments are flushed, so the state may say so before its next flush.
            facts.next[trim.lane] = facts.next[trim.lane].max(trim.first);
        }
        self.facts = self.commit_state(facts, &Puts::new(), &gaps)?;
        self.has_fresh_gaps |= !gaps.is_empty();
        for trim in trims {
            self.apply_trim(trim);
        }
        Ok(())
    }

    /// Removes the files of segments that are gone.
    pub(super) fn remove_doomed(&mut self) -> Result<(), LogError> {
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
        // There may be room for the reserve again, now or when readers have let go of the files.
        self.no_reserve_at = None;
        self.has_freed = true;
        let path = self.directory.path();
        self.directory.sync().map_err(LogError::file("sync", &path))
    }

    fn plan(&mut self) -> Result<Vec<Trim>, LogError> {
        let (mut trims, mut excess) = (Vec::new(), self.excess());
        // The lower lanes give way first.
        for lane in Lane::ALL.into_iter().rev() {
            let given = Given {
                clock: &self.clock,
                ready: self.ready(lane),
                replaced: self.facts.replaced[lane],
                excess,
            };
            let files = &mut self.lanes[lane];
            let trim = retention::plan(files, &self.directory, given, &mut self.events)?;
            excess = excess.saturating_sub(trim.as_ref().map_or(0, |trim| trim.bytes));
            trims.extend(trim);
        }
        Ok(trims)
    }

    /// By how much all lanes together are over their limit, without what nobody wants.
    fn excess(&self) -> u64 {
        let Some(most) = self.settings.max_bytes else {
            return 0;
        };
        let wanted = self.lanes.iter().map(|(_, files)| files.wanted_bytes());
        wanted.sum::<u64>().saturating_sub(most)
    }

    /// Reads on for the segments that go next: a step, or all of it where a lane has no time left.
    fn search(&mut self) -> Result<(), LogError> {
        if !self.settings.keeps_latest {
            return Ok(());
        }
        let all: u64 = self.lanes.iter().map(|(_, files)| files.bytes()).sum();
        let most = self.settings.max_bytes.unwrap_or(u64::MAX);
        for lane in Lane::ALL {
            let files = &mut self.lanes[lane];
            let (bytes, segment) = (files.bytes(), files.segment_bytes);
            let oldest = files.sealed.front().map(|segment| segment.first);
            let mut search = files.search.take().filter(|it| Some(it.first) == oldest);
            let is_near = bytes + segment > files.limits.max_bytes || all + segment > most;
            let is_late = bytes > files.limits.max_bytes + segment;
            if search.is_none() && is_near && files.limits.overflow == Overflow::DropOldest {
                search = Search::begin(files);
            }
            if let Some(search) = &mut search {
                let step = if is_late { usize::MAX } else { STEP_BYTES };
                search.step(files, &self.directory, step)?;
            }
            files.search = search;
        }
        Ok(())
    }

    /// Which segments of a lane may go on account of bytes.
    fn ready(&self, lane: Lane) -> Ready {
        let files = &self.lanes[lane];
        match &files.search {
            _ if !self.settings.keeps_latest => Ready::All,
            Some(search) if search.is_done(files) => Ready::Alone(search.first),
            Some(_) | None => Ready::None,
        }
    }

    /// Appends the latest of their topics anew, with the gap that counts the others. False when
    /// there are none, or they were appended before a cut.
    fn store_anew(&mut self, trim: &mut Trim, wall: WallTime) -> Result<bool, LogError> {
        let lane = trim.lane;
        let search = self.lanes[lane].search.take();
        let gap = trim.gap.as_ref().filter(|gap| gap.reason == Reason::Limit);
        let (Some(mut search), Some(gap)) = (search, gap) else {
            return Ok(false);
        };
        // Of a segment that is all latest records half goes, or nothing would ever be won.
        let half = self.lanes[lane].segment_bytes / 2;
        let most = LATEST_BYTES.min(self.journal.capacity() / 4).min(half);
        let records = search.survivors(&self.lanes[lane], &self.directory, most)?;
        if records.is_empty() {
            return Ok(false);
        }
        let mut left = gap.clone();
        let (offsets, records): (Vec<Offset>, Vec<Record>) = records.into_iter().unzip();
        let mut survivors = Parts::default();
        survivors.extend(offsets.into_iter().map(|it| it.0));
        let left = left.leave_out(&survivors).then_some(left);
        let append = |record: &Record| Change::Append {
            lane,
            record: record.clone(),
        };
        let mut changes: Vec<Change> = records.iter().map(append).collect();
        changes.push(replaced(lane, trim.first));
        let noted = left.iter().map(Gap::to_change);
        let batch = Batch {
            changes: noted.chain(changes.clone()).collect(),
        };
        self.make_room(frame::padded_bytes(&batch), wall)?;
        let first = PerLane::from_fn(|lane| self.lanes[lane].next());
        self.journal.write(&batch, wall, first)?;
        let mut committed = Committed::default();
        changes
            .iter()
            .for_each(|change| self.take(change, &mut committed));
        if let Some(left) = &left {
            self.gaps.push(left.clone());
            self.unseen_since.get_or_insert(wall);
        }
        self.events.push(Event::StoredAnew {
            lane,
            first: first[lane],
            records,
        });
        trim.gap = left;
        Ok(true)
    }

    fn apply_trim(&mut self, trim: Trim) {
        let files = &mut self.lanes[trim.lane];
        files.first = trim.first;
        files.search = None;
        let gone = files.sealed.drain(..trim.count);
        self.doomed
            .extend(gone.map(|segment| (trim.lane, segment.first)));
        self.events.push(Event::Trimmed {
            lane: trim.lane,
            first: trim.first,
            gap: trim.gap,
        });
    }
}

/// What a search reads at a time.
const STEP_BYTES: usize = 1 << 20;
/// Records of a segment that are stored anew, together.
const LATEST_BYTES: u64 = 256 << 10;
