//! Blocks: the values of a segment's table, each a run of consecutive records.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 1 | format, 3 |
//! | 1 | 1 | number of the lane |
//! | 2 | 2 | zero |
//! | 4 | 4 | CRC32C of everything from byte 8 on |
//! | 8 | 8 | offset of the first record, also the key |
//! | 16 | 4 | number of records |
//! | 20 | 4 | mark of the segment, that nobody outside knows |
//! | 24 | 8 | publish time of the oldest record, milliseconds |
//! | 32 | 8 | publish time of the youngest |
//! | 40 | 4 | length of the block |
//! | 44 | | the records as a [run], at most [`EXPANSION`] times as long once decoded |
//!
//! A block that ends with its header is void: the records of so many offsets were given up, and are
//! counted elsewhere. Its times are those of its neighbours.
//!
//! All integers are little-endian. The checksum is the log's own because redb checks its pages
//! only when it repairs. The lane is not covered by it: it keeps a file under another lane's name from
//! passing for that one's, and nothing depends on it otherwise. The mark keeps a payload from posing as
//! a block where one is searched for in a damaged file (`log/salvage.rs`). A block is at most
//! [`MAX_BYTES`] long; a record that needs more has a block of its own. Blocks stay as they are in
//! memory: a record is decoded when it is asked for.

use bytes::Bytes;
use sync::{Lane, Offset, Record, WallTime};

use super::frame::{u32_at, u64_at};
use super::run::{self, Encoder, Entry, Heads};

/// What the blocks of a segment have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) lane: Lane,
    pub(super) mark: u32,
}

/// Collects records until a block is full.
#[derive(Debug)]
pub(super) struct Builder {
    first: Offset,
    origin: Origin,
    most_bytes: usize,
    count: u32,
    oldest: WallTime,
    youngest: WallTime,
    run: Encoder,
    bytes: Vec<u8>,
}

impl Builder {
    /// Begins a block of at most `most_bytes`.
    pub(super) fn new(first: Offset, origin: Origin, most_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(most_bytes);
        bytes.resize(HEADER_BYTES, 0);
        Self {
            first,
            origin,
            most_bytes,
            count: 0,
            oldest: WallTime(u64::MAX),
            youngest: WallTime(0),
            run: Encoder::new(EXPANSION),
            bytes,
        }
    }

    /// Takes a record if there is room for it; for the first one there always is. Behind one that
    /// was not taken there comes none.
    pub(super) fn push(&mut self, record: &Record) -> bool {
        let len = self.bytes.len();
        let is_first = self.count == 0;
        if !is_first && len + run::least_bytes(record) > self.most_bytes {
            return false;
        }
        self.run.push(record, &mut self.bytes);
        if !is_first && self.bytes.len() > self.most_bytes {
            self.bytes.truncate(len);
            return false;
        }
        self.count += 1;
        self.oldest = self.oldest.min(record.time());
        self.youngest = self.youngest.max(record.time());
        true
    }

    /// Records that were taken.
    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// Bytes of the block so far.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the finished block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let bytes = &mut self.bytes;
        let length =
            u32::try_from(bytes.len()).expect("a record was in a frame, whose lengths are 32 bits");
        let header = Header {
            first: self.first,
            count: self.count,
            mark: self.origin.mark,
            oldest: self.oldest,
            youngest: self.youngest,
            bytes: length,
        };
        header.write(self.origin.lane, bytes);
        self.bytes
    }
}

/// What a block's header says; believed only after its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: Offset,
    pub(super) count: u32,
    pub(super) mark: u32,
    pub(super) oldest: WallTime,
    pub(super) youngest: WallTime,
    /// Of the whole block.
    pub(super) bytes: u32,
}

impl Header {
    /// Makes a void block of so many offsets.
    pub(super) fn void(first: Offset, count: u32, origin: Origin, time: WallTime) -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES];
        let header = Self {
            first,
            count,
            mark: origin.mark,
            oldest: time,
            youngest: time,
            bytes: HEADER_BYTES as u32,
        };
        header.write(origin.lane, &mut block);
        block
    }

    /// Whether the block has no records.
    pub(super) const fn is_void(&self) -> bool {
        self.bytes as usize == HEADER_BYTES
    }

    /// The first and the last offset of a void block.
    pub(super) fn void_range(&self) -> Option<(Offset, Offset)> {
        let last = Offset(self.next().0 - 1);
        self.is_void().then_some((self.first, last))
    }

    fn write(&self, lane: Lane, block: &mut [u8]) {
        block[..4].copy_from_slice(&beginning(lane));
        block[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        block[16..20].copy_from_slice(&self.count.to_le_bytes());
        block[20..24].copy_from_slice(&self.mark.to_le_bytes());
        block[24..32].copy_from_slice(&self.oldest.0.to_le_bytes());
        block[32..40].copy_from_slice(&self.youngest.0.to_le_bytes());
        block[40..44].copy_from_slice(&self.bytes.to_le_bytes());
        seal(block);
    }

    /// Checks a whole block and reads its header.
    pub(super) fn read(block: &[u8], lane: Lane, first: Offset) -> Result<Self, BlockError> {
        if block.len() < HEADER_BYTES {
            return Err(BlockError::Short { found: block.len() });
        }
        if block[0] != FORMAT {
            return Err(BlockError::Format { found: block[0] });
        }
        if block[1] != lane as u8 {
            return Err(BlockError::Lane { found: block[1] });
        }
        if crc32c::crc32c(&block[8..]) != u32_at(block, 4) {
            return Err(BlockError::Checksum);
        }
        let header = Self::unchecked(block);
        if header.bytes as usize != block.len() {
            return Err(BlockError::Short { found: block.len() });
        }
        let end = first.0.saturating_add(u64::from(header.count));
        if header.first != first || header.count == 0 || end > END.0 {
            return Err(BlockError::Place {
                found: header.first,
            });
        }
        Ok(header)
    }

    /// Reads a header that may be anything.
    pub(super) fn unchecked(block: &[u8]) -> Self {
        Self {
            first: Offset(u64_at(block, 8)),
            count: u32_at(block, 16),
            mark: u32_at(block, 20),
            oldest: WallTime(u64_at(block, 24)),
            youngest: WallTime(u64_at(block, 32)),
            bytes: u32_at(block, 40),
        }
    }

    /// The offset after the last record.
    pub(super) const fn next(&self) -> Offset {
        Offset(self.first.0 + self.count as u64)
    }

    /// Whether the length is one that so many records can have.
    pub(super) const fn has_a_length(&self) -> bool {
        let is_small = self.bytes as usize <= MAX_BYTES || self.count == 1;
        let least = HEADER_BYTES as u64 + self.count as u64 * run::LEAST_BYTES as u64;
        is_small && (self.bytes as u64 >= least || self.is_void())
    }
}

/// A block that was read and checked.
#[derive(Debug)]
pub(super) struct Block {
    header: Header,
    bytes: Bytes,
    /// Where the entry of each record begins.
    starts: Vec<u32>,
    heads: Heads,
}

impl Block {
    pub(super) fn read(bytes: Bytes, lane: Lane, first: Offset) -> Result<Self, BlockError> {
        let header = Header::read(&bytes, lane, first)?;
        // As many as there can be: no header, whoever made it, takes more than its block has.
        let most = bytes.len() / run::LEAST_BYTES;
        let mut starts = Vec::with_capacity((header.count as usize).min(most));
        let mut heads = Heads::new(EXPANSION);
        let mut at = HEADER_BYTES;
        let count = if header.is_void() { 0 } else { header.count };
        for _ in 0..count {
            let short = BlockError::Short { found: bytes.len() };
            let entry = heads.take(&bytes, at).ok_or(short)?;
            starts.push(at as u32);
            at = entry.end();
        }
        if at != bytes.len() {
            return Err(BlockError::Short { found: bytes.len() });
        }
        Ok(Self {
            header,
            bytes,
            starts,
            heads,
        })
    }

    pub(super) const fn first(&self) -> Offset {
        self.header.first
    }

    pub(super) const fn next(&self) -> Offset {
        self.header.next()
    }

    /// Whether an offset is one of its own, with a record or void.
    pub(super) fn has(&self, offset: Offset) -> bool {
        (self.first()..self.next()).contains(&offset)
    }

    /// Whether its offsets have no records.
    pub(super) const fn is_void(&self) -> bool {
        self.header.is_void()
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<u32>() + self.heads.memory_bytes()
    }

    /// Bytes of the record at `offset`; 0 when it was given up or is not in here.
    pub(super) fn record_bytes(&self, offset: Offset) -> usize {
        self.entry(offset).map_or(0, |entry| entry.record_bytes())
    }

    /// The record at `offset`; `None` when it was given up, is not in here, or its bytes are no record.
    /// A small record is copied, so that keeping it does not keep its block; one of half a block or
    /// more shares it.
    pub(super) fn record(&self, offset: Offset) -> Option<Record> {
        let bytes = match self.entry(offset)? {
            Entry::Whole(all) if all.len() * 2 >= self.bytes.len() => self.bytes.slice(all),
            entry => entry.to_bytes(&self.bytes),
        };
        Record::from_bytes(bytes).ok()
    }

    fn entry(&self, offset: Offset) -> Option<Entry> {
        let index = offset.0.checked_sub(self.header.first.0)?;
        let start = *self.starts.get(usize::try_from(index).ok()?)?;
        self.heads.entry(&self.bytes, start as usize)
    }
}

/// Why bytes are not the block that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    Short { found: usize },
    Format { found: u8 },
    Lane { found: u8 },
    Checksum,
    Place { found: Offset },
}

impl std::fmt::Display for BlockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { found } => write!(f, "block of {found} bytes does not hold its records"),
            Self::Format { found } => write!(f, "block format {found} is not the known format 3"),
            Self::Lane { found } => write!(f, "block of lane {found} is in another's place"),
            Self::Checksum => f.write_str("block does not match its checksum"),
            Self::Place { found } => write!(f, "block of offset {found} is in another's place"),
        }
    }
}

/// Gives a block the checksum of what it says.
pub(super) fn seal(block: &mut [u8]) {
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// How a block of a lane begins.
pub(super) const fn beginning(lane: Lane) -> [u8; 4] {
    [FORMAT, lane as u8, 0, 0]
}

/// The page that redb gives a value of so many bytes.
pub(super) const fn page_bytes(block_bytes: usize) -> usize {
    let bytes = (block_bytes + PAGE_HEADER_BYTES).next_power_of_two();
    if bytes < LEAST_PAGE_BYTES {
        LEAST_PAGE_BYTES
    } else {
        bytes
    }
}

/// The largest block that has room in a page.
pub(super) const fn most_bytes(page_bytes: usize) -> usize {
    page_bytes - PAGE_HEADER_BYTES
}

/// No lane ever gets as far: a block that says so was written by nobody, and nothing overflows.
pub(super) const END: Offset = Offset(1 << 63);
/// The largest block: the next larger page has 128 KiB.
pub(super) const MAX_BYTES: usize = most_bytes(64 << 10);
/// A leaf of redb has `4096 * 2^k` bytes.
pub(super) const LEAST_PAGE_BYTES: usize = 4096;
/// What redb needs of a leaf with one value for itself, its key included.
const PAGE_HEADER_BYTES: usize = 16;
pub(super) const HEADER_BYTES: usize = 44;
const FORMAT: u8 = 3;
/// How much longer the records of a block may be once decoded.
const EXPANSION: u64 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::samples;
    use super::*;

    const ORIGIN: Origin = Origin {
        lane: Lane::Normal,
        mark: 9,
    };

    fn record(time: u64, payload: &[u8]) -> Record {
        samples::record(0, "t", time, payload)
    }

    fn block(first: u64, records: &[Record]) -> Vec<u8> {
        let mut builder = Builder::new(Offset(first), ORIGIN, MAX_BYTES);
        for record in records {
            assert!(builder.push(record));
        }
        builder.finish()
    }

    #[test]
    fn bytes_of_a_block_never_change() {
        let bytes = block(5, &[record(3, b"a"), record(2, b"bc")]);
        let mut golden = b"\x03\x02\0\0".to_vec();
        golden.extend_from_slice(&CRC.to_le_bytes());
        golden.extend_from_slice(b"\x05\0\0\0\0\0\0\0\x02\0\0\0\x09\0\0\0");
        golden.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x55\0\0\0\x00\x22");
        golden.extend_from_slice(record(3, b"a").as_bytes());
        golden.extend_from_slice(b"\x01\x01\x02bc");
        assert_eq!(bytes, golden);
    }

    const CRC: u32 = 0x1433_60bb;

    #[test]
    fn records_come_back_by_offset() {
        let records = [record(1, b"one"), record(2, b""), record(3, &[7; 500])];
        let read = Block::read(Bytes::from(block(10, &records)), Lane::Normal, Offset(10)).unwrap();
        assert_eq!((read.first(), read.next()), (Offset(10), Offset(13)));
        for (index, record) in records.iter().enumerate() {
            let offset = Offset(10 + index as u64);
            assert_eq!(read.record(offset).as_ref(), Some(record));
            assert_eq!(read.record_bytes(offset), record.as_bytes().len());
        }
    }

    #[test]
    fn a_full_block_is_at_most_the_page_redb_gives_it() {
        let small = record(1, &[0; 100]);
        let mut builder = Builder::new(Offset(0), ORIGIN, MAX_BYTES);
        while builder.push(&small) {}
        let bytes = builder.finish();
        assert!(bytes.len() <= MAX_BYTES);
        assert!(bytes.len() + run::LEAST_BYTES + 100 > MAX_BYTES);
        assert!(Block::read(Bytes::from(bytes), Lane::Normal, Offset(0)).is_ok());
    }

    #[test]
    fn a_large_record_has_a_block_of_its_own() {
        let large = record(1, &[9; 200_000]);
        let mut builder = Builder::new(Offset(4), ORIGIN, MAX_BYTES);
        assert!(builder.push(&large));
        assert!(!builder.push(&record(1, b"")));
        let read = Block::read(Bytes::from(builder.finish()), Lane::Normal, Offset(4)).unwrap();
        assert_eq!(read.record(Offset(4)), Some(large));
    }

    #[test]
    fn a_void_block_has_offsets_and_no_records() {
        let bytes = Header::void(Offset(5), u32::MAX, ORIGIN, WallTime(3));
        let header = Header::read(&bytes, Lane::Normal, Offset(5)).unwrap();
        assert!(header.is_void() && header.has_a_length());
        assert_eq!((header.oldest, header.youngest), (WallTime(3), WallTime(3)));
        let read = Block::read(Bytes::from(bytes), Lane::Normal, Offset(5)).unwrap();
        assert!(read.is_void() && read.memory_bytes() < 64);
        assert_eq!(read.next(), Offset(5 + u64::from(u32::MAX)));
        assert_eq!(read.record(Offset(7)), None);
        assert_eq!(read.record_bytes(Offset(7)), 0);
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let bytes = block(5, &[record(3, b"a"), record(2, b"bc")]);
        for at in (0..bytes.len()).filter(|at| !(2..4).contains(at)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(
                Block::read(Bytes::from(damaged), Lane::Normal, Offset(5)).is_err(),
                "byte {at}"
            );
        }
        let read = |bytes: &[u8], lane, first| {
            Block::read(Bytes::copy_from_slice(bytes), lane, Offset(first)).is_ok()
        };
        assert!(read(&bytes, Lane::Normal, 5));
        assert!(!read(&bytes[..60], Lane::Normal, 5));
        assert!(!read(&bytes, Lane::Normal, 6));
        assert!(!read(&bytes, Lane::Urgent, 5), "another lane's");
    }

    /// Numbers that a header should not have, and others.
    fn numbers() -> impl Strategy<Value = u64> {
        let least = prop_oneof![0_u64..70, Just(u64::from(u32::MAX)), Just(u64::MAX)];
        prop_oneof![least, any::<u64>()]
    }

    /// What became of a block: bytes that were flipped, a number written over, and a length cut off;
    /// and whether whoever did it gave it a checksum that is right.
    #[derive(Clone, Debug)]
    struct Harm {
        flips: Vec<(Index, u8)>,
        number: Option<(usize, u64)>,
        length: Option<Index>,
        is_sealed: bool,
    }

    fn harm() -> impl Strategy<Value = Harm> {
        let flips = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
        let number = prop::option::of((8_usize..HEADER_BYTES - 8, numbers()));
        (
            flips,
            number,
            prop::option::of(any::<Index>()),
            any::<bool>(),
        )
            .prop_map(|(flips, number, length, is_sealed)| Harm {
                flips,
                number,
                length,
                is_sealed,
            })
    }

    impl Harm {
        fn done_to(&self, mut block: Vec<u8>) -> Vec<u8> {
            if let Some(length) = self.length {
                block.truncate(1 + length.index(block.len()));
            }
            for (at, bits) in &self.flips {
                let at = at.index(block.len());
                block[at] ^= bits;
            }
            if block.len() < HEADER_BYTES {
                return block;
            }
            if let Some((at, number)) = self.number {
                block[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            if self.is_sealed {
                let length = block.len() as u32;
                block[..4].copy_from_slice(&beginning(Lane::Normal));
                block[40..44].copy_from_slice(&length.to_le_bytes());
                seal(&mut block);
            }
            block
        }
    }

    proptest! {
        /// The reader ended the process where a damaged tree led it to a block that is not of the
        /// offset it was looking for.
        #[test]
        fn a_block_answers_for_every_offset_whatever_became_of_it(
            payloads in prop::collection::vec(0_usize..300, 0..12),
            (first, count) in (numbers(), any::<u32>()),
            harm in harm(),
            asked in prop::collection::vec(numbers(), 8),
        ) {
            let records: Vec<Record> =
                payloads.iter().map(|bytes| record(7, &vec![1; *bytes])).collect();
            let whole = match records.is_empty() {
                true => Header::void(Offset(first), count, ORIGIN, WallTime(3)),
                false => block(first, &records),
            };
            let bytes = harm.done_to(whole.clone());
            let first = match bytes.len() < HEADER_BYTES {
                true => Offset(first),
                false => Header::unchecked(&bytes).first,
            };
            let header = Header::read(&bytes, Lane::Normal, first);
            let read = Block::read(Bytes::from(bytes.clone()), Lane::Normal, first);
            let (Ok(header), Ok(read)) = (header, read) else {
                return Ok(());
            };
            prop_assert!(harm.is_sealed || bytes[4..] == whole[4..]);
            prop_assert_eq!(header.void_range().is_some(), read.is_void());
            prop_assert!(read.first() < read.next() && read.next() <= END);
            prop_assert!(read.memory_bytes() < 3 * bytes.len());
            let near = [0, first.0.wrapping_sub(1), first.0, read.next().0 - 1, read.next().0];
            for offset in near.into_iter().chain(asked).map(Offset) {
                let (record, length) = (read.record(offset), read.record_bytes(offset));
                let is_here = read.has(offset) && !read.is_void();
                prop_assert!(record.is_none_or(|it| is_here && it.as_bytes().len() == length));
                prop_assert!(is_here == (length > 0));
            }
        }
    }
}
