//! How the files stand after a group that went straight into segments, for a start that finds a
//! state from before it: what is in the segment that is written, which nobody can count without
//! reading it, and what was written in all.
//!
//! It is a change of [`Table::Meta`] with the key `standing`, in the frame of such a group:
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | bytes that the log has written since it was made |
//! | 8 | 8 | seconds in which it was open |
//! | 16 | 17 each | a lane (1), the first offset of its open segment (8), bytes of its blocks (8) |
//!
//! All integers are little-endian.

use sync::{Change, Lane, Offset, Table};

use super::Wear;
use super::frame::u64_at;
use super::lane::LaneFiles;

/// What a frame says of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) wear: Wear,
    /// For each lane that has an open segment its first offset and its bytes.
    pub(super) active: Vec<(Lane, Offset, u64)>,
}

impl Standing {
    pub(super) fn new<'a>(wear: Wear, lanes: impl Iterator<Item = &'a LaneFiles>) -> Self {
        let active = |files: &LaneFiles| {
            let active = files.active.as_ref()?;
            Some((files.lane, active.first, active.bytes))
        };
        Self {
            wear,
            active: lanes.filter_map(active).collect(),
        }
    }

    pub(super) fn to_change(&self) -> Change {
        let mut value = Vec::with_capacity(WEAR_BYTES + LANE_BYTES * self.active.len());
        value.extend_from_slice(&self.wear.written_bytes.to_le_bytes());
        value.extend_from_slice(&self.wear.open_seconds.to_le_bytes());
        for (lane, first, bytes) in &self.active {
            value.push(*lane as u8);
            value.extend_from_slice(&first.0.to_le_bytes());
            value.extend_from_slice(&bytes.to_le_bytes());
        }
        Change::Put {
            table: Table::Meta,
            key: KEY.to_vec(),
            value,
        }
    }

    /// Reads what [`Standing::to_change`] gives; `None` for every other change.
    pub(super) fn of(change: &Change) -> Option<Self> {
        let Change::Put {
            table: Table::Meta,
            key,
            value,
        } = change
        else {
            return None;
        };
        let (wear, lanes) = (key == KEY).then(|| value.split_at_checked(WEAR_BYTES))??;
        let lane = |bytes: &[u8]| {
            let lane = Lane::from_number(bytes[0])?;
            Some((lane, Offset(u64_at(bytes, 1)), u64_at(bytes, 9)))
        };
        Some(Self {
            wear: Wear {
                written_bytes: u64_at(wear, 0),
                open_seconds: u64_at(wear, 8),
            },
            active: lanes.chunks_exact(LANE_BYTES).filter_map(lane).collect(),
        })
    }
}

const KEY: &[u8] = b"standing";
const WEAR_BYTES: usize = 16;
const LANE_BYTES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_standing_never_change() {
        let standing = Standing {
            wear: Wear {
                written_bytes: 0x0102,
                open_seconds: 3,
            },
            active: vec![(Lane::Normal, Offset(4), 5)],
        };
        let change = standing.to_change();
        let golden = [
            &b"\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"[..],
            b"\x02\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
        ];
        let expected = Change::Put {
            table: Table::Meta,
            key: b"standing".to_vec(),
            value: golden.concat(),
        };
        assert_eq!(change, expected);
        assert_eq!(Standing::of(&change), Some(standing));
    }

    #[test]
    fn other_changes_say_nothing_of_the_files() {
        let put = |table, key: &[u8], value: &[u8]| Change::Put {
            table,
            key: key.to_vec(),
            value: value.to_vec(),
        };
        for other in [
            put(Table::Sessions, KEY, &[0; 16]),
            put(Table::Meta, b"epoch", &[0; 16]),
            put(Table::Meta, KEY, &[0; 15]),
        ] {
            assert_eq!(Standing::of(&other), None, "{other:?}");
        }
    }
}
