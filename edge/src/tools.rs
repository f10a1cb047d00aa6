//! Tools for a data folder: what is in it, whether it is whole, what can be had of it.
//!
//! A folder is opened as a gateway would open it, over a layer that keeps all writes in memory: so
//! what a tool says is what the next start would find, and the folder stays as it is. No gateway
//! can start on it meanwhile, and none may be running: what runs is backed up, and the backup
//! looked at. Only [`fsck`] with [`Effect::Repair`] writes.
//!
//! Exit codes: 0 all is well, 1 damage was found or it did not work, 2 the command line is wrong.

mod archive;
mod export;
mod inspect;
mod mail;
mod text;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use sync::{Change, Lane, Offset, PerLane, Table};

use crate::gateway::wall_time;
use crate::log::directory::Directory;
use crate::log::overlay::Overlay;
use crate::log::{self, Batch, Budget, Folder, Gap, LaneLimits, LogError, Opened, Settings};

pub use self::archive::backup;
pub use self::export::{Format, Range, export};
pub use self::inspect::inspect;
pub use self::mail::export_mail;

/// What a tool found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Fine,
    /// Something is damaged or missing; what, was said.
    Damaged,
}

/// What [`fsck`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say what a start would do.
    Nothing,
    /// Do it, and write down what is missing.
    Repair,
}

/// Why a tool did not work.
#[derive(Debug)]
#[non_exhaustive]
pub enum ToolError {
    /// The log can't be opened or read.
    Log {
        /// Why.
        source: LogError,
    },
    /// There is no log in the folder.
    NoLog {
        /// The folder.
        path: String,
    },
    /// A gateway runs on the folder and did not do its part.
    NoSnapshot {
        /// The folder.
        path: String,
    },
    /// The result can't be written, or a file can't be read.
    File {
        /// Which one.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks everything in a folder: the journal, every row of the state and of the mail, every block
/// of every segment. Says what is not as it must be, a line each.
///
/// # Errors
/// When the folder can't be read, or to be repaired not be written, or a gateway runs on it.
pub fn fsck(data: &Path, effect: Effect, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    let mut is_rebuilt = false;
    let mut log = match effect {
        Effect::Nothing => open_over(data, log::distrust)?,
        Effect::Repair => {
            // A folder without a log would become one.
            let damaged = open(data)?.report.damaged_segments;
            let folder = Folder::open(data)?;
            for segment in damaged {
                let aside = log::rebuild_segment(&folder, &segment)?;
                say(
                    out,
                    &[format!(
                        "{segment} is made anew, the damaged one is {aside}"
                    )],
                )?;
                is_rebuilt = true;
            }
            log::distrust(folder.as_ref());
            log::open(folder.clone(), settings(folder.as_ref()), wall_time())?
        }
    };
    let mut findings = log.report.findings();
    let mut outcome = if log.report.is_clean() && !is_rebuilt {
        Outcome::Fine
    } else {
        Outcome::Damaged
    };
    let mut read = 0;
    for lane in Lane::ALL {
        let mut at = log.reader.first(lane);
        while at < log.reader.head(lane) {
            let chunk = log.reader.read(lane, at, STEP)?;
            read += chunk.records.len();
            at = chunk.next;
            if let Some(gap) = chunk.damaged
                && log.writer.note_gap(gap.clone())
            {
                findings.push(gap.to_string());
                outcome = Outcome::Damaged;
            }
        }
    }
    let whole = check_mail(&mut log, &mut findings)?;
    if findings.len() > log.report.findings().len() {
        outcome = Outcome::Damaged;
    }
    if effect == Effect::Repair {
        settle(log)?;
    }
    findings.push(format!("{read} records are whole"));
    if whole > 0 {
        findings.push(format!("{whole} rows of the mail are whole"));
    }
    say(out, &findings)?;
    if outcome == Outcome::Damaged {
        let done = match effect {
            Effect::Nothing => {
                "nothing was changed; --repair, or the next start, does what is said"
            }
            Effect::Repair => "what could be saved is saved, what is missing is written down",
        };
        say(out, &[done.to_owned()])?;
    }
    Ok(outcome)
}

/// Reads all mail and notes what is damaged. Gives how many rows are not.
fn check_mail(log: &mut Opened, findings: &mut Vec<String>) -> Result<u64, ToolError> {
    let mut whole = 0;
    for (name, table) in mail::TABLES {
        let damaged = mail::each(&mut log.reader, table, |_, _| {
            whole += 1;
            Ok(())
        })?;
        if !damaged.is_empty() {
            findings.push(format!("{} rows of {name} are damaged", damaged.len()));
        }
        for key in damaged {
            let row = log::Damage::Row { table, key };
            if let Some(gap) = row.gap(Lane::Normal) {
                log.writer.note_gap(gap);
            }
        }
    }
    Ok(whole)
}

/// Makes what was noted durable and closes all files.
fn settle(mut log: Opened) -> Result<(), LogError> {
    // Gaps are durable with the next batch.
    let delete = Change::Delete {
        table: Table::Cursors,
        key: b"fsck".to_vec(),
    };
    let batch = Batch {
        changes: vec![delete],
    };
    log.writer.commit(&batch, wall_time())?;
    log.writer.close()
}

/// Opens a folder as a gateway would, and leaves it as it is.
fn open(data: &Path) -> Result<Opened, ToolError> {
    open_over(data, |_| {})
}

/// Opens a folder as a gateway would after `act`, and leaves it as it is.
fn open_over(data: &Path, act: impl FnOnce(&dyn Directory)) -> Result<Opened, ToolError> {
    let below = look(data)?;
    let settings = settings(below.as_ref());
    let path = below.path();
    let overlay = Overlay::over(below).map_err(|source| ToolError::File { path, source })?;
    act(overlay.as_ref());
    Ok(log::open(overlay, settings, wall_time())?)
}

/// Opens a folder that has a log in it.
fn look(data: &Path) -> Result<std::sync::Arc<dyn Directory>, ToolError> {
    let folder = Folder::look(data)?;
    let path = folder.path();
    let names = folder.names();
    let names = names.map_err(|source| ToolError::File { path, source })?;
    if names.iter().any(|name| log::is_of_a_log(name)) {
        return Ok(folder);
    }
    let path = folder.path();
    Err(ToolError::NoLog { path })
}

/// Nothing is dropped, and the journal keeps its size.
fn settings(folder: &dyn Directory) -> Settings {
    let defaults = Settings::default();
    let journal = folder.open("journal").and_then(|journal| journal.len());
    Settings {
        journal_bytes: journal.unwrap_or(defaults.journal_bytes),
        lanes: PerLane::from_fn(|_| LaneLimits {
            max_bytes: u64::MAX,
            ..LaneLimits::default()
        }),
        has_mail: true,
        ..defaults
    }
}

fn say(out: &mut dyn Write, lines: &[String]) -> Result<(), ToolError> {
    for line in lines {
        writeln!(out, "{line}").map_err(output)?;
    }
    Ok(())
}

fn output(source: io::Error) -> ToolError {
    ToolError::File {
        path: "the output".to_owned(),
        source,
    }
}

/// Whether a gap says why an offset can't be read.
fn explains(gap: &Gap, lane: Lane, offset: Offset) -> bool {
    gap.lane == lane && gap.first <= offset && offset <= gap.last
}

/// What is read at a time.
const STEP: Budget = Budget {
    records: 1024,
    bytes: 1 << 20,
};

impl From<LogError> for ToolError {
    fn from(source: LogError) -> Self {
        Self::Log { source }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log {
                source: LogError::InUse { path },
            } => write!(
                f,
                "{path} is locked: a gateway runs here; stop it, or make a backup and look at that"
            ),
            Self::Log { source } => write!(f, "{source}"),
            Self::NoLog { path } => write!(f, "{path} has no log in it"),
            Self::NoSnapshot { path } => write!(
                f,
                "the gateway that runs in {path} made no snapshot in time; its log says why"
            ),
            Self::File { path, source } => write!(f, "{path}: {source}"),
        }
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log { source } => Some(source),
            Self::File { source, .. } => Some(source),
            Self::NoLog { .. } | Self::NoSnapshot { .. } => None,
        }
    }
}
