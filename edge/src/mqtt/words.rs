//! Reason strings: what a reason code leaves out, in words, for people.
//!
//! They are the first thing to go: a client that wants no problem information never gets one, and
//! a packet that would be too large for its client with the words leaves without them.

use std::fmt;

use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{Packet, Version};

use super::connection::{Connection, Established};

/// A reason string, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    property: Vec<u8>,
}

impl Words {
    /// Says nothing.
    pub(super) const NONE: Self = Self {
        property: Vec::new(),
    };

    /// Says why.
    pub(super) fn of(reason: impl fmt::Display) -> Self {
        let (text, mut property) = (reason.to_string(), Vec::new());
        let mut writer = PropertyWriter::new(&mut property, PropertySet::ACKNOWLEDGEMENT);
        match writer.write(&Property::ReasonString(&text)) {
            Ok(()) => Self { property },
            // Too long for a string.
            Err(_) => Self::NONE,
        }
    }

    /// The properties of a packet that says this, and nothing else.
    pub(super) fn properties(&self) -> Properties<'_> {
        Properties::parse(&self.property, PropertySet::ACKNOWLEDGEMENT).unwrap_or(Properties::EMPTY)
    }

    /// Encodes what `packet` makes of the words, without them where the client does not take so
    /// much, and nothing where it does not take even that. [MQTT-3.1.2-24]
    pub(super) fn encode<'a>(
        &'a self,
        version: Version,
        packet_bytes_maximum: u32,
        packet: impl Fn(Properties<'a>) -> Packet<'a>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for properties in [self.properties(), Properties::EMPTY] {
            bytes.clear();
            let encoded = packet(properties).encode(version, &mut bytes);
            if encoded.is_ok_and(|length| length <= packet_bytes_maximum as usize) {
                return bytes;
            }
        }
        Vec::new()
    }
}

impl Connection {
    /// Sends what `packet` makes of the words, which are for clients that want to know.
    /// [MQTT-3.1.2-29]
    pub(super) fn send_saying<'a>(
        &mut self,
        established: &Established,
        words: &'a Words,
        packet: impl Fn(Properties<'a>) -> Packet<'a>,
    ) {
        let said = packet(words.properties());
        let bytes = said.encoded_len(established.version);
        let fits = bytes.is_ok_and(|bytes| bytes <= established.packet_bytes_maximum as usize);
        match established.wants_words && fits {
            true => self.send(established, &said),
            false => self.send(established, &packet(Properties::EMPTY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::mqtt::{Disconnect, ReasonCode};

    use super::*;

    fn goodbye(properties: Properties<'_>) -> Packet<'_> {
        Packet::Disconnect(Disconnect {
            reason_code: ReasonCode::QuotaExceeded,
            properties,
        })
    }

    #[test]
    fn words_go_before_the_packet_does() {
        let words = Words::of("why");
        let said = b"\xE0\x08\x97\x06\x1F\0\x03why".as_slice();
        for (limit, expected) in [
            (10, said),
            (9, b"\xE0\x02\x97\0"),
            (4, b"\xE0\x02\x97\0"),
            (3, b""),
        ] {
            assert_eq!(
                words.encode(Version::V5, limit, goodbye),
                expected,
                "{limit}"
            );
        }
    }

    #[test]
    fn what_no_string_holds_is_not_said() {
        assert!(Words::of("x".repeat(65_536)).properties().is_empty());
        assert!(Words::of("a\0b").properties().is_empty());
        assert!(Words::NONE.properties().is_empty());
    }
}
