//! Blocks: the values of a segment's table, each a run of consecutive records.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 3 | zero |
//! | 4 | 4 | CRC32C of everything from byte 8 on |
//! | 8 | 8 | offset of the first record, also the key |
//! | 16 | 4 | number of records |
//! | 20 | 4 | mark of the segment, that nobody outside knows |
//! | 24 | 8 | publish time of the oldest record, milliseconds |
//! | 32 | 8 | publish time of the youngest |
//! | 40 | | records, each with its length (4) before it |
//!
//! All integers are little-endian. The checksum is the log's own because redb checks its pages
//! only when it repairs. The mark keeps a payload from posing as a block where one is searched for in
//! a damaged file (`log/salvage.rs`). A block is at most [`MAX_BYTES`] long; a record that needs more has a
//! block of its own.

use bytes::Bytes;
use sync::{Offset, Record, WallTime};

use super::frame::{u32_at, u64_at};

/// Collects records until a block is full.
#[derive(Debug)]
pub(super) struct Builder {
    first: Offset,
    mark: u32,
    count: u32,
    oldest: WallTime,
    youngest: WallTime,
    bytes: Vec<u8>,
}

impl Builder {
    pub(super) fn new(first: Offset, mark: u32) -> Self {
        let mut bytes = Vec::with_capacity(MAX_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        Self {
            first,
            mark,
            count: 0,
            oldest: WallTime(u64::MAX),
            youngest: WallTime(0),
            bytes,
        }
    }

    /// Whether `record` may join; the first one always may.
    pub(super) fn has_room_for(&self, record: &Record) -> bool {
        self.count == 0 || self.bytes.len() + 4 + record.as_bytes().len() <= MAX_BYTES
    }

    pub(super) fn push(&mut self, record: &Record) {
        let length = u32::try_from(record.as_bytes().len())
            .expect("a record was in a frame, whose lengths are 32 bits");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(record.as_bytes());
        self.count += 1;
        self.oldest = self.oldest.min(record.time());
        self.youngest = self.youngest.max(record.time());
    }

    /// Gives the finished block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let bytes = &mut self.bytes;
        bytes[0] = FORMAT;
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.mark.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.oldest.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.youngest.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
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
}

impl Header {
    /// Checks a whole block and reads its header.
    pub(super) fn read(block: &[u8], first: Offset) -> Result<Self, BlockError> {
        if block.len() < HEADER_BYTES {
            return Err(BlockError::Short { found: block.len() });
        }
        if block[0] != FORMAT {
            return Err(BlockError::Format { found: block[0] });
        }
        if crc32c::crc32c(&block[8..]) != u32_at(block, 4) {
            return Err(BlockError::Checksum);
        }
        let header = Self::unchecked(block);
        if header.first != first || header.count == 0 {
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
        }
    }

    /// The offset after the last record.
    pub(super) const fn next(&self) -> Offset {
        Offset(self.first.0 + self.count as u64)
    }
}

/// A block that was read and checked.
#[derive(Debug)]
pub(super) struct Block {
    header: Header,
    bytes: Bytes,
    /// Where each record begins, its length not counted, and where the last one ends plus four.
    starts: Vec<u32>,
}

impl Block {
    pub(super) fn read(bytes: Bytes, first: Offset) -> Result<Self, BlockError> {
        let header = Header::read(&bytes, first)?;
        let mut starts = Vec::with_capacity(header.count as usize + 1);
        let mut at = HEADER_BYTES;
        for _ in 0..header.count {
            let start = at + 4;
            if start > bytes.len() {
                return Err(BlockError::Short { found: bytes.len() });
            }
            starts.push(start as u32);
            at = start + u32_at(&bytes, at) as usize;
        }
        if at != bytes.len() {
            return Err(BlockError::Short { found: bytes.len() });
        }
        starts.push(at as u32 + 4);
        Ok(Self {
            header,
            bytes,
            starts,
        })
    }

    pub(super) const fn first(&self) -> Offset {
        self.header.first
    }

    pub(super) const fn next(&self) -> Offset {
        self.header.next()
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.starts.len() * 4
    }

    /// Bytes of the record at `offset`.
    pub(super) fn record_bytes(&self, offset: Offset) -> usize {
        self.range(offset).len()
    }

    /// The record at `offset`; `None` when its bytes are no record. A small record is copied, so
    /// that keeping it does not keep its block; one of half a block or more shares it.
    pub(super) fn record(&self, offset: Offset) -> Option<Record> {
        let range = self.range(offset);
        let bytes = if range.len() * 2 >= self.bytes.len() {
            self.bytes.slice(range)
        } else {
            Bytes::copy_from_slice(&self.bytes[range])
        };
        Record::from_bytes(bytes).ok()
    }

    fn range(&self, offset: Offset) -> std::ops::Range<usize> {
        let index = (offset.0 - self.header.first.0) as usize;
        self.starts[index] as usize..self.starts[index + 1] as usize - 4
    }
}

/// Why bytes are not the block that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    Short { found: usize },
    Format { found: u8 },
    Checksum,
    Place { found: Offset },
}

impl std::fmt::Display for BlockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { found } => write!(f, "block of {found} bytes does not hold its records"),
            Self::Format { found } => write!(f, "block format {found} is not the known format 1"),
            Self::Checksum => f.write_str("block does not match its checksum"),
            Self::Place { found } => write!(f, "block of offset {found} is in another's place"),
        }
    }
}

/// The largest block. redb gives a value a leaf of `4096 * 2^k` bytes, 16 of them its own; one
/// byte more than this would take 128 KiB.
pub(super) const MAX_BYTES: usize = 65_520;
pub(super) const HEADER_BYTES: usize = 40;
pub(super) const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use sync::RecordParts;

    use super::*;

    fn record(time: u64, payload: &[u8]) -> Record {
        Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: WallTime(time),
            expiry_seconds: None,
            publisher: 0,
            topic: "t",
            properties: &[],
            payload,
        })
    }

    fn block(first: u64, records: &[Record]) -> Vec<u8> {
        let mut builder = Builder::new(Offset(first), 9);
        for record in records {
            assert!(builder.has_room_for(record));
            builder.push(record);
        }
        builder.finish()
    }

    #[test]
    fn bytes_of_a_block_never_change() {
        let bytes = block(5, &[record(3, b"a"), record(2, b"bc")]);
        let mut golden = b"\x01\0\0\0".to_vec();
        golden.extend_from_slice(&CRC.to_le_bytes());
        golden.extend_from_slice(b"\x05\0\0\0\0\0\0\0\x02\0\0\0\x09\0\0\0");
        golden.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x22\0\0\0");
        golden.extend_from_slice(record(3, b"a").as_bytes());
        golden.extend_from_slice(b"\x23\0\0\0");
        golden.extend_from_slice(record(2, b"bc").as_bytes());
        assert_eq!(bytes, golden);
    }

    const CRC: u32 = 0xbe70_9881;

    #[test]
    fn records_come_back_by_offset() {
        let records = [record(1, b"one"), record(2, b""), record(3, &[7; 500])];
        let read = Block::read(Bytes::from(block(10, &records)), Offset(10)).unwrap();
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
        let mut builder = Builder::new(Offset(0), 9);
        while builder.has_room_for(&small) {
            builder.push(&small);
        }
        let bytes = builder.finish();
        assert!(bytes.len() <= MAX_BYTES);
        assert!(bytes.len() + 4 + small.as_bytes().len() > MAX_BYTES);
    }

    #[test]
    fn a_large_record_has_a_block_of_its_own() {
        let large = record(1, &[9; 200_000]);
        let mut builder = Builder::new(Offset(4), 9);
        assert!(builder.has_room_for(&large));
        builder.push(&large);
        assert!(!builder.has_room_for(&record(1, b"")));
        let read = Block::read(Bytes::from(builder.finish()), Offset(4)).unwrap();
        assert_eq!(read.record(Offset(4)), Some(large));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let bytes = block(5, &[record(3, b"a"), record(2, b"bc")]);
        for at in (0..bytes.len()).filter(|at| !(1..4).contains(at)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(
                Block::read(Bytes::from(damaged), Offset(5)).is_err(),
                "byte {at}"
            );
        }
        assert!(Block::read(Bytes::from(bytes[..60].to_vec()), Offset(5)).is_err());
        assert!(Block::read(Bytes::from(bytes), Offset(6)).is_err());
    }
}
