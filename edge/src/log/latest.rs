//! Finds the records of what goes next which are the latest of their topic: of the oldest segment,
//! and of what outlived those before it.
//!
//! A search reads these once, and then what came after them until everything it looks for has
//! turned up again or the end is reached: closed files, the one that is written, and memory. It
//! needs no index and nothing at a start, and its memory is bounded. It goes on a step at a time
//! while the lane nears its limit, so that no commit waits for it; what is appended meanwhile is
//! read last.
//!
//! It misses the latest record of no topic but beyond [`TOPICS`], of which the youngest count. One that is not the latest any more
//! may pass for it, where the later one can't be read or was committed while the search ended: it has
//! its offset still, and so its place before the later one.
//!
//! A topic is known by a hash with a key that nobody outside has. Of two with one hash the older would
//! not outlive its segment, once in a billion such lanes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::sync::Arc;

use sync::{Lane, Offset, Record};

use super::block::{Block, HEADER_BYTES};
use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::lane::{LaneFiles, Sealed};
use super::{LogError, segment};

/// A search for what goes together.
#[derive(Debug)]
pub(super) struct Search {
    /// The first offset of the oldest file.
    pub(super) first: Offset,
    /// The offset after the last of the youngest.
    pub(super) next: Offset,
    /// Everything below was read.
    at: Offset,
    /// The latest of each topic so far, all of what goes, by the hash of the topic.
    latest: BTreeMap<u64, Offset>,
    /// The same by their offsets.
    topics: BTreeMap<Offset, u64>,
    /// The closed file that was read last.
    open: Option<(Offset, SharedDatabase)>,
    /// The block of a record that was asked for last.
    block: Option<Block>,
}

impl Search {
    /// Begins with the oldest closed segment, if there is one that somebody wants.
    pub(super) fn begin(files: &LaneFiles) -> Option<Self> {
        let oldest = files.sealed.front()?;
        let next = files.sealed.iter().find(|it| !it.is_kept)?.next;
        (next > files.floor).then(|| Self {
            first: oldest.first,
            next,
            at: oldest.first.max(files.floor),
            latest: BTreeMap::new(),
            topics: BTreeMap::new(),
            open: None,
            block: None,
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
                Some(record) => self.note(&record, files.mark),
                None => self.read_block(files, directory)?,
            });
        }
        // A search that waits for records holds no file.
        self.open = None;
        Ok(())
    }

    /// Where the records are that somebody wants and that are the latest of their topics, in growing
    /// order: the youngest first, those that a file of so many bytes has room for.
    pub(super) fn survivors(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
        bytes: u64,
    ) -> Result<Vec<Offset>, LogError> {
        let wanted = self.topics.range(files.floor..).rev();
        let offsets: Vec<Offset> = wanted.map(|(offset, _)| *offset).collect();
        let (mut survivors, mut left) = (Vec::new(), bytes);
        for offset in offsets {
            let Some(record) = self.record(files, directory, offset)? else {
                continue;
            };
            // A block of its own, and a void one behind it.
            let taken = (record.as_bytes().len() + 2 * HEADER_BYTES) as u64;
            if let Some(rest) = left.checked_sub(taken) {
                left = rest;
                survivors.push(offset);
            }
        }
        survivors.reverse();
        Ok(survivors)
    }

    /// Reads a record of what goes; `None` for one that can't be read. Those of one block are best
    /// asked for together.
    pub(super) fn record(
        &mut self,
        files: &LaneFiles,
        directory: &Arc<dyn Directory>,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        let has_it = |block: &Block| block.has(offset);
        if !self.block.as_ref().is_some_and(has_it) {
            self.block = match self.find(files, directory, offset) {
                Ok(Found::Block(block)) => Some(block),
                Err(error) if !is_lost(&error) => return Err(error),
                _ => None,
            };
        }
        Ok(self.block.as_ref().and_then(|block| block.record(offset)))
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
            Err(error) if !is_lost(&error) => return Err(error),
            found => found.unwrap_or(Found::Damage),
        };
        let block = match found {
            Found::Block(block) => block,
            Found::End(next) => {
                self.at = next;
                return Ok(ENTRY_BYTES);
            }
            Found::Damage => {
                self.at = end_of(files, self.at);
                return Ok(ENTRY_BYTES);
            }
        };
        let end = block.next();
        if block.is_void() {
            self.at = end;
        }
        let mut bytes = ENTRY_BYTES;
        while self.at < end {
            match block.record(self.at) {
                Some(record) => bytes += self.note(&record, files.mark),
                None => self.at = self.at.next(),
            }
        }
        Ok(bytes)
    }

    /// Takes the record at the place that is read, and gives what it weighs.
    fn note(&mut self, record: &Record, key: u32) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write_u32(key);
        hasher.write(record.topic().as_bytes());
        let topic = hasher.finish();
        if let Some(before) = self.latest.remove(&topic) {
            self.topics.remove(&before);
        }
        if self.at < self.next && record.keeps_latest() {
            self.latest.insert(topic, self.at);
            self.topics.insert(self.at, topic);
        }
        if self.topics.len() > TOPICS
            && let Some((_, oldest)) = self.topics.pop_first()
        {
            self.latest.remove(&oldest);
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
            (Some(sealed), _) => self.open(files.lane, directory, sealed)?,
            (None, Some(active)) if at < active.first => return Ok(Found::End(active.first)),
            (None, Some(active)) => active.database.clone(),
            (None, None) => return Ok(Found::End(files.flushed)),
        };
        let found = segment::find(&file, at)?;
        let block = found.and_then(|(first, bytes)| Block::read(bytes, files.lane, first).ok());
        if let Some(block) = block.filter(|block| block.has(at)) {
            return Ok(Found::Block(block));
        }
        let following = segment::following(&file, at)?;
        if let Some(next) = following.filter(|next| at < *next) {
            // Of what is damaged here nothing can be kept.
            return Ok(Found::End(next.min(end_of(files, at))));
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
        sealed: &Sealed,
    ) -> Result<SharedDatabase, LogError> {
        match &self.open {
            Some((open, file)) if *open == sealed.first => Ok(file.clone()),
            _ => {
                let name = sealed.name(lane);
                let file = SharedDatabase::open_sealed(directory, &name, READ_CACHE_BYTES)?;
                self.open = Some((sealed.first, file.clone()));
                Ok(file)
            }
        }
    }
}

/// Whether asking again is no use: what can't be read must not keep segments from going.
fn is_lost(error: &LogError) -> bool {
    match error {
        LogError::File { source, .. } if source.kind() == ErrorKind::NotFound => true,
        other => other.is_unreadable(),
    }
}

/// What is at an offset that a file should have.
enum Found {
    Block(Block),
    /// Nothing that can be read, up to here.
    End(Offset),
    /// Nothing that can be read, up to nobody knows where.
    Damage,
}

/// Where the segment ends that an offset is in.
fn end_of(files: &LaneFiles, at: Offset) -> Offset {
    let mut ends = files.sealed.iter().map(|segment| segment.next);
    ends.find(|end| *end > at).unwrap_or(files.flushed)
}

/// Topics whose latest records are in what goes, at most: some 300 KB.
const TOPICS: usize = 4096;
/// What anything counts that is not a record.
const ENTRY_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use sync::{Change, WallTime};

    use super::super::simulated::SimulatedFolder;
    use super::super::{Batch, Settings, open, samples};
    use super::*;

    /// The oldest took all places, whether anybody published to them any more or not: no later topic
    /// outlived a segment ever again.
    #[test]
    fn of_more_topics_than_are_known_the_youngest_outlive() {
        let folder = SimulatedFolder::new();
        let mut log = open(folder.directory(), Settings::default(), WallTime(1)).unwrap();
        let append = |number: usize| Change::Append {
            lane: Lane::Normal,
            record: samples::record(0, &format!("t/{number}"), 1, b"p").keeping_latest(),
        };
        // One of the first again, behind those that are too many.
        let numbers = (0..TOPICS + 900).chain([7]);
        let changes = numbers.map(append).collect();
        log.writer.commit(&Batch { changes }, WallTime(1)).unwrap();
        log.writer.flush().unwrap();
        let directory = folder.directory();
        let files = &mut log.writer.files.as_mut().unwrap().lanes[Lane::Normal];
        files.seal(&mut Vec::new()).unwrap();
        let mut search = Search::begin(files).unwrap();
        search.step(files, &directory, usize::MAX).unwrap();
        let found = search.survivors(files, &directory, u64::MAX).unwrap();
        let expected = (901..=TOPICS as u64 + 900).map(Offset);
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
