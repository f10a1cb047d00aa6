//! Gaps on their way: noted, and made durable.

use sync::WallTime;

use super::super::files::Files;
use super::super::{Batch, Gap, LogError, Reason, frame, gap, recovery, state};
use super::Writer;

impl Writer {
    /// Writes down a gap that a reader found or the cloud made. Durable no later than the next
    /// batch that is committed, so that no cursor is ever stored that has passed a gap unseen.
    /// Beyond 64 gaps between two commits those of a lane become one. What other gaps count
    /// already is left out: a reader finds the same damage again after every start. Says whether
    /// anything of it is news.
    pub fn note_gap(&mut self, mut gap: Gap) -> bool {
        if !gap::leave_out(&mut gap, &self.known_gaps()) {
            return false;
        }
        if gap.reason == Reason::Mail {
            // Damage is seldom alone, and no other start looks at all of the mail.
            recovery::distrust(self.directory.as_ref());
        }
        gap::add(&mut self.noted, gap, NOTED_GAPS);
        true
    }

    /// All gaps with lower numbers were announced.
    #[must_use]
    pub const fn announced_below(&self) -> u64 {
        self.announced
    }

    /// All gaps that are written down or will be. What can't be read at the moment may be counted
    /// twice.
    pub(super) fn known_gaps(&self) -> Vec<Gap> {
        let stored = state::gaps(&self.state).unwrap_or_default();
        let stored = stored.into_iter().map(|(_, gap)| gap);
        let handed_over = self.files.as_ref().map_or(&self.lent_gaps, |it| &it.gaps);
        let waiting = handed_over.iter().chain(&self.fresh.gaps);
        stored.chain(waiting.chain(&self.noted).cloned()).collect()
    }

    pub(super) fn commit_noted(&mut self, wall: WallTime) -> Result<(), LogError> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let batch = self.noted_batch();
        self.make_room(frame::padded_bytes(&batch), wall)?;
        self.journal.write(&batch, wall, self.next)?;
        self.fresh.bytes += self.noted.len() * GAP_BYTES;
        self.fresh.gaps.append(&mut self.noted);
        self.fresh.unseen_since.get_or_insert(wall);
        Ok(())
    }

    /// Whether a batch has room behind the frame of the gaps that goes first.
    pub(super) fn has_room_behind_noted(&self, bytes: u64) -> bool {
        let noted = match self.noted.is_empty() {
            true => 0,
            false => frame::padded_bytes(&self.noted_batch()),
        };
        !self.journal.is_failed() && self.journal.has_room_for_both(noted, bytes)
    }

    fn noted_batch(&self) -> Batch {
        Batch {
            changes: self.noted.iter().map(Gap::to_change).collect(),
        }
    }

    /// Whether a gap has waited so long to be seen that it is worth a flush: one a second at most,
    /// however many there are.
    pub(super) fn shows_gaps_late(&self, files: &Files, wall: WallTime) -> bool {
        let since = files.unseen_since.or(self.fresh.unseen_since);
        since.is_some_and(|since| wall.0 < since.0 || wall.0 - since.0 >= GAP_MILLISECONDS)
    }
}

/// After a gap was noted, before a flush makes it visible.
const GAP_MILLISECONDS: u64 = 1000;
/// Gaps that wait for the next commit: together they fit the smallest journal many times.
const NOTED_GAPS: usize = 64;
/// About what a gap takes in the state.
const GAP_BYTES: usize = 128;
