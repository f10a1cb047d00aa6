//! A consistent copy of a log that is being written.
//!
//! The journal is emptied and the open segments are closed, so that nothing but the state and the
//! mail has to be copied while the writer waits: segments are linked, and an empty journal goes with
//! them. What
//! was committed before is in the copy, whatever is committed, dropped or damaged later.

use std::io;

use sync::Lane;

use super::directory::Directory;
use super::journal::Journal;
use super::recovery::SMALLEST_JOURNAL_BYTES;
use super::{Event, LogError, Writer, gap, mail, segment, state};

impl Writer {
    /// Puts a copy of the log into the folder `snapshot` inside its own. It is as good a data
    /// folder as this one, up to now. An older one there is removed.
    ///
    /// Its outcome is an event of the next [`Writer::maintain`].
    pub fn snapshot(&mut self) {
        let result = self.try_snapshot();
        self.events.push(Event::Snapshot { result });
    }

    fn try_snapshot(&mut self) -> Result<(), LogError> {
        self.check_place()?;
        // The journal of the copy has no frames, and its state must not miss any.
        self.journal.forget_youngest();
        self.flush_with_reserve()?;
        let mut names = Vec::new();
        for lane in Lane::ALL {
            let files = &mut self.lanes[lane];
            files.seal(&mut self.events)?;
            let sealed = files.sealed.iter();
            names.extend(sealed.map(|sealed| segment::name(lane, sealed.first)));
        }
        let path = self.directory.path();
        let failed = |action| LogError::file(action, &path);
        let copy = self.directory.snapshot(&names).map_err(failed("copy"))?;
        copy_file(self.directory.as_ref(), copy.as_ref(), state::NAME).map_err(failed("copy"))?;
        for name in [mail::NAME, gap::copy::NAME] {
            match copy_file(self.directory.as_ref(), copy.as_ref(), name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("copy")(error));
                }
                _ => {}
            }
        }
        let ownership = self.journal.ownership();
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
fn copy_file(from: &dyn Directory, to: &dyn Directory, name: &str) -> io::Result<()> {
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
    }
    to.sync_data()
}

const STEP_BYTES: usize = 256 << 10;
