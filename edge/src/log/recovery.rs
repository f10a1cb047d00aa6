//! Opening a folder: what is there, what the journal still holds, what is damaged.
//!
//! Only four kinds of files are looked into: `state.redb`, the journal, the last segment of each
//! lane, and `mail.redb`, of which one page is read; so opening takes the same time however much is
//! stored. A segment may reach further than the state knows, and further than the journal: what is
//! found was stored, and offsets go on behind it. One that does not reach as far as either says is
//! damaged. The log opens in every case
//! but a disk that fails or is full, and a folder that is another version's or is in use:
//!
//! | what is damaged | what is kept | what becomes of the file |
//! | --- | --- | --- |
//! | a row or page of the state | all rows that are intact | made anew, the old one set aside |
//! | what the state says of the log, twice | rows as last flushed; the epoch comes from the journal | as above |
//! | the state as a whole | records; a new epoch begins | set aside |
//! | the journal's header or length | all frames that are whole | mended |
//! | frames of the journal | those before and behind; offsets between are a gap | goes on |
//! | the journal as a whole, or it is another log's | what was flushed; offsets are skipped | set aside |
//! | the last segment of a lane | all blocks that are whole; the others are gaps | stays, is only read |
//! | a segment with no block that is whole | nothing; a gap | set aside |
//! | a row of the mail | all others; a gap for a message, when it is read | stays |
//! | the mail | all rows that are intact; a gap for the messages lost | made anew, the old one set aside |
//! | the mail as a whole, or there is no room for two | nothing; a gap without a count | set aside |
//!
//! A file that can't be read because the medium is bad there is as good as a damaged one.
//!
//! Every step may be cut and begun again: replaying drops by offset what segments already hold,
//! the state changes with its position in one transaction, and new files get their names only
//! when they are whole.
//!
//! redb may panic on a damaged file, and where that can't be contained the process ends. So a file
//! `starting` stands in the folder from the opening to the first [`Writer::begin`], when the
//! driver has read its state, and from the moment on at which a file can't be written because it
//! is damaged: who finds it has every file that is opened checked from end to end before it is
//! trusted.

mod files;
mod found;
mod gaps;
mod lanes;
mod mail;
mod names;
mod report;
mod settled;
mod state;

use std::sync::Arc;

use sync::{Epoch, PerLane, Record, TimeStamp, WallTime};

use self::found::Found;
use self::names::is_half_made;
pub use self::names::is_of_a_log;
pub use self::report::Report;
use self::state::StateFound;
use super::database::SharedDatabase;
use super::directory::Directory;
use super::exchange::{self, name_aside};
use super::frame::PAGE_BYTES;
use super::gap::copy::Copy;
use super::image::Images;
use super::journal::{self, Journal, Ownership, Replayed, Torn};
use super::rows::Rows;
use super::state::{self as tables, Facts};
use super::watch::watch;
use super::wear::Wear;
use super::{Event, Gap, LogError, Meter, Reader, Settings, Writer, gap, reserve, segment};

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
    /// Both clocks when something was stored last; `None` where nobody told.
    pub time: Option<TimeStamp>,
    /// What was written before this start.
    pub wear: Wear,
}

/// Opens the log of a folder, or begins one, and brings everything acknowledged back.
///
/// A new epoch is one more than any that is found, and at least the seconds of `wall`, so that a
/// folder that was wiped does not repeat an epoch whose offsets the cloud has seen.
///
/// # Errors
/// When the folder can't be used: no permission, no space, a failing disk, another version. Damage
/// is never a reason.
pub fn open(
    directory: Arc<dyn Directory>,
    settings: Settings,
    wall: WallTime,
) -> Result<Opened, LogError> {
    let (meter, images) = (Meter::default(), Images::default());
    let directory = watch(directory, meter.clone(), images.clone());
    let mut recovery = Recovery::survey(directory, settings, (meter, images))?;
    recovery.mark();
    recovery.finish_exchanges()?;
    match recovery.open_state()? {
        StateFound::Whole(state, facts) => recovery.resume(state, *facts, wall),
        StateFound::Rows(rows) => recovery.begin(rows, wall),
        StateFound::Nothing => recovery.begin(Rows::default(), wall),
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
    meter: Meter,
    images: Images,
    /// Gaps that were in the state are not in it any more, as far as is known.
    has_lost_gaps: bool,
    /// Segments that go as soon as there is a state which says what counts.
    leftover: Vec<String>,
    /// What was written before.
    wear: Wear,
}

impl Recovery {
    /// Lists the folder and removes what a cut left half made.
    fn survey(
        directory: Arc<dyn Directory>,
        settings: Settings,
        (meter, images): (Meter, Images),
    ) -> Result<Self, LogError> {
        // Its links keep segments on the disk; if it can't be removed, that is no reason not to start.
        let _ = directory.give_up_snapshot();
        let path = directory.path();
        let mut names = directory.names().map_err(LogError::file("list", &path))?;
        for name in names.extract_if(.., |name| is_half_made(name)) {
            directory
                .remove(&name)
                .map_err(LogError::file("remove", &name))?;
        }
        let is_suspicious = names.iter().any(|name| name == STARTING);
        let journal_bytes = settings.journal_bytes.max(SMALLEST_JOURNAL_BYTES);
        let settings = Settings {
            journal_bytes: journal_bytes - journal_bytes % PAGE_BYTES,
            cache_bytes: settings.cache_bytes.max(SMALLEST_CACHE_BYTES),
            direct_bytes: settings.direct_bytes.max(SMALLEST_DIRECT_BYTES),
            ..settings
        };
        Ok(Self {
            directory,
            settings,
            names,
            is_suspicious,
            report: Report::default(),
            meter,
            images,
            has_lost_gaps: false,
            leftover: Vec::new(),
            wear: Wear::default(),
        })
    }

    /// Leaves a mark that only a start that gets through removes, and has the disk keep all names as
    /// they are now: a program that was killed may not have come to that. A full disk may not take
    /// the mark, and that is no reason not to start.
    fn mark(&self) {
        distrust(self.directory.as_ref());
    }

    fn open_journal(&mut self, known: Option<Ownership>) -> Result<Option<Journal>, LogError> {
        if !self.has(journal::NAME) {
            return Ok(None);
        }
        match Journal::open(self.directory.as_ref(), known, self.settings.journal_bytes) {
            Ok(journal) if known.is_none_or(|known| known == journal.ownership()) => {
                Ok(Some(journal))
            }
            Err(error) if !error.is_unreadable() => Err(error),
            _ => {
                self.set_aside(journal::NAME)?;
                Ok(None)
            }
        }
    }

    /// Goes on with a log whose state is there.
    fn resume(
        mut self,
        state: SharedDatabase,
        mut facts: Facts,
        wall: WallTime,
    ) -> Result<Opened, LogError> {
        let copied = self.bring_gaps_back(&state, &mut facts)?;
        let known = tables::gaps(&state)?;
        let known: Vec<Gap> = known.into_iter().map(|(_, gap)| gap).collect();
        let (journal, replayed) = self.replay(&facts)?;
        let (lanes, mut gaps) = self.open_lanes(Some(&facts), replayed.stored(), &known)?;
        // What is still missing since an earlier start is written down already.
        gaps.retain_mut(|missing| gap::leave_out(missing, &known));
        // Any frame may have held a gap.
        self.has_lost_gaps |= replayed.lost_frames > 0;
        let salt = journal.ownership().salt;
        let is_changed = !replayed.frames.is_empty()
            || replayed.torn.is_some()
            || !gaps.is_empty()
            || self.report.is_journal_lost
            || copied.is_none();
        let mut found = Found::new(facts, lanes, gaps);
        found.known = known;
        self.open_mail(&mut found)?;
        let is_changed = is_changed || !found.gaps.is_empty() || self.report.is_mail_lost;
        self.bring_back(&mut found, &replayed)?;
        self.tell_of_lost_gaps(&mut found);
        found.leave_out_noted();
        for frame in &replayed.frames {
            found.take_puts(frame, |_| true);
        }
        self.report.gaps.clone_from(&found.gaps);
        let is_resized = journal.file_bytes() != self.settings.journal_bytes;
        self.report.is_journal_mended = journal.is_damaged();
        let mut writer = self.writer(journal, state, found);
        if let (Some(change), Some(files)) = (copied, &mut writer.files) {
            // A cut came between the two; a missing one is made by the next flush.
            files.is_copy_old = change < files.facts.gaps;
        }
        if is_changed || writer.files.as_ref().is_some_and(|it| it.is_copy_old) {
            writer.try_flush(wall);
        }
        if !writer.holding.is_failing {
            // Neither is worth not starting: the old size, or a header that the state knows, do.
            let done = if is_resized {
                self.resize_journal(&mut writer, salt)
            } else if writer.journal.is_damaged() {
                writer.journal.mend()
            } else {
                Ok(())
            };
            writer.note_outcome(done, wall);
        }
        self.opened(writer)
    }

    /// Opens the journal and reads what the state does not have of it. One that is not this log's,
    /// or an old copy, is set aside.
    fn replay(&mut self, facts: &Facts) -> Result<(Journal, Replayed), LogError> {
        if let Some(mut journal) = self.open_journal(Some(facts.journal()))? {
            let replayed = journal.replay(facts.position)?;
            if replayed.reaches(facts.last) && journal.is_recognised()? {
                self.report.lost_frames = replayed.lost_frames;
                return Ok((journal, replayed));
            }
            self.set_aside(journal::NAME)?;
        }
        self.report.is_journal_lost = true;
        let journal = self.create_journal(facts, self.settings.salt)?;
        Ok((journal, Replayed::default()))
    }

    /// Brings the records of the journal back, and skips what is lost.
    fn bring_back(&mut self, found: &mut Found, replayed: &Replayed) -> Result<(), LogError> {
        self.report.replayed_frames = replayed.frames.len() as u64;
        for frame in &replayed.frames {
            found.replay(frame, &self.directory)?;
        }
        if let Some(Torn::Offsets { first, next }) = &replayed.torn {
            found.skip_torn(first, next, &self.directory)?;
        }
        found.pass_copied(&self.directory)?;
        let is_end_unknown = matches!(replayed.torn, Some(Torn::Unreadable));
        if self.report.is_journal_lost || is_end_unknown {
            let most = self.settings.journal_bytes / LEAST_APPEND_BYTES;
            found.skip_unknown(most, &self.directory)?;
        }
        Ok(())
    }

    /// Begins a log: with what is left of an old one whose state is lost, or with nothing. A new
    /// epoch begins, unless the journal says which one the rows are of.
    fn begin(mut self, rows: Rows, wall: WallTime) -> Result<Opened, LogError> {
        let mut journal = self.open_journal(None)?;
        let is_continued = !rows.is_empty() && journal.is_some();
        let before = journal.as_ref().map_or(0, |it| it.ownership().epoch.0);
        let seconds = u32::try_from(wall.0 / 1000).unwrap_or(u32::MAX);
        let epoch = if is_continued {
            Epoch(before)
        } else {
            Epoch(seconds.max(before.saturating_add(1)))
        };
        let has_segments = self.names.iter().any(|name| segment::parse(name).is_some());
        let copy = self.read_copy()?;
        let known: Vec<Gap> = copy.iter().flat_map(Copy::gaps).collect();
        let (lanes, gaps) = self.open_lanes(None, PerLane::default(), &known)?;
        let replayed = match &mut journal {
            Some(journal) => journal.salvage()?,
            None => Replayed::default(),
        };
        let is_damaged = !self.report.damaged_files.is_empty();
        let has_something = !rows.is_empty() || !replayed.frames.is_empty() || copy.is_some();
        self.report.is_new = !has_segments && !has_something && !is_damaged;
        self.report.is_state_lost = !self.report.is_new && !is_continued;
        self.report.is_journal_lost = !self.report.is_new && journal.is_none();
        let mut found = Found::new(Facts::new(epoch), lanes, gaps);
        found.copied = known;
        self.bring_back(&mut found, &replayed)?;
        self.has_lost_gaps &= copy.is_none();
        self.has_lost_gaps |= replayed.lost_frames > 0;
        self.tell_of_lost_gaps(&mut found);
        self.rescue_mail(&mut found, journal.as_ref(), &replayed)?;
        // The old journal may go, so what it held must be in segments before.
        found.flush_lanes(&self.directory)?;
        if is_continued {
            // Which of their changes are in the rows already nobody can tell, and an old one must
            // not come back.
            self.report.lost_frames = self.report.replayed_frames;
        }
        found.waiting_bytes = 0;
        found.state_lanes();
        // What it says of gaps as well, and the state is not there yet.
        let copy = self.settle_gaps(copy, &rows, &mut found);
        let is_copied = !self.report.is_new && copy.try_write(self.directory.as_ref()).is_ok();
        let mut journal = match journal.filter(|_| is_continued) {
            Some(journal) => journal,
            None => {
                found.facts.position.at = PAGE_BYTES;
                self.create_journal(&found.facts, self.settings.salt)?
            }
        };
        found.facts.position = journal.position_when_emptied();
        found.facts.salt = journal.ownership().salt;
        journal.emptied(journal.cut());
        let state = if self.has(tables::NAME) {
            self.exchange_state(&found.facts, &rows)?
        } else {
            let (name, cache_bytes) = (tables::NAME, self.settings.cache_bytes);
            tables::create(&self.directory, name, cache_bytes, &found.facts, &rows)?
        };
        tables::restore_gaps(&state, &mut found.facts, &copy)?;
        if !is_copied {
            copy.write(self.directory.as_ref())?;
        }
        for name in std::mem::take(&mut self.leftover) {
            self.remove(&name)?;
        }
        let writer = self.writer(journal, state, found);
        self.opened(writer)
    }

    fn resize_journal(&self, writer: &mut Writer, salt: u64) -> Result<(), LogError> {
        // The state must not miss frames in a journal that has none yet.
        writer.journal.forget_youngest();
        writer.flush()?;
        if let Some(files) = &writer.files {
            writer.journal = self.create_journal(&files.facts, salt)?;
        }
        Ok(())
    }

    /// Opens a database file for writing, after a look at all of it when there is reason to. redb
    /// may need pages for that; on a full disk they come from the reserve.
    fn open_database(&mut self, name: &str) -> Result<SharedDatabase, LogError> {
        self.with_reserve(|it| it.try_open_database(name))
    }

    /// Does something again with the reserve's room if the disk was too full for it.
    fn with_reserve<T>(
        &mut self,
        act: impl Fn(&Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match act(self) {
            Err(error) if error.is_full() && self.has(reserve::NAME) => {
                reserve::give_back(self.directory.as_ref())?;
                self.names.retain(|known| known != reserve::NAME);
                act(self)
            }
            done => done,
        }
    }

    fn try_open_database(&self, name: &str) -> Result<SharedDatabase, LogError> {
        let cache_bytes = self.settings.cache_bytes;
        if self.is_suspicious {
            SharedDatabase::check(&self.directory, name, cache_bytes)?;
        }
        SharedDatabase::open(&self.directory, name, cache_bytes)
    }

    fn create_journal(&self, facts: &Facts, salt: u64) -> Result<Journal, LogError> {
        Journal::create(
            self.directory.as_ref(),
            self.settings.journal_bytes,
            facts.epoch,
            salt,
            facts.position.sequence,
        )
    }

    fn opened(mut self, mut writer: Writer) -> Result<Opened, LogError> {
        let files = writer.files.as_deref();
        let files = files.expect("nobody is lent the files of a log that is being opened");
        let reader = Reader::new(files);
        let (epoch, time) = (files.facts.epoch, files.facts.time);
        // The reader has seen everything that happened so far. Failures are news; what became of the
        // mail is for the report.
        let happened = std::mem::take(&mut writer.events);
        for event in happened {
            match event {
                Event::Failed { .. } => writer.events.push(event),
                Event::MailExchanged { aside, lost_rows } => {
                    self.report.note_exchanged_mail(aside, lost_rows);
                }
                _ => {}
            }
        }
        Ok(Opened {
            epoch,
            time,
            wear: self.wear,
            writer,
            reader,
            report: self.report,
        })
    }

    /// Renames a damaged file so that it is out of the way and can still be looked at.
    fn set_aside(&mut self, name: &str) -> Result<(), LogError> {
        let aside = name_aside(name, |name| self.has(name));
        exchange::set_aside(self.directory.as_ref(), name, &aside)?;
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

/// Has the next start check every file before it trusts it. What can't be written can't be helped.
pub fn distrust(directory: &dyn Directory) {
    let _ = is_distrusted(directory);
}

/// The same; whether it could be written. Names are made durable in any case, if the disk can.
pub(super) fn is_distrusted(directory: &dyn Directory) -> bool {
    let marked = directory.create(STARTING);
    directory.sync().is_ok() && marked.is_ok()
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
pub(super) const SMALLEST_JOURNAL_BYTES: u64 = 16 * PAGE_BYTES;
/// More than a frame says instead of records that are in segments.
const SMALLEST_DIRECT_BYTES: usize = 1 << 10;
/// What an append takes of the journal's room at least, however short it is in its frame.
const LEAST_APPEND_BYTES: u64 = 2 + Record::HEADER_BYTES as u64;
/// Less makes redb write every page several times.
const SMALLEST_CACHE_BYTES: usize = 256 << 10;
