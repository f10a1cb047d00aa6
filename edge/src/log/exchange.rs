//! A damaged file of rows gives way to one made of its intact rows.
//!
//! ```text
//!   x.redb (damaged)     x.redb.salvaged.new, then x.redb.salvaged (whole)
//!   x.redb.damaged-N     x.redb.salvaged
//!   x.redb.damaged-N     x.redb
//! ```
//!
//! Each line may be the last before a power cut: a start that finds both goes back to the first,
//! one that finds no `x.redb` goes on to the last.

use super::LogError;
use super::directory::Directory;

/// The name of a whole file that waits for `name`.
pub(super) fn salvaged(name: &str) -> String {
    format!("{name}.salvaged")
}

/// Renames a damaged file, so that there is room for another of its name.
pub(super) fn set_aside(
    directory: &dyn Directory,
    name: &str,
    aside: &str,
) -> Result<(), LogError> {
    directory
        .rename(name, aside)
        .and_then(|()| directory.sync())
        .map_err(LogError::file("rename", name))
}

/// Gives the new file its name; the damaged one has made room.
pub(super) fn finish(directory: &dyn Directory, name: &str) -> Result<(), LogError> {
    let salvaged = salvaged(name);
    directory
        .rename(&salvaged, name)
        .and_then(|()| directory.sync())
        .map_err(LogError::file("rename", &salvaged))
}

/// Gives a damaged file its name back, if an attempt failed before there was another: the next one
/// finds what that one found. True when nothing is left to do but to make names durable, which was
/// done.
pub(super) fn take_back(
    directory: &dyn Directory,
    name: &str,
    aside: &str,
) -> Result<bool, LogError> {
    let path = directory.path();
    let names = directory.names().map_err(LogError::file("list", &path))?;
    let has = |name: &str| names.iter().any(|known| known == name);
    if !has(aside) {
        return Ok(false);
    }
    if has(name) {
        return directory
            .sync()
            .map(|()| true)
            .map_err(LogError::file("sync", &path));
    }
    set_aside(directory, aside, name).map(|()| false)
}

/// A name for a damaged file that nothing in the folder has.
pub(super) fn free_name(directory: &dyn Directory, name: &str) -> Result<String, LogError> {
    let path = directory.path();
    let names = directory.names().map_err(LogError::file("list", &path))?;
    Ok(name_aside(name, |name| {
        names.iter().any(|known| known == name)
    }))
}

/// A name for a damaged file that is not taken.
pub(super) fn name_aside(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut number = 1;
    loop {
        let aside = format!("{name}.damaged-{number}");
        if !is_taken(&aside) {
            return aside;
        }
        number += 1;
    }
}
