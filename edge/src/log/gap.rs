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
//! | `reason` | `limit`, `age`, `damage`, `torn`, `rejected`, `toolarge`, `mail`, `unread` or `several` |
//!
//! A gap with the reason `mail` is of messages in mailboxes, not of a lane's records: `lane` is
//! their priority, `normal` where nobody can tell, and `first` and `last` are no offsets but
//! fingerprints of their keys, so that a message that is found damaged by every start is counted
//! once. One with the reason `unread` is of messages whose time ended in their mailboxes before every
//! group had acknowledged them: each has a number, of which none comes twice, and comes with the
//! commit that removes them. Such gaps and those of records are never merged and never hide one
//! another.

pub(super) mod ledger;

use std::fmt;

use serde::{Deserialize, Serialize};
use sync::{Change, Lane, Offset, Table, WallTime};

/// A range of a lane that was dropped while wanted. Acknowledged is delivered plus gaps, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        }
    }

    /// Whether another gap is of things of the same kind: records of the same lane, or messages of
    /// the same priority and fate.
    fn is_like(&self, other: &Self) -> bool {
        (self.lane, self.fate_of_mail()) == (other.lane, other.fate_of_mail())
    }

    /// Whether it is of messages in mailboxes, and not of a lane's records.
    #[must_use]
    pub fn is_of_mail(&self) -> bool {
        self.fate_of_mail().is_some()
    }

    /// What became of messages in mailboxes; `None` where it is of a lane's records.
    fn fate_of_mail(&self) -> Option<Reason> {
        Some(self.reason).filter(|it| matches!(it, Reason::Mail | Reason::Unread))
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

    /// Whether every offset of it is a record that was dropped.
    fn is_whole(&self) -> bool {
        self.count == self.last.0 - self.first.0 + 1
    }

    fn surrounds(&self, other: &Self) -> bool {
        self.is_like(other) && self.first <= other.first && other.last <= self.last
    }

    /// Whether two gaps of a lane can be one without anything being lost of what they say.
    fn is_continued_by(&self, later: &Self) -> bool {
        self.last.next() == later.first
            && self.reason == later.reason
            && self.is_whole()
            && later.is_whole()
    }

    /// How many of another gap's records are counted in this one already: no more than that, where
    /// gaps were merged.
    fn known_of(&self, other: &Self) -> u64 {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        // Whoever finds a message damaged may not know its priority.
        let is_like =
            self.is_like(other) || self.reason == Reason::Mail && other.reason == Reason::Mail;
        if !is_like || first > last {
            return 0;
        }
        let range = last.0 - first.0 + 1;
        // Where the count is unknown so is every part of it.
        if self.count == 0 {
            range
        } else {
            range.min(self.count)
        }
    }

    /// Makes one gap of two of the same lane.
    pub(super) fn merged(&self, later: &Self) -> Self {
        assert!(self.is_like(later), "only gaps of a kind become one");
        Self {
            lane: self.lane,
            first: self.first.min(later.first),
            last: self.last.max(later.last),
            count: self.count + later.count,
            bytes: self.bytes + later.bytes,
            from: self.from.min(later.from),
            to: self.to.max(later.to),
            reason: if self.reason == later.reason {
                self.reason
            } else {
                Reason::Several
            },
        }
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

/// Takes out of a gap's count what `known` ones count already; false when nothing is left of it.
pub(super) fn leave_out(gap: &mut Gap, known: &[Gap]) -> bool {
    if known.contains(gap) {
        return false;
    }
    let is_counted = gap.count > 0;
    let known: u64 = known.iter().map(|known| known.known_of(gap)).sum();
    let left = gap.count.saturating_sub(known);
    if is_counted && left < gap.count {
        gap.bytes = (u128::from(gap.bytes) * u128::from(left) / u128::from(gap.count)) as u64;
        gap.count = left;
    }
    !is_counted || left > 0
}

/// Adds a gap; at `limit` it becomes one with the youngest of its lane.
pub(super) fn add(gaps: &mut Vec<Gap>, gap: Gap, limit: usize) {
    let is_full = gaps.len() >= limit;
    let youngest = gaps.iter_mut().rev().find(|known| known.is_like(&gap));
    match youngest {
        Some(known) if is_full => *known = known.merged(&gap),
        _ => gaps.push(gap),
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

#[cfg(test)]
mod tests {
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
