//! A reader's position in one lane. MQTT sessions, consumer groups and the uplink are the same
//! type: redelivery, resume after a restart, flow control and retention all follow from it.
//!
//! The rule that everything rests on: every offset below the floor is settled (acknowledged, not
//! wanted, or written down as a gap), and `floor <= delivered <= high`.

use alloc::collections::BTreeSet;

use crate::Offset;

/// Where one reader stands in one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// The next offset to look at.
    delivered: Offset,
    /// Looked at up to here at some time; less than this after a rewind is looked at again.
    high: Offset,
    /// Delivered below `high` and not acknowledged.
    pending: BTreeSet<Offset>,
}

impl Cursor {
    /// Starts a reader that wants everything from `at` on.
    #[must_use]
    pub const fn starting_at(at: Offset) -> Self {
        Self {
            delivered: at,
            high: at,
            pending: BTreeSet::new(),
        }
    }

    /// Notes that the record at `offset` was handed to the reader. Everything between the last
    /// position and `offset` counts as not wanted.
    ///
    /// # Panics
    /// When `offset` lies before [`Cursor::delivered`].
    pub fn deliver(&mut self, offset: Offset) {
        assert!(offset >= self.delivered, "a cursor only moves forward");
        self.pending.insert(offset);
        self.skip_to(offset.next());
    }

    /// Notes that nothing below `offset` remains to be looked at. Never moves backwards.
    pub fn skip_to(&mut self, offset: Offset) {
        self.delivered = self.delivered.max(offset);
        self.high = self.high.max(self.delivered);
    }

    /// Settles a delivered record. False when it was not pending: a repeat, or never delivered.
    pub fn acknowledge(&mut self, offset: Offset) -> bool {
        self.pending.remove(&offset)
    }

    /// Goes back to the floor, so that what is pending is delivered again and nothing else is.
    pub fn rewind(&mut self) {
        self.delivered = self.ack_floor();
    }

    /// Goes back to `offset` and forgets all acknowledgements from there on: everything is wanted
    /// again. Does nothing when the cursor is not yet past it.
    pub fn replay_from(&mut self, offset: Offset) {
        if offset < self.high {
            self.pending.split_off(&offset);
            self.delivered = self.delivered.min(offset);
            self.high = offset;
        }
    }

    /// Passes a range that no longer exists: everything below `first` is settled. Returns how many
    /// offsets the reader had not settled; they are the reader's share of a gap.
    pub fn skip_gap(&mut self, first: Offset) -> u64 {
        let kept = self.pending.split_off(&first);
        let unsettled = self.pending.len() as u64 + first.0.saturating_sub(self.high.0);
        self.pending = kept;
        self.skip_to(first);
        unsettled
    }

    /// Whether the record at `offset` is still to be handed over: false for what was settled
    /// before a rewind.
    #[must_use]
    pub fn wants(&self, offset: Offset) -> bool {
        offset >= self.high || self.pending.contains(&offset)
    }

    /// The next offset to look at.
    #[must_use]
    pub const fn delivered(&self) -> Offset {
        self.delivered
    }

    /// Every offset below is settled and may be forgotten as far as this reader is concerned.
    #[must_use]
    pub fn ack_floor(&self) -> Offset {
        self.pending.first().copied().unwrap_or(self.high)
    }

    /// How many records are delivered and not acknowledged; the window bounds it.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Walks the delivered and not acknowledged records in order.
    pub fn pending(&self) -> impl Iterator<Item = Offset> {
        self.pending.iter().copied()
    }
}
