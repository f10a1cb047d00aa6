//! The reading side, on the core thread.
//!
//! A lane is read in two parts that meet without a seam: segments up to the offset that the last
//! [`Event::Flushed`] named, and from there on the records in memory, shared with the writer. The
//! mail is read likewise, by keys (`log/reader/mail.rs`).

mod damaged;
mod mail;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sync::{Change, Lane, Offset, PerLane, Record, Table, WallTime};

use super::block::Block;
use super::cache::BlockCache;
use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::rows::{self, Puts};
use super::{Batch, Committed, Event, Gap, LogError, Parts, Reason};
use super::{files::Files, segment, state};

use self::damaged::Salvaged;
use self::mail::Mail;
pub use self::mail::{Damage, Walked};

/// How much one [`Reader::read`] or [`Reader::walk`] may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most this many records, or rows.
    pub records: usize,
    /// At most this many bytes of encoded records, or of keys and values, but always one of them
    /// when there is one.
    pub bytes: usize,
}

/// A run of records of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// In growing order. They start later than asked for when what was asked for is gone.
    pub records: Vec<(Offset, Record)>,
    /// Where to read on; equals [`Reader::head`] when everything was read.
    pub next: Offset,
    /// A damaged range that a read passed for the first time: the driver hands it to
    /// [`Writer::note_gap`](super::Writer::note_gap).
    pub damaged: Option<Gap>,
}

/// Reads what is committed: segments, then what is in memory because it is not yet in a segment.
/// It is told about everything new, so it never waits for a sync, and holds no snapshot between
/// calls.
#[derive(Debug)]
pub struct Reader {
    directory: Arc<dyn Directory>,
    lanes: PerLane<View>,
    cache: BlockCache,
    /// Sealed segments that are open, the most recently used last.
    open: VecDeque<(Lane, Offset, SharedDatabase)>,
    open_count: usize,
    /// What was found in damaged segments, the most recently searched last.
    salvaged: VecDeque<Salvaged>,
    /// Damage that was reported, by its first offset.
    reported: BTreeSet<(Lane, Offset)>,
    state: SharedDatabase,
    mail: Mail,
    /// Changes that recovery could not flush, because the disk is full.
    overlay: Puts,
    /// Gaps that recovery could not flush either; the writer does before it has recovered.
    unflushed: Vec<Gap>,
}

/// One lane as the reader knows it.
#[derive(Debug)]
struct View {
    first: Offset,
    segments: BTreeMap<Offset, Segment>,
    /// The offset of the first record in memory.
    flushed: Offset,
    tail: VecDeque<Record>,
}

#[derive(Debug)]
enum Segment {
    /// Ends where the tail begins.
    Active(SharedDatabase),
    Sealed {
        next: Offset,
        name: String,
    },
}

/// What is at an offset below the tail.
enum Place {
    Block(Arc<Block>),
    /// Nothing is before this offset: who gave it up or left it out has written it down.
    Hole(Offset),
    /// What a segment has before this offset can't be read.
    Damage(Offset),
}

impl Reader {
    pub(super) fn new(files: &Files) -> Self {
        let lanes = PerLane::from_fn(|lane| {
            let files = &files.lanes[lane];
            let mut segments = BTreeMap::new();
            for sealed in &files.sealed {
                let (next, name) = (sealed.next, sealed.name(lane));
                segments.insert(sealed.first, Segment::Sealed { next, name });
            }
            let active = files.active.iter();
            segments.extend(active.map(|it| (it.first, Segment::Active(it.database.clone()))));
            View {
                first: files.first,
                segments,
                flushed: files.flushed,
                tail: files.waiting.clone(),
            }
        });
        Self {
            directory: Arc::clone(&files.directory),
            lanes,
            cache: BlockCache::new(files.settings.read_cache_bytes),
            open: VecDeque::new(),
            open_count: files.settings.open_segments.max(1),
            salvaged: VecDeque::new(),
            reported: BTreeSet::new(),
            state: files.state.clone(),
            mail: Mail::new(files),
            overlay: files.puts.clone(),
            unflushed: files.gaps.clone(),
        }
    }

    /// Takes the records and the mail of a batch that was committed, in the order of the commits.
    ///
    /// # Panics
    /// When a batch was left out: offsets are dense.
    pub fn committed(&mut self, batch: &Batch, committed: &Committed) {
        for (lane, first) in committed.first.iter() {
            assert_eq!(*first, self.head(lane), "batches reach the reader in order");
        }
        for change in &batch.changes {
            if let Change::Append { lane, record } = change {
                self.lanes[*lane].tail.push_back(record.clone());
            }
        }
        self.mail.take(committed);
    }

    /// Follows a change of the files. Events are applied in order, after the commits before them.
    ///
    /// # Panics
    /// When an event came before a batch that it speaks of.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Flushed { lane, up_to } => self.lanes[*lane].flushed_up_to(*up_to),
            Event::SegmentOpened {
                lane,
                first,
                segment,
            } => {
                let active = Segment::Active(segment.0.clone());
                self.lanes[*lane].segments.insert(*first, active);
            }
            Event::SegmentSealed { lane, first, next } => {
                let (next, name) = (*next, segment::name(*lane, *first));
                let sealed = Segment::Sealed { next, name };
                self.lanes[*lane].segments.insert(*first, sealed);
            }
            Event::Thinned { lane, first, next } => {
                // Nothing of the segments before is read any more, also where one began as this does.
                self.trim(*lane, *next);
                let (next, name) = (*next, segment::kept_name(*lane, *first, *next));
                let kept = Segment::Sealed { next, name };
                let view = &mut self.lanes[*lane];
                view.first = *first;
                view.segments.insert(*first, kept);
            }
            Event::Trimmed { lane, first, .. } => self.trim(*lane, *first),
            Event::MailFlushed { up_to, file } => self.mail.flushed(*up_to, file),
            Event::MailExchanged { .. } => self.mail.exchanged(),
            Event::SegmentRemoved { .. }
            | Event::Snapshot { .. }
            | Event::Gaps { .. }
            | Event::Intake { .. }
            | Event::StateExchanged { .. }
            | Event::Failed { .. } => {}
            Event::Recovered => self.unflushed.clear(),
        }
    }

    /// Reads records of a lane from `from` on. Sequential small reads are cheap: the block they
    /// come from is kept decoded, and several readers in different places each keep theirs while
    /// the cache has room.
    ///
    /// # Errors
    /// When a segment can't be opened or read at the moment; the same read may succeed after the
    /// next events are applied. Damage is not an error, it is passed and reported in
    /// [`Chunk::damaged`].
    pub fn read(&mut self, lane: Lane, from: Offset, budget: Budget) -> Result<Chunk, LogError> {
        let mut chunk = Chunk {
            next: from.max(self.lanes[lane].first),
            ..Chunk::default()
        };
        let mut bytes_left = budget.bytes;
        while chunk.records.len() < budget.records && chunk.next < self.head(lane) {
            let at = chunk.next;
            let is_first = chunk.records.is_empty();
            if let Some(record) = self.lanes[lane].in_memory(at) {
                let bytes = record.as_bytes().len();
                if bytes > bytes_left && !is_first {
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                chunk.records.push((at, record.clone()));
                chunk.next = at.next();
                continue;
            }
            match self.place(lane, at) {
                Ok(Place::Hole(next)) => chunk.next = next,
                Ok(Place::Block(block)) => {
                    if !take(&block, &mut chunk, &mut bytes_left, budget.records) {
                        if chunk.records.is_empty() {
                            chunk = self.passed(lane, at.next(), chunk);
                        }
                        break;
                    }
                }
                Ok(Place::Damage(_)) | Err(_) if !is_first => break,
                Ok(Place::Damage(next)) => return Ok(self.passed(lane, next, chunk)),
                Err(error) => return Err(error),
            }
        }
        Ok(chunk)
    }

    /// The first offset of the lane that can still be read; equals [`Reader::head`] when none can.
    #[must_use]
    pub fn first(&self, lane: Lane) -> Offset {
        self.lanes[lane].first
    }

    /// The offset after the last committed record of the lane.
    #[must_use]
    pub fn head(&self, lane: Lane) -> Offset {
        let view = &self.lanes[lane];
        Offset(view.flushed.0 + view.tail.len() as u64)
    }

    /// Lists the segments of a lane, oldest first: the first offset of each and the one after its
    /// last.
    pub fn segments(&self, lane: Lane) -> impl Iterator<Item = (Offset, Offset)> {
        let view = &self.lanes[lane];
        view.segments.iter().map(|(first, segment)| match segment {
            Segment::Active(_) => (*first, view.flushed),
            Segment::Sealed { next, .. } => (*first, *next),
        })
    }

    /// Reads a whole table of the state, not of the mail, in the order of its keys. For the start: right after
    /// [`open`](super::open) it is exact, later it lacks what was committed and not yet flushed.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn read_state(
        &self,
        table: Table,
        mut entry: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), LogError> {
        if self.overlay.is_empty() {
            return rows::read(&self.state, table, entry);
        }
        let mut all = BTreeMap::new();
        rows::read(&self.state, table, |key, value| {
            all.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        })?;
        for ((_, key), value) in self.overlay.iter().filter(|((of, _), _)| *of == table) {
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        for (key, value) in &all {
            entry(key, value);
        }
        Ok(())
    }

    /// Lists the gaps that are kept, oldest first, each with its growing number, from number
    /// `from` on. Merged gaps keep the number of the younger.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn gaps(&self, from: u64) -> Result<Vec<(u64, Gap)>, LogError> {
        let mut gaps = state::gaps(&self.state)?;
        let next = gaps.last().map_or(0, |(number, _)| number + 1);
        gaps.extend((next..).zip(self.unflushed.iter().cloned()));
        gaps.retain(|(number, _)| *number >= from);
        Ok(gaps)
    }

    fn place(&mut self, lane: Lane, at: Offset) -> Result<Place, LogError> {
        if let Some(block) = self.cache.find(lane, at) {
            return Ok(Place::Block(block));
        }
        let view = &self.lanes[lane];
        let following = view.segments.range(at.next()..).next();
        let hole_end = following.map_or(view.flushed, |(first, _)| *first);
        let Some((&first, segment)) = view.segments.range(..=at).next_back() else {
            return Ok(Place::Hole(hole_end));
        };
        let (end, active, name) = match segment {
            Segment::Active(database) => {
                let name = segment::name(lane, first);
                (view.flushed, Some(database.clone()), name)
            }
            Segment::Sealed { next, name } => (*next, None, name.clone()),
        };
        if at >= end {
            return Ok(Place::Hole(hole_end));
        }
        let found = match active {
            Some(database) => segment::find(&database, at),
            None => self.find_sealed((lane, first), &name, at),
        };
        match found {
            Ok(found) => {
                let read = found.map(|(first, bytes)| Block::read(bytes, lane, first));
                // A damaged tree may lead to a block behind it as well as to one before it.
                if let Some(Ok(block)) = read
                    && block.has(at)
                {
                    return Ok(self.keep(lane, block));
                }
            }
            Err(error) if error.is_unreadable() => {}
            Err(error) => return Err(error),
        }
        // A segment has every offset from its first to its end.
        self.search_damaged(lane, (first..end, name), at)
    }

    fn keep(&mut self, lane: Lane, block: Block) -> Place {
        if block.is_void() {
            return Place::Hole(block.next());
        }
        let block = Arc::new(block);
        self.cache.insert(lane, Arc::clone(&block));
        Place::Block(block)
    }

    /// Looks into a sealed segment, opening it first when it is not open.
    fn find_sealed(
        &mut self,
        (lane, first): (Lane, Offset),
        name: &str,
        at: Offset,
    ) -> Result<Option<(Offset, Bytes)>, LogError> {
        let is_it = |entry: &(Lane, Offset, SharedDatabase)| (entry.0, entry.1) == (lane, first);
        let database = match self.open.iter().position(is_it) {
            Some(index) => {
                self.open
                    .remove(index)
                    .expect("the position was just found")
                    .2
            }
            None => self.open_sealed(name)?,
        };
        let found = segment::find(&database, at)?;
        self.open.push_back((lane, first, database));
        while self.open.len() > self.open_count {
            self.open.pop_front();
        }
        Ok(found)
    }

    fn open_sealed(&self, name: &str) -> Result<SharedDatabase, LogError> {
        match SharedDatabase::open_sealed(&self.directory, name, READ_CACHE_BYTES) {
            Err(LogError::File { source, .. }) => Err(removed(name)(source)),
            opened => opened,
        }
    }

    /// Moves on to `next`, and says so the first time.
    fn passed(&mut self, lane: Lane, next: Offset, mut chunk: Chunk) -> Chunk {
        let first = std::mem::replace(&mut chunk.next, next);
        let is_news = self.reported.insert((lane, first));
        chunk.damaged = is_news.then(|| Gap {
            lane,
            first,
            last: Offset(next.0 - 1),
            count: next.0 - first.0,
            bytes: 0,
            from: WallTime(0),
            to: WallTime(0),
            reason: Reason::Damage,
            parts: Parts::default(),
        });
        chunk
    }

    fn trim(&mut self, lane: Lane, first: Offset) {
        let view = &mut self.lanes[lane];
        view.first = first;
        view.segments.retain(|_, segment| match segment {
            Segment::Active(_) => true,
            Segment::Sealed { next, .. } => *next > first,
        });
        self.cache.trim(lane, first);
        self.reported.retain(|(of, at)| *of != lane || *at >= first);
        self.salvaged.retain(|it| it.lane != lane || it.end > first);
        let segments = &view.segments;
        self.open
            .retain(|(of, at, _)| *of != lane || segments.contains_key(at));
    }
}

impl View {
    fn in_memory(&self, at: Offset) -> Option<&Record> {
        let index = at.0.checked_sub(self.flushed.0)?;
        self.tail.get(index as usize)
    }

    fn flushed_up_to(&mut self, up_to: Offset) {
        let count = up_to.0.saturating_sub(self.flushed.0) as usize;
        // More than all of it where records of a group that was refused come to light.
        self.tail.drain(..count.min(self.tail.len()));
        self.flushed = self.flushed.max(up_to);
    }
}

/// A segment that is not there was removed by retention; any other failure is the disk's.
fn removed(name: &str) -> impl FnOnce(io::Error) -> LogError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => LogError::Removed {
            path: name.to_owned(),
        },
        _ => LogError::file("open", name)(error),
    }
}

/// Takes records of a block from `chunk.next` on. False when the budget is used up or a record is
/// unreadable, which then begins the next read.
fn take(block: &Block, chunk: &mut Chunk, bytes_left: &mut usize, most: usize) -> bool {
    while chunk.next < block.next() {
        let bytes = block.record_bytes(chunk.next);
        if chunk.records.len() >= most || (bytes > *bytes_left && !chunk.records.is_empty()) {
            return false;
        }
        let Some(record) = block.record(chunk.next) else {
            return false;
        };
        *bytes_left = bytes_left.saturating_sub(bytes);
        chunk.records.push((chunk.next, record));
        chunk.next = chunk.next.next();
    }
    true
}
