//! Decoded blocks that the reader keeps, bounded in bytes, least recently used out first.

use std::sync::Arc;

use sync::{Lane, Offset};

use super::block::Block;

/// A small cache of blocks. A handful of entries, so a walk is the fastest search.
#[derive(Debug)]
pub(super) struct BlockCache {
    max_bytes: usize,
    entries: Vec<Entry>,
    /// Counts uses; the smallest mark is the oldest use.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    lane: Lane,
    block: Arc<Block>,
    used: u64,
}

impl BlockCache {
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            entries: Vec::new(),
            clock: 0,
        }
    }

    /// Finds the block that holds `offset`.
    pub(super) fn find(&mut self, lane: Lane, offset: Offset) -> Option<Arc<Block>> {
        self.clock += 1;
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.lane == lane && entry.block.has(offset))?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.block))
    }

    /// Adds a block; the newest always stays, however large.
    pub(super) fn insert(&mut self, lane: Lane, block: Arc<Block>) {
        self.clock += 1;
        self.entries.push(Entry {
            lane,
            block,
            used: self.clock,
        });
        while self.entries.len() > 1 && self.bytes() > self.max_bytes {
            let oldest = (0..self.entries.len()).min_by_key(|at| self.entries[*at].used);
            self.entries
                .swap_remove(oldest.expect("more than one entry has an oldest"));
        }
    }

    /// Forgets blocks of a lane that are wholly below `first`.
    pub(super) fn trim(&mut self, lane: Lane, first: Offset) {
        self.entries
            .retain(|entry| entry.lane != lane || entry.block.next() > first);
    }

    fn bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|entry| entry.block.memory_bytes())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{Builder, MAX_BYTES, Origin};
    use super::super::samples;
    use super::*;
    use bytes::Bytes;

    /// A block of two records and about 200 bytes.
    fn block(first: u64) -> Arc<Block> {
        let record = samples::record(0, "t", 1, &[0; 40]);
        let origin = Origin {
            lane: Lane::Normal,
            mark: 0,
        };
        let mut builder = Builder::new(Offset(first), origin, MAX_BYTES);
        builder.push(&record);
        builder.push(&record);
        let bytes = Bytes::from(builder.finish());
        Arc::new(Block::read(bytes, Lane::Normal, Offset(first)).unwrap())
    }

    #[test]
    fn the_least_recently_used_block_goes() {
        let mut cache = BlockCache::new(3 * block(0).memory_bytes());
        for first in [0, 2, 4] {
            cache.insert(Lane::Normal, block(first));
        }
        assert!(cache.find(Lane::Normal, Offset(1)).is_some());
        cache.insert(Lane::Normal, block(6));
        assert!(cache.find(Lane::Normal, Offset(2)).is_none());
        for offset in [0, 1, 4, 5, 6, 7] {
            assert!(
                cache.find(Lane::Normal, Offset(offset)).is_some(),
                "{offset}"
            );
            assert!(cache.find(Lane::Urgent, Offset(offset)).is_none());
        }
    }

    #[test]
    fn the_newest_block_stays_however_large() {
        let mut cache = BlockCache::new(1);
        cache.insert(Lane::Normal, block(0));
        cache.insert(Lane::Normal, block(2));
        assert!(cache.find(Lane::Normal, Offset(0)).is_none());
        assert!(cache.find(Lane::Normal, Offset(2)).is_some());
    }

    #[test]
    fn trimmed_blocks_are_forgotten() {
        let mut cache = BlockCache::new(1 << 20);
        cache.insert(Lane::Normal, block(0));
        cache.insert(Lane::Normal, block(2));
        cache.insert(Lane::Urgent, block(0));
        cache.trim(Lane::Normal, Offset(2));
        assert!(cache.find(Lane::Normal, Offset(0)).is_none());
        assert!(cache.find(Lane::Normal, Offset(2)).is_some());
        assert!(cache.find(Lane::Urgent, Offset(0)).is_some());
    }
}
