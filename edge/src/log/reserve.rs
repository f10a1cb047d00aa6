//! The reserve: space that is kept so that it can be given back when the disk is full. redb needs
//! free pages even to delete.

use std::io;

use super::LogError;
use super::directory::Directory;

/// The name of the file.
pub(super) const NAME: &str = "reserve";

/// Takes the space, written so that it is really taken. False when there is no room for it, which
/// is no reason to stop: it is tried again later.
pub(super) fn take(directory: &dyn Directory) -> bool {
    let taken = write(directory);
    if taken.is_err() {
        let _ = directory.remove(TEMPORARY);
    }
    taken.is_ok()
}

/// Gives the space back.
pub(super) fn give_back(directory: &dyn Directory) -> Result<(), LogError> {
    match directory.remove(NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::file("remove", NAME)(error))
        }
        _ => Ok(()),
    }
}

fn write(directory: &dyn Directory) -> io::Result<()> {
    let file = directory.create(TEMPORARY)?;
    let page = vec![0; 1 << 16];
    for at in (0..BYTES).step_by(page.len()) {
        file.write_at(at, &page)?;
    }
    file.sync_data()?;
    directory.rename(TEMPORARY, NAME)?;
    directory.sync()
}

/// It has its name only when the space is really taken.
const TEMPORARY: &str = "reserve.new";

/// A flush of the default size, and what redb needs around it.
const BYTES: u64 = 1 << 20;
