//! The gaps that are kept, under their numbers, while one commit adds to them.
//!
//! ```text
//!   announced | handed out | fresh
//!             ^            ^
//! ```
//!
//! A gap is announced to the cloud exactly once. So announced ones merge with their like, fresh
//! ones with theirs, and one that is handed out to be announced stays as it is. A number is never
//! given twice, and what is made of two gaps has the number of the younger.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Gap;

/// Which gaps were announced, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Marks {
    /// All below were announced, durably.
    pub(in super::super) announced: u64,
    /// All from here on were shown to nobody who announces.
    pub(in super::super) handed_out: u64,
}

/// The rows of the table, and which of them have changed.
#[derive(Debug)]
pub(in super::super) struct Ledger {
    /// `None` for one that can't be read.
    rows: BTreeMap<u64, Option<Gap>>,
    changed: BTreeSet<u64>,
    marks: Marks,
}

impl Ledger {
    pub(in super::super) const fn new(rows: BTreeMap<u64, Option<Gap>>, marks: Marks) -> Self {
        Self {
            rows,
            changed: BTreeSet::new(),
            marks,
        }
    }

    /// Adds a gap; one that goes on where the last of its lane ends, for the same reason, becomes
    /// one with it. One that is there already, because a commit that failed reached the file all
    /// the same, is not added again.
    pub(in super::super) fn add(&mut self, gap: &Gap) {
        let has_it = |row: &Gap| row == gap || row.covers(gap);
        if self.rows.values().flatten().any(has_it) {
            return;
        }
        let mut fresh = self.rows.range(self.marks.handed_out..).rev();
        let of_kind = |row: &&Gap| row.is_mergeable_with(gap);
        let youngest =
            fresh.find_map(|(number, row)| Some((*number, row.as_ref().filter(of_kind)?)));
        let (number, gap) = match youngest {
            Some((number, youngest)) if youngest.is_continued_by(gap) => {
                (number, youngest.merged(gap))
            }
            _ => (self.next(), gap.clone()),
        };
        self.rows.insert(number, Some(gap));
        self.changed.insert(number);
    }

    /// Merges until at most `count` are left, as far as that is possible: of each lane there may be
    /// one that was announced and one that is fresh, counted and not, and those between are not touched.
    pub(in super::super) fn shrink(&mut self, count: usize) {
        while self.rows.len() > count {
            let Marks {
                announced,
                handed_out,
            } = self.marks;
            if !(self.merge_oldest(0..announced) || self.merge_oldest(handed_out..u64::MAX)) {
                return;
            }
        }
    }

    /// The rows to write; `None` for one to remove.
    pub(in super::super) fn changes(&self) -> impl Iterator<Item = (u64, Option<&Gap>)> {
        let gap = |number: &u64| self.rows.get(number).and_then(Option::as_ref);
        self.changed
            .iter()
            .map(move |number| (*number, gap(number)))
    }

    /// All gaps, but those that can't be read.
    pub(in super::super) fn readable(&self) -> Vec<(u64, Gap)> {
        let rows = self.rows.iter();
        rows.filter_map(|(number, gap)| Some((*number, gap.clone()?)))
            .collect()
    }

    fn next(&self) -> u64 {
        let behind = self.rows.last_key_value().map_or(0, |(last, _)| last + 1);
        behind.max(self.marks.handed_out).max(self.marks.announced)
    }

    /// Makes one of the oldest two of a lane, or removes one that can't be read. False when there
    /// is nothing of the kind.
    fn merge_oldest(&mut self, numbers: Range<u64>) -> bool {
        let mut oldest: Vec<(u64, &Gap)> = Vec::new();
        for (number, row) in self.rows.range(numbers) {
            let Some(row) = row else {
                return self.remove(*number);
            };
            let of_kind = oldest
                .iter()
                .find(|(_, other)| other.is_mergeable_with(row));
            if let Some((older, gap)) = of_kind {
                let (older, younger, merged) = (*older, *number, gap.merged(row));
                self.rows.insert(younger, Some(merged));
                self.changed.insert(younger);
                return self.remove(older);
            }
            oldest.push((*number, row));
        }
        false
    }

    fn remove(&mut self, number: u64) -> bool {
        self.changed.insert(number);
        self.rows.remove(&number).is_some()
    }
}

#[cfg(test)]
mod tests {
    use sync::{Lane, Offset, WallTime};

    use super::super::{Parts, Reason};
    use super::*;

    const NONE: Marks = Marks {
        announced: 0,
        handed_out: 0,
    };

    fn gap(lane: Lane, first: u64, reason: Reason) -> Gap {
        Gap {
            lane,
            first: Offset(first),
            last: Offset(first + 4),
            count: 5,
            bytes: 50,
            from: WallTime(first),
            to: WallTime(first + 1),
            reason,
            parts: Parts::default(),
        }
    }

    fn ledger(gaps: &[Gap], marks: Marks) -> Ledger {
        let rows = (0..).zip(gaps.iter().cloned().map(Some)).collect();
        Ledger::new(rows, marks)
    }

    fn rows(ledger: &Ledger) -> Vec<(u64, u64, u64)> {
        let rows = ledger.rows.iter();
        let row = |(number, gap): (&u64, &Option<Gap>)| {
            let gap = gap.as_ref().expect("readable");
            (*number, gap.first.0, gap.count)
        };
        rows.map(row).collect()
    }

    #[test]
    fn a_gap_that_goes_on_where_the_last_ends_becomes_one_with_it() {
        let mut ledger = ledger(&[], NONE);
        for (lane, first, reason) in [
            (Lane::Normal, 0, Reason::Limit),
            (Lane::Urgent, 5, Reason::Limit),
            (Lane::Normal, 5, Reason::Limit),
            // Another reason, and one with a hole before it.
            (Lane::Normal, 10, Reason::Age),
            (Lane::Normal, 20, Reason::Age),
            // Once more: the commit before reached the file all the same.
            (Lane::Normal, 5, Reason::Limit),
        ] {
            ledger.add(&gap(lane, first, reason));
        }
        let expected = [(0, 0, 10), (1, 5, 5), (2, 10, 5), (3, 20, 5)];
        assert_eq!(rows(&ledger), expected);
    }

    #[test]
    fn what_is_handed_out_or_announced_is_never_said_again() {
        let all: Vec<_> = (0..12)
            .map(|at| gap(Lane::Normal, at * 10, Reason::Limit))
            .collect();
        let marks = Marks {
            announced: 4,
            handed_out: 8,
        };
        let mut ledger = ledger(&all, marks);
        ledger.add(&gap(Lane::Normal, 115, Reason::Limit));
        assert_eq!(rows(&ledger)[11], (11, 110, 10));
        ledger.shrink(1);
        let count = |range: Range<u64>| {
            let of_range = rows(&ledger)
                .into_iter()
                .filter(move |(number, ..)| range.contains(number));
            (
                of_range.clone().count(),
                of_range.map(|(.., count)| count).sum::<u64>(),
            )
        };
        assert_eq!(
            count(0..4),
            (1, 20),
            "announced ones merge among themselves"
        );
        assert_eq!(count(4..8), (4, 20), "these are on their way");
        assert_eq!(count(8..99), (1, 25), "fresh ones merge among themselves");
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let marks = Marks {
            announced: 7,
            handed_out: 7,
        };
        let mut ledger = Ledger::new(BTreeMap::from([(2, None)]), marks);
        ledger.add(&gap(Lane::Normal, 0, Reason::Limit));
        ledger.shrink(1);
        assert_eq!(rows(&ledger), [(7, 0, 5)], "an unreadable one goes alone");
        let changes: Vec<_> = ledger
            .changes()
            .map(|(at, gap)| (at, gap.is_some()))
            .collect();
        assert_eq!(changes, [(2, false), (7, true)]);
    }
}
