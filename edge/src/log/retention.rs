//! Which segments go, and what is written down before they do.
//!
//! A segment goes when everything in it is released. It goes although wanted when its lane is over
//! its bytes, or when its youngest record is over its age: then a gap says so, and is durable
//! before the file is removed. All lanes together have a limit as well: there the lowest lane that
//! has something to give gives way, and none whose new records are refused instead. Only whole
//! segments go, the oldest first, so a lane is always one range of offsets. What outlived earlier ones
//! (`log/kept.rs`) goes together with the next one, and what of both is the latest is kept again.

use std::sync::Arc;
use std::time::Duration;

use sync::{Lane, Offset, WallTime};

use super::directory::Directory;
use super::lane::{LaneFiles, Sealed};
use super::{Event, Gap, LogError, Overflow, Parts, Reason};

/// What a lane gives up.
#[derive(Debug)]
pub(super) struct Trim {
    pub(super) lane: Lane,
    /// The first offset that stays.
    pub(super) first: Offset,
    /// How many of the oldest sealed segments go.
    pub(super) count: usize,
    /// Bytes of those that were wanted.
    pub(super) bytes: u64,
    /// What of them was wanted.
    pub(super) gap: Option<Gap>,
    /// What outlives them, which begins with `first`.
    pub(super) kept: Option<Sealed>,
}

/// How old records are by a clock that may be set. Many devices start in 1970 and learn the time
/// when the link comes back: what they stored until then must not be too old all at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgeClock {
    wall: WallTime,
    /// The time before the last jump; what is not younger was stored by the old clock.
    before: WallTime,
    /// By how much the clock has jumped in all.
    jumped: u64,
}

impl AgeClock {
    /// Takes the time, at least every few seconds. A step over [`JUMP`] is the clock being set.
    /// Backwards needs no care: nothing ages by it.
    pub(super) fn tick(&mut self, wall: WallTime) {
        let step = wall.0.saturating_sub(self.wall.0);
        if self.wall.0 > 0 && u128::from(step) > JUMP.as_millis() {
            self.before = self.wall;
            self.jumped += step;
        }
        self.wall = wall;
    }

    fn age(&self, record: WallTime) -> Duration {
        let jumped = if record <= self.before {
            self.jumped
        } else {
            0
        };
        let age = self.wall.0.saturating_sub(record.0);
        Duration::from_millis(age.saturating_sub(jumped))
    }
}

/// What a plan depends on beside its lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) clock: &'a AgeClock,
    pub(super) ready: Ready,
    /// Bytes that all lanes together have over their limit.
    pub(super) excess: u64,
}

/// Which segments may go on account of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Any.
    All,
    /// Those that end no later than here, all of them together: it is known what outlives them.
    Together(Offset),
    /// None yet.
    None,
}

/// Looks for segments that go now. Seals the active one when it has to go as well.
pub(super) fn plan(
    files: &mut LaneFiles,
    directory: &Arc<dyn Directory>,
    given: Given<'_>,
    events: &mut Vec<Event>,
) -> Result<Option<Trim>, LogError> {
    if is_active_due(files, given) {
        files.seal(events)?;
    }
    let lane = files.lane;
    let (limits, floor, mut bytes) = (files.limits, files.floor, files.bytes());
    let mut is_giving_way = false;
    let mut trim: Option<Trim> = None;
    for (index, segment) in files.sealed.iter_mut().enumerate() {
        let (before, gone) = match &trim {
            Some(trim) => (trim.gap.as_ref(), trim.bytes),
            None => (None, 0),
        };
        let is_over = bytes > limits.max_bytes || given.excess > gone || is_giving_way;
        let is_ready = match given.ready {
            Ready::All => true,
            Ready::Together(next) => segment.next <= next && (before.is_none() || is_giving_way),
            Ready::None => false,
        };
        let reason = if segment.next <= floor {
            None
        } else if is_over && is_ready && limits.overflow == Overflow::DropOldest {
            Some(Reason::Limit)
        } else if let Some(age) = limits.max_age
            && let Some((_, youngest)) = segment.times(directory, lane)
            && given.clock.age(youngest) > age
        {
            Some(Reason::Age)
        } else {
            break;
        };
        bytes -= segment.bytes;
        let gap = reason.map(|reason| gap(segment, lane, floor, reason, directory));
        trim = Some(Trim {
            lane,
            first: segment.next,
            count: index + 1,
            bytes: match reason {
                Some(_) => gone + segment.bytes,
                None => gone,
            },
            gap: match (before, gap) {
                (Some(before), Some(gap)) => Some(before.merged(&gap)),
                (before, gap) => before.cloned().or(gap),
            },
            kept: None,
        });
        if let (Some(Reason::Limit), Ready::Together(next)) = (reason, given.ready) {
            is_giving_way = segment.next < next;
            if !is_giving_way {
                break;
            }
        }
    }
    Ok(trim)
}

/// Whether the active segment should be sealed so that it can go.
fn is_active_due(files: &LaneFiles, given: Given<'_>) -> bool {
    let Some(active) = &files.active else {
        return false;
    };
    let is_released = files.flushed <= files.floor;
    let is_worth_it = active.bytes >= files.segment_bytes / RELEASED_SHARE;
    let is_old = match (files.limits.max_age, active.times) {
        (Some(age), Some((_, youngest))) => active.bytes > 0 && given.clock.age(youngest) > age,
        _ => false,
    };
    // A lane with one segment gives way as well, before a more important one does.
    let gives_way = given.excess > 0
        && files.sealed.iter().all(|segment| segment.is_kept)
        && files.limits.overflow == Overflow::DropOldest;
    (is_released || gives_way) && is_worth_it || is_old
}

fn gap(
    segment: &mut Sealed,
    lane: Lane,
    floor: Offset,
    reason: Reason,
    directory: &Arc<dyn Directory>,
) -> Gap {
    let first = segment.first.max(floor);
    let count = segment.next.0 - first.0;
    let all = segment.next.0 - segment.first.0;
    let share = u128::from(segment.bytes) * u128::from(count) / u128::from(all.max(1));
    let (from, to) = segment.times(directory, lane).unwrap_or_default();
    Gap {
        lane,
        first,
        last: Offset(segment.next.0 - 1),
        count,
        bytes: share as u64,
        from,
        to,
        reason,
        parts: Parts::default(),
    }
}

/// An active segment that nobody wants any more is given back when it holds this part of a full
/// one: sooner would make new files all the time, later would keep the space for nothing.
const RELEASED_SHARE: u64 = 8;
/// No writer is held up for so long, whatever its disk does.
const JUMP: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const TODAY: u64 = 1_700_000_000_000;

    fn clock(ticks: &[u64]) -> AgeClock {
        let mut clock = AgeClock::default();
        ticks.iter().for_each(|wall| clock.tick(WallTime(*wall)));
        clock
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_old() {
        let table: &[(&[u64], u64, u64)] = &[
            // Nothing special.
            (&[TODAY, TODAY + 1000], TODAY, 1000),
            // The first time is taken as it is: the power was off for so long.
            (&[TODAY], TODAY - 50 * HOUR, 50 * HOUR),
            // From 1970: records of the old clock keep their age, others have their own.
            (&[5000, 7000, TODAY], 5000, 2000),
            (&[5000, 7000, TODAY], TODAY - HOUR, HOUR),
            (&[5000, 7000, TODAY, TODAY + 1000], TODAY, 1000),
            // Twice ahead, once back.
            (&[5000, TODAY, TODAY + 2 * HOUR], 5000, 0),
            (&[TODAY, TODAY - HOUR], TODAY, 0),
        ];
        for (ticks, record, age) in table {
            let found = clock(ticks).age(WallTime(*record));
            assert_eq!(found, Duration::from_millis(*age), "{ticks:?} {record}");
        }
    }
}
