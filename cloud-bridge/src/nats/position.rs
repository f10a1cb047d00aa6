//! Where the pull of a mailbox stands, as it is stored with each message.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 8 | id of the next message that is wanted |
//! | 9 | 8 | when the newest message so far was kept there, Unix seconds |
//! | 17 | 8 | messages kept before this are known, Unix seconds; 0 for none |
//!
//! All integers are little-endian.

/// A position; the default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Every message with a lower id is stored here, or was passed over.
    pub(super) next: u64,
    /// By the server's clock.
    pub(super) newest: u64,
    /// Not 0 after the server began to count anew.
    pub(super) known_before: u64,
}

const FORMAT: u8 = 1;
const BYTES: usize = 25;

impl Position {
    /// Reads a stored position; `None` for what is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, numbers) = bytes.split_first()? else {
            return None;
        };
        let (numbers, []) = numbers.as_chunks::<8>() else {
            return None;
        };
        let &[next, newest, known_before] = numbers else {
            return None;
        };
        Some(Self {
            next: u64::from_le_bytes(next),
            newest: u64::from_le_bytes(newest),
            known_before: u64::from_le_bytes(known_before),
        })
    }

    /// Writes it as it is stored.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORMAT);
        for number in [self.next, self.newest, self.known_before] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_bytes_are_these() {
        let position = Position {
            next: 0x0102,
            newest: 3,
            known_before: u64::MAX,
        };
        let bytes = [
            1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255,
            255,
        ];
        assert_eq!(position.encode(), bytes);
        assert_eq!(Position::decode(&bytes), Some(position));
        assert_eq!(bytes.len(), BYTES);
    }

    #[test]
    fn other_bytes_are_no_position() {
        let bytes = Position::default().encode();
        for end in 0..BYTES {
            assert_eq!(Position::decode(&bytes[..end]), None);
        }
        assert_eq!(Position::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Position::decode(&[2; BYTES]), None);
    }
}
