//! Bytes come in one by one, and now and then a packet is whole.

use core::fmt;

use super::checksum::Checksum;
use super::{CHECKSUM_BYTES, DELIMITER, FULL_BLOCK, Frame};
use crate::mqtt::packet_bytes;

/// Finds the frames in what a line brings, whatever it brings.
///
/// The buffer is the limit: a packet fits if it is [`CHECKSUM_BYTES`] shorter. A frame that does
/// not fit is skipped to its end.
///
/// ```text
/// Between -- any byte --> Within -- zero --> Between, with a packet or its damage
///    |                      | buffer full
///    +- zero -> Between     v
///                        Skipping -- zero --> Between, with the damage
/// ```
#[derive(Debug)]
pub struct Decoder<B> {
    buffer: B,
    state: State,
    /// Length of the packet that was completed last and not yet overwritten.
    packet_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Since the last delimiter nothing came.
    Between,
    Within(Begun),
    Skipping,
}

/// A frame in its course.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// Bytes in the buffer.
    length: usize,
    /// Bytes that the block still has.
    block: u8,
    /// Whether another block means that a zero stood between.
    is_zero_due: bool,
    checksum: Checksum,
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It ends within a block.
    Stuffing,
    /// It has no room for a checksum, or a wrong one.
    Checksum,
    /// It is not one packet, by the length in the fixed header.
    Length,
    /// Its packet does not fit into the buffer.
    TooLong {
        /// The longest packet that does, in bytes.
        limit: usize,
    },
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Decoder<B> {
    /// Begins between frames. What comes before the first delimiter is taken for a frame, which
    /// it is not if the other side began earlier.
    pub const fn new(buffer: B) -> Self {
        Self {
            buffer,
            state: State::Between,
            packet_bytes: 0,
        }
    }

    /// Takes the next byte; gives what a frame held, or its damage, when the byte ended one.
    #[inline]
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame<'_>, Damage>> {
        self.packet_bytes = 0;
        if byte == DELIMITER {
            return self.end();
        }
        self.state = match self.state {
            State::Between => State::Within(Begun::new(byte)),
            State::Within(begun) => begun.push(byte, self.buffer.as_mut()),
            State::Skipping => State::Skipping,
        };
        None
    }

    /// The packet that the last byte pushed has completed; empty if it did not.
    pub fn packet(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.packet_bytes]
    }

    fn end(&mut self) -> Option<Result<Frame<'_>, Damage>> {
        let begun = match core::mem::replace(&mut self.state, State::Between) {
            State::Between => return None,
            State::Within(begun) => begun,
            State::Skipping => {
                let limit = self.buffer.as_ref().len().saturating_sub(CHECKSUM_BYTES);
                return Some(Err(Damage::TooLong { limit }));
            }
        };
        if begun.block > 0 {
            return Some(Err(Damage::Stuffing));
        }
        if !begun.checksum.is_right() {
            return Some(Err(Damage::Checksum));
        }
        let Some(length) = begun.length.checked_sub(CHECKSUM_BYTES) else {
            return Some(Err(Damage::Checksum));
        };
        let packet = &self.buffer.as_ref()[..length];
        if packet.is_empty() {
            return Some(Ok(Frame::End));
        }
        if packet_bytes(packet, u32::MAX) != Ok(Some(length)) {
            return Some(Err(Damage::Length));
        }
        self.packet_bytes = length;
        Some(Ok(Frame::Packet(packet)))
    }
}

impl Begun {
    const fn new(code: u8) -> Self {
        Self {
            length: 0,
            block: code - 1,
            is_zero_due: code != FULL_BLOCK,
            checksum: Checksum::new(),
        }
    }

    /// Takes a byte that is no delimiter.
    #[inline]
    fn push(mut self, byte: u8, buffer: &mut [u8]) -> State {
        let is_code = self.block == 0;
        let (found, is_due) = if is_code {
            (0, self.is_zero_due)
        } else {
            (byte, true)
        };
        if is_due {
            let Some(place) = buffer.get_mut(self.length) else {
                return State::Skipping;
            };
            *place = found;
            self.length += 1;
            self.checksum.add(found);
        }
        if is_code {
            self.block = byte - 1;
            self.is_zero_due = byte != FULL_BLOCK;
        } else {
            self.block -= 1;
        }
        State::Within(self)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuffing => f.write_str("frame ends within a block"),
            Self::Checksum => f.write_str("checksum of the frame is wrong"),
            Self::Length => f.write_str("frame is not one packet, by its fixed header"),
            Self::TooLong { limit } => {
                write!(f, "packet of the frame exceeds the limit of {limit}")
            }
        }
    }
}

impl core::error::Error for Damage {}
