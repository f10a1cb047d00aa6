//! The deliveries of a session in little room, and the count of what those of all sessions take.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use sync::{Lane, Offset};

use super::Source;
use crate::rare::Empty;

/// Bytes that the deliveries of all sessions take together.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tally(Rc<Cell<usize>>);

/// All deliveries of a session.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// By their names.
    pub(super) list: VecDeque<Entry>,
    /// What those have that are not found by lane and offset alone.
    pub(super) sources: BTreeMap<u16, Source>,
    /// Names of those in the log that are to be sent again on the present connection, by their
    /// places.
    pub(super) repeats: VecDeque<u16>,
    /// What sources and exchanges of QoS 2 take.
    pub(super) aside_bytes: usize,
    /// What of all this is in the tally.
    pub(super) counted_bytes: usize,
}

/// One unacknowledged delivery, small: there are as many as all windows together have room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// In the log; 0 elsewhere.
    pub(super) offset: Offset,
    pub(super) id: u16,
    pub(super) lane: Lane,
    pub(super) kind: Kind,
    pub(super) qos: u8,
    pub(super) is_sent: bool,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Where a delivery can be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Logged,
    Passing,
    Lost,
    /// Among the sources.
    Aside,
}

/// What an entry takes here, in the list of its cursor and in that of the view.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Offset>() + size_of::<u16>();
/// What an exchange of QoS 2 takes more: its step in the view and its note.
pub(super) const EXCHANGE_BYTES: usize = 224;
/// What a source takes, with its place in the tree.
const SOURCE_BYTES: usize = 128;
/// A list begins with room for so many, and keeps it until the session comes to rest.
const FIRST_ROOM: usize = 4;
/// A list of less room never gives any back while there is something in it.
pub(super) const KEPT_ROOM: usize = 16;

impl Tally {
    /// Bytes that all deliveries take now.
    pub(in super::super) fn bytes(&self) -> usize {
        self.0.get()
    }

    pub(super) fn exchange(&self, before: usize, now: usize) {
        self.0.set(self.0.get() + now - before);
    }
}

impl Empty for Entries {
    const EMPTY: &'static Self = &Self {
        list: VecDeque::new(),
        sources: BTreeMap::new(),
        repeats: VecDeque::new(),
        aside_bytes: 0,
        counted_bytes: 0,
    };

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Entries {
    pub(super) fn at(&self, id: u16) -> Option<usize> {
        if let Some(first) = self.list.front()
            && first.id == id
        {
            return Some(0);
        }
        self.list.binary_search_by_key(&id, |it| it.id).ok()
    }

    pub(super) fn get(&self, id: u16) -> Option<&Entry> {
        self.list.get(self.at(id)?)
    }

    pub(super) fn source(&self, entry: &Entry) -> Source {
        match entry.kind {
            Kind::Logged => Source::Logged(entry.lane, entry.offset),
            Kind::Passing => Source::Passing,
            Kind::Lost => Source::Lost,
            Kind::Aside => {
                let source = self.sources.get(&entry.id);
                source.cloned().unwrap_or(Source::Lost)
            }
        }
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        if self.list.len() == self.list.capacity() {
            self.list
                .reserve_exact((self.list.len() / 4).max(FIRST_ROOM));
        }
        let at = match self.list.back() {
            Some(last) if last.id >= entry.id => self.list.partition_point(|it| it.id < entry.id),
            Some(_) | None => self.list.len(),
        };
        self.list.insert(at, entry);
    }

    /// Gives back room that no longer serves anybody: what is at rest must not count for long.
    pub(super) fn give_back(&mut self) {
        let (count, room) = (self.list.len(), self.list.capacity());
        if count == 0 && room > FIRST_ROOM {
            self.list = VecDeque::new();
        } else if room > KEPT_ROOM && count * 4 <= room {
            self.list.shrink_to(room / 2);
        }
    }

    /// Where in the repeats a place is, or would be.
    pub(super) fn repeat_at(&self, lane: Lane, offset: Offset) -> Result<usize, usize> {
        let place = |id: &u16| {
            let entry = self.get(*id).expect("every repeat has an entry");
            (entry.lane, entry.offset)
        };
        self.repeats.binary_search_by_key(&(lane, offset), place)
    }

    pub(super) fn take_repeat(&mut self, lane: Lane, offset: Offset) -> Option<u16> {
        let at = self.repeat_at(lane, offset).ok()?;
        let id = self.repeats.remove(at);
        if self.repeats.is_empty() {
            self.repeats = VecDeque::new();
        }
        id
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.list.capacity() * ENTRY_BYTES + self.aside_bytes
    }
}

impl Source {
    /// What it takes beside its entry.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Logged(..) | Self::Passing | Self::Lost => 0,
            // What groups have lent is counted by who lends it.
            Self::Shared(..) | Self::Lent(..) => SOURCE_BYTES,
            Self::Kept { record, filter, .. } => {
                SOURCE_BYTES + record.as_bytes().len() + filter.len()
            }
        }
    }
}

/// What an exchange takes beside its entry.
pub(super) const fn exchange_bytes(qos: u8) -> usize {
    if qos > 1 { EXCHANGE_BYTES } else { 0 }
}
