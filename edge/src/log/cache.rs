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
        let entry = self.entries.iter_mut().find(|entry| {
            entry.lane == lane && entry.block.first() <= offset && offset < entry.block.next()
        })?;
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
