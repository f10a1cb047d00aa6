//! Which properties are there, and which may be: a bit each.

use crate::mqtt::PacketType;

/// A set of property identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertySet(u64);

/// Why a property can't join the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// The packet does not allow it.
    NotAllowed,
    /// It is there already, and once is all.
    Repeated,
}

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const USER_PROPERTY: u8 = 0x26;
/// Not an identifier: stands for a subscription identifier that is there more than once.
const REPEATED_SUBSCRIPTION_IDENTIFIER: u8 = 63;

impl PropertySet {
    /// No property.
    pub const NONE: Self = Self(0);
    /// What CONNECT may carry for the connection.
    pub const CONNECT: Self = Self::of(&[
        0x11,
        0x15,
        0x16,
        0x17,
        0x19,
        0x21,
        0x22,
        USER_PROPERTY,
        0x27,
    ]);
    /// What CONNECT may carry for the will.
    pub const WILL: Self = Self::FORWARDABLE.with(0x02).with(0x18);
    /// What CONNACK may carry.
    pub const CONNACK: Self = Self::of(&[
        0x11,
        0x12,
        0x13,
        0x15,
        0x16,
        0x1A,
        0x1C,
        0x1F,
        0x21,
        0x22,
        0x24,
        0x25,
        USER_PROPERTY,
        0x27,
        0x28,
        0x29,
        0x2A,
    ]);
    /// What PUBLISH may carry. From a client, no subscription identifier: that is for the server
    /// to check.
    pub const PUBLISH: Self = Self::FORWARDABLE
        .with(0x02)
        .with(0x23)
        .with(SUBSCRIPTION_IDENTIFIER)
        .with(REPEATED_SUBSCRIPTION_IDENTIFIER);
    /// What belongs to the message and goes on to its subscribers unaltered: payload format
    /// indicator, content type, response topic, correlation data, user properties.
    pub const FORWARDABLE: Self = Self::of(&[0x01, 0x03, 0x08, 0x09, USER_PROPERTY]);
    /// What PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK may carry.
    pub const ACKNOWLEDGEMENT: Self = Self::of(&[0x1F, USER_PROPERTY]);
    /// What SUBSCRIBE may carry.
    pub const SUBSCRIBE: Self = Self::of(&[SUBSCRIPTION_IDENTIFIER, USER_PROPERTY]);
    /// What UNSUBSCRIBE may carry.
    pub const UNSUBSCRIBE: Self = Self::of(&[USER_PROPERTY]);
    /// What DISCONNECT may carry. From a server, no session expiry interval.
    pub const DISCONNECT: Self = Self::of(&[0x11, 0x1C, 0x1F, USER_PROPERTY]);
    /// What AUTH may carry.
    pub const AUTH: Self = Self::of(&[0x15, 0x16, 0x1F, USER_PROPERTY]);

    /// Gives what a packet may carry.
    #[must_use]
    pub const fn allowed_in(packet: PacketType) -> Self {
        match packet {
            PacketType::Connect => Self::CONNECT,
            PacketType::Connack => Self::CONNACK,
            PacketType::Publish => Self::PUBLISH,
            PacketType::Puback
            | PacketType::Pubrec
            | PacketType::Pubrel
            | PacketType::Pubcomp
            | PacketType::Suback
            | PacketType::Unsuback => Self::ACKNOWLEDGEMENT,
            PacketType::Subscribe => Self::SUBSCRIBE,
            PacketType::Unsubscribe => Self::UNSUBSCRIBE,
            PacketType::Pingreq | PacketType::Pingresp => Self::NONE,
            PacketType::Disconnect => Self::DISCONNECT,
            PacketType::Auth => Self::AUTH,
        }
    }

    /// Says whether an identifier is in the set.
    #[must_use]
    pub const fn contains(self, identifier: u8) -> bool {
        identifier < 64 && self.0 & (1 << identifier) != 0
    }

    /// Says whether everything of another set is also in this one.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Gives the lowest identifier that is in `other` and not in this set.
    pub(super) const fn lowest_missing(self, other: Self) -> Option<u8> {
        match other.0 & !self.0 {
            0 => None,
            missing if missing == 1 << REPEATED_SUBSCRIPTION_IDENTIFIER => {
                Some(SUBSCRIPTION_IDENTIFIER)
            }
            missing => Some(missing.trailing_zeros() as u8),
        }
    }

    /// Adds a property to those already there.
    #[inline]
    pub(super) fn admit(&mut self, identifier: u8, allowed: Self) -> Result<(), Misplaced> {
        if !allowed.contains(identifier) {
            return Err(Misplaced::NotAllowed);
        }
        if !self.contains(identifier) {
            *self = self.with(identifier);
            return Ok(());
        }
        match identifier {
            USER_PROPERTY => Ok(()),
            SUBSCRIPTION_IDENTIFIER if allowed.contains(REPEATED_SUBSCRIPTION_IDENTIFIER) => {
                *self = self.with(REPEATED_SUBSCRIPTION_IDENTIFIER);
                Ok(())
            }
            _ => Err(Misplaced::Repeated),
        }
    }

    const fn with(self, identifier: u8) -> Self {
        Self(self.0 | 1 << identifier)
    }

    const fn of(identifiers: &[u8]) -> Self {
        let mut set = Self::NONE;
        let mut at = 0;
        while at < identifiers.len() {
            set = set.with(identifiers[at]);
            at += 1;
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 2-4 of the specification: each property, and the packets that may carry it.
    const BY_IDENTIFIER: &[(u8, &[&str])] = &[
        (0x01, &["PUBLISH", "will"]),
        (0x02, &["PUBLISH", "will"]),
        (0x03, &["PUBLISH", "will"]),
        (0x08, &["PUBLISH", "will"]),
        (0x09, &["PUBLISH", "will"]),
        (0x0B, &["PUBLISH", "SUBSCRIBE"]),
        (0x11, &["CONNECT", "CONNACK", "DISCONNECT"]),
        (0x12, &["CONNACK"]),
        (0x13, &["CONNACK"]),
        (0x15, &["CONNECT", "CONNACK", "AUTH"]),
        (0x16, &["CONNECT", "CONNACK", "AUTH"]),
        (0x17, &["CONNECT"]),
        (0x18, &["will"]),
        (0x19, &["CONNECT"]),
        (0x1A, &["CONNACK"]),
        (0x1C, &["CONNACK", "DISCONNECT"]),
        (
            0x1F,
            &[
                "CONNACK",
                "PUBACK",
                "PUBREC",
                "PUBREL",
                "PUBCOMP",
                "SUBACK",
                "UNSUBACK",
                "DISCONNECT",
                "AUTH",
            ],
        ),
        (0x21, &["CONNECT", "CONNACK"]),
        (0x22, &["CONNECT", "CONNACK"]),
        (0x23, &["PUBLISH"]),
        (0x24, &["CONNACK"]),
        (0x25, &["CONNACK"]),
        (
            0x26,
            &[
                "CONNECT",
                "CONNACK",
                "PUBLISH",
                "will",
                "PUBACK",
                "PUBREC",
                "PUBREL",
                "PUBCOMP",
                "SUBSCRIBE",
                "SUBACK",
                "UNSUBSCRIBE",
                "UNSUBACK",
                "DISCONNECT",
                "AUTH",
            ],
        ),
        (0x27, &["CONNECT", "CONNACK"]),
        (0x28, &["CONNACK"]),
        (0x29, &["CONNACK"]),
        (0x2A, &["CONNACK"]),
    ];

    #[test]
    fn each_packet_allows_what_the_table_lists() {
        let packets = (1..=15).map(|number| {
            let packet = PacketType::from_number(number).unwrap();
            (packet.name(), PropertySet::allowed_in(packet))
        });
        for (name, allowed) in packets.chain([("will", PropertySet::WILL)]) {
            let listed = BY_IDENTIFIER
                .iter()
                .filter(|(_, packets)| packets.contains(&name));
            let found = (0..63).filter(|&identifier| allowed.contains(identifier));
            assert!(
                found.eq(listed.map(|(identifier, _)| *identifier)),
                "{name}"
            );
        }
    }

    #[test]
    fn repetition_is_for_user_properties_and_in_publish_for_subscription_identifiers() {
        for identifier in 1..=0x2A {
            for allowed in [
                PropertySet::PUBLISH,
                PropertySet::SUBSCRIBE,
                PropertySet::CONNACK,
            ] {
                let mut present = PropertySet::NONE;
                if present.admit(identifier, allowed).is_err() {
                    continue;
                }
                let is_repeatable = identifier == USER_PROPERTY
                    || identifier == SUBSCRIPTION_IDENTIFIER && allowed == PropertySet::PUBLISH;
                let expected = if is_repeatable {
                    Ok(())
                } else {
                    Err(Misplaced::Repeated)
                };
                assert_eq!(
                    present.admit(identifier, allowed),
                    expected,
                    "{identifier:#04x}"
                );
            }
        }
    }

    #[test]
    fn several_subscription_identifiers_are_refused_where_one_may_stand() {
        let mut present = PropertySet::NONE;
        present
            .admit(SUBSCRIPTION_IDENTIFIER, PropertySet::PUBLISH)
            .unwrap();
        assert_eq!(PropertySet::SUBSCRIBE.lowest_missing(present), None);
        present
            .admit(SUBSCRIPTION_IDENTIFIER, PropertySet::PUBLISH)
            .unwrap();
        assert_eq!(
            PropertySet::SUBSCRIBE.lowest_missing(present),
            Some(SUBSCRIPTION_IDENTIFIER)
        );
    }
}
