//! The fixed header: which packet it is, and how long.
//!
//! Everything wrong here is found before the rest of the packet has arrived, so that nothing is
//! buffered for a peer that announces too much.

use core::fmt;

use super::Version;
use super::primitive::{
    MAXIMUM_VARIABLE_BYTE_INTEGER, variable_byte_integer, variable_byte_integer_len,
};
use crate::{DecodeError, InvalidPacket};

/// What kind of packet it is, by the number in its first four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// A client asks for a connection.
    Connect = 1,
    /// The server answers that.
    Connack = 2,
    /// A message, in either direction.
    Publish = 3,
    /// Answers a PUBLISH of QoS 1.
    Puback = 4,
    /// Answers a PUBLISH of QoS 2.
    Pubrec = 5,
    /// Answers a PUBREC.
    Pubrel = 6,
    /// Answers a PUBREL and ends the exchange.
    Pubcomp = 7,
    /// A client subscribes.
    Subscribe = 8,
    /// The server answers that.
    Suback = 9,
    /// A client unsubscribes.
    Unsubscribe = 10,
    /// The server answers that.
    Unsuback = 11,
    /// A client asks for a sign of life.
    Pingreq = 12,
    /// The server gives it.
    Pingresp = 13,
    /// The last packet of a connection; from a server, only in MQTT 5.
    Disconnect = 14,
    /// A step of extended authentication; only in MQTT 5.
    Auth = 15,
}

impl PacketType {
    /// Finds the type with a number, 1 to 15.
    #[must_use]
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Names it as the specification does, in capitals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// Gives the flags that the fixed header must have; PUBLISH has its own.
    const fn fixed_header_flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    pub(super) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_header_flags()
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first two to five bytes of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct FixedHeader {
    pub(super) packet: PacketType,
    /// The low four bits of the first byte.
    pub(super) flags: u8,
    pub(super) header_bytes: usize,
    /// The whole packet, fixed header included.
    pub(super) packet_bytes: usize,
}

impl FixedHeader {
    #[inline]
    pub(super) fn decode(
        bytes: &[u8],
        version: Version,
        maximum_packet_bytes: u32,
    ) -> Result<Option<Self>, DecodeError> {
        let Some((&first_byte, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let (packet, flags) = check_first_byte(first_byte, version)?;
        let Some((header_bytes, packet_bytes)) = length(rest, maximum_packet_bytes)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            packet,
            flags,
            header_bytes,
            packet_bytes,
        }))
    }

    /// Says whether the remaining length took no more bytes than it needs.
    #[inline]
    pub(super) const fn is_shortest(self) -> bool {
        let remaining = self.packet_bytes - self.header_bytes;
        self.header_bytes == 1 + variable_byte_integer_len(remaining as u32)
    }
}

/// Tells how many bytes the first packet of `bytes` has, fixed header included, as soon as its
/// length is there; `None` where more bytes are needed.
///
/// # Errors
///
/// If the length is malformed or above `maximum_packet_bytes`.
pub fn packet_bytes(bytes: &[u8], maximum_packet_bytes: u32) -> Result<Option<usize>, DecodeError> {
    let Some((_, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    Ok(length(rest, maximum_packet_bytes)?.map(|(_, packet_bytes)| packet_bytes))
}

/// Checks that a packet's fields fit behind its fixed header.
pub(super) fn remaining_length(body_bytes: usize) -> Result<u32, InvalidPacket> {
    match u32::try_from(body_bytes) {
        Ok(remaining) if remaining <= MAXIMUM_VARIABLE_BYTE_INTEGER => Ok(remaining),
        _ => Err(InvalidPacket::PacketTooLong { bytes: body_bytes }),
    }
}

/// Reads the remaining length; gives the bytes of the fixed header and of the whole packet.
#[inline]
fn length(
    after_first_byte: &[u8],
    maximum_packet_bytes: u32,
) -> Result<Option<(usize, usize)>, DecodeError> {
    let Some((remaining, length_bytes)) = variable_byte_integer(after_first_byte)? else {
        return Ok(None);
    };
    let header_bytes = 1 + length_bytes;
    let bytes = header_bytes as u32 + remaining;
    if bytes > maximum_packet_bytes {
        return Err(DecodeError::PacketTooLarge {
            bytes,
            limit: maximum_packet_bytes,
        });
    }
    Ok(Some((header_bytes, bytes as usize)))
}

#[inline]
fn check_first_byte(first_byte: u8, version: Version) -> Result<(PacketType, u8), DecodeError> {
    let (number, flags) = (first_byte >> 4, first_byte & 0x0F);
    let packet = match PacketType::from_number(number) {
        Some(PacketType::Auth) if version < Version::V5 => None,
        other => other,
    };
    let packet = packet.ok_or(DecodeError::PacketType { found: number })?;
    let expected = packet.fixed_header_flags();
    // MQTT 3.1 marks a repeated PUBREL, SUBSCRIBE or UNSUBSCRIBE with DUP.
    let ignored = if version == Version::V31 && expected != 0 {
        0b1000
    } else {
        0
    };
    // [MQTT-2.1.3-1]
    if packet != PacketType::Publish && flags & !ignored != expected {
        return Err(DecodeError::FixedHeaderFlags {
            packet,
            found: flags,
        });
    }
    Ok((packet, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_packet_arrives() {
        // 300,000,000 does not fit, so the largest that does.
        let announced = &[0x30, 0xFF, 0xFF, 0xFF, 0x7F];
        let refused = DecodeError::PacketTooLarge {
            bytes: 268_435_460,
            limit: 262_144,
        };
        assert_eq!(packet_bytes(announced, 262_144), Err(refused));
        assert!(packet_bytes(announced, 268_435_459).is_err());
        assert_eq!(packet_bytes(announced, 268_435_460), Ok(Some(268_435_460)));
        assert_eq!(packet_bytes(&announced[..4], 262_144), Ok(None));
        assert_eq!(packet_bytes(&[], 262_144), Ok(None));
    }

    #[test]
    fn the_first_byte_is_judged_alone() {
        let table = [
            (0x00, Version::V5, Err(DecodeError::PacketType { found: 0 })),
            (
                0xF0,
                Version::V311,
                Err(DecodeError::PacketType { found: 15 }),
            ),
            (0xF0, Version::V5, Ok(PacketType::Auth)),
            (0x3F, Version::V5, Ok(PacketType::Publish)),
            (0x82, Version::V311, Ok(PacketType::Subscribe)),
            (0x8A, Version::V31, Ok(PacketType::Subscribe)),
            (0x6A, Version::V31, Ok(PacketType::Pubrel)),
        ];
        for (first_byte, version, expected) in table {
            let found = check_first_byte(first_byte, version).map(|(packet, _)| packet);
            assert_eq!(found, expected, "{first_byte:#04x}");
        }
        for (first_byte, version) in [
            (0x8A, Version::V311),
            (0x4A, Version::V31),
            (0x83, Version::V31),
            (0x60, Version::V5),
        ] {
            let refused = check_first_byte(first_byte, version);
            assert!(matches!(refused, Err(DecodeError::FixedHeaderFlags { .. })));
        }
    }
}
