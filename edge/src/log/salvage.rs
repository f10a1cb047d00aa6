//! Blocks of a segment that redb can't be asked for: the file is searched for them.
//!
//! A block says where it belongs and has a checksum, so it is found wherever it lies, whatever
//! became of redb's tree around it. What is found is exactly what was stored: a block that matches
//! its checksum is believed only with the mark that most blocks of the file have, which keeps a
//! payload from posing as one. Copies that redb left behind are the same records under the same
//! offsets, so it does not matter which of them is found; blocks that disagree are not believed.
//!
//! It takes one pass over the file, and memory for the places of the blocks alone.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use sync::{Lane, Offset};

use super::LogError;
use super::block::{self, Block, Header};
use super::directory::File;
use super::frame::u32_at;

/// Where the intact blocks of a file are.
#[derive(Debug)]
pub(super) struct Salvage {
    lane: Lane,
    blocks: BTreeMap<Offset, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    bytes: u64,
    header: Header,
}

impl Place {
    fn read(&self, file: &dyn File) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.bytes as usize];
        file.read_at(self.at, &mut bytes).ok()?;
        Some(bytes)
    }
}

impl Salvage {
    /// What is found of a lane where nothing can be read.
    pub(super) const fn nothing(lane: Lane) -> Self {
        Self {
            lane,
            blocks: BTreeMap::new(),
        }
    }

    /// Searches a file for blocks of a lane with offsets in `range`.
    ///
    /// # Errors
    /// When not one page of the file can be read.
    pub(super) fn search(
        file: &dyn File,
        name: &str,
        lane: Lane,
        range: Range<Offset>,
    ) -> Result<Self, LogError> {
        let bytes = file.len().map_err(LogError::file("measure", name))?;
        let mut window = Window::new(file, bytes);
        let mut found = Vec::new();
        let mut at = 0;
        while at + block::HEADER_BYTES as u64 <= bytes {
            at = window.next_candidate(at, lane);
            match window.block_at(at, &range) {
                Some(place) => {
                    at += place.bytes;
                    found.push(place);
                }
                None => at += 1,
            }
        }
        match window.failure {
            Some(error) if window.read_pages == 0 => Err(LogError::file("read", name)(error)),
            _ => Ok(Self::of_one_mark(file, lane, &found)),
        }
    }

    /// Reads the block that holds `offset`.
    pub(super) fn read(&self, file: &dyn File, offset: Offset) -> Option<Block> {
        let (first, place) = self.blocks.range(..=offset).next_back()?;
        if offset >= place.header.next() {
            return None;
        }
        let block = Block::read(Bytes::from(place.read(file)?), self.lane, *first).ok()?;
        // The file may have been written since it was searched.
        block.has(offset).then_some(block)
    }

    /// Reads the block that begins with `first` as it is stored.
    pub(super) fn bytes(&self, file: &dyn File, first: Offset) -> Option<Vec<u8>> {
        let bytes = self.blocks.get(&first)?.read(file)?;
        Header::read(&bytes, self.lane, first)
            .is_ok()
            .then_some(bytes)
    }

    /// The first offset after `offset` that a block begins with.
    pub(super) fn following(&self, offset: Offset) -> Option<Offset> {
        let mut later = self.blocks.range(offset.next()..);
        later.next().map(|(first, _)| *first)
    }

    /// The headers of the blocks, by offset.
    pub(super) fn headers(&self) -> impl Iterator<Item = Header> {
        self.blocks.values().map(|place| place.header)
    }

    /// The ranges between `first` and `next` that no block holds.
    pub(super) fn holes(&self, first: Offset, next: Offset) -> Vec<Range<Offset>> {
        let mut at = first;
        let mut holes = Vec::new();
        for header in self.headers() {
            if at < header.first {
                holes.push(at..header.first.min(next));
            }
            at = at.max(header.next());
        }
        if at < next {
            holes.push(at..next);
        }
        holes
    }

    /// The offset after the last record; `None` when there is no block.
    pub(super) fn end(&self) -> Option<Offset> {
        self.headers().last().map(|header| header.next())
    }

    fn of_one_mark(file: &dyn File, lane: Lane, found: &[Place]) -> Self {
        let mut counts = BTreeMap::<u32, usize>::new();
        for place in found {
            *counts.entry(place.header.mark).or_default() += 1;
        }
        let most = counts.iter().max_by_key(|(_, count)| **count);
        let is_own = |place: &&Place| most.is_some_and(|(mark, _)| *mark == place.header.mark);
        let mut own: Vec<Place> = found.iter().filter(is_own).copied().collect();
        own.sort_by_key(|place| place.header.first);
        let mut blocks = BTreeMap::<Offset, Place>::new();
        for place in undisputed(file, lane, &own) {
            let known = blocks.entry(place.header.first).or_insert(*place);
            if known.header.count < place.header.count {
                *known = *place;
            }
        }
        // A copy that ends within the block before it, which was packed when more was there.
        let mut next = Offset(0);
        blocks.retain(|_, place| {
            let is_news = place.header.next() > next;
            next = next.max(place.header.next());
            is_news
        });
        Self { lane, blocks }
    }
}

/// Leaves out blocks that have different records for one offset: a group that a power cut kept from
/// being stored is in the file as well as one that was given its offsets later, and nobody can tell
/// them apart.
fn undisputed<'a>(
    file: &dyn File,
    lane: Lane,
    own: &'a [Place],
) -> impl Iterator<Item = &'a Place> {
    let mut is_disputed = vec![false; own.len()];
    for (at, place) in own.iter().enumerate() {
        let later = own.iter().enumerate().skip(at + 1);
        for (number, other) in later.take_while(|it| it.1.header.first < place.header.next()) {
            if disagree(file, lane, place, other) {
                is_disputed[at] = true;
                is_disputed[number] = true;
            }
        }
    }
    let places = own.iter().zip(is_disputed);
    places.filter_map(|(place, is_disputed)| (!is_disputed).then_some(place))
}

/// Whether two blocks that overlap have another record somewhere.
fn disagree(file: &dyn File, lane: Lane, one: &Place, other: &Place) -> bool {
    let block = |it: &Place| {
        let bytes = Bytes::from(it.read(file)?);
        Block::read(bytes, lane, it.header.first).ok()
    };
    let Some((one, other)) = block(one).zip(block(other)) else {
        return false;
    };
    if one.is_void() && other.is_void() {
        return false;
    }
    let range = other.first().0..one.next().min(other.next()).0;
    let mut offsets = range.map(Offset);
    offsets.any(|offset| one.record(offset) != other.record(offset))
}

/// A part of a file in memory that moves along.
struct Window<'a> {
    file: &'a dyn File,
    file_bytes: u64,
    at: u64,
    bytes: Vec<u8>,
    /// Pages that could be read.
    read_pages: u64,
    failure: Option<io::Error>,
}

impl<'a> Window<'a> {
    const fn new(file: &'a dyn File, file_bytes: u64) -> Self {
        Self {
            file,
            file_bytes,
            at: 0,
            bytes: Vec::new(),
            read_pages: 0,
            failure: None,
        }
    }

    /// The first place from `at` on that looks like the beginning of a block of a lane; the end of
    /// the file when there is none.
    fn next_candidate(&mut self, mut at: u64, lane: Lane) -> u64 {
        while at + 4 <= self.file_bytes {
            let bytes = self.from(at, 4);
            let begins = |window: &[u8]| *window == block::beginning(lane);
            match bytes.windows(4).position(begins) {
                Some(position) => return at + position as u64,
                None => at += bytes.len() as u64 - 3,
            }
        }
        self.file_bytes
    }

    fn block_at(&mut self, at: u64, range: &Range<Offset>) -> Option<Place> {
        // So that the window does not go to and fro within one block.
        self.from(
            at,
            (block::MAX_BYTES as u64).min(self.file_bytes - at) as usize,
        );
        let start = self.exactly(at, block::HEADER_BYTES)?;
        let crc = u32_at(start, 4);
        let header = Header::unchecked(start);
        let is_plausible = range.contains(&header.first)
            && header.count > 0
            && u64::from(header.count) <= range.end.0 - header.first.0
            && header.oldest <= header.youngest
            && header.has_a_length();
        let bytes = u64::from(header.bytes);
        let end = at + bytes;
        if !is_plausible || end > self.file_bytes {
            return None;
        }
        (self.checksum(at + 8, end) == crc).then_some(Place { at, bytes, header })
    }

    fn checksum(&mut self, mut at: u64, end: u64) -> u32 {
        let mut crc = 0;
        while at < end {
            let bytes = self.from(at, 1);
            let count = (bytes.len() as u64).min(end - at);
            crc = crc32c::crc32c_append(crc, &bytes[..count as usize]);
            at += count;
        }
        crc
    }

    fn exactly(&mut self, at: u64, count: usize) -> Option<&[u8]> {
        if at + count as u64 > self.file_bytes {
            return None;
        }
        self.from(at, count).get(..count)
    }

    /// What is in memory from `at` on, at least `count` bytes of it, which the file has.
    fn from(&mut self, at: u64, count: usize) -> &[u8] {
        let end = self.at + self.bytes.len() as u64;
        if at < self.at || at + count as u64 > end {
            self.load(at);
        }
        &self.bytes[(at - self.at) as usize..]
    }

    /// Moves the window to `at`. Pages that can't be read are zeros.
    fn load(&mut self, at: u64) {
        let bytes = WINDOW_BYTES.min(self.file_bytes - at) as usize;
        self.at = at;
        self.bytes.resize(bytes, 0);
        if self.file.read_at(at, &mut self.bytes).is_ok() {
            self.read_pages += 1;
            return;
        }
        for (number, page) in self.bytes.chunks_mut(PAGE_BYTES).enumerate() {
            match self.file.read_at(at + (number * PAGE_BYTES) as u64, page) {
                Ok(()) => self.read_pages += 1,
                Err(error) => {
                    page.fill(0);
                    self.failure = Some(error);
                }
            }
        }
    }
}

/// Two blocks of the usual size always fit.
const WINDOW_BYTES: u64 = 256 << 10;
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use sync::{Record, WallTime};

    use super::super::block::{Builder, Origin};
    use super::super::samples;
    use super::super::simulated::SimulatedFolder;
    use super::*;

    const ALL: Range<Offset> = Offset(0)..Offset(u64::MAX);

    fn record(payload: &[u8]) -> Record {
        samples::record(0, "t", 5, payload)
    }

    fn block(first: u64, mark: u32, payloads: &[&[u8]]) -> Vec<u8> {
        let lane = Lane::Normal;
        let origin = Origin { lane, mark };
        let mut builder = Builder::new(Offset(first), origin, block::MAX_BYTES);
        assert!(
            payloads
                .iter()
                .all(|payload| builder.push(&record(payload)))
        );
        builder.finish()
    }

    fn search(bytes: &[u8]) -> (std::sync::Arc<dyn File>, Salvage) {
        let folder = SimulatedFolder::new();
        let file = folder.directory().create("f").unwrap();
        file.write_at(0, bytes).unwrap();
        let salvage = Salvage::search(file.as_ref(), "f", Lane::Normal, ALL).unwrap();
        (file, salvage)
    }

    #[test]
    fn blocks_are_found_at_any_place() {
        let large = vec![3; 300_000];
        let beginning = block::beginning(Lane::Normal);
        let mut bytes = [&beginning[..], &[1]].concat();
        bytes.extend(block(0, 7, &[b"a", b"b"]));
        bytes.extend(beginning.repeat(70_000));
        bytes.extend(block(2, 7, &[&large]));
        bytes.extend([0; 13]);
        bytes.extend(block(9, 7, &[b"z"]));
        let (file, found) = search(&bytes);
        let firsts: Vec<u64> = found.headers().map(|header| header.first.0).collect();
        assert_eq!(firsts, [0, 2, 9]);
        assert_eq!(found.end(), Some(Offset(10)));
        assert_eq!(
            found.holes(Offset(0), Offset(12)),
            [Offset(3)..Offset(9), Offset(10)..Offset(12)]
        );
        let read = found.read(file.as_ref(), Offset(2)).unwrap();
        assert_eq!(read.record(Offset(2)), Some(record(&large)));
        assert!(found.read(file.as_ref(), Offset(5)).is_none());
        assert_eq!(found.following(Offset(5)), Some(Offset(9)));
    }

    #[test]
    fn the_fuller_copy_of_a_block_counts() {
        let bytes = [
            block(0, 7, &[b"a"]),
            block(0, 7, &[b"a", b"b"]),
            block(0, 7, &[b"a"]),
        ];
        let (_, found) = search(&bytes.concat());
        assert_eq!(found.end(), Some(Offset(2)));
    }

    #[test]
    fn a_copy_from_before_more_was_there_hides_nothing() {
        let bytes = [
            block(0, 7, &[b"a"]),
            block(1, 7, &[b"b", b"c", b"d"]),
            block(2, 7, &[b"c"]),
            block(4, 7, &[b"e"]),
        ];
        let (file, found) = search(&bytes.concat());
        for (offset, payload) in (0..).zip(b"abcde") {
            let read = found.read(file.as_ref(), Offset(offset)).unwrap();
            assert_eq!(read.record(Offset(offset)), Some(record(&[*payload])));
        }
        assert!(found.holes(Offset(0), Offset(5)).is_empty());
    }

    /// One was begun and cut by the power, and the next group was given its offsets: its records were
    /// read in the place of those that were answered.
    #[test]
    fn blocks_that_disagree_are_not_believed() {
        let bytes = [
            block(0, 7, &[b"a"]),
            block(1, 7, &[b"b", b"c", b"d"]),
            block(2, 7, &[b"x", b"y", b"z"]),
            block(5, 7, &[b"f"]),
        ];
        let (file, found) = search(&bytes.concat());
        let is_read = |offset| found.read(file.as_ref(), Offset(offset)).is_some();
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(is_read),
            [true, false, false, false, false, true]
        );
        let hole = Offset(1)..Offset(5);
        assert_eq!(found.holes(Offset(0), Offset(6)), [hole]);
    }

    #[test]
    fn a_payload_can_not_pose_as_a_block() {
        let forged = block(1, 8, &[b"forged"]);
        let mut damaged = block(0, 7, &[b"a", &forged, b"c"]);
        damaged[49] ^= 1;
        let others = [block(3, 7, &[b"d"]), block(4, 7, &[&forged])].concat();
        let (file, found) = search(&[damaged, others].concat());
        assert!(found.read(file.as_ref(), Offset(1)).is_none());
        assert!(found.read(file.as_ref(), Offset(4)).is_some());
        assert_eq!(found.headers().count(), 2);
    }

    #[test]
    fn offsets_of_another_place_are_not_taken() {
        let folder = SimulatedFolder::new();
        let file = folder.directory().create("f").unwrap();
        file.write_at(0, &block(5, 7, &[b"a", b"b"])).unwrap();
        for (range, count) in [(5..7, 1), (6..9, 0), (5..6, 0)] {
            let (lane, range) = (Lane::Normal, Offset(range.start)..Offset(range.end));
            let found = Salvage::search(file.as_ref(), "f", lane, range.clone()).unwrap();
            assert_eq!(found.headers().count(), count, "{range:?}");
        }
    }

    proptest! {
        /// Whatever blocks say of themselves, each with a checksum that is right: what is found is
        /// read for the offsets that it has, and what is not is in a hole.
        #[test]
        fn blocks_that_say_anything_are_found_without_a_panic(
            sizes in prop::collection::vec(0_usize..5, 1..8),
            harm in prop::collection::vec(
                (any::<Index>(), 8_usize..block::HEADER_BYTES, any::<u8>()),
                0..6,
            ),
            counts in prop::collection::vec(prop_oneof![1_u32..9, Just(u32::MAX)], 8),
            (first, next) in (0_u64..9, prop_oneof![0_u64..30, Just(block::END.0)]),
        ) {
            let (mut blocks, mut offset) = (Vec::new(), 0);
            for (size, count) in sizes.iter().zip(counts) {
                let origin = Origin { lane: Lane::Normal, mark: 7 };
                blocks.push(match size {
                    0 => Header::void(Offset(offset), count, origin, WallTime(5)),
                    size => block(offset, 7, &vec![&b"payload"[..]; *size]),
                });
                offset += (*size as u64).max(1);
            }
            for (number, at, byte) in harm {
                let damaged = number.index(blocks.len());
                blocks[damaged][at] = byte;
                block::seal(&mut blocks[damaged]);
            }
            let folder = SimulatedFolder::new();
            let file = folder.directory().create("f").unwrap();
            file.write_at(0, &blocks.concat()).unwrap();
            let range = Offset(first)..Offset(next);
            let found = Salvage::search(file.as_ref(), "f", Lane::Normal, range.clone()).unwrap();
            let holes = found.holes(range.start, range.end);
            prop_assert!(found.end().is_none_or(|end| range.start < end && end <= range.end));
            for offset in (0..40).chain([u64::from(u32::MAX), u64::MAX - 1]).map(Offset) {
                let is_hole = holes.iter().any(|hole| hole.contains(&offset));
                let read = found.read(file.as_ref(), offset);
                prop_assert!(read.as_ref().is_none_or(|block| block.has(offset) && !is_hole));
                prop_assert!(found.following(offset).is_none_or(|next| offset < next));
            }
        }
    }
}
