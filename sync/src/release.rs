//! The second mark of a lane. The ack floor says what the cloud has acknowledged; the release
//! floor follows it a hold time later and says what retention may drop. In between lie the records
//! that can be sent again when the cloud turns out to have lost them.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::{Instant, Offset};

/// Lets the floor of one lane through, late.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    hold: Duration,
    /// Where the floor stood and when, oldest first. Coarse: a mark each 64th of the hold time.
    marks: VecDeque<(Instant, Offset)>,
    released: Offset,
}

impl Release {
    /// Starts with everything below `released` let through already.
    pub(crate) const fn new(hold: Duration, released: Offset) -> Self {
        Self {
            hold,
            marks: VecDeque::new(),
            released,
        }
    }

    /// Notes where the floor stands and lets through what was held long enough.
    pub(crate) fn advance(&mut self, now: Instant, floor: Offset) {
        if floor > self.newest() && self.next_mark().is_none_or(|due| now >= due) {
            self.marks.push_back((now, floor));
        }
        while let Some((marked, floor)) = self.marks.front().copied() {
            if marked + self.hold > now {
                break;
            }
            self.released = floor;
            self.marks.pop_front();
        }
        assert!(self.marks.len() <= MARKS + 2, "marks are a 64th apart");
    }

    /// Goes back with a floor that went back.
    pub(crate) fn lower_to(&mut self, floor: Offset) {
        self.released = self.released.min(floor);
        for (_, marked) in &mut self.marks {
            *marked = floor.min(*marked);
        }
    }

    /// Everything below may be dropped.
    pub(crate) const fn released(&self) -> Offset {
        self.released
    }

    /// When [`Release::advance`] has something to do again, if the floor stays where it is.
    pub(crate) fn next_due(&self, floor: Offset) -> Option<Instant> {
        let held = self.marks.front().map(|(marked, _)| *marked + self.hold);
        let unmarked = if floor > self.newest() {
            self.next_mark()
        } else {
            None
        };
        [held, unmarked].into_iter().flatten().min()
    }

    fn newest(&self) -> Offset {
        self.marks.back().map_or(self.released, |(_, floor)| *floor)
    }

    fn next_mark(&self) -> Option<Instant> {
        let (marked, _) = self.marks.back()?;
        Some(*marked + self.hold / MARKS as u32)
    }
}

const MARKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_floor_is_released_after_the_hold_and_not_before() {
        let mut release = Release::new(Duration::from_secs(120), Offset(0));
        release.advance(at(1), Offset(10));
        assert_eq!(release.next_due(Offset(10)), Some(at(121)));
        release.advance(at(120), Offset(10));
        assert_eq!(release.released(), Offset(0));
        release.advance(at(121), Offset(10));
        assert_eq!(release.released(), Offset(10));
        assert_eq!(release.next_due(Offset(10)), None);
    }

    #[test]
    fn no_hold_releases_at_once() {
        let mut release = Release::new(Duration::ZERO, Offset(0));
        release.advance(at(1), Offset(10));
        assert_eq!(release.released(), Offset(10));
        release.advance(at(1), Offset(11));
        assert_eq!(release.released(), Offset(11));
    }

    #[test]
    fn marks_stay_few_while_the_floor_runs_and_the_last_is_released_too() {
        let hold = Duration::from_secs(64);
        let mut release = Release::new(hold, Offset(0));
        for tenth in 0..10_000 {
            let now = Instant::from_micros(tenth * 100_000);
            release.advance(now, Offset(tenth));
            let age = 9_999_u64.min(tenth).saturating_sub(release.released().0);
            assert!(tenth < 700 || (640..=660).contains(&age), "{tenth} {age}");
        }
        let floor = Offset(9_999);
        while let Some(due) = release.next_due(floor) {
            release.advance(due, floor);
        }
        assert_eq!(release.released(), floor);
    }

    #[test]
    fn a_floor_that_goes_back_takes_the_release_along() {
        let mut release = Release::new(Duration::from_secs(10), Offset(0));
        release.advance(at(0), Offset(10));
        release.advance(at(5), Offset(20));
        release.lower_to(Offset(5));
        release.advance(at(20), Offset(5));
        assert_eq!(release.released(), Offset(5));
    }
}
