//! Which offsets a gap is made of, where they are not all that lie between its ends.
//!
//! What is told of an offset is exact: one that is in the parts is in the gap's count. What the
//! count has beyond the parts is somewhere in the gap, and nobody can say where: it is counted once
//! more rather than never, should it be found missing again.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use sync::Offset;

/// Ranges of offsets, both ends inclusive, in growing order, with a hole between any two: at most
/// 256. Beyond that the lowest are forgotten, which have most likely left the lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parts(Vec<(u64, u64)>);

impl Parts {
    /// One range.
    pub(in super::super) fn of(range: RangeInclusive<u64>) -> Self {
        Self(vec![(*range.start(), *range.end())])
    }

    /// Ranges, both ends inclusive, in any order.
    pub(in super::super) fn of_ranges(ranges: Vec<(Offset, Offset)>) -> Self {
        let ranges = ranges.into_iter().map(|(first, last)| (first.0, last.0));
        let mut parts = Self::default();
        parts.join(&Self(ranges.collect()));
        parts
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is as it should be, and nothing of it is outside of a range.
    pub(super) fn are_within(&self, range: RangeInclusive<u64>) -> bool {
        let is_ordered = self.0.is_sorted_by(|before, after| before.1 < after.0);
        let is_inside = |(first, last): &(u64, u64)| {
            first <= last && range.contains(first) && range.contains(last)
        };
        is_ordered && self.0.len() <= PARTS && self.0.iter().all(is_inside)
    }

    /// Whether an offset is in it.
    pub(super) fn contains(&self, offset: u64) -> bool {
        let mut parts = self.0.iter();
        parts.any(|(first, last)| (*first..=*last).contains(&offset))
    }

    /// How many offsets are in it.
    pub(super) fn count(&self) -> u64 {
        let sizes = self.0.iter().map(|(first, last)| last - first);
        sizes.fold(0, |sum, size| sum.saturating_add(size).saturating_add(1))
    }

    /// The first and the last offset of each, in growing order.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (Offset, Offset)> {
        let all = self.0.iter();
        all.map(|(first, last)| (Offset(*first), Offset(*last)))
    }

    /// From the lowest offset to the highest.
    pub(in super::super) fn bounds(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// Adds what is in another one.
    pub(in super::super) fn join(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        self.0 = joined;
    }

    /// Joins many at once: one after the other takes the square of their number.
    pub(in super::super) fn union(all: impl Iterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        joined.join(&Self(all.flat_map(|parts| parts.0).collect()));
        joined
    }

    /// Takes out what is in another one.
    pub(in super::super) fn leave_out(&mut self, other: &Self) {
        let mut left = Vec::with_capacity(self.0.len());
        let mut cuts = other.0.as_slice();
        for (mut first, last) in self.0.drain(..) {
            let below = cuts.partition_point(|(_, to)| *to < first);
            cuts = &cuts[below..];
            let inside = cuts.iter().take_while(|(from, _)| *from <= last);
            let mut is_over = false;
            for (from, to) in inside {
                if first < *from {
                    left.push((first, from - 1));
                }
                is_over = *to >= last;
                first = to.saturating_add(1);
            }
            if !is_over {
                left.push((first, last));
            }
        }
        self.0 = left;
    }

    /// Forgets the lowest beyond the limit.
    pub(super) fn shorten(&mut self) {
        let excess = self.0.len().saturating_sub(PARTS);
        self.0.drain(..excess);
    }
}

/// About 5 KiB in the state; at most a few gaps of a lane have parts.
const PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(ranges: &[(u64, u64)]) -> Parts {
        Parts(ranges.to_vec())
    }

    #[test]
    fn what_touches_is_one_part() {
        for (one, other, expected) in [
            (&[(1, 2)][..], &[(3, 4)][..], &[(1, 4)][..]),
            (&[(1, 2)], &[(4, 4)], &[(1, 2), (4, 4)]),
            (&[(5, 9)], &[(0, 0), (6, 7)], &[(0, 0), (5, 9)]),
            (&[(0, u64::MAX)], &[(3, 4)], &[(0, u64::MAX)]),
            (&[], &[(3, 4)], &[(3, 4)]),
        ] {
            let mut joined = parts(one);
            joined.join(&parts(other));
            assert_eq!(joined, parts(expected), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn what_is_left_out_leaves_the_rest_exactly() {
        for (one, other, expected) in [
            (&[(1, 9)][..], &[(3, 4)][..], &[(1, 2), (5, 9)][..]),
            (&[(1, 9)], &[(0, 1), (9, 12)], &[(2, 8)]),
            (&[(1, 2), (5, 6)], &[(2, 5)], &[(1, 1), (6, 6)]),
            (&[(0, u64::MAX)], &[(0, 0)], &[(1, u64::MAX)]),
            (&[(3, 4)], &[(0, u64::MAX)], &[]),
            (&[(3, 4)], &[(5, 6)], &[(3, 4)]),
        ] {
            let mut left = parts(one);
            left.leave_out(&parts(other));
            assert_eq!(left, parts(expected), "{one:?} without {other:?}");
        }
        assert_eq!(parts(&[(1, 9), (11, 11)]).count(), 10);
    }

    #[test]
    fn of_all_parts_of_eight_offsets_exactly_the_others_are_left() {
        let parts = |bits: u16| {
            let offsets = (0..8).filter(|at| bits >> at & 1 == 1).map(Offset);
            Parts::of_ranges(offsets.map(|at| (at, at)).collect())
        };
        for one in 0..256 {
            for other in 0..256 {
                let mut left = parts(one);
                left.leave_out(&parts(other));
                assert_eq!(left, parts(one & !other), "{one:b} without {other:b}");
                let both = Parts::union([parts(one), parts(other)].into_iter());
                assert_eq!(both, parts(one | other), "{one:b} and {other:b}");
            }
        }
    }

    #[test]
    fn the_lowest_are_forgotten_first() {
        let mut many = Parts((0..300).map(|at| (at * 2, at * 2)).collect());
        many.shorten();
        assert_eq!((many.count(), many.bounds()), (256, Some((88, 598))));
    }
}
