//! A reader's position in one lane. MQTT sessions, consumer groups and the uplink are the same
//! type: redelivery, resume after a restart, flow control and retention all follow from it.
//!
//! The rule that everything rests on: every offset below the floor is settled (acknowledged, not
//! wanted, or written down as a gap), and everything pending lies below the highest position ever
//! delivered. The floor never lies above that position; only after a rewind, when records below
//! are settled before they are handed over again, may it lie above the next one to look at.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::Offset;

/// Where one reader stands in one lane. As CBOR, by serde or [`Cursor::encode`]:
/// `[1, delivered, high, [pending, ...]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Cursor {
    /// The next offset to look at.
    delivered: Offset,
    /// Looked at up to here at some time; less than this after a rewind is looked at again.
    high: Offset,
    /// Delivered below `high` and not acknowledged.
    pending: Pending,
}

/// There are many readers, and most have nothing pending: in the room of a pointer, without memory
/// until the first delivery. In growing order, eight bytes each, with at most a quarter more room
/// than what was pending at once.
#[expect(
    clippy::box_collection,
    reason = "the list alone takes the room of four pointers"
)]
#[derive(Clone, Debug, Default)]
struct Pending(Option<Box<VecDeque<Offset>>>);

/// A list with less room than this never gives any back while there is something in it.
const KEPT_ROOM: usize = 16;

impl Cursor {
    /// Starts a reader that wants everything from `at` on.
    #[must_use]
    pub const fn starting_at(at: Offset) -> Self {
        Self {
            delivered: at,
            high: at,
            pending: Pending(None),
        }
    }

    /// Reads a cursor that [`Cursor::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or break the rule of this module.
    pub fn decode(bytes: &[u8]) -> Result<Self, CursorError> {
        let stored: Stored = ciborium::from_reader(bytes).map_err(|_| CursorError::Malformed)?;
        Self::try_from(stored)
    }

    /// Notes that the record at `offset` was handed to the reader. Everything between the last
    /// position and `offset` counts as not wanted.
    ///
    /// # Panics
    /// When `offset` lies before [`Cursor::delivered`].
    pub fn deliver(&mut self, offset: Offset) {
        assert!(offset >= self.delivered, "a cursor only moves forward");
        debug_assert!(self.wants(offset), "what is settled is not delivered again");
        self.skip_to(offset);
        self.pending.insert(offset);
        self.delivered = offset.next();
        self.high = self.high.max(self.delivered);
    }

    /// Notes that nothing below `offset` remains to be looked at: what is passed over is settled,
    /// also what was pending there before a rewind and is no longer wanted. Never moves backwards.
    pub fn skip_to(&mut self, offset: Offset) {
        if offset <= self.delivered {
            return;
        }
        // Only after a rewind does anything pending lie ahead.
        if self.delivered < self.high {
            self.pending.remove(self.delivered, offset);
        }
        self.delivered = offset;
        self.high = self.high.max(offset);
    }

    /// Settles a delivered record. False when it was not pending: a repeat, or never delivered.
    pub fn acknowledge(&mut self, offset: Offset) -> bool {
        let Some(pending) = &mut self.pending.0 else {
            return false;
        };
        let is_first = pending.front() == Some(&offset);
        let found = match is_first {
            true => pending.pop_front(),
            false => {
                let found = pending.binary_search(&offset).ok();
                found.and_then(|at| pending.remove(at))
            }
        };
        if pending.capacity() > KEPT_ROOM && pending.len() * 4 <= pending.capacity() {
            pending.shrink_to(pending.capacity() / 2);
        }
        found.is_some()
    }

    /// Gives back memory that nothing pending needs. For readers that come to rest; one that is busy
    /// takes it again with the next record.
    pub fn let_go(&mut self) {
        self.pending.0.take_if(|pending| pending.is_empty());
        if let Some(pending) = &mut self.pending.0
            && pending.capacity() > KEPT_ROOM
        {
            pending.shrink_to(pending.len() + pending.len() / 4);
        }
    }

    /// Goes back to the floor, so that what is pending is delivered again and nothing else is.
    pub fn rewind(&mut self) {
        self.delivered = self.ack_floor();
    }

    /// Goes back to `offset`, so that what is pending from there on is delivered again and nothing
    /// else is. Does nothing when the cursor is not yet past it.
    pub fn rewind_to(&mut self, offset: Offset) {
        self.delivered = self.delivered.min(offset);
    }

    /// Goes back to `offset` and forgets all acknowledgements from there on: everything is wanted
    /// again. Does nothing when the cursor is not yet past it.
    pub fn replay_from(&mut self, offset: Offset) {
        if offset < self.high {
            self.pending.remove(offset, self.high);
            self.delivered = self.delivered.min(offset);
            self.high = offset;
        }
    }

    /// Passes a range that no longer exists: everything below `first` is settled. Returns how many
    /// offsets the reader had not settled; they are the reader's share of a gap.
    pub fn skip_gap(&mut self, first: Offset) -> u64 {
        let before = self.pending.len();
        self.pending.remove(Offset(0), first);
        let passed = (before - self.pending.len()) as u64;
        let unsettled = passed + first.0.saturating_sub(self.high.0);
        self.skip_to(first);
        unsettled
    }

    /// Copies the cursor as it would stand without the acknowledgements and deliveries beyond its
    /// first `pending_count` pending offsets: smaller to store, and behind the truth, never ahead.
    #[must_use]
    pub fn shortened_to(&self, pending_count: usize) -> Self {
        let mut short = self.clone();
        if let Some(cut) = self.pending.iter().nth(pending_count) {
            short.replay_from(*cut);
        }
        short
    }

    /// Writes the cursor as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("a vector takes every byte");
        bytes
    }

    /// Whether the record at `offset` is still to be handed over: false for what was settled
    /// before a rewind.
    #[must_use]
    pub fn wants(&self, offset: Offset) -> bool {
        offset >= self.high || self.pending.binary_search(&offset).is_ok()
    }

    /// The next offset to look at.
    #[must_use]
    pub const fn delivered(&self) -> Offset {
        self.delivered
    }

    /// The highest position ever reached: nothing from here on was handed over.
    #[must_use]
    pub const fn high(&self) -> Offset {
        self.high
    }

    /// Every offset below is settled and may be forgotten as far as this reader is concerned.
    #[must_use]
    pub fn ack_floor(&self) -> Offset {
        self.pending.front().copied().unwrap_or(self.high)
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

impl Pending {
    /// Holds what is pending, without memory for nothing.
    fn of(offsets: VecDeque<Offset>) -> Self {
        Self((!offsets.is_empty()).then(|| Box::new(offsets)))
    }

    fn insert(&mut self, offset: Offset) {
        let pending = self.0.get_or_insert_default();
        let at = match pending.back() {
            Some(last) if *last >= offset => pending.partition_point(|it| *it < offset),
            Some(_) | None => pending.len(),
        };
        if pending.get(at) == Some(&offset) {
            return;
        }
        if pending.len() == pending.capacity() {
            pending.reserve_exact((pending.len() / 4).max(4));
        }
        pending.insert(at, offset);
    }

    /// Takes out everything from `first` on that is below `end`.
    fn remove(&mut self, first: Offset, end: Offset) {
        if let Some(pending) = &mut self.0 {
            let first = pending.partition_point(|it| *it < first);
            let end = pending.partition_point(|it| *it < end);
            pending.drain(first..end.max(first));
        }
    }
}

impl Deref for Pending {
    type Target = VecDeque<Offset>;

    fn deref(&self) -> &VecDeque<Offset> {
        static NOTHING: VecDeque<Offset> = VecDeque::new();
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Pending {}

/// Why bytes are not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CursorError {
    /// Not CBOR of the known shape.
    Malformed,
    /// Written by another version.
    Version {
        /// The version it names.
        found: u8,
    },
    /// Positions that no cursor can reach.
    Positions {
        /// The next offset to look at, as it claims.
        delivered: Offset,
        /// The highest position, as it claims.
        high: Offset,
    },
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("value is not a cursor"),
            Self::Version { found } => write!(f, "cursor version {found} is not the known 1"),
            Self::Positions { delivered, high } => write!(
                f,
                "cursor at {delivered} of {high} has a position above its highest"
            ),
        }
    }
}

impl core::error::Error for CursorError {}

type Stored = (u8, Offset, Offset, Vec<Offset>);

const VERSION: u8 = 1;

impl From<Cursor> for Stored {
    fn from(cursor: Cursor) -> Self {
        let pending = cursor.pending().collect();
        (VERSION, cursor.delivered, cursor.high, pending)
    }
}

impl TryFrom<Stored> for Cursor {
    type Error = CursorError;

    fn try_from((version, delivered, high, pending): Stored) -> Result<Self, CursorError> {
        if version != VERSION {
            return Err(CursorError::Version { found: version });
        }
        let mut pending = pending;
        pending.sort_unstable();
        pending.dedup();
        let cursor = Self {
            delivered,
            high,
            pending: Pending::of(pending.into()),
        };
        let is_below_high = cursor.pending.back().is_none_or(|last| *last < high);
        if !is_below_high || delivered > high {
            return Err(CursorError::Positions { delivered, high });
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stored_form_never_changes() {
        let mut cursor = Cursor::starting_at(Offset(5));
        for offset in [5, 6, 300] {
            cursor.deliver(Offset(offset));
        }
        cursor.acknowledge(Offset(5));
        let golden = [
            0x84, 1, 0x19, 0x01, 0x2d, 0x19, 0x01, 0x2d, 0x82, 6, 0x19, 0x01, 0x2c,
        ];
        assert_eq!(cursor.encode(), golden);
        assert_eq!(Cursor::decode(&golden), Ok(cursor));
    }

    #[test]
    fn stored_forms_that_break_the_rules_are_refused() {
        assert_eq!(Cursor::decode(b"\xff"), Err(CursorError::Malformed));
        assert_eq!(Cursor::decode(&[]), Err(CursorError::Malformed));
        let decode = |stored: Stored| {
            let mut bytes = Vec::new();
            ciborium::into_writer(&stored, &mut bytes).unwrap();
            Cursor::decode(&bytes)
        };
        let version = decode((2, Offset(0), Offset(0), Vec::new()));
        assert_eq!(version, Err(CursorError::Version { found: 2 }));
        for (delivered, high, pending) in [(9, 8, None), (8, 8, Some(8))] {
            let (delivered, high) = (Offset(delivered), Offset(high));
            let pending = pending.map(Offset).into_iter().collect();
            let found = decode((1, delivered, high, pending));
            assert_eq!(found, Err(CursorError::Positions { delivered, high }));
        }
    }

    #[test]
    fn what_a_rewound_reader_passes_over_no_longer_holds_the_floor() {
        let mut cursor = Cursor::starting_at(Offset(0));
        for offset in 0..10 {
            cursor.deliver(Offset(offset));
        }
        cursor.rewind();
        cursor.deliver(Offset(4));
        cursor.skip_to(Offset(8));
        assert_eq!(cursor.pending().collect::<Vec<_>>(), [4, 8, 9].map(Offset));
        cursor.acknowledge(Offset(4));
        assert_eq!(cursor.ack_floor(), Offset(8));
    }

    #[test]
    fn a_shortened_cursor_is_behind_and_never_ahead() {
        let mut cursor = Cursor::starting_at(Offset(0));
        for offset in 0..10 {
            cursor.deliver(Offset(offset));
        }
        for offset in [1, 3, 8] {
            cursor.acknowledge(Offset(offset));
        }
        let short = cursor.shortened_to(2);
        assert_eq!(short.pending().collect::<Vec<_>>(), [0, 2].map(Offset));
        assert_eq!((short.delivered(), short.high), (Offset(4), Offset(4)));
        assert_eq!(cursor.shortened_to(7), cursor);
    }

    #[test]
    fn a_cursor_at_rest_takes_no_memory_beside_itself() {
        let mut cursor = Cursor::starting_at(Offset(5));
        cursor.let_go();
        assert!(cursor.pending.0.is_none() && size_of::<Cursor>() == 24);
        cursor.deliver(Offset(5));
        cursor.let_go();
        assert_eq!(cursor.pending_count(), 1);
        cursor.acknowledge(Offset(5));
        let busy = cursor.clone();
        cursor.let_go();
        assert!(busy.pending.0.is_some() && cursor.pending.0.is_none());
        assert_eq!(cursor, busy);
    }

    /// The slow truth: what became of each offset.
    #[derive(Clone, Default)]
    struct Model {
        at: u64,
        high: u64,
        fate: BTreeMap<u64, Fate>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fate {
        Pending,
        Settled,
    }

    impl Model {
        fn set(&mut self, range: core::ops::Range<u64>, fate: Fate) {
            self.fate.extend(range.map(|offset| (offset, fate)));
        }

        fn skip_to(&mut self, to: u64) {
            if to > self.at {
                self.set(self.at..to, Fate::Settled);
                self.at = to;
                self.high = self.high.max(to);
            }
        }

        fn floor(&self) -> u64 {
            (0..)
                .find(|at| self.fate.get(at) != Some(&Fate::Settled))
                .unwrap()
        }

        fn pending(&self) -> Vec<Offset> {
            let pending = self.fate.iter().filter(|(_, fate)| **fate == Fate::Pending);
            pending.map(|(offset, _)| Offset(*offset)).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Deliver(u64),
        Skip(u64),
        Acknowledge(u64),
        Rewind,
        RewindTo(u64),
        Gap(u64),
        Replay(u64),
        Restore,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0_u64..4).prop_map(Step::Deliver),
            2 => (0_u64..6).prop_map(Step::Skip),
            8 => (0_u64..80).prop_map(Step::Acknowledge),
            1 => Just(Step::Rewind),
            1 => (0_u64..80).prop_map(Step::RewindTo),
            1 => (0_u64..80).prop_map(Step::Gap),
            1 => (0_u64..80).prop_map(Step::Replay),
            1 => Just(Step::Restore),
        ]
    }

    fn take(step: &Step, cursor: &mut Cursor, model: &mut Model) {
        match *step {
            Step::Deliver(ahead) => {
                let wanted = |at: &u64| model.fate.get(at) != Some(&Fate::Settled);
                let offset = (model.at + ahead..).find(wanted).unwrap();
                cursor.deliver(Offset(offset));
                model.skip_to(offset);
                model.set(offset..offset + 1, Fate::Pending);
                model.at = offset + 1;
                model.high = model.high.max(model.at);
            }
            Step::Skip(ahead) => {
                cursor.skip_to(Offset(model.at + ahead));
                model.skip_to(model.at + ahead);
            }
            Step::Acknowledge(offset) => {
                let was_pending = model.fate.get(&offset) == Some(&Fate::Pending);
                assert_eq!(cursor.acknowledge(Offset(offset)), was_pending);
                if was_pending {
                    model.set(offset..offset + 1, Fate::Settled);
                }
            }
            Step::Rewind => {
                cursor.rewind();
                model.at = model.floor();
            }
            Step::RewindTo(offset) => {
                cursor.rewind_to(Offset(offset));
                model.at = model.at.min(offset);
            }
            Step::Gap(first) => {
                let unsettled = |at: &u64| model.fate.get(at) != Some(&Fate::Settled);
                let expected = (0..first).filter(unsettled).count() as u64;
                assert_eq!(cursor.skip_gap(Offset(first)), expected);
                model.set(0..first, Fate::Settled);
                model.at = model.at.max(first);
                model.high = model.high.max(model.at);
            }
            Step::Replay(from) => {
                cursor.replay_from(Offset(from));
                if from < model.high {
                    model.fate.split_off(&from);
                    model.at = model.at.min(from);
                    model.high = from;
                }
            }
            Step::Restore => *cursor = Cursor::decode(&cursor.encode()).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_fates(steps in prop::collection::vec(step(), 0..80)) {
            let (mut cursor, mut model) = (Cursor::starting_at(Offset(0)), Model::default());
            for step in steps {
                take(&step, &mut cursor, &mut model);
                prop_assert_eq!(cursor.delivered(), Offset(model.at));
                prop_assert_eq!(cursor.high, Offset(model.high));
                prop_assert_eq!(cursor.ack_floor(), Offset(model.floor()));
                prop_assert_eq!(cursor.pending().collect::<Vec<_>>(), model.pending());
                prop_assert!(cursor.ack_floor() <= cursor.high);
                for offset in 0..100 {
                    let settled = model.fate.get(&offset) == Some(&Fate::Settled);
                    prop_assert_eq!(cursor.wants(Offset(offset)), !settled);
                }
            }
        }
    }
}
