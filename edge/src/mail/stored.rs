//! What the office writes into its tables. A message is a fixed binary header and its bytes;
//! everything else is a CBOR array whose first field is a version. A field keeps its place for ever;
//! new ones are appended under a new version. A value of a version that is not known is treated as
//! damaged, never guessed at. Numbers in keys are big-endian, so that keys are in their order.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `Mailboxes` | address | version, number, made at (wall), seconds it lives (0: for ever), description |
//! | `Mailboxes` | one zero byte | version, number of the next mailbox |
//! | `Mailboxes` | one byte 1 | version, of each priority the number of the next message that ends unread |
//! | `MailTails` | number | version 2, next id, messages, bytes, groups, next place in the queue, delayed, ends |
//! | `MailTails` | the same, before | version 1, without the last |
//! | `Mail` | number, priority (1 byte), id | message |
//! | `MailKeys` | number, key | version, priority, id |
//! | `MailDelayed` | due (wall), number, place in the queue | priority (1 byte), message |
//! | `MailExpiry` | over (wall), number, priority (1 byte), id | nothing |
//! | `MailGroups` | number, name | version 2, the next id of each priority, used (wall) |
//! | `MailGroups` | the same, before | version 1, the next id of each priority |
//! | `Agents` | `e`, name: of one that registered here | version, mailbox or null, body, seen (wall) |
//! | `Agents` | `c`, name: of one that the cloud knows | the same |
//! | `Agents` | `r`, name: the last report of one that registered here | version, body, seen (wall) |
//!
//! The ends are of each priority the id behind the last that was given to one.
//!
//! A message:
//!
//! | bytes | |
//! | --- | --- |
//! | 0 | version, 1 |
//! | 1..9 | when it was kept or, while it is delayed, sent; milliseconds, big-endian |
//! | 9..17 | when it is over; all ones for never |
//! | 17..19 | length of its key, 0 for none |
//! | 19..21 | length of its tags, which stand with commas between them |
//! | 21..25 | length of its header block |
//! | 25.. | key, tags, header block, payload |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sync::{Change, Table, WallTime};
use wire::mq9::{Message, Priority};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 25;
/// Of the key of a message.
pub(super) const MAIL_KEY_BYTES: usize = 17;
/// Keeps the number of the next mailbox; no address begins so.
pub(super) const NEXT_NUMBER_KEY: &[u8] = &[0];
/// Keeps how many messages ended unread; no address begins so.
pub(super) const UNREAD_KEY: &[u8] = &[1];
/// The time of what is never over.
pub(super) const NEVER: WallTime = WallTime(u64::MAX);
/// All priorities, most important first.
pub(super) const PRIORITIES: [Priority; 3] =
    [Priority::Critical, Priority::Urgent, Priority::Normal];

/// Names a mailbox from its making to its end. An address that is used again has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(pub(super) u64);

/// Where a message is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Where everybody sees it.
    Mail {
        mailbox: Number,
        priority: Priority,
        id: u64,
    },
    /// In the queue of those that are not due.
    Delayed {
        mailbox: Number,
        due: WallTime,
        turn: u64,
    },
}

impl Place {
    pub(super) const fn mailbox(self) -> Number {
        match self {
            Self::Mail { mailbox, .. } | Self::Delayed { mailbox, .. } => mailbox,
        }
    }

    pub(super) const fn table(self) -> Table {
        match self {
            Self::Mail { .. } => Table::Mail,
            Self::Delayed { .. } => Table::MailDelayed,
        }
    }

    pub(super) fn key(self) -> Vec<u8> {
        match self {
            Self::Mail {
                mailbox,
                priority,
                id,
            } => mail_key(mailbox, priority, id),
            Self::Delayed { mailbox, due, turn } => joined([
                &due.0.to_be_bytes(),
                &mailbox.0.to_be_bytes(),
                &turn.to_be_bytes(),
            ]),
        }
    }

    pub(super) fn from_mail_key(key: &[u8]) -> Option<Self> {
        let (mailbox, rest) = key.split_first_chunk()?;
        let (&[priority], rest) = rest.split_first_chunk()?;
        Some(Self::Mail {
            mailbox: Number(u64::from_be_bytes(*mailbox)),
            priority: *PRIORITIES.get(usize::from(priority))?,
            id: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }

    pub(super) fn from_delayed_key(key: &[u8]) -> Option<Self> {
        let (due, rest) = key.split_first_chunk()?;
        let (mailbox, rest) = rest.split_first_chunk()?;
        Some(Self::Delayed {
            mailbox: Number(u64::from_be_bytes(*mailbox)),
            due: WallTime(u64::from_be_bytes(*due)),
            turn: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }

    /// The place that a row of `MailExpiry` is about.
    pub(super) fn from_expiry_key(key: &[u8]) -> Option<Self> {
        Self::from_mail_key(key.get(8..)?)
    }
}

/// The key of a message, or of where messages from an id on would be.
pub(super) fn mail_key(mailbox: Number, priority: Priority, id: u64) -> Vec<u8> {
    joined([
        &mailbox.0.to_be_bytes(),
        &[priority as u8],
        &id.to_be_bytes(),
    ])
}

pub(super) fn expiry_key(over: WallTime, mail_key: &[u8]) -> Vec<u8> {
    joined([&over.0.to_be_bytes(), mail_key, &[]])
}

/// The key of what belongs to a mailbox and has a name: a group, a message with a key.
pub(super) fn named_key(mailbox: Number, name: &str) -> Vec<u8> {
    joined([&mailbox.0.to_be_bytes(), name.as_bytes(), &[]])
}

/// What all keys of a mailbox begin with, and what the first key behind them is.
pub(super) fn range_of(mailbox: Number) -> (Vec<u8>, Vec<u8>) {
    let end = mailbox.0.saturating_add(1);
    (mailbox.0.to_be_bytes().to_vec(), end.to_be_bytes().to_vec())
}

fn joined(parts: [&[u8]; 3]) -> Vec<u8> {
    parts.concat()
}

/// A message as its row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter<'a> {
    pub(super) time: WallTime,
    pub(super) over: WallTime,
    pub(super) key: &'a str,
    /// With commas between them.
    pub(super) tags: &'a str,
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl<'a> Letter<'a> {
    /// Encodes the value of the row; key and tags are within their limits, which are below 64 KiB.
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
        let headers = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
        into.push(VERSION);
        into.extend(self.time.0.to_be_bytes());
        into.extend(self.over.0.to_be_bytes());
        into.extend(length(self.key.len()));
        into.extend(length(self.tags.len()));
        into.extend(headers.to_be_bytes());
        into.extend(self.key.as_bytes());
        into.extend(self.tags.as_bytes());
        into.extend(self.headers);
        into.extend(self.payload);
    }

    /// Reads the value of a row; `None` when it is damaged or of another version.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        if header[0] != VERSION {
            return None;
        }
        let number = |at: usize, length: usize| {
            let bytes = header[at..at + length].iter();
            bytes.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let part = |rest: &'a [u8], length: u64| {
            rest.split_at_checked(usize::try_from(length).unwrap_or(usize::MAX))
        };
        let (key, rest) = part(rest, number(17, 2))?;
        let (tags, rest) = part(rest, number(19, 2))?;
        let (headers, payload) = part(rest, number(21, 4))?;
        Some(Self {
            time: WallTime(number(1, 8)),
            over: WallTime(number(9, 8)),
            key: str::from_utf8(key).ok()?,
            tags: str::from_utf8(tags).ok()?,
            headers,
            payload,
        })
    }

    /// What it counts for once it is kept.
    pub(super) const fn bytes(&self) -> u64 {
        let (key, tags) = (self.key.len(), self.tags.len());
        let bytes = key + tags + self.headers.len() + self.payload.len();
        (bytes + HEADER_BYTES + MAIL_KEY_BYTES) as u64
    }

    pub(super) const fn is_over(&self, now: WallTime) -> bool {
        self.over.0 <= now.0
    }

    pub(super) fn has_tag(&self, wanted: &str) -> bool {
        self.tags.split(',').any(|tag| tag == wanted)
    }

    /// The message as it is answered.
    pub(super) fn message(&self, priority: Priority, id: u64) -> Message {
        Message {
            id,
            priority,
            headers: self.headers.to_vec(),
            payload: self.payload.to_vec(),
            time: self.time.0 / 1_000,
        }
    }
}

/// Encodes the value of a row of `MailDelayed`.
pub(super) fn encode_delayed(priority: Priority, letter: &Letter<'_>) -> Vec<u8> {
    let mut value = vec![priority as u8];
    letter.encode(&mut value);
    value
}

pub(super) fn decode_delayed(value: &[u8]) -> Option<(Priority, Letter<'_>)> {
    let (&priority, letter) = value.split_first()?;
    let priority = *PRIORITIES.get(usize::from(priority))?;
    Some((priority, Letter::decode(letter)?))
}

/// A mailbox's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredMailbox(
    u8,
    /// Its number.
    pub(super) u64,
    /// When it was made.
    pub(super) WallTime,
    /// How many seconds it lives, 0 for ever.
    pub(super) u64,
    /// For people.
    pub(super) String,
);

impl StoredMailbox {
    pub(super) const fn new(number: Number, made: WallTime, ttl: u64, description: String) -> Self {
        Self(VERSION, number.0, made, ttl, description)
    }

    /// When it ends.
    pub(super) const fn over(&self) -> WallTime {
        match self.3 {
            0 => NEVER,
            seconds => after(self.2, seconds),
        }
    }
}

/// Some seconds later, or never where that is beyond all times.
pub(super) const fn after(time: WallTime, seconds: u64) -> WallTime {
    WallTime(time.0.saturating_add(seconds.saturating_mul(1_000)))
}

/// The number of the next mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredNumber(pub(super) u8, pub(super) u64);

/// Counts of a mailbox as they are when all that is under way is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) next_id: u64,
    /// Messages, delayed ones included.
    pub(super) count: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    pub(super) groups: u64,
    /// The next place in the queue of delayed messages.
    pub(super) next_turn: u64,
    pub(super) delayed: u64,
    /// Of each priority the id behind the last that was given to one; where that is not known, the
    /// next id.
    pub(super) ends: [u64; 3],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredTail(u8, u64, u64, u64, u64, u64, u64, [u64; 3]);

/// The same as it was before ids were known by priority.
#[derive(Deserialize)]
struct FormerTail(
    #[expect(dead_code, reason = "is the version")] u8,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
);

const TAIL_VERSION: u8 = 2;

impl Tail {
    pub(super) fn change(&self, mailbox: Number) -> Change {
        let (bytes, groups, turn) = (self.bytes, self.groups, self.next_turn);
        let value = StoredTail(
            TAIL_VERSION,
            self.next_id,
            self.count,
            bytes,
            groups,
            turn,
            self.delayed,
            self.ends,
        );
        Change::Put {
            table: Table::MailTails,
            key: mailbox.0.to_be_bytes().to_vec(),
            value: encode(&value),
        }
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let stored = decode_as(TAIL_VERSION, value).or_else(|| {
            let FormerTail(_, id, count, bytes, groups, turn, delayed) = decode(value)?;
            let version = TAIL_VERSION;
            Some(StoredTail(
                version, id, count, bytes, groups, turn, delayed, [id; 3],
            ))
        });
        let StoredTail(_, next_id, count, bytes, groups, next_turn, delayed, ends) = stored?;
        Some(Self {
            next_id,
            count,
            bytes,
            groups,
            next_turn,
            delayed,
            ends,
        })
    }
}

/// Where the message with a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredKey(u8, u8, u64);

impl StoredKey {
    pub(super) const fn new(priority: Priority, id: u64) -> Self {
        Self(VERSION, priority as u8, id)
    }

    pub(super) fn place(&self, mailbox: Number) -> Option<Place> {
        let priority = *PRIORITIES.get(usize::from(self.1))?;
        let id = self.2;
        Some(Place::Mail {
            mailbox,
            priority,
            id,
        })
    }
}

/// The position of a group: of each priority the id below which it is done; and when it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredGroup(pub(super) u8, pub(super) [u64; 3], pub(super) WallTime);

/// The same as it was before groups could be idle.
#[derive(Deserialize)]
struct FormerGroup(#[expect(dead_code, reason = "is the version")] u8, [u64; 3]);

const GROUP_VERSION: u8 = 2;

impl StoredGroup {
    pub(super) const fn new(position: [u64; 3], used: WallTime) -> Self {
        Self(GROUP_VERSION, position, used)
    }

    /// Reads the value; of one that does not say when it was used, that is 0.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        decode_as(GROUP_VERSION, bytes).or_else(|| {
            let FormerGroup(_, position) = decode(bytes)?;
            Some(Self::new(position, WallTime(0)))
        })
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredAgent(
    pub(super) u8,
    /// Its mailbox.
    pub(super) Option<String>,
    /// What it says.
    pub(super) String,
    /// When it was heard of.
    pub(super) WallTime,
);

impl StoredAgent {
    pub(super) const fn new(mailbox: Option<String>, body: String, seen: WallTime) -> Self {
        Self(VERSION, mailbox, body, seen)
    }
}

/// A report of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredReport(
    pub(super) u8,
    /// What it says.
    pub(super) String,
    /// When it said so.
    pub(super) WallTime,
);

impl StoredReport {
    pub(super) const fn new(body: String, seen: WallTime) -> Self {
        Self(VERSION, body, seen)
    }
}

/// Of each priority the number of the next message that ends unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredUnread(pub(super) u8, pub(super) [u64; 3]);

impl StoredUnread {
    pub(super) const fn new(next: [u64; 3]) -> Self {
        Self(VERSION, next)
    }
}

impl StoredNumber {
    pub(super) const fn new(next: Number) -> Self {
        Self(VERSION, next.0)
    }
}

/// Encodes one of the values above.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("a vector takes every plain value");
    bytes
}

/// Reads one of the values above; `None` when it is damaged or of another version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode_as(VERSION, bytes)
}

fn decode_as<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Option<T> {
    // 0x80 to 0x97 begin an array of up to 23 fields; the version is its first.
    match bytes {
        [0x81..=0x97, found, ..] if *found == version => ciborium::from_reader(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const LETTER: Letter<'_> = Letter {
        time: WallTime(0x0102),
        over: WallTime(0x0304),
        key: "k",
        tags: "a,bc",
        headers: b"NATS",
        payload: b"pay",
    };

    #[test]
    fn stored_message_keeps_its_bytes() {
        let mut bytes = Vec::new();
        LETTER.encode(&mut bytes);
        let golden = "01000000000000010200000000000003040001000400000004\
                      6b612c62634e415453706179";
        assert_eq!(hex(&bytes), golden);
        assert_eq!(Letter::decode(&bytes), Some(LETTER));
        assert_eq!(LETTER.bytes(), (bytes.len() + MAIL_KEY_BYTES) as u64);
        assert!(LETTER.has_tag("bc") && !LETTER.has_tag("b") && !LETTER.has_tag("a,bc"));
        let delayed = encode_delayed(Priority::Urgent, &LETTER);
        assert_eq!(hex(&delayed), format!("01{golden}"));
        assert_eq!(decode_delayed(&delayed), Some((Priority::Urgent, LETTER)));
    }

    #[test]
    fn stored_values_keep_their_bytes() {
        let mailbox = StoredMailbox::new(Number(7), WallTime(1_000), 60, "d".to_owned());
        let tail = Tail {
            next_id: 1,
            count: 2,
            bytes: 300,
            groups: 4,
            next_turn: 5,
            delayed: 6,
            ends: [0, 0, 1],
        };
        let Change::Put { key, value, .. } = tail.change(Number(7)) else {
            panic!("no row");
        };
        assert_eq!(hex(&key), "0000000000000007");
        assert_eq!(Tail::decode(&value), Some(tail));
        let former = [0x87, 1, 1, 2, 0x19, 1, 0x2c, 4, 5, 6];
        let ends = [1; 3];
        assert_eq!(Tail::decode(&former), Some(Tail { ends, ..tail }));
        let agent = StoredAgent::new(Some("m".to_owned()), "{}".to_owned(), WallTime(9));
        let report = StoredReport::new("{}".to_owned(), WallTime(9));
        for (bytes, golden) in [
            (encode(&mailbox), "8501071903e8183c6164"),
            (value, "8802010219012c04050683000001"),
            (encode(&StoredNumber::new(Number(8))), "820108"),
            (encode(&StoredKey::new(Priority::Normal, 9)), "83010209"),
            (
                encode(&StoredGroup::new([1, 2, 3], WallTime(9))),
                "83028301020309",
            ),
            (encode(&agent), "8401616d627b7d09"),
            (encode(&report), "8301627b7d09"),
        ] {
            assert_eq!(hex(&bytes), golden);
        }
        assert_eq!(mailbox.over(), WallTime(61_000));
        let for_ever = StoredMailbox::new(Number(7), WallTime(1_000), 0, String::new());
        assert_eq!(for_ever.over(), NEVER);
        let very_long = StoredMailbox::new(Number(7), WallTime(1_000), u64::MAX, String::new());
        assert_eq!(very_long.over(), NEVER);
    }

    #[test]
    fn keys_keep_their_bytes_and_their_order() {
        let mail = Place::Mail {
            mailbox: Number(1),
            priority: Priority::Normal,
            id: 258,
        };
        let delayed = Place::Delayed {
            mailbox: Number(1),
            due: WallTime(2),
            turn: 3,
        };
        assert_eq!(hex(&mail.key()), "0000000000000001020000000000000102");
        assert_eq!(Place::from_mail_key(&mail.key()), Some(mail));
        let key = delayed.key();
        assert_eq!(
            hex(&key),
            "000000000000000200000000000000010000000000000003"
        );
        assert_eq!(Place::from_delayed_key(&key), Some(delayed));
        let expiry = expiry_key(WallTime(5), &mail.key());
        assert_eq!(Place::from_expiry_key(&expiry), Some(mail));
        assert_eq!(hex(&named_key(Number(1), "ab")), "00000000000000016162");
        for length in 0..mail.key().len() {
            assert_eq!(Place::from_mail_key(&mail.key()[..length]), None);
            assert_eq!(Place::from_delayed_key(&key[..length]), None);
        }
    }

    #[test]
    fn damaged_or_newer_values_are_not_guessed() {
        let mut bytes = Vec::new();
        LETTER.encode(&mut bytes);
        let texts = bytes.len() - LETTER.payload.len();
        for length in 0..texts {
            assert_eq!(Letter::decode(&bytes[..length]), None);
        }
        bytes[0] = VERSION + 1;
        assert_eq!(Letter::decode(&bytes), None);
        let mut group = encode(&StoredGroup::new([1, 2, 3], WallTime(9)));
        group[1] = GROUP_VERSION + 1;
        assert_eq!(StoredGroup::decode(&group), None);
        assert_eq!(StoredGroup::decode(b""), None);
    }

    #[test]
    fn a_group_that_was_stored_before_it_could_be_idle_is_read() {
        let former = [0x82, 1, 0x83, 1, 2, 3];
        let read = StoredGroup::decode(&former);
        assert_eq!(read, Some(StoredGroup::new([1, 2, 3], WallTime(0))));
    }
}
