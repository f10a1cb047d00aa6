//! What a log was told and has answered, and what may have become of it since.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use edge::log::{Batch, Committed, Event, Reader};
use sync::{Change, Lane, PerLane, Record, Table};

/// Every value that a key ever had; `None` where it had none.
pub(crate) type Values = Vec<Option<Vec<u8>>>;
pub(crate) type Place = (Table, Vec<u8>);

/// What may be at an offset.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// Acknowledged, or found by a start.
    Stored(Record),
    /// One of these, or nothing: nobody was told that it is stored.
    Unsettled(Rc<[Record]>),
}

/// What a log must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) lanes: PerLane<Vec<Slot>>,
    /// What is below may be gone.
    pub(crate) first: PerLane<u64>,
    /// What is below is in segments.
    pub(crate) flushed: PerLane<u64>,
    /// What is below is not wanted any more.
    pub(crate) floors: PerLane<u64>,
    pub(crate) history: BTreeMap<Place, Values>,
    /// Since the last success: one of them may be there all the same.
    pub(crate) refused: Vec<Batch>,
    /// All records that anybody wanted to store: damage may bring any of them to light.
    pub(crate) ever: BTreeSet<(Lane, Vec<u8>)>,
    /// Records that somebody has said are not taken: those that a group was committed after, and
    /// those of this run of the program that none was.
    pub(crate) rejected: BTreeSet<(Lane, u64)>,
    pub(crate) fresh_rejected: BTreeSet<(Lane, u64)>,
    /// Of others it is not known whether that is durable.
    pub(crate) maybe_rejected: BTreeSet<(Lane, u64)>,
    /// Lanes that have a limit.
    pub(crate) is_limited: PerLane<bool>,
    pub(crate) keeps_latest: bool,
    pub(crate) harm: Harm,
}

/// What damage there was, and what it may have taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    /// Between how many ends and starts.
    pub(crate) times: u32,
    /// From the first offset to before the second.
    pub(crate) lost: PerLane<Vec<(u64, u64)>>,
    /// Last segments: it is not known yet where they end.
    pub(crate) unended: PerLane<Vec<u64>>,
    pub(crate) journal: bool,
    pub(crate) state: bool,
    pub(crate) mail: bool,
}

impl Books {
    /// Takes what was acknowledged.
    pub(crate) fn acknowledge(&mut self, batch: &Batch, committed: &Committed) {
        for (lane, first) in committed.first.iter() {
            assert_eq!(first.0, self.next(lane), "{lane}: the offset of a commit");
        }
        for change in &batch.changes {
            if let Change::Append { lane, record } = change {
                self.lanes[*lane].push(Slot::Stored(record.clone()));
            }
        }
        self.give_up_refused();
        self.take_rows(batch);
        self.rejected.append(&mut self.fresh_rejected);
    }

    /// Follows what the log tells of itself.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Trimmed { lane, first, .. } => self.begin_at(*lane, first.0),
            Event::Flushed { lane, up_to } => {
                self.flushed[*lane] = self.flushed[*lane].max(up_to.0)
            }
            Event::Thinned { lane, first, next } => {
                let is_sound = *first < *next && next.0 <= self.flushed[*lane];
                assert!(is_sound, "{lane}: {first} to {next} can't be left");
            }
            _ => {}
        }
    }

    /// Takes what readers see of groups that were refused.
    pub(crate) fn bring_to_light(&mut self, reader: &Reader) {
        for lane in Lane::ALL {
            self.extend(lane, reader.head(lane).0);
        }
    }

    /// Takes a new end of a lane: what is new may be of refused groups.
    pub(crate) fn extend(&mut self, lane: Lane, head: u64) {
        let more = head.saturating_sub(self.next(lane));
        if more == 0 {
            return;
        }
        let refused = self
            .refused
            .iter()
            .flat_map(|batch| records_of(batch, lane));
        let candidates: Rc<[Record]> = refused.collect();
        let is_known = more <= candidates.len() as u64 || self.harm.times > 0;
        assert!(is_known, "{lane}: {more} records of nobody's");
        let slots = (0..more).map(|_| Slot::Unsettled(Rc::clone(&candidates)));
        self.lanes[lane].extend(slots);
    }

    /// Takes a new beginning of a lane.
    pub(crate) fn begin_at(&mut self, lane: Lane, first: u64) {
        for at in self.first[lane]..first {
            assert!(self.may_go(lane, at), "{lane} {at}: gone while wanted");
        }
        self.first[lane] = self.first[lane].max(first);
    }

    pub(crate) fn next(&self, lane: Lane) -> u64 {
        self.lanes[lane].len() as u64
    }

    /// Whether a record may be served at an offset: the one that was stored there, or one that
    /// somebody wanted to store in the lane, where damage was, or behind what was known, if damage
    /// was anywhere: a frame of a refused group stays in the journal until it is written over, and
    /// a log that has lost its state cannot know how old it is.
    pub(crate) fn may_be(&self, lane: Lane, at: u64, record: &Record) -> bool {
        let (is_right, is_open) = match self.lanes[lane].get(at as usize) {
            Some(Slot::Stored(stored)) => (stored == record, false),
            Some(Slot::Unsettled(candidates)) => {
                (candidates.contains(record), self.harm.times > 0)
            }
            None => (false, false),
        };
        let is_anybodys = is_open || self.may_be_lost(lane, at);
        is_right || is_anybodys && self.ever.contains(&(lane, record_bytes(record)))
    }

    /// Whether what is wanted and in segments may have been made thinner.
    pub(crate) fn may_be_thinned(&self, lane: Lane, at: u64) -> bool {
        self.keeps_latest && self.is_limited[lane] && at < self.flushed[lane]
    }

    /// Takes what was refused for what is not there, as far as nothing is damaged.
    pub(crate) fn give_up_refused(&mut self) {
        for batch in std::mem::take(&mut self.refused) {
            for (place, value) in rows_of(&batch) {
                // It may be there, and is not the last.
                let values = self.history.entry(place).or_insert_with(|| vec![None]);
                let at = values.len() - 1;
                values.insert(at, value);
            }
        }
    }

    /// Whether damage may have taken what is at an offset.
    pub(crate) fn may_be_lost(&self, lane: Lane, at: u64) -> bool {
        let lost = &self.harm.lost[lane];
        let is_unended = self.harm.unended[lane].iter().any(|first| *first <= at);
        is_unended
            || lost
                .iter()
                .any(|(first, next)| (*first..*next).contains(&at))
    }

    fn may_go(&self, lane: Lane, at: u64) -> bool {
        let is_stored = self.lanes[lane].get(at as usize).and_then(Slot::stored);
        let is_wanted = at >= self.floors[lane] && !self.is_limited[lane];
        !is_wanted || is_stored.is_none() || self.may_be_lost(lane, at)
    }

    /// What keys have last, with a group that was refused or without.
    pub(crate) fn rows(&self, refused: Option<&Batch>) -> BTreeMap<Place, Vec<u8>> {
        let last = self.history.iter().filter_map(|(place, values)| {
            let value = values.last().cloned().flatten();
            Some((place.clone(), value?))
        });
        let mut rows: BTreeMap<Place, Vec<u8>> = last.collect();
        for (place, value) in refused.into_iter().flat_map(rows_of) {
            match value {
                Some(value) => rows.insert(place, value),
                None => rows.remove(&place),
            };
        }
        rows
    }

    /// Notes what is about to be stored.
    pub(crate) fn ask(&mut self, batch: &Batch) {
        for lane in Lane::ALL {
            let records = records_of(batch, lane);
            self.ever
                .extend(records.map(|it| (lane, record_bytes(&it))));
        }
    }

    pub(crate) fn take_rows(&mut self, batch: &Batch) {
        for (place, value) in rows_of(batch) {
            let values = self.history.entry(place).or_insert_with(|| vec![None]);
            values.push(value);
        }
    }
}

impl Slot {
    pub(crate) fn stored(&self) -> Option<&Record> {
        match self {
            Self::Stored(record) => Some(record),
            Self::Unsettled(_) => None,
        }
    }
}

fn record_bytes(record: &Record) -> Vec<u8> {
    record.as_bytes().to_vec()
}

pub(crate) fn records_of(batch: &Batch, of: Lane) -> impl Iterator<Item = Record> {
    batch.changes.iter().filter_map(move |change| match change {
        Change::Append { lane, record } if *lane == of => Some(record.clone()),
        _ => None,
    })
}

/// The changes of tables, but for what the log keeps for itself.
pub(crate) fn rows_of(batch: &Batch) -> impl Iterator<Item = (Place, Option<Vec<u8>>)> {
    let rows = batch
        .changes
        .iter()
        .filter_map(|change| match change.clone() {
            Change::Put { table, key, value } => Some(((table, key), Some(value))),
            Change::Delete { table, key } => Some(((table, key), None)),
            Change::Append { .. } => None,
        });
    rows.filter(|((table, _), _)| *table != Table::Meta)
}
