//! Slow work, lent out: what brings the files up to date while commits go on.
//!
//! ```text
//!   home --- begin ---> lent --- Job::run ---> done --- finish ---> home
//! ```
//!
//! A job owns all files but the journal, and what was committed until it began. Where it runs, and
//! for how long, is the driver's business: commits go on meanwhile, into the room that the journal
//! has. There is one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync::WallTime;

use super::super::LogError;
use super::super::files::Files;

/// Work on the files of a log, to be run once, on any thread. Dropping it is as if the disk had
/// gone: nothing acknowledged is lost, and the log has to be opened again.
#[derive(Debug)]
#[must_use = "the writer waits for its files"]
pub struct Job {
    pub(super) files: Box<Files>,
    pub(super) order: Order,
    pub(super) wall: WallTime,
}

/// How far jobs have come that copy much, for who watches over them. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

/// A job that was run; it goes back to [`Writer::finish`](super::Writer::finish).
#[derive(Debug)]
#[must_use = "the writer waits for its files"]
pub struct Done {
    pub(super) files: Box<Files>,
}

/// What a job does beside retention.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// Bring everything into redb that was committed before it.
    pub(super) flushes: bool,
    /// Make the mail's file anew of what is whole of it.
    pub(super) mends_mail: bool,
    /// Begin a copy of everything for a backup.
    pub(super) copies: bool,
}

impl Progress {
    /// How many pieces were copied so far, of some hundred KiB at most. One that stays the same is
    /// that of a job which copies nothing, or of a disk that hangs.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(in super::super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Job {
    /// How far it has come, also while it runs.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.files.progress.clone()
    }

    /// Does it: a few commits of redb, a few syncs each. Failures are events, and are tried again
    /// at most once a second.
    pub fn run(self) -> Done {
        let Self {
            mut files,
            order,
            wall,
        } = self;
        if order.copies {
            files.begin_copy();
        }
        let done = files.work(order);
        if files.copying.is_some() {
            files.copy_on();
        }
        files.note_outcome(done, wall);
        files.hand_out_gaps();
        Done { files }
    }
}

impl Files {
    fn work(&mut self, order: Order) -> Result<(), LogError> {
        let removed = self.remove_doomed();
        let mended = match order.mends_mail || self.bad_mail.is_some() {
            true => self.mend_mail(),
            false => Ok(()),
        };
        let flushed = match order.flushes {
            true => self.flush(),
            false => Ok(()),
        };
        let mut trimmed = self.trim();
        if flushed.is_err() {
            // What goes now may be the space that was missing.
            trimmed = trimmed.and_then(|()| self.remove_doomed());
        }
        mended.and(flushed).and(removed).and(trimmed)
    }
}
