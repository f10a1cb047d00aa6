//! What outlives its segments: one closed file before all segments of a lane, with records that are
//! the latest of their topics.
//!
//! ```text
//!   | kept | sealed | sealed | active |
//!   |  kept, anew   | sealed | active |     after the oldest sealed one has given way
//! ```
//!
//! Promises that a record in it has the offset that it always had: who has read past it does not get
//! it again, and who has not finds it in its place. The offsets between are in void blocks, and were
//! counted when they became so; so all offsets from the first to the end are in the file, and one that
//! is in no block is damage, as in any segment. No gap names them all by their places, so void blocks
//! are there twice (`log/segment.rs`), or one that is damaged would be counted once more.
//!
//! It has its name only when it is whole, and the state says how far the one goes that counts
//! ([`Facts::kept`](super::state::Facts)): a start that finds another removes it, and the segments
//! that the one that counts stands for.

use std::iter::Peekable;
use std::sync::Arc;

use sync::{Lane, Offset, Record, WallTime};

use super::block::{Builder, Header, MAX_BYTES, Origin};
use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::lane::Sealed;
use super::salvage::Salvage;
use super::segment::{self, NewBlock};
use super::{LogError, Parts};

/// How large the file is at most where segments have so many bytes: of one that is all latest records
/// half goes, or nothing would ever be won.
pub(super) fn most_bytes(segment_bytes: u64) -> u64 {
    MOST_BYTES.min(segment_bytes / 2)
}

/// Makes the file of a lane from records in growing order of their offsets, which are read as they
/// are written. It ends before `next`. Gives the offsets that have a record as well; nothing without any.
pub(super) fn store(
    directory: &Arc<dyn Directory>,
    origin: Origin,
    records: impl Iterator<Item = (Offset, Record)>,
    next: Offset,
) -> Result<Option<(Sealed, Parts)>, LogError> {
    let mut records = records.peekable();
    let Some((first, _)) = records.peek() else {
        return Ok(None);
    };
    let first = *first;
    let name = segment::kept_name(origin.lane, first, next);
    let mut blocks = Blocks {
        records,
        at: first,
        next,
        origin,
        times: (WallTime(u64::MAX), WallTime(0)),
        bytes: 0,
        kept: Vec::new(),
    };
    segment::create_whole(directory, &name, CACHE_BYTES, &mut blocks)?.close()?;
    let kept = Sealed {
        first,
        next,
        bytes: blocks.bytes,
        times: Some(blocks.times),
        is_silent: false,
        is_kept: true,
    };
    Ok(Some((kept, Parts::of_ranges(blocks.kept))))
}

/// The offsets of a file that were given up before, as far as it can be read.
pub(super) fn voids(directory: &Arc<dyn Directory>, lane: Lane, kept: &Sealed) -> Parts {
    let found = read_voids(directory, lane, kept).or_else(|_| {
        let name = kept.name(lane);
        let file = directory.open(&name);
        let file = file.map_err(LogError::file("open", &name))?;
        let found = Salvage::search(file.as_ref(), &name, lane, kept.first..kept.next)?;
        Ok::<_, LogError>(found.headers().filter_map(|it| it.void_range()).collect())
    });
    Parts::of_ranges(found.unwrap_or_default())
}

/// Whether all of a file can be read.
///
/// # Errors
/// When the disk fails; damage is no error.
pub(super) fn is_whole(
    directory: &Arc<dyn Directory>,
    lane: Lane,
    kept: &Sealed,
) -> Result<bool, LogError> {
    match read_voids(directory, lane, kept) {
        Err(error) if !error.is_unreadable() => Err(error),
        read => Ok(read.is_ok()),
    }
}

fn read_voids(
    directory: &Arc<dyn Directory>,
    lane: Lane,
    kept: &Sealed,
) -> Result<Vec<(Offset, Offset)>, LogError> {
    let file = SharedDatabase::open_sealed(directory, &kept.name(lane), READ_CACHE_BYTES)?;
    segment::voids(&file, lane, kept.first..kept.next)
}

/// Makes one block after the other: of records whose offsets follow one another, and of what is
/// between.
struct Blocks<R: Iterator<Item = (Offset, Record)>> {
    records: Peekable<R>,
    at: Offset,
    next: Offset,
    origin: Origin,
    /// Of the oldest and the youngest record so far.
    times: (WallTime, WallTime),
    bytes: u64,
    /// The first and the last offset of each block with records.
    kept: Vec<(Offset, Offset)>,
}

impl<R: Iterator<Item = (Offset, Record)>> Blocks<R> {
    fn fill(&mut self) -> Vec<u8> {
        let first = self.at;
        let mut builder = Builder::new(first, self.origin, MAX_BYTES);
        while let Some((_, record)) = self.records.next_if(|(offset, record)| {
            // What it takes it has taken.
            *offset == self.at && builder.push(record)
        }) {
            let (oldest, youngest) = self.times;
            self.times = (oldest.min(record.time()), youngest.max(record.time()));
            self.at = self.at.next();
        }
        self.kept.push((first, Offset(self.at.0 - 1)));
        builder.finish()
    }

    fn void(&mut self, end: Offset) -> Vec<u8> {
        let (first, (_, youngest)) = (self.at, self.times);
        let count = u32::try_from(end.0 - first.0).unwrap_or(u32::MAX);
        self.at = Offset(first.0 + u64::from(count));
        Header::void(first, count, self.origin, youngest)
    }
}

impl<R: Iterator<Item = (Offset, Record)>> Iterator for Blocks<R> {
    type Item = NewBlock;

    fn next(&mut self) -> Option<NewBlock> {
        let first = self.at;
        let following = self.records.peek().map_or(self.next, |(offset, _)| *offset);
        let block = if first < following {
            self.void(following)
        } else if first < self.next {
            self.fill()
        } else {
            return None;
        };
        self.bytes += block.len() as u64;
        Some((first, block))
    }
}

/// It is written anew with each segment that goes.
const MOST_BYTES: u64 = 1 << 20;
/// Least that redb works well with; the file is written once.
const CACHE_BYTES: usize = 256 << 10;
