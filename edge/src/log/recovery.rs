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
//!
//! redb may panic on a file whose syncs were lied about, and a release build then ends. So a file
//! `starting` stands in the folder from the opening to the first [`Writer::maintain`], when the
//! driver has read its state, and from the moment on at which a file can't be written because it
//! is damaged: who finds it has every file that is opened checked from end to end before it is
//! trusted.

mod lanes;

use std::sync::Arc;

use sync::{Change, Epoch, Lane, Offset, PerLane, Record, Table, WallTime};

use self::lanes::missing;
use super::database::SharedDatabase;
use super::directory::Directory;
use super::frame::{Frame, PAGE_BYTES};
use super::journal::{self, Journal};
use super::lane::LaneFiles;
use super::retention::AgeClock;
use super::state::{self, Facts, Puts};
use super::{Event, Gap, LogError, Reader, Settings, Writer, reserve, segment};

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
    /// Ranges found missing by this start although they were not released.
    pub gaps: Vec<Gap>,
}

/// Opens the log of a folder, or begins one, and brings everything acknowledged back.
///
/// A new epoch is one more than any that is found, and at least the seconds of `wall`, so that a
/// folder that was wiped does not repeat an epoch whose offsets the cloud has seen.
///
/// # Errors
/// When the folder can't be used: no permission, no space, a failing disk. Damage is never a
/// reason.
pub fn open(
    directory: Arc<dyn Directory>,
    settings: Settings,
    wall: WallTime,
) -> Result<Opened, LogError> {
    let mut recovery = Recovery::survey(directory, settings)?;
    recovery.mark();
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
    /// The last start did not get through: files are checked before they are trusted.
    is_suspicious: bool,
    report: Report,
}

/// What a writer begins with, besides its files.
struct Found {
    facts: Facts,
    lanes: PerLane<LaneFiles>,
    puts: Puts,
    /// Found missing by this start.
    gaps: Vec<Gap>,
    /// Noted before the last end, and not yet in the state.
    noted: Vec<Gap>,
    waiting_bytes: usize,
}

impl Recovery {
    /// Lists the folder and removes what a cut left half made.
    fn survey(directory: Arc<dyn Directory>, settings: Settings) -> Result<Self, LogError> {
        let path = directory.path();
        let mut names = directory.names().map_err(LogError::file("list", &path))?;
        for name in names.extract_if(.., |name| is_half_made(name)) {
            directory
                .remove(&name)
                .map_err(LogError::file("remove", &name))?;
        }
        let is_suspicious = names.iter().any(|name| name == STARTING);
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
            is_suspicious,
            report: Report::default(),
        })
    }

    /// Leaves a mark that only a start that gets through removes. A full disk may not take it, and
    /// that is no reason not to start.
    fn mark(&self) {
        if !self.is_suspicious {
            mark(self.directory.as_ref());
        }
    }

    fn open_state(&mut self) -> Result<Option<(SharedDatabase, Facts)>, LogError> {
        if !self.has(state::NAME) {
            return Ok(None);
        }
        let opened = self
            .open_database(state::NAME)
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
        let (lanes, mut gaps) = self.open_lanes(Some(&facts))?;
        if !gaps.is_empty() {
            // What is still missing since an earlier start is written down already.
            let known = state::gaps(&state)?;
            gaps.retain(|gap| !known.iter().any(|(_, known)| known.covers(gap)));
        }
        let is_foreign = |journal: &Journal| journal.epoch() != facts.epoch;
        let journal = if journal.as_ref().is_some_and(is_foreign) {
            self.set_aside(journal::NAME)?;
            None
        } else {
            journal
        };
        self.report.is_journal_lost = journal.is_none();
        let (journal, frames) = match journal {
            Some(mut journal) => {
                let frames = journal.replay(facts.position)?;
                (journal, frames)
            }
            None => (self.create_journal(&facts)?, Vec::new()),
        };
        let mut found = Found::new(facts, lanes, gaps);
        for frame in &frames {
            found.replay(frame, &self.directory)?;
            found.take_puts(frame);
        }
        self.report.replayed_frames = frames.len() as u64;
        self.report.gaps.clone_from(&found.gaps);
        let is_changed =
            !frames.is_empty() || !found.gaps.is_empty() || self.report.is_journal_lost;
        let is_resized = journal.file_bytes() != self.settings.journal_bytes;
        let mut writer = self.writer(journal, state, found);
        if is_changed {
            let flushed = writer.flush_with_reserve();
            writer.note_outcome(flushed, wall);
        }
        if is_resized && writer.failed_at.is_none() {
            writer.journal = self.create_journal(&writer.facts)?;
            let flushed = writer.flush_with_reserve();
            writer.note_outcome(flushed, wall);
        }
        self.opened(writer)
    }

    /// Begins a log, in a new epoch; with what is left of an old one whose state is lost.
    fn begin(mut self, journal: Option<Journal>, wall: WallTime) -> Result<Opened, LogError> {
        let before = journal.as_ref().map_or(0, |journal| journal.epoch().0);
        let seconds = u32::try_from(wall.0 / 1000).unwrap_or(u32::MAX);
        let epoch = Epoch(seconds.max(before.saturating_add(1)));
        let (lanes, gaps) = self.open_lanes(None)?;
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
        let mut found = Found::new(Facts::new(epoch), lanes, gaps);
        for frame in &frames {
            found.replay(frame, &self.directory)?;
        }
        // The old journal goes, so what it held must be in segments before.
        for files in &mut found.lanes.0 {
            files.flush(&self.directory, &mut Vec::new())?;
        }
        found.waiting_bytes = 0;
        found.facts.position.at = PAGE_BYTES;
        found.facts.first = PerLane::from_fn(|lane| found.lanes[lane].first);
        found.facts.next = PerLane::from_fn(|lane| found.lanes[lane].flushed);
        let journal = self.create_journal(&found.facts)?;
        let state = state::create(&self.directory, self.settings.cache_bytes, &found.facts)?;
        self.report.gaps.clone_from(&found.gaps);
        let mut writer = self.writer(journal, state, found);
        if !writer.gaps.is_empty() {
            writer.flush()?;
        }
        self.opened(writer)
    }

    /// Opens a database file for writing, after a look at all of it when there is reason to. redb
    /// may need pages for that; on a full disk they come from the reserve.
    fn open_database(&mut self, name: &str) -> Result<SharedDatabase, LogError> {
        match self.try_open_database(name) {
            Err(error) if error.is_full() && self.has(reserve::NAME) => {
                reserve::give_back(self.directory.as_ref())?;
                self.names.retain(|known| known != reserve::NAME);
                self.try_open_database(name)
            }
            opened => opened,
        }
    }

    fn try_open_database(&self, name: &str) -> Result<SharedDatabase, LogError> {
        let cache_bytes = self.settings.cache_bytes;
        if self.is_suspicious {
            SharedDatabase::check(&self.directory, name, cache_bytes)?;
        }
        SharedDatabase::open(&self.directory, name, cache_bytes)
    }

    fn create_journal(&self, facts: &Facts) -> Result<Journal, LogError> {
        Journal::create(
            self.directory.as_ref(),
            self.settings.journal_bytes,
            facts.epoch,
            self.settings.salt,
            facts.position.sequence,
        )
    }

    fn writer(&self, journal: Journal, state: SharedDatabase, found: Found) -> Writer {
        let has_reserve = self.has(reserve::NAME) || reserve::take(self.directory.as_ref());
        Writer {
            directory: Arc::clone(&self.directory),
            settings: self.settings.clone(),
            journal,
            state,
            facts: found.facts,
            lanes: found.lanes,
            puts: found.puts,
            gaps: [found.gaps, found.noted].concat(),
            noted: Vec::new(),
            unseen_since: None,
            waiting_bytes: found.waiting_bytes,
            events: Vec::new(),
            doomed: Vec::new(),
            failed_at: None,
            has_reserve,
            is_starting: true,
            no_reserve_at: None,
            clock: AgeClock::default(),
        }
    }

    fn opened(self, mut writer: Writer) -> Result<Opened, LogError> {
        let reader = Reader::new(&writer);
        // The reader has seen everything that happened so far; only failures are news.
        writer
            .events
            .retain(|event| matches!(event, Event::Failed { .. }));
        Ok(Opened {
            epoch: writer.facts.epoch,
            writer,
            reader,
            report: self.report,
        })
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

    fn remove(&self, name: &str) -> Result<(), LogError> {
        match self.directory.remove(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LogError::file("remove", name)(error))
            }
            _ => Ok(()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

impl Found {
    fn new(facts: Facts, lanes: PerLane<LaneFiles>, gaps: Vec<Gap>) -> Self {
        Self {
            facts,
            lanes,
            puts: Puts::new(),
            gaps,
            noted: Vec::new(),
            waiting_bytes: 0,
        }
    }

    /// Brings records and gaps of a frame back into memory, but for records that segments hold
    /// already.
    fn replay(&mut self, frame: &Frame, directory: &Arc<dyn Directory>) -> Result<(), LogError> {
        let mut offsets = frame.first;
        for change in &frame.batch.changes {
            match change {
                Change::Append { lane, record } => {
                    let offset = offsets[*lane];
                    offsets[*lane] = offset.next();
                    self.replay_record(*lane, offset, record, directory)?;
                }
                Change::Put { table, value, .. } if *table == Table::Gaps => {
                    self.noted.extend(Gap::decode(value));
                }
                Change::Put { .. } | Change::Delete { .. } => {}
            }
        }
        Ok(())
    }

    fn replay_record(
        &mut self,
        lane: Lane,
        offset: Offset,
        record: &Record,
        directory: &Arc<dyn Directory>,
    ) -> Result<(), LogError> {
        let files = &mut self.lanes[lane];
        if offset > files.next() {
            // The journal goes on later than the segments end: what is between them is lost.
            files.flush(directory, &mut Vec::new())?;
            if files.flushed == Offset(0) && files.active.is_none() {
                files.first = offset;
            } else {
                self.gaps.extend(missing(lane, files.flushed, offset));
            }
            files.flushed = offset;
        }
        if offset == files.next() {
            self.waiting_bytes += record.as_bytes().len();
            files.waiting.push_back(record.clone());
        }
        Ok(())
    }

    fn take_puts(&mut self, frame: &Frame) {
        for change in &frame.batch.changes {
            match change {
                Change::Append { .. } => {}
                Change::Put { table, .. } if *table == Table::Gaps => {}
                Change::Put { table, key, value } => {
                    self.puts.insert((*table, key.clone()), Some(value.clone()));
                }
                Change::Delete { table, key } => {
                    self.puts.insert((*table, key.clone()), None);
                }
            }
        }
    }
}

/// Whether a file was being made when the power went. Others' files are none of our business.
fn is_half_made(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|name| {
        [journal::NAME, state::NAME, reserve::NAME].contains(&name)
            || segment::parse(name).is_some()
    })
}

/// Has the next start check every file before it trusts it. What can't be written can't be helped.
pub(super) fn mark(directory: &dyn Directory) {
    let _ = directory.create(STARTING).and_then(|_| directory.sync());
}

/// Notes that a start got through; false when the mark is still there.
pub(super) fn unmark(directory: &dyn Directory) -> bool {
    match directory.remove(STARTING) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(()) => true,
    }
}

/// Stands in the folder while it is opened.
const STARTING: &str = "starting";
/// A journal has room for a few batches at least.
const FEWEST_PAGES: u64 = 16;
/// Less makes redb write every page several times.
const SMALLEST_CACHE_BYTES: usize = 256 << 10;
