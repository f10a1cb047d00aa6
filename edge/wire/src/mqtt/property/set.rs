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
