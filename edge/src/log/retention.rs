//! Which segments go, and what is written down before they do.
//!
//! A segment goes when everything in it is released. It goes although wanted when its lane is over
//! its bytes, or when its youngest record is over its age: then a gap says so, and is durable
//! before the file is removed. Only whole segments go, the oldest first, so a lane is always one
//! range of offsets.

use std::sync::Arc;

use sync::{Lane, Offset, WallTime};

use super::directory::Directory;
use super::lane::{LaneFiles, Sealed};
use super::{Event, Gap, LogError, Overflow, Reason};

/// What a lane gives up.
#[derive(Debug)]
pub(super) struct Trim {
    pub(super) lane: Lane,
    /// The first offset that stays.
    pub(super) first: Offset,
    /// How many of the oldest sealed segments go.
    pub(super) count: usize,
    /// What of them was wanted.
    pub(super) gap: Option<Gap>,
}

/// Looks for segments that go now. Seals the active one when it has to go as well.
pub(super) fn plan(
    files: &mut LaneFiles,
    directory: &Arc<dyn Directory>,
    wall: WallTime,
    events: &mut Vec<Event>,
) -> Result<Option<Trim>, LogError> {
    if is_active_due(files, wall) {
        files.seal(events)?;
    }
    let lane = files.lane;
    let (limits, floor, mut bytes) = (files.limits, files.floor, files.bytes());
    let mut trim: Option<Trim> = None;
    for (index, segment) in files.sealed.iter_mut().enumerate() {
        let reason = if segment.next <= floor {
            None
        } else if bytes > limits.max_bytes && limits.overflow == Overflow::DropOldest {
            Some(Reason::Limit)
        } else if let Some(age) = limits.max_age
            && let Some((_, youngest)) = segment.times(directory, lane)
            && is_over(youngest, age, wall)
        {
            Some(Reason::Age)
        } else {
            break;
        };
        bytes -= segment.bytes;
        let gap = reason.map(|reason| gap(segment, lane, floor, reason, directory));
        let before = trim.take().and_then(|trim| trim.gap);
        trim = Some(Trim {
            lane,
            first: segment.next,
            count: index + 1,
            gap: match (before, gap) {
                (Some(before), Some(gap)) => Some(before.merged(&gap)),
                (before, gap) => before.or(gap),
            },
        });
    }
    Ok(trim)
}

/// Whether the active segment should be sealed so that it can go.
fn is_active_due(files: &LaneFiles, wall: WallTime) -> bool {
    let Some(active) = &files.active else {
        return false;
    };
    let is_released = files.flushed <= files.floor;
    let is_worth_it = active.bytes >= files.segment_bytes / RELEASED_SHARE;
    let is_old = match (files.limits.max_age, active.times) {
        (Some(age), Some((_, youngest))) => active.bytes > 0 && is_over(youngest, age, wall),
        _ => false,
    };
    is_released && is_worth_it || is_old
}

fn is_over(youngest: WallTime, age: std::time::Duration, wall: WallTime) -> bool {
    u128::from(wall.0.saturating_sub(youngest.0)) > age.as_millis()
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
    }
}

/// An active segment that nobody wants any more is given back when it holds this part of a full
/// one: sooner would make new files all the time, later would keep the space for nothing.
const RELEASED_SHARE: u64 = 8;
