//! What of an engine outlives a crash, as one CBOR value:
//! `[1, epoch, [[cursor, release floor] of each lane], watermarks]`.
//!
//! A checkpoint may be behind the truth, which sends records again, but never ahead of it.

use alloc::vec::Vec;

use crate::downlink::StoredWatermark;
use crate::{CheckpointError, Cursor, Epoch, Offset};

/// The value of [`crate::Output::Checkpoint`].
pub(crate) type Stored = (u8, Epoch, [(Cursor, Offset); 3], Vec<StoredWatermark>);

pub(crate) const VERSION: u8 = 1;

/// Writes a checkpoint.
pub(crate) fn encode(stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(stored, &mut bytes).expect("a vector takes every byte");
    bytes
}

/// Reads a checkpoint of the log with this epoch.
pub(crate) fn decode(bytes: &[u8], expected: Epoch) -> Result<Stored, CheckpointError> {
    let stored: Stored = match ciborium::from_reader(bytes) {
        Ok(stored) => stored,
        Err(_) => return Err(other_version(bytes)),
    };
    let (version, found, ..) = stored;
    if version != VERSION {
        return Err(CheckpointError::Version { found: version });
    }
    if found != expected {
        return Err(CheckpointError::Epoch { found, expected });
    }
    Ok(stored)
}

/// Another version may have any shape behind its number: an array of up to 23 begins `0x80 + n`,
/// and a small number is its own byte.
fn other_version(bytes: &[u8]) -> CheckpointError {
    match bytes {
        [0x81..=0x97, found @ 0..=23, ..] if *found != VERSION => {
            CheckpointError::Version { found: *found }
        }
        _ => CheckpointError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let mut cursor = Cursor::starting_at(Offset(9));
        cursor.deliver(Offset(9));
        let lane = (cursor, Offset(4));
        (
            VERSION,
            Epoch(2),
            [lane.clone(), lane.clone(), lane],
            Vec::new(),
        )
    }

    #[test]
    fn the_stored_form_never_changes() {
        let lane = [0x82, 0x84, 1, 10, 10, 0x81, 9, 4];
        let golden = [[0x84, 1, 2, 0x83].as_slice(), &lane, &lane, &lane, &[0x80]].concat();
        assert_eq!(encode(&stored()), golden);
        assert_eq!(decode(&golden, Epoch(2)), Ok(stored()));
    }

    #[test]
    fn each_kind_of_wrong_checkpoint_is_told_apart() {
        let bytes = encode(&stored());
        let (found, expected) = (Epoch(2), Epoch(3));
        let wrong_epoch = CheckpointError::Epoch { found, expected };
        assert_eq!(decode(&bytes, expected), Err(wrong_epoch));
        for cut in 0..bytes.len() {
            let cut = decode(&bytes[..cut], Epoch(2));
            assert_eq!(cut, Err(CheckpointError::Malformed));
        }
        let mut newer = bytes;
        newer[1] = 2;
        let version = CheckpointError::Version { found: 2 };
        assert_eq!(decode(&newer, Epoch(2)), Err(version));
        assert_eq!(
            decode(&[0x82, 7, 0], Epoch(2)),
            Err(CheckpointError::Version { found: 7 })
        );
    }
}
