//! MQTT on a line that loses bytes: each packet is a frame of its own.
//!
//! A frame is one packet with a checksum behind it, stuffed (COBS) so that no byte of it is zero,
//! between two zeros. Whatever happens to its bytes, the next zero begins anew: a byte that is
//! lost, flipped or inserted costs the frame it hits and no other, a damaged frame is dropped
//! whole, and noise between frames costs nothing.
//!
//! ```text
//! 00 | COBS( packet | CRC low byte | CRC high byte ) | 00
//! ```
//!
//! | part | what |
//! | --- | --- |
//! | `00` | ends what came before, be it a frame or noise; any number of zeros counts as one |
//! | COBS | a code byte `n`, 1 to 255, then `n - 1` bytes that are not zero; a zero stands behind each block but the last and those of code 255 |
//! | packet | exactly one MQTT packet; nothing at all is the end of the connection |
//! | CRC | CRC-16/IBM-SDLC of the packet, as in HDLC and PPP (RFC 1662): of `123456789` it is `906E` |
//!
//! This CRC and not the one called CCITT-FALSE, because that one does not see zeros added at the
//! end. What it lets through, one damaged frame of 65,536, must also say its own length, or it is
//! dropped all the same.
//!
//! A line knows no connect and no disconnect, so frames say it: CONNECT begins a connection, even
//! in the midst of one, and an empty frame ends it. What a client hears between its CONNECT and the
//! CONNACK belongs to the connection before and is ignored.
//!
//! An [`Encoder`] keeps one block of 254 bytes, a [`Decoder`] the buffer it is given; nothing is
//! allocated.
//!
//! ```
//! use wire::mqtt::{Packet, Version};
//! use wire::serial::{Decoder, Encoder, Frame};
//!
//! let mut line = Encoder::new(Vec::new());
//! Packet::Pingreq.encode(Version::V5, &mut line)?;
//! let bytes = line.sink();
//! assert_eq!(bytes[..], [0, 2, 0xC0, 3, 0xED, 0xC5, 0][..]);
//!
//! let mut decoder = Decoder::new([0; 64]);
//! for &byte in bytes {
//!     if let Some(frame) = decoder.push(byte) {
//!         assert_eq!(frame, Ok(Frame::Packet(&[0xC0, 0])));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksum;
mod decoder;
mod encoder;
mod splitter;

pub use self::decoder::{Damage, Decoder};
pub use self::encoder::Encoder;

use crate::mqtt::PacketType;

/// Bytes of the checksum. A [`Decoder`]'s buffer holds them behind the packet.
pub const CHECKSUM_BYTES: usize = 2;

/// Stands before and behind each frame and nowhere within.
const DELIMITER: u8 = 0;
/// The most bytes of one block of COBS.
const BLOCK_BYTES: usize = 254;
/// The code of a block of so many bytes; no zero stands behind it.
const FULL_BLOCK: u8 = 255;

/// What an undamaged frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// As many bytes as its fixed header says; whether they are a valid packet is not known.
    Packet(&'a [u8]),
    /// The other side has no connection, or no longer.
    End,
}

impl Frame<'_> {
    /// Whether it holds a CONNECT, with which the device says that it begins anew.
    #[must_use]
    pub fn is_connect(self) -> bool {
        match self {
            Self::Packet(packet) => packet
                .first()
                .is_some_and(|first| first >> 4 == PacketType::Connect as u8),
            Self::End => false,
        }
    }
}
