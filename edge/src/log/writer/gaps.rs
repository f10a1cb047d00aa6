//! Gaps on their way: noted, made durable, stored under numbers, handed out to be announced.

use sync::{PerLane, WallTime};

use super::super::gap::copy::{self, Copy};
use super::super::gap::ledger::{Ledger, Marks};
use super::super::lane::Active;
use super::super::state::Facts;
use super::super::{Batch, Event, Gap, LogError, Reason, frame, gap, recovery, state};
use super::Writer;

impl Writer {
    /// Shows gaps to who announces them: a few, and the next when those are announced.
    pub(super) fn hand_out_gaps(&mut self) {
        let Marks {
            announced,
            handed_out,
        } = self.marks;
        let is_waiting = handed_out > announced;
        if !(self.settings.announces_gaps && self.has_fresh_gaps) || is_waiting {
            return;
        }
        // What can't be read now is tried again with the next gap.
        self.has_fresh_gaps = false;
        let gaps = state::gaps(&self.state).unwrap_or_default().into_iter();
        let fresh = gaps.filter(|(number, _)| *number >= announced);
        let gaps: Vec<_> = fresh.take(HANDED_OUT).collect();
        if let Some((last, _)) = gaps.last() {
            self.marks.handed_out = last + 1;
            self.events.push(Event::Gaps { gaps });
        }
    }

    /// Writes down a gap that a reader found or the cloud made. Durable no later than the next
    /// batch that is committed, so that no cursor is ever stored that has passed a gap unseen.
    /// Beyond 64 gaps between two commits those of a lane become one. What other gaps count
    /// already is left out: a reader finds the same damage again after every start. Says whether
    /// anything of it is news.
    pub fn note_gap(&mut self, mut gap: Gap) -> bool {
        if !gap::leave_out(&mut gap, &self.known_gaps()) {
            return false;
        }
        let files = &mut self.lanes[gap.lane];
        let is_active = |active: &Active| active.first <= gap.last;
        if gap.reason == Reason::Damage && files.active.as_ref().is_some_and(is_active) {
            // Nothing more goes into a damaged file. What can't be closed goes all the same.
            let _ = files.seal(&mut self.events);
        }
        if gap.reason == Reason::Mail {
            // Damage is seldom alone, and no other start looks at all of the mail.
            recovery::distrust(self.directory.as_ref());
        }
        self.waiting_bytes += GAP_BYTES;
        gap::add(&mut self.noted, gap, NOTED_GAPS);
        true
    }

    /// All gaps that are written down or will be. What can't be read at the moment may be counted
    /// twice.
    pub(super) fn known_gaps(&self) -> Vec<Gap> {
        let stored = state::gaps(&self.state).unwrap_or_default();
        let stored = stored.into_iter().map(|(_, gap)| gap);
        let waiting = self.gaps.iter().chain(&self.noted).cloned();
        stored.chain(waiting).collect()
    }

    /// All gaps with lower numbers were announced.
    #[must_use]
    pub const fn announced_below(&self) -> u64 {
        self.marks.announced
    }

    /// Adds gaps to those of the state, if anything is new of them, and counts the change.
    pub(super) fn change_gaps(
        &self,
        gaps: &[Gap],
        facts: &mut Facts,
    ) -> Result<Option<Ledger>, LogError> {
        let is_same = gaps.is_empty() && facts.announced == self.facts.announced;
        if is_same && !copy::is_missing(self.directory.as_ref()) {
            return Ok(None);
        }
        let mut ledger = state::ledger(&self.state, self.marks)?;
        gaps.iter().for_each(|gap| ledger.add(gap));
        ledger.shrink(self.settings.gap_count);
        facts.gaps += 1;
        Ok(Some(ledger))
    }

    /// Writes all gaps down a second time, as the state has them now.
    pub(in super::super) fn copy_gaps(
        &self,
        ledger: &Ledger,
        facts: &Facts,
    ) -> Result<(), LogError> {
        let copy = Copy::new(facts.gaps, facts.announced, ledger.readable());
        copy.write(self.directory.as_ref())
    }

    /// Takes the gaps of a new state from their copy. Gives what to write down where that is no use.
    pub(super) fn bring_gaps_back(&mut self) -> Result<Vec<Gap>, LogError> {
        match Copy::read(self.directory.as_ref())? {
            Some(copy) if copy.change >= self.facts.gaps => {
                state::restore_gaps(&self.state, &mut self.facts, &copy)?;
                Ok(Vec::new())
            }
            _ => Ok(Gap::forgotten(PerLane::from_fn(|lane| {
                self.lanes[lane].next()
            }))),
        }
    }

    pub(super) fn commit_noted(&mut self, wall: WallTime) -> Result<(), LogError> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            changes: self.noted.iter().map(Gap::to_change).collect(),
        };
        self.make_room(frame::padded_bytes(&batch), wall)?;
        if self.noted.is_empty() {
            // Making room was a flush, which took them along.
            return Ok(());
        }
        let first = PerLane::from_fn(|lane| self.lanes[lane].next());
        self.journal.write(&batch, wall, first)?;
        self.gaps.append(&mut self.noted);
        self.unseen_since.get_or_insert(wall);
        Ok(())
    }

    /// Whether a gap has waited so long to be seen that it is worth a flush: one a second at most,
    /// however many there are.
    pub(super) fn shows_gaps_late(&self, wall: WallTime) -> bool {
        self.unseen_since
            .is_some_and(|since| wall.0 < since.0 || wall.0 - since.0 >= GAP_MILLISECONDS)
    }
}

/// After a gap was noted, before a flush makes it visible.
const GAP_MILLISECONDS: u64 = 1000;
/// Gaps that wait for the next commit: together they fit the smallest journal many times.
const NOTED_GAPS: usize = 64;
/// Gaps that are announced at a time.
const HANDED_OUT: usize = 16;
/// About what a gap takes in the state.
const GAP_BYTES: usize = 128;
