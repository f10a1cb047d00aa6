//! The end of records: what is released, too old or too much goes, a whole segment at a time.
//!
//! What was wanted is in a gap before it goes. Where the latest of a topic outlives its segment,
//! those records are appended anew in the same frame as the gap that counts the others and the word
//! that this was done; a cut behind that frame finds that word, and the segment goes as it is. That
//! frame is the writer's: it is told what outlives the segment ([`Anew`]), and hands the segment
//! back as one that may go.
//!
//! Files go when readers have been told that what is in them is gone, with the job after.

use std::collections::{BTreeSet, VecDeque};

use sync::{Lane, Offset, Record};

use super::super::lane::LaneFiles;
use super::super::latest::Search;
use super::super::retention::{self, Given, Ready, Trim};
use super::super::rows::Puts;
use super::super::{Event, Gap, LogError, Overflow, Parts, Reason, gap, segment};
use super::Files;

impl Files {
    /// Gives up what nobody wants and what is over a limit: first what was found so before.
    pub(in super::super) fn trim(&mut self) -> Result<(), LogError> {
        if !self.ready.is_empty() {
            let ready = std::mem::take(&mut self.ready);
            // Their gaps are in the journal, and must not be in the state as well.
            return match self.note_trims(&ready, &[]) {
                Ok(()) => {
                    ready.into_iter().for_each(|trim| self.apply_trim(trim));
                    Ok(())
                }
                failed => {
                    self.ready = ready;
                    failed
                }
            };
        }
        self.search()?;
        let mut trims = self.plan()?;
        if trims.iter().any(|trim| trim.gap.is_some()) {
            let known = self.known_gaps();
            for trim in &mut trims {
                trim.gap = trim.gap.take_if(|gap| gap::leave_out(gap, &known));
            }
        }
        let mut going = Vec::new();
        for trim in trims {
            let records = self.survivors(&trim)?;
            if records.is_empty() {
                going.push(trim);
            } else {
                self.anew.push(Anew { trim, records });
            }
        }
        if going.is_empty() {
            return Ok(());
        }
        let gaps: Vec<Gap> = going.iter().filter_map(|trim| trim.gap.clone()).collect();
        self.note_trims(&going, &gaps)?;
        self.has_fresh_gaps |= !gaps.is_empty();
        self.made.extend(gaps);
        going.into_iter().for_each(|trim| self.apply_trim(trim));
        Ok(())
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

    /// Removes the files of segments that are gone.
    pub(in super::super) fn remove_doomed(&mut self) -> Result<(), LogError> {
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

    /// The records that outlive a segment, which is none where they are in the journal already.
    fn survivors(&mut self, trim: &Trim) -> Result<Vec<(Offset, Record)>, LogError> {
        let files = &mut self.lanes[trim.lane];
        let gap = trim.gap.as_ref();
        let is_dropped = gap.is_some_and(|gap| gap.reason == Reason::Limit);
        let Some(mut search) = files.search.take().filter(|_| is_dropped) else {
            return Ok(Vec::new());
        };
        // Of a segment that is all latest records half goes, or nothing would ever be won.
        let half = files.segment_bytes / 2;
        let most = LATEST_BYTES.min(self.settings.journal_bytes / 4).min(half);
        search.survivors(files, &self.directory, most)
    }

    /// Has the state say that segments are gone, with gaps.
    fn note_trims(&mut self, trims: &[Trim], gaps: &[Gap]) -> Result<(), LogError> {
        let mut facts = self.facts.clone();
        for trim in trims {
            facts.first[trim.lane] = trim.first;
            // Sealed segments are flushed, so the state may say so before its next flush.
            facts.next[trim.lane] = facts.next[trim.lane].max(trim.first);
        }
        let stored = self.commit_state(facts, &Puts::new(), gaps)?;
        self.note_stored(stored)
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

/// A segment that waits for the records that outlive it: they are appended anew first.
#[derive(Debug)]
pub(in super::super) struct Anew {
    /// Its gap counts them as well.
    trim: Trim,
    /// With the offsets that they have in the segment.
    records: Vec<(Offset, Record)>,
}

impl Anew {
    pub(in super::super) const fn lane(&self) -> Lane {
        self.trim.lane
    }

    /// Gives what is to be appended, without what has a younger record of its topic behind it, and
    /// the segment with the gap that counts the others.
    pub(in super::super) fn without_topics_of(
        self,
        younger: &VecDeque<Record>,
    ) -> (Trim, Vec<Record>) {
        let Self {
            mut trim,
            mut records,
        } = self;
        let topics: BTreeSet<&str> = younger.iter().map(Record::topic).collect();
        records.retain(|(_, record)| !topics.contains(record.topic()));
        let (offsets, records): (Vec<Offset>, Vec<Record>) = records.into_iter().unzip();
        let mut survivors = Parts::default();
        survivors.extend(offsets.into_iter().map(|it| it.0));
        trim.gap = trim.gap.take_if(|gap| gap.leave_out(&survivors));
        (trim, records)
    }
}

/// What a search reads at a time.
const STEP_BYTES: usize = 1 << 20;
/// Records of a segment that are stored anew, together.
const LATEST_BYTES: u64 = 256 << 10;
