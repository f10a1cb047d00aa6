//! Packing: what waits, as blocks that fill their pages.
//!
//! redb gives a value a leaf of `4096 * 2^k` bytes and writes all of it. A block that is not the last is
//! full; what is left at the end is cut into blocks that fill a page of half the size each, as 36 KB into
//! 32 and 4, for as long as that saves a page of 4 KiB.
//!
//! Promises that it depends on the records alone where blocks end, and that when more wait behind the same
//! ones, each block of the first time lies within one of the second: copies that a lost transaction
//! left in a file never hide what was stored after them.

use std::collections::VecDeque;

use sync::{Offset, Record};

use super::block::{Builder, LEAST_PAGE_BYTES, MAX_BYTES, Origin, most_bytes, page_bytes};
use super::segment::NewBlock;

/// Makes one block after the other, none before it is asked for: of a transaction, only one is in
/// memory beside redb's own.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    waiting: &'a VecDeque<Record>,
    first: Offset,
    origin: Origin,
    most: u64,
    /// Records in the blocks that were made.
    pub(super) record_count: usize,
    /// Bytes of these blocks.
    pub(super) bytes: u64,
}

impl<'a> Packer<'a> {
    /// Packs records from the front, whose first has the offset `first`, until the blocks have
    /// `most` bytes together.
    pub(super) const fn new(
        waiting: &'a VecDeque<Record>,
        first: Offset,
        origin: Origin,
        most: u64,
    ) -> Self {
        Self {
            waiting,
            first,
            origin,
            most,
            record_count: 0,
            bytes: 0,
        }
    }

    fn fill(&self, most: usize) -> Builder {
        let first = Offset(self.first.0 + self.record_count as u64);
        let mut builder = Builder::new(first, self.origin, most);
        for record in self.waiting.range(self.record_count..) {
            if !builder.push(record) {
                break;
            }
        }
        builder
    }

    /// Leaves out what another block had better take; the last block only.
    fn cut(&self, whole: Builder) -> Builder {
        if whole.count() == 1 || unused_bytes(&whole) < LEAST_PAGE_BYTES {
            return whole;
        }
        let less = self.fill(most_bytes(page_bytes(whole.len()) / 2));
        match unused_bytes(&less) < LEAST_PAGE_BYTES {
            true => less,
            false => whole,
        }
    }
}

impl Iterator for Packer<'_> {
    type Item = NewBlock;

    fn next(&mut self) -> Option<NewBlock> {
        if self.record_count == self.waiting.len() || self.bytes >= self.most {
            return None;
        }
        let first = Offset(self.first.0 + self.record_count as u64);
        let mut block = self.fill(MAX_BYTES);
        if self.record_count + block.count() == self.waiting.len() {
            block = self.cut(block);
        }
        self.record_count += block.count();
        self.bytes += block.len() as u64;
        Some((first, block.finish()))
    }
}

/// Bytes of the page that are written for nothing.
const fn unused_bytes(block: &Builder) -> usize {
    most_bytes(page_bytes(block.len())) - block.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sync::Lane;

    use super::super::samples;
    use super::*;

    fn record(payload_bytes: usize) -> Record {
        samples::record(payload_bytes as u64 % 3, "t", 1, &vec![0; payload_bytes])
    }

    /// The first offset of each block and the one after its last, and its bytes.
    fn packed(waiting: &VecDeque<Record>, most: u64) -> Vec<(u64, u64, Vec<u8>)> {
        let origin = Origin {
            lane: Lane::Normal,
            mark: 9,
        };
        let mut packer = Packer::new(waiting, Offset(7), origin, most);
        let mut blocks = Vec::new();
        while let Some((first, block)) = packer.next() {
            blocks.push((first.0, 7 + packer.record_count as u64, block));
        }
        let bytes: usize = blocks.iter().map(|(.., block)| block.len()).sum();
        assert_eq!(packer.bytes, bytes as u64);
        blocks
    }

    fn pages(blocks: &[(u64, u64, Vec<u8>)]) -> Vec<usize> {
        let pages = blocks.iter().map(|(.., block)| page_bytes(block.len()));
        pages.map(|bytes| bytes >> 10).collect()
    }

    #[test]
    fn what_is_left_at_the_end_fills_its_pages() {
        for (count, expected) in [
            (3, &[4][..]),
            (40, &[4]),
            (42, &[8]),
            (350, &[32, 4]),
            (630, &[64]),
            (600, &[32, 16, 8, 4]),
            (1100, &[64, 32, 8, 4]),
        ] {
            let waiting: VecDeque<Record> = (0..count).map(|_| record(96)).collect();
            let blocks = packed(&waiting, u64::MAX);
            assert_eq!(pages(&blocks), expected, "{count}");
            assert_eq!(blocks.last().map(|it| it.1), Some(7 + count));
        }
    }

    #[test]
    fn a_block_is_left_whole_where_nothing_is_saved() {
        for (sizes, expected) in [
            (&[20_000, 20_000][..], &[64][..]),
            (&[40_000], &[64]),
            (&[100_000], &[128]),
            (&[100_000, 20], &[128, 4]),
            (&[15_000, 15_000, 6_000], &[32, 8]),
        ] {
            let waiting: VecDeque<Record> = sizes.iter().map(|bytes| record(*bytes)).collect();
            assert_eq!(pages(&packed(&waiting, u64::MAX)), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_transaction_ends_with_a_full_block() {
        let waiting: VecDeque<Record> = (0..5000).map(|_| record(96)).collect();
        let blocks = packed(&waiting, 150_000);
        assert_eq!(pages(&blocks), [64, 64, 64]);
        assert_eq!(packed(&VecDeque::new(), 1), []);
    }

    proptest! {
        #[test]
        fn more_records_behind_the_same_ones_leave_each_block_within_another(
            sizes in prop::collection::vec(prop_oneof![0_usize..200, 0_usize..30_000], 1..400),
            kept: prop::sample::Index,
        ) {
            let all: VecDeque<Record> = sizes.iter().map(|bytes| record(*bytes)).collect();
            let some: VecDeque<Record> = all.range(..=kept.index(all.len())).cloned().collect();
            let larger = packed(&all, u64::MAX);
            prop_assert_eq!(&larger, &packed(&all, u64::MAX));
            for (first, next, _) in packed(&some, u64::MAX) {
                let is_within = larger.iter().any(|it| it.0 <= first && next <= it.1);
                prop_assert!(is_within, "{} to {}", first, next);
            }
        }
    }
}
