//! Segments that redb can't be asked for: their files are searched once, and what was found in the last
//! few is remembered.

use std::ops::Range;
use std::sync::Arc;

use sync::{Lane, Offset};

use super::super::LogError;
use super::super::directory::File;
use super::super::salvage::Salvage;
use super::{Place, Reader, removed};

/// A damaged segment that was searched.
#[derive(Debug)]
pub(super) struct Salvaged {
    pub(super) lane: Lane,
    pub(super) first: Offset,
    /// Where the segment ended at the time.
    pub(super) end: Offset,
    file: Arc<dyn File>,
    blocks: Salvage,
}

impl Reader {
    /// Looks for a record in a file that redb can't be asked for. The first time it reads all of
    /// the file.
    pub(super) fn search_damaged(
        &mut self,
        lane: Lane,
        (range, name): (Range<Offset>, String),
        at: Offset,
    ) -> Result<Place, LogError> {
        let Range { start: first, end } = range;
        let is_it = |it: &Salvaged| (it.lane, it.first) == (lane, first) && at < it.end;
        if !self.salvaged.iter().any(is_it) {
            let file = self.directory.open(&name).map_err(removed(&name))?;
            let blocks = Salvage::search(file.as_ref(), &name, lane, first..end)?;
            self.salvaged
                .retain(|it| (it.lane, it.first) != (lane, first));
            self.salvaged.push_back(Salvaged {
                lane,
                first,
                end,
                file,
                blocks,
            });
            if self.salvaged.len() > self.open_count {
                self.salvaged.pop_front();
            }
        }
        let found = self.salvaged.iter().find(|it| is_it(it));
        let it = found.expect("what was not there was just added");
        match it.blocks.read(it.file.as_ref(), at) {
            Some(block) => Ok(self.keep(lane, block)),
            None => Ok(Place::Damage(it.blocks.following(at).unwrap_or(end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use sync::WallTime;

    use super::super::super::block::{self, Builder, Header, Origin};
    use super::super::super::simulated::SimulatedFolder;
    use super::super::super::{Settings, open, samples, segment};
    use super::super::Budget;
    use super::*;

    const LANE: Lane = Lane::Normal;
    const ORIGIN: Origin = Origin {
        lane: LANE,
        mark: 7,
    };

    fn block(first: Offset, count: u32, is_void: bool) -> Vec<u8> {
        if is_void {
            return Header::void(first, count, ORIGIN, WallTime(5));
        }
        let mut builder = Builder::new(first, ORIGIN, block::MAX_BYTES);
        let record = samples::record(0, "t", 5, b"payload");
        assert!((0..count).all(|_| builder.push(&record)));
        builder.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Under any keys, with words that nobody wrote and a checksum that is right.
        #[test]
        fn a_reader_gets_past_blocks_that_say_anything(
            blocks in prop::collection::vec((0_u64..40, 1_u32..9, any::<bool>()), 1..8),
            harm in prop::collection::vec(
                (any::<Index>(), 8_usize..block::HEADER_BYTES, any::<u8>()),
                0..4,
            ),
            shift in 0_u64..3,
        ) {
            let mut blocks: Vec<(Offset, Vec<u8>)> = blocks
                .into_iter()
                .map(|(first, count, is_void)| {
                    (Offset(first + shift), block(Offset(first), count, is_void))
                })
                .collect();
            for (number, at, byte) in harm {
                let damaged = number.index(blocks.len());
                let bytes = &mut blocks[damaged].1;
                bytes[at] = byte;
                block::seal(bytes);
            }
            let folder = SimulatedFolder::new();
            let settings = Settings {
                journal_bytes: 64 << 10,
                ..Settings::default()
            };
            let file = segment::create(&folder.directory(), LANE, Offset(0), 1 << 20).unwrap();
            segment::append(&file, Offset(0), blocks).unwrap();
            file.close().unwrap();
            let budget = Budget { records: 5, bytes: 1 << 20 };
            for _ in 0..2 {
                let log = open(folder.directory(), settings.clone(), WallTime(1)).unwrap();
                let mut reader = log.reader;
                let mut at = reader.first(LANE);
                while at < reader.head(LANE) {
                    let chunk = reader.read(LANE, at, budget).unwrap();
                    prop_assert!(at < chunk.next, "no way past {}", at);
                    let range = at..chunk.next;
                    prop_assert!(chunk.records.iter().all(|(offset, _)| range.contains(offset)));
                    at = chunk.next;
                }
            }
        }
    }
}
