//! Journal frames: one batch as bytes.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | `RMQF` |
//! | 4 | 2 | format, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | salt of the journal |
//! | 16 | 4 | epoch of the log |
//! | 20 | 4 | number of changes |
//! | 24 | 8 | sequence: one more than the frame before |
//! | 32 | 8 | wall time of the commit, milliseconds |
//! | 40 | 24 | for each lane the offset that the frame's first append to it has |
//! | 64 | 4 | length of the body |
//! | 68 | 4 | CRC32C of bytes 0 to 67 and of the body |
//! | 72 | | body: the changes |
//!
//! | change | bytes |
//! | --- | --- |
//! | append | 1, lane (1), record length (4), record |
//! | put | 2, table (1), key length (2), value length (4), key, value |
//! | delete | 3, table (1), key length (2), key |
//!
//! All integers are little-endian. A frame is padded with zeros to whole pages of 4 KiB.
//!
//! The salt is what keeps a frame from being forged: after a wrap the place where the next frame
//! is expected holds old bytes, and a publisher decides what some of those are.

use bytes::Bytes;
use sync::{Change, Epoch, Lane, Offset, PerLane, Record, Table, WallTime};

use super::{Batch, LogError};

/// What a frame must say to be the one that recovery looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) salt: u64,
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
}

/// A frame as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) identity: Identity,
    pub(super) wall: WallTime,
    pub(super) first: PerLane<Offset>,
    pub(super) batch: Batch,
    /// Bytes in the file, padding included.
    pub(super) padded_bytes: u64,
}

impl Frame {
    /// The offsets that the frame after this one begins with.
    pub(super) fn next(&self) -> PerLane<Offset> {
        let mut next = self.first;
        for change in &self.batch.changes {
            if let Change::Append { lane, .. } = change {
                next[*lane] = next[*lane].next();
            }
        }
        next
    }
}

/// Bytes of a frame in the file, padding included.
pub(super) fn padded_bytes(batch: &Batch) -> u64 {
    let body: usize = batch.changes.iter().map(change_bytes).sum();
    ((HEADER_BYTES + body) as u64).next_multiple_of(PAGE_BYTES)
}

/// Writes a frame over `into`, padding included.
///
/// # Errors
/// When a key is too long, or a record, a value or the whole body over 4 GiB.
pub(super) fn encode(
    batch: &Batch,
    identity: Identity,
    wall: WallTime,
    first: PerLane<Offset>,
    into: &mut Vec<u8>,
) -> Result<(), LogError> {
    into.clear();
    into.resize(HEADER_BYTES, 0);
    for change in &batch.changes {
        encode_change(change, into)?;
    }
    let body = length_u32(into.len() - HEADER_BYTES)?;
    into[0..4].copy_from_slice(&MAGIC);
    into[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    into[8..16].copy_from_slice(&identity.salt.to_le_bytes());
    into[16..20].copy_from_slice(&identity.epoch.0.to_le_bytes());
    into[20..24].copy_from_slice(&length_u32(batch.changes.len())?.to_le_bytes());
    into[24..32].copy_from_slice(&identity.sequence.to_le_bytes());
    into[32..40].copy_from_slice(&wall.0.to_le_bytes());
    for (lane, offset) in first.iter() {
        let at = 40 + 8 * lane as usize;
        into[at..at + 8].copy_from_slice(&offset.0.to_le_bytes());
    }
    into[64..68].copy_from_slice(&body.to_le_bytes());
    let crc = checksum(into);
    into[68..72].copy_from_slice(&crc.to_le_bytes());
    into.resize(into.len().next_multiple_of(PAGE_BYTES as usize), 0);
    Ok(())
}

/// Reads how many bytes the frame with this first page has, padding included; `None` when it is
/// not the frame that is looked for.
pub(super) fn peek(page: &[u8], expected: Identity) -> Option<u64> {
    let header = page.get(..HEADER_BYTES)?;
    let matches = header[0..4] == MAGIC
        && header[4..6] == FORMAT.to_le_bytes()
        && header[8..16] == expected.salt.to_le_bytes()
        && header[16..20] == expected.epoch.0.to_le_bytes()
        && header[24..32] == expected.sequence.to_le_bytes();
    let body = u64::from(u32_at(header, 64));
    matches.then(|| (HEADER_BYTES as u64 + body).next_multiple_of(PAGE_BYTES))
}

/// Reads a frame that [`peek`] found; `None` when it is torn.
pub(super) fn decode(bytes: &Bytes, identity: Identity) -> Option<Frame> {
    let padded_bytes = peek(bytes, identity)?;
    let end = HEADER_BYTES + u32_at(bytes, 64) as usize;
    let frame = bytes.get(..end)?;
    if checksum(frame) != u32_at(frame, 68) {
        return None;
    }
    let mut body = bytes.slice(HEADER_BYTES..end);
    let mut changes = Vec::new();
    for _ in 0..u32_at(frame, 20) {
        changes.push(decode_change(&mut body)?);
    }
    Some(Frame {
        identity,
        wall: WallTime(u64_at(frame, 32)),
        first: PerLane::from_fn(|lane| Offset(u64_at(frame, 40 + 8 * lane as usize))),
        batch: Batch { changes },
        padded_bytes,
    })
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Append { record, .. } => 6 + record.as_bytes().len(),
        Change::Put { key, value, .. } => 8 + key.len() + value.len(),
        Change::Delete { key, .. } => 4 + key.len(),
    }
}

fn encode_change(change: &Change, into: &mut Vec<u8>) -> Result<(), LogError> {
    match change {
        Change::Append { lane, record } => {
            into.extend_from_slice(&[APPEND, *lane as u8]);
            into.extend_from_slice(&length_u32(record.as_bytes().len())?.to_le_bytes());
            into.extend_from_slice(record.as_bytes());
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

fn decode_change(body: &mut Bytes) -> Option<Change> {
    match take(body, 1)?[0] {
        APPEND => {
            let lane = Lane::from_number(take(body, 1)?[0])?;
            let length = u32_at(&take(body, 4)?, 0) as usize;
            // A copy: a record that outlives the replay must not keep the whole frame.
            let bytes = Bytes::copy_from_slice(&take(body, length)?);
            let record = Record::from_bytes(bytes).ok()?;
            Some(Change::Append { lane, record })
        }
        PUT => {
            let table = Table::from_number(take(body, 1)?[0])?;
            let key_length = u16_at(&take(body, 2)?, 0);
            let value_length = u32_at(&take(body, 4)?, 0) as usize;
            let key = take(body, key_length)?.to_vec();
            let value = take(body, value_length)?.to_vec();
            Some(Change::Put { table, key, value })
        }
        DELETE => {
            let table = Table::from_number(take(body, 1)?[0])?;
            let key_length = u16_at(&take(body, 2)?, 0);
            let key = take(body, key_length)?.to_vec();
            Some(Change::Delete { table, key })
        }
        _ => None,
    }
}

fn take(body: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= body.len()).then(|| body.split_to(count))
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
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..68]), &frame[HEADER_BYTES..])
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
const HEADER_BYTES: usize = 72;
const MAGIC: [u8; 4] = *b"RMQF";
const FORMAT: u16 = 1;
const APPEND: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;

#[cfg(test)]
mod tests {
    use sync::RecordParts;

    use super::*;

    const IDENTITY: Identity = Identity {
        salt: 0x1122_3344_5566_7788,
        epoch: Epoch(7),
        sequence: 42,
    };

    fn batch() -> Batch {
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: WallTime(1),
            expiry_seconds: None,
            publisher: 2,
            topic: "t",
            properties: &[],
            payload: b"p",
        });
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
        encode(&batch(), IDENTITY, WallTime(9), first, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bytes_of_a_frame_never_change() {
        let bytes = encoded();
        let mut golden = Vec::new();
        golden.extend_from_slice(b"RMQF\x01\0\0\0");
        golden.extend_from_slice(b"\x88\x77\x66\x55\x44\x33\x22\x11");
        golden.extend_from_slice(b"\x07\0\0\0\x03\0\0\0");
        golden.extend_from_slice(b"\x2a\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\x37\0\0\0");
        golden.extend_from_slice(&CRC.to_le_bytes());
        golden.extend_from_slice(b"\x01\x02\x22\0\0\0");
        golden.extend_from_slice(b"\x01\x01\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0");
        golden.extend_from_slice(&sync::topic_hash("t").to_le_bytes());
        golden.extend_from_slice(b"\x02\0\0\0\0\0\0\0tp");
        golden.extend_from_slice(b"\x02\x03\x01\0\x01\0\0\0kv");
        golden.extend_from_slice(b"\x03\x01\x01\0s");
        assert_eq!(bytes[..golden.len()], golden);
        assert_eq!(bytes[golden.len()..], vec![0; 4096 - golden.len()]);
    }

    const CRC: u32 = 0x3c85_da54;

    #[test]
    fn a_frame_reads_back_as_it_was() {
        let bytes = Bytes::from(encoded());
        let frame = decode(&bytes, IDENTITY).unwrap();
        assert_eq!(frame.batch, batch());
        assert_eq!(frame.wall, WallTime(9));
        assert_eq!(frame.first, PerLane([Offset(1), Offset(2), Offset(3)]));
        assert_eq!(frame.padded_bytes, 4096);
        assert_eq!(padded_bytes(&batch()), 4096);
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let bytes = encoded();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for at in 0..=used {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(decode(&Bytes::from(torn), IDENTITY), None, "byte {at}");
        }
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
            PerLane::default(),
            &mut Vec::new(),
        );
        assert!(matches!(
            refused,
            Err(LogError::KeyTooLong { found: 65_536 })
        ));
    }
}
