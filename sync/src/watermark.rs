//! What a receiver has seen of an origin's lane, so that it can drop repeats.
//!
//! Offsets may be sparse, because a filter let only some through, and late, because a topic had to
//! wait while others went on. So the watermark keeps the ranges it has seen, up to a number it was
//! given. Beyond that it forgets the lowest range, and what it forgot counts as new again: a
//! forgetful watermark stores a repeat, it never loses a record.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Offset;

/// What an offset is to a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen, or seen so long ago that it is forgotten.
    New,
    /// Certainly seen before.
    Repeat,
}

/// The offsets seen so far. As CBOR: `[1, range count, [[first, end], ...]]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Watermark {
    range_count: u16,
    /// First offset to the end of its range; disjoint, and with a hole between any two.
    ranges: BTreeMap<Offset, Offset>,
}

impl Watermark {
    /// Makes one that has seen nothing and keeps at most `range_count` ranges, at least one. It
    /// takes some 40 bytes a range.
    #[must_use]
    pub fn new(range_count: u16) -> Self {
        Self {
            range_count: range_count.max(1),
            ranges: BTreeMap::new(),
        }
    }

    /// Notes an offset. Call it when what stands there is durable, not when it arrives.
    pub fn observe(&mut self, offset: Offset) -> Seen {
        if self.contains(offset) {
            return Seen::Repeat;
        }
        let next = offset.next();
        let end = self.ranges.remove(&next).unwrap_or(next);
        let before = self.ranges.range_mut(..offset).next_back();
        match before {
            Some((_, before_end)) if *before_end == offset => *before_end = end,
            _ => {
                self.ranges.insert(offset, end);
            }
        }
        if self.ranges.len() > usize::from(self.range_count) {
            self.ranges.pop_first();
        }
        Seen::New
    }

    /// Whether an offset is known to have been observed.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        let at_or_below = self.ranges.range(..=offset).next_back();
        at_or_below.is_some_and(|(_, end)| offset < *end)
    }

    /// The end of the highest range: nothing from here on was seen.
    #[must_use]
    pub fn end(&self) -> Offset {
        let highest = self.ranges.last_key_value();
        highest.map_or(Offset(0), |(_, end)| *end)
    }
}

type Stored = (u8, u16, Vec<(Offset, Offset)>);

const VERSION: u8 = 1;

impl From<Watermark> for Stored {
    fn from(watermark: Watermark) -> Self {
        let ranges = watermark.ranges.into_iter().collect();
        (VERSION, watermark.range_count, ranges)
    }
}

impl TryFrom<Stored> for Watermark {
    type Error = &'static str;

    fn try_from((version, range_count, ranges): Stored) -> Result<Self, Self::Error> {
        if version != VERSION {
            return Err("watermark version is not the known 1");
        }
        let mut last = None;
        for (first, end) in &ranges {
            if first >= end || last.is_some_and(|last| last >= *first) {
                return Err("watermark ranges are not in order");
            }
            last = Some(*end);
        }
        if ranges.len() > usize::from(range_count) {
            return Err("watermark has more ranges than it allows");
        }
        Ok(Self {
            range_count,
            ranges: ranges.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeats_are_recognised_among_sparse_and_late_offsets() {
        let mut watermark = Watermark::new(8);
        for offset in [10, 30, 20, 11, 9] {
            assert_eq!(watermark.observe(Offset(offset)), Seen::New);
        }
        for offset in [9, 10, 11, 20, 30] {
            assert_eq!(watermark.observe(Offset(offset)), Seen::Repeat);
        }
        assert_eq!(watermark.end(), Offset(31));
    }

    #[test]
    fn a_watermark_without_holes_never_forgets() {
        let mut watermark = Watermark::new(1);
        assert!((0..10_000).all(|offset| watermark.observe(Offset(offset)) == Seen::New));
        assert!((0..10_000).all(|offset| watermark.observe(Offset(offset)) == Seen::Repeat));
    }

    #[test]
    fn the_stored_form_never_changes() {
        let mut watermark = Watermark::new(8);
        for offset in [1, 2, 700] {
            watermark.observe(Offset(offset));
        }
        let mut bytes = Vec::new();
        ciborium::into_writer(&watermark, &mut bytes).unwrap();
        let golden = [
            0x83, 1, 8, 0x82, 0x82, 1, 3, 0x82, 0x19, 0x02, 0xbc, 0x19, 0x02, 0xbd,
        ];
        assert_eq!(bytes, golden);
        let read: Watermark = ciborium::from_reader(golden.as_slice()).unwrap();
        assert_eq!(read, watermark);
    }

    #[test]
    fn stored_forms_that_break_the_rules_are_refused() {
        let pair = |first, end| (Offset(first), Offset(end));
        for stored in [
            (2, 8, Vec::new()),
            (1, 8, Vec::from([pair(5, 5)])),
            (1, 8, Vec::from([pair(5, 6), pair(6, 7)])),
            (1, 8, Vec::from([pair(5, 6), pair(1, 2)])),
            (1, 1, Vec::from([pair(1, 2), pair(5, 6)])),
        ] {
            assert!(Watermark::try_from(stored).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_repeat_was_always_seen_and_memory_is_bounded(
            offsets in prop::collection::vec(0_u64..200, 0..300),
            range_count in 1_u16..20,
        ) {
            let mut watermark = Watermark::new(range_count);
            let mut model = BTreeSet::new();
            for offset in offsets {
                let was_seen = !model.insert(offset);
                let seen = watermark.observe(Offset(offset));
                prop_assert!(was_seen || seen == Seen::New);
                prop_assert!(watermark.ranges.len() <= usize::from(range_count));
                let stored = Stored::from(watermark.clone());
                prop_assert_eq!(&Watermark::try_from(stored).unwrap(), &watermark);
            }
        }

        #[test]
        fn with_enough_ranges_it_is_exact(
            offsets in prop::collection::vec(0_u64..200, 0..300),
        ) {
            let mut watermark = Watermark::new(200);
            let mut model = BTreeSet::new();
            for offset in offsets {
                let expected = if model.insert(offset) { Seen::New } else { Seen::Repeat };
                prop_assert_eq!(watermark.observe(Offset(offset)), expected);
            }
        }
    }
}
