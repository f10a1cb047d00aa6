//! What the broker writes into the tables: CBOR arrays whose first field is a version. A field
//! keeps its place for ever; new ones are appended under a new version. A value of a version that
//! is not known is treated as damaged, never guessed at.
//!
//! | table | key | fields after the version |
//! | --- | --- | --- |
//! | `Sessions` | client identifier | expiry seconds, left at (wall, absent while connected), will (delay seconds, record) or null |
//! | `Subscriptions` | client identifier, 0, filter | QoS, options, identifier (0: none), epoch, first offset of each lane, whether retained messages are still to be sent; if so and it is known, up to which topic they are not |
//! | `Handshakes` | client identifier, 0, key (big-endian) | view's value, delivery (id, lane, offset) or null; in version 2 the filter of the group whose delivery it is |
//! | `Cursors` | `session/`, client identifier | epoch, cursor of each lane |
//! | `Cursors` | `group/`, filter of the group | epoch, cursor of each lane |
//! | `Retained` | topic | the record's own format, without CBOR |
//!
//! Options: bit 0 No Local, bit 1 Retain As Published.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sync::{Cursor, Epoch, Lane, Offset, PerLane, WallTime};

use super::event::GroupId;
use super::group::{Member, is_shared};

const VERSION: u8 = 1;
/// A place in a group, and the group's in the session, each in a list that doubles.
const MEMBERSHIP_BYTES: usize = 2 * (size_of::<Member>() + size_of::<GroupId>());
/// Of a note about a delivery of a group.
const SHARED_VERSION: u8 = 2;
const KEPT_VERSION: u8 = 3;
const CURSOR_PREFIX: &[u8] = b"session/";
const GROUP_PREFIX: &[u8] = b"group/";
const NO_LOCAL: u8 = 1;
const RETAIN_AS_PUBLISHED: u8 = 2;

/// A session's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredSession(
    pub(super) u8,
    /// Session expiry interval in seconds.
    pub(super) u32,
    /// When the connection ended.
    pub(super) Option<WallTime>,
    /// Delay in seconds and record of the will.
    pub(super) Option<(u32, Blob)>,
);

impl StoredSession {
    pub(super) const fn new(
        expiry: u32,
        left_at: Option<WallTime>,
        will: Option<(u32, Blob)>,
    ) -> Self {
        Self(VERSION, expiry, left_at, will)
    }
}

/// A subscription's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredSubscription(
    u8,
    /// QoS.
    u8,
    /// Options.
    u8,
    /// Subscription identifier.
    u32,
    /// Epoch of the offsets.
    Epoch,
    /// Where it began.
    PerLane<Offset>,
    /// Whether retained messages are still to be sent.
    bool,
    /// Those up to this topic need not be. Absent when all are, and before it was kept at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    Option<Box<str>>,
    /// Nor those that came later than this. Absent when all need not be, and before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    Option<WallTime>,
);

/// How far the retained messages of a subscription were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredWalk {
    /// All up to this topic.
    pub(super) after: Option<Box<str>>,
    /// Those that came later are not to be sent.
    pub(super) since: WallTime,
}

/// A subscription as its session holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) qos: u8,
    pub(super) identifier: Option<u32>,
    pub(super) is_no_local: bool,
    pub(super) is_retain_as_published: bool,
    /// Records before these are not for it.
    pub(super) begin: PerLane<Offset>,
    /// Whether the table says that retained messages are still to be sent.
    pub(super) is_walking: bool,
}

impl Subscription {
    /// Encodes the value of the table.
    pub(super) fn encode(&self, epoch: Epoch) -> Vec<u8> {
        self.encode_with(epoch, None)
    }

    /// The same, while retained messages are still to be sent, but none up to a topic and none that
    /// came later than `since`.
    pub(super) fn encode_walk(
        &self,
        epoch: Epoch,
        after: Option<&str>,
        since: WallTime,
    ) -> Vec<u8> {
        // No topic is empty.
        let after = after.unwrap_or_default();
        self.encode_with(epoch, Some((after.into(), since)))
    }

    /// As it is when all retained messages were sent.
    pub(super) const fn walked(mut self) -> Self {
        self.is_walking = false;
        self
    }

    fn encode_with(&self, epoch: Epoch, walk: Option<(Box<str>, WallTime)>) -> Vec<u8> {
        let (after, since) = walk.unzip();
        let mut options = 0;
        options |= if self.is_no_local { NO_LOCAL } else { 0 };
        options |= if self.is_retain_as_published {
            RETAIN_AS_PUBLISHED
        } else {
            0
        };
        encode(&StoredSubscription(
            VERSION,
            self.qos,
            options,
            self.identifier.unwrap_or(0),
            epoch,
            self.begin,
            self.is_walking,
            after,
            since,
        ))
    }

    /// What keeping it takes, the tree of all subscriptions aside.
    pub(super) fn held_bytes(filter: &str) -> usize {
        let membership = if is_shared(filter) {
            MEMBERSHIP_BYTES
        } else {
            0
        };
        size_of::<Self>() + size_of::<Box<str>>() + filter.len() + membership
    }

    /// Reads the value of the table, and how far its retained messages were sent.
    /// Offsets of another epoch begin at 0.
    pub(super) fn decode(value: &[u8], epoch: Epoch) -> Option<(Self, StoredWalk)> {
        let stored = decode(value)?;
        let StoredSubscription(
            _,
            qos,
            options,
            identifier,
            stored_epoch,
            begin,
            is_walking,
            after,
            since,
        ) = stored;
        let walk = StoredWalk {
            after: after.filter(|topic| !topic.is_empty()),
            since: since.unwrap_or(WallTime(u64::MAX)),
        };
        let subscription = Self {
            qos,
            identifier: (identifier > 0).then_some(identifier),
            is_no_local: options & NO_LOCAL != 0,
            is_retain_as_published: options & RETAIN_AS_PUBLISHED != 0,
            begin: if stored_epoch == epoch {
                begin
            } else {
                PerLane::default()
            },
            is_walking,
        };
        (qos <= 2).then_some((subscription, walk))
    }
}

/// A note's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredNote(
    pub(super) u8,
    /// The view's own.
    pub(super) Blob,
    /// The delivery it is about: id and place, which is absent when it was never in the log.
    pub(super) Option<(u16, Option<(Lane, Offset)>)>,
);

impl StoredNote {
    pub(super) const fn new(value: Blob, delivery: Option<(u16, Option<(Lane, Offset)>)>) -> Self {
        Self(VERSION, value, delivery)
    }
}

/// The value of a note about a delivery of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredSharedNote(
    u8,
    /// The view's own.
    Blob,
    /// The delivery it is about: id and place.
    (u16, Lane, Offset),
    /// The filter that names the group.
    Box<str>,
);

/// The value of a note about a retained message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredKeptNote(
    u8,
    /// The view's own.
    Blob,
    /// Id of the delivery.
    u16,
    pub(super) KeptPlace,
);

/// How a retained message is found again: the filter of the subscription that it was sent for, its
/// topic, and [`sync::Record::digest`], since by now there may be another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptPlace(pub(super) Box<str>, pub(super) Box<str>, pub(super) u64);

/// A note as it is read, of any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadNote {
    pub(super) value: Blob,
    /// Id and place.
    pub(super) delivery: Option<(u16, Option<(Lane, Offset)>)>,
    /// The filter of the group whose delivery it is.
    pub(super) group: Option<Box<str>>,
    /// The retained message that it is.
    pub(super) kept: Option<KeptPlace>,
}

impl StoredKeptNote {
    pub(super) const fn new(value: Blob, delivery: u16, place: KeptPlace) -> Self {
        Self(KEPT_VERSION, value, delivery, place)
    }
}

impl StoredSharedNote {
    pub(super) fn new(value: Blob, delivery: (u16, Lane, Offset), group: &str) -> Self {
        Self(SHARED_VERSION, value, delivery, group.into())
    }
}

impl ReadNote {
    /// Reads a note of any version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(StoredNote(_, value, delivery)) = decode(bytes) {
            return Some(Self {
                value,
                delivery,
                group: None,
                kept: None,
            });
        }
        if let Some(note) = decode_version(bytes, KEPT_VERSION) {
            let StoredKeptNote(_, value, id, place) = note;
            return Some(Self {
                value,
                delivery: Some((id, None)),
                group: None,
                kept: Some(place),
            });
        }
        let note = decode_version(bytes, SHARED_VERSION)?;
        let StoredSharedNote(_, value, (id, lane, offset), group) = note;
        Some(Self {
            value,
            delivery: Some((id, Some((lane, offset)))),
            group: Some(group),
            kept: None,
        })
    }
}

/// The cursors of a session or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredCursors(
    pub(super) u8,
    /// Epoch of the offsets.
    pub(super) Epoch,
    /// One a lane.
    pub(super) [Cursor; 3],
);

impl StoredCursors {
    pub(super) const fn new(epoch: Epoch, cursors: [Cursor; 3]) -> Self {
        Self(VERSION, epoch, cursors)
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
    decode_version(bytes, VERSION)
}

fn decode_version<T: DeserializeOwned>(bytes: &[u8], version: u8) -> Option<T> {
    // 0x80 to 0x97 begin an array of up to 23 fields; the version is its first.
    let is_known = matches!(bytes, [0x81..=0x97, found, ..] if *found == version);
    if is_known {
        ciborium::from_reader(bytes).ok()
    } else {
        None
    }
}

/// Names a session's cursors.
pub(super) fn cursor_key(client_identifier: &str) -> Vec<u8> {
    [CURSOR_PREFIX, client_identifier.as_bytes()].concat()
}

/// Names whose cursors a key is for; `None` for those of others than sessions.
pub(super) fn cursor_owner(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(CURSOR_PREFIX)?).ok()
}

/// Names the cursors of a group.
pub(super) fn group_key(filter: &str) -> Vec<u8> {
    [GROUP_PREFIX, filter.as_bytes()].concat()
}

/// Names the group that cursors are of; `None` for those of others.
pub(super) fn group_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(GROUP_PREFIX)?).ok()
}

/// Names a subscription or a note below its session.
pub(super) fn member_key(client_identifier: &str, member: &[u8]) -> Vec<u8> {
    [client_identifier.as_bytes(), &[0], member].concat()
}

/// Splits the key of a subscription or note; client identifiers hold no zero byte.
pub(super) fn split_member_key(key: &[u8]) -> Option<(&str, &[u8])> {
    let at = key.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&key[..at]).ok()?, &key[at + 1..]))
}

/// Bytes that CBOR stores as bytes, not as a list of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(Bytes::from(bytes)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Blob, A::Error> {
                Err(A::Error::custom("a list where bytes belong"))
            }
        }

        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(hex: &str) -> Vec<u8> {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let text = |pair: &[u8; 2]| String::from_utf8(pair.to_vec()).unwrap();
        let byte = |pair| u8::from_str_radix(&text(pair), 16).unwrap();
        pairs.iter().map(byte).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn stored_session_keeps_its_bytes() {
        let will = Some((5, Blob(Bytes::from_static(b"record"))));
        let session = StoredSession::new(3600, Some(WallTime(1000)), will);
        let bytes = encode(&session);
        assert_eq!(hex(&bytes), "8401190e101903e88205467265636f7264");
        assert_eq!(decode(&bytes), Some(session));
        assert_eq!(
            hex(&encode(&StoredSession::new(u32::MAX, None, None))),
            "84011afffffffff6f6"
        );
    }

    #[test]
    fn stored_subscription_keeps_its_bytes() {
        let subscription = Subscription {
            qos: 2,
            identifier: Some(7),
            is_no_local: true,
            is_retain_as_published: true,
            begin: PerLane([Offset(1), Offset(2), Offset(300)]),
            is_walking: true,
        };
        let bytes = subscription.encode(Epoch(4));
        assert_eq!(hex(&bytes), "87010203070483010219012cf5");
        let read = Subscription::decode(&bytes, Epoch(4));
        let all = StoredWalk {
            after: None,
            since: WallTime(u64::MAX),
        };
        assert_eq!(read, Some((subscription, all.clone())));
        let renewed = Subscription {
            begin: PerLane::default(),
            ..subscription
        };
        let read = Subscription::decode(&bytes, Epoch(5));
        assert_eq!(read, Some((renewed, all.clone())));
        // As it was written before the time was kept.
        let bytes = bytes_of("88010203070483010219012cf563612f62");
        let walk = StoredWalk {
            after: Some("a/b".into()),
            ..all
        };
        let read = Subscription::decode(&bytes, Epoch(4));
        assert_eq!(read, Some((subscription, walk)));
        for (after, golden) in [
            (Some("a/b"), "89010203070483010219012cf563612f6207"),
            (None, "89010203070483010219012cf56007"),
        ] {
            let bytes = subscription.encode_walk(Epoch(4), after, WallTime(7));
            assert_eq!(hex(&bytes), golden);
            let walk = StoredWalk {
                after: after.map(Into::into),
                since: WallTime(7),
            };
            let read = Subscription::decode(&bytes, Epoch(4));
            assert_eq!(read, Some((subscription, walk)));
        }
    }

    #[test]
    fn stored_note_keeps_its_bytes() {
        let value = Blob(Bytes::from_static(&[1, 2]));
        let note = StoredNote::new(value.clone(), Some((9, Some((Lane::Urgent, Offset(5))))));
        let bytes = encode(&note);
        assert_eq!(hex(&bytes), "830142010282098266757267656e7405");
        assert_eq!(decode(&bytes), Some(note));
        let bytes = encode(&StoredNote::new(value.clone(), None));
        assert_eq!(hex(&bytes), "8301420102f6");
        let read = ReadNote {
            value,
            delivery: None,
            group: None,
            kept: None,
        };
        assert_eq!(ReadNote::decode(&bytes), Some(read));
    }

    #[test]
    fn stored_note_of_a_retained_message_keeps_its_bytes() {
        let value = Blob(Bytes::from_static(&[1]));
        let place = KeptPlace("a/#".into(), "a/b".into(), 300);
        let bytes = encode(&StoredKeptNote::new(value.clone(), 9, place.clone()));
        assert_eq!(hex(&bytes), "84034101098363612f2363612f6219012c");
        let read = ReadNote {
            value,
            delivery: Some((9, None)),
            group: None,
            kept: Some(place),
        };
        assert_eq!(ReadNote::decode(&bytes), Some(read));
    }

    #[test]
    fn stored_note_of_a_group_keeps_its_bytes() {
        let value = Blob(Bytes::from_static(&[1]));
        let place = (9, Lane::Normal, Offset(300));
        let note = StoredSharedNote::new(value.clone(), place, "$share/g/t");
        let bytes = encode(&note);
        let golden = "840241018309666e6f726d616c19012c6a2473686172652f672f74";
        assert_eq!(hex(&bytes), golden);
        let read = ReadNote {
            value,
            delivery: Some((9, Some((Lane::Normal, Offset(300))))),
            group: Some("$share/g/t".into()),
            kept: None,
        };
        assert_eq!(ReadNote::decode(&bytes), Some(read));
    }

    #[test]
    fn stored_cursors_keep_their_bytes() {
        let mut cursor = Cursor::starting_at(Offset(3));
        cursor.deliver(Offset(4));
        let cursors = StoredCursors::new(Epoch(1), [cursor, Cursor::default(), Cursor::default()]);
        let bytes = encode(&cursors);
        // Each cursor in its own stored form: version, delivered, high, pending.
        assert_eq!(hex(&bytes), "8301018384010505810484010000808401000080");
        assert_eq!(decode(&bytes), Some(cursors));
    }

    #[test]
    fn damaged_or_newer_values_are_not_guessed() {
        let good = encode(&StoredSession::new(1, None, None));
        for length in 0..good.len() {
            assert_eq!(decode::<StoredSession>(&good[..length]), None);
        }
        let mut newer = good;
        newer[1] = VERSION + 1;
        assert_eq!(decode::<StoredSession>(&newer), None);
        assert_eq!(decode::<StoredNote>(b"\x83\x01\x81\x01\xf6"), None);
    }

    #[test]
    fn keys_split_as_they_were_joined() {
        let key = member_key("client", b"a/\0b");
        assert_eq!(
            split_member_key(&key),
            Some(("client", b"a/\0b".as_slice()))
        );
        assert_eq!(split_member_key(b"none"), None);
        assert_eq!(cursor_owner(&cursor_key("client")), Some("client"));
        assert_eq!(cursor_owner(b"route/cloud"), None);
        assert_eq!(group_key("$share/g/t"), b"group/$share/g/t");
        assert_eq!(group_of(b"group/$share/g/t"), Some("$share/g/t"));
        assert_eq!(group_of(&cursor_key("client")), None);
        assert_eq!(cursor_owner(&group_key("$share/g/t")), None);
    }
}
