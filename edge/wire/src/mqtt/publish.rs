//! PUBLISH: a message, and the part of it that differs between subscribers.
//!
//! A message that goes to many is the same payload behind different headers: [`PublishHeader`]
//! writes what comes before the payload, and tells where the packet identifier is, so that one
//! encoding can be copied and patched.

use core::num::NonZeroU16;

use embedded_io::Write;

use super::header::remaining_length;
use super::primitive::{Reader, Writer, binary_len, variable_byte_integer_len};
use super::property::{Properties, Property, PropertySet, SubscriptionIdentifier};
use super::{PacketType, QoS, Version};
use crate::topic::TopicName;
use crate::{DecodeError, EncodeError, InvalidPacket};

const RETAIN: u8 = 0b0001;
const QOS_SHIFT: u8 = 1;
const DUP: u8 = 0b1000;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it may have been sent before; never with QoS 0.
    pub dup: bool,
    /// How often it arrives.
    pub qos: QoS,
    /// From a client: keep it for later subscribers. From a server: it was kept.
    pub retain: bool,
    /// `None` only where MQTT 5 properties hold a topic alias for it.
    pub topic: Option<TopicName<'a>>,
    /// There exactly if QoS is above 0.
    pub packet_identifier: Option<NonZeroU16>,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    #[inline]
    pub(super) fn decode(
        flags: u8,
        reader: &mut Reader<'a>,
        version: Version,
    ) -> Result<Self, DecodeError> {
        // [MQTT-3.3.1-4]
        let qos = QoS::try_from(flags >> QOS_SHIFT & 0b11).map_err(|_| DecodeError::PublishQos)?;
        let dup = flags & DUP != 0;
        // [MQTT-3.3.1-2]
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::DupWithoutQos);
        }
        let text = reader.topic()?;
        let packet_identifier = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_identifier()?),
        };
        let properties = Properties::read(reader, version, PropertySet::PUBLISH)?;
        let topic = match text {
            "" if properties.topic_alias().is_some() => None,
            "" => return Err(DecodeError::TopicMissing),
            _ => Some(TopicName::new(text).map_err(DecodeError::TopicName)?),
        };
        let payload = reader.take_rest();
        let retain = flags & RETAIN != 0;
        Ok(Self {
            dup,
            qos,
            retain,
            topic,
            packet_identifier,
            properties,
            payload,
        })
    }

    pub(super) fn first_byte(&self) -> u8 {
        self.front().first_byte()
    }

    #[inline]
    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let has_alias = version == Version::V5 && self.properties.topic_alias().is_some();
        let front_len = self.front().encoded_len(has_alias)?;
        let properties_len = self.properties.encoded_len(version, PropertySet::PUBLISH)?;
        Ok(front_len + properties_len + self.payload.len())
    }

    #[inline]
    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        self.front().write(writer)?;
        self.properties.write(version, writer)?;
        writer.bytes(self.payload)
    }

    #[inline]
    const fn front(&self) -> Front<'a> {
        Front {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_identifier: self.packet_identifier,
        }
    }
}

/// Everything of a PUBLISH but its payload, for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHeader<'a> {
    /// Whether it may have been sent before; never with QoS 0.
    pub dup: bool,
    /// How often it arrives.
    pub qos: QoS,
    /// Whether it was kept, or the subscriber wants to know that its publisher asked for that.
    pub retain: bool,
    /// `None` only where `topic_alias` stands for it, in MQTT 5.
    pub topic: Option<TopicName<'a>>,
    /// There exactly if QoS is above 0.
    pub packet_identifier: Option<NonZeroU16>,
    /// Left out before MQTT 5.
    pub topic_alias: Option<NonZeroU16>,
    /// Seconds that are left; left out before MQTT 5.
    pub message_expiry_interval: Option<u32>,
    /// Those of the subscriptions that match; left out before MQTT 5.
    pub subscription_identifiers: &'a [SubscriptionIdentifier],
    /// What the publisher sent along, of [`PropertySet::FORWARDABLE`] only; left out before
    /// MQTT 5.
    pub forwarded: Properties<'a>,
}

/// Where things are in a written header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLayout {
    /// Bytes of the header; the payload follows.
    pub header_bytes: usize,
    /// Where the two bytes of the packet identifier begin, big-endian.
    pub packet_identifier_at: Option<usize>,
}

/// Lengths of a packet that a header begins.
struct Lengths {
    /// Of the properties, without their own length; 0 before MQTT 5.
    properties: u32,
    /// Of everything behind the fixed header.
    remaining: u32,
}

impl PublishHeader<'_> {
    /// Tells how many bytes the whole packet will have, payload included.
    ///
    /// # Errors
    ///
    /// If header and payload would not be a valid packet of the version.
    pub fn packet_bytes(
        &self,
        version: Version,
        payload_bytes: usize,
    ) -> Result<usize, InvalidPacket> {
        let Lengths { remaining, .. } = self.lengths(version, payload_bytes)?;
        Ok(1 + variable_byte_integer_len(remaining) + remaining as usize)
    }

    /// Writes the header of a packet with `payload_bytes` of payload, which the caller writes.
    ///
    /// # Errors
    ///
    /// If header and payload would not be a valid packet of the version, with nothing written; if
    /// the sink fails.
    pub fn encode<W: Write>(
        &self,
        version: Version,
        payload_bytes: usize,
        sink: &mut W,
    ) -> Result<HeaderLayout, EncodeError<W::Error>> {
        let Lengths {
            properties,
            remaining,
        } = self.lengths(version, payload_bytes)?;
        let front = self.front();
        let mut writer = Writer::new(sink);
        writer.byte(front.first_byte())?;
        writer.variable_byte_integer(remaining)?;
        front.write(&mut writer)?;
        if version == Version::V5 {
            writer.variable_byte_integer(properties)?;
            for property in self.added_properties() {
                property.write(&mut writer)?;
            }
            writer.bytes(self.forwarded.as_bytes())?;
        }
        let fixed_header_bytes = 1 + variable_byte_integer_len(remaining);
        let topic_bytes = 2 + self.topic.map_or(0, |topic| topic.as_str().len());
        Ok(HeaderLayout {
            header_bytes: fixed_header_bytes + remaining as usize - payload_bytes,
            packet_identifier_at: self
                .packet_identifier
                .map(|_| fixed_header_bytes + topic_bytes),
        })
    }

    fn lengths(&self, version: Version, payload_bytes: usize) -> Result<Lengths, InvalidPacket> {
        let has_alias = version == Version::V5 && self.topic_alias.is_some();
        let mut header_bytes = self.front().encoded_len(has_alias)?;
        let mut properties = 0;
        if version == Version::V5 {
            // Also refuses what this header adds itself.
            self.forwarded
                .encoded_len(version, PropertySet::FORWARDABLE)?;
            let mut bytes = self.forwarded.as_bytes().len();
            for property in self.added_properties() {
                bytes += property.encoded_len()?;
            }
            properties = remaining_length(bytes)?;
            header_bytes += variable_byte_integer_len(properties) + bytes;
        }
        let remaining = remaining_length(header_bytes.saturating_add(payload_bytes))?;
        Ok(Lengths {
            properties,
            remaining,
        })
    }

    fn added_properties(&self) -> impl Iterator<Item = Property<'static>> {
        let topic_alias = self.topic_alias.map(Property::TopicAlias);
        let expiry = self
            .message_expiry_interval
            .map(Property::MessageExpiryInterval);
        let identifiers = self.subscription_identifiers.iter().copied();
        topic_alias
            .into_iter()
            .chain(expiry)
            .chain(identifiers.map(Property::SubscriptionIdentifier))
    }

    #[inline]
    const fn front(&self) -> Front<'_> {
        Front {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_identifier: self.packet_identifier,
        }
    }
}

/// What every PUBLISH begins with, in all versions.
#[derive(Clone, Copy)]
struct Front<'a> {
    dup: bool,
    qos: QoS,
    retain: bool,
    topic: Option<TopicName<'a>>,
    packet_identifier: Option<NonZeroU16>,
}

impl Front<'_> {
    #[inline]
    fn first_byte(self) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        let retain = if self.retain { RETAIN } else { 0 };
        PacketType::Publish.first_byte() | dup | u8::from(self.qos) << QOS_SHIFT | retain
    }

    /// Tells how many bytes topic and packet identifier take, if they fit together.
    #[inline]
    fn encoded_len(self, has_alias: bool) -> Result<usize, InvalidPacket> {
        let is_acknowledged = self.qos > QoS::AtMostOnce;
        // [MQTT-2.2.1-2], [MQTT-2.2.1-4]
        if self.packet_identifier.is_some() != is_acknowledged {
            return Err(InvalidPacket::PacketIdentifier);
        }
        // [MQTT-3.3.1-2]
        if self.dup && !is_acknowledged {
            return Err(InvalidPacket::DupWithoutQos);
        }
        let topic_len = match self.topic {
            Some(topic) => binary_len(topic.as_str().as_bytes())?,
            None if has_alias => 2,
            None => return Err(InvalidPacket::TopicMissing),
        };
        Ok(if is_acknowledged {
            topic_len + 2
        } else {
            topic_len
        })
    }

    #[inline]
    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.topic.map_or("", TopicName::as_str))?;
        match self.packet_identifier {
            Some(packet_identifier) => writer.two_bytes(packet_identifier.get()),
            None => Ok(()),
        }
    }
}
