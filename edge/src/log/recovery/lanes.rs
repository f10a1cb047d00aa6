//! The part of opening that looks for segments, and at the last one of each lane.

use sync::{Lane, Offset, PerLane, WallTime};

use super::super::block::Header;
use super::super::database::SharedDatabase;
use super::super::lane::{Active, LaneFiles, Sealed};
use super::super::segment;
use super::super::state::Facts;
use super::super::{Gap, LogError, Reason};
use super::Recovery;

/// What the state says of one lane; zeros when there is no state.
#[derive(Clone, Copy, Default)]
struct Known {
    first: Offset,
    next: Offset,
    active_bytes: u64,
}

impl Recovery {
    /// Finds the segments and opens the last one of each lane. Gives what is missing, too.
    pub(super) fn open_lanes(
        &mut self,
        facts: Option<&Facts>,
    ) -> Result<(PerLane<LaneFiles>, Vec<Gap>), LogError> {
        let mut lanes = PerLane::from_fn(|lane| LaneFiles::new(lane, &self.settings));
        let mut gaps = Vec::new();
        for lane in Lane::ALL {
            let known = facts.map(|facts| Known {
                first: facts.first[lane],
                next: facts.next[lane],
                active_bytes: facts.active_bytes[lane],
            });
            self.open_lane(&mut lanes[lane], known, &mut gaps)?;
        }
        Ok((lanes, gaps))
    }

    fn open_lane(
        &mut self,
        files: &mut LaneFiles,
        known: Option<Known>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), LogError> {
        let lane = files.lane;
        let is_known = known.is_some();
        let known = known.unwrap_or_default();
        let named = self.names.iter().filter_map(|name| segment::parse(name));
        let of_lane = named.filter(|(of, _)| *of == lane);
        let mut firsts: Vec<Offset> = of_lane.map(|(_, first)| first).collect();
        firsts.sort_unstable();
        let last = firsts.pop();
        let reached = match last {
            Some(first) => self.open_last(files, first, known)?,
            None => known.first,
        };
        for (at, first) in firsts.iter().enumerate() {
            let next = firsts.get(at + 1).copied().or(last).unwrap_or(reached);
            files.sealed.insert(at, self.sealed(lane, *first, next)?);
        }
        self.remove_trimmed(files, known.first)?;
        files.flushed = reached.max(known.next);
        let lowest = files.sealed.front().map(|sealed| sealed.first);
        let lowest = lowest.or_else(|| files.active.as_ref().map(|active| active.first));
        let lowest = lowest.unwrap_or(files.flushed);
        if is_known {
            gaps.extend(missing(lane, known.first, lowest));
        }
        files.first = known.first.max(lowest);
        gaps.extend(missing(lane, reached.max(files.first), files.flushed));
        Ok(())
    }

    /// Opens the last segment and gives the offset after its last record. One that can't be opened
    /// is set aside, one that can't be written any more is sealed, one that is trimmed is removed.
    fn open_last(
        &mut self,
        files: &mut LaneFiles,
        first: Offset,
        known: Known,
    ) -> Result<Offset, LogError> {
        let name = segment::name(files.lane, first);
        let database = match self.open_database(&name) {
            Ok(database) => database,
            Err(error) if error.is_damage() => {
                self.set_aside(&name)?;
                return Ok(first);
            }
            Err(error) => return Err(error),
        };
        match ends(&database) {
            Ok(Some((_, last))) if last.next() <= known.first => {
                drop(database);
                self.remove(&name)?;
                Ok(last.next())
            }
            Ok(ends) => {
                files.active = Some(Active {
                    first,
                    bytes: known.active_bytes,
                    times: Some(
                        ends.map_or((WallTime(u64::MAX), WallTime(0)), |(oldest, last)| {
                            (oldest.oldest, last.youngest)
                        }),
                    ),
                    database,
                });
                Ok(ends.map_or(first, |(_, last)| last.next()))
            }
            Err(error) if error.is_damage() && first < known.next => {
                drop(database);
                files
                    .sealed
                    .push_back(self.sealed(files.lane, first, known.next)?);
                Ok(known.next)
            }
            Err(error) if error.is_damage() => {
                drop(database);
                self.set_aside(&name)?;
                Ok(first)
            }
            Err(error) => Err(error),
        }
    }

    fn sealed(&self, lane: Lane, first: Offset, next: Offset) -> Result<Sealed, LogError> {
        let name = segment::name(lane, first);
        let file = self
            .directory
            .open(&name)
            .map_err(LogError::file("open", &name))?;
        Ok(Sealed {
            first,
            next,
            bytes: file.len().map_err(LogError::file("measure", &name))?,
            times: None,
            is_silent: false,
        })
    }

    /// Removes segments whose trimming was durable before their files were gone.
    fn remove_trimmed(&self, files: &mut LaneFiles, first: Offset) -> Result<(), LogError> {
        while let Some(sealed) = files.sealed.front().filter(|sealed| sealed.next <= first) {
            self.remove(&segment::name(files.lane, sealed.first))?;
            files.sealed.pop_front();
        }
        Ok(())
    }
}

/// Reads the headers of the first and the last block; `None` for a segment without blocks.
fn ends(database: &SharedDatabase) -> Result<Option<(Header, Header)>, LogError> {
    Ok(segment::first(database)?.zip(segment::last(database)?))
}

/// Gives the gap from `first` to before `next`, if there is anything between them.
pub(super) fn missing(lane: Lane, first: Offset, next: Offset) -> Option<Gap> {
    (first < next).then(|| Gap {
        lane,
        first,
        last: Offset(next.0 - 1),
        count: next.0 - first.0,
        bytes: 0,
        from: WallTime(0),
        to: WallTime(0),
        reason: Reason::Damage,
    })
}
