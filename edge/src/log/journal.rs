//! The journal: the commit point. One prewritten circular file, one write and one sync a batch.
//!
//! ```text
//!  page 0    page 1 ...
//!  header  | frame n+2 | free ...        | frame n | frame n+1 | rest |
//!                      ^ head            ^ oldest frame not in redb
//! ```
//!
//! Frames follow each other in whole pages; one that does not fit before the end begins again at
//! page 1. `state.redb` says where the first frame that is not in redb is or would be, and with
//! which sequence. Recovery (`journal/replay.rs`) looks for exactly that frame there and at page 1,
//! then for the one after it, until there is none; then for later ones anywhere in the file, which
//! tells damage in the middle from the end.
//!
//! A frame may stand for records that went straight into segments: it names their offsets and is
//! written when they are durable there, so that recovery counts what of them is damaged later.
//!
//! The file is written and synced as a whole when it is made, because a later overwrite of a
//! written block asks nothing of the file system's own journal.
//!
//! A write or sync that failed leaves a frame that may come back and may not. No later sync can be
//! trusted to settle that, so its place and its sequence are given up: the next batch waits until
//! `state.redb` durably points behind it.
//!
//! | at | bytes | page 0 |
//! | --- | --- | --- |
//! | 0 | 4 | `RMQJ` |
//! | 4 | 2 | format, 3; another one is refused and left alone |
//! | 6 | 2 | zero |
//! | 8 | 8 | salt |
//! | 16 | 4 | epoch |
//! | 20 | 4 | zero |
//! | 24 | 8 | length of the file |
//! | 32 | 4 | CRC32C of bytes 0 to 31 |
//!
//! All integers are little-endian. What the header says stands in `state.redb` as well, so a
//! damaged one costs nothing while that is there.

mod replay;

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sync::{Epoch, Offset, PerLane, WallTime};

use super::directory::{Directory, File};
use super::frame::{self, Identity, PAGE_BYTES, Span, u32_at, u64_at};
use super::{Batch, LogError};

pub(super) use self::replay::{Replayed, Torn};

/// The name of the file.
pub(super) const NAME: &str = "journal";

/// Where a frame is or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// The frame's number.
    pub(super) sequence: u64,
    /// Its place in the file.
    pub(super) at: u64,
}

/// A place in the journal up to which a flush brings everything into redb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Of the first frame behind it.
    pub(super) position: Position,
    /// The youngest frame before it; 0 when there is none.
    pub(super) youngest: u64,
    /// From the oldest frame that was not in redb up to it.
    used_bytes: u64,
    held_bytes: u64,
}

/// The open file, and where the next frame goes.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<dyn File>,
    salt: u64,
    epoch: Epoch,
    file_bytes: u64,
    head: Position,
    /// Bytes from the oldest frame that is not in redb to the head, skipped ends included.
    used_bytes: u64,
    /// What is in these frames, at its full length: it is in memory as well, until it is in redb.
    held_bytes: u64,
    /// Where the head is once a frame that failed is given up.
    behind_failure: Option<Position>,
    /// The youngest frame that was written, or whose header is found.
    youngest: Option<u64>,
    /// The header or the length of the file is not what it must be.
    is_damaged: bool,
    /// Its own header says whose it is, and not the state alone.
    is_signed: bool,
    buffer: Vec<u8>,
}

/// What makes a journal that of a log: known from `state.redb`, and written in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) epoch: Epoch,
    pub(super) salt: u64,
}

impl Journal {
    /// Makes a journal of whole pages, over an old one if there is one.
    pub(super) fn create(
        directory: &dyn Directory,
        file_bytes: u64,
        epoch: Epoch,
        salt: u64,
        sequence: u64,
    ) -> Result<Self, LogError> {
        let temporary = "journal.new";
        let file = directory
            .create(temporary)
            .map_err(LogError::file("create", temporary))?;
        let written = prewrite(file.as_ref(), 0, file_bytes)
            .and_then(|()| file.write_at(0, &header(file_bytes, epoch, salt)))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What is there of it must not be what keeps the disk full.
            let _ = directory.remove(temporary);
            return Err(LogError::file("write", temporary)(error));
        }
        directory
            .rename(temporary, NAME)
            .and_then(|()| directory.sync())
            .map_err(LogError::file("rename", temporary))?;
        let start = Position {
            sequence,
            at: PAGE_BYTES,
        };
        Ok(Self::new(file, file_bytes, epoch, salt, start))
    }

    /// Opens the journal. One whose header is damaged, or whose end is cut off, opens as well when
    /// it is known beforehand what the header must say; [`Journal::mend`] puts that right. The
    /// length is then `usual_bytes`, or what is there.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when it is none, [`LogError::Format`] when it is another version's,
    /// [`LogError::File`] when it can't be read.
    pub(super) fn open(
        directory: &dyn Directory,
        known: Option<Ownership>,
        usual_bytes: u64,
    ) -> Result<Self, LogError> {
        let file = directory.open(NAME).map_err(LogError::file("open", NAME))?;
        let found_bytes = file.len().map_err(LogError::file("measure", NAME))?;
        let mut page = [0; HEADER_BYTES];
        if found_bytes >= page.len() as u64 {
            file.read_at(0, &mut page)
                .map_err(LogError::file("read", NAME))?;
        }
        let is_whole = page[..4] == MAGIC && crc32c::crc32c(&page[..32]) == u32_at(&page, 32);
        let format = u16::from_le_bytes([page[4], page[5]]);
        if is_whole && format != FORMAT {
            return Err(LogError::Format {
                path: NAME.to_owned(),
                found: format.into(),
                allowed: FORMAT.into(),
            });
        }
        let start = Position {
            sequence: 0,
            at: PAGE_BYTES,
        };
        let stated = u64_at(&page, 24);
        let written = Ownership {
            epoch: Epoch(u32_at(&page, 16)),
            salt: u64_at(&page, 8),
        };
        let is_sound = is_whole && page[..] == header(stated, written.epoch, written.salt)[..];
        let (file_bytes, ownership) = match (is_sound, known) {
            (true, _) => (stated, written),
            (false, Some(known)) => {
                let found = found_bytes - found_bytes % PAGE_BYTES;
                (found.max(usual_bytes), known)
            }
            (false, None) => return Err(LogError::corrupt(NAME, "it has no header of format 3")),
        };
        let Ownership { epoch, salt } = ownership;
        let file_bytes = file_bytes.max(2 * PAGE_BYTES);
        let mut journal = Self::new(file, file_bytes, epoch, salt, start);
        journal.is_damaged = !is_sound || found_bytes < file_bytes;
        journal.is_signed = is_sound;
        Ok(journal)
    }

    fn new(file: Arc<dyn File>, file_bytes: u64, epoch: Epoch, salt: u64, head: Position) -> Self {
        Self {
            file,
            salt,
            epoch,
            file_bytes,
            head,
            used_bytes: 0,
            held_bytes: 0,
            behind_failure: None,
            youngest: None,
            is_damaged: false,
            is_signed: true,
            buffer: Vec::new(),
        }
    }

    /// Writes the header again, and what is cut off of the file. Only for a journal that is
    /// emptied.
    pub(super) fn mend(&mut self) -> Result<(), LogError> {
        assert_eq!(self.used_bytes, 0, "what a damaged journal held is in redb");
        let found = self.file.len().map_err(LogError::file("measure", NAME))?;
        let from = found.min(self.file_bytes);
        prewrite(self.file.as_ref(), from, self.file_bytes)
            .and_then(|()| {
                let header = header(self.file_bytes, self.epoch, self.salt);
                self.file.write_at(0, &header)
            })
            .and_then(|()| self.file.sync_data())
            .map_err(LogError::file("write", NAME))?;
        self.is_damaged = false;
        Ok(())
    }

    /// Makes a batch durable: one write, one sync.
    ///
    /// # Errors
    /// When the batch can't be encoded, or the disk fails; then [`Journal::is_failed`].
    pub(super) fn write(
        &mut self,
        batch: &Batch,
        wall: WallTime,
        first: PerLane<Offset>,
    ) -> Result<(), LogError> {
        self.write_frame(batch, wall, Span::of(batch, first))
    }

    /// The same with a frame that names records beside its own, which are in segments.
    pub(super) fn write_frame(
        &mut self,
        batch: &Batch,
        wall: WallTime,
        span: Span,
    ) -> Result<(), LogError> {
        assert!(
            !self.is_failed(),
            "a failed place is given up before the next write"
        );
        let identity = self.identity(self.head.sequence);
        frame::encode(batch, identity, wall, span, &mut self.buffer)?;
        let bytes = self.buffer.len() as u64;
        assert!(
            self.has_room_for(bytes),
            "room is made before a frame is written"
        );
        let (at, cost) = self.place(bytes);
        let behind = Position {
            sequence: self.head.sequence + 1,
            at: at + bytes,
        };
        let written = self.file.write_at(at, &self.buffer);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.behind_failure = Some(behind);
            return Err(LogError::file("write", NAME)(error));
        }
        self.youngest = Some(self.head.sequence);
        self.head = behind;
        self.used_bytes = (self.used_bytes + cost).min(self.capacity());
        self.held_bytes = (self.held_bytes + frame::padded_bytes(batch)).min(self.capacity());
        if self.buffer.capacity() > LARGE_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The position to store with everything that was written: behind the last frame, and behind
    /// one that failed.
    pub(super) fn position_when_emptied(&self) -> Position {
        self.behind_failure.unwrap_or(self.head)
    }

    /// Marks the place up to which everything is about to be brought into redb. More may be written
    /// behind it meanwhile.
    pub(super) fn cut(&self) -> Cut {
        Cut {
            position: self.position_when_emptied(),
            youngest: self.youngest(),
            used_bytes: self.used_bytes,
            held_bytes: self.held_bytes,
        }
    }

    /// Notes that the position of a cut is durable in `state.redb`: what is before it may be
    /// written over.
    pub(super) fn emptied(&mut self, cut: Cut) {
        if self.behind_failure == Some(cut.position) {
            self.head = cut.position;
            self.behind_failure = None;
        }
        self.used_bytes -= cut.used_bytes;
        self.held_bytes -= cut.held_bytes;
    }

    /// Whether a write failed; the next waits for [`Journal::emptied`] with a later cut.
    pub(super) const fn is_failed(&self) -> bool {
        self.behind_failure.is_some()
    }

    /// Whether a frame of at most `bytes`, padding included, would not touch one that is still
    /// needed, and what is in it has room in memory.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let (_, cost) = self.place(bytes);
        let has_place = self.used_bytes == 0 || self.used_bytes + cost <= self.capacity();
        has_place && self.held_bytes + bytes <= self.capacity()
    }

    /// Whether there is room for a frame and another behind it, either of which may be none.
    pub(super) fn has_room_for_both(&self, bytes: u64, behind: u64) -> bool {
        if bytes == 0 || behind == 0 || !self.has_room_for(bytes) {
            return self.has_room_for(bytes + behind);
        }
        let (at, cost) = self.place(bytes);
        let (_, cost_behind) = self.place_at(at + bytes, behind);
        self.used_bytes + cost + cost_behind <= self.capacity()
            && self.held_bytes + bytes + behind <= self.capacity()
    }

    /// Bytes that frames can have together.
    pub(super) const fn capacity(&self) -> u64 {
        self.file_bytes - PAGE_BYTES
    }

    /// Bytes that are in use, of the file or of the memory that goes with it, whichever is more.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.max(self.held_bytes)
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity() - self.used_bytes()
    }

    /// Whether the file is still the one of its name.
    pub(super) fn is_in_place(&self, directory: &dyn Directory) -> bool {
        match (directory.identify(NAME), self.file.identity()) {
            (Ok(found), Ok(open)) => found == open,
            (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
            (_, Err(_)) => true,
        }
    }

    /// Whose journal it is.
    pub(super) const fn ownership(&self) -> Ownership {
        Ownership {
            epoch: self.epoch,
            salt: self.salt,
        }
    }

    /// The youngest frame that was written or found; 0 when there is none.
    pub(super) fn youngest(&self) -> u64 {
        self.youngest.unwrap_or(0)
    }

    /// Makes [`Journal::youngest`] say that there is no frame, before the file is replaced.
    pub(super) const fn forget_youngest(&mut self) {
        self.youngest = None;
    }

    /// Whether [`Journal::mend`] has something to do.
    pub(super) const fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    pub(super) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where a frame goes, and how much of the circle it takes.
    fn place(&self, bytes: u64) -> (u64, u64) {
        self.place_at(self.head.at, bytes)
    }

    const fn place_at(&self, at: u64, bytes: u64) -> (u64, u64) {
        let rest = self.file_bytes - at;
        if bytes <= rest {
            (at, bytes)
        } else {
            (PAGE_BYTES, rest + bytes)
        }
    }

    const fn identity(&self, sequence: u64) -> Identity {
        Identity {
            salt: self.salt,
            epoch: self.epoch,
            sequence,
        }
    }
}

fn header(file_bytes: u64, epoch: Epoch, salt: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    header[8..16].copy_from_slice(&salt.to_le_bytes());
    header[16..20].copy_from_slice(&epoch.0.to_le_bytes());
    header[24..32].copy_from_slice(&file_bytes.to_le_bytes());
    let crc = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

fn prewrite(file: &dyn File, from: u64, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 16];
    let mut at = from;
    while at < bytes {
        let count = (bytes - at).min(zeros.len() as u64);
        file.write_at(at, &zeros[..count as usize])?;
        at += count;
    }
    Ok(())
}

const MAGIC: [u8; 4] = *b"RMQJ";
const FORMAT: u16 = 3;
const HEADER_BYTES: usize = 36;

/// A buffer that grew beyond this for one large batch is given back.
const LARGE_BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use sync::{Change, Lane, Table};

    use super::super::Gap;
    use super::super::frame::Frame;
    use super::super::samples;
    use super::super::simulated::{Fault, Operation, SimulatedFolder};
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch {
            changes: vec![Change::Put {
                table: Table::Sessions,
                key: b"k".to_vec(),
                value: vec![5; bytes],
            }],
        }
    }

    fn journal(folder: &SimulatedFolder, pages: u64) -> Journal {
        let directory = folder.directory();
        Journal::create(directory.as_ref(), pages * PAGE_BYTES, Epoch(3), 77, 0).unwrap()
    }

    fn write(journal: &mut Journal, bytes: usize) {
        journal
            .write(&batch(bytes), WallTime(1), PerLane::default())
            .unwrap();
    }

    fn sequences(frames: &[Frame]) -> Vec<u64> {
        frames.iter().map(|frame| frame.identity.sequence).collect()
    }

    #[test]
    fn bytes_of_the_header_never_change() {
        let golden = b"RMQJ\x03\0\0\0\x4d\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0";
        let header = header(32_768, Epoch(3), 77);
        assert_eq!(header[..32], golden[..]);
        assert_eq!(u32_at(&header, 32), crc32c::crc32c(golden));
    }

    #[test]
    fn frames_are_found_again_across_the_end() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        for _ in 0..4 {
            write(&mut journal, 10);
        }
        let position = journal.position_when_emptied();
        journal.emptied(journal.cut());
        write(&mut journal, 4096 + 10);
        write(&mut journal, 4096 + 10);
        assert_eq!(journal.used_bytes(), (2 + 1 + 2) * PAGE_BYTES);
        assert!(journal.has_room_for(2 * PAGE_BYTES));
        assert!(!journal.has_room_for(3 * PAGE_BYTES));

        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        let frames = again.replay(position).unwrap().frames;
        assert_eq!(sequences(&frames), [4, 5]);
        assert_eq!(again.head, journal.head);
        assert_eq!(again.used_bytes, journal.used_bytes);
        assert_eq!(sequences(&again.salvage().unwrap().frames), [2, 3, 4, 5]);
    }

    #[test]
    fn a_batch_is_one_write_and_one_sync() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 64);
        folder.reset_counts();
        write(&mut journal, 100_000);
        let counts = folder.counts();
        assert_eq!((counts.writes, counts.syncs), (1, 1));
    }

    /// What is written while a flush runs is neither written over nor forgotten, and what was
    /// written before may not be written over until the flush is done.
    #[test]
    fn frames_behind_a_cut_stay() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        (0..3).for_each(|_| write(&mut journal, 10));
        let cut = journal.cut();
        (0..3).for_each(|_| write(&mut journal, 10));
        assert!(!journal.has_room_for(2 * PAGE_BYTES));
        journal.emptied(cut);
        assert_eq!(journal.used_bytes(), 3 * PAGE_BYTES);
        assert!(journal.has_room_for(3 * PAGE_BYTES), "across the end");
        assert!(!journal.has_room_for(4 * PAGE_BYTES));
        write(&mut journal, 2 * 4096);
        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        let frames = again.replay(cut.position).unwrap().frames;
        assert_eq!(sequences(&frames), [3, 4, 5, 6]);
        assert_eq!(again.used_bytes, journal.used_bytes);
    }

    #[test]
    fn a_failure_behind_a_cut_waits_for_the_next_one() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        write(&mut journal, 10);
        let cut = journal.cut();
        folder.inject(Fault {
            operation: Operation::Write,
            name: NAME.to_owned(),
            times: 1,
        });
        let refused = journal.write(&batch(10), WallTime(1), PerLane::default());
        assert!(refused.is_err());
        journal.emptied(cut);
        assert!(journal.is_failed());
        journal.emptied(journal.cut());
        write(&mut journal, 10);
        assert_eq!(journal.used_bytes(), PAGE_BYTES);
    }

    #[test]
    fn a_failed_place_is_given_up() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        write(&mut journal, 10);
        folder.inject(Fault {
            operation: Operation::Sync,
            name: NAME.to_owned(),
            times: 1,
        });
        let refused = journal.write(&batch(10), WallTime(1), PerLane::default());
        assert!(refused.is_err());
        assert!(journal.is_failed());
        let position = journal.position_when_emptied();
        assert_eq!(
            position,
            Position {
                sequence: 2,
                at: 3 * PAGE_BYTES
            }
        );
        journal.emptied(journal.cut());
        write(&mut journal, 10);
        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        assert_eq!(sequences(&again.replay(position).unwrap().frames), [2]);
    }

    #[test]
    fn salvage_leaves_out_what_was_refused() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        let record = samples::record(0, "t", 1, &[]);
        let lane = Lane::Normal;
        let append = Batch {
            changes: vec![Change::Append { lane, record }],
        };
        let at = |offset| PerLane([Offset(0), Offset(0), Offset(offset)]);
        // The second frame is one that was given up, so the third has its offset.
        for offset in [0, 1, 1, 2] {
            journal.write(&append, WallTime(1), at(offset)).unwrap();
        }
        let salvaged = journal.salvage().unwrap().frames;
        assert_eq!(sequences(&salvaged), [0, 2, 3]);
    }

    /// Two frames behind each other were damaged, and nobody heard that the last one was there.
    #[test]
    fn the_end_of_a_last_frame_tells_of_it_when_the_one_before_is_damaged_too() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        let position = journal.position_when_emptied();
        let at = |offset| PerLane([Offset(0), Offset(0), Offset(offset)]);
        for offset in [0, 5, 9] {
            let span = Span {
                first: at(offset),
                next: at(offset + 4),
            };
            journal.write_frame(&batch(3), WallTime(1), span).unwrap();
        }
        let file = folder.directory().open(NAME).unwrap();
        // From within the second to within the third.
        file.write_at(2 * PAGE_BYTES + 95, &[0; 4116]).unwrap();
        let torn = Some(Torn::Offsets {
            first: at(9),
            next: at(13),
        });
        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        let replayed = again.replay(position).unwrap();
        assert_eq!(sequences(&replayed.frames), [0]);
        assert_eq!((replayed.torn, replayed.lost_frames), (torn, 1));
        assert_eq!(again.head.sequence, 3);
        let salvaged = again.salvage().unwrap();
        assert_eq!((salvaged.torn, salvaged.lost_frames), (torn, 1));
    }

    /// Nobody looked for it there, and what it held was lost without a word.
    #[test]
    fn the_beginning_of_a_last_frame_tells_of_it_where_no_other_frame_is_whole() {
        let folder = SimulatedFolder::new();
        let directory = folder.directory();
        let pages = 8 * PAGE_BYTES;
        let mut journal = Journal::create(directory.as_ref(), pages, Epoch(3), 77, 5).unwrap();
        let at = PerLane([Offset(3), Offset(0), Offset(9)]);
        journal.write(&batch(9000), WallTime(1), at).unwrap();
        let salvage = || {
            let mut again = Journal::open(directory.as_ref(), None, 0).unwrap();
            let salvaged = again.salvage().unwrap();
            (salvaged.frames.len(), salvaged.torn)
        };
        assert_eq!(salvage(), (1, None));
        let file = directory.open(NAME).unwrap();
        file.write_at(3 * PAGE_BYTES, &[0xee; 4096]).unwrap();
        let torn = Torn::Offsets {
            first: at,
            next: at,
        };
        assert_eq!(salvage(), (0, Some(torn)));
        file.set_len(3 * PAGE_BYTES).unwrap();
        assert_eq!(salvage(), (0, Some(Torn::Unreadable)));
    }

    /// What waits for redb is in memory at its full length.
    #[test]
    fn records_that_are_short_in_the_file_have_no_more_room_than_in_memory() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 64);
        let record = samples::record(0, &"t".repeat(1000), 1, b"p");
        let append = Change::Append {
            lane: Lane::Normal,
            record,
        };
        let batch = Batch {
            changes: vec![append; 40],
        };
        let bytes = frame::padded_bytes(&batch);
        let position = journal.position_when_emptied();
        let mut count = 0;
        while journal.has_room_for(bytes) {
            journal
                .write(&batch, WallTime(1), PerLane::default())
                .unwrap();
            count += 1;
        }
        assert_eq!(count, journal.capacity() / bytes);
        assert!(journal.head.at < journal.file_bytes / 2);
        assert_eq!(journal.used_bytes(), count * bytes);
        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        assert_eq!(again.replay(position).unwrap().frames.len() as u64, count);
        assert_eq!(again.used_bytes(), count * bytes);
        journal.emptied(journal.cut());
        assert!(journal.used_bytes() == 0 && journal.has_room_for(bytes));
    }

    /// Behind a cut that left records in segments, and no frame of theirs.
    #[test]
    fn salvage_keeps_what_comes_before_offsets_that_no_frame_names() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        let at = |offset| PerLane([Offset(0), Offset(0), Offset(offset)]);
        for (first, next) in [(0, 5), (9, 9), (9, 12)] {
            let span = Span {
                first: at(first),
                next: at(next),
            };
            let empty = Batch::default();
            journal.write_frame(&empty, WallTime(1), span).unwrap();
        }
        let salvaged = journal.salvage().unwrap();
        assert_eq!(sequences(&salvaged.frames), [0, 1, 2]);
        assert_eq!(salvaged.stored(), at(12));
    }

    /// A last frame that held only gaps and was damaged later passed for a power cut, and what it
    /// counted was lost without a word.
    #[test]
    fn gaps_outlive_damage_anywhere_in_the_last_frame() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        let at = PerLane([Offset(3), Offset(0), Offset(9)]);
        journal.write(&batch(3), WallTime(1), at).unwrap();
        let before = journal.head;
        let at = before.at;
        let gap = |key: &[u8]| Gap::of_mail(Lane::Normal, key, 7).to_change();
        let gaps = Batch {
            changes: vec![gap(b"one"), gap(b"other")],
        };
        journal
            .write(&gaps, WallTime(1), PerLane::default())
            .unwrap();
        let expected = gaps.changes;
        let directory = folder.directory();
        let file = directory.open(NAME).unwrap();
        let mut written = vec![0; PAGE_BYTES as usize];
        file.read_at(at, &mut written).unwrap();
        // What a flipped bit costs, a lost sector, and a write of which one sector came through.
        let lost = |from: usize, to: usize| {
            let mut page = written.clone();
            page[from..to].fill(0xee);
            page
        };
        let flipped = (0..PAGE_BYTES as usize).map(|byte| lost(byte, byte + 1));
        let sectors = (0..8).map(|sector| lost(sector * 512, (sector + 1) * 512));
        let halves = [(0, 2048), (2048, 4096)].map(|(from, to)| lost(from, to));
        for page in flipped.chain(sectors).chain(halves) {
            file.write_at(at, &page).unwrap();
            let mut again = Journal::open(directory.as_ref(), None, 0).unwrap();
            let replayed = again.replay(before).unwrap();
            assert_eq!(replayed.frames.len(), 1);
            assert_eq!(replayed.frames[0].batch.changes, expected);
            assert_eq!(replayed.torn, None);
            assert_eq!(again.head, journal.head);
        }
    }

    #[test]
    fn a_payload_can_not_pose_as_a_frame() {
        let folder = SimulatedFolder::new();
        let mut journal = journal(&folder, 8);
        let forged = Identity {
            salt: 0,
            epoch: Epoch(3),
            sequence: 1,
        };
        let mut posing = Vec::new();
        frame::encode(
            &batch(3),
            forged,
            WallTime(0),
            Span::of(&batch(3), PerLane::default()),
            &mut posing,
        )
        .unwrap();
        let mut value = vec![0; 4096 - frame::HEADER_BYTES - 9];
        value.extend_from_slice(&posing);
        let large = Batch {
            changes: vec![Change::Put {
                table: Table::Sessions,
                key: b"k".to_vec(),
                value,
            }],
        };
        journal
            .write(&large, WallTime(0), PerLane::default())
            .unwrap();
        let mut again = Journal::open(folder.directory().as_ref(), None, 0).unwrap();
        let position = Position {
            sequence: 1,
            at: 2 * PAGE_BYTES,
        };
        assert_eq!(again.replay(position).unwrap().frames, []);
    }

    #[test]
    fn a_damaged_header_is_noticed() {
        let folder = SimulatedFolder::new();
        journal(&folder, 8);
        folder.flip(NAME, 9);
        let opened = Journal::open(folder.directory().as_ref(), None, 0);
        assert!(matches!(opened, Err(LogError::Corrupt { .. })));
    }
}
