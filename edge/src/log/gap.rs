//! Gaps: what was dropped although somebody still wanted it.
//!
//! A gap is stored in [`Table::Gaps`] as CBOR, a map with text keys, under a
//! growing number (`u64`, big-endian). It is durable before the records go. In the journal it is a
//! put into that table with an empty key; it has its number only when it is flushed.
//!
//! Who announces gaps to the cloud is handed a few at a time ([`Event::Gaps`](super::Event::Gaps)),
//! and commits [`announced`] together with what it says of them, so that each is said exactly once.
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format, 1 |
//! | `lane` | `critical`, `urgent` or `normal` |
//! | `first`, `last` | the offsets, both inclusive |
//! | `count` | records dropped; 0 when nobody can tell |
//! | `bytes` | bytes dropped, an estimate where a segment was wanted in part |
//! | `from`, `to` | milliseconds: no record of it is older or younger; both 0 when unknown |
//! | `reason` | `limit`, `age`, `damage`, `torn`, `rejected`, `toolarge`, `mail`, `unread`, `forgotten` or `several` |
//! | `parts` | pairs of offsets: which are counted; absent when all from `first` to `last` are |
//!
//! A gap with the reason `mail` is of messages in mailboxes, not of a lane's records: `lane` is
//! their priority, `normal` where nobody can tell, and `first` and `last` are no offsets but
//! fingerprints of their keys, so that a message that is found damaged by every start is counted
//! once. One with the reason `unread` is of messages whose time ended in their mailboxes before every
//! group had acknowledged them: each has a number, of which none comes twice, and comes with the
//! commit that removes them. Such gaps and those of records are never merged and never hide one
//! another. Neither does one with the reason `forgotten`: both homes of the gaps (`state.redb` and
//! `log/gap/copy.rs`) are damaged, or a frame of the journal that may have held some, and what gaps
//! there were of a lane nobody can tell.
//!
//! A row whose numbers contradict one another is read as one without a count or a place.

pub(super) mod copy;
pub(super) mod ledger;
mod parts;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sync::{Change, Lane, Offset, PerLane, Table, WallTime};

pub use self::parts::Parts;

/// A range of a lane that was dropped while wanted. Acknowledged is delivered plus gaps, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Gap {
    /// The lane.
    pub lane: Lane,
    /// The first dropped offset.
    pub first: Offset,
    /// The last dropped offset.
    pub last: Offset,
    /// How many records were dropped; less than the range holds when gaps were merged, and 0 when
    /// nobody can tell.
    pub count: u64,
    /// How many bytes were dropped; an estimate where a segment was wanted in part.
    pub bytes: u64,
    /// No dropped record is older; 0 when unknown.
    pub from: WallTime,
    /// No dropped record is younger; 0 when unknown.
    pub to: WallTime,
    /// Why.
    pub reason: Reason,
    /// Which offsets are counted, as far as anybody can say; empty when all between the ends are.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub parts: Parts,
}

/// Why records were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// The lane was over its bytes.
    Limit,
    /// The records were over their age.
    Age,
    /// The file could not be read.
    Damage,
    /// The last group before a power cut is not whole: it was being written, and nobody was told
    /// that it is stored, or it was damaged since.
    Torn,
    /// The cloud never takes the record.
    Rejected,
    /// The record is larger than the cloud takes.
    TooLarge,
    /// Messages in mailboxes are damaged.
    Mail,
    /// Messages ended before everybody who reads their mailboxes had acknowledged them.
    Unread,
    /// Earlier gaps of the lane are lost themselves.
    Forgotten,
    /// Merged from gaps with different reasons.
    Several,
}

impl Gap {
    /// Makes a gap of messages in mailboxes, known again by a key: a message's, or the name of the
    /// file that held them.
    #[must_use]
    pub fn of_mail(lane: Lane, key: &[u8], count: u64) -> Self {
        let place = Offset(fingerprint(Table::Mail, key));
        Self {
            lane,
            first: place,
            last: place,
            count,
            bytes: 0,
            from: WallTime(0),
            to: WallTime(0),
            reason: Reason::Mail,
            parts: Parts::default(),
        }
    }

    /// Says of each lane that had something that its gaps are lost.
    pub(super) fn forgotten(heads: PerLane<Offset>) -> Vec<Self> {
        let lanes = heads.iter().filter(|(_, head)| **head > Offset(0));
        let gap = |(lane, head): (Lane, &Offset)| Self {
            lane,
            first: Offset(0),
            last: Offset(head.0 - 1),
            count: 0,
            bytes: 0,
            from: WallTime(0),
            to: WallTime(0),
            reason: Reason::Forgotten,
            parts: Parts::default(),
        };
        lanes.map(gap).collect()
    }

    /// Whether another gap is of things of the same kind: records of the same lane, or messages of
    /// the same priority and fate.
    fn is_like(&self, other: &Self) -> bool {
        (self.lane, self.kind()) == (other.lane, other.kind())
    }

    /// Whether it is of messages in mailboxes, and not of a lane's records.
    #[must_use]
    pub fn is_of_mail(&self) -> bool {
        matches!(self.reason, Reason::Mail | Reason::Unread)
    }

    /// Whether an offset is certainly one of those that it counts, or that nobody can count.
    #[must_use]
    pub fn has(&self, offset: Offset) -> bool {
        self.is_of_records() && self.places().contains(offset.0)
    }

    /// Whether its offsets are those of a lane's records that are gone.
    pub(super) fn is_of_records(&self) -> bool {
        self.kind().is_none()
    }

    /// What it is of; `None` for a lane's records.
    fn kind(&self) -> Option<Reason> {
        let others = [Reason::Mail, Reason::Unread, Reason::Forgotten];
        others.into_iter().find(|it| *it == self.reason)
    }

    /// Writes the gap as it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            v: FORMAT,
            gap: self.clone(),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&stored, &mut bytes).expect("a vector takes every byte");
        bytes
    }

    /// Reads a stored gap; `None` for what no known version wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = ciborium::from_reader(bytes).ok()?;
        (stored.v == FORMAT).then_some(stored.gap)
    }

    /// Writes the gap for others than this program, with the keys above but `v`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and words of our own: nothing to escape.
        format!(
            "{{\"lane\":\"{}\",\"first\":{},\"last\":{},\"count\":{},\"bytes\":{},\
             \"from\":{},\"to\":{},\"reason\":\"{}\"}}",
            self.lane,
            self.first,
            self.last,
            self.count,
            self.bytes,
            self.from.0,
            self.to.0,
            self.reason
        )
    }

    /// Makes the change that stands for the gap in the journal.
    #[must_use]
    pub(crate) fn to_change(&self) -> Change {
        Change::Put {
            table: Table::Gaps,
            key: Vec::new(),
            value: self.encode(),
        }
    }

    /// Takes a stored gap for what it can be. One whose numbers contradict one another says of no
    /// place and no number any more than that something is gone.
    fn credible(self) -> Self {
        let Self { first, last, .. } = self;
        let is_possible = first <= last && last.0.max(self.count) < MOST;
        if is_possible && self.parts.are_within(first.0..=last.0) {
            return self;
        }
        let place = Offset(first.0.min(MOST - 1));
        Self {
            first: place,
            last: place,
            count: 0,
            bytes: 0,
            parts: Parts::default(),
            ..self
        }
    }

    /// Whether every offset of it is a record that was dropped.
    fn is_whole(&self) -> bool {
        self.count == self.last.0 - self.first.0 + 1
    }

    /// Whether all that is known of another one's places is in this one.
    fn covers(&self, other: &Self) -> bool {
        let mut rest = other.places();
        let is_placed = !rest.is_empty();
        rest.leave_out(&self.places());
        self.is_like(other) && is_placed && rest.is_empty()
    }

    /// Whether two gaps of a lane can be one without anything being lost of what they say.
    fn is_continued_by(&self, later: &Self) -> bool {
        self.last.next() == later.first
            && self.reason == later.reason
            && self.is_whole()
            && later.is_whole()
    }

    /// Whether two gaps may be one: not a counted one with one that nobody can count.
    fn is_mergeable_with(&self, other: &Self) -> bool {
        self.is_like(other) && (self.count == 0) == (other.count == 0)
    }

    /// The offsets that are certainly in it. Where the count is unknown so is every part of it.
    fn places(&self) -> Parts {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        let is_placed = self.count == 0 || self.is_whole() || self.first == self.last;
        match is_placed {
            true => Parts::of(self.first.0..=self.last.0),
            false => Parts::default(),
        }
    }

    /// Says which offsets are in it, and keeps what of that its ends do not say.
    fn set_places(&mut self, mut places: Parts) {
        places.shorten();
        self.parts = Parts::default();
        if self.places() != places {
            self.parts = places;
        }
    }

    /// Takes out offsets of a gap that has them. False when nothing is left of it.
    pub(super) fn leave_out(&mut self, others: &Parts) -> bool {
        let before = self.places();
        let mut left = before.clone();
        left.leave_out(others);
        if left == before {
            return true;
        }
        if self.count == 0 {
            return !left.is_empty();
        }
        let found = before.count() - left.count();
        let is_all = left.is_empty() && self.is_of_mail();
        let count = if is_all {
            0
        } else {
            self.count.saturating_sub(found)
        };
        self.bytes = (u128::from(self.bytes) * u128::from(count) / u128::from(self.count)) as u64;
        self.count = count;
        if count == left.count()
            && let Some((first, last)) = left.bounds()
        {
            (self.first, self.last) = (Offset(first), Offset(last));
        }
        self.set_places(left);
        count > 0
    }

    /// Makes one gap of two of the same lane.
    pub(super) fn merged(&self, later: &Self) -> Self {
        assert!(
            self.is_mergeable_with(later),
            "only gaps of a kind become one"
        );
        let mut places = self.places();
        places.join(&later.places());
        let mut merged = Self {
            lane: self.lane,
            first: self.first.min(later.first),
            last: self.last.max(later.last),
            count: self.count.saturating_add(later.count),
            bytes: self.bytes.saturating_add(later.bytes),
            from: self.from.min(later.from),
            to: self.to.max(later.to),
            reason: if self.reason == later.reason {
                self.reason
            } else {
                Reason::Several
            },
            parts: Parts::default(),
        };
        merged.set_places(places);
        merged
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Gap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer).map(Self::credible)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lane, first, last, ..
        } = self;
        match (self.reason, self.count) {
            (Reason::Mail, 0) => write!(f, "all messages in mailboxes are lost"),
            (Reason::Mail, count) => {
                write!(
                    f,
                    "{count} messages of priority {lane} are damaged in their mailboxes"
                )
            }
            (Reason::Unread, count) => {
                write!(
                    f,
                    "{count} messages of priority {lane} ended before they were read"
                )
            }
            (Reason::Forgotten, _) => {
                write!(
                    f,
                    "lane {lane}: earlier gaps may be lost, whatever they were"
                )
            }
            (_, 0) => write!(
                f,
                "lane {lane}: what was stored from {first} on, if anything, is lost"
            ),
            (Reason::Torn, count) => write!(
                f,
                "lane {lane}: {count} records, {first} to {last}, are not whole: the power went \
                 while they were written, or they were damaged since"
            ),
            (reason, count) => {
                write!(
                    f,
                    "lane {lane}: {count} records, {first} to {last}, are gone: {reason}"
                )
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "limit",
            Self::Age => "age",
            Self::Damage => "damage",
            Self::Torn => "torn",
            Self::Rejected => "rejected",
            Self::TooLarge => "toolarge",
            Self::Mail => "mail",
            Self::Unread => "unread",
            Self::Forgotten => "forgotten",
            Self::Several => "several",
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    #[serde(flatten)]
    gap: Gap,
}

/// Takes out of a gap what `known` ones count already; false when nothing is left of it.
pub(super) fn leave_out(gap: &mut Gap, known: &[Gap]) -> bool {
    leave_out_also(gap, known, Parts::default())
}

/// Takes out of a gap what `known` ones count already, and `others`; false when nothing is left of
/// it. What is taken out at once is exact, whatever is kept of the places afterwards.
pub(super) fn leave_out_also(gap: &mut Gap, known: &[Gap], others: Parts) -> bool {
    if known.contains(gap) {
        return false;
    }
    // Whoever finds a message damaged may not know its priority.
    let is_damaged_mail = |it: &Gap| it.reason == Reason::Mail;
    let is_alike = |it: &&Gap| it.is_like(gap) || is_damaged_mail(it) && is_damaged_mail(gap);
    let places = known.iter().filter(is_alike).map(Gap::places);
    let places = Parts::union(places.chain([others]));
    gap.leave_out(&places)
}

/// Adds a gap; at `limit` it becomes one with the youngest of its lane.
pub(super) fn add(gaps: &mut Vec<Gap>, gap: Gap, limit: usize) {
    let is_full = gaps.len() >= limit;
    let mut youngest = gaps.iter_mut().rev();
    let youngest = youngest.find(|known| known.is_mergeable_with(&gap));
    match youngest {
        Some(known) if is_full => *known = known.merged(&gap),
        _ => gaps.push(gap),
    }
}

/// The same with what of a gap none of the others counts already.
pub(crate) fn add_news(gaps: &mut Vec<Gap>, mut gap: Gap, limit: usize) {
    if leave_out(&mut gap, gaps) {
        add(gaps, gap, limit);
    }
}

/// Makes a number of a key that tells it from others (FNV-1a), with which a range may end.
pub(super) fn fingerprint(table: Table, key: &[u8]) -> u64 {
    let bytes = [&[table as u8], key].concat();
    let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
        (mixed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed >> 1
}

/// Reads a gap's number from its key.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// The change that says that all gaps below a number were announced. It goes into the batch that
/// holds what was said of them.
#[must_use]
pub fn announced(below: u64) -> Change {
    Change::Put {
        table: Table::Meta,
        key: ANNOUNCED.to_vec(),
        value: below.to_be_bytes().to_vec(),
    }
}

/// Reads what [`announced`] says; `None` for every other change.
pub(super) fn announced_by(change: &Change) -> Option<u64> {
    match change {
        Change::Put {
            table: Table::Meta,
            key,
            value,
        } if key == ANNOUNCED => number(value),
        _ => None,
    }
}

const ANNOUNCED: &[u8] = b"announced";
const FORMAT: u8 = 1;
/// No offset and no count is as high in the life of a machine, and no fingerprint by its making.
const MOST: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    fn gap(lane: Lane, first: u64, reason: Reason) -> Gap {
        Gap {
            lane,
            first: Offset(first),
            last: Offset(first + 4),
            count: 5,
            bytes: 50,
            from: WallTime(first),
            to: WallTime(first + 1),
            reason,
            parts: Parts::default(),
        }
    }

    #[test]
    fn bytes_of_a_gap_never_change() {
        let gap = gap(Lane::Urgent, 10, Reason::Limit);
        let golden = b"\xbfav\x01dlanefurgentefirst\x0adlast\x0eecount\x05ebytes\x18\x32\
            dfrom\x0abto\x0bfreasonelimit\xff";
        assert_eq!(gap.encode(), golden);
        assert_eq!(Gap::decode(golden), Some(gap));
    }

    #[test]
    fn bytes_of_a_gap_in_parts_never_change() {
        let parts =
            gap(Lane::Urgent, 10, Reason::Limit).merged(&gap(Lane::Urgent, 20, Reason::Limit));
        let golden = b"\xbfav\x01dlanefurgentefirst\x0adlast\x18\x18ecount\x0aebytes\x18\x64\
            dfrom\x0abto\x15freasonelimiteparts\x82\x82\x0a\x0e\x82\x14\x18\x18\xff";
        assert_eq!(parts.encode(), golden);
        assert_eq!(Gap::decode(golden), Some(parts));
    }

    /// A row with the right checksum was believed whatever it said: two of them had more records
    /// together than a number holds, or a place that ends before it begins.
    #[test]
    fn a_row_whose_numbers_contradict_one_another_says_that_something_is_gone_and_no_more() {
        let sane = gap(Lane::Normal, 10, Reason::Limit);
        let with = |change: fn(&mut Gap)| {
            let mut absurd = sane.clone();
            change(&mut absurd);
            absurd
        };
        for absurd in [
            with(|it| it.last = Offset(9)),
            with(|it| it.count = u64::MAX),
            with(|it| (it.first, it.last) = (Offset(u64::MAX), Offset(u64::MAX))),
            with(|it| (it.first, it.last, it.count) = (Offset(0), Offset(u64::MAX), u64::MAX)),
            with(|it| it.parts = Parts::of(11..=20)),
            with(|it| it.parts = Parts::of(RangeInclusive::new(13, 12))),
        ] {
            let read = Gap::decode(&absurd.encode()).expect("it is a gap");
            assert_eq!((read.count, read.first), (0, read.last), "{absurd:?}");
            assert_eq!(read.merged(&read).count, 0);
            // What is lost around it is counted all the same.
            let mut news = gap(Lane::Normal, 8, Reason::Damage);
            assert!(leave_out(&mut news, &[read]), "{absurd:?}");
            assert!(news.count >= 4, "{absurd:?}");
        }
        let mut full = sane.clone();
        (full.count, full.bytes) = (MOST - 1, u64::MAX);
        let full = Gap::decode(&full.encode()).expect("it is a gap");
        let merged = full.merged(&full).merged(&full);
        assert_eq!((merged.count, merged.bytes), (u64::MAX, u64::MAX));
    }

    /// A merged gap said that as many of a later one as it counts were known, wherever they were:
    /// what was lost between two rejected records was never counted.
    #[test]
    fn what_lies_between_the_parts_of_a_gap_is_counted() {
        let apart = [10, 30].map(|first| gap(Lane::Normal, first, Reason::Rejected));
        let known = [apart[0].merged(&apart[1])];
        for (first, left) in [
            (15, Some(5)),
            (12, Some(2)),
            (28, Some(2)),
            (30, None),
            (34, Some(4)),
        ] {
            let mut news = gap(Lane::Normal, first, Reason::Damage);
            let is_left = leave_out(&mut news, &known);
            assert_eq!(is_left.then_some(news.count), left, "{first}");
        }
        // And what is left is known exactly, when the same is found again.
        let mut all = gap(Lane::Normal, 0, Reason::Limit);
        (all.last, all.count, all.bytes) = (Offset(49), 50, 500);
        let mut news = all.clone();
        assert!(leave_out(&mut news, &known));
        assert_eq!(
            (news.first, news.last, news.count, news.bytes),
            (Offset(0), Offset(49), 40, 400)
        );
        assert!(!leave_out(&mut all, &[known[0].clone(), news]));
    }

    /// It took the square of their number: minutes, which this test does not have.
    #[test]
    fn as_many_gaps_as_are_kept_are_left_out_of_one_at_once() {
        let rejected = |at: u64| Gap {
            last: Offset(at),
            count: 1,
            ..gap(Lane::Normal, at, Reason::Rejected)
        };
        let row = |row: u64| {
            let parts = (1..64).map(|part| rejected(row * 1000 + 2 * part));
            parts.fold(rejected(row * 1000), |row, part| row.merged(&part))
        };
        let known: Vec<Gap> = (0..1024).map(row).collect();
        let mut all = gap(Lane::Normal, 0, Reason::Limit);
        (all.last, all.count) = (Offset(1024 * 1000 - 1), 1024 * 1000);
        assert!(leave_out(&mut all, &known));
        assert_eq!(all.count, 1024 * (1000 - 64));
    }

    #[test]
    fn a_damaged_message_is_not_hidden_by_two_whose_fingerprints_lie_around_its_own() {
        let damaged = |place: u64| {
            let mut gap = Gap::of_mail(Lane::Normal, b"", 1);
            (gap.first, gap.last) = (Offset(place), Offset(place));
            gap
        };
        let known = [damaged(1000).merged(&damaged(9000))];
        assert!(leave_out(&mut damaged(5000), &known));
        assert!(!leave_out(&mut damaged(9000), &known));
    }

    #[test]
    fn what_nobody_can_count_stays_apart_from_what_is_counted() {
        let mut unknown = gap(Lane::Normal, 50, Reason::Damage);
        unknown.count = 0;
        let mut gaps = vec![gap(Lane::Normal, 10, Reason::Damage)];
        add(&mut gaps, unknown, 1);
        assert_eq!(gaps.iter().map(|it| it.count).collect::<Vec<_>>(), [5, 0]);
    }

    #[test]
    fn others_read_a_gap_as_json() {
        let expected = r#"{"lane":"urgent","first":10,"last":14,"count":5,"bytes":50,"from":10,"to":11,"reason":"limit"}"#;
        assert_eq!(gap(Lane::Urgent, 10, Reason::Limit).to_json(), expected);
    }

    #[test]
    fn adding_at_the_limit_loses_no_count() {
        let mut gaps = Vec::new();
        for first in 0..100 {
            let lane = if first % 2 == 0 {
                Lane::Urgent
            } else {
                Lane::Normal
            };
            add(&mut gaps, gap(lane, first * 10, Reason::Rejected), 6);
        }
        assert_eq!(gaps.len(), 6);
        assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), 500);
        assert_eq!((gaps[4].first, gaps[4].last), (Offset(40), Offset(984)));
    }

    #[test]
    fn mail_that_ended_unread_hides_no_record_and_no_damage_and_is_hidden_by_none() {
        let reasons = [Reason::Limit, Reason::Mail, Reason::Unread];
        for reason in reasons {
            let others = reasons.into_iter().filter(|it| *it != reason);
            let others: Vec<Gap> = others.map(|it| gap(Lane::Urgent, 10, it)).collect();
            let mut news = gap(Lane::Urgent, 10, reason);
            assert!(leave_out(&mut news, &others) && news.count == 5, "{reason}");
            assert!(others.iter().all(|it| !it.is_like(&news)), "{reason}");
        }
        let first = gap(Lane::Normal, 10, Reason::Unread);
        let next = gap(Lane::Normal, 15, Reason::Unread);
        assert!(first.is_continued_by(&next) && first.is_of_mail());
        assert_eq!(
            first.merged(&next).to_string(),
            "10 messages of priority normal ended before they were read"
        );
    }

    #[test]
    fn what_is_counted_already_is_left_out() {
        let mut unknown = gap(Lane::Urgent, 10, Reason::Damage);
        unknown.count = 0;
        let known = gap(Lane::Urgent, 10, Reason::Limit);
        for (known, first, left) in [
            (vec![], 10, Some(5)),
            (vec![known.clone()], 10, None),
            (vec![known.clone()], 12, Some(2)),
            (
                vec![known.clone(), gap(Lane::Urgent, 15, Reason::Age)],
                12,
                None,
            ),
            (vec![known.clone()], 15, Some(5)),
            (vec![gap(Lane::Normal, 10, Reason::Limit)], 10, Some(5)),
            (vec![unknown], 10, None),
        ] {
            let mut news = gap(Lane::Urgent, first, Reason::Damage);
            let is_left = leave_out(&mut news, &known);
            assert_eq!(is_left.then_some(news.count), left, "{first}: {known:?}");
        }
    }
}
