//! The part of opening that looks for segments, and at the last one of each lane.

use sync::{Lane, Offset, PerLane, WallTime};

use super::super::block::Header;
use super::super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::super::lane::{Active, LaneFiles, Sealed};
use super::super::salvage::Salvage;
use super::super::state::Facts;
use super::super::{Gap, LogError, Reason};
use super::super::{block, kept, segment};
use super::Recovery;
use super::found::missing;
use super::settled::Settled;

/// What the state says of one lane; zeros when there is no state.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    is_told: bool,
    pub(super) first: Offset,
    next: Offset,
    /// Up to where the journal says that records are in segments.
    stored: Offset,
    active_bytes: u64,
    /// Where the file of what outlived segments ends.
    pub(super) kept_to: Offset,
    kept_bytes: u64,
}

impl Recovery {
    /// Finds the segments and opens the last one of each lane, which should reach as far as the
    /// state says, and as far as `stored`, says the journal. Gives what is missing, too. Of what
    /// was missing before, `written_down`, offsets that no segment was ever given are known again.
    pub(super) fn open_lanes(
        &mut self,
        facts: Option<&Facts>,
        stored: PerLane<Offset>,
        written_down: &[Gap],
    ) -> Result<(PerLane<LaneFiles>, Vec<Gap>), LogError> {
        let mut lanes = PerLane::from_fn(|lane| LaneFiles::new(lane, &self.settings));
        let mut gaps = Vec::new();
        for lane in Lane::ALL {
            let known = facts.map(|facts| Known {
                is_told: true,
                first: facts.first[lane],
                next: facts.next[lane],
                stored: stored[lane],
                active_bytes: facts.active_bytes[lane],
                kept_to: facts.kept[lane],
                kept_bytes: facts.kept_bytes[lane],
            });
            let settled = match known {
                Some(known) => self.settle(lane, known)?,
                None => self.settle_untold(lane, written_down, &mut gaps)?,
            };
            self.open_lane(&mut lanes[lane], known, settled, &mut gaps)?;
            for sealed in lanes[lane].sealed.iter_mut().filter(|it| !it.is_kept) {
                sealed.next = self.end_before(lane, sealed, written_down);
            }
        }
        Ok((lanes, gaps))
    }

    fn open_lane(
        &mut self,
        files: &mut LaneFiles,
        known: Option<Known>,
        Settled { mut firsts, kept }: Settled,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), LogError> {
        let lane = files.lane;
        let is_known = known.is_some();
        let known = known.unwrap_or_default();
        let following = firsts.first().copied();
        let last = firsts.pop();
        files.is_unheard_of = !is_known && last.is_none() && kept.is_none();
        let reached = match (last, &kept) {
            (Some(first), _) => self.open_last(files, first, known, gaps)?,
            (None, Some((_, next))) => *next,
            (None, None) => known.first,
        };
        for (at, first) in firsts.iter().enumerate() {
            let next = firsts.get(at + 1).copied().or(last).unwrap_or(reached);
            files
                .sealed
                .insert(at, self.sealed(files, (*first, next), false)?);
        }
        if let Some((first, next)) = kept {
            let following = following.unwrap_or(next);
            // What was released may be gone before the file is.
            let from = next.max(known.first);
            gaps.extend(missing(lane, from, following, Reason::Damage));
            let mut kept = self.sealed(files, (first, next), true)?;
            if known.is_told {
                kept.bytes = known.kept_bytes;
            }
            files.sealed.push_front(kept);
        }
        self.remove_trimmed(files, known.first)?;
        files.flushed = reached.max(known.next);
        let lowest = files.sealed.front().map(|sealed| sealed.first);
        let lowest = lowest.or_else(|| files.active.as_ref().map(|active| active.first));
        let lowest = lowest.unwrap_or(files.flushed);
        if is_known {
            gaps.extend(missing(lane, known.first, lowest, Reason::Damage));
        }
        files.first = known.first.max(lowest);
        let from = reached.max(files.first);
        gaps.extend(missing(lane, from, files.flushed, Reason::Damage));
        Ok(())
    }

    /// Opens the last segment and gives the offset after its last record. One that is trimmed is
    /// removed, one that is damaged is kept for reading.
    fn open_last(
        &mut self,
        files: &mut LaneFiles,
        first: Offset,
        known: Known,
        gaps: &mut Vec<Gap>,
    ) -> Result<Offset, LogError> {
        let name = segment::name(files.lane, first);
        // Before it is opened for writing, which may change it.
        let lane = files.lane;
        let ends = match self.with_reserve(|it| it.look(&name, lane)) {
            Ok(ends) => ends,
            Err(error) if error.is_unreadable() => {
                return self.keep_damaged(files, (first, None), known, gaps);
            }
            Err(error) => return Err(error),
        };
        let reached = ends.map_or(first, |(_, last)| last.next());
        // Nobody can say whether redb hides something: its file is searched, and closed.
        let is_doubtful = !known.is_told && first < reached;
        let told = known.next.max(known.stored);
        if is_doubtful || reached < told && first < told {
            return self.keep_damaged(files, (first, Some(reached)), known, gaps);
        }
        if ends.is_some() && reached <= known.first {
            self.remove(&name)?;
            return Ok(reached);
        }
        let database = match self.open_database(&name) {
            Ok(database) => database,
            Err(error) if error.is_damage() => {
                return self.keep_damaged(files, (first, None), known, gaps);
            }
            Err(error) => return Err(error),
        };
        let times = ends.map(|(oldest, last)| (oldest.oldest, last.youngest));
        files.active = Some(Active {
            first,
            bytes: known.active_bytes,
            times: Some(times.unwrap_or((WallTime(u64::MAX), WallTime(0)))),
            mark: ends.map_or(files.mark, |(oldest, _)| oldest.mark),
            database,
        });
        Ok(reached)
    }

    /// Where a segment ends that another one or nothing follows: before the offsets that a torn group
    /// used up, which were never in any. Where their gap is one with others by now, the segment says.
    fn end_before(&self, lane: Lane, sealed: &Sealed, written_down: &[Gap]) -> Offset {
        let of_lane = || written_down.iter().filter(|gap| gap.lane == lane);
        let mut torn = of_lane().filter(|gap| {
            let is_all = gap.count == gap.last.next().0 - gap.first.0;
            gap.reason == Reason::Torn && is_all && gap.last.next() == sealed.next
        });
        if let Some(gap) = torn.next() {
            return gap.first;
        }
        let mut parts = of_lane().flat_map(|gap| gap.parts.iter());
        let Some((first, _)) = parts.find(|(_, last)| last.next() == sealed.next) else {
            return sealed.next;
        };
        let ends = self.look(&sealed.name(lane), lane).ok().flatten();
        let is_end = ends.is_some_and(|(_, last)| last.next() == first);
        if is_end { first } else { sealed.next }
    }

    pub(super) fn look(
        &self,
        name: &str,
        lane: Lane,
    ) -> Result<Option<(Header, Header)>, LogError> {
        let database = SharedDatabase::open_sealed(&self.directory, name, READ_CACHE_BYTES)?;
        let ends = segment::ends(&database, lane)?;
        database.close()?;
        Ok(ends)
    }

    /// Keeps what is whole of a damaged segment where it is; nothing is written to it any more. A
    /// file without a block that is whole is set aside, and removed if redb takes it for an empty
    /// one. `reached` is where redb sees its end.
    fn keep_damaged(
        &mut self,
        files: &mut LaneFiles,
        (first, reached): (Offset, Option<Offset>),
        known: Known,
        gaps: &mut Vec<Gap>,
    ) -> Result<Offset, LogError> {
        let lane = files.lane;
        let name = segment::name(lane, first);
        let file = self.directory.open(&name);
        let file = file.map_err(LogError::file("open", &name))?;
        let found = match Salvage::search(file.as_ref(), &name, lane, first..block::END) {
            // Nobody can tell one that was never given a record, and offsets without one are counted.
            Ok(found) if found.end().is_none() && reached == Some(first) => {
                self.remove(&name)?;
                return Ok(first);
            }
            // A disk that is bad all over does not take its new name either.
            Err(error) if error.is_unreadable() => Salvage::nothing(lane),
            found => found?,
        };
        let Some(end) = found.end() else {
            self.set_aside(&name)?;
            return Ok(first);
        };
        let is_whole = reached == Some(end) && found.holes(first, end).is_empty();
        if is_whole {
            // If anything is missing it is the one after it.
            files
                .sealed
                .push_back(self.sealed(files, (first, end), false)?);
            return Ok(end);
        }
        let next = end.max(known.next);
        let holes = found.holes(first.max(known.first), next);
        let lost = holes
            .iter()
            .filter_map(|hole| missing(lane, hole.start, hole.end, Reason::Damage));
        gaps.extend(lost);
        files
            .sealed
            .push_back(self.sealed(files, (first, next), false)?);
        self.report.damaged_segments.push(name);
        Ok(next)
    }

    fn sealed(
        &self,
        files: &LaneFiles,
        (first, next): (Offset, Offset),
        is_kept: bool,
    ) -> Result<Sealed, LogError> {
        let mut sealed = Sealed::found(first, next, is_kept);
        let name = sealed.name(files.lane);
        let file = self
            .directory
            .open(&name)
            .map_err(LogError::file("open", &name))?;
        // redb's files have room to grow: a start must not count it, or it would drop records that
        // were within the limit before.
        let bytes = file.len().map_err(LogError::file("measure", &name))?;
        let most = match is_kept {
            true => kept::most_bytes(files.segment_bytes),
            false => files.segment_bytes,
        };
        sealed.bytes = bytes.min(most);
        Ok(sealed)
    }

    /// Removes segments whose trimming was durable before their files were gone.
    fn remove_trimmed(&self, files: &mut LaneFiles, first: Offset) -> Result<(), LogError> {
        while let Some(sealed) = files.sealed.front().filter(|sealed| sealed.next <= first) {
            self.remove(&sealed.name(files.lane))?;
            files.sealed.pop_front();
        }
        Ok(())
    }
}
