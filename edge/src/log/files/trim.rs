//! The end of records: what is released, too old or too much goes, a whole segment at a time.
//!
//! What was wanted is in a gap before it goes. Where the latest of a topic outlives its segment, the
//! file that keeps it ([`kept`]) is durable first; then the state says in one commit that this file
//! counts, what the gap counts of the others, and where the lane begins. A cut before that leaves a
//! file that does not count, one behind it segments that do not any more.
//!
//! Files go when readers have been told that what is in them is gone, with the job after.

use sync::{Lane, Offset};

use super::super::block::Origin;
use super::super::lane::{LaneFiles, Sealed};
use super::super::latest::Search;
use super::super::retention::{self, Given, Ready, Trim};
use super::super::rows::Puts;
use super::super::{Event, Gap, LogError, Overflow, Parts, Reason, gap, kept};
use super::Files;

impl Files {
    /// Gives up what nobody wants and what is over a limit: first what was found so before.
    pub(in super::super) fn trim(&mut self) -> Result<(), LogError> {
        if self.ready.is_empty() {
            self.search()?;
            for mut trim in self.plan()? {
                self.thin(&mut trim)?;
                self.ready.push(trim);
            }
        } else {
            self.leave_out_known();
        }
        let trims = std::mem::take(&mut self.ready);
        if trims.is_empty() {
            return Ok(());
        }
        let gaps: Vec<Gap> = trims.iter().filter_map(|it| it.gap.clone()).collect();
        let copied = match self.note_trims(&trims, &gaps) {
            Ok(copied) => copied,
            Err(error) => {
                self.ready = trims;
                return Err(error);
            }
        };
        self.has_fresh_gaps |= !gaps.is_empty();
        self.made.extend(gaps);
        trims.into_iter().for_each(|trim| self.apply_trim(trim));
        copied
    }

    /// Whether another job would find something to do at once.
    pub(in super::super) fn has_more_to_trim(&self) -> bool {
        let is_searching = |files: &LaneFiles| {
            let search = files.search.as_ref();
            search.is_some_and(|search| !search.is_done(files))
        };
        let is_any_searching = self.lanes.iter().any(|(_, files)| is_searching(files));
        is_any_searching || !self.ready.is_empty() || !self.doomed.is_empty()
    }

    /// Removes the files of segments that are gone, but for those that a copy has no room for yet.
    pub(in super::super) fn remove_doomed(&mut self) -> Result<(), LogError> {
        let before = self.doomed.len();
        while let Some((lane, segment)) = self.doomed.last() {
            let (lane, first, name) = (*lane, segment.first, segment.name(*lane));
            if !self.keep_for_copy(&name) {
                break;
            }
            match self.directory.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::file("remove", &name)(error));
                }
                _ => self.doomed.pop(),
            };
            self.events.push(Event::SegmentRemoved { lane, first });
        }
        if self.doomed.len() == before {
            return Ok(());
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
                excess,
            };
            let files = &mut self.lanes[lane];
            let trim = retention::plan(files, &self.directory, given, &mut self.events)?;
            excess = excess.saturating_sub(trim.as_ref().map_or(0, |trim| trim.bytes));
            if excess > 0 && self.gives_way_later(lane, trim.as_ref()) {
                excess = 0;
            }
            trims.extend(trim);
        }
        Ok(trims)
    }

    /// Whether a lane has more to give as soon as it is known what outlives that: more important ones
    /// wait for it.
    fn gives_way_later(&mut self, lane: Lane, trim: Option<&Trim>) -> bool {
        let (ready, files) = (self.ready(lane), &mut self.lanes[lane]);
        let going = trim.map_or(0, |trim| trim.count);
        let mut left = files.sealed.iter().skip(going).filter(|it| !it.is_kept);
        let is_waiting = files.limits.overflow == Overflow::DropOldest
            && ready != Ready::All
            && left.any(|segment| segment.next > files.floor);
        if is_waiting && files.search.is_none() {
            // Of one that was closed only now.
            files.search = Search::begin(files);
        }
        is_waiting
    }

    /// Whether segments have to go on account of bytes.
    pub(in super::super) fn is_over_limits(&self) -> bool {
        let is_over = |files: &LaneFiles| files.bytes() > files.limits.max_bytes;
        self.excess() > 0 || self.lanes.iter().any(|(_, files)| is_over(files))
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
            let is_late =
                bytes > files.limits.max_bytes + segment || all > most.saturating_add(segment);
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
            Some(search) if search.is_done(files) => Ready::Together(search.next),
            Some(_) | None => Ready::None,
        }
    }

    /// Puts what outlives segments into a file, and takes it out of their gap.
    fn thin(&mut self, trim: &mut Trim) -> Result<(), LogError> {
        let Some(gap) = &trim.gap else {
            return Ok(());
        };
        let mut others = Parts::default();
        let search = self.lanes[trim.lane].search.take();
        if let Some(search) = search.filter(|_| gap.reason == Reason::Limit) {
            match self.keep(trim.lane, search, trim.first) {
                // Segments go all the same, or there would never be room again.
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
                Ok(None) => {}
                Ok(Some((kept, offsets))) => {
                    trim.first = kept.first;
                    trim.kept = Some(kept);
                    others = offsets;
                }
            }
        }
        let going = self.lanes[trim.lane].sealed.iter().take(trim.count);
        let mut is_sparse = trim.kept.is_some();
        // It was counted when it was given up.
        for segment in going.filter(|segment| segment.is_kept) {
            others.join(&kept::voids(&self.directory, trim.lane, segment));
            is_sparse = true;
        }
        let (known, bytes) = (self.known_gaps(), gap.bytes);
        let left = trim.kept.as_ref().map_or(0, |kept| kept.bytes);
        trim.gap = trim.gap.take_if(|gap| {
            let is_left = gap::leave_out_also(gap, &known, others);
            if is_sparse {
                // Records weigh what their number among the offsets does not say.
                gap.bytes = bytes.saturating_sub(left);
            }
            is_left
        });
        Ok(())
    }

    /// Makes the file of what outlives the segments below `next`. Gives its offsets as well; nothing
    /// where nothing does.
    fn keep(
        &mut self,
        lane: Lane,
        mut search: Search,
        next: Offset,
    ) -> Result<Option<(Sealed, Parts)>, LogError> {
        let files = &self.lanes[lane];
        let most = kept::most_bytes(files.segment_bytes);
        let offsets = search.survivors(files, &self.directory, most)?;
        let mut made = None;
        self.with_reserve(|files| {
            let (directory, files) = (&files.directory, &files.lanes[lane]);
            let mut failed = None;
            let mut read = |offset: &Offset| {
                let record = search.record(files, directory, *offset);
                let record = record.map_err(|error| failed = Some(error)).ok()?;
                Some(record.map(|record| (*offset, record)))
            };
            let records = offsets.iter().map_while(&mut read).flatten();
            let mark = files.mark;
            made = kept::store(directory, Origin { lane, mark }, records, next)?;
            failed.map_or(Ok(()), Err)
        })?;
        Ok(made)
    }

    /// Leaves out of gaps what was written down since they were made, and what was released.
    fn leave_out_known(&mut self) {
        let known = self.known_gaps();
        for trim in &mut self.ready {
            let floor = self.lanes[trim.lane].floor;
            let released = || floor.0.checked_sub(1).map(|last| Parts::of(0..=last));
            trim.gap = trim.gap.take_if(|gap| {
                let is_wanted = gap.last >= floor;
                is_wanted && gap::leave_out_also(gap, &known, released().unwrap_or_default())
            });
        }
    }

    /// Has the state say that segments are gone, with gaps, and what stays of them. Gives what became
    /// of the copy of the gaps.
    fn note_trims(
        &mut self,
        trims: &[Trim],
        gaps: &[Gap],
    ) -> Result<Result<(), LogError>, LogError> {
        let mut facts = self.facts.clone();
        for trim in trims {
            let lane = trim.lane;
            facts.first[lane] = trim.first;
            let kept_to = trim.kept.as_ref().map(|kept| kept.next);
            if let Some(kept) = &trim.kept {
                facts.kept[lane] = kept.next;
                facts.kept_bytes[lane] = kept.bytes;
            }
            // Sealed segments are flushed, so the state may say so before its next flush.
            let next = kept_to.unwrap_or(trim.first);
            facts.next[lane] = facts.next[lane].max(next);
        }
        let stored = self.commit_state(facts, &Puts::new(), gaps)?;
        Ok(self.note_stored(stored))
    }

    fn apply_trim(&mut self, trim: Trim) {
        let files = &mut self.lanes[trim.lane];
        files.first = trim.first;
        files.search = None;
        let gone = files.sealed.drain(..trim.count);
        self.doomed.extend(gone.map(|segment| (trim.lane, segment)));
        if let Some(kept) = trim.kept {
            self.events.push(Event::Thinned {
                lane: trim.lane,
                first: kept.first,
                next: kept.next,
            });
            files.sealed.push_front(kept);
        }
        self.events.push(Event::Trimmed {
            lane: trim.lane,
            first: trim.first,
            gap: trim.gap,
        });
    }
}

/// What a search reads at a time.
const STEP_BYTES: usize = 1 << 20;
