//! Which segments of a lane count, where a cut has left some beside the file of what outlived them.
//!
//! The state says so. Where it is lost the youngest such file counts that is whole, as if the commit
//! had come for which it was made: what of the others is neither in it nor in a gap becomes one. So
//! it is all the same which of them were there still. One that is not whole counts where the others
//! do not reach as far back, and so are not all that it stands for.
//!
//! Without the state nothing goes before there is a new one, with these gaps.

use sync::{Lane, Offset};

use super::super::lane::Sealed;
use super::super::{Gap, LogError, Parts, Reason, gap, kept, segment};
use super::Recovery;
use super::found::missing;
use super::lanes::Known;

/// The segments of a lane that count.
#[derive(Default)]
pub(super) struct Settled {
    /// The first offset of each, in growing order.
    pub(super) firsts: Vec<Offset>,
    /// First offset and end of the file of what outlived others.
    pub(super) kept: Option<(Offset, Offset)>,
}

/// What the names say that a lane has.
struct Named {
    /// The first offset of each segment, in growing order.
    firsts: Vec<Offset>,
    /// The files of what outlived others, by their ends.
    kept: Vec<Sealed>,
}

impl Recovery {
    /// Takes what the state says that counts, and removes what a cut left beside it.
    pub(super) fn settle(&self, lane: Lane, known: Known) -> Result<Settled, LogError> {
        let Named { mut firsts, kept } = self.named(lane);
        let counts = |it: &&Sealed| it.next == known.kept_to;
        // A file whose making failed may end where the one does that was made after it.
        let exact = kept.iter().find(|it| counts(it) && it.first == known.first);
        let counting = exact.or_else(|| kept.iter().rfind(counts));
        for it in kept.iter().filter(|it| Some(*it) != counting) {
            self.remove(&it.name(lane))?;
        }
        for first in firsts.extract_if(.., |first| *first < known.kept_to) {
            self.remove(&segment::name(lane, first))?;
        }
        let kept = counting.map(|it| (it.first, it.next));
        Ok(Settled { firsts, kept })
    }

    /// Decides what counts where no state says so. What does not is noted to be removed, and what is
    /// lost with it and not written down is a gap.
    pub(super) fn settle_untold(
        &mut self,
        lane: Lane,
        written_down: &[Gap],
        gaps: &mut Vec<Gap>,
    ) -> Result<Settled, LogError> {
        let mut named = self.named(lane);
        let mut counting = None;
        while let Some(youngest) = named.kept.pop() {
            if self.may_count(lane, &youngest, &named)? {
                counting = Some(youngest);
                break;
            }
            self.leftover.push(youngest.name(lane));
        }
        let Some(counting) = counting else {
            let Named { firsts, .. } = named;
            return Ok(Settled { firsts, kept: None });
        };
        let others = named.before(counting.next);
        if !others.is_empty() {
            let going = self.only_in(lane, &others, &counting);
            gaps.extend(gap_of(lane, &going, written_down));
        }
        self.leftover.extend(others.iter().map(|it| it.name(lane)));
        named.firsts.retain(|first| *first >= counting.next);
        Ok(Settled {
            firsts: named.firsts,
            kept: Some((counting.first, counting.next)),
        })
    }

    fn named(&self, lane: Lane) -> Named {
        let named = self.names.iter().filter_map(|name| segment::parse(name));
        let (mut firsts, mut kept) = (Vec::new(), Vec::new());
        for named in named.filter(|named| named.lane == lane) {
            match named.kept_to {
                Some(next) => kept.push(Sealed::found(named.first, next, true)),
                None => firsts.push(named.first),
            }
        }
        firsts.sort_unstable();
        kept.sort_unstable_by_key(|it| (it.next, it.first));
        Named { firsts, kept }
    }

    /// Whether a file of what outlived others may be what is left of those that are there.
    fn may_count(&mut self, lane: Lane, kept: &Sealed, named: &Named) -> Result<bool, LogError> {
        let others = named.before(kept.next);
        let Some(lowest) = others.iter().map(|it| it.first).min() else {
            return Ok(true);
        };
        if let Some(last) = others.iter().rfind(|it| !it.is_kept) {
            let name = last.name(lane);
            match self.with_reserve(|it| it.look(&name, lane)) {
                // It was made before that.
                Ok(Some((_, last))) if last.next() > kept.next => return Ok(false),
                Err(error) if !error.is_unreadable() => return Err(error),
                _ => {}
            }
        }
        Ok(lowest > kept.first || kept::is_whole(&self.directory, lane, kept)?)
    }

    /// What files may have that another one has not.
    fn only_in(&self, lane: Lane, files: &[Sealed], other: &Sealed) -> Parts {
        let has = |it: &Sealed| {
            let mut has = Parts::of(it.first.0..=it.next.0 - 1);
            if it.is_kept {
                has.leave_out(&kept::voids(&self.directory, lane, it));
            }
            has
        };
        let mut only = Parts::union(files.iter().map(has));
        only.leave_out(&has(other));
        only
    }
}

impl Named {
    /// What begins before `next`, and ends there at the latest.
    fn before(&self, next: Offset) -> Vec<Sealed> {
        let firsts = self.firsts.iter().take_while(|first| **first < next);
        let ends = self.firsts.iter().skip(1).map(|end| next.min(*end));
        let segments = firsts.zip(ends.chain([next]));
        let segments = segments.map(|(first, end)| Sealed::found(*first, end, false));
        self.kept.iter().cloned().chain(segments).collect()
    }
}

/// Makes a gap of what is not counted yet.
fn gap_of(lane: Lane, going: &Parts, written_down: &[Gap]) -> Option<Gap> {
    let (first, last) = going.bounds()?;
    let mut others = Parts::of(first..=last);
    others.leave_out(going);
    let mut gap = missing(lane, Offset(first), Offset(last + 1), Reason::Limit)?;
    gap::leave_out_also(&mut gap, written_down, others).then_some(gap)
}
