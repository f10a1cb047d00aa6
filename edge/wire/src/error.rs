//! What can be wrong with bytes from a peer, with a packet to be sent, and with a topic.
//!
//! Every decode error knows the reason code that the peer may be told. No error owns memory, and
//! none repeats a peer's bytes beyond a number.

use core::fmt;

use crate::mqtt::{PacketType, ReasonCode, Version};

/// Why bytes are not a packet. The connection they came from must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The fixed header announces more than the receiver takes.
    PacketTooLarge {
        /// Length of the whole packet, fixed header included.
        bytes: u32,
        /// The receiver's limit.
        limit: u32,
    },
    /// A variable byte integer is longer than four bytes, or longer than its value needs.
    VariableByteInteger,
    /// The packet type is reserved, or not part of this version.
    PacketType {
        /// The number found, 0 to 15.
        found: u8,
    },
    /// The first packet of a connection is not CONNECT.
    NotConnect {
        /// The packet type found, 0 to 15.
        found: u8,
    },
    /// The flags of the fixed header are not those of the packet type.
    FixedHeaderFlags {
        /// The packet type.
        packet: PacketType,
        /// The flags found, 0 to 15.
        found: u8,
    },
    /// A field reaches beyond the end of the packet or of its properties.
    Truncated,
    /// Bytes follow the last field.
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A string is not well-formed UTF-8.
    Utf8,
    /// A string holds U+0000.
    NullCharacter,
    /// The protocol name is neither `MQTT` nor `MQIsdp`.
    ProtocolName,
    /// The protocol is MQTT, in a version that is not spoken here. The answer, if any, is a CONNACK
    /// as in MQTT 3.1.1 for a lower level, and as in MQTT 5 for a higher one.
    ProtocolLevel {
        /// The level found; 3, 4 and 5 are spoken, 3 only as `MQIsdp`.
        level: u8,
    },
    /// Reserved, contradictory or impossible CONNECT flags.
    ConnectFlags {
        /// The flags found.
        found: u8,
    },
    /// A password without a user name, before MQTT 5.
    PasswordWithoutUserName,
    /// Reserved CONNACK flags, or a session present in a refusal.
    ConnackFlags {
        /// The flags found.
        found: u8,
    },
    /// Both QoS bits of a PUBLISH are set.
    PublishQos,
    /// A PUBLISH of QoS 0 claims to be a repetition.
    DupWithoutQos,
    /// A packet identifier is zero.
    PacketIdentifier,
    /// A PUBLISH has neither a topic name nor a topic alias.
    TopicMissing,
    /// A topic name breaks its rules.
    TopicName(TopicError),
    /// A topic filter breaks its rules.
    TopicFilter(TopicError),
    /// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK without an entry.
    EmptyList {
        /// The packet type.
        packet: PacketType,
    },
    /// Reserved or impossible subscription options.
    SubscriptionOptions {
        /// The options found.
        found: u8,
    },
    /// A shared subscription asks for No Local.
    SharedNoLocal,
    /// The reason code does not exist, or not in this packet and version.
    ReasonCode {
        /// The packet type.
        packet: PacketType,
        /// The number found.
        found: u8,
    },
    /// No property has this identifier.
    PropertyIdentifier {
        /// The identifier found.
        found: u8,
    },
    /// The property does not belong to this packet.
    PropertyNotAllowed {
        /// Its identifier.
        identifier: u8,
    },
    /// The property may stand once only.
    PropertyRepeated {
        /// Its identifier.
        identifier: u8,
    },
    /// The property's value is out of its range.
    PropertyValue {
        /// Its identifier.
        identifier: u8,
    },
    /// Authentication data in CONNECT, or an AUTH, without an authentication method.
    AuthenticationMethodMissing,
}

impl DecodeError {
    /// Gives the reason code for the CONNACK or DISCONNECT that closes the connection.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            // [MQTT-3.3.2-8]
            Self::PropertyValue { identifier: 0x23 } => ReasonCode::TopicAliasInvalid,
            Self::NotConnect { .. }
            | Self::PacketIdentifier
            | Self::TopicMissing
            | Self::EmptyList { .. }
            | Self::SharedNoLocal
            | Self::ReasonCode { .. }
            | Self::PropertyRepeated { .. }
            | Self::PropertyValue { .. }
            | Self::AuthenticationMethodMissing => ReasonCode::ProtocolError,
            // A retain handling of 3 alone is called a protocol error, not malformed.
            Self::SubscriptionOptions { found } if found & 0xF0 == 0x30 && found & 3 != 3 => {
                ReasonCode::ProtocolError
            }
            _ => ReasonCode::MalformedPacket,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PacketTooLarge { bytes, limit } => {
                write!(f, "packet of {bytes} bytes exceeds the limit of {limit}")
            }
            Self::VariableByteInteger => {
                f.write_str("variable byte integer is not one of 1 to 4 bytes, as short as can be")
            }
            Self::PacketType { found } => {
                write!(f, "packet type {found} does not exist in this version")
            }
            Self::NotConnect { found } => {
                write!(f, "first packet is of type {found}, not CONNECT (1)")
            }
            Self::FixedHeaderFlags { packet, found } => {
                write!(
                    f,
                    "fixed header flags {found:#06b} are not allowed in {packet}"
                )
            }
            Self::Truncated => f.write_str("field reaches beyond the end of the packet"),
            Self::TrailingBytes { count } => {
                write!(f, "{count} bytes follow the last field of the packet")
            }
            Self::Utf8 => f.write_str("string is not well-formed UTF-8"),
            Self::NullCharacter => f.write_str(NULL_CHARACTER),
            Self::ProtocolName => f.write_str("protocol name is neither MQTT nor MQIsdp"),
            Self::ProtocolLevel { level } => {
                write!(
                    f,
                    "protocol level {level} is not one of MQIsdp 3, MQTT 4, MQTT 5"
                )
            }
            Self::ConnectFlags { found } => bits(
                f,
                "connect flags",
                found,
                "are reserved or contradict each other",
            ),
            Self::PasswordWithoutUserName => f.write_str(PASSWORD_ALONE),
            Self::ConnackFlags { found } => {
                bits(f, "connack flags", found, "are not 0, or 1 with success")
            }
            Self::PublishQos => f.write_str("publish has QoS 3, the highest is 2"),
            Self::DupWithoutQos => f.write_str(DUP_WITHOUT_QOS),
            Self::PacketIdentifier => f.write_str("packet identifier is 0, the lowest is 1"),
            Self::TopicMissing => f.write_str(TOPIC_MISSING),
            Self::TopicName(error) => write!(f, "topic name {error}"),
            Self::TopicFilter(error) => write!(f, "topic filter {error}"),
            Self::EmptyList { packet } => write!(f, "{packet} has no entry, it needs one"),
            Self::SubscriptionOptions { found } => bits(
                f,
                "subscription options",
                found,
                "are reserved or impossible",
            ),
            Self::SharedNoLocal => f.write_str(SHARED_NO_LOCAL),
            Self::ReasonCode { packet, found } => {
                write!(f, "reason code {found:#04x} does not exist in {packet}")
            }
            Self::PropertyIdentifier { found } => property(f, found, "does not exist"),
            Self::PropertyNotAllowed { identifier } => property(f, identifier, NOT_ALLOWED),
            Self::PropertyRepeated { identifier } => property(f, identifier, REPEATED),
            Self::PropertyValue { identifier } => property(f, identifier, OUT_OF_RANGE),
            Self::AuthenticationMethodMissing => f.write_str(METHOD_MISSING),
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::TopicName(error) | Self::TopicFilter(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a value can't be encoded: it would not be a valid packet. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPacket {
    /// A string or binary field is longer than its length can say.
    FieldTooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A string holds U+0000.
    NullCharacter,
    /// The packet is longer than 268,435,455 bytes behind its fixed header.
    PacketTooLong {
        /// Its length behind the fixed header.
        bytes: usize,
    },
    /// The packet does not exist in the version.
    PacketType {
        /// The packet type.
        packet: PacketType,
        /// The version asked for.
        version: Version,
    },
    /// The reason code does not belong to the packet, or has no equal in the version.
    ReasonCode {
        /// The packet type.
        packet: PacketType,
        /// The reason code.
        reason_code: ReasonCode,
    },
    /// Properties hold one that the packet does not allow.
    PropertyNotAllowed {
        /// The lowest identifier of those not allowed.
        identifier: u8,
    },
    /// The property may stand once only.
    PropertyRepeated {
        /// Its identifier.
        identifier: u8,
    },
    /// The property's value is out of its range.
    PropertyValue {
        /// Its identifier.
        identifier: u8,
    },
    /// A PUBLISH of QoS 0 claims to be a repetition.
    DupWithoutQos,
    /// QoS 0 with a packet identifier, or QoS 1 or 2 without one.
    PacketIdentifier,
    /// A PUBLISH has neither a topic name nor, in MQTT 5, a topic alias.
    TopicMissing,
    /// A password without a user name, before MQTT 5.
    PasswordWithoutUserName,
    /// A CONNACK refuses the connection and speaks of a session.
    SessionPresent,
    /// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK without an entry.
    EmptyList {
        /// The packet type.
        packet: PacketType,
    },
    /// A shared subscription asks for No Local.
    SharedNoLocal,
    /// Authentication data in CONNECT, or an AUTH, without an authentication method.
    AuthenticationMethodMissing,
}

impl fmt::Display for InvalidPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FieldTooLong { bytes, limit } => {
                write!(f, "field of {bytes} bytes exceeds the limit of {limit}")
            }
            Self::NullCharacter => f.write_str(NULL_CHARACTER),
            Self::PacketTooLong { bytes } => {
                write!(
                    f,
                    "remaining length of {bytes} bytes exceeds the limit of 268435455"
                )
            }
            Self::PacketType { packet, version } => {
                write!(f, "{packet} does not exist in MQTT {version}")
            }
            Self::ReasonCode {
                packet,
                reason_code,
            } => {
                write!(
                    f,
                    "reason \"{reason_code}\" can't be said in {packet} of this version"
                )
            }
            Self::PropertyNotAllowed { identifier } => property(f, identifier, NOT_ALLOWED),
            Self::PropertyRepeated { identifier } => property(f, identifier, REPEATED),
            Self::PropertyValue { identifier } => property(f, identifier, OUT_OF_RANGE),
            Self::DupWithoutQos => f.write_str(DUP_WITHOUT_QOS),
            Self::PacketIdentifier => {
                f.write_str("packet identifier is not there exactly when QoS is above 0")
            }
            Self::TopicMissing => f.write_str(TOPIC_MISSING),
            Self::PasswordWithoutUserName => f.write_str(PASSWORD_ALONE),
            Self::SessionPresent => f.write_str("connack refuses and has session present set"),
            Self::EmptyList { packet } => write!(f, "{packet} has no entry, it needs one"),
            Self::SharedNoLocal => f.write_str(SHARED_NO_LOCAL),
            Self::AuthenticationMethodMissing => f.write_str(METHOD_MISSING),
        }
    }
}

impl core::error::Error for InvalidPacket {}

/// Why encoding ended without a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError<E> {
    /// The value is not a valid packet; the sink got nothing.
    Invalid(InvalidPacket),
    /// The sink failed; it may hold the beginning of the packet.
    Sink(E),
}

impl<E> From<InvalidPacket> for EncodeError<E> {
    fn from(invalid: InvalidPacket) -> Self {
        Self::Invalid(invalid)
    }
}

impl<E: fmt::Display> fmt::Display for EncodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Sink(error) => write!(f, "sink failed: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EncodeError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            Self::Sink(error) => Some(error),
        }
    }
}

/// Which rule a topic name or filter breaks. Reads on after "topic name" or "topic filter".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// Empty, or a shared subscription's filter is.
    Empty,
    /// Longer than 65,535 bytes.
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Holds U+0000.
    NullCharacter,
    /// A name holds a wildcard.
    Wildcard,
    /// `+` is not a whole level, or `#` is not the whole last level.
    WildcardPlace,
    /// `$share/` is not followed by a group of one character or more, without wildcards, and `/`.
    ShareName,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { bytes } => write!(f, "of {bytes} bytes exceeds the limit of 65535"),
            Self::NullCharacter => f.write_str("holds the null character"),
            Self::Wildcard => f.write_str("holds a wildcard"),
            Self::WildcardPlace => {
                f.write_str("has a wildcard that is not a whole level at its place")
            }
            Self::ShareName => f.write_str("has no valid share name between $share/ and /"),
        }
    }
}

impl core::error::Error for TopicError {}

/// Says what is wrong with the property of an identifier.
fn property(f: &mut fmt::Formatter<'_>, identifier: u8, fault: &str) -> fmt::Result {
    write!(f, "property {identifier:#04x} {fault}")
}

/// Says what is wrong with a byte of flags.
fn bits(f: &mut fmt::Formatter<'_>, name: &str, found: u8, fault: &str) -> fmt::Result {
    write!(f, "{name} {found:#010b} {fault}")
}

// What decoding and encoding refuse in the same words.
const NOT_ALLOWED: &str = "is not allowed in this packet";
const REPEATED: &str = "is there twice, once is allowed";
const OUT_OF_RANGE: &str = "has a value out of its range";
const NULL_CHARACTER: &str = "string holds the null character";
const DUP_WITHOUT_QOS: &str = "publish of QoS 0 has DUP set";
const TOPIC_MISSING: &str = "publish has neither topic name nor topic alias";
const PASSWORD_ALONE: &str = "password without a user name is allowed only from MQTT 5 on";
const SHARED_NO_LOCAL: &str = "shared subscription has No Local set";
const METHOD_MISSING: &str = "authentication method is missing";
