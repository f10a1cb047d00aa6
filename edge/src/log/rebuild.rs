//! A damaged segment made anew of the blocks that are whole.
//!
//! A start does without it: it reads such a segment block by block. Made anew the file is one that
//! redb opens and checks, and the damaged one is kept as a copy.

use std::io;
use std::sync::Arc;

use sync::Offset;

use super::directory::Directory;
use super::exchange::name_aside;
use super::salvage::Salvage;
use super::{LogError, segment};

/// Copies a segment to a name of its own and puts a new file with all whole blocks in its place.
/// Gives the name of the copy. The log of the folder must not be open.
///
/// # Errors
/// When the file is no segment, can't be read, or there is no room. It is as before then.
pub fn rebuild_segment(directory: &Arc<dyn Directory>, name: &str) -> Result<String, LogError> {
    let named =
        segment::parse(name).ok_or_else(|| LogError::corrupt(name, "its name is no segment's"))?;
    let end = named.kept_to.unwrap_or(Offset(u64::MAX));
    let file = directory.open(name).map_err(LogError::file("open", name))?;
    let found = Salvage::search(file.as_ref(), name, named.lane, named.first..end)?;
    let aside = copy(directory.as_ref(), name).map_err(LogError::file("copy", name))?;
    let blocks = found.headers().map(|header| header.first);
    let blocks = blocks.filter_map(|first| Some((first, found.bytes(file.as_ref(), first)?)));
    let making = format!("{name}.salvaged");
    let making = segment::create_whole(directory, &making, CACHE_BYTES, blocks)?;
    making.close()?;
    directory
        .rename(making.name(), name)
        .and_then(|()| directory.sync())
        .map_err(LogError::file("rename", name))?;
    Ok(aside)
}

fn copy(directory: &dyn Directory, name: &str) -> io::Result<String> {
    let names = directory.names()?;
    let aside = name_aside(name, |name| names.iter().any(|known| known == name));
    let (from, to) = (directory.open(name)?, directory.create(&aside)?);
    let bytes = from.len()?;
    let mut step = vec![0; STEP_BYTES];
    let mut at = 0;
    while at < bytes {
        let count = (bytes - at).min(STEP_BYTES as u64) as usize;
        // What can't be read is zeros in the copy.
        if from.read_at(at, &mut step[..count]).is_err() {
            step[..count].fill(0);
        }
        to.write_at(at, &step[..count])?;
        at += count as u64;
    }
    to.sync_data()?;
    directory.sync()?;
    Ok(aside)
}

const STEP_BYTES: usize = 256 << 10;
const CACHE_BYTES: usize = 4 << 20;
