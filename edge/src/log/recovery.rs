//! Opening a folder: what is there, what the journal still holds, what is damaged.
//!
//! Only three kinds of files are looked into: `state.redb`, the journal, and the last segment of
//! each lane; so opening takes the same time however much is stored. What is found damaged is
//! renamed, reported, and where records were in it, written down as a gap; the log opens in every
//! case but a disk that fails or a folder that belongs to somebody else.
//!
//! Every step may be cut and begun again: replaying drops by offset what segments already hold,
//! the state changes with its position in one transaction, and new files get their names only
//! when they are whole.

use std::sync::Arc;

use sync::{Change, Epoch, Lane, Offset, PerLane, WallTime};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::frame::{Frame, PAGE_BYTES};
use super::journal::{self, Journal};
use super::lane::{Active, LaneFiles, Sealed};
use super::state::{self, Facts, Puts};
use super::{Gap, LogError, Reader, Reason, Settings, Writer, reserve, segment};

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// Goes to the writer thread.
    pub writer: Writer,
    /// Stays in the core thread.
    pub reader: Reader,
    /// Names this log among those that had the same folder or gateway before it.
    pub epoch: Epoch,
    /// What was found.
    pub report: Report,
}

/// What was found at opening; everything but the counts is worth a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the folder held no log before.
    pub is_new: bool,
    /// Frames of the journal that were not yet in redb: more than zero after a power cut.
    pub replayed_frames: u64,
    /// Files that could not be opened, under their new names.
    pub damaged_files: Vec<String>,
    /// Whether the state is lost: sessions, cursors and retained messages begin empty, in a new
    /// epoch. Records are not lost with it.
    pub is_state_lost: bool,
    /// Whether the journal is lost: what was acknowledged last may be missing.
    pub is_journal_lost: bool,
    /// Ranges that are missing although they were not released.
    pub gaps: Vec<Gap>,
}

/// Opens the log of a folder, or begins one, and brings everything acknowledged back.
///
/// A new epoch is one more than any that is found, and at least the seconds of `wall`, so that a
/// folder that was wiped does not repeat an epoch whose offsets the cloud has seen.
///
/// # Errors
/// When the folder can't be used: [`LogError::InUse`], no permission, no space, a failing disk.
/// Damage is never a reason.
pub fn open(
    directory: Arc<dyn Directory>,
    settings: Settings,
    wall: WallTime,
) -> Result<Opened, LogError> {
    let mut recovery = Recovery::survey(directory, settings)?;
    let state = recovery.open_state()?;
    let journal = recovery.open_journal()?;
    match state {
        Some((state, facts)) => recovery.resume(state, facts, journal, wall),
        None => recovery.begin(journal, wall),
    }
}

/// What is known of the folder so far.
struct Recovery {
    directory: Arc<dyn Directory>,
    settings: Settings,
    names: Vec<String>,
    report: Report,
}

impl Recovery {
    /// Lists the folder and removes what a cut left half made.
    fn survey(directory: Arc<dyn Directory>, settings: Settings) -> Result<Self, LogError> {
        let path = directory.path();
        let mut names = directory.names().map_err(LogError::file("list", &path))?;
        for name in names.extract_if(.., |name| name.ends_with(".new")) {
            directory
                .remove(&name)
                .map_err(LogError::file("remove", &name))?;
        }
        let journal_bytes = settings.journal_bytes.max(FEWEST_PAGES * PAGE_BYTES);
        let settings = Settings {
            journal_bytes: journal_bytes - journal_bytes % PAGE_BYTES,
            cache_bytes: settings.cache_bytes.max(SMALLEST_CACHE_BYTES),
            ..settings
        };
        Ok(Self {
            directory,
            settings,
            names,
            report: Report::default(),
        })
    }

    fn open_state(&mut self) -> Result<Option<(SharedDatabase, Facts)>, LogError> {
        if !self.has(state::NAME) {
            return Ok(None);
        }
        let opened = SharedDatabase::open(&self.directory, state::NAME, self.settings.cache_bytes)
            .and_then(|state| Ok((state::facts(&state)?, state)));
        match opened {
            Ok((facts, state)) => Ok(Some((state, facts))),
            Err(error) if error.is_damage() => {
                self.set_aside(state::NAME)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn open_journal(&mut self) -> Result<Option<Journal>, LogError> {
        if !self.has(journal::NAME) {
            return Ok(None);
        }
        match Journal::open(self.directory.as_ref()) {
            Ok(journal) => Ok(Some(journal)),
            Err(error) if error.is_damage() => {
                self.set_aside(journal::NAME)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on with a log whose state is there.
    fn resume(
        mut self,
        state: SharedDatabase,
        facts: Facts,
        journal: Option<Journal>,
        wall: WallTime,
    ) -> Result<Opened, LogError> {
        let (mut lanes, mut gaps) = self.open_lanes(Some(&facts))?;
        let journal = journal.filter(|journal| journal.epoch() == facts.epoch);
        self.report.is_journal_lost = journal.is_none();
        let (mut journal, frames) = match journal {
            Some(mut journal) => {
                let frames = journal.replay(facts.position)?;
                (journal, frames)
            }
            None => (self.create_journal(facts.epoch, &facts)?, Vec::new()),
        };
        let mut puts = Puts::new();
        let mut waiting_bytes = 0;
        for frame in &frames {
            waiting_bytes += replay(frame, &mut lanes, &mut gaps, &self.directory)?;
            take_puts(frame, &mut puts);
        }
        self.report.replayed_frames = frames.len() as u64;
        let is_changed = !frames.is_empty() || !gaps.is_empty() || self.report.is_journal_lost;
        self.report.gaps.clone_from(&gaps);
        let is_resized = journal.file_bytes() != self.settings.journal_bytes;
        let mut writer = self.writer(journal, state, facts, lanes, puts, gaps, waiting_bytes);
        if is_changed {
            let flushed = writer.flush_with_reserve();
            writer.note_outcome(flushed, wall);
        }
        if is_resized && writer.failed_at.is_none() {
            journal = self.create_journal(writer.facts.epoch, &writer.facts)?;
            writer.journal = journal;
            let flushed = writer.flush_with_reserve();
            writer.note_outcome(flushed, wall);
        }
        Ok(self.opened(writer))
    }

    /// Begins a log, in a new epoch; with what is left of an old one whose state is lost.
    fn begin(mut self, journal: Option<Journal>, wall: WallTime) -> Result<Opened, LogError> {
        let found = journal.as_ref().map_or(0, |journal| journal.epoch().0);
        let seconds = u32::try_from(wall.0 / 1000).unwrap_or(u32::MAX);
        let epoch = Epoch(seconds.max(found.saturating_add(1)));
        let (mut lanes, mut gaps) = self.open_lanes(None)?;
        let frames = match &journal {
            Some(journal) => journal.salvage()?,
            None => Vec::new(),
        };
        let has_segments = self.names.iter().any(|name| segment::parse(name).is_some());
        let is_damaged = !self.report.damaged_files.is_empty();
        self.report.is_new = !has_segments && frames.is_empty() && !is_damaged;
        self.report.is_state_lost = !self.report.is_new;
        self.report.is_journal_lost = self.report.is_state_lost && journal.is_none();
        self.report.replayed_frames = frames.len() as u64;
        for frame in &frames {
            replay(frame, &mut lanes, &mut gaps, &self.directory)?;
        }
        // The old journal goes, so what it held must be in segments before.
        for files in &mut lanes.0 {
            files.flush(&self.directory, &mut Vec::new())?;
        }
        let mut facts = Facts::new(epoch);
        facts.position.at = PAGE_BYTES;
        facts.first = PerLane::from_fn(|lane| lanes[lane].first);
        facts.next = PerLane::from_fn(|lane| lanes[lane].flushed);
        let journal = self.create_journal(epoch, &facts)?;
        let state = state::create(&self.directory, self.settings.cache_bytes, &facts)?;
        self.report.gaps.clone_from(&gaps);
        let has_gaps = !gaps.is_empty();
        let mut writer = self.writer(journal, state, facts, lanes, Puts::new(), gaps, 0);
        if has_gaps {
            writer.flush()?;
        }
        Ok(self.opened(writer))
    }

    /// Finds the segments and opens the last one of each lane.
    fn open_lanes(
        &mut self,
        facts: Option<&Facts>,
    ) -> Result<(PerLane<LaneFiles>, Vec<Gap>), LogError> {
        let mut lanes = PerLane::from_fn(|lane| LaneFiles::new(lane, &self.settings));
        let mut gaps = Vec::new();
        for lane in Lane::ALL {
            let files = &mut lanes[lane];
            self.open_lane(files, facts, &mut gaps)?;
        }
        Ok((lanes, gaps))
    }

    fn open_lane(
        &mut self,
        files: &mut LaneFiles,
        facts: Option<&Facts>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), LogError> {
        let lane = files.lane;
        let known_first = facts.map_or(Offset(0), |facts| facts.first[lane]);
        let known_next = facts.map_or(Offset(0), |facts| facts.next[lane]);
        let named = self.names.iter().filter_map(|name| segment::parse(name));
        let mut firsts: Vec<Offset> = named
            .filter(|(of, _)| *of == lane)
            .map(|(_, first)| first)
            .collect();
        firsts.sort_unstable();
        let last = firsts.pop();
        let active_bytes = facts.map_or(0, |facts| facts.active_bytes[lane]);
        files.active = match last {
            Some(first) => self.open_active(lane, first, active_bytes)?,
            None => None,
        };
        let reached = match last {
            Some(first) => self.end_of_active(files, first, known_first, known_next)?,
            None => known_first,
        };
        for (at, first) in firsts.iter().enumerate() {
            let next = firsts.get(at + 1).copied().or(last).unwrap_or(reached);
            files.sealed.insert(at, self.sealed(lane, *first, next)?);
        }
        self.remove_trimmed(files, known_first)?;
        let lowest = files.sealed.front().map(|sealed| sealed.first);
        let lowest = lowest.or_else(|| files.active.as_ref().map(|active| active.first));
        files.first = match facts {
            Some(_) => known_first,
            None => lowest.unwrap_or(reached),
        };
        files.flushed = reached.max(known_next);
        let from = lowest.unwrap_or(files.flushed).min(files.flushed);
        gaps.extend(missing(lane, files.first, from));
        files.first = files.first.max(from);
        gaps.extend(missing(lane, reached.max(files.first), files.flushed));
        Ok(())
    }

    /// Finds the offset after the last record of the last segment. One that can't be written any
    /// more is sealed or set aside, one that is trimmed is removed.
    fn end_of_active(
        &mut self,
        files: &mut LaneFiles,
        first: Offset,
        known_first: Offset,
        known_next: Offset,
    ) -> Result<Offset, LogError> {
        let Some(active) = &files.active else {
            return Ok(first);
        };
        let name = active.database.name().to_owned();
        match segment::last(&active.database) {
            Ok(None) => Ok(first),
            Ok(Some(last)) if last.next() <= known_first => {
                files.active = None;
                self.directory
                    .remove(&name)
                    .map_err(LogError::file("remove", &name))?;
                Ok(last.next())
            }
            Ok(Some(last)) => Ok(last.next()),
            Err(error) if error.is_damage() && first < known_next => {
                files.active = None;
                files
                    .sealed
                    .push_back(self.sealed(files.lane, first, known_next)?);
                Ok(known_next)
            }
            Err(error) if error.is_damage() => {
                files.active = None;
                self.set_aside(&name)?;
                Ok(first)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the last segment of a lane; sets it aside when it is damaged.
    fn open_active(
        &mut self,
        lane: Lane,
        first: Offset,
        active_bytes: u64,
    ) -> Result<Option<Active>, LogError> {
        let name = segment::name(lane, first);
        match SharedDatabase::open(&self.directory, &name, self.settings.cache_bytes) {
            Ok(database) => Ok(Some(Active {
                first,
                bytes: active_bytes,
                times: None,
                database,
                is_unsure: false,
            })),
            Err(error) if error.is_damage() => {
                self.set_aside(&name)?;
                Ok(None)
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
        })
    }

    /// Removes segments whose trimming was durable before their files were gone.
    fn remove_trimmed(&self, files: &mut LaneFiles, first: Offset) -> Result<(), LogError> {
        while let Some(sealed) = files.sealed.front().filter(|sealed| sealed.next <= first) {
            let name = segment::name(files.lane, sealed.first);
            self.directory
                .remove(&name)
                .map_err(LogError::file("remove", &name))?;
            files.sealed.pop_front();
        }
        Ok(())
    }

    fn create_journal(&self, epoch: Epoch, facts: &Facts) -> Result<Journal, LogError> {
        Journal::create(
            self.directory.as_ref(),
            self.settings.journal_bytes,
            epoch,
            self.settings.salt,
            facts.position.sequence,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a writer, each of its own type"
    )]
    fn writer(
        &self,
        journal: Journal,
        state: SharedDatabase,
        facts: Facts,
        lanes: PerLane<LaneFiles>,
        puts: Puts,
        gaps: Vec<Gap>,
        waiting_bytes: usize,
    ) -> Writer {
        let has_reserve = self.has(reserve::NAME) || reserve::take(self.directory.as_ref());
        Writer {
            directory: Arc::clone(&self.directory),
            settings: self.settings.clone(),
            journal,
            state,
            facts,
            lanes,
            puts,
            gaps,
            waiting_bytes,
            events: Vec::new(),
            doomed: Vec::new(),
            failed_at: None,
            has_reserve,
        }
    }

    fn opened(self, mut writer: Writer) -> Opened {
        let reader = Reader::new(&writer);
        // The reader has seen everything that happened so far; only failures are news.
        writer
            .events
            .retain(|event| matches!(event, super::Event::Failed { .. }));
        Opened {
            epoch: writer.facts.epoch,
            writer,
            reader,
            report: self.report,
        }
    }

    /// Renames a damaged file so that it is out of the way and can still be looked at.
    fn set_aside(&mut self, name: &str) -> Result<(), LogError> {
        let mut number = 1;
        let aside = loop {
            let aside = format!("{name}.damaged-{number}");
            if !self.has(&aside) {
                break aside;
            }
            number += 1;
        };
        self.directory
            .rename(name, &aside)
            .and_then(|()| self.directory.sync())
            .map_err(LogError::file("rename", name))?;
        self.names.push(aside.clone());
        self.names.retain(|known| known != name);
        self.report.damaged_files.push(aside);
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// Brings the records of a frame back into memory, but for those that segments hold already.
/// Returns how many bytes they are.
fn replay(
    frame: &Frame,
    lanes: &mut PerLane<LaneFiles>,
    gaps: &mut Vec<Gap>,
    directory: &Arc<dyn Directory>,
) -> Result<usize, LogError> {
    let mut bytes = 0;
    let mut offsets = frame.first;
    for change in &frame.batch.changes {
        let Change::Append { lane, record } = change else {
            continue;
        };
        let offset = offsets[*lane];
        offsets[*lane] = offset.next();
        let files = &mut lanes[*lane];
        if offset > files.next() {
            // The journal goes on later than the segments end: something between them is lost.
            files.flush(directory, &mut Vec::new())?;
            let is_empty = files.sealed.is_empty() && files.active.is_none();
            if is_empty && files.flushed == Offset(0) {
                files.first = offset;
            } else {
                gaps.extend(missing(*lane, files.flushed, offset));
            }
            files.flushed = offset;
        }
        if offset == files.next() {
            bytes += record.as_bytes().len();
            files.waiting.push_back(record.clone());
        }
    }
    Ok(bytes)
}

fn take_puts(frame: &Frame, puts: &mut Puts) {
    for change in &frame.batch.changes {
        match change {
            Change::Append { .. } => {}
            Change::Put { table, key, value } => {
                puts.insert((*table, key.clone()), Some(value.clone()));
            }
            Change::Delete { table, key } => {
                puts.insert((*table, key.clone()), None);
            }
        }
    }
}

/// Gives the gap from `first` to before `next`, if there is anything between them.
fn missing(lane: Lane, first: Offset, next: Offset) -> Option<Gap> {
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

/// A journal has room for a few batches at least.
const FEWEST_PAGES: u64 = 16;
/// Less makes redb write every page several times.
const SMALLEST_CACHE_BYTES: usize = 256 << 10;
