//! Segments that redb can't be asked for: their files are searched once, and what was found in the last
//! few is remembered.

use std::ops::Range;
use std::sync::Arc;

use sync::{Lane, Offset};

use super::super::LogError;
use super::super::directory::File;
use super::super::salvage::Salvage;
use super::{Place, Reader, removed};

/// A damaged segment that was searched.
#[derive(Debug)]
pub(super) struct Salvaged {
    pub(super) lane: Lane,
    pub(super) first: Offset,
    /// Where the segment ended at the time.
    pub(super) end: Offset,
    file: Arc<dyn File>,
    blocks: Salvage,
}

impl Reader {
    /// Looks for a record in a file that redb can't be asked for. The first time it reads all of
    /// the file.
    pub(super) fn search_damaged(
        &mut self,
        lane: Lane,
        (range, name): (Range<Offset>, String),
        at: Offset,
    ) -> Result<Place, LogError> {
        let Range { start: first, end } = range;
        let is_it = |it: &Salvaged| (it.lane, it.first) == (lane, first) && at < it.end;
        if !self.salvaged.iter().any(is_it) {
            let file = self.directory.open(&name).map_err(removed(&name))?;
            let blocks = Salvage::search(file.as_ref(), &name, lane, first..end)?;
            self.salvaged
                .retain(|it| (it.lane, it.first) != (lane, first));
            self.salvaged.push_back(Salvaged {
                lane,
                first,
                end,
                file,
                blocks,
            });
            if self.salvaged.len() > self.open_count {
                self.salvaged.pop_front();
            }
        }
        let found = self.salvaged.iter().find(|it| is_it(it));
        let it = found.expect("what was not there was just added");
        match it.blocks.read(it.file.as_ref(), at) {
            Some(block) => Ok(self.keep(lane, block)),
            None => Ok(Place::Damage(it.blocks.following(at).unwrap_or(end))),
        }
    }
}
