//! The writer's side of one lane: what waits in memory, the segment that is written, and the
//! sealed ones before it.
//!
//! ```text
//!   first                     flushed              next
//!     | sealed | sealed | active | records in memory |
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use sync::{Lane, Offset, Record, WallTime};

use super::block::Origin;
use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::latest::Search;
use super::pack::Packer;
use super::salvage::Salvage;

use super::{Event, LaneLimits, LogError, Settings, SharedSegment, segment};

/// One lane as the writer knows it.
#[derive(Debug)]
pub(super) struct LaneFiles {
    pub(super) lane: Lane,
    /// The first offset that is kept.
    pub(super) first: Offset,
    /// Everything below is in segments.
    pub(super) flushed: Offset,
    /// Committed and not yet in a segment: offsets from `flushed` on.
    pub(super) waiting: VecDeque<Record>,
    /// Oldest first.
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) active: Option<Active>,
    /// Everything below is released.
    pub(super) floor: Offset,
    /// Neither a file nor the state says anything of it.
    pub(super) is_unheard_of: bool,
    pub(super) limits: LaneLimits,
    /// Bytes at which the active segment is sealed.
    pub(super) segment_bytes: u64,
    cache_bytes: usize,
    /// Of the segments that begin in this run.
    pub(super) mark: u32,
    /// For what outlives the oldest segment.
    pub(super) search: Option<Search>,
}

/// A segment that is only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) first: Offset,
    pub(super) next: Offset,
    pub(super) bytes: u64,
    /// Oldest and youngest record; `None` until somebody asks.
    pub(super) times: Option<(WallTime, WallTime)>,
    /// Somebody asked and the file did not say: nobody asks again before the next start.
    pub(super) is_silent: bool,
    /// It holds what outlived others (`log/kept.rs`); the oldest one only.
    pub(super) is_kept: bool,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) first: Offset,
    pub(super) bytes: u64,
    /// Oldest and youngest record; `None` when it holds records from before the start.
    pub(super) times: Option<(WallTime, WallTime)>,
    /// Of its blocks.
    pub(super) mark: u32,
    pub(super) database: SharedDatabase,
}

impl LaneFiles {
    pub(super) fn new(lane: Lane, settings: &Settings) -> Self {
        let limits = settings.lanes[lane];
        let quarter = (limits.max_bytes / 4).max(SMALLEST_SEGMENT_BYTES);
        Self {
            lane,
            first: Offset(0),
            flushed: Offset(0),
            waiting: VecDeque::new(),
            sealed: VecDeque::new(),
            active: None,
            floor: Offset(0),
            is_unheard_of: false,
            limits,
            segment_bytes: settings.segment_bytes.min(quarter),
            cache_bytes: settings.cache_bytes,
            mark: settings.salt as u32,
            search: None,
        }
    }

    /// The offset that the next append has.
    pub(super) fn next(&self) -> Offset {
        Offset(self.flushed.0 + self.waiting.len() as u64)
    }

    /// The file of what outlived segments, where there is one.
    pub(super) fn kept(&self) -> Option<&Sealed> {
        self.sealed.front().filter(|oldest| oldest.is_kept)
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.bytes)
    }

    /// Bytes of the segments that somebody wants.
    pub(super) fn wanted_bytes(&self) -> u64 {
        let released = self.sealed.iter().filter(|it| it.next <= self.floor);
        self.bytes() - released.map(|segment| segment.bytes).sum::<u64>()
    }

    /// Brings everything that waits into segments. What succeeded before a failure stays done.
    pub(super) fn flush(
        &mut self,
        directory: &Arc<dyn Directory>,
        events: &mut Vec<Event>,
    ) -> Result<(), LogError> {
        while !self.waiting.is_empty() {
            if self
                .active
                .as_ref()
                .is_some_and(|active| active.bytes >= self.segment_bytes)
            {
                self.seal(events)?;
            }
            self.open_active(directory, events)?;
            match self.append_some() {
                // It stays as it is, for the reader to say what can't be read; the lane goes on
                // in a new one.
                Err(error) if error.is_damage() => {
                    self.seal(events)?;
                    return Err(error);
                }
                done => done?,
            }
            events.push(Event::Flushed {
                lane: self.lane,
                up_to: self.flushed,
            });
        }
        Ok(())
    }

    /// Leaves out offsets, flushed before: what was there is lost. The next flush begins a new
    /// segment, so that no segment has a hole that is not damage.
    pub(super) fn skip_to(&mut self, offset: Offset) -> Result<(), LogError> {
        self.seal(&mut Vec::new())?;
        self.flushed = offset;
        self.is_unheard_of = false;
        Ok(())
    }

    /// Closes the active segment; the next flush begins a new one.
    pub(super) fn seal(&mut self, events: &mut Vec<Event>) -> Result<(), LogError> {
        let Some(active) = self.active.take() else {
            return Ok(());
        };
        if active.first == self.flushed {
            // Nothing is in it, and the next one has its name.
            return active.database.close();
        }
        self.sealed.push_back(Sealed {
            first: active.first,
            next: self.flushed,
            bytes: active.bytes,
            times: active.times,
            is_silent: false,
            is_kept: false,
        });
        events.push(Event::SegmentSealed {
            lane: self.lane,
            first: active.first,
            next: self.flushed,
        });
        // Unclosed is as good: its last commit can be opened without repair.
        active.database.seal()
    }

    fn open_active(
        &mut self,
        directory: &Arc<dyn Directory>,
        events: &mut Vec<Event>,
    ) -> Result<(), LogError> {
        if self.active.is_some() {
            return Ok(());
        }
        let first = self.flushed;
        let database = segment::create(directory, self.lane, first, self.cache_bytes)?;
        events.push(Event::SegmentOpened {
            lane: self.lane,
            first,
            segment: SharedSegment(database.clone()),
        });
        self.active = Some(Active {
            first,
            bytes: 0,
            times: Some((WallTime(u64::MAX), WallTime(0))),
            mark: self.mark,
            database,
        });
        Ok(())
    }

    /// Writes one transaction: all that waits, at most to the end of the segment. redb keeps within
    /// its cache: blocks that have no room there are in the file early.
    ///
    /// A failed one may have reached the file all the same. Then the next writes over it.
    fn append_some(&mut self) -> Result<(), LogError> {
        let active = self
            .active
            .as_mut()
            .expect("a segment is opened before it is written");
        let room = self.segment_bytes.saturating_sub(active.bytes).max(1);
        let most = room.min(TRANSACTION_BYTES);
        let origin = Origin {
            lane: self.lane,
            mark: active.mark,
        };
        let mut packer = Packer::new(&self.waiting, self.flushed, origin, most);
        segment::append(&active.database, self.flushed, &mut packer)?;
        let Packer {
            record_count: count,
            bytes,
            ..
        } = packer;
        active.bytes += bytes;
        for record in self.waiting.drain(..count) {
            active.times = active
                .times
                .map(|(oldest, youngest)| (oldest.min(record.time()), youngest.max(record.time())));
        }
        self.flushed = Offset(self.flushed.0 + count as u64);
        Ok(())
    }
}

impl Sealed {
    /// One of which a start knows the name and the end, and has read nothing.
    pub(super) const fn found(first: Offset, next: Offset, is_kept: bool) -> Self {
        Self {
            first,
            next,
            bytes: 0,
            times: None,
            is_silent: false,
            is_kept,
        }
    }

    /// The name of its file.
    pub(super) fn name(&self, lane: Lane) -> String {
        match self.is_kept {
            true => segment::kept_name(lane, self.first, self.next),
            false => segment::name(lane, self.first),
        }
    }

    /// Oldest and youngest record, read from the file the first time; `None` when it can't be read.
    pub(super) fn times(
        &mut self,
        directory: &Arc<dyn Directory>,
        lane: Lane,
    ) -> Option<(WallTime, WallTime)> {
        if self.times.is_none() && !self.is_silent {
            self.times = self.read_times(directory, lane);
            self.is_silent = self.times.is_none();
        }
        self.times
    }

    fn read_times(
        &self,
        directory: &Arc<dyn Directory>,
        lane: Lane,
    ) -> Option<(WallTime, WallTime)> {
        let name = self.name(lane);
        let ends = SharedDatabase::open_sealed(directory, &name, READ_CACHE_BYTES)
            .and_then(|file| segment::ends(&file, lane));
        let (first, last) = match ends {
            Ok(ends) => ends?,
            Err(_) => {
                let file = directory.open(&name).ok()?;
                let found =
                    Salvage::search(file.as_ref(), &name, lane, self.first..self.next).ok()?;
                found.headers().next().zip(found.headers().last())?
            }
        };
        Some((first.oldest, last.youngest))
    }
}

/// More than a flush has as a rule. Each transaction takes 80 KB of redb's own.
const TRANSACTION_BYTES: u64 = 4 << 20;
/// Below this a redb file is mostly its own bookkeeping.
const SMALLEST_SEGMENT_BYTES: u64 = 64 << 10;
