//! PUBLISH: a message, and the part of it that differs between subscribers.
//!
//! A message that goes to many is the same payload behind different headers: [`PublishHeader`]
//! writes what comes before the payload, and tells where the packet identifier is, so that one
//! encoding can be copied and patched.

use core::num::NonZeroU16;

use embedded_io::Write;

use super::header::remaining_length;
use super::primitive::{Reader, Writer, binary_len, variable_byte_integer_len};
use super::property::{Properties, Property, PropertySet, SubscriptionIdentifier, prefixed_len};
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
        first_byte(self.dup, self.qos, self.retain)
    }

    #[inline]
    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let has_alias = self.properties.topic_alias().is_some();
        check_delivery(self.dup, self.qos, self.packet_identifier)?;
        let properties_len = self.properties.encoded_len(version, PropertySet::PUBLISH)?;
        let topic_len = topic_len(self.topic, has_alias && version == Version::V5)?;
        let identifier_len = if self.packet_identifier.is_some() {
            2
        } else {
            0
        };
        Ok(topic_len + identifier_len + properties_len + self.payload.len())
    }

    #[inline]
    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.topic.map_or("", TopicName::as_str))?;
        if let Some(packet_identifier) = self.packet_identifier {
            writer.two_bytes(packet_identifier.get())?;
        }
        self.properties.write(version, writer)?;
        writer.bytes(self.payload)
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
        let remaining = remaining_length(self.body_len(version, payload_bytes)?)?;
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
        let remaining = remaining_length(self.body_len(version, payload_bytes)?)?;
        let mut writer = Writer::new(sink);
        writer.byte(first_byte(self.dup, self.qos, self.retain))?;
        writer.variable_byte_integer(remaining)?;
        let topic = self.topic.map_or("", TopicName::as_str);
        writer.string(topic)?;
        let fixed_header_bytes = 1 + variable_byte_integer_len(remaining);
        let packet_identifier_at = match self.packet_identifier {
            Some(packet_identifier) => {
                writer.two_bytes(packet_identifier.get())?;
                Some(fixed_header_bytes + 2 + topic.len())
            }
            None => None,
        };
        if version == Version::V5 {
            self.write_properties(&mut writer)?;
        }
        let header_bytes = fixed_header_bytes + remaining as usize - payload_bytes;
        Ok(HeaderLayout {
            header_bytes,
            packet_identifier_at,
        })
    }

    fn body_len(&self, version: Version, payload_bytes: usize) -> Result<usize, InvalidPacket> {
        check_delivery(self.dup, self.qos, self.packet_identifier)?;
        let has_alias = self.topic_alias.is_some() && version == Version::V5;
        let topic_len = topic_len(self.topic, has_alias)?;
        let identifier_len = if self.packet_identifier.is_some() {
            2
        } else {
            0
        };
        let properties_len = match version {
            Version::V5 => prefixed_len(self.properties_bytes()?)?,
            Version::V31 | Version::V311 => 0,
        };
        (topic_len + identifier_len + properties_len)
            .checked_add(payload_bytes)
            .ok_or(InvalidPacket::PacketTooLong {
                bytes: payload_bytes,
            })
    }

    fn properties_bytes(&self) -> Result<usize, InvalidPacket> {
        // Also refuses what this header adds itself.
        self.forwarded
            .encoded_len(Version::V5, PropertySet::FORWARDABLE)?;
        let mut bytes = self.forwarded.as_bytes().len();
        for property in self.added_properties() {
            bytes += property.encoded_len()?;
        }
        Ok(bytes)
    }

    fn write_properties<W: Write>(
        &self,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        writer.variable_byte_integer(self.properties_bytes()? as u32)?;
        for property in self.added_properties() {
            property.write(writer)?;
        }
        writer.bytes(self.forwarded.as_bytes())
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
}

fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    let dup = if dup { DUP } else { 0 };
    let retain = if retain { RETAIN } else { 0 };
    PacketType::Publish.first_byte() | dup | u8::from(qos) << QOS_SHIFT | retain
}

fn check_delivery(
    dup: bool,
    qos: QoS,
    packet_identifier: Option<NonZeroU16>,
) -> Result<(), InvalidPacket> {
    // [MQTT-2.2.1-2], [MQTT-2.2.1-4]
    if packet_identifier.is_some() != (qos > QoS::AtMostOnce) {
        return Err(InvalidPacket::PacketIdentifier);
    }
    // [MQTT-3.3.1-2]
    if dup && qos == QoS::AtMostOnce {
        return Err(InvalidPacket::DupWithoutQos);
    }
    Ok(())
}

fn topic_len(topic: Option<TopicName<'_>>, has_alias: bool) -> Result<usize, InvalidPacket> {
    match topic {
        Some(topic) => binary_len(topic.as_str().as_bytes()),
        None if has_alias => Ok(2),
        None => Err(InvalidPacket::TopicMissing),
    }
}
