//! A record: one published message as the log keeps it, and the names of its place.
//!
//! A record is encoded once, when it is published, and shared by reference count from there on:
//! journal, segment, subscribers and uplink read the same bytes.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | flags: bits 0-1 QoS, 2 retain, 3 came from the cloud, 4 has an expiry, 5 outlives older ones |
//! | 2 | 2 | topic length |
//! | 4 | 4 | properties length |
//! | 8 | 8 | wall time of the publish, milliseconds |
//! | 16 | 4 | message expiry interval, seconds, from that time; 0 without flag 4 |
//! | 20 | 4 | hash of the topic, [`topic_hash`] |
//! | 24 | 8 | hash of the publisher's client identifier; 0 for none |
//! | 32 | | topic, properties (as on the MQTT 5 wire, without their length), payload |
//!
//! All integers are little-endian.

use alloc::vec::Vec;
use core::fmt;
use core::ops::{Index, IndexMut};

use bytes::Bytes;

use crate::WallTime;

/// A position in a lane. Dense, growing, never used twice within an [`Epoch`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Offset(pub u64);

impl Offset {
    /// Gives the position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Grows whenever the log is created anew, so that old offsets can't be mistaken for new ones. Not a
/// bare count: a wiped folder must not repeat an epoch, so the clock has a say in it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Epoch(pub u32);

/// One of the three logs, in the order in which they are drained.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Lane {
    /// Alarms: drained first, refused last.
    Critical = 0,
    /// Between the two.
    Urgent = 1,
    /// Telemetry, and everything that no rule names.
    Normal = 2,
}

impl Lane {
    /// All lanes, most important first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Urgent, Self::Normal];

    /// Finds the lane with a stored number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Critical),
            1 => Some(Self::Urgent),
            2 => Some(Self::Normal),
            _ => None,
        }
    }

    /// Names the lane as configuration, file names and `edge-lane` do.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Urgent => "urgent",
            Self::Normal => "normal",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value a lane, indexed by [`Lane`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PerLane<T>(pub [T; 3]);

impl<T> PerLane<T> {
    /// Makes each lane's value from the lane.
    pub fn from_fn(mut value: impl FnMut(Lane) -> T) -> Self {
        Self(Lane::ALL.map(&mut value))
    }

    /// Walks the lanes, most important first.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &T)> {
        Lane::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Lane> for PerLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        &self.0[lane as usize]
    }
}

impl<T> IndexMut<Lane> for PerLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        &mut self.0[lane as usize]
    }
}

/// A published message, immutable and shared. Cloning counts a reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Bytes,
}

/// What a record is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordParts<'a> {
    /// 0 to 2, as published.
    pub qos: u8,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// Whether it came down from the cloud, and so must not go up again.
    pub from_cloud: bool,
    /// When it was published.
    pub time: WallTime,
    /// Message expiry interval in seconds, counted from `time`.
    pub expiry_seconds: Option<u32>,
    /// [`Record::publisher_hash`] of the publisher; 0 for none. For No Local.
    pub publisher: u64,
    /// The topic name, 1 to 65,535 bytes.
    pub topic: &'a str,
    /// Properties to forward, as on the MQTT 5 wire, without their length.
    pub properties: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl Record {
    /// Bytes before the topic.
    pub const HEADER_BYTES: usize = 32;

    const FORMAT: u8 = 1;
    const RETAIN: u8 = 1 << 2;
    const FROM_CLOUD: u8 = 1 << 3;
    const HAS_EXPIRY: u8 = 1 << 4;
    const KEEPS_LATEST: u8 = 1 << 5;

    /// Encodes a record: one allocation, one copy.
    ///
    /// # Panics
    /// When the topic is over 65,535 bytes, the properties over 4 GiB, or the QoS over 2: the
    /// views check these at their edge.
    #[must_use]
    pub fn new(parts: &RecordParts<'_>) -> Self {
        assert!(parts.qos <= 2);
        let topic_bytes =
            u16::try_from(parts.topic.len()).expect("topic names are at most 65,535 bytes");
        let properties_bytes =
            u32::try_from(parts.properties.len()).expect("properties are bounded by the packet");
        let mut flags = parts.qos;
        flags |= if parts.retain { Self::RETAIN } else { 0 };
        flags |= if parts.from_cloud {
            Self::FROM_CLOUD
        } else {
            0
        };
        flags |= if parts.expiry_seconds.is_some() {
            Self::HAS_EXPIRY
        } else {
            0
        };

        let length =
            Self::HEADER_BYTES + parts.topic.len() + parts.properties.len() + parts.payload.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&[Self::FORMAT, flags]);
        bytes.extend_from_slice(&topic_bytes.to_le_bytes());
        bytes.extend_from_slice(&properties_bytes.to_le_bytes());
        bytes.extend_from_slice(&parts.time.0.to_le_bytes());
        bytes.extend_from_slice(&parts.expiry_seconds.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&topic_hash(parts.topic).to_le_bytes());
        bytes.extend_from_slice(&parts.publisher.to_le_bytes());
        bytes.extend_from_slice(parts.topic.as_bytes());
        bytes.extend_from_slice(parts.properties);
        bytes.extend_from_slice(parts.payload);
        Self {
            bytes: Bytes::from(bytes),
        }
    }

    /// Makes a copy of which, when a log is at its limit, the latest of the topic goes last.
    #[must_use]
    pub fn keeping_latest(&self) -> Self {
        let mut bytes = self.bytes.to_vec();
        bytes[1] |= Self::KEEPS_LATEST;
        Self {
            bytes: Bytes::from(bytes),
        }
    }

    /// Takes bytes that a disk or a peer gave back.
    ///
    /// # Errors
    /// When the format is unknown, the lengths do not fit, or the topic is not UTF-8. A record
    /// that this accepts never panics later.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() < Self::HEADER_BYTES {
            return Err(RecordError::Short { found: bytes.len() });
        }
        if bytes[0] != Self::FORMAT {
            return Err(RecordError::Format { found: bytes[0] });
        }
        if bytes[1] & 0b11 == 3 {
            return Err(RecordError::Flags { found: bytes[1] });
        }
        let record = Self { bytes };
        let body = record.properties_end();
        if body > record.bytes.len() as u64 {
            return Err(RecordError::Lengths {
                named: body,
                found: record.bytes.len(),
            });
        }
        if core::str::from_utf8(record.topic_slice()).is_err() {
            return Err(RecordError::Topic);
        }
        Ok(record)
    }

    /// Hashes a client identifier for [`RecordParts::publisher`]; never 0.
    #[must_use]
    pub fn publisher_hash(client_id: &str) -> u64 {
        fnv1a_64(client_id.as_bytes()).max(1)
    }

    /// The encoded record, as stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// QoS as published, 0 to 2.
    #[must_use]
    pub fn qos(&self) -> u8 {
        self.bytes[1] & 0b11
    }

    /// Whether it was published with RETAIN.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        self.bytes[1] & Self::RETAIN != 0
    }

    /// Whether it came down from the cloud, and so must not go up again.
    #[must_use]
    pub fn is_from_cloud(&self) -> bool {
        self.bytes[1] & Self::FROM_CLOUD != 0
    }

    /// Whether the latest record of its topic goes last when a log is at its limit.
    #[must_use]
    pub fn keeps_latest(&self) -> bool {
        self.bytes[1] & Self::KEEPS_LATEST != 0
    }

    /// When it was published, by the clock of this device.
    #[must_use]
    pub fn time(&self) -> WallTime {
        WallTime(self.u64_at(8))
    }

    /// Message expiry interval in seconds, counted from [`Record::time`].
    #[must_use]
    pub fn expiry_seconds(&self) -> Option<u32> {
        (self.bytes[1] & Self::HAS_EXPIRY != 0).then(|| self.u32_at(16))
    }

    /// [`topic_hash`] of the topic, computed once at publish time.
    #[must_use]
    pub fn topic_hash(&self) -> u32 {
        self.u32_at(20)
    }

    /// Hash of the whole record, to tell whether it is still the same after a restart. No
    /// protection against a publisher who wants two with the same one.
    #[must_use]
    pub fn digest(&self) -> u64 {
        fnv1a_64(&self.bytes)
    }

    /// Hash of the publisher's client identifier; 0 for none.
    #[must_use]
    pub fn publisher(&self) -> u64 {
        self.u64_at(24)
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        core::str::from_utf8(self.topic_slice())
            .expect("a record's topic is checked when it is made")
    }

    /// Properties to forward, as on the MQTT 5 wire, without their length.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        &self.bytes[self.topic_end()..self.properties_end() as usize]
    }

    /// The application's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.properties_end() as usize..]
    }

    /// The application's bytes, sharing this record's memory.
    #[must_use]
    pub fn payload_shared(&self) -> Bytes {
        self.bytes.slice(self.properties_end() as usize..)
    }

    fn topic_slice(&self) -> &[u8] {
        &self.bytes[Self::HEADER_BYTES..self.topic_end()]
    }

    fn topic_end(&self) -> usize {
        Self::HEADER_BYTES + usize::from(u16::from_le_bytes([self.bytes[2], self.bytes[3]]))
    }

    fn properties_end(&self) -> u64 {
        self.topic_end() as u64 + u64::from(self.u32_at(4))
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(
            self.bytes[at..at + 4]
                .try_into()
                .expect("four bytes of the header"),
        )
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(
            self.bytes[at..at + 8]
                .try_into()
                .expect("eight bytes of the header"),
        )
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Record({:?}, {} bytes)",
            self.topic(),
            self.payload().len()
        )
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Fewer bytes than a header has.
    Short {
        /// Bytes there were.
        found: usize,
    },
    /// A format of another version.
    Format {
        /// The format byte.
        found: u8,
    },
    /// Flags that no version writes.
    Flags {
        /// The flags byte.
        found: u8,
    },
    /// Lengths that reach past the end.
    Lengths {
        /// Where topic and properties would end.
        named: u64,
        /// Bytes there were.
        found: usize,
    },
    /// A topic that is not UTF-8.
    Topic,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { found } => write!(
                f,
                "record of {found} bytes is shorter than its header of 32"
            ),
            Self::Format { found } => write!(f, "record format {found} is not the known format 1"),
            Self::Flags { found } => write!(f, "record flags {found:#04x} name QoS 3"),
            Self::Lengths { named, found } => {
                write!(
                    f,
                    "record names {named} bytes of topic and properties but has {found}"
                )
            }
            Self::Topic => f.write_str("record topic is not UTF-8"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Hashes a topic name (FNV-1a, 32 bits): which uplink connection it takes, and whether two
/// records may share a topic. Stored, so it never changes.
#[must_use]
pub fn topic_hash(topic: &str) -> u32 {
    topic.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn parts<'a>() -> RecordParts<'a> {
        RecordParts {
            qos: 1,
            retain: true,
            from_cloud: false,
            time: WallTime(0x0102_0304_0506_0708),
            expiry_seconds: Some(0x0a0b_0c0d),
            publisher: 0x1112_1314_1516_1718,
            topic: "a/b",
            properties: &[0x01, 0x01],
            payload: b"21.5",
        }
    }

    #[rustfmt::skip]
    const GOLDEN: [u8; 41] = [
        1, 0b1_0101, 3, 0, 2, 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        0x0d, 0x0c, 0x0b, 0x0a,
        0xc1, 0x75, 0x8e, 0x3a,
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        b'a', b'/', b'b', 0x01, 0x01, b'2', b'1', b'.', b'5',
    ];

    #[test]
    fn the_stored_form_never_changes() {
        let record = Record::new(&parts());
        assert_eq!(record.as_bytes().as_ref(), GOLDEN);
        assert_eq!(Record::from_bytes(Bytes::from_static(&GOLDEN)), Ok(record));
    }

    #[test]
    fn hashes_are_fnv_1a_and_never_change() {
        // Published vectors of the algorithm.
        assert_eq!(topic_hash(""), 0x811c_9dc5);
        assert_eq!(topic_hash("foobar"), 0xbf9c_f968);
        assert_eq!(Record::publisher_hash("foobar"), 0x8594_4171_f739_67e8);
        assert_ne!(Record::publisher_hash(""), 0);
    }

    #[test]
    fn each_kind_of_wrong_record_is_told_apart() {
        let with = |at: usize, value: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = value;
            Record::from_bytes(Bytes::copy_from_slice(&bytes)).unwrap_err()
        };
        let short = Record::from_bytes(Bytes::from_static(&GOLDEN[..31])).unwrap_err();
        for (error, text) in [
            (short, "record of 31 bytes is shorter than its header of 32"),
            (with(0, 2), "record format 2 is not the known format 1"),
            (with(1, 3), "record flags 0x03 name QoS 3"),
            (
                with(4, 7),
                "record names 42 bytes of topic and properties but has 41",
            ),
            (with(32, 0xff), "record topic is not UTF-8"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn an_expiry_of_zero_is_an_expiry() {
        let expiry_seconds = Some(0);
        let record = Record::new(&RecordParts {
            expiry_seconds,
            ..parts()
        });
        assert_eq!(record.expiry_seconds(), Some(0));
        let expiry_seconds = None;
        let record = Record::new(&RecordParts {
            expiry_seconds,
            ..parts()
        });
        assert_eq!(record.expiry_seconds(), None);
    }

    #[test]
    fn lanes_have_stable_numbers_and_names() {
        let expected = [(0, "critical"), (1, "urgent"), (2, "normal")];
        for (lane, (number, name)) in Lane::ALL.into_iter().zip(expected) {
            assert_eq!((lane as u8, lane.name()), (number, name));
            assert_eq!(Lane::from_number(number), Some(lane));
        }
        assert_eq!(Lane::from_number(3), None);
        let mut per_lane = PerLane::from_fn(|lane| lane as u8);
        per_lane[Lane::Normal] += 5;
        let pairs = [(Lane::Critical, &0), (Lane::Urgent, &1), (Lane::Normal, &7)];
        assert!(per_lane.iter().eq(pairs));
    }

    proptest! {
        #[test]
        fn a_record_gives_back_its_parts(
            qos in 0_u8..3,
            retain: bool,
            from_cloud: bool,
            time: u64,
            expiry_seconds: Option<u32>,
            publisher: u64,
            topic in ".{1,20}",
            properties in prop::collection::vec(any::<u8>(), 0..20),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let time = WallTime(time);
            let record = Record::new(&RecordParts {
                qos,
                retain,
                from_cloud,
                time,
                expiry_seconds,
                publisher,
                topic: &topic,
                properties: &properties,
                payload: &payload,
            });
            prop_assert_eq!(record.qos(), qos);
            prop_assert_eq!(record.is_retained(), retain);
            prop_assert_eq!(record.is_from_cloud(), from_cloud);
            prop_assert_eq!(record.time(), time);
            prop_assert_eq!(record.expiry_seconds(), expiry_seconds);
            prop_assert_eq!(record.publisher(), publisher);
            prop_assert_eq!(record.topic(), &topic);
            prop_assert_eq!(record.topic_hash(), topic_hash(&topic));
            prop_assert_eq!(record.properties(), properties);
            prop_assert_eq!(record.payload(), &payload);
            prop_assert_eq!(record.payload_shared(), Bytes::from(payload));
            prop_assert_eq!(&Record::from_bytes(record.as_bytes().clone()), &Ok(record));
        }

        #[test]
        fn no_bytes_make_a_record_that_panics(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80),
            is_format_known: bool,
        ) {
            if is_format_known && bytes.len() >= 8 {
                bytes[0] = 1;
                bytes[3] = 0;
                bytes[5..8].fill(0);
            }
            if let Ok(record) = Record::from_bytes(Bytes::from(bytes)) {
                let parts = record.topic().len() + record.properties().len();
                let length = Record::HEADER_BYTES + parts + record.payload().len();
                prop_assert_eq!(length, record.as_bytes().len());
            }
        }
    }
}
