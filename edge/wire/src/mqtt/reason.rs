//! Reason codes of MQTT 5, which packet may carry which, and what older versions say instead.
//!
//! One number has one variant, whatever packet it stands in: 0x00 is [`ReasonCode::Success`] in a
//! CONNACK, a granted QoS 0 in a SUBACK and a normal disconnection in a DISCONNECT.

use core::fmt;

use super::primitive::Reader;
use super::{PacketType, QoS};
use crate::{DecodeError, InvalidPacket};

macro_rules! reason_codes {
    ($($variant:ident = $number:literal, $name:literal, [$($packet:ident)*], $doc:literal;)*) => {
        /// How an operation ended, by the number on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = $doc] $variant = $number,)*
        }

        impl ReasonCode {
            /// Every reason code, lowest number first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Finds the reason code with a number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Names it as the specification does.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Says whether MQTT 5 allows it in a packet.
            #[must_use]
            pub const fn is_allowed_in(self, packet: PacketType) -> bool {
                match self {
                    $(Self::$variant => matches!(packet, $(PacketType::$packet)|*),)*
                }
            }
        }
    };
}

reason_codes! {
    Success = 0x00, "success",
        [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth],
        "Success; also a granted QoS 0, and a normal disconnection, which discards the will.";
    GrantedQos1 = 0x01, "granted QoS 1", [Suback], "Subscribed; at most QoS 1 will be sent.";
    GrantedQos2 = 0x02, "granted QoS 2", [Suback], "Subscribed; any QoS may be sent.";
    DisconnectWithWill = 0x04, "disconnect with will message", [Disconnect],
        "The client leaves and wants its will published.";
    NoMatchingSubscribers = 0x10, "no matching subscribers", [Puback Pubrec],
        "The message was accepted and nobody is subscribed.";
    NoSubscriptionExisted = 0x11, "no subscription existed", [Unsuback],
        "There was nothing to unsubscribe.";
    ContinueAuthentication = 0x18, "continue authentication", [Auth],
        "The other side has the next step.";
    ReAuthenticate = 0x19, "re-authenticate", [Auth], "The client begins authentication again.";
    UnspecifiedError = 0x80, "unspecified error",
        [Connack Puback Pubrec Suback Unsuback Disconnect],
        "Refused without a reason; the only refusal in a SUBACK before MQTT 5.";
    MalformedPacket = 0x81, "malformed packet", [Connack Disconnect],
        "Bytes could not be read as a packet.";
    ProtocolError = 0x82, "protocol error", [Connack Disconnect],
        "The packet can be read and is not allowed, or not now.";
    ImplementationSpecificError = 0x83, "implementation specific error",
        [Connack Puback Pubrec Suback Unsuback Disconnect],
        "Valid, and not accepted by this receiver.";
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", [Connack],
        "The protocol level is not spoken here.";
    ClientIdentifierNotValid = 0x85, "client identifier not valid", [Connack],
        "A valid string that is not allowed as client identifier.";
    BadUserNameOrPassword = 0x86, "bad user name or password", [Connack],
        "The credentials are not accepted.";
    NotAuthorized = 0x87, "not authorized",
        [Connack Puback Pubrec Suback Unsuback Disconnect],
        "The client may not do this.";
    ServerUnavailable = 0x88, "server unavailable", [Connack], "Not now.";
    ServerBusy = 0x89, "server busy", [Connack Disconnect], "Later.";
    Banned = 0x8A, "banned", [Connack], "The client was banned by the administrator.";
    ServerShuttingDown = 0x8B, "server shutting down", [Disconnect], "The server is stopping.";
    BadAuthenticationMethod = 0x8C, "bad authentication method", [Connack],
        "The authentication method is not supported, or not the one in use.";
    KeepAliveTimeout = 0x8D, "keep alive timeout", [Disconnect],
        "Nothing was received for one and a half times the keep alive.";
    SessionTakenOver = 0x8E, "session taken over", [Disconnect],
        "Another connection uses the same client identifier.";
    TopicFilterInvalid = 0x8F, "topic filter invalid", [Suback Unsuback Disconnect],
        "Well formed, and not accepted here.";
    TopicNameInvalid = 0x90, "topic name invalid", [Connack Puback Pubrec Disconnect],
        "Well formed, and not accepted here.";
    PacketIdentifierInUse = 0x91, "packet identifier in use", [Puback Pubrec Suback Unsuback],
        "The packet identifier belongs to something unfinished.";
    PacketIdentifierNotFound = 0x92, "packet identifier not found", [Pubrel Pubcomp],
        "Nothing unfinished has this packet identifier; not an error after a lost session.";
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", [Disconnect],
        "More unacknowledged messages than agreed.";
    TopicAliasInvalid = 0x94, "topic alias invalid", [Disconnect],
        "The topic alias is 0, above the agreed maximum, or unknown.";
    PacketTooLarge = 0x95, "packet too large", [Connack Disconnect],
        "The packet is larger than the receiver takes.";
    MessageRateTooHigh = 0x96, "message rate too high", [Disconnect], "Too much, too fast.";
    QuotaExceeded = 0x97, "quota exceeded",
        [Connack Puback Pubrec Suback Disconnect],
        "A limit of the implementation or administrator is reached.";
    AdministrativeAction = 0x98, "administrative action", [Disconnect],
        "The connection was closed by the administrator.";
    PayloadFormatInvalid = 0x99, "payload format invalid", [Connack Puback Pubrec Disconnect],
        "The payload is not what its format indicator says.";
    RetainNotSupported = 0x9A, "retain not supported", [Connack Disconnect],
        "The server keeps no retained messages.";
    QosNotSupported = 0x9B, "QoS not supported", [Connack Disconnect],
        "The QoS is above the server's maximum.";
    UseAnotherServer = 0x9C, "use another server", [Connack Disconnect], "For the time being.";
    ServerMoved = 0x9D, "server moved", [Connack Disconnect], "For good.";
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported",
        [Suback Disconnect], "The server has no shared subscriptions.";
    ConnectionRateExceeded = 0x9F, "connection rate exceeded", [Connack Disconnect],
        "Too many connections, too fast.";
    MaximumConnectTime = 0xA0, "maximum connect time", [Disconnect],
        "The connection has lived as long as it may.";
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported",
        [Suback Disconnect], "The server has no subscription identifiers.";
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported",
        [Suback Disconnect], "The server has no wildcard subscriptions.";
}

impl ReasonCode {
    /// Gives the number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Says whether the operation failed: numbers from 0x80 on.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.number() >= 0x80
    }

    /// Gives the answer to a subscription that was granted with a QoS.
    #[must_use]
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQos1,
            QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// Gives the CONNACK return code that says the same before MQTT 5; `None` where none does and
    /// the connection is closed without a CONNACK.
    #[must_use]
    pub const fn return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// Reads a CONNACK return code of MQTT 3.1.1; 0 to 5 exist.
    #[must_use]
    pub const fn from_return_code(return_code: u8) -> Option<Self> {
        match return_code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// Reads the reason code of a packet of MQTT 5.
    #[inline]
    pub(super) fn read(packet: PacketType, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = reader.byte()?;
        Self::from_number(found)
            .filter(|reason_code| reason_code.is_allowed_in(packet))
            .ok_or(DecodeError::ReasonCode { packet, found })
    }

    /// Checks that a packet of MQTT 5 may carry it.
    #[inline]
    pub(super) const fn check(self, packet: PacketType) -> Result<(), InvalidPacket> {
        match self.is_allowed_in(packet) {
            true => Ok(()),
            false => Err(InvalidPacket::ReasonCode {
                packet,
                reason_code: self,
            }),
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason codes of each packet's own section in the specification.
    const BY_PACKET: &[(PacketType, &[u8])] = &[
        (
            PacketType::Connack,
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
                0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
            ],
        ),
        (
            PacketType::Puback,
            &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        ),
        (
            PacketType::Pubrec,
            &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        ),
        (PacketType::Pubrel, &[0x00, 0x92]),
        (PacketType::Pubcomp, &[0x00, 0x92]),
        (
            PacketType::Suback,
            &[
                0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
            ],
        ),
        (
            PacketType::Unsuback,
            &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        ),
        (
            PacketType::Disconnect,
            &[
                0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
                0xA2,
            ],
        ),
        (PacketType::Auth, &[0x00, 0x18, 0x19]),
    ];

    /// [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2]
    /// [MQTT-3.11.3-2] [MQTT-3.14.2-1]
    #[test]
    fn each_packet_carries_what_its_section_lists() {
        for type_number in 1..=15 {
            let packet = PacketType::from_number(type_number).unwrap();
            let listed = BY_PACKET.iter().find(|(other, _)| *other == packet);
            let listed = listed.map_or(&[][..], |(_, numbers)| numbers);
            let allowed = |number| {
                ReasonCode::from_number(number).is_some_and(|code| code.is_allowed_in(packet))
            };
            assert!(
                (0..=255)
                    .filter(|&number| allowed(number))
                    .eq(listed.iter().copied())
            );
        }
    }

    #[test]
    fn numbers_and_reason_codes_name_each_other() {
        let found = (0..=255).filter_map(ReasonCode::from_number);
        assert!(found.eq(ReasonCode::ALL.iter().copied()));
        for &reason_code in ReasonCode::ALL {
            assert_eq!(
                ReasonCode::from_number(reason_code.number()),
                Some(reason_code)
            );
            assert_eq!(reason_code.is_error(), reason_code.number() >= 0x80);
        }
    }

    #[test]
    fn return_codes_come_back() {
        for return_code in 0..=5 {
            let reason_code = ReasonCode::from_return_code(return_code).unwrap();
            assert_eq!(reason_code.return_code(), Some(return_code));
        }
        assert_eq!(ReasonCode::from_return_code(6), None);
        assert_eq!(ReasonCode::MalformedPacket.return_code(), None);
        assert_eq!(ReasonCode::Banned.return_code(), Some(5));
    }
}
