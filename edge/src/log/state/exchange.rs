//! A damaged state gives way to one made of its intact rows.
//!
//! ```text
//!   state.redb (damaged)     state.redb.salvaged.new, then state.redb.salvaged (whole)
//!   state.redb.damaged-N     state.redb.salvaged
//!   state.redb.damaged-N     state.redb
//! ```
//!
//! Each line may be the last before a power cut: a start that finds both goes back to the first,
//! one that finds no `state.redb` goes on to the last.

use std::sync::Arc;

use super::super::LogError;
use super::super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::super::directory::Directory;
use super::{Facts, NAME, Rows, create, rows};

/// A whole state that waits for its name.
pub(in super::super) const SALVAGED: &str = "state.redb.salvaged";

/// Makes the new file.
pub(in super::super) fn prepare(
    directory: &Arc<dyn Directory>,
    cache_bytes: usize,
    facts: &Facts,
    rows: &Rows,
) -> Result<(), LogError> {
    create(directory, SALVAGED, cache_bytes, facts, rows)?.close()
}

/// Gives the new file its name; the damaged one has made room.
pub(in super::super) fn finish(directory: &dyn Directory) -> Result<(), LogError> {
    directory
        .rename(SALVAGED, NAME)
        .and_then(|()| directory.sync())
        .map_err(LogError::file("rename", SALVAGED))
}

/// Exchanges a state that is open and can't be written because it is damaged. Gives the name of
/// the damaged file, and how many rows are lost.
///
/// # Errors
/// When nothing can be read of it, or there is no room; it is in its place then.
pub(in super::super) fn exchange(
    directory: &Arc<dyn Directory>,
    open: &SharedDatabase,
    cache_bytes: usize,
    facts: &Facts,
) -> Result<(String, u64), LogError> {
    let damaged = SharedDatabase::open_sealed(directory, NAME, READ_CACHE_BYTES)?;
    let rows = rows(&damaged)?;
    if rows.is_empty() {
        return Err(LogError::corrupt(NAME, "none of its rows is whole"));
    }
    drop(damaged);
    prepare(directory, cache_bytes, facts, &rows)?;
    let path = directory.path();
    let names = directory.names().map_err(LogError::file("list", &path))?;
    let aside = name_aside(NAME, |name| names.iter().any(|known| known == name));
    // Whether it can be closed or not; all who share it open the new one.
    let _ = open.close();
    directory
        .rename(NAME, &aside)
        .and_then(|()| directory.sync())
        .map_err(LogError::file("rename", NAME))?;
    finish(directory.as_ref())?;
    Ok((aside, rows.lost))
}

/// A name for a damaged file that nothing has.
pub(in super::super) fn name_aside(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut number = 1;
    loop {
        let aside = format!("{name}.damaged-{number}");
        if !is_taken(&aside) {
            return aside;
        }
        number += 1;
    }
}
