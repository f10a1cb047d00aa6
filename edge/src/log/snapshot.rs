//! A consistent copy of a log that is being written.
//!
//! Everything is brought into redb and the open segments are closed, so that nothing but the state
//! and the mail has to be copied: segments are linked, and an empty journal goes with them. What was
//! committed before is in the copy, whatever is committed, dropped or damaged meanwhile and later.
//!
//! It is one moment because the files are the job's until the last of it is copied. Commits go on
//! meanwhile for as long as they find room ([`Writer::waits_for_job`](super::Writer)), which much
//! mail on a slow card may outlast: then they wait, and [`Progress`] tells the copy from a disk that
//! hangs.

use std::io;

use sync::Lane;

use super::directory::Directory;
use super::files::Files;
use super::gap::copy::Copy;
use super::journal::Journal;
use super::recovery::SMALLEST_JOURNAL_BYTES;
use super::{LogError, Progress, mail, state};

impl Files {
    /// Puts a copy of the log into the folder `snapshot` inside its own, up to the cut.
    pub(super) fn copy(&mut self) -> Result<(), LogError> {
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
        let copy_file = |name| {
            let (from, to) = (self.directory.as_ref(), copy.as_ref());
            copy_file(from, to, name, &self.progress)
        };
        copy_file(state::NAME).map_err(failed("copy"))?;
        match copy_file(mail::NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("copy")(error));
            }
            _ => {}
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
        self.directory.finish_snapshot().map_err(failed("sync"))
    }
}

/// Copies a file that is written into a folder where it is not, as it was last committed.
fn copy_file(
    from: &dyn Directory,
    to: &dyn Directory,
    name: &str,
    progress: &Progress,
) -> io::Result<()> {
    let from = from.open(name)?;
    let to = to.create(name)?;
    let bytes = from.len()?;
    let mut step = vec![0; STEP_BYTES];
    let mut at = 0;
    while at < bytes {
        let count = (bytes - at).min(STEP_BYTES as u64) as usize;
        from.read_at(at, &mut step[..count])?;
        to.write_at(at, &step[..count])?;
        at += count as u64;
        if at.is_multiple_of(SYNC_BYTES) {
            // Not all of it with one sync that takes minutes.
            to.sync_data()?;
        }
        progress.step();
    }
    to.sync_data()
}

const STEP_BYTES: usize = 256 << 10;
const SYNC_BYTES: u64 = 4 << 20;
