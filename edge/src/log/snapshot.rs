//! A consistent copy of a log that is being written.
//!
//! ```text
//!   begin_copy --> copy_on, copy_on, ... --> snapshot/
//! ```
//!
//! At its beginning everything is brought into redb and the open segments are closed, so that nothing
//! but the state and the mail has to be copied: segments are linked, and an empty journal goes with
//! them. Segments that can't be linked are copied as well, one after the other, and one that is about
//! to be removed before its turn is held open for it, or stays until fewer are. What was committed
//! before is in the copy, whatever is committed, dropped or damaged meanwhile and later.
//!
//! It is that one moment although it gives way: a job copies a piece, of as much as makes a flush
//! due, and what is changed between the pieces is copied before it changes (`log/image.rs`). So what
//! is committed meanwhile is flushed between two pieces, and no commit waits for more than one,
//! however much mail there is and however slow the card.
//!
//! A copy that fails, or is given up, goes at once, and one that a kill left half made with the next
//! start: its links would keep segments on the disk that retention has removed.

use std::io;
use std::sync::Arc;

use sync::Lane;

use super::directory::Directory;
use super::files::Files;
use super::gap::copy::Copy;
use super::journal::Journal;
use super::recovery::SMALLEST_JOURNAL_BYTES;
use super::{Event, LogError, mail, state};

/// A copy that is under way.
#[derive(Debug)]
pub(super) struct Copying {
    to: Arc<dyn Directory>,
    /// Segments that could not be linked, and whose turn has not come.
    unlinked: Vec<String>,
}

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
        match self.copy_piece() {
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
            Ok(()) => self.copying = None,
            Err(_) => self.give_up_copy(),
        }
        self.events.push(Event::Snapshot { result });
    }

    /// Ends a copy that is under way, and removes what is there of it.
    pub(super) fn give_up_copy(&mut self) {
        self.images.give_up();
        if self.copying.take().is_some() {
            // What can't be removed goes with the next copy, or the next start.
            let _ = self.directory.give_up_snapshot();
        }
    }

    /// Sees to it that a segment which is about to go is in the copy under way: it is held open. False
    /// where enough of them are, and it has to stay for now. A copy that can't take it fails; the
    /// segment goes all the same.
    pub(super) fn keep_for_copy(&mut self, segment: &str) -> bool {
        let Some(copying) = &mut self.copying else {
            return true;
        };
        let Some(at) = copying.unlinked.iter().position(|name| name == segment) else {
            return true;
        };
        if self.images.count() >= HELD {
            return false;
        }
        copying.unlinked.swap_remove(at);
        if let Err(error) = self.begin_image(segment) {
            self.end_copy(Err(LogError::file("copy", segment)(error)));
        }
        true
    }

    /// True when everything is there.
    fn copy_piece(&mut self) -> io::Result<bool> {
        let bytes = self.settings.flush_bytes as u64;
        if !self.images.copy(bytes, &self.progress)? {
            return Ok(false);
        }
        let unlinked = self.copying.as_mut().and_then(|it| it.unlinked.pop());
        match unlinked {
            Some(name) => self.begin_image(&name).map(|()| false),
            None => Ok(true),
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
            names.extend(sealed.map(|sealed| sealed.name(lane)));
        }
        let path = self.directory.path();
        let failed = |action| LogError::file(action, &path);
        let copy = self.directory.snapshot(&names).map_err(failed("copy"))?;
        let copying = self.copying.insert(Copying {
            to: Arc::clone(&copy),
            unlinked: Vec::new(),
        });
        let linked = copy.names().map_err(failed("list"))?;
        names.retain(|name| !linked.contains(name));
        copying.unlinked = names;
        for name in [state::NAME, mail::NAME] {
            match self.begin_image(name) {
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

    fn begin_image(&self, name: &str) -> io::Result<()> {
        let copying = self.copying.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let from = self.directory.open(name)?;
        self.images.begin(from, copying.to.create(name)?)
    }
}

/// Files that a copy holds open at most, at two descriptors each. What goes beyond that stays for a
/// piece or more.
const HELD: usize = 8;
