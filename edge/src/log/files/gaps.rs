//! Gaps in the files: stored under numbers and copied, handed out to be announced.

use sync::PerLane;

use super::super::gap::copy::{self, Copy};
use super::super::gap::ledger::Ledger;
use super::super::state::{self, Facts};
use super::super::{Event, Gap, LogError};
use super::Files;

impl Files {
    /// Shows gaps to who announces them: a few, and the next when those are announced.
    pub(in super::super) fn hand_out_gaps(&mut self) {
        if !self.has_gaps_to_hand_out(self.marks.announced) {
            return;
        }
        // What can't be read now is tried again with the next gap.
        self.has_fresh_gaps = false;
        let gaps = state::gaps(&self.state).unwrap_or_default().into_iter();
        let fresh = gaps.filter(|(number, _)| *number >= self.marks.announced);
        let gaps: Vec<_> = fresh.take(HANDED_OUT).collect();
        if let Some((last, _)) = gaps.last() {
            self.marks.handed_out = last + 1;
            self.events.push(Event::Gaps { gaps });
        }
    }

    /// Whether there may be gaps to hand out, when all below a number were announced.
    pub(in super::super) fn has_gaps_to_hand_out(&self, announced: u64) -> bool {
        let is_waiting = self.marks.handed_out > announced;
        let has_fresh = self.has_fresh_gaps || announced > self.marks.announced;
        self.settings.announces_gaps && has_fresh && !is_waiting
    }

    /// All gaps that are written down, or are handed over to be. What can't be read at the moment may
    /// be counted twice.
    pub(super) fn known_gaps(&self) -> Vec<Gap> {
        let stored = state::gaps(&self.state).unwrap_or_default();
        let stored = stored.into_iter().map(|(_, gap)| gap);
        stored.chain(self.gaps.iter().cloned()).collect()
    }

    /// Adds gaps to those of the state, if anything is new of them, and counts the change.
    pub(super) fn change_gaps(
        &self,
        gaps: &[Gap],
        facts: &mut Facts,
    ) -> Result<Option<Ledger>, LogError> {
        let is_same = gaps.is_empty() && facts.announced == self.facts.announced;
        if is_same && !self.is_copy_old && !copy::is_missing(self.directory.as_ref()) {
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
}

/// Gaps that are announced at a time.
const HANDED_OUT: usize = 16;
