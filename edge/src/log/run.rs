//! Runs: records in a row as bytes, the appends of a frame and the body of a block.
//!
//! What a device says differs from what it said before in time and payload, seldom in more. So a
//! run has topic, properties, publisher and the rest of a record's head once, and then the number
//! of the record that has it.
//!
//! | entry | bytes |
//! | --- | --- |
//! | whole | 0, length of the record, [record](sync::Record) |
//! | reference | 1 + number of a whole record, time, length of the payload, payload |
//!
//! Whole records are numbered from 0 in the order of the run. A reference has everything but time
//! and payload from the record that it names, which is one before it. Its time is the difference to
//! that one's, modulo 2^64, in zigzag (0, -1, 1, -2, ...). All numbers are varints: seven bits a
//! byte, the lowest first, the highest bit set in all but the last.
//!
//! Promises that the same records in a row make the same bytes, that each record comes back bit for
//! bit, from its entry and the whole record alone, and that no bytes, whoever made them, decode to
//! more than a stated multiple of their own length. A writer keeps to that as well: a reference that
//! would pass it is written as a whole record.

use std::ops::Range;

use bytes::Bytes;
use sync::Record;

/// The writing side: remembers which whole records may be referred to. A table of fixed size and
/// one comparison a record; where more heads than it has room for take turns, some are written
/// more often than they had to be.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    slots: [Slot; SLOTS],
    whole_count: u32,
    size: Size,
}

/// A whole record that may be referred to.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// One more than its number; 0 for none.
    tag: u32,
    /// Where it begins.
    at: u32,
}

impl Encoder {
    /// Begins a run that is at most `expansion` times as long once decoded.
    pub(super) const fn new(expansion: u64) -> Self {
        Self {
            slots: [Slot { tag: 0, at: 0 }; SLOTS],
            whole_count: 0,
            size: Size::new(expansion),
        }
    }

    /// Adds a record. `into` has the entries before it, at the places where they were written.
    pub(super) fn push(&mut self, record: &Record, into: &mut Vec<u8>) {
        let start = into.len();
        let bytes = record.as_bytes();
        match self.find(record, into) {
            Ok(slot) => {
                let named = time(&into[slot.at as usize..]);
                put(into, slot.tag.into());
                put(into, zigzag(record.time().0.wrapping_sub(named)));
                put(into, record.payload().len() as u64);
                into.extend_from_slice(record.payload());
            }
            Err(place) => {
                put(into, 0);
                put(into, bytes.len() as u64);
                let at = u32::try_from(into.len());
                into.extend_from_slice(bytes);
                self.whole_count += 1;
                if let (Some(place), Ok(at)) = (place, at) {
                    let tag = self.whole_count;
                    self.slots[place] = Slot { tag, at };
                }
            }
        }
        self.size.add(into.len() - start, bytes.len());
    }

    /// Finds a whole record with the same head, or the slot that the next one takes, if it is
    /// another.
    fn find(&self, record: &Record, written: &[u8]) -> Result<Slot, Option<usize>> {
        let bytes = record.as_bytes();
        let payload = record.payload().len();
        let head = &bytes[..bytes.len() - payload];
        let publisher = record.publisher();
        let hash = record.topic_hash() ^ publisher as u32 ^ (publisher >> 32) as u32;
        let place = hash as usize % SLOTS;
        let mut oldest = place;
        for place in [place, place ^ 1] {
            let slot = self.slots[place];
            if slot.tag > 0 && has_head(&written[slot.at as usize..], head) {
                let has_room = self.size.has_room_for(LEAST_BYTES + payload, bytes.len());
                return has_room.then_some(slot).ok_or(None);
            }
            if slot.tag < self.slots[oldest].tag {
                oldest = place;
            }
        }
        Err(Some(oldest))
    }
}

/// The reading side: where the whole records of a run begin.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    whole: Vec<u32>,
    size: Size,
}

/// One record as it lies in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// All of it.
    Whole(Range<usize>),
    /// In two parts.
    Reference {
        head: Range<usize>,
        time: u64,
        payload: Range<usize>,
    },
}

impl Heads {
    /// Begins with a run that may be `expansion` times as long once decoded.
    pub(super) const fn new(expansion: u64) -> Self {
        Self {
            whole: Vec::new(),
            size: Size::new(expansion),
        }
    }

    /// Takes the entry that begins at `at`, the next one of the run; `None` when there is none that
    /// any writer made.
    pub(super) fn take(&mut self, run: &[u8], at: usize) -> Option<Entry> {
        let entry = self.entry(run, at)?;
        self.size.add(entry.end() - at, entry.record_bytes());
        if !self.size.has_room_for(0, 0) {
            return None;
        }
        if let Entry::Whole(range) = &entry {
            head_bytes(&run[range.clone()])?;
            self.whole.push(u32::try_from(range.start).ok()?);
        }
        Some(entry)
    }

    /// Reads an entry that was taken before.
    pub(super) fn entry(&self, run: &[u8], mut at: usize) -> Option<Entry> {
        let Some(number) = number(run, &mut at)?.checked_sub(1) else {
            return Some(Entry::Whole(sized(run, at)?));
        };
        let start = *self.whole.get(usize::try_from(number).ok()?)? as usize;
        let bytes = run.get(start..)?;
        let head = start..start + head_bytes(bytes)?;
        let difference = unzigzag(self::number(run, &mut at)?);
        Some(Entry::Reference {
            head,
            time: time(bytes).wrapping_add(difference),
            payload: sized(run, at)?,
        })
    }

    /// What the places take in memory.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.whole.len() * size_of::<u32>()
    }
}

impl Entry {
    /// Where the next one begins.
    pub(super) const fn end(&self) -> usize {
        match self {
            Self::Whole(part) | Self::Reference { payload: part, .. } => part.end,
        }
    }

    /// Bytes of the record.
    pub(super) const fn record_bytes(&self) -> usize {
        match self {
            Self::Whole(all) => all.end - all.start,
            Self::Reference { head, payload, .. } => {
                head.end - head.start + payload.end - payload.start
            }
        }
    }

    /// Makes a copy of the record.
    pub(super) fn to_bytes(&self, run: &[u8]) -> Bytes {
        match self {
            Self::Whole(all) => Bytes::copy_from_slice(&run[all.clone()]),
            Self::Reference {
                head,
                time,
                payload,
            } => {
                let mut record = Vec::with_capacity(self.record_bytes());
                record.extend_from_slice(&run[head.clone()]);
                record[TIME_AT..REST_AT].copy_from_slice(&time.to_le_bytes());
                record.extend_from_slice(&run[payload.clone()]);
                Bytes::from(record)
            }
        }
    }
}

/// The most bytes that a record takes in a run.
pub(super) fn most_bytes(record: &Record) -> usize {
    let bytes = record.as_bytes().len();
    let bits = usize::BITS - bytes.leading_zeros();
    1 + bits.div_ceil(7) as usize + bytes
}

/// The least bytes that a record takes in a run.
pub(super) fn least_bytes(record: &Record) -> usize {
    LEAST_BYTES + record.payload().len()
}

/// How long a run is, as it is and decoded.
#[derive(Clone, Copy, Debug)]
struct Size {
    expansion: u64,
    encoded: u64,
    decoded: u64,
}

impl Size {
    const fn new(expansion: u64) -> Self {
        Self {
            expansion,
            encoded: 0,
            decoded: 0,
        }
    }

    const fn add(&mut self, encoded: usize, decoded: usize) {
        self.encoded += encoded as u64;
        self.decoded += decoded as u64;
    }

    const fn has_room_for(&self, encoded: usize, decoded: usize) -> bool {
        let most = (self.encoded + encoded as u64).saturating_mul(self.expansion);
        self.decoded + decoded as u64 <= most
    }
}

/// Whether a record has this head, whatever its time is.
fn has_head(record: &[u8], head: &[u8]) -> bool {
    record[..TIME_AT] == head[..TIME_AT] && record[REST_AT..head.len()] == head[REST_AT..]
}

/// Bytes of a record before its payload; `None` when it is no record.
fn head_bytes(record: &[u8]) -> Option<usize> {
    let header = record.get(..Record::HEADER_BYTES)?;
    let topic = u16::from_le_bytes([header[2], header[3]]);
    let properties = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let properties = usize::try_from(properties).ok()?;
    let bytes = (Record::HEADER_BYTES + usize::from(topic)).checked_add(properties)?;
    (bytes <= record.len()).then_some(bytes)
}

/// The time of a record whose header is known to be there.
fn time(record: &[u8]) -> u64 {
    let mut time = [0; REST_AT - TIME_AT];
    time.copy_from_slice(&record[TIME_AT..REST_AT]);
    u64::from_le_bytes(time)
}

fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn number(run: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *run.get(*at)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The bytes behind a length that is checked.
fn sized(run: &[u8], mut at: usize) -> Option<Range<usize>> {
    let bytes = usize::try_from(number(run, &mut at)?).ok()?;
    let end = at.checked_add(bytes)?;
    (end <= run.len()).then_some(at..end)
}

const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64 >> 63) as u64)
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Where a record has its time, and what is behind it.
const TIME_AT: usize = 8;
const REST_AT: usize = 16;
/// A reference without a payload.
pub(super) const LEAST_BYTES: usize = 3;
/// 8 KiB. A hundred topics that take turns lose a tenth of what they could have saved.
const SLOTS: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sync::{RecordParts, WallTime};

    use super::super::samples;
    use super::*;

    const EXPANSION: u64 = 16;

    fn record(topic: &str, time: u64, payload: &[u8]) -> Record {
        samples::record(7, topic, time, payload)
    }

    fn encoded(records: &[Record]) -> Vec<u8> {
        let (mut run, mut bytes) = (Encoder::new(EXPANSION), Vec::new());
        records.iter().for_each(|it| run.push(it, &mut bytes));
        bytes
    }

    fn decoded(run: &[u8], expansion: u64) -> Option<Vec<Bytes>> {
        let (mut heads, mut at, mut records) = (Heads::new(expansion), 0, Vec::new());
        while at < run.len() {
            let entry = heads.take(run, at)?;
            assert_eq!(heads.entry(run, at), Some(entry.clone()));
            assert!(entry.end() > at);
            at = entry.end();
            records.push(entry.to_bytes(run));
            assert_eq!(records.last().map(Bytes::len), Some(entry.record_bytes()));
        }
        Some(records)
    }

    fn round_trip(records: &[Record]) -> usize {
        let bytes = encoded(records);
        let expected: Vec<Bytes> = records.iter().map(|it| it.as_bytes().clone()).collect();
        assert_eq!(decoded(&bytes, EXPANSION), Some(expected));
        bytes.len()
    }

    #[test]
    fn bytes_of_a_run_never_change() {
        let records = [
            record("a", 1000, b"x"),
            record("b", 1000, &[7; 200]),
            record("a", 999, b"yz"),
            record("b", 1064, b""),
        ];
        let mut golden = b"\x00\x22".to_vec();
        golden.extend_from_slice(records[0].as_bytes());
        golden.extend_from_slice(b"\x00\xe9\x01");
        golden.extend_from_slice(records[1].as_bytes());
        golden.extend_from_slice(b"\x01\x01\x02yz");
        golden.extend_from_slice(b"\x02\x80\x01\x00");
        assert_eq!(encoded(&records), golden);
        round_trip(&records);
    }

    #[test]
    fn odd_records_come_back() {
        let properties = vec![1; 70_000];
        let huge = Record::new(&RecordParts {
            qos: 0,
            retain: true,
            from_cloud: true,
            time: WallTime(u64::MAX),
            expiry_seconds: Some(u32::MAX),
            publisher: u64::MAX,
            topic: "",
            properties: &properties,
            payload: &[],
        });
        let times = [0, u64::MAX, 1 << 63, (1 << 63) - 1, 0];
        let mut records: Vec<Record> = times.iter().map(|it| record("", *it, b"")).collect();
        records.extend([huge.clone(), huge]);
        round_trip(&records);
        // Of the second one only a reference is there.
        assert!(encoded(&records).len() < 70_500);
    }

    #[test]
    fn what_telemetry_says_again_takes_its_payload_and_four_bytes_at_most() {
        let topics: Vec<String> = (0..100).map(|it| format!("plant/{it}/x")).collect();
        let topics = topics.iter().cycle().zip(0_u64..10_000);
        let records: Vec<Record> = topics
            .map(|(topic, at)| record(topic, 1_700_000_000_000 + at / 4, &[9; 30]))
            .collect();
        let bytes = round_trip(&records);
        assert!(bytes < 34 * 10_000 + 100 * 100, "{bytes}");
    }

    #[test]
    fn more_heads_than_slots_come_back() {
        let topics: Vec<String> = (0..3000).map(|it| format!("t{it}")).collect();
        let records: Vec<Record> = topics
            .iter()
            .chain(&topics)
            .map(|topic| record(topic, 5, b"p"))
            .collect();
        round_trip(&records);
    }

    #[test]
    fn a_run_never_decodes_to_more_than_its_expansion() {
        let topic = "t".repeat(60_000);
        let records: Vec<Record> = (0..100).map(|at| record(&topic, at, b"p")).collect();
        let bytes = round_trip(&records);
        assert!(bytes as u64 * EXPANSION >= 100 * 60_033, "{bytes}");
        // One that a hostile hand made.
        let mut crafted = encoded(&records[..1]);
        (0..100).for_each(|_| crafted.extend(b"\x01\x00\x00"));
        assert_eq!(decoded(&crafted, EXPANSION), None);
        assert!(decoded(&crafted, 200).is_some());
    }

    #[test]
    fn entries_that_no_writer_made_are_refused() {
        let whole = encoded(&[record("t", 1, b"p")]);
        let behind = |entry: &[u8]| decoded(&[&whole[..], entry].concat(), EXPANSION);
        assert!(behind(b"\x01\x00\x01q").is_some());
        for (entry, what) in [
            (&b"\x02\x00\x00"[..], "a record that is not there"),
            (b"\x01\x00\x02q", "a payload that ends behind the run"),
            (b"\x01\x00", "no length"),
            (b"\x00\x04abcd", "a record without a header"),
            (
                b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "a length past all ends",
            ),
            (
                b"\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00",
                "more than 64 bits",
            ),
            (
                b"\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00",
                "eleven bytes",
            ),
        ] {
            assert_eq!(behind(entry), None, "{what}");
        }
        let mut long_head = record("t", 1, b"p").as_bytes().to_vec();
        long_head[4] = 2;
        let run = [b"\x00\x22", &long_head[..]].concat();
        assert_eq!(decoded(&run, EXPANSION), None);
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let one = (
            (0_u8..3, any::<bool>(), any::<bool>()),
            prop_oneof![any::<u64>(), 0_u64..100],
            prop::option::of(0_u32..2),
            prop_oneof![any::<u64>(), 0_u64..3],
            prop_oneof!["[ab]{0,2}", ".{0,30}"],
            prop::collection::vec(any::<u8>(), 0..3),
            prop::collection::vec(any::<u8>(), 0..40),
        );
        let record = one.prop_map(
            |(flags, time, expiry_seconds, publisher, topic, props, payload)| {
                let (qos, retain, from_cloud) = flags;
                Record::new(&RecordParts {
                    qos,
                    retain,
                    from_cloud,
                    time: WallTime(time),
                    expiry_seconds,
                    publisher,
                    topic: &topic,
                    properties: &props,
                    payload: &payload,
                })
            },
        );
        (
            prop::collection::vec(record, 1..20),
            prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        )
            .prop_map(|(few, order)| order.iter().map(|it| it.get(&few).clone()).collect())
    }

    proptest! {
        #[test]
        fn any_records_come_back_and_are_no_longer_than_said(records in records()) {
            let bytes = encoded(&records);
            prop_assert_eq!(&bytes, &encoded(&records));
            let most: usize = records.iter().map(most_bytes).sum();
            let least: usize = records.iter().map(least_bytes).sum();
            prop_assert!(least <= bytes.len() && bytes.len() <= most);
            round_trip(&records);
        }

        #[test]
        fn no_bytes_make_a_run_that_panics_or_grows(
            records in records(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut: prop::sample::Index,
        ) {
            let mut bytes = encoded(&records);
            if !bytes.is_empty() {
                let len = bytes.len();
                damage.iter().for_each(|(at, byte)| bytes[at.index(len)] = *byte);
                bytes.truncate(cut.index(bytes.len()) + 1);
            }
            if let Some(found) = decoded(&bytes, EXPANSION) {
                let total: usize = found.iter().map(Bytes::len).sum();
                prop_assert!(total as u64 <= bytes.len() as u64 * EXPANSION);
            }
        }
    }
}
