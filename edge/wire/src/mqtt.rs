//! MQTT control packets, in all versions, both directions.
//!
//! [`decode`] takes the first packet off a byte stream; [`Packet::encode`] puts one onto a sink.
//! One type serves every version: what an older version does not have is empty when decoded and
//! left out when encoded. Rules that need memory (the first packet is CONNECT, an alias is known,
//! a packet identifier is free) or a role (only a client may send this) are not checked here.
//!
//! ```
//! use wire::mqtt::{Acknowledgement, Packet, QoS, Version, decode};
//!
//! let received = b"\x32\x08\0\x03a/b\0\x07x\xC0\0";
//! let (mut at, mut answer) = (0, Vec::new());
//! while let Some((packet, length)) = decode(&received[at..], Version::V311, 262_144)? {
//!     at += length;
//!     let reply = match packet {
//!         Packet::Publish(publish) if publish.qos == QoS::AtLeastOnce => {
//!             let packet_identifier = publish.packet_identifier.ok_or("QoS 1 has one")?;
//!             Packet::Puback(Acknowledgement::new(packet_identifier))
//!         }
//!         Packet::Pingreq => Packet::Pingresp,
//!         other => return Err(format!("{} is not expected", other.packet_type()).into()),
//!     };
//!     reply.encode(Version::V311, &mut answer)?;
//! }
//! assert_eq!(answer, b"\x40\x02\0\x07\xD0\0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acknowledge;
mod connect;
mod disconnect;
mod header;
mod primitive;
pub mod property;
mod publish;
mod reason;
mod subscribe;

use core::fmt;

use embedded_io::Write;

use self::header::{FixedHeader, remaining_length};
use self::primitive::{Reader, Writer, variable_byte_integer_len};
use crate::{DecodeError, EncodeError, InvalidPacket};

pub use self::acknowledge::Acknowledgement;
pub use self::connect::{Connack, Connect, Will, connect_version};
pub use self::disconnect::{Auth, Disconnect};
pub use self::header::{PacketType, packet_bytes};
pub use self::publish::{HeaderLayout, Publish, PublishHeader};
pub use self::reason::ReasonCode;
pub use self::subscribe::{
    ReasonCodes, RetainHandling, Suback, Subscribe, Subscription, Subscriptions, TopicFilters,
    Unsuback, Unsubscribe,
};

/// A version of the protocol. Older is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol `MQTT`, level 5.
    V5,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// Gives the protocol name of its CONNECT.
    #[must_use]
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }

    /// Gives the protocol level of its CONNECT.
    #[must_use]
    pub const fn protocol_level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// How often a message arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: never twice, perhaps not at all.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: perhaps twice.
    AtLeastOnce = 1,
    /// QoS 2: once.
    ExactlyOnce = 2,
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> Self {
        qos as Self
    }
}

impl TryFrom<u8> for QoS {
    type Error = u8;

    /// Finds the QoS with a number, or gives the number back if it is above 2.
    #[inline]
    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(number),
        }
    }
}

/// A control packet; it borrows from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client asks for a connection.
    Connect(Connect<'a>),
    /// The server answers that.
    Connack(Connack<'a>),
    /// A message, in either direction.
    Publish(Publish<'a>),
    /// Answers a PUBLISH of QoS 1.
    Puback(Acknowledgement<'a>),
    /// Answers a PUBLISH of QoS 2.
    Pubrec(Acknowledgement<'a>),
    /// Answers a PUBREC.
    Pubrel(Acknowledgement<'a>),
    /// Answers a PUBREL and ends the exchange.
    Pubcomp(Acknowledgement<'a>),
    /// A client subscribes.
    Subscribe(Subscribe<'a>),
    /// The server answers that.
    Suback(Suback<'a>),
    /// A client unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// The server answers that.
    Unsuback(Unsuback<'a>),
    /// A client asks for a sign of life.
    Pingreq,
    /// The server gives it.
    Pingresp,
    /// The last packet of a connection; from a server, only in MQTT 5.
    Disconnect(Disconnect<'a>),
    /// A step of extended authentication; only in MQTT 5.
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Says which kind it is.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Tells how many bytes [`Packet::encode`] writes; to compare with a peer's maximum packet
    /// size.
    ///
    /// # Errors
    ///
    /// If the value would not be a valid packet of the version.
    pub fn encoded_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let remaining = remaining_length(self.body_len(version)?)?;
        Ok(1 + variable_byte_integer_len(remaining) + remaining as usize)
    }

    /// Writes the packet and gives its length. CONNECT is written in its own version, whatever
    /// `version` says.
    ///
    /// # Errors
    ///
    /// If the value would not be a valid packet of the version, with nothing written; if the sink
    /// fails.
    pub fn encode<W: Write>(
        &self,
        version: Version,
        sink: &mut W,
    ) -> Result<usize, EncodeError<W::Error>> {
        let remaining = remaining_length(self.body_len(version)?)?;
        let mut writer = Writer::new(sink);
        writer.byte(match self {
            Self::Publish(publish) => publish.first_byte(),
            other => other.packet_type().first_byte(),
        })?;
        writer.variable_byte_integer(remaining)?;
        self.write_body(version, &mut writer)?;
        Ok(1 + variable_byte_integer_len(remaining) + remaining as usize)
    }

    #[inline]
    fn decode_body(
        header: FixedHeader,
        body: &'a [u8],
        version: Version,
    ) -> Result<Self, DecodeError> {
        let packet = header.packet;
        let mut reader = Reader::new(body);
        let fields = &mut reader;
        let decoded = match packet {
            PacketType::Connect => Self::Connect(Connect::decode(fields)?),
            PacketType::Connack => Self::Connack(Connack::decode(fields, version)?),
            PacketType::Publish => Self::Publish(Publish::decode(header.flags, fields, version)?),
            PacketType::Puback => Self::Puback(Acknowledgement::decode(packet, fields, version)?),
            PacketType::Pubrec => Self::Pubrec(Acknowledgement::decode(packet, fields, version)?),
            PacketType::Pubrel => Self::Pubrel(Acknowledgement::decode(packet, fields, version)?),
            PacketType::Pubcomp => Self::Pubcomp(Acknowledgement::decode(packet, fields, version)?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(fields, version)?),
            PacketType::Suback => Self::Suback(Suback::decode(fields, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(fields, version)?),
            PacketType::Unsuback => Self::Unsuback(Unsuback::decode(fields, version)?),
            PacketType::Pingreq => Self::Pingreq,
            PacketType::Pingresp => Self::Pingresp,
            PacketType::Disconnect => Self::Disconnect(Disconnect::decode(fields, version)?),
            PacketType::Auth => Self::Auth(Auth::decode(fields, version)?),
        };
        reader.finish()?;
        Ok(decoded)
    }

    fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        match self {
            Self::Connect(connect) => connect.body_len(),
            Self::Connack(connack) => connack.body_len(version),
            Self::Publish(publish) => publish.body_len(version),
            Self::Puback(acknowledgement)
            | Self::Pubrec(acknowledgement)
            | Self::Pubrel(acknowledgement)
            | Self::Pubcomp(acknowledgement) => {
                acknowledgement.body_len(self.packet_type(), version)
            }
            Self::Subscribe(subscribe) => subscribe.body_len(version),
            Self::Suback(suback) => suback.body_len(version),
            Self::Unsubscribe(unsubscribe) => unsubscribe.body_len(version),
            Self::Unsuback(unsuback) => unsuback.body_len(version),
            Self::Pingreq | Self::Pingresp => Ok(0),
            Self::Disconnect(disconnect) => disconnect.body_len(version),
            Self::Auth(auth) => auth.body_len(version),
        }
    }

    fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        match self {
            Self::Connect(connect) => connect.write_body(writer),
            Self::Connack(connack) => connack.write_body(version, writer),
            Self::Publish(publish) => publish.write_body(version, writer),
            Self::Puback(acknowledgement)
            | Self::Pubrec(acknowledgement)
            | Self::Pubrel(acknowledgement)
            | Self::Pubcomp(acknowledgement) => acknowledgement.write_body(version, writer),
            Self::Subscribe(subscribe) => subscribe.write_body(version, writer),
            Self::Suback(suback) => suback.write_body(version, writer),
            Self::Unsubscribe(unsubscribe) => unsubscribe.write_body(version, writer),
            Self::Unsuback(unsuback) => unsuback.write_body(version, writer),
            Self::Pingreq | Self::Pingresp => Ok(()),
            Self::Disconnect(disconnect) => disconnect.write_body(version, writer),
            Self::Auth(auth) => auth.write_body(version, writer),
        }
    }
}

/// Decodes the first packet of `bytes`; gives it and its length, or `None` where more bytes are
/// needed ([`packet_bytes`] says how many).
///
/// `version` is that of the connection; CONNECT brings its own. `maximum_packet_bytes` is compared
/// with the whole packet, fixed header included, as soon as its length is known.
///
/// # Errors
///
/// If the bytes are not, and whatever follows will not become, a valid packet.
#[inline]
pub fn decode(
    bytes: &[u8],
    version: Version,
    maximum_packet_bytes: u32,
) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    let Some(header) = FixedHeader::decode(bytes, version, maximum_packet_bytes)? else {
        return Ok(None);
    };
    let Some(body) = bytes.get(header.header_bytes..header.packet_bytes) else {
        return Ok(None);
    };
    let packet = Packet::decode_body(header, body, version)?;
    let spoken = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    // [MQTT-1.5.5-1]; before MQTT 5 nothing demands the shortest form.
    if spoken >= Version::V5 && !header.is_shortest() {
        return Err(DecodeError::VariableByteInteger);
    }
    Ok(Some((packet, header.packet_bytes)))
}

/// Decodes the first packet of a connection, which must be CONNECT.
///
/// # Errors
///
/// As [`decode`], and at the first byte if the packet is not CONNECT.
pub fn decode_connect(
    bytes: &[u8],
    maximum_packet_bytes: u32,
) -> Result<Option<(Connect<'_>, usize)>, DecodeError> {
    let Some(found) = bytes.first().map(|first_byte| first_byte >> 4) else {
        return Ok(None);
    };
    // [MQTT-3.1.0-1]
    if found != PacketType::Connect as u8 {
        return Err(DecodeError::NotConnect { found });
    }
    match decode(bytes, Version::V311, maximum_packet_bytes)? {
        Some((Packet::Connect(connect), packet_bytes)) => Ok(Some((connect, packet_bytes))),
        Some(_) => Err(DecodeError::NotConnect { found }),
        None => Ok(None),
    }
}
