//! A consistent copy of a log that is being written.
//!
//! ```text
//!   begin_copy --> copy_on, copy_on, ... --> snapshot/
//! ```
//!
//! At its beginning everything is brought into redb and the open segments are closed, so that nothing
//! but the state and the mail has to be copied: segments are linked, and an empty journal goes with
//! them. What was committed before is in the copy, whatever is committed, dropped or damaged meanwhile
//! and later.
//!
//! It is that one moment although it gives way: a job copies a piece, of as much as makes a flush
//! due, and what is changed between the pieces is copied before it changes (`log/image.rs`). So what
//! is committed meanwhile is flushed between two pieces, and no commit waits for more than one,
//! however much mail there is and however slow the card.
//!
//! A copy that fails, or is given up, goes at once, and one that a kill left half made with the next
//! start: its links would keep segments on the disk that retention has removed.

use std::io;

use sync::Lane;

use super::directory::Directory;
use super::files::Files;
use super::gap::copy::Copy;
use super::journal::Journal;
use super::recovery::SMALLEST_JOURNAL_BYTES;
use super::{Event, LogError, mail, segment, state};

impl Files {
    /// Begins a copy of the log as it is at the cut. One that is under way is given up.
    pub(super) fn begin_copy(&mut self) {
        self.give_up_copy();
        if let Err(error) = self.try_begin_copy() {
            self.end_copy(Err(error));
        }
    }

    /// Copies another piece. With the last one the folder `snapshot` is there.
    pub(super) fn copy_on(&mut self) {
        let path = self.directory.path();
        let failed = |action| LogError::file(action, &path);
        let piece_bytes = self.settings.flush_bytes as u64;
        match self.images.copy(piece_bytes, &self.progress) {
            Ok(false) => {}
            Ok(true) => {
                let done = self.directory.finish_snapshot().map_err(failed("sync"));
                self.end_copy(done);
            }
            Err(error) => {
                let error = failed("copy")(error);
                self.end_copy(Err(error));
            }
        }
    }

    /// Tells what became of a copy. What is there of one that failed goes.
    pub(super) fn end_copy(&mut self, result: Result<(), LogError>) {
        match &result {
            Ok(()) => {
                self.images.give_up();
                self.is_copying = false;
            }
            Err(_) => self.give_up_copy(),
        }
        self.events.push(Event::Snapshot { result });
    }

    /// Ends a copy that is under way, and removes what is there of it.
    pub(super) fn give_up_copy(&mut self) {
        self.images.give_up();
        if std::mem::take(&mut self.is_copying) {
            // What can't be removed goes with the next copy, or the next start.
            let _ = self.directory.give_up_snapshot();
        }
    }

    fn try_begin_copy(&mut self) -> Result<(), LogError> {
        // The journal of the copy has no frames, and its state must not miss any.
        self.cut.journal.youngest = 0;
        self.flush()?;
        let mut names = Vec::new();
        for lane in Lane::ALL {
            let files = &mut self.lanes[lane];
            files.seal(&mut self.events)?;
            let sealed = files.sealed.iter();
            names.extend(sealed.map(|sealed| segment::name(lane, sealed.first)));
        }
        let path = self.directory.path();
        let failed = |action| LogError::file(action, &path);
        self.is_copying = true;
        let copy = self.directory.snapshot(&names).map_err(failed("copy"))?;
        for name in [state::NAME, mail::NAME] {
            match self.begin_image(copy.as_ref(), name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && name == mail::NAME => {}
                begun => begun.map_err(failed("copy"))?,
            }
        }
        // The state has them all, and their file may be on a bad medium.
        let ledger = state::ledger(&self.state, self.marks)?;
        let gaps = Copy::new(self.facts.gaps, self.facts.announced, ledger.readable());
        gaps.try_write(copy.as_ref()).map_err(failed("copy"))?;
        let ownership = self.cut.ownership;
        Journal::create(
            copy.as_ref(),
            SMALLEST_JOURNAL_BYTES,
            ownership.epoch,
            ownership.salt,
            self.facts.position.sequence,
        )?;
        Ok(())
    }

    fn begin_image(&self, copy: &dyn Directory, name: &str) -> io::Result<()> {
        let from = self.directory.open(name)?;
        self.images.begin(from, copy.create(name)?)
    }
}
