//! Finds the records of the segment that goes next which are the latest of their topic.
//!
//! A search reads that segment once, and then what came after it until everything it looks for has
//! turned up again or the end is reached: closed files, the one that is written, and memory. It
//! needs no index and nothing at a start, and its memory is bounded. It goes on a step at a time
//! while the lane nears its limit, so that no commit waits for it; what is appended meanwhile is
//! read last.
//!
//! It is exact but for two things, and both are on the side of order, at the cost of a record that
//! is then in the gap: topics beyond [`TOPIC_BYTES`], and a file behind the segment that can't be
//! read, where a later record may have been.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync::{Change, Lane, Offset, Record, Table};

use super::block::Block;
use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::lane::LaneFiles;
use super::{LogError, segment};

/// A search for one segment.
#[derive(Debug)]
pub(super) struct Search {
    /// The segment's first offset.
    pub(super) first: Offset,
    /// The offset after its last.
    next: Offset,
    /// Everything below was read.
    at: Offset,
    /// The latest of each topic so far, all in the segment.
    latest: BTreeMap<Box<str>, Offset>,
    topic_bytes: usize,
    /// The closed file that was read last.
    open: Option<(Offset, SharedDatabase)>,
}

impl Search {
    /// Begins with the oldest closed segment, if there is one that somebody wants.
    pub(super) fn begin(files: &LaneFiles) -> Option<Self> {
        let oldest = files.sealed.front()?;
        (oldest.next > files.floor).then(|| Self {
            first: oldest.first,
            next: oldest.next,
            at: oldest.first.max(files.floor),
            latest: BTreeMap::new(),
            topic_bytes: 0,
            open: None,
        })
    }

    /// Whether nothing is left to read.
    pub(super) fn is_done(&self, files: &LaneFiles) -> bool {
        let is_in_need = self.at < self.next || !self.latest.is_empty();
        !is_in_need || self.at >= files.next()
    }

    /// Reads on: so many bytes, or one block.
    pub(super) fn step(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
        bytes: usize,
    ) -> Result<(), LogError> {
        let mut left = bytes;
        while left > 0 && !self.is_done(files) {
            left = left.saturating_sub(match self.in_memory(files) {
                Some(record) => self.note(&record),
                None => self.read_block(files, directory)?,
            });
        }
        Ok(())
    }

    /// The records that are the latest of their topics, in growing order of their offsets: of the
    /// youngest as many as `bytes` have room for.
    pub(super) fn survivors(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
        bytes: u64,
    ) -> Result<Vec<(Offset, Record)>, LogError> {
        let mut offsets: Vec<Offset> = self.latest.values().copied().collect();
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        let (mut records, mut left) = (Vec::new(), bytes);
        for offset in offsets {
            let found = match self.find(files, directory, offset) {
                Err(error) if !error.is_unreadable() => return Err(error),
                found => found,
            };
            let Ok(Found::Block(block)) = found else {
                continue;
            };
            let Some(record) = block.record(offset) else {
                continue;
            };
            let taken = (record.as_bytes().len() + ENTRY_BYTES) as u64;
            let Some(rest) = left.checked_sub(taken) else {
                break;
            };
            left = rest;
            records.push((offset, record));
        }
        records.reverse();
        Ok(records)
    }

    fn in_memory(&self, files: &LaneFiles) -> Option<Record> {
        let index = self.at.0.checked_sub(files.flushed.0)?;
        files.waiting.get(usize::try_from(index).ok()?).cloned()
    }

    fn read_block(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
    ) -> Result<usize, LogError> {
        let found = match self.find(files, directory, self.at) {
            Err(error) if !error.is_unreadable() => return Err(error),
            found => found.unwrap_or(Found::Damage),
        };
        let block = match found {
            Found::Block(block) => block,
            Found::End(next) => {
                self.at = next;
                return Ok(ENTRY_BYTES);
            }
            // A later record of any topic may have been there.
            Found::Damage => {
                if self.at >= self.next {
                    self.latest.clear();
                }
                self.at = end_of(files, self.at);
                return Ok(ENTRY_BYTES);
            }
        };
        let end = block.next();
        let mut bytes = 0;
        while self.at < end {
            match block.record(self.at) {
                Some(record) => bytes += self.note(&record),
                None => self.at = self.at.next(),
            }
        }
        Ok(bytes)
    }

    /// Takes the record at the place that is read, and gives what it weighs.
    fn note(&mut self, record: &Record) -> usize {
        let topic = record.topic();
        let is_of_segment = self.at < self.next;
        if is_of_segment && record.keeps_latest() {
            let has_room = self.topic_bytes + topic.len() + ENTRY_BYTES <= TOPIC_BYTES;
            if let Some(latest) = self.latest.get_mut(topic) {
                *latest = self.at;
            } else if has_room {
                self.topic_bytes += topic.len() + ENTRY_BYTES;
                self.latest.insert(topic.into(), self.at);
            }
        } else if self.latest.remove(topic).is_some() {
            self.topic_bytes -= topic.len() + ENTRY_BYTES;
        }
        self.at = self.at.next();
        record.as_bytes().len()
    }

    fn find(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
        at: Offset,
    ) -> Result<Found, LogError> {
        let file = match (files.sealed.iter().find(|it| at < it.next), &files.active) {
            (Some(sealed), _) if at < sealed.first => return Ok(Found::End(sealed.first)),
            (Some(sealed), _) => self.open(files.lane, directory, sealed.first)?,
            (None, Some(active)) if at < active.first => return Ok(Found::End(active.first)),
            (None, Some(active)) => active.database.clone(),
            (None, None) => return Ok(Found::End(files.flushed)),
        };
        let found = segment::find(&file, at)?;
        let block = found.and_then(|(first, bytes)| Block::read(bytes, files.lane, first).ok());
        if let Some(block) = block.filter(|block| at < block.next()) {
            return Ok(Found::Block(block));
        }
        // A group that was torn has used its offsets up, and the file ends before them.
        let is_end = segment::ends(&file, files.lane)?.is_some_and(|(_, last)| last.next() <= at);
        Ok(match is_end {
            true => Found::End(end_of(files, at)),
            false => Found::Damage,
        })
    }

    fn open(
        &mut self,
        lane: Lane,
        directory: &Arc<dyn Directory>,
        first: Offset,
    ) -> Result<SharedDatabase, LogError> {
        match &self.open {
            Some((open, file)) if *open == first => Ok(file.clone()),
            _ => {
                let name = segment::name(lane, first);
                let file = SharedDatabase::open_sealed(directory, &name, READ_CACHE_BYTES)?;
                self.open = Some((first, file.clone()));
                Ok(file)
            }
        }
    }
}

/// What is at an offset that a file should have.
enum Found {
    Block(Block),
    /// Nothing, up to here.
    End(Offset),
    Damage,
}

/// Where the segment ends that an offset is in.
fn end_of(files: &LaneFiles, at: Offset) -> Offset {
    let mut ends = files.sealed.iter().map(|segment| segment.next);
    ends.find(|end| *end > at).unwrap_or(files.flushed)
}

/// The change that says that what outlives the segments of a lane below `next` is stored anew, and
/// the rest is in a gap. It is in the same frame.
pub(super) fn replaced(lane: Lane, next: Offset) -> Change {
    Change::Put {
        table: Table::Meta,
        key: [REPLACED, lane.name().as_bytes()].concat(),
        value: next.0.to_be_bytes().to_vec(),
    }
}

/// Reads what [`replaced`] says; `None` for every other change.
pub(super) fn replaced_by(change: &Change) -> Option<(Lane, Offset)> {
    let Change::Put {
        table: Table::Meta,
        key,
        value,
    } = change
    else {
        return None;
    };
    let name = key.strip_prefix(REPLACED)?;
    let lane = Lane::ALL
        .into_iter()
        .find(|lane| lane.name().as_bytes() == name)?;
    let next = value.as_slice().try_into().ok()?;
    Some((lane, Offset(u64::from_be_bytes(next))))
}

const REPLACED: &[u8] = b"replaced-";

/// What the topics of a search may take.
const TOPIC_BYTES: usize = 256 << 10;
/// What an entry takes beside its topic.
const ENTRY_BYTES: usize = 64;
