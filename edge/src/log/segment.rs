//! A segment: one redb file with consecutive blocks of one lane.
//!
//! Its name is `{lane}-{first offset, 20 digits}.redb`, and of one that holds what outlived others
//! (`log/kept.rs`) `{lane}-{first offset}-{offset after the last}.redb`. It has a table `blocks`, whose key is
//! the first offset of a [block](super::block) and whose value is the block. Only the last segment
//! of a lane is ever written; space returns by deleting whole files, because a redb file never
//! shrinks in service and a full one can't even delete.
//!
//! Void blocks are a second time in a table `voids`, which nobody asks redb for: where a page of
//! blocks is damaged a search of the file (`log/salvage.rs`) finds them, and so tells what is lost from
//! what was given up before.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, TableDefinition};
use sync::{Lane, Offset};

use super::LogError;
use super::block::Header;
use super::database::SharedDatabase;
use super::directory::Directory;

/// The handle of a segment that is open for writing, shared by writer and reader.
#[derive(Clone, Debug)]
pub struct SharedSegment(pub(super) SharedDatabase);

/// A block to write: its first offset and its bytes.
pub(super) type NewBlock = (Offset, Vec<u8>);

pub(super) fn name(lane: Lane, first: Offset) -> String {
    format!("{}-{:020}.redb", lane.name(), first.0)
}

pub(super) fn kept_name(lane: Lane, first: Offset, next: Offset) -> String {
    format!("{}-{:020}-{:020}.redb", lane.name(), first.0, next.0)
}

/// What a segment's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) lane: Lane,
    pub(super) first: Offset,
    /// Where one ends that holds what outlived others.
    pub(super) kept_to: Option<Offset>,
}

/// Reads a file's name; `None` when it is no segment's.
pub(super) fn parse(file: &str) -> Option<Named> {
    let (lane, offsets) = file.strip_suffix(".redb")?.split_once('-')?;
    let lane = Lane::ALL.into_iter().find(|known| known.name() == lane)?;
    let (first, kept_to) = match offsets.split_once('-') {
        Some((first, next)) => (first, Some(parse_offset(next)?)),
        None => (offsets, None),
    };
    let first = parse_offset(first)?;
    kept_to.is_none_or(|next| first < next).then_some(Named {
        lane,
        first,
        kept_to,
    })
}

fn parse_offset(digits: &str) -> Option<Offset> {
    let is_number = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(Offset))?
}

pub(super) fn create(
    directory: &Arc<dyn Directory>,
    lane: Lane,
    first: Offset,
    cache_bytes: usize,
) -> Result<SharedDatabase, LogError> {
    let name = name(lane, first);
    SharedDatabase::create(directory, &name, cache_bytes, |transaction| {
        transaction.open_table(BLOCKS)?;
        Ok(())
    })
}

/// Makes a segment with all its blocks, which has its name only when they are in it.
pub(super) fn create_whole(
    directory: &Arc<dyn Directory>,
    name: &str,
    cache_bytes: usize,
    blocks: impl IntoIterator<Item = NewBlock>,
) -> Result<SharedDatabase, LogError> {
    SharedDatabase::create(directory, name, cache_bytes, |transaction| {
        let mut table = transaction.open_table(BLOCKS)?;
        let mut voids = transaction.open_table(VOIDS)?;
        for (first, block) in blocks {
            table.insert(first.0, block.as_slice())?;
            if Header::unchecked(&block).is_void() {
                voids.insert(first.0, block.as_slice())?;
            }
        }
        Ok(())
    })
}

/// Gives what of a segment is [void](super::block): the first offset of each part and its last.
///
/// # Errors
/// When not every offset of the range is in a block that is whole.
pub(super) fn voids(
    segment: &SharedDatabase,
    lane: Lane,
    range: Range<Offset>,
) -> Result<Vec<(Offset, Offset)>, LogError> {
    let (voids, reached) = segment.read(|transaction| {
        let table = transaction.open_table(BLOCKS)?;
        let (mut voids, mut at) = (Vec::new(), range.start);
        for entry in table.iter()? {
            let (_, block) = entry?;
            let Ok(header) = Header::read(block.value(), lane, at) else {
                break;
            };
            voids.extend(header.void_range());
            at = header.next();
        }
        Ok((voids, at))
    })?;
    match reached == range.end {
        true => Ok(voids),
        false => Err(LogError::corrupt(
            segment.name(),
            format!("no block holds offset {reached}"),
        )),
    }
}

/// Adds blocks in one transaction, the first of which begins with `first`. What is there from this
/// offset on is what a transaction left that failed and has reached the file all the same: it goes.
pub(super) fn append(
    segment: &SharedDatabase,
    first: Offset,
    blocks: impl IntoIterator<Item = NewBlock>,
) -> Result<(), LogError> {
    segment.write(|transaction| {
        let mut table = transaction.open_table(BLOCKS)?;
        while table
            .last()?
            .is_some_and(|(last, _)| last.value() >= first.0)
        {
            table.pop_last()?;
        }
        for (first, block) in blocks {
            table.insert(first.0, block.as_slice())?;
        }
        Ok(())
    })
}

/// Reads the headers of the first and the last block; `None` for a segment without blocks.
pub(super) fn ends(
    segment: &SharedDatabase,
    lane: Lane,
) -> Result<Option<(Header, Header)>, LogError> {
    Ok(edge(segment, lane, false)?.zip(edge(segment, lane, true)?))
}

/// Finds the block at or before `offset`: its first offset and its bytes, as they are.
pub(super) fn find(
    segment: &SharedDatabase,
    offset: Offset,
) -> Result<Option<(Offset, Bytes)>, LogError> {
    segment.read(|transaction| {
        let table = transaction.open_table(BLOCKS)?;
        let Some(entry) = table.range(..=offset.0)?.next_back() else {
            return Ok(None);
        };
        let (first, bytes) = entry?;
        Ok(Some((
            Offset(first.value()),
            Bytes::copy_from_slice(bytes.value()),
        )))
    })
}

/// Gives the first offset of the block behind `offset`, whatever is in it.
pub(super) fn following(
    segment: &SharedDatabase,
    offset: Offset,
) -> Result<Option<Offset>, LogError> {
    segment.read(|transaction| {
        let table = transaction.open_table(BLOCKS)?;
        let entry = table.range(offset.next().0..)?.next().transpose()?;
        Ok(entry.map(|(first, _)| Offset(first.value())))
    })
}

fn edge(segment: &SharedDatabase, lane: Lane, is_last: bool) -> Result<Option<Header>, LogError> {
    let found = segment.read(|transaction| {
        let table = transaction.open_table(BLOCKS)?;
        let entry = if is_last {
            table.last()?
        } else {
            table.first()?
        };
        Ok(entry.map(|(first, block)| Header::read(block.value(), lane, Offset(first.value()))))
    })?;
    found
        .transpose()
        .map_err(|error| LogError::corrupt(segment.name(), error.to_string()))
}

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const VOIDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("voids");

#[cfg(test)]
mod tests {
    use super::super::simulated::SimulatedFolder;
    use super::*;

    /// A failed transaction may have cut what waited into other blocks than the next one does.
    #[test]
    fn what_a_lost_transaction_left_goes_with_the_next() {
        let directory = SimulatedFolder::new().directory();
        let file = create(&directory, Lane::Normal, Offset(0), 1 << 20).unwrap();
        let blocks = |firsts: &[u64]| -> Vec<NewBlock> {
            let block = |first: &u64| (Offset(*first), vec![*first as u8; 5000]);
            firsts.iter().map(block).collect()
        };
        append(&file, Offset(0), blocks(&[0])).unwrap();
        append(&file, Offset(5), blocks(&[5, 8, 9])).unwrap();
        append(&file, Offset(5), blocks(&[5, 20])).unwrap();
        let found = |offset| find(&file, Offset(offset)).unwrap().unwrap().0;
        assert_eq!([4, 7, 8, 15, 20].map(found), [0, 5, 5, 5, 20].map(Offset));
    }

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        let name = name(Lane::Urgent, Offset(u64::MAX));
        assert_eq!(name, "urgent-18446744073709551615.redb");
        let (lane, first) = (Lane::Urgent, Offset(u64::MAX));
        let kept_to = None;
        let named = |lane, first, kept_to| Named {
            lane,
            first,
            kept_to,
        };
        assert_eq!(parse(&name), Some(named(lane, first, kept_to)));
        let kept = kept_name(lane, Offset(7), first);
        assert_eq!(
            kept,
            "urgent-00000000000000000007-18446744073709551615.redb"
        );
        assert_eq!(parse(&kept), Some(named(lane, Offset(7), Some(first))));
        for other in [
            "state.redb",
            "urgent-1.redb",
            "urgent-+0000000000000000001.redb",
            "urgent-99999999999999999999.redb",
            "other-00000000000000000001.redb",
            "urgent-00000000000000000001.redb.damaged-1",
            "urgent-00000000000000000001-1.redb",
            "urgent-00000000000000000007-00000000000000000007.redb",
            "urgent-00000000000000000007-00000000000000000008-00000000000000000009.redb",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
