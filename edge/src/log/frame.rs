//! Journal frames: one batch as bytes.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | `RMQF` |
//! | 4 | 2 | format, 3 |
//! | 6 | 2 | zero |
//! | 8 | 8 | salt of the journal |
//! | 16 | 4 | epoch of the log |
//! | 20 | 4 | number of changes |
//! | 24 | 8 | sequence: one more than the frame before |
//! | 32 | 8 | wall time of the commit, milliseconds |
//! | 40 | 24 | for each lane the offset that the frame's first append to it has |
//! | 64 | 24 | for each lane the offset that the next frame's first append to it has |
//! | 88 | 4 | length of the body |
//! | 92 | 4 | CRC32C of bytes 0 to 91 |
//! | 96 | 4 | CRC32C of bytes 0 to 95 and of the body |
//! | 100 | | body: the changes |
//!
//! | change | bytes |
//! | --- | --- |
//! | append | 16 + lane, entry of the frame's [run] |
//! | put | 2, table (1), key length (2), value length (4), key, value |
//! | delete | 3, table (1), key length (2), key |
//!
//! All integers are little-endian. The records of all appends, whatever their lanes, are one run, which
//! is at most [`EXPANSION`] times as long once decoded. A frame is padded with zeros to whole pages of 4 KiB, and its last
//! 100 bytes are its header again: a last frame whose beginning is damaged is read with that one, and
//! where its body is not whole either it is known that there was one, and which offsets it took.
//!
//! A frame of nothing but gaps has its body twice, where the padding has room for it: right before
//! that copy of the header as well. Which of both a power cut or a damage left does not matter, since
//! what a gap says is true whether anybody was told that it is stored or not.
//!
//! The offsets of a lane may be more than the frame has appends to it: then it has none, and the
//! records went straight into the lane's segments before the frame was written.
//!
//! The salt is what keeps a frame from being forged: after a wrap the place where the next frame
//! is expected holds old bytes, and a publisher decides what some of those are.
//!
//! The header has a checksum of its own, so that of a frame whose body is not whole it is known at
//! least which offsets it took. What recovery knows of a header beforehand, magic to epoch and the
//! sequence, is checked as part of the checksum only: damage there harms nothing.

use sync::{Change, Epoch, Lane, Offset, PerLane, Record, Table, WallTime};

use super::run::{self, Encoder, Heads};
use super::{Batch, LogError};

/// What a frame must say to be the one that recovery looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) salt: u64,
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
}

/// The offsets that a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Of its first append to each lane.
    pub(super) first: PerLane<Offset>,
    /// Of the first append after it.
    pub(super) next: PerLane<Offset>,
}

impl Span {
    /// That of a frame which holds all records of its batch.
    pub(super) fn of(batch: &Batch, first: PerLane<Offset>) -> Self {
        let mut next = first;
        for change in &batch.changes {
            if let Change::Append { lane, .. } = change {
                next[*lane] = next[*lane].next();
            }
        }
        Self { first, next }
    }
}

/// A frame as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) identity: Identity,
    pub(super) wall: WallTime,
    pub(super) first: PerLane<Offset>,
    /// The offsets that the frame after this one begins with.
    pub(super) next: PerLane<Offset>,
    pub(super) batch: Batch,
    /// Bytes in the file, padding included.
    pub(super) padded_bytes: u64,
}

impl Frame {
    /// Gives for each lane whose records went straight into a segment the offset after them.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Lane, Offset)> {
        let own = Span::of(&self.batch, self.first).next;
        let lanes = Lane::ALL.into_iter();
        let stored = lanes.filter(move |lane| own[*lane] < self.next[*lane]);
        stored.map(|lane| (lane, self.next[lane]))
    }
}

/// A header that matches its own checksum; the body may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) first: PerLane<Offset>,
    pub(super) next: PerLane<Offset>,
    /// Bytes of the frame in the file, padding included.
    pub(super) padded_bytes: u64,
    wall: WallTime,
    change_count: u32,
    body_bytes: u32,
}

/// The most bytes of a frame in the file, padding included; about what its changes take in memory.
pub(super) fn padded_bytes(batch: &Batch) -> u64 {
    let body: usize = batch.changes.iter().map(change_bytes).sum();
    padded(body as u64)
}

/// Body with header, its copy, and padding.
const fn padded(body_bytes: u64) -> u64 {
    (HEADER_BYTES as u64 + body_bytes + HEADER_BYTES as u64).next_multiple_of(PAGE_BYTES)
}

/// Writes a frame over `into`, padding included.
///
/// # Errors
/// When a key is too long, or a record, a value or the whole body over 4 GiB.
pub(super) fn encode(
    batch: &Batch,
    identity: Identity,
    wall: WallTime,
    span: Span,
    into: &mut Vec<u8>,
) -> Result<(), LogError> {
    into.clear();
    into.resize(HEADER_BYTES, 0);
    let mut run = Encoder::new(EXPANSION);
    for change in &batch.changes {
        encode_change(change, &mut run, into)?;
    }
    let body = length_u32(into.len() - HEADER_BYTES)?;
    write_identity(identity, into);
    into[20..24].copy_from_slice(&length_u32(batch.changes.len())?.to_le_bytes());
    into[32..40].copy_from_slice(&wall.0.to_le_bytes());
    for (at, offsets) in [(40, span.first), (64, span.next)] {
        for (lane, offset) in offsets.iter() {
            let at = at + 8 * lane as usize;
            into[at..at + 8].copy_from_slice(&offset.0.to_le_bytes());
        }
    }
    into[88..92].copy_from_slice(&body.to_le_bytes());
    let crc = crc32c::crc32c(&into[..92]);
    into[92..96].copy_from_slice(&crc.to_le_bytes());
    let crc = checksum(&into[..96], &into[HEADER_BYTES..]);
    into[96..100].copy_from_slice(&crc.to_le_bytes());
    into.resize(padded(u64::from(body)) as usize, 0);
    let copy_at = into.len() - HEADER_BYTES;
    into.copy_within(..HEADER_BYTES, copy_at);
    let body = HEADER_BYTES..HEADER_BYTES + body as usize;
    let again_at = copy_at - body.len();
    if again_at >= body.end && batch.changes.iter().all(is_gap) {
        into.copy_within(body, again_at);
    }
    Ok(())
}

fn is_gap(change: &Change) -> bool {
    matches!(change, Change::Put { table: Table::Gaps, key, .. } if key.is_empty())
}

/// Reads the header at the beginning of a page; `None` when it is not that of the frame that is
/// looked for.
pub(super) fn peek(page: &[u8], expected: Identity) -> Option<Header> {
    let header = expected_header(page, expected)?;
    if crc32c::crc32c(&header[..92]) != u32_at(&header, 92) {
        return None;
    }
    let offsets =
        |at: usize| PerLane::from_fn(|lane| Offset(u64_at(&header, at + 8 * lane as usize)));
    let body_bytes = u32_at(&header, 88);
    Some(Header {
        identity: expected,
        first: offsets(40),
        next: offsets(64),
        padded_bytes: padded(u64::from(body_bytes)),
        wall: WallTime(u64_at(&header, 32)),
        change_count: u32_at(&header, 20),
        body_bytes,
    })
}

/// Reads the copy of a header at the end of a frame's last page.
pub(super) fn peek_at_end(page: &[u8], expected: Identity) -> Option<Header> {
    let at = page.len().checked_sub(HEADER_BYTES)?;
    let copy = &page[at..];
    // Not as lenient as at the beginning, where something is expected.
    peek(copy, expected).filter(|_| resembles(copy, expected))
}

/// Whether a page begins with the expected frame's own words, whatever else it says.
pub(super) fn resembles(page: &[u8], expected: Identity) -> bool {
    expected_header(page, expected)
        .is_some_and(|header| page[..20] == header[..20] && page[24..32] == header[24..32])
}

/// The sequence that a page claims to have, for looking at pages without expecting one.
pub(super) fn claimed_sequence(page: &[u8]) -> u64 {
    u64_at(page, 24)
}

/// The sequence that the end of a page claims to have, if it is the last of a frame.
pub(super) fn claimed_at_end(page: &[u8]) -> u64 {
    claimed_sequence(&page[page.len() - HEADER_BYTES..])
}

/// Reads a frame, all of it, that [`peek`] or [`peek_at_end`] found; `None` when it is torn or
/// damaged.
pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Frame> {
    let copy = bytes.get(bytes.len().checked_sub(HEADER_BYTES)?..)?;
    let mut heads = [bytes, copy].into_iter();
    heads.find_map(|head| decode_under(head, bytes, identity))
}

/// Reads a frame with one of its headers.
fn decode_under(head: &[u8], bytes: &[u8], identity: Identity) -> Option<Frame> {
    let header = peek(head, identity)?;
    let head = expected_header(head, identity)?;
    let is_whole = |body: &&[u8]| checksum(&head[..96], body) == u32_at(&head, 96);
    let body_bytes = header.body_bytes as usize;
    let body = bytes[HEADER_BYTES..].get(..body_bytes);
    let end = bytes.len() - HEADER_BYTES;
    let again = || bytes.get(end.checked_sub(body_bytes)?..end);
    let body = body.filter(is_whole).or_else(|| again().filter(is_whole))?;
    let mut changes = Vec::new();
    let (mut at, mut run) = (0, Heads::new(EXPANSION));
    for _ in 0..header.change_count {
        changes.push(decode_change(body, &mut at, &mut run)?);
    }
    Some(Frame {
        identity,
        wall: header.wall,
        first: header.first,
        next: header.next,
        batch: Batch { changes },
        padded_bytes: header.padded_bytes,
    })
}

/// The header of a page with what is known of it beforehand put in its place.
fn expected_header(page: &[u8], expected: Identity) -> Option<[u8; HEADER_BYTES]> {
    let mut header: [u8; HEADER_BYTES] = page.get(..HEADER_BYTES)?.try_into().ok()?;
    write_identity(expected, &mut header);
    Some(header)
}

fn write_identity(identity: Identity, header: &mut [u8]) {
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    header[6..8].fill(0);
    header[8..16].copy_from_slice(&identity.salt.to_le_bytes());
    header[16..20].copy_from_slice(&identity.epoch.0.to_le_bytes());
    header[24..32].copy_from_slice(&identity.sequence.to_le_bytes());
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Append { record, .. } => 1 + run::most_bytes(record),
        Change::Put { key, value, .. } => 8 + key.len() + value.len(),
        Change::Delete { key, .. } => 4 + key.len(),
    }
}

fn encode_change(change: &Change, run: &mut Encoder, into: &mut Vec<u8>) -> Result<(), LogError> {
    match change {
        Change::Append { lane, record } => {
            into.push(APPEND + *lane as u8);
            run.push(record, into);
        }
        Change::Put { table, key, value } => {
            into.extend_from_slice(&[PUT, *table as u8]);
            into.extend_from_slice(&key_length(key)?.to_le_bytes());
            into.extend_from_slice(&length_u32(value.len())?.to_le_bytes());
            into.extend_from_slice(key);
            into.extend_from_slice(value);
        }
        Change::Delete { table, key } => {
            into.extend_from_slice(&[DELETE, *table as u8]);
            into.extend_from_slice(&key_length(key)?.to_le_bytes());
            into.extend_from_slice(key);
        }
    }
    Ok(())
}

fn decode_change(body: &[u8], at: &mut usize, run: &mut Heads) -> Option<Change> {
    match take(body, at, 1)?[0] {
        PUT => {
            let table = Table::from_number(take(body, at, 1)?[0])?;
            let key_length = u16_at(take(body, at, 2)?, 0);
            let value_length = u32_at(take(body, at, 4)?, 0) as usize;
            let key = take(body, at, key_length)?.to_vec();
            let value = take(body, at, value_length)?.to_vec();
            Some(Change::Put { table, key, value })
        }
        DELETE => {
            let table = Table::from_number(take(body, at, 1)?[0])?;
            let key_length = u16_at(take(body, at, 2)?, 0);
            let key = take(body, at, key_length)?.to_vec();
            Some(Change::Delete { table, key })
        }
        append => {
            let lane = Lane::from_number(append.checked_sub(APPEND)?)?;
            let entry = run.take(body, *at)?;
            *at = entry.end();
            // A copy: a record that outlives the replay must not keep the whole frame.
            let record = Record::from_bytes(entry.to_bytes(body)).ok()?;
            Some(Change::Append { lane, record })
        }
    }
}

fn take<'a>(body: &'a [u8], at: &mut usize, count: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(count)?;
    let taken = body.get(*at..end)?;
    *at = end;
    Some(taken)
}

fn key_length(key: &[u8]) -> Result<u16, LogError> {
    u16::try_from(key.len()).map_err(|_| LogError::KeyTooLong { found: key.len() })
}

fn length_u32(length: usize) -> Result<u32, LogError> {
    u32::try_from(length).map_err(|_| LogError::TooLarge {
        found: length as u64,
        allowed: u64::from(u32::MAX),
    })
}

/// Covers everything but the checksum itself and the padding.
fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Reads a little-endian number whose place was checked.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Reads a little-endian number whose place was checked.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Frames and the journal's header are whole pages of this size: no acknowledged page is written
/// again before its frame is in redb, because a torn overwrite can take old bytes along.
pub(super) const PAGE_BYTES: u64 = 4096;
pub(super) const HEADER_BYTES: usize = 100;
const MAGIC: [u8; 4] = *b"RMQF";
/// How much longer the records of a frame may be once decoded. All of a journal may be read at a
/// start, when the state is lost; and what it saves is seldom more.
const EXPANSION: u64 = 4;
const FORMAT: u16 = 3;
const PUT: u8 = 2;
const DELETE: u8 = 3;
/// With the number of the lane added.
const APPEND: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::samples;
    use super::*;

    const IDENTITY: Identity = Identity {
        salt: 0x1122_3344_5566_7788,
        epoch: Epoch(7),
        sequence: 42,
    };

    fn batch() -> Batch {
        let record = samples::record(2, "t", 1, b"p");
        Batch {
            changes: vec![
                Change::Append {
                    lane: Lane::Normal,
                    record,
                },
                Change::Put {
                    table: Table::Cursors,
                    key: b"k".to_vec(),
                    value: b"v".to_vec(),
                },
                Change::Delete {
                    table: Table::Sessions,
                    key: b"s".to_vec(),
                },
            ],
        }
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        let first = PerLane([Offset(1), Offset(2), Offset(3)]);
        let span = Span::of(&batch(), first);
        encode(&batch(), IDENTITY, WallTime(9), span, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bytes_of_a_frame_never_change() {
        let bytes = encoded();
        let mut golden = Vec::new();
        golden.extend_from_slice(b"RMQF\x03\0\0\0");
        golden.extend_from_slice(b"\x88\x77\x66\x55\x44\x33\x22\x11");
        golden.extend_from_slice(b"\x07\0\0\0\x03\0\0\0");
        golden.extend_from_slice(b"\x2a\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x34\0\0\0");
        golden.extend_from_slice(&HEADER_CRC.to_le_bytes());
        golden.extend_from_slice(&CRC.to_le_bytes());
        golden.extend_from_slice(b"\x12\x00\x22");
        golden.extend_from_slice(b"\x01\x01\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0");
        golden.extend_from_slice(&sync::topic_hash("t").to_le_bytes());
        golden.extend_from_slice(b"\x02\0\0\0\0\0\0\0tp");
        golden.extend_from_slice(b"\x02\x03\x01\0\x01\0\0\0kv");
        golden.extend_from_slice(b"\x03\x01\x01\0s");
        assert_eq!(bytes[..golden.len()], golden);
        let copy_at = 4096 - HEADER_BYTES;
        assert_eq!(
            bytes[golden.len()..copy_at],
            vec![0; copy_at - golden.len()]
        );
        assert_eq!(bytes[copy_at..], bytes[..HEADER_BYTES]);
    }

    const HEADER_CRC: u32 = 0x050b_8224;
    const CRC: u32 = 0xe2f5_3ab1;

    #[test]
    fn a_frame_reads_back_as_it_was() {
        let bytes = encoded();
        let frame = decode(&bytes, IDENTITY).unwrap();
        assert_eq!(frame.batch, batch());
        assert_eq!(frame.wall, WallTime(9));
        assert_eq!(frame.first, PerLane([Offset(1), Offset(2), Offset(3)]));
        assert_eq!(frame.padded_bytes, 4096);
        assert_eq!(padded_bytes(&batch()), 4096);
    }

    #[test]
    fn appends_of_all_lanes_are_one_run() {
        let mut batch = batch();
        let append = |lane| match &batch.changes[0] {
            Change::Append { record, .. } => Change::Append {
                lane,
                record: record.clone(),
            },
            _ => unreachable!(),
        };
        let others = [append(Lane::Critical), append(Lane::Urgent)];
        batch.changes.extend(others);
        let mut bytes = Vec::new();
        let span = Span::of(&batch, PerLane::default());
        encode(&batch, IDENTITY, WallTime(9), span, &mut bytes).unwrap();
        let body = &bytes[HEADER_BYTES..];
        assert_eq!(body[0x34..][..11], *b"\x10\x01\x00\x01p\x11\x01\x00\x01p\0");
        assert_eq!(decode(&bytes, IDENTITY).unwrap().batch, batch);
    }

    #[test]
    fn no_frame_is_larger_than_said_and_its_records_are_not_too_large_for_memory() {
        let topic = "t".repeat(10_000);
        let append = |number: u64| Change::Append {
            lane: Lane::Normal,
            record: samples::record(number / 50, &topic, number, &[0; 100]),
        };
        for count in [1, 2, 10, 200] {
            let batch = Batch {
                changes: (0..count).map(append).collect(),
            };
            let mut bytes = Vec::new();
            let span = Span::of(&batch, PerLane::default());
            encode(&batch, IDENTITY, WallTime(9), span, &mut bytes).unwrap();
            let said = padded_bytes(&batch);
            assert!(bytes.len() as u64 <= said && said <= EXPANSION * bytes.len() as u64);
            assert_eq!(decode(&bytes, IDENTITY).unwrap().batch, batch);
        }
    }

    #[test]
    fn a_frame_names_records_that_are_in_segments() {
        let first = PerLane([Offset(1), Offset(2), Offset(3)]);
        let next = PerLane([Offset(1), Offset(9), Offset(4)]);
        let mut bytes = Vec::new();
        let span = Span { first, next };
        encode(&batch(), IDENTITY, WallTime(9), span, &mut bytes).unwrap();
        let frame = decode(&bytes, IDENTITY).unwrap();
        let stored: Vec<_> = frame.stored().collect();
        assert_eq!(stored, [(Lane::Urgent, Offset(9))]);
        let own = decode(&encoded(), IDENTITY).unwrap();
        assert_eq!(own.stored().count(), 0);
    }

    #[test]
    fn a_changed_byte_is_noticed_or_was_known_beforehand() {
        let bytes = encoded();
        let whole = decode(&bytes, IDENTITY);
        let body = &bytes[..4096 - HEADER_BYTES];
        let used = body.iter().rposition(|byte| *byte != 0).unwrap();
        for at in 0..=used {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            // There is a second header.
            let is_known = at < HEADER_BYTES;
            let found = decode(&torn, IDENTITY);
            assert_eq!(found, whole.clone().filter(|_| is_known), "byte {at}");
            let is_found = peek(&torn, IDENTITY).is_some();
            let is_known = at < 20 || (24..32).contains(&at) || at >= 96;
            assert_eq!(is_found, is_known, "byte {at}");
        }
    }

    #[test]
    fn a_header_says_which_offsets_a_torn_frame_took() {
        let mut bytes = encoded();
        bytes[HEADER_BYTES..].fill(0);
        let header = peek(&bytes, IDENTITY).unwrap();
        let mut end = encoded();
        end[..4096 - HEADER_BYTES].fill(7);
        assert_eq!(peek_at_end(&end, IDENTITY), Some(header));
        assert_eq!(header.first, PerLane([Offset(1), Offset(2), Offset(3)]));
        assert_eq!(header.next, PerLane([Offset(1), Offset(2), Offset(4)]));
        assert_eq!(header.padded_bytes, PAGE_BYTES);
        assert!(resembles(&bytes, IDENTITY));
        bytes[40] ^= 1;
        assert!(peek(&bytes, IDENTITY).is_none() && resembles(&bytes, IDENTITY));
    }

    #[test]
    fn a_frame_of_another_identity_is_not_taken() {
        let bytes = encoded();
        for other in [
            Identity {
                salt: 1,
                ..IDENTITY
            },
            Identity {
                epoch: Epoch(8),
                ..IDENTITY
            },
            Identity {
                sequence: 43,
                ..IDENTITY
            },
        ] {
            assert_eq!(peek(&bytes, other), None);
            assert!(!resembles(&bytes, other));
        }
    }

    #[test]
    fn a_key_over_its_limit_is_refused() {
        let change = Change::Delete {
            table: Table::Sessions,
            key: vec![0; 65_536],
        };
        let batch = Batch {
            changes: vec![change],
        };
        let refused = encode(
            &batch,
            IDENTITY,
            WallTime(0),
            Span::of(&batch, PerLane::default()),
            &mut Vec::new(),
        );
        assert!(matches!(
            refused,
            Err(LogError::KeyTooLong { found: 65_536 })
        ));
    }

    proptest! {
        /// Whatever a frame says, with checksums that are right or not.
        #[test]
        fn no_bytes_make_a_frame_that_panics(
            harm in prop::collection::vec((20_usize..160, any::<u8>()), 0..5),
            body_bytes in prop::option::of(any::<u32>()),
            cut: Option<Index>,
            is_sealed: bool,
        ) {
            let whole = encoded();
            let mut bytes = whole.clone();
            harm.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            let stated = body_bytes.unwrap_or_else(|| u32_at(&bytes, 88));
            bytes[88..92].copy_from_slice(&stated.to_le_bytes());
            if is_sealed {
                write_identity(IDENTITY, &mut bytes);
                let crc = crc32c::crc32c(&bytes[..92]);
                bytes[92..96].copy_from_slice(&crc.to_le_bytes());
                let end = (HEADER_BYTES + stated as usize).min(bytes.len());
                let crc = checksum(&bytes[..96], &bytes[HEADER_BYTES..end]);
                bytes[96..100].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let header = peek(&bytes, IDENTITY);
            prop_assert!(header.is_none_or(|it| it.padded_bytes >= PAGE_BYTES));
            let _ = (peek_at_end(&bytes, IDENTITY), resembles(&bytes, IDENTITY));
            if let Some(frame) = decode(&bytes, IDENTITY) {
                prop_assert!(frame.batch.changes.len() <= bytes.len());
                prop_assert!(is_sealed || frame.batch == batch());
            }
        }
    }
}
